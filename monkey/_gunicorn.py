"""gunicorn's ``Response.sendfile`` and ``FileWrapper``, which all its WSGI workers share.

What the replacement mends: gunicorn asks the descriptor for its position, which after ``f.read(4);
f.seek(0)`` is 4096, and sends the body from there (gunicorn#2669); it does not count what it sent, so that
the access log says 0; and a file that became shorter than the promised length leaves the connection open,
where the next response lands inside this body.

Rules of this file: headers, framing and the log are gunicorn's; only the body's way is ours.
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
        if promised is not None:
            promised = max(0, promised - self.sent)  # the application may have written before
            if promised <= gzc.config.small:
                return _send_small(self, filelike, promised)
        try:
            source = gzc.source(filelike)
        except (TypeError, ValueError, OSError):
            return _iterate(self, respiter)  # closed, text, no reader at all: it will say so in its own words
        if promised is None:
            promised = source.amount()
        if source.kind is not gzc.Kind.FILE or not promised:
            # Not a plain file, whose descriptor may be somebody else's stream (GzipFile), or one that
            # does not know its size (/proc): what iteration reads is right.
            return _iterate(self, respiter)
        back = _position(filelike)
        transfer = gzc.Transfer(source, self.sock, promised)
        self.send_headers()
        chunked = self.is_chunked()
        if chunked:
            self.sock.sendall(b"%X\r\n" % promised)
        sent = self.sent
        try:
            self.sent += _send(transfer, filelike, self.sock, promised)
        except BaseException:
            self.sent = sent + transfer.moved
            raise
        if self.sent - sent < promised:
            # The promise is out and cannot be kept. Only the end of the connection tells the client;
            # a final chunk would be taken for a part of the body.
            self.force_close()
            self.chunked = False
        elif chunked:
            self.sock.sendall(b"\r\n")
        if back is not None:
            filelike.seek(back)  # as gunicorn does, with the descriptor's position
        return True

    return sendfile


def _send(transfer: gzc.Transfer, filelike: Any, sock: Any, promised: int) -> int:
    try:
        with transfer:
            return transfer.run()
    except gzc.Error:
        if transfer.moved:
            raise
        sent: int = sock.sendfile(filelike, count=promised)  # claimed by somebody: the old way
        return sent


def _send_small(response: Any, filelike: Any, promised: int) -> bool:
    """A short body by one read and one send: the file's own ``read`` is right for every kind of file.

    Asking for descriptor, size, flags and position cost 10 % of the requests at 1 KiB.
    """
    back = _position(filelike)
    body = filelike.read(promised) if promised else b""
    if body is None:  # a pipe in non-blocking mode that has nothing yet
        body = b""
    while 0 < len(body) < promised and (more := filelike.read(promised - len(body))):
        body += more
    if len(body) < promised:
        response.force_close()
    if body:
        response.write(body)
    else:
        response.send_headers()
    if back is not None:
        filelike.seek(back)
    return True


def _iterate(response: Any, respiter: Any) -> bool:
    """gunicorn's own way, and the end of the connection where the body was shorter than promised."""
    for item in respiter:
        response.write(item)
    if response.response_length is not None and response.sent < response.response_length:
        response.send_headers()
        response.force_close()
    return True


def _position(filelike: Any) -> Any:
    """Where the file is, if one can go back there."""
    ask = getattr(filelike, "seekable", None)
    able = ask() if ask is not None else hasattr(filelike, "seek") and hasattr(filelike, "tell")
    return filelike.tell() if able else None


def _iter(self: Any) -> Any:
    """Itself. Before gunicorn 25.2 ``iter()`` made a plain sequence iterator, which cannot seek."""
    return self


def _next(self: Any) -> Any:
    """The next block, as ``__getitem__`` gives it."""
    try:
        return self[0]
    except IndexError:
        raise StopIteration from None


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
    ("__iter__", _added(_iter)),
    ("__next__", _added(_next)),
    ("seekable", _added(_seekable)),
    ("seek", _added(_seek)),
    ("tell", _added(_tell)),
    ("fileno", _added(_fileno)),
)
