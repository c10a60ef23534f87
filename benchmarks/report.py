"""What every benchmark says and how: tables, JSON, and the conditions that made the figures.

It measures nothing. No figure leaves it without its command and its machine.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from . import charts, network

PACKAGES = ("gevent", "greenlet", "gunicorn", "Flask", "Django", "requests", "urllib3", "uvloop")


@dataclass
class Table:
    """Rows under columns; the first column is text."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]]

    def __str__(self) -> str:
        head = [f"| {' | '.join(self.columns)} |", "|---|" + "--:|" * (len(self.columns) - 1)]
        return "\n".join([f"### {self.title}", "", *head, *(f"| {' | '.join(row)} |" for row in self.rows)])


@dataclass
class Report:
    """One benchmark's findings. ``figures`` is what the tables were made of, for machines."""

    name: str
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: list[dict[str, object]] = field(default_factory=list)
    summary: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    conditions: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"## {self.name}", *map(str, self.tables), *self.notes]
        parts += [f"**Failed** {what}: {' '.join(why.split())}" for what, why in self.failed.items()]
        parts.append("\n".join(f"- {what}: {value}" for what, value in self.conditions.items()))
        return "\n\n".join(parts) + "\n"


def command(name: str, about: str | None, arguments: Sequence[str]) -> argparse.Namespace:
    """What the command lines of all benchmarks share; the network is made ready by them, too."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=about)
    made.add_argument("only", nargs="*", metavar="TEXT", help="only the rows with one of these in their names")
    made.add_argument("--quick", action="store_true", help="a smoke run: it shows that all works, and measures nothing")
    made.add_argument("--rounds", type=int, help="turns of each contender")
    made.add_argument("--tcp", metavar="NAME", help="a congestion control, instead of one that does not pace")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    made.add_argument("--charts", type=Path, metavar="FOLDER", help="draw a chart there (needs gzc[bench])")
    found = made.parse_args(arguments)
    network.enter(found.tcp)
    return found


def chosen(names: Iterable[str], only: Sequence[str]) -> list[str]:
    """The names that were asked for.

    :raises SystemExit: there are none.
    """
    every = list(names)
    found = [name for name in every if not only or any(text in name for text in only)]
    if not found:
        raise SystemExit(f"nothing to measure; the rows are: {'; '.join(every)}")
    return found


def conditions(name: str, arguments: Sequence[str], **more: str) -> dict[str, str]:
    """What made the figures."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), processor)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return {
        "command": shlex.join(["python", "-m", "benchmarks", name, *_measuring(arguments)]),
        "machine": f"{processor}, {os.cpu_count()} CPUs, {memory:.0f} GiB",
        "network": network.said(),
        "load average": " ".join(f"{one:.2f}" for one in os.getloadavg()),
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{package} {_version(package)}" for package in PACKAGES),
        **more,
    }


def _measuring(arguments: Sequence[str]) -> list[str]:
    """The arguments without those that say where things are written: a place is nobody else's business."""
    return [
        one
        for before, one in zip(["", *arguments], arguments, strict=False)
        if not {before, one.partition("=")[0]} & {"--json", "--charts"}
    ]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def finish(report: Report, options: argparse.Namespace) -> int:
    """Print it, write it, draw it; 1 where something failed."""
    found = rounded(asdict(report))
    if options.charts:
        report.notes.append(_draw(found, options.charts))
    print(report)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(dumps(found))
    return 1 if report.failed else 0


def _draw(found: dict[str, Any], folder: Path) -> str:
    try:
        file = charts.draw(found, folder)
    except ImportError:
        return "No chart: that needs matplotlib (pip install 'gzc[bench]')."
    return f"Chart: {file.name}." if file else "There is no chart of this."


def rounded(value: Any) -> Any:
    """Five digits of each number: more would only be noise, in a file that is kept."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, (list, tuple)) else value


def dumps(found: dict[str, Any]) -> str:
    """JSON with a line for each figure, so that two of them can be compared."""
    parts = []
    for key, value in found.items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list) and value:
            text = "[\n  " + ",\n  ".join(json.dumps(one, ensure_ascii=False) for one in value) + "\n ]"
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def geometric_mean(values: Iterable[float]) -> float:
    """Of ratios, which an arithmetic mean would misjudge."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the turns' own ratios: neighbours in time share the noise of the machine."""
    return median(a / b for a, b in zip(ours, theirs, strict=True))


def spread(one: Sequence[float], two: Sequence[float]) -> float:
    """How far two equal contenders were apart: what is less says nothing."""
    apart = [abs(math.log(a / b)) for a, b in zip(one, two, strict=True)]
    return math.expm1(max(median(apart), abs(math.log(ratio(one, two)))))


def size(count: float) -> str:
    """Bytes as people write them."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:g} {unit}"
        count /= 1024
    return f"{count:g} GiB"


def progress(text: str) -> None:
    """Say on stderr what is under way."""
    print(text, file=sys.stderr, flush=True)
