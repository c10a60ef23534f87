"""Cost as size and number grow: CPU per byte, per copy and per connection. It has to stay flat.

Turns and tables; what runs is in load.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from examples.rig import DemoError

from . import fairness, stage
from .report import Report, Table, chosen, command, conditions, finish, progress, size

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SIZES = (KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 16 * MIB, 256 * MIB)
NUMBERS = (1, 4, 16, 64, 256, 1000)


def main(arguments: Sequence[str]) -> int:
    """Measure the rows asked for; 1 where one of them did not work."""
    options = command("growth", __doc__, arguments)
    rounds, seconds = options.rounds or (1 if options.quick else 3), 0.2 if options.quick else 1.0
    report = Report("growth")
    span = 32 * MIB if options.quick else 512 * MIB
    every = {f"1 connection, copies of {size(one)}": (1, one) for one in SIZES}
    every |= {f"{number} connections, copies of 4 MiB": (number, 4 * MIB) for number in NUMBERS}
    lines: list[Sequence[str]] = []
    with stage.folders() as places:
        path = stage.file_of(places["disk"], span)
        for row in chosen(every, options.only):
            progress(row)
            number, count = every[row]
            try:
                found = fairness.turns(number, count, "warm", seconds, rounds, path)
            except (DemoError, OSError) as exc:
                report.failed[row] = str(exc)
                continue
            report.figures.append({"name": row, "number": number, "size": count, **found})
            line = [row]
            for scale, over in ((1000 * GIB, "bytes"), (1e6, "copies")):
                line += [f"{one['cpu'] * scale / max(1, one[over]):.1f}" for one in found.values()]
            lines.append([*line, *(f"{one['rss'] / MIB:.0f}" for one in found.values())])
    heads = [f"{name} {what}" for what in ("CPU ms/GiB", "CPU µs/copy", "peak MiB") for name in fairness.CONTENDERS]
    report.tables.append(Table("Cost as size and number grow (file→tcp)", ["", *heads], lines))
    report.notes.append(f"Medians of {rounds} rounds of {seconds} s. stock: sock.sendfile of gevent's socket.")
    report.conditions = conditions("growth", arguments)
    return finish(report, options)
