"""``pathlib.Path.copy``, ``copy_into``, ``move`` and ``move_into`` of Python 3.14: a file's bytes go off the hub.

They copy by ``pathlib._os.copyfileobj``: FICLONE, or copy_file_range, or sendfile, each one system call for the whole
file, during which the hub stands still. FICLONE comes first here, too, and what it answers means what it means there;
it moves no bytes, so neither the trace nor the tally has any.
"""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable
from typing import Any

import gzc

from .. import _fast_prefix
from .._row import Row, Unknown, mentions
from . import shutil

Copy = Callable[[Any, Any], None]

#: The answers of FICLONE after which pathlib copies the bytes.
_NO_CLONE = frozenset({errno.EBADF, errno.EOPNOTSUPP, errno.ETXTBSY, errno.EXDEV})

#: What ``copyfileobj`` tries in turn; fcopyfile(3) is macOS's.
_TRIED = frozenset({"_ficlone", "_fcopyfile", "_copy_file_range", "_sendfile"})


def copyfileobj(original: Copy) -> Copy:
    """The replacement of ``copyfileobj``: a fresh file from a whole one; everything else is pathlib's own affair."""
    new = {name for name in mentions(original) or () if re.match("_(?!_)", name)} - _TRIED
    if new:  # whatever comes first there, we would not be asked
        raise Unknown(f"pathlib copies by {', '.join(sorted(new))}, too")

    def copyfileobj(source_f: Any, target_f: Any) -> None:
        moving = shutil.whole(source_f, target_f) if _tries_its_own() else None
        if moving is None:
            original(source_f, target_f)
            return
        try:
            if _clone(source_f, target_f):
                moving.close()
                return
            moved = _fast_prefix.run(moving, whole=True)
        except OSError as exc:
            if _fast_prefix.answered(exc):
                exc.filename, exc.filename2 = source_f.name, target_f.name
            raise
        if not moved:
            original(source_f, target_f)

    return copyfileobj


def _tries_its_own() -> bool:
    """Whether what it tries is on Linux and its own; somebody's in its place wants to see the calls."""
    names = vars(sys.modules["pathlib._os"])
    tried = {name: names[name] for name in _TRIED}
    return tried["_fcopyfile"] is None and all(
        call is None or getattr(call, "__globals__", None) is names for call in tried.values()
    )


def _clone(source_f: Any, target_f: Any) -> bool:
    """Whether the file system shares the blocks now, and there is nothing to copy."""
    if vars(sys.modules["pathlib._os"])["_ficlone"] is None:
        return False
    try:
        gzc.ficlone(source_f, target_f)
    except OSError as exc:
        if exc.errno not in _NO_CLONE or not _fast_prefix.answered(exc):
            raise
        return False
    return True


ROWS = (
    Row(
        *("pathlib._os", "copyfileobj.__code__", copyfileobj),
        knows=frozenset({"source_f", "target_f", *_TRIED, "ETXTBSY", "EXDEV", "filename2"}),
        eager=True,
        caller="pathlib:Path._copy_from_file",
        since=(3, 14),
    ),
)
