"""How commands are stopped: Ctrl-C without the hub's own report of it, and servers that end gracefully.

Rules of this file: signals, and nothing else.
"""

from __future__ import annotations

import signal

import gevent
from gevent.event import Event
from gevent.hub import Hub

from . import INTERRUPTED

#: What asks a server to stop.
SIGNALS = (signal.SIGTERM, signal.SIGINT)


#: Seconds between two looks of an idle loop at signals.
LOOK = 0.25

_LOOKS = "_gzc_looks"


def quiet() -> None:
    """Let a Ctrl-C that strikes in the hub reach the main greenlet without a report of the hub's own."""
    Hub.NOT_ERROR = (*Hub.NOT_ERROR, KeyboardInterrupt)


def heed() -> None:
    """Let the loop notice a Ctrl-C soon, whenever it strikes.

    One that comes after Python's last look at signals and before the loop begins to wait is noticed at the next
    event, and there may be none: 3 of 174 programs went on for ever that were interrupted when they had just begun
    to wait, under gevent alone. So the loop wakes up now and then. Not for somebody else's program: with a hub from
    the start gevent puts off what ``os.close`` closes, where it would be closed at once.
    """
    hub = gevent.get_hub()
    timer = hub.loop.timer(LOOK, LOOK, ref=False)
    timer.start(int)
    setattr(hub, _LOOKS, timer)


def between_steps() -> None:
    """Let a Ctrl-C strike this greenlet while it waits, and not between a system call and the counting of it.

    Not for what waits elsewhere than in the hub, as the reading of a terminal does: it would wait on.
    """
    hub, me = gevent.get_hub(), gevent.getcurrent()

    def interrupt(*_: object) -> None:
        if gevent.getcurrent() is not me:
            raise KeyboardInterrupt
        hub.loop.run_callback(me.throw, KeyboardInterrupt)  # a transfer passes through the hub every few ms

    signal.signal(signal.SIGINT, interrupt)


class Stop:
    """Set by the first SIGTERM or SIGINT; the second one ends the process at once."""

    def __init__(self) -> None:
        self._asked = Event()
        self._watchers = [gevent.signal_handler(number, self._ask, number) for number in SIGNALS]

    def _ask(self, number: int) -> None:
        if self._asked.is_set():
            raise SystemExit(INTERRUPTED if number == signal.SIGINT else 128 + number)
        self._asked.set()

    def wait(self) -> None:
        """Return when it is asked for."""
        self._asked.wait()
