"""Regular files to read.

The position is the object's logical one (``tell()``), never that of the descriptor: after ``f.read(4); f.seek(0)`` the
descriptor is at 4096 and the file at 0 (hard cases O1 to O6).
"""

from __future__ import annotations

import fcntl
import io
import os
import stat
from typing import Any

from .._kernel import storage as storages
from .._kernel.signals import from_signal_handler
from .._kernel.storage import Storage
from .description import End, Kind, Source
from .fifos import FifoSource
from .file_reader import DirectReader, FileReader, SectionReader
from .opaque import OpaqueSource
from .run import Reader

O_DIRECT = getattr(os, "O_DIRECT", 0)


class FileEnd(End):
    """What the descriptions of both directions share."""

    kind = Kind.FILE
    note = "regular file"
    obj: Any
    identity: tuple[int, int]


class FileSource(FileEnd, Source):
    """A regular file, read from its logical position."""

    rewindable = True

    def __init__(self, obj: Any, status: os.stat_result) -> None:
        self.obj = obj
        self.identity = (status.st_dev, status.st_ino)
        self.offset = obj.tell()
        self.size = status.st_size

    def start(self) -> Reader:
        return FileReader(self)

    def size_is_reliable(self) -> bool:
        return storages.storage(self.obj.fileno()) in (Storage.LOCAL, Storage.MEMORY)


class DirectSource(FileSource):
    """A file opened with O_DIRECT."""

    kind = Kind.OPAQUE
    note = "file opened with O_DIRECT"

    def start(self) -> Reader:
        return DirectReader(self)


class SectionSource(FileSource):
    """A part of a file, which does not move the file's own position."""

    exclusive = False
    note = "section of a file"

    def start(self) -> Reader:
        return SectionReader(self, self.offset)


def section_below(whole: FileSource, offset: int, end: int) -> Source:
    """Describe the bytes of ``whole`` from ``offset`` to ``end``."""
    section = object.__new__(SectionSource)
    limit = end - offset if whole.limit is None else min(whole.limit, end - offset)
    section.__dict__.update(whole.__dict__, offset=offset, limit=limit)
    section.__dict__.pop("note", None)
    return section


def opened(file: Any, able: str) -> tuple[os.stat_result, int]:
    """What is below a binary ``io`` object that is ``able``, readable or writable, and the flags of its descriptor.

    The flags are asked at each copy, because they can change: the mode of the object does not tell (hard case C4).
    """
    if not getattr(file, able)():
        raise io.UnsupportedOperation(f"not {able}")
    fd = file.fileno()
    return os.fstat(fd), fcntl.fcntl(fd, fcntl.F_GETFL)


def source_below(file: Any) -> Source:
    """Describe a binary ``io`` object that can be read and whose descriptor is its own."""
    status, flags = opened(file, "readable")
    if stat.S_ISFIFO(status.st_mode):
        return FifoSource(file)
    if not stat.S_ISREG(status.st_mode):
        return OpaqueSource(file, "device or directory", getattr(file, "read1", file.read))
    try:
        return (DirectSource if flags & O_DIRECT else FileSource)(file, status)
    except OSError as exc:  # a FUSE file opened as a stream cannot tell
        if from_signal_handler(exc):
            raise
        return OpaqueSource(file, "file that cannot seek", file.read)
