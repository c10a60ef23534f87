"""How long a room is: lines, docstrings included. The ceilings only fall.

A room that grows is a room in which two things are done.
"""

from pathlib import Path

import pytest

import gzc

ENGINE = Path(gzc.__file__).resolve().parent
#: Lines of a module, and of all that are no command.
ROOM, ENGINE_LINES = 290, 6_085


def _rooms(folder: Path) -> list[Path]:
    return sorted(path for path in folder.resolve().rglob("*.py"))


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("folder", [ENGINE, ENGINE / "monkey"], ids=["gzc", "monkey"])
def test_no_room_is_too_long(folder: Path) -> None:
    found = {path.name: _lines(path) for path in _rooms(folder)}
    assert {name: lines for name, lines in found.items() if lines > ROOM} == {}


def test_the_longest_room_is_as_long_as_the_law_allows() -> None:
    longest = max(_lines(path) for folder in (ENGINE, ENGINE / "monkey") for path in _rooms(folder))
    assert longest > ROOM - 20, "lower the ceiling: it only falls"


def test_the_engine_does_not_grow() -> None:
    rooms = [path for path in _rooms(ENGINE) if not {"cli", "monkey"} & set(path.relative_to(ENGINE).parts)]
    engine = sum(map(_lines, rooms))
    assert ENGINE_LINES - 150 < engine <= ENGINE_LINES
