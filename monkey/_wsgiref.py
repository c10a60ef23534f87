"""``wsgiref.handlers.BaseHandler.sendfile``, a hook that the standard library leaves empty.

Fast prefix, then the original code: what is left after the hook is iterated, which finds the end of the file.

Rules of this file: headers are wsgiref's, and so is the end of the connection, by which it frames.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

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
        if not moving:
            _wsgi.widen(self.result)
            return bool(original(self))
        if not self.headers_sent:
            self.send_headers()
        try:
            _seam.run(moving)
        finally:
            self.bytes_sent += moving.moved
        if promised is not None and moving.moved < promised:
            _close_connection(self)
        return moving.moved == promised

    return sendfile


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
    """Django's server keeps connections, and a body that is too short must end this one."""
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
