"""Connections, and how long each may take for what it is doing.

Every state of a connection has a time limit.
"""

from __future__ import annotations

import contextlib
import socket as constants
import struct
import time
from dataclasses import dataclass, field
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Any, NamedTuple

import gevent

from ._voice import printable

#: Seconds that asking and idling may take while others are waiting for a place.
HURRY = 1.0

#: Seconds and bytes that are still read after the last answer, so that it is not lost by a reset.
LINGER, MOST_LINGERED = 2.0, 16 << 20

#: States of a connection. A new one is asking: it is there for nothing else.
ASKING, ANSWERED, IDLE, LINGERING = "asking", "answered", "idle", "lingering"


class Leave(BaseException):
    """Thrown into the greenlet of a connection that is to end."""


class Limits(NamedTuple):
    """Seconds: for a request's head, of idling, and without a byte taken of an answer."""

    request: float
    idle: float

    def of(self, state: str, crowded: bool) -> float:
        if state == ANSWERED:
            return self.idle
        limit = self.request if state == ASKING else self.idle
        return min(limit, HURRY) if crowded else limit


@dataclass(eq=False)
class Visit:
    """A connection: what it is doing, since when, and how far its answer had come when it was looked at last."""

    sock: Any
    name: str
    greenlet: Any = field(default_factory=gevent.getcurrent)
    state: str = ASKING
    since: float = field(default_factory=time.monotonic)
    taken: int = -1
    left: bool = False

    def become(self, state: str) -> None:
        """Begin to do something else."""
        self.state, self.since = state, time.monotonic()

    def look(self, now: float, limits: Limits, crowded: bool) -> None:
        """Leave it if it has taken too long. In the hub, so that nothing happens between the look and that."""
        if self.state == ANSWERED and self._goes_on():
            self.since = now
        if now - self.since > limits.of(self.state, crowded):
            self.leave()

    def leave(self) -> None:
        """End it. In the hub."""
        if not self.left:
            self.left = True
            self.greenlet.throw(Leave)

    def _goes_on(self) -> bool:
        """Whether bytes of the answer were taken since the last look, or there are none to take.

        Of tcp alone: what a unix socket holds may be the same at every look although its peer reads all the time.
        """
        if self.sock.family == constants.AF_UNIX:
            return True
        try:
            info = self.sock.getsockopt(constants.IPPROTO_TCP, constants.TCP_INFO, _TCP_INFO.size)
            (waiting,) = struct.unpack("i", ioctl(self.sock.fileno(), TIOCOUTQ, bytes(4)))
            state, taken = _TCP_INFO.unpack(info)
        except (OSError, ValueError, struct.error):  # it is being closed, or the kernel is older than 4.2
            return True
        before, self.taken = self.taken, taken
        if state == TCP_CLOSE:  # reset by its peer
            self.leave()
        return taken != before or not waiting


#: Of struct tcp_info, linux/tcp.h: tcpi_state and tcpi_bytes_acked.
_TCP_INFO = struct.Struct("=B119xQ")
TCP_CLOSE = 7


def name_of(address: Any) -> str:
    """Who that is, in a line of the log."""
    if isinstance(address, tuple):
        return str(address[0])
    text = address.decode(errors="backslashreplace") if isinstance(address, bytes) else address
    return printable(text) if text else "a client"


def linger(sock: Any) -> None:
    """Read on for a while: what nobody has read makes a reset of a close, and the last answer may be lost by it.

    RFC 9112, 9.6.
    """
    deadline, left = time.monotonic() + LINGER, MOST_LINGERED
    with contextlib.suppress(OSError):
        sock.shutdown(constants.SHUT_WR)
        while left > 0 and (seconds := deadline - time.monotonic()) > 0:
            sock.settimeout(seconds)
            data = sock.recv(1 << 16)
            if not data:
                return
            left -= len(data)
            gevent.sleep(0)
