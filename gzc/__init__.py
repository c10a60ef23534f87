"""Zero-copy I/O for gevent: move bytes between files and sockets without copying them through Python.

Rules of this file: names only. Importing gzc loads nothing else and changes nothing; every public name
is resolved on first use (PEP 562), because gevent imports this package in every program that
monkey-patches, whether it wants gzc or not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.2.0"

if TYPE_CHECKING:
    from ._classify import sink as sink
    from ._classify import source as source
    from ._config import config as config
    from ._consent import register as register
    from ._copy import copy as copy
    from ._copy import explain as explain
    from ._copy import transfers_of as transfers_of
    from ._endpoint import Kind as Kind
    from ._errors import BusyError as BusyError
    from ._errors import Error as Error
    from ._errors import NotZeroCopyError as NotZeroCopyError
    from ._errors import TransferClosedError as TransferClosedError
    from ._routes import Plan as Plan
    from ._running import running as running
    from ._stats import stats as stats
    from ._trace import trace as trace
    from ._transfer import Transfer as Transfer
    from ._tunnel import tunnel as tunnel
    from ._twins import copy_file_range as copy_file_range
    from ._twins import ficlone as ficlone
    from ._twins import sendfile as sendfile
    from ._twins import splice as splice
    from ._twins import tee as tee
    from ._wrappers import limit as limit
    from ._wrappers import observe as observe
    from ._wrappers import section as section
    from .monkey import patch_all as patch_all
    from .monkey import patched as patched
    from .monkey import seams as seams
    from .monkey import unpatch_all as unpatch_all

_HOMES = {
    "_classify": ("sink", "source"),
    "_config": ("config",),
    "_consent": ("register",),
    "_copy": ("copy", "explain", "transfers_of"),
    "_endpoint": ("Kind",),
    "_errors": ("BusyError", "Error", "NotZeroCopyError", "TransferClosedError"),
    "_routes": ("Plan",),
    "_running": ("running",),
    "_stats": ("stats",),
    "_trace": ("trace",),
    "_tunnel": ("tunnel",),
    "_twins": ("copy_file_range", "ficlone", "sendfile", "splice", "tee"),
    "_wrappers": ("limit", "observe", "section"),
    "_transfer": ("Transfer",),
    "monkey": ("patch_all", "patched", "seams", "unpatch_all"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BusyError",
    "Error",
    "Kind",
    "NotZeroCopyError",
    "Plan",
    "Transfer",
    "TransferClosedError",
    "config",
    "copy",
    "copy_file_range",
    "explain",
    "ficlone",
    "limit",
    "observe",
    "patch_all",
    "patched",
    "register",
    "running",
    "seams",
    "section",
    "sendfile",
    "sink",
    "source",
    "splice",
    "stats",
    "tee",
    "trace",
    "transfers_of",
    "tunnel",
    "unpatch_all",
]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
