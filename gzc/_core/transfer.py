"""``Transfer``: plan, run, resume, reclaim, close.

The state of a copy is in the ``Transfer``, in the run's reader and writer, and in the mover. ``_run_mover`` sets
positions and counts in one ``finally``. The exception that interrupts a transfer stays the caller's.
"""

from __future__ import annotations

import contextlib
import math
import operator
import os
from typing import SupportsIndex

import gevent

from .._config import config
from .._ends.description import Source
from .._ends.file_reader import FileReader
from .._ends.file_sinks import FileWriter
from .._ends.known_types import sink as describe_sink
from .._ends.known_types import source as describe_source
from .._ends.memory import Cursor, MemorySource
from .._ends.opaque import opaque_source
from .._ends.run import Reader, Writer
from .._errors import NotZeroCopyError
from .._hub import claims
from .._movers import Declined, Mover
from .._movers.userspace import Head, UserSpace
from . import tally
from .interruption import Interruptible, runs, sign
from .plan import plan
from .pump import pump, tell
from .tally import Tally


class Transfer(Interruptible):
    """A copy as an object: it can be interrupted, asked and resumed. The parameters are those of ``copy``.

    moved
        Bytes delivered so far, over all runs.
    plan
        The ``Plan`` it runs.
    """

    #: Bytes consumed of the description that ``source()`` gave; and how many of them when this plan was made.
    _consumed = _before = 0
    #: -errno of the source, which it reported once, after bytes that are to be delivered first.
    _refusal = 0
    _writer: Writer | None = None

    def __init__(self, src: object, dst: object, count: SupportsIndex | None = None, *, fallback: bool = True) -> None:
        self._born, self._token = claims.generation, object()
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
        self._given = describe_source(self._src)
        self.plan = plan(self._given, describe_sink(dst), self._left, fallback=fallback)

    def run(self) -> int:
        """Move bytes, and after an interruption go on where it stopped. Returns ``moved``.

        :raises TransferClosedError: closed, not exact, or in a forked child.
        """
        self._check_open()
        if not self._done:
            # Size, position and flags are facts of the moment.
            given = describe_source(self._src)
            before = self._consumed if given is self._given else 0  # frozen, it does not know what went past
            source = given.after(before) if before else given
            anew = plan(source, describe_sink(self._dst), self._left, fallback=self._fallback)
            self._given, self._consumed, self._before, self.plan = given, before, before, anew
        return self._run()

    def _run(self) -> int:
        if self._done:
            return self.moved
        source, sink = self.plan.source, self.plan.sink
        self._began, self._ran_in = next(runs), id(gevent.getcurrent())
        self._running = True
        try:
            reader, writer = source.start(), sink.start()
            if self._claimed:
                self._release()
            self._claimed = (source, sink)
            claims.take(self._token, source, sink)  # what it raises has interrupted nothing, and is not signed
            before, self._writer = self._writer, writer
            if isinstance(before, FileWriter) and isinstance(writer, FileWriter) and before.identity == writer.identity:
                writer.region = before.region  # what others have written behind it is to stay behind
            try:
                self._run_plan(reader, writer)
                self._done = True
                reader.finish()
                writer.finish()
            except BaseException as exc:
                reader.close()
                writer.close()
                sign(exc, self)
                raise
            return self.moved
        finally:
            self._running = False
            if self._held is None:
                self._release()

    def _run_plan(self, reader: Reader, writer: Writer) -> None:
        source, sink, movers = self.plan.source, self.plan.sink, self.plan.movers
        if not movers:
            raise NotZeroCopyError(self.plan.reason)
        self._observers = (*source.observers, *sink.observers)
        if self.plan.refused:
            self.plan.refuse()
        if writer.buffered:
            writer.flush()
        if self._held is not None or self._refusal:
            self._go_on(source, writer)
        if source.heads:
            self._run_mover(Head(source, reader, writer), source)
        while movers:
            kind, *rest = movers
            try:
                self._run_mover(kind(reader, writer), source)
                return self._ask_at_end(source, writer)
            except Declined as declined:
                if rest and not declined.refusal:
                    movers = (rest[0], kind, *rest[1:])  # as good, and it may give the turn back
                else:
                    movers = tuple(other for other in rest if not other.only_when_cold)
                why = f"{source} -> {sink}: {kind.name}: {declined}"
                if declined.refusal or not movers:
                    tally.refuse(why, kind.name, source, sink, descriptor=True)
                self._go_on(source, writer)
                if not movers:  # user space never declines: the caller forbade it
                    error = OSError(declined.number, os.strerror(declined.number)) if declined.number else None
                    if self.moved and error:
                        raise error from None
                    raise NotZeroCopyError(why) from error
        raise AssertionError("user space neither ended nor declined")

    def _reserve(self, left: float, reader: FileReader, writer: FileWriter) -> None:
        """Take both ranges first: shutil never yields during a file-to-file copy, so callers take no lock. We yield.

        Not of a size that is a claim: the rest would be zeros in front of others' bytes.
        """
        if reader.identity == writer.identity:
            return
        amount = int(min(left, max(0, reader.size - reader.offset)))
        yields = amount > config.small or not reader.is_cached(reader.offset, amount)
        if yields and reader.size_is_reliable():
            reader.reserve(amount)
            writer.reserve(amount)

    def _run_mover(self, mover: Mover, source: Source) -> None:
        """Run one mover to its end, and settle what went past both ends, whatever ended it."""
        sink, reader, writer = self.plan.sink, mover.reader, mover.writer
        left = self._left
        if source.limit is not None:
            left = min(left, source.limit - (self._consumed - self._before if source is self.plan.source else 0))
        count = Tally(mover, source, sink, left)
        late = 0
        self._settled = False  # a signal handler may interrupt the ``finally``, too
        try:
            if isinstance(reader, FileReader) and isinstance(writer, FileWriter):
                self._reserve(left, reader, writer)
            pump(mover, left, count, self._observers)
        except Declined:
            mover.in_call = False
            raise
        except BaseException as exc:
            if mover.in_call:
                late = self._book_late(mover, exc, count)
            if mover.blocked_on is reader:
                source.translate(exc)
            raise
        finally:
            if mover.in_call:  # nobody can know, or a signal interrupted the question
                self._lost_count = True
            self.moved += count.moved
            self._left -= count.moved
            held = mover.close(not mover.in_call)
            if held and not reader.rewindable:
                self._held = Cursor(held)
            if mover.behind and -mover.behind not in mover.declines:
                self._refusal = mover.behind
            if claims.generation == self._born:  # the position is shared with the parent, and the parent's to set
                self._settle(source, reader, writer, count.moved)
            self._settled = True
            if late:  # positions are set: an observer may give up the turn
                with contextlib.suppress(Exception):  # the caller's is propagating: an observer's must not replace it
                    tell(self._observers, late)

    def _settle(self, source: Source, reader: Reader, writer: Writer, moved: int) -> None:
        consumed = moved if self._held is None or reader.rewindable else moved + self._held.left
        try:
            writer.settle(moved)
            for settler in self.plan.sink.settlers:
                settler(moved)
        finally:
            if source is self.plan.source:
                self._consumed += consumed
            reader.settle(consumed)
            for settler in source.settlers:
                settler(consumed)

    def _ask_at_end(self, source: Source, writer: Writer) -> None:
        """The bytes below have ended: a wrapper's own ``read`` says whether that is the end.

        What it raises, it would have raised in a loop over it; should it still give bytes, they are delivered.
        """
        if source.asks_at_end and self._left and not isinstance(self._src, Source):
            own = opaque_source(self._src, "its own read at the end")
            self._run_mover(UserSpace(own.start(), writer), own)

    def _book_late(self, mover: Mover, exc: BaseException, count: Tally) -> int:
        """``exc`` hid what a step had moved: find out, or admit not to know."""
        late = mover.moved_before(exc)
        if late is None:
            return 0
        count.moved += late
        mover.in_call = False
        tally.book(mover.name, 0, late, 0)
        return late

    def _go_on(self, source: Source, writer: Writer) -> None:
        """Deliver what an earlier run or a mover that declined had taken from the source, and raise what came then."""
        if self._held is not None:
            held = MemorySource(self._held)
            self._run_mover(UserSpace(held.start(), writer), held.limited(self.in_flight))
            self._held = None
        if self._refusal:
            number, self._refusal = -self._refusal, 0
            refusal = OSError(number, os.strerror(number))
            source.translate(refusal)
            raise refusal

    def __repr__(self) -> str:
        return f"<Transfer {self.moved} bytes moved, {self.in_flight} in flight: {self.plan}>"
