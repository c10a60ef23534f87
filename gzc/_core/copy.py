"""``copy``, ``explain`` and ``transfers_of``: what most callers need of a transfer."""

from __future__ import annotations

from typing import SupportsIndex

from .interruption import signatures
from .plan import Plan
from .transfer import Transfer


def copy(src: object, dst: object, count: SupportsIndex | None = None, *, fallback: bool = True) -> int:
    """Move bytes from ``src`` to ``dst`` until end of file or ``count`` bytes; other greenlets run meanwhile.

    :param src: a file, gevent socket, pipe, memory, or any object with ``read`` or ``recv``.
    :param dst: a file, gevent socket, pipe, ``bytearray``, ``BytesIO``, or any object with ``write`` or
        ``sendall``.
    :param count: the most bytes to move; 0 moves nothing, None all there are.
    :param fallback: False forbids the copy through user space.
    :returns: the bytes that reached ``dst``.
    :raises NotZeroCopyError: only user space was possible and ``fallback`` is False.
    :raises BusyError: another transfer holds one of the ends; no byte has moved.
    :raises TypeError: a text file, a bare integer, an object that is no end; a count that is no integer.
    :raises ValueError: a negative count, a closed file.
    :raises OSError: as the kernel said it; ``exc.transfer`` is the interrupted ``Transfer``.
    """
    return Transfer(src, dst, count, fallback=fallback)._run()


def explain(src: object, dst: object, count: SupportsIndex | None = None) -> Plan:
    """The plan that ``copy`` would run now. Moves nothing."""
    return Transfer(src, dst, count).plan


def transfers_of(exc: BaseException) -> tuple[Transfer, ...]:
    """All transfers that ``exc`` interrupted, innermost first."""
    return signatures(exc)
