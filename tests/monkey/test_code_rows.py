"""Rows that swap the code of a function: the function stays the object that others have imported.

Rules: toy modules made for the test, in `sys.modules` only while it runs.
"""

import inspect
import linecache
import sys
import types
from typing import Any

import pytest

from .._inside import Ledger, Row, Unknown

NAME = "gzc_toy_code"
SOURCE = '''
OWN = "its module's globals"
def function(count, *, more=2):
    """Its words."""
    return ("function", count, more, OWN)
def clone(): return ("made", function(0))
def odd(sys, /, *rest, count=1, **more): return (sys, rest, count, more)
def outer():
    cell = 1
    def closed(count): return (cell, count)
    return closed
closed = outer()
def generator(count): yield count
class Target:
    def method(self, count): return ("method", count)
built_in = len
'''

kept: list[Any] = []


def make(original: Any) -> Any:
    kept.append(original)

    def function(count, *, more=2):  # type: ignore[no-untyped-def]
        return ("gzc", *original(count, more=more))

    return function


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = types.ModuleType(NAME)
    exec(SOURCE, vars(made))
    monkeypatch.setitem(sys.modules, NAME, made)
    return made


def row(path: str = "function.__code__", made: Any = make, knows: tuple[str, ...] = ("count",)) -> Row:
    return Row(NAME, path, made, frozenset(knows))


ORIGINAL = ("function", 1, 2, "its module's globals")
OURS = ("gzc", *ORIGINAL)


def test_the_function_stays_and_undo_restores_the_very_code(module: Any) -> None:
    """Twice. Who has it by name is reached, and the original goes on working."""
    early, code, ledger, one = module.function, module.function.__code__, Ledger(), row()
    signature, before = inspect.signature(early), dict(vars(module))
    for _ in range(2):
        assert early(1) == ORIGINAL
        assert ledger.apply(one)
        assert ledger.apply(one)
        assert one in ledger
        assert early is module.function
        assert early(1) == OURS
        assert kept[-1](1) == ORIGINAL
        assert kept[-1].__globals__ is vars(module)
        assert inspect.signature(early) == signature
        assert ledger.undo(one)
        assert one not in ledger
        assert early.__code__ is code
        assert vars(module) == before


def test_every_kind_of_parameter_is_passed_on(module: Any) -> None:
    def swap(original: Any) -> Any:
        def odd(sys, /, *rest, count=1, **more):  # type: ignore[no-untyped-def]
            return ("gzc", *original(sys, *rest, count=count, **more))

        return odd

    ledger, one = Ledger(), row("odd.__code__", swap)
    ledger.apply(one)
    assert module.odd(1, 2, 3, count=4, five=6) == ("gzc", 1, (2, 3), 4, {"five": 6})
    assert module.odd.__code__.co_name == "odd"
    assert linecache.getline(module.odd.__code__.co_filename, module.odd.__code__.co_firstlineno)
    ledger.undo(one)
    assert module.odd(1) == (1, (), 1, {})


def test_a_method_of_a_class(module: Any) -> None:
    code, ledger = module.Target.method.__code__, Ledger()

    def swap(original: Any) -> Any:
        def method(self, count):  # type: ignore[no-untyped-def]
            return "ours"

        return method

    one = row("Target.method.__code__", swap)
    ledger.apply(one)
    assert module.Target().method(1) == "ours"
    ledger.undo(one)
    assert module.Target.method.__code__ is code


def test_later_code_is_left_in_place(module: Any) -> None:
    def later(count, *, more=2):  # type: ignore[no-untyped-def]
        return "later"

    ledger, one, code = Ledger(), row(), module.function.__code__
    ledger.apply(one)
    ours = module.function.__code__
    module.function.__code__ = later.__code__
    assert ledger.undo(one) is False
    assert module.function(1) == "later"
    module.function.__code__ = ours
    assert ledger.undo(one) is True
    assert module.function.__code__ is code


def test_a_wrapper_that_came_later_calls_ours_and_then_the_original(module: Any) -> None:
    """The code below the wrapper can be put back without touching it."""
    ledger, one, function = Ledger(), row(), module.function
    ledger.apply(one)

    def wrapper(*args: Any) -> Any:
        return ("wrapper", function(*args))

    module.function = wrapper
    assert one in ledger
    assert module.function(1) == ("wrapper", OURS)
    assert ledger.undo(one)
    assert module.function is wrapper
    assert module.function(1) == ("wrapper", ORIGINAL)


def test_a_reloaded_module_is_swapped_again(module: Any) -> None:
    ledger, one = Ledger(), row()
    ledger.apply(one)
    exec(SOURCE, vars(module))
    assert one not in ledger
    assert module.function(1) == ORIGINAL
    assert ledger.apply(one)
    assert module.function(1) == OURS


@pytest.mark.parametrize(
    ("path", "knows"),
    [
        ("function.__code__", ("something_else",)),
        ("generator.__code__", ("count",)),
        ("closed.__code__", ("count",)),
        ("clone.__code__", ("function",)),
        ("built_in.__code__", ("count",)),
        ("Target.__code__", ("count",)),
        ("nothing.__code__", ("count",)),
    ],
)
def test_what_does_not_fit_is_unknown_and_untouched(module: Any, path: str, knows: tuple[str, ...]) -> None:
    """Another shape, other parameters, a generator, a closure, no Python function, no function at all."""
    found = getattr(module, path.partition(".")[0], None)
    code = getattr(found, "__code__", None)
    ledger, one = Ledger(), row(path, knows=knows)
    with pytest.raises(Unknown):
        ledger.apply(one)
    assert one not in ledger
    assert getattr(found, "__code__", None) is code


def test_a_python_that_swaps_no_code_is_said_to_be_one(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fixed:
        """A function of a Python that does not let its code be set."""

        __code__ = property(lambda self: module.clone.__code__)

    from .._inside import _ledger

    module.function = Fixed()
    monkeypatch.setattr(_ledger, "FunctionType", Fixed)
    monkeypatch.setattr(_ledger, "code_of", lambda row, function: module.clone.__code__)
    with pytest.raises(Unknown, match="cannot be replaced in this Python"):
        Ledger().apply(row(knows=("function",)))
