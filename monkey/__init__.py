"""The patch layer: unmodified programs become zero-copy.

Names only, resolved on first use: gevent's plugin loader imports this package in every program that monkey-patches,
whether it wants gzc or not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if __name__ != "gzc.monkey":  # "import monkey" in a checkout would load a second copy of every patch
    raise ImportError(f"this package is gzc.monkey, not {__name__}: import gzc")

if TYPE_CHECKING:
    from ._activation import environment as environment
    from ._activation import patch as patch
    from ._activation import patch_all as patch_all
    from ._activation import patched as patched
    from ._activation import seams as seams
    from ._activation import unpatch_all as unpatch_all

__all__ = ["environment", "patch", "patch_all", "patched", "seams", "unpatch_all"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}._activation"), name)
