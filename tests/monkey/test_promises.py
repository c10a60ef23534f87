"""R1: a promise bounds every way of a body, in every server, and no body holds the hub.

Rules: the servers are child processes, one for each stack, and the client parses with h11 or by hand, so that a byte
too many is found in the next reply. What was taken from the iterable the application counts itself. No time is
measured: a hub that is held is another client that gets no answer.
"""

import contextlib
import importlib.util
import json
import socket
import threading
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import gevent
import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi as gunicorn
from gunicorn.workers import base_async

import gzc

from .._ends import PATIENCE, Ends
from .._http import Client
from .._inside import _file_wrapper, _gunicorn_worker, _promises, _turns
from .._lacks import lacking
from .._server import STOCK, Folder, Gunicorn, Script

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SMALL = 32 * KIB  # gzc.config.small
PIECE = bytes(range(256)) * 32
FILE = 200 * KIB
ENOUGH = 8 * MIB  # of what never ends: more than the buffers between server and client hold

STACKS = ["gevent", "gevent_pywsgi", "pywsgi", "patched-pywsgi", "wsgiref"]
FINITE = ["plain", "own", "list", "finite", "file"]
ENDLESS = ["zero", "sparse", "reader", "generator", "iterable", "sequence"]
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
        assert asked(server, "/given") <= length + _file_wrapper.BLOCK


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


def poured(result: Any, length: int | None, surplus: Callable[[bytes], object] | None = None) -> list[Any]:
    """What a server would write of ``result`` that has promised ``length``."""
    written: list[Any] = []

    def left() -> int | None:
        return None if length is None else length - sum(len(block) for block in written if isinstance(block, bytes))

    _promises.pour(result, written.append, left, surplus)
    return written


def in_time(run: Callable[[], Any]) -> Any:
    """What ``run`` gives, or the timeout that got through, for which the loop must have run."""
    timeout = gevent.Timeout(0.01)
    with pytest.raises(gevent.Timeout) as caught, timeout:
        return run()
    assert caught.value is timeout
    return None


ENDLESS_LOOPS: dict[str, Callable[[], Any]] = {
    "a promised body of nothing": lambda: list(_promises.rest(repeat(b""), 10)),
    "a body that never comes to its promise": lambda: _promises.pour(repeat(b""), len, lambda: 10),
    "a body of which nothing is promised": lambda: _promises.pour(repeat(b"x"), len, lambda: None),
}


@pytest.mark.parametrize("name", ENDLESS_LOOPS)
def test_r1_no_loop_holds_the_hub(name: str) -> None:
    in_time(ENDLESS_LOOPS[name])


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
        assert b"".join(_promises.rest([b"x"] * 3, 2)) == b"xx"
        assert poured([b"x"] * 3, 2) == [b"x"] * 2
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

    assert poured(body(), 8) == [b"promised"]
    assert done == ["committed"]
    assert poured(body(), 0) == []  # HEAD
    assert done == ["committed"] * 2


def test_r1_what_is_too_much_is_not_asked_for() -> None:
    """One block of it is, and where nothing may be sent at all, that one is told."""
    blocks = iter([b"", b"four", b"five5", b"six", b"seven"])
    assert poured(blocks, 6) == [b"", b"four", b"fi"]
    assert list(blocks) == [b"seven"]
    dropped: list[bytes] = []
    blocks = iter([b"", b"four", b"five", b"six"])
    assert poured(blocks, 0, dropped.append) == [b""]
    assert (dropped, list(blocks)) == ([b"four"], [b"six"])


def test_r1_a_body_that_cannot_be_begun_says_it_as_ever() -> None:
    """A StopIteration of somebody's is no error of a generator of ours."""

    class Stops:
        def __iter__(self) -> Iterator[bytes]:
            raise StopIteration

    with pytest.raises(StopIteration):
        poured(Stops(), 3)


class Odd(bytes):
    def __bool__(self) -> bool:
        raise RuntimeError("nobody asks bytes whether they are true")


def test_r2_of_a_block_only_its_length_is_asked() -> None:
    assert poured([Odd(b"abc"), 5, None, Odd(b"def")], 4) == [b"abc", 5, None, b"d"]


# --- what gunicorn's worker iterates by itself ---


class _Asking:
    """What gunicorn's Response asks of a request."""

    version, headers, path, stream = (1, 1), (), "/", Mock(stream_id=1)

    def __init__(self, method: str) -> None:
        self.method = method

    def should_close(self) -> bool:
        return False


class _Stream:
    """Where HTTP/2 frames go."""

    def __init__(self) -> None:
        self.sent = b""
        self.ended = False

    def end_stream(self, _stream: int, **kwargs: Any) -> bool:
        self.ended = True
        return True

    def send_response_headers(self, *args: Any, **kwargs: Any) -> bool:
        return True

    def send_data(self, _stream: int, data: bytes, **kwargs: Any) -> bool:
        self.sent += data
        return True


class _Worker(base_async.AsyncWorker):  # type: ignore[misc]
    """A worker that serves nobody else; ``told`` is what its hooks are told of."""

    max_requests, nr, alive = 9, 0, True

    def __init__(self, result: Any, length: int) -> None:
        self.cfg, self.log, self.told = Config(), Mock(), list[Any]()
        self.cfg.set("post_request", lambda worker, request, environ, response: self.told.append(response))

        def app(_environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [("Content-Length", str(length))])
            return result

        self.wsgi = self.app_itself = app


@pytest.fixture
def seam() -> Iterator[None]:
    gzc.patch_all(only=["gunicorn", "gunicorn-worker"], stdlib=False)
    yield
    gzc.unpatch_all()


@pytest.fixture
def served(seam: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """As a worker gives what the application returns to ``response``; what its method has said."""

    def serve(response: Any, result: Any, length: int) -> Any:
        worker = _Worker(result, length)
        environ = {"wsgi.file_wrapper": gunicorn.FileWrapper}
        monkeypatch.setattr(base_async.wsgi, "create", lambda *args, **kwargs: (response, environ))
        name = "handle_http2_request" if hasattr(response, "stream_id") else "handle_request"
        rest = [getattr(response, "h2_conn", None)][: name.count("http2")]
        try:
            return getattr(worker, name)("listener", response.req, response.sock, ("127.0.0.1", 1), *rest)
        finally:
            assert worker.told == [response]
            assert worker.log.access.call_count == 1
            assert worker.log.exception.call_count == 0
            assert worker.wsgi is worker.app_itself

    return serve


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_r1_over_http2_nothing_is_taken_beyond_the_promise(
    served: Callable[..., Any], method: str, wrapped: bool
) -> None:
    """There the worker iterates file wrappers, too; the stream is ended, and the connection goes on."""
    if importlib.util.find_spec("gunicorn.http2") is None:
        lacking("this gunicorn has no HTTP/2")
    http2, errors = (importlib.import_module(f"gunicorn.http2.{name}") for name in ("response", "errors"))
    stream = _Stream()
    response = http2.HTTP2Response(_Asking(method), None, Config(), stream, 1)
    with Path("/dev/zero").open("rb") as zero, pytest.raises(errors.HTTP2StreamError, match="promised"):
        served(response, gunicorn.FileWrapper(zero) if wrapped else repeat(bytes(8192)), 10_000)
    assert stream.sent == (bytes(10_000) if method == "GET" else b"")
    assert stream.ended


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("length", [0, 5, 25])
def test_r1_the_workers_loop_ends_and_the_connection_goes_on(
    served: Callable[..., Any], ends: Ends, length: int, closes: bool
) -> None:
    """As after any response: unless the client or the server wants it to end."""
    here, there = ends.tcp()
    peer = ends.reading(there)
    response = gunicorn.Response(_Asking("GET"), here, Config())
    response.must_close = closes
    if closes:
        with pytest.raises(StopIteration):
            served(response, repeat(b"x" * 10), length)
    else:
        assert served(response, repeat(b"x" * 10), length) is True
    here.close()
    assert peer.all().partition(b"\r\n\r\n")[2] == b"x" * length


def test_r1_what_the_application_writes_by_itself_ends_nothing(served: Callable[..., Any], ends: Ends) -> None:
    """gunicorn drops what is too much of it, and goes on."""
    here, there = ends.tcp()
    peer = ends.reading(there)
    response = gunicorn.Response(_Asking("GET"), here, Config())
    done: list[str] = []

    def body() -> Iterator[bytes]:
        yield b"a" * 5
        response.write(b"w" * 9)
        response.write(b"w" * 9)
        done.append("written")

    assert served(response, body(), 8) is True
    here.close()
    assert peer.all().partition(b"\r\n\r\n")[2] == b"aaaaawww"
    assert done == ["written"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_r1_before_gunicorn_dropped_the_body_of_head(served: Callable[..., Any], ends: Ends, method: str) -> None:
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
            arg = arg[: self.response_length - self.sent]
            self.sent += len(arg)
            self.sock.sendall(arg)

    Old.write = _gunicorn_worker.write(Old.write)  # type: ignore[method-assign]
    assert served(Old(_Asking(method), here, Config()), repeat(b"x" * 10), 25) is True
    here.close()
    assert peer.all().partition(b"\r\n\r\n")[2] == (b"x" * 25 if method == "GET" else b"")
