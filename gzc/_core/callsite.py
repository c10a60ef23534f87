"""Which line of the program a call of gzc comes from.

Frames are read, and none is kept: a frame holds its caller's files and sockets open.
"""

from __future__ import annotations

import os
import sys
from types import FrameType

_HERE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_STANDARD = os.path.dirname(os.__file__) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def level(depth: int = 1) -> int:
    """How many frames above its caller the first one is that is not gzc's own, as ``stacklevel`` counts."""
    level, frame = depth, sys._getframe(depth)
    while frame.f_back is not None and _is_ours(frame):
        level, frame = level + 1, frame.f_back
    return level


def caller() -> str:
    """The program's own line, and that of the library by which it came to gzc, if one lies in between.

    Where none of the program's lines is below, as in a server that sends what the program has returned, it is
    the library's alone.
    """
    nearest: FrameType | None = sys._getframe(1)
    while nearest is not None and nearest.f_back is not None and _is_ours(nearest):
        nearest = nearest.f_back
    own = nearest
    while own is not None and _is_library(own):
        own = own.f_back
    if nearest is None or own is nearest or own is None or _is_ours(own):
        return _line(nearest)
    return f"{_line(own)}, through {_line(nearest)}"


def _is_ours(frame: FrameType) -> bool:
    """Also code of ours that stands in a function of somebody else's, and runs with that one's globals."""
    if str(frame.f_globals.get("__name__")).partition(".")[0] == "gzc":
        return True
    return frame.f_code.co_filename.startswith(_HERE)


def _is_library(frame: FrameType) -> bool:
    path = frame.f_code.co_filename
    return path.startswith((_STANDARD, "<")) or any(part in path for part in _INSTALLED)


def _line(frame: FrameType | None) -> str:
    return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
