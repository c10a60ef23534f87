"""A turn for the hub in loops over what is somebody else's.

gevent's ``send`` waits only where the peer does not keep up, and what an iterator gives may never be sent anywhere:
neither lets another greenlet run, also where the iterator never blocks and never ends (hard case R1). To call
``gevent.sleep(0)`` would not help: it does not reach the event loop.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

import gevent
from gevent._hub_local import get_hub_if_exists

import gzc


class _Share:
    """How long the loops of one hub may hold it together, in one iteration of its event loop."""

    __slots__ = ("deadline", "stamp")

    def __init__(self) -> None:
        self.stamp: float = -1
        self.deadline = 0.0


#: What a loop begins with: to be asked at once. It looks at the clock by itself: a call for each block would cost more.
NOW = 0.0


def give() -> float:
    """Let the event loop run once, if those who call this have held the hub for ``gzc.config.hub_budget``.

    Gives the time before which the caller need not ask again. Without a hub, and in the hub itself, there is nobody to
    give way to.
    """
    hub: Any = get_hub_if_exists()
    if hub is None or gevent.getcurrent() is hub:
        return NOW
    try:
        share: _Share = hub._gzc_share
    except AttributeError:
        share = hub._gzc_share = _Share()
    loop, now = hub.loop, monotonic()
    stamp = loop.iteration if loop.iteration >= 0 else loop.now()  # libuv counts no iterations
    if stamp != share.stamp:
        share.stamp, share.deadline = stamp, now + gzc.config.hub_budget
    elif now >= share.deadline:
        _pass_through(hub)
        return NOW
    return share.deadline


def _pass_through(hub: Any) -> None:
    """Wait for a check watcher, which is called once in each iteration; an idle one keeps the loop from sleeping."""
    idle, check = hub.loop.idle(), hub.loop.check()
    try:
        idle.start(int)  # anything: it is stopped before it would be called
        hub.wait(check)
    finally:
        idle.stop()
        idle.close()
        check.close()
