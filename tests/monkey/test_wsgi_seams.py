"""The seams for WSGI responses, in this process: descriptions, file wrappers, and a gevent.pywsgi that nobody has
monkey-patched.

Rules: real sockets and files; a description is compared with the iteration it stands for, both in the bytes and in
the state it leaves behind. The stacks of servers and frameworks are in test_wsgi_downloads.
"""

import errno
import io
import re
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref import handlers
from wsgiref import util as wsgiref_util

import bottle
import gevent
import pytest
import sentry_sdk.integrations.wsgi as sentry
import werkzeug.wsgi
import whitenoise.responders
from django.core.files import File
from gevent import pywsgi
from gevent import socket as gsocket
from gevent import ssl as gssl
from gevent.event import Event
from gunicorn.config import Config
from gunicorn.http import wsgi as gunicorn

import gzc

from .._ends import KIB, MIB, PATIENCE, Ends, open_fds_unchanged, payload
from .._inside import FileWrapper, _claims, _send_file

SIZE = 300_001


@pytest.fixture(autouse=True)
def patched() -> Iterator[None]:
    """All seams but those that would monkey-patch pytest's own process; and the description of wsgiref's wrapper."""
    gzc.patch_all(stdlib=False)
    gzc.monkey.patch("socketserver")
    gzc.monkey.patch("wsgiref")
    assert {"pywsgi", "gunicorn", "wsgiref", "werkzeug", "whitenoise", "bottle", "django", "sentry"} <= set(
        gzc.patched()
    )
    yield
    gzc.unpatch_all()
    assert gzc.patched() == ()


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    with Ends(tmp_path) as ends:
        yield ends


# --- descriptions ---

WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "pywsgi": FileWrapper,
    "gunicorn": gunicorn.FileWrapper,
    "wsgiref": wsgiref_util.FileWrapper,
    "werkzeug": werkzeug.wsgi.FileWrapper,
}


def in_scope(response: Any) -> Any:
    return sentry._ScopedResponse(sentry.sentry_sdk.get_isolation_scope(), response)


PARTS: dict[str, Callable[[Any, int, int], Any]] = {
    **{
        f"werkzeug range of {name}": lambda file, start, count, wrap=wrap: werkzeug.wsgi._RangeWrapper(
            wrap(file), start, count
        )
        for name, wrap in WRAPPERS.items()
    },
    "whitenoise": lambda file, start, count: FileWrapper(
        whitenoise.responders.SlicedFile(file, start, start + count - 1)
    ),
    "bottle": lambda file, start, count: FileWrapper(
        bottle._closeiter(bottle._rangeiter(file, start, count), file.close)
    ),
    "sentry": lambda file, start, count: in_scope(werkzeug.wsgi._RangeWrapper(FileWrapper(file), start, count)),
    "django": lambda file, start, count: werkzeug.wsgi._RangeWrapper(FileWrapper(File(file)), start, count),
}

RANGES = [(0, 1), (0, SIZE), (1, 99), (4097, 200_000), (SIZE - 1, 1), (SIZE - 10, 10), (100_000, 900_000)]


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize(("start", "count"), RANGES)
def test_a_part_of_a_file_is_sent_as_it_would_be_iterated(ends: Ends, name: str, start: int, count: int) -> None:
    content = payload(SIZE)
    make = PARTS[name]
    iterated = b"".join(make(ends.file(content), start, count))
    part = make(ends.file(content), start, count)
    source = _send_file.described(part)
    assert source is not None
    here, there = ends.tcp()
    peer = ends.reading(there)
    expected = len(content[start : start + count])
    assert gzc.explain(source, here).mechanism == ("sendfile" if expected > gzc.config.small else "userspace")
    assert gzc.copy(source, here) == expected
    here.close()
    assert peer.all() == content[start : start + count] == iterated
    assert list(part) == []  # iterating goes on where the transfer ended


@pytest.mark.parametrize("name", PARTS)
def test_an_interrupted_part_goes_on_where_it_stopped(ends: Ends, name: str) -> None:
    """Iteration after an interruption gives exactly what was not sent."""
    content = payload(4 * MIB)
    part = PARTS[name](ends.file(content), 1000, 3 * MIB)
    here, _ = ends.unix()
    with pytest.raises(gevent.Timeout) as caught, gevent.Timeout(0.05):
        gzc.copy(_send_file.described(part), here)
    moved = caught.value.transfer.moved  # type: ignore[attr-defined]
    assert 0 < moved < 3 * MIB
    assert b"".join(part) == content[1000 + moved : 1000 + 3 * MIB]


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_is_a_good_iterable(ends: Ends, name: str) -> None:
    content = payload(SIZE)
    file = ends.file(content)
    wrapper = WRAPPERS[name](file)
    assert wrapper.seekable()
    wrapper.seek(10)
    assert wrapper.tell() == file.tell() == 10
    assert iter(wrapper) is wrapper
    assert b"".join(wrapper) == content[10:]
    if name != "werkzeug":
        assert wrapper.fileno() == file.fileno()
    wrapper.close()
    assert file.closed


def test_a_wrapper_needs_no_more_than_read(ends: Ends) -> None:
    class Readable:
        def __init__(self) -> None:
            self.asked: list[int] = []

        def read(self, size: int) -> bytes:
            self.asked.append(size)
            return b"x" * size if len(self.asked) < 3 else b""

    readable = Readable()
    wrapper = FileWrapper(readable, 4096)
    assert not hasattr(wrapper, "close")
    assert not wrapper.seekable()
    assert len(b"".join(wrapper)) == 2 * 4096
    assert readable.asked == [4096] * 3  # X9: a larger block might have to be waited for


def test_a_pipe_is_read_in_the_blocks_asked_for(ends: Ends) -> None:
    """X9: a larger block would hold back what has come already."""
    here, there = ends.unix()
    wrapper = FileWrapper(here.makefile("rb"), 8)
    there.sendall(b"12345678")
    with gevent.Timeout(PATIENCE):
        assert next(iter(wrapper)) == b"12345678"


def test_what_can_seek_is_read_in_larger_blocks(ends: Ends) -> None:
    """What Django asks for, 4096, would be 16 times as many."""
    for file in (io.BytesIO(bytes(64 * KIB)), ends.file(bytes(64 * KIB))):
        assert len(next(iter(FileWrapper(file, 4096)))) == 64 * KIB


class Refusing(io.BytesIO):
    """A file that answers a question with an exception."""

    refused = ""

    def __getattribute__(self, name: str) -> Any:
        if name in ("seek", "tell", "seekable") and name in object.__getattribute__(self, "refused"):
            raise NotImplementedError(name)
        return super().__getattribute__(name)


@pytest.mark.parametrize("refused", ["seek", "tell", "seekable", "seek tell"])
@pytest.mark.parametrize("name", ["pywsgi", "gunicorn", "wsgiref"])
def test_r2_a_range_of_what_refuses_to_seek_is_read(name: str, refused: str) -> None:
    """By Werkzeug, which would not have asked the server's own wrapper, and by WebOb."""
    content = payload(SIZE)

    def wrapped() -> Any:
        file = Refusing(content)
        file.refused = refused
        return WRAPPERS[name](file)

    assert b"".join(werkzeug.wsgi._RangeWrapper(wrapped(), 100_000, 1000)) == content[100_000:101_000]
    assert b"".join(wrapped().app_iter_range(100_000, 101_000)) == content[100_000:101_000]


class Rewinding(io.BytesIO):
    """Says that it cannot seek; its ``seek`` without a number goes to the beginning."""

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int | None = None, whence: int = 0) -> int:  # type: ignore[override]
        return super().seek(offset or 0, whence)


@pytest.mark.parametrize("name", ["pywsgi", "gunicorn", "wsgiref"])
def test_r2_what_has_no_position_is_not_asked_to_go_there(name: str) -> None:
    content = payload(SIZE)
    file = Rewinding(content)
    file.read(10)
    assert b"".join(werkzeug.wsgi._RangeWrapper(WRAPPERS[name](file), 1000, 99)) == content[1010:1109]


class Shouting(gunicorn.FileWrapper):  # type: ignore[misc]
    """Somebody's wrapper that changes the bytes."""

    def __next__(self) -> bytes:
        return self.filelike.read(self.blksize).upper() or self.stop()  # type: ignore[no-any-return]

    def stop(self) -> bytes:
        raise StopIteration


class Stepping(werkzeug.wsgi._RangeWrapper):
    """Somebody's range that changes the bytes in one of its steps."""

    def _next_chunk(self) -> bytes:
        return super()._next_chunk().upper()


def begun(file: Any) -> Any:
    part = werkzeug.wsgi._RangeWrapper(FileWrapper(file), 10, 200_000)
    next(part)
    return part


def bare(cls: type) -> Any:
    """An instance that has none of the attributes known here, as another version may have others."""
    return cls.__new__(cls)


NOT_DESCRIBED: dict[str, Callable[[Any], Any]] = {
    "list": lambda file: [b"x"],
    "generator": lambda file: (block for block in file),
    "the file itself": lambda file: file,
    "Django's file itself": File,
    "memory": lambda file: FileWrapper(io.BytesIO(b"x")),
    "text": lambda file: FileWrapper(io.StringIO("x")),
    "an overridden wrapper": Shouting,
    "a range that was begun": begun,
    "a range of what cannot seek": lambda file: werkzeug.wsgi._RangeWrapper((b for b in file), 1, 9),
    "a range with a step of somebody's own": lambda file: Stepping(FileWrapper(file), 10, 200_000),
    "a range of memory": lambda file: werkzeug.wsgi._RangeWrapper(FileWrapper(io.BytesIO(b"x" * 99)), 1, 9),
    "a scope around Django's file itself": lambda file: in_scope(File(file)),
    "a scope around a list": lambda file: in_scope([b"x"]),
    "a scope around an overridden wrapper": lambda file: in_scope(Shouting(file)),
    "Werkzeug's range of another version": lambda file: bare(werkzeug.wsgi._RangeWrapper),
    "WhiteNoise's slice of another version": lambda file: FileWrapper(bare(whitenoise.responders.SlicedFile)),
    "another generator of Bottle's": lambda file: bottle._closeiter(iter([b"x"]), file.close),
}


@pytest.mark.parametrize("name", NOT_DESCRIBED)
def test_what_is_not_known_is_iterated(ends: Ends, name: str) -> None:
    """O7, O9: nothing goes below what nobody vouches for, or what is not a plain part of a file any more."""
    assert _send_file.described(NOT_DESCRIBED[name](ends.file(payload(SIZE)))) is None


def test_bottles_range_of_what_cannot_seek_fails_as_ever() -> None:
    """When it is iterated, and not before."""
    part = bottle._rangeiter(type("Readable", (), {"read": lambda self, size: b"x"})(), 1, 9)
    with pytest.raises(AttributeError, match="seek"):
        next(iter(part))


def test_a_tracer_around_a_method_takes_the_description_back(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    part = werkzeug.wsgi._RangeWrapper(FileWrapper(ends.file(payload(SIZE))), 10, 200_000)
    assert _send_file.described(part) is not None
    plain = werkzeug.wsgi._RangeWrapper.__next__

    def traced(self: Any) -> bytes:
        block: bytes = plain(self)
        return block

    monkeypatch.setattr(werkzeug.wsgi._RangeWrapper, "__next__", traced)
    assert _send_file.described(part) is None


def test_gunicorn_recognizes_ranges_and_nothing_else(ends: Ends) -> None:
    """gunicorn asks isinstance(result, environ["wsgi.file_wrapper"])."""
    from gunicorn.config import Config

    wrapper = gunicorn.base_environ(Config())["wsgi.file_wrapper"]
    assert issubclass(wrapper, gunicorn.FileWrapper)
    assert wrapper is gunicorn.base_environ(Config())["wsgi.file_wrapper"]
    file = ends.file(payload(SIZE))
    for result in (wrapper(file), gunicorn.FileWrapper(file), Shouting(file), wrapper(io.BytesIO())):
        assert isinstance(result, wrapper)
    assert isinstance(werkzeug.wsgi._RangeWrapper(wrapper(file), 10, 100), wrapper)
    assert isinstance(in_scope(wrapper(file)), wrapper)
    for name in ("list", "generator", "the file itself", "a range of memory", "a scope around a list"):
        assert not isinstance(NOT_DESCRIBED[name](file), wrapper)


# --- gevent.pywsgi, with the standard library as it is ---

Application = Callable[[dict[str, Any], Callable[..., Any]], Any]


class Server:
    """A pywsgi server in this process, and one client connection."""

    def __init__(
        self, app: Application, handler: type = pywsgi.WSGIHandler, certificates: Any = None, **options: Any
    ) -> None:
        self.lines: list[str] = []
        self.errors = io.StringIO()
        if certificates is not None:
            _, (_, certificate, _, key) = certificates
            options["ssl_context"] = gssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            options["ssl_context"].load_cert_chain(certificate, key)
        self.wsgi = pywsgi.WSGIServer(
            ("127.0.0.1", 0), app, log=self, error_log=self.errors, handler_class=handler, **options
        )
        self.wsgi.start()
        self.client = gsocket.create_connection(("127.0.0.1", self.wsgi.server_port))
        self.client.settimeout(PATIENCE)
        if certificates is not None:
            context = gssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.client = context.wrap_socket(self.client)

    def write(self, line: str) -> None:
        self.lines.append(line)

    def ask(self, target: str = "/", method: str = "GET", version: str = "1.1") -> None:
        self.client.sendall(f"{method} {target} HTTP/{version}\r\nHost: localhost\r\n\r\n".encode())

    def answer(self) -> tuple[bytes, bytes]:
        """Head and body up to the end of the connection."""
        whole = b"".join(iter(lambda: self.client.recv(1 << 16), b""))
        head, _, body = whole.partition(b"\r\n\r\n")
        return head, body

    def close(self) -> None:
        self.client.close()
        self.wsgi.stop(timeout=1)


def serving(path: Path, *headers: tuple[str, str]) -> Application:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [*headers, ("Connection", "close")])
        return environ["wsgi.file_wrapper"](path.open("rb"))

    return app


@pytest.mark.parametrize("handler", ["plain", "websocket"])
def test_pywsgi_without_monkey_patching(ends: Ends, handler: str) -> None:
    """Also with a handler that overrides run_application, as geventwebsocket's does."""
    assert socket.socket is not gsocket.socket

    class WebSocketLike(pywsgi.WSGIHandler):
        def run_application(self) -> None:
            if self.environ.get("HTTP_UPGRADE") == "websocket":
                raise AssertionError
            super().run_application()

    content = payload(MIB + 3)
    server = ends.keep(
        Server(serving(ends.path(content)), WebSocketLike if handler == "websocket" else pywsgi.WSGIHandler)
    )
    with gzc.trace() as trace:
        server.ask()
        head, body = server.answer()
    assert b"Content-Length: 1048579" in head
    assert body == content
    assert trace.bytes["sendfile"] == len(content)
    assert server.lines[0].split('"')[2].split()[:2] == ["200", str(len(head) + 4 + len(body))]


def test_a_file_after_write_goes_in_chunks(ends: Ends) -> None:
    """R10: none of them larger than 256 KiB."""
    content = payload(MIB + 3)
    path = ends.path(content)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [("Connection", "close")])(b"before")
        return environ["wsgi.file_wrapper"](path.open("rb"))

    server = ends.keep(Server(app))
    with gzc.trace() as trace:
        server.ask()
        _, body = server.answer()
    assert body.startswith(b"6\r\nbefore\r\n")
    assert body.endswith(b"\r\n0\r\n\r\n")
    chunks = list(unchunked(body))
    assert b"".join(chunks) == b"before" + content
    assert max(map(len, chunks)) <= 256 * KIB
    assert trace.bytes["sendfile"] == len(content)


def unchunked(body: bytes) -> Iterator[bytes]:
    """The chunks of a chunked body."""
    while True:
        size, _, body = body.partition(b"\r\n")
        chunk, end = body[: int(size, 16)], body[int(size, 16) :]
        assert end.startswith(b"\r\n")
        if not chunk:
            return
        yield chunk
        body = end[2:]


@pytest.mark.parametrize("header", [("Content-Length", "many"), ("Transfer-Encoding", "identity")])
def test_a_length_that_is_not_known_leaves_the_body_to_pywsgi(ends: Ends, header: tuple[str, str]) -> None:
    """What is no number; and the application that frames its body itself."""
    content = payload(MIB + 3)
    server = ends.keep(Server(serving(ends.path(content), header)))
    with gzc.trace() as trace:
        server.ask(version="1.0")
        head, body = server.answer()
    assert ": ".join(header).encode() in head
    assert body == content
    assert not trace.bytes["sendfile"]


def test_headers_that_are_out_already_are_not_sent_again_for_head(ends: Ends) -> None:
    path = ends.path(payload(MIB))

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [("Connection", "close"), ("Content-Length", str(MIB))])(b"")
        return environ["wsgi.file_wrapper"](path.open("rb"))

    server = ends.keep(Server(app))
    server.ask(method="HEAD")
    head, body = server.answer()
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert body == b""


Start = Callable[..., Any]


def lazily(start_response: Start) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"first"
    yield b""
    yield b"second"


def lazily_a_file(start_response: Start, wrapper: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    yield from wrapper(io.BytesIO(b"bytes"))


def after_an_error(start_response: Start) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "99")])
    try:
        raise ValueError("changed its mind")
    except ValueError:
        start_response("503 Later", [("Content-Length", "5")], sys.exc_info())
    return [b"later"]


def failing(start_response: Start, blocks: int) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "99")])
    yield from [b"block"] * blocks
    raise ValueError("failed, as it should")


def writing(start_response: Start, *rest: bytes) -> list[bytes]:
    start_response("200 OK", [])(b"written")
    return list(rest)


def saying(start_response: Start, status: str, *blocks: bytes) -> list[bytes]:
    start_response(status, [])
    return list(blocks)


#: What applications do that have no file in their hands; each makes a response of `start_response` and the wrapper.
ORDINARY: dict[str, Callable[[Start, Any], Any]] = {
    "a generator": lambda start, wrapper: lazily(start),
    "a generator of a file": lazily_a_file,
    "a list made by a generator": lambda start, wrapper: list(lazily(start)),
    "middleware around a generator": lambda start, wrapper: (block.upper() for block in lazily(start)),
    "no start_response": lambda start, wrapper: [b"x"],
    "no start_response, and nothing": lambda start, wrapper: [],
    "no start_response, and a file": lambda start, wrapper: wrapper(io.BytesIO(b"x")),
    "another status after an error": lambda start, wrapper: after_an_error(start),
    "an error before the first block": lambda start, wrapper: failing(start, 0),
    "an error after the first block": lambda start, wrapper: failing(start, 1),
    "write": lambda start, wrapper: writing(start, b"returned"),
    "write, and nothing else": lambda start, wrapper: writing(start),
    "nothing": lambda start, wrapper: saying(start, "200 OK"),
    "204": lambda start, wrapper: saying(start, "204 No Content"),
    "304": lambda start, wrapper: saying(start, "304 Not Modified"),
}

FAILING = {"no start_response", "no start_response, and a file", "an error before the first block"}


def responses(app: Application, *asked: tuple[str, str, str]) -> bytes:
    """Everything that comes for the requests on one connection, but for the time of day."""
    server = Server(app)
    try:
        for target, method, version in asked:
            server.ask(target, method, version)
        server.client.shutdown(socket.SHUT_WR)
        return re.sub(rb"Date: [^\r]*\r\n", b"", b"".join(iter(lambda: server.client.recv(1 << 16), b"")))
    finally:
        server.close()


def ordinary(name: str, before: str, method: str) -> list[bytes]:
    """What comes for ``name`` on a connection that has had ``before``, in both versions of HTTP."""

    def app(environ: dict[str, Any], start_response: Start) -> Any:
        make = ORDINARY[before if environ["PATH_INFO"] == "/before" else name]
        return make(start_response, environ.get("wsgi.file_wrapper", wsgiref_util.FileWrapper))

    first = [] if before == "nothing at all" else [("/before", "GET", "1.1")]
    return [responses(app, *first, ("/", method, version)) for version in ("1.1", "1.0")]


befores = pytest.mark.parametrize("before", ["nothing at all", "204", "304", "a generator"])


@befores
@pytest.mark.parametrize("name", ORDINARY)
def test_what_is_no_file_is_answered_as_by_plain_pywsgi(
    monkeypatch: pytest.MonkeyPatch, name: str, before: str
) -> None:
    """Whenever start_response is called, and whatever the request before on this connection left behind."""
    monkeypatch.setattr(gevent.get_hub(), "print_exception", lambda *args: None)
    patched = ordinary(name, before, "GET")
    gzc.unpatch_all()
    assert patched == ordinary(name, before, "GET")
    assert (b"500 Internal" in patched[0]) == (name in FAILING)


@befores
@pytest.mark.parametrize("name", ORDINARY)
def test_head_of_what_is_no_file_has_plain_pywsgis_headers_alone(
    monkeypatch: pytest.MonkeyPatch, name: str, before: str
) -> None:
    """R1: plain pywsgi sends the body as well, which is then taken for the next response."""
    monkeypatch.setattr(gevent.get_hub(), "print_exception", lambda *args: None)
    patched = ordinary(name, before, "HEAD")
    gzc.unpatch_all()
    plain = ordinary(name, before, "HEAD")
    if name.startswith(("write", "no start_response")) or name in FAILING:  # the application's own; pywsgi's own
        assert patched == plain
        return
    for mine, whole in zip(patched, plain, strict=True):
        head = whole[: whole.rindex(b"HTTP/1.1 ")] + whole[whole.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")[0]
        assert mine == head + b"\r\n\r\n"


def framing(start_response: Start, blocks: Any) -> Any:
    start_response("200 OK", [("Content-Length", "5"), ("Transfer-Encoding", "chunked")])
    return blocks


@pytest.mark.parametrize("kind", [list, iter])
def test_a_body_that_the_application_frames_is_not_cut(kind: Any) -> None:
    """Also beside a Content-Length: clients go by the Transfer-Encoding then (RFC 9112, 6.3)."""
    chunks = [b"5\r\nabcde\r\n", b"0\r\n\r\n"]
    whole = responses(lambda environ, start: framing(start, kind(chunks)), ("/", "GET", "1.1"))
    assert whole.partition(b"\r\n\r\n")[2] == b"".join(chunks)


def writes_between(start_response: Start) -> Iterator[bytes]:
    write = start_response("200 OK", [("Content-Length", "14")])
    yield b"a" * 5
    write(b"w" * 5)
    yield b"b"
    write(b"w")
    yield b"c" * 5


def test_r1_what_the_application_writes_between_two_blocks_counts(ends: Ends) -> None:
    """The next response begins where the promise of this one ends."""

    def app(environ: dict[str, Any], start_response: Start) -> Any:
        if environ.get("PATH_INFO") == "/last":
            return saying(start_response, "200 OK", b"last")
        return writes_between(start_response)

    whole = responses(app, ("/", "GET", "1.1"), ("/last", "GET", "1.1"))
    assert whole.partition(b"\r\n\r\n")[2].startswith(b"aaaaawwwwwbwccHTTP/1.1 200 OK\r\n")
    assert Handler(ends).answer(app)[1] == b"aaaaawwwwwbwcc"


class Generous(io.BytesIO):
    """Gives more than it is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read()


@pytest.mark.parametrize("wrapped_by", ["the server", "a subclass"])
def test_a_read_that_gives_more_does_not_reach_the_next_response(wrapped_by: str) -> None:
    def app(environ: dict[str, Any], start_response: Start) -> Any:
        if environ["PATH_INFO"] == "/last":
            return saying(start_response, "200 OK", b"last")
        start_response("200 OK", [("Content-Length", "10")])
        wrapper = environ["wsgi.file_wrapper"]
        return (wrapper if wrapped_by == "the server" else type("Own", (wrapper,), {}))(Generous(b"Z" * 50))

    whole = responses(app, ("/", "GET", "1.1"), ("/last", "GET", "1.1"))
    assert whole.partition(b"\r\n\r\n")[2].startswith(b"Z" * 10 + b"HTTP/1.1 200 OK\r\n")


class SeesAll(pywsgi.WSGIHandler):
    seen = 0

    def _sendall(self, data: bytes) -> None:
        SeesAll.seen += len(data)
        super()._sendall(data)


def test_a_handler_that_overrides_writing_sees_every_byte(ends: Ends) -> None:
    content = payload(MIB + 3)
    server = ends.keep(Server(serving(ends.path(content), ("Content-Length", str(len(content)))), SeesAll))
    with gzc.trace() as trace:
        server.ask()
        head, body = server.answer()
    assert body == content
    assert SeesAll.seen == len(head) + 4 + len(body)
    assert not trace.bytes["sendfile"]


def test_a_socket_of_somebodys_own_is_used_as_pywsgi_uses_it(ends: Ends) -> None:
    class Wrapped:
        def __init__(self, sock: Any) -> None:
            self._inner = sock

        def sendall(self, data: bytes) -> None:
            self._inner.sendall(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    class OnWrapped(pywsgi.WSGIHandler):
        def run_application(self) -> None:
            self.socket = Wrapped(self.socket)
            super().run_application()

    content = payload(MIB + 3)
    server = ends.keep(Server(serving(ends.path(content)), OnWrapped))
    server.ask()
    assert server.answer()[1] == content


def test_the_users_own_wrapper_is_kept(ends: Ends) -> None:
    """Its iteration is used, and no body is sent for HEAD."""

    class Mine:
        def __init__(self, filelike: Any) -> None:
            self.filelike, self.close = filelike, filelike.close

        def __iter__(self) -> Iterator[bytes]:
            yield self.filelike.read().swapcase()

    path = ends.path(b"abc" * 99_999)
    for method, expected in (("GET", b"ABC" * 99_999), ("HEAD", b"")):
        app = serving(path, ("Content-Length", "299997"))
        server = ends.keep(Server(app, environ={"wsgi.file_wrapper": Mine}))
        server.ask(method=method)
        head, body = server.answer()
        assert b"Content-Length: 299997" in head
        assert body == expected


def test_tls_goes_its_old_way(ends: Ends, certificates: tuple[ssl.SSLContext, list[str]]) -> None:
    """P9, O10: no plaintext on the wire."""
    _, (_, certificate, _, key) = certificates
    content = payload(MIB + 3)
    context = gssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ends.keep(Server(serving(ends.path(content)), ssl_context=context))
    client = gssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    server.client = client.wrap_socket(server.client)
    with gzc.trace() as trace:
        server.ask(version="1.0")
        _, body = server.answer()
    assert body == content
    assert not trace.bytes["sendfile"]


@pytest.mark.parametrize("surplus", [-1, 1000])
def test_tls_keeps_to_the_promised_length(
    ends: Ends, certificates: tuple[ssl.SSLContext, list[str]], surplus: int
) -> None:
    """X4: a shorter file ends the connection, and the rest of a longer one is not the head of the next reply."""
    _, (_, certificate, _, key) = certificates
    content = payload(MIB)
    path = ends.path(content)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] == "/last":
            start_response("200 OK", [("Connection", "close")])
            return [b"last"]
        start_response("200 OK", [("Content-Length", str(MIB - surplus))])
        return environ["wsgi.file_wrapper"](path.open("rb"))

    context = gssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ends.keep(Server(app, ssl_context=context))
    client = gssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    server.client = client.wrap_socket(server.client)
    server.ask()
    server.ask("/last")
    _, body = server.answer()
    assert body[: MIB - surplus] == content[: MIB - surplus]
    rest = body[MIB - surplus :]
    assert rest.startswith(b"HTTP/1.1 200 OK") if surplus > 0 else not rest


def test_claimed_file_is_iterated(ends: Ends) -> None:
    """Another transfer holds the file: bytes go as they went before."""
    content = payload(MIB)
    file = ends.file(content)
    other, _ = ends.stuck()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [("Connection", "close"), ("Content-Length", str(MIB))])
        return environ["wsgi.file_wrapper"](file)

    server = ends.keep(Server(app))
    ends.spawn(gzc.copy, file, other)
    gevent.sleep(0)
    server.ask()
    assert server.answer()[1] == content


class Remembers(pywsgi.WSGIHandler):
    last: Any = None

    def log_request(self) -> None:
        Remembers.last = self.status, self.code, self.close_connection, self.response_length
        super().log_request()


@pytest.mark.parametrize("error", [errno.ECONNRESET, errno.EPIPE])
def test_an_error_is_told_as_pywsgi_tells_it(ends: Ends, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    from .._ends import Script
    from .._ends import error as of_kernel

    content = payload(4 * MIB)
    script = Script(monkeypatch, {3: of_kernel(error)})
    server = ends.keep(Server(serving(ends.path(content)), Remembers))
    server.ask()
    head, body = server.answer()
    assert content.startswith(body)
    assert len(body) == script.moved
    status, code, closed, length = Remembers.last
    assert status == f"socket error: {of_kernel(error)}"
    assert (code, closed, length) == (-200, True, len(head) + 4 + len(body))
    assert not server.errors.getvalue()


@pytest.mark.parametrize("how", ["kill", "timeout"])
def test_interrupted_in_the_middle(ends: Ends, how: str) -> None:
    """No claim, no pipe and no file stays, and the application's own close is called."""
    path, closed = ends.path(payload(4 * MIB)), []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [("Content-Length", str(32 * MIB))])
        file = path.open("rb")
        file.close = lambda: (closed.append(True), io.BufferedReader.close(file))  # type: ignore[assignment]
        return environ["wsgi.file_wrapper"](file)

    class Bounded(pywsgi.WSGIHandler):
        def run_application(self) -> None:
            running.append(gevent.getcurrent())
            if how == "timeout":
                with gevent.Timeout(0.05):
                    super().run_application()
            super().run_application()

    running: list[Any] = []
    gevent.get_hub().threadpool  # noqa: B018 - its descriptors are no concern of this test
    with open_fds_unchanged(), Ends(ends.folder) as inner:
        path.open("r+b").truncate(32 * MIB)
        server = inner.keep(Server(app, Bounded))
        server.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
        server.ask()
        server.client.recv(1)
        if how == "kill":
            running[0].kill(timeout=PATIENCE)
        else:
            running[0].join(PATIENCE)
        assert running[0].dead
        assert closed == [True]
        del running[:]

    assert not _claims._claims


# --- wsgiref's handlers, with other servers around them than its own ---


class Handler(handlers.SimpleHandler):
    """Over one end of a connection, as a server would use it; `answer` is what arrives at the other."""

    os_environ: dict[str, str] = {}  # noqa: RUF012 - as wsgiref has it
    wsgi_file_wrapper = wsgiref_util.FileWrapper

    def __init__(self, ends: Ends, method: str = "GET") -> None:
        self._sock, self.peer = ends.tcp()
        self._ends = ends
        environ = {"REQUEST_METHOD": method, "SERVER_PROTOCOL": "HTTP/1.0"}
        self.log = io.StringIO()
        self._stream = self._sock.makefile("wb")
        super().__init__(io.BytesIO(), self._stream, self.log, environ)

    def answer(self, app: Application) -> tuple[bytes, bytes]:
        arriving = self._ends.reading(self.peer)
        self.run(app)
        self._stream.close()
        self._sock.close()
        head, _, body = arriving.all().partition(b"\r\n\r\n")
        return head, body


def giving(file: Any, *headers: tuple[str, str], first: bytes | None = None) -> Application:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        write = start_response("200 OK", list(headers))
        if first is not None:
            write(first)
        return environ.get("wsgi.file_wrapper", wsgiref_util.FileWrapper)(file)

    return app


def test_wsgiref_sends_a_file_below(ends: Ends) -> None:
    content = payload(MIB + 3)
    with gzc.trace() as trace:
        _, body = Handler(ends).answer(giving(ends.file(content)))
    assert body == content
    assert trace.bytes["sendfile"] == len(content)


def test_a_server_without_a_file_wrapper_iterates(ends: Ends) -> None:
    class Without(Handler):
        wsgi_file_wrapper = None

    content = payload(MIB + 3)
    with gzc.trace() as trace:
        _, body = Without(ends).answer(giving(ends.file(content)))
    assert body == content
    assert not trace.bytes["sendfile"]


def test_a_wsgiref_handler_that_overrides_writing_sees_every_byte(ends: Ends) -> None:
    class Counts(Handler):
        seen = 0

        def _write(self, data: bytes) -> None:
            self.seen += len(data)
            super()._write(data)

    content = payload(MIB + 3)
    handler = Counts(ends)
    with gzc.trace() as trace:
        head, body = handler.answer(giving(ends.file(content)))
    assert body == content
    assert handler.seen == len(head) + 4 + len(body)
    assert not trace.bytes["sendfile"]


@pytest.mark.parametrize("first", [None, b""])
def test_wsgiref_sends_no_body_for_head(ends: Ends, first: bytes | None) -> None:
    """And the headers once, also where the application has had them sent."""
    app = giving(ends.file(payload(MIB)), ("Content-Length", str(MIB)), first=first)
    head, body = Handler(ends, "HEAD").answer(app)
    assert f"Content-Length: {MIB}".encode() in head
    assert body == b""


def test_a_length_that_is_no_number_leaves_the_end_to_the_connection(ends: Ends) -> None:
    content = payload(MIB + 3)
    head, body = Handler(ends).answer(giving(ends.file(content), ("Content-Length", "many")))
    assert b"Content-Length: many" in head
    assert body == content


def test_a_body_that_is_too_short_where_nothing_keeps_the_connection(ends: Ends) -> None:
    """There is no ``request_handler`` to be told; what there is arrives."""
    content = payload(MIB)
    handler = Handler(ends)
    _, body = handler.answer(giving(ends.file(content), ("Content-Length", str(MIB + 1))))
    assert body == content
    assert handler.log.getvalue() == ""


# --- request bodies over something else than a connection ---


def test_a_body_in_memory_is_read_by_pywsgi() -> None:
    content = payload(MIB)
    body = pywsgi.Input(io.BytesIO(content), len(content))
    assert gzc.source(body).kind is gzc.Kind.OPAQUE
    assert gzc.copy(body, got := io.BytesIO()) == len(content)
    assert got.getvalue() == content


def test_a_body_whose_stream_was_closed_says_it_in_its_own_words() -> None:
    stream = io.BytesIO(payload(MIB))
    body = pywsgi.Input(stream, MIB)
    stream.close()
    with pytest.raises(ValueError, match="closed file"):
        gzc.copy(body, io.BytesIO())


# --- gunicorn's headers ---


class _Request:
    """What gunicorn's Response asks of a request."""

    method, version, headers = "GET", (1, 1), ()

    def should_close(self) -> bool:
        return False


class _Signing(gunicorn.Response):
    """Somebody's own way to send headers: it wants to see the socket, and sends something before them."""

    def send_headers(self) -> None:
        if not self.headers_sent:
            self.sock.send(b"signed by %d\n" % self.sock.fileno())
        super().send_headers()


@pytest.mark.parametrize("kind", [gunicorn.Response, _Signing])
@pytest.mark.parametrize("size", [42, SIZE])
def test_headers_come_before_the_body_whoever_sends_them(ends: Ends, kind: type[Any], size: int) -> None:
    """gunicorn's own are kept for the body; a method of somebody else's has the socket itself."""
    content = payload(size)
    here, there = ends.tcp()
    peer = ends.reading(there)
    response = kind(_Request(), here, Config())
    response.start_response("200 OK", [("Content-Length", str(size)), ("X-Some", "thing")])
    assert response.sendfile(gunicorn.FileWrapper(ends.file(content))) is True
    assert response.sent == size
    assert response.headers_sent
    number = here.fileno()
    here.close()
    head, _, body = peer.all().partition(b"\r\n\r\n")
    assert body == content
    assert b"X-Some: thing" in head
    assert head.startswith(b"HTTP/1.1 200 OK" if kind is gunicorn.Response else b"signed by %d\nHTTP/1.1 200" % number)


def responding(ends: Ends, size: int) -> tuple[Any, Any]:
    """A response of gunicorn's that has promised ``size`` bytes, and its peer."""
    here, there = ends.tcp()
    response = gunicorn.Response(_Request(), here, Config())
    response.start_response("200 OK", [("Content-Length", str(size))])
    return response, there


@pytest.mark.parametrize("size", [42, SIZE])
def test_gunicorn_leaves_a_file_where_it_was_if_it_has_a_descriptor(ends: Ends, size: int) -> None:
    """And others where reading left them."""
    content = payload(size)
    for file, at in ((ends.file(content), 0), (io.BytesIO(content), size)):
        response, there = responding(ends, size)
        peer = ends.reading(there)
        response.write_file(gunicorn.FileWrapper(file))
        response.sock.close()
        assert peer.all().partition(b"\r\n\r\n")[2] == content
        assert file.tell() == at


# --- chunks of a file that cannot go below ---


class Plain:
    """Somebody's own socket around ``sock``, whose ``sendall`` takes the data alone."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def sendall(self, data: bytes) -> None:
        self._sock.sendall(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@pytest.fixture
def without_sendfile(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Callable[[Any], Any]]:
    """By some way that keeps sendfile(2) from a response, what is to be done with its file."""

    def set_up(way: str) -> Callable[[Any], Any]:
        if way == "disabled":
            monkeypatch.setattr(gzc.config, "disable", {"sendfile", "splice"})
        elif way == "traced":
            real = gsocket.socket.send

            def send(self: Any, *args: Any, **options: Any) -> int:
                return real(self, *args, **options)

            monkeypatch.setattr(gsocket.socket, "send", send)
        return claim if way == "claimed" else lambda file: file

    def claim(file: Any) -> Any:
        token, source = object(), gzc.source(file)
        _claims.take(token, source)

        class Claim:
            def close(self) -> None:
                _claims.release(token, source)

        ends.keep(Claim())
        return file

    return set_up


@pytest.mark.parametrize("block", [8192, 100_000])
@pytest.mark.parametrize("size", [20_000, 307_200, MIB + 3])
@pytest.mark.parametrize("way", ["free", "disabled", "traced", "claimed", "own socket"])
def test_chunks_of_gunicorns_have_every_byte(
    ends: Ends, without_sendfile: Any, way: str, size: int, block: int
) -> None:
    """A block that was read for one chunk and is longer goes on in the next."""
    content = payload(size)
    here, there = ends.tcp()
    peer, file = ends.reading(there), without_sendfile(way)(ends.file(content))
    response = gunicorn.Response(_Request(), Plain(here) if way == "own socket" else here, Config())
    response.start_response("200 OK", [])
    with gzc.trace() as trace:
        assert response.sendfile(gunicorn.FileWrapper(file, block)) is True
    assert not response.should_close()
    response.close()
    assert response.sent == size
    here.close()
    head, _, body = peer.all().partition(b"\r\n\r\n")
    assert b"chunked" in head
    assert b"".join(unchunked(body)) == content
    moved = sum(trace.bytes.values())
    assert moved == (size if way in ("free", "disabled") else 0), "what gzc can move in the kernel or not, it moves"


@pytest.mark.parametrize("size", [20_000, 307_200, MIB + 3])
@pytest.mark.parametrize("way", ["free", "disabled", "traced", "claimed", "tls"])
def test_chunks_of_pywsgis_have_every_byte(
    ends: Ends, without_sendfile: Any, way: str, size: int, certificates: tuple[ssl.SSLContext, list[str]]
) -> None:
    """The application has written before, so that the file that follows goes in chunks."""
    content = payload(size)
    path, prepare = ends.path(content), without_sendfile(way)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [("Connection", "close")])(b"before")
        return environ["wsgi.file_wrapper"](prepare(path.open("rb")), 8192)

    server = ends.keep(Server(app, certificates=certificates if way == "tls" else None))
    server.ask()
    _, body = server.answer()
    assert b"".join(unchunked(body)) == b"before" + content


class Proxy:
    """Transparent, as a tracer's: ``__class__`` is that of what is below (wrapt)."""

    def __init__(self, below: Any) -> None:
        self.__dict__["_below"] = below

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._below)

    @property
    def __class__(self) -> Any:
        return type(self._below)


@pytest.mark.parametrize("size", [42, SIZE])
def test_a_proxy_of_a_file_wrapper_is_one_to_gunicorn(ends: Ends, size: int) -> None:
    """It asks ``isinstance``, and sends the file below."""
    content = payload(size)
    response, there = responding(ends, size)
    peer = ends.reading(there)
    wrapper = gunicorn.base_environ(Config())["wsgi.file_wrapper"]
    proxy = Proxy(wrapper(ends.file(content)))
    assert isinstance(proxy, wrapper)
    with gzc.trace() as trace:
        response.write_file(proxy)
    response.sock.close()
    assert peer.all().partition(b"\r\n\r\n")[2] == content
    assert trace.bytes["sendfile"] == (size if size > gzc.config.small else 0)


class Slow:
    """A reader of somebody's own with a position, whose next block comes when the last one has arrived."""

    def __init__(self, there: Any) -> None:
        self._there, self._arrived, self.given = there, b"", 0
        self.done = Event()

    def read(self, size: int = -1) -> bytes:
        while len(self._arrived.partition(b"\r\n\r\n")[2]) < self.given * 1000:
            self._arrived += self._there.recv(1 << 16)
        if self.given == 3:
            self.done.set()
        self.given += 1
        return b"x" * 1000 if self.given <= 4 else b""

    def tell(self) -> int:
        return self.given * 1000

    def seek(self, *args: int) -> None:
        pass


def test_what_somebodys_reader_gives_is_sent_at_once(ends: Ends) -> None:
    """Also of a small body, in every server: it may have to be waited for, whatever position it tells."""

    def app(environ: dict[str, Any], start_response: Start) -> Any:
        start_response("200 OK", [("Content-Length", "4000")])
        return environ["wsgi.file_wrapper"](slow)

    response, there = responding(ends, 4000)
    with gevent.Timeout(PATIENCE):
        response.write_file(gunicorn.FileWrapper(slow := Slow(there)))
        assert slow.done.is_set()
    server = ends.keep(Server(app))
    slow = Slow(server.client)
    server.ask()
    assert slow.done.wait(PATIENCE)
    handler = Handler(ends)
    slow = Slow(handler.peer)
    with gevent.Timeout(PATIENCE):
        handler.run(app)
        assert slow.done.is_set()


class _Framing(gunicorn.Response):
    """What gunicorn 27 documents as the one place where a subclass may frame a body."""

    def _emit_body(self, data: bytes) -> None:
        self.sock.sendall(b"<%b>" % data)


@pytest.mark.skipif(not hasattr(gunicorn.Response, "_emit_body"), reason="write frames by itself in this gunicorn")
@pytest.mark.parametrize("of", ["subclass", "instance"])
@pytest.mark.parametrize("size", [42, SIZE])
def test_whoever_frames_a_body_sees_every_byte(ends: Ends, of: str, size: int) -> None:
    content = b"s" * size
    here, there = ends.tcp()
    peer = ends.reading(there)
    response: Any = (_Framing if of == "subclass" else gunicorn.Response)(_Request(), here, Config())
    if of == "instance":
        response._emit_body = _Framing._emit_body.__get__(response)
    response.start_response("200 OK", [("Content-Length", str(size))])
    with gzc.trace() as trace:
        response.write_file(gunicorn.FileWrapper(ends.file(content)))
    here.close()
    assert not trace.bytes["sendfile"]
    body = peer.all().partition(b"\r\n\r\n")[2]
    assert re.fullmatch(rb"(<s+>)+", body)
    assert response.sent == body.count(b"s") == size


def test_a_gunicorn_that_frames_in_write_goes_below(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 27 there is no ``_emit_body``, which is nobody's override."""
    monkeypatch.delattr(gunicorn.Response, "_emit_body", raising=False)
    content = payload(SIZE)
    here, there = ends.tcp()
    peer = ends.reading(there)
    response = gunicorn.Response(_Request(), here, Config())
    response.start_response("200 OK", [("Content-Length", str(SIZE))])
    with gzc.trace() as trace:
        response.write_file(gunicorn.FileWrapper(ends.file(content)))
    here.close()
    assert peer.all().partition(b"\r\n\r\n")[2] == content
    assert trace.bytes["sendfile"] == SIZE
