"""What lies in Python's own buffers above a descriptor that cannot seek."""

from __future__ import annotations

from typing import Any


def _nothing(_: object) -> None:
    return None


def buffered(file: Any, count: int) -> bytes:
    """Up to ``count`` of the bytes that a ``BufferedReader`` has already read from its raw object.

    ``peek`` and ``read1`` go below when the buffer is empty, and would wait there. For the moment of the call
    the raw object answers as one in non-blocking mode that has nothing, which ``read1`` takes for an answer.
    """
    raw = file.raw
    raw.readinto = _nothing
    try:
        return file.read1(count)  # type: ignore[no-any-return]
    finally:
        del raw.readinto
