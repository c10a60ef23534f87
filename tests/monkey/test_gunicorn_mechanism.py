"""How the bytes of a download travel through a real `gunicorn -k gevent`, seen by strace and in /proc.

Rules: the bytes themselves are the business of test_gunicorn_downloads; here a copy through user space fails
even if every byte is right. What strace counts is exact, so nothing here is measured in seconds but the hub
gap and the idle worker.

With GZC_TEST_STOCK=1 the same tests run against gunicorn without gzc.
"""

import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from .._server import Folder, Gunicorn
from .._strace import Strace

KIB, MIB = 1 << 10, 1 << 20
BIG = 100 * MIB
SMALL = 32 * KIB  # gzc.config.small


@pytest.fixture(scope="module")
def running(folder: Folder) -> Iterator[Gunicorn]:
    # A turn is a matter of time, and what goes in 5 ms one of the machine: a fifth of that is never half of BIG.
    with Gunicorn("both:app", folder.path, env={"GZC_HUB_BUDGET": "0.001"}) as gunicorn:
        yield gunicorn


@pytest.fixture
def server(running: Gunicorn) -> Iterator[Gunicorn]:
    with running.unharmed():
        yield running


def traced(server: Gunicorn, target: str, **headers: str) -> tuple[Strace, bytearray]:
    """The system calls of the worker during one download, and the body."""
    with server.connect() as client:
        client.get("/pid")  # the first request and the accept are not of interest
        with Strace(server.pid) as trace:
            reply = client.get(target, **headers)
            client.get("/pid")  # its reply is only sent when the last call of the download is in the trace
        assert reply.complete
    return trace, reply.body


def test_flask_download_goes_by_sendfile(server: Gunicorn, folder: Folder) -> None:
    """100 MB: all of it in sendfile(2), and less than 1 % of that through read and send."""
    name, content = folder.sized(BIG)
    trace, body = traced(server, f"/file/{name}")
    assert body == content
    assert trace.of_files == BIG
    assert trace.user_space < BIG // 100


def test_hub_gets_its_turn_though_the_socket_is_never_full(server: Gunicorn, folder: Folder) -> None:
    """B3, B4, B5: neither one call nor many calls in a row may send the whole file while others wait.

    strace makes the worker slow, and the client throws away what it gets (MSG_TRUNC), so that EAGAIN, which
    would send the worker to the hub anyway, does not come.
    """
    name, _ = folder.sized(BIG)
    with server.connect() as client:
        client.get("/pid")
        with Strace(server.pid) as trace:
            client.send(f"/file/{name}", connection="close")
            got = 0
            discarded = bytearray(4 * MIB)
            while n := client.socket.recv_into(discarded, 0, socket.MSG_TRUNC):
                got += n
            with server.connect() as other:
                other.get("/pid")
    assert got > BIG
    assert trace.of_files == BIG
    assert trace.most_asked <= 4 * MIB
    assert trace.longest_turn < BIG // 2


@pytest.mark.parametrize(
    ("target", "start"),
    [
        ("/open/{}", 0),
        ("/bare/plain?name={}", 0),
        ("/bare/unbuffered?name={}&length={size}", 0),
        ("/bare/sniffed?back=1&name={}&length={size}", 0),
        ("/bare/sniffed?name={}", 4),
    ],
)
def test_other_files_go_by_sendfile(server: Gunicorn, folder: Folder, target: str, start: int) -> None:
    """Chunked, unbuffered, or read from before (O2): nothing of that is a reason to give up the fast path."""
    name, content = folder.sized(16 * MIB)
    trace, body = traced(server, target.format(name, size=len(content)))
    assert body == content[start:]
    assert trace.of_files == len(content) - start
    assert trace.user_space < len(content) // 100


@pytest.mark.parametrize("route", ["temporary", "named", "rolled"])
def test_temporary_files_go_by_sendfile(server: Gunicorn, folder: Folder, route: str) -> None:
    """M18: tempfile's wrapper is transparent. (The app fills the file, so only the sends are counted.)"""
    name, content = folder.sized(16 * MIB)
    trace, body = traced(server, f"/bare/{route}?name={name}&length={len(content)}")
    assert body == content
    assert trace.of_files == len(content)
    assert trace.bytes("sendto", "sendmsg") < len(content) // 100


@pytest.mark.parametrize("route", ["counting_buffered", "counting_raw", "counting_instance", "masked", "lying"])
def test_own_methods_keep_their_bytes(server: Gunicorn, folder: Folder, route: str) -> None:
    """O7, O9: a file number is no consent; and no EINVAL or ESPIPE was needed to find out."""
    name, content = folder.sized(MIB + 3)
    trace, body = traced(server, f"/bare/{route}?name={name}&length={len(content)}")
    assert len(body) == len(content)
    assert not any(trace.returned[name] for name in ("sendfile", "splice"))
    assert not any(call in ("sendfile", "splice") for call, _ in trace.refused)


@pytest.mark.parametrize("size", [1, 42, 1 * KIB, SMALL])
def test_small_file_is_one_read_and_one_send(server: Gunicorn, folder: Folder, size: int) -> None:
    """M16: at this size the set-up of anything cleverer costs more than the copy. The headers go in the same send."""
    name, content = folder.sized(size)
    trace, body = traced(server, f"/file/{name}")
    assert body == content
    assert not trace.returned["sendfile"]
    assert not trace.refused["sendfile", "EAGAIN"]
    first = trace.returned["sendto"][0]
    assert first > size  # with the headers
    assert (trace.returned["read"] + trace.returned["pread64"]).count(size) == 1


def test_just_above_small_goes_by_sendfile(server: Gunicorn, folder: Folder) -> None:
    """And the kernel joins its headers to it."""
    name, content = folder.sized(SMALL + 1)
    trace, body = traced(server, f"/file/{name}")
    assert body == content
    assert trace.of_files == SMALL + 1
    assert trace.held_back == trace.returned["sendto"][:1]


@pytest.mark.parametrize(
    ("header", "part"),
    [("bytes=-1000", slice(-1000, None)), (f"bytes={BIG - 1}-", slice(-1, None))],
    ids=["1000", "1"],
)
def test_range_at_the_end_does_not_read_from_the_start(
    server: Gunicorn, folder: Folder, header: str, part: slice
) -> None:
    """Werkzeug seeks if the server's FileWrapper can; else it reads all that is before the range."""
    name, content = folder.sized(BIG)
    with server.connect() as client:
        client.get("/pid")
        before = server.read_bytes()
        reply = client.get(f"/file/{name}", range=header)
        read = server.read_bytes() - before
    assert reply.status == 206
    assert reply.body == content[part]
    assert read < MIB


def test_tls_never_uses_sendfile(folder: Folder, certificates: tuple[ssl.SSLContext, list[str]]) -> None:
    """P9, O10: on a TLS connection the descriptor is not the stream."""
    context, options = certificates
    name, content = folder.sized(16 * MIB)
    with Gunicorn("both:app", folder.path, *options, tls=context) as gunicorn, gunicorn.unharmed():
        trace, body = traced(gunicorn, f"/file/{name}")
    assert body == content
    assert not trace.returned["sendfile"]
    assert not trace.returned["splice"]
    assert trace.bytes("write", "sendto") > len(content)  # what it is instead; so the trace saw the download


def test_no_sendfile_means_no_sendfile(folder: Folder) -> None:
    """An operator who says --no-sendfile has a reason (a network file system, a buggy kernel)."""
    name, content = folder.sized(16 * MIB)
    with Gunicorn("both:app", folder.path, "--no-sendfile") as gunicorn, gunicorn.unharmed():
        trace, body = traced(gunicorn, f"/file/{name}")
    assert body == content
    assert not trace.returned["sendfile"]
    assert not trace.returned["splice"]
    assert trace.bytes("sendto") > len(content)


@pytest.mark.slow
def test_worker_sleeps_while_a_client_does_not_read(server: Gunicorn, folder: Folder) -> None:
    """B10: to wait for the wrong thing is to spin. A second of standing still costs (nearly) no CPU."""
    name, content = folder.sized(64 * MIB)
    with server.connect(receive_buffer=64 * KIB) as client:
        client.send(f"/file/{name}")
        client.head_of_reply()
        client.rest_of_reply(stop_at=MIB)
        time.sleep(0.5)  # the buffers fill up; not a condition of the test, it only makes the window a clean one
        before = server.cpu_seconds()
        time.sleep(1)
        used = server.cpu_seconds() - before
        assert client.rest_of_reply().body == content
    assert used < 0.2


def hub_gaps(server: Gunicorn, target: str, downloads: int) -> list[float]:
    """Seconds between the ticks of a 1 ms ticker in the worker, while one client downloads at full speed."""
    assert isinstance(server.address, tuple)
    connection = http.client.HTTPConnection(*server.address, timeout=60)
    buffer = memoryview(bytearray(MIB))

    def ask(method: str, path: str) -> bytes:
        connection.request(method, path)
        return connection.getresponse().read()

    ask("POST", "/ticker")
    for _ in range(downloads):
        connection.request("GET", target)
        reply = connection.getresponse()
        left = BIG
        while left:
            got = reply.readinto(buffer)
            assert got, "the download ended early"
            left -= got
    gaps: list[float] = json.loads(ask("GET", "/ticker"))
    connection.close()
    return gaps


@pytest.mark.slow
def test_hub_gap_is_no_worse_than_without_gzc(folder: Folder) -> None:
    """B3, B4, B5: the 99th percentile of the gaps at most 1.2 times stock's of this run, or below 5 ms."""
    name, _ = folder.sized(BIG)
    with (
        Gunicorn("ticker:app", folder.path, stock=True) as stock,
        Gunicorn("ticker:app", folder.path) as fast,
        stock.unharmed(),
        fast.unharmed(),
    ):
        gaps: dict[Gunicorn, list[float]] = {stock: [], fast: []}
        for _ in range(5):  # taking turns, so that a busy machine is busy for both
            for server in (stock, fast):
                gaps[server] += hub_gaps(server, f"/file/{name}", 5)

    def p99(server: Gunicorn) -> float:
        return sorted(gaps[server])[len(gaps[server]) * 99 // 100]

    assert len(gaps[fast]) > 20, "too few ticks to tell anything: the hub was hardly ever given back"
    assert p99(fast) <= max(1.2 * p99(stock), 0.005)
