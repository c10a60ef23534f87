"""Each hard case that must never come back has a test that names it.

Rule: an id counts where it stands in the name or the docstring of a test, not in a comment.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

#: By what they are about: silent loss, blocking, copy_file_range, sendfile, pipes, Python's objects, gevent, the
#: protocol of copies, patches.
CASES = (  # noqa: SIM905 - a line for each family
    """
D1 D2 D4 D5 D6 D7 D8 D9 D10 D12
B1 B2 B3 B4 B5 B6 B7 B10 B11 B13 B16
C1 C2 C3 C4 C6 C7 C8 C9 C11 C13 C20 C21
F1 F2 F4 F5 F7 F9 F13 F14 F16
L1 L2 L3 L6 L7 L11 L14
O1 O2 O4 O5 O7 O9 O10 O13 O15 O16
G1 G2 G3 G8
X1 X3 X4 X5 X8
P1 P2 P4 P9
"""
).split()


@cache
def _named() -> set[str]:
    """The ids in names and docstrings of all test functions."""
    found: set[str] = set()
    for path in Path(__file__).parents[1].rglob("test_*.py"):
        if path == Path(__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                text = f"{node.name.replace('_', ' ').upper()} {ast.get_docstring(node) or ''}"
                found.update(re.findall(r"\b[A-Z]\d{1,2}\b", text))
    return found


@pytest.mark.parametrize("case", CASES)
def test_every_hard_case_is_named_by_a_test(case: str) -> None:
    assert case in _named()
