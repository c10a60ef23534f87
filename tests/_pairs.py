"""Every source and every sink of the route table, and splice(2) and copy_file_range(2) by script.

Rules: every source begins behind a few bytes that were read before, every sink behind a few that were written
and not flushed, and each can tell what is left in it. Nothing here knows how a pair travels.
"""

# ruff: noqa: SIM115 - what is opened here is given to `Ends.keep`, which closes it

import io
import os
import socket as native
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import pytest
from gevent import socket as gsocket
from gevent.fileobject import FileObjectPosix

from ._ends import MIB, After, Ends, Peer, strike
from ._figures import count as counted
from ._inside import _syscalls

HEAD, TAIL = b"head\n", b"END"
AHEAD = max(io.DEFAULT_BUFFER_SIZE, 8192)  # what a buffered object may have read ahead (R16)


class Given(NamedTuple):
    """A source, how to find out what is left in it, and how much of it may lie in a buffer above the descriptor."""

    obj: Any
    rest: Callable[[], bytes]
    ahead: int = 0


class Taken(NamedTuple):
    """A sink, how to write on behind the copy, and how to find out what it got; None where nobody can."""

    obj: Any
    write: Callable[[bytes], object]
    content: Callable[[], bytes | None]


def pieces(content: bytes, step: int) -> Iterator[bytes]:
    return (content[at : at + step] for at in range(0, len(content), step))


def all_of(read: Callable[[int], bytes]) -> bytes:
    return b"".join(iter(partial(read, MIB), b""))


class _Readable:
    """The read end of a pipe, with the one method `Peer` asks of a socket."""

    def __init__(self, file: Any) -> None:
        self.recv_into = file.readinto
        self.recv = file.read


def pipe_peer(ends: Ends, reader: int) -> Peer:
    """A peer for a pipe, that reads only when it is told to."""
    return ends.peer(_Readable(ends.keep(FileObjectPosix(reader, "rb", 0))))  # type: ignore[arg-type]


def feeding_pipe(ends: Ends, writer: int, parts: Iterable[bytes]) -> Any:
    """A greenlet that writes `parts` and then the end of file."""

    def feed() -> None:
        with FileObjectPosix(writer, "wb", 0) as file:  # nothing to flush when it is killed
            for part in parts:
                view = memoryview(part)
                while view:
                    view = view[file.write(view) :]

    return ends.spawn(feed)


# -- sources -----------------------------------------------------------------------------------------------


def _file(ends: Ends, content: bytes, step: int) -> Given:
    file = ends.file(HEAD + content)
    assert file.read(len(HEAD)) == HEAD
    return Given(file, file.read)


def _feed(ends: Ends, sock: gsocket.socket, content: bytes, step: int) -> None:
    def feed() -> None:
        sock.sendall(HEAD)
        for piece in pieces(content, step):
            sock.sendall(piece)
        sock.shutdown(native.SHUT_WR)

    ends.spawn(feed)


def _socket(family: str) -> Callable[[Ends, bytes, int], Given]:
    def source(ends: Ends, content: bytes, step: int) -> Given:
        here, there = ends.pair(family)
        _feed(ends, there, content, step)
        assert here.recv(len(HEAD)) == HEAD
        return Given(here, partial(all_of, here.recv))

    return source


def _makefile(ends: Ends, content: bytes, step: int) -> Given:
    here, there = ends.unix()
    _feed(ends, there, content, step)
    file = ends.keep(here.makefile("rb"))
    assert file.readline() == HEAD
    return Given(file, file.read, AHEAD)


def _pipe(open_: Callable[..., Any]) -> Callable[[Ends, bytes, int], Given]:
    def source(ends: Ends, content: bytes, step: int) -> Given:
        reader, writer = os.pipe()
        file = ends.keep(open_(reader, "rb"))
        feeding_pipe(ends, writer, (HEAD, *pieces(content, step)))
        gsocket.wait_read(reader)  # it may be in blocking mode
        assert file.read(len(HEAD)) == HEAD

        def read(count: int) -> bytes:
            gsocket.wait_read(reader)
            return file.read1(count)  # type: ignore[no-any-return]

        return Given(file, partial(all_of, read), AHEAD)

    return source


SOURCES: dict[str, Callable[[Ends, bytes, int], Given]] = {
    "file": _file,
    "tcp": _socket("tcp"),
    "unix": _socket("unix"),
    "makefile": _makefile,
    "pipe": _pipe(open),
    "pipe FileObject": _pipe(FileObjectPosix),
}


# -- sinks -------------------------------------------------------------------------------------------------


def _to_file(mode: str) -> Callable[[Ends], Taken]:
    def sink(ends: Ends) -> Taken:
        path = ends.path(HEAD if mode != "wb" else b"to be truncated")
        file = ends.keep(open(path, mode))
        if mode == "r+b":
            assert file.read(2) == HEAD[:2]
            file.seek(0)
        if mode != "ab":
            file.write(HEAD)

        def content() -> bytes:
            file.close()
            return path.read_bytes()

        return Taken(file, file.write, content)

    return sink


def _to_socket(family: str) -> Callable[[Ends], Taken]:
    def sink(ends: Ends) -> Taken:
        here, there = ends.pair(family)
        peer = ends.reading(there)
        here.sendall(HEAD)

        def content() -> bytes:
            here.shutdown(native.SHUT_WR)
            return peer.all()

        return Taken(here, here.sendall, content)

    return sink


def _to_makefile(ends: Ends) -> Taken:
    here, there = ends.unix()
    peer = ends.reading(there)
    file = ends.keep(here.makefile("wb"))
    file.write(HEAD)

    def content() -> bytes:
        file.flush()
        here.shutdown(native.SHUT_WR)
        return peer.all()

    return Taken(file, file.write, content)


def _to_pipe(open_: Callable[..., Any]) -> Callable[[Ends], Taken]:
    def sink(ends: Ends) -> Taken:
        reader, writer = os.pipe()
        peer = pipe_peer(ends, reader).start()
        file = ends.keep(open_(writer, "wb"))
        file.write(HEAD)

        def content() -> bytes:
            gsocket.wait_write(writer)  # it may be in blocking mode, and closing it flushes
            file.close()
            return peer.all()

        return Taken(file, file.write, content)

    return sink


def _to_null(ends: Ends) -> Taken:
    file = ends.keep(open(os.devnull, "wb"))
    file.write(HEAD)
    return Taken(file, file.write, lambda: None)


def _to_bytesio(ends: Ends) -> Taken:
    memory = io.BytesIO()
    memory.write(HEAD)
    return Taken(memory, memory.write, memory.getvalue)


def _to_bytearray(ends: Ends) -> Taken:
    memory = bytearray(HEAD)
    return Taken(memory, memory.extend, lambda: bytes(memory))


SINKS: dict[str, Callable[[Ends], Taken]] = {
    "file wb": _to_file("wb"),
    "file r+b": _to_file("r+b"),
    "file ab": _to_file("ab"),
    "tcp": _to_socket("tcp"),
    "unix": _to_socket("unix"),
    "makefile": _to_makefile,
    "pipe": _to_pipe(open),
    "pipe FileObject": _to_pipe(FileObjectPosix),
    "/dev/null": _to_null,
    "BytesIO": _to_bytesio,
    "bytearray": _to_bytearray,
}


# -- one call by script ------------------------------------------------------------------------------------


class Scripted:
    """A system call of gzc's, real but for the calls named in `answers` (1 is the first; `others` for the rest).

    An int moves no more than that many bytes, 0 none; an OSError is raised as if the kernel had said it; `After`
    makes the call and then raises; anything callable is called before the call is made. `only` picks the calls
    that count at all, by their arguments.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        answers: Mapping[int, object] | None = None,
        *,
        others: object = None,
        only: Callable[..., bool] = lambda *args: True,
        count_at: int = 2,
    ) -> None:
        self.asks: list[tuple[Any, ...]] = []
        self.moved: list[int] = []
        self._answers = dict(answers or {})
        self._others = others
        self._only = only
        self._count_at = count_at
        self._real = getattr(_syscalls, name)
        monkeypatch.setattr(_syscalls, name, self._call)

    def _call(self, *args: Any) -> int:
        if args[0] == -1 or not self._only(*args):
            return int(self._real(*args))
        self.asks.append(args)
        answer = self._answers.get(len(self.asks), self._others)
        if isinstance(answer, OSError):
            counted("errors of a scripted kernel")
            return -(answer.errno or 0)
        if callable(answer):
            answer()
        if type(answer) is int:
            counted("short counts and zeros of a scripted kernel")
            args = (*args[: self._count_at], min(answer, args[self._count_at]), *args[self._count_at + 1 :])
        moved = int(self._real(*args)) if args[self._count_at] else 0
        if moved >= 0:
            self.moved.append(moved)
            if isinstance(answer, After):
                strike(answer.exc)
        return moved

    @property
    def calls(self) -> int:
        return len(self.asks)


def raised(kind: type[BaseException], call: Callable[..., object], *args: Any) -> Any:
    """What `call` raises, which must be of that kind."""
    with pytest.raises(kind) as caught:
        call(*args)
    return caught.value


def is_fifo(fd: int) -> bool:
    """Whether `fd` is a pipe, which a socket or a file is not."""
    return os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:")


def pipes_open() -> int:
    """How many descriptors of this process are pipe ends."""
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            found += is_fifo(int(fd))
        except OSError:  # the listing's own
            continue
    return found
