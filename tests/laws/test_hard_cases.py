"""Each hard case and fact that code, tests or docs name has its row, and the pages are made of the rows."""

import re
from pathlib import Path

import pytest

from .._hard_cases import CASES, FACTS, FAMILIES, PAGES

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.compile(rf"\b(?:[{''.join(FAMILIES)}]|M)\d{{1,2}}\b")


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_made_of_the_rows(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == PAGES[name](), "python -m tests._hard_cases"


def test_no_reference_leads_nowhere() -> None:
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for folder in ("gzc", "monkey", "tests", "examples", "benchmarks"):
        paths += (ROOT / folder).rglob("*.py")
    rows = {*CASES, *FACTS}
    lost = {
        (str(path.relative_to(ROOT)), name)
        for path in paths
        for name in NAMED.findall(path.read_text(encoding="utf-8"))
        if name not in rows
    }
    assert lost == set()
