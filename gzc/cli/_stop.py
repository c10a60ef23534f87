"""How commands are stopped: Ctrl-C without the hub's own report of it, and servers that end gracefully.

Rules of this file: signals, and nothing else.
"""

from __future__ import annotations

import _thread
import _weakrefset
import signal
import time
import weakref
from collections.abc import Callable
from types import FrameType

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


#: That a Ctrl-C was raised, and maybe ignored.
_raised: list[bool] = []

#: Where most callbacks of weak references are: Python prints what is raised there, and goes on.
_CALLBACKS = ("<frozen importlib", weakref.__file__, _weakrefset.__file__)


def _raise(number: int, frame: FrameType | None) -> None:
    if frame is not None and frame.f_code.co_filename.startswith(_CALLBACKS):
        _thread.start_new_thread(_strike_later, (_thread.get_ident(), number))
        return
    _raised.append(True)
    signal.default_int_handler(number, frame)


def _strike_later(thread: int, number: int) -> None:
    time.sleep(0.002)
    signal.pthread_kill(thread, number)


def _raise_again() -> None:
    if _raised:
        _raised.clear()
        raise KeyboardInterrupt


def _take_over(handler: Callable[[int, FrameType | None], None]) -> None:
    """Handle SIGINT, unless it is ignored, as by the jobs that a shell runs in the background."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def heed() -> None:
    """Let the loop notice a Ctrl-C soon, whenever it strikes.

    One that comes after Python's last look at signals and before the loop begins to wait is noticed at the next
    event, and there may be none: 3 of 174 programs went on for ever that were interrupted when they had just begun
    to wait, under gevent alone. So the loop wakes up now and then. And one that strikes in the callback of a weak
    reference, as each import has one, is ignored by Python: 1 of 240. It strikes a little later, or where the loop
    goes on.

    Not for somebody else's program: with a hub from the start gevent puts off what ``os.close`` closes, where it
    would be closed at once.
    """
    hub = gevent.get_hub()
    timer = hub.loop.timer(LOOK, LOOK, ref=False)
    timer.start(_raise_again)
    setattr(hub, _LOOKS, timer)
    _take_over(_raise)


def between_steps() -> None:
    """Let a Ctrl-C strike this greenlet while it waits, and not between a system call and the counting of it.

    Not for what waits elsewhere than in the hub, as the reading of a terminal does: it would wait on.
    """
    hub, me = gevent.get_hub(), gevent.getcurrent()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if gevent.getcurrent() is not me:
            _raise(number, frame)
        else:
            hub.loop.run_callback(me.throw, KeyboardInterrupt)  # a transfer passes through the hub every few ms

    _take_over(interrupt)


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
