"""The seams: what is replaced, why, and whom it reaches.

Rules of this file: rows. Ten seconds to read.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import _gunicorn, _hooks, _pywsgi, _responses, _socket, _wsgiref
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
        ),
    ),
    Seam(
        "gunicorn",
        why="Response.sendfile trusts the descriptor's position and forgets to count; FileWrapper cannot seek,"
        " so that a Range is read from byte 0",
        reaches="every file response of gunicorn's gevent worker: Flask, Django, WhiteNoise, Bottle, Falcon",
        rows=_gunicorn.ROWS,
    ),
    Seam(
        "pywsgi",
        why="gevent.pywsgi has no wsgi.file_wrapper: files are read and sent in pieces of 4 or 8 KiB",
        reaches="every file response of gevent.pywsgi and of gunicorn's gevent_pywsgi worker",
        rows=_pywsgi.ROWS,
    ),
    Seam(
        "wsgiref",
        why="wsgiref.handlers leaves its sendfile hook empty, and its FileWrapper cannot seek",
        reaches="wsgiref.simple_server and Django's runserver in monkey-patched programs",
        rows=_wsgiref.ROWS,
        stdlib=True,
    ),
    Seam(
        "werkzeug",
        why="a range of a file is an iterable that hides the file from the server",
        reaches="send_file and send_from_directory of Flask, when a client asks for a range",
        rows=_responses.WERKZEUG,
    ),
    Seam(
        "whitenoise",
        why="SlicedFile, a range of a file, has no descriptor",
        reaches="ranges of WhiteNoise's static files",
        rows=_responses.WHITENOISE,
    ),
    Seam(
        "bottle",
        why="a range of a file is a generator of pieces of 1 MiB",
        reaches="static_file of Bottle, when a client asks for a range",
        rows=_responses.BOTTLE,
    ),
    Seam(
        "django",
        why="File and FieldFile are proxies around the file",
        reaches="FileResponse and copies of uploaded and stored files",
        rows=_responses.DJANGO,
    ),
    Seam(
        "sentry",
        why="Sentry wraps responses in a scope of their own, which hides files from the server",
        reaches="every file response of a program with Sentry",
        rows=_responses.SENTRY,
    ),
)
