"""What the movers share that read a regular file at explicit offsets."""

from __future__ import annotations

from .._ends.file_reader import FileReader
from .._ends.run import Reader, Writer
from . import Declined, Mover


class FromFile(Mover):
    """One call for each step. Its 0, and the size reached, are confirmed by a plain read before they are believed."""

    reader: FileReader

    def __init__(self, reader: Reader, writer: Writer) -> None:
        assert isinstance(reader, FileReader)
        self.reader, self.writer = reader, writer
        self.blocked_on = writer
        self._offset = reader.offset
        self._size = reader.size

    def end(self, left: float) -> int:
        """What a step answers where the kernel answers 0, or the size is reached."""
        if not self.reader.has_byte_at(self._offset):
            return 0
        known, self._size = self._size, self.reader.refresh_size()
        if self._size > known:  # it grew while it was sent
            return self.step(left)
        raise Declined("the file holds more than it tells")
