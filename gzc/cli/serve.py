"""``gzc serve DIR``: the files of a folder over HTTP, by gevent.pywsgi and Werkzeug.

Ranges, conditional requests, types and safe joining of paths are Werkzeug's; moving the files is gzc's. Besides,
what a link leads to outside of the folder is not served, nor, unless asked for, what begins with a dot.

Rules of this file: a response is Werkzeug's or an HTTP error; no byte of a file is touched here.
"""

from __future__ import annotations

import os
import ssl
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from html import escape
from typing import Any
from urllib.parse import quote

import gevent
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

import gzc

from . import Failure, _address
from ._stop import Stop
from ._voice import Log, say
from ._words import extra, said, size

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
td:last-child{{text-align:right;color:#666;padding-left:2rem}}a{{text-decoration:none}}a:hover{{text-decoration:underline}}
</style></head><body><h1>{title}</h1><table>
{rows}
</table></body></html>
"""


def define(parser: ArgumentParser) -> None:
    """The arguments of ``gzc serve``."""
    parser.add_argument("folder", metavar="DIR", help="the folder to serve")
    parser.add_argument(
        "--bind",
        metavar="ADDRESS",
        default="127.0.0.1:8000",
        help="host:port, :port for every interface, unix:path (default: %(default)s); port 0 takes a free one",
    )
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), help="serve HTTPS, with these PEM files")
    parser.add_argument("--all", action="store_true", help="also list and serve names that begin with a dot")
    parser.add_argument(
        "--grace", type=float, default=10.0, metavar="SECONDS", help="for responses under way at a stop (%(default)s)"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no line for each request")
    parser.epilog = (
        "SIGTERM and Ctrl-C end it: nothing is accepted any more, what is under way may finish; the second one ends"
        " it at once. Werkzeug is part of the extra gzc[cli]."
    )


def main(options: Namespace) -> int:
    """Serve until a signal says stop; then tell what moved how."""
    try:
        address = _address.parse(options.bind)
    except ValueError as exc:
        options.error(str(exc))
    if not os.path.isdir(options.folder):
        raise Failure(f"{options.folder}: {'not a folder' if os.path.exists(options.folder) else 'no such folder'}")
    site = Site(options.folder, hidden=options.all)
    gzc.patch_all(stdlib=False)
    tls = {"ssl_context": _address.server_context(*options.tls)} if options.tls else {}
    listener = address.listen()
    stop = Stop()
    log = None if options.quiet else Log()
    server = Server(listener, site, spawn=Pool(), log=log, handler_class=Handler, **tls)
    with gzc.trace() as trace:
        server.start()
        at = str(address.bound(listener))
        where = at if address.path else f"{'https' if tls else 'http'}://{at}/"
        say(f"Serving {os.path.abspath(options.folder)} at {where}", sys.stdout)
        if tls:
            say("TLS is encrypted in this process: files go through user space, not by sendfile", sys.stdout)
        stop.wait()
        address.forget()
        cut = server.end(options.grace)
    if cut:
        say(f"{cut} response{'s were' if cut > 1 else ' was'} cut off after {options.grace:g} s")
    say(str(trace))
    return 0


class Site:
    """The WSGI application: files and listings of ``folder``."""

    def __init__(self, folder: str, *, hidden: bool) -> None:
        self._root = os.path.realpath(folder)
        self._hidden = hidden
        self._utils = extra("werkzeug.utils", "gzc serve")
        self._exceptions = extra("werkzeug.exceptions", "gzc serve")
        self._join = extra("werkzeug.security", "gzc serve").safe_join
        self._response = extra("werkzeug.wrappers", "gzc serve").Response

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        try:
            response = self._respond(environ)
        except self._exceptions.HTTPException as exc:
            response = exc
        except PermissionError:
            response = self._exceptions.Forbidden()
        except OSError:  # it went away meanwhile
            response = self._exceptions.NotFound()
        answer: Iterable[bytes] = response(environ, start_response)
        return answer

    def _respond(self, environ: dict[str, Any]) -> Any:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            raise self._exceptions.MethodNotAllowed(["GET", "HEAD"])
        # As the file system has it, whatever encoding that is; WSGI passes bytes as Latin-1.
        name = os.fsdecode(environ["PATH_INFO"].encode("latin-1")).lstrip("/")
        path = self._find(name)
        if not os.path.isdir(path):
            if name.endswith("/"):
                raise self._exceptions.NotFound
            return self._file(path, environ)
        if name and not name.endswith("/"):
            query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
            return self._utils.redirect("/" + quote(os.fsencode(name)) + "/" + query, 308)
        index = os.path.join(path, "index.html")
        if os.path.isfile(index) and self._is_inside(index):
            return self._file(index, environ)
        return self._response(self._listing(path, name), mimetype="text/html", headers={"Cache-Control": "no-cache"})

    def _find(self, name: str) -> str:
        """The path of what a URL names, below the folder also after links are followed."""
        hidden = any(part.startswith(".") and part.strip(".") for part in name.split("/"))
        path = None if "\0" in name or (hidden and not self._hidden) else self._join(self._root, name)
        if path is None or not self._is_inside(path):
            raise self._exceptions.NotFound
        return str(path)

    def _is_inside(self, path: str) -> bool:
        return os.path.commonpath((self._root, os.path.realpath(path))) == self._root

    def _file(self, path: str, environ: dict[str, Any]) -> Any:
        if not os.path.isfile(path):  # to open a FIFO would wait for its writer
            raise self._exceptions.NotFound
        status = os.stat(path)
        # Both of our own making: Werkzeug's fail for a name that is no UTF-8.
        tag, name = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}", _shown(os.path.basename(path))
        return self._utils.send_file(path, environ, etag=tag, download_name=name)

    def _listing(self, path: str, name: str) -> str:
        rows = ['<tr><td><a href="../">../</a></td><td></td></tr>'] if name else []
        with os.scandir(path) as entries:
            # Folders first.
            for entry in sorted(entries, key=lambda entry: (not entry.is_dir(), entry.name)):
                if self._is_listed(entry):
                    rows.append(_row(entry))  # noqa: PERF401 - a comprehension of this length reads badly
        return _PAGE.format(title=escape(_shown(f"/{name}")), rows="\n".join(rows))

    def _is_listed(self, entry: os.DirEntry[str]) -> bool:
        if entry.name.startswith(".") and not self._hidden:
            return False
        return (entry.is_dir() or entry.is_file()) and (not entry.is_symlink() or self._is_inside(entry.path))


def _row(entry: os.DirEntry[str]) -> str:
    slash = "/" if entry.is_dir() else ""
    # "./", or a name with a colon in it would be taken for a URL of its own.
    link = "./" + quote(os.fsencode(entry.name)) + slash
    told = "" if slash else size(entry.stat().st_size)
    return f'<tr><td><a href="{escape(link)}">{escape(_shown(entry.name))}{slash}</a></td><td>{told}</td></tr>'


def _shown(name: str) -> str:
    """A name as headers and pages can have it, also where it is no UTF-8 or has line breaks in it."""
    decoded = os.fsencode(name).decode(errors="replace")
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in decoded)


class Handler(WSGIHandler):
    """Knows whether its connection is idle, so that a stop need not wait for it."""

    server: Server

    def read_requestline(self) -> str:
        if self.server.ending:
            return ""
        me = gevent.getcurrent()
        self.server.idle.add(me)
        try:
            line: str = super().read_requestline()
            return line
        finally:
            self.server.idle.discard(me)


class Server(WSGIServer):
    """gevent's, with a graceful end, and one line for a failed TLS handshake."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.ending = False
        self._serving: Any = self.pool
        #: Greenlets that wait for the next request of their connection.
        self.idle: set[Any] = set()

    def wrap_socket_and_handle(self, client_socket: Any, address: Any) -> Any:
        try:
            return super().wrap_socket_and_handle(client_socket, address)
        except ssl.SSLError as exc:  # somebody who speaks no TLS; gevent would print a traceback
            say(f"TLS with {address[0] if address else 'a client'}: {said(exc)}")
            return None

    def end(self, grace: float) -> int:
        """Accept nothing more, close idle connections, and give the others ``grace`` seconds; how many did not do."""
        self.ending = True
        self.close()
        gevent.killall(list(self.idle))
        self._serving.join(timeout=grace)
        left = len(self._serving)
        self._serving.kill(timeout=1)
        return left
