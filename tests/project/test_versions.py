"""The Pythons that the tests are run on: found, made, or named with the reason.

Rules: nothing is downloaded here; a Python that does not exist stands for one that cannot be had.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from .._lacks import IN_A_TREE
from ..nightly import versions

ROOT = Path(__file__).parents[2]

pytestmark = IN_A_TREE

#: All that .ci/pythons and .ci/make-pythons need before they ask for packages.
TOOLS = ("bash", "cut", "dirname", "env", "grep", "sed", "sort")


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment of a machine without Debian's tools."""
    for tool in TOOLS:
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    return {**os.environ, "PATH": str(tmp_path)}


def test_a_python_that_cannot_be_had_is_named_with_the_reason(bare: dict[str, str]) -> None:
    command = [ROOT / ".ci" / "make-pythons", "3.98", "3.99"]
    done = subprocess.run(command, env=bare, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr == "".join(
        f"pythons: {minor} cannot be had: there is no apt-get here\n" for minor in ("3.98", "3.99")
    )


def test_what_is_here_is_not_made(bare: dict[str, str]) -> None:
    listed = subprocess.run([ROOT / ".ci" / "pythons"], capture_output=True, text=True, check=True).stdout
    minors = [line.split(" ")[0] for line in listed.splitlines()]
    assert minors == sorted(minors, key=lambda minor: int(minor.partition(".")[2]))
    bare["PATH"] += f":{os.environ['PATH']}"
    command = [ROOT / ".ci" / "make-pythons", *minors]
    done = subprocess.run(command, env=bare, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_the_supported_pythons_are_the_same_everywhere() -> None:
    minors = re.findall(r"Python :: (3\.\d+)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    workflows = {name: (ROOT / ".github" / "workflows" / f"{name}.yml").read_text() for name in ("ci", "nightly")}
    matrix = re.search(r"^ +python: \[(.*)\]$", workflows["ci"], re.MULTILINE)
    assert matrix is not None
    assert re.findall(r"3\.\d+", matrix[1]) == minors
    assert set(re.findall(r"^ +(3\.\d+)$", workflows["nightly"], re.MULTILINE)) == set(minors)
    assert set(re.findall(r"^ +(3\.\d+)$", workflows["ci"], re.MULTILINE)) >= {minors[0], minors[-1]}


def test_every_combination_is_a_row(bare: dict[str, str]) -> None:
    command = [sys.executable, "-m", "tests.nightly.versions", "--only", "3.99"]
    done = subprocess.run(command, cwd=ROOT, env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 1, "nothing has passed"
    assert done.stdout.splitlines()[1:] == [
        f"3.99    {loop}   {age}: not run: there is no apt-get here"
        for age in ("newest", "oldest")
        for loop in ("libev", "libuv")
    ]


def test_rows_that_have_passed_stand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A night that was cut short goes on; what failed is run again, and so is all of other code."""
    env = versions.Environment("3.99", "newest", Path(), "1", "2")
    ran: list[str] = []
    outcomes = {
        "libev": versions.Outcome(Counter(passed=3), Counter(), []),
        "libuv": versions.Outcome(Counter(failed=1), Counter(), ["this is why"]),
    }
    monkeypatch.setattr(versions, "ROWS", tmp_path)
    monkeypatch.setattr(versions, "AGES", ["newest"])
    monkeypatch.setattr(versions, "pythons", lambda _: [("3.99", "python", "")])
    monkeypatch.setattr(versions, "environment", lambda *_: env)
    monkeypatch.setattr(versions, "tried", lambda _, loop, *__: (ran.append(loop), [outcomes[loop]])[1])
    monkeypatch.setattr(versions, "code", lambda: "one")
    monkeypatch.setattr(sys, "argv", ["versions", "--resume"])
    assert versions.main() == 1
    assert versions.main() == 1
    assert ran == ["libev", "libuv", "libuv"]
    monkeypatch.setattr(versions, "code", lambda: "another")
    outcomes["libuv"] = outcomes["libev"]
    assert versions.main() == 0
    assert versions.main() == 0
    assert ran[3:] == ["libev", "libuv"]
