"""Read a block and write it: what every pair can do."""

from __future__ import annotations

from collections.abc import Callable

from .._ends.description import BLOCK, Source
from .._ends.run import Reader, Writer
from . import Mover


class UserSpace(Mover):
    """By ``read`` and ``write`` of the ends."""

    name = "userspace"

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self.reader, self.writer = reader, writer
        self.blocked_on = writer
        self._read: Callable[[int], bytes | memoryview | int] = reader.read
        self._held = memoryview(b"")
        self._copies = reader.borrowed and writer.waits_in_write

    def step(self, left: float) -> int:
        if not self._held:
            self.blocked_on = self.reader
            self.calls += 1
            self.in_call = True
            data = self._read(int(min(left, BLOCK)))
            if isinstance(data, int):
                return data
            if not data:
                return 0
            self._held = data if isinstance(data, memoryview) else memoryview(data)
            if len(self._held) > left:
                if not self.reader.records:
                    raise ValueError(f"{self.reader}: gave {len(self._held)} bytes when asked for {int(left)}")
                self._held = self._held[: int(left)]
            if self._copies:  # what others do to the memory meanwhile must neither show nor be refused
                view = self._held
                self._held = memoryview(bytes(view))
                view.release()
        self.blocked_on = self.writer
        self.calls += 1
        self.in_call = True
        if self.reader.borrowed:
            return self._write_borrowed()
        taken = self.writer.write(self._held)
        if taken > 0:
            self._held = self._held[taken:]
        return taken

    def _write_borrowed(self) -> int:
        """Write, and let go of the rest: others may run before the next step, and the owner resize its memory."""
        held, self._held = self._held, memoryview(b"")
        taken = 0
        try:
            taken = self.writer.write(held)
        finally:
            self.reader.unread(len(held) - max(taken, 0))
            _let_go(held)
        return taken

    def moved_before(self, exc: BaseException) -> int | None:
        moved = self.blocked_on.moved_before(exc)
        if moved and self.blocked_on is self.writer:
            before, self._held = self._held, self._held[moved:]
            _let_go(before)
        return moved

    def close(self, exact: bool) -> bytes:
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

    def __init__(self, source: Source, reader: Reader, writer: Writer) -> None:
        super().__init__(reader, writer)
        self._read = source.head
