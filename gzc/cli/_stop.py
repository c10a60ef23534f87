"""How commands are stopped: Ctrl-C without the hub's own report of it, and servers that end gracefully."""

from __future__ import annotations

import os
import signal
import sys
from _thread import start_new_thread  # and sleep: Python's own, whatever is patched later
from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep
from types import FrameType

import gevent
from gevent.event import Event
from gevent.hub import Hub

from . import INTERRUPTED

#: What asks a server to stop.
SIGNALS = (signal.SIGTERM, signal.SIGINT)


#: Seconds between two looks of an idle loop at signals.
LOOK = 0.25


def quiet() -> None:
    """Let a Ctrl-C that strikes in the hub reach the main greenlet without a report of the hub's own."""
    Hub.NOT_ERROR = (*Hub.NOT_ERROR, KeyboardInterrupt)


@contextmanager
def heed() -> Iterator[None]:
    """A Ctrl-C ends the block soon, whenever it comes.

    One that comes after Python's last look at signals and before the loop begins to wait is noticed at the next
    event, and there may be none: 3 of 174 programs went on for ever that were interrupted when they had just begun
    to wait, under gevent alone. So the loop wakes up now and then. And one that comes in the callback of a weak
    reference, as each import has one, is printed by Python and ignored: 1 of 240. It is raised again a little later.

    Not for somebody else's program: with a hub from the start gevent puts off what ``os.close`` closes, where it
    would be closed at once.
    """
    timer = gevent.get_hub().loop.timer(LOOK, LOOK, ref=False)
    before = sys.unraisablehook

    def ignored(unraisable: sys.UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            start_new_thread(raise_again, ())
        else:
            before(unraisable)

    def raise_again() -> None:
        sleep(0.002)  # the callback is over then
        if sys.unraisablehook is ignored:  # and the block is not
            os.kill(os.getpid(), signal.SIGINT)  # the kernel interrupts the main thread where it can

    timer.start(_wake_up)
    sys.unraisablehook = ignored
    try:
        yield
    finally:
        sys.unraisablehook = before
        timer.stop()
        timer.close()


def _wake_up() -> None:
    """Do nothing: Python looks for signals whenever it runs Python code."""


def between_steps() -> None:
    """Let a Ctrl-C strike this greenlet while it waits, and not between a system call and the counting of it.

    Not for what waits elsewhere than in the hub, as the reading of a terminal does: it would wait on.
    """
    hub, me = gevent.get_hub(), gevent.getcurrent()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if gevent.getcurrent() is not me:
            signal.default_int_handler(number, frame)
        else:
            hub.loop.run_callback(me.throw, KeyboardInterrupt)  # a transfer passes through the hub every few ms

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as for jobs that a shell runs in the background
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
