"""Bytes between two ends, by every contender in turn: throughput and CPU, and their ratios.

The pairs and pieces are those of Go's own benchmarks (SendFile, Splice, SpliceFile, CopyFileRange). A piece is what the
peer writes and reads at a time; where a file is the source it means nothing, and there is one row.

Who competes for what, turns, tables. Nothing is moved here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from examples.rig import DemoError

from . import stage
from .report import (
    Report,
    Table,
    chosen,
    command,
    conditions,
    finish,
    geometric_mean,
    progress,
    ratio,
    size,
    spread,
)

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PIECES = (KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB)
FEW = (KIB, 64 * KIB, MIB)
#: Seconds after which a row has no more than the least rounds: on a machine that is busy it is over, all the same.
ROW, LEAST_ROUNDS = 5.0, 3
STREAMS = ("tcp", "unix")
#: Beside whom gzc is put.
OTHERS = ("stock", "go", "bare", "hand")


@dataclass(frozen=True)
class Cell:
    """One pair of ends, pieces of one size. ``place`` is where files of it lie."""

    family: str
    source: str
    sink: str
    piece: int
    place: str = ""

    @property
    def pair(self) -> str:
        return f"{self.source}→{self.sink}" + (f" ({self.place})" if self.place else "")

    @property
    def name(self) -> str:
        return f"{self.family} {self.pair}" + ("" if self.source == "file" else f" {size(self.piece)}")

    def count(self) -> int:
        """Bytes of one turn: about a tenth of a second, and never so few that they fit into the buffers."""
        if self.source == "file":
            return 256 * MIB
        return {KIB: 16 * MIB, 4 * KIB: 48 * MIB, 16 * KIB: 96 * MIB}.get(self.piece, 128 * MIB)


def cells() -> Iterator[Cell]:
    """Every row."""
    for place in ("disk", "tmpfs"):
        for sink in STREAMS:
            yield Cell("SendFile", "file", sink, 256 * KIB, place)
    for source in STREAMS:
        for sink in STREAMS:
            for piece in PIECES:
                yield Cell("Splice", source, sink, piece)
    for source in STREAMS:
        for piece in PIECES:
            yield Cell("SpliceFile", source, "null", piece)
        for place in ("disk", "tmpfs"):
            for piece in FEW:
                yield Cell("SpliceFile", source, "file", piece, place)
    for place in ("disk", "tmpfs"):
        yield Cell("CopyFileRange", "file", "file", MIB, place)
    for source, sink in (("pipe", "tcp"), ("tcp", "pipe"), ("pipe", "pipe")):
        for piece in FEW:
            yield Cell("Pipe", source, sink, piece)
    yield Cell("Pipe", "file", "pipe", 64 * KIB, "disk")
    yield Cell("Pipe", "pipe", "file", 64 * KIB, "disk")


def takes_part(name: str, cell: Cell) -> bool:
    """Whether a contender has a way of its own for a pair."""
    if name in ("asyncio", "hand"):
        return cell.sink in STREAMS and cell.source in (*STREAMS, "file")
    if name == "uvloop":
        return cell.sink in STREAMS and cell.source in STREAMS
    return True


@contextlib.contextmanager
def contenders(report: Report) -> Iterator[dict[str, stage.Actor]]:
    """Their processes, by name; "go again" is Go a second time, whose distance from itself is the noise."""
    with contextlib.ExitStack() as stack:
        found = {name: stack.enter_context(stage.worker(name)) for name in ("stock", "gzc", "bare", "hand", "asyncio")}
        if importlib.util.find_spec("uvloop"):
            found["uvloop"] = stack.enter_context(stage.worker("uvloop"))
        else:
            report.notes.append("uvloop is not installed (gzc[bench]), and left out.")
        program, said = stage.go_program("transfer")
        report.conditions["Go"] = said
        if program is None:
            report.notes.append(f"Go is left out: {said}.")
        else:
            for name in ("go", "go again"):
                found[name] = stack.enter_context(stage.Actor([program, "copy"], stage.WORKER_CPU))
        yield found


class Turn:
    """The ends of one copy: made afresh each time, so that nobody inherits a window or a full buffer."""

    def __init__(self, cell: Cell, count: int, places: dict[str, Path], peers: Sequence[stage.Actor]) -> None:
        self._cell, self._count, self._places = cell, count, places
        self._writer, self._reader = peers
        self._target: Path | None = None
        self._asked: list[stage.Actor] = []

    def __call__(self, worker: stage.Actor) -> list[float]:
        """Bytes, seconds, CPU seconds."""
        ends: list[Any] = []
        try:
            ends = [self._source(), self._sink()]
            worker.tell([self._cell.source, self._cell.sink, self._count], ends)
            for end in ends:
                end.close() if isinstance(end, socket.socket) else os.close(end)
            found: list[float] = worker.answer()
            came = [peer.answer() for peer in self._asked]
        finally:
            if self._target is not None:
                self._check_target()
        if found[0] != self._count or any(one != self._count for one in came):
            raise DemoError(f"{worker.name}: {found[0]} bytes moved, peers say {came}, and it should be {self._count}")
        return found

    def _ask(self, peer: stage.Actor, what: str, end: Any) -> None:
        peer.tell([what, self._cell.piece, self._count], [end])
        end.close() if isinstance(end, socket.socket) else os.close(end)
        self._asked.append(peer)

    def _source(self) -> Any:
        if self._cell.source == "file":
            return os.open(stage.file_of(self._places[self._cell.place], self._count), os.O_RDONLY)
        ours, its = stage.pair(self._cell.source) if self._cell.source in STREAMS else os.pipe()
        self._ask(self._writer, "write", its)
        return ours

    def _sink(self) -> Any:
        if self._cell.sink == "null":
            return os.open("/dev/null", os.O_WRONLY)
        if self._cell.sink == "file":
            self._target = self._places[self._cell.place] / "target.bin"
            return os.open(self._target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        if self._cell.sink == "pipe":
            its, ours = os.pipe()
        else:
            ours, its = stage.pair(self._cell.sink)
        self._ask(self._reader, "read", its)
        return ours

    def _check_target(self) -> None:
        assert self._target is not None
        with contextlib.suppress(FileNotFoundError):
            came = self._target.stat().st_size
            self._target.unlink()  # what is not yet written never will be: no writeback into the next turn
            if came != self._count:
                raise DemoError(f"{came} bytes are in the file, and not {self._count}")


def measure(
    cell: Cell, crew: dict[str, stage.Actor], places: dict[str, Path], rounds: int, count: int
) -> dict[str, Any]:
    """A row: each contender's seconds by turn; who begins changes."""
    names = [name for name in crew if takes_part(name, cell)]
    walls: dict[str, list[float]] = {name: [] for name in names}
    cpus: dict[str, list[float]] = {name: [] for name in names}
    with stage.peer() as writer, stage.peer() as reader:
        begun = time.monotonic()
        for number in range(-1, rounds):
            if number >= LEAST_ROUNDS and time.monotonic() - begun > ROW:
                break
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                _, wall, cpu = Turn(cell, count, places, (writer, reader))(crew[name])
                if number >= 0:  # the first one warms
                    walls[name].append(wall)
                    cpus[name].append(cpu)
    row: dict[str, Any] = {"name": cell.name, "family": cell.family, "pair": cell.pair, "piece": cell.piece}
    row |= {"bytes": count, "rounds": len(walls["gzc"]), "wall_s": walls, "cpu_s": cpus}
    row["mib_per_s"] = {name: count / MIB / median(taken) for name, taken in walls.items()}
    row["cpu_ms_per_gib"] = {name: median(taken) * 1000 * GIB / count for name, taken in cpus.items()}
    row["throughput_ratio"] = {name: ratio(walls[name], walls["gzc"]) for name in names if name != "gzc"}
    row["cpu_ratio"] = {name: ratio(cpus["gzc"], cpus[name]) for name in names if name != "gzc"}
    if "go again" in names:
        row["spread"] = spread(walls["go"], walls["go again"])
        row["cpu_spread"] = spread(cpus["go"], cpus["go again"])
    return row


def tables(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> Iterator[Table]:
    """What people read."""
    shown = [name for name in names if name != "go again"]
    for what, unit in (("mib_per_s", "Throughput, MiB/s"), ("cpu_ms_per_gib", "CPU of the worker, ms per GiB")):
        lines = [[row["name"], *(_cell(row[what], name, 0) for name in shown)] for row in rows]
        yield Table(unit, ["", *shown], lines)
    lines = []
    for row in rows:
        line = [row["name"]]
        for what, noise in (("throughput_ratio", "spread"), ("cpu_ratio", "cpu_spread")):
            line += [_cell(row[what], name, 2) for name in OTHERS]
            line.append(f"±{100 * row[noise]:.0f} %" if noise in row else "–")
        lines.append(line)
    columns = ["", "speed/stock", "/Go", "/bare", "/hand", "Go/Go", "CPU/stock", "/Go", "/bare", "/hand", "Go/Go"]
    yield Table("gzc against others: its throughput over theirs, its CPU over theirs", columns, lines)


def _cell(values: dict[str, float], name: str, digits: int) -> str:
    return f"{values[name]:.{digits}f}" if name in values else "–"


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The goals' figures: geometric means, by family, of all, and of large pieces alone."""
    groups = {family: [row for row in rows if row["family"] == family] for family in (row["family"] for row in rows)}
    groups |= {"all": list(rows), "64 KiB and more": [row for row in rows if row["piece"] >= 64 * KIB]}
    found = {}
    for group, members in groups.items():
        for other in OTHERS:
            mine = [row for row in members if other in row["throughput_ratio"]]
            if mine:
                found[f"{group} throughput/{other}"] = geometric_mean(row["throughput_ratio"][other] for row in mine)
                found[f"{group} cpu/{other}"] = geometric_mean(row["cpu_ratio"][other] for row in mine)
    return found


def behind(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The cells where gzc is behind Go by more than Go is apart from itself."""
    return [
        f"{row['name']} ({row['throughput_ratio']['go']:.2f}, ±{100 * row['spread']:.0f} %)"
        for row in rows
        if "spread" in row and row["throughput_ratio"]["go"] * (1 + row["spread"]) < 1
    ]


def main(arguments: Sequence[str]) -> int:
    """Measure the rows asked for; 1 where one of them did not work."""
    options = command("transfers", __doc__, arguments)
    report = Report("transfers")
    every = {cell.name: cell for cell in cells()}
    rounds = options.rounds or (1 if options.quick else 5)
    names: list[str] = []
    with contenders(report) as crew, stage.folders() as places:
        names = list(crew)
        for name in chosen(every, options.only):
            cell = every[name]
            if cell.place and cell.place not in places:
                report.notes.append(f"{name} is left out: no /dev/shm.")
                continue
            progress(name)
            count = min(cell.count(), 8 * MIB) if options.quick else cell.count()
            try:
                report.figures.append(measure(cell, crew, places, rounds, count))
            except (DemoError, OSError) as exc:
                report.failed[name] = str(exc)
                break  # whoever failed may hang in the middle of a turn: what he would say next is not to be trusted
    report.tables += tables(report.figures, names)
    report.summary = summary(report.figures)
    report.tables.append(
        Table("Geometric means", ["gzc's over theirs", "ratio"], [[k, f"{v:.2f}"] for k, v in report.summary.items()])
    )
    late = behind(report.figures)
    report.notes.append(f"Behind Go by more than Go is apart from itself: {'; '.join(late) or 'no row'}.")
    report.notes.append(
        f"Medians of {rounds} rounds ({LEAST_ROUNDS} of a row that takes longer than {ROW:g} s); a ratio is the median"
        f" of the rounds' own. Worker on CPU {stage.WORKER_CPU}, peers on {stage.PEER_CPU}. bare: the same calls in a"
        " blocking loop. hand: the same calls in a loop for that one pair, waiting by gevent.socket.wait_read and"
        " wait_write. Go/Go: Go against Go."
    )
    report.conditions = conditions("transfers", arguments) | report.conditions
    return finish(report, options)
