"""``Source`` and ``Sink``: frozen descriptions of where bytes come from and go to, and what a run makes of them.

A description says what an end is; nobody changes it. A wrapper composes by returning a new one (``limited``,
``settling``, ``heading`` and so on) and never performs the copy itself: Go lets wrappers perform, and pays with types
whose only purpose is to hide a method from the recursion. What changes in a copy belongs to the run: ``start`` gives it
a ``Reader`` or a ``Writer``. An end without state, such as a socket, returns itself.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import ClassVar, TypeVar

from .._hub.waiting import READ, WRITE
from .run import Reader, Writer

#: Bytes per step through user space. From 64 KiB to 1 MiB the CPU per byte of file to socket was the same
#: within noise, and 256 KiB still fits the second-level cache it is read into and sent from.
BLOCK = 256 * 1024

_E = TypeVar("_E", bound="End")
_S = TypeVar("_S", bound="Source")


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
    obj: object
    note: str = ""
    #: Whether two transfers on ``obj`` in one direction would mix: not so for memory and sections.
    exclusive: bool = True
    #: Device and inode of a regular file, whatever may be done with it: to recognize a copy onto itself.
    identity: tuple[int, int] | None = None
    #: Whether there is a descriptor below that a faster way could have used: its refusal is worth a warning.
    has_descriptor: bool = True
    #: To be told how many bytes went past when a mover has ended, and after each step.
    settlers: tuple[Callable[[int], None], ...] = ()
    observers: tuple[Callable[[int], None], ...] = ()

    def __init__(self, obj: object) -> None:
        self.obj = obj

    def _with(self: _E, **changes: object) -> _E:
        """A description that differs in ``changes``: what ``copy.copy`` gives, in a fifth of its 2 us."""
        new: _E = object.__new__(type(self))
        new.__dict__.update(self.__dict__, **changes)
        return new

    def settling(self: _E, settler: Callable[[int], None]) -> _E:
        """A description that also tells ``settler`` how many bytes went past since it was told last."""
        return self._with(settlers=(*self.settlers, settler))

    def observing(self: _E, observer: Callable[[int], None]) -> _E:
        """A description that also tells ``observer`` after each step how many bytes it delivered."""
        return self._with(observers=(*self.observers, observer))

    def noted(self: _E, note: str) -> _E:
        """A description with other words about it."""
        return self._with(note=note)

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

    direction = READ
    offset: int = 0
    size: int | None = None
    limit: int | None = None
    #: What hands out bytes that lie above the descriptor, the outermost first.
    heads: tuple[Callable[[int], bytes], ...] = ()
    #: A limit of at most so many bytes goes through user space.
    least: int = 0
    #: Whether the object's own ``read`` is to be asked where the bytes below end.
    asks_at_end: bool = False
    #: Whether it has a position, and can be read again from where it was.
    rewindable: bool = False
    translations: tuple[Callable[[BaseException], BaseException], ...] = ()

    def start(self) -> Reader:
        """What a run reads from.

        :raises BusyError: another greenlet waits for the same.
        """
        raise TypeError(f"{self!r} does not say how to be read")

    def amount(self) -> int | None:
        """How many bytes are to be had, as far as the source knows beforehand."""
        if self.size is None:
            return None
        rest = max(0, self.size - self.offset)
        return rest if self.limit is None else min(rest, self.limit)

    def size_is_reliable(self) -> bool:
        """Whether ``amount`` is what there is, as long as nobody changes the file: only then may a size be framing.

        True for a regular file of local storage. In /proc and /sys, on FUSE and network file systems a size is a
        claim (hard case R3).
        """
        return False

    def after(self: _S, count: int) -> _S:
        """What is left to describe when ``count`` bytes of this have gone past."""
        return self._with(offset=self.offset + count, limit=None if self.limit is None else self.limit - count)

    def limited(self: _S, count: int) -> _S:
        """A description of at most the next ``count`` bytes; the smallest of nested limits counts."""
        return self._with(limit=count if self.limit is None else min(count, self.limit))

    def heading(self: _S, take: Callable[[int], bytes]) -> _S:
        """A description that hands out what ``take(n)`` gives first, up to ``n`` bytes at a time until it is empty.

        For wrappers that have read ahead of a socket or pipe. It is called while the copy runs, never by
        ``explain``, and what it gave is settled like everything else.

        :raises TypeError: a file or memory, which can be read again from where it was.
        """
        if self.rewindable:
            raise TypeError(f"{self!r} has a position: seek back, and nothing need go before it")
        return self._with(heads=(take, *self.heads))

    def slow_below(self: _S, least: int) -> _S:
        """A description that goes through user space where its limit allows ``least`` bytes or fewer."""
        return self._with(least=least)

    def confirming_end(self: _S) -> _S:
        """A description at whose end the object's own ``read`` has the last word.

        Only the wrapper knows whether an end is one: a body shorter than promised, or longer than allowed, is
        an error that its ``read`` raises. Of wrappers around one another the outermost is asked.
        """
        return self._with(asks_at_end=True)

    def translating(self: _S, translate: Callable[[BaseException], BaseException]) -> _S:
        """A description that puts ``translate(exc)`` in the place of what ends a copy while this end is read.

        For wrappers whose ``read`` answers with an exception of its own, or closes something when one passes
        through, a ``gevent.Timeout`` too: return ``exc`` unchanged to leave it as it is. Those of nested wrappers are
        asked from the inside out, each with what the last one gave.
        """
        return self._with(translations=(*self.translations, translate))

    def translate(self, exc: BaseException) -> None:
        """Raise what a reader of the outermost wrapper sees of ``exc``, if that is not ``exc`` itself."""
        seen = exc
        try:
            for translate in self.translations:
                seen = translate(seen)
            if seen is not exc:
                raise seen  # its context is what it would be, had the wrapper raised it
        finally:
            del seen  # its traceback has this frame, and with it the caller's files

    def head(self, count: int) -> bytes:
        """Take up to ``count`` of the bytes above the descriptor, which come first."""
        for take in self.heads:
            if data := take(count):
                return data
        return b""


class Sink(End):
    """Where bytes go: what ``gzc.sink`` answers, and what ``__gzc_sink__`` returns."""

    direction = WRITE

    def start(self) -> Writer:
        """What a run writes to.

        :raises BusyError: another greenlet waits for the same.
        """
        raise TypeError(f"{self!r} does not say how to be written")
