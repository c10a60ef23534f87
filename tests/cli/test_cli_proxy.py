"""`gzc proxy` as a process: bytes pass by splice, and every end of a connection is told and counted.

Rules: both ends are sockets of the test; a connection that is broken off is seen as such by both.
"""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from gevent import socket as gsocket

from gzc.cli import proxy

from .._command import Command, Ended, Peer, connected, echo, end, everything, giving
from .._ends import MIB, payload
from .._program import PATIENCE
from .._server import eventually, refuses

CONTENT = payload(2 * MIB + 3)


class Proxy(Command):
    """`gzc proxy`, ready, at `at`."""

    def __init__(self, target: str, *options: str, listen: str = "0", files: int | None = None) -> None:
        super().__init__("proxy", listen, target, *options, files=files)
        self.at = self.out.wait_for("Passing connections on from ").removeprefix("Passing connections on from ")
        self.at = self.at.partition(" to ")[0]

    def stopped(self) -> Ended:
        ended = self.end(signal.SIGTERM)
        assert ended.status == 0, ended
        return ended


@pytest.fixture
def echoing() -> Iterator[Peer]:
    with Peer(echo) as peer:
        yield peer


def pump_through(address: str, content: bytes = CONTENT) -> bytes:
    """Send it all, half-close, and read to the end."""
    with connected(address) as client:
        sending = threading.Thread(target=lambda: (client.sendall(content), client.shutdown(socket.SHUT_WR)))
        sending.start()
        got = everything(client)
        sending.join(PATIENCE)
    return got


@pytest.mark.parametrize("listen", ["tcp", "unix"])
@pytest.mark.parametrize("target", ["tcp", "unix"])
def test_bytes_pass_both_ways_by_splice_with_half_close(tmp_path: Path, listen: str, target: str) -> None:
    at = f"unix:{tmp_path}/listen" if listen == "unix" else "127.0.0.1:0"
    with (
        Peer(echo, tmp_path / "t" if target == "unix" else None) as peer,
        Proxy(peer.address, "-v", listen=at) as proxy,
    ):
        assert [pump_through(proxy.at) for _ in range(2)] == [CONTENT] * 2
        ended = proxy.stopped()
    count = 2 * len(CONTENT)
    assert "2 connections accepted, 0 open, 2 finished\n" in ended.err
    assert f"{count} bytes there (4.0 MiB), {count} bytes back (4.0 MiB)" in ended.err
    table = [line.split() for line in ended.err.splitlines()]
    assert next(line for line in table if line[-1] == "splice")[1] == str(2 * count)
    assert "userspace" not in ended.err
    assert ended.err.count(": finished: ") == 2
    assert not (tmp_path / "listen").exists()


def test_counters_while_it_runs(echoing: Peer) -> None:
    with Proxy(echoing.address) as proxy, connected(proxy.at) as client:
        client.sendall(b"hello")
        assert client.recv(5, socket.MSG_WAITALL) == b"hello"
        proxy.signal(signal.SIGUSR1)
        assert proxy.err.wait_for("connections accepted") == "1 connections accepted, 1 open"
        total = proxy.err.wait_for("  total").split()
        assert total[1] == "10"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        assert "1 connections accepted, 0 open, 1 finished" in proxy.stopped().err


def test_a_target_that_cannot_be_reached(tmp_path: Path) -> None:
    """The client is told by a reset, the log by a line, and the next one may find it there."""
    path = tmp_path / "target"
    with Proxy(f"unix:{path}") as proxy:
        with pytest.raises(ConnectionResetError), connected(proxy.at) as client:  # at times connecting tells it
            client.recv(1)
        assert f"unreachable: unix:{path}: No such file or directory" in proxy.err.wait_for("unreachable")
        with Peer(giving(b"hello"), path):
            assert pump_through(proxy.at, b"") == b"hello"
        assert "2 connections accepted, 0 open, 1 finished, 1 unreachable" in proxy.stopped().err


def test_a_target_that_does_not_answer_the_call() -> None:
    """Its backlog is full: the handshake is never finished."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = []
        try:
            for _ in range(3):
                waiting.append(socket.socket())
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(("127.0.0.1", port))
            with Proxy(f"127.0.0.1:{port}", "--connect-timeout", "0.3") as proxy, connected(proxy.at) as client:
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
                assert "timed out" in proxy.err.wait_for("unreachable")
        finally:
            for one in waiting:
                one.close()


def test_an_idle_connection_ends_and_a_busy_one_does_not(echoing: Peer) -> None:
    with Proxy(echoing.address, "--idle-timeout", "0.5") as proxy, connected(proxy.at) as client:
        client.sendall(b"hello")
        assert client.recv(5, socket.MSG_WAITALL) == b"hello"
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        line = proxy.err.wait_for("idle: ")
        assert "no byte in either direction for 0.5 seconds after 5 bytes there and 5 back" in line
        assert "1 idle" in proxy.stopped().err


def test_a_connection_that_breaks_is_broken_for_both() -> None:
    """What was cut off must not look like a whole one to the other side."""
    broke = threading.Event()

    def until_reset(connection: socket.socket) -> str:
        connection.sendall(b"hello")
        assert broke.wait(PATIENCE)
        try:
            everything(connection)
        except ConnectionResetError:
            return "reset"
        return "a proper end"

    with Peer(until_reset) as peer, Proxy(peer.address) as proxy:
        with connected(proxy.at) as client:
            assert client.recv(5, socket.MSG_WAITALL) == b"hello"
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        broke.set()
        assert peer.result() == "reset"
        assert "broken: Connection reset by peer after 0 bytes there and 5 back" in proxy.err.wait_for("broken")


def test_no_more_connections_than_the_limit(echoing: Peer) -> None:
    with Proxy(echoing.address, "--limit", "1") as proxy, connected(proxy.at) as first:
        first.sendall(b"1")
        assert first.recv(1) == b"1"
        with connected(proxy.at) as second:
            second.sendall(b"2")
            second.settimeout(0.3)
            with pytest.raises(TimeoutError):
                second.recv(1)
            second.settimeout(PATIENCE)
            first.shutdown(socket.SHUT_WR)
            assert first.recv(1) == b""
            assert second.recv(1) == b"2"


# -- the end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_tunnels_finish(echoing: Peer, number: int) -> None:
    with Proxy(echoing.address, "--grace", str(PATIENCE)) as proxy, connected(proxy.at) as client:
        client.sendall(b"before")
        assert client.recv(6, socket.MSG_WAITALL) == b"before"
        proxy.signal(number)
        proxy.err.wait_for("1 open: waiting up to")
        assert eventually(lambda: refuses(lambda: connected(proxy.at)))
        client.sendall(b"after")
        assert client.recv(5, socket.MSG_WAITALL) == b"after"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        ended = proxy.end()
    assert ended.status == 0
    assert "1 connections accepted, 0 open, 1 finished" in ended.err
    assert "11 bytes there (11 bytes), 11 bytes back" in ended.err


def test_what_does_not_finish_in_time_is_cut_off_and_counted(echoing: Peer) -> None:
    with Proxy(echoing.address, "--grace", "0.2") as proxy, connected(proxy.at) as client:
        client.sendall(b"before")
        assert client.recv(6, socket.MSG_WAITALL) == b"before"
        ended = proxy.stopped()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert "1 connections accepted, 0 open, 1 cut off" in ended.err
    assert "6 bytes there (6 bytes), 6 bytes back" in ended.err


def test_the_second_signal_ends_it_at_once(echoing: Peer) -> None:
    with Proxy(echoing.address, "--grace", str(PATIENCE)) as proxy, connected(proxy.at) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        proxy.signal(signal.SIGTERM)
        proxy.err.wait_for("1 open")
        assert proxy.end(signal.SIGTERM).status == 128 + signal.SIGTERM


# -- what cannot be ----------------------------------------------------------------------------------------


def test_an_address_that_is_taken_or_cannot_be_had(tmp_path: Path) -> None:
    with Peer(echo) as tcp, Peer(echo, tmp_path / "s") as unix:
        for address in (tcp.address, unix.address):
            ended = end("proxy", address, "127.0.0.1:1")
            assert (ended.status, ended.out) == (1, "")
            assert ended.err == f"gzc proxy: {address}: Address already in use\n"
    for address, why in (
        (f"unix:{tmp_path}/no/such", "No such file or directory"),
        ("192.0.2.1:0", "Cannot assign requested address"),
        ("unix:/" + "x" * 200, "AF_UNIX path too long"),
    ):
        assert end("proxy", address, "127.0.0.1:1") == (1, "", f"gzc proxy: {address}: {why}\n")
    (tmp_path / "file").write_text("keep me")
    assert end("proxy", f"unix:{tmp_path}/file", "127.0.0.1:1").status == 1
    assert (tmp_path / "file").read_text() == "keep me"


def test_a_socket_that_was_left_behind_is_in_nobodys_way(tmp_path: Path, echoing: Peer) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    assert os.path.exists(path)
    with Proxy(echoing.address, listen=f"unix:{path}") as proxy:
        assert pump_through(proxy.at) == CONTENT


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("8000",),
        ("nonsense", "1"),
        ("1", "host:port"),
        ("0", "1", "--limit", "0"),
        ("0", "1", "--idle-timeout=-1"),
        ("0", "1", "--grace", "nan"),
        ("0", "1", "--connect-timeout", "0"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant(words: tuple[str, ...]) -> None:
    ended = end("proxy", *words)
    assert ended.status == 2
    assert ended.err.startswith("usage: gzc proxy")


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("8000", "127.0.0.1", 8000, "127.0.0.1:8000"),
        (":8000", "", 8000, ":8000"),
        ("example.org:80", "example.org", 80, "example.org:80"),
        ("[::1]:80", "::1", 80, "[::1]:80"),
    ],
)
def test_addresses(text: str, host: str, port: int, shown: str) -> None:
    from .._inside import _address

    address = _address.parse(text)
    assert (address.host, address.port, str(address)) == (host, port, shown)
    assert str(_address.parse("unix:///run/x")) == "unix:/run/x"


def test_a_client_that_has_gone_before_it_is_named() -> None:
    with gsocket.socket() as never_connected:
        assert proxy._name(never_connected) == "a client"
