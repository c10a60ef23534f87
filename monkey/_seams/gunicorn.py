"""gunicorn's ``Response.sendfile`` and ``FileWrapper``, which all its WSGI workers share.

What the replacement mends: gunicorn asks the descriptor for its position, which after ``f.read(4);
f.seek(0)`` is 4096, and sends the body from there (gunicorn#2669); it does not count what it sent, so that
the access log says 0; and a file that became shorter than the promised length leaves the connection open,
where the next response lands inside this body.

A worker iterates what is no file wrapper by itself, and throws away what comes beyond the promise: an iterator that
never ends holds the hub for ever (hard case R1). So what the application gives ends where its promise does.

Headers, framing and the log stay gunicorn's.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import gzc

from .. import _fast_prefix, _file_wrapper, _own, _promises, _send_file
from .._row import Row

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
            if self.cfg.is_ssl and (file := _send_file.described(respiter)) is not None:
                _fast_prefix.step_aside(_fast_prefix.attempt(file, self.sock, self.response_length))
            return _iterate(self, respiter)  # TLS, HTTP/2, --no-sendfile
        if hasattr(self, "_emit_body") and not _own.is_own(self, "gunicorn.http.wsgi", "_emit_body"):
            return _iterate(self, respiter)  # since 27 the one place where a subclass may frame the body
        wrapper = sys.modules["gunicorn.http.wsgi"].FileWrapper
        filelike, promised = _below(respiter, wrapper), _left(self)
        if promised is not None and promised <= gzc.config.small and _send_file.is_at_hand(filelike):
            _send_file.send_small(_Response(self, respiter, filelike), promised)
            return True
        # In a transparent proxy (wrapt) it is the file below, which gunicorn would send.
        is_proxy = filelike is not None and not issubclass(type(respiter), wrapper)
        source = _send_file.plain(filelike) if is_proxy else _send_file.described(respiter)
        if source is not None and promised is None and source.size_is_reliable():
            promised = source.amount()
        if source is None or not promised:
            # Not a plain file, whose descriptor may be somebody else's stream (GzipFile), or one of which the size
            # is a claim (/proc, FUSE): what iteration reads is right.
            return _iterate(self, respiter)
        response = _Response(self, respiter, filelike)
        if promised <= gzc.config.small and not response.chunked:
            _send_file.send_small(response, promised)
        else:
            _send_file.send(response, source, promised)
            response.go_back()
        return True

    return sendfile


def _below(respiter: Any, wrapper: Any) -> Any:
    """The file-like object in a file wrapper, or in what says that it is one, as gunicorn asks; else None."""
    try:
        return respiter.filelike if isinstance(respiter, wrapper) else None
    except Exception:  # noqa: BLE001 - R2
        return None


def omits_body(response: Any) -> bool:
    """Whether HTTP forbids a body here: HEAD, 1xx, 204, 304."""
    code = response.status_code
    return response.req.method == "HEAD" or code in (204, 304) or (code is not None and code < 200)


def _omit(response: Any, original: Method, respiter: Any) -> bool:
    """The headers alone. gunicorn since 26.1 warns about a body here; before that it sent the file."""
    if hasattr(response, "_omits_body"):
        wrapper = sys.modules["gunicorn.http.wsgi"].FileWrapper
        if isinstance(respiter, wrapper) and _send_file.described(respiter) is not None:
            return bool(original(response, respiter))  # by its size, without reading it
        _promises.pour(respiter, response.write, lambda: 0, response.write)
    response.send_headers()
    return True


def _left(response: Any) -> int | None:
    """How many bytes of the body are still promised; the application may have written some itself."""
    promised: int | None = response.response_length
    return None if promised is None else max(0, promised - response.sent)


class _Headers(list[bytes]):
    """Stands where the socket is while gunicorn sends the headers, to keep them for the body."""

    sendall = list.append


class _Response(_send_file.Response):
    """One of gunicorn's, which ends chunks by itself and counts the body alone."""

    chunk, last = b"%X\r\n", b"\r\n"

    def __init__(self, response: Any, respiter: Any, filelike: Any = None) -> None:
        self.result, self.sock, self.response = respiter, response.sock, response
        self.chunked = response.is_chunked()
        self._file, self._place = filelike, None
        # gunicorn leaves a file whose descriptor it knows where it was. Others stay where reading left them.
        with contextlib.suppress(Exception):  # of somebody's own (R2)
            if filelike is not None and sys.modules["gunicorn.util"].has_fileno(filelike):
                self._place = _file_wrapper.position(filelike)

    def go_back(self) -> None:
        _send_file.go_back(self._file, self._place)

    def head(self) -> bytes:
        response, taken = self.response, _Headers()
        if response.headers_sent or not _own.is_own(response, "gunicorn.http.wsgi", *_WRITERS):
            response.send_headers()  # at once, by somebody's own method
            return b""
        response.sock = taken
        try:
            response.send_headers()
        finally:
            response.sock = self.sock
        return b"".join(taken)

    def write(self, block: bytes) -> None:
        self.response.write(block)

    def write_raw(self, data: bytes, flags: int = 0) -> None:
        if flags:
            self.sock.sendall(data, flags)
        else:
            self.sock.sendall(data)  # somebody's own socket may take no flags

    def write_whole(self, block: bytes) -> None:
        self.go_back()  # before the answer is out: whatever a ``seek`` does then, it is complete
        if head := self.head():
            self.sock.sendall(head + block)
            self.response.sent += len(block)
        elif block:
            self.response.write(block)

    def finish(self) -> None:
        self.response.send_headers()

    def moved(self, count: int) -> None:
        self.response.sent += count

    def cut(self) -> None:
        self.response.force_close()
        self.response.chunked = False  # a final chunk would be taken for a part of the body


def _iterate(response: Any, respiter: Any) -> bool:
    """gunicorn's own way as far as was promised, and the end of the connection where the body was shorter."""
    left = _left(response)
    if left is None:
        _file_wrapper.widen(respiter)
        _promises.pour(respiter, response.write, lambda: None)
    else:
        _send_file.send_blocks(_Response(response, respiter), left)
    return True


class _Recognizing(type):
    """Of a file wrapper: what is described as a part of a file is an instance, too."""

    def __instancecheck__(cls, instance: object) -> bool:
        if type(instance) in _send_file.PLAIN:
            return False  # nearly all of them, and to ask has its price
        return isinstance(instance, cls.__base__ or cls) or _send_file.described(instance) is not None


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
    *_file_wrapper.wrapper_rows("gunicorn.http.wsgi"),
)
