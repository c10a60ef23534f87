"""Downloads through a real `gunicorn -k gevent`: the right bytes, rightly framed, request after request.

Rules: the server is a child process, the client parses with h11 (wrong framing is an error there) or is a
client people use (http.client, requests, curl). Nearly every test asks for one more thing on the same
connection, since that is where one byte too many or too few shows. After each test the same worker must serve
and have no error in its log. No time is measured. Ids like O2 or X4 are those of the catalogue of hard cases.

With GZC_TEST_STOCK=1 the same tests run against gunicorn without gzc.
"""

import gzip
import hashlib
import http.client
import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .._http import Client, Reply
from .._lacks import tool
from .._server import Folder, Gunicorn, eventually

KIB, MIB = 1 << 10, 1 << 20
SIZES = [0, 1, 42, 32 * KIB, 32 * KIB + 1, MIB + 3]  # around gzc.config.small = 32 KiB
BIG = 100 * MIB
LONG = 64 * MIB  # far more than the socket buffers of both ends hold (tcp_wmem 4 MiB, receive buffer 64 KiB)


@pytest.fixture(scope="module")
def running(folder: Folder) -> Iterator[Gunicorn]:
    with Gunicorn("both:app", folder.path) as gunicorn:
        yield gunicorn


@pytest.fixture
def server(running: Gunicorn) -> Iterator[Gunicorn]:
    with running.unharmed():
        yield running


def same(got: bytes | bytearray, expected: bytes | bytearray) -> bool:
    """Equal; by digest, so that a failure does not print a hundred megabytes."""
    return len(got) == len(expected) and hashlib.sha256(got).digest() == hashlib.sha256(expected).digest()


def next_request_is_framed(client: Client, server: Gunicorn) -> None:
    """The connection lives, and the next reply begins where the last one ended."""
    reply = client.get("/pid")
    assert reply.complete
    assert reply.status == 200
    assert bytes(reply.body) == str(server.pid).encode()


def test_worker_is_the_one_meant(server: Gunicorn) -> None:
    """GZC=1 alone, with no change to the app, switched gzc on (or GZC_TEST_STOCK left it off)."""
    with server.connect() as client:
        mode = json.loads(client.get("/bare/mode").body)
    assert mode["gzc"]
    assert mode["patched"]


# --- whole files ---


@pytest.mark.parametrize("size", [*SIZES, BIG])
def test_whole_file(server: Gunicorn, folder: Folder, size: int) -> None:
    name, content = folder.sized(size)
    with server.connect() as client:
        reply = client.get(f"/file/{name}")
        assert reply.status == 200
        assert reply.complete
        assert reply.length == size
        assert same(reply.body, content)
        next_request_is_framed(client, server)


def test_several_files_on_one_connection(server: Gunicorn, folder: Folder) -> None:
    with server.connect() as client:
        for size in [*SIZES, *reversed(SIZES)]:
            name, content = folder.sized(size)
            reply = client.get(f"/file/{name}")
            assert reply.complete
            assert reply.length == size
            assert same(reply.body, content)
        next_request_is_framed(client, server)


def test_pipelined(server: Gunicorn, folder: Folder) -> None:
    """All requests are there before the first reply: none may be lost, none answered out of turn."""
    files = [folder.sized(size) for size in [*SIZES, *reversed(SIZES)]]
    targets = [f"/file/{name}" for name, _ in files]
    with server.connect() as client:
        client.send_ahead(*targets, "/pid")
        for target, (_, content) in zip(targets, files, strict=True):
            reply = client.expect(target)
            assert reply.complete
            assert same(reply.body, content)
        assert bytes(client.expect("/pid").body) == str(server.pid).encode()


@pytest.mark.parametrize("size", SIZES)
def test_from_memory(server: Gunicorn, folder: Folder, size: int) -> None:
    name, content = folder.sized(size)
    with server.connect() as client:
        reply = client.get(f"/memory/{name}")
        assert reply.complete
        assert reply.length == size
        assert same(reply.body, content)
        next_request_is_framed(client, server)


@pytest.mark.parametrize("size", [0, 42, MIB + 3])
def test_client_that_closed_its_half(server: Gunicorn, folder: Folder, size: int) -> None:
    """A client may shut down writing after its last request, and still gets the reply."""
    name, content = folder.sized(size)
    with server.connect() as client:
        client.send(f"/file/{name}")
        client.socket.shutdown(1)
        client.head_of_reply()
        reply = client.rest_of_reply()
        assert reply.complete
        assert same(reply.body, content)
        assert client.at_end()


def test_connection_close(server: Gunicorn, folder: Folder) -> None:
    name, content = folder.sized(MIB + 3)
    with server.connect() as client:
        reply = client.get(f"/file/{name}", connection="close")
        assert reply.complete
        assert same(reply.body, content)
        assert client.at_end()


# --- replies without a body, and parts of files ---


@pytest.mark.parametrize("size", SIZES)
def test_head(server: Gunicorn, folder: Folder, size: int) -> None:
    """P8: the headers of the GET, and not one byte of the body."""
    name, _ = folder.sized(size)
    with server.connect() as client:
        reply = client.get(f"/file/{name}", method="HEAD")
        assert reply.status == 200
        assert reply.length == size
        next_request_is_framed(client, server)


@pytest.mark.parametrize("framing", ["", "&length=1048579"])
@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")]
)
def test_file_given_where_no_body_may_be(
    server: Gunicorn, folder: Folder, method: str, status: str, framing: str
) -> None:
    """P8: the app hands over a file, HTTP forbids a body."""
    name, _ = folder.sized(MIB + 3)
    with server.connect() as client:
        reply = client.get(f"/bare/plain?name={name}&status={status.replace(' ', '%20')}{framing}", method=method)
        assert reply.status == int(status[:3])
        assert not reply.body
        assert not reply.chunked
        next_request_is_framed(client, server)


@pytest.mark.parametrize("size", [0, 42, MIB + 3])
def test_not_modified(server: Gunicorn, folder: Folder, size: int) -> None:
    name, _ = folder.sized(size)
    with server.connect() as client:
        first = client.get(f"/file/{name}")
        by_tag = client.get(f"/file/{name}", if_none_match=first.headers["etag"])
        assert by_tag.status == 304
        assert not by_tag.body
        by_date = client.get(f"/file/{name}", if_modified_since=first.headers["last-modified"])
        assert by_date.status == 304
        assert not by_date.body
        changed = client.get(f"/file/{name}", if_none_match='"other"')
        assert changed.status == 200
        assert len(changed.body) == size
        next_request_is_framed(client, server)


RANGES = {
    "first": ("bytes=0-9", slice(0, 10)),
    "first byte": ("bytes=0-0", slice(0, 1)),
    "middle": ("bytes=500000-500999", slice(500_000, 501_000)),
    "large middle": ("bytes=4097-900000", slice(4097, 900_001)),
    "last byte": ("bytes=-1", slice(-1, None)),
    "tail": ("bytes=-100000", slice(-100_000, None)),
    "open": ("bytes=1000-", slice(1000, None)),
    "whole": ("bytes=0-", slice(0, None)),
    "beyond the end": ("bytes=1000000-9999999", slice(1_000_000, None)),
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", RANGES)
def test_range(server: Gunicorn, folder: Folder, name: str, method: str) -> None:
    header, part = RANGES[name]
    file, content = folder.sized(MIB + 3)
    with server.connect() as client:
        reply = client.get(f"/file/{file}", method=method, range=header)
        assert reply.status == 206
        assert reply.length == len(content[part])
        first = range(len(content))[part].start
        assert reply.headers["content-range"] == f"bytes {first}-{first + reply.length - 1}/{len(content)}"
        if method == "GET":
            assert reply.complete
            assert same(reply.body, content[part])
        next_request_is_framed(client, server)


@pytest.mark.parametrize(("size", "header"), [(42, "bytes=42-"), (MIB + 3, "bytes=2000000-"), (MIB + 3, "bytes=9-3")])
def test_range_that_cannot_be(server: Gunicorn, folder: Folder, size: int, header: str) -> None:
    name, _ = folder.sized(size)
    with server.connect() as client:
        reply = client.get(f"/file/{name}", range=header)
        assert reply.status == 416
        next_request_is_framed(client, server)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["GET", "HEAD", "Range", "chunked", "limited"]),
            st.sampled_from([1, 42, 4096, 32 * KIB, 32 * KIB + 1, 300_000]),
            st.integers(0, 1 << 20),
            st.integers(0, 1 << 20),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_sequence_on_one_connection(
    server: Gunicorn, folder: Folder, steps: list[tuple[str, int, int, int]]
) -> None:
    with server.connect() as client:
        for kind, size, one, two in steps:
            name, content = folder.sized(size)
            first, last = sorted((one % size, two % size))
            if kind == "HEAD":
                assert client.get(f"/file/{name}", method="HEAD").length == size
                continue
            if kind == "Range":
                reply, expected = (
                    client.get(f"/file/{name}", range=f"bytes={first}-{last}"),
                    content[first : last + 1],
                )
            elif kind == "chunked":
                reply, expected = client.get(f"/bare/plain?name={name}"), content
            elif kind == "limited":
                reply, expected = client.get(f"/bare/plain?name={name}&length={first}"), content[:first]
            else:
                reply, expected = client.get(f"/file/{name}"), content
            assert reply.complete
            assert same(reply.body, expected)
        next_request_is_framed(client, server)


# --- other ways of framing ---


@pytest.mark.parametrize("route", ["/bare/plain?name=", "/bare/unbuffered?name=", "/open/"])
@pytest.mark.parametrize("size", SIZES)
def test_without_content_length_is_chunked(server: Gunicorn, folder: Folder, size: int, route: str) -> None:
    """P8: an empty file must not end the chunked body twice."""
    name, content = folder.sized(size)
    with server.connect() as client:
        reply = client.get(route + name)
        assert reply.chunked
        assert reply.length is None
        assert reply.complete
        assert same(reply.body, content)
        next_request_is_framed(client, server)


class Http10(http.client.HTTPConnection):
    """http.client speaking HTTP/1.0; h11 does not keep such connections."""

    _http_vsn = 10
    _http_vsn_str = "HTTP/1.0"


def http10(server: Gunicorn) -> Http10:
    assert isinstance(server.address, tuple)
    return Http10(*server.address, timeout=30)


@pytest.mark.parametrize("size", SIZES)
def test_http10_closes(server: Gunicorn, folder: Folder, size: int) -> None:
    name, content = folder.sized(size)
    connection = http10(server)
    connection.request("GET", f"/file/{name}")
    raw = connection.sock
    raw_reply = raw.makefile("rb").read()  # up to the end of the connection, and not one byte more than the body
    head, body = raw_reply.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.0 200 OK")
    assert f"content-length: {size}".encode() in head.lower()
    assert same(body, content)
    connection.close()


@pytest.mark.parametrize("size", SIZES)
def test_http10_with_keep_alive(server: Gunicorn, folder: Folder, size: int) -> None:
    name, content = folder.sized(size)
    connection = http10(server)
    for _ in range(3):
        connection.request("GET", f"/file/{name}", headers={"Connection": "keep-alive"})
        kept = connection.sock
        reply = connection.getresponse()
        assert reply.version == 10
        assert reply.length == size
        assert same(reply.read(), content)
        assert connection.sock is kept, "the connection was not kept"
    connection.close()


@pytest.mark.parametrize("keep", [{}, {"Connection": "keep-alive"}])
@pytest.mark.parametrize("size", SIZES)
def test_http10_without_content_length_closes(
    server: Gunicorn, folder: Folder, size: int, keep: dict[str, str]
) -> None:
    """HTTP/1.0 knows no chunks: the end of the connection is the end of the body."""
    name, content = folder.sized(size)
    connection = http10(server)
    connection.request("GET", f"/bare/plain?name={name}", headers=keep)
    reply = connection.getresponse()
    assert reply.getheader("transfer-encoding") is None
    assert reply.length is None
    assert reply.will_close
    assert same(reply.read(), content)
    connection.close()


@pytest.mark.parametrize(
    ("size", "length"), [(32 * KIB + 1, 100), (MIB + 3, MIB), (MIB + 3, 1), (MIB + 3, 0), (42, 41)]
)
def test_file_longer_than_content_length(server: Gunicorn, folder: Folder, size: int, length: int) -> None:
    name, content = folder.sized(size)
    with server.connect() as client:
        reply = client.get(f"/bare/plain?name={name}&length={length}")
        assert reply.complete
        assert reply.length == length
        assert same(reply.body, content[:length])
        next_request_is_framed(client, server)


# --- the app was there first ---


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [42, 32 * KIB, 32 * KIB + 1, MIB + 3])
def test_app_sniffed_and_went_back(server: Gunicorn, folder: Folder, size: int, framing: str) -> None:
    """O2, O1: after read(4) and seek(0) the descriptor stands at 4096, the file object at 0."""
    name, content = folder.sized(size)
    length = f"&length={size}" if framing == "length" else ""
    with server.connect() as client:
        reply = client.get(f"/bare/sniffed?back=1&name={name}{length}")
        assert reply.complete
        assert reply.chunked == (framing == "chunked")
        assert same(reply.body, content)
        next_request_is_framed(client, server)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [42, 32 * KIB, 32 * KIB + 1, MIB + 3])
def test_app_sniffed_and_did_not_go_back(server: Gunicorn, folder: Folder, size: int, framing: str) -> None:
    """O2, O1: the body begins at the file object's position, not at the descriptor's."""
    name, content = folder.sized(size)
    length = f"&length={size - 4}" if framing == "length" else ""
    with server.connect() as client:
        reply = client.get(f"/bare/sniffed?name={name}{length}")
        assert reply.complete
        assert reply.chunked == (framing == "chunked")
        assert same(reply.body, content[4:])
        next_request_is_framed(client, server)


@pytest.mark.parametrize("size", [42, 32 * KIB + 1, MIB + 3])
def test_app_wrote_before(server: Gunicorn, folder: Folder, size: int) -> None:
    """Content-Length also covers what went by start_response's write(); the file has only the rest of it."""
    name, content = folder.sized(size)
    target = f"/bare/plain?name={name}&written=before"
    with server.connect() as client:
        for length in (6 + size, size, 6 + 10):  # all, and twice less than there is
            reply = client.get(f"{target}&length={length}")
            assert reply.complete
            assert same(reply.body, (b"before" + content)[:length])
        reply = client.get(target)
        assert reply.chunked
        assert reply.complete
        assert same(reply.body, b"before" + content)
        next_request_is_framed(client, server)


@pytest.mark.parametrize("beyond", [0, 1, 5000])
def test_app_is_at_the_end_or_beyond(server: Gunicorn, folder: Folder, beyond: int) -> None:
    """There is nothing left to send: an empty body, and no chunk of a negative size."""
    name, content = folder.sized(MIB + 3)
    target = f"/bare/plain?name={name}&seek={len(content) + beyond}"
    with server.connect() as client:
        reply = client.get(target)
        assert reply.complete
        assert not reply.body
        reply = client.get(f"{target}&length=0")
        assert reply.complete
        assert not reply.body
        next_request_is_framed(client, server)


def test_offset_beyond_4_gib(server: Gunicorn, folder: Folder) -> None:
    """F16, C13: offsets and sizes that fit into no 32 bits. The file is sparse and takes no room."""
    offset, tail = (5 << 30) + 1, folder.sized(MIB + 3)[1]
    with (folder.path / "sparse.bin").open("wb") as file:
        file.seek(offset)
        file.write(tail)
    with server.connect() as client:
        assert client.get("/file/sparse.bin", method="HEAD").length == offset + len(tail)
        reply = client.get("/file/sparse.bin", range=f"bytes={offset}-")
        assert reply.status == 206
        assert same(reply.body, tail)
        for framing in ("", f"&length={len(tail)}"):
            reply = client.get(f"/bare/plain?name=sparse.bin&seek={offset}{framing}")
            assert reply.complete
            assert same(reply.body, tail)
        next_request_is_framed(client, server)


# --- files that are no plain files ---


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [0, 42, 32 * KIB, MIB + 3])
@pytest.mark.parametrize(
    "route",
    [
        *("memory", "temporary", "named", "spooled", "rolled"),
        *("process", "readable", "telling", "claiming", "unbuffered"),
    ],
)
def test_file_objects(server: Gunicorn, folder: Folder, route: str, size: int, framing: str) -> None:
    """P7: with or without fileno(), seekable or not: what read() would give."""
    name, content = folder.sized(size)
    length = f"&length={size}" if framing == "length" else ""
    with server.connect() as client:
        reply = client.get(f"/bare/{route}?name={name}{length}")
        assert reply.complete
        assert reply.chunked == (framing == "chunked")
        assert same(reply.body, content)
        next_request_is_framed(client, server)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [20_000, MIB + 3])
def test_what_has_come_is_not_held_back(server: Gunicorn, folder: Folder, size: int, framing: str) -> None:
    """X9: a block larger than the one asked for would wait here for ever."""
    name, content = folder.sized(size)
    length = f"&length={size}" if framing == "length" else ""
    with server.connect() as client, server.connect() as other:
        client.send(f"/bare/dripping?name={name}{length}")
        client.head_of_reply()
        client.rest_of_reply(stop_at=8 * KIB)
        other.get("/bare/drip")
        reply = client.rest_of_reply()
        assert reply.complete
        assert same(reply.body, content)
        next_request_is_framed(client, server)


@pytest.mark.parametrize("size", [42, 32 * KIB, MIB + 3])
@pytest.mark.parametrize("route", ["plain", "memory"])
def test_wrapper_with_an_iteration_of_its_own(server: Gunicorn, folder: Folder, route: str, size: int) -> None:
    """O9: what a subclass of the server's wrapper gives is the body."""
    name, content = folder.sized(size)
    with server.connect() as client:
        reply = client.get(f"/bare/{route}?name={name}&length={size}&swap=1")
        assert reply.complete
        assert same(reply.body, content.swapcase())
        next_request_is_framed(client, server)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_pipe(server: Gunicorn, folder: Folder, framing: str) -> None:
    """P7: a file number, and no position (ESPIPE)."""
    name, content = folder.sized(MIB + 3)
    length = "&length=40000" if framing == "length" else ""
    with server.connect() as client:
        reply = client.get(f"/bare/pipe?name={name}{length}")
        assert reply.complete
        assert same(reply.body, content[:40_000])
        next_request_is_framed(client, server)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_gzip_file_gives_what_it_holds(server: Gunicorn, folder: Folder, framing: str) -> None:
    """O7: its fileno() is that of the compressed file; the body is the decompressed one."""
    content = folder.sized(MIB + 3)[1].hex().encode()  # compresses to about a half
    (folder.path / "hex.gz").write_bytes(gzip.compress(content))
    length = f"&length={len(content)}" if framing == "length" else ""
    with server.connect() as client:
        reply = client.get(f"/bare/gzipped?name=hex.gz{length}")
        assert reply.complete
        assert same(reply.body, content)
        next_request_is_framed(client, server)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("route", ["counting_buffered", "counting_raw", "counting_instance"])
def test_overridden_read_sees_every_byte(server: Gunicorn, folder: Folder, route: str, framing: str) -> None:
    """O9: a subclass or an instance that counts in read() is not bypassed."""
    name, content = folder.sized(MIB + 3)
    length = f"&length={len(content)}" if framing == "length" else ""
    with server.connect() as client:
        reply = client.get(f"/bare/{route}?name={name}{length}")
        assert reply.complete
        assert same(reply.body, content)
        report = json.loads(client.get(f"/bare/report?route={route}").body)
    assert report["seen"] == len(content)
    assert report["closed"]


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_overridden_read_changes_the_bytes(server: Gunicorn, folder: Folder, framing: str) -> None:
    """O9: what read() gives counts, not what the descriptor holds."""
    name, content = folder.sized(MIB + 3)
    length = f"&length={len(content)}" if framing == "length" else ""
    with server.connect() as client:
        reply = client.get(f"/bare/masked?name={name}{length}")
        assert reply.complete
        assert same(reply.body, bytes(255 - byte for byte in content))
        next_request_is_framed(client, server)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_fileno_of_something_else(server: Gunicorn, folder: Folder, framing: str) -> None:
    """O7: an object with a read() of its own and somebody else's fileno()."""
    name, content = folder.sized(MIB + 3)
    length = f"&length={len(content)}" if framing == "length" else ""
    with server.connect() as client:
        reply = client.get(f"/bare/lying?name={name}{length}")
        assert reply.complete
        assert same(reply.body, content[::-1])
        next_request_is_framed(client, server)


@pytest.mark.parametrize("route", ["plain", "temporary", "gzipped"])
def test_file_is_closed_afterwards(server: Gunicorn, folder: Folder, route: str) -> None:
    name, content = folder.sized(MIB + 3)
    (folder.path / "whole.gz").write_bytes(gzip.compress(content))
    with server.connect() as client:
        client.get(f"/bare/{route}?length={len(content)}&name={'whole.gz' if route == 'gzipped' else name}")
        assert json.loads(client.get(f"/bare/report?route={route}").body)["closed"]


def test_spooled_file_stays_in_memory(server: Gunicorn, folder: Folder) -> None:
    """O8: to ask a SpooledTemporaryFile for its fileno() writes it to disk."""
    name, content = folder.sized(MIB + 3)
    with server.connect() as client:
        client.get(f"/bare/spooled?name={name}&length={len(content)}")
        report = json.loads(client.get("/bare/report?route=spooled").body)
    assert report["_rolled"] is False


@pytest.mark.parametrize("route", ["/bare/proc?name=", "/proc/"])
@pytest.mark.parametrize("name", ["version", "cpuinfo", "filesystems", "devices"])
def test_file_on_proc(server: Gunicorn, route: str, name: str) -> None:
    """M9, F1, F2: st_size is 0 and there is content; the size proves nothing."""
    with server.connect() as client:
        reply = client.get(route + name)
        assert reply.complete
        expected = Path("/proc", name).read_text()
        got = bytes(reply.body).decode()
        if name == "cpuinfo":  # the clock frequency changes between two reads
            stable = [line.split(":")[0] for line in expected.splitlines()]
            assert [line.split(":")[0] for line in got.splitlines()] == stable
        else:
            assert got == expected
        next_request_is_framed(client, server)


def test_file_on_proc_with_content_length(server: Gunicorn) -> None:
    """F2: the app knows the length, the file system does not."""
    expected = Path("/proc/version").read_bytes()
    with server.connect() as client:
        reply = client.get(f"/bare/proc?name=version&length={len(expected)}")
        assert reply.complete
        assert bytes(reply.body) == expected
        next_request_is_framed(client, server)


# --- files that change during the download ---


def paused_download(client: Client, target: str) -> Reply:
    """A download that stands still: the server fills the buffers and waits, most of the file is to come."""
    client.send(target)
    client.head_of_reply()
    return client.rest_of_reply(stop_at=MIB)


@pytest.mark.parametrize(
    "target", ["/file/short.bin", f"/bare/plain?name=short.bin&length={LONG}", "/bare/plain?name=short.bin"]
)
def test_file_shortened_during_the_download(server: Gunicorn, folder: Folder, target: str) -> None:
    """X4, F5: what was promised cannot be kept, so the connection ends inside the body.

    Without Content-Length too: no last chunk may tell the client that this was all. The next request is
    already there: on a connection that is kept its reply would follow.
    """
    content = folder.fresh("short.bin", LONG)
    to = LONG // 2 + 12345
    with server.connect(receive_buffer=64 * KIB) as client:
        client.send_ahead(target, "/pid")
        client.announce(target)
        client.head_of_reply()
        client.rest_of_reply(stop_at=MIB)
        with (folder.path / "short.bin").open("r+b") as file:
            file.truncate(to)
        reply = client.rest_of_reply()
        assert not reply.complete, "the client was told that this is the whole body"
        assert same(reply.body, content[:to])
        assert client.at_end()


@pytest.mark.parametrize("size", [0, 42, 32 * KIB, 32 * KIB + 1, MIB + 3])
def test_file_shorter_than_promised(server: Gunicorn, folder: Folder, size: int) -> None:
    """X4: the same without a race: the app promised one byte more than there is."""
    name, content = folder.sized(size)
    with server.connect() as client:
        target = f"/bare/plain?name={name}&length={size + 1}"
        client.send_ahead(target, "/pid")
        reply = client.expect(target)
        assert not reply.complete
        assert same(reply.body, content)
        assert client.at_end()


@pytest.mark.parametrize("route", ["memory", "temporary", "process", "counting_buffered"])
def test_file_object_shorter_than_promised(server: Gunicorn, folder: Folder, route: str) -> None:
    """X4, for objects that go through user space."""
    name, content = folder.sized(MIB + 3)
    with server.connect() as client:
        target = f"/bare/{route}?name={name}&length={len(content) + 1}"
        client.send_ahead(target, "/pid")
        reply = client.expect(target)
        assert not reply.complete
        assert same(reply.body, content)
        assert client.at_end()


def test_file_grows_during_the_download(server: Gunicorn, folder: Folder) -> None:
    """F6: not one byte more than Content-Length."""
    content = folder.fresh("grows.bin", LONG)
    with server.connect(receive_buffer=64 * KIB) as client:
        paused_download(client, "/file/grows.bin")
        with (folder.path / "grows.bin").open("ab") as file:
            file.write(b"more" * 1000)
        reply = client.rest_of_reply()
        assert reply.complete
        assert same(reply.body, content)
        next_request_is_framed(client, server)


def test_file_grows_during_a_chunked_download(server: Gunicorn, folder: Folder) -> None:
    """F6: with or without what was added, but well framed."""
    content = folder.fresh("grows.bin", LONG)
    with server.connect(receive_buffer=64 * KIB) as client:
        paused_download(client, "/bare/plain?name=grows.bin")
        with (folder.path / "grows.bin").open("ab") as file:
            file.write(b"more" * 1000)
        reply = client.rest_of_reply()
        assert reply.complete
        assert same(reply.body, content) or same(reply.body, content + b"more" * 1000)
        next_request_is_framed(client, server)


# --- clients that behave badly ---


@pytest.mark.parametrize("route", ["/file/{}", "/bare/plain?name={}", "/bare/counting_buffered?name={}"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_goes_away(server: Gunicorn, folder: Folder, how: str, route: str) -> None:
    """The worker survives, leaks no descriptor and logs no error (the fixture looks)."""
    name, content = folder.sized(16 * MIB)
    target = route.format(name)

    def go_away() -> None:
        with server.connect(receive_buffer=64 * KIB) as client:
            paused_download(client, target)
            client.reset() if how == "reset" else client.close()

    go_away()  # what the worker opens once and keeps is open now
    with server.connect() as client:
        assert same(client.get(target).body, content)
    assert eventually(lambda: not any(name in target for target in server.descriptors()))
    settled = len(server.descriptors())
    for _ in range(20):
        go_away()
    with server.connect() as client:
        assert same(client.get(target).body, content)
    assert eventually(lambda: len(server.descriptors()) <= settled), server.descriptors()


def test_slow_client_beside_fast_ones(server: Gunicorn, folder: Folder) -> None:
    """While one client stands still, others are served whole files; then it goes on, with the right bytes."""
    name, content = folder.sized(16 * MIB)
    with server.connect(receive_buffer=64 * KIB) as slow:
        slow.send(f"/file/{name}")
        slow.head_of_reply()
        for part in range(1, 11):
            slow.rest_of_reply(stop_at=part * 100 * KIB)
            with server.connect() as fast:
                assert same(fast.get(f"/file/{name}").body, content)
                next_request_is_framed(fast, server)
        reply = slow.rest_of_reply()
        assert reply.complete
        assert same(reply.body, content)
        next_request_is_framed(slow, server)


def test_many_clients_in_turns(server: Gunicorn, folder: Folder) -> None:
    """Ten downloads at once, each a different file, none of them gets a byte of another's."""
    files = [(f"turn-{n}.bin", folder.fresh(f"turn-{n}.bin", 6 * MIB + n)) for n in range(10)]
    clients = [server.connect(receive_buffer=64 * KIB) for _ in files]
    try:
        for client, (name, _) in zip(clients, files, strict=True):
            client.send(f"/file/{name}")
            client.head_of_reply()
        for turn in range(1, 5):
            for client in clients:
                client.rest_of_reply(stop_at=turn * MIB)
        for client, (_, content) in zip(clients, files, strict=True):
            reply = client.rest_of_reply()
            assert reply.complete
            assert same(reply.body, content)
    finally:
        for client in clients:
            client.close()


# --- the access log ---


def logged_bytes(server: Gunicorn, tag: str) -> int:
    """%(B)s of the request that carried this tag in its query."""
    return int(server.access.wait_for(tag).split()[-1])


@pytest.mark.parametrize("size", SIZES)
def test_access_log_has_the_bytes(server: Gunicorn, folder: Folder, size: int) -> None:
    name, _ = folder.sized(size)
    with server.connect() as client:
        client.get(f"/file/{name}?tag=whole-{size}-")
        assert logged_bytes(server, f"tag=whole-{size}-") == size
        client.get(f"/bare/plain?name={name}&tag=chunked-{size}-")
        assert logged_bytes(server, f"tag=chunked-{size}-") == size
        client.get(f"/file/{name}?tag=head-{size}-", method="HEAD")
        assert logged_bytes(server, f"tag=head-{size}-") == 0


def test_access_log_has_the_bytes_of_a_range(server: Gunicorn, folder: Folder) -> None:
    name, _ = folder.sized(MIB + 3)
    with server.connect() as client:
        client.get(f"/file/{name}?tag=range-", range="bytes=1000-899999")
    assert logged_bytes(server, "tag=range-") == 899_000


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_access_log_of_an_aborted_download(server: Gunicorn, folder: Folder, how: str, framing: str) -> None:
    name, content = folder.sized(LONG)
    tag = f"tag=aborted-{how}-{framing}-"
    with server.connect(receive_buffer=64 * KIB) as client:
        target = f"/file/{name}?{tag}" if framing == "length" else f"/bare/plain?name={name}&{tag}"
        got = len(paused_download(client, target).body)
        client.reset() if how == "reset" else client.close()
    assert got <= logged_bytes(server, tag) < len(content)


def test_access_log_of_a_short_file(server: Gunicorn, folder: Folder) -> None:
    name, content = folder.sized(MIB + 3)
    with server.connect() as client:
        client.get(f"/bare/plain?name={name}&length={2 * MIB}&tag=short-")
    assert logged_bytes(server, "tag=short-") == len(content)


# --- other servers, other clients ---


def assert_serves_files(server: Gunicorn, folder: Folder) -> None:
    with server.connect() as client:
        for size in SIZES:
            name, content = folder.sized(size)
            assert same(client.get(f"/file/{name}").body, content)
            assert same(client.get(f"/bare/plain?name={name}").body, content)
            assert client.get(f"/file/{name}", method="HEAD").length == size
        name, content = folder.sized(MIB + 3)
        reply = client.get(f"/file/{name}", range="bytes=4097-900000")
        assert reply.status == 206
        assert same(reply.body, content[4097:900_001])
        assert same(client.get(f"/bare/sniffed?back=1&name={name}&length={len(content)}").body, content)
        assert same(client.get(f"/bare/sniffed?name={name}").body, content[4:])
        name, content = folder.sized(16 * MIB)
        assert same(client.get(f"/file/{name}").body, content)
        next_request_is_framed(client, server)


@pytest.fixture(scope="module")
def tls_server(folder: Folder, certificates: tuple[ssl.SSLContext, list[str]]) -> Iterator[Gunicorn]:
    context, options = certificates
    with Gunicorn("both:app", folder.path, *options, tls=context) as gunicorn:
        yield gunicorn


def test_tls(tls_server: Gunicorn, folder: Folder) -> None:
    """P9, O10: the bytes arrive, and arrive decrypted."""
    with tls_server.unharmed():
        assert_serves_files(tls_server, folder)


@pytest.mark.parametrize("size", [42, MIB + 3])
def test_tls_file_shorter_than_promised(tls_server: Gunicorn, folder: Folder, size: int) -> None:
    """X4: the connection ends, as it does without TLS."""
    name, content = folder.sized(size)
    with tls_server.unharmed(), tls_server.connect() as client:
        reply = client.get(f"/bare/plain?name={name}&length={size + 1}")
        assert not reply.complete
        assert same(reply.body, content)


def test_tls_never_sends_the_file_itself(
    tls_server: Gunicorn, folder: Folder, certificates: tuple[ssl.SSLContext, list[str]]
) -> None:
    """P9, O10: what crosses the wire holds no piece of the file."""
    name, content = folder.sized(MIB + 3)
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = certificates[0].wrap_bio(inward, outward, server_hostname="localhost")
    wire, plain = bytearray(), bytearray()
    with tls_server.unharmed(), Client(tls_server.address) as client:

        def done(step: str) -> bool:
            try:
                if step == "handshake":
                    tls.do_handshake()
                else:
                    while data := tls.read(1 << 16):
                        plain.extend(data)
                return True
            except ssl.SSLWantReadError:
                return False
            except ssl.SSLEOFError:  # gunicorn closes without a close_notify
                return True
            finally:
                client.socket.sendall(outward.read())

        def exchange(step: str) -> None:
            while not done(step):
                data = client.socket.recv(1 << 16)
                wire.extend(data)
                inward.write(data) if data else inward.write_eof()

        exchange("handshake")
        tls.write(f"GET /file/{name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        client.socket.sendall(outward.read())
        exchange("reply")
    assert same(plain.split(b"\r\n\r\n", 1)[1], content)
    assert len(wire) > len(content)
    assert not [at for at in range(0, len(content) - 64, 8 * KIB) if content[at : at + 64] in wire]


def test_no_sendfile(folder: Folder) -> None:
    with Gunicorn("both:app", folder.path, "--no-sendfile") as gunicorn, gunicorn.unharmed():
        assert_serves_files(gunicorn, folder)


def test_unix_socket(folder: Folder) -> None:
    with Gunicorn("both:app", folder.path, unix=True) as gunicorn, gunicorn.unharmed():
        assert_serves_files(gunicorn, folder)


def test_requests(server: Gunicorn, folder: Folder) -> None:
    assert isinstance(server.address, tuple)
    root = "http://{}:{}".format(*server.address)
    with requests.Session() as session:
        for size in SIZES:
            name, content = folder.sized(size)
            assert same(session.get(f"{root}/file/{name}").content, content)
            assert same(session.get(f"{root}/bare/plain?name={name}").content, content)
        name, content = folder.sized(MIB + 3)
        resumed = session.get(f"{root}/file/{name}", headers={"Range": "bytes=1000000-"})
        assert resumed.status_code == 206
        assert same(resumed.content, content[1_000_000:])


def test_curl_resumes(server: Gunicorn, folder: Folder, tmp_path: Path) -> None:
    """curl takes up a broken download where it ended, and uses one connection for two files."""
    assert isinstance(server.address, tuple)
    root = "http://{}:{}".format(*server.address)
    name, content = folder.sized(16 * MIB)
    part = tmp_path / "part"
    part.write_bytes(content[: 5 * MIB + 1])
    second = tmp_path / "second"
    curl = [tool("curl"), "--silent", "--show-error", "--fail"]
    subprocess.run([*curl, "-C", "-", "-o", str(part), f"{root}/file/{name}"], check=True, timeout=60)
    assert same(part.read_bytes(), content)
    urls = [f"{root}/file/{name}", "-o", str(second), f"{root}/bare/plain?name={name}"]
    subprocess.run([*curl, "-o", str(part), *urls], check=True, timeout=60)
    assert same(part.read_bytes(), content)
    assert same(second.read_bytes(), content)
