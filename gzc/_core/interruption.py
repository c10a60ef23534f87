"""Which transfers an exception interrupted.

Rules of this file: the exception stays the caller's own object; the transfers are hung on it, and nothing else.
"""

from __future__ import annotations

import itertools
from typing import Any

import gevent

_ATTRIBUTE = "_gzc_transfers"
_runs = itertools.count(1)


class Interruptible:
    """What must be known of a transfer: when its last run began, and in which greenlet."""

    _began = 0
    _ran_in = 0

    def _begin(self) -> None:
        self._began, self._ran_in = next(_runs), id(gevent.getcurrent())


def signatures(exc: BaseException) -> tuple[Any, ...]:
    """The transfers that ``exc`` interrupted, innermost first."""
    return getattr(exc, _ATTRIBUTE, ())


def sign(exc: BaseException, *struck: Interruptible) -> None:
    """Hang the transfers on the exception that interrupted them.

    The object may be one that was thrown before, as a ``gevent.Timeout`` restarted: of the transfers it
    carries only those stay that this very flight went through.
    """
    outer = struck[-1]
    earlier = [
        one
        for one in signatures(exc)
        if one not in struck and one._began > outer._began and one._ran_in == outer._ran_in
    ]
    try:
        setattr(exc, _ATTRIBUTE, (*earlier, *struck))
        exc.transfer = (*earlier, *struck)[0]  # type: ignore[attr-defined]
    except AttributeError:  # an exception class with slots
        pass
