"""A sample of ``make conformance``: CPython's own tests of ``socket.sendfile``, which gevent has to leave out.

The rest of it takes an hour and is for the nightly run.
"""

import pytest

from .conformance._compare import Comparison, compare
from .conformance._suites import Suite, Unavailable

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
        pytest.skip(str(why))


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
