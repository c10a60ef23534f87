"""gunicorn's ``Response.sendfile`` and ``FileWrapper``, which all its WSGI workers share.

What the replacement mends: gunicorn asks the descriptor for its position, which after ``f.read(4);
f.seek(0)`` is 4096, and sends the body from there (gunicorn#2669); it does not count what it sent, so that
the access log says 0; and a file that became shorter than the promised length leaves the connection open,
where the next response lands inside this body.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import gzc

Method = Callable[..., Any]


def sendfile(original: Method) -> Method:
    """The replacement of ``Response.sendfile``: whether the body was sent here."""

    @wraps(original)
    def sendfile(self: Any, respiter: Any) -> bool:
        if self.cfg.is_ssl or not self.can_sendfile() or getattr(self, "_omits_body", False):
            return bool(original(self, respiter))  # TLS, HTTP/2, --no-sendfile; HEAD, 1xx, 204, 304
        filelike = respiter.filelike
        promised = self.response_length
        if promised is not None and promised <= gzc.config.small:
            return _send_small(self, filelike, promised)
        try:
            source = gzc.source(filelike)
        except (TypeError, ValueError, OSError):
            return False  # closed, text, no reader at all: iterating will say so in its own words
        if source.kind is not gzc.Kind.FILE or (promised is None and not source.amount()):
            # Not a plain file, whose descriptor may be somebody else's stream (GzipFile), or one that
            # does not know its size (/proc): what iteration reads is right.
            return False
        if promised is None:
            promised = source.amount()
        offset = source.offset
        self.send_headers()
        chunked = self.is_chunked()
        if chunked:
            self.sock.sendall(b"%X\r\n" % promised)
        try:
            sent = self.sock.sendfile(filelike, offset=offset, count=promised)
        finally:
            self.sent += max(0, filelike.tell() - offset)
        if sent < promised:
            # The promise is out and cannot be kept. Only the end of the connection tells the client;
            # a final chunk would be taken for a part of the body.
            self.force_close()
            self.chunked = False
        elif chunked:
            self.sock.sendall(b"\r\n")
        filelike.seek(offset)  # as gunicorn does, with the descriptor's position
        return True

    return sendfile


def _send_small(response: Any, filelike: Any, promised: int) -> bool:
    """A short body by one read and one send: the file's own ``read`` is right for every kind of file.

    Asking for descriptor, size, flags and position cost 10 % of the requests at 1 KiB.
    """
    try:
        start = filelike.tell()
    except (AttributeError, OSError):  # a pipe, or a reader without a position: let it be iterated
        return False
    body = filelike.read(promised) if promised else b""
    while 0 < len(body) < promised and (more := filelike.read(promised - len(body))):
        body += more
    if len(body) < promised:
        response.force_close()
    if body:
        response.write(body)
    else:
        response.send_headers()
    filelike.seek(start)
    return True


def _seekable(self: Any) -> bool:
    """Whether the file can seek; Werkzeug's range responses ask."""
    ask = getattr(self.filelike, "seekable", None)
    return bool(ask()) if ask is not None else hasattr(self.filelike, "seek")


def _seek(self: Any, offset: int, whence: int = 0) -> Any:
    """Seek in the file, so that a Range near its end need not be read from byte 0."""
    return self.filelike.seek(offset, whence)


def _tell(self: Any) -> Any:
    """The position in the file."""
    return self.filelike.tell()


def _fileno(self: Any) -> Any:
    """The file's descriptor; middlewares leave a response alone that has one."""
    return self.filelike.fileno()


def _added(method: Method) -> Callable[[Any], Method]:
    return lambda _missing: method


WRAPPER_METHODS = (
    ("seekable", _added(_seekable)),
    ("seek", _added(_seek)),
    ("tell", _added(_tell)),
    ("fileno", _added(_fileno)),
)
