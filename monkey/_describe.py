"""Descriptions of objects around a file, of the shapes that they come in, as rows that add ``__gzc_source__``.

They describe and do not perform. Where an attribute is not there, or a part was begun, nothing is described (None),
and the object's own methods are used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gzc

from ._row import Row

Describe = Callable[[Any], Any]


def added(thing: Any) -> Callable[[object], Any]:
    """The ``make`` of a row that adds ``thing``."""
    return lambda _missing: thing


def row(module: str, owner: str, describe: Describe) -> Row:
    """Instances of ``owner`` are described by ``describe``."""
    return Row(module, f"{owner}.__gzc_source__", added(describe))


def proxy(attribute: str) -> Describe:
    """An object that forwards to the file in its ``attribute``."""

    def describe(self: Any) -> Any:
        file = getattr(self, attribute, None)
        return None if file is None else gzc.source(file)

    return describe


def counted_part(file: str, left: str) -> Describe:
    """A range that has sought its ``file`` already, and counts in ``left`` how many bytes remain."""

    def describe(self: Any) -> Any:
        try:
            inner, remaining = getattr(self, file), getattr(self, left)
        except AttributeError:
            return None

        def consumed(moved: int) -> None:
            setattr(self, left, getattr(self, left) - moved)

        return gzc.source(inner).limited(max(0, remaining)).settling(consumed)

    return describe
