"""gunicorn's ``Response.sendfile`` and ``FileWrapper``, which all its WSGI workers share.

What the replacement mends: gunicorn asks the descriptor for its position, which after ``f.read(4);
f.seek(0)`` is 4096, and sends the body from there (gunicorn#2669); it does not count what it sent, so that
the access log says 0; and a file that became shorter than the promised length leaves the connection open,
where the next response lands inside this body.

A worker iterates what is no file wrapper by itself, and throws away what comes beyond the promise: an iterator that
never ends holds the hub for ever (hard case R1). So what the application gives ends where its promise does.

Rules of this file: headers, framing and the log are gunicorn's; only the body's way is ours.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import gzc

from . import _promises, _seam, _wsgi
from ._ledger import Row

Method = Callable[..., Any]

#: The methods through which headers and a body that is not chunked go.
_WRITERS = ("send_headers", "write")


def sendfile(original: Method) -> Method:
    """The replacement of ``Response.sendfile``: whether the body was sent here."""

    @wraps(original)
    def sendfile(self: Any, respiter: Any) -> bool:
        if omits_body(self):
            return _omit(self, original, respiter)
        if self.cfg.is_ssl or not self.can_sendfile():
            if self.cfg.is_ssl and (file := _wsgi.described(respiter)) is not None:
                _seam.step_aside(_seam.attempt(file, self.sock, self.response_length))
            return _iterate(self, respiter)  # TLS, HTTP/2, --no-sendfile
        if hasattr(self, "_emit_body") and not _seam.is_own(self, "gunicorn.http.wsgi", "_emit_body"):
            return _iterate(self, respiter)  # since 27 the one place where a subclass may frame the body
        filelike, promised = _below(respiter), _left(self)
        if promised is not None and promised <= gzc.config.small and _wsgi.is_at_hand(filelike):
            return _send_small(self, respiter, filelike, promised)
        source = _described(respiter, filelike)
        if source is not None and promised is None and source.size_is_reliable():
            promised = source.amount()
        if source is None or not promised:
            # Not a plain file, whose descriptor may be somebody else's stream (GzipFile), or one of which the size
            # is a claim (/proc, FUSE): what iteration reads is right.
            return _iterate(self, respiter)
        if promised <= gzc.config.small and not self.is_chunked():
            return _send_small(self, respiter, filelike, promised)
        back = _place(filelike)
        _send(self, respiter, source, promised)
        _wsgi.go_back(filelike, back)
        return True

    return sendfile


def _file_wrapper() -> Any:
    return sys.modules["gunicorn.http.wsgi"].FileWrapper


def _below(respiter: Any) -> Any:
    """The file-like object in a file wrapper, or in what says that it is one, as gunicorn asks; else None."""
    try:
        return respiter.filelike if isinstance(respiter, _file_wrapper()) else None
    except Exception:  # noqa: BLE001 - R2
        return None


def _described(respiter: Any, filelike: Any) -> Any:
    """The regular file in a response; in a transparent proxy (wrapt) it is the one below, which gunicorn would send."""
    is_proxy = filelike is not None and not issubclass(type(respiter), _file_wrapper())
    return _wsgi.plain(filelike) if is_proxy else _wsgi.described(respiter)


def _place(filelike: Any) -> Any:
    """Where gunicorn leaves a file whose descriptor it knows: where it was. Others stay where reading left them."""
    try:
        return _wsgi.position(filelike) if sys.modules["gunicorn.util"].has_fileno(filelike) else None
    except Exception:  # noqa: BLE001 - R2
        return None


def omits_body(response: Any) -> bool:
    """Whether HTTP forbids a body here: HEAD, 1xx, 204, 304."""
    code = response.status_code
    return response.req.method == "HEAD" or code in (204, 304) or (code is not None and code < 200)


def _omit(response: Any, original: Method, respiter: Any) -> bool:
    """The headers alone. gunicorn since 26.1 warns about a body here; before that it sent the file."""
    if hasattr(response, "_omits_body"):
        if isinstance(respiter, _file_wrapper()) and _wsgi.described(respiter) is not None:
            return bool(original(response, respiter))  # by its size, without reading it
        _promises.pour(respiter, response.write, lambda: 0, response.write)
    response.send_headers()
    return True


def _left(response: Any) -> int | None:
    """How many bytes of the body are still promised; the application may have written some itself."""
    promised: int | None = response.response_length
    return None if promised is None else max(0, promised - response.sent)


def _send(response: Any, respiter: Any, source: Any, promised: int) -> None:
    """Headers, and the file: as one piece, or in chunks of no more than what every peer takes."""
    head, left = _head(response), 0
    if not response.is_chunked():
        left = _deliver(response, head, source, respiter, promised)
    else:
        for count in _promises.chunks(promised):
            left = _deliver(response, head + b"%X\r\n" % count, source, respiter, count)
            if left:
                break
            head, source = b"\r\n", source.after(count)
        else:
            response.sock.sendall(head)
    if left:
        # The promise is out and cannot be kept. Only the end of the connection tells the client;
        # a final chunk would be taken for a part of the body.
        response.force_close()
        response.chunked = False


def _deliver(response: Any, head: bytes, source: Any, respiter: Any, count: int) -> int:
    """``head`` and ``count`` bytes of the file, or what its iteration gives where that is refused; what is missing."""
    moving = gzc.Transfer(source, response.sock, count)
    if head:
        response.sock.sendall(head, _wsgi.MORE)
    try:
        _seam.run(moving)
    finally:
        response.sent += moving.moved
    left = count - moving.moved
    for block in _promises.rest(respiter, left):  # claimed by somebody, or shorter than it was
        response.sock.sendall(block)
        response.sent += len(block)
        left -= len(block)
    return left


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
    return _seam.is_own(response, "gunicorn.http.wsgi", *_WRITERS)


def _send_small(response: Any, respiter: Any, filelike: Any, promised: int) -> bool:
    """A short body, whose bytes are at hand, in one send with the headers.

    Asking for descriptor, size and flags cost 10 % of the requests at 1 KiB.
    """
    back = _place(filelike)
    body = _wsgi.small_body(respiter, promised)
    _wsgi.go_back(filelike, back)  # before the answer is out: whatever a ``seek`` does then, it is complete
    if len(body) < promised:
        response.force_close()
    if head := _head(response):
        response.sock.sendall(head + body)
        response.sent += len(body)
    elif body:
        response.write(body)
    return True


def _iterate(response: Any, respiter: Any) -> bool:
    """gunicorn's own way as far as was promised, and the end of the connection where the body was shorter."""
    _wsgi.widen(respiter)
    left = _left(response)
    if left is None:
        _promises.pour(respiter, response.write, lambda: None)
    else:
        for block in _promises.rest(respiter, left):
            response.write(block)
    if _left(response):
        response.send_headers()
        response.force_close()
    return True


class _Recognizing(type):
    """Of a file wrapper: what is described as a part of a file is an instance, too."""

    def __instancecheck__(cls, instance: object) -> bool:
        if type(instance) in _wsgi.PLAIN:
            return False  # nearly all of them, and to ask has its price
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
