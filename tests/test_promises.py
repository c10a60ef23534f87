"""R1: a promise bounds every way of a body, in every server, and no body holds the hub.

Rules: the servers are child processes, one for each stack, and the client parses with h11 or by hand, so that a byte
too many is found in the next reply. What was taken from the iterable the application counts itself. No time is
measured: a hub that is held is another client that gets no answer.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import gevent
import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi as gunicorn

import gzc
from gzc.monkey import _gunicorn, _turns, _wsgi

from ._ends import PATIENCE, Ends
from ._http import Client
from ._server import STOCK, Folder, Gunicorn, Script

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SMALL = 32 * KIB  # gzc.config.small
PIECE = bytes(range(256)) * 32
FILE = 200 * KIB
ENOUGH = 8 * MIB  # of what never ends: more than the buffers between server and client hold

STACKS = ["gevent", "gevent_pywsgi", "pywsgi", "patched-pywsgi", "wsgiref"]
FINITE = ["plain", "own", "list", "finite", "file"]
ENDLESS = ["zero", "sparse", "reader", "generator", "iterable"]
BODIES = [*FINITE, *ENDLESS]
UNCOUNTED = ("plain", "zero", "file")  # nobody sees what is read of them
PROMISES = [0, 1, SMALL, SMALL + 1, 150_000]

slow = pytest.mark.slow


def _serving(stack: str, folder: Folder) -> Gunicorn:
    if stack.startswith("gevent"):
        return Gunicorn("promises:app", folder.path, "-k", stack, stock=STOCK)
    return Script(stack, folder.path, "promises", stock=STOCK)


@pytest.fixture(scope="module", params=STACKS)
def stack(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def running(stack: str, folder: Folder) -> Iterator[Gunicorn]:
    folder.fresh("promised.bin", FILE)
    with (folder.path / "sparse.bin").open("wb") as file:
        file.truncate(6 * GIB)
    with _serving(stack, folder) as server:
        yield server


@pytest.fixture
def server(running: Gunicorn) -> Iterator[Gunicorn]:
    with running.unharmed():
        asked(running, "/given")
        yield running


def asked(server: Gunicorn, target: str) -> Any:
    with server.connect() as client:
        return json.loads(client.get(target).body)


def expected(name: str, folder: Folder, length: int) -> bytes:
    if name in ("plain", "own", "file"):
        return (folder.path / "promised.bin").read_bytes()[:length]
    if name in ("zero", "sparse", "reader"):
        return bytes(length)
    return (PIECE * (length // len(PIECE) + 1))[: min(length, 20 * len(PIECE) if name in FINITE else length)]


def next_is_framed(client: Client, server: Gunicorn, stack: str) -> None:
    """The connection lives, and the next reply begins where this one ended; wsgiref ends each connection."""
    if stack == "wsgiref":
        assert client.at_end()
        return
    assert json.loads(client.get("/pid").body) == server.pid


def is_bounded(server: Gunicorn, name: str, length: int) -> None:
    """At most one block more was taken than was promised; of an open file a block is a line, as iteration gives it."""
    if name not in UNCOUNTED:
        assert asked(server, "/given") <= length + _wsgi.BLOCK


@slow
@pytest.mark.parametrize("length", PROMISES)
@pytest.mark.parametrize("name", BODIES)
def test_r1_a_length_bounds_every_body(server: Gunicorn, folder: Folder, stack: str, name: str, length: int) -> None:
    with server.connect() as client:
        reply = client.get(f"/{name}?length={length}")
        assert reply.status == 200
        assert reply.complete
        assert reply.length == length
        assert reply.body == expected(name, folder, length)
        next_is_framed(client, server, stack)
    is_bounded(server, name, length)


@slow
@pytest.mark.parametrize("length", ["", "?length=0", f"?length={SMALL + 1}"])
@pytest.mark.parametrize("name", BODIES)
def test_r1_head_has_no_body(server: Gunicorn, stack: str, name: str, length: str) -> None:
    with server.connect() as client:
        reply = client.get(f"/{name}{length}", "HEAD")
        assert reply.status == 200
        assert reply.complete
        assert not reply.body
        if length:
            assert reply.length == int(length.partition("=")[2])
        next_is_framed(client, server, stack)
    is_bounded(server, name, 0)


@slow
@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("name", ["plain", "own", "zero", "sparse", "reader"])
def test_r1_a_status_without_a_body_has_none(server: Gunicorn, stack: str, name: str, status: str) -> None:
    """Of what came through the file wrapper; of a generator gevent.pywsgi says that there may be none."""
    with server.connect() as client:
        reply = client.get(f"/{name}?status={status.replace(' ', '+')}")
        assert reply.status == int(status[:3])
        assert reply.complete
        assert not reply.body
        next_is_framed(client, server, stack)
    is_bounded(server, name, 0)


def old(server: Gunicorn, target: str) -> socket.socket:
    """A connection on which HTTP/1.0 asks for ``target``: the end of the body is the end of the connection."""
    client = socket.create_connection(server.address)
    client.settimeout(PATIENCE)
    client.sendall(f"GET {target} HTTP/1.0\r\n\r\n".encode())
    return client


@slow
@pytest.mark.parametrize("name", FINITE)
def test_r1_without_a_promise_all_of_it_comes(server: Gunicorn, folder: Folder, stack: str, name: str) -> None:
    with old(server, f"/{name}") as client:
        whole = b"".join(iter(lambda: client.recv(1 << 18), b""))
    assert whole.partition(b"\r\n\r\n")[2] == expected(name, folder, FILE)


class Draining:
    """Takes what comes as fast as it comes, in a thread, so that a send of the server's never has to wait."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.got = 0
        self._enough, self._ends = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        block = bytearray(1 << 20)
        while not self._ends.is_set() and (count := self._sock.recv_into(block)):
            self.got += count
            if self.got > ENOUGH:
                self._enough.set()

    def until_enough(self) -> None:
        assert self._enough.wait(PATIENCE)

    def stop(self) -> None:
        self._ends.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@slow
@pytest.mark.parametrize("name", ENDLESS)
def test_r1_what_never_ends_holds_nobody_up(server: Gunicorn, stack: str, name: str) -> None:
    """Others are answered while a client that keeps up takes all it gets, and when it has gone away."""
    with old(server, f"/{name}") as client:
        draining = Draining(client)
        try:
            for _ in range(3):
                assert asked(server, "/pid") == server.pid
            draining.until_enough()
            assert asked(server, "/pid") == server.pid
        finally:
            draining.stop()
    assert asked(server, "/pid") == server.pid


@slow
@pytest.mark.parametrize("name", ["reader", "generator"])
def test_r1_nor_does_one_in_chunks(server: Gunicorn, stack: str, name: str) -> None:
    with server.connect() as client:
        client.send(f"/{name}")
        draining = Draining(client.socket)
        try:
            draining.until_enough()
            assert asked(server, "/pid") == server.pid
        finally:
            draining.stop()


# --- http.server: the promise is the handler's own to keep, the turns are ours ---


@pytest.fixture(scope="module")
def handlers(folder: Folder) -> Iterator[Gunicorn]:
    with Script("http.server", folder.path, "endless", stock=STOCK) as server:
        yield server


@slow
@pytest.mark.parametrize("name", ["zero", "reader", "loop"])
def test_r1_nor_does_what_a_handler_writes(handlers: Gunicorn, name: str) -> None:
    """By copyfileobj out of a device, out of an object that has only ``read``, and by a loop of its own."""
    with handlers.unharmed(), old(handlers, f"/{name}") as client:
        draining = Draining(client)
        try:
            draining.until_enough()
            assert asked(handlers, "/pid") == handlers.pid
        finally:
            draining.stop()


# --- the mechanism ---


def in_time(run: Callable[[], Any]) -> Any:
    """What ``run`` gives, or the timeout that got through, for which the loop must have run."""
    timeout = gevent.Timeout(0.01)
    with pytest.raises(gevent.Timeout) as caught, timeout:
        return run()
    assert caught.value is timeout
    return None


ENDLESS_LOOPS: dict[str, Callable[[], Iterator[bytes]]] = {
    "a promised body of nothing": lambda: _wsgi.rest(repeat(b""), 10),
    "a body that never comes to its promise": lambda: _wsgi.kept(repeat(b""), lambda: 10),
    "a body of which nothing is promised": lambda: _wsgi.kept(repeat(b"x"), lambda: None),
}


@pytest.mark.parametrize("name", ENDLESS_LOOPS)
def test_r1_no_loop_holds_the_hub(name: str) -> None:
    in_time(lambda: [None for _ in ENDLESS_LOOPS[name]()])


def test_r1_a_reader_that_never_ends_is_sent_in_turns() -> None:
    """``sock.sendfile``, to a peer that takes everything at once."""

    class Endless:
        def read(self, size: int) -> bytes:
            return b"x"

    class Swallowing(gevent.socket.socket):
        def send(self, data: Any, flags: int = 0, timeout: Any = None) -> int:
            return len(data)

    gzc.patch_all(only=["socket"], stdlib=False)
    try:
        for count in (None, 1 << 40):
            with contextlib.closing(Swallowing()) as sock:
                in_time(lambda sock=sock, count=count: sock.sendfile(Endless(), 0, count))
    finally:
        gzc.unpatch_all()


def test_r1_a_reader_that_gives_too_much_is_cut() -> None:
    class Generous:
        def read(self, size: int) -> bytes:
            return b"x" * 50

    here, there = gevent.socket.socketpair()
    gzc.patch_all(only=["socket"], stdlib=False)
    try:
        with here, there:
            assert here.sendfile(Generous(), 0, 10) == 10
            here.close()
            assert there.recv(100) == b"x" * 10
            assert there.recv(100) == b""
    finally:
        gzc.unpatch_all()


def test_r1_loops_share_the_turn_of_a_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second loop in the same iteration of the event loop has no budget of its own."""
    now = [100.0]
    passed: list[float] = []
    monkeypatch.setattr(_turns, "monotonic", lambda: now[0])
    monkeypatch.setattr(_turns, "_pass_through", lambda hub: passed.append(now[0]))
    gevent.sleep(0.001)  # through the loop: a fresh iteration
    _turns.give()
    now[0] += gzc.config.hub_budget / 2
    gevent.spawn(_turns.give).join()  # a callback of the same iteration
    assert passed == []
    now[0] += gzc.config.hub_budget
    _turns.give()
    assert passed == [now[0]]


def test_r1_without_a_hub_there_is_nobody_to_give_way_to() -> None:
    """A native thread that has never used gevent gets no hub by it."""
    from gevent import monkey
    from gevent._hub_local import get_hub_if_exists

    def run() -> None:
        assert sum(map(len, _wsgi.kept([b"x"] * 3, lambda: 2))) == 2
        hubs.append(get_hub_if_exists())

    hubs: list[Any] = []
    thread = monkey.get_original("threading", "Thread")(target=run)
    thread.start()
    thread.join(PATIENCE)
    assert hubs == [None]


def test_r1_the_work_behind_the_last_yield_is_done() -> None:
    """One block more is asked for than was promised."""
    done: list[str] = []

    def body() -> Iterator[bytes]:
        yield b"promised"
        done.append("committed")

    assert b"".join(_wsgi.kept(body(), lambda: 8)) == b"promised"
    assert done == ["committed"]


def test_r1_what_is_too_much_is_told() -> None:
    dropped: list[bytes] = []
    assert list(_wsgi.kept(iter([b"", b"four", b"five5", b"six"]), lambda: 6, dropped.append)) == [b"", b"four", b"fi"]
    assert dropped == [b"six"]


# --- what gunicorn's worker iterates by itself ---


class _Asking:
    """What gunicorn's Response asks of a request."""

    version, headers = (1, 1), ()

    def __init__(self, method: str) -> None:
        self.method = method

    def should_close(self) -> bool:
        return False


class _Stream:
    """Where HTTP/2 frames go."""

    def __init__(self) -> None:
        self.sent = b""

    def send_response_headers(self, *args: Any, **kwargs: Any) -> bool:
        return True

    def send_data(self, _stream: int, data: bytes, **kwargs: Any) -> bool:
        self.sent += data
        return True


def _given(response: Any, result: Any, length: int) -> None:
    """As a worker gives what the application returns to ``response``."""

    def app(_environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", str(length))])
        return result

    for block in _gunicorn._keeping(app, {}, response.start_response):
        response.write(block)
    response.send_headers()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_r1_over_http2_nothing_is_taken_beyond_the_promise(method: str, wrapped: bool) -> None:
    """There the worker iterates file wrappers, too."""
    http2 = pytest.importorskip("gunicorn.http2.response")
    stream = _Stream()
    response = http2.HTTP2Response(_Asking(method), None, Config(), stream, 1)
    with Path("/dev/zero").open("rb") as zero:
        _given(response, gunicorn.FileWrapper(zero) if wrapped else repeat(bytes(8192)), 10_000)
    assert stream.sent == (bytes(10_000) if method == "GET" else b"")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_r1_before_gunicorn_dropped_the_body_of_head(ends: Ends, method: str) -> None:
    """Until 26.1 it sent it, and knew nothing of ``_omits_body``."""
    here, there = ends.tcp()
    peer = ends.reading(there)

    class Old(gunicorn.Response):  # type: ignore[misc]
        def start_response(self, *args: Any) -> Any:
            super().start_response(*args)
            vars(self).pop("_omits_body", None)
            return self.write

        def write(self, arg: bytes) -> None:
            self.send_headers()
            self.sent += len(arg)
            self.sock.sendall(arg)

    response = Old(_Asking(method), here, Config())
    _given(response, repeat(b"x" * 10), 25)
    here.close()
    assert peer.all().partition(b"\r\n\r\n")[2] == (b"x" * 25 if method == "GET" else b"")
