"""What the commands say alike: sizes, durations, system errors, what an extra is for, how bytes went.

Text only. It imports nothing that a command may want to patch first.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from . import Failure

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float) -> str:
    """``count`` bytes for people: ``"3.4 MiB"``."""
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return f"{count:.1f} {_UNITS[unit]}" if unit else f"{int(count)} byte{'' if int(count) == 1 else 's'}"


def said(exc: BaseException) -> str:
    """What happened, without the errno and without the path that the caller names anyway."""
    reason: str | None = exc.strerror if isinstance(exc, OSError) else None
    return reason or str(exc) or type(exc).__name__


def moved(figures: Mapping[str, Any]) -> str:
    """By which mechanisms the bytes of ``gzc.trace().figures()`` went: ``"sendfile"``, or shares of several."""
    parts: dict[str, int] = {name: row["bytes"] for name, row in figures["moved"].items() if row["bytes"]}
    if len(parts) == 1:
        return next(iter(parts))
    return " and ".join(f"{name} ({size(count)})" for name, count in sorted(parts.items(), key=lambda part: -part[1]))


def extra(module: str, what_for: str, name: str = "cli") -> Any:
    """A module of an extra, or words on how to get it."""
    try:
        return import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise Failure(f"{what_for} needs {package}, which is not installed: pip install 'gzc[{name}]'") from None
