"""What the seams share: the fast prefix before the original code.

Rules of this file: a seam behaves as the original did. Where an end is claimed, or anything is not known, nothing
is moved and the original does it all; an exception leaves no claim and no pipe behind.
"""

from __future__ import annotations

import logging

import gzc

_log = logging.getLogger("gzc")


def transfer(src: object, dst: object, count: int | None = None) -> gzc.Transfer | None:
    """A transfer below both ends, or None where only their own methods may be used, or would serve as well."""
    try:
        found = gzc.Transfer(src, dst, count)
    except (gzc.Error, TypeError, ValueError, OSError):
        return None  # the original refuses it in its own words
    return None if found.plan.mechanism == "userspace" else found


def run(moving: gzc.Transfer) -> int:
    """Run it to its end: bytes delivered, 0 where an end is somebody else's at the moment.

    Bytes that were taken and not delivered when an exception strikes are lost, as they are in a loop of read
    and write, where they are in a local variable.
    """
    try:
        return moving.run()
    except BaseException as exc:
        if isinstance(exc, gzc.BusyError) and moving not in gzc.transfers_of(exc):
            return 0
        if moving.in_flight:
            _log.info("%d bytes read from %s were not written: %r", len(moving.reclaim()), moving.plan.source, exc)
        raise
    finally:
        if not moving.in_flight:
            moving.close()


def prefix(src: object, dst: object, count: int | None = None) -> int:
    """Move up to ``count`` bytes below both ends, as far as that is possible; what was moved.

    Both objects are left as if these bytes had gone through their ``read`` and ``write``, and the original,
    called next, finds the end of the file.
    """
    moving = transfer(src, dst, count)
    return 0 if moving is None else run(moving)
