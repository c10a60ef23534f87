"""Running a suite in one configuration to its end, whatever hangs or dies on the way.

A test that began and did not end has hung or crashed, and is named; the rest still runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ._suites import Suite

CHILD = Path(__file__).with_name("_child.py")

#: Processes for one run: each but the last was ended by a test that hung or crashed.
ATTEMPTS = 12


class Choice(NamedTuple):
    """Which tests of a suite: ``only`` these, where it names any, and not those."""

    only: Collection[str] = ()
    without: Collection[str] = ()


ALL = Choice()


@dataclass
class Run:
    """What one run of a suite gave.

    outcomes
        By test id: passed, failed, skipped, hung, crashed.
    why
        What a test that failed said.
    moved
        Bytes that gzc moved in these processes, by mechanism.
    broken
        Why it did not come to its end; empty when it did.
    """

    outcomes: dict[str, str] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    moved: Counter[str] = field(default_factory=Counter)
    broken: str = ""
    seconds: float = 0.0

    def passed(self) -> set[str]:
        """The tests that did."""
        return {test for test, outcome in self.outcomes.items() if outcome == "passed"}

    def failed(self) -> set[str]:
        """The tests that did, hung and crashed ones among them."""
        return {test for test, outcome in self.outcomes.items() if outcome not in ("passed", "skipped")}

    def stuck(self) -> set[str]:
        """The tests that took a process with them."""
        return {test for test, outcome in self.outcomes.items() if outcome in ("hung", "crashed")}


def run(suite: Suite, home: Path | None, *, gzc: bool, choice: Choice = ALL) -> Run:
    """Run ``suite`` once, or the tests of it that are chosen."""
    taken, start = Run(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gzc-conformance-") as work:
        for attempt in range(ATTEMPTS):
            left = suite.bound - (time.monotonic() - start)
            unfinished = _attempt(suite, home, gzc, choice, taken, Path(work, str(attempt)), left)
            if taken.broken or not unfinished:
                break
        else:
            taken.broken = f"{ATTEMPTS} processes have hung or crashed"
    taken.seconds = time.monotonic() - start
    return taken


def _attempt(suite: Suite, home: Path | None, gzc: bool, choice: Choice, taken: Run, work: Path, left: float) -> bool:
    """One process; whether it ended before its time, and there may be tests left."""
    scratch = work / "cwd"
    scratch.mkdir(parents=True)
    order = {
        "args": [*(part for plugin in suite.plugins for part in ("-p", plugin)), *suite.args],
        "patched": suite.patched,
        "options": dict(suite.options),
        "limit": suite.limit,
        "record": str(work / "record"),
        "only": sorted(choice.only),
        "without": sorted({*choice.without, *taken.outcomes}),
    }
    (work / "order").write_text(json.dumps(order))  # the names of all tests are more than an argument may hold
    with (work / "log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, CHILD, work / "order"],
            cwd=home or scratch,
            env=_environment(gzc, work),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            status: int | None = child.wait(max(left, 1))
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(child)
    said = (work / "log").read_text(errors="replace")
    record = work / "record"
    running, over = _book(record.read_text().splitlines() if record.exists() else (), taken)
    if running:
        hung = status is None or "Timeout (" in said
        taken.outcomes[running] = "hung" if hung else "crashed"
        taken.why[running] = said[-3000:]
    if status is None:
        taken.broken = f"not over after {suite.bound} s, while running {running or 'no test'}"
    elif not over and not running:
        taken.broken = f"ended with status {status} outside any test:\n{said[-3000:]}"
    return not over


def _environment(gzc: bool, work: Path) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("GZC", "GEVENT", "PY", "GUNICORN"))
    }
    ours = {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "XDG_RUNTIME_DIR": str(work)}
    return kept | ours | ({"GZC": "1"} if gzc else {})


def _end(child: subprocess.Popen[bytes]) -> None:
    """End it and what its tests have left behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _book(lines: Iterable[str], taken: Run) -> tuple[str, bool]:
    """Enter what a process wrote down: the test that was running at its end, and whether it came to its end."""
    running, over = "", False
    for line in lines:
        event = json.loads(line)
        if "start" in event:
            running = event["start"]
        elif "end" in event:
            running = ""
            taken.outcomes[event["end"]] = event["outcome"]
            if event["why"]:
                taken.why[event["end"]] = event["why"]
        else:
            over = True
            taken.moved.update(event["moved"])
    return running, over
