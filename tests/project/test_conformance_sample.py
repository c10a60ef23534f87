"""``make conformance`` itself, and a sample of it: CPython's tests of ``socket.sendfile``, which gevent leaves out.

All of it takes half an hour and is for the nightly run.
"""

from pathlib import Path

import pytest

from .._lacks import lacking
from ..nightly.conformance._compare import Comparison, compare
from ..nightly.conformance._run import run
from ..nightly.conformance._suites import Suite, Unavailable

SUITE = Suite(
    "sendfile",
    ("-k", "SendfileUsingSendfileTest or SendfileUsingSendTest", "--pyargs", "test.test_socket"),
    module="test.test_socket",
    limit=30,
    bound=90,
)


@pytest.fixture(scope="module")
def compared() -> Comparison:
    """Both classes, without gzc and with it."""
    try:
        return compare(SUITE, SUITE.prepare())
    except Unavailable as why:
        lacking(str(why))


@pytest.mark.slow
def test_what_passes_under_gevent_passes_under_gzc(compared: Comparison) -> None:
    assert compared.good, (compared.newly_failing, compared.stock.broken, compared.gzc.broken)


@pytest.mark.slow
def test_what_gevent_leaves_out_passes_under_gzc(compared: Comparison) -> None:
    tests = {test for test in compared.gzc.outcomes if "SendfileUsingSendfileTest" in test}
    assert len(tests) >= 10
    assert tests <= compared.gzc.passed(), compared.gzc.why
    assert tests.intersection(compared.newly_passing), "gevent does not leave them out any more"
    assert compared.gzc.moved["sendfile"] > 10 << 20  # four of them send 10 MiB, or nearly


VERDICTS = """
import os, sys, time
GZC, ONCE = "copy" in vars(sys.modules.get("gzc", sys)), {once!r}
def test_passes(): pass
def test_fails(): assert False
def test_fails_beside_gzc(): assert not GZC
def test_passes_beside_gzc(): assert GZC
def test_hangs(): time.sleep(1000)
def test_dies(): os._exit(3)
def test_fails_beside_gzc_once():
    if GZC and not os.path.exists(ONCE):
        open(ONCE, "w").close()
        assert False
def test_is_run_after_those(): pass
"""


@pytest.mark.slow
def test_each_kind_of_difference_is_told_from_the_others(tmp_path: Path) -> None:
    theirs = tmp_path / "test_theirs.py"
    theirs.write_text(VERDICTS.format(once=str(tmp_path / "once")))
    found = compare(Suite("theirs", (str(theirs),), limit=3, bound=60), tmp_path)

    def of(*names: str) -> list[str]:
        return [f"test_theirs.py::test_{name}" for name in names]

    assert found.stock.passed() >= {*of("passes", "is_run_after_those")} <= found.gzc.passed()
    assert found.newly_failing == of("fails_beside_gzc")
    assert found.newly_passing == of("passes_beside_gzc")
    assert found.unsteady == of("fails_beside_gzc_once")
    assert found.failed_in_both == sorted(of("fails", "hangs", "dies"))
    assert [found.stock.outcomes[test] for test in of("hangs", "dies")] == ["hung", "crashed"]
    assert not found.good


@pytest.mark.slow
def test_a_suite_that_does_not_end_is_broken_and_names_the_test(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(VERDICTS.format(once=""))
    found = run(Suite("theirs", ("-k", "hangs", "test_theirs.py"), limit=60, bound=4), tmp_path, gzc=True)
    assert "while running test_theirs.py::test_hangs" in found.broken
    assert found.outcomes == {"test_theirs.py::test_hangs": "hung"}


def test_a_suite_that_is_not_here_says_what_is_missing() -> None:
    with pytest.raises(Unavailable, match=r"there is no test\.test_nothing in "):
        Suite("nothing", module="test.test_nothing").prepare()
    with pytest.raises(Unavailable, match="nothing-of-that-name is not installed"):
        Suite("nothing", sdist="nothing-of-that-name").prepare()
