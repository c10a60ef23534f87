"""``register`` equals the dunder (hard case R14): every example of docs/wrappers.md is run both ways.

Rules: the page, and the example that it includes, is rewritten and not copied: each ``__gzc_source__`` and
``__gzc_sink__`` becomes a ``gzc.register``, and each ``gzc.register`` a dunder. What the page asserts, of plans, bytes
and counts, must hold either way, and what it prints be the same.
"""

import ast
import sys
from pathlib import Path
from typing import Any

import pytest

import gzc

from .._ends import Ends, payload
from .._lacks import IN_A_TREE
from .._program import finished
from ..project.test_docs import ROOT, program

PAGE = ROOT / "docs" / "wrappers.md"
EXAMPLE = ROOT / "examples" / "own_reader.py"
DUNDERS = {"__gzc_source__": "source", "__gzc_sink__": "sink"}


class Registering(ast.NodeTransformer):
    """Classes that describe themselves are registered instead."""

    rewritten = 0

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        moved: list[ast.stmt] = []
        for method in list(node.body):
            if isinstance(method, ast.FunctionDef) and method.name in DUNDERS:
                node.body.remove(method)
                registered = f"gzc.register({node.name}, {DUNDERS[method.name]}={method.name})"
                moved += [method, *ast.parse(registered).body]
                self.rewritten += 1
        node.body = node.body or [ast.Pass()]
        return [node, *moved]


class Describing(ast.NodeTransformer):
    """Classes that are registered describe themselves instead."""

    rewritten = 0

    def visit_Expr(self, node: ast.Expr) -> Any:
        call = node.value
        if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "gzc.register"):
            return node
        self.rewritten += 1
        cls, dunders = ast.unparse(call.args[0]), {word: name for name, word in DUNDERS.items()}
        return [
            ast.parse(f"{cls}.{dunders[word.arg or '']} = {ast.unparse(word.value)}").body[0] for word in call.keywords
        ]


def rewritten(code: str, how: Any) -> tuple[str, int]:
    changed = how.visit(ast.parse(code))
    return ast.unparse(ast.fix_missing_locations(changed)), how.rewritten


@IN_A_TREE
def test_every_example_of_the_page_runs_both_ways(tmp_path: Path) -> None:
    """R14."""
    code = program(PAGE)
    registering, registered = rewritten(code, Registering())
    describing, described = rewritten(code, Describing())
    assert registered == 3
    assert described == 1
    printed = {finished([sys.executable, "-c", text], cwd=tmp_path) for text in (code, registering, describing)}
    assert len(printed) == 1, printed


@IN_A_TREE
def test_the_example_runs_both_ways(tmp_path: Path) -> None:
    """R14."""
    registering, registered = rewritten(EXAMPLE.read_text(), Registering())
    assert registered == 1
    (tmp_path / "own_reader.py").write_text(registering)
    (tmp_path / "file").write_bytes(payload(300_000))
    printed = {finished([sys.executable, path, tmp_path / "file"]) for path in (EXAMPLE, tmp_path / "own_reader.py")}
    assert len(printed) == 1, printed


def classes(how: str, described: Any) -> Any:
    """A class that `described` describes in this way, a subclass of it, and one that overrides how it is iterated."""

    class Iterable_:
        def __init__(self, file: Any) -> None:
            self.file = file
            self.past: list[int] = []

        def __iter__(self) -> Any:
            return iter(lambda: self.file.read(8192), b"")

    class Named(Iterable_):
        title = "nothing overridden"

    class Upper(Iterable_):
        def __iter__(self) -> Any:
            return (block.upper() for block in super().__iter__())

    if how == "dunder":
        Iterable_.__gzc_source__ = described  # type: ignore[attr-defined]
    else:
        gzc.register(Iterable_, source=described)
    return Iterable_, Named, Upper


@pytest.mark.parametrize("how", ["dunder", "register"])
def test_a_response_that_can_only_be_iterated(ends: Ends, how: str) -> None:
    """R14: the same description, the same plan and counts; the question that gives no description asks for nothing."""
    content = payload(100_000)
    plain, named, upper = classes(how, lambda self: gzc.source(self.file).settling(self.past.append))
    for cls in (plain, named):
        obj = cls(ends.file(content))
        sock, there = ends.unix()
        peer = ends.reading(there)
        assert gzc.source(obj, None).kind is gzc.Kind.FILE  # type: ignore[union-attr]
        assert gzc.explain(obj, sock).mechanism == "sendfile"
        assert gzc.copy(obj, sock) == len(content) == sum(obj.past)
        sock.close()
        assert peer.all() == content
    assert gzc.source(upper(ends.file(content)), None) is None
    with pytest.raises(TypeError, match="has none of read, recv"):
        gzc.source(upper(ends.file(content)))
    for cls in (plain, named):
        with pytest.raises(ValueError, match="closed"):
            gzc.source(cls(closed(ends)), None)


def closed(ends: Ends) -> Any:
    file = ends.file()
    file.close()
    return file


def test_the_question_who_vouches() -> None:
    """A default is given back for what nobody vouches for, and nothing is asked of that."""

    class Hostile:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

    for question in (gzc.source, gzc.sink):
        assert question(Hostile(), None) is None
        assert question([b"block"], None) is None
        assert question(bytearray(), None).kind is gzc.Kind.MEMORY  # type: ignore[union-attr]
