"""What moved how: totals of the process, and what is under way in it.

Numbers only; nothing here decides anything. A transfer under way is looked at when somebody
asks, so that a trace sees every byte moved before it looks: telling it at every wait cost a third of what a wait
costs.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from time import monotonic

from gevent import monkey

from .._config import MECHANISMS
from .._ends.description import Sink, Source
from .._movers import Mover
from . import callsite

logger = logging.getLogger("gzc")

# The native lock: totals are shared by the hubs of all threads. Reentrant, because a signal handler
# that copies may run while its own thread is folding. Not ``threading.RLock``: after monkey-patching also its
# original makes one of gevent's locks, which took 3 us of each copy.
_new_lock = monkey.get_original("_thread", "RLock")
_lock = _new_lock()


def forget() -> None:
    """In a forked child: a thread of the parent may have held the lock."""
    global _lock
    _lock = _new_lock()


#: How many reasons, and how many of them with their places, are told apart: a reason names a class, and a program
#: that makes classes as it goes would let them grow for ever.
MOST_REASONS = 1000
OTHER_REASONS = f"other reasons, beyond the first {MOST_REASONS}"


class Totals:
    """Calls, bytes and waits by mechanism, refusals by reason, and their places, since some moment."""

    __slots__ = ("moved", "places", "refused")

    def __init__(self) -> None:
        #: mechanism -> [calls, bytes, waits]
        self.moved = {name: [0, 0, 0] for name in MECHANISMS}
        self.refused: Counter[str] = Counter()
        #: (why, where) -> how often; kept only while a trace asks for places
        self.places: Counter[tuple[str, str]] = Counter()

    def since(self, before: Totals) -> Totals:
        """What came after ``before``."""
        delta = Totals()
        for name, now in self.moved.items():
            delta.moved[name] = [new - old for new, old in zip(now, before.moved[name], strict=True)]
        delta.refused = self.refused - before.refused
        delta.places = self.places - before.places
        return delta

    def add(self, other: Totals) -> None:
        for name, row in other.moved.items():
            add(self, name, *row)
        self.refused += other.refused
        self.places += other.places

    def refuse(self, why: str, place: str = "", count: int = 1) -> str:
        """Count a refusal, and its place if there is one; under which reason it is told."""
        told = why if why in self.refused or len(self.refused) < MOST_REASONS else OTHER_REASONS
        self.refused[told] += count
        if place:
            self.place(told, place, count)
        return told

    def place(self, why: str, place: str, count: int) -> None:
        """Count that ``why`` was so at ``place``."""
        if (why, place) in self.places or len(self.places) < MOST_REASONS:
            self.places[why, place] += count

    def column(self, number: int) -> Counter[str]:
        return Counter({name: row[number] for name, row in self.moved.items()})


CALLS, BYTES, WAITS = range(3)

_warned: set[str] = set()

#: How many traces want to know the places of refusals, which cost some microseconds each.
_asked_for_places = 0
_ZERO = Totals()
_totals = Totals()


class Tally:
    """What one pump run has done so far.

    mover, source, sink
        Who makes the calls, and counts them; between which ends.
    moved, waits
        Bytes delivered, and how often it had to wait for that.
    left, began
        The most it was to move, and when it began.
    refused
        Whether the kernel's refusal has ended it.
    """

    __slots__ = ("began", "left", "moved", "mover", "refused", "sink", "source", "waits")

    def __init__(self, mover: Mover, source: Source, sink: Sink, left: float = math.inf) -> None:
        self.mover = mover
        self.source = source
        self.sink = sink
        self.left = left
        self.moved = 0
        self.waits = 0
        self.refused = False
        self.began = monotonic()


#: The tallies of the pump runs under way. Changed without the lock: adding and discarding are one step each.
under_way: set[Tally] = set()


def now() -> Totals:
    with _lock:
        whole = _totals.since(_ZERO)
        for tally in tuple(under_way):
            add(whole, tally.mover.name, tally.mover.calls, tally.moved, tally.waits)
        return whole


def add(totals: Totals, mechanism: str, calls: int, moved: int, waits: int) -> None:
    row = totals.moved[mechanism]
    row[CALLS] += calls
    row[BYTES] += moved
    row[WAITS] += waits


def fold(tally: Tally) -> None:
    """Add a pump run that is over."""
    with _lock:
        under_way.discard(tally)
        add(_totals, tally.mover.name, tally.mover.calls, tally.moved, tally.waits)


def book(mechanism: str, calls: int, moved: int, waits: int) -> None:
    """Add what was done outside a pump run."""
    with _lock:
        add(_totals, mechanism, calls, moved, waits)


def refuse(why: str, mechanism: str, source: object, sink: object, *, descriptor: bool) -> None:
    """Count a fast path not taken; say so in the log where there was a descriptor to use.

    The first refusal of its kind is a warning with the line of the caller, since losing the fast path
    is otherwise silent; the following ones are INFO. ``mechanism`` is what was not used; that, the reason and
    the ends are fields of the log record, too, for those who keep their log as JSON.
    """
    place = callsite.caller() if _asked_for_places else ""
    with _lock:
        told = _totals.refuse(why, place)
        first = descriptor and told not in _warned
        if first:
            _warned.add(told)
    level = logging.WARNING if first else logging.INFO
    if descriptor and logger.isEnabledFor(level):
        fields = {"why": why, "mechanism": mechanism, "source": str(source), "sink": str(sink)}
        logger.log(level, "not zero-copy: %s", why, stacklevel=callsite.level(), extra=fields)


def stats() -> dict[str, dict[str, int]]:
    """Totals since the process started: ``calls``, ``bytes``, ``waits`` by mechanism, ``refused`` by reason."""
    whole = now()
    columns = {"calls": CALLS, "bytes": BYTES, "waits": WAITS}
    return {**{name: dict(whole.column(n)) for name, n in columns.items()}, "refused": dict(whole.refused)}


def ask_for_places(change: int) -> None:
    """Keep the places of refusals from now on (1), or no longer (-1); as often as it was asked for."""
    global _asked_for_places
    with _lock:
        _asked_for_places += change
