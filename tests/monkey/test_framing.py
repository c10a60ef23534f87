"""How bodies are framed whose length the application does not say: by a size that is true, in chunks that peers take;
and that who registers a class gets what its dunder would give.

Rules: the servers are child processes, one for each stack; the client parses with h11, with curl, or takes the chunks
apart by hand. The FUSE file system is a real one, as in test_disk.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from .. import _fuse
from .._http import Reply
from .._server import STOCK, Folder, Gunicorn, Script
from ..kernel.test_disk import mounted

pytestmark = pytest.mark.slow

KIB, MIB = 1 << 10, 1 << 20
MOST = 256 * KIB
STACKS = ["gevent", "gevent_pywsgi", "pywsgi", "wsgiref"]
WAYS = ["wrapped", "dunder", "registered"]


@pytest.fixture(scope="module", params=STACKS)
def stack(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def running(stack: str, folder: Folder) -> Iterator[Gunicorn]:
    if stack.startswith("gevent"):
        with Gunicorn("described:app", folder.path, "-k", stack, stock=STOCK) as server:
            yield server
    else:
        with Script(stack, folder.path, "described", stock=STOCK) as server:
            yield server


@pytest.fixture
def server(running: Gunicorn) -> Iterator[Gunicorn]:
    with running.unharmed():
        yield running


@pytest.fixture(scope="module")
def fuse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with mounted(tmp_path_factory.mktemp("fuse")) as mountpoint:
        yield mountpoint


def sent(server: Gunicorn) -> int:
    with server.connect() as client:
        return int(json.loads(client.get("/stats").body))


def is_whole(server: Gunicorn, target: str, content: bytes, *methods: str) -> Reply:
    """What h11 and curl get is complete, and the next reply on the connection begins where this one ends."""
    with server.connect() as client:
        reply = client.get(target)
        assert reply.complete
        assert reply.body == content
        if reply.chunked or reply.length is not None:
            assert json.loads(client.get("/pid").body) == server.pid
    host, port = server.address
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "20", f"http://{host}:{port}{target}"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == content
    return reply


CLAIMS = ["/sys/devices/system/cpu/online", "/proc/self/mountinfo", "/proc/filesystems"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", CLAIMS)
def test_r3_a_size_of_the_kernels_own_files_frames_nothing(server: Gunicorn, path: str, way: str) -> None:
    """sysfs says 4096 for what are a few bytes, procfs says 0."""
    path = path.replace("self", str(server.pid))
    is_whole(server, f"/{way}?path={quote(path)}", Path(path).read_bytes())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["size-big", "size-zero"])
def test_r3_a_size_of_a_fuse_file_frames_nothing(server: Gunicorn, fuse: Path, name: str, way: str) -> None:
    """It may say twice what there is, or nothing at all."""
    is_whole(server, f"/{way}?path={quote(str(fuse / f'{name} {way}'))}", _fuse.content())


@pytest.mark.parametrize("way", ["dunder", "registered"])
def test_r3_nor_does_that_of_a_part(server: Gunicorn, fuse: Path, way: str) -> None:
    path = quote(str(fuse / f"size-big part {way}"))
    begin = _fuse.SIZE - 100_000
    is_whole(server, f"/{way}?path={path}&start={begin}&count=200000", _fuse.content()[begin:])


@pytest.mark.parametrize("way", WAYS)
def test_r3_a_promise_of_the_application_is_kept_or_the_connection_ends(server: Gunicorn, fuse: Path, way: str) -> None:
    """What is promised is its own to know: of a size that was believed the client learns that it was wrong."""
    path = quote(str(fuse / f"size-big promised {way}"))
    with server.connect() as client:
        reply = client.get(f"/{way}?path={path}&length={2 * _fuse.SIZE}")
        assert not reply.complete
        assert reply.body == _fuse.content()


def chunks(server: Gunicorn, target: str) -> list[bytes]:
    """The chunks of a reply, as they are on the wire."""
    with server.connect() as client:
        client.socket.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        stream = client.socket.makefile("rb")
        while stream.readline() != b"\r\n":
            pass
        found = []
        while size := int(stream.readline(), 16):
            found.append(stream.read(size))
            assert stream.readline() == b"\r\n"
        assert stream.readline() == b"\r\n"
        return found


@pytest.mark.parametrize("size", [MOST, MOST + 1, 5 * MIB + 3])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("written", ["", "&written=before"])
def test_r10_no_chunk_is_larger_than_peers_take(
    server: Gunicorn, folder: Folder, way: str, size: int, written: str
) -> None:
    """And the bytes go by sendfile all the same."""
    name, content = folder.sized(size)
    target = f"/{way}?path={quote(str(folder.path / name))}{written}"
    before, whole = sent(server), (b"before" if written else b"") + content
    with server.connect() as client:
        reply = client.get(target)
        assert reply.complete
        assert reply.body == whole
    assert sent(server) - before == size
    if reply.chunked:
        pieces = chunks(server, target)
        assert b"".join(pieces) == whole
        assert max(map(len, pieces)) <= MOST


# --- registration equals the dunder ---


@pytest.mark.parametrize("length", ["", "&length=900000"])
@pytest.mark.parametrize("size", [42, 32 * KIB + 1, 900_000])
def test_r14_a_registered_response_is_sent_as_one_with_the_dunder(
    server: Gunicorn, folder: Folder, size: int, length: str
) -> None:
    name, content = folder.sized(MIB)
    found = []
    for way in ("dunder", "registered", "nobody"):
        before = sent(server)
        with server.connect() as client:
            query = f"path={quote(str(folder.path / name))}&start=1000&count={size}"
            reply = client.get(f"/{way}?{query}{length if size == 900_000 else ''}")
            assert reply.complete
            assert reply.body == content[1000 : 1000 + size]
            headers = {key: value for key, value in reply.headers.items() if key != "date"}
        found.append((headers, sent(server) - before))
    assert found[0] == found[1]
    assert found[0][1] == (size if size > 32 * KIB else 0)
    assert found[2][1] == 0
