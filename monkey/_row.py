"""A row: one attribute of one owner, what to put there, and whether that is still what the row was written for.

A row may end in ``__code__``: then the function stays the same object and gets other code, which reaches those
who imported it by name before us (``from shutil import copyfileobj``).
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import BuiltinFunctionType, CodeType, FunctionType
from typing import Any

from ._own import is_function_of

MISSING: Any = type("Missing", (), {"__repr__": lambda _: "<missing>"})()

CODE = "__code__"

#: What functions call whose code is ours, by the row. That code runs with their globals, and finds it here.
REPLACED: dict[str, Callable[..., Any]] = {}

#: How a parameter is passed on.
_PASSED: dict[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*{}",
    inspect.Parameter.KEYWORD_ONLY: "{0}={0}",
    inspect.Parameter.VAR_KEYWORD: "**{}",
}


@dataclass(frozen=True)
class Row:
    """One attribute of one owner, and what to put there.

    module, path
        Where: ``"gunicorn.http.wsgi"``, ``"Response.sendfile"``; or ``"copyfileobj.__code__"``.
    make
        Called with what stands there (``MISSING`` when nothing does); returns what shall stand there. For a
        ``__code__`` it is called with a function that goes on working as the original did, and returns one with
        the same parameters.
    knows
        Names that the original's code (for a built-in function: its signature) must mention for us to believe
        that it is what we replace; empty for an attribute that is added, and left alone where it exists.
    eager
        Import the module to patch it; else wait until somebody does.
    caller
        For a private target: the public function of the same module (``"module:path"`` of another) that calls it. The
        row is skipped if that function's code does not name the target. A third party's function in its place is not
        checked.
    since
        The Python that brought what is replaced; in older ones there is no such row.
    """

    module: str
    path: str
    make: Callable[[Any], Any]
    knows: frozenset[str] = frozenset()
    eager: bool = False
    caller: str = ""
    since: tuple[int, int] = (3, 0)

    def __str__(self) -> str:
        return f"{self.module}.{self.path}"


class Unknown(Exception):
    """The target is not what the row was written for."""


def owner_of(row: Row) -> Any:
    return _found(row.module, row.path.split(".")[:-1])


def _found(module: str, path: list[str]) -> Any:
    found: Any = sys.modules.get(module, MISSING)
    for step in path:
        found = getattr(found, step, MISSING)
    return found


def code_of(row: Row, function: FunctionType) -> CodeType:
    """The code that ``row`` puts into ``function``: a call of what ``row`` makes."""
    kept = FunctionType(
        *(function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    )
    kept.__kwdefaults__ = function.__kwdefaults__
    replacement = row.make(kept)
    code = _calling(kept, f"__import__('sys').modules[{__name__!r}].REPLACED[{str(row)!r}]")
    same = _parameters(function.__code__) == _parameters(code) == _parameters(replacement.__code__)
    if not same or function.__code__.co_freevars:
        raise Unknown(f"{row}: the function has other parameters than the one written for it, or free variables")
    REPLACED[str(row)] = replacement
    return code


def _calling(function: FunctionType, called: str) -> CodeType:
    """Code with the parameters of ``function`` that passes them on."""
    parameters = [
        one.replace(default=inspect.Parameter.empty, annotation=inspect.Parameter.empty)
        for one in inspect.signature(function).parameters.values()
    ]
    arguments = ", ".join(_PASSED.get(one.kind, "{}").format(one.name) for one in parameters)
    made: dict[str, Any] = {}
    exec(compile(f"def made{inspect.Signature(parameters)}: return {called}({arguments})", __file__, "exec"), made)
    code: CodeType = made["made"].__code__
    return code.replace(co_name=function.__name__, co_firstlineno=_calling.__code__.co_firstlineno)


def _parameters(code: CodeType) -> tuple[object, ...]:
    names = code.co_argcount + code.co_kwonlyargcount
    flags = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE
    return code.co_posonlyargcount, code.co_argcount, code.co_varnames[:names], code.co_flags & flags


def check_shape(row: Row, original: Any) -> None:
    if not row.knows:
        return
    mentioned = mentions(original)
    if mentioned is None:
        raise Unknown(f"{row} is not the function it was")
    absent = row.knows.difference(mentioned)
    if absent:
        raise Unknown(f"{row} no longer mentions {', '.join(sorted(absent))}")


def check_caller(row: Row) -> None:
    """A private function that nobody calls any more can be replaced, too; it would reach nothing (hard case R15)."""
    if not row.caller:
        return
    module, _, path = row.caller.rpartition(":")
    module = module or row.module
    caller = _found(module, path.split("."))
    names = [name for name in row.path.split(".") if name != CODE]
    called = next((name for name in names if name.startswith("_")), names[-1])
    if caller is MISSING or (is_function_of(caller, module) and called not in (mentions(caller) or ())):
        raise Unknown(f"{module}.{path} does not call {called}")


def mentions(function: Any) -> set[str] | None:
    """The names in a function's code, or in a built-in function's signature; None for everything else."""
    # Not what is below a wrapper: whoever put that there wants to see every call, and we might not make it.
    code = function if isinstance(function, CodeType) else getattr(function, CODE, None)
    if code is not None:
        return {*code.co_names, *code.co_varnames, *code.co_freevars}
    if isinstance(function, BuiltinFunctionType):
        return set(re.findall(r"\w+", getattr(function, "__text_signature__", None) or ""))
    return None
