"""``Transfer``: plan, run, resume, reclaim, close.

Rules of this file: state lives in the transfer and is settled in one ``finally``; the exception that
interrupts it stays the caller's.
"""

from __future__ import annotations

import contextlib
import math
import operator
import warnings
from types import TracebackType
from typing import Any, SupportsIndex

from .._config import config
from .._ends.description import Sink, Source
from .._ends.known_types import sink as describe_sink
from .._ends.known_types import source as describe_source
from .._ends.memory import Cursor, MemorySource
from .._ends.opaque import opaque_source
from .._errors import BusyError, NotZeroCopyError, TransferClosedError
from .._hub import waiting as _hub
from .._kernel import syscalls as _syscalls
from .._movers import Declined, Head, Mover, UserSpace
from . import tally as _stats
from .interruption import Interruptible, sign
from .plan import Plan, plan
from .pump import pump, tell


class Transfer(Interruptible):
    """A copy as an object: it can be interrupted, asked and resumed. The parameters are those of ``copy``.

    moved
        Bytes delivered so far, over all runs.
    plan
        The ``Plan`` it runs.
    """

    moved = 0
    _held = b""
    _broken = False
    _closed = False
    _lost_count = False
    _region: Any = None
    _running = False
    _settled = True

    def __init__(self, src: object, dst: object, count: SupportsIndex | None = None, *, fallback: bool = True) -> None:
        self._born = _hub.generation
        self._claims = _hub.Claims()
        self._left: float = math.inf
        if count is not None:
            self._left = operator.index(count)
            if self._left < 0:
                raise ValueError(f"count must not be negative (got {count!r})")
        # A position of our own where the source has none, so that a resumed run does not begin again.
        self._src = Cursor(src) if issubclass(type(src), (bytes, bytearray, memoryview)) else src  # type: ignore[arg-type]
        self._dst = dst
        self._fallback = fallback
        self._done = self._left == 0
        self.plan = self._describe()

    def _describe(self) -> Plan:
        """Size, position and flags are facts of the moment: asked for each run, never kept."""
        source, sink = describe_source(self._src), describe_sink(self._dst)
        count = None if self._left == math.inf else int(self._left)
        return plan(source, sink, count, fallback=self._fallback)

    @property
    def exact(self) -> bool:
        """Whether ``moved`` is the truth; if not, it is a lower bound, and the transfer is not resumed."""
        return not self._lost_count and (self._settled or self._running)

    @property
    def in_flight(self) -> int:
        """Bytes taken from the source and not yet delivered; a resumed run delivers them first."""
        return len(self._held)

    def run(self) -> int:
        """Move bytes, and after an interruption go on where it stopped. Returns ``moved``.

        :raises TransferClosedError: closed, not exact, or in a forked child.
        """
        self._check_open()
        if not self._done:
            before = self.plan.sink
            self.plan = self._describe()
            if self._region is None and before.identity == self.plan.sink.identity:
                self._region = before.region  # what others have written behind is to stay behind
        return self._run()

    def _check_open(self) -> None:
        if _hub.generation != self._born:
            raise TransferClosedError("the transfer belongs to the process that made it, and this is a fork of it")
        if self._closed:
            raise TransferClosedError("the transfer is closed")
        self._check_idle()
        if not self.exact:
            raise TransferClosedError(
                f"an exception struck between a system call and its booking, after {self.moved} bytes or more:"
                " going on might send bytes twice"
            )

    def _check_idle(self) -> None:
        if self._running and _hub.generation == self._born:
            raise BusyError("the transfer is running in another greenlet")

    def _run(self) -> int:
        if self._done:
            return self.moved
        source, sink = self.plan.source, self.plan.sink
        self._begin()
        self._running = True
        try:
            self._claim(source, sink)  # what it raises has interrupted nothing, and is not signed
            try:
                self._move(source, sink)
                self._done = True
                source.finish()
                sink.finish()
            except BaseException as exc:
                source.close()
                sink.close()
                sign(exc, self)
                raise
            return self.moved
        finally:
            self._running = False
            if not self._held:
                self._claims.release()

    def _move(self, source: Source, sink: Sink) -> None:
        movers = self.plan.movers
        if not movers:
            raise NotZeroCopyError(self.plan.reason)
        self._observers = (*source.observers, *sink.observers)
        self._broken = False
        if self.plan.refused:
            self.plan.refuse()
        sink.flush()
        if self._region is not None:
            sink.region, self._region = self._region, None
        if self._held:
            self._deliver(sink)
        if source.buffered:
            self._leg(Head(source, sink), self._left, source, sink)
        while movers:
            kind, *rest = movers
            try:
                self._leg(kind(source, sink), self._left, source, sink)
                return self._ask_at_end(source, sink)
            except Declined as declined:
                if rest and not declined.refusal:
                    movers = (rest[0], kind, *rest[1:])  # as good, and it may give the turn back
                else:
                    movers = tuple(other for other in rest if not other.only_when_cold)
                why = f"{source} -> {sink}: {kind.name}: {declined}"
                if declined.refusal or not movers:
                    _stats.refuse(why, kind.name, source, sink, descriptor=True)
                if self._held:
                    self._deliver(sink)
                if not movers:  # user space never declines: the caller forbade it
                    if self.moved and declined.error is not None:
                        raise declined.error from None
                    raise NotZeroCopyError(why) from declined.error
            except BaseException:
                if self._broken and self._held:
                    self._deliver(sink)
                raise
        raise AssertionError("user space neither ended nor declined")

    def _leg(self, mover: Mover, left: float, source: Source, sink: Sink) -> None:
        """Run one mover to its end, and settle what went past both ends, whatever ended it."""
        if source.limit is not None:
            left = min(left, source.limit)
        tally, late, declined = _stats.Tally(mover, left), 0, False
        self._settled = False  # a signal handler may strike in the ``finally``, too
        try:
            if source.identity is not None and sink.identity not in (None, source.identity):
                # shutil never yields while it copies between files, so its callers take no lock. We yield: both ranges
                # are taken first. Of a size that is a claim, the rest would be zeros in front of others' bytes.
                amount = int(min(left, source.amount() or 0))
                if self._gives_turns(source, amount) and source.size_is_reliable():
                    source.reserve(amount)
                    sink.reserve(amount)
            pump(mover, left, tally, self._observers)
        except BaseException as exc:
            declined = isinstance(exc, Declined)
            if mover.unsure:
                late = self._book_late(mover, exc, tally)
            if mover.blocked_on is source and not declined:
                # A reset is told once, maybe while the pipe is filled further: what came before it goes first.
                self._broken = _syscalls.answered(exc)
                source.fail(exc)
            raise
        finally:
            if mover.unsure:  # nobody could know, or a signal struck while it was asked
                self._lost_count = True
            self.moved += tally.moved
            self._left -= tally.moved
            held = mover.close()
            if not source.rewindable:
                self._held = held
            if _hub.generation == self._born:  # the position is shared with the parent, and the parent's to set
                try:
                    sink.settle(tally.moved)
                finally:
                    source.settle(tally.moved + len(self._held))
            self._settled = True
            if late:  # positions are set: an observer may give up the turn
                # Unless another mover goes on, the copy is interrupted already, and by the caller's own.
                with contextlib.nullcontext() if declined else contextlib.suppress(Exception):
                    tell(self._observers, late)

    def _gives_turns(self, source: Source, amount: int) -> bool:
        """Whether a copy of ``amount`` bytes between files takes more than one read and one write in the hub."""
        return amount > config.small or not source.at_hand(source.offset, amount)

    def _ask_at_end(self, source: Source, sink: Sink) -> None:
        """The bytes below have ended: a wrapper's own ``read`` says whether that is the end.

        What it raises, it would have raised in a loop over it; should it still give bytes, they are delivered.
        """
        if source.asks_at_end and self._left and not isinstance(self._src, Source):
            own = opaque_source(self._src, "its own read at the end")
            self._leg(UserSpace(own, sink), self._left, own, sink)

    def _book_late(self, mover: Mover, exc: BaseException, tally: _stats.Tally) -> int:
        """``exc`` struck between a call and its booking: find out what the call did, or admit not to know."""
        late = mover.despite(exc)
        if late is None:
            return 0
        tally.moved += late
        mover.unsure = False
        _stats.book(mover.name, 0, late, 0)
        return late

    def _deliver(self, sink: Sink) -> None:
        """Deliver what an earlier run or a mover that declined had taken from the source."""
        cursor = Cursor(self._held)
        held, self._held = self._held, b""
        try:
            self._leg(UserSpace(MemorySource(cursor), sink), len(held), MemorySource(cursor), sink)
        finally:
            self._held = held[cursor.position :]

    def _claim(self, source: Source, sink: Sink) -> None:
        for end in (source, sink):
            end.check()
            if end.exclusive:
                self._claims.take(end.obj, end.direction)

    def reclaim(self) -> bytes:
        """Hand back what was taken from the source and not delivered, and end the transfer.

        :raises BusyError: it is running in another greenlet; kill that first.
        """
        self._check_idle()
        held, self._held = self._held, b""
        self.close()
        return held

    def close(self) -> None:
        """End the transfer. What was in flight is dropped, with a ``ResourceWarning`` that says how much.

        :raises BusyError: it is running in another greenlet; kill that first.
        """
        if self._closed:
            return
        self._check_idle()
        self._closed = True
        dropped, self._held = len(self._held), b""
        if _hub.generation == self._born:
            self._claims.release()
            if dropped:
                message = f"{dropped} bytes taken from {self._src!r} and not delivered are dropped"
                warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    def __enter__(self) -> Transfer:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if self._held and not self._running:
            self.close()
        else:
            self._claims.release()  # a strike while it was released would make the next object with that id busy

    def __repr__(self) -> str:
        return f"<Transfer {self.moved} bytes moved, {self.in_flight} in flight: {self.plan}>"
