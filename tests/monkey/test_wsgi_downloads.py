"""Downloads of unmodified frameworks through every WSGI server of gevent's: bytes, framing, mechanism.

Rules: the servers are child processes, one for each stack; the client parses with h11, and nearly every test asks
for one more thing on the same connection. Where framing could differ, the same request goes to the same server
without gzc. What gzc moved the server tells itself, and strace once. Ids like X4 are those of the catalogue of hard
cases. What needs no server is in test_wsgi_seams.
"""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator

import pytest

from .._http import Client, Reply
from .._server import STOCK, Folder, Gunicorn, Script, eventually
from .._strace import Strace

pytestmark = pytest.mark.slow

KIB, MIB = 1 << 10, 1 << 20
SMALL = 32 * KIB  # gzc.config.small
SIZES = [0, 1, 42, SMALL, SMALL + 1, 5 * MIB + 3]
SIZE = MIB + 3
LONG = 48 * MIB  # far more than the socket buffers of both ends hold

STACKS = ["gevent", "gevent_pywsgi", "pywsgi", "patched-pywsgi", "wsgiref"]
APPS = ["flask/file", "django/file", "django/stored", "bottle/file", "whitenoise/file", "sentry/file", "scope/file"]
APPS += ["falcon/file", "pyramid/file", "webob/file"]
RANGED = [app for app in APPS if not app.startswith("django")]  # Django 5.2 answers a range with everything


def start(stack: str, folder: Folder, *, stock: bool) -> Gunicorn:
    if stack.startswith("gevent"):
        return Gunicorn("frameworks:app", folder.path, "-k", stack, stock=stock)
    return Script(stack, folder.path, stock=stock)


@pytest.fixture(scope="module", params=STACKS)
def stack(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def running(stack: str, folder: Folder) -> Iterator[Gunicorn]:
    with start(stack, folder, stock=STOCK) as server:
        yield server


@pytest.fixture(scope="module")
def stock(stack: str, folder: Folder) -> Iterator[Gunicorn]:
    with start(stack, folder, stock=True) as server:
        yield server


@pytest.fixture
def server(running: Gunicorn) -> Iterator[Gunicorn]:
    with running.unharmed():
        yield running


def same(got: bytes | bytearray, expected: bytes | bytearray) -> bool:
    """Equal; by digest, so that a failure does not print megabytes."""
    return len(got) == len(expected) and hashlib.sha256(got).digest() == hashlib.sha256(expected).digest()


def by_sendfile(server: Gunicorn) -> int:
    """The bytes that gzc has sent by sendfile so far."""
    with server.connect() as client:
        return int(json.loads(client.get("/stats").body)["bytes"].get("sendfile", 0))


class Connection:
    """One connection, or one for each request where the server closes after every reply (wsgiref)."""

    def __init__(self, server: Gunicorn, stack: str) -> None:
        self.server, self.keeps = server, stack != "wsgiref"
        self.client: Client | None = None

    def get(self, target: str, method: str = "GET", **headers: str) -> Reply:
        if self.client is None:
            self.client = self.server.connect()
        reply = self.client.get(target, method, **headers)
        if not self.keeps:
            assert self.client.at_end()
            self.close()
        return reply

    def is_framed(self) -> None:
        """The next reply begins where the last one ended."""
        reply = self.get("/pid")
        assert reply.complete
        assert bytes(reply.body) == str(self.server.pid).encode()

    def close(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client = None


@pytest.fixture
def connection(server: Gunicorn, stack: str) -> Iterator[Connection]:
    connection = Connection(server, stack)
    yield connection
    connection.close()


# --- whole files, and parts of them ---


@pytest.mark.parametrize("app", APPS)
def test_whole_files_on_one_connection(connection: Connection, folder: Folder, app: str) -> None:
    """The payload of all that is not small goes by sendfile, with every server and framework."""
    before, expected = by_sendfile(connection.server), 0
    for size in SIZES:
        name, content = folder.sized(size)
        reply = connection.get(f"/{app}/{name}")
        assert reply.status == 200
        assert reply.complete
        assert reply.length == size
        assert same(reply.body, content)
        expected += size if size > SMALL else 0
    connection.is_framed()
    assert by_sendfile(connection.server) - before == expected


RANGES = {
    "first": ("bytes=0-9", slice(0, 10)),
    "middle": ("bytes=4097-900000", slice(4097, 900_001)),
    "small middle": ("bytes=500000-500999", slice(500_000, 501_000)),
    "suffix": ("bytes=-100000", slice(-100_000, None)),
    "open": ("bytes=1000-", slice(1000, None)),
    "beyond the end": ("bytes=1000000-9999999", slice(1_000_000, None)),
}


@pytest.mark.parametrize("app", RANGED)
def test_r13_a_range_near_the_end_is_sent_and_the_file_not_read(
    connection: Connection, folder: Folder, app: str
) -> None:
    """WebOb and Pyramid ask the wrapper for ``app_iter_range``; of the rest of the file nobody reads a byte."""
    end = bytes(range(256)) * (MIB // 256)
    with (folder.path / "hole.bin").open("wb") as file:
        file.seek(199 * MIB)
        file.write(end)
    before, read = by_sendfile(connection.server), connection.server.read_bytes()
    reply = connection.get(f"/{app}/hole.bin", range=f"bytes={199 * MIB}-")
    assert reply.status == 206
    assert reply.complete
    assert same(reply.body, end)
    assert by_sendfile(connection.server) - before == MIB
    assert connection.server.read_bytes() - read < 3 * MIB  # what sendfile takes is counted there, too
    connection.is_framed()


@pytest.mark.parametrize("app", RANGED)
def test_ranges_on_one_connection(connection: Connection, folder: Folder, app: str) -> None:
    """A range is a part of a file, whatever object the framework made of it."""
    name, content = folder.sized(SIZE)
    before, expected = by_sendfile(connection.server), 0
    for header, part in RANGES.values():
        reply = connection.get(f"/{app}/{name}", range=header)
        assert reply.status == 206
        assert reply.complete
        assert reply.length == len(content[part])
        assert same(reply.body, content[part])
        expected += reply.length if reply.length > SMALL else 0
    assert connection.get(f"/{app}/{name}", range=f"bytes={SIZE}-").status == 416
    connection.is_framed()
    assert by_sendfile(connection.server) - before == expected


def test_payload_never_enters_the_process(server: Gunicorn, folder: Folder) -> None:
    """strace agrees: a range of Flask's and a whole file of Django's, and next to nothing was read or sent."""
    name, content = folder.sized(LONG)
    with Strace(server.pid) as trace:
        for target, headers, start in (
            (f"/flask/file/{name}", {"range": "bytes=4097-"}, 4097),
            (f"/django/file/{name}", {}, 0),
        ):
            with server.connect() as client:
                reply = client.get(target, **headers)
                assert reply.complete
                assert same(reply.body, content[start:])
        server._ask_pid()
    assert trace.of_files == 2 * LONG - 4097
    assert trace.user_space < LONG // 50


# --- what stock does, gzc does ---

PART: dict[str, str] = {"range": "bytes=9-99999"}
LIKE_STOCK: list[tuple[str, str, dict[str, str]]] = [
    *((method, f"/{app}/{{name}}", headers) for app in APPS for method in ("GET", "HEAD") for headers in ({}, PART)),
    *(("GET", f"/{app}/{{name}}", {"range": "bytes=99999999-"}) for app in RANGED),
    ("GET", "/django/pieces/{name}", {}),
    ("GET", "/django/memory/{name}", {}),
    ("GET", "/flask/memory/{name}", {}),
    ("GET", "/flask/memory/{name}", {"range": "bytes=100-50000"}),
    ("GET", "/bare/plain?name={name}&length={size}", {}),
    ("GET", "/bare/counting_buffered?name={name}&length={size}", {}),
    ("GET", "/bare/readable?name={name}", {}),
]


def answers(server: Gunicorn, stack: str, name: str) -> list[tuple[int, dict[str, str], bytes, str]]:
    """To each of the requests above: status, headers, digest of the body, and what was logged."""
    found = []
    connection = Connection(server, stack)
    for method, pattern, headers in LIKE_STOCK:
        target, lines = pattern.format(name=name, size=SIZE), len(server.access.lines)
        if method == "HEAD":  # a body may follow, which stock pywsgi and wsgiref send
            with server.connect() as client:
                reply = client.get(target, method, **headers)
        else:
            reply = connection.get(target, method, **headers)
            assert reply.complete, target
        counted = method == "GET" and reply.length is not None  # else it depends on the size of the chunks
        logged = server.access.wait_for(f"GET {target.partition('?')[0]}", lines) if counted else ""
        fields = {key: value for key, value in reply.headers.items() if key not in ("date", "content-disposition")}
        found.append((reply.status, fields, hashlib.sha256(reply.body).digest(), logged))
    connection.close()
    return found


def test_same_answers_as_stock(server: Gunicorn, stock: Gunicorn, stack: str, folder: Folder) -> None:
    """Status, headers, body and the log's count of bytes."""
    name, _ = folder.sized(SIZE)
    ours, theirs = answers(server, stack, name), answers(stock, stack, name)
    for request, got, expected in zip(LIKE_STOCK, ours, theirs, strict=True):
        # Stock gunicorn logs 0 for what it sends by sendfile.
        kept = slice(3 if stack == "gevent" else None)
        assert got[kept] == expected[kept], request


# --- replies without a body ---


@pytest.mark.parametrize("app", [*APPS, "django/memory"])
def test_head(connection: Connection, folder: Folder, app: str) -> None:
    """P8: the headers of the GET, and not one byte of the body, which stock pywsgi and wsgiref send."""
    name, _ = folder.sized(SIZE)
    for _ in range(2):
        reply = connection.get(f"/{app}/{name}", "HEAD")
        assert reply.status == 200
        assert reply.length == SIZE
    connection.is_framed()


@pytest.mark.parametrize("app", [app for app in RANGED if not app.startswith("scope")])
def test_not_modified(connection: Connection, folder: Folder, app: str) -> None:
    name, _ = folder.sized(SIZE)
    first = connection.get(f"/{app}/{name}")
    given = {"if_none_match": first.headers.get("etag"), "if_modified_since": first.headers["last-modified"]}
    for headers in ({name: value} for name, value in given.items() if value):  # WebOb and Pyramid give no tag
        reply = connection.get(f"/{app}/{name}", **headers)
        assert reply.status == 304
        assert not reply.body
    connection.is_framed()


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_file_given_where_no_body_may_be(connection: Connection, folder: Folder, stack: str, status: str) -> None:
    """P8: the app hands over a file, HTTP forbids a body; stock pywsgi raises, stock wsgiref sends it."""
    name, _ = folder.sized(SIZE)
    reply = connection.get(f"/bare/plain?name={name}&status={status.replace(' ', '%20')}")
    assert reply.status == int(status[:3])
    assert not reply.body
    connection.is_framed()


# --- framing ---


@pytest.mark.parametrize("target", ["/flask/memory/{}", "/django/memory/{}", "/django/pieces/{}"])
def test_memory_and_generators(connection: Connection, folder: Folder, stack: str, target: str) -> None:
    """What is no file goes its old way."""
    before = by_sendfile(connection.server)
    for size in (1, 42, SMALL + 1, SIZE):
        name, content = folder.sized(size)
        reply = connection.get(target.format(name))
        assert reply.complete
        assert same(reply.body, content)
        if "pieces" in target:
            assert reply.chunked is (stack != "wsgiref")
    connection.is_framed()
    assert by_sendfile(connection.server) == before


@pytest.mark.parametrize("size", [0, 42, SMALL + 1, SIZE])
def test_without_content_length(connection: Connection, folder: Folder, stack: str, size: int) -> None:
    """gunicorn cuts chunks, wsgiref closes, and pywsgi is told the length, which it then says."""
    name, content = folder.sized(size)
    before = by_sendfile(connection.server)
    for target in (f"/bare/plain?name={name}", f"/flask/open/{name}"):
        reply = connection.get(target)
        assert reply.complete
        assert same(reply.body, content)
        if size and "pywsgi" in stack:
            assert reply.length == size
    connection.is_framed()
    assert by_sendfile(connection.server) - before == (2 * size if size > SMALL else 0)


@pytest.mark.parametrize("size", [42, SMALL + 1, SIZE])
@pytest.mark.parametrize("length", [0, 1, 40, SMALL + 1])
@pytest.mark.parametrize("route", ["plain", "memory"])
def test_file_longer_than_content_length(
    connection: Connection, folder: Folder, route: str, size: int, length: int
) -> None:
    """The next reply must not begin in the middle of this body."""
    length = min(size, length)
    name, content = folder.sized(size)
    reply = connection.get(f"/bare/{route}?name={name}&length={length}")
    assert reply.complete
    assert same(reply.body, content[:length])
    connection.is_framed()


@pytest.mark.parametrize("size", [42, SMALL, SMALL + 1, SIZE])
@pytest.mark.parametrize("route", ["plain", "memory"])
def test_file_shorter_than_promised(server: Gunicorn, folder: Folder, route: str, size: int) -> None:
    """X4: the promise cannot be kept, so the connection ends; stock goes on, and the next reply is taken for body."""
    name, content = folder.sized(size)
    with server.connect() as client:
        reply = client.get(f"/bare/{route}?name={name}&length={size + 1000}")
        assert not reply.complete
        assert same(reply.body, content)
        assert client.at_end()


@pytest.fixture(scope="module")
def runserver(folder: Folder) -> Iterator[Gunicorn]:
    with start("runserver", folder, stock=STOCK) as server:
        yield server


@pytest.mark.parametrize("size", [42, SMALL + 1, SIZE])
@pytest.mark.parametrize("route", ["plain", "memory"])
def test_djangos_own_server_keeps_to_the_promised_length(
    runserver: Gunicorn, folder: Folder, route: str, size: int
) -> None:
    """X4: it is wsgiref with connections that are kept."""
    name, content = folder.sized(size)
    with runserver.connect() as client:
        for length in (size, size - 10):
            reply = client.get(f"/bare/{route}?name={name}&length={length}")
            assert same(reply.body, content[:length])
            assert client.get("/pid").complete
        reply = client.get(f"/bare/{route}?name={name}&length={size + 10}")
        assert not reply.complete
        assert same(reply.body, content)
        assert client.at_end()


def paused(client: Client, target: str, **headers: str) -> Reply:
    """A download of which a part has arrived, and whose server now waits for the client."""
    client.send(target, **headers)
    client.head_of_reply()
    return client.rest_of_reply(stop_at=MIB)


@pytest.mark.parametrize("app", ["flask/file", "django/stored", "scope/file"])
@pytest.mark.parametrize("range_", [{}, {"range": "bytes=1000-"}])
def test_file_shortened_during_the_download(server: Gunicorn, folder: Folder, app: str, range_: dict[str, str]) -> None:
    """F5, X4: what is there is sent, and the connection ends."""
    content = folder.fresh("shrinks", LONG)
    with server.connect(receive_buffer=64 * KIB) as client:
        paused(client, f"/{app}/shrinks", **range_)
        (folder.path / "shrinks").open("r+b").truncate(LONG // 2)
        reply = client.rest_of_reply()
        assert not reply.complete
        start = LONG - (reply.length or 0)
        assert content.startswith(reply.body, start)
        assert len(reply.body) >= LONG // 2 - start
        assert client.at_end()


@pytest.mark.parametrize("size", [42, SMALL + 1, SIZE])
@pytest.mark.parametrize("framing", ["", "&length={}"])
def test_app_wrote_before(connection: Connection, folder: Folder, size: int, framing: str) -> None:
    """write() has sent the headers, and a part of the body."""
    name, content = folder.sized(size)
    reply = connection.get(f"/bare/plain?name={name}&written=before{framing.format(size + len('before'))}")
    assert reply.complete
    assert same(reply.body, b"before" + content)
    connection.is_framed()


@pytest.mark.parametrize("route", ["counting_buffered", "counting_raw", "counting_instance", "masked", "lying"])
def test_own_methods_keep_their_bytes(connection: Connection, folder: Folder, route: str) -> None:
    """O7, O9: a file number is no consent."""
    name, content = folder.sized(SIZE)
    before = by_sendfile(connection.server)
    reply = connection.get(f"/bare/{route}?name={name}&length={SIZE}")
    expected = {"masked": bytes(255 - byte for byte in content), "lying": content[::-1]}
    assert reply.complete
    assert same(reply.body, expected.get(route, content))
    connection.is_framed()
    assert by_sendfile(connection.server) == before


def test_gzip_file_gives_what_it_holds(connection: Connection, folder: Folder) -> None:
    _, content = folder.sized(SIZE)
    (folder.path / "packed.gz").write_bytes(gzip.compress(content, 1))
    reply = connection.get("/bare/gzipped?name=packed.gz")
    assert reply.complete
    assert same(reply.body, content)
    connection.is_framed()


@pytest.mark.parametrize("route", ["plain?seek=5000&", "sniffed?", "sniffed?back=1&", "unbuffered?", "named?"])
def test_position_of_the_file(connection: Connection, folder: Folder, route: str) -> None:
    """O1, O2: the body begins where the file stands, whatever its descriptor says."""
    name, content = folder.sized(SIZE)
    start = {"plain?seek=5000&": 5000, "sniffed?": 4}.get(route, 0)
    reply = connection.get(f"/bare/{route}name={name}&length={SIZE - start}")
    assert reply.complete
    assert same(reply.body, content[start:])
    connection.is_framed()


def test_file_on_proc(connection: Connection) -> None:
    """F1, F2: its size is said to be 0."""
    with open("/proc/version", "rb") as file:
        content = file.read()
    reply = connection.get("/bare/proc?name=version")
    assert reply.complete
    assert bytes(reply.body) == content
    connection.is_framed()


# --- clients that go away ---


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("app", ["flask/file", "django/file", "bottle/file"])
def test_client_goes_away(server: Gunicorn, folder: Folder, app: str, how: str) -> None:
    """The server goes on, and keeps neither file nor socket nor pipe."""
    name, content = folder.sized(LONG)
    before = Counter(server.descriptors())  # perhaps with the connection of the last test, about to be closed
    for headers in ({}, {"range": "bytes=1000-"}):
        with server.connect(receive_buffer=64 * KIB) as client:
            paused(client, f"/{app}/{name}", **headers)
            getattr(client, how)()
    assert eventually(lambda: not Counter(server.descriptors()) - before), Counter(server.descriptors()) - before
    with server.connect() as client:
        assert same(client.get(f"/{app}/{name}").body, content)


# --- what goes out in one piece ---


def test_small_file_goes_with_its_headers(folder: Folder) -> None:
    """F9: pywsgi leaves Nagle's algorithm on; headers in one segment and a small body in another cost 40 ms."""
    small, _ = folder.sized(42)
    large, content = folder.sized(SMALL + 1)
    with start("pywsgi", folder, stock=STOCK) as server, server.unharmed(), server.connect() as client:
        client.get("/pid")
        with Strace(server.pid) as trace:
            bodies = [client.get(f"/flask/file/{name}").body for name in (small, large)]
            client.get("/pid")
    assert same(bodies[1], content)
    assert trace.of_files == len(content)
    first, second, *_ = trace.returned["sendto"]
    assert first > 42  # headers and body
    assert trace.held_back == [second]  # the headers of the large one, and nothing after its body
