"""``wsgiref.handlers.BaseHandler.sendfile``, a hook that the standard library leaves empty.

Fast prefix, then the original code: what is left after the hook is iterated, which finds the end of the file. Where
a length was promised the rest is iterated here, and no further than that.

Rules of this file: headers are wsgiref's, and so is the end of the connection, by which it frames.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import gzc

from . import _seam, _wsgi
from ._ledger import Row

Method = Callable[..., Any]


def result_is_file(original: Method) -> Method:
    """The replacement of ``result_is_file``: so is a part of a file, and a file in somebody's scope."""

    @wraps(original)
    def result_is_file(self: Any) -> bool:
        if self.wsgi_file_wrapper is None:
            return False
        return bool(original(self)) or _wsgi.described(self.result) is not None

    return result_is_file


def sendfile(original: Method) -> Method:
    """The replacement of ``sendfile``: whether all of the body was sent here."""

    @wraps(original)
    def sendfile(self: Any) -> bool:
        if not self.status or not _writes_as_wsgiref_does(self):
            return bool(original(self))
        if self.environ.get("REQUEST_METHOD") == "HEAD" or self.status[:3] in ("204", "304") or self.status[0] == "1":
            if not self.headers_sent:
                self.send_headers()
            return True
        source = _wsgi.described(self.result)
        promised = _promise(self)
        count = source.amount() if source and promised is None else promised
        moving = source and _seam.transfer(source, self.stdout, count)
        if not moving and original(self):
            return True
        if moving:
            _send(self, moving)
        _wsgi.widen(self.result)
        return promised is not None and _keep_promise(self)

    return sendfile


def _send(handler: Any, moving: gzc.Transfer) -> None:
    """The headers, and what can be moved below."""
    if not handler.headers_sent:
        handler.send_headers()
    try:
        _seam.run(moving)
    finally:
        handler.bytes_sent += moving.moved


def _keep_promise(handler: Any) -> bool:
    """The rest of a body of promised length, and no more; Django's server keeps connections."""
    left = _promise(handler) or 0
    for block in _wsgi.rest(handler.result, left):
        handler.write(block)
        left -= len(block)
    if not handler.headers_sent:
        handler.send_headers()
    if left:
        _close_connection(handler)
    return True


def _writes_as_wsgiref_does(handler: Any) -> bool:
    """Whether no subclass wants to see every byte, and there is a stream to see at all."""
    for name in ("write", "_write"):
        function = getattr(getattr(handler, name, None), "__func__", None)
        if getattr(function, "__globals__", {}).get("__name__") != "wsgiref.handlers":
            return False
    return hasattr(handler, "stdout")


def _promise(handler: Any) -> int | None:
    """How many bytes of the body are still to come, as far as the application has said."""
    length = handler.headers.get("Content-Length")
    try:
        return None if length is None else max(0, int(length) - handler.bytes_sent)
    except ValueError:
        return None


def _close_connection(handler: Any) -> None:
    """A body that is too short must end it."""
    request = getattr(handler, "request_handler", None)
    if request is not None:
        request.close_connection = True


ROWS = (
    Row(
        *("wsgiref.handlers", "BaseHandler.result_is_file", result_is_file),
        knows=frozenset({"wsgi_file_wrapper", "result"}),
    ),
    Row("wsgiref.handlers", "BaseHandler.sendfile", sendfile, knows=frozenset({"self"})),
    *_wsgi.wrapper_rows("wsgiref.util"),
)
