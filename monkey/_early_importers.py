"""Early importers: modules that took a function from its home before it was replaced there.

``from urllib.request import urlretrieve``, done before patching, keeps what stood there, and no patch of the home
reaches it. They cannot be helped, but they can be named.

It looks only when it is asked, imports nothing, and runs no code of the modules it looks at.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from types import BuiltinFunctionType
from typing import Any


def holders(originals: Iterable[Any]) -> Mapping[int, tuple[str, ...]]:
    """``id(original)`` -> the globals that hold it, as ``module.name``."""
    sought = {id(original): original for original in originals}
    found: dict[int, list[str]] = {number: [] for number in sought}
    seen: set[int] = set()
    for module, module_globals in _globals():
        if id(module_globals) in seen:  # one module under two names, as os.path
            continue
        seen.add(id(module_globals))
        for name, value in list(module_globals.items()):
            if id(value) in sought and not _home(value, module):
                found[id(value)].append(f"{module}.{name}")
    return {number: tuple(sorted(names)) for number, names in found.items()}


def _globals() -> Iterable[tuple[str, dict[str, Any]]]:
    for name, module in list(sys.modules.items()):
        # gzc itself holds the originals on purpose.
        if name.partition(".")[0] == "gzc":
            continue
        try:
            # Not by attribute: that would load a lazy module.
            yield name, object.__getattribute__(module, "__dict__")
        except AttributeError:  # something else than a module
            continue


def _home(function: Any, module: str) -> bool:
    """Whether ``module`` is where the built-in function comes from, as ``posix`` for those of ``os``."""
    return isinstance(function, BuiltinFunctionType) and function.__module__ == module
