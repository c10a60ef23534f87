"""Rows applied and undone.

Rules of this file: what stood there is kept as the raw descriptor (``vars(owner)``, not ``getattr``) and put
back as such; undo is derived from what was done, last in first out; whoever patched after us is left alone.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MISSING: Any = type("Missing", (), {"__repr__": lambda _: "<missing>"})()


@dataclass(frozen=True)
class Row:
    """One attribute of one owner, and what to put there.

    module, path
        Where: ``"gunicorn.http.wsgi"``, ``"Response.sendfile"``.
    make
        Called with what stands there (``MISSING`` when nothing does); returns what shall stand there.
    knows
        Names that the original's code must mention for us to believe that it is the code we replace; empty
        for an attribute that is added, and left alone where it exists.
    eager
        Import the module to patch it; else wait until somebody does.
    """

    module: str
    path: str
    make: Callable[[Any], Any]
    knows: frozenset[str] = frozenset()
    eager: bool = False

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
    spec: Any

    @property
    def on_top(self) -> bool:
        return vars(self.owner).get(self.name, MISSING) is self.replacement


class Ledger:
    """The rows in force, in the order in which they were applied."""

    def __init__(self) -> None:
        self._entries: dict[Row, _Entry] = {}

    def __contains__(self, row: Row) -> bool:
        entry = self._entries.get(row)
        if entry is None:
            return False
        if entry.owner is _owner(row) and entry.spec is _spec(row):
            return True
        if arrived(row.module):
            self._entries.pop(row, None)  # the module was reloaded, and its classes and functions are new ones
        return False

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
        name = row.path.rpartition(".")[2]
        original = vars(owner).get(name, MISSING)
        if not row.knows and original is not MISSING:
            replacement = original  # it has that by itself
        else:
            _check_shape(row, original)
            replacement = row.make(original)
            setattr(owner, name, replacement)
        self._entries[row] = _Entry(owner, name, original, replacement, _spec(row))
        return True

    def undo(self, row: Row) -> bool:
        """Put back what stood there; False where a later patch stands on ours, which is then left in place."""
        entry = self._entries.get(row)
        if entry is None:
            return True
        if entry.replacement is entry.original:
            pass  # left alone, so there is nothing to put back and nobody stands on us
        elif not entry.on_top:
            return False
        elif entry.original is MISSING:
            delattr(entry.owner, entry.name)
        else:
            setattr(entry.owner, entry.name, entry.original)
        del self._entries[row]
        return True

    def newest_first(self) -> list[Row]:
        return list(reversed(self._entries))


def arrived(module: str) -> bool:
    """Whether ``module`` has been imported, and not only begun to be."""
    found = sys.modules.get(module)
    return found is not None and not getattr(getattr(found, "__spec__", None), "_initializing", False)


def _owner(row: Row) -> Any:
    owner: Any = sys.modules.get(row.module, MISSING)
    for step in row.path.split(".")[:-1]:
        owner = getattr(owner, step, MISSING)
    return owner


def _spec(row: Row) -> Any:
    """A new one with each reload, which keeps the module object as it is."""
    return getattr(sys.modules.get(row.module), "__spec__", None)


def _check_shape(row: Row, original: Any) -> None:
    if not row.knows:
        return
    # Not what is below a wrapper: whoever put that there wants to see every call, and we might not make it.
    code = getattr(original, "__code__", None)
    if code is None:
        raise Unknown(f"{row} is not the function it was")
    absent = row.knows.difference(code.co_names, code.co_varnames, code.co_freevars)
    if absent:
        raise Unknown(f"{row} no longer mentions {', '.join(sorted(absent))}")
