"""What a command says, also where nobody hears it any more.

It imports nothing that a command may want to patch first. Bytes from outside are escaped before a terminal sees them.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO


def open_streams() -> None:
    """Let every standard stream be one, and let each take every name there is.

    Where one is closed, the next file to be opened would get its number; and ``print`` takes a ``sys.stderr`` that
    is None for standard output. Held is the number in the wrong direction: reading and writing it is EBADF still.
    """
    for name, mode in (("stdin", os.O_WRONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_RDONLY)):
        if getattr(sys, name) is None:
            os.open(os.devnull, mode)  # the lowest free number: this one's
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115 - for good
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # somebody's own
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def printable(text: str) -> str:
    r"""``text`` in one line, as a terminal can have it: what would move its cursor or change it is ``\x1b``.

    For whatever comes from outside: request lines, names of files and of peers.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def say(text: str, stream: TextIO | None = None) -> None:
    """Print to standard error, or to ``stream``; that this fails stops nothing, least of all a server.

    ``text`` may have several lines; of what else a terminal would obey, nothing gets through.
    """
    stream = stream or sys.stderr
    if stream is None:
        return
    try:
        stream.write("\n".join(map(printable, text.split("\n"))) + "\n")
        stream.flush()
    except OSError:  # its reader has gone, or a log is on a full disk
        drop(stream)


def drop(stream: TextIO) -> None:
    """Forget what could not be written: the interpreter would try once more at exit, and fail by that."""
    with contextlib.suppress(OSError):
        number = stream.fileno()
        kept, nowhere = os.dup(number), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        stream.flush()
        os.dup2(kept, number)
        os.close(nowhere)
        os.close(kept)
