"""``gunicorn``'s async workers, which iterate by themselves what is no file wrapper.

They throw away what comes beyond the promise, so that an iterator that never ends holds the hub for ever (hard case
R1). The loop is in the middle of ``handle_request``, with no seam but the ``Response.write`` that it calls for each
block: there the promise is counted, there others get their turns, and from there the loop is ended.

The application and its result are not wrapped: hooks, workers and ``isinstance`` see the program's own objects, and
gunicorn iterates them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from operator import attrgetter
from time import monotonic
from types import CodeType
from typing import Any

from .. import _turns
from .._row import Row
from . import gunicorn

Method = Callable[..., Any]

_WORKER = "gunicorn.workers.base_async"

#: The worker's loop, and only it, is called by code that is among these: by ``handle_request`` below.
_CATCHING: set[CodeType] = set()


class _Ended(BaseException):
    """Ends the worker's loop, through which every ``Exception`` would be an error of the application's."""

    def __init__(self, response: Any) -> None:
        self.response = response


def write(original: Method) -> Method:
    """The replacement of ``Response.write``: turns for others, and nothing is asked for when the promise is kept.

    The loop that asks is the worker's; what the application gave, and what it writes by itself, are not touched.
    """
    drops = "_omits_body" in original.__code__.co_names  # since 26.1; before, what is too much was the next response
    has_no_body = attrgetter("_omits_body") if drops else gunicorn.omits_body

    @wraps(original)
    def write(self: Any, arg: Any) -> Any:
        if self.headers_sent:
            if monotonic() >= getattr(self, "_gzc_turn", _turns.NOW):
                self._gzc_turn = _turns.give()
            length = self.response_length
            if has_no_body(self) or (length is not None and self.sent >= length):
                _end(self, arg)
        if drops or not has_no_body(self):
            return original(self, arg)
        return self.send_headers()

    return write


def _end(response: Any, block: Any) -> None:
    """End the loop that has called ``write`` with more than was promised; not where it is somebody else's."""
    loop = sys._getframe(2)
    if not isinstance(block, bytes) or not bytes.__len__(block):
        return  # nothing too much, or something of which gunicorn says that it is no bytes
    if loop.f_back is not None and loop.f_back.f_code in _CATCHING:
        response.close()
        raise _Ended(response)
    if loop.f_code.co_name == "handle_http2_request" and loop.f_globals.get("__name__") == _WORKER:
        response.close()
        raise sys.modules["gunicorn.http2.errors"].HTTP2StreamError(response.stream_id, "more than was promised")


def handle_request(original: Method) -> Method:
    """The replacement of ``AsyncWorker.handle_request``, which goes on after the loop where it was ended."""

    @wraps(original)
    def handle_request(*args: Any) -> Any:
        try:
            return original(*args)
        except _Ended as ended:
            closes = ended.response.should_close()
        if closes:
            raise StopIteration
        return True

    catching: Any = handle_request
    _CATCHING.add(catching.__code__)
    return handle_request


ROWS = (
    # Under the worker's own name for the module, which arrives before the worker's does.
    Row(_WORKER, "wsgi.Response.write", write, knows=frozenset({"send_headers", "response_length", "sent"})),
    Row(
        *(_WORKER, "AsyncWorker.handle_request", handle_request),
        knows=frozenset({"wsgi", "start_response", "write", "write_file", "close", "should_close", "post_request"}),
    ),
)
