"""Figures of a run: what is tried is counted where it is tried, and written down as JSON.

    pytest --figures build/reliability/NAME.json

NAME is the target of the Makefile that is run; ``python -m tests.nightly.reliability`` makes a page of these files.

A figure is counted by the run itself, never reckoned from what should have been run. No date,
no path and no name of a machine, so that the page changes only when the figures do.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

#: Variables that decide how much is tried.
SETTINGS = ("SOAK", "SIEGE", "GZC_FUZZ_EXAMPLES", "ARGS")

_counts: Counter[str] = Counter()


def count(what: str, number: int = 1) -> None:
    """So many more of ``what`` have been tried in this process."""
    _counts[what] += number


def conditions() -> dict[str, object]:
    """What the figures of a run may depend on."""
    from gevent import config

    return {
        "kernel": platform.release(),
        "processors": os.cpu_count(),
        "Python": platform.python_version(),
        "gevent": version("gevent"),
        "greenlet": version("greenlet"),
        "loop": config.loop.__module__.split(".")[1],
    }


def command(target: str) -> str:
    """How ``target`` was asked for: make passes on, in the environment, what it was told in its command."""
    told = {name: os.environ.get(name) for name in SETTINGS}
    return " ".join(["make", target, *(f"{name}={shlex.quote(value)}" for name, value in told.items() if value)])


def write(path: Path, passed: bool, seconds: float, counts: Mapping[str, Any]) -> None:
    """Write the figures of the target of the Makefile that ``path`` is named after."""
    found = {
        "command": command(path.stem),
        "conditions": conditions(),
        "passed": passed,
        "seconds": round(seconds),
        "counts": counts,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def tell(path: Path | None, seconds: float, found: Mapping[str, Any]) -> int:
    """Print what a program of its own has found, and write it if there is a ``path``; its exit status."""
    print(json.dumps(found, indent=2))
    if path:
        write(path, "wrong" not in found, seconds, found)
    return 1 if "wrong" in found else 0


# -- of a run of pytest ----------------------------------------------------------------------------------------------


def register(config: pytest.Config) -> None:
    """Write figures at the end of this run, if it was asked to."""
    path = config.getoption("figures")
    if path is not None:
        config.pluginmanager.register(_Worker(config) if hasattr(config, "workerinput") else _Run(Path(path)))


class _Worker:
    """One of several processes (pytest-xdist): its counts go to the one that started it."""

    def __init__(self, config: Any) -> None:
        self._output = config.workeroutput

    def pytest_sessionfinish(self) -> None:
        self._output["figures"] = dict(_counts)


class _Run:
    """The process that hears of every test."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._began = monotonic()
        self._outcomes: Counter[str] = Counter({"passed": 0, "failed": 0, "skipped": 0})
        self._passed_in: Counter[str] = Counter()
        self._why_skipped: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        self._outcomes[report.outcome] += 1
        if report.passed:
            self._passed_in[Path(report.location[0]).stem] += 1
        elif report.skipped:
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else "expected to fail"
            self._why_skipped[why.removeprefix("Skipped: ")] += 1

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        _counts.update(getattr(node, "workeroutput", {}).get("figures", {}))

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        counts = {
            **dict(sorted(_counts.items())),
            "tests": dict(self._outcomes),
            "passed in": dict(sorted(self._passed_in.items())),
            "skipped because": dict(sorted(self._why_skipped.items())),
        }
        write(self._path, exitstatus == 0, monotonic() - self._began, counts)
