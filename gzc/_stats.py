"""What moved how: totals of the process, and ``trace`` over a block.

Rules of this file: numbers only; nothing here decides anything. A transfer under way is looked at when somebody
asks, so that a trace sees every byte moved before it looks: telling it at every wait cost a third of what a wait
costs.
"""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from time import monotonic
from types import TracebackType
from typing import Any, ClassVar, Protocol

from gevent import monkey

from . import _places
from ._config import MECHANISMS

logger = logging.getLogger("gzc")

# The native lock: totals are shared by the hubs of all threads. Reentrant, because a signal handler
# that copies may run while its own thread is folding.
_new_lock = monkey.get_original("threading", "RLock")
_lock = _new_lock()


def _forked() -> None:
    global _lock
    _lock = _new_lock()  # a thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Origin(Protocol):
    """What is asked of a source."""

    def amount(self) -> int | None: ...


class Counted(Protocol):
    """What a tally must know of a mover."""

    name: ClassVar[str]
    calls: int

    @property
    def source(self) -> Origin: ...

    @property
    def sink(self) -> object: ...


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
            _add(self, name, *row)
        self.refused += other.refused
        self.places += other.places

    def column(self, number: int) -> Counter[str]:
        return Counter({name: row[number] for name, row in self.moved.items()})


_CALLS, _BYTES, _WAITS = range(3)

_warned: set[str] = set()

#: How many traces want to know the places of refusals, which cost some microseconds each.
_asked_for_places = 0
_ZERO = Totals()
_totals = Totals()


class Tally:
    """What one pump run has done so far.

    mover
        Who makes the calls, and counts them.
    moved, waits
        Bytes delivered, and how often it had to wait for that.
    left, began
        The most it was to move, and when it began.
    """

    __slots__ = ("began", "left", "moved", "mover", "waits")

    def __init__(self, mover: Counted, left: float = math.inf) -> None:
        self.mover = mover
        self.left = left
        self.moved = 0
        self.waits = 0
        self.began = monotonic()


#: The tallies of the pump runs under way. Changed without the lock: adding and discarding are one step each.
under_way: set[Tally] = set()


def _now() -> Totals:
    with _lock:
        now = _totals.since(_ZERO)
        for tally in tuple(under_way):
            _add(now, tally.mover.name, tally.mover.calls, tally.moved, tally.waits)
        return now


def _add(totals: Totals, mechanism: str, calls: int, moved: int, waits: int) -> None:
    row = totals.moved[mechanism]
    row[_CALLS] += calls
    row[_BYTES] += moved
    row[_WAITS] += waits


def fold(tally: Tally) -> None:
    """Add a pump run that is over."""
    with _lock:
        under_way.discard(tally)
        _add(_totals, tally.mover.name, tally.mover.calls, tally.moved, tally.waits)


def book(mechanism: str, calls: int, moved: int, waits: int) -> None:
    """Add what was done outside a pump run."""
    with _lock:
        _add(_totals, mechanism, calls, moved, waits)


def refuse(why: str, mechanism: str, source: object, sink: object, *, descriptor: bool) -> None:
    """Count a fast path not taken; say so in the log where there was a descriptor to use.

    The first refusal of its kind is a warning with the line of the caller, since losing the fast path
    is otherwise silent; the following ones are INFO. ``mechanism`` is what was not used; that, the reason and
    the ends are fields of the log record, too, for those who keep their log as JSON.
    """
    place = _places.caller() if _asked_for_places else ""
    with _lock:
        _totals.refused[why] += 1
        if place:
            _totals.places[why, place] += 1
        first = descriptor and why not in _warned
        if first:
            _warned.add(why)
    level = logging.WARNING if first else logging.INFO
    if descriptor and logger.isEnabledFor(level):
        fields = {"why": why, "mechanism": mechanism, "source": str(source), "sink": str(sink)}
        logger.log(level, "not zero-copy: %s", why, stacklevel=_places.level(), extra=fields)


def stats() -> dict[str, dict[str, int]]:
    """Totals since the process started: ``calls``, ``bytes``, ``waits`` by mechanism, ``refused`` by reason."""
    now = _now()
    columns = {"calls": _CALLS, "bytes": _BYTES, "waits": _WAITS}
    return {**{name: dict(now.column(n)) for name, n in columns.items()}, "refused": dict(now.refused)}


class trace:
    """``with gzc.trace() as t:`` counts what this process moves inside the block.

    ``t.calls``, ``t.bytes``, ``t.waits``: by mechanism. ``t.refused``: list of (why, count), one for each
    reason a fast path was not taken. ``str(t)`` is a table in the manner of ``strace -c``. A call that
    was answered EAGAIN counts as a call. The figures may be read while the block runs.

    :param places: also keep the lines of code that led to each refusal, ``t.places``: a list of
        (why, place, count). It costs some microseconds for each refusal in the process while the block runs.
    """

    def __init__(self, *, places: bool = False) -> None:
        self._wants_places = places
        self._others = Totals()
        self._before = _now()
        self._after: Totals | None = None

    def __enter__(self) -> trace:
        self._before, self._after = _now(), None
        _ask_for_places(self._wants_places)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        _ask_for_places(-self._wants_places)
        self._after = _now()

    def _delta(self) -> Totals:
        delta = (self._after or _now()).since(self._before)
        delta.add(self._others)
        return delta

    @property
    def calls(self) -> Counter[str]:
        return self._delta().column(_CALLS)

    @property
    def bytes(self) -> Counter[str]:
        return self._delta().column(_BYTES)

    @property
    def waits(self) -> Counter[str]:
        return self._delta().column(_WAITS)

    @property
    def refused(self) -> list[tuple[str, int]]:
        return self._delta().refused.most_common()

    @property
    def places(self) -> list[tuple[str, str, int]]:
        return [(why, place, count) for (why, place), count in self._delta().places.most_common()]

    def figures(self) -> dict[str, Any]:
        """All of it as plain lists and dicts, such as JSON can say."""
        delta = self._delta()
        return {
            "moved": {
                name: {"calls": calls, "bytes": moved, "waits": waits}
                for name, (calls, moved, waits) in delta.moved.items()
            },
            "refused": [
                {"why": why, "count": count, "places": [{"place": p, "count": n} for p, n in _at(delta, why)]}
                for why, count in delta.refused.most_common()
            ],
        }

    def add(self, figures: dict[str, Any]) -> None:
        """Count what another process has counted, its ``figures()``, as if it had happened here."""
        for name, row in figures["moved"].items():
            _add(self._others, name, row["calls"], row["bytes"], row["waits"])
        for refusal in figures["refused"]:
            self._others.refused[refusal["why"]] += refusal["count"]
            for one in refusal["places"]:
                self._others.places[refusal["why"], one["place"]] += one["count"]

    def __str__(self) -> str:
        delta = self._delta()
        row = "{:>7} {:>16} {:>10} {:>10}  {}".format
        rule = row("-" * 7, "-" * 16, "-" * 10, "-" * 10, "-" * 16)
        whole = [sum(column) for column in zip(*delta.moved.values(), strict=True)]
        lines = [row("% bytes", "bytes", "calls", "waits", "mechanism"), rule]
        for name, (calls, moved, waits) in sorted(delta.moved.items(), key=lambda item: -item[1][_BYTES]):
            if calls:
                share = f"{100 * moved / whole[_BYTES]:.2f}" if whole[_BYTES] else "0.00"
                lines.append(row(share, moved, calls, waits, name))
        lines += [rule, row("100.00", whole[_BYTES], whole[_CALLS], whole[_WAITS], "total")]
        for why, count in delta.refused.most_common():
            lines.append(f"refused {count} x: {why}")
            lines += [f"    {times} x at {place}" for place, times in _at(delta, why)]
        return "\n".join(lines)


def _at(totals: Totals, why: str) -> list[tuple[str, int]]:
    return [(place, count) for (reason, place), count in totals.places.most_common() if reason == why]


def _ask_for_places(change: int) -> None:
    global _asked_for_places
    with _lock:
        _asked_for_places += change
