"""splice(2) through a pipe of gzc's own: from a socket, a pipe or a file that is not cached.

Two halves, each chosen once: what fills the pipe, and what empties it. On entry of a step the pipe may hold bytes that
the sink had no room for. A step that finds none fills the pipe first, so EAGAIN from filling is the source's, and from
emptying the sink's. The pipe is given back before the source is waited for; ``close`` returns the bytes that it holds.
"""

from __future__ import annotations

from .._config import config
from .._ends.file_reader import FileReader
from .._ends.file_sinks import FileWriter
from .._ends.lending import Offload
from .._ends.run import Reader, Writer
from .._kernel import errnos, retries, syscalls, transit_pipe
from .._kernel.disk_pool import PIECE
from .._kernel.storage import Storage
from .._kernel.transit_pipe import LEAST, TransitPipe
from . import Declined, Mover


class SpliceStream(Offload, Mover):
    """From a socket or somebody else's pipe."""

    name = "splice"
    declines = errnos.SPLICE

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self.reader, self.writer = reader, writer
        self.blocked_on = writer
        self._pipe: TransitPipe | None = None
        self._user = object()
        #: ``bytes_out`` at the start of this step; anything beyond it is not in the tally yet.
        self._told = 0
        #: Whether a plain read is under way, whose result no pipe tells.
        self._reading = False
        self._tries = retries.SOURCE
        self._into_file = isinstance(writer, FileWriter)

    def step(self, left: float) -> int:
        pipe = self._pipe
        if pipe is None:
            try:
                pipe = self._pipe = transit_pipe.take(self._user)
            except transit_pipe.NoPipe as exc:
                raise Declined(*exc.args) from None
        told = self._told = pipe.bytes_out
        self.job = None
        if pipe.bytes_in == told:  # it is empty
            self.blocked_on = self.reader
            if self.behind:
                answer, self.behind = self.behind, 0
            else:
                answer = self._fill(pipe, left)
            if answer <= 0:
                return answer if answer in (0, syscalls.AGAIN) else self.refused(answer)
        self.blocked_on = self.writer
        sink_fd = self.writer.fileno()
        self.calls += 1
        self.in_call = True
        answer = (self._empty_into_file if self._into_file else self._empty_into_descriptor)(pipe, sink_fd)
        if answer <= 0:
            return self.refused(answer)
        pipe.bytes_out += answer
        return answer

    # -- the half that fills -------------------------------------------------------------------------------------------

    def _fill(self, pipe: TransitPipe, left: float) -> int:
        """Splice from the source into the empty pipe: bytes in it, 0 at end of file, -errno."""
        source_fd = self.reader.fileno()
        ask = int(min(left, pipe.capacity))
        self.calls += 1
        self.in_call = True
        answer = syscalls.splice(source_fd, pipe.writer, ask)
        if answer > 0:
            pipe.bytes_in += answer
            if self._into_file and not self.writer.write_may_stay_in_hub(answer):  # type: ignore[attr-defined]
                self._gather(pipe, source_fd, ask)
            return pipe.held
        # At urgent data splice stops for good, while the rest of the stream lies behind it: a 0 loses it, an EAGAIN
        # spins (hard cases D1, D2; bugs in Go and HAProxy today). One plain read confirms a 0, and an EAGAIN of a
        # source that was waited for and is ready; what it gives goes the same way on.
        if answer == 0 or (answer == syscalls.AGAIN and self.waited_for is self.reader and self.reader.ready()):
            return self._read(pipe, ask)
        return answer

    def _read(self, pipe: TransitPipe, ask: int) -> int:
        self._reading = True
        data = self.reader.read(min(ask, LEAST))
        if not isinstance(data, int) and data:
            pipe.bytes_in += syscalls.checked(syscalls.write(pipe.writer, data))
        self._reading = False
        return data if isinstance(data, int) else pipe.held

    def _gather(self, pipe: TransitPipe, source_fd: int, ask: int) -> None:
        """Fill the pipe further where emptying it is a job for the pool, as long as the source goes on giving."""
        before = pipe.held
        answer, calls = pipe.fill(source_fd, ask, self._tries)
        if answer < 0 and answer != syscalls.AGAIN:
            self.behind = answer
        self.calls += calls
        self._tries = retries.SOURCE if pipe.held > before else max(self._tries // 2, 1)

    # -- the half that empties -----------------------------------------------------------------------------------------

    def _empty_into_descriptor(self, pipe: TransitPipe, sink_fd: int) -> int:
        return syscalls.splice(pipe.reader, sink_fd, pipe.held)

    def _empty_into_file(self, pipe: TransitPipe, sink_fd: int) -> int:
        writer = self.writer
        assert isinstance(writer, FileWriter)
        # A thread holds nobody up, and a job costs 60 us: all there is at once was 20 % less CPU from tcp to a
        # disk than 256 KiB at a time. One on slow storage must be over within the grace.
        count = pipe.held if writer.storage is Storage.LOCAL else min(pipe.held, PIECE)
        inline = writer.write_may_stay_in_hub(count)
        if not inline and self.lent_by(writer) is None:
            inline, count = True, min(count, PIECE)  # in the hub, as a lock demands, and then not for long
            sink_fd = writer.fileno()  # asked again: others may have run meanwhile
        begin, count = writer.next(count)
        if inline:
            self.job, moved = None, pipe.give_to(sink_fd, count, begin)
        else:
            moved = int(self.call(False, pipe.give_to, (writer,), count, begin))
        writer.region.wrote(max(moved, 0))
        return moved

    # -- the pump's other questions ------------------------------------------------------------------------------------

    def wait(self) -> None:
        """An idle connection holds no pipe."""
        pipe = self._pipe
        if pipe is not None and pipe.bytes_in == pipe.bytes_out:
            self._pipe = None
            transit_pipe.give_back(pipe)
        super().wait()

    def moved_before(self, exc: BaseException) -> int | None:
        """Through a pipe of gzc's own it can be known: FIONREAD tells what is left in it."""
        pipe = self._pipe
        if pipe is None:  # no call has been made
            return 0
        if self._reading and self.reader.moved_before(exc) is None:
            return None
        if self.job is not None and self.still_running():
            # The thread still has the pipe, and what becomes of these bytes nobody will know. Its call also
            # holds the pipe's mutex, so that even a close would wait for the file system.
            self.job.afterwards(pipe.close)
            self._pipe = None
            if isinstance(self.writer, FileWriter):
                self.writer.region.write_off()
            return self._lost()
        held = syscalls.unread(pipe.reader)
        if self.blocked_on is self.reader or pipe.bytes_in == pipe.bytes_out:
            pipe.bytes_in = pipe.bytes_out + held  # what an interrupted fill brought is in the pipe now
        else:
            pipe.bytes_out = pipe.bytes_in - held
        return pipe.bytes_out - self._told

    def _lost(self) -> int | None:
        """How many bytes a call delivered that may never come back."""
        return None

    def close(self, exact: bool) -> bytes:
        pipe, self._pipe = self._pipe, None
        if pipe is None:
            return b""
        if self.job is not None and self.still_running():  # interrupted before anybody asked what became of it
            self.job.afterwards(pipe.close)
            return b""
        held = pipe.drain()
        if exact:
            transit_pipe.give_back(pipe)
        else:
            pipe.close()
        return held


class SpliceColdFile(SpliceStream):
    """From a regular file that has to be waited for: the pool fills the pipe, the hub empties it.

    So a thread never owns the sink, a file system that hangs takes no more than the pipe with it, and what was
    delivered stays exact. Once a whole window is in the page cache again the faster call has its turn: this way
    costs 1.5 times its CPU.
    """

    only_when_cold = True

    reader: FileReader

    def __init__(self, reader: Reader, writer: Writer) -> None:
        assert isinstance(reader, FileReader)
        super().__init__(reader, writer)
        self._begin = self._next = reader.offset

    def _fill(self, pipe: TransitPipe, left: float) -> int:
        reader = self.reader
        if self._next > self._begin and reader.window_is_cached(self._next):
            raise Declined("in the page cache again", refusal=False)
        # An interruption waits for it.
        ask = int(min(left, pipe.capacity, config.chunk, PIECE))
        if self.waited_for is not None:
            reader.forget_cached()
        if reader.size_is_a_lie(self._next, ask):
            raise Declined("the file holds less than it tells")
        cached, fd = reader.is_cached(self._next, ask), reader.fileno()
        self.calls += 1
        self.in_call = True
        answer = int(self.call(cached, pipe.take_from, (fd,), ask, self._next))
        if answer > 0:
            pipe.bytes_in += answer
        reader.still_has(fd)  # else what is in the pipe may be another file's, and is thrown away
        if answer > 0:
            self._next += answer
        elif answer == syscalls.AGAIN:
            raise Declined("the file system answers EAGAIN", -answer)
        elif answer == 0 and reader.has_byte_at(self._next):
            raise Declined("the file holds more than it tells")
        return answer

    def _lost(self) -> int | None:
        return 0 if self.blocked_on is self.reader else None
