"""docs/performance.md says what the reports beside it say, and its charts are of their figures."""

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from .._lacks import IN_A_TREE, lacking

ROOT = Path(__file__).resolve().parents[2]

if not (ROOT / "benchmarks").exists():
    lacking(IN_A_TREE.kwargs["reason"], module=True)


def _benchmarks() -> None:
    """Make the package importable, and not the whole folder: ``monkey`` must be gzc's only."""
    place = ROOT / "benchmarks"
    spec = importlib.util.spec_from_file_location("benchmarks", place / "__init__.py")
    assert spec
    sys.modules[spec.name] = importlib.util.module_from_spec(spec)


_benchmarks()
charts, page, report = (importlib.import_module(f"benchmarks.{name}") for name in ("charts", "page", "report"))

REGION = re.compile(r"<!-- from (\w+)\.json")


def kept() -> dict[str, Any]:
    return page.reports()


def test_the_pages_say_what_the_reports_say() -> None:
    """Else: python -m benchmarks page."""
    for file in page.PAGES:
        text = file.read_text()
        assert page.rendered(text, kept()) == text, f"{file.name} is older than its reports"


def test_every_report_that_is_kept_is_on_the_page() -> None:
    """And there is no region without one."""
    assert sorted(REGION.findall(page.PAGES[0].read_text())) == sorted(kept())


@pytest.mark.parametrize("name", sorted(charts.PANELS))
def test_each_chart_is_of_the_figures_that_are_kept(name: str) -> None:
    """Else: python -m benchmarks page."""
    assert charts.drawn_from(page.KEPT / f"{name}.svg") == charts.digest(kept()[name])


@pytest.mark.parametrize("name", sorted(kept()))
def test_a_report_names_what_made_it(name: str) -> None:
    """Its command, which measured, the machine and the versions; no place on that machine, and not its name."""
    found = kept()[name]
    said = found["conditions"]
    assert said["command"].startswith(f"python -m benchmarks {name}")
    assert "--quick" not in said["command"]
    assert {"machine", "network", "kernel", "Python", "packages", "load average"} <= set(said)
    text = (page.KEPT / f"{name}.json").read_text()
    assert not re.findall(r"/(?:tmp|home|root|work|var|usr)/", text)
    line = page.made_by(found)
    assert all(value in line for value in said.values())


def test_another_figure_makes_another_page_and_another_chart() -> None:
    found = kept()
    found["seams"]["tables"][0]["rows"][0][1] = "a figure of its own"
    text = page.PAGES[0].read_text()
    assert "a figure of its own" in page.rendered(text, found)
    before = charts.digest(found["transfers"])
    found["transfers"]["figures"][0]["mib_per_s"]["gzc"] += 1
    assert charts.digest(found["transfers"]) != before


def test_the_command_of_a_report_leaves_out_where_it_is_written(tmp_path: Path) -> None:
    place = str(tmp_path / "found.json")
    for arguments in (["--json", place], [f"--json={place}"], ["--charts", place]):
        said = report.conditions("growth", ["64 KiB", *arguments, "--rounds", "1"])
        assert said["command"] == "python -m benchmarks growth '64 KiB' --rounds 1"


def test_a_report_is_written_with_a_line_for_each_figure() -> None:
    """And is JSON."""
    found = {"name": "some", "figures": [{"a": 1.23456789}, {"b": (2, "→")}], "notes": [], "summary": {"c": 3.0}}
    text = report.dumps(report.rounded(found))
    assert json.loads(text) == {**found, "figures": [{"a": 1.2346}, {"b": [2, "→"]}]}
    assert ' {"a": 1.2346},\n' in text


def test_a_chart_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    """Nothing in it is of the moment: neither a date nor an id by chance."""
    for name, found in kept().items():
        if name in charts.PANELS:
            pictures = [charts.draw(found, tmp_path / place) for place in ("one", "two")]
            assert pictures[0].read_bytes() == pictures[1].read_bytes()
            assert charts.drawn_from(pictures[0]) == charts.digest(found)
