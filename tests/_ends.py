"""Ends to copy between, the bytes that go through them, and a kernel that answers by script.

Rules: real sockets, files and processes; only single system calls are ever scripted, and those through the
one module of gzc that makes them. Everything opened here is closed here, also when the test failed. Nobody
sleeps to be in step with somebody else: the peer of a socket is a greenlet that reads or that does not.
"""

import contextlib
import os
import random
import select
import signal
import socket as native
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

import gevent
import pytest
from gevent import socket as gsocket
from gevent.fileobject import FileObjectBlock, FileObjectPosix

from ._inside import _lending, _pipe, _syscalls, resolved

PATIENCE = 20.0  # seconds until a hang is a failure
KIB, MIB = 1 << 10, 1 << 20
CHUNK = MIB  # gzc.config.chunk as it comes
BEYOND_SMALL = 32 * KIB + 1  # one byte more than gzc.config.small as it comes

#: A FileObject over a regular file: libuv refuses to watch one (EPERM), as epoll does, which libev gets around.
PlainFileObject = FileObjectBlock if "libuv" in type(gevent.get_hub().loop).__module__ else FileObjectPosix


@cache
def _noise() -> bytes:
    return random.Random(2).randbytes(5 * MIB)


def payload(size: int, start: int = 0) -> bytes:
    """`size` bytes of a fixed noise, from `start` on; up to 5 MiB no two places look alike."""
    noise = _noise()
    if start + size > len(noise):
        noise *= (start + size) // len(noise) + 1
    return noise[start : start + size]


class Peer:
    """The other side of a socket: reads all there is, in a greenlet, once told to."""

    def __init__(self, sock: gsocket.socket) -> None:
        self.sock = sock
        self.received = bytearray()
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> "Peer":
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._read)
        return self

    def _read(self) -> None:
        buffer = memoryview(bytearray(256 * KIB))
        while got := self.sock.recv_into(buffer):
            self.received += buffer[:got]

    def all(self) -> bytes:
        """Everything up to the end of the stream."""
        self.start()
        assert self._greenlet is not None
        self._greenlet.get(timeout=PATIENCE)
        return bytes(self.received)

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        assert self._greenlet is None
        part = bytearray()
        with gevent.Timeout(PATIENCE):
            while len(part) < count:
                data = self.sock.recv(count - len(part))
                assert data, f"the stream ended {count - len(part)} bytes early"
                part += data
        self.received += part
        return bytes(part)

    def kill(self) -> None:
        if self._greenlet is not None:
            self._greenlet.kill()


class Ticker:
    """The longest time that the hub gave nobody else the processor, in seconds; `told` is a FIFO that hears each tick.

    A busy machine stands still for a second now and then: what the gap is compared with must be far longer.
    """

    def __init__(self, ends: "Ends", told: str | None = None) -> None:
        self.gap = 0.0
        self._ends = ends
        self._told = None if told is None else ends.keep(open(told, "wb", 0))  # noqa: SIM115

    def __enter__(self) -> "Ticker":
        self._greenlet = self._ends.spawn(self._tick)
        gevent.idle()
        return self

    def __exit__(self, *exc_info: object) -> None:
        gevent.sleep(0.002)  # the last gap is measured when it is over
        self._greenlet.kill()

    def _tick(self) -> None:
        last = time.monotonic()
        while True:
            gevent.sleep(0.001)
            now = time.monotonic()
            self.gap, last = max(self.gap, now - last), now
            if self._told is not None:
                self._told.write(b".")


class Iterations:
    """How often the loop went round."""

    def __enter__(self) -> "Iterations":
        self.count = 0
        self._check = gevent.get_hub().loop.check()  # libuv does not count them itself
        self._check.start(self._went_round)
        return self

    def _went_round(self) -> None:
        self.count += 1

    def __exit__(self, *exc_info: object) -> None:
        self._check.stop()
        self._check.close()


def arrives(sock: gsocket.socket, peer: Peer) -> bytes:
    """All that `peer` receives once `sock` is closed."""
    sock.close()
    return peer.all()


def _drains(sock: gsocket.socket) -> bool:
    """Whether tcp will still take more with nobody reading: linux/tcp.h, struct tcp_info.

    What is on its way (tcpi_unacked) is acknowledged after 40 ms, and later on a busy machine; that freed 325 KiB. Into
    a window that is left (tcpi_snd_wnd) the first probe sends 46 KiB, after 200 ms.
    """
    info = sock.getsockopt(native.IPPROTO_TCP, native.TCP_INFO, 232)
    return any(int.from_bytes(info[at : at + 4], sys.byteorder) for at in (24, 228))


class Ends:
    """A context that makes ends and closes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = contextlib.ExitStack()
        self._number = 0

    def __enter__(self) -> "Ends":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def keep(self, obj: Any) -> Any:
        """Close `obj` when the test is over."""
        self._stack.callback(obj.close)
        return obj

    def spawn(self, run: Callable[..., Any], *args: Any) -> gevent.Greenlet:
        """A greenlet that does not outlive the test."""
        greenlet = gevent.spawn(run, *args)
        self._stack.callback(greenlet.kill)
        return greenlet

    def tcp(self) -> tuple[gsocket.socket, gsocket.socket]:
        """Two connected tcp sockets of gevent's."""
        with gsocket.socket() as listener:  # gevent.socket.create_server would be the blocking one of the stdlib
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            there = gsocket.create_connection(listener.getsockname())
            here, _ = listener.accept()
        return self.keep(here), self.keep(there)

    def unix(self, kind: int = native.SOCK_STREAM) -> tuple[gsocket.socket, gsocket.socket]:
        """Two connected unix sockets of gevent's."""
        here, there = gsocket.socketpair(native.AF_UNIX, kind)
        return self.keep(here), self.keep(there)

    def pair(self, family: str) -> tuple[gsocket.socket, gsocket.socket]:
        return self.tcp() if family == "tcp" else self.unix()

    def peer(self, sock: gsocket.socket) -> Peer:
        """A peer that reads only when it is told to."""
        peer = Peer(sock)
        self._stack.callback(peer.kill)
        return peer

    def reading(self, sock: gsocket.socket) -> Peer:
        """A peer that reads from now on."""
        return self.peer(sock).start()

    def feeding(self, sock: gsocket.socket, content: bytes) -> gevent.Greenlet:
        """A greenlet that sends `content` and then the end of the stream."""

        def feed() -> None:
            sock.sendall(content)
            sock.shutdown(native.SHUT_WR)

        return self.spawn(feed)

    def path(self, content: bytes = b"") -> Path:
        """A new file with `content`."""
        self._number += 1
        path = self.folder / f"file-{self._number}"
        path.write_bytes(content)
        return path

    def file(self, content: bytes = b"", mode: str = "rb", buffering: int = -1) -> Any:
        """A new file with `content`, opened."""
        return self.keep(open(self.path(content), mode, buffering))

    def stuck(self, family: str = "unix") -> tuple[gsocket.socket, Peer]:
        """A socket whose buffers are full, and the peer that has not begun to read.

        What fills them is part of what the peer will receive.
        """
        here, there = self.pair(family)
        here.setblocking(False)
        filled, more = 0, True
        room = select.poll()
        room.register(here.fileno(), select.POLLOUT)
        while more:
            more = family == "tcp" and _drains(here)
            for step in (64 * KIB, KIB, 1):
                with contextlib.suppress(BlockingIOError):
                    while sent := here.send(b"\0" * step):
                        filled, more = filled + sent, True
            if more:
                room.poll(20 if family == "tcp" else 0)
        here.setblocking(True)
        peer = self.peer(there)
        peer.filled = filled  # type: ignore[attr-defined]
        return here, peer


def at_rest() -> None:
    """Let other greenlets go as far as they can without this one.

    Not `gevent.idle()` alone: libuv may be idle before it has run what was spawned, and where the turn of the hub is
    over, as after a pause of the garbage collector, a transfer waits for the next iteration before it begins.
    """
    for _ in range(4):
        gevent.idle()


class After:
    """In a script: make the real call, and raise `exc` instead of returning its result.

    That is what a signal handler does which strikes between a call and its booking.
    """

    def __init__(self, exc: BaseException) -> None:
        self.exc = exc


_striking: list[BaseException] = []


def _handler(number: int, frame: object) -> NoReturn:
    raise _striking.pop()


def strike(exc: BaseException) -> NoReturn:
    """Raise ``exc`` out of a signal handler, which stays in force."""
    signal.signal(signal.SIGUSR2, _handler)
    _striking.append(exc)
    signal.raise_signal(signal.SIGUSR2)
    raise AssertionError("Python runs the handler before the next instruction")


class Script:
    """sendfile(2), but for the calls named in `answers` (1 is the first; `others` is for all not named).

    An int moves no more than that many bytes, 0 none; an OSError is raised as if the kernel had said it.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        answers: Mapping[int, object] | None = None,
        *,
        others: object = None,
        probe: OSError | None = None,
    ) -> None:
        #: (offset, count) of each call
        self.asks: list[tuple[int, int]] = []
        #: Bytes that really moved.
        self.moved = 0
        self.probes = 0
        self._answers = dict(answers or {})
        self._others = others
        self._probe = probe
        self._real = _syscalls.sendfile
        monkeypatch.setattr(_syscalls, "sendfile", self._call)

    def _call(self, out_fd: int, in_fd: int, offset: int, count: int) -> int:
        if out_fd == in_fd == -1:
            self.probes += 1
            return -(self._probe.errno or 0) if self._probe else self._real(out_fd, in_fd, offset, count)
        self.asks.append((offset, count))
        answer = self._answers.get(len(self.asks), self._others)
        if isinstance(answer, OSError):
            return -(answer.errno or 0)
        if callable(answer):
            answer()
        if type(answer) is int:
            count = min(answer, count)
        moved: int = self._real(out_fd, in_fd, offset, count) if count else 0
        if isinstance(answer, After) and moved < 0:  # nothing moved that could be lost: strike at the next call
            self._answers.setdefault(len(self.asks) + 1, answer)
        elif isinstance(answer, After):
            self.moved += moved
            strike(answer.exc)
        self.moved += max(moved, 0)
        return moved

    @property
    def calls(self) -> int:
        return len(self.asks)


def error(number: int) -> OSError:
    """The OSError, of the class that belongs to it, that the kernel raises with `number`."""
    return OSError(number, os.strerror(number))


def python(code: str, *args: object, env: Mapping[str, str] | None = None, prefix: tuple[str, ...] = ()) -> str:
    """What `code` prints in a Python of its own."""
    done = subprocess.run(
        [*prefix, sys.executable, "-c", resolved(code), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=PATIENCE * 3,
        env={**os.environ, **(env or {})},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def own_descriptors() -> dict[str, str]:
    """Descriptors open now, and of what, that are not gzc's idle pipes, once those that a copy has given up are closed.

    An interrupted copy on slow storage does not wait for that, and a lock keeps one open. What a thread has that hangs
    on storage is not waited for.
    """
    with gevent.Timeout(PATIENCE):
        while _lending._kept or any(one._open and _lending.RUN in one._users for one in list(_lending._all)):
            gevent.sleep(0.01)
    idle = {str(fd) for pipe in _pipe._idle for fd in (pipe.reader, pipe.writer)}
    found: dict[str, str] = {}
    for fd in set(os.listdir("/proc/self/fd")) - idle:
        with contextlib.suppress(FileNotFoundError):  # that of the folder itself
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
    return found


def descriptors_are(before: dict[str, str]) -> None:
    """The same descriptors are open as before, once a thread that is just closing one has done so."""
    with gevent.Timeout(PATIENCE, False):
        while own_descriptors().keys() != before.keys():
            gevent.sleep(0.01)
    after = own_descriptors()
    opened = [f"{fd}: {after[fd]}" for fd in after.keys() - before]
    closed = [f"{fd}: {before[fd]}" for fd in before.keys() - after]
    assert after.keys() == before.keys(), f"opened {opened}, closed {closed}"


@contextlib.contextmanager
def open_fds_unchanged() -> Iterator[None]:
    """No descriptor more, and none less, than before."""
    before = own_descriptors()
    yield
    descriptors_are(before)


def is_at(file: IO[bytes], position: int, whole: bytes) -> None:
    """`file` stands at `position` of `whole`, by what it says and by what it reads next."""
    assert file.tell() == position
    assert file.read(7) == whole[position : position + 7]
