"""Uploads through real servers: the right bytes, spliced, and the connection as it was, request after request.

Rules: each stack runs twice, with gzc and without, once per module. Whatever is asked is asked of both, and the
answers (status, body, the next reply on the connection) must be the same; how the bytes went is asserted by what
gzc counted in the server. Nearly every test asks for one more thing on the same connection, since that is where
one byte too many or too few shows. Ids like O13 are those of the catalogue of hard cases.
"""

import contextlib
import hashlib
import json
import random
import socket
import ssl
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gunicorn.http.body import Body

from .._http import PATIENCE
from .._server import APPS, Folder, Gunicorn

pytestmark = pytest.mark.slow

KIB, MIB = 1 << 10, 1 << 20
NOISE = random.Random(3).randbytes(3 * MIB)
#: What a server may have read ahead while it looked for the end of the headers, in both.
AHEAD = 16 * KIB
#: Up to so many bytes a body keeps its own way, because setting up costs more than it saves.
LEAST = 128 * KIB


def content(size: int) -> bytes:
    return (NOISE * (size // len(NOISE) + 1))[:size]


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


# --- a client that sends what it likes ---


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def answer(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def moved(self) -> dict[str, int]:
        """Bytes by mechanism, as gzc counted them in the server."""
        found: dict[str, int] = json.loads(self.headers["x-moved"])
        return found


class Connection:
    """One connection: raw requests out, replies with a Content-Length in."""

    def __init__(self, server: Gunicorn) -> None:
        assert isinstance(server.address, tuple)
        self.socket = socket.create_connection(server.address, PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pending = b""

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)

    def line(self) -> bytes:
        while b"\r\n" not in self._pending:
            self._receive()
        line, _, self._pending = self._pending.partition(b"\r\n")
        return line

    def reply(self) -> Reply:
        status = int(self.line().split()[1])
        headers = {}
        while line := self.line():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers["content-length"])
        while len(self._pending) < length:
            self._receive()
        body, self._pending = self._pending[:length], self._pending[length:]
        return Reply(status, headers, body)

    def _receive(self) -> None:
        data = self.socket.recv(64 * KIB)
        if not data:
            raise ConnectionError(f"closed after {self._pending!r}")
        self._pending += data

    def at_end(self) -> bool:
        with contextlib.suppress(ConnectionError):
            return not self._pending and self.socket.recv(1) == b""
        return True

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()


def head(target: str, method: str = "PUT", **fields: object) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-').title()}: {value}" for name, value in fields.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def put(target: str, body: bytes) -> bytes:
    return head(target, content_length=len(body)) + body


PID = head("/pid", "GET")


# --- each stack twice ---


class Pywsgi(Gunicorn):
    """gevent.pywsgi alone."""

    def _command(self, app: str, bind: str, options: tuple[str, ...]) -> list[str]:
        return [sys.executable, str(APPS / "pywsgi_server.py"), app]


class Stack:
    """A server with gzc and one without; each is started when it is first asked for."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder
        self._exit = contextlib.ExitStack()
        self._running: dict[bool, Gunicorn] = {}

    def server(self, *, stock: bool = False) -> Gunicorn:
        if stock not in self._running:
            options = ("-k", "gevent_pywsgi") if self.name == "gunicorn -k gevent_pywsgi" else ()
            kind = Pywsgi if self.name == "gevent.pywsgi" else Gunicorn
            server = kind("uploads:app", self._folder, *options, stock=stock)
            self._running[stock] = self._exit.enter_context(server)
        return self._running[stock]

    def both(self, scenario: Callable[[Connection], Any]) -> tuple[Any, Any]:
        """What the scenario gives with gzc and without."""
        found = []
        for stock in (False, True):
            with Connection(self.server(stock=stock)) as connection:
                found.append(scenario(connection))
        return found[0], found[1]

    def stop(self) -> None:
        self._exit.close()


STACKS = ("gunicorn -k gevent", "gunicorn -k gevent_pywsgi", "gevent.pywsgi")


@pytest.fixture(scope="module", params=STACKS)
def stack(request: pytest.FixtureRequest, folder: Folder) -> Iterator[Stack]:
    stack = Stack(request.param, folder.path)
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
def gunicorn(folder: Folder) -> Iterator[Stack]:
    stack = Stack("gunicorn -k gevent", folder.path)
    yield stack
    stack.stop()


def same(ours: Reply, theirs: Reply) -> None:
    assert (ours.status, ours.body) == (theirs.status, theirs.body)


def spliced(reply: Reply, size: int, ahead: int = AHEAD) -> None:
    """Every byte of the body went by splice but those that were read ahead."""
    moved = reply.moved
    if size <= LEAST:
        assert "splice" not in moved
        return
    assert moved.get("splice", 0) >= size - ahead, moved
    assert sum(moved.values()) == size


def saved(reply: Reply, body: bytes) -> None:
    assert reply.status == 200, reply.body
    assert reply.answer == {"size": len(body), "md5": md5(body)}


def uploaded(target: str, body: bytes) -> Callable[[Connection], Reply]:
    """Upload it, and ask for one thing more on the connection."""

    def scenario(connection: Connection) -> Reply:
        connection.send(head(target, content_length=len(body)), body)
        reply = connection.reply()
        connection.send(PID)
        assert connection.reply().status == 200
        return reply

    return scenario


# --- whole bodies ---


@pytest.mark.parametrize("how", ["seam", "copy"])
@pytest.mark.parametrize("size", [0, 1, 10, 64 * KIB + 1, LEAST, LEAST + 1, 3 * MIB])
def test_raw_put(stack: Stack, size: int, how: str) -> None:
    body = content(size)
    ours, theirs = stack.both(uploaded(f"/bare/save?how={how}", body))
    saved(ours, body)
    same(ours, theirs)
    spliced(ours, size)


@pytest.mark.parametrize("size", [1, 10, 5000, 64 * KIB + 1, 3 * LEAST])
def test_body_in_the_segment_of_its_headers_with_the_next_request_behind_it(stack: Stack, size: int) -> None:
    """Bytes of the body and of the next request are in one buffer: D12, O13."""
    first, second = content(size), content(77)

    def scenario(connection: Connection) -> list[Reply]:
        connection.send(put("/bare/save", first) + put("/bare/save?how=copy", second) + PID)
        return [connection.reply() for _ in range(3)]

    ours, theirs = stack.both(scenario)
    for mine, other in zip(ours[:2], theirs, strict=False):
        same(mine, other)
    saved(ours[0], first)
    saved(ours[1], second)
    spliced(ours[0], size)
    assert int(ours[2].body) == stack.server().pid


def test_64_mib(stack: Stack) -> None:
    body = content(64 * MIB)
    with Connection(stack.server()) as connection:
        reply = uploaded("/bare/save", body)(connection)
    saved(reply, body)
    spliced(reply, len(body))


def test_1_gib(gunicorn: Stack) -> None:
    block = content(MIB)
    found = hashlib.md5(usedforsecurity=False)
    with Connection(gunicorn.server()) as connection:
        connection.send(head("/bare/save", content_length=1024 * MIB))
        for _ in range(1024):
            connection.send(block)
            found.update(block)
        reply = connection.reply()
    assert reply.answer == {"size": 1024 * MIB, "md5": found.hexdigest()}
    spliced(reply, 1024 * MIB)


@pytest.mark.parametrize("how", ["seam", "copy"])
@pytest.mark.parametrize(
    "target",
    ["/flask/stream", "/flask/environ", "/flask/most", "/django/request", "/django/environ"],
)
def test_frameworks(stack: Stack, target: str, how: str) -> None:
    body = content(3 * MIB)
    ours, theirs = stack.both(uploaded(f"{target}?how={how}&most={4 * MIB}", body))
    saved(ours, body)
    same(ours, theirs)
    spliced(ours, len(body))


@pytest.mark.parametrize("target", ["/bare/save", "/flask/stream", "/flask/most", "/django/request"])
@pytest.mark.parametrize("before", ["first=1000", "first=100000", "line=1", "line=1&first=5000", "first=200000"])
def test_application_reads_a_part_itself_before(stack: Stack, target: str, before: str) -> None:
    """What its reads left in the server's buffers comes first (D12); gunicorn reads up to 1 MiB ahead of them."""
    body = content(3 * MIB)
    ours, theirs = stack.both(uploaded(f"{target}?{before}&most={3 * MIB + 1}", body))
    saved(ours, body)
    same(ours, theirs)
    assert ours.moved["splice"] > MIB


def test_body_in_tiny_pieces(stack: Stack) -> None:
    body = content(LEAST + 10_000)
    sizes = random.Random(4)

    def scenario(connection: Connection) -> Reply:
        connection.send(head("/bare/save", content_length=len(body)))
        at = 0
        while at < len(body):
            size = sizes.choice([1, 2, 100, 1000, 3000])
            connection.send(body[at : at + size])
            at += size
        reply = connection.reply()
        connection.send(PID)
        assert connection.reply().status == 200
        return reply

    ours, theirs = stack.both(scenario)
    saved(ours, body)
    same(ours, theirs)
    spliced(ours, len(body))


# --- the old way ---


def chunked(body: bytes, step: int) -> bytes:
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])


@pytest.mark.parametrize(
    "target", ["/bare/save?how=copy", "/bare/save", "/flask/stream", "/flask/most?most=99999999", "/django/environ"]
)
def test_chunked_body_keeps_its_own_way(stack: Stack, target: str) -> None:
    body = content(200 * KIB)

    def scenario(connection: Connection) -> Reply:
        connection.send(head(target, transfer_encoding="chunked") + chunked(body, 70_000) + PID)
        reply = connection.reply()
        assert connection.reply().status == 200
        return reply

    ours, theirs = stack.both(scenario)
    saved(ours, body)
    same(ours, theirs)
    assert "splice" not in ours.moved


def test_tls_keeps_its_own_way(folder: Folder, certificates: tuple[ssl.SSLContext, list[str]]) -> None:
    body = content(200 * KIB)
    context, options = certificates
    with Gunicorn("uploads:app", folder.path, *options, stock=False, tls=context) as server:
        connection = Connection(server)
        connection.socket = context.wrap_socket(connection.socket, server_hostname="localhost")
        with connection:
            reply = uploaded("/bare/save?how=copy", body)(connection)
    saved(reply, body)
    assert "splice" not in reply.moved


@pytest.mark.parametrize("target", ["/flask/form", "/django/form"])
def test_multipart_forms(stack: Stack, target: str) -> None:
    file = content(MIB)
    parts = [
        b'--limes\r\nContent-Disposition: form-data; name="text"\r\n\r\nhello\r\n',
        b'--limes\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + file + b"\r\n--limes--\r\n",
    ]
    body = b"".join(parts)

    def scenario(connection: Connection) -> Reply:
        fields = {"content_length": len(body), "content_type": "multipart/form-data; boundary=limes"}
        connection.send(head(target, "POST", **fields) + body + PID)
        reply = connection.reply()
        assert connection.reply().status == 200
        return reply

    ours, theirs = stack.both(scenario)
    assert ours.answer == {"md5": md5(file), "text": "hello"}
    same(ours, theirs)


# --- Expect: 100-continue ---


@pytest.mark.parametrize("target", ["/bare/save", "/bare/save?how=copy", "/flask/most?most=9999999", "/django/request"])
def test_100_continue_is_sent_before_the_first_byte_is_taken(stack: Stack, target: str) -> None:
    body = content(2 * LEAST)

    def scenario(connection: Connection) -> tuple[bytes, Reply]:
        connection.send(head(target, content_length=len(body), expect="100-continue"))
        told = connection.line()
        assert connection.line() == b""
        connection.send(body, PID)
        reply = connection.reply()
        assert connection.reply().status == 200
        return told, reply

    ours, theirs = stack.both(scenario)
    assert ours[0].startswith(b"HTTP/1.1 100 ")
    assert ours[0] == theirs[0]
    saved(ours[1], body)
    same(ours[1], theirs[1])
    spliced(ours[1], len(body), ahead=0)


def test_explain_asks_the_client_for_nothing(stack: Stack) -> None:
    """pywsgi asks for the body when somebody reads it; gunicorn has asked before the application runs."""

    def scenario(connection: Connection) -> bytes:
        connection.send(head("/bare/save?how=explain", content_length=300_000, expect="100-continue"))
        return connection.line()

    ours, theirs = stack.both(scenario)
    assert ours == theirs
    with Connection(stack.server()) as connection:
        connection.send(head("/bare/last", "GET"))
        assert connection.reply().answer["plan"] == "splice"


# --- what goes wrong ---


@pytest.mark.parametrize("how", ["seam", "copy"])
@pytest.mark.parametrize(
    "target",
    ["/bare/save", "/flask/stream", "/flask/most", "/django/request", "/django/environ"],
)
def test_client_ends_its_half_in_the_middle_of_the_body(stack: Stack, target: str, how: str) -> None:
    """A short body is answered as ever: by what the last ``read`` gives or raises (X4)."""

    def scenario(connection: Connection) -> tuple[Reply, bool]:
        connection.send(head(f"{target}?how={how}&most={MIB}&catch=1", content_length=300_000), content(200_000))
        connection.socket.shutdown(socket.SHUT_WR)
        return connection.reply(), connection.at_end()

    ours, theirs = stack.both(scenario)
    assert ours[0].status == theirs[0].status
    assert ours[0].answer.get("error") == theirs[0].answer.get("error")
    assert ours[1] == theirs[1]
    assert (ours[0].answer["size"], ours[0].answer["md5"]) == (200_000, md5(content(200_000)))


@pytest.mark.parametrize("target", ["/bare/save", "/flask/most", "/django/request"])
def test_client_dies_in_the_middle_of_the_body(stack: Stack, target: str) -> None:
    """An RST, while the copy waits: the exception is the one that ``read`` raises, from ClientDisconnected on."""
    answers = []
    for stock in (False, True):
        server = stack.server(stock=stock)
        with Connection(server) as probe, Connection(server) as connection:
            connection.send(head(f"{target}?most={MIB}&catch=1&tell=1", content_length=400_000), content(200_000))
            probe.send(head("/bare/begun", "GET"))
            assert probe.reply().answer["begun"]
            connection.reset()
            probe.send(head("/bare/ended", "GET"))
            answers.append(probe.reply().answer)
    ours, theirs = answers
    assert ours["error"] == theirs["error"] != ""
    assert ours["failed"] == theirs["failed"]


@pytest.mark.parametrize("how", ["seam", "copy"])
@pytest.mark.parametrize(("by", "error"), [("socket", "TimeoutError"), ("greenlet", "Timeout")])
def test_pause_longer_than_the_timeout(stack: Stack, by: str, error: str, how: str) -> None:
    """Counters are exact after an interruption: plain reads go on with the right next byte (D7, G3)."""
    body = content(400_000)
    with Connection(stack.server()) as connection, Connection(stack.server()) as other:
        connection.send(head(f"/bare/interrupted?by={by}&how={how}", content_length=len(body)), body[:250_000])
        other.send(head("/bare/struck", "GET"))
        assert other.reply().answer["struck"]
        connection.send(body[250_000:])
        reply = connection.reply()
    assert reply.answer == {"error": error, "early": 250_000, "size": len(body), "md5": md5(body)}
    assert reply.moved["splice"] >= 250_000 - AHEAD


@pytest.mark.parametrize("by", ["socket", "greenlet"])
def test_connection_after_an_interruption(gunicorn: Stack, by: str) -> None:
    """gunicorn >= 27 reuses it after a greenlet's timeout, and not after an error of the socket."""
    marks = "failed" in Body.__init__.__code__.co_names
    body = content(400_000)
    ends = []
    for stock in (False, True) if marks else (False,):  # before it lost the bytes read until then, and waited for ever
        server = gunicorn.server(stock=stock)
        with Connection(server) as connection, Connection(server) as other:
            connection.send(head(f"/bare/interrupted?by={by}", content_length=len(body)), body[:250_000])
            other.send(head("/bare/struck", "GET"))
            assert other.reply().answer["struck"]
            connection.send(body[250_000:])
            assert connection.reply().answer["md5"] == md5(body)
            connection.send(PID)
            try:
                ends.append(connection.reply().status)
            except ConnectionError:
                ends.append(0)
    assert set(ends) == {0 if marks and by == "socket" else 200}


@pytest.mark.parametrize("how", ["seam", "copy"])
def test_sink_that_fails_leaves_the_rest_of_the_body(stack: Stack, how: str) -> None:
    """ENOSPC after a step: that step is lost as in a loop, the rest is there, and so is the next request (D6, D9)."""
    body = content(MIB)
    ours, theirs = stack.both(uploaded(f"/bare/save?how={how}&sink=full&catch=1", body))
    assert ours.answer["error"] == theirs.answer["error"] == "OSError"
    assert ours.answer["rest is there"]


@pytest.mark.parametrize("how", ["seam", "copy"])
@pytest.mark.parametrize("size", [300_000, 300_001, 600_000])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_more_than_max_content_length(stack: Stack, size: int, framing: str, how: str) -> None:
    """At the limit Werkzeug's own code decides (413), whichever way the bytes before it went."""
    body = content(size)

    def scenario(connection: Connection) -> Reply:
        target = f"/flask/most?most=300000&how={how}"
        if framing == "chunked":
            connection.send(head(target, transfer_encoding="chunked") + chunked(body, 50_000))
        else:
            connection.send(put(target, body))
        return connection.reply()

    ours, theirs = stack.both(scenario)
    same(ours, theirs)
    assert ours.status == 413 or size == 300_000


def test_django_knows_that_its_stream_was_read(stack: Stack) -> None:
    ours, theirs = stack.both(uploaded("/django/late?how=copy", content(300_000)))
    same(ours, theirs)
    assert ours.answer["late"] == "RawPostDataException"


def test_worker_lives(stack: Stack) -> None:
    """After all of the above the same process serves."""
    with Connection(stack.server()) as connection:
        connection.send(PID)
        assert int(connection.reply().body) == stack.server().pid
