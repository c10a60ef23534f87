"""Zero-copy I/O for gevent: move bytes between files and sockets without copying them through Python.

Names only: importing gzc loads nothing else and changes nothing; every public name
is resolved on first use (PEP 562), because gevent imports this package in every program that
monkey-patches, whether it wants gzc or not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.2.0"

if TYPE_CHECKING:
    from ._config import config as config
    from ._core.cooperative import copy_file_range as copy_file_range
    from ._core.cooperative import ficlone as ficlone
    from ._core.cooperative import sendfile as sendfile
    from ._core.cooperative import splice as splice
    from ._core.cooperative import tee as tee
    from ._core.copy import copy as copy
    from ._core.copy import explain as explain
    from ._core.copy import transfers_of as transfers_of
    from ._core.plan import Plan as Plan
    from ._core.tally import stats as stats
    from ._core.transfer import Transfer as Transfer
    from ._core.tunnel import tunnel as tunnel
    from ._ends.consent import register as register
    from ._ends.description import Kind as Kind
    from ._ends.description import Sink as Sink
    from ._ends.description import Source as Source
    from ._ends.known_types import sink as sink
    from ._ends.known_types import source as source
    from ._ends.wrappers import limit as limit
    from ._ends.wrappers import observe as observe
    from ._ends.wrappers import section as section
    from ._errors import BusyError as BusyError
    from ._errors import Error as Error
    from ._errors import NotZeroCopyError as NotZeroCopyError
    from ._errors import TransferClosedError as TransferClosedError
    from ._observe.running import running as running
    from ._observe.trace import trace as trace
    from .monkey import patch_all as patch_all
    from .monkey import patched as patched
    from .monkey import seams as seams
    from .monkey import unpatch_all as unpatch_all

_HOMES = {
    "_ends.known_types": ("sink", "source"),
    "_config": ("config",),
    "_ends.consent": ("register",),
    "_core.copy": ("copy", "explain", "transfers_of"),
    "_ends.description": ("Kind", "Sink", "Source"),
    "_errors": ("BusyError", "Error", "NotZeroCopyError", "TransferClosedError"),
    "_core.plan": ("Plan",),
    "_observe.running": ("running",),
    "_core.tally": ("stats",),
    "_observe.trace": ("trace",),
    "_core.tunnel": ("tunnel",),
    "_core.cooperative": ("copy_file_range", "ficlone", "sendfile", "splice", "tee"),
    "_ends.wrappers": ("limit", "observe", "section"),
    "_core.transfer": ("Transfer",),
    "monkey": ("patch_all", "patched", "seams", "unpatch_all"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BusyError",
    "Error",
    "Kind",
    "NotZeroCopyError",
    "Plan",
    "Sink",
    "Source",
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
