"""Ranges of Falcon's static routes."""

from .. import _describe

ROWS = (_describe.row("falcon.routing.static", "_BoundedFile", _describe.counted_part("fh", "remaining")),)
