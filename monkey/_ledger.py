"""Rows applied and undone.

The original is kept as the raw descriptor (``vars(owner)``, not ``getattr``) and put back as such. Rows are undone last
in, first out, and a patch that somebody has made on top of ours stays.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from ._row import CODE, MISSING, Row, Unknown, check_caller, check_shape, code_of, owner_of


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
        owner = owner_of(row)
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
        owner = owner_of(row)
        if owner is MISSING:
            raise Unknown(f"there is no {row}")
        check_caller(row)
        name = row.path.rpartition(".")[2]
        original = _standing(owner, name)
        if not row.knows and original is not MISSING:
            replacement = original  # it has that by itself
        else:
            check_shape(row, original)
            replacement = code_of(row, owner) if name == CODE else row.make(original)
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


def _birthplace(function: Any) -> tuple[str, str] | None:
    """The file and the name under which running a module defines this function; None for everything else."""
    code, name = getattr(function, "__code__", None), getattr(function, "__qualname__", "")
    return None if code is None or "<locals>" in name else (code.co_filename, name)


def _standing(owner: Any, name: str) -> Any:
    """What stands there; the code of a function is no entry of its ``__dict__``."""
    if name == CODE:
        return owner.__code__ if type(owner) is FunctionType else MISSING
    return vars(owner).get(name, MISSING)
