"""``trace`` over a block, and its table.

It compares two looks at the totals; nothing that moves bytes knows of it.
"""

from __future__ import annotations

from collections import Counter
from types import TracebackType
from typing import Any

from .._core.tally import BYTES, CALLS, WAITS, Totals, add, ask_for_places, now


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
        self._before = now()
        self._after: Totals | None = None

    def __enter__(self) -> trace:
        self._before, self._after = now(), None
        ask_for_places(self._wants_places)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        ask_for_places(-self._wants_places)
        self._after = now()

    def _delta(self) -> Totals:
        delta = (self._after or now()).since(self._before)
        delta.add(self._others)
        return delta

    @property
    def calls(self) -> Counter[str]:
        return self._delta().column(CALLS)

    @property
    def bytes(self) -> Counter[str]:
        return self._delta().column(BYTES)

    @property
    def waits(self) -> Counter[str]:
        return self._delta().column(WAITS)

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
            add(self._others, name, row["calls"], row["bytes"], row["waits"])
        for refusal in figures["refused"]:
            told = self._others.refuse(refusal["why"], count=refusal["count"])
            for one in refusal["places"]:
                self._others.place(told, one["place"], one["count"])

    def __str__(self) -> str:
        delta = self._delta()
        row = "{:>7} {:>16} {:>10} {:>10}  {}".format
        rule = row("-" * 7, "-" * 16, "-" * 10, "-" * 10, "-" * 16)
        whole = [sum(column) for column in zip(*delta.moved.values(), strict=True)]
        lines = [row("% bytes", "bytes", "calls", "waits", "mechanism"), rule]
        for name, (calls, moved, waits) in sorted(delta.moved.items(), key=lambda item: -item[1][BYTES]):
            if calls:
                share = f"{100 * moved / whole[BYTES]:.2f}" if whole[BYTES] else "0.00"
                lines.append(row(share, moved, calls, waits, name))
        lines += [rule, row("100.00", whole[BYTES], whole[CALLS], whole[WAITS], "total")]
        for why, count in delta.refused.most_common():
            lines.append(f"refused {count} x: {why}")
            lines += [f"    {times} x at {place}" for place, times in _at(delta, why)]
        return "\n".join(lines)


def _at(totals: Totals, why: str) -> list[tuple[str, int]]:
    return [(place, count) for (reason, place), count in totals.places.most_common() if reason == why]
