"""``readfrom`` and ``writeto`` on gevent's sockets and FileObjects.

They are other names for ``gzc.copy``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsIndex

import gzc


def _readfrom(self: Any, src: object, count: SupportsIndex | None = None) -> int:
    """Read from ``src`` and send it on: ``gzc.copy(src, self, count)``."""
    return gzc.copy(src, self, count)


def _writeto(self: Any, dst: object, count: SupportsIndex | None = None) -> int:
    """Write what is received here to ``dst``: ``gzc.copy(self, dst, count)``."""
    return gzc.copy(self, dst, count)


def readfrom(_missing: object) -> Callable[..., int]:
    return _readfrom


def writeto(_missing: object) -> Callable[..., int]:
    return _writeto
