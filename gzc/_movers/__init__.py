"""What a mover is: one way to move bytes, one attempt at a time; and the one that every pair can use.

A mover is called with how many bytes may still be moved and returns how many it delivered, 0 at end of
file. EAGAIN goes up as BlockingIOError, and ``blocked_on`` then names the one end that can be the cause.
``Declined`` means: not me, and my hands are clean.

Rules of this file: no loop, no waiting, no counting of bytes, no choice between movers.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

from .._ends.description import BLOCK, End, Sink, Source
from .._kernel import syscalls as _syscalls
from .._kernel.transit_pipe import LEAST, Pipe, give_back, take

#: How often a call may answer EAGAIN right after its end was found ready, and still be believed. The end
#: may fill up again between the two questions, so once proves nothing; a file system that answers EAGAIN
#: itself (GPFS, FUSE; cpython#87909) does so every time and would spin for ever (hard case B10).
PATIENCE = 3


class Declined(Exception):
    """This mover cannot serve this pair; nothing it took is lost.

    error
        What the kernel said, if it did.
    refusal
        Whether the fast path is lost by it: not so where the next mover is as good, and may decline in turn.
    """

    def __init__(self, why: str, error: OSError | None = None, *, refusal: bool = True) -> None:
        super().__init__(why)
        self.error = error
        self.refusal = refusal


class Mover(ABC):
    """What the pump needs of each."""

    name: ClassVar[str]
    #: Whether it stands in only for bytes that are not in the page cache, not for a call that was refused.
    only_when_cold: ClassVar[bool] = False
    #: Errnos that mean "not me", with the evidence.
    declines: ClassVar[Mapping[int, str]] = {}

    #: System calls made, or calls of an object's own methods.
    calls = 0
    #: The end that was waited for since the last progress, which the pump clears, and how often before: an EAGAIN of it
    #: now is suspect.
    woken: End | None = None
    _in_vain = 0
    #: Set with what was delivered: the end that has answered EAGAIN behind it.
    stalled: End | None = None
    #: Set by the pump when the turn is over before this step, which each transfer has all the same.
    brief = False
    #: True from before a call until the pump has booked its result: an exception that lands in
    #: between (out of a signal handler) leaves it True, and the count is a lower bound (M22).
    unsure = False

    def __init__(self, source: Source, sink: Sink) -> None:
        self.source = source
        self.sink = sink
        self.blocked_on: End = sink

    @abstractmethod
    def __call__(self, left: float) -> int:
        """Try once to move up to ``left`` bytes; how many were delivered, 0 at end of file.

        :raises BlockingIOError: ``blocked_on`` is not ready, or refuses by itself.
        :raises Declined: this mover cannot go on; another may.
        """

    @abstractmethod
    def despite(self, exc: BaseException) -> int | None:
        """How many bytes the call delivered that raised ``exc``; None when nobody can know."""

    def close(self) -> bytes:
        """End this mover's turn and hand back what it took from the source and did not deliver."""
        return b""

    def wait(self) -> None:
        """Wait in the hub for ``blocked_on``."""
        end = self.blocked_on
        end.wait()
        self._in_vain = self._in_vain + 1 if self.woken is end else 0
        self.woken = end

    def doubt(self, exc: BlockingIOError) -> bool:
        """Whether this EAGAIN can no longer come from ``blocked_on``, which the kernel calls ready."""
        if self.woken is not self.blocked_on or _syscalls.struck(exc):
            return False
        if not self.woken.ready():  # somebody else was quicker
            self._in_vain = 0
            return False
        return self._in_vain >= PATIENCE - 1

    def decline(self, exc: OSError) -> None:
        """Raise ``Declined`` if ``exc`` means "not me"."""
        why = self.declines.get(exc.errno or 0)
        if why is not None and not _syscalls.struck(exc):
            self.unsure = False
            _syscalls.latch(self.name, exc)
            raise Declined(f"{errno.errorcode[exc.errno or 0]}, {why}", exc) from None


class UserSpace(Mover):
    """Read a block and write it: what every pair can do."""

    name = "userspace"

    def __init__(self, source: Source, sink: Sink) -> None:
        super().__init__(source, sink)
        self._held = memoryview(b"")
        self._read: Callable[[int], bytes | memoryview] = source.read
        self._copies = source.borrowed and sink.waits_in_write

    def __call__(self, left: float) -> int:
        if not self._held:
            self.blocked_on = self.source
            self.calls += 1
            self.unsure = True
            self._held = memoryview(self._read(int(min(left, BLOCK))))
            self.unsure = False
            if not self._held:
                return 0
            if len(self._held) > left:
                if not self.source.records:
                    raise ValueError(f"{self.source}: gave {len(self._held)} bytes when asked for {int(left)}")
                self._held = self._held[: int(left)]
            if self._copies:  # what others do to the memory meanwhile must neither show nor be refused
                view = self._held
                self._held = memoryview(bytes(view))
                view.release()
        self.blocked_on = self.sink
        self.calls += 1
        self.unsure = True
        if self.source.borrowed:
            return self._write_borrowed()
        taken = self.sink.write(self._held)
        self._held = self._held[taken:]
        return taken

    def _write_borrowed(self) -> int:
        """Write, and let go of the rest: others may run before the next step, and the owner resize its memory."""
        held, self._held = self._held, memoryview(b"")
        taken = 0
        try:
            taken = self.sink.write(held)
        finally:
            self.source.unread(len(held) - taken)
            _let_go(held)
        return taken

    def despite(self, exc: BaseException) -> int | None:
        moved = self.blocked_on.despite(exc)
        if moved and self.blocked_on is self.sink:
            before, self._held = self._held, self._held[moved:]
            _let_go(before)
        return moved

    def close(self) -> bytes:
        view, self._held = self._held, memoryview(b"")
        held = bytes(view)
        _let_go(view)
        return held


def _let_go(view: memoryview) -> None:
    """Release a view that the traceback of an interruption may keep with its frames: memory must be able to grow."""
    try:  # noqa: SIM105 - contextlib.suppress took half a microsecond of every copy
        view.release()
    except BufferError:  # a thread that hangs has it, too
        pass


class Head(UserSpace):
    """What is buffered above the source's descriptor, which comes first."""

    def __init__(self, source: Source, sink: Sink) -> None:
        super().__init__(source, sink)
        self._read = source.head


def take_pipe(user: object) -> Pipe:
    """A pipe of our own that is worth its calls.

    :raises Declined: there is none to be had.
    """
    try:
        pipe = take(user)
    except OSError as exc:  # EMFILE, ENFILE
        if _syscalls.struck(exc):
            raise
        raise Declined(f"no pipe to be had: {exc.strerror}", exc) from None
    if pipe.capacity < LEAST:
        give_back(pipe)
        raise Declined(f"pipes are down to {pipe.capacity} bytes (pipe-user-pages-soft)")
    return pipe
