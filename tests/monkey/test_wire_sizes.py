"""Sizes that a peer can see stay in what servers take (hard case R10), and framing is no claim's (R3).

Rules: the peers are a raw socket that parses chunks and believes nothing, and a real uWSGI with the limits that it
comes with.
"""

import hashlib
import http.client
import io
import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .._lacks import lacking
from .._program import clean_environment, patched
from .._server import Log
from ..kernel.test_disk import mounted

pytestmark = pytest.mark.slow

#: The largest chunk that any client of gzc sends.
LARGEST = 256 * 1024
APPS = Path(__file__).resolve().parents[1] / "apps"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path)


def chunks_of(sock: Any, file: Any = None) -> tuple[list[int], bytes]:
    """The sizes of the chunks of one request's body, and the body; it must be well framed to its end.

    `file` has read the head of the request, if it is given.
    """
    if file is None:
        file = sock.makefile("rb")
        while file.readline() != b"\r\n":
            pass
    sizes, body = [], b""
    while True:
        line = file.readline()
        assert re.fullmatch(rb"[0-9A-Fa-f]+\r\n", line), line
        size = int(line, 16)
        data = file.read(size)
        assert len(data) == size
        assert file.readline() == b"\r\n"
        if not size:
            return sizes, body
        sizes.append(size)
        body += data


@patched
def test_no_chunk_is_larger_than_servers_take(path: str) -> None:
    """R10, a law: http.client, urllib3 and requests, from files and others, in chunks of at most 256 KiB."""
    import requests
    import urllib3

    import gzc

    from .._clients import MIB, Serving, content

    got: list[tuple[list[int], bytes]] = []

    def take(sock: Any) -> None:
        got.append(chunks_of(sock))
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def by_http_client(body: Any) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("PUT", "/", body)
        assert connection.getresponse().status == 200

    def by_urllib3(body: Any) -> None:
        pool = urllib3.HTTPConnectionPool("127.0.0.1", server.port)
        assert pool.urlopen("PUT", "/", body=body, chunked=True).status == 200

    def by_requests(body: Any) -> None:
        assert requests.put(server.url, data=iter(lambda: body.read(100_000), b"")).status_code == 200

    heads = []
    sys.addaudithook(lambda event, args: heads.append(args[1]) if event == "http.client.send" else None)
    clients: tuple[Callable[[Any], None], ...] = (by_http_client, by_urllib3, by_requests)
    for size in (LARGEST - 1, LARGEST, LARGEST + 1, MIB - 1, MIB, 3 * MIB + 1):
        name, data = content(path, size)
        for client in clients:
            for body in (open(name, "rb"), io.BytesIO(data)):  # noqa: SIM115 - closed below
                with Serving(take) as server, body, gzc.trace() as trace:
                    client(body)
                sizes, received = got.pop()
                assert received == data
                assert max(sizes) <= LARGEST, (client, max(sizes))
                if client is by_http_client and trace.bytes["sendfile"]:
                    assert len(sizes) == -(-size // LARGEST) or size % LARGEST == 1, sizes
    assert [one for one in heads if isinstance(one, bytes) and one == b"\r\n40000\r\n"]
    assert b"\r\n" not in heads, "the end of a chunk goes with what follows it"


@pytest.fixture(scope="module")
def uwsgi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real uWSGI, as it comes."""
    if sys.version_info >= (3, 15):
        lacking("pyuwsgi has no wheel for this Python (setup.cfg)")
    program = Path(sysconfig.get_path("scripts"), "uwsgi")
    running = subprocess.Popen(
        [program, "--http-socket", "127.0.0.1:0", "--wsgi-file", APPS / "chunked.py", "--need-app", "--die-on-term"],
        env=clean_environment(),
        cwd=tmp_path_factory.mktemp("uwsgi"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert running.stderr is not None
    log = Log(running.stderr)
    try:
        bound = log.wait_for("bound to TCP address 127.0.0.1:")
        log.wait_for("spawned uWSGI worker")
        yield int(re.findall(r"127\.0\.0\.1:(\d+)", bound)[0])
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
        log.join()


@patched
def test_a_real_uwsgi_takes_a_chunked_upload(uwsgi: int, path: str) -> None:
    """R10: 1,048,575 bytes and more were a broken pipe."""
    import gzc

    from .._clients import MIB, content

    for size in (MIB - 1, MIB, 5 * MIB):
        name, data = content(path, size)
        connection = http.client.HTTPConnection("127.0.0.1", uwsgi)
        with open(name, "rb") as file, gzc.trace() as trace:
            connection.request("PUT", "/", file)
            reply = connection.getresponse().read().decode()
        assert reply == f"{hashlib.md5(data).hexdigest()} {size} {LARGEST}"
        assert trace.bytes["sendfile"] == size
        connection.close()


# -- a size is a claim -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fuse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mounted(tmp_path_factory.mktemp("fuse")) as mountpoint:
        yield str(mountpoint)


def claims(fuse: str) -> dict[str, str]:
    """Files whose size is a claim: twice what there is, 4096 for a few bytes, nothing for many."""
    return {
        "FUSE": f"{fuse}/size-big {os.getpid()}",
        "sysfs": "/sys/kernel/mm/transparent_hugepage/enabled",
        "procfs": "/proc/cpuinfo",
    }


@patched
def test_framing_is_not_made_of_a_claim(fuse: str, path: str) -> None:
    """R3: what a server gets of a chunked body is what reading gives, and the same framing as without gzc."""
    import requests

    import gzc

    from .._clients import Serving, both

    got: list[tuple[list[int], bytes]] = []

    def take(sock: Any) -> None:
        got.append(chunks_of(sock))
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    for what, name in claims(fuse).items():
        if not os.path.exists(name):
            assert what == "sysfs"
            continue

        def by_http_client(name: str = name) -> tuple[list[int], bytes]:
            with Serving(take) as server, open(name, "rb") as file:
                connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
                connection.request("PUT", "/", file)
                assert connection.getresponse().status == 200
            return got.pop()

        def by_requests(name: str = name) -> tuple[list[int], bytes]:
            with Serving(take) as server, open(name, "rb") as file:
                assert requests.put(server.url, data=iter(lambda: file.read(65536), b""), timeout=20).status_code == 200
            return got.pop()

        # The frequency in /proc/cpuinfo changes while one looks at it.
        for client in (by_http_client, by_requests):
            sizes, body = both(client) if what != "procfs" else client()
            assert len(body) > 0, (what, client)
            if what == "FUSE":
                from .. import _fuse

                assert body == _fuse.content()
            assert max(sizes) <= 65536
    assert gzc.patched()


@patched
def test_a_tar_archive_of_claims_is_stocks(fuse: str, path: str) -> None:
    """R3: tarfile raises where a member is shorter than its header, and what it has written till then is the same."""
    import tarfile

    from .._clients import both, failure

    for what, name in claims(fuse).items():
        if what == "procfs" or not os.path.exists(name):
            continue

        def add(name: str = name) -> tuple[list[str], str]:
            target = Path(path, "archive")
            with open(target, "wb") as file:
                archive = tarfile.open(fileobj=file, mode="w")  # noqa: SIM115
                chain = failure(lambda: archive.add(name, "member"))
            return chain, hashlib.md5(target.read_bytes()).hexdigest()

        assert both(add)[0] != ["no failure"], what


@patched
def test_storbinary_stores_what_reading_gives(fuse: str, path: str) -> None:
    """R3: over FTP nothing is framed, and nothing may be made up at the end."""
    import ftplib

    from gevent import socket as gsocket

    from .. import _fuse
    from .._clients import Serving, both

    stored: list[bytes] = []

    def serve(sock: Any) -> None:
        """As much of FTP as storbinary needs."""
        data: Any = None
        sock.sendall(b"220 ready\r\n")
        for line in sock.makefile("rb"):
            verb = line.split()[0].upper()
            if verb in (b"EPSV", b"PASV"):
                data = gsocket.socket()
                data.bind(("127.0.0.1", 0))
                data.listen()
                high, low = divmod(data.getsockname()[1], 256)
                sock.sendall(b"227 at (127,0,0,1,%d,%d)\r\n" % (high, low))
            elif verb == b"STOR":
                sock.sendall(b"150 go on\r\n")
                with data, data.accept()[0] as connection:
                    stored.append(b"".join(iter(lambda connection=connection: connection.recv(65536), b"")))
                sock.sendall(b"226 stored\r\n")
            else:
                sock.sendall(b"200 as you like\r\n")

    def store(name: str) -> bytes:
        with Serving(serve) as server, open(name, "rb") as file:
            ftp = ftplib.FTP(timeout=20)
            ftp.connect("127.0.0.1", server.port)
            ftp.storbinary("STOR x", file)
            ftp.close()
        return stored.pop()

    name = claims(fuse)["FUSE"]
    assert both(lambda: store(name)) == _fuse.content()
