"""The page of the figures, the figures themselves, and the nightly run that makes them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .. import _figures
from .._lacks import IN_A_TREE
from ..nightly import reliability

ROOT = Path(__file__).resolve().parents[2]

pytestmark = IN_A_TREE


def test_the_page_is_what_the_figures_say() -> None:
    page = reliability.PAGE.read_text(encoding="utf-8")
    assert page == reliability.rendered(page), "make reliability"


def test_every_table_is_on_the_page_and_every_kept_file_is_of_a_run_that_passed() -> None:
    named = [found[1] for found in reliability.BLOCK.findall(reliability.PAGE.read_text(encoding="utf-8"))]
    assert sorted(named) == sorted(reliability.TABLES)
    for path in reliability.KEPT.glob("*.json"):
        assert path.stem in named
        assert reliability.load(path)["passed"] is True, path


SAMPLES = {
    "nightly": (
        {"parts": [{"part": "soak", "how": "passed", "seconds": 671, "what": "200 clients"}]},
        "| soak | passed | 11:11 | 200 clients |",
    ),
    "versions": (
        {
            "combinations": [
                {"Python": "3.10", "age": "newest", "loop": "libuv", "gevent": "26.9.0", "gunicorn": "27.0.1"}
                | {"passed": 1737, "failed": 0, "skipped": 2, "skipped because": {"no moon": 2}},
                {"Python": "3.99", "age": "oldest", "loop": "libuv", "not run": "no wheel of it"},
            ]
        },
        "| 1,737 | 0 | 2 |\n\nSkipped: no moon.\nNot run: Python 3.99 with the oldest: no wheel of it.",
    ),
    "coverage": (
        {
            "covered_lines": 5189,
            "num_statements": 5375,
            "covered_branches": 3,
            "num_branches": 4,
            "percent_covered": 95.3,
        },
        "| statements run | 5,189 of 5,375 |\n| branches taken | 3 of 4 |\n| both | 95.30 % |",
    ),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_tables_of_what_is_not_run_every_day(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reliability, "KEPT", tmp_path)
    counts, expected = SAMPLES[name]
    (tmp_path / f"{name}.json").write_text(
        json.dumps(counts if name == "coverage" else {"passed": True, "counts": counts})
    )
    assert expected in reliability.block(name)


def test_figures_of_a_run_that_failed_are_not_taken_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reliability, "FIGURES", tmp_path / "new")
    monkeypatch.setattr(reliability, "KEPT", tmp_path / "kept")
    (tmp_path / "new").mkdir()
    for name, passed in (("fuzz", True), ("soak", False)):
        (tmp_path / "new" / f"{name}.json").write_text(json.dumps({"passed": passed, "counts": {}}))
    assert reliability.collect() == ["soak"]
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["fuzz.json"]


# -- how a run of the tests counts -----------------------------------------------------------------------------------

COUNTING = """
import pytest
from tests._figures import count
@pytest.mark.parametrize("number", range(5))
def test_that_counts(number): count("bytes compared", number)
def test_that_is_skipped(): pytest.skip("no moon")
def test_that_fails(): assert {passes}
"""


def counted(tmp_path: Path, *options: str, passes: bool = True) -> dict[str, Any]:
    """The figures of a run of two modules with those tests, in a process of its own."""
    for name in ("one", "two"):
        (tmp_path / f"test_{name}.py").write_text(COUNTING.format(passes=passes))
    figures = tmp_path / "figures" / "faults.json"
    # As if these modules stood in tests/: their conftest is ours.
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_addoption, pytest_configure\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--rootdir", tmp_path, "--figures", figures, *options, tmp_path],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **dict.fromkeys(_figures.SETTINGS, "")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == (0 if passes else 1), done.stdout + done.stderr
    found: dict[str, Any] = json.loads(figures.read_text())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["0", "2"])
def test_what_is_tried_is_counted_in_however_many_processes(tmp_path: Path, processes: str) -> None:
    found = counted(tmp_path, "-n", processes)
    assert (found["command"], found["passed"]) == ("make faults", True)
    assert found["counts"] == {
        "bytes compared": 20,
        "tests": {"passed": 12, "failed": 0, "skipped": 2},
        "passed in": {"test_one": 6, "test_two": 6},
        "skipped because": {"no moon": 2},
    }
    assert not re.search(r"20\d\d-\d\d|/", json.dumps(found)), "a date, or a path"


def test_the_command_is_the_one_that_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SOAK", "600"), ("ARGS", "-k 'a or b'"), ("GZC_FUZZ_EXAMPLES", "")):
        monkeypatch.setenv(name, value)
    assert _figures.command("soak") == """make soak SOAK=600 ARGS='-k '"'"'a or b'"'"''"""


def test_a_run_that_fails_says_so(tmp_path: Path) -> None:
    found = counted(tmp_path, passes=False)
    assert found["passed"] is False
    assert found["counts"]["tests"] == {"passed": 10, "failed": 2, "skipped": 2}


# -- the nightly run -------------------------------------------------------------------------------------------------

#: In the place of make: parts that pass, fail, say nothing of themselves, and do not end.
MAKE = """#!{python}
import json, pathlib, subprocess, sys
part = sys.argv[2]
print("this is", part)
if part == "soak":
    subprocess.run([sys.executable, "-c", "import time; time.sleep(1000)  # {mark}"], start_new_session=True)
if part != "mutations":
    counts = {{"pages": 3, "pictures": 2, "wrong": "", "histories of copies": 20}}
    counts["tests"] = dict(passed=1, failed=2, skipped=0)
    pathlib.Path("{figures}", part + ".json").write_text(json.dumps({{"passed": True, "counts": counts}}))
sys.exit(part == "fuzz")
"""

NIGHTLY = """
import pathlib, sys
from tests.nightly import __main__ as nightly
nightly.FIGURES = pathlib.Path(sys.argv.pop(1))
nightly.LOGS = nightly.FIGURES / "logs"
nightly.PARTS["soak"] = nightly.Part(0.05)
nightly.GRACE = 0.5
sys.exit(nightly.main())
"""


@pytest.mark.slow
def test_the_nightly_run_goes_on_after_what_fails_and_ends_with_a_table(tmp_path: Path) -> None:
    """A part that failed, one without figures and one that hangs, with a child in a session of its own."""
    make, mark = tmp_path / "make", f"mark of {tmp_path.name}"
    make.write_text(MAKE.format(python=sys.executable, figures=tmp_path, mark=mark))
    make.chmod(0o755)
    parts = ("fuzz", "mutations", "soak", "browser")
    done = subprocess.run(
        [sys.executable, "-c", NIGHTLY, str(tmp_path), "--make", str(make), *parts],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    table = done.stdout.rpartition("what it came to\n")[2]
    assert [line.split("  ")[0] for line in table.splitlines()] == [*parts, "all"]
    assert re.search(r"^fuzz +FAILED +\S+   20 histories, 0 steps; ", table, re.MULTILINE)
    assert re.search(r"^mutations +FAILED +\S+   no figures", table, re.MULTILINE)
    assert re.search(r"^soak +TOO LONG +\S+   no figures", table, re.MULTILINE)
    assert re.search(r"^browser +passed +\S+   3 pages, 2 pictures", table, re.MULTILINE)
    assert "this is fuzz" in done.stdout
    assert "this is browser" not in done.stdout
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in _content(path)]
    assert left == []


def test_a_night_that_was_cut_short_goes_on(tmp_path: Path) -> None:
    """What has passed on the very same code stands; what failed, and all of other code, is run again."""
    make = tmp_path / "make"
    make.write_text(MAKE.format(python=sys.executable, figures=tmp_path, mark=""))
    make.chmod(0o755)

    def run(*arguments: str, code: str = "one") -> list[str]:
        """The parts that were run."""
        program = NIGHTLY.replace("sys.exit", f"nightly.code = lambda: {code!r}\nsys.exit")
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path), "--make", str(make), *arguments, "fuzz", "browser", "siege"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert re.search("^browser +passed", done.stdout, re.MULTILINE)
        return re.findall("^==> ([a-z]+)", done.stdout, re.MULTILINE)

    assert run() == ["fuzz", "browser", "siege"]
    assert run("--resume") == ["fuzz"]
    (tmp_path / "siege.json").unlink()  # its figures are gone
    assert run("--resume") == ["fuzz", "siege"]
    assert run("--resume", code="other") == run() == ["fuzz", "browser", "siege"]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""
