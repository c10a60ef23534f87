"""The short form of ``make soak``: seconds where that takes a minute, and fewer clients."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_short_soak_finds_nothing(tmp_path: Path) -> None:
    """No wrong byte, no 5xx, every abort accounted for, and nothing left in silence; idle tunnels cost no pipe."""
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.soak", "--seconds", "10", "--clients", "60", "--tunnels", "1000"),
            *("--seed", "1", "--figures", str(figures)),
        ],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text())["counts"]
    assert found["soak"]["bytes compared"] > 1 << 24
    assert found["idle tunnels"]["tunnels"] == 1000
