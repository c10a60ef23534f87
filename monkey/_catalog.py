"""The seams: what is replaced, why, and whom it reaches.

Rules of this file: rows. Ten seconds to read.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import _gunicorn, _hooks, _socket
from ._ledger import Row


@dataclass(frozen=True)
class Seam:
    """A family of rows that is switched as one.

    stdlib
        Whether it touches the standard library, and stays out with ``stdlib=False``.
    opt_in
        Whether it must be asked for by name (``also``).
    """

    name: str
    why: str
    reaches: str
    rows: tuple[Row, ...]
    stdlib: bool = False
    opt_in: bool = False


SEAMS = (
    Seam(
        "hooks",
        why="sockets and FileObjects have no way to read from, or write to, one another",
        reaches="programs that call dst.readfrom(src) or src.writeto(dst), in place of gzc.copy",
        rows=tuple(
            Row(module, f"{owner}.{name}", make, eager=True)
            for module, owner in (("gevent.socket", "socket"), ("gevent._fileobjectcommon", "FileObjectBase"))
            for name, make in (("readfrom", _hooks.readfrom), ("writeto", _hooks.writeto))
        ),
    ),
    Seam(
        "socket",
        why="gevent's socket.sendfile reads and sends pieces of 8 KiB: 256 system calls for each MiB",
        reaches="gunicorn's gevent worker with any framework, geventhttpclient, every caller of sock.sendfile",
        rows=(
            Row(
                *("gevent.socket", "socket.sendfile", _socket.sendfile),
                knows=frozenset({"_sendfile_use_send", "file", "offset", "count"}),
                eager=True,
            ),
            Row(
                *("gevent.socket", "socket._sendfile_use_sendfile", _socket.use_sendfile),
                knows=frozenset({"_GiveupOnSendfile"}),
                eager=True,
            ),
        ),
    ),
    Seam(
        "gunicorn",
        why="Response.sendfile trusts the descriptor's position and forgets to count; FileWrapper cannot seek,"
        " so that a Range is read from byte 0",
        reaches="every file response of gunicorn's gevent worker: Flask, Django, WhiteNoise, Bottle, Falcon",
        rows=(
            Row(
                *("gunicorn.http.wsgi", "Response.sendfile", _gunicorn.sendfile),
                knows=frozenset(
                    {"is_ssl", "can_sendfile", "filelike", "response_length", "send_headers", "is_chunked"}
                ),
            ),
            *(Row("gunicorn.http.wsgi", f"FileWrapper.{name}", make) for name, make in _gunicorn.WRAPPER_METHODS),
        ),
    ),
)
