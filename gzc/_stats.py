"""What moved how: totals of the process, and ``trace`` over a block.

Rules of this file: numbers only; nothing here decides anything. A transfer under way is looked at when somebody
asks, so that a trace sees every byte moved before it looks: telling it at every wait cost a third of what a wait
costs.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from types import TracebackType
from typing import ClassVar, Protocol

from gevent import monkey

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


class Counted(Protocol):
    """What a tally must know of a mover."""

    name: ClassVar[str]
    calls: int


class Totals:
    """Calls, bytes and waits by mechanism, and refusals by reason, since some moment."""

    __slots__ = ("moved", "refused")

    def __init__(self) -> None:
        #: mechanism -> [calls, bytes, waits]
        self.moved = {name: [0, 0, 0] for name in MECHANISMS}
        self.refused: Counter[str] = Counter()

    def since(self, before: Totals) -> Totals:
        """What came after ``before``."""
        delta = Totals()
        for name, now in self.moved.items():
            delta.moved[name] = [new - old for new, old in zip(now, before.moved[name], strict=True)]
        delta.refused = self.refused - before.refused
        return delta

    def column(self, number: int) -> Counter[str]:
        return Counter({name: row[number] for name, row in self.moved.items()})


_CALLS, _BYTES, _WAITS = range(3)

_warned: set[str] = set()
_ZERO = Totals()
_totals = Totals()


class Tally:
    """What one pump run has done so far.

    mover
        Who makes the calls, and counts them.
    moved, waits
        Bytes delivered, and how often it had to wait for that.
    """

    __slots__ = ("moved", "mover", "waits")

    def __init__(self, mover: Counted) -> None:
        self.mover = mover
        self.moved = 0
        self.waits = 0


#: The tallies of the pump runs under way. Changed without the lock: adding and discarding are one step each.
running: set[Tally] = set()


def _now() -> Totals:
    with _lock:
        now = _totals.since(_ZERO)
        for tally in tuple(running):
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
        running.discard(tally)
        _add(_totals, tally.mover.name, tally.mover.calls, tally.moved, tally.waits)


def book(mechanism: str, calls: int, moved: int, waits: int) -> None:
    """Add what was done outside a pump run."""
    with _lock:
        _add(_totals, mechanism, calls, moved, waits)


def refuse(why: str, *, descriptor: bool) -> None:
    """Count a fast path not taken; say so in the log where there was a descriptor to use.

    The first refusal of its kind is a warning with the line of the caller, since losing the fast path
    is otherwise silent; the following ones are INFO.
    """
    with _lock:
        _totals.refused[why] += 1
        first = descriptor and why not in _warned
        if first:
            _warned.add(why)
    level = logging.WARNING if first else logging.INFO
    if descriptor and logger.isEnabledFor(level):
        logger.log(level, "not zero-copy: %s", why, stacklevel=_callers_level())


def _callers_level() -> int:
    """How many frames up the first one is that is not gzc's own."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "gzc":
        level, frame = level + 1, frame.f_back
    return level


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
    """

    def __init__(self) -> None:
        self._before = _now()
        self._after: Totals | None = None

    def __enter__(self) -> trace:
        self._before, self._after = _now(), None
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._after = _now()

    def _delta(self) -> Totals:
        return (self._after or _now()).since(self._before)

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
        lines += [f"refused {count} x: {why}" for why, count in delta.refused.most_common()]
        return "\n".join(lines)
