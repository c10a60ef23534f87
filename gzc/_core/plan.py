"""Which movers serve which pair: a total table, and the ``Plan`` read from it.

Every pair of kinds has its entry, and a plan is both what ``explain`` prints and what ``copy`` runs, so it cannot lie.
A new way to move bytes is a new mover here, not a change to the pump.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

from .._config import config
from .._ends.description import Kind, Sink, Source
from .._kernel import errnos
from .._movers import Mover
from .._movers.copy_range import CopyRange, SpliceFileToFile
from .._movers.sendfile import Sendfile, SpliceFileToPipe
from .._movers.splice import SpliceColdFile, SpliceStream
from .._movers.userspace import UserSpace
from . import tally


@dataclass(frozen=True, slots=True)
class Route:
    """The movers to try for a pair of kinds, fastest first; user space ends every list."""

    movers: tuple[type[Mover], ...]
    reason: str
    #: True if user space is a fall-back worth reporting; False for memory, where it is the only way.
    refusal: bool = False


_BELOW = (Kind.FILE, Kind.STREAM, Kind.PIPE, Kind.NULL)


def _table() -> dict[tuple[Kind, Kind], Route]:
    table: dict[tuple[Kind, Kind], Route] = {}
    for source, sink in product(Kind, Kind):
        if Kind.MEMORY in (source, sink):
            route = Route((UserSpace,), "the bytes are, or are wanted, in the program's own memory")
        else:
            route = Route((UserSpace,), "{opaque}: only its own methods may be used", refusal=True)
        table[source, sink] = route
    for source, sink in product((Kind.STREAM, Kind.PIPE), _BELOW):
        reason = f"a {source.value} to a {sink.value}, through a pipe of our own"
        table[source, sink] = Route((SpliceStream, UserSpace), reason)
    table[Kind.FILE, Kind.STREAM] = Route((Sendfile, SpliceColdFile, UserSpace), "a regular file to a stream socket")
    table[Kind.FILE, Kind.NULL] = Route((Sendfile, SpliceColdFile, UserSpace), "a regular file to /dev/null")
    table[Kind.FILE, Kind.PIPE] = Route((SpliceFileToPipe, SpliceColdFile, UserSpace), "a regular file to a pipe")
    table[Kind.FILE, Kind.FILE] = Route((CopyRange, SpliceFileToFile, UserSpace), "between regular files")
    return table


ROUTES = _table()


@dataclass(slots=True, repr=False)
class Plan:
    """How a copy would go, or goes.

    mechanism
        ``"sendfile"``, ``"splice"``, ``"copy_file_range"`` or ``"userspace"``: the first to be tried.
    reason
        Why this one.
    movers
        What is tried, in this order. One that declines leaves the rest to the next.
    refused
        Whether a fast path was there to be wished for and is not taken.
    """

    source: Source
    sink: Sink
    count: int | None
    movers: tuple[type[Mover], ...]
    reason: str
    refused: bool = False

    @property
    def mechanism(self) -> str:
        return self.movers[0].name if self.movers else UserSpace.name

    def refuse(self) -> None:
        """Count the refusal, and say so in the log: for ``copy``, and for seams that then fall back."""
        descriptor = self.source.has_descriptor and self.sink.has_descriptor
        tally.refuse(self.reason, self.mechanism, self.source, self.sink, descriptor=descriptor)

    def __repr__(self) -> str:
        return f"<Plan {self}>"

    def __str__(self) -> str:
        how = ", then ".join(mover.name for mover in self.movers) or "nothing is allowed"
        count = "" if self.count is None else f", {self.count} bytes"
        return f"{self.source} -> {self.sink}{count}: {how} ({self.reason})"


def plan(source: Source, sink: Sink, left: float, *, fallback: bool = True) -> Plan:
    """The plan for a pair, up to ``left`` bytes; without ``fallback``, user space is left out."""
    count = None if left == math.inf else int(left)
    route = ROUTES[source.kind, sink.kind]
    movers, reason, refused = route.movers, route.reason, route.refusal
    amount = None
    if source.size is not None:
        amount = max(0, source.size - source.offset)
        for most in (source.limit, count):
            if most is not None and most < amount:
                amount = most
    # An amount of 0 proves nothing (hard cases C1, F2): the plan stays, and confirms it by one read.
    if fallback and amount and amount <= config.small and source.kind is Kind.FILE:
        small = f"small: {amount} bytes go by one read and one send (config.small)"
        return Plan(source, sink, count, (UserSpace,), small)
    if fallback and source.least and source.limit is not None and source.limit <= source.least:
        small = f"small: {source.limit} bytes are not worth the setting up"
        return Plan(source, sink, count, (UserSpace,), small)
    if movers[0] is UserSpace:
        if refused:
            refused = amount != 0
            reason = reason.format(opaque=source if source.kind is Kind.OPAQUE else sink)
    elif config.disable or errnos.missing:
        movers, why = _allowed(movers)
        if why:
            reason, refused = why, movers[0] is UserSpace and amount != 0
    if not fallback:
        movers = tuple(mover for mover in movers if mover is not UserSpace)
    return Plan(source, sink, count, movers, reason, refused)


def _allowed(movers: tuple[type[Mover], ...]) -> tuple[tuple[type[Mover], ...], str]:
    """The movers that are neither switched off nor missing, and why one of the others is not among them."""
    why = ""
    left = []
    for mover in movers:
        absent = "switched off by config.disable" if mover.name in config.disable else errnos.missing.get(mover.name)
        if absent:
            why = why or f"{mover.name}: {absent}"
        else:
            left.append(mover)
    if why:  # what stands in for cold bytes does not stand in for a call that is gone
        left = [mover for mover in left if not mover.only_when_cold]
    return tuple(left), why
