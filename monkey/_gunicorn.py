"""gunicorn's ``Response.sendfile`` and ``FileWrapper``, which all its WSGI workers share.

What the replacement mends: gunicorn asks the descriptor for its position, which after ``f.read(4);
f.seek(0)`` is 4096, and sends the body from there (gunicorn#2669); it does not count what it sent, so that
the access log says 0; and a file that became shorter than the promised length leaves the connection open,
where the next response lands inside this body.

Rules of this file: headers, framing and the log are gunicorn's; only the body's way is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import gzc

from . import _seam, _wsgi
from ._ledger import Row

Method = Callable[..., Any]

#: The methods through which headers and a body that is not chunked go.
_WRITERS = ("send_headers", "write")


def sendfile(original: Method) -> Method:
    """The replacement of ``Response.sendfile``: whether the body was sent here."""

    @wraps(original)
    def sendfile(self: Any, respiter: Any) -> bool:
        filelike = getattr(respiter, "filelike", None)  # None: not a wrapper, but described as a part of a file
        if _omits_body(self):
            # gunicorn since 26.1 warns about a wrapper here; before that it sent the file.
            if filelike is not None and hasattr(self, "_omits_body"):
                return bool(original(self, respiter))
            self.send_headers()
            return True
        if self.cfg.is_ssl or not self.can_sendfile():
            if self.cfg.is_ssl and (file := _wsgi.described(respiter)) is not None:
                _seam.step_aside(_seam.attempt(file, self.sock, self.response_length))
            return _iterate(self, respiter)  # TLS, HTTP/2, --no-sendfile
        if hasattr(self, "_emit_body") and not _is_gunicorns(self, "_emit_body"):
            return _iterate(self, respiter)  # since 27 the one place where a subclass may frame the body
        back = _wsgi.position(filelike)
        promised = self.response_length
        if promised is not None:
            promised = max(0, promised - self.sent)  # the application may have written before
            if promised <= gzc.config.small and back is not None:
                return _send_small(self, respiter, promised, back)
        source = _wsgi.described(respiter)
        if source is not None and promised is None:
            promised = source.amount()
        if source is None or not promised:
            # Not a plain file, whose descriptor may be somebody else's stream (GzipFile), or one that
            # does not know its size (/proc): what iteration reads is right.
            return _iterate(self, respiter)
        _send(self, respiter, gzc.Transfer(source, self.sock, promised), promised)
        if filelike is not None and back is not None:
            filelike.seek(back)  # as gunicorn does, with the descriptor's position
        return True

    return sendfile


def _omits_body(response: Any) -> bool:
    """Whether HTTP forbids a body here: HEAD, 1xx, 204, 304."""
    code = response.status_code
    return response.req.method == "HEAD" or code in (204, 304) or (code is not None and code < 200)


def _send(response: Any, respiter: Any, moving: gzc.Transfer, promised: int) -> None:
    """Headers, the transfer, and what the file's iteration still gives if that was refused."""
    head = _head(response)
    chunked = response.is_chunked()
    if chunked:
        head += b"%X\r\n" % promised
    if head:
        response.sock.sendall(head, _wsgi.MORE)
    try:
        _seam.run(moving)
    finally:
        response.sent += moving.moved
    left = promised - moving.moved
    for block in _wsgi.rest(respiter, left):  # claimed by somebody, or shorter than it was
        response.sock.sendall(block)
        response.sent += len(block)
        left -= len(block)
    if left:
        # The promise is out and cannot be kept. Only the end of the connection tells the client;
        # a final chunk would be taken for a part of the body.
        response.force_close()
        response.chunked = False
    elif chunked:
        response.sock.sendall(b"\r\n")


class _Headers:
    """Stands where the socket is while gunicorn sends the headers, to keep them for the body."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.pieces.append(data)


def _head(response: Any) -> bytes:
    """The headers, still to be sent; nothing where they are sent, as they are at once by somebody's own method."""
    if response.headers_sent or not _writes_as_gunicorn_does(response):
        response.send_headers()
        return b""
    sock, taken = response.sock, _Headers()
    response.sock = taken
    try:
        response.send_headers()
    finally:
        response.sock = sock
    return b"".join(taken.pieces)


def _writes_as_gunicorn_does(response: Any) -> bool:
    return all(_is_gunicorns(response, name) for name in _WRITERS)


def _is_gunicorns(response: Any, name: str) -> bool:
    function = getattr(getattr(response, name, None), "__func__", None)
    return getattr(function, "__globals__", {}).get("__name__") == "gunicorn.http.wsgi"


def _send_small(response: Any, respiter: Any, promised: int, back: Any) -> bool:
    """A short body by one read and one send: the wrapper's own iteration is right for every kind of file.

    Asking for descriptor, size and flags cost 10 % of the requests at 1 KiB.
    """
    _wsgi.widen(respiter, promised)
    body = b"".join(_wsgi.rest(respiter, promised))
    if len(body) < promised:
        response.force_close()
    if head := _head(response):
        response.sock.sendall(head + body)
        response.sent += len(body)
    elif body:
        response.write(body)
    respiter.filelike.seek(back)
    return True


def _iterate(response: Any, respiter: Any) -> bool:
    """gunicorn's own way, and the end of the connection where the body was shorter than promised."""
    _wsgi.widen(respiter)
    for item in respiter:
        response.write(item)
    if response.response_length is not None and response.sent < response.response_length:
        response.send_headers()
        response.force_close()
    return True


class _Recognizing(type):
    """Of a file wrapper: what is described as a part of a file is an instance, too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.__base__ or cls) or _wsgi.described(instance) is not None


@cache
def _recognizing(wrapper: type) -> type:
    return _Recognizing(wrapper.__name__, (wrapper,), {"__module__": wrapper.__module__, "__doc__": wrapper.__doc__})


def base_environ(original: Method) -> Method:
    """The replacement of ``base_environ``: ranges arrive in ``Response.sendfile``, too.

    gunicorn's workers ask ``isinstance(result, environ["wsgi.file_wrapper"])``, and know no other file.
    """

    @wraps(original)
    def base_environ(*args: Any, **kwargs: Any) -> Any:
        environ = original(*args, **kwargs)
        environ["wsgi.file_wrapper"] = _recognizing(environ["wsgi.file_wrapper"])
        return environ

    return base_environ


ROWS = (
    Row(
        *("gunicorn.http.wsgi", "Response.sendfile", sendfile),
        knows=frozenset({"is_ssl", "can_sendfile", "filelike", "response_length", "send_headers", "is_chunked"}),
    ),
    Row("gunicorn.http.wsgi", "base_environ", base_environ, knows=frozenset({"cfg", "FileWrapper"})),
    *_wsgi.wrapper_rows("gunicorn.http.wsgi"),
)
