"""urllib3's connections and responses, and so requests.

An upload: urllib3 reads a file in blocks of 16 KiB and sends those. Its iterable of blocks is given the file
itself for the only block, which ``send`` takes; the body that retries and redirects rewind is still the
program's file. A download: what is left of the body is described, and ``read`` finds the end, checks the length
and gives the connection back.

Only bodies with a Content-Length that nothing decodes.
"""

from __future__ import annotations

import http.client
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from .. import _own
from .._describe import added
from .._row import Row
from . import http_client

Method = Callable[..., Any]

_STATE = ("_fp_bytes_read", "_error_catcher")
_READERS = ("read", "read1", "readinto", "readline", "peek")


def send(_missing: object) -> Method:
    """``HTTPConnection.send``, which urllib3 inherits: http.client's own seam may be switched off."""
    owner = sys.modules["urllib3.connection"].HTTPConnection  # a program may put a subclass there later

    def send(self: Any, data: Any) -> Any:
        """Send bytes, or a file; a plain one on a plain socket goes by sendfile(2)."""
        http_client.send_prefix(self, data)
        return super(owner, self).send(data)

    return send


def request(original: Method) -> Method:
    """The replacement of ``HTTPConnection.request``."""

    @wraps(original)
    def request(
        self: Any, method: str, url: str, body: Any = None, headers: Any = None, *args: Any, **options: Any
    ) -> Any:
        # A chunk is formatted with its length and its bytes, and that a file has not.
        if not options.get("chunked") and _has_length(headers) and _cuts(self, body):
            body = (body,)
        return original(self, method, url, body, headers, *args, **options)

    return request


def _cuts(connection: Any, body: Any) -> bool:
    """Whether urllib3 would cut ``body`` into blocks, by its own function, and the connection takes it whole."""
    cutter = sys.modules["urllib3.connection"].body_to_chunks
    made_in = getattr(cutter, "__globals__", {}).get("__name__")
    return made_in == "urllib3.util.request" and http_client.takes_whole(connection, body)


def _has_length(headers: Any) -> bool:
    try:
        return any(name.lower() in ("content-length", b"content-length") for name in headers or ())
    except Exception:  # noqa: BLE001 - no mapping of names, of which urllib3 speaks in its own words
        return False


def body(response: Any) -> Any:
    """Describe what is left of the body of an ``HTTPResponse``, if that is what ``read`` would give."""
    try:
        original = response._fp
        plain = not response.chunked and not (response.decode_content and response.headers.get("content-encoding"))
        nothing_above = not response._decoder and not response._has_decoded_content and not response._decoded_buffer
        same = _is_httplib(original) and response.length_remaining == original.length
    except Exception:  # noqa: BLE001 - a version, or a subclass, that keeps its state in another way
        return None
    if not plain or not nothing_above or not same or not all(hasattr(response, name) for name in _STATE):
        return None
    source = http_client.body(original)
    if source is None:
        return None

    def consumed(count: int) -> None:
        response._fp_bytes_read += count
        if response.length_remaining is not None:
            response.length_remaining -= count
        if hasattr(response, "_uncached_read_occurred"):
            response._uncached_read_occurred = True  # what ``data`` could still get is no longer the whole body

    def failed(exc: BaseException) -> BaseException:
        try:
            with response._error_catcher():  # it closes what must not be used again, and chooses the words
                raise exc
        except BaseException as seen:  # noqa: BLE001 - given back, to be raised there
            return seen

    return source.settling(consumed).translating(failed)


def _is_httplib(original: Any) -> bool:
    """Whether it is http.client's response, with methods that nobody has wrapped or overridden."""
    return type(original) is http.client.HTTPResponse and _own.is_own(original, "http.client", *_READERS)


ROWS = (
    Row("urllib3.connection", "HTTPConnection.send", send),
    Row(
        *("urllib3.connection", "HTTPConnection.request", request),
        # Before 2.0 it was http.client's, and body_to_chunks did not exist.
        knows=frozenset({"body", "headers", "chunked", "body_to_chunks", "chunks", "endheaders", "send"}),
    ),
    Row("urllib3.response", "HTTPResponse.__gzc_source__", added(body)),
)
