"""A contender: ``worker.py NAME FD`` moves what it is handed the way NAME does, and says what that took.

An order is ``SOURCE SINK COUNT`` with two descriptors; SOURCE and SINK are tcp, unix, pipe, file or null. The answer:
bytes moved, seconds, CPU seconds of this process.

Each contender is what its users write, at its best; the measured part is the copy alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
import sys
import time
from collections.abc import Callable
from typing import Any

BLOCK = 64 << 10
CHUNK = 256 << 10  # of one call, as in gzc: the limit is not one giant call, which is slower
PIPE = 1 << 20

Copy = Callable[[int, int], int]
STREAMS = ("tcp", "unix")


def _gevent_end(what: str, fd: int, mode: str) -> Any:
    """What a user of gevent has in hand."""
    from gevent import fileobject
    from gevent import socket as gsocket

    if what in STREAMS:
        return gsocket.socket(fileno=fd)
    if what == "pipe":
        return fileobject.FileObject(fd, mode)
    return open(fd, mode)  # a device or a file: gevent's users open those as everybody does


def stock(source: int, sink: int, kinds: tuple[str, str]) -> Callable[[], int]:
    """The loop that is written today, with a buffer eight times the 8 KiB of gevent's own ``sendfile``."""
    src, dst = _gevent_end(kinds[0], source, "rb"), _gevent_end(kinds[1], sink, "wb")
    read = src.recv if kinds[0] in STREAMS else src.read
    write = dst.sendall if kinds[1] in STREAMS else dst.write

    def copy() -> int:
        moved = 0
        while data := read(BLOCK):
            write(data)
            moved += len(data)
        if kinds[1] not in STREAMS:
            dst.flush()
        return moved

    return copy


def gzc(source: int, sink: int, kinds: tuple[str, str]) -> Callable[[], int]:
    """One call."""
    import gzc

    src, dst = _gevent_end(kinds[0], source, "rb"), _gevent_end(kinds[1], sink, "wb")
    return lambda: gzc.copy(src, dst)


def bare(source: int, sink: int, kinds: tuple[str, str]) -> Callable[[], int]:
    """The same system calls in a blocking loop, no event loop and no check: the limit."""
    os.set_blocking(source, True)
    os.set_blocking(sink, True)
    if kinds == ("file", "file"):
        return lambda: _until_end(lambda: os.copy_file_range(source, sink, 8 << 20))
    if kinds[0] == "file":
        return lambda: _until_end(lambda: os.sendfile(sink, source, None, CHUNK))
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with contextlib.suppress(OSError):
        socket_fcntl_setpipe(writer)

    def copy() -> int:
        moved = 0
        while held := os.splice(source, writer, PIPE):
            moved += held
            while held:
                held -= os.splice(reader, sink, held)
        return moved

    return copy


def hand(source: int, sink: int, kinds: tuple[str, str]) -> Callable[[], int]:
    """The same system calls in a loop that somebody writes for this one pair in gevent: no check, no fairness."""
    from gevent.socket import wait_read, wait_write

    src, dst = _gevent_end(kinds[0], source, "rb"), _gevent_end(kinds[1], sink, "wb")
    flags = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK

    def waiting(sock: Any, wait: Callable[[int], None], call: Callable[..., int], *args: Any) -> int:
        while True:
            try:
                return call(*args)
            except BlockingIOError:
                wait(sock.fileno())

    if kinds[0] == "file":

        def send() -> int:
            moved = 0
            while step := waiting(dst, wait_write, os.sendfile, dst.fileno(), src.fileno(), moved, CHUNK):
                moved += step
            return moved

        return send
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    with contextlib.suppress(OSError):
        socket_fcntl_setpipe(writer)

    def copy() -> int:
        moved = 0
        while held := waiting(src, wait_read, os.splice, src.fileno(), writer, PIPE, None, None, flags):
            moved += held
            while held:
                held -= waiting(dst, wait_write, os.splice, reader, dst.fileno(), held, None, None, flags)
        os.close(reader)
        os.close(writer)
        return moved

    return copy


def socket_fcntl_setpipe(fd: int) -> None:
    """F_SETPIPE_SZ; EPERM where the user's share of pipes is used up."""
    import fcntl

    fcntl.fcntl(fd, 1031, PIPE)


def _until_end(call: Callable[[], int]) -> int:
    moved = 0
    while step := call():
        moved += step
    return moved


def asyncio_(source: int, sink: int, kinds: tuple[str, str]) -> Callable[[], int]:
    """``loop.sock_sendfile`` from files, ``sock_recv_into`` and ``sock_sendall`` between sockets."""
    dst = socket.socket(fileno=sink)
    dst.setblocking(False)

    async def from_file() -> int:
        with open(source, "rb") as file:
            return await asyncio.get_running_loop().sock_sendfile(dst, file, fallback=False)

    async def between() -> int:
        src, loop, moved = socket.socket(fileno=source), asyncio.get_running_loop(), 0
        src.setblocking(False)
        view = memoryview(bytearray(BLOCK))
        while got := await loop.sock_recv_into(src, view):
            await loop.sock_sendall(dst, view[:got])
            moved += got
        src.close()
        return moved

    runner = asyncio.Runner() if sys.version_info >= (3, 11) else None
    work = from_file if kinds[0] == "file" else between

    def copy() -> int:
        moved = runner.run(work()) if runner else asyncio.run(work())
        dst.close()
        return moved

    if runner:
        runner.get_loop()
    return copy


def uvloop_(source: int, sink: int, kinds: tuple[str, str]) -> Callable[[], int]:
    """The same between sockets on uvloop, which has no ``sock_sendfile``."""
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    return asyncio_(source, sink, kinds)


class Counting:
    """The wrapper that somebody puts around a file, to count."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        self.count += len(data)
        return data


def reader(how: str, around: str) -> Callable[[int, int, tuple[str, str]], Callable[[], int]]:
    """A file to a socket the stock way or by gzc, with something around the file or nothing."""

    def prepare(source: int, sink: int, kinds: tuple[str, str]) -> Callable[[], int]:
        import shutil

        import gzc

        file, sock = _gevent_end(kinds[0], source, "rb"), _gevent_end(kinds[1], sink, "wb")
        size, counted = os.fstat(source).st_size, Counting(file)

        def through(_file: Any, _sock: Any) -> int:
            with sock.makefile("wb") as out:
                shutil.copyfileobj(counted, out)
            return counted.count

        def observed(_file: Any, _sock: Any) -> int:
            seen: list[int] = []
            gzc.copy(gzc.observe(file, seen.append), sock)
            return sum(seen)

        ways: dict[tuple[str, str], Callable[[Any, Any], int]] = {
            ("stock", "raw"): lambda file, sock: sock.sendfile(file),
            ("stock", "wrapped"): through,
            ("stock", "limited"): lambda file, sock: sock.sendfile(file, 0, size),
            ("gzc", "raw"): gzc.copy,
            ("gzc", "wrapped"): lambda _file, sock: gzc.copy(counted, sock),
            ("gzc", "limited"): lambda file, sock: gzc.copy(gzc.limit(file, size), sock),
            ("gzc", "observed"): observed,
        }
        return lambda: ways[how, around](file, sock)

    return prepare


CONTENDERS = {"stock": stock, "gzc": gzc, "bare": bare, "hand": hand, "asyncio": asyncio_, "uvloop": uvloop_}
CONTENDERS |= {
    f"{how}-{around}": reader(how, around)
    for how in ("stock", "gzc")
    for around in ("raw", "wrapped", "limited", "observed")
}


def _shut(fd: int) -> None:
    """Let the peer see the end, whoever else may still have the socket."""
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            socket.socket(fileno=os.dup(fd)).shutdown(socket.SHUT_WR)


def main() -> None:
    name, orders = sys.argv[1], socket.socket(fileno=int(sys.argv[2]))
    prepare = CONTENDERS[name]
    while True:
        said, fds, _, _ = socket.recv_fds(orders, 1024, 4)
        if not said:
            return
        first, second, _count = said.decode().split()
        kept = os.dup(fds[1])  # its end is ours to say, after the clock has stopped
        try:
            copy = prepare(fds[0], fds[1], (first, second))
            wall, cpu = time.perf_counter(), time.process_time()
            moved = copy()
            answer: object = [moved, time.perf_counter() - wall, time.process_time() - cpu]
        except Exception as exc:  # noqa: BLE001 - it is the report's to show
            answer = {"error": f"{type(exc).__name__}: {exc}"}
        _shut(kept)
        os.close(kept)
        del copy
        for fd in fds:  # what the contender has not closed
            with contextlib.suppress(OSError):
                os.close(fd)
        orders.send(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
