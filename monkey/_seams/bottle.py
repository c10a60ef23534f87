"""Bottle: ranges of ``static_file``, which are generators of pieces of 1 MiB, and ``FileUpload.save``."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import gzc

from .. import _copy_loop, _describe
from .._row import Row


def _range(original: Callable[..., Any]) -> Callable[..., Any]:
    """The replacement of ``_rangeiter``: a part of a file that can be read, where it was a generator."""

    @wraps(original)
    def _rangeiter(fp: Any, offset: int, limit: int, *args: Any, **kwargs: Any) -> Any:
        try:
            return gzc.section(fp, offset, limit)
        except (TypeError, ValueError, OSError):
            return original(fp, offset, limit, *args, **kwargs)

    return _rangeiter


#: What ``_closeiter`` closes can be read, if it can: Bottle then gives it to the server's file wrapper.
_read = property(lambda self: self.iterator.read)


def _closing(self: Any) -> Any:
    iterator = getattr(self, "iterator", None)
    return gzc.source(iterator) if isinstance(iterator, gzc.section) else None


def copy_file(original: Callable[..., Any]) -> Callable[..., Any]:
    """The replacement of ``FileUpload._copy_file``, which leaves the upload where it was."""

    @wraps(original)
    def _copy_file(self: Any, fp: Any, *args: Any, **options: Any) -> None:
        offset = self.file.tell()  # the original asks, too, before anything is written
        moved = _copy_loop.prefix(self.file, fp)
        original(self, fp, *args, **options)
        if moved:
            self.file.seek(offset)

    return _copy_file


RANGES = (
    Row(
        *("bottle", "_rangeiter", _range),
        knows=frozenset({"fp", "offset", "limit", "seek", "read"}),
        caller="static_file",
    ),
    Row("bottle", "_closeiter.read", _describe.added(_read)),
    _describe.row("bottle", "_closeiter", _closing),
)

SAVING = (
    Row(
        *("bottle", "FileUpload._copy_file", copy_file),
        caller="FileUpload.save",
        knows=frozenset({"file", "read", "write", "tell", "seek", "chunk_size"}),
    ),
)
