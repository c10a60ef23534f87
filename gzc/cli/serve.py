"""``gzc serve DIR``: the files of a folder over HTTP, by gevent.pywsgi and Werkzeug.

Ranges, conditional requests, types and safe joining of paths are Werkzeug's; moving the files is gzc's. Besides,
what a link leads to outside of the folder is not served, nor, unless asked for, what begins with a dot.

The files are in ``_site``, the connections in ``_web``.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace

import gzc

from . import _address
from ._accepting import connections
from ._log import Log
from ._options import add_bounds, add_time, seconds
from ._site import Site
from ._stop import Stop
from ._voice import printable, say
from ._web import Server

#: Descriptors of a connection: itself, and of its answer what was found and what is read.
EACH = 3


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
    add_bounds(parser)
    add_time(parser, "--request-timeout", 30.0, "for a request to come in")
    text = "between requests, and for a client that takes nothing of its answer"
    add_time(parser, "--idle-timeout", 60.0, text)
    add_time(parser, "--grace", 10.0, "for responses under way at a stop", seconds)
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
    site = Site(options.folder, hidden=options.all)
    gzc.patch_all(stdlib=False)
    tls = _address.server_context(*options.tls) if options.tls else None
    options.limit = connections(options.limit, EACH)
    listening = address.listen(options.mode)
    stop = Stop()
    with Log() as log:
        server = Server(listening.socket, site, options, None if options.quiet else log, tls)
        with gzc.trace() as trace:
            server.start()
            where = str(listening.at) if address.path else f"{'https' if tls else 'http'}://{listening.at}/"
            say(f"Serving {printable(os.path.abspath(options.folder))} at {where}", sys.stdout)
            if tls:
                say("TLS is encrypted in this process: files go through user space, not by sendfile", sys.stdout)
            stop.wait()
            listening.forget()
            cut = server.end(options.grace)
        if cut:
            say(f"{cut} response{'s were' if cut > 1 else ' was'} cut off after {options.grace:g} s")
        say(str(trace))
    return 0
