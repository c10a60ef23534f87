"""The pages with figures, renewed from the reports that are kept beside them: ``python -m benchmarks page``.

Between these two comments of a page stands what the second says of a report, and nothing that is written by hand:

    <!-- from seams.json: chart, table 0, notes, made by -->
    <!-- end -->

It measures nothing, and needs matplotlib for the charts alone.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import charts
from .report import Table

ROOT = Path(__file__).resolve().parent.parent
#: Where the reports are kept, and their charts.
KEPT = ROOT / "docs" / "performance"
PAGES = (ROOT / "docs" / "performance.md", ROOT / "README.md")
_REGION = re.compile(r"(<!-- from (\w+)\.json: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)

Found = dict[str, Any]


def reports() -> dict[str, Found]:
    """The reports that are kept, by name."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(KEPT.glob("*.json"))}


def rendered(text: str, found: dict[str, Found]) -> str:
    """A page with its regions written anew."""

    def region(match: re.Match[str]) -> str:
        begin, name, wishes, end = match.groups()
        return "\n\n".join([begin.rstrip("\n"), *(part(found[name], wish) for wish in wishes.split(", ")), end])

    return _REGION.sub(region, text)


def part(report: Found, wish: str) -> str:
    """One of the things a region can show."""
    what, _, number = wish.partition(" ")
    if what == "chart":
        return f"![{_ALT[report['name']]}](performance/{report['name']}.svg)"
    if what == "table":
        table = Table(**report["tables"][int(number)])
        return str(table).replace(f"### {table.title}", f"**{table.title}**", 1)
    if what == "notes":
        return " ".join(report["notes"])
    assert wish == "made by", wish
    return made_by(report)


_ALT = {
    "transfers": "For each pair of ends gzc's throughput and CPU over those of stock gevent, Go and a bare loop",
    "http": "By size of the file, gzc's requests a second and CPU over stock's, for each server",
    "readers": "CPU and system calls of each reader",
    "fairness": "How late a ticker is, by number of downloads, stock and gzc",
    "growth": "CPU per GiB by size of a copy and by number of connections, stock and gzc",
    "proxy": "Throughput and CPU of each proxy, by number of connections",
}


def made_by(report: Found) -> str:
    """The command and the conditions of a report, in one sentence."""
    said = dict(report["conditions"])
    command, packages, load = (said.pop(key) for key in ("command", "packages", "load average"))
    failed = "".join(f" **Failed** {what}: {why}." for what, why in report["failed"].items())
    return f"Made by `{command}` on {'; '.join(said.values())}; {packages}; load average at the end {load}.{failed}"


def main(arguments: Sequence[str]) -> int:
    """Draw the charts and write the pages."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks page", description=__doc__)
    parser.parse_args(arguments)
    found = reports()
    for report in found.values():
        charts.draw(report, KEPT)
    for page in PAGES:
        page.write_text(rendered(page.read_text(), found))
    return 0
