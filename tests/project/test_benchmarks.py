"""The benchmarks run, and their reports have the shape that others read. What they measure here is nothing."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(110)]


def _run(*arguments: str) -> tuple[dict[str, Any], str]:
    """What ``python -m benchmarks`` wrote as JSON and printed."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(Path(arguments[-1]).read_text()), done.stdout


def test_transfers_report_every_contender_of_every_pair(tmp_path: Path) -> None:
    """Rows, ratios, geometric means, and what made them: machine, kernel, versions, command."""
    rows = ("SendFile file→unix (disk)", "Splice tcp→unix 64 KiB", "Pipe pipe→pipe 64 KiB", "CopyFileRange file→file")
    found, printed = _run("transfers", *rows, "--quick", "--json", str(tmp_path / "found.json"))
    assert not found["failed"]
    names = {row["name"] for row in found["figures"]}
    assert {"SendFile file→unix (disk)", "Splice tcp→unix 64 KiB", "Pipe pipe→pipe 64 KiB"} <= names
    for row in found["figures"]:
        assert {"stock", "gzc", "bare"} <= set(row["mib_per_s"]), row["name"]
        assert all(value > 0 for value in row["mib_per_s"].values())
        assert set(row["throughput_ratio"]) == set(row["mib_per_s"]) - {"gzc"}
        assert row["name"] in printed
        if "go" in row["mib_per_s"]:
            assert row["spread"] >= 0
    if "no Go here" in printed:
        assert "Go is left out" in printed
    else:
        assert found["conditions"]["Go"].startswith("go version"), found["notes"]
        assert found["summary"]["Splice throughput/go"] > 0
    assert {"command", "machine", "network", "kernel", "Python", "packages"} <= set(found["conditions"])
    assert "--quick" in found["conditions"]["command"]
    # tcp that paces by timers would make all contenders alike; where no namespace is to be had, the report says so
    network = r"loopback (of the machine, tcp \w+|in a namespace of its own, tcp (cubic|reno))"
    assert re.fullmatch(network, found["conditions"]["network"])


@pytest.mark.parametrize("name", ["readers", "fairness", "proxy", "growth", "http"])
def test_each_other_benchmark_runs(tmp_path: Path, name: str) -> None:
    """One or two rows of each, with all their contenders."""
    only = {"fairness": ["8 transfers"], "growth": ["64 KiB"], "http": ["Flask, pywsgi"]}
    only["proxy"] = ["16", "short", "idle"]
    found, printed = _run(name, *only.get(name, []), "--quick", "--json", str(tmp_path / "found.json"))
    assert not found["failed"]
    assert found["figures"]
    assert all(table["rows"] for table in found["tables"]), printed


def test_an_unknown_benchmark_and_an_unknown_row_say_what_there_is() -> None:
    """And nothing runs."""
    for arguments, said in ((["nonsense"], "transfers, readers"), (["transfers", "nonsense"], "Splice tcp→tcp 1 KiB")):
        command = [sys.executable, "-m", "benchmarks", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0
        assert said in done.stderr
