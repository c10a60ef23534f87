"""Is it still the library's own? Asked before a method of a library is passed over.

An override, one that was put into the object, and a tracer's or a mock's in the class want to be called. A seam of
gzc's in its place does what the library's did.
"""

from __future__ import annotations

import sys
from typing import Any

_OURS = frozenset({__package__, f"{__package__}._seams"})


def is_ours(function: Any) -> bool:
    """Whether ``function`` is a seam of gzc's."""
    return getattr(function, "__globals__", {}).get("__package__") in _OURS


def is_own(obj: Any, module: str, *names: str) -> bool:
    """Whether these methods of ``obj`` are the ones that ``module`` wrote for it, or seams in their place."""
    try:
        for name in names:
            method = getattr(obj, name)
            made_in = method.__func__.__globals__
            if method.__self__ is not obj or (made_in["__name__"] != module and made_in["__package__"] not in _OURS):
                return False
    except Exception:  # noqa: BLE001 - no method, or a property of anybody's, which answers for itself
        return False
    return True


def is_exactly(obj: object, module: str, name: str) -> bool:
    """Whether ``obj`` is of that very class; a subclass may see to things its own way."""
    return type(obj) is getattr(sys.modules.get(module), name, None)


def is_function_of(function: Any, module: str) -> bool:
    """Whether the code of ``function`` is in the file of ``module``."""
    code = getattr(function, "__code__", None)
    return code is not None and code.co_filename == getattr(sys.modules[module], "__file__", None)
