"""What the file seams share: the fast prefix of a loop of ``read`` and ``write``.

For callers whose own loop does the rest. Both objects are left as if the bytes had gone through ``fsrc.read`` and
``fdst.write``, also after an interruption.
"""

from __future__ import annotations

import io
from typing import Any

import gzc

from . import _fast_prefix


def attempt(fsrc: Any, fdst: Any, count: int | None = None, least: int = 0) -> gzc.Transfer | None:
    """A transfer of the rest of ``fsrc``, or None where a loop of ``read`` and ``write`` does as well, or refuses.

    It does as well for up to ``least`` bytes of a file.

    An object that has neither, as a socket, must be refused by the loop, although gzc could move its bytes.
    """
    if type(fsrc) is io.BytesIO or type(fdst) is io.BytesIO:
        return None  # common, and nothing to gain
    if _fast_prefix.apart():
        return None
    try:
        if not (hasattr(fsrc, "read") and hasattr(fdst, "write")):
            return None
        source = gzc.source(fsrc)
    except Exception:  # noqa: BLE001 - a property of anybody's, which the loop may never ask (hard case R2)
        return None  # or it refuses it in its own words
    if _is_small(source, least):
        return None  # before the sink is looked at: a small copy has no time for more
    return _fast_prefix.attempt(source, fdst, count)


def _is_small(source: Any, least: int) -> bool:
    if source.identity is not None:
        return 0 < (source.amount() or 0) <= max(least, gzc.config.small)
    return source.limit is not None and source.limit <= source.least


def fits(plan: gzc.Plan) -> bool:
    """Whether gzc shall move what ``plan`` describes, in place of the caller's own loop.

    Into a regular file also where only user space is left, as in append mode: gzc's calls wait for storage in
    threads and for pipes in the hub, while those of the loop would hold everybody up.
    """
    source, sink = plan.source, plan.sink
    known = source.identity is not None or source.kind in (gzc.Kind.STREAM, gzc.Kind.PIPE)
    if source.identity is not None:
        if sink.kind is gzc.Kind.PIPE:
            return False  # a later write to the file would show in what the reader has not read yet (M8)
        if sink.identity == source.identity:
            return False  # onto itself: block by block, whatever comes of it (C11)
    if known and sink.identity is not None:
        return True
    return plan.mechanism != "userspace"


def prefix(fsrc: Any, fdst: Any, count: int | None = None, least: int = 0) -> int:
    """Move up to ``count`` bytes, as far as that is possible; what was moved."""
    moving = attempt(fsrc, fdst, count, least)
    return _fast_prefix.run(moving, fsrc) if moving is not None and fits(moving.plan) else 0
