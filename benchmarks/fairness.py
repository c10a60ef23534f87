"""How long everybody else waits: the gaps of a 1 ms ticker beside N downloads at full speed, stock beside gzc.

Turns and tables; what runs is in load.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from examples.rig import DemoError

from . import stage
from .report import Report, Table, chosen, command, conditions, finish, progress

MIB, GIB = 1 << 20, 1 << 30
NUMBERS = (1, 8, 64, 256)
CONTENDERS = ("stock", "gzc")
SPAN = 512 * MIB


def load(name: str) -> stage.Actor:
    """load.py in a process of its own."""
    return stage.Actor([stage.PYTHON, stage.HERE / "load.py", name], stage.WORKER_CPU)


def turns(
    number: int, size: int, cache: str, seconds: float, rounds: int, path: Path, contenders: Sequence[str] = CONTENDERS
) -> dict[str, dict[str, float]]:
    """The medians of what each contender's turns gave, in fresh processes."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    with stage.peer() as peer:
        port = peer.ask(["drain"])
        for turn in range(rounds):
            for name in sorted(contenders, reverse=bool(turn % 2)):
                with load(name) as worker:
                    found[name].append(worker.ask([port, number, size, seconds, cache, path]))
    return {name: {key: median(one[key] for one in taken) for key in taken[0]} for name, taken in found.items()}


def main(arguments: Sequence[str]) -> int:
    """Measure the rows asked for; 1 where one of them did not work."""
    options = command("fairness", __doc__, arguments)
    rounds, seconds = options.rounds or (1 if options.quick else 3), 0.3 if options.quick else 2.0
    report = Report("fairness")
    every = {f"{number} transfers, {cache}": (number, cache) for cache in ("warm", "cold") for number in NUMBERS}
    span = 32 * MIB if options.quick else SPAN
    lines: list[Sequence[str]] = []
    with stage.folders() as places:
        path = stage.file_of(places["disk"], span)
        for row in chosen(every, options.only):
            progress(row)
            number, cache = every[row]
            try:
                found = turns(number, min(8 * MIB, span // number), cache, seconds, rounds, path)
            except (DemoError, OSError) as exc:
                report.failed[row] = str(exc)
                continue
            report.figures.append({"name": row, "number": number, "cache": cache, **found})
            lines.append([row, *_line(found)])
    heads = [f"{name} {what}" for what in ("p50 ms", "p99 ms", "max ms", "MiB/s", "CPU ms/GiB") for name in CONTENDERS]
    report.tables.append(Table("Gaps of a 1 ms ticker", ["", *heads], lines))
    report.notes.append(
        f"Medians of {rounds} rounds of {seconds} s; worker on CPU {stage.WORKER_CPU}, its peer on {stage.PEER_CPU}."
        " stock: sock.sendfile of gevent's socket. cold: each piece is thrown out of the page cache before it is sent."
    )
    report.conditions = conditions("fairness", arguments)
    return finish(report, options)


def _line(found: dict[str, dict[str, float]]) -> list[str]:
    line = []
    for what in ("p50", "p99", "max"):
        line += [f"{found[name][what] * 1000:.1f}" for name in CONTENDERS]
    line += [f"{found[name]['bytes'] / MIB / found[name]['wall']:.0f}" for name in CONTENDERS]
    line += [f"{found[name]['cpu'] * 1000 * GIB / max(1, found[name]['bytes']):.0f}" for name in CONTENDERS]
    return line
