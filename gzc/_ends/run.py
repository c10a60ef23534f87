"""``Reader`` and ``Writer``: what a run has of its ends, with all that changes in a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._kernel import signals


class RunEnd:
    """One end of a run."""

    #: Whether ``wait`` works: its calls can answer EAGAIN and be made again.
    waitable: bool = False
    #: Whether an EAGAIN is asked again at once, up to ``retries.SINK`` times, before it is waited for. False where the
    #: other side makes room, or gives, a little at a time.
    retry_eagain: bool = False

    #: The descriptor, asked afresh each time: it is true until the next switch (hard cases O15, O16).
    fileno: Callable[[], int]

    def wait(self) -> None:
        """Wait in the hub until the end is ready; only for those whose calls can answer EAGAIN."""
        raise BlockingIOError(f"{self!r} would block, and gzc does not know how to wait for it")

    def ready(self) -> bool:
        """Whether the kernel calls the end ready at this moment."""
        return True

    def moved_before(self, exc: BaseException) -> int | None:
        """How many bytes ``read`` or ``write`` moved before it raised ``exc``; None when nobody can know."""
        return signals.moved_before(exc)

    def settle(self, count: int) -> None:
        """A mover has ended, and ``count`` bytes went past: set the object's position."""

    def finish(self) -> None:
        """The run has moved all there was: give back what it had, which may wait for storage, and fail."""

    def close(self) -> None:
        """The run was ended by an exception: give back what it still has, and wait for nothing."""


class Reader(RunEnd):
    """Where a run reads."""

    #: Whether what was read and not delivered can be put back, by settling on the delivered count.
    rewindable: bool = False
    #: Whether ``read`` gives a view of the owner's memory, which is to be let go before others run: see ``unread``.
    borrowed: bool = False
    #: Whether it gives records, of which what is beyond a count is cut off, as recv(2) would.
    records: bool = False

    def read(self, count: int) -> bytes | memoryview | int:
        """Up to ``count`` bytes, empty at end of file, or -errno. A view is valid until the next call."""
        raise TypeError(f"{self!r} does not say how to be read")

    def unread(self, count: int) -> None:
        """The next ``read`` is to give the last ``count`` bytes again; only of a borrowed view."""

    def passed(self, count: int) -> None:
        """``count`` more bytes were delivered: who asks for the position meanwhile is to see it (hard case R11)."""


class Writer(RunEnd):
    """Where a run writes."""

    #: Whether ``write`` may wait by itself, so that others run before it is over.
    waits_in_write: bool = False
    #: Whether something may be buffered above the descriptor.
    buffered: bool = False
    #: Of a file: the part of it that is this run's alone, and to be filled first by one that goes on.
    region: Any = None

    def write(self, data: memoryview) -> int:
        """Deliver some of ``data``: how many bytes were taken, or -errno."""
        raise TypeError(f"{self!r} does not say how to be written")

    def flush(self) -> None:
        """Push out what is buffered above the descriptor; called before anything goes below."""
