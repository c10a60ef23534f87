"""What a path led to: held by a descriptor, so that what is judged is what is served.

Whoever changes the tree meanwhile changes nothing. openat2(2) has RESOLVE_BENEATH for that, but would refuse links
that lead to another place of the same folder.

A path is opened once, and what is asked about the file is asked of that descriptor. Nothing is read here.
"""

from __future__ import annotations

import errno
import os
import stat
from types import TracebackType

#: What an error of the file system is to a client; any other is the server's own trouble (503).
STATUSES = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG), 404),
    **dict.fromkeys((errno.EACCES, errno.EPERM), 403),
}


class LeftOut:
    """Leaves out what has gone away, leads to itself, or is not ours to see; other errors are no fault of an entry."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> bool:
        return isinstance(exc, OSError) and exc.errno in STATUSES


class Found:
    """What a path led to when it was opened: neither read nor written (O_PATH), and not to be exchanged any more.

    path
        Relative to the descriptor ``folder``, if there is one.

    :raises OSError: the path leads nowhere, or may not be followed.
    """

    def __init__(self, path: str, folder: int | None = None) -> None:
        self.number = os.open(path, os.O_PATH | os.O_CLOEXEC, dir_fd=folder)
        try:
            self.path = os.readlink(self._itself)
            self.status = os.fstat(self.number)
        except BaseException:
            self.close()
            raise

    @property
    def _itself(self) -> str:
        return f"/proc/self/fd/{self.number}"

    def is_file(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)

    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    def open(self) -> int:
        """A descriptor to read it by. O_NONBLOCK is for leases, for whose holder open(2) would wait."""
        return os.open(self._itself, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self.number)

    def __enter__(self) -> Found:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def shown(name: str) -> str:
    """A name as headers and pages can have it, also where it is no UTF-8 or has line breaks in it."""
    decoded = os.fsencode(name).decode(errors="replace")
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in decoded)
