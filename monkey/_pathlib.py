"""``pathlib.Path.copy``, ``copy_into``, ``move`` and ``move_into`` of Python 3.14: a file's bytes go off the hub.

They copy by ``pathlib._os.copyfileobj``: FICLONE, or copy_file_range, or sendfile, each one system call for the whole
file, during which the hub stands still. FICLONE comes first here, too, and what it answers means what it means there.

Rules of this file: mind that ``_copyfileobj``'s code runs with the globals of ``pathlib._os``.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import Any

import gzc

from . import _seam, _shutil
from ._ledger import Row

Copy = Callable[[Any, Any], None]

_original: Copy

#: The answers of FICLONE after which pathlib copies the bytes.
_NO_CLONE = frozenset({errno.EBADF, errno.EOPNOTSUPP, errno.ETXTBSY, errno.EXDEV})

#: What ``copyfileobj`` tries; another, or somebody's own in its place, wants to see the calls.
_WAYS = ("_ficlone", "_copy_file_range", "_sendfile")


def copyfileobj(source_f: Any, target_f: Any) -> None:
    """A fresh file from a whole one below both objects; everything else is pathlib's own affair."""
    moving = _shutil.whole(source_f, target_f) if _ways_are_its_own() else None
    if moving is None:
        _original(source_f, target_f)
        return
    try:
        if _clone(source_f, target_f):
            moving.close()
            return
        moved = _seam.run(moving, whole=True)
    except OSError as exc:
        exc.filename, exc.filename2 = source_f.name, target_f.name
        raise
    if not moved:
        _original(source_f, target_f)


def _ways_are_its_own() -> bool:
    names = vars(sys.modules["pathlib._os"])
    return all(names[way] is None or getattr(names[way], "__globals__", None) is names for way in _WAYS)


def _clone(source_f: Any, target_f: Any) -> bool:
    """Whether the file system shares the blocks now, and there is nothing to copy."""
    if vars(sys.modules["pathlib._os"])["_ficlone"] is None:
        return False
    try:
        gzc.ficlone(source_f, target_f)
    except OSError as exc:
        if exc.errno not in _NO_CLONE:
            raise
        return False
    return True


def _copyfileobj(source_f, target_f):  # type: ignore[no-untyped-def]
    import sys

    sys.modules["gzc.monkey._pathlib"].copyfileobj(source_f, target_f)


def swap_copyfileobj(original: Copy) -> Copy:
    """The function whose code ``pathlib._os.copyfileobj`` gets."""
    global _original
    _original = original
    return _copyfileobj


ROWS = (
    Row(
        *("pathlib._os", "copyfileobj.__code__", swap_copyfileobj),
        knows=frozenset({"source_f", "target_f", *_WAYS, "_fcopyfile", "ETXTBSY", "EXDEV", "filename2"}),
        caller="pathlib:Path._copy_from_file",
        since=(3, 14),
    ),
)
