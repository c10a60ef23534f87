"""``gevent.pywsgi.WSGIHandler``: it offers no ``wsgi.file_wrapper``, and sends a body also where none may be.

Headers, framing, errors and the log stay pywsgi's. A file goes by the fast path after them; a small one in one
piece with them, and the headers of a larger one with MSG_MORE: pywsgi does not set TCP_NODELAY, and headers sent
before a small body cost the 40 ms of a delayed acknowledgement (hard case F9).

Where a handler overrides how bytes are written, or writes to TLS, every byte goes through its method.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import gzc

from .. import _file_wrapper, _own, _promises, _send_file
from .._row import Row

Method = Callable[..., Any]

#: The methods through which every byte of a response goes.
_WRITERS = ("write", "_write", "_write_with_headers", "_sendall")


def get_environ(original: Method) -> Method:
    """The replacement of ``get_environ``: there is a file wrapper, where neither user nor gunicorn gave one."""

    @wraps(original)
    def get_environ(self: Any) -> Any:
        environ = original(self)
        environ.setdefault("wsgi.file_wrapper", _file_wrapper.FileWrapper)
        return environ

    return get_environ


def process_result(original: Method) -> Method:
    """The replacement of ``process_result``: responses that are files do not pass through user space."""

    @wraps(original)
    def process_result(self: Any) -> Any:
        if not self.status:
            # The application calls start_response only when it is iterated, as every generator does; the code is
            # None until then, or that of the last request on this connection.
            return _iterate(self)
        if type(self.result) is list and _is_kept_by(self, self.result):
            return original(self)
        wrapper = self.environ.get("wsgi.file_wrapper")
        wrapped = id(wrapper) in map(id, type(self.result).__mro__)  # ``==`` may be somebody's
        bodiless = self.command == "HEAD" or self.code in (204, 304) or 100 <= self.code < 200
        if wrapped and not bodiless and (short := _short(self)) is not None:
            return _send_file.send_small(_Response(self, short), short)
        source = _send_file.described(self.result)
        if not (source or wrapped) or not _writes_as_pywsgi_does(self):
            return _iterate(self)
        promised = _promise(self, source)
        if bodiless:
            return _send_headers(self, promised)
        if source is None or promised is None:
            _file_wrapper.widen(self.result)
            return _iterate(self) if promised is None else _send_file.send_blocks(_Response(self), promised)
        if promised <= gzc.config.small and not self.headers_sent:
            return _send_file.send_small(_Response(self, promised), promised)
        return _send_file.send(_Response(self, promised), source, promised)

    return process_result


def _is_kept_by(handler: Any, result: list[bytes]) -> bool:
    """Whether a list, as most responses are, has no more than was promised."""
    if handler.command == "HEAD" or handler.headers_sent:
        return not result
    promised = handler.provided_content_length
    try:
        return promised is None or sum(map(len, result)) <= int(promised) or _frames_itself(handler)
    except (TypeError, ValueError):  # pywsgi has words of its own for it
        return True


def _iterate(handler: Any) -> None:
    """pywsgi's own way, which would go on where the promise has ended, and send a body for HEAD, too."""
    bodiless = handler.command == "HEAD" and not handler.headers_sent  # else the application has written one already
    _promises.pour(handler.result, handler.write, _left(handler, bodiless), lambda _: handler.write(b""), empties=False)
    if handler.status and not handler.headers_sent:
        handler.write(b"")
    if handler.response_use_chunked and not bodiless:
        handler._sendall(b"0\r\n\r\n")


def _left(handler: Any, bodiless: bool) -> Callable[[], int | None]:
    """What tells how much may still be sent; None where nothing is promised, or it is pywsgi's to complain."""
    end: int | None = None

    def left() -> int | None:
        nonlocal end
        if end is not None:
            return max(0, end - int(handler.response_length))
        if not handler.status or handler.code in (204, 304):
            return None
        if bodiless:
            return 0
        if handler.provided_content_length is None:
            return None
        if handler.headers_sent and not _writes_as_pywsgi_does(handler):
            return None  # what the application writes by itself is not known
        promised = _promise(handler, None)
        if handler.headers_sent and promised is not None:  # from now on pywsgi counts the body, and nothing else
            end = handler.response_length + promised
        return promised

    return left


def _writes_as_pywsgi_does(handler: Any) -> bool:
    return _own.is_own(handler, "gevent.pywsgi", *_WRITERS)


def _promise(handler: Any, source: Any) -> int | None:
    """How many bytes of the body are still to come; None where that is not known."""
    if _frames_itself(handler):
        return None  # also beside a Content-Length, which clients then ignore (RFC 9112, 6.3)
    if handler.provided_content_length is not None:
        try:
            written = _written(handler) if handler.headers_sent else 0
            return max(0, int(handler.provided_content_length) - written)
        except ValueError:
            return None
    # An empty file is left to iteration, and one of which the size is a claim, as in /proc and on FUSE (R3).
    return (source.amount() or None) if source is not None and source.size_is_reliable() else None


def _frames_itself(handler: Any) -> bool:
    """Whether the application has chosen a Transfer-Encoding, and not pywsgi."""
    if not handler.response_use_chunked:
        for name, _ in handler.response_headers:
            if name.lower() == b"transfer-encoding":
                return True
    return False


def _written(handler: Any) -> int:
    """The bytes of the body that have been written: all that went out but the headers."""
    head = len(b"HTTP/1.1 \r\n\r\n") + len(handler.status)
    head += sum(len(name) + len(value) + len(b": \r\n") for name, value in handler.response_headers)
    return int(handler.response_length) - head


def _head(handler: Any, promised: int | None) -> bytes:
    """The status line and the headers, as pywsgi makes them and would have sent them now.

    What is known of the length is said before pywsgi finalizes the headers, where it would choose chunks.
    """
    if handler.provided_content_length is None and promised is not None:
        handler.response_headers.append((b"Content-Length", b"%d" % promised))
        handler.provided_content_length = str(promised)
    pieces: list[bytes] = []
    handler._sendall = pieces.append
    try:
        handler._write_with_headers(b"")
    finally:
        del handler._sendall
    return b"".join(pieces)


def _send_headers(handler: Any, promised: int | None) -> None:
    """A response that must have no body, whatever the application has opened for it."""
    if not handler.headers_sent:
        handler._sendall(_head(handler, promised if handler.command == "HEAD" and handler.code == 200 else None))


def _short(handler: Any) -> int | None:
    """The length of a short body in the server's own wrapper, if it was promised, and its bytes are at hand.

    The wrapper's iteration is right for every kind of file: to ask for descriptor, size and flags took 5 % of the
    CPU of a request for 1 KiB.
    """
    if handler.headers_sent or handler.provided_content_length is None:
        return None
    promised = _promise(handler, None)
    if promised is None or promised > gzc.config.small or not _own.is_own(handler, "gevent.pywsgi", *_WRITERS):
        return None
    return promised if _send_file.is_at_hand(getattr(handler.result, "filelike", None)) else None


class _Response(_send_file.Response):
    """One of pywsgi's, which counts all that goes out, headers too."""

    def __init__(self, handler: Any, promised: int | None = None) -> None:
        self.result, self.sock, self.handler = handler.result, handler.socket, handler
        self.chunked = handler.response_use_chunked
        self._promised = promised

    def head(self) -> bytes:
        return b"" if self.handler.headers_sent else _head(self.handler, self._promised)

    def write(self, block: bytes) -> None:
        self.handler.write(block)

    def write_raw(self, data: bytes, flags: int = 0) -> None:
        if not flags:
            self.handler._sendall(data)
            return
        self.sock.sendall(data, flags)
        self.handler.response_length += len(data)

    def write_rest(self, block: bytes) -> None:
        self.handler._sendall(block)  # which counts it

    def write_whole(self, block: bytes) -> None:
        self.handler._sendall(self.head() + block)

    def finish(self) -> None:
        if not self.handler.headers_sent:
            self.handler.write(b"")

    def moved(self, count: int) -> None:
        self.handler.response_length += count

    def cut(self) -> None:
        self.handler.close_connection = True

    def errors(self) -> contextlib.AbstractContextManager[None]:
        return _errors_as_of_sendall(self.handler)


@contextlib.contextmanager
def _errors_as_of_sendall(handler: Any) -> Iterator[None]:
    """What ``_sendall`` does about an error, for the log's sake."""
    try:
        yield
    except OSError as exc:
        handler.status = f"socket error: {exc}"
        if handler.code > 0:
            handler.code = -handler.code
        raise


ROWS = (
    Row("gevent.pywsgi", "WSGIHandler.get_environ", get_environ, knows=frozenset({"server", "wsgi_input"})),
    Row(
        *("gevent.pywsgi", "WSGIHandler.process_result", process_result),
        knows=frozenset({"result", "write", "headers_sent", "response_use_chunked", "_sendall"}),
    ),
)
