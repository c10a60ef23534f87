"""Rows applied and undone.

A row may end in ``__code__``: then the function stays the same object and gets other code, which reaches those
who imported it by name before us (``from shutil import copyfileobj``).

Rules of this file: what stood there is kept as the raw descriptor (``vars(owner)``, not ``getattr``) and put
back as such; undo is derived from what was done, last in first out; whoever patched after us is left alone.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import BuiltinFunctionType, CodeType, FunctionType
from typing import Any

MISSING: Any = type("Missing", (), {"__repr__": lambda _: "<missing>"})()

CODE = "__code__"


@dataclass(frozen=True)
class Row:
    """One attribute of one owner, and what to put there.

    module, path
        Where: ``"gunicorn.http.wsgi"``, ``"Response.sendfile"``; or ``"copyfileobj.__code__"``.
    make
        Called with what stands there (``MISSING`` when nothing does); returns what shall stand there. For a
        ``__code__`` it is called with a function that goes on working as the original did, and returns one with
        the same parameters and no free variables, since its code will run with the original's globals.
    knows
        Names that the original's code (for a built-in function: its signature) must mention for us to believe
        that it is what we replace; empty for an attribute that is added, and left alone where it exists.
    eager
        Import the module to patch it; else wait until somebody does.
    caller
        For what is private: the function of the same module (``"module:path"`` of another) that calls it, and must
        mention it for us to believe that it still does. Somebody's own function in its place is believed.
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


@dataclass
class _Entry:
    owner: Any
    name: str
    original: Any
    replacement: Any

    @property
    def now(self) -> Any:
        return _standing(self.owner, self.name)

    @property
    def on_top(self) -> bool:
        return self.now is self.replacement

    @property
    def gone(self) -> bool:
        """Whether the original stands there again: put back by somebody, or made anew by a reload of its module."""
        now = self.now
        if now is self.replacement or self.original is MISSING:
            return False
        return now is self.original or (
            _birthplace(now) == _birthplace(self.original) is not None and not hasattr(now, "__wrapped__")
        )

    def restore(self) -> bool:
        """Put the original back; False where a later patch stands on ours."""
        if self.replacement is self.original or self.gone:
            return True  # left alone, or undone already: nobody stands on us
        if not self.on_top:
            return False
        if self.original is MISSING:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.original)
        return True

    def still_below(self, owner: Any) -> bool:
        """Whether ``owner`` is somebody's wrapper of the function whose code is ours, and not a reloaded one."""
        return self.name == CODE and getattr(owner, CODE, None) != self.original


class Ledger:
    """The rows in force, in the order in which they were applied."""

    def __init__(self) -> None:
        self._entries: dict[Row, _Entry] = {}

    def __contains__(self, row: Row) -> bool:
        entry = self._entries.get(row)
        if entry is None:
            return False
        owner = _owner(row)
        if (entry.owner is owner or entry.still_below(owner)) and not entry.gone:
            return True
        if arrived(row.module):
            # The module was reloaded, or gevent has put a class of its own there.
            self._entries.pop(row, None)
            entry.restore()
        return False

    def original(self, row: Row) -> Any:
        """What stood there before ``row``; ``MISSING`` where nothing did, or where nothing was replaced."""
        entry = self._entries.get(row)
        return MISSING if entry is None or entry.replacement is entry.original else entry.original

    def left_alone(self, row: Row) -> bool:
        """Whether the target had by itself what ``row`` would have added."""
        entry = self._entries.get(row)
        return entry is not None and entry.replacement is entry.original

    def apply(self, row: Row, here: str = "") -> bool:
        """Put ``row`` in force; False while its module has not been imported. Idempotent.

        :param here: a module that is arriving just now, and still marked as being imported.

        :raises Unknown: the target has another shape than the row knows.
        """
        if row in self:
            return True
        if row.eager:
            importlib.import_module(row.module)
        elif row.module != here and not arrived(row.module):
            return False
        owner = _owner(row)
        if owner is MISSING:
            raise Unknown(f"there is no {row}")
        _check_caller(row)
        name = row.path.rpartition(".")[2]
        original = _standing(owner, name)
        if not row.knows and original is not MISSING:
            replacement = original  # it has that by itself
        else:
            _check_shape(row, original)
            replacement = _code(row, owner) if name == CODE else row.make(original)
            try:
                setattr(owner, name, replacement)
            except (AttributeError, TypeError) as exc:
                if name != CODE:
                    raise
                raise Unknown(f"{row} cannot be replaced in this Python: {exc}") from exc
        self._entries[row] = _Entry(owner, name, original, replacement)
        return True

    def undo(self, row: Row) -> bool:
        """Put back what stood there; False where a later patch stands on ours, which is then left in place."""
        entry = self._entries.get(row)
        if entry is None:
            return True
        if not entry.restore():
            return False
        self._entries.pop(row, None)
        return True

    def newest_first(self) -> list[Row]:
        return list(reversed(self._entries))


def arrived(module: str) -> bool:
    """Whether ``module`` has been imported, and not only begun to be."""
    found = sys.modules.get(module)
    return found is not None and not getattr(getattr(found, "__spec__", None), "_initializing", False)


def _owner(row: Row) -> Any:
    return _found(row.module, row.path.split(".")[:-1])


def _found(module: str, path: list[str]) -> Any:
    found: Any = sys.modules.get(module, MISSING)
    for step in path:
        found = getattr(found, step, MISSING)
    return found


def _birthplace(function: Any) -> tuple[str, str] | None:
    """The file and the name under which running a module defines this function; None for everything else."""
    code, name = getattr(function, "__code__", None), getattr(function, "__qualname__", "")
    return None if code is None or "<locals>" in name else (code.co_filename, name)


def _standing(owner: Any, name: str) -> Any:
    """What stands there; the code of a function is no entry of its ``__dict__``."""
    if name == CODE:
        return owner.__code__ if type(owner) is FunctionType else MISSING
    return vars(owner).get(name, MISSING)


def _code(row: Row, function: FunctionType) -> CodeType:
    """The code that ``row`` puts into ``function``."""
    kept = FunctionType(
        *(function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    )
    kept.__kwdefaults__ = function.__kwdefaults__
    code: CodeType = row.make(kept).__code__
    if _parameters(code) != _parameters(function.__code__) or code.co_freevars != function.__code__.co_freevars:
        raise Unknown(f"{row}: the function has other parameters or free variables than the code written for it")
    return code


def _parameters(code: CodeType) -> tuple[object, ...]:
    names = code.co_argcount + code.co_kwonlyargcount
    flags = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE
    return code.co_posonlyargcount, code.co_argcount, code.co_varnames[:names], code.co_flags & flags


def _check_shape(row: Row, original: Any) -> None:
    if not row.knows:
        return
    mentioned = mentions(original)
    if mentioned is None:
        raise Unknown(f"{row} is not the function it was")
    absent = row.knows.difference(mentioned)
    if absent:
        raise Unknown(f"{row} no longer mentions {', '.join(sorted(absent))}")


def _check_caller(row: Row) -> None:
    """A private function that nobody calls any more can be replaced, too; it would reach nothing (hard case R15)."""
    if not row.caller:
        return
    module, _, path = row.caller.rpartition(":")
    module = module or row.module
    caller = _found(module, path.split("."))
    names = [name for name in row.path.split(".") if name != CODE]
    called = next((name for name in names if name.startswith("_")), names[-1])
    if caller is MISSING or (_is_own(caller, module) and called not in (mentions(caller) or ())):
        raise Unknown(f"{module}.{path} does not call {called}")


def _is_own(function: Any, module: str) -> bool:
    """Whether the code of ``function`` is in the file of ``module``, and not somebody's in its place."""
    code = getattr(function, CODE, None)
    return code is not None and code.co_filename == getattr(sys.modules[module], "__file__", None)


def mentions(function: Any) -> set[str] | None:
    """The names in a function's code, or in a built-in function's signature; None for everything else."""
    # Not what is below a wrapper: whoever put that there wants to see every call, and we might not make it.
    code = function if isinstance(function, CodeType) else getattr(function, CODE, None)
    if code is not None:
        return {*code.co_names, *code.co_varnames, *code.co_freevars}
    if isinstance(function, BuiltinFunctionType):
        return set(re.findall(r"\w+", getattr(function, "__text_signature__", None) or ""))
    return None
