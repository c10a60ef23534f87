"""One run of one suite: patch this process, then let pytest do the rest. A program, given a file with an order in JSON.

Each test is written down when it begins and when it is over, and not in a junit XML at the end: a run that hangs
or dies must still name its test. Whoever gave the order starts the rest anew.

Nothing is imported before it is patched but what patching itself needs.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


def main() -> int:
    """Carry out the order; pytest's exit status."""
    with open(sys.argv[1], "rb") as file:
        order = json.load(file)
    del sys.path[0]  # our own folder is not for others to import from
    _patch(order)
    import pytest

    sys.argv[1:] = order["args"]
    plain = ["-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--tb=short"]
    return pytest.main([*plain, *order["args"]], plugins=[Recorder(order)])


def _patch(order: dict[str, Any]) -> None:
    switched_on = os.environ.get("GZC") == "1"
    if order["patched"]:
        from gevent import monkey

        monkey.patch_all(**order["options"])
    elif switched_on:
        import gzc

        gzc.patch_all(stdlib=False)
    # Stock compared with stock proves nothing.
    assert _engine_is_loaded() == switched_on, "GZC=1 did not decide whether gzc is in force"


def _engine_is_loaded() -> bool:
    """Its names are resolved when they are first used."""
    return "copy" in vars(sys.modules.get("gzc", sys))


class Recorder:
    """A pytest plugin: runs what is wanted, writes down what happens, ends the process where a test hangs."""

    def __init__(self, order: dict[str, Any]) -> None:
        import faulthandler

        self._clock = faulthandler
        self._limit: int = order["limit"]
        self._only = set(order["only"])
        self._without = set(order["without"])
        self._said = os.dup(2)  # pytest takes 2 for itself
        self._record = os.open(order["record"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._owner = os.getpid()
        self._outcome, self._why = "", ""

    def _write(self, **event: object) -> None:
        if os.getpid() == self._owner:  # a test may fork, and the copy come back to us
            os.write(self._record, json.dumps(event).encode() + b"\n")

    def pytest_configure(self, config: pytest.Config) -> None:
        """CPython's tests as gevent's own runner prepares them."""
        if any(arg.startswith("test.") for arg in config.args):
            import contextlib

            from test import support
            from test.support import threading_helper

            support.use_resources = {"network": None}  # a network, but no gigabytes
            # It counts the native threads, and gevent's pool keeps its own: five seconds for each test.
            threading_helper.wait_threads_exit = lambda timeout=None: contextlib.nullcontext()

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what an earlier process of this run has done, and what was not asked for."""
        wanted = [i for i in items if i.nodeid not in self._without and (not self._only or i.nodeid in self._only)]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(wanted)])
        items[:] = wanted

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that cannot be imported is a test that fails."""
        if report.failed:
            self._write(end=report.nodeid, outcome="failed", why=str(report.longrepr)[-2000:])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        self._outcome, self._why = "", ""
        self._write(start=nodeid)
        self._clock.dump_traceback_later(self._limit, exit=True, file=self._said)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A phase of it, or a subtest, is over; the worst one counts."""
        if report.failed:
            self._outcome, self._why = "failed", str(report.longrepr)[-2000:]
        elif report.skipped and not self._outcome:
            self._outcome = "skipped"
        elif report.when == "call" and not self._outcome:
            self._outcome = "passed"

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """A test is over."""
        self._clock.cancel_dump_traceback_later()
        self._write(end=nodeid, outcome=self._outcome or "failed", why=self._why)

    def pytest_sessionfinish(self) -> None:
        """All are over; how many bytes went below Python meanwhile."""
        face = sys.modules.get("gzc") if _engine_is_loaded() else None
        self._write(over=True, moved=face.stats()["bytes"] if face else {})


if __name__ == "__main__":
    sys.exit(main())
