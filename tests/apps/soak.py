"""The app of the soak test: downloads, ranges, uploads, and what the worker holds.

``GET /NAME`` a file, with a Range of one part; ``PUT /`` answers the length and the SHA-256 of what came;
``GET /state`` says what was begun and ended so far and what the process has open.
Rule: plain WSGI, the bytes in the way any app would; of gzc only its totals, to prove that it was there.
"""

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from weakref import WeakSet

from held import held

FOLDER = Path(os.environ["GZC_TEST_FOLDER"])
counts: Counter[str] = Counter()
files: WeakSet[Any] = WeakSet()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/pid":
        return _plain(start_response, str(os.getpid()))
    if path == "/state":
        return _plain(start_response, json.dumps(_state()))
    if environ["REQUEST_METHOD"] == "PUT":
        return _upload(environ, start_response)
    counts["downloads"] += 1
    file = (FOLDER / path[1:]).open("rb")
    files.add(file)
    size = os.fstat(file.fileno()).st_size
    asked = re.fullmatch(r"bytes=(\d+)-(\d+)", environ.get("HTTP_RANGE", ""))
    if asked:
        first, last = map(int, asked.groups())
        file.seek(first)
        headers = [("Content-Length", str(last - first + 1)), ("Content-Range", f"bytes {first}-{last}/{size}")]
        start_response("206 Partial Content", headers)
    else:
        start_response("200 OK", [("Content-Length", str(size))])
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
    return wrapped


def _plain(start_response: Callable[..., Any], text: str) -> list[bytes]:
    body = text.encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def _upload(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    counts["uploads"] += 1
    with tempfile.TemporaryFile() as kept:
        try:
            shutil.copyfileobj(environ["wsgi.input"], kept)
        except OSError:
            counts["uploads that failed"] += 1
            raise
        length = kept.tell()
        if length < int(environ["CONTENT_LENGTH"]):
            counts["uploads that were short"] += 1
        kept.seek(0)
        digest = hashlib.sha256(kept.read()).hexdigest()
    return _plain(start_response, f"{length} {digest}")


def _state() -> dict[str, Any]:
    return {
        **counts,
        "open files": sum(not file.closed for file in files),
        **held(),
        "moved": sys.modules["gzc"].stats()["bytes"] if "gzc" in sys.modules else {},
    }
