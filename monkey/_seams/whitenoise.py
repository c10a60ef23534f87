"""Ranges of WhiteNoise's static files."""

from .. import _describe

ROWS = (_describe.row("whitenoise.responders", "SlicedFile", _describe.counted_part("fileobj", "remaining")),)
