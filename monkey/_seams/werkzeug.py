"""Werkzeug's ranges of a file, and its own file wrapper, for servers that have none."""

from __future__ import annotations

from typing import Any

import gzc

from .. import _describe, _own

#: What ``__next__`` of Werkzeug's range calls of its own.
_STEPS = ("_next", "_first_iteration", "_next_chunk")


def _range(self: Any) -> Any:
    """``_RangeWrapper``: it seeks at its first iteration, if what it wraps can."""
    try:
        start, count = self.start_byte, self.byte_range
        if self.read_length or self.end_reached or not self.seekable or count is None:
            return None
        inner = self.iterable
    except AttributeError:
        return None
    if not _own.is_own(self, "werkzeug.wsgi", *_STEPS):
        return None
    if gzc.source(inner).kind is not gzc.Kind.FILE:
        return None

    end = start + count
    position = start

    def consumed(moved: int) -> None:
        nonlocal position
        position += moved
        self.read_length, self.end_reached = position, position >= end
        if not self.end_reached:  # it goes on by iteration
            inner.seek(position)

    return gzc.source(gzc.section(inner, start, count)).settling(consumed)


ROWS = (
    _describe.row("werkzeug.wsgi", "_RangeWrapper", _range),
    _describe.row("werkzeug.wsgi", "FileWrapper", _describe.proxy("file")),
)
