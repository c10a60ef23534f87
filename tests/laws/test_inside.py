"""The tests reach what is private through one file, `tests/_inside.py`, so that code can move without them."""

import re
from pathlib import Path

import pytest

from .. import _inside

TESTS = Path(__file__).resolve().parent.parent
#: The plugin's name is published, as gevent's entry point.
PUBLISHED = {"gzc.monkey._plugin"}
PRIVATE = re.compile(r"\bgzc\.(?:monkey\.|cli\.)?_[a-z]\w*|\bfrom gzc[a-z.]* import [^\n]*\b_[a-z]\w*")


def test_no_test_names_a_private_module() -> None:
    named = {
        f"{path.relative_to(TESTS)}: {found}"
        for path in TESTS.rglob("*.py")
        if path.name not in ("_inside.py", Path(__file__).name)
        for found in PRIVATE.findall(path.read_text(encoding="utf-8"))
        if found not in PUBLISHED
    }
    assert named == set()


def test_every_name_that_is_imported_has_a_home() -> None:
    """Also in the applications of servers, where a wrong one is an error of a request."""
    importing = re.compile(r"\bfrom (?:\.*_)?inside import (\(?)([\w, \n]+)")
    lost = {
        (path.name, name)
        for path in TESTS.rglob("*.py")
        for opened, names in importing.findall(path.read_text(encoding="utf-8"))
        for name in re.findall(r"\w+", names if opened else names.partition("\n")[0])
        if name not in {*_inside.HOMES, *vars(_inside)}
    }
    assert lost == set()


@pytest.mark.parametrize("name", _inside.HOMES)
def test_what_is_inside_is_there_and_used(name: str) -> None:
    getattr(_inside, name)
    word = re.compile(rf"\b{name}\b")
    assert any(
        word.search(path.read_text(encoding="utf-8")) for path in TESTS.rglob("*.py") if path.name != "_inside.py"
    )


def test_a_program_imports_from_where_it_is() -> None:
    program = "    from inside import Row, _pipe\nfrom inside import _stop\nimport os\n"
    assert _inside.resolved(program) == (
        f"    {_inside.sentence('Row')}; {_inside.sentence('_pipe')}\n{_inside.sentence('_stop')}\nimport os\n"
    )
