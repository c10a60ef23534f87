"""How many connections a server takes: never more than it has descriptors for.

The user limits connections; the system limits descriptors. The conversion is here.
"""

from __future__ import annotations

import os
import resource
from typing import Any

from gevent.server import StreamServer

from ._voice import say
from ._words import said

#: Descriptors beyond those that are open at the start: pipes of gzc, files of the interpreter, listings.
RESERVE = 16

#: Seconds without accepting after the kernel could not: no descriptor is to be had, or no memory.
PAUSE = 0.5


def connections(wanted: int, each: int) -> int:
    """How many connections of ``each`` descriptors there can be, at most ``wanted``.

    The soft limit of descriptors (RLIMIT_NOFILE) is raised for it, as far as the hard one goes.
    """
    taken = len(os.listdir("/proc/self/fd")) + RESERVE if os.path.isdir("/proc/self/fd") else 4 * RESERVE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = taken + wanted * each
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    fitting = wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, (soft - taken) // each))
    if fitting < wanted:
        say(f"{fitting} connections at a time instead of {wanted}: {soft} descriptors are all there are (ulimit -n)")
    return fitting


class Limited(StreamServer):
    """gevent's server, which waits where it cannot accept; gevent's own prints a traceback each time."""

    def do_read(self) -> Any:
        """The next connection, or None for the time being."""
        try:
            return super().do_read()
        except ConnectionError:  # it has gone again
            return None
        except OSError as exc:
            if self.is_fatal_error(exc):  # the listener itself is none
                raise
            self._pause(exc)
            return None

    def _pause(self, exc: OSError) -> None:
        say(f"Nobody is accepted for {PAUSE:g} s: {said(exc)}")
        self.stop_accepting()
        self._timer: Any = self.loop.timer(PAUSE)  # which gevent closes
        self._timer.start(self._again)

    def _again(self) -> None:
        if self.started:
            self.start_accepting()
