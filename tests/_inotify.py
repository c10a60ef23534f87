"""Who opened, wrote and closed the files of a folder, told by inotify(7)."""

import ctypes
import os
import struct
from collections import Counter
from pathlib import Path
from types import TracebackType

IN_CLOSE_WRITE, IN_OPEN = 0x8, 0x20
_NAMES = {IN_CLOSE_WRITE: "IN_CLOSE_WRITE", IN_OPEN: "IN_OPEN"}
_EVENT = struct.Struct("iIII")


class Watch:
    """`with Watch(folder) as seen:`, then `seen.events()`: how often what happened to which file."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._folder = os.fsencode(folder)

    def __enter__(self) -> "Watch":
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0 or self._libc.inotify_add_watch(self._fd, self._folder, IN_CLOSE_WRITE | IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        os.close(self._fd)

    def events(self) -> Counter[tuple[str, str]]:
        """The events since the last look, as (name of the file, what happened)."""
        found: Counter[tuple[str, str]] = Counter()
        while True:
            try:
                data = os.read(self._fd, 1 << 16)
            except BlockingIOError:
                return found
            while data:
                _, mask, _, length = _EVENT.unpack_from(data)
                name = data[_EVENT.size : _EVENT.size + length].rstrip(b"\0").decode()
                found.update((name, said) for bit, said in _NAMES.items() if mask & bit)
                data = data[_EVENT.size + length :]
