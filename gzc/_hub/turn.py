"""The share of a loop iteration that copies may use, and how to yield when it is spent."""

from __future__ import annotations

from functools import partial
from typing import Any

import gevent
from gevent import get_hub
from gevent._hub_local import get_hub_if_exists

from .._config import config


class Turn:
    """The share of one loop iteration that all transfers of a hub may use together.

    N transfers that may each hold the hub for 5 ms would be 5N ms of delay for everybody else, so the
    deadline belongs to the iteration, not to the transfer. Each transfer still makes one step after it.
    """

    __slots__ = ("_stamp", "_stamps", "deadline", "runner")

    def __init__(self, loop: Any) -> None:
        # libuv does not count its iterations; its clock stands still within one.
        self._stamps = partial(getattr, loop, "iteration") if loop.iteration >= 0 else loop.now
        self._stamp: float = -1
        #: The greenlet that began to copy last.
        self.runner = 0
        #: ``time.monotonic()`` at which the budget of the iteration last asked about is spent.
        self.deadline = 0.0

    def over(self, now: float) -> bool:
        """Whether the budget of this iteration is spent, at ``time.monotonic()`` ``now``."""
        stamp = self._stamps()
        if stamp != self._stamp:
            self._stamp = stamp
            self.deadline = now + config.hub_budget
            return False
        return now >= self.deadline


def yield_to_loop() -> None:
    """Let the loop run once: look at I/O and timers, then come back.

    ``gevent.sleep(0)`` would not: gevent runs up to 50 callbacks before it looks at the loop, which left gaps
    of 60 to 160 ms under bulk copies. A short timer sleeps out libev's minimum, 0.4 ms each where nothing else
    is going on. A check watcher, with an idle one to keep the loop from sleeping, costs 2 us.
    """
    hub = get_hub()
    idle, check = hub.loop.idle(), hub.loop.check()
    try:
        idle.start(int)  # anything: it is stopped before it would be called
        hub.wait(check)
    finally:
        idle.stop()
        idle.close()
        check.close()


def cannot_switch() -> bool:
    """Whether this is a thread without a hub, or the hub itself, which cannot wait."""
    hub = get_hub_if_exists()
    return hub is None or gevent.getcurrent() is hub


def enter(now: float) -> tuple[Turn | None, float]:
    """The turn of this thread's hub, and the deadline of a transfer that begins ``now``.

    A deadline in the past: yield before the first step, for a loop of short copies shares one turn. 0.0: another
    greenlet copied last, so ask ``Turn.over`` before the first step. None and 0.0: there is no hub, or this is the hub;
    never yield. The turn is an attribute of the hub and goes with it.
    """
    hub: Any = get_hub_if_exists()
    me = gevent.getcurrent()
    if hub is None or me is hub:
        return None, 0.0
    try:
        turn: Turn = hub._gzc_turn
    except AttributeError:
        turn = hub._gzc_turn = Turn(hub.loop)
    before, turn.runner = turn.runner, id(me)
    if before != turn.runner:
        return turn, 0.0
    turn.over(now)
    return turn, turn.deadline
