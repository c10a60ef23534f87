"""``wsgiref.handlers.BaseHandler.sendfile``, a hook that the standard library leaves empty.

The hook is offered every response, since wsgiref iterates without a look at the promise or at other greenlets (hard
case R1). A file goes below; what is left of it, and everything else, is iterated here, as far as was promised.

Rules of this file: headers are wsgiref's, and so is the end of the connection, by which it frames.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import gzc

from . import _seam, _wsgi
from ._ledger import Row

Method = Callable[..., Any]


def result_is_file(original: Method) -> Method:
    """The replacement of ``result_is_file``: whether the hook below is to be asked, and it is for everything."""

    @wraps(original)
    def result_is_file(self: Any) -> bool:
        hook = sys.modules["wsgiref.handlers"].BaseHandler.sendfile
        return type(self).sendfile is hook or bool(original(self))

    return result_is_file


def sendfile(original: Method) -> Method:
    """The replacement of ``sendfile``: whether all of the body was sent here."""

    @wraps(original)
    def sendfile(self: Any) -> bool:
        wrapped = self.wsgi_file_wrapper in type(self.result).__mro__
        source = _wsgi.described(self.result) if self.wsgi_file_wrapper is not None else None
        if not (wrapped or source) or not self.status or not _writes_as_wsgiref_does(self):
            return (wrapped and bool(original(self))) or _iterate(self)
        if _omits_body(self):
            if not self.headers_sent:
                self.send_headers()
            return True
        promised = _promise(self)
        moving = _seam.transfer(source, self.stdout, promised) if _is_framed(self, source, promised) else None
        if moving is None and wrapped and original(self):
            return True
        if moving is not None:
            _send(self, moving)
        _wsgi.widen(self.result)
        return _iterate(self) if promised is None else _keep_promise(self)

    return sendfile


def _omits_body(handler: Any) -> bool:
    """Whether HTTP forbids a body here."""
    return (
        handler.environ.get("REQUEST_METHOD") == "HEAD"
        or handler.status[:3] in ("204", "304")
        or handler.status[0] == "1"
    )


def _is_framed(handler: Any, source: Any, promised: int | None) -> bool:
    """Whether there is a file to be sent, and wsgiref needs no block of it to frame the body.

    It makes a Content-Length of the first block where ``len`` says that there is but one.
    """
    return source is not None and (promised is not None or not hasattr(type(handler.result), "__len__"))


def _send(handler: Any, moving: gzc.Transfer) -> None:
    """The headers, and what can be moved below."""
    if not handler.headers_sent:
        handler.send_headers()
    try:
        _seam.run(moving)
    finally:
        handler.bytes_sent += moving.moved


def _iterate(handler: Any) -> bool:
    """wsgiref's own way, which would go on where the promise has ended, and send a body for HEAD, too."""
    for block in _wsgi.kept(handler.result, partial(_promised, handler), partial(_drop, handler)):
        handler.write(block)
    handler.finish_content()
    return True


def _promised(handler: Any) -> int | None:
    """How much of what is iterated may be sent; None where nothing is promised, or it is wsgiref's to complain."""
    if not handler.status:
        return None
    return 0 if _omits_body(handler) else _promise(handler)


def _drop(handler: Any, block: bytes) -> None:
    """What wsgiref would have sent makes the headers what they are for GET."""
    if not handler.headers_sent:
        handler.bytes_sent = len(block)
        handler.send_headers()
        handler.bytes_sent = 0


def _keep_promise(handler: Any) -> bool:
    """The rest of a file, as far as its length was promised; Django's server keeps connections."""
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
    own = all(_seam.is_own(handler, name, "wsgiref.handlers") for name in ("write", "_write"))
    return own and hasattr(handler, "stdout")


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
