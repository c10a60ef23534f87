"""Request bodies in one process: what their descriptions say, what they leave alone, and the hooks they stand on.

Rules: the servers' own classes over real sockets, with the rows applied by a ledger of the test's own. The real
servers are in test_bodies.
"""

# ruff: noqa: SIM115 - what is opened here is given to `Ends.keep`, which closes it

import errno
import io
import logging
import socket as native
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from django.conf import settings
from django.core.handlers import wsgi as django_wsgi
from django.http.request import UnreadablePostError
from gevent import pywsgi
from gevent import socket as gsocket
from gunicorn.http.body import Body, ChunkedReader, EOFReader, LengthReader
from gunicorn.http.unreader import IterUnreader, SocketUnreader
from werkzeug import wsgi as werkzeug_wsgi
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

import gzc

from .._ends import KIB, PATIENCE, Ends, at_rest, payload
from .._inside import Ledger, Unknown, _claims, _fast_prefix, request_bodies

SIZE = 300_000
CONTENT = payload(SIZE)
NEXT = b"GET /next HTTP/1.1\r\n\r\n"
ROWS = (*request_bodies.GUNICORN, *request_bodies.PYWSGI, *request_bodies.WERKZEUG, *request_bodies.DJANGO)


@pytest.fixture(scope="module", autouse=True)
def in_force() -> Iterator[None]:
    if not settings.configured:
        settings.configure()
    ledger = Ledger()
    for row in ROWS:
        assert ledger.apply(row)
    yield
    for row in ledger.newest_first():
        assert ledger.undo(row)
    assert not hasattr(Body, "__gzc_source__")


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    with Ends(tmp_path) as made:
        yield made
    assert dict(_claims._claims) == {}


class Request:
    """A connection on which headers were read, and with them `ahead` bytes of what follows."""

    def __init__(self, ends: Ends, ahead: int = 1000) -> None:
        self.here, self.there = ends.tcp()
        self.ahead = ahead
        self.counted: Callable[[], int]

    def gunicorn(self, length: int = SIZE) -> Any:
        unreader = SocketUnreader(self.here)
        self.there.sendall(CONTENT[: self.ahead])
        if self.ahead:
            unreader.unread(unreader.read(self.ahead))
        reader = LengthReader(unreader, length)
        body = Body(reader)
        self.counted = lambda: length - reader.length - body.buf.tell()
        return body

    def pywsgi(self, length: int = SIZE) -> Any:
        rfile = self.here.makefile("rb")
        self.there.sendall(CONTENT[: self.ahead])
        if self.ahead:
            rfile.peek(1)
        body = pywsgi.Input(rfile, length)
        self.counted = lambda: body.position
        return body

    def send_rest(self, until: int = SIZE, more: bytes = b"") -> None:
        self.there.sendall(CONTENT[self.ahead : until] + more)


SERVERS = {"gunicorn": Request.gunicorn, "pywsgi": Request.pywsgi}


def werkzeug(body: Any) -> Any:
    return werkzeug_wsgi.LimitedStream(body, SIZE)


def werkzeug_most(body: Any) -> Any:
    return werkzeug_wsgi.LimitedStream(body, SIZE + 1, is_max=True)


def django(body: Any) -> Any:
    return django_wsgi.WSGIRequest({"REQUEST_METHOD": "PUT", "CONTENT_LENGTH": str(SIZE), "wsgi.input": body})


def django_stream(body: Any) -> Any:
    """An ``io`` object that leaves ``readable`` as it is, which says no."""
    return django(body)._stream


WRAPPERS = {
    "bare": lambda body: body,
    "Werkzeug": werkzeug,
    "Werkzeug, most": werkzeug_most,
    "Django": django,
    "Django's stream": django_stream,
}

servers = pytest.mark.parametrize("server", SERVERS)
wrappers = pytest.mark.parametrize("wrapper", WRAPPERS)


@servers
@wrappers
def test_spliced_and_the_next_request_is_left_alone(ends: Ends, server: str, wrapper: str) -> None:
    """O13, D12: what was read ahead, then the socket, and not one byte beyond the length."""
    request = Request(ends)
    body = SERVERS[server](request)
    stream = WRAPPERS[wrapper](body)
    file = ends.file(mode="w+b")
    assert gzc.explain(stream, file).mechanism == "splice"
    ends.spawn(request.send_rest, SIZE, NEXT)
    with gzc.trace() as trace:
        assert gzc.copy(stream, file) == SIZE
    assert trace.bytes["splice"] == SIZE - request.ahead
    file.seek(0)
    assert file.read() == CONTENT
    assert request.counted() == SIZE
    assert stream.read() == b""
    below = body.reader.unreader.read if server == "gunicorn" else body.rfile.read
    assert below(len(NEXT)) == NEXT


@pytest.mark.parametrize("wrapper", ["Werkzeug", "Django"])
def test_frameworks_over_a_plain_rfile(ends: Ends, wrapper: str) -> None:
    """wsgiref and runserver hand out the connection's makefile; the framework's own length is the only end."""
    request = Request(ends, ahead=0)
    rfile = request.here.makefile("rb")
    stream = WRAPPERS[wrapper](rfile)
    request.there.sendall(b"PUT / HTTP/1.1\r\n")
    assert rfile.readline() == b"PUT / HTTP/1.1\r\n"
    file = ends.file(mode="w+b")
    ends.spawn(request.send_rest, SIZE, NEXT)
    with gzc.trace() as trace:
        assert gzc.copy(stream, file) == SIZE
    assert trace.bytes["splice"] > SIZE - 16 * KIB
    file.seek(0)
    assert file.read() == CONTENT
    assert rfile.read(len(NEXT)) == NEXT


@servers
def test_next_request_in_the_buffer_stays_there(ends: Ends, server: str) -> None:
    """The length ends inside what was read ahead: D12."""
    request = Request(ends, ahead=1000)
    body = SERVERS[server](request, 900)
    with gzc.trace() as trace:
        sink = bytearray()
        assert gzc.copy(body, sink) == 900
    assert trace.bytes["userspace"] == 900
    assert sink == CONTENT[:900]
    below = body.reader.unreader.read if server == "gunicorn" else body.rfile.read
    assert below(100) == CONTENT[900:1000]


@servers
@wrappers
def test_explain_takes_nothing_and_tells_nobody(ends: Ends, server: str, wrapper: str) -> None:
    request = Request(ends)
    body = SERVERS[server](request)
    stream = WRAPPERS[wrapper](body)
    if server == "pywsgi":
        body.socket = request.here  # of a client that expects 100-continue
    for _ in range(2):
        gzc.explain(stream, ends.file(mode="wb"))
    assert request.counted() == 0
    assert not getattr(stream, "_read_started", False)
    request.there.setblocking(False)
    with pytest.raises(BlockingIOError):
        request.there.recv(1)
    request.there.setblocking(True)
    ends.spawn(request.send_rest)
    assert stream.read(2000) == CONTENT[:2000]


def test_100_continue_once_and_before_the_first_byte(ends: Ends) -> None:
    request = Request(ends, ahead=0)
    body = request.pywsgi()
    body.socket = request.here
    file = ends.file(mode="wb")
    copying = ends.spawn(gzc.copy, body, file)
    told = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert request.there.recv(100) == told
    request.send_rest()
    assert copying.get(timeout=PATIENCE) == SIZE
    request.here.shutdown(native.SHUT_WR)
    assert request.there.recv(100) == b""


@servers
@wrappers
@pytest.mark.parametrize("rest", [0, 100, 5000])
def test_what_the_application_has_read_is_not_read_again(ends: Ends, server: str, wrapper: str, rest: int) -> None:
    """gunicorn's Body asks for 1 KiB at least, and keeps the rest: those bytes are off the length already."""
    request = Request(ends)
    stream = WRAPPERS[wrapper](SERVERS[server](request))
    ends.spawn(request.send_rest, SIZE, NEXT)
    sink = bytearray(stream.read(1000 + rest))
    sink += stream.readline()
    stream_read = len(sink)
    assert gzc.source(stream).limit == SIZE - stream_read
    assert gzc.copy(stream, sink) == SIZE - stream_read
    assert sink == CONTENT
    assert request.counted() == SIZE


@servers
@wrappers
@pytest.mark.parametrize("struck_by", ["kill", "timeout", "socket"])
def test_counters_are_exact_after_an_interruption(ends: Ends, server: str, wrapper: str, struck_by: str) -> None:
    """D7, G3: the seam drops at most what it held, and an own ``read`` goes on with the right next byte."""
    request = Request(ends)
    stream = WRAPPERS[wrapper](SERVERS[server](request))
    file = ends.file(mode="w+b", buffering=0)
    request.send_rest(200_000)
    if struck_by == "socket":
        request.here.settimeout(0.05)
    moving = gevent.spawn(_fast_prefix.prefix, stream, file)
    if struck_by == "socket":
        with pytest.raises((TimeoutError, ClientDisconnected, UnreadablePostError)):
            moving.get(timeout=PATIENCE)
        request.here.settimeout(None)
    else:
        with gevent.Timeout(PATIENCE):
            while Path(file.name).stat().st_size < 200_000:
                gevent.sleep(0.001)
        moving.kill(gevent.GreenletExit if struck_by == "kill" else gevent.Timeout())
    assert file.tell() == 200_000
    assert request.counted() == 200_000
    ends.spawn(lambda: request.there.sendall(CONTENT[200_000:] + NEXT))
    assert stream.read() == CONTENT[200_000:]


@servers
def test_sink_that_fails_costs_what_was_held_and_no_more(ends: Ends, server: str) -> None:
    """D6: what left the socket counts as read, whether it arrived or not."""
    request = Request(ends)
    body = SERVERS[server](request)
    sink, peer = ends.tcp()
    ends.spawn(request.send_rest, SIZE, NEXT)
    peer.setsockopt(native.SOL_SOCKET, native.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        _fast_prefix.prefix(body, sink)
    read = request.counted()
    assert body.read() == CONTENT[read:]
    assert request.counted() == SIZE


# --- ends and errors are the wrapper's own ---


def outcome(stream: Any, run: Callable[[Any, Any], Any]) -> str:
    try:
        run(stream, bytearray())
    except Exception as exc:  # noqa: BLE001 - its class is the answer
        return type(exc).__name__
    return "the end"


def by_reads(stream: Any, sink: bytearray) -> None:
    while block := stream.read(64 * KIB):
        sink += block


@servers
@wrappers
def test_short_body_ends_as_by_own_reads(ends: Ends, server: str, wrapper: str) -> None:
    """X4: a body that is shorter than promised is no quiet success where ``read`` would raise."""
    found = []
    for run in (gzc.copy, by_reads):
        request = Request(ends)
        stream = WRAPPERS[wrapper](SERVERS[server](request))
        request.send_rest(200_000)
        request.there.close()
        found.append(outcome(stream, run))
    assert found[0] == found[1]


@servers
@wrappers
def test_dead_client_is_told_as_by_own_reads(ends: Ends, server: str, wrapper: str) -> None:
    found = []
    for run in (gzc.copy, by_reads):
        request = Request(ends)
        body = SERVERS[server](request)
        stream = WRAPPERS[wrapper](body)
        reading = gevent.spawn(outcome, stream, run)
        at_rest()
        request.there.setsockopt(native.SOL_SOCKET, native.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        request.there.close()
        found.append((reading.get(timeout=PATIENCE), getattr(body, "failed", None)))
    assert found[0] == found[1]
    assert found[0][0] != "the end"


def test_limit_of_the_application_is_werkzeugs_to_tell(ends: Ends) -> None:
    request = Request(ends)
    stream = werkzeug_wsgi.LimitedStream(request.gunicorn(), 200_000, is_max=True)
    ends.spawn(request.send_rest)
    file = ends.file(mode="wb")
    with pytest.raises(RequestEntityTooLarge):
        gzc.copy(stream, file)
    assert file.tell() == request.counted() == 200_000


@pytest.mark.parametrize("count", [200_000, 150_000])
def test_own_read_is_not_asked_where_the_caller_has_enough(ends: Ends, count: int) -> None:
    request = Request(ends)
    stream = werkzeug_wsgi.LimitedStream(request.gunicorn(), 200_000, is_max=True)
    ends.spawn(request.send_rest)
    assert gzc.copy(stream, ends.file(mode="wb"), count) == count
    assert request.counted() == count


def test_own_read_of_the_outermost_wrapper_is_asked(ends: Ends) -> None:
    """gzc.limit ends before the body does, and does not touch what comes after."""
    request = Request(ends)
    body = request.pywsgi()
    ends.spawn(request.send_rest)
    some = gzc.limit(body, 200_000)
    assert gzc.copy(some, ends.file(mode="wb")) == 200_000
    assert request.counted() == 200_000
    request.there.close()


@servers
def test_description_without_its_object_ends_at_its_limit(ends: Ends, server: str) -> None:
    """A seam may copy from a description; there is no own read to ask then, and the socket's is not one."""
    request = Request(ends)
    body = SERVERS[server](request)
    ends.spawn(request.send_rest, SIZE, NEXT)
    assert gzc.copy(gzc.source(body), ends.file(mode="wb")) == SIZE
    below = body.reader.unreader.read if server == "gunicorn" else body.rfile.read
    assert below(len(NEXT)) == NEXT


def test_error_of_the_sink_is_not_taken_for_one_of_the_client(ends: Ends) -> None:
    request = Request(ends)
    body = request.gunicorn()
    stream = werkzeug(body)
    ends.spawn(request.send_rest)
    with pytest.raises(OSError, match="No space left") as caught:
        gzc.copy(stream, ends.keep(open("/dev/full", "wb", buffering=0)))
    assert caught.value.errno == errno.ENOSPC
    [transfer] = gzc.transfers_of(caught.value)
    assert transfer.reclaim()
    assert not getattr(body, "failed", False)


def test_django_says_what_it_says(ends: Ends) -> None:
    """The errno and the cause are those of the socket's error, and the request knows that it was read."""
    request = Request(ends)
    stream = django(request.gunicorn())
    request.here.settimeout(0.01)
    with pytest.raises(UnreadablePostError) as caught:
        gzc.copy(stream, ends.file(mode="wb"))
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert stream._read_started
    assert gzc.transfers_of(caught.value)


# --- who keeps his own way ---


class Counting(Body):
    seen = 0

    def read(self, size: int | None = None) -> bytes:
        data = super().read(size)
        self.seen += len(data)
        return bytes(data)


class Lenient(werkzeug_wsgi.LimitedStream):
    def on_disconnect(self, error: Exception | None = None) -> None:
        """A client that goes away is no error."""


class Lines(io.BytesIO):
    """Somebody's stream in the place of the server's."""


def declined(ends: Ends) -> dict[str, Callable[[], Any]]:
    here, _ = ends.tcp()
    unreader = SocketUnreader(here)

    class Request:
        limit_request_field_size = max_buffer_headers = 8190

    def tls() -> Any:
        import gevent.ssl

        sock = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT).wrap_socket(
            here, do_handshake_on_connect=False, server_hostname="x"
        )
        return Body(LengthReader(SocketUnreader(ends.keep(sock)), SIZE))

    def patched() -> Any:
        body = Body(LengthReader(unreader, SIZE))
        body.read = lambda size=None: b""  # type: ignore[method-assign]
        return body

    def other_read() -> Any:
        body = Body(LengthReader(unreader, SIZE))
        request = django(body)
        request._stream._read = body.readline
        return request

    return {
        "gunicorn, chunked": lambda: Body(ChunkedReader(Request(), unreader)),
        "gunicorn, to the end": lambda: Body(EOFReader(unreader)),
        "gunicorn, not a socket": lambda: Body(LengthReader(IterUnreader([b"x"]), SIZE)),
        "gunicorn, TLS": tls,
        "gunicorn, half made": lambda: Body.__new__(Body),
        "gunicorn, counted above": lambda: Counting(LengthReader(unreader, SIZE)),
        "gunicorn, counted in the instance": patched,
        "pywsgi, chunked": lambda: pywsgi.Input(here.makefile("rb"), None, chunked_input=True),
        "pywsgi, chunked and a length": lambda: pywsgi.Input(here.makefile("rb"), SIZE, chunked_input=True),
        "pywsgi, without a length": lambda: pywsgi.Input(here.makefile("rb"), None),
        "Werkzeug, forgiving": lambda: Lenient(Body(LengthReader(unreader, SIZE)), SIZE),
        "Werkzeug, memory below": lambda: werkzeug(Lines(CONTENT)),
        "Werkzeug, chunked below": lambda: werkzeug(Body(ChunkedReader(Request(), unreader))),
        "Django, memory below": lambda: django(Lines(CONTENT)),
        "Django, another way to read below": other_read,
        "Django, counted below": lambda: django(Counting(LengthReader(unreader, SIZE))),
    }


@pytest.mark.parametrize(
    "who",
    [
        "gunicorn, chunked",
        "gunicorn, to the end",
        "gunicorn, not a socket",
        "gunicorn, TLS",
        "gunicorn, half made",
        "gunicorn, counted above",
        "gunicorn, counted in the instance",
        "pywsgi, chunked",
        "pywsgi, chunked and a length",
        "pywsgi, without a length",
        "Werkzeug, forgiving",
        "Werkzeug, memory below",
        "Werkzeug, chunked below",
        "Django, memory below",
        "Django, another way to read below",
        "Django, counted below",
    ],
)
def test_keeps_its_own_way(ends: Ends, who: str) -> None:
    body = declined(ends)[who]()
    assert gzc.source(body).kind is gzc.Kind.OPAQUE
    assert _fast_prefix.prefix(body, ends.file(mode="wb")) == 0


@servers
@pytest.mark.parametrize(
    ("size", "mechanism"), [(request_bodies.LEAST, "userspace"), (request_bodies.LEAST + 1, "splice")]
)
def test_small_bodies_are_not_worth_it(ends: Ends, server: str, size: int, mechanism: str) -> None:
    """Setting up costs more than it saves; the plan says so, and `fallback=False` switches it off."""
    request = Request(ends, ahead=0)
    body = SERVERS[server](request, size)
    ends.spawn(request.send_rest, size, NEXT)
    file = ends.file(mode="w+b")
    plan = gzc.explain(body, file)
    assert plan.mechanism == mechanism
    assert ("small" in plan.reason) is (mechanism == "userspace")
    assert not plan.refused
    with gzc.trace() as trace:
        assert gzc.copy(body, file, fallback=False) == size
    assert trace.bytes["splice"] == size


# --- the rows ---


def _arrived(name: str, source: str) -> types.ModuleType:
    module = types.ModuleType(name)
    exec(source, vars(module))
    sys.modules[name] = module
    return module


@pytest.mark.parametrize(
    ("method", "complaint"),
    [
        ("def read(self, size): return self.inner.read(size)", r"body_of_tomorrow\.Body\.read no longer mentions buf"),
        ("read = property()", r"body_of_tomorrow\.Body\.read no longer mentions buf"),
        ("def fetch(self): return self.buf", r"body_of_tomorrow\.Body\.read no longer mentions buf"),
    ],
)
def test_version_that_nobody_knows_is_left_alone(method: str, complaint: str) -> None:
    """A description that relies on attributes is added only beside code that mentions them."""
    module = _arrived("body_of_tomorrow", f"class Body:\n    {method}\n")
    row = request_bodies._row("body_of_tomorrow", "Body", lambda _: None, "read", "buf")
    try:
        with pytest.raises(Unknown, match=complaint):
            Ledger().apply(row)
        assert not hasattr(module.Body, "__gzc_source__")
    finally:
        del sys.modules["body_of_tomorrow"]


def test_class_that_describes_itself_is_left_alone() -> None:
    module = _arrived("body_of_tomorrow", "class Body:\n    def __gzc_source__(self): return 'its own'\n")
    row = request_bodies._row("body_of_tomorrow", "Body", lambda _: None, "read", "buf")
    ledger = Ledger()
    try:
        assert ledger.apply(row)
        assert module.Body().__gzc_source__() == "its own"
        assert ledger.undo(row)
        assert module.Body().__gzc_source__() == "its own"
    finally:
        del sys.modules["body_of_tomorrow"]


def test_tracer_that_wrapped_the_class_sees_every_call(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(ends)
    body = request.gunicorn()
    real = Body.read
    assert gzc.source(body).kind is gzc.Kind.STREAM
    monkeypatch.setattr(Body, "read", lambda self, size=None: real(self, size))
    assert gzc.source(body).kind is gzc.Kind.OPAQUE


# --- the hooks of a description ---


class Framed:
    """A wrapper as somebody might write it."""

    def __init__(self, sock: gsocket.socket, ahead: bytes = b"") -> None:
        self.sock = sock
        self.ahead = ahead
        self.asked = 0
        self.trailer = b""

    def read(self, size: int) -> bytes:
        self.asked += 1
        data, self.trailer = self.trailer[:size], self.trailer[size:]
        return data

    def _take(self, count: int) -> bytes:
        data, self.ahead = self.ahead[:count], self.ahead[count:]
        return data

    def __gzc_source__(self) -> Any:
        return gzc.source(self.sock).heading(self._take).limited(SIZE).confirming_end().translating(self._told)

    def _told(self, exc: BaseException) -> BaseException:
        return LookupError(str(exc)) if isinstance(exc, OSError) else exc


def test_head_above_a_plain_socket(ends: Ends) -> None:
    """`heading` needs no makefile below."""
    here, there = ends.tcp()
    ends.feeding(there, CONTENT[1000:])
    sink = bytearray()
    assert gzc.copy(Framed(here, CONTENT[:1000]), sink) == SIZE
    assert sink == CONTENT


def test_what_the_own_read_still_gives_is_delivered(ends: Ends) -> None:
    here, there = ends.tcp()
    ends.feeding(there, CONTENT)
    framed = Framed(here)
    framed.trailer = b"and more"
    file = ends.file(mode="w+b")
    assert gzc.copy(framed, file) == SIZE + 8
    assert framed.asked == 2
    file.seek(0)
    assert file.read() == CONTENT + b"and more"


def test_own_error_in_the_place_of_the_sockets(ends: Ends) -> None:
    here, _there = ends.tcp()
    here.settimeout(0.01)
    with pytest.raises(LookupError, match="timed out") as caught:
        gzc.copy(Framed(here), ends.file(mode="wb"))
    assert isinstance(caught.value.__context__, TimeoutError)
    [transfer] = gzc.transfers_of(caught.value)
    assert transfer.exact


def test_timeout_of_the_callers_passes_unchanged(ends: Ends) -> None:
    here, _there = ends.tcp()
    mine = gevent.Timeout(0.01)
    with pytest.raises(gevent.Timeout) as caught, mine:
        gzc.copy(Framed(here), ends.file(mode="wb"))
    assert caught.value is mine


def test_nothing_is_logged_for_bodies_that_keep_their_own_way(ends: Ends, caplog: pytest.LogCaptureFixture) -> None:
    request = Request(ends, ahead=10)
    caplog.set_level(logging.WARNING, "gzc")
    assert gzc.copy(request.gunicorn(10), ends.file(mode="wb")) == 10
    assert caplog.records == []
