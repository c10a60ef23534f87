"""The short forms of ``make soak`` and ``make siege``: seconds where those take minutes, and fewer clients."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import gzc

from .._ends import Ends
from .._inside import _pipe
from ..apps.held import held
from ..nightly.soak import more_than


def test_a_pipe_in_the_pool_is_no_leak_and_one_that_nobody_has_is(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busier second round fills the pool by a pipe more, and the soak test took these two descriptors for a leak."""
    (here, feeder), (sock, _) = ends.unix(), ends.unix()
    feeder.sendall(b"x" * 1000)
    monkeypatch.setattr(_pipe, "_idle", [])
    before = held()
    assert gzc.copy(here, sock, 1000) == 1000
    after = held()
    assert (before["pooled pipes"], after["pooled pipes"]) == (0, 1)
    assert more_than(before, after) == []
    pipes, most = before["descriptors"]["pipe"], gzc.config.pool_pipes
    with monkeypatch.context() as patch:
        patch.setattr(gzc.config, "pool_pipes", 0)
        assert more_than(before, held()) == ["1 × pooled pipes, and may hold 0"]
    leaked = os.pipe()
    try:
        assert more_than(before, held()) == [f"{pipes + 2} × pipe, and may hold {pipes}"]
    finally:
        for fd in leaked:
            os.close(fd)
    assert held()["most pooled pipes"] == most


def short(program: str, *options: str) -> Any:
    """The figures of a short run that finds nothing wrong."""
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        done = subprocess.run(
            [
                *(sys.executable, "-m", program, "--seconds", "10", "--clients", "60", "--seed", "1"),
                *("--figures", str(figures), *options),
            ],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(figures.read_text())["counts"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_short_soak_finds_nothing() -> None:
    """No wrong byte, no 5xx, every abort accounted for, and nothing left in silence; idle tunnels cost no pipe."""
    found = short("tests.nightly.soak", "--tunnels", "1000")
    assert found["soak"]["bytes compared"] > 1 << 24
    assert found["idle tunnels"]["tunnels"] == 1000


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_short_siege_finds_nothing() -> None:
    """Normal clients get each byte, nothing is left in silence, and no log has a traceback or a foreign byte in it."""
    found = short("tests.nightly.siege")
    assert found["bytes compared"] > 1 << 24
    assert min(found["connections"].values()) > 0
