"""Request bodies out of files: http.client, urllib3, requests, geventhttpclient, botocore's way of using them.

Rules: a real gunicorn without gzc receives, and says what it received and how it was framed; how the bytes were
sent is asserted by gzc.trace. Where an exception or a state is at stake the same is done without gzc, and compared.
"""

import contextlib
import http.client
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .._program import patched, program
from .._server import Folder, Gunicorn

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(folder: Folder) -> Iterator[Gunicorn]:
    with Gunicorn("bodies:app", folder.path, stock=True) as gunicorn:
        yield gunicorn


@pytest.fixture
def port(running: Gunicorn) -> Iterator[int]:
    with running.unharmed():
        yield int(running.address[1])


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path)


@patched
def test_http_client_sends_files_of_every_size(port: int, path: str) -> None:
    """With a Content-Length and chunked, over one connection: framing, position and keep-alive as ever."""
    import gzc

    from .._clients import SIZES, beyond_small, content, digest

    connection = http.client.HTTPConnection("127.0.0.1", port)
    used = set()
    for size in SIZES:
        name, data = content(path, size)
        for headers, framing in (({"Content-Length": str(size)}, size), ({}, "chunked")):
            with open(name, "rb") as file, gzc.trace() as trace:
                connection.request("PUT", "/", file, headers)
                reply = connection.getresponse().read().decode()
                assert reply == digest(data, framing), (size, framing)
                assert file.tell() == size
            assert trace.bytes["sendfile"] == beyond_small(size), (size, framing, str(trace))
            used.add(connection.sock)
    assert len(used) == 1


@patched
def test_requests_and_urllib3_send_files_of_every_size(port: int, path: str) -> None:
    import requests
    import urllib3

    import gzc

    from .._clients import SIZES, beyond_small, both, content, digest

    session, pool = requests.Session(), urllib3.HTTPConnectionPool("127.0.0.1", port)
    for size in SIZES:
        name, data = content(path, size)
        with open(name, "rb") as file, gzc.trace() as trace:
            # of an empty file requests does not say the length
            framing = size or "chunked"
            assert session.put(f"http://127.0.0.1:{port}/", data=file).text == digest(data, framing)
            assert file.tell() == size
            file.seek(0)
            reply = pool.urlopen("PUT", "/", body=file, headers={"Content-Length": str(size)})
            assert reply.data.decode() == digest(data, size)
            assert file.tell() == size
        with open(name, "rb") as file:  # framed by chunks, which urllib3 formats from bytes
            assert pool.urlopen("PUT", "/", body=file).data.decode() == digest(data, "chunked")
        with open(name, "rb") as file:
            assert pool.urlopen("PUT", "/", body=file, chunked=True).data.decode() == digest(data, "chunked")

        def contradictory(name: str = name, size: int = size) -> int:
            with open(name, "rb") as file:
                headers = {"Content-Length": str(size)}
                return int(
                    urllib3.HTTPConnectionPool("127.0.0.1", port)
                    .urlopen("PUT", "/", body=file, headers=headers, chunked=True)
                    .status
                )

        assert both(contradictory) == 400
        assert trace.bytes["sendfile"] == 2 * beyond_small(size), (size, str(trace))
    assert pool.num_connections == 1


@patched
def test_a_large_file_over_every_client(port: int, path: str) -> None:
    """64 MiB. geventhttpclient sends by sock.sendfile, so the seam on that is what it needs."""
    import geventhttpclient
    import requests

    import gzc

    from .._clients import MIB, content, digest

    size = 64 * MIB
    name, data = content(path, size)
    with open(name, "rb") as file:
        with gzc.trace() as trace:
            assert requests.put(f"http://127.0.0.1:{port}/", data=file).text == digest(data, size)
        assert trace.bytes["sendfile"] == size
        file.seek(0)
        connection = http.client.HTTPConnection("127.0.0.1", port)
        with gzc.trace() as trace:
            connection.request("PUT", "/", file)
            assert connection.getresponse().read().decode() == digest(data, "chunked")
        assert trace.bytes["sendfile"] == size
        file.seek(0)
        with gzc.trace() as trace, contextlib.closing(geventhttpclient.HTTPClient("127.0.0.1", port)) as client:
            assert bytes(client.request("PUT", "/", body=file).read()).decode() == digest(data, size)
        assert trace.bytes["sendfile"] == size, str(trace)
        assert trace.calls["userspace"] == 0


@patched
def test_files_read_from_before_are_sent_from_where_they_are(port: int, path: str) -> None:
    """O1, O2: the rest of a file, also when its descriptor is elsewhere; unbuffered, temporary and r+ files."""
    import requests

    import gzc

    from .._clients import KIB, content, digest

    name, data = content(path, 100 * KIB + 3)

    def plain() -> Any:
        return open(name, "rb")

    def unbuffered() -> Any:
        return open(name, "rb", buffering=0)

    def updated() -> Any:
        return open(name, "r+b")

    def temporary() -> Any:
        file = tempfile.NamedTemporaryFile(dir=path)  # noqa: SIM115
        file.write(data)
        return file

    for make in (plain, unbuffered, updated, temporary):
        for before in (0, 10, 5000):
            with make() as file, gzc.trace() as trace:
                file.seek(0)
                file.read(before + 4)
                file.seek(before)
                rest = data[before:]
                assert requests.put(f"http://127.0.0.1:{port}/", data=file).text == digest(rest, len(rest))
                assert file.tell() == len(data)
                file.seek(before)
                connection = http.client.HTTPConnection("127.0.0.1", port)
                connection.request("PUT", "/", file)
                assert connection.getresponse().read().decode() == digest(rest, "chunked")
                connection.close()
            assert trace.bytes["sendfile"] == 2 * len(rest), (make, before)


@patched
def test_other_bodies_go_as_ever(port: int, path: str) -> None:
    """O7, O9, O11: a file number is no consent, and what is no file is none; the reply is that of stock."""
    import gzip

    import requests

    import gzc

    from .._clients import KIB, both, content

    name, data = content(path, 100 * KIB)
    Path(path, "text").write_text("ä" * 50_000, encoding="utf-8")
    Path(path, "packed").write_bytes(gzip.compress(data, 1))

    class Counting(io.BufferedReader):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(size).swapcase()

    bodies = {
        "memory": lambda: io.BytesIO(data),
        "bytes": lambda: data,
        "generator": lambda: (data[start : start + 999] for start in range(0, len(data), 999)),
        "text file": lambda: io.TextIOWrapper(io.FileIO(Path(path, "text")), encoding="utf-8"),
        "gzip file": lambda: gzip.GzipFile(Path(path, "packed")),
        "subclass": lambda: Counting(io.FileIO(name)),
    }
    for kind, make in bodies.items():

        def by_http_client(make: Any = make) -> str:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("PUT", "/", make())
            return connection.getresponse().read().decode()

        def by_urllib3(make: Any = make) -> str:
            return requests.put(f"http://127.0.0.1:{port}/", data=make(), headers={"X": "y"}).text

        with gzc.trace() as trace:
            assert " 0 " not in both(by_http_client), kind
            if kind != "gzip file":  # of which requests takes the compressed length: not to be had from anybody
                assert " 0 " not in both(by_urllib3), kind
        assert not trace.bytes["sendfile"], kind


@patched
def test_a_chunk_that_cannot_be_kept_costs_the_connection(path: str) -> None:
    """X4, F5: the file shrinks after a chunk was announced, told by the audit event; no framing is made up."""
    from .._clients import KIB, MIB, Serving, content, failure

    name, data = content(path, 3 * MIB)
    received = bytearray()

    def take(sock: Any) -> None:
        while block := sock.recv(1 << 16):
            received.extend(block)

    events = []

    def strike(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "http.client.send" and hasattr(arguments[1], "read"):
            events.append(arguments[1])
            if len(events) == 2:
                os.truncate(name, 256 * KIB + 1000)

    sys.addaudithook(strike)
    with Serving(take) as server, open(name, "rb") as file:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        assert failure(lambda: connection.request("PUT", "/", file)) == ["builtins.ConnectionAbortedError103"]
        assert connection.sock is None
        import gevent

        with gevent.Timeout(20):
            while not bytes(received).endswith(data[: 256 * KIB + 1000][-100:]):
                gevent.sleep(0.001)
    body = bytes(received).partition(b"\r\n\r\n")[2]
    assert body == b"40000\r\n" + data[: 256 * KIB] + b"\r\n40000\r\n" + data[256 * KIB :][:1000]


@patched
def test_a_file_that_shrinks_between_chunks_ends_there(port: int, path: str) -> None:
    """F5: as in a loop of reads, the body is what was left, and well framed."""
    from .._clients import MIB, content, digest

    name, data = content(path, 3 * MIB)
    done = []

    def strike(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "http.client.send" and hasattr(arguments[1], "read") and not done:
            done.append(os.truncate(name, 2 * MIB + 5))

    sys.addaudithook(strike)
    with open(name, "rb") as file:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("PUT", "/", file)
        assert connection.getresponse().read().decode() == digest(data[: 2 * MIB + 5], "chunked")
    assert done


@patched
def test_who_wants_to_see_bytes_sees_them(port: int, path: str) -> None:
    """O9: debuglevel, an override of send or of what reads the blocks, in a class, a module or on an object: blocks of
    blocksize, and no sendfile."""
    import urllib3

    import gzc

    from .._clients import KIB, both, content, digest

    name, data = content(path, 100 * KIB)
    headers = {"Content-Length": str(len(data))}

    def printing() -> list[str]:
        printed = io.StringIO()
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.set_debuglevel(1)
        with contextlib.redirect_stdout(printed), open(name, "rb") as file:
            connection.request("PUT", "/", file, headers)
            connection.getresponse().read()
            connection.putrequest("PUT", "/")
            connection.putheader("Content-Length", str(len(data)))
            connection.endheaders()
            file.seek(0)
            connection.send(file)
            connection.getresponse().read()
        lines = printed.getvalue().splitlines()
        return [line for line in lines if not line.startswith(("header: Date", "send: <"))]

    def overridden() -> list[Any]:
        seen = []

        class Seeing(http.client.HTTPConnection):
            def send(self, data: Any) -> None:
                seen.append(len(data))
                super().send(data)

        connection = Seeing("127.0.0.1", port)
        with open(name, "rb") as file:
            connection.request("PUT", "/", file, headers)
        return [*seen[1:], connection.getresponse().read()]

    def on_the_object() -> list[Any]:
        seen = []
        connection = urllib3.connection.HTTPConnection("127.0.0.1", port)
        below = connection.send
        connection.send = lambda data: (seen.append(len(data)), below(data))[1]  # type: ignore[method-assign]
        with open(name, "rb") as file:
            connection.request("PUT", "/", file, headers)
        return [*seen[1:], connection.getresponse().data]

    def reading() -> list[Any]:
        class Shouting(http.client.HTTPConnection):
            def _read_readable(self, readable: Any) -> Iterator[bytes]:
                for block in super()._read_readable(readable):  # type: ignore[misc]
                    yield block[::-1]

        connection = Shouting("127.0.0.1", port)
        with open(name, "rb") as file:
            connection.request("PUT", "/", file, headers)
        reply = connection.getresponse().read()
        with open(name, "rb") as file:
            connection.request("PUT", "/", file)
        return [reply, connection.getresponse().read()]

    def cutting() -> list[Any]:
        module = sys.modules["urllib3.connection"]
        plain = module.body_to_chunks  # type: ignore[attr-defined]
        seen = []
        with pytest.MonkeyPatch.context() as patching:
            patching.setattr(
                module, "body_to_chunks", lambda body, *a, **k: (seen.append(type(body)), plain(body, *a, **k))[1]
            )
            connection = urllib3.connection.HTTPConnection("127.0.0.1", port)
            with open(name, "rb") as file:
                connection.request("PUT", "/", file, headers)
            return [*seen, connection.getresponse().data]

    with gzc.trace() as trace:
        assert any("send: b" in line for line in both(printing))
        assert both(reading)[0].decode() != digest(data, len(data))
        assert both(cutting)[-1].decode() == digest(data, len(data))
        assert both(overridden)[-1].decode() == digest(data, len(data))
        assert both(on_the_object)[-1].decode() == digest(data, len(data))
    assert not trace.bytes["sendfile"]


@patched
def test_a_file_that_is_false_is_sent_all_the_same(port: int, path: str) -> None:
    """http.client and urllib3 leave out a block that is false, and a file may be: Django's without a name."""
    import urllib3

    from .._clients import content, digest

    class False_(tempfile._TemporaryFileWrapper):  # type: ignore[type-arg]
        def __bool__(self) -> bool:
            return False

    name, data = content(path, 1 << 20)
    headers = {"Content-Length": str(len(data))}
    with False_(open(name, "rb"), name, delete=False) as file:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("PUT", "/", file, headers)
        assert connection.getresponse().read().decode() == digest(data, len(data))
    with False_(open(name, "rb"), name, delete=False) as file:
        pool = urllib3.HTTPConnectionPool("127.0.0.1", port, timeout=10)
        reply = pool.urlopen("PUT", "/", body=file, headers=headers, retries=False)
        assert reply.data.decode() == digest(data, len(data))


@patched
def test_a_subclass_in_the_place_of_urllib3s_connection(port: int, path: str) -> None:
    """What a connection inherits is looked for above the class that was patched, whatever has its name now."""
    import urllib3

    import gzc

    from .._clients import content, digest

    name, data = content(path, 1 << 20)
    headers = {"Content-Length": str(len(data))}
    before = urllib3.connection.HTTPConnection

    class Own(before):  # type: ignore[misc, valid-type]
        pass

    urllib3.connection.HTTPConnection = Own  # type: ignore[misc]
    for connection in (Own("127.0.0.1", port), before("127.0.0.1", port)):
        with open(name, "rb") as file, gzc.trace() as trace:
            connection.request("PUT", "/", file, headers)
            assert connection.getresponse().data.decode() == digest(data, len(data))
        assert trace.bytes["sendfile"] == len(data)


@patched
def test_botocores_override_of_send_passes_files_on(port: int, path: str) -> None:
    """AWSConnection sends nothing more after an early answer to Expect, and everything else as it is."""
    import urllib3

    import gzc

    from .._clients import KIB, content, digest

    class AWSConnection(urllib3.connection.HTTPConnection):
        answered = False

        def send(self, str: Any) -> Any:
            return None if self.answered else super().send(str)

    AWSConnection.__module__, AWSConnection.__qualname__ = "botocore.awsrequest", "AWSConnection"
    name, data = content(path, 100 * KIB)
    connection = AWSConnection("127.0.0.1", port)
    with open(name, "rb") as file, gzc.trace() as trace:
        connection.request("PUT", "/", file, {"Content-Length": str(len(data))})
        assert connection.getresponse().data.decode() == digest(data, len(data))
    assert trace.bytes["sendfile"] == len(data)
    with open(name, "rb") as file, gzc.trace() as trace:
        connection.connect()
        connection.answered = True
        connection.request("PUT", "/", file, {"Content-Length": str(len(data))})
        assert file.tell() == 0
    assert not trace.bytes["sendfile"]


@patched
def test_redirects_and_retries_send_the_same_body_again(port: int, path: str) -> None:
    """307 from requests and urllib3; a server that resets the first connection in the middle of the body."""
    import requests
    import urllib3

    import gzc

    from .._clients import MIB, Serving, both, content, digest, head, reset

    name, data = content(path, 3 * MIB)
    rest = data[7:]

    def by_redirect() -> list[str]:
        with open(name, "rb") as file:
            file.seek(7)
            one = requests.put(f"http://127.0.0.1:{port}/moved", data=file)
            file.seek(7)
            headers = {"Content-Length": str(len(rest))}
            # The pool rewinds; urllib3's PoolManager, one floor up, does not.
            two = urllib3.HTTPConnectionPool("127.0.0.1", port).urlopen("PUT", "/moved", body=file, headers=headers)
            return [one.text, two.data.decode(), str(len(one.history)), str(file.tell())]

    expected = digest(rest, len(rest))
    with gzc.trace() as trace:
        assert both(by_redirect) == [expected, expected, "1", str(len(data))]
    assert trace.bytes["sendfile"] == 4 * len(rest)

    def break_off(sock: Any) -> None:
        got = len(head(sock))
        while got < MIB:
            got += len(sock.recv(1 << 16))
        reset(sock)

    def take_all(sock: Any) -> None:
        body = head(sock).partition(b"\r\n\r\n")[2]
        while len(body) < len(rest) and (block := sock.recv(1 << 18)):
            body += block
        answer = digest(body, len(body)).encode()
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))

    def by_retry() -> list[str]:
        with Serving(break_off, take_all) as server, open(name, "rb") as file:
            file.seek(7)
            headers = {"Content-Length": str(len(rest))}
            reply = urllib3.PoolManager().urlopen("PUT", server.url, body=file, headers=headers, retries=2)
            return [reply.data.decode(), str(server.connections), str(file.tell())]

    with gzc.trace() as trace:
        assert both(by_retry) == [expected, "2", str(len(data))]
    assert trace.bytes["sendfile"] > len(rest)


@patched
def test_a_server_that_goes_away_raises_what_it_always_raised(path: str) -> None:
    """Reset in the middle of the body, for each client: the same exceptions in the same wrapping."""
    import requests
    import urllib3

    from .._clients import MIB, Serving, both, content, failure, head, nothing_left, reset

    name, data = content(path, 16 * MIB)

    def break_off(sock: Any) -> None:
        head(sock)
        reset(sock)

    def run(client: str) -> list[str]:
        with Serving(break_off) as server, open(name, "rb") as file:
            headers = {"Content-Length": str(len(data))}

            def upload() -> None:
                if client == "requests":
                    requests.put(server.url, data=file)
                elif client == "urllib3":
                    urllib3.PoolManager().urlopen("PUT", server.url, body=file, headers=headers, retries=False)
                else:
                    connection = http.client.HTTPConnection("127.0.0.1", server.port)
                    connection.request("PUT", "/", file, headers if client == "http.client" else {})

            chain = failure(upload)
            # Whether the RST or the EPIPE after it is seen is a matter of timing, in stock, too.
            return [link.replace("BrokenPipeError32", "ConnectionResetError104") for link in chain]

    with nothing_left():
        for client in ("http.client", "http.client, chunked", "urllib3", "requests"):
            assert both(lambda client=client: run(client)) != ["no failure"], client


@patched
def test_a_timeout_in_the_middle_leaves_what_it_always_left(path: str) -> None:
    """gevent.Timeout and the socket's own, while the server does not read: the connection's state is stock's."""
    import gevent
    import urllib3

    from .._clients import MIB, Serving, both, content, failure, nothing_left, silent

    name, data = content(path, 64 * MIB)
    headers = {"Content-Length": str(len(data))}

    def run(client: str, timeout: float | None) -> list[Any]:
        with Serving(silent) as server, open(name, "rb") as file:
            if client == "urllib3":
                pool = urllib3.HTTPConnectionPool("127.0.0.1", server.port, timeout=timeout, retries=False)
                chain = failure(lambda: gevent.with_timeout(0.3, pool.urlopen, "PUT", "/", file, headers))
                return [*chain, pool.num_connections, pool.pool is not None and pool.pool.qsize()]
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
            fields = headers if client == "http.client" else {}
            chain = failure(lambda: gevent.with_timeout(0.3, connection.request, "PUT", "/", file, fields))
            again = failure(lambda: connection.request("GET", "/"))
            assert 0 < file.tell() < len(data)
            return [*chain, connection.sock is None, *again]

    with nothing_left():
        for client in ("http.client", "http.client, chunked", "urllib3"):
            for timeout in (None, 0.1):
                chain = both(lambda client=client, timeout=timeout: run(client, timeout))
                assert chain[0] != "no failure"


@pytest.fixture(scope="module")
def tls(folder: Folder, certificates: Any) -> Iterator[list[Any]]:
    """The port of a server with TLS, the authority's certificate, and the folder it serves."""
    context, options = certificates
    authority = folder.path / "authority.pem"
    import ssl

    authority.write_text("".join(ssl.DER_cert_to_PEM_cert(der) for der in context.get_ca_certs(binary_form=True)))
    with Gunicorn("bodies:app", folder.path, *options, stock=True, tls=context) as gunicorn:
        yield [int(gunicorn.address[1]), str(authority), str(folder.path)]


@patched
def test_tls_goes_the_old_way_and_nothing_is_sent_in_the_clear(tls: list[Any]) -> None:
    """O10, P9: seen by a relay that keeps what passes, in both directions, for each client and sock.sendfile."""
    import ssl

    import gevent
    import geventhttpclient
    import requests
    from gevent import socket as gsocket

    import gzc

    from .._clients import MIB, Serving, copyfileobj, digest

    port, authority, folder = tls
    mark = b"in the clear, for all to read. "
    data = (mark * (MIB // len(mark) + 1))[: MIB + 3]
    name = Path(folder, "clear")
    name.write_bytes(data)
    seen = bytearray()

    def relay(sock: Any) -> None:
        with gsocket.create_connection(("127.0.0.1", port)) as other:

            def pass_on(src: Any, dst: Any) -> None:
                with contextlib.suppress(OSError):
                    while block := src.recv(1 << 16):
                        seen.extend(block)
                        dst.sendall(block)
                    dst.shutdown(gsocket.SHUT_WR)

            gevent.joinall([gevent.spawn(pass_on, sock, other), gevent.spawn(pass_on, other, sock)])

    context = ssl.create_default_context(cafile=authority)
    with Serving(relay) as server, open(name, "rb") as file, gzc.trace() as trace:
        url = f"https://localhost:{server.port}/"
        assert requests.put(url, data=file, verify=authority).text == digest(data, len(data))
        connection = http.client.HTTPSConnection("localhost", server.port, context=context)
        for headers, framing in (({"Content-Length": str(len(data))}, len(data)), ({}, "chunked")):
            file.seek(0)
            connection.request("PUT", "/", file, headers)
            assert connection.getresponse().read().decode() == digest(data, framing)
        file.seek(0)
        client = geventhttpclient.HTTPClient("localhost", server.port, ssl=True, ssl_context_factory=lambda: context)
        with contextlib.closing(client):
            assert bytes(client.request("PUT", "/", body=file).read()).decode() == digest(data, len(data))
        file.seek(0)
        plain = gsocket.create_connection(("127.0.0.1", server.port))
        with context.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(data))
            assert sock.sendfile(file) == len(data)
            assert digest(data, len(data)).encode() in b"".join(iter(lambda: sock.recv(1 << 16), b""))
        response = requests.get(f"{url}file?name=clear", verify=authority, stream=True)
        with open(Path(folder, "got"), "wb") as out:
            assert copyfileobj(response.raw, out) == 0
        assert Path(folder, "got").read_bytes() == data
    assert not trace.bytes["sendfile"]
    assert not trace.bytes["splice"]
    assert len(seen) > 5 * len(data)
    assert mark not in seen


def test_an_older_urllib3_is_left_alone_as_a_whole(tmp_path: Path) -> None:
    """Its response arrives first and its connection has another request: one warning, and no row stays."""
    package = tmp_path / "urllib3"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "response.py").write_text("class HTTPResponse:\n    def read(self, amt=None): return b''\n")
    (package / "connection.py").write_text(
        "import http.client\nclass HTTPConnection(http.client.HTTPConnection):\n"
        "    def request(self, method, url, body=None, headers=None):\n"
        "        super().request(method, url, body=body, headers=headers)\n"
    )
    program(
        f"""
        import gevent.monkey, gzc
        gevent.monkey.patch_all()
        gzc.patch_all()
        sys.path.insert(0, {str(tmp_path)!r})
        import urllib3.response
        assert hasattr(urllib3.response.HTTPResponse, "__gzc_source__")
        import urllib3.connection
        assert not hasattr(urllib3.response.HTTPResponse, "__gzc_source__")
        assert "send" not in vars(urllib3.connection.HTTPConnection)
        assert "urllib3" not in gzc.patched() and "http.client" in gzc.patched()
        (warning,) = records.warnings()
        assert "urllib3.connection.HTTPConnection.request no longer mentions" in warning, warning
        """
    )


@patched
def test_each_seam_works_alone(port: int, path: str) -> None:
    """urllib3's without the standard library's, for uploads and downloads; http.client's without urllib3's."""
    import urllib3

    import gzc

    from .._clients import KIB, content, copyfileobj, digest

    name, data = content(path, 100 * KIB)
    for only, stdlib in ((["urllib3"], True), (None, False)):
        gzc.patch_all(only=only, stdlib=stdlib)
        assert "http.client" not in gzc.patched()
        pool = urllib3.HTTPConnectionPool("127.0.0.1", port)
        with open(name, "rb") as file, gzc.trace() as trace:
            reply = pool.urlopen("PUT", "/", file, {"Content-Length": str(len(data))}, preload_content=False)
            with open(Path(path, "got"), "wb") as out:
                assert copyfileobj(reply, out) > 0
        assert Path(path, "got").read_text() == digest(data, len(data))
        assert reply.connection is None
        assert trace.bytes["sendfile"] == len(data)
    gzc.patch_all(only=["http.client"])
    connection = http.client.HTTPConnection("127.0.0.1", port)
    with open(name, "rb") as file, gzc.trace() as trace:
        connection.request("PUT", "/", file)
        assert connection.getresponse().read().decode() == digest(data, "chunked")
    assert trace.bytes["sendfile"] == len(data)


@patched
def test_unpatching_leaves_every_client_as_it_was() -> None:
    import ftplib
    import urllib.request

    import urllib3

    import gzc

    gzc.unpatch_all()
    owners = (
        *(http.client.HTTPConnection, http.client.HTTPResponse, urllib3.connection.HTTPConnection),
        *(urllib3.response.HTTPResponse, ftplib.FTP, urllib.request),
    )
    before = [dict(vars(owner)) for owner in owners]
    gzc.patch_all()
    seams = {"http.client", "urllib3", "ftplib", "urllib.request"}
    assert seams <= set(gzc.patched())
    changed = [dict(vars(owner)) for owner in owners]
    assert all(one != two for one, two in zip(before, changed, strict=True))
    gzc.unpatch_all()
    assert [dict(vars(owner)) for owner in owners] == before
