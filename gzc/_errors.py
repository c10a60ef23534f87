"""The nouns gzc adds to OSError.

What the kernel says is no matter of these: it arrives as the kernel said it.
"""

from __future__ import annotations

from gevent.exceptions import ConcurrentObjectUseError


class Error(Exception):
    """Base of gzc's own errors. None of them is an OSError."""


class NotZeroCopyError(Error):
    """Only a copy through user space was possible, and ``fallback=False`` forbade it."""


class BusyError(Error, ConcurrentObjectUseError):
    """Another transfer, or another greenlet's wait, holds this end in this direction.

    Raised before a byte moves. It is also gevent's ``ConcurrentObjectUseError``, which is what two
    greenlets waiting on one socket have always got.
    """


class TransferClosedError(Error):
    """The transfer was closed, is not exact, or belongs to another process, and cannot go on."""
