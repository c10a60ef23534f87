"""Pipes of processes: ``Popen.communicate`` and ``check_output`` read what the pipe holds.

They read a FileObject to its end, which gevent does in steps of ``io.DEFAULT_BUFFER_SIZE``. Before Python 3.14 that is
8 KiB, an eighth of what a pipe holds (pipe(7)); since then 128 KiB, and only pipes that were made larger hold more.
It is no zero-copy, since the bytes are wanted in memory, but fewer calls.

Rules of this file: gevent's own reading, waiting and refusing; only the size of a step is ours.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable
from functools import wraps
from io import DEFAULT_BUFFER_SIZE, BytesIO
from typing import Any

from gevent._fileobjectcommon import cancel_wait_ex

from .._row import Row

#: Bytes per step, no less than gevent's: what a pipe holds unless it was resized, pipe(7).
STEP = max(64 * 1024, DEFAULT_BUFFER_SIZE)

#: ``GreenFileDescriptorIO.__read``, as Python mangles it: one read that waits in the hub.
_READ = "_GreenFileDescriptorIO__read"


def readall(original: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """The replacement of ``GreenFileDescriptorIO.readall``."""

    @wraps(original)
    def readall(self: Any) -> bytes:
        step = _step(self)
        if not step:
            return original(self)  # which refuses it in gevent's words
        read, whole = getattr(self, _READ), BytesIO()
        try:
            while data := read(step):
                whole.write(data)
        except cancel_wait_ex:  # closed by another greenlet: what there is, as gevent's and a buffered reader do
            pass
        return whole.getvalue()

    return readall


def _step(file: Any) -> int:
    """How much to ask for at a time; 0 where ``file`` is not open for reading, or does not say so."""
    try:
        if file.closed or not file.readable():
            return 0
        fd = file.fileno()
    except Exception:  # noqa: BLE001 - gevent's own ``readall`` asks none of this
        return 0
    with contextlib.suppress(OSError, AttributeError):  # no pipe; not Linux
        return max(STEP, fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ))
    return STEP


ROWS = (
    Row(
        *("gevent._fileobjectposix", "GreenFileDescriptorIO.readall", readall),
        knows=frozenset({_READ, "DEFAULT_BUFFER_SIZE", "cancel_wait_ex", "getvalue"}),
        eager=True,
    ),
)
