"""Response bodies into files: http.client, urlopen, urlretrieve, urllib3, requests.

Rules: as for uploads. A copy by ``copyfileobj`` is the fast prefix and then shutil's own loop; what went below is
asserted, and so is the state afterwards: closed, in the pool, ready for the next request.
"""

import contextlib
import functools
import gzip
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .._program import patched
from .._server import Folder, Gunicorn

pytestmark = pytest.mark.slow

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(scope="module")
def running(folder: Folder) -> Iterator[Gunicorn]:
    with Gunicorn("bodies:app", folder.path, stock=True) as gunicorn:
        yield gunicorn


@pytest.fixture
def port(running: Gunicorn) -> Iterator[int]:
    with running.unharmed():
        yield int(running.address[1])


@pytest.fixture
def served(running: Gunicorn, folder: Folder) -> str:
    return str(folder.path)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path)


@patched
def test_bodies_of_every_size_go_into_a_file(port: int, served: str, path: str) -> None:
    """O13: spliced but for what was read ahead, closed at their end, and the connection is used again."""
    import requests
    import urllib3

    import gzc

    from .._clients import MIB, SIZES, content, copyfileobj

    target = Path(path, "got")
    connection = http.client.HTTPConnection("127.0.0.1", port)
    pool, session = urllib3.HTTPConnectionPool("127.0.0.1", port), requests.Session()
    sockets = set()
    copies: dict[str, Callable[[Any, Any], int]] = {"seam": copyfileobj, "call": gzc.copy}
    for size in (*SIZES, 64 * MIB):
        name, data = content(served, size)
        query = f"/file?name={Path(name).name}"
        for how, copy in copies.items():
            connection.request("GET", query)
            response = connection.getresponse()
            with open(target, "wb") as file, gzc.trace() as trace:
                if how == "call":
                    assert gzc.explain(response, file).mechanism == "splice"
                assert copy(response, file) == size
                assert file.tell() == size
            assert target.read_bytes() == data
            assert response.isclosed(), (how, size)
            assert response.read() == b""
            assert trace.bytes["splice"] >= size - 16384, str(trace)
            assert trace.bytes.total() == size
            sockets.add(connection.sock)

            raw = pool.urlopen("GET", query, preload_content=False)
            with open(target, "wb") as file, gzc.trace() as trace:
                assert copy(raw, file) == size
            assert target.read_bytes() == data
            assert (raw.tell(), raw.length_remaining, raw.connection) == (size, 0, None), (how, size)
            assert trace.bytes["splice"] >= size - 16384, str(trace)

            raw = session.get(f"http://127.0.0.1:{port}{query}", stream=True).raw
            with open(target, "wb") as file:
                assert copy(raw, file) == size
            assert target.read_bytes() == data
            assert raw.connection is None
    assert len(sockets) == 1
    assert pool.num_connections == 1


@patched
def test_reading_a_part_before_and_after(port: int, served: str, path: str) -> None:
    """The counters go on where they are: read, copy some, read the rest."""
    import urllib3

    import gzc

    from .._clients import KIB, both, content

    name, data = content(served, 300 * KIB)
    target = Path(path, "got")

    def run(copy: Callable[[Any, Any, int], object]) -> list[Any]:
        states = []
        raw = urllib3.HTTPConnectionPool("127.0.0.1", port).urlopen(
            "GET", f"/file?name={Path(name).name}", preload_content=False
        )
        assert raw.read(1000) == data[:1000]
        with open(target, "wb") as file:
            copy(raw, file, 200 * KIB)
        assert target.read_bytes() == data[1000 : 200 * KIB + 1000]
        states += [raw.tell(), raw.length_remaining, raw.closed]
        assert raw.read() == data[200 * KIB + 1000 :]
        return [*states, raw.tell(), raw.length_remaining, raw.closed, raw.connection is None]

    def by_hand(src: Any, dst: Any, count: int) -> None:
        dst.write(src.read(count))

    assert run(by_hand) == run(gzc.copy) == both(lambda: run(by_hand))


@patched
def test_only_the_body_and_not_what_follows(path: str) -> None:
    """O13, D12: this body and the next response have come in one piece, and lie in one buffer."""
    import gzc

    from .._clients import Serving, answering, copyfileobj

    first, second = b"1" * 1000, b"2" * 70_000
    two = b"".join(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body for body in (first, second))
    target = Path(path, "got")
    with Serving(answering(two)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/")
        with contextlib.closing(connection.getresponse()) as response:
            sock = connection.sock
            one = response.fp
            with open(target, "wb") as file:
                gzc.copy(response, file)
            assert target.read_bytes() == first
            assert response.isclosed()
            assert one.closed
        assert sock is connection.sock

    with Serving(answering(OK + b"Content-Length: 5\r\n\r\nhello" + b"more that nobody asked for" * 5000)) as server:
        response = urllib.request.urlopen(server.url)
        with open(target, "wb") as file:
            assert copyfileobj(response, file) == 5
        assert target.read_bytes() == b"hello"


@patched
def test_urlopen_and_urlretrieve(port: int, served: str, path: str) -> None:
    """A named file, a temporary one, a reporthook; small and large; file: as ever."""
    import gzc

    from .._clients import KIB, MIB, both, content, copyfileobj

    target = Path(path, "got")
    for size in (0, 1, 64 * KIB + 1, 3 * MIB):
        name, data = content(served, size)
        url = f"http://127.0.0.1:{port}/file?name={Path(name).name}"
        with urllib.request.urlopen(url) as response, open(target, "wb") as file:
            assert copyfileobj(response, file) == size
        assert target.read_bytes() == data

        with gzc.trace() as trace:
            found, headers = urllib.request.urlretrieve(url, str(target))
        assert (found, headers["Content-Length"]) == (str(target), str(size))
        assert target.read_bytes() == data
        assert trace.bytes["splice"] >= size - 16384

        found, _ = urllib.request.urlretrieve(url)
        assert Path(found).read_bytes() == data
        urllib.request.urlcleanup()
        assert not Path(found).exists()

        def reported(url: str = url) -> list[tuple[int, ...]]:
            calls: list[tuple[int, ...]] = []
            urllib.request.urlretrieve(url, str(target), lambda *numbers: calls.append(numbers))
            return calls

        # How much a read gives is a matter of timing, so only what does not depend on it.
        assert both(lambda: [reported()[0], reported()[-1][1:]])[0] == (0, 8192, size)
        assert target.read_bytes() == data
        assert both(lambda url=f"file://{name}": urllib.request.urlretrieve(url)[0]) == name
        urllib.request.urlretrieve(f"file://{name}", str(target))
        assert target.read_bytes() == data


@patched
def test_a_body_shorter_than_promised_is_what_it_always_was(path: str) -> None:
    """Silence from http.client, IncompleteRead from urllib3, ContentTooShortError from urlretrieve."""
    import urllib3

    import gzc

    from .._clients import KIB, Serving, answering, both, copyfileobj, failure

    part = b"x" * (100 * KIB)
    short = answering(OK + b"Content-Length: 300000\r\n\r\n" + part)
    target = Path(path, "got")

    def by_urlretrieve() -> list[Any]:
        with Serving(short) as server, pytest.raises(urllib.error.ContentTooShortError) as caught:
            urllib.request.urlretrieve(server.url, str(target))
        return [str(caught.value), caught.value.content[0], target.stat().st_size]

    def by_http_client() -> list[Any]:
        with Serving(short) as server, open(target, "wb") as file:
            response = urllib.request.urlopen(server.url)
            copyfileobj(response, file)
            return [file.tell(), response.length, response.isclosed()]

    def by_urllib3(**options: Any) -> list[Any]:
        with Serving(short) as server, open(target, "wb") as file:
            raw = urllib3.PoolManager().urlopen("GET", server.url, preload_content=False, **options)
            chain = failure(lambda: copyfileobj(raw, file))
            # Where read raises, the part of its last 64 KiB that it had is lost in stock, and delivered here.
            assert file.tell() == len(part) or gzc.patched() == ()
            return [*chain, raw.tell(), raw.length_remaining, raw.closed, raw.connection is None]

    assert "only 102400 out of 300000" in both(by_urlretrieve)[0]
    assert both(by_http_client) == [len(part), 200_000 - 2400, True]
    assert both(by_urllib3)[0] == "urllib3.exceptions.ProtocolErrorNone"
    assert both(lambda: by_urllib3(enforce_content_length=False))[0] == "no failure"


@patched
def test_encoded_bodies_are_decoded_as_ever(port: int, served: str, path: str) -> None:
    """O7: decoded, they go the old way; as they came over the wire, below."""
    import requests
    import urllib3

    import gzc

    from .._clients import KIB, content, copyfileobj

    name, data = content(served, 200 * KIB)
    target = Path(path, "got")
    query = f"/file?name={Path(name).name}&gzip=1"
    pool = urllib3.HTTPConnectionPool("127.0.0.1", port)
    for decode, expected in ((True, data), (False, gzip.compress(data, 1))):
        raw = pool.urlopen("GET", query, preload_content=False, decode_content=decode)
        with open(target, "wb") as file, gzc.trace() as trace:
            copyfileobj(raw, file)
        got = target.read_bytes()
        assert got == expected or (not decode and gzip.decompress(got) == data)
        assert bool(trace.bytes["splice"]) is not decode
        assert raw.connection is None
    raw = requests.get(f"http://127.0.0.1:{port}{query}", stream=True).raw
    with open(target, "wb") as file:
        assert copyfileobj(raw, file) > 0
    assert gzip.decompress(target.read_bytes()) == data
    assert requests.get(f"http://127.0.0.1:{port}{query}").content == data
    # the idiom of many a program, which wants decoded bytes from the raw response
    raw = requests.get(f"http://127.0.0.1:{port}{query}", stream=True).raw
    raw.read = functools.partial(raw.read, decode_content=True)
    with open(target, "wb") as file:
        assert copyfileobj(raw, file) == 0
    assert target.read_bytes() == data
    # begun to be decoded, so that what is left is no longer what is on the wire
    raw = pool.urlopen("GET", query, preload_content=False)
    start = raw.read(10)
    with open(target, "wb") as file:
        assert copyfileobj(raw, file) == 0
    assert start + target.read_bytes() == data


@patched
def test_other_framings(port: int, served: str, path: str) -> None:
    """Chunked: the old way. To the end of the connection: spliced. HEAD, 204, 304: nothing, and used again."""
    import urllib3

    import gzc

    from .._clients import KIB, Serving, answering, content, copyfileobj

    name, data = content(served, 200 * KIB)
    target = Path(path, "got")
    pool = urllib3.HTTPConnectionPool("127.0.0.1", port)
    connection = http.client.HTTPConnection("127.0.0.1", port)

    connection.request("GET", f"/file?name={Path(name).name}&chunked=1")
    for body in (
        connection.getresponse(),
        pool.urlopen("GET", f"/file?name={Path(name).name}&chunked=1", preload_content=False),
    ):
        with open(target, "wb") as file:
            assert gzc.explain(body, file).mechanism == "userspace"
            assert copyfileobj(body, file) == 0
        assert target.read_bytes() == data

    with Serving(answering(b"HTTP/1.0 200 OK\r\n\r\n", data)) as server:
        for response in (
            urllib.request.urlopen(server.url),
            urllib3.PoolManager().urlopen("GET", server.url, preload_content=False),
        ):
            with open(target, "wb") as file:
                assert copyfileobj(response, file) == len(data)
            assert target.read_bytes() == data
            assert response.closed or response.isclosed()

    empty = (("HEAD", f"/file?name={Path(name).name}"), ("GET", "/status?code=204"), ("GET", "/status?code=304"))
    for method, query in empty:
        connection.request(method, query)
        response = connection.getresponse()
        with open(target, "wb") as file:
            assert copyfileobj(response, file) == 0
        assert response.isclosed()
        raw = pool.urlopen(method, query, preload_content=False)
        with open(target, "wb") as file:
            assert copyfileobj(raw, file) == 0
        assert raw.connection is None
    assert pool.num_connections == 1


@patched
def test_an_interruption_leaves_what_it_always_left(path: str) -> None:
    """Timeouts of gevent and of the socket, and a reset, in the middle of the body: exception and state."""
    import gevent
    import urllib3

    from .._clients import KIB, Serving, answering, both, copyfileobj, failure, nothing_left, reset, silent

    part = OK + b"Content-Length: 300000\r\n\r\n" + b"x" * (100 * KIB)
    target = Path(path, "got")

    def by_http_client(script: Any, timeout: float | None) -> list[Any]:
        with Serving(script) as server, open(target, "wb") as file:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
            connection.request("GET", "/")
            response = connection.getresponse()
            chain = failure(lambda: gevent.with_timeout(0.3, copyfileobj, response, file))
            again = failure(lambda: gevent.with_timeout(0.1, response.read, 10))
            return [*chain, response.isclosed(), *again]

    def by_urllib3(script: Any, timeout: float | None) -> list[Any]:
        with Serving(script) as server, open(target, "wb") as file:
            pool = urllib3.HTTPConnectionPool("127.0.0.1", server.port, timeout=timeout, maxsize=1)
            raw = pool.urlopen("GET", "/", preload_content=False)
            chain = failure(lambda: gevent.with_timeout(0.3, copyfileobj, raw, file))
            assert pool.pool is not None
            return [*chain, raw.closed, raw.connection is None, pool.pool.qsize(), *failure(lambda: raw.read(10))]

    with nothing_left():
        for run in (by_http_client, by_urllib3):
            for then, timeout in ((silent, None), (silent, 0.1), (reset, None)):
                script = answering(part, then=then)
                chain = both(lambda run=run, script=script, timeout=timeout: run(script, timeout))
                assert chain[0] != "no failure", (run, then, timeout)


@patched
def test_a_call_interrupted_goes_on(path: str) -> None:
    """A Timeout at a sink that is stuck, when the whole body has come: the rest is delivered, then it is closed."""
    import gevent
    import urllib3
    from gevent import socket as gsocket

    import gzc

    from .._clients import KIB, Serving, answering, failure

    data = bytes(range(256)) * (2 * KIB)
    with Serving(answering(OK + b"Content-Length: %d\r\n\r\n" % len(data) + data)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/")
        pool = urllib3.HTTPConnectionPool("127.0.0.1", server.port)
        for response in (connection.getresponse(), pool.urlopen("GET", "/", preload_content=False)):
            here, there = gsocket.socketpair()
            with here, there:
                transfer = gzc.Transfer(response, here)
                with pytest.raises(gevent.Timeout), gevent.Timeout(1.0):
                    transfer.run()
                assert transfer.in_flight > 0
                taken = gevent.spawn(lambda there=there: b"".join(iter(lambda: there.recv(1 << 16), b"")))
                assert transfer.run() == len(data)
                here.close()
                assert taken.get(timeout=20) == data
            assert response.isclosed()
        with open(Path(path, "got"), "wb") as file:
            assert failure(lambda: gzc.copy(response, file)) == ["builtins.ValueErrorNone"]  # closed, it says so


@patched
def test_a_copy_of_a_short_body_raises_what_read_raises(path: str) -> None:
    """gzc.copy, with no loop after it: IncompleteRead of urllib3 all the same."""
    import urllib3

    import gzc

    from .._clients import KIB, Serving, answering, failure

    short = answering(OK + b"Content-Length: 300000\r\n\r\n" + b"x" * (100 * KIB))
    with Serving(short) as server, open(Path(path, "got"), "wb") as file:
        raw = urllib3.PoolManager().urlopen("GET", server.url, preload_content=False)
        chain = failure(lambda: gzc.copy(raw, file))
        assert chain == ["urllib3.exceptions.ProtocolErrorNone", "urllib3.exceptions.IncompleteReadNone"]
        assert file.tell() == 100 * KIB


@patched
def test_a_sink_that_fails_is_not_the_responses_fault(port: int, served: str, path: str) -> None:
    """C21: EFBIG from the file, spliced into, is raised as itself, and the response is not closed for it."""
    import resource

    import urllib3

    import gzc

    from .._clients import MIB, both, content, copyfileobj, failure, nothing_left

    name, _ = content(served, 3 * MIB)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, resource.RLIM_INFINITY))

    def run() -> list[Any]:
        raw = urllib3.HTTPConnectionPool("127.0.0.1", port).urlopen(
            "GET", f"/file?name={Path(name).name}", preload_content=False
        )
        with open(Path(path, "got"), "wb") as file:
            chain = failure(lambda: copyfileobj(raw, file))
            assert file.tell() == MIB
        return [*chain, raw.closed, raw.connection is None]

    with nothing_left(), gzc.trace() as trace:
        assert both(run) == ["builtins.OSError27", False, False]
    assert trace.bytes["splice"] > MIB // 2


@patched
def test_a_response_with_methods_of_its_own_is_read_by_them(port: int, served: str, path: str) -> None:
    """O9: a subclass, an instance and a class whose read somebody has wrapped, as tracers and tests do."""
    import urllib3

    from .._clients import KIB, content, copyfileobj

    name, data = content(served, 200 * KIB)
    target = Path(path, "got")
    query = f"/file?name={Path(name).name}"

    class Swapping(http.client.HTTPResponse):
        def read(self, amt: int | None = None) -> bytes:
            return super().read(amt).swapcase()

    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.response_class = Swapping
    connection.request("GET", query)
    with open(target, "wb") as file:
        assert copyfileobj(connection.getresponse(), file) == 0
    assert target.read_bytes() == data.swapcase()

    raw = urllib3.HTTPConnectionPool("127.0.0.1", port).urlopen("GET", query, preload_content=False)
    read = raw._fp.read
    raw._fp.read = lambda *size: read(*size).swapcase()
    with open(target, "wb") as file:
        assert copyfileobj(raw, file) == 0
    assert target.read_bytes() == data.swapcase()

    below = http.client.HTTPResponse.read
    try:
        http.client.HTTPResponse.read = lambda self, amt=None: below(self, amt).swapcase()  # type: ignore[method-assign]
        raw = urllib3.HTTPConnectionPool("127.0.0.1", port).urlopen("GET", query, preload_content=False)
        with open(target, "wb") as file:
            assert copyfileobj(raw, file) == 0
    finally:
        http.client.HTTPResponse.read = below  # type: ignore[method-assign]
    assert target.read_bytes() == data.swapcase()


@patched
def test_responses_of_other_versions_are_read_by_themselves() -> None:
    """What lacks the attributes known here keeps them under other names."""
    import urllib3.response

    import gzc

    for cls in (http.client.HTTPResponse, urllib3.response.HTTPResponse):
        assert {"http.client", "urllib3"} <= set(gzc.patched())
        assert cls.__gzc_source__(cls.__new__(cls)) is None
