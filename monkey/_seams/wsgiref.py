"""``wsgiref.handlers.BaseHandler.sendfile``, a hook that the standard library leaves empty.

The hook is offered every response, since wsgiref iterates without a look at the promise or at other greenlets (hard
case R1). A file goes below; what is left of it, and everything else, is iterated here, as far as was promised.

wsgiref makes the headers, and frames by the end of the connection.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import gzc

from .. import _fast_prefix, _file_wrapper, _own, _promises, _send_file
from .._row import Row

Method = Callable[..., Any]


def result_is_file(original: Method) -> Method:
    """The replacement of ``result_is_file``: whether the hook below is to be asked; not for what is as it should be."""

    @wraps(original)
    def result_is_file(self: Any) -> bool:
        if type(self.result) is list and _is_kept_by(self, self.result):
            return False
        hook = sys.modules["wsgiref.handlers"].BaseHandler.sendfile
        return type(self).sendfile is hook or bool(original(self))

    return result_is_file


def sendfile(original: Method) -> Method:
    """The replacement of ``sendfile``: whether all of the body was sent here."""

    @wraps(original)
    def sendfile(self: Any) -> bool:
        wrapped = id(self.wsgi_file_wrapper) in map(id, type(self.result).__mro__)  # ``==`` may be somebody's
        small = _small(self) if wrapped else None
        if small is not None:
            _send_file.send_small(_Response(self), small)
            return True
        source = _send_file.described(self.result) if self.wsgi_file_wrapper is not None else None
        if not (wrapped or source) or not self.status or not _writes_as_wsgiref_does(self):
            return (wrapped and bool(original(self))) or _iterate(self)
        response = _Response(self)
        if _omits_body(self):
            response.finish()
            return True
        promised = _promise(self)
        moving = _fast_prefix.transfer(source, self.stdout, promised) if _is_framed(self, source, promised) else None
        if moving is None and wrapped and original(self):
            return True
        if moving is not None:
            _send_file.move(response, response.head(), moving)
        if promised is None:
            _file_wrapper.widen(self.result)
            return _iterate(self)
        _send_file.send_blocks(response, _promise(self) or 0)
        return True

    return sendfile


def _is_kept_by(handler: Any, result: list[bytes]) -> bool:
    """Whether a list, as most responses are, has no more than was promised."""
    if not handler.status:
        return True  # of which wsgiref has words of its own
    if _omits_body(handler):
        return not result
    promised = _promise(handler)
    try:
        return promised is None or sum(map(len, result)) <= promised
    except TypeError:
        return True


def _omits_body(handler: Any) -> bool:
    """Whether HTTP forbids a body here."""
    return (
        handler.environ.get("REQUEST_METHOD") == "HEAD"
        or handler.status[:3] in ("204", "304")
        or handler.status[0] == "1"
    )


def _small(handler: Any) -> int | None:
    """The length of a short body that was promised and is at hand, where there is a body at all."""
    promised = _promise(handler) if handler.status and not _omits_body(handler) else None
    if promised is None or promised > gzc.config.small:
        return None
    return promised if _send_file.is_at_hand(getattr(handler.result, "filelike", None)) else None


def _is_framed(handler: Any, source: Any, promised: int | None) -> bool:
    """Whether there is a file to be sent, and wsgiref needs no block of it to frame the body.

    It makes a Content-Length of the first block where ``len`` says that there is but one.
    """
    return source is not None and (promised is not None or not hasattr(type(handler.result), "__len__"))


class _Response(_send_file.Response):
    """One of wsgiref's, whose ``write`` sends the headers first, and frames nothing."""

    def __init__(self, handler: Any) -> None:
        self.result, self.sock, self.handler = handler.result, getattr(handler, "stdout", None), handler

    def head(self) -> bytes:
        self.finish()
        return b""

    def write(self, block: bytes) -> None:
        self.handler.write(block)

    def write_raw(self, data: bytes, flags: int = 0) -> None:
        self.handler.write(data)

    write_rest = write_whole = write

    def finish(self) -> None:
        if not self.handler.headers_sent:
            self.handler.send_headers()

    def moved(self, count: int) -> None:
        self.handler.bytes_sent += count

    def cut(self) -> None:
        request = getattr(self.handler, "request_handler", None)
        if request is not None:
            request.close_connection = True


def _iterate(handler: Any) -> bool:
    """wsgiref's own way, which would go on where the promise has ended, and send a body for HEAD, too."""
    _promises.pour(handler.result, handler.write, _left(handler), partial(_drop, handler))
    handler.finish_content()
    return True


def _left(handler: Any) -> Callable[[], int | None]:
    """What tells how much may still be sent; None where nothing is promised, or it is wsgiref's to complain."""
    length: int | None = None

    def left() -> int | None:
        nonlocal length
        if length is not None:
            return max(0, length - int(handler.bytes_sent))
        if not handler.status:
            return None
        if _omits_body(handler):
            return 0
        promised = _promise(handler)
        if promised is not None:
            length = promised + handler.bytes_sent
        return promised

    return left


def _drop(handler: Any, block: bytes) -> None:
    """What wsgiref would have sent makes the headers what they are for GET."""
    if not handler.headers_sent:
        handler.bytes_sent = len(block)
        handler.send_headers()
        handler.bytes_sent = 0


def _writes_as_wsgiref_does(handler: Any) -> bool:
    """Whether no subclass wants to see every byte, and there is a stream to see at all."""
    return _own.is_own(handler, "wsgiref.handlers", "write", "_write") and hasattr(handler, "stdout")


def _promise(handler: Any) -> int | None:
    """How many bytes of the body are still to come, as far as the application has said."""
    length = handler.headers.get("Content-Length")
    try:
        return None if length is None else max(0, int(length) - handler.bytes_sent)
    except ValueError:
        return None


ROWS = (
    Row(
        *("wsgiref.handlers", "BaseHandler.result_is_file", result_is_file),
        knows=frozenset({"wsgi_file_wrapper", "result"}),
    ),
    Row("wsgiref.handlers", "BaseHandler.sendfile", sendfile, knows=frozenset({"self"})),
    *_file_wrapper.wrapper_rows("wsgiref.util"),
)
