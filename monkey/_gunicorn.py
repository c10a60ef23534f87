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
from collections.abc import Callable, Iterator
from functools import cache, partial, wraps
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
        if _omits_body(self):
            return _omit(self, original, respiter)
        if self.cfg.is_ssl or not self.can_sendfile():
            if self.cfg.is_ssl and (file := _wsgi.described(respiter)) is not None:
                _seam.step_aside(_seam.attempt(file, self.sock, self.response_length))
            return _iterate(self, respiter)  # TLS, HTTP/2, --no-sendfile
        if hasattr(self, "_emit_body") and not _seam.is_own(self, "_emit_body", "gunicorn.http.wsgi"):
            return _iterate(self, respiter)  # since 27 the one place where a subclass may frame the body
        filelike = respiter.filelike if isinstance(respiter, _file_wrapper()) else None  # else a part of a file
        back = _wsgi.position(filelike)
        promised = _left(self)
        if promised is not None and promised <= gzc.config.small and back is not None:
            return _send_small(self, respiter, promised, back)
        source = _wsgi.described(respiter)
        if source is not None and promised is None and source.size_is_reliable():
            promised = source.amount()
        if source is None or not promised:
            # Not a plain file, whose descriptor may be somebody else's stream (GzipFile), or one of which the size
            # is a claim (/proc, FUSE): what iteration reads is right.
            return _iterate(self, respiter)
        _send(self, respiter, source, promised)
        if back is not None:
            _wsgi.go_back(filelike, back)  # as gunicorn does, with the descriptor's position
        return True

    return sendfile


def _file_wrapper() -> Any:
    return sys.modules["gunicorn.http.wsgi"].FileWrapper


def _omits_body(response: Any) -> bool:
    """Whether HTTP forbids a body here: HEAD, 1xx, 204, 304."""
    code = response.status_code
    return response.req.method == "HEAD" or code in (204, 304) or (code is not None and code < 200)


def _omit(response: Any, original: Method, respiter: Any) -> bool:
    """The headers alone. gunicorn since 26.1 warns about a body here; before that it sent the file."""
    if hasattr(response, "_omits_body"):
        if isinstance(respiter, _file_wrapper()) and _wsgi.described(respiter) is not None:
            return bool(original(response, respiter))  # by its size, without reading it
        for _ in _wsgi.kept(respiter, lambda: 0, response.write):
            pass
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
        for count in _wsgi.chunks(promised):
            left = _deliver(response, head + b"%X\r\n" % count, source, respiter, count)
            if left:
                break
            head = b"\r\n"
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
    for block in _wsgi.rest(respiter, left):  # claimed by somebody, or shorter than it was
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
    return all(_seam.is_own(response, name, "gunicorn.http.wsgi") for name in _WRITERS)


def _send_small(response: Any, respiter: Any, promised: int, back: Any) -> bool:
    """A short body by one read and one send: the wrapper's own iteration is right for every kind of file.

    Asking for descriptor, size and flags cost 10 % of the requests at 1 KiB.
    """
    _wsgi.widen(respiter, promised)
    body = b"".join(_wsgi.rest(respiter, promised))
    _wsgi.go_back(respiter.filelike, back)  # before the answer is out: whatever a ``seek`` does then, it is complete
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
    for item in _wsgi.kept(respiter, lambda: None) if left is None else _wsgi.rest(respiter, left):
        response.write(item)
    if _left(response):
        response.send_headers()
        response.force_close()
    return True


# -- what the worker iterates itself -----------------------------------------------------------------------------------


class _Kept:
    """A response that ends where its promise ends, and gives the hub its turns."""

    def __init__(self, result: Any, response: Any) -> None:
        self.result, self._response = result, response
        if hasattr(result, "close"):
            self.close = result.close

    def __iter__(self) -> Iterator[bytes]:
        return _wsgi.kept(self.result, self._promised, self._drop)

    def _promised(self) -> int | None:
        return 0 if _has_no_body(self._response) else _left(self._response)

    def _drop(self, block: bytes) -> None:
        if hasattr(self._response, "_omits_body"):
            self._response.write(block)  # drops it, with a warning where HTTP forbids a body

    def __gzc_source__(self) -> Any:
        return _wsgi.below(self.result)


def _has_no_body(response: Any) -> bool:
    """Whether gunicorn drops what the application gives; before 26.1 it sent it, and it was the next response."""
    omits = getattr(response, "_omits_body", None)
    if omits is not None or not response.status:
        return bool(omits)
    return response.req.method == "HEAD" or response.status_code in (204, 304)


def _keeping(application: Method, environ: Any, start_response: Any) -> Any:
    """The application's response, as ``_Kept`` where the worker would iterate it without looking at the promise."""
    result = application(environ, start_response)
    cls, response = type(result), getattr(start_response, "__self__", None)
    if cls is list or cls is tuple or not hasattr(cls, "__iter__"):
        return result
    gunicorn = sys.modules["gunicorn.http.wsgi"]
    if type(response) is gunicorn.Response:
        return result if issubclass(cls, gunicorn.FileWrapper) else _Kept(result, response)  # ``sendfile`` has wrappers
    return _Kept(result, response) if isinstance(response, gunicorn.Response) else result  # HTTP/2; the pywsgi worker


def wsgi(_missing: object) -> property:
    """A property where the workers keep the application: what it gives keeps its promise."""

    def get(worker: Any) -> Any:
        try:
            return partial(_keeping, vars(worker)["wsgi"])
        except KeyError:
            raise AttributeError("wsgi") from None

    def keep(worker: Any, application: Any) -> None:
        vars(worker)["wsgi"] = application

    return property(get, keep)


class _Recognizing(type):
    """Of a file wrapper: what is described as a part of a file is an instance, too."""

    def __instancecheck__(cls, instance: object) -> bool:
        if type(instance) is _Kept:
            instance = instance.result
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

WORKER = (Row("gunicorn.workers.base_async", "AsyncWorker.wsgi", wsgi),)
