"""The mover from a socket or a pipe, through a pipe of our own.

Rules of this file: the pipe is filled only when it is empty and emptied only when it is full, so every EAGAIN
has one cause; it is given back before the source is waited for; what it holds is never forgotten.
"""

from __future__ import annotations

from .._config import config
from .._ends.description import Sink, Source
from .._ends.file_sinks import FileSink
from .._ends.files import FileSource
from .._ends.lending import Doer
from .._kernel import errnos as _declines
from .._kernel import syscalls as _syscalls
from .._kernel.disk_pool import PIECE, Storage
from .._kernel.transit_pipe import LEAST, Pipe, give_back
from .._movers import Declined, Mover, take_pipe

#: How often a source that answers EAGAIN is tried again before what it gave goes to the pool. A job costs 60 us: asked
#: up to 20 times, 0.6 us each, unix to a disk took 20 % less CPU and was 1.3 times as fast, tcp 12 % and 1.4 times.
#: Each round of it that brought nothing halves the next.
GATHER = 20


class ThroughPipe(Doer, Mover):
    """splice(2) from a socket or pipe through a pipe of our own."""

    name = "splice"
    declines = _declines.SPLICE

    def __init__(self, source: Source, sink: Sink) -> None:
        super().__init__(source, sink)
        self._pipe: Pipe | None = None
        self._user = object()
        #: What the pipe had given when the last step began: behind it is what the pump has not booked.
        self._told = 0
        self._relays = not isinstance(source, FileSource) and not isinstance(sink, FileSink)
        self._reading = False
        self._tries = GATHER

    def __call__(self, left: float) -> int:
        pipe = self._pipe
        if pipe is None:
            pipe = self._pipe = take_pipe(self._user)
        told = self._told = pipe.given
        if self._relays and self._relay(pipe, left):
            return pipe.given - told
        if pipe.taken == told and not self._fill(pipe, left):
            return 0
        self.blocked_on = self.sink
        sink_fd = self.sink.fileno()
        self.calls += 1
        self.job = None
        self.unsure = True
        try:
            pipe.given += self._empty(pipe, sink_fd)
        except BlockingIOError as exc:
            if self.doubt(exc):
                raise Declined("the sink answers EAGAIN while it is ready", exc) from None
            raise
        except OSError as exc:
            self.decline(exc)
            raise
        return pipe.given - told

    def _relay(self, pipe: Pipe, left: float) -> bool:
        """As much as goes through the pipe without waiting; whether that delivered anything.

        A 0, and an EAGAIN before anything was delivered, are left to the careful way, which comes next.
        """
        told, calls = pipe.given, pipe.calls
        self.blocked_on = self.source
        try:
            source_fd = self.source.fileno()
        except (OSError, ValueError) as exc:  # closed meanwhile: what it gave before goes first
            if pipe.taken == told or _syscalls.struck(exc):
                raise
            return False
        self.blocked_on = self.sink
        sink_fd = self.sink.fileno()
        self.unsure = True
        try:
            stalled = pipe.relay(source_fd, sink_fd, pipe.capacity if left >= pipe.capacity else int(left))
        except OSError as exc:
            if pipe.taken == pipe.given:
                self.blocked_on = self.source
            try:
                self.decline(exc)
            finally:
                self.unsure = True  # what was delivered before, ``despite`` tells
            raise
        finally:
            self.calls += pipe.calls - calls
        if stalled and pipe.given > told:
            self.stalled = self.sink if pipe.taken > pipe.given else self.source
        return pipe.given > told

    def _fill(self, pipe: Pipe, left: float) -> bool:
        """Move bytes from the source into the empty pipe; False at end of file."""
        self.blocked_on = self.source
        source_fd = self.source.fileno()
        ask = int(min(left, pipe.capacity))
        self.calls += 1
        self.job = None
        self.unsure = True
        try:
            pipe.taken += _syscalls.splice(source_fd, pipe.writer, ask)
            if isinstance(self.sink, FileSink) and pipe.held and not self.sink.swift(pipe.held):
                self._gather(pipe, source_fd, ask)
        except BlockingIOError as exc:
            if self.woken is not self.source or _syscalls.struck(exc) or not self.source.ready():
                raise
            self._read(pipe, ask)
        except OSError as exc:
            self.decline(exc)
            raise
        else:
            if not pipe.held:
                self._read(pipe, ask)
        self.unsure = False
        return pipe.held > 0

    def _gather(self, pipe: Pipe, source_fd: int, ask: int) -> None:
        """Fill the pipe further where emptying it is a job for the pool, as long as the source goes on giving."""
        before, calls = pipe.held, pipe.calls
        pipe.fill(source_fd, ask, self._tries)
        self.calls += pipe.calls - calls
        self._tries = GATHER if pipe.held > before else max(self._tries // 2, 1)

    def _read(self, pipe: Pipe, ask: int) -> None:
        """A 0 or an EAGAIN of splice from a ready source is confirmed by one plain read.

        At urgent data splice stops for good, while the rest of the stream lies behind it: a 0 loses it, an
        EAGAIN spins (hard cases D1, D2; bugs in Go and HAProxy today). What is read goes the same way on.
        """
        self._reading = True
        try:
            data = self.source.read(min(ask, LEAST))
        except BlockingIOError as exc:  # somebody else was quicker
            self._reading = _syscalls.struck(exc)
            raise
        if data:
            pipe.taken += _syscalls.write(pipe.writer, data)
        self._reading = False

    def _empty(self, pipe: Pipe, sink_fd: int) -> int:
        sink = self.sink
        if not isinstance(sink, FileSink):
            return _syscalls.splice(pipe.reader, sink_fd, pipe.held)
        # A thread holds nobody up, and a job costs 60 us: all there is at once was 20 % less CPU from tcp to a
        # disk than 256 KiB at a time. One on slow storage must be over within the grace.
        count = pipe.held if sink.storage is Storage.LOCAL else min(pipe.held, PIECE)
        inline = sink.swift(count)
        if not inline and self.lent_by(sink) is None:
            inline, count = True, min(count, PIECE)  # in the hub, as a lock demands, and then not for long
            sink_fd = sink.fileno()  # asked again: others may have run meanwhile
        begin, count = sink.place(count)
        if inline:
            self.job, moved = None, pipe.give_to(sink_fd, count, begin)
        else:
            moved = int(self.do(False, pipe.give_to, (sink,), count, begin))
        sink.placed(moved)
        return moved

    def wait(self) -> None:
        """An idle connection holds no pipe."""
        pipe = self._pipe
        if pipe is not None and pipe.taken == pipe.given:
            self._pipe = None
            give_back(pipe)
        super().wait()

    def despite(self, exc: BaseException) -> int | None:
        """Through our own pipe it can be known: FIONREAD tells what is left in it."""
        pipe = self._pipe
        if pipe is None or (self._reading and not _syscalls.answered(exc)):
            return None
        if self.job is not None and self.out():
            # The thread still has the pipe, and what becomes of these bytes nobody will know. Its call also
            # holds the pipe's mutex, so that even a close would wait for the file system.
            self.job.afterwards(pipe.close)
            self._pipe = None
            if isinstance(self.sink, FileSink):
                self.sink.abandon()
            return self._lost()
        held = _syscalls.unread(pipe.reader)
        if self.blocked_on is self.source or pipe.taken == pipe.given:
            pipe.taken = pipe.given + held  # what an interrupted fill brought is in the pipe now
        else:
            pipe.given = pipe.taken - held
        return pipe.given - self._told

    def _lost(self) -> int | None:
        """How many bytes a call delivered that may never come back."""
        return None

    def close(self) -> bytes:
        pipe, self._pipe = self._pipe, None
        if pipe is None:
            return b""
        if self.job is not None and self.out():  # a signal handler struck before anybody asked what became of it
            self.job.afterwards(pipe.close)
            return b""
        held = pipe.drain()
        if self.unsure:
            pipe.close()
        else:
            give_back(pipe)
        return held


class ColdFile(ThroughPipe):
    """splice(2) from a regular file that has to be waited for: the pool fills our pipe, the hub empties it.

    So a thread never owns the sink, a file system that hangs takes no more than our pipe with it, and what was
    delivered stays exact. Once a whole window is in the page cache again the faster call has its turn: this way
    costs 1.5 times its CPU.
    """

    only_when_cold = True

    source: FileSource

    def __init__(self, source: Source, sink: Sink) -> None:
        assert isinstance(source, FileSource)
        super().__init__(source, sink)
        self._begin = self._next = source.offset

    def _fill(self, pipe: Pipe, left: float) -> bool:
        self.blocked_on = self.source
        if self._next > self._begin and self.source.far_at_hand(self._next):
            raise Declined("in the page cache again", refusal=False)
        # An interruption waits for it.
        ask = int(min(left, pipe.capacity, config.chunk, PIECE))
        if self.woken:
            self.source.forget()
        if self.source.overstates(self._next, ask):
            raise Declined("the file holds less than it tells")
        at_hand, fd = self.source.at_hand(self._next, ask), self.source.fileno()
        self.calls += 1
        self.job = None
        self.unsure = True
        try:
            pipe.taken += int(self.do(at_hand, pipe.take_from, (fd,), ask, self._next))
        except BlockingIOError as exc:
            if _syscalls.struck(exc):
                raise
            self.unsure = False
            raise Declined("the file system answers EAGAIN", exc) from None
        except OSError as exc:
            self.source.still(fd)
            self.decline(exc)
            raise
        self.source.still(fd)  # else what is in the pipe may be another file's, and is thrown away
        self.unsure = False
        self._next += pipe.held
        if pipe.held:
            return True
        if self.source.has_byte_at(self._next):
            raise Declined("the file holds more than it tells")
        return False

    def _lost(self) -> int | None:
        return 0 if self.blocked_on is self.source else None
