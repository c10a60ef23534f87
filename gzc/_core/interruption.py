"""What interrupts a transfer, and what can be asked of one that was interrupted.

The exception stays the caller's own object; the transfers that it interrupted are hung on it, and nothing else.
"""

from __future__ import annotations

import itertools
import warnings
from types import TracebackType
from typing import Any, TypeVar

from .._ends.description import End
from .._ends.memory import Cursor
from .._errors import BusyError, TransferClosedError
from .._hub import claims

_T = TypeVar("_T", bound="Interruptible")

_ATTRIBUTE = "_gzc_transfers"
#: Numbers the runs of this process.
runs = itertools.count(1)


class Interruptible:
    """A transfer between its runs."""

    moved = 0
    _src: object
    #: The process that it belongs to, and what it holds its claims by.
    _born: int
    _token: object
    #: The ends that it has claimed.
    _claimed: tuple[End, ...] = ()
    #: Taken from the source; what is behind its position is not delivered.
    _held: Cursor | None = None
    #: When its last run began, and in which greenlet.
    _began = 0
    _ran_in = 0
    _closed = False
    _lost_count = False
    _running = False
    _settled = True

    @property
    def exact(self) -> bool:
        """Whether ``moved`` is the truth; if not, it is a lower bound, and the transfer is not resumed."""
        return not self._lost_count and (self._settled or self._running)

    @property
    def in_flight(self) -> int:
        """Bytes taken from the source and not yet delivered; a resumed run delivers them first."""
        return 0 if self._held is None else self._held.left

    def _check_open(self) -> None:
        if claims.generation != self._born:
            raise TransferClosedError("the transfer belongs to the process that made it, and this is a fork of it")
        if self._closed:
            raise TransferClosedError("the transfer is closed")
        self._check_idle()
        if not self.exact:
            raise TransferClosedError(
                f"an exception hid what a system call had moved, after {self.moved} bytes or more:"
                " going on might send bytes twice"
            )

    def _check_idle(self) -> None:
        if self._running and claims.generation == self._born:
            raise BusyError("the transfer is running in another greenlet")

    def _release(self) -> None:
        claims.release(self._token, *self._claimed)
        self._claimed = ()

    def reclaim(self) -> bytes:
        """Hand back what was taken from the source and not delivered, and end the transfer.

        :raises BusyError: it is running in another greenlet; kill that first.
        """
        self._check_idle()
        held, self._held = self._held, None
        self.close()
        return b"" if held is None else held.read()

    def close(self) -> None:
        """End the transfer. What was in flight is dropped, with a ``ResourceWarning`` that says how much.

        :raises BusyError: it is running in another greenlet; kill that first.
        """
        if self._closed:
            return
        self._check_idle()
        self._closed = True
        dropped, self._held = self.in_flight, None
        if claims.generation == self._born:
            self._release()
            if dropped:
                message = f"{dropped} bytes taken from {self._src!r} and not delivered are dropped"
                warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    def __enter__(self: _T) -> _T:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if self._held is not None and not self._running:
            self.close()
        else:
            self._release()  # else, interrupted here, it would make the next object with that id busy


def signatures(exc: BaseException) -> tuple[Any, ...]:
    """The transfers that ``exc`` interrupted, innermost first."""
    return getattr(exc, _ATTRIBUTE, ())


def sign(exc: BaseException, *transfers: Interruptible) -> None:
    """Hang the transfers on the exception that interrupted them.

    The object may be one that was thrown before, as a ``gevent.Timeout`` restarted: of the transfers it
    carries only those stay that this very flight went through.
    """
    outer = transfers[-1]
    earlier = [
        one
        for one in signatures(exc)
        if one not in transfers and one._began > outer._began and one._ran_in == outer._ran_in
    ]
    try:
        setattr(exc, _ATTRIBUTE, (*earlier, *transfers))
        exc.transfer = (*earlier, *transfers)[0]  # type: ignore[attr-defined]
    except AttributeError:  # an exception class with slots
        pass
