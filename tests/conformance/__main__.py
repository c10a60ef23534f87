"""``python -m tests.conformance [NAME ...]``: compare, report, and fail where gzc broke something."""

from __future__ import annotations

import argparse
import signal
import sys

from ._compare import RERUNS, Comparison, compare
from ._run import Run
from ._suites import SUITES, Unavailable

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
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(known)}")
    wanted = parser.parse_args().names or list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        parser.error(f"no suite {', '.join(unknown)}; there are {', '.join(known)}")
    done: list[Comparison] = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what runs is ended then, too
    print(HEADER, flush=True)
    for suite in (known[name] for name in wanted):
        print(f"{suite.name} ...", file=sys.stderr, flush=True)
        try:
            done.append(compare(suite, suite.prepare()))
        except Unavailable as why:
            print(f"{suite.name:<34} skipped: {why}", flush=True)
        else:
            print(row(done[-1]), flush=True)
    print(LEGEND)
    for found in done:
        for line in details(found):
            print(line)
    return 0 if done and all(found.good for found in done) else 1


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
