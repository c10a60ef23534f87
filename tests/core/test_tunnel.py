"""`gzc.tunnel`: both directions at once, half-close, counts, errors, and nothing left behind.

Rules: a tunnel stands between two clients that are real sockets; what it did is told by what they receive, by
its return value and by `gzc.transfers_of`. Every test also holds that no claim and no greenlet stays.
"""

import errno
import gc
import os
import socket as native
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket as gsocket
from gevent import ssl as gssl

import gzc

from .._ends import MIB, PATIENCE, Ends, at_rest, open_fds_unchanged, payload
from .._inside import _claims, _pipe
from .._pairs import pipes_open, raised

CONTENT = payload(2 * MIB + 1)
NOW = struct.pack("ii", 1, 0)  # SO_LINGER: a close is a reset


def greenlets() -> int:
    # By type: isinstance asks the object, and a lazy one, as Django's settings, answers with an error.
    return sum(issubclass(type(obj), gevent.Greenlet) and bool(obj) for obj in gc.get_objects())


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    before = greenlets()
    with Ends(tmp_path) as made:
        yield made
    at_rest()
    left = dict(_claims._claims)
    _claims._claims.clear()  # the next test is not to blame
    assert left == {}
    assert greenlets() <= before


def until(true: Callable[[], object]) -> None:
    """Let the others run until it is so."""
    with gevent.Timeout(PATIENCE):
        while not true():
            gevent.sleep(0.001)


class Tunnel:
    """A tunnel between two sockets, and the clients at its far ends."""

    def __init__(self, ends: Ends, families: str = "unix unix", **options: Any) -> None:
        one, two = families.split()
        self.client, self.a = ends.pair(one)
        self.server, self.b = ends.pair(two)
        self.running = ends.spawn(gzc.tunnel, self.a, self.b) if not options else ends.spawn(self._run, options)
        at_rest()

    def _run(self, options: dict[str, Any]) -> tuple[int, int]:
        return gzc.tunnel(self.a, self.b, **options)

    def result(self) -> tuple[int, int]:
        result: tuple[int, int] = self.running.get(timeout=PATIENCE)
        return result

    def error(self) -> BaseException:
        self.running.join(PATIENCE)
        exc: BaseException | None = self.running.exception
        assert exc is not None
        self.running._exc_info = ()  # type: ignore[attr-defined]
        return exc


@pytest.mark.parametrize("families", ["tcp tcp", "unix unix", "tcp unix"])
def test_both_directions_at_once(ends: Ends, families: str) -> None:
    with gzc.trace() as t:
        tunnel = Tunnel(ends, families)
        client, server = ends.reading(tunnel.client), ends.reading(tunnel.server)
        feeds = ends.feeding(tunnel.client, CONTENT), ends.feeding(tunnel.server, CONTENT[:MIB])
        assert tunnel.result() == (len(CONTENT), MIB)
        gevent.joinall(feeds, timeout=PATIENCE, raise_error=True)
        assert server.all() == CONTENT
        assert client.all() == CONTENT[:MIB]
    assert t.bytes["splice"] == len(CONTENT) + MIB
    assert t.refused == []
    assert tunnel.a.fileno() >= 0  # the sockets are the caller's, and open


def test_half_close_lets_the_other_direction_go_on(ends: Ends) -> None:
    tunnel = Tunnel(ends, "tcp tcp")
    tunnel.client.sendall(b"question")
    tunnel.client.shutdown(native.SHUT_WR)
    assert tunnel.server.recv(100) == b"question"
    assert tunnel.server.recv(100) == b""
    for n in range(3):
        tunnel.server.sendall(b"answer %d" % n)
        assert tunnel.client.recv(100) == b"answer %d" % n
    assert not tunnel.running.dead
    tunnel.server.shutdown(native.SHUT_WR)
    assert tunnel.client.recv(100) == b""
    assert tunnel.result() == (8, 24)


@pytest.mark.parametrize("families", ["tcp tcp", "unix unix"])
def test_d8_the_half_close_waits_for_what_is_in_the_pipe(ends: Ends, families: str) -> None:
    """D8: the source's end is seen while the sink is slow; haproxy lost the tail."""
    tunnel = Tunnel(ends, families)
    for sock in (tunnel.b, tunnel.server):
        sock.setsockopt(native.SOL_SOCKET, native.SO_SNDBUF, 4096)
    feed = ends.feeding(tunnel.client, CONTENT[:300_000])
    got = bytearray()
    with gevent.Timeout(PATIENCE):
        while data := tunnel.server.recv(5000):
            got += data
            at_rest()
    assert got == CONTENT[:300_000]
    tunnel.server.shutdown(native.SHUT_WR)
    assert tunnel.result() == (300_000, 0)
    feed.get(timeout=PATIENCE)


def test_an_error_in_one_direction_ends_the_other(ends: Ends) -> None:
    tunnel = Tunnel(ends, "tcp tcp")
    tunnel.client.sendall(b"12345")
    assert tunnel.server.recv(9) == b"12345"
    tunnel.server.setsockopt(native.SOL_SOCKET, native.SO_LINGER, NOW)
    tunnel.server.close()
    exc = tunnel.error()
    assert isinstance(exc, ConnectionResetError)
    transfers = gzc.transfers_of(exc)
    assert [transfer.moved for transfer in transfers] == [0, 5], "the one it interrupted comes first"
    assert exc.transfer is transfers[0]  # type: ignore[attr-defined]
    tunnel.client.sendall(b"x")
    assert gzc.copy(tunnel.a, bytearray(), 1) == 1  # free again


def test_bytes_in_flight_when_an_error_ends_it_can_be_reclaimed(ends: Ends) -> None:
    here, peer = ends.stuck("tcp")
    client, a = ends.unix()
    client.sendall(b"z" * 1000)
    running = ends.spawn(raised, OSError, gzc.tunnel, a, here)
    at_rest()
    peer.sock.setsockopt(native.SOL_SOCKET, native.SO_LINGER, NOW)
    peer.sock.close()
    exc = running.get(timeout=PATIENCE)
    there, back = sorted(gzc.transfers_of(exc), key=lambda one: -one.in_flight)  # either may have met the reset
    assert (there.moved, there.in_flight, back.moved, back.in_flight) == (0, 1000, 0, 0)
    assert there.reclaim() == b"z" * 1000
    back.close()


@pytest.mark.parametrize("own", [gevent.GreenletExit(), gevent.Timeout(), KeyError("mine")])
def test_an_interruption_ends_both_and_tells_of_both(ends: Ends, own: BaseException) -> None:
    client, a = ends.unix()
    server, b = ends.unix()

    def run() -> BaseException:
        try:
            gzc.tunnel(a, b)
        except BaseException as exc:  # noqa: BLE001 - whatever it is, it is what is asked for
            return exc
        raise AssertionError("it ended")

    running = ends.spawn(run)
    client.sendall(b"there")
    assert server.recv(9) == b"there"
    server.sendall(b"and back")
    assert client.recv(9) == b"and back"
    running.kill(own, timeout=PATIENCE)
    assert running.value is own
    there, back = gzc.transfers_of(own)
    assert (there.moved, back.moved) == (5, 8)
    client.sendall(b"more")
    client.shutdown(native.SHUT_WR)
    assert there.run() == 9  # each direction can go on by itself
    assert server.recv(9) == b"more"


def test_a_half_close_that_fails_is_told(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOTCONN and EBADF are a peer's or an owner's who was faster; anything else is news."""

    def failing(sock: Any, how: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    tunnel = Tunnel(ends)
    tunnel.client.sendall(b"12345")
    assert tunnel.server.recv(9) == b"12345"
    ending = native.fromfd(tunnel.client.fileno(), tunnel.client.family, native.SOCK_STREAM)
    monkeypatch.setattr(gsocket.socket, "shutdown", failing)
    with ending:
        ending.shutdown(native.SHUT_WR)
    exc = tunnel.error()
    assert isinstance(exc, OSError)
    assert exc.errno == errno.EIO
    assert [transfer.moved for transfer in gzc.transfers_of(exc)] == [5, 0]


def test_idle_for_too_long(ends: Ends) -> None:
    began = time.monotonic()
    tunnel = Tunnel(ends, idle_timeout=1.0)
    for _ in range(6):  # not idle: longer in all than the timeout
        gevent.sleep(0.2)
        tunnel.client.sendall(b"x")
        assert tunnel.server.recv(9) == b"x"
    assert not tunnel.running.dead
    last = time.monotonic()
    exc = tunnel.error()
    assert isinstance(exc, TimeoutError)
    assert not isinstance(exc, gevent.Timeout)
    assert 0.9 < time.monotonic() - last < PATIENCE
    assert time.monotonic() - began > 2.0
    assert [transfer.moved for transfer in gzc.transfers_of(exc)] == [6, 0]


@pytest.mark.parametrize("bad", [0, -1])
def test_a_bad_idle_timeout(ends: Ends, bad: float) -> None:
    (a, _), (b, _) = ends.unix(), ends.unix()
    with pytest.raises(ValueError, match="idle_timeout"):
        gzc.tunnel(a, b, idle_timeout=bad)


def test_a_tunnel_to_itself(ends: Ends) -> None:
    a, _ = ends.unix()
    with pytest.raises(gzc.Error, match="echo"):
        gzc.tunnel(a, a)


def test_a_claimed_end_is_busy(ends: Ends) -> None:
    tunnel = Tunnel(ends)
    other, _ = ends.unix()
    with pytest.raises(gzc.BusyError):
        gzc.tunnel(tunnel.a, other)
    with pytest.raises(gzc.BusyError):
        gzc.copy(b"between", tunnel.b)
    tunnel.client.sendall(b"ok")
    assert tunnel.server.recv(9) == b"ok"  # it was not disturbed
    tunnel.client.close()
    tunnel.server.close()
    assert tunnel.result() == (2, 0)


def test_a_socket_closed_by_another_greenlet_ends_it(ends: Ends) -> None:
    tunnel = Tunnel(ends)
    tunnel.a.close()
    exc = tunnel.error()
    assert isinstance(exc, OSError)
    assert exc.errno == errno.EBADF


def test_idle_tunnels_hold_no_pipe(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 of them, after they have moved something."""
    idle: list[_pipe.TransitPipe] = []
    monkeypatch.setattr(_pipe, "_idle", idle)
    before = pipes_open()
    tunnels = [Tunnel(ends) for _ in range(200)]
    for n, tunnel in enumerate(tunnels):
        tunnel.client.sendall(b"%d" % n)
        tunnel.server.sendall(b"%d" % -n)
    for n, tunnel in enumerate(tunnels):
        assert tunnel.server.recv(9) == b"%d" % n
        assert tunnel.client.recv(9) == b"%d" % -n
    at_rest()
    assert pipes_open() - before <= 2 * len(idle) <= 2 * gzc.config.pool_pipes
    for tunnel in tunnels:
        tunnel.client.close()
        tunnel.server.close()
    gevent.joinall([tunnel.running for tunnel in tunnels], timeout=PATIENCE)
    for pipe in idle:
        pipe.close()


def test_many_tunnels_leave_no_descriptor(ends: Ends) -> None:
    def once() -> None:
        with Ends(ends.folder) as own:
            tunnel = Tunnel(own, "tcp unix")
            ends.feeding(tunnel.client, CONTENT[:100_000])
            tunnel.server.shutdown(native.SHUT_WR)
            assert own.reading(tunnel.server).all() == CONTENT[:100_000]
            assert tunnel.result() == (100_000, 0)
        at_rest()

    once()
    at_rest()
    with open_fds_unchanged():
        for _ in range(20):
            once()
        at_rest()


def test_over_tls_through_its_own_methods(
    ends: Ends, certificates: tuple[ssl.SSLContext, list[str]], folder: Any
) -> None:
    """A TLS end is no plain socket: what goes through the tunnel on its side is encrypted."""
    _, options = certificates
    trusting = gssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    serving = gssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(options[1], options[3])
    raw_client, raw_a = ends.tcp()
    accepting = ends.spawn(serving.wrap_socket, raw_a, True)
    client = ends.keep(trusting.wrap_socket(raw_client))
    a = ends.keep(accepting.get(timeout=PATIENCE))
    server, b = ends.unix()
    with gzc.trace() as t:
        running = ends.spawn(gzc.tunnel, a, b)
        client.sendall(b"question")
        with gevent.Timeout(PATIENCE):
            assert server.recv(100) == b"question"
            server.sendall(CONTENT)
            got = b""
            while len(got) < len(CONTENT):
                got += client.recv(65536)
            assert got == CONTENT
            server.close()
            assert running.get() == (8, len(CONTENT))
    assert t.bytes["splice"] == 0
    assert t.bytes["userspace"] == 8 + len(CONTENT)
    assert os.fstat(b.fileno())
