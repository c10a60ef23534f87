"""A bare WSGI app for the tests of clients: it says what it received, and gives bodies framed in every way.

Rule: no framework, and nothing of gzc; it runs in a process that has none.
"""

import gzip
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

FOLDER = Path(os.environ["GZC_TEST_FOLDER"])
BLOCK = 1 << 18


def _received(environ: dict[str, Any]) -> bytes:
    """MD5 and length of the request's body, and how it was framed."""
    digest, length = hashlib.md5(), 0
    while block := environ["wsgi.input"].read(BLOCK):
        digest.update(block)
        length += len(block)
    framing = environ.get("HTTP_TRANSFER_ENCODING") or environ.get("CONTENT_LENGTH") or "none"
    return f"{digest.hexdigest()} {length} {framing}".encode()


def _blocks(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), BLOCK):
        yield content[start : start + BLOCK]


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    query = dict(parse_qsl(environ["QUERY_STRING"]))
    route = environ["PATH_INFO"].strip("/")
    headers = []
    if route == "pid":
        body = str(os.getpid()).encode()
    elif route == "file":
        body = (FOLDER / query["name"]).read_bytes()
        if "gzip" in query:
            body = gzip.compress(body, 1)
            headers.append(("Content-Encoding", "gzip"))
    elif route == "status":
        _received(environ)
        start_response(f"{query['code']} Whatever", [])
        return []
    else:
        body = _received(environ)
    if "chunked" not in query:
        headers.append(("Content-Length", str(len(body))))
    status = "200 OK"
    if route == "moved":
        status = "307 Temporary Redirect"
        headers.append(("Location", "/received"))
    start_response(status, headers)
    return _blocks(body)
