"""``gzc proxy LISTEN TARGET``: pass connections on to another address, tcp or unix, by ``gzc.tunnel``.

It decides who is connected with whom, and for how long. The bytes are moved by `gzc.tunnel`.
"""

from __future__ import annotations

import contextlib
import signal
import struct
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from typing import Any

import gevent
from gevent import socket
from gevent.pool import Pool

import gzc

from . import _address
from ._accepting import Limited, connections
from ._log import Log
from ._options import add_bounds, add_time, seconds
from ._stop import Stop
from ._voice import printable, say
from ._words import said, size

#: Descriptors of a connection: two sockets, and a pipe for each direction while bytes are in it.
EACH = 6

#: SO_LINGER with a time of 0: closing sends a reset, so that a broken stream is not taken for a finished one.
_RESET = struct.pack("ii", 1, 0)


def define(parser: ArgumentParser) -> None:
    """The arguments of ``gzc proxy``."""
    parser.add_argument("listen", metavar="LISTEN", help="host:port, port (of 127.0.0.1), :port (of all), unix:path")
    parser.add_argument("target", metavar="TARGET", help="host:port or unix:path")
    add_bounds(parser)
    add_time(parser, "--connect-timeout", 10.0, "to reach the target")
    add_time(parser, "--idle-timeout", 3600.0, "end a connection without a byte for so long; 0: never", seconds)
    add_time(parser, "--grace", 30.0, "for connections open at a stop", seconds)
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for each connection")
    parser.epilog = (
        "SIGTERM and Ctrl-C end it: nothing is accepted any more, open connections may finish; the second one ends it"
        " at once. SIGUSR1 prints the counters."
    )


def main(options: Namespace) -> int:
    """Pass connections on until a signal says stop; then tell the counters."""
    try:
        listen, target = _address.parse(options.listen), _address.parse(options.target)
    except ValueError as exc:
        options.error(str(exc))
    options.limit = connections(options.limit, EACH)
    listening = listen.listen(options.mode)
    stop = Stop()
    with Log():
        forwarder = Forwarder(listening.socket, target, options)
        gevent.signal_handler(signal.SIGUSR1, lambda: say(str(forwarder)))
        forwarder.start()
        say(f"Passing connections on from {listening.at} to {target}", sys.stdout)
        stop.wait()
        listening.forget()
        forwarder.end(options.grace)
        say(str(forwarder))
    return 0


class Forwarder:
    """Accepts on ``listener`` and connects each client with ``target``; counts how they ended."""

    def __init__(self, listener: Any, target: _address.Address, options: Namespace) -> None:
        self._target = target
        self._options = options
        self._pool = Pool(options.limit)
        self._server = Limited(listener, self._serve, spawn=self._pool)
        self._trace = gzc.trace()
        self._ended: Counter[str] = Counter()
        self._there = self._back = 0

    def start(self) -> None:
        """Accept from now on."""
        self._trace.__enter__()
        self._server.start()

    def end(self, grace: float) -> None:
        """Accept nothing more; what is open has ``grace`` seconds to finish."""
        self._server.close()
        if self._pool:
            say(f"{len(self._pool)} open: waiting up to {grace:g} s")
        self._pool.join(timeout=grace)
        self._pool.kill(timeout=1)

    def _serve(self, client: Any, _: Any) -> None:
        name = _name(client)
        with client:
            try:
                upstream = self._connect()
            except OSError as exc:
                self._book(name, "unreachable", f"{self._target}: {said(exc)}", failed=True)
                _reset(client)
                return
            with upstream:
                if client.family != socket.AF_UNIX:
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for sock in (client, upstream):
                    _address.keep_alive(sock)
                self._tunnel(name, client, upstream)

    def _connect(self) -> Any:
        limit = self._options.connect_timeout
        # Of all of it: a name may take long to be resolved, and have several addresses.
        with gevent.Timeout(limit, TimeoutError(f"timed out after {limit:g} s")):
            return self._target.connect(limit)

    def _tunnel(self, name: str, client: Any, upstream: Any) -> None:
        try:
            there, back = gzc.tunnel(client, upstream, idle_timeout=self._options.idle_timeout or None)
        except BaseException as exc:
            moved = {id(way.plan.sink.obj): way.moved for way in gzc.transfers_of(exc)}
            there, back = moved.get(id(upstream), 0), moved.get(id(client), 0)
            how, why = "broken", said(exc)
            if isinstance(exc, gevent.GreenletExit):
                how, why = "cut off", "the time for finishing is over"
            if isinstance(exc, TimeoutError) and exc.errno is None:
                how = "idle"
            _reset(client)
            _reset(upstream)
            self._add(there, back)
            self._book(name, how, f"{why} after {there} bytes there and {back} back", failed=True)
            if not isinstance(exc, Exception):
                raise
            return
        self._add(there, back)
        self._book(name, "finished", f"{there} bytes there and {back} back", failed=False)

    def _add(self, there: int, back: int) -> None:
        self._there += there
        self._back += back

    def _book(self, name: str, how: str, what: str, *, failed: bool) -> None:
        self._ended[how] += 1
        if failed or self._options.verbose:
            say(f"{name}: {how}: {printable(what)}")

    def __str__(self) -> str:
        accepted = len(self._pool) + sum(self._ended.values())
        counts = ", ".join(f"{count} {how}" for how, count in sorted(self._ended.items()))
        return (
            f"{accepted} connections accepted, {len(self._pool)} open{', ' if counts else ''}{counts}\n"
            f"of those that ended: {self._there} bytes there ({size(self._there)}),"
            f" {self._back} bytes back ({size(self._back)})\n{self._trace}"
        )


def _name(client: Any) -> str:
    if client.family == socket.AF_UNIX:
        return "a client"
    with contextlib.suppress(OSError):  # gone already
        host, port, *_ = client.getpeername()
        return str(_address.Address(host, port))
    return "a client"


def _reset(sock: Any) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
