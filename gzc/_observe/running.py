"""The transfers under way."""

from __future__ import annotations

import math
from heapq import nsmallest
from operator import attrgetter
from time import monotonic
from typing import NamedTuple

from .._core.tally import Tally, under_way

_BEGAN = attrgetter("began")


class Running(NamedTuple):
    """A transfer under way: one line of ``gzc.running()``.

    mechanism, source, sink
        What moves the bytes now, and between which kinds of ends.
    moved, expected
        Bytes delivered so far by this mechanism, and how many it will be at most; None where nobody knows.
    waits, seconds
        How often it has waited for an end, and how long it has been at it.
    """

    mechanism: str
    source: str
    sink: str
    moved: int
    expected: int | None
    waits: int
    seconds: float


def running() -> list[Running]:
    """The transfers of this process that are under way, oldest first. Looks, and touches nothing."""
    return [_seen(tally) for tally in sorted(under_way, key=_BEGAN)]


def oldest(most: int) -> list[Running]:
    """The first ``most`` of ``running()``. Other threads add to the set meanwhile; making a tuple of it is one step."""
    return [_seen(tally) for tally in nsmallest(most, tuple(under_way), key=_BEGAN)]


def _seen(tally: Tally) -> Running:
    amount = tally.source.amount()
    most = min(tally.left, math.inf if amount is None else amount)
    return Running(
        *(tally.mover.name, str(tally.source), str(tally.sink), tally.moved),
        expected=None if most == math.inf else int(most),
        waits=tally.waits,
        seconds=monotonic() - tally.began,
    )
