"""Uploads on their way from the temporary file to where they are kept: Django's and Bottle's own loops.

The framework's code runs unchanged. Django's has locks, O_EXCL and a rename around a loop that offers no place
to put anything; so it runs with two other names among its globals, and the first block that it writes takes the
rest of the file with it. Its next read then finds the end.

Rules of this file: nothing is moved before the framework itself has written a first block.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any

from . import _files, _seam
from ._ledger import Row

Method = Callable[..., Any]

_original_move: Any


def _with_globals(function: Any, **names: Any) -> Any:
    """``function`` over its own globals as they are now, but for ``names``."""
    own = FunctionType(
        *(function.__code__, {**function.__globals__, **names}, function.__name__),
        *(function.__defaults__, function.__closure__),
    )
    own.__kwdefaults__ = function.__kwdefaults__
    return own


class _Os:
    """The module ``os`` for one loop: with the first block written, the rest of ``content`` follows."""

    def __init__(self, content: Any = None) -> None:
        self.content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open_source(self, *args: Any, **options: Any) -> Any:
        """``open`` for a loop that opens one file, to read it."""
        self.content = open(*args, **options)  # noqa: SIM115 - it is the loop that closes it
        return self.content

    def write(self, fd: int, block: bytes) -> int:
        """``os.write``, which is the framework's own call."""
        written: int = vars(os)["write"](fd, block)
        if block and written == len(block):
            with open(fd, "wb", 0, closefd=False) as sink:
                self.follow(sink)
        return written

    def fdopen(self, fd: int, *args: Any, **options: Any) -> Any:
        """``os.fdopen``"""
        return _Saved(os.fdopen(fd, *args, **options), self)

    def follow(self, sink: Any) -> None:
        """Move the rest of the content, once."""
        content, self.content = self.content, None
        if content is not None:
            _files.prefix(content, sink)


class _Saved:
    """The file that ``FileSystemStorage`` writes."""

    def __init__(self, file: Any, loop: _Os) -> None:
        self._file = file
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, block: Any) -> Any:
        """One block, and what follows it."""
        written = self._file.write(block)
        self._loop.follow(self._file)
        return written


def file_move_safe(*args: Any) -> None:
    """Django's own code, with an ``os.write`` that takes the rest along."""
    loop = _Os()
    _with_globals(_original_move, os=loop, open=loop.open_source)(*args)


def _file_move_safe(old_file_name, new_file_name, chunk_size=1024 * 64, allow_overwrite=False):  # type: ignore[no-untyped-def]
    import sys

    sys.modules["gzc.monkey._saving"].file_move_safe(old_file_name, new_file_name, chunk_size, allow_overwrite)


def swap_file_move_safe(original: Method) -> Method:
    """The function whose code ``file_move_safe`` gets: the storage has imported it by name."""
    global _original_move
    _original_move = original
    return _file_move_safe


def save(original: Method) -> Method:
    """The replacement of ``FileSystemStorage._save``."""

    @wraps(original)
    def _save(self: Any, name: Any, content: Any) -> Any:
        if not _seam.is_own(content, "django.core.files.base", "chunks"):
            return original(self, name, content)  # chunks of its own: what they are, only it knows
        return _with_globals(original, os=_Os(content))(self, name, content)

    return _save


def copy_file(original: Method) -> Method:
    """The replacement of ``FileUpload._copy_file``, which leaves the upload where it was."""

    @wraps(original)
    def _copy_file(self: Any, fp: Any, *args: Any, **options: Any) -> None:
        offset = self.file.tell()  # the original asks, too, before anything is written
        moved = _files.prefix(self.file, fp)
        original(self, fp, *args, **options)
        if moved:
            self.file.seek(offset)

    return _copy_file


DJANGO = (
    Row(
        *("django.core.files.move", "file_move_safe.__code__", swap_file_move_safe),
        knows=frozenset({"open", "os", "write", "read", "chunk_size", "rename", "lock", "unlock", "copystat"}),
    ),
    Row(
        *("django.core.files.storage.filesystem", "FileSystemStorage._save", save),
        caller="django.core.files.storage.base:Storage.save",
        knows=frozenset({"os", "fdopen", "write", "chunks", "lock", "unlock", "file_move_safe"}),
    ),
)

BOTTLE = (
    Row(
        *("bottle", "FileUpload._copy_file", copy_file),
        caller="FileUpload.save",
        knows=frozenset({"file", "read", "write", "tell", "seek", "chunk_size"}),
    ),
)
