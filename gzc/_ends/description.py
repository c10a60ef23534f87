"""``Source`` and ``Sink``: pure descriptions of where bytes come from and go to.

Rules of this file: an endpoint knows, the pump moves. A wrapper composes by returning a new description
(``limited``, ``settling``, ``heading`` and so on); it never performs the copy itself. Go lets wrappers perform,
and pays with types whose only purpose is to hide a method from the recursion.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar, TypeVar

import gevent

from .._hub import waiting as _hub
from .._kernel import syscalls as _syscalls

#: Bytes per step through user space. From 64 KiB to 1 MiB the CPU per byte of file to socket was the same
#: within noise, and 256 KiB still fits the second-level cache it is read into and sent from.
BLOCK = 256 * 1024

_E = TypeVar("_E", bound="End")
_S = TypeVar("_S", bound="Source")


def _copy(end: _E) -> _E:
    """What ``copy.copy`` gives, in a fifth of its 2 us: a request body is described in ten such steps."""
    new: _E = object.__new__(type(end))
    new.__dict__.update(end.__dict__)
    return new


class Kind(Enum):
    """What the kernel can do with an end."""

    FILE = "file"  # a regular file: offsets, never EAGAIN, may block on storage
    STREAM = "stream socket"  # connected, tcp or unix
    PIPE = "pipe"  # somebody else's FIFO end
    NULL = "/dev/null"
    MEMORY = "memory"
    OPAQUE = "opaque"  # only its own methods may be used

    # Members are singletons; hashing them by name, as Enum does, cost more than the route lookup itself.
    __hash__ = object.__hash__


class End:
    """What both directions share.

    obj
        The object to claim, kept alive.
    kind, note
        What it is, and a few words why, for ``explain``.
    """

    kind: Kind
    direction: ClassVar[str]
    note: str = ""
    #: Whether two transfers on ``obj`` in one direction would mix: not so for memory and sections.
    exclusive: bool = True
    #: Whether ``wait`` works: its calls can answer EAGAIN and be made again.
    waitable: bool = False
    #: Whether an EAGAIN is soon over, so that asking again at once is cheaper than to wait: not so where the other
    #: side makes room, or gives, a little at a time.
    soon: bool = False
    #: Device and inode of a regular file, whatever may be done with it: to recognize a copy onto itself.
    identity: tuple[int, int] | None = None
    #: Whether there is a descriptor below that a faster way could have used: its refusal is worth a warning.
    has_descriptor: bool = True

    def __init__(self, obj: object) -> None:
        self.obj = obj
        self._settlers: tuple[Callable[[int], None], ...] = ()
        #: To be told after each step how many bytes it delivered.
        self.observers: tuple[Callable[[int], None], ...] = ()

    #: The descriptor, asked afresh each time: it is true until the next switch (hard cases O15, O16).
    fileno: Callable[[], int]

    def check(self) -> None:
        """Raise, before a byte moves, what would keep this greenlet from using the end."""

    def wait(self) -> None:
        """Wait in the hub until the end is ready; only for those whose calls can answer EAGAIN."""
        raise BlockingIOError(f"{self!r} would block, and gzc does not know how to wait for it")

    def ready(self) -> bool:
        """Whether the kernel calls the end ready at this moment."""
        return True

    def despite(self, exc: BaseException) -> int | None:
        """How many bytes ``read`` or ``write`` moved although it raised ``exc``; None when nobody can know.

        An object's own error or a timeout says none; what a signal handler raises in the middle says nothing.
        """
        own = isinstance(exc, (Exception, gevent.Timeout, gevent.GreenletExit))
        return 0 if own and not _syscalls.struck(exc) else None

    def settle(self, count: int) -> None:
        """``count`` bytes went past: set the position, count down limits, tell whoever asked to be told."""
        for settler in self._settlers:
            settler(count)

    def reserve(self, count: int) -> None:
        """The next ``count`` bytes are this copy's: whoever uses the object meanwhile is to find it behind them."""

    def finish(self) -> None:
        """The run has moved all there was: give back what it had, which may wait for storage, and fail."""

    def close(self) -> None:
        """The run was ended by an exception: give back what it still has, and wait for nothing."""

    def settling(self: _E, settler: Callable[[int], None]) -> _E:
        """A description that also tells ``settler`` how many bytes went past, once a run."""
        new = _copy(self)
        new._settlers = (*self._settlers, settler)
        return new

    def observing(self: _E, observer: Callable[[int], None]) -> _E:
        """A description that also tells ``observer`` after each step how many bytes it delivered."""
        new = _copy(self)
        new.observers = (*self.observers, observer)
        return new

    def noted(self: _E, note: str) -> _E:
        """A description with other words about it."""
        new = _copy(self)
        new.note = note
        return new

    def __str__(self) -> str:
        return self.note or self.kind.value

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


class Source(End):
    """Where bytes come from: what ``gzc.source`` answers, and what ``__gzc_source__`` returns.

    offset, size
        For a regular file: the logical position, and the size it claims.
    limit
        The most that may be consumed, or None.
    """

    direction = _hub.READ
    offset: int = 0
    size: int | None = None
    limit: int | None = None
    #: Whether what was read and not delivered can be put back, by settling on the delivered count.
    rewindable: bool = False
    #: Whether ``read`` gives a view of the owner's memory, which is to be let go before others run: see ``unread``.
    borrowed: bool = False
    #: Whether it gives records, of which what is beyond a count is cut off, as recv(2) would.
    records: bool = False
    #: Whether there may be bytes above the descriptor, for ``head`` to hand out first.
    buffered: bool = False
    #: Of how few bytes, if ``limit`` allows no more, a call below is not worth setting up.
    least: int = 0
    #: Whether the object's own ``read`` is to be asked where the bytes below end.
    asks_at_end: bool = False
    _translations: tuple[Callable[[BaseException], BaseException], ...] = ()

    def read(self, count: int) -> bytes | memoryview:
        """Up to ``count`` bytes, empty at end of file. The view is valid until the next call."""
        raise TypeError(f"{self!r} does not say how to be read")

    def unread(self, count: int) -> None:
        """The next ``read`` is to give the last ``count`` bytes again; only of a borrowed view."""

    def despite(self, exc: BaseException) -> int | None:
        """A read that can be made again has moved nothing, whatever struck it."""
        return 0 if self.rewindable else super().despite(exc)

    def settle(self, count: int) -> None:
        if self.limit is not None:
            self.limit -= count
        super().settle(count)

    def passed(self, count: int) -> None:
        """``count`` more bytes were delivered: who asks for the position meanwhile is to see it (hard case R11)."""

    def head(self, count: int) -> bytes:
        """Take up to ``count`` of the bytes buffered above the descriptor: they come first."""
        return b""

    def amount(self) -> int | None:
        """How many bytes are to be had, as far as the source knows beforehand."""
        if self.size is None:
            return None
        rest = max(0, self.size - self.offset)
        return rest if self.limit is None else min(rest, self.limit)

    def heading(self: _S, take: Callable[[int], bytes]) -> _S:
        """A description that hands out what ``take(n)`` gives first, up to ``n`` bytes at a time until it is empty.

        For wrappers that have read ahead of a socket or pipe. It is called while the copy runs, never by
        ``explain``, and what it gave is settled like everything else.

        :raises TypeError: a file or memory, which can be read again from where it was.
        """
        if self.rewindable:
            raise TypeError(f"{self!r} has a position: seek back, and nothing need go before it")
        new = _copy(self)
        below = self.head if self.buffered else lambda _count: b""
        new.buffered = True
        new.head = lambda count: take(count) or below(count)  # type: ignore[method-assign]
        return new

    def worthwhile(self: _S, least: int) -> _S:
        """A description that goes through user space where its limit allows ``least`` bytes or fewer."""
        new = _copy(self)
        new.least = least
        return new

    def ending(self: _S) -> _S:
        """A description at whose end the object's own ``read`` has the last word.

        Only the wrapper knows whether an end is one: a body shorter than promised, or longer than allowed, is
        an error that its ``read`` raises. Of wrappers around one another the outermost is asked.
        """
        new = _copy(self)
        new.asks_at_end = True
        return new

    def failing(self: _S, translate: Callable[[BaseException], BaseException]) -> _S:
        """A description that puts ``translate(exc)`` in the place of what strikes while this end is read.

        For wrappers whose ``read`` answers with an exception of its own, or closes something when one passes
        through, a ``gevent.Timeout`` too: what is to stay itself is given back. Those of nested wrappers are
        asked from the inside out, each with what the last one gave.
        """
        new = _copy(self)
        new._translations = (*self._translations, translate)
        return new

    def at_hand(self, offset: int, count: int) -> bool:
        """Whether these bytes of a file can be had without waiting for storage."""
        return True

    def size_is_reliable(self) -> bool:
        """Whether ``amount`` is what there is, as long as nobody changes the file: only then may a size be framing.

        True for a regular file of local storage. In /proc and /sys, on FUSE and network file systems a size is a
        claim (hard case R3).
        """
        return False

    def fail(self, exc: BaseException) -> None:
        """Raise what a reader of the outermost wrapper sees of ``exc``, which struck while this end was read.

        Nothing is raised if that is ``exc`` itself.
        """
        seen = exc
        try:
            for translate in self._translations:
                seen = translate(seen)
            if seen is not exc:
                raise seen  # its context is what it would be, had the wrapper raised it
        finally:
            del seen  # its traceback has this frame, and with it the caller's files

    def limited(self: _S, count: int) -> _S:
        """A description of at most the next ``count`` bytes; the smallest of nested limits counts."""
        new = _copy(self)
        new.limit = count if self.limit is None else min(count, self.limit)
        return new


class Sink(End):
    """Where bytes go: what ``gzc.sink`` answers, and what ``__gzc_sink__`` returns."""

    direction = _hub.WRITE
    #: Of a file: the part of it that is this run's alone, and to be filled first by one that goes on.
    region: Any = None
    #: Whether ``write`` may wait by itself, so that others run before it is over.
    waits_in_write: bool = False

    def write(self, data: memoryview) -> int:
        """Deliver some of ``data``; how many bytes were taken."""
        raise TypeError(f"{self!r} does not say how to be written")

    def flush(self) -> None:
        """Push out what is buffered above the descriptor; called before anything goes below."""
