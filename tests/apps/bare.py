"""A bare WSGI app: hands every sort of file object to environ["wsgi.file_wrapper"].

Routes are functions from the query to a file object, which the app wraps. `length=N` in the query promises
Content-Length N; without it the server has to frame the body by itself. `written=text` sends that text by
start_response's write() before the file is returned.
Rule: no framework, and nothing of gzc except in `mode`, which tells the tests what they are talking to.
"""

import gzip
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.util import FileWrapper

FOLDER = Path(os.environ["GZC_TEST_FOLDER"])
PIPEFUL = 40_000  # fits into a fresh pipe (64 KiB) and is more than gzc.config.small

Query = dict[str, str]
last: dict[str, Any] = {}  # the file object served last, by route: `report` looks at it afterwards


def plain(query: Query) -> Any:
    file = (FOLDER / query["name"]).open("rb")
    file.seek(int(query.get("seek", "0")))
    return file


def unbuffered(query: Query) -> Any:
    return (FOLDER / query["name"]).open("rb", buffering=0)


def proc(query: Query) -> Any:
    return open(f"/proc/{query['name']}", "rb")


def sniffed(query: Query) -> Any:
    """Looks at the first bytes as a content sniffer does, and goes back if `back` is given."""
    file = plain(query)
    file.read(4)
    if "back" in query:
        file.seek(0)
    return file


def memory(query: Query) -> Any:
    return io.BytesIO((FOLDER / query["name"]).read_bytes())


def gzipped(query: Query) -> Any:
    """fileno() is that of the compressed file; read() gives the decompressed bytes."""
    return gzip.open(FOLDER / query["name"], "rb")


def _filled(file: Any, query: Query) -> Any:
    file.write((FOLDER / query["name"]).read_bytes())
    file.seek(0)
    return file


def temporary(query: Query) -> Any:
    return _filled(tempfile.TemporaryFile(), query)


def named(query: Query) -> Any:
    return _filled(tempfile.NamedTemporaryFile(), query)


def spooled(query: Query) -> Any:
    return _filled(tempfile.SpooledTemporaryFile(max_size=1 << 30), query)


def rolled(query: Query) -> Any:
    """A spooled file that became too big and is on disk now."""
    return _filled(tempfile.SpooledTemporaryFile(max_size=1), query)


class CountingBuffered(io.BufferedReader):
    """Somebody's progress bar: every byte has to pass its read()."""

    seen = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.seen += len(data)
        return data


class CountingRaw(io.FileIO):
    seen = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size)
        self.seen += len(data or b"")
        return data or b""


class Masked(io.BufferedReader):
    """Somebody's cipher: what read() gives is not what the file holds."""

    TABLE = bytes(255 - n for n in range(256))

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size).translate(self.TABLE)


def counting_buffered(query: Query) -> Any:
    return CountingBuffered(io.FileIO(FOLDER / query["name"]))


def counting_raw(query: Query) -> Any:
    return CountingRaw(FOLDER / query["name"])


def counting_instance(query: Query) -> Any:
    """The override sits in the instance, the class is the plain one."""
    file = plain(query)
    plain_read = file.read

    def read(size: int = -1) -> bytes:
        data: bytes = plain_read(size)
        file.seen += len(data)
        return data

    file.seen = 0
    file.read = read
    return file


def masked(query: Query) -> Any:
    return Masked(io.FileIO(FOLDER / query["name"]))


def pipe(query: Query) -> Any:
    reading, writing = os.pipe()
    with open(writing, "wb") as sink:
        sink.write((FOLDER / query["name"]).read_bytes()[:PIPEFUL])
    return open(reading, "rb")


def process(query: Query) -> Any:
    """The output of a child process, as a proxy or an archiver would serve it."""
    child = subprocess.Popen(["cat", str(FOLDER / query["name"])], stdout=subprocess.PIPE)
    last["child"] = child
    return child.stdout


class Readable:
    """Only read(), nothing else: all that PEP 3333 asks of a file-like object."""

    def __init__(self, file: Any) -> None:
        self.read = file.read


def readable(query: Query) -> Any:
    return Readable(memory(query))


class Telling(io.RawIOBase):
    """It counts and cannot seek: so are urllib3's HTTPResponse and botocore's StreamingBody."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        data: bytes = self._file.read(size)
        return data

    def tell(self) -> int:
        position: int = self._file.tell()
        return position


def telling(query: Query) -> Any:
    return Telling(memory(query))


class Claiming:
    """It says that it can seek, and cannot: so does Django's File around what has only read()."""

    def __init__(self, file: Any) -> None:
        self.read = file.read

    def seekable(self) -> bool:
        return True


def claiming(query: Query) -> Any:
    return Claiming(memory(query))


DRIP = 8 * 1024  # what gunicorn's and Werkzeug's file wrappers ask for


class Dripping:
    """Of what it gives, `DRIP` bytes have come, and the rest comes when somebody has asked for /drip."""

    def __init__(self, file: Any) -> None:
        self._file, self._given, self._more = file, 0, threading.Event()
        self.drip = self._more.set

    def read(self, size: int) -> bytes:
        self._given += size
        if self._given > DRIP:
            self._more.wait()
        data: bytes = self._file.read(size)
        return data


def dripping(query: Query) -> Any:
    return Dripping(memory(query))


class NamedDescriptor:
    """A read() of its own and a fileno() of something else; a file number is no consent."""

    def __init__(self, data: bytes, file: Any) -> None:
        self._data, self._file = io.BytesIO(data), file
        self.read, self.fileno, self.close = self._data.read, file.fileno, file.close


def lying(query: Query) -> Any:
    data = (FOLDER / query["name"]).read_bytes()
    return NamedDescriptor(data[::-1], plain(query))


FILES: dict[str, Callable[[Query], Any]] = {
    function.__name__: function
    for function in (
        plain,
        unbuffered,
        proc,
        sniffed,
        memory,
        gzipped,
        temporary,
        named,
        spooled,
        rolled,
        counting_buffered,
        counting_raw,
        counting_instance,
        masked,
        pipe,
        process,
        readable,
        telling,
        claiming,
        dripping,
        lying,
    )
}


def mode() -> Any:
    """Is this worker stock, or did gzc switch itself on?"""
    if "gzc.monkey" not in sys.modules:
        return {"gzc": False, "patched": []}
    import gzc

    return {"gzc": True, "patched": sorted(str(seam) for seam in gzc.patched())}


def report(query: Query) -> Any:
    """What became of the file object the route served last."""
    file = last[query["route"]]
    return {name: getattr(file, name, None) for name in ("seen", "closed", "_rolled")}


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    query = dict(parse_qsl(environ["QUERY_STRING"]))
    route = environ["PATH_INFO"].strip("/")
    if route in ("mode", "report"):
        answer = mode() if route == "mode" else report(query)
        body = json.dumps(answer).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]
    if route == "drip":
        last["dripping"].drip()
    if route not in FILES:
        start_response("404 Not Found", [("Content-Length", "0")])
        return []
    file = last[route] = FILES[route](query)
    headers = [("Content-Type", "application/octet-stream")]
    if "length" in query:
        headers.append(("Content-Length", query["length"]))
    write = start_response(query.get("status", "200 OK"), headers)
    if "written" in query:
        write(query["written"].encode())
    wrapper = environ.get("wsgi.file_wrapper", FileWrapper)
    wrapped: Iterable[bytes] = swapping(wrapper)(file) if "swap" in query else wrapper(file)
    return wrapped


def swapping(wrapper: Any) -> Any:
    """Somebody's file wrapper, whose own iteration changes the bytes."""

    class Swapping(wrapper):  # type: ignore[misc]
        def __next__(self) -> Any:
            return super().__next__().swapcase()

    return Swapping
