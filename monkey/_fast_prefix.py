"""What the seams share: the fast prefix before the original code.

A seam behaves as the original. Where an end is claimed by another transfer, or something is not known, nothing is moved
and the original does all of it. An exception leaves no claim and no pipe behind.
"""

from __future__ import annotations

import _thread
import io
import logging
import os
import socket

import gevent
from gevent._hub_local import get_hub_if_exists

import gzc

_log = logging.getLogger("gzc")


def apart() -> bool:
    """Whether this is no greenlet of gevent's: a native thread without a hub, or the hub itself, which cannot wait.

    The main thread counts as gevent's also before it has its hub.
    """
    hub = get_hub_if_exists()
    return _thread.get_native_id() != os.getpid() if hub is None else gevent.getcurrent() is hub


def attempt(src: object, dst: object, count: int | None = None) -> gzc.Transfer | None:
    """A transfer by whatever way, or None where one of the two is no end."""
    try:
        return gzc.Transfer(src, dst, count)
    except Exception:  # noqa: BLE001 - a ``closed`` or ``readable`` of anybody's, which the original does not ask
        return None  # or it refuses it in its own words


def transfer(src: object, dst: object, count: int | None = None) -> gzc.Transfer | None:
    """A transfer below both ends, or None where only their own methods may be used, or would serve as well."""
    try:
        found = gzc.Transfer(src, dst, count)
    except Exception:  # noqa: BLE001 - as above
        return None
    if found.plan.mechanism == "userspace":
        step_aside(found)
        return None
    return found


def step_aside(unused: gzc.Transfer | None) -> None:
    """Count what the original, which goes the old way now and knows nothing of it, is refused."""
    if unused is not None and unused.plan.refused:
        unused.plan.refuse()


def run(moving: gzc.Transfer, reader: object = None, *, whole: bool = False) -> int:
    """Run it to its end: bytes delivered, 0 where an end is somebody else's at the moment, or another thread's.

    An end in non-blocking mode that is not ready ends it, too; the original then says so in its own words.
    ``reader`` is the object above the source, which is told of a timeout. ``whole`` is for callers with no
    original after it: then EAGAIN, which file systems answer, too (hard case B10), is raised.

    Bytes that were taken and not delivered when an exception strikes are lost, as they are in a loop of read
    and write, where they are in a local variable.
    """
    try:
        return moving._run()  # what its plan says was asked a moment ago
    except BaseException as exc:
        if isinstance(exc, gzc.Error) and moving not in gzc.transfers_of(exc):
            return 0
        if isinstance(exc, BlockingIOError) and not (whole or moving.in_flight):
            return moving.moved
        if isinstance(exc, TimeoutError) and not moving.in_flight:
            _timed_out(reader)
        if moving.in_flight:
            _log.info("%d bytes read from %s were not written: %r", len(moving.reclaim()), moving.plan.source, exc)
        raise
    finally:
        if not moving.in_flight:
            moving.close()


def answered(exc: OSError) -> bool:
    """Whether ``exc`` is what a call of gzc's was answered, and no timeout or kill that happens to be an OSError.

    That one is thrown where gevent waits, and what a signal handler raises comes out of the handler.
    """
    step = exc.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return (
        exc.errno is not None and step is not None and step.tb_frame.f_globals.get("__name__", "").startswith("gzc._")
    )


def _timed_out(reader: object) -> None:
    """A ``makefile`` object cannot be read any more after its socket's timeout, and says so."""
    raw = reader.raw if type(reader) in (io.BufferedReader, io.BufferedRandom) else None  # type: ignore[attr-defined]
    if type(raw) is socket.SocketIO:
        raw._timeout_occurred = True  # type: ignore[attr-defined]


def prefix(src: object, dst: object, count: int | None = None) -> int:
    """Move up to ``count`` bytes below both ends, as far as that is possible; what was moved.

    Both objects are left as if these bytes had gone through their ``read`` and ``write``, and the original,
    called next, finds the end of the file.
    """
    moving = transfer(src, dst, count)
    return 0 if moving is None else run(moving)
