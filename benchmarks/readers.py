"""A file through what people put around it: raw, wrapped, limited, observed. System calls by strace, CPU per GiB.

A wrapper that only counts costs Go its sendfile without a word. Here is what it costs stock gevent, gzc and Go, and
what counting costs with ``gzc.observe``.

Turns and tables; the readers of Python are in worker.py, those of Go in go/transfer.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from examples.rig import DemoError, strace

from . import stage
from .report import Report, Table, chosen, command, conditions, finish, progress
from .transfers import Cell, Turn

MIB, GIB = 1 << 20, 1 << 30
#: By row: the command's contender.
PYTHON = {
    "stock raw": "stock-raw",
    "stock wrapped": "stock-wrapped",
    "stock limited": "stock-limited",
    "gzc raw": "gzc-raw",
    "gzc wrapped": "gzc-wrapped",
    "gzc limited": "gzc-limited",
    "gzc observed": "gzc-observed",
}
GO = {"Go raw": "copy", "Go wrapped": "wrapped", "Go limited": "limited"}


def main(arguments: Sequence[str]) -> int:
    """Measure the rows asked for; 1 where one of them did not work."""
    options = command("readers", __doc__, arguments)
    rounds, count = options.rounds or (1 if options.quick else 5), (8 if options.quick else 512) * MIB
    report, cell = Report("readers"), Cell("SendFile", "file", "tcp", 256 << 10, "disk")
    with contextlib.ExitStack() as stack:
        places = stack.enter_context(stage.folders())
        writer, reader = stack.enter_context(stage.peer()), stack.enter_context(stage.peer())
        names = chosen([*PYTHON, *GO], options.only)
        crew = {name: stack.enter_context(stage.worker(PYTHON[name])) for name in names if name in PYTHON}
        program, said = stage.go_program("transfer")
        if program is None:
            report.notes.append(f"Go is left out: {said}.")
        else:
            for name in names:
                if name in GO:
                    crew[name] = stack.enter_context(stage.Actor([program, GO[name]], stage.WORKER_CPU))

        def turn(name: str) -> list[float]:
            return Turn(cell, count, places, (writer, reader))(crew[name])

        taken: dict[str, list[list[float]]] = {name: [] for name in crew}
        calls: dict[str, Counter[str]] = {}
        try:
            for number in range(-1, rounds):
                for name in crew if number % 2 else reversed(crew):
                    progress(f"{name}, round {number + 1} of {rounds}")
                    found = turn(name)
                    if number >= 0:  # the first one warms
                        taken[name].append(found)
            with tempfile.TemporaryDirectory() as folder:
                for name, actor in crew.items():
                    calls[name] = strace(actor.pid, Path(folder, "strace.txt"), lambda name=name: turn(name))
        except FileNotFoundError as exc:
            report.notes.append(f"System calls are not counted: {exc}.")
        except (DemoError, OSError) as exc:
            report.failed["readers"] = str(exc)
    lines = []
    for name, found in taken.items():
        if not found:
            continue
        cpu, wall = median(one[2] for one in found), median(one[1] for one in found)
        made = calls.get(name, Counter())
        figure = {"name": name, "cpu_ms_per_gib": cpu * 1000 * GIB / count, "mib_per_s": count / MIB / wall}
        report.figures.append(figure | {"bytes": count, "calls": dict(made)})
        most = ", ".join(f"{times} {call}" for call, times in made.most_common(3))
        lines.append([name, f"{figure['cpu_ms_per_gib']:.0f}", f"{figure['mib_per_s']:.0f}", most])
    title = f"{count // MIB} MiB from a file to tcp"
    report.tables.append(Table(title, ["", "CPU ms/GiB", "MiB/s", "system calls, the most frequent"], lines))
    report.notes.append(
        f"Medians of {rounds} rounds; calls by strace in a pass of its own. stock raw and limited: sock.sendfile of"
        " gevent's socket; wrapped: shutil.copyfileobj from a class whose read counts."
    )
    report.conditions = conditions("readers", arguments, Go=said)
    return finish(report, options)
