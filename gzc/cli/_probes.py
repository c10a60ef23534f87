"""What ``gzc doctor`` tries: each mechanism on real descriptors, with bytes that are compared afterwards.

A probe returns what it found, in words, or raises ``Refused`` or whatever the kernel said.

Each probe closes what it opens and leaves nothing on the disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import gevent
from gevent import socket

import gzc

#: More than ``config.small``, and more than one pipe of the kernel's 64 KiB holds.
CONTENT = random.Random(0).randbytes(300_000)

#: Seconds a probe may take.
PATIENCE = 10.0

_F_GETPIPE_SZ, _F_SETPIPE_SZ = 1032, 1031
_FIONREAD = 0x541B

Ends = contextlib.ExitStack


class Refused(Exception):
    """The mechanism cannot be had here; the text says why."""


class Finding(NamedTuple):
    """What came of a probe.

    needed
        Whether gzc is slower without it.
    """

    name: str
    works: bool
    what: str
    needed: bool


def findings(folder: str) -> Iterator[Finding]:
    """Try everything; files are made in ``folder``."""
    for name, needed, probe in PROBES:
        try:
            with gevent.Timeout(PATIENCE, TimeoutError(f"no answer in {PATIENCE:g} s")), Ends() as ends:
                yield Finding(name, True, probe(ends, folder), needed)
        except Refused as refused:
            yield Finding(name, False, str(refused), needed)
        except (OSError, gzc.Error) as exc:
            yield Finding(name, False, f"{type(exc).__name__}: {exc}", needed)


def _file(ends: Ends, folder: str, content: bytes = b"") -> Any:
    file = ends.enter_context(tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 - ``ends`` closes it
    file.write(content)
    file.flush()
    file.seek(0)
    return file


def _tcp(ends: Ends, _: str) -> tuple[Any, Any]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        one = ends.enter_context(socket.create_connection(listener.getsockname()))
        other, _address = listener.accept()
    return one, ends.enter_context(other)


def _unix(ends: Ends, _: str) -> tuple[Any, Any]:
    one, other = socket.socketpair()
    return ends.enter_context(one), ends.enter_context(other)


def _pipe(ends: Ends, _: str) -> tuple[Any, Any]:
    reader, writer = os.pipe()
    for descriptor in (reader, writer):
        os.set_blocking(descriptor, False)
    into = ends.enter_context(open(writer, "wb", buffering=0))  # noqa: SIM115 - ``ends`` closes it
    return into, ends.enter_context(open(reader, "rb", buffering=0))


def _disk(ends: Ends, folder: str) -> tuple[Any, Any]:
    """A file is written and read by itself."""
    file = _file(ends, folder)
    return file, file


Pair = Callable[[Ends, str], tuple[Any, Any]]


def _copying(mechanism: str, source: Pair | None, sink: Pair) -> Callable[[Ends, str], str]:
    """A probe that copies from a file, or from the other end of ``source``, and looks at what arrives."""

    def probe(ends: Ends, folder: str) -> str:
        into, out_of = sink(ends, folder)
        if source is None:
            origin = _file(ends, folder, CONTENT)
        else:
            feed, origin = source(ends, folder)
            feeding = gevent.spawn(gzc.copy, CONTENT, feed)
            ends.callback(feeding.kill)
        reading = gevent.spawn(_take, out_of) if out_of is not into else None
        if reading is not None:
            ends.callback(reading.kill)
        try:
            with gzc.trace() as trace:
                gzc.copy(origin, into, len(CONTENT), fallback=False)
        except gzc.NotZeroCopyError as exc:
            raise Refused(str(exc)) from None
        if reading is None:
            into.seek(0)
            arrived = into.read()
        else:
            arrived = reading.get()
        if arrived != CONTENT:
            raise Refused("wrong bytes arrived: switch it off by GZC_DISABLE, and tell the authors")
        # What feeds it and reads from it goes through user space, and the copy itself may not.
        ways = [name for name, count in trace.bytes.items() if count and name != "userspace"]
        if ways != [mechanism]:
            refusals = "; ".join(why for why, _ in trace.refused)
            raise Refused(f"by {' and '.join(ways)} in its place{f': {refusals}' if refusals else ''}")
        return f"{len(CONTENT)} bytes in {trace.calls[mechanism]} call{'s' if trace.calls[mechanism] > 1 else ''}"

    return probe


def _take(end: Any) -> bytes:
    taken = bytearray()
    gzc.copy(end, taken, len(CONTENT))
    return bytes(taken)


def _tee(ends: Ends, folder: str) -> str:
    (into, first), (second_in, second) = _pipe(ends, folder), _pipe(ends, folder)
    into.write(b"twice")
    count = gzc.tee(first, second_in, 100)
    if (first.read(100), second.read(100)) != (b"twice", b"twice"):
        raise Refused("wrong bytes arrived")
    return f"{count} bytes in both pipes"


def _nowait(ends: Ends, folder: str) -> str:
    file = _file(ends, folder, b"cached")
    if not hasattr(os, "RWF_NOWAIT"):
        raise Refused("this Python has no RWF_NOWAIT")
    os.preadv(file.fileno(), (bytearray(1),), 0, os.RWF_NOWAIT)
    return "it can be asked whether a read would wait for storage"


def _fionread(ends: Ends, folder: str) -> str:
    into, reader = _pipe(ends, folder)
    into.write(b"four")
    held = int.from_bytes(fcntl.ioctl(reader.fileno(), _FIONREAD, b"\0\0\0\0"), "little")
    if held != 4:
        raise Refused(f"a pipe with 4 bytes in it says {held}")
    return "a pipe says how much is in it"


def _pipe_size(ends: Ends, folder: str) -> str:
    got = granted(gzc.config.pipe_size)
    if got < gzc.config.pipe_size:
        raise Refused(f"a pipe that is to have {gzc.config.pipe_size} bytes gets {got}")
    return f"{got} bytes, as config.pipe_size wishes"


def granted(wish: int) -> int:
    """The bytes that a new pipe really has when it is to have ``wish``."""
    reader, writer = os.pipe()
    try:
        with contextlib.suppress(OSError):
            fcntl.fcntl(writer, _F_SETPIPE_SZ, wish)
        return int(fcntl.fcntl(writer, _F_GETPIPE_SZ))
    finally:
        os.close(reader)
        os.close(writer)


#: Name, whether it is needed, and the probe.
PROBES: tuple[tuple[str, bool, Callable[[Ends, str], str]], ...] = (
    ("sendfile: file to tcp", True, _copying("sendfile", None, _tcp)),
    ("sendfile: file to unix socket", True, _copying("sendfile", None, _unix)),
    ("splice: file to pipe", True, _copying("splice", None, _pipe)),
    ("splice: tcp to tcp", True, _copying("splice", _tcp, _tcp)),
    ("splice: unix socket to unix socket", True, _copying("splice", _unix, _unix)),
    ("splice: tcp to file", True, _copying("splice", _tcp, _disk)),
    ("splice: pipe to tcp", True, _copying("splice", _pipe, _tcp)),
    ("copy_file_range: file to file", True, _copying("copy_file_range", None, _disk)),
    ("tee: pipe to pipe", False, _tee),
    ("RWF_NOWAIT: asking the page cache", False, _nowait),
    ("FIONREAD: asking a pipe", True, _fionread),
    ("F_SETPIPE_SZ: a large pipe", True, _pipe_size),
)
