"""The ways to move bytes: one attempt each, no loop.

A mover is called with how many bytes may still be moved and returns how many it delivered, 0 at end of
file. EAGAIN goes up as BlockingIOError, and ``blocked_on`` then names the one end that can be the cause.
``Declined`` means: not me, and my hands are clean.

Rules of this file: no loop, no waiting, no counting of bytes, no choice between movers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from . import _syscalls
from ._config import config
from ._endpoint import BLOCK, End, Sink, Source
from ._files import FileSource

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
    #: Whether the bytes go below both objects, whose positions must then be set.
    below: ClassVar[bool]
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

    def close(self) -> memoryview:
        """End this mover's turn and hand back what it took from the source and did not deliver."""
        return memoryview(b"")

    def failed(self, exc: BaseException) -> None:
        """An exception came out of the call: clear ``unsure`` if it says that nothing moved."""
        if self.sink.innocent(exc):
            self.unsure = False

    def doubt(self) -> bool:
        """After EAGAIN: whether it can no longer come from ``blocked_on``, which the kernel calls ready."""
        if not self.woken or not self.blocked_on.ready():
            self._doubts = 0
            return False
        self._doubts += 1
        return self._doubts >= PATIENCE


class Sendfile(Mover):
    """sendfile(2), from a regular file to a stream socket, at explicit offsets."""

    name = "sendfile"
    below = True
    declines = _syscalls.SENDFILE_DECLINES

    source: FileSource

    def __init__(self, source: Source, sink: Sink) -> None:
        assert isinstance(source, FileSource)
        super().__init__(source, sink)
        self._offset = source.offset
        self._size = source.size or 0

    def __call__(self, left: float) -> int:
        offset = self._offset
        ask = int(min(left, config.chunk, self._size - offset))
        if ask <= 0:
            return self._end(left)
        self.calls += 1
        self.unsure = True
        try:
            moved = _syscalls.sendfile(self.sink.fileno(), self.source.fileno(), offset, ask)
        except BlockingIOError as exc:
            if self.doubt():
                self.unsure = False
                raise Declined("the file system answers EAGAIN while the socket is writable", exc) from None
            raise
        except OSError as exc:
            why = self.declines.get(exc.errno or 0)
            if why is None:
                raise
            self.unsure = False
            _syscalls.latch(self.name, exc)
            raise Declined(why, exc) from None
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
        raise Declined("the file holds more than it tells sendfile")


class UserSpace(Mover):
    """Read a block and write it: what every pair can do."""

    name = "userspace"
    below = False

    def __init__(self, source: Source, sink: Sink) -> None:
        super().__init__(source, sink)
        self._held = memoryview(b"")

    def __call__(self, left: float) -> int:
        if not self._held:
            self.blocked_on = self.source
            self.calls += 1
            self.unsure = True
            self._held = memoryview(self.source.read(int(min(left, BLOCK))))
            self.unsure = False
            if not self._held:
                return 0
        self.blocked_on = self.sink
        self.calls += 1
        self.unsure = True
        taken = self.sink.write(self._held)
        self._held = self._held[taken:]
        return taken

    def failed(self, exc: BaseException) -> None:
        if self.blocked_on.innocent(exc):
            self.unsure = False

    def close(self) -> memoryview:
        held, self._held = self._held, memoryview(b"")
        return held
