"""Django's ``File`` and ``FieldFile``, which forward to the file that a storage gave them."""

from .. import _describe

ROWS = (_describe.row("django.core.files.base", "File", _describe.proxy("file")),)
