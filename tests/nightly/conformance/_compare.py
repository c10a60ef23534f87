"""What a suite does without gzc and with it, and which difference is one.

Pure, but for the reruns. A test that is unsteady by itself accuses nobody; one that only fails
beside gzc does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ._run import Choice, Run, run
from ._suites import Suite

#: How often the tests that seem to fail newly are run again, in both configurations.
RERUNS = 3


@dataclass
class Comparison:
    """One suite in both configurations.

    newly_failing
        Passed without gzc each time it ran, and failed with it more than once.
    newly_passing
        Fails without gzc, passes with it.
    unsteady
        Failed once beside gzc, and not again; or fails without gzc, too, now and then.
    """

    suite: Suite
    stock: Run
    gzc: Run
    newly_failing: list[str] = field(default_factory=list)
    newly_passing: list[str] = field(default_factory=list)
    unsteady: list[str] = field(default_factory=list)

    @property
    def passed(self) -> int:
        return len(self.stock.passed() & self.gzc.passed())

    @property
    def failed_in_both(self) -> list[str]:
        """Also those that hang without gzc, and were not run with it."""
        return sorted((self.stock.failed() & self.gzc.failed()) | self.stock.stuck())

    @property
    def good(self) -> bool:
        """Nothing passes without gzc that fails with it, and both runs say something."""
        return not (self.newly_failing or self.stock.broken or self.gzc.broken) and self.passed > 0


def compare(suite: Suite, home: Path | None) -> Comparison:
    """Run ``suite`` without gzc and with it; run again what seems to fail newly."""
    return judged(both(suite, home), home)


def both(suite: Suite, home: Path | None) -> Comparison:
    """Run ``suite`` without gzc and with it; what passed without it alone is accused of failing newly."""
    stock = run(suite, home, gzc=False)
    # What hangs without gzc accuses nobody, and would take its time once more.
    found = Comparison(suite, stock, run(suite, home, gzc=True, choice=Choice(without=stock.stuck())))
    found.newly_failing = sorted(stock.passed() - found.gzc.passed())
    found.newly_passing = sorted(found.gzc.passed() - stock.passed())
    return found


def judged(found: Comparison, home: Path | None) -> Comparison:
    """Run the accused again; those that do not fail again are unsteady."""
    accused = set(found.newly_failing)
    if not (found.stock.broken or found.gzc.broken):
        found.newly_failing = sorted(_failing(found.suite, home, accused))
    found.unsteady = sorted(accused.difference(found.newly_failing))
    return found


def _failing(suite: Suite, home: Path | None, accused: set[str]) -> set[str]:
    """Of the accused, those that fail again beside gzc, and never without it."""
    steady, failing = set(accused), set[str]()
    for _ in range(RERUNS if accused else 0):
        again = Choice(only=accused)
        steady &= run(suite, home, gzc=False, choice=again).passed()
        failing |= accused - run(suite, home, gzc=True, choice=again).passed()
    return steady & failing
