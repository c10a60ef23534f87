"""The ways to move bytes: one attempt each, no loop.

A mover is called with how many bytes may still be moved and returns how many it delivered, 0 at end of
file. EAGAIN goes up as BlockingIOError, and ``blocked_on`` then names the one end that can be the cause.
``Declined`` means: not me, and my hands are clean.

Rules of this file: no loop, no waiting, no counting of bytes, no choice between movers.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import ClassVar

from . import _syscalls
from ._config import config
from ._disk import Doer, Storage
from ._endpoint import BLOCK, End, Sink, Source
from ._files import FileSink, FileSource
from ._pipe import LEAST, Pipe, give_back, take

#: Bytes one job in the pool may move between two files.
JOB = 8 * 1024 * 1024

#: How often a call may answer EAGAIN right after its end was found ready, and still be believed. The end
#: may fill up again between the two questions, so once proves nothing; a file system that answers EAGAIN
#: itself (GPFS, FUSE; cpython#87909) does so every time and would spin for ever (hard case B10).
PATIENCE = 3


class Declined(Exception):
    """This mover cannot serve this pair; nothing it took is lost. ``error`` is what the kernel said, if it did."""

    def __init__(self, why: str, error: OSError | None = None) -> None:
        super().__init__(why)
        self.error = error


class Mover:
    """What the pump needs of each."""

    name: ClassVar[str]
    #: Errnos that mean "not me", with the evidence.
    declines: ClassVar[Mapping[int, str]] = {}

    def __init__(self, source: Source, sink: Sink) -> None:
        self.source = source
        self.sink = sink
        self.blocked_on: End = sink
        #: System calls made, or calls of an object's own methods.
        self.calls = 0
        #: Set by the pump after a wait, cleared by progress: an EAGAIN now is suspect.
        self.woken = False
        #: True from before a call until the pump has booked its result: an exception that lands in
        #: between (out of a signal handler) leaves it True, and the count is a lower bound (M22).
        self.unsure = False
        self._doubts = 0

    def __call__(self, left: float) -> int:
        """Try once to move up to ``left`` bytes; how many were delivered, 0 at end of file.

        :raises BlockingIOError: ``blocked_on`` is not ready, or refuses by itself.
        :raises Declined: this mover cannot go on; another may.
        """
        raise NotImplementedError

    def despite(self, exc: BaseException) -> int | None:
        """How many bytes the call delivered that raised ``exc``; None when nobody can know."""
        return self.sink.despite(exc)

    def close(self) -> bytes:
        """End this mover's turn and hand back what it took from the source and did not deliver."""
        return b""

    def doubt(self) -> bool:
        """After EAGAIN: whether it can no longer come from ``blocked_on``, which the kernel calls ready."""
        if not self.woken or not self.blocked_on.ready():
            self._doubts = 0
            return False
        self._doubts += 1
        return self._doubts >= PATIENCE

    def _declined(self, exc: OSError) -> Declined | None:
        """What to raise if ``exc`` means "not me"."""
        why = self.declines.get(exc.errno or 0)
        if why is None:
            return None
        self.unsure = False
        _syscalls.latch(self.name, exc)
        return Declined(f"{errno.errorcode[exc.errno or 0]}, {why}", exc)


class FromFile(Doer, Mover):
    """From a regular file at explicit offsets; the one call is left to the subclass."""

    source: FileSource

    def __init__(self, source: Source, sink: Sink) -> None:
        assert isinstance(source, FileSource)
        super().__init__(source, sink)
        self._offset = source.offset
        self._size = source.size or 0

    def _call(self, source_fd: int, sink_fd: int, offset: int, count: int) -> int:
        raise NotImplementedError

    def _most(self) -> int:
        """Bytes one call may move."""
        return config.chunk

    def __call__(self, left: float) -> int:
        offset = self._offset
        ask = int(min(left, self._most(), self._size - offset))
        if ask <= 0:
            return self._end(left)
        source_fd, sink_fd = self.source.fileno(), self.sink.fileno()
        self.calls += 1
        self.unsure = True
        try:
            moved = self._call(source_fd, sink_fd, offset, ask)
        except BlockingIOError as exc:
            if self.doubt():
                self.unsure = False
                raise Declined("the file system answers EAGAIN while the sink is ready", exc) from None
            raise
        except OSError as exc:
            declined = self._declined(exc)
            if declined is None:
                raise
            raise declined from None
        if not moved:
            return self._end(left)
        self._offset = offset + moved
        return moved

    def _end(self, left: float) -> int:
        """The size is reached, or the kernel answered 0: neither is believed before a plain read agrees."""
        self.unsure = False
        if not self.source.has_byte_at(self._offset):
            return 0
        known, self._size = self._size, self.source.grow()
        if self._size > known:  # it grew while it was sent
            return self(left)
        raise Declined("the file holds more than it tells")

    def despite(self, exc: BaseException) -> int | None:
        return 0 if _syscalls.answered(exc) else self.late()


class Sendfile(FromFile):
    """sendfile(2), from a regular file to a stream socket or /dev/null."""

    name = "sendfile"
    declines = _syscalls.SENDFILE_DECLINES

    def _call(self, source_fd: int, sink_fd: int, offset: int, count: int) -> int:
        fds = sink_fd, source_fd
        return int(self.do(self.source.at_hand(offset, count), _syscalls.sendfile, fds, offset, count))


class SpliceFile(FromFile):
    """splice(2), from a regular file into somebody else's pipe."""

    name = "splice"
    declines = _syscalls.SPLICE_DECLINES

    def _call(self, source_fd: int, sink_fd: int, offset: int, count: int) -> int:
        fds = source_fd, sink_fd
        return int(self.do(self.source.at_hand(offset, count), _syscalls.splice, fds, count, offset))


class FileToFile(FromFile):
    """What both ways between regular files share: the offset in the sink, and that they may wait for storage."""

    sink: FileSink

    def __init__(self, source: Source, sink: Sink) -> None:
        super().__init__(source, sink)
        if self.source.identity == self.sink.identity:
            # Overlapping ranges are EINVAL, and a copy onto its own end never ends (hard cases C10 to C12).
            raise Declined("a file is copied onto itself")
        self._shift = self.sink.offset - self._offset

    def _inline(self, offset: int, count: int) -> bool:
        return self.sink.swift(count) and self.source.at_hand(offset, count)

    def _most(self) -> int:
        # A thread holds nobody up, and a job costs 60 us.
        return config.chunk if self.sink.storage is Storage.MEMORY else max(config.chunk, JOB)


class CopyRange(FileToFile):
    """copy_file_range(2), which may share extents or let a server copy."""

    name = "copy_file_range"
    declines = _syscalls.COPY_RANGE_DECLINES

    def _call(self, source_fd: int, sink_fd: int, offset: int, count: int) -> int:
        fds = source_fd, sink_fd
        inline = self._inline(offset, count)
        return int(self.do(inline, _syscalls.copy_file_range, fds, count, offset, offset + self._shift))


class SendfileToFile(FileToFile):
    """sendfile(2) between regular files; it writes at the position of the sink's descriptor."""

    name = "sendfile"
    declines = _syscalls.SENDFILE_DECLINES

    def _call(self, source_fd: int, sink_fd: int, offset: int, count: int) -> int:
        fds = sink_fd, source_fd
        inline = self._inline(offset, count)
        return int(self.do(inline, _syscalls.sendfile_to_file, fds, offset, count, offset + self._shift))


class ThroughPipe(Doer, Mover):
    """splice(2) from a socket or pipe through a pipe of our own."""

    name = "splice"
    declines = _syscalls.SPLICE_DECLINES

    def __init__(self, source: Source, sink: Sink) -> None:
        super().__init__(source, sink)
        self._pipe: Pipe | None = None
        #: Bytes the last call delivered, still counted in ``pipe.held``: what FIONREAD says there can then be
        #: compared with, should the booking be interrupted.
        self._delivered = 0
        self._reading = False
        self._offset = sink.offset if isinstance(sink, FileSink) else None

    def __call__(self, left: float) -> int:
        pipe = self._pipe or self._take()
        pipe.held -= self._delivered
        self._delivered = 0
        if not pipe.held and not self._fill(pipe, left):
            return 0
        self.blocked_on = self.sink
        sink_fd = self.sink.fileno()
        self.calls += 1
        self.unsure = True
        try:
            moved = self._empty(pipe, sink_fd)
        except BlockingIOError as exc:
            if self.doubt():
                raise Declined("the sink answers EAGAIN while it is ready", exc) from None
            raise
        except OSError as exc:
            declined = self._declined(exc)
            if declined is None:
                raise
            raise declined from None
        self._delivered = moved
        return moved

    def _take(self) -> Pipe:
        try:
            pipe = self._pipe = take()
        except OSError as exc:  # EMFILE, ENFILE
            raise Declined(f"no pipe to be had: {exc.strerror}", exc) from None
        if pipe.capacity < LEAST:
            raise Declined(f"pipes are down to {pipe.capacity} bytes (pipe-user-pages-soft)")
        return pipe

    def _fill(self, pipe: Pipe, left: float) -> bool:
        """Move bytes from the source into the empty pipe; False at end of file."""
        self.blocked_on = self.source
        source_fd = self.source.fileno()
        ask = int(min(left, pipe.capacity))
        self.calls += 1
        self.unsure = True
        try:
            pipe.held = _syscalls.splice(source_fd, pipe.writer, ask)
        except BlockingIOError:
            if not self.woken or not self.source.ready():
                self._leave()
                raise
            self._read(pipe, ask)
        except OSError as exc:
            declined = self._declined(exc)
            if declined is None:
                raise
            raise declined from None
        else:
            if not pipe.held:
                self._read(pipe, ask)
        self.unsure = False
        return pipe.held > 0

    def _read(self, pipe: Pipe, ask: int) -> None:
        """A 0 or an EAGAIN of splice from a ready source is confirmed by one plain read.

        At urgent data splice stops for good, while the rest of the stream lies behind it: a 0 loses it, an
        EAGAIN spins (hard cases D1, D2; bugs in Go and HAProxy today). What is read goes the same way on.
        """
        self._reading = True
        data = self.source.read(min(ask, LEAST))
        if data:
            pipe.held = _syscalls.write(pipe.writer, data)
        self._reading = False

    def _empty(self, pipe: Pipe, sink_fd: int) -> int:
        if self._offset is None:
            return _syscalls.splice(pipe.reader, sink_fd, pipe.held)
        assert isinstance(self.sink, FileSink)
        count = min(pipe.held, config.chunk)
        fds = pipe.reader, sink_fd
        moved = int(self.do(self.sink.swift(count), _syscalls.splice, fds, count, None, self._offset))
        self._offset += moved
        return moved

    def _leave(self) -> None:
        """An idle connection holds no pipe."""
        pipe, self._pipe = self._pipe, None
        self.unsure = False
        if pipe is not None:
            give_back(pipe)

    def despite(self, exc: BaseException) -> int | None:
        """Through our own pipe it can be known: FIONREAD tells what is left in it."""
        pipe = self._pipe
        if pipe is None or (self._reading and not _syscalls.answered(exc)):
            return None
        if self.job is not None and self.job.result is None:
            # The thread still has the pipe, and what becomes of these bytes nobody will know. Its call also
            # holds the pipe's mutex, so that even a close would wait for the file system.
            self.job.afterwards(pipe.close)
            self._pipe = None
            return None
        before, pipe.held = pipe.held, _syscalls.unread(pipe.reader)
        self._delivered = 0
        # What an interrupted fill brought is in the pipe now, taken and not delivered.
        return 0 if self.blocked_on is self.source else before - pipe.held

    def close(self) -> bytes:
        pipe, self._pipe = self._pipe, None
        if pipe is None:
            return b""
        pipe.held -= self._delivered
        held = pipe.drain()
        if self.unsure:
            pipe.close()
        else:
            give_back(pipe)
        return held


class UserSpace(Mover):
    """Read a block and write it: what every pair can do."""

    name = "userspace"

    def __init__(self, source: Source, sink: Sink) -> None:
        super().__init__(source, sink)
        self._held = memoryview(b"")

    def _read(self, count: int) -> bytes | memoryview:
        return self.source.read(count)

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
        self.blocked_on = self.sink
        self.calls += 1
        self.unsure = True
        taken = self.sink.write(self._held)
        self._held = self._held[taken:]
        return taken

    def despite(self, exc: BaseException) -> int | None:
        moved = self.blocked_on.despite(exc)
        if moved and self.blocked_on is self.sink:
            self._held = self._held[moved:]
        return moved

    def close(self) -> bytes:
        view, self._held = self._held, memoryview(b"")
        with view:  # the traceback of an interruption keeps its frames, and they the view
            return bytes(view)


class Head(UserSpace):
    """What is buffered above the source's descriptor, which comes first."""

    def _read(self, count: int) -> bytes:
        return self.source.head(count)
