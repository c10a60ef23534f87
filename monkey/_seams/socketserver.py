"""The writer that ``socketserver`` gives its handlers."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from time import monotonic
from typing import Any

import gzc

from .. import _turns
from .._describe import added
from .._row import Row


def socket_writer(self: Any) -> Any:
    """``socketserver._SocketWriter.__gzc_sink__``: below it is the connection."""
    below = gzc.sink(self._sock)
    return below if below.kind is gzc.Kind.STREAM else None


def writing(original: Callable[[Any, Any], int]) -> Callable[[Any, Any], int]:
    """The replacement of ``_SocketWriter.write``: a peer that keeps up would get an endless body in one turn (R1)."""

    @wraps(original)
    def write(self: Any, b: Any) -> int:
        taken = original(self, b)
        if monotonic() >= getattr(self, "_gzc_turn", _turns.NOW):
            self._gzc_turn = _turns.give()
        return taken

    return write


ROWS = (
    Row(
        *("socketserver", "_SocketWriter.write", writing),
        knows=frozenset({"_sock", "sendall"}),
        caller="StreamRequestHandler.setup",
    ),
    Row("socketserver", "_SocketWriter.__gzc_sink__", added(socket_writer)),
)
