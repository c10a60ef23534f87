"""Files of anybody's, in every client and file seam: as if gzc had asked them nothing (hard case R2).

Rules: what comes out is compared with what comes out without gzc, in the same process: the bytes that the other side
has, or the exceptions. Each question that a seam or the engine might ask raises, alone and all of them together.
"""

import ftplib
import hashlib
import http.client
import io
import itertools
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from .._program import patched

pytestmark = pytest.mark.slow

#: What http.client and others would never ask, or not at that time.
METHODS = ("tell", "seek", "seekable", "fileno", "flush", "readable", "writable", "__len__", "__bool__", "isatty")
PROPERTIES = ("closed", "__class__", "name", "mode", "raw", "len")
EXCEPTIONS = (NotImplementedError, io.UnsupportedOperation, RuntimeError, KeyError, AttributeError)
SIZE = 100_000


class Reader:
    """As little of a file as can be."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - it goes with us

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


class Writer:
    def __init__(self, path: str) -> None:
        self._file = open(path, "wb", 0)  # noqa: SIM115 - it goes with us

    def write(self, data: bytes) -> int:
        return self._file.write(data)


class Describing(Reader):
    """It says what is below it."""

    def __gzc_source__(self) -> Any:
        import gzc

        return gzc.source(self._file)


class Nesting(Reader):
    """What it says is below it answers nothing."""

    def __gzc_source__(self) -> Any:
        import gzc

        return gzc.source(hostile(io.FileIO, METHODS, RuntimeError)(self._file.name))


def _buffered(path: str) -> io.BufferedReader:
    return io.BufferedReader(hostile(io.FileIO, ("tell", "seekable", "fileno"), NotImplementedError)(path))


def hostile(base: Any, questions: Any, error: type[Exception]) -> Any:
    """A subclass of `base` that answers these questions by raising."""

    def refuse(*_: object) -> Any:
        raise error("what was that?")

    def ignore(*_: object) -> None:
        """FileIO sets its name."""

    asked = {name: property(refuse, ignore) if name in PROPERTIES else refuse for name in questions}
    return type("Hostile", (base,), asked)


def _sources() -> Iterator[tuple[str, Callable[[str], Any]]]:
    errors = itertools.cycle(EXCEPTIONS)
    bases: dict[str, tuple[type, Callable[[Any, str], Any]]] = {
        "reader": (Reader, lambda cls, path: cls(path)),
        "describing": (Describing, lambda cls, path: cls(path)),
        "nesting": (Nesting, lambda cls, path: cls(path)),
        "FileIO": (io.FileIO, lambda cls, path: cls(path)),
        "BufferedReader": (io.BufferedReader, lambda cls, path: cls(io.FileIO(path))),
        "temporary": (tempfile._TemporaryFileWrapper, lambda cls, path: cls(io.FileIO(path), path, delete=False)),
    }
    for name, (base, make) in bases.items():
        for questions in [*((one,) for one in METHODS + PROPERTIES), METHODS, METHODS + PROPERTIES]:
            error = next(errors)
            cls = hostile(base, questions, error)
            what = f"{name} whose {', '.join(questions)} raises {error.__name__}"
            yield what, lambda path, make=make, cls=cls: make(cls, path)
    yield "BufferedReader over a hostile FileIO", _buffered
    yield "Reader", Reader


def _sinks() -> Iterator[tuple[str, Callable[[str], Any]]]:
    errors = itertools.cycle(EXCEPTIONS)
    for base in (Writer, io.FileIO):
        for questions in [*((one,) for one in METHODS + PROPERTIES), METHODS, METHODS + PROPERTIES]:
            cls = hostile(base, questions, next(errors))
            what = f"{base.__name__} whose {', '.join(questions)} raises"
            yield what, lambda path, cls=cls, base=base: cls(path) if base is Writer else cls(path, "wb")


def _received(sock: Any) -> bytes:
    """The body of one request, however it is framed."""
    from .test_wire_sizes import chunks_of

    file = sock.makefile("rb")
    length = None
    lines = b"".join(iter(file.readline, b"\r\n"))
    for line in lines.splitlines():
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    if length is not None:
        return bytes(file.read(length))
    if b"chunked" not in lines.lower():
        return lines.splitlines()[0]
    return chunks_of(sock, file)[1]


def _ftp(stored: list[bytes], content: bytes) -> Callable[[Any], None]:
    """As much of an FTP server as storbinary and retrbinary need."""

    def serve(sock: Any) -> None:
        from gevent import socket as gsocket

        data: Any = None
        sock.sendall(b"220 ready\r\n")
        for line in sock.makefile("rb"):
            verb = line.split()[0].upper()
            if verb == b"PASV":
                data = gsocket.socket()
                data.bind(("127.0.0.1", 0))
                data.listen()
                sock.sendall(b"227 at (127,0,0,1,%d,%d)\r\n" % divmod(data.getsockname()[1], 256))
            elif verb in (b"STOR", b"RETR"):
                sock.sendall(b"150 go on\r\n")
                with data, data.accept()[0] as connection:
                    if verb == b"STOR":
                        stored.append(b"".join(iter(lambda connection=connection: connection.recv(65536), b"")))
                    else:
                        connection.sendall(content)
                sock.sendall(b"226 done\r\n")
            else:
                sock.sendall(b"200 as you like\r\n")

    return serve


def _uploads(port: int, ftp: int, target: Path) -> dict[str, Callable[[Any], Any]]:
    """By seam: what is done with a foreign source."""
    import bottle
    import requests
    import urllib3
    from django.core.files.base import File
    from django.core.files.storage import FileSystemStorage
    from werkzeug.datastructures import FileStorage

    url, sized = f"http://127.0.0.1:{port}/", {"Content-Length": str(SIZE)}

    def connected(use: Callable[[Any], Any]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            use(connection)
            connection.getresponse().read()
        finally:
            connection.close()

    def by_send(connection: Any, body: Any) -> None:
        connection.putrequest("PUT", "/")
        connection.putheader("Content-Length", str(SIZE))
        connection.endheaders()
        connection.send(body)

    def pooled(body: Any, **options: Any) -> Any:
        with urllib3.HTTPConnectionPool("127.0.0.1", port, timeout=10, retries=False) as pool:
            return pool.urlopen("PUT", "/", body=body, **options).status

    def storing(body: Any) -> None:
        with ftplib.FTP(timeout=10) as client:
            client.connect("127.0.0.1", ftp)
            client.storbinary("STOR x", body)

    def copying(body: Any) -> None:
        with open(target, "wb") as file:
            shutil.copyfileobj(body, file)

    def archiving(body: Any) -> None:
        member = tarfile.TarInfo("member")
        member.size = SIZE
        with open(target, "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
            archive.addfile(member, body)

    def keeping(body: Any) -> None:
        target.unlink(missing_ok=True)
        FileSystemStorage(target.parent).save(target.name, File(body))

    return {
        "shutil.copyfileobj": copying,
        "tarfile.addfile": archiving,
        "Django": keeping,
        "Bottle": lambda body: bottle.FileUpload(body, "file", "name").save(str(target), overwrite=True),
        "Werkzeug": lambda body: FileStorage(body).save(target),
        "http.client, chunked": lambda body: connected(lambda connection: connection.request("PUT", "/", body)),
        "http.client": lambda body: connected(lambda connection: connection.request("PUT", "/", body, sized)),
        "http.client, send": lambda body: connected(lambda connection: by_send(connection, body)),
        "urllib3": lambda body: pooled(body, headers=sized),
        "urllib3, chunked": lambda body: pooled(body, chunked=True),
        "requests": lambda body: requests.put(url, data=body, timeout=10).status_code,
        "ftplib": storing,
    }


def _downloads(port: int, ftp: int, name: str) -> dict[str, Callable[[Any], Any]]:
    """By seam: what is done with a foreign sink."""
    import requests

    def copying(sink: Any) -> None:
        with open(name, "rb") as file:
            shutil.copyfileobj(file, sink)

    def extracting(sink: Any) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(name, "member")
        packed.seek(0)
        with tarfile.open(fileobj=packed) as archive:
            shutil.copyfileobj(archive.extractfile("member"), sink)  # type: ignore[type-var]

    def archiving(sink: Any) -> None:
        with tarfile.open(fileobj=sink, mode="w|") as archive:
            archive.add(name, "member")

    def downloading(sink: Any) -> None:
        with requests.get(f"http://127.0.0.1:{port}/", stream=True, timeout=10) as reply:
            shutil.copyfileobj(reply.raw, sink)

    def retrieving(sink: Any) -> None:
        with ftplib.FTP(timeout=10) as client:
            client.connect("127.0.0.1", ftp)
            client.retrbinary("RETR x", sink.write)

    return {
        "shutil.copyfileobj": copying,
        "tarfile, extractfile": extracting,
        "tarfile.add": archiving,
        "requests": downloading,
        "ftplib": retrieving,
    }


def _same(cases: dict[str, Callable[[], Any]]) -> None:
    """Each of `cases` gives with gzc what it gives without it."""
    import gevent

    from .._clients import stock

    def outcome(run: Callable[[], Any]) -> Any:
        with gevent.Timeout(20):
            return run()

    with stock():
        before = {what: outcome(run) for what, run in cases.items()}
    after = {what: outcome(run) for what, run in cases.items()}
    wrong = [f"{what}: stock {before[what]}, gzc {after[what]}" for what in cases if before[what] != after[what]]
    assert not wrong, "\n".join([f"{len(wrong)} of {len(cases)}:", *wrong[:20]])
    assert any("no failure" in one for one in before.values()), before


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path)


@patched
def test_a_foreign_source_goes_as_without_gzc(path: str) -> None:
    """R2: twelve seams, a hundred file-likes that answer questions by raising."""
    import django.conf

    from .._clients import Serving, content, failure

    django.conf.settings.configure()
    name, data = content(path, SIZE)
    target, got = Path(path, "kept", "target"), list[bytes]()
    target.parent.mkdir()

    def take(sock: Any) -> None:
        got.append(_received(sock))
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def run(use: Any, make: Any) -> list[str]:
        got.clear()
        target.unlink(missing_ok=True)
        chain = failure(lambda: use(make(name)))
        received = got if chain == ["no failure"] else []  # else it is a matter of timing how much there is
        kept = [target.read_bytes()] if target.exists() else []
        return [*chain, *(hashlib.md5(one).hexdigest() for one in (*received, *kept))]

    with Serving(take) as server, Serving(_ftp(got, data)) as ftp:
        uses = _uploads(server.port, ftp.port, target).items()
        pairs = itertools.product(uses, _sources())
        _same({f"{seam}: {what}": partial(run, use, make) for (seam, use), (what, make) in pairs})


@patched
def test_a_foreign_sink_goes_as_without_gzc(path: str) -> None:
    """R2, the other direction."""
    from .._clients import OK, Serving, answering, content, failure

    name, data = content(path, SIZE)
    target = Path(path, "target")

    def run(use: Any, make: Any) -> list[str]:
        chain = failure(lambda: use(make(str(target))))
        return [*chain, hashlib.md5(target.read_bytes()).hexdigest()]

    serving = Serving(answering(OK, b"Content-Length: %d\r\nConnection: close\r\n\r\n" % SIZE, data))
    with serving as server, Serving(_ftp([], data)) as ftp:
        pairs = itertools.product(_downloads(server.port, ftp.port, name).items(), _sinks())
        _same({f"{seam}: {what}": partial(run, use, make) for (seam, use), (what, make) in pairs})


@patched
def test_a_copy_needs_no_more_than_read_and_write(path: str) -> None:
    """R2: ``gzc.copy`` has no original; ``shutil.copyfileobj`` would ask for ``read`` and ``write`` only."""
    import gzc

    from .._clients import content, failure

    name, data = content(path, SIZE)
    target, wrong = Path(path, "target"), []

    def loop(source: Any, write: Callable[[bytes], object]) -> None:
        while block := source.read(65536):
            write(block)

    for what, make in _sources():
        stock, ours = bytearray(), bytearray()
        expected = failure(lambda make=make, stock=stock: loop(make(name), stock.extend))
        found = failure(lambda make=make, ours=ours: gzc.copy(make(name), ours))
        if (expected, stock) != (found, ours):
            wrong.append(f"{what}: {found}, {len(ours)} bytes instead of {len(stock)}")
    for what, make in _sinks():
        found = failure(lambda make=make: gzc.copy(data, make(str(target))))
        if found != ["no failure"] or target.read_bytes() != data:
            wrong.append(f"{what}: {found}")
    assert not wrong, "\n".join([f"{len(wrong)} of them:", *wrong[:20]])


@patched
def test_a_foreign_response_is_retrieved_as_without_gzc(path: str) -> None:
    """R2: urlretrieve, of an opener that a program has put there."""
    from .._clients import content, failure

    name, _ = content(path, SIZE)
    target = Path(path, "target")
    target.touch()

    def opening(make: Callable[[str], Any]) -> Any:
        response = make(name)
        type(response).info = lambda self: dict.fromkeys(("content-length", "Content-Length"), str(SIZE))
        type(response).close = lambda self: None
        return response

    def run(make: Any) -> list[str]:
        with mock.patch.object(urllib.request, "urlopen", side_effect=lambda *_: opening(make)):
            chain = failure(lambda: urllib.request.urlretrieve("http://x/", target))
        return [*chain, hashlib.md5(target.read_bytes()).hexdigest()]

    _same({what: partial(run, make) for what, make in _sources() if not what.startswith("BufferedReader over")})


@patched
def test_the_output_of_a_program_is_read_as_without_gzc() -> None:
    """R2: gevent's own ``readall`` asks neither ``closed`` nor ``readable`` nor ``fileno``."""
    from gevent._fileobjectposix import GreenFileDescriptorIO  # type: ignore[import-not-found]

    from .._clients import failure

    def run(questions: tuple[str, ...]) -> list[str]:
        running = subprocess.Popen(["head", "-c", "300000", "/dev/zero"], stdout=subprocess.PIPE)
        assert running.stdout is not None
        raw, read = running.stdout.io.raw, list[bytes]()  # type: ignore[attr-defined]
        raw.__class__ = hostile(GreenFileDescriptorIO, questions, NotImplementedError)
        try:
            return [*failure(lambda: read.append(raw.readall())), str(len(b"".join(read)))]
        finally:
            raw.__class__ = GreenFileDescriptorIO
            running.stdout.close()
            running.wait()

    every = ("readable", "fileno", "closed")
    _same({", ".join(questions): partial(run, questions) for questions in [*((one,) for one in every), every]})
