"""A pipe of gzc's own between two ends, and the pool of those that are idle.

A splice into an empty pipe answers EAGAIN because the source has no data; a splice out of a pipe that holds bytes,
because the sink has no room. ``fill`` tops up a pipe that is not empty, and its EAGAIN is ignored. A transfer keeps a
pipe only while it holds bytes; an idle connection has none. A pipe goes back to the pool when its counts say that it is
empty, and to the next transfer when the kernel says so, too: a byte left in it would reach somebody else's client.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from weakref import WeakSet

from .._config import config
from . import syscalls

#: Below this a pipe moves less per call than a buffer: the kernel hands out pipes of two pages once the
#: user's share is used up (pipe-user-pages-soft).
LEAST = 64 * 1024


class NoPipe(Exception):
    """Why there is no pipe that is worth its calls, and the errno of pipe2(2): EMFILE or ENFILE."""


class TransitPipe:
    """``bytes_in`` went in so far and ``bytes_out`` came out: each one store after a call.

    If an exception comes in between, FIONREAD says which of the two is behind.

    :raises NoPipe: no descriptor to be had.
    """

    __slots__ = ("__weakref__", "_open", "bytes_in", "bytes_out", "capacity", "reader", "user", "writer")

    def __init__(self) -> None:
        self.reader = self.writer = -1
        self.bytes_in = self.bytes_out = 0
        #: A token of the transfer that had it last.
        self.user: object = None
        #: Both, while they are open. Closed by popping: interrupted, it must not close somebody else's descriptor.
        self._open: list[int] = []
        if (answer := syscalls.make_pipe(self._open)) < 0:
            raise NoPipe(f"no pipe to be had: {os.strerror(-answer)}", -answer)
        self.reader, self.writer = self._open
        _alive.add(self)
        self.capacity = syscalls.resize_pipe(self.writer, config.pipe_size)

    @property
    def held(self) -> int:
        """Bytes in it."""
        return self.bytes_in - self.bytes_out

    def fill(self, source_fd: int, most: int, tries: int) -> tuple[int, int]:
        """Fill it up to ``most`` bytes, until EAGAIN has come ``tries`` times; the last answer, and how many calls."""
        more, calls = 1, 0
        while tries and self.held < most and more:
            calls += 1
            more = syscalls.splice(source_fd, self.writer, most - self.held)
            if more > 0:
                self.bytes_in += more
            elif more == syscalls.AGAIN:
                tries -= 1
            else:
                break
        return more, calls

    def take_from(self, file_fd: int, count: int, offset: int) -> int:
        """Splice up to ``count`` bytes at ``offset`` of a file into it. A thread that is in it keeps the pipe."""
        return syscalls.splice(file_fd, self.writer, count, offset)

    def give_to(self, file_fd: int, count: int, where: int) -> int:
        """Splice up to ``count`` bytes out of it to ``where`` in a file. A thread that is in it keeps the pipe."""
        return syscalls.splice(self.reader, file_fd, count, None, where)

    def between(self, source_fd: int, sink_fd: int, count: int, offset: int, where: int) -> int:
        """Move up to ``count`` bytes at ``offset`` of one file to ``where`` in another; how many, 0 at the end, -errno.

        For a thread, which may wait. What the source gave and the sink refused is thrown away: it can be read again.
        """
        moved, answer = 0, 1
        try:
            while moved < count and answer > 0:
                if self.held == 0:
                    answer = self.take_from(source_fd, count - moved, offset + moved)
                    self.bytes_in += max(answer, 0)
                else:
                    answer = self.give_to(sink_fd, self.held, where + moved)
                    self.bytes_out += max(answer, 0)
                    moved += max(answer, 0)
        finally:
            if self.held:
                self.drain()
        return moved or answer  # after progress the next call is told the same

    def drain(self) -> bytes:
        """Take out what is in it: less than was counted, if an interruption hid what had gone out."""
        pieces = []
        while self.held > 0 and syscalls.unread(self.reader):
            piece = syscalls.read(self.reader, self.held)
            assert not isinstance(piece, int), "a pipe that is not empty can be read"
            self.bytes_out += len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def close(self, _close_popped: Callable[[list[int]], None] = syscalls.close_popped) -> None:
        """Close both ends; what was in it is gone."""
        while self._open:
            _close_popped(self._open)
        self.reader = self.writer = -1
        self.bytes_out = self.bytes_in

    def __del__(self) -> None:
        if self._open:
            self.close()


_alive: WeakSet[TransitPipe] = WeakSet()

# One pool for the process: a pipe belongs to no hub, and list.append and list.pop are atomic. Last in,
# first out, so that the pipe whose pages are still in the cache is used first.
_idle: list[TransitPipe] = []


def take(user: object) -> TransitPipe:
    """An empty pipe.

    One that changes hands is asked whether it is: what a count had missed would go to the next client. A transfer that
    waits often finds its own again, and the question costs 0.8 us.

    :raises NoPipe: no descriptor to be had, or only pipes of two pages (pipe-user-pages-soft).
    """
    while True:
        try:
            pipe = _idle.pop()
        except IndexError:
            pipe = TransitPipe()
        if pipe.user is user or not syscalls.unread(pipe.reader):
            if pipe.capacity < LEAST:
                pipe.close()
                raise NoPipe(f"pipes are down to {pipe.capacity} bytes (pipe-user-pages-soft)")
            pipe.user = user
            return pipe
        pipe.close()


def give_back(pipe: TransitPipe) -> None:
    """Return an empty pipe; beyond ``config.pool_pipes``, or when its size is no longer wanted, it is closed."""
    if pipe.held == 0 and pipe.reader >= 0 and len(_idle) < config.pool_pipes:
        _idle.append(pipe)
    else:
        pipe.close()


def forget() -> None:
    """In a forked child: both processes would fill and empty the same pipes (hard case D10)."""
    _idle.clear()
    for pipe in list(_alive):
        pipe.close()
