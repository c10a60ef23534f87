"""What a server writes of a response: as far as was promised, and with turns for others (hard case R1).

The iterable may never end, never block, and write by itself. Only its blocks are asked for, and of a block its length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any

from . import _turns

#: The largest chunk of a chunked body: what peers take is not for us to find out (uWSGI takes 1 MiB, hard case R10).
CHUNK = 256 * 1024


def rest(result: Iterable[bytes], left: int) -> Iterator[bytes]:
    """Up to ``left`` bytes of what iterating ``result`` gives from here on, which is not asked for more than that."""
    if left <= 0:
        return
    turn = _turns.NOW
    for block in result:
        if block:
            yield block[:left]
        left -= len(block)
        if left <= 0:
            return
        if monotonic() >= turn:
            turn = _turns.give()


def pour(
    result: Iterable[bytes],
    write: Callable[[bytes], object],
    left: Callable[[], int | None],
    surplus: Callable[[bytes], object] | None = None,
    *,
    empties: bool = True,
) -> None:
    """``write`` the blocks of ``result`` until the promise is kept and one block more has come.

    One more is asked for so that a generator runs to its end. Where nothing may be sent at all, ``surplus`` gets the
    first block, and the second ends the loop. ``left()`` is asked with each block, since a generator calls
    start_response when it begins, and may write by itself between two blocks. Once it gives None, nothing is promised,
    and it is not asked again.

    :param empties: whether the server writes empty blocks, too.
    """
    bounded, met, turn = True, False, None
    for block in result:
        if turn is None:
            turn = _turns.NOW
        elif monotonic() >= turn:
            turn = _turns.give()
        size = len(block) if type(block) is bytes else _size(block)
        remaining = left() if bounded and size else size
        if remaining is None:
            bounded, remaining = False, size
        if size and not remaining:
            if met:
                return
            if surplus is not None:
                surplus(block)
        elif size > remaining:
            write(block[:remaining])
        elif empties or block:
            write(block)
        met = met or size > 0


def _size(block: Any) -> int:
    """The length of what is not plainly bytes; 0 of what has none, for which the server has words of its own."""
    try:
        return len(block)
    except Exception:  # noqa: BLE001 - R2
        return 0


def chunks(count: int) -> Iterator[int]:
    """The sizes of the chunks in which ``count`` bytes go, none of them a crumb at the end."""
    while count > CHUNK:
        size = CHUNK if count >= 2 * CHUNK else count // 2
        yield size
        count -= size
    yield count
