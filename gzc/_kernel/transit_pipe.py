"""Our own pipe between two ends: it knows how many bytes it holds.

Through it every EAGAIN has one cause: filled only when empty, so the source is to blame, and emptied only
when full, so the sink is. It is held only while bytes are in it; an idle connection has none.

Rules of this file: a pipe reaches the pool only when it is known to be empty, and the next client when the kernel says
so, too, because what is left in it would be delivered to him. It is never shared across a fork.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from weakref import WeakSet

from .._config import config
from . import syscalls as _syscalls

#: Below this a pipe moves less per call than a buffer: the kernel hands out pipes of two pages once the
#: user's share is used up (pipe-user-pages-soft).
LEAST = 64 * 1024

#: The most calls of one ``relay``: what the pump spends on a step, 3 us, is then below a tenth of them.
CALLS = 32


class Pipe:
    """A pipe of our own: ``taken`` bytes went in so far and ``given`` came out.

    Each is one store after a call, so whatever strikes in between, FIONREAD says which of the two is behind.
    """

    __slots__ = ("__weakref__", "calls", "capacity", "given", "reader", "taken", "user", "writer")

    def __init__(self) -> None:
        self.reader = self.writer = -1
        self.taken = self.given = 0
        #: How many system calls ``relay`` and ``fill`` have made.
        self.calls = 0
        #: A token of the transfer that had it last.
        self.user: object = None
        self.reader, self.writer = _syscalls.make_pipe()
        _alive.add(self)
        self.capacity = _syscalls.resize_pipe(self.writer, config.pipe_size)

    @property
    def held(self) -> int:
        """Bytes in it."""
        return self.taken - self.given

    def relay(self, source_fd: int, sink_fd: int, most: int) -> bool:
        """Move up to ``most`` bytes from one descriptor to the other; whether EAGAIN ended that.

        What sendfile(2) would be, were there one between sockets: as many calls as go without waiting. ``given`` says
        how far it came, also when it raises.
        """
        splice = _syscalls.splice_now
        end, last = self.given + most, self.calls + CALLS
        moved = 1
        while self.given < end and self.calls < last and moved > 0:
            self.calls += 1
            if self.taken > self.given:
                if (moved := splice(self.reader, sink_fd, self.taken - self.given)) > 0:
                    self.given += moved
            elif (moved := splice(source_fd, self.writer, end - self.given)) > 0:
                self.taken += moved
        return moved < 0  # 0 is the end, or urgent data

    def fill(self, source_fd: int, most: int, tries: int) -> None:
        """Fill it up to ``most`` bytes, until EAGAIN has come ``tries`` times, or the end."""
        while tries and self.held < most:
            self.calls += 1
            more = _syscalls.splice_now(source_fd, self.writer, most - self.held)
            if not more:  # the end, or urgent data
                break
            if more > 0:
                self.taken += more
            else:
                tries -= 1

    def take_from(self, file_fd: int, count: int, offset: int) -> int:
        """Take up to ``count`` bytes at ``offset`` of a file. A thread that is in it keeps the pipe."""
        return _syscalls.splice(file_fd, self.writer, count, offset)

    def give_to(self, file_fd: int, count: int, where: int) -> int:
        """Give up to ``count`` bytes to a file, to be written at ``where``. A thread that is in it keeps the pipe."""
        return _syscalls.splice(self.reader, file_fd, count, None, where)

    def between(self, source_fd: int, sink_fd: int, count: int, offset: int, where: int) -> int:
        """Move up to ``count`` bytes at ``offset`` of one file to ``where`` in another; how many, 0 at the end.

        For a thread, which may wait. What the source gave and the sink refused is thrown away: it can be read again.
        """
        moved = 0
        try:
            while moved < count:
                if self.held == 0:
                    self.taken += _syscalls.splice(source_fd, self.writer, count - moved, offset + moved)
                    if self.held == 0:
                        break
                written = _syscalls.splice(self.reader, sink_fd, self.held, None, where + moved)
                self.given += written
                moved += written
        except OSError as exc:
            if not moved or _syscalls.struck(exc):  # else the next call is told the same
                raise
        finally:
            if self.held:
                self.drain()
        return moved

    def drain(self) -> bytes:
        """Take out what is in it: less than was counted, where a strike hid what had gone out already."""
        pieces = []
        while self.held > 0 and _syscalls.unread(self.reader):
            piece = _syscalls.read(self.reader, self.held)
            self.given += len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def close(self, _close: Callable[[int], None] = _syscalls.close) -> None:
        """Close both ends; what was in it is gone."""
        for fd in (self.reader, self.writer):
            if fd >= 0:
                _close(fd)
        self.reader = self.writer = -1
        self.given = self.taken

    def __del__(self) -> None:
        if self.reader >= 0:
            self.close()


_alive: WeakSet[Pipe] = WeakSet()

# One pool for the process: a pipe belongs to no hub, and list.append and list.pop are atomic. Last in,
# first out, so that the pipe whose pages are still in the cache is used first.
_idle: list[Pipe] = []


def take(user: object) -> Pipe:
    """An empty pipe.

    One that changes hands is asked whether it is: what a count had missed would go to the next client. A transfer that
    waits often finds its own again, and the question costs 0.8 us.

    :raises OSError: EMFILE or ENFILE, no descriptor to be had.
    """
    while True:
        try:
            pipe = _idle.pop()
        except IndexError:
            pipe = Pipe()
        if pipe.user is user or not _syscalls.unread(pipe.reader):
            pipe.user = user
            return pipe
        pipe.close()


def give_back(pipe: Pipe) -> None:
    """Return an empty pipe; beyond ``config.pool_pipes``, or when its size is no longer wanted, it is closed."""
    if pipe.held == 0 and pipe.reader >= 0 and len(_idle) < config.pool_pipes and pipe.capacity >= LEAST:
        _idle.append(pipe)
    else:
        pipe.close()


def _forget() -> None:
    """In a forked child: both processes would fill and empty the same pipes (hard case D10)."""
    _idle.clear()
    for pipe in list(_alive):
        pipe.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
