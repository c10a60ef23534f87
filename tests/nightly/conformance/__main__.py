"""``python -m tests.nightly.conformance [NAME ...]``: compare, report, and fail where gzc broke something.

Suites run two at a time, each in processes of its own; what seems to fail is judged afterwards,
with the machine to itself.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from ... import _figures
from ._compare import RERUNS, Comparison, both, judged
from ._run import Run
from ._suites import SUITES, Suite, Unavailable

ROW = "{:<34} {:>7} {:>15} {:>14} {:>14} {:>9} {:>7}   {}"
HEADER = ROW.format("suite", "passed", "failed in both", "newly failing", "newly passing", "unsteady", "s", "moved")
LEGEND = f"""
passed: in both. moved: what went below Python in the run with gzc, MiB by mechanism.
newly failing: passed in the run and {RERUNS} reruns without gzc, failed in the run and a rerun with it.
unsteady: passed without gzc and failed with it in the run, but the reruns did not bear that out.
"""


def main() -> int:
    """Run the suites asked for; 1 where one of them is not as it was without gzc."""
    known = {suite.name: suite for suite in SUITES}
    parser = argparse.ArgumentParser(prog="python -m tests.nightly.conformance", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(known)}")
    parser.add_argument("-j", type=int, default=2, metavar="N", help="so many suites at once")
    parser.add_argument("--figures", type=Path, metavar="FILE", help="write there, as JSON, what was found")
    options = parser.parse_args()
    wanted = options.names or list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        parser.error(f"no suite {', '.join(unknown)}; there are {', '.join(known)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what runs is ended then, too
    began = time.monotonic()
    here, skipped = _prepared(known[name] for name in wanted)
    print(HEADER, flush=True)
    done = list(_compared(here, options.j))
    print(LEGEND)
    for found in done:
        for line in details(found):
            print(line)
    good = bool(done) and all(found.good for found in done)
    if options.figures:
        _figures.write(options.figures, good, time.monotonic() - began, figures(done) | {"not here": skipped})
    return 0 if good else 1


def _prepared(suites: Iterable[Suite]) -> tuple[list[tuple[Suite, Path | None]], dict[str, str]]:
    """The suites that can be had with their folders, and why the others cannot."""
    here, skipped = [], {}
    for suite in suites:
        try:
            here.append((suite, suite.prepare()))
        except Unavailable as why:
            print(f"{suite.name:<34} skipped: {why}", flush=True)
            skipped[suite.name] = str(why)
    return here, skipped


def _compared(here: list[tuple[Suite, Path | None]], number: int) -> Iterator[Comparison]:
    """Compare ``number`` at a time, print the row of each, and judge the accused when all are over."""
    accused: list[tuple[Comparison, Path | None]] = []
    with ProcessPoolExecutor(number, multiprocessing.get_context("fork")) as pool:
        for found, (_, home) in zip(pool.map(both, *zip(*here, strict=True)), here, strict=True):
            if found.newly_failing:
                accused.append((found, home))
                continue
            print(row(found), flush=True)
            yield found
    for found, home in accused:
        print(f"{found.suite.name}: {len(found.newly_failing)} tests are run again ...", file=sys.stderr, flush=True)
        print(row(judged(found, home)), flush=True)
        yield found


def figures(done: Iterable[Comparison]) -> dict[str, Any]:
    """What is told of them in numbers."""
    return {
        "suites": {
            found.suite.name: {
                "passed": found.passed,
                "failed in both": len(found.failed_in_both),
                "newly failing": len(found.newly_failing),
                "newly passing": len(found.newly_passing),
                "unsteady": len(found.unsteady),
                "bytes below Python": sum(count for name, count in found.gzc.moved.items() if name != "userspace"),
            }
            for found in done
        }
    }


def row(found: Comparison) -> str:
    """A suite's line of the table."""
    lists = (found.failed_in_both, found.newly_failing, found.newly_passing, found.unsteady)
    seconds = f"{found.stock.seconds + found.gzc.seconds:.0f}"
    return ROW.format(found.suite.name, found.passed, *map(len, lists), seconds, _moved(found.gzc))


def details(found: Comparison) -> list[str]:
    """The tests that need looking at, by name, and what they said."""
    lines = []
    for name, run in (("without gzc", found.stock), ("with gzc", found.gzc)):
        if run.broken:
            lines.append(f"{found.suite.name} {name}: {run.broken}")
        lines += [f"HUNG {name}: {test}" for test, outcome in run.outcomes.items() if outcome == "hung"]
        lines += [f"CRASHED {name}: {test}" for test, outcome in run.outcomes.items() if outcome == "crashed"]
    for test in found.newly_failing:
        said = found.gzc.why.get(test, found.gzc.outcomes.get(test, "was not run"))
        lines += [f"NEWLY FAILING: {test}", *(f"    {line}" for line in said.splitlines())]
    lines += [f"unsteady: {test}" for test in found.unsteady]
    lines += [f"newly passing: {test}" for test in found.newly_passing]
    return lines


def _moved(run: Run) -> str:
    below = {name: count for name, count in run.moved.items() if count and name != "userspace"}
    return ", ".join(f"{name} {count / (1 << 20):.1f}" for name, count in sorted(below.items())) or "-"


if __name__ == "__main__":
    sys.exit(main())
