"""The tables of docs/reliability.md, made of the figures that runs have left: ``make reliability``.

    python -m tests.nightly.reliability [--collect]

``--collect`` first takes the figures of build/reliability, where the targets of the Makefile leave them, to
docs/reliability, where they are kept. A table stands between ``<!-- figures: NAME -->`` and ``<!-- end -->``; all
else on the page is written by hand.

No number is in it, and none on the page that is not in a file of figures. Those of a run that
failed are not taken in.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "build" / "reliability"
KEPT = ROOT / "docs" / "reliability"
PAGE = ROOT / "docs" / "reliability.md"
BLOCK = re.compile(r"(<!-- figures: ([a-z]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)

Figures = Mapping[str, Any]


# -- in words --------------------------------------------------------------------------------------------------------


def _size(count: float) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"


def _time(seconds: float) -> str:
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes}:{left:02}"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Of Markdown; numbers are to the right."""
    right = [all(isinstance(row[column], (int, float)) for row in rows) for column in range(len(head))]
    lines = [head, ["--:" if numbers else "---" for numbers in right], *(map(_cell, row) for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _pairs(rows: Mapping[str, object]) -> list[str]:
    lines = [f"| {name} | {_cell(value)} |" for name, value in rows.items()]
    return ["| | |", "| --- | --: |", *lines]


def _conditions(figures: Figures) -> str:
    its = figures["conditions"]
    return (
        f"`{figures['command']}`, {_time(figures['seconds'])} minutes: Linux {its['kernel']}, {its['processors']}"
        f" processors, Python {its['Python']}, gevent {its['gevent']} on {its['loop']}."
    )


# -- each of them: in a line for the nightly run, and in a table for the page ----------------------------------------

FUZZ = ("histories of copies", "histories of tunnels", "steps of histories")
FAULTS = (
    "errors of a scripted kernel",
    "short counts and zeros of a scripted kernel",
    "answers injected by strace",
    "misbehaviours of a FUSE file system",
    "calls held up in a thread",
    "transfers struck at a switch",
)


def _tests(found: Figures) -> str:
    tests = found["tests"]
    failed = f", {tests['failed']} failed" if tests["failed"] else ""
    return f"{tests['passed']:,} tests passed{failed}, {tests['skipped']} skipped"


def _counted(found: Figures, names: Sequence[str]) -> dict[str, object]:
    """What was counted, and that much was compared; a run that failed may not have come to all of it."""
    rows: dict[str, object] = {name: found.get(name, 0) for name in names}
    return rows | {"bytes compared": _size(found.get("bytes compared", 0))}


def _skipped(found: Figures) -> list[str]:
    return [f"Skipped: {why} ({times})." for why, times in found["skipped because"].items()]


def _fuzz(found: Figures) -> list[str]:
    return _pairs(_counted(found, FUZZ))


def _faults(found: Figures) -> list[str]:
    limits = found["passed in"].get("test_machine", 0)
    rows = {**_counted(found, FAULTS), "tests at the limits of the machine": limits, "tests": _tests(found)}
    return [*_pairs(rows), "", *_skipped(found)]


def _soak(found: Figures) -> list[str]:
    load, idle = found["soak"], found["idle tunnels"]
    requests = load["requests"]
    rows = {
        "clients at a time": load["clients"],
        "minutes": f"{load['seconds'] / 60:g}",
        "downloads and ranges": requests["GET"],
        "uploads": requests["PUT"],
        "of these broken off by the client": sum(
            requests.get(name, 0) for name in ("leave", "leave_rudely", "break_off_upload")
        ),
        "bytes compared": _size(load["bytes compared"]),
        "moved by sendfile, in gunicorn": _size(load["gunicorn"]["moved"]["sendfile"]),
        "moved by splice, in gunicorn": _size(load["gunicorn"]["moved"]["splice"]),
        "through user space, in gunicorn": _size(load["gunicorn"]["moved"]["userspace"]),
        "bytes through the tunnel": _size(load["tunnel"]["bytes"]),
        "more resident memory after the second half than after the first": _size(load["resident growth"]),
        "idle tunnels at a time": idle["tunnels"],
        "descriptors for each": idle["descriptors each"],
        "KiB of memory for each": idle["KiB each"],
    }
    return _pairs(rows)


def _siege(found: Figures) -> list[str]:
    held, resident = found["descriptors"], found["resident, MiB"]
    rows = {
        "clients at a time": found["clients"],
        "minutes": f"{found['seconds'] / 60:g}",
        **{f"connections of {kind} clients": number for kind, number in found["connections"].items()},
        "bytes compared": _size(found["bytes compared"]),
        "milliseconds until a small file was there, in the middle": found["median, ms"],
        "the same, 99 of 100": found["99 of 100, ms"],
        **{f"descriptors of `gzc {name}` before and after": number for name, number in held.items()},
        **{
            f"MiB resident of `gzc {name}`, after either half": " and ".join(map(str, each))
            for name, each in resident.items()
        },
    }
    return _pairs(rows)


def _besieged(found: Figures) -> str:
    if "wrong" in found:
        return str(found["wrong"])
    connections = sum(found["connections"].values())
    return f"{found['clients']} clients for {found['seconds'] / 60:g} minutes, {connections:,} connections"


def _mutations(found: Figures) -> list[str]:
    return _pairs({"remedies taken away": found["mutants"], "noticed by a test": found["killed"]})


def _conformance(found: Figures) -> list[str]:
    rows = [
        (name, *(suite[column] for column in ("passed", "failed in both", "newly failing", "newly passing")))
        for name, suite in found["suites"].items()
    ]
    head = ("suite", "passed in both", "failed in both", "newly failing", "newly passing")
    missing = [f"Not here: {name}: {why}." for name, why in found["not here"].items()]
    return [*_table(head, rows), "", *missing]


def _versions(found: Figures) -> list[str]:
    ran = [row for row in found["combinations"] if "not run" not in row]
    names = ("Python", "loop", "gevent", "gunicorn", "passed", "failed", "skipped")
    absent = {(row["Python"], row["age"]): row["not run"] for row in found["combinations"] if "not run" in row}
    missing = [f"Not run: Python {python} with the {age}: {why}." for (python, age), why in absent.items()]
    skipped = dict.fromkeys(why for row in ran for why in row["skipped because"])
    told = [f"Skipped: {'; '.join(skipped)}."] if skipped else []
    return [*_table(names, [[row[name] for name in names] for row in ran]), "", *told, *missing]


def _coverage(found: Figures) -> list[str]:
    rows = {
        "statements run": f"{found['covered_lines']:,} of {found['num_statements']:,}",
        "branches taken": f"{found['covered_branches']:,} of {found['num_branches']:,}",
        "both": f"{found['percent_covered']:.2f} %",
    }
    return [*_pairs(rows), "", *([f"Python {found['python']}."] if "python" in found else [])]


def _browser(found: Figures) -> list[str]:
    return _pairs({"pages looked at": found["pages"], "pictures kept": found["pictures"]})


def _nightly(found: Figures) -> list[str]:
    rows = [(part["part"], part["how"], _time(part["seconds"]), part["what"]) for part in found["parts"]]
    return _table(("part", "result", "minutes", "what it came to"), rows)


def _faulted(found: Figures) -> str:
    *faults, strikes = (found.get(name, 0) for name in FAULTS)
    return f"{sum(faults):,} faults below, {strikes:,} transfers struck at a switch; {_tests(found)}"


def _fuzzed(found: Figures) -> str:
    copies, tunnels, steps = (found.get(name, 0) for name in FUZZ)
    return f"{copies + tunnels:,} histories, {steps:,} steps; {_tests(found)}"


def _soaked(found: Figures) -> str:
    if "wrong" in found:
        return str(found["wrong"])
    load = found["soak"]
    told = f"{load['clients']} clients for {load['seconds'] / 60:g} minutes, {_size(load['bytes compared'])} compared"
    return f"{told}, {found['idle tunnels']['tunnels']:,} idle tunnels"


def _conformed(found: Figures) -> str:
    suites = found["suites"].values()
    passed, failing = (sum(suite[name] for suite in suites) for name in ("passed", "newly failing"))
    return f"{len(suites)} suites, {passed:,} tests passed in both, {failing} newly failing"


def _versed(found: Figures) -> str:
    ran = [row for row in found["combinations"] if "not run" not in row]
    passed, failed = (sum(row[name] for row in ran) for name in ("passed", "failed"))
    absent = len(found["combinations"]) - len(ran)
    return f"{len(ran)} combinations, {passed:,} tests passed, {failed} failed; {absent} combinations not to be had"


TABLES: dict[str, Callable[[Figures], list[str]]] = {
    "nightly": _nightly,
    "faults": _faults,
    "fuzz": _fuzz,
    "soak": _soak,
    "siege": _siege,
    "mutations": _mutations,
    "conformance": _conformance,
    "versions": _versions,
    "coverage": _coverage,
    "browser": _browser,
}
SUMMARIES: dict[str, Callable[[Figures], str]] = {
    "faults": _faulted,
    "fuzz": _fuzzed,
    "soak": _soaked,
    "siege": _besieged,
    "mutations": lambda found: f"{found['mutants']} remedies taken away, {found['killed']} noticed",
    "conformance": _conformed,
    "versions": _versed,
    "coverage": lambda found: f"{found['percent_covered']:.2f} % of lines and branches",
    "browser": lambda found: f"{found['pages']} pages, {found['pictures']} pictures{found['wrong'] and ': WRONG'}",
}


# -- files -----------------------------------------------------------------------------------------------------------


def load(path: Path) -> Figures:
    """A file of figures. Those of coverage.py are in its own form, and say nothing of the rest."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found if "counts" in found else {"passed": True, "counts": found}


def summary(path: Path) -> str:
    """What the run came to that has left ``path``, in a line."""
    return SUMMARIES[path.stem](load(path)["counts"])


def block(name: str) -> str:
    """What stands between the marks of ``name``."""
    path = KEPT / f"{name}.json"
    if not path.exists():
        return f"*Not run yet: `make {name}`.*\n"
    figures = load(path)
    lines = TABLES[name](figures["counts"])
    if "conditions" in figures:
        lines = [_conditions(figures), "", *lines]
    return "\n".join(lines).strip() + "\n"


def rendered(page: str) -> str:
    """``page`` with the tables that belong there."""
    return BLOCK.sub(lambda found: f"{found[1]}\n{block(found[2])}\n{found[3]}", page)


def collect() -> list[str]:
    """Keep the figures of the latest runs; the names of those that failed, which are not kept."""
    failed = []
    KEPT.mkdir(exist_ok=True)
    for path in sorted(FIGURES.glob("*.json")):
        if path.stem in TABLES and not load(path)["passed"]:
            failed.append(path.stem)
        elif path.stem in TABLES:
            shutil.copy(path, KEPT)
    return failed


def main() -> int:
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m tests.nightly.reliability", description=description)
    parser.add_argument("--collect", action="store_true", help="take in the figures of build/reliability")
    failed = collect() if parser.parse_args().collect else []
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    if failed:
        print(f"failed, and not taken in: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
