"""gevent.pywsgi's server for everybody: nobody is waited for without a bound, and a bad client costs one line.

A connection is a ``Visit``, which is asking, answered, idle or lingering. Twice a second all visits are looked at,
from the hub: who has been asking or idle for too long, or has taken nothing of an answer for too long, is left. Where
all places are taken and somebody knocks, idling and asking are short.

It decides how long a connection may take and when it ends. What is answered is the application's.
"""

from __future__ import annotations

import contextlib
import socket as constants
import time
from argparse import Namespace
from collections.abc import Iterator
from datetime import datetime
from select import POLLIN, poll
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.pywsgi import Input, WSGIHandler, WSGIServer

from ._accepting import Limited
from ._visits import ANSWERED, ASKING, IDLE, LINGERING, Leave, Limits, Visit, linger, name_of
from ._voice import printable, say
from ._words import said

#: Seconds between two looks at all connections.
LOOK = 0.5

#: The most bytes of the head of a request.
HEAD = 64 << 10

#: What is answered to what is no request.
REFUSED = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Server(Limited, WSGIServer):
    """gevent's, with limits of time and number, and a graceful end."""

    def __init__(self, listener: Any, application: Any, options: Namespace, log: Any, tls: Any) -> None:
        secure: dict[str, Any] = {"ssl_context": tls} if tls else {}
        super().__init__(listener, application, spawn=Pool(options.limit), log=log, **secure)
        self._tls = tls
        self._limits = Limits(options.request_timeout, options.idle_timeout)
        self._visits: set[Visit] = set()
        self._knock = poll()
        self._greenlets: Any = self.pool
        self.ending = False

    def start(self) -> None:
        """Accept from now on."""
        super().start()
        self._knock.register(self.socket, POLLIN)
        self._looks = self.loop.timer(LOOK, LOOK)
        self._looks.start(self._look)

    def _look(self) -> None:
        crowded = not self.closed and self.full() and bool(self._knock.poll(0))
        now = time.monotonic()
        for visit in list(self._visits):
            visit.look(now, self._limits, crowded)

    @contextlib.contextmanager
    def _visit(self, sock: Any, address: Any) -> Iterator[Visit]:
        visit = Visit(sock, name_of(address))
        if sock.family != constants.AF_UNIX:
            # pywsgi sends a head and a page in two pieces: the second waited 40 ms for the first's acknowledgement.
            sock.setsockopt(constants.IPPROTO_TCP, constants.TCP_NODELAY, 1)
        self._visits.add(visit)
        try:
            yield visit
        except Leave:
            pass
        finally:
            self._visits.discard(visit)
            visit.sock.close()

    def wrap_socket_and_handle(self, client_socket: Any, address: Any) -> None:
        """Serve a connection by TLS."""
        with self._visit(client_socket, address) as visit:
            if self._shake_hands(visit):
                Handler(visit, address, self).handle()

    def _shake_hands(self, visit: Visit) -> bool:
        """Whether they did."""
        try:
            # Not in the constructor: one that is struck leaves its socket to the garbage collector.
            visit.sock = self._tls.wrap_socket(visit.sock, server_side=True, do_handshake_on_connect=False)
            visit.sock.do_handshake()
        except OSError as exc:  # somebody who speaks no TLS, or has gone again
            say(f"TLS with {visit.name}: {said(exc)}")
            return False
        return True

    def handle(self, sock: Any, address: Any) -> None:
        """Serve a connection."""
        with self._visit(sock, address) as visit:
            Handler(visit, address, self).handle()

    def end(self, grace: float) -> int:
        """Accept nothing more, leave who is not being answered, and give the others ``grace`` seconds.

        How many answers were cut off.
        """
        self.ending = True
        self.close()
        self.loop.run_callback(self._leave_the_others)
        self._greenlets.join(timeout=grace)
        cut = sum(visit.state == ANSWERED for visit in self._visits)
        self._greenlets.kill(timeout=1)
        self._looks.close()
        return cut

    def _leave_the_others(self) -> None:
        for visit in list(self._visits):
            if visit.state in (ASKING, IDLE):
                visit.leave()


class Handler(WSGIHandler):
    """One connection: its requests and their answers.

    pywsgi's, but: a head has a bound; a body is not wanted, and its connection not kept; whatever a client does
    wrong is one line of the log.
    """

    server: Server

    def __init__(self, visit: Visit, address: Any, server: Server) -> None:
        super().__init__(visit.sock, address, server)
        self._visit = visit
        #: Whether a request is being read; whether a body comes with it; whether an answer may be on its way.
        self._begun = self._unwanted = self._answered = False

    def handle(self) -> None:
        """Serve one request after another, as long as there are any."""
        try:
            while (answer := self._exchange()) is True:
                gevent.sleep(0)  # requests may come faster than they are answered: the others have their turn
                self._visit.become(IDLE)
            if answer is not None:
                self._refuse(*answer)
            if self._answered and not self._visit.left:
                self._visit.become(LINGERING)
                linger(self.socket)
        except Leave:
            if self._begun and not self.server.ending:
                self._say_timeout()
        except OSError as exc:
            say(f"{self._visit.name}: {said(exc)}")
        finally:
            self.rfile.close()
            self.socket.close()

    def _exchange(self) -> Any:
        """A request and its answer: True if more may come, what pywsgi answers to what is none, or else None."""
        self.time_start, self.time_finish = time.time(), 0
        for name in ("requestline", "status", "_orig_status"):  # of the request before, for the log
            setattr(self, name, None)
        try:
            return self.handle_one_request()
        except ValueError as exc:  # http.client could read the head, and pywsgi cannot use it
            return self._handle_client_error(exc)

    def read_requestline(self) -> str:
        """The first line of a request; after an empty one, which RFC 9112, 2.2, wants ignored."""
        if self.server.ending:
            return ""
        if not self.rfile.peek(1):
            self._answered = False  # its client has had it all
            return ""
        self._begun = True
        self._visit.become(ASKING)
        line: str = super().read_requestline()
        return super().read_requestline() if line in ("\r\n", "\n") else line

    def MessageClass(self, rfile: Any, *rest: Any) -> Any:
        """The headers, of bounded length."""
        bounded: Any = _Bounded(rfile, HEAD)
        return super().MessageClass(bounded, *rest)

    def read_request(self, raw_requestline: str) -> Any:
        """Read the head; True.

        :raises ValueError: it is not one to be answered.
        """
        super().read_request(raw_requestline)
        lengths = self.headers.get_all("content-length", [])
        if len(lengths) > 1:
            raise ValueError("more than one Content-Length")
        self._unwanted = lengths not in ([], ["0"]) or "transfer-encoding" in self.headers
        path = self.path or ""
        scheme, found, rest = path.partition("://")
        if found and scheme.lower() in ("http", "https"):  # RFC 9112, 3.2.2: servers must take the absolute form
            path = "/" + rest.partition("/")[2]
        if path[:1] not in ("/", "*"):
            raise ValueError("the target of the request is no path")
        self.path = path
        return True

    def get_environ(self) -> dict[str, Any]:
        """pywsgi's, of a request without a body: nobody reads one here."""
        environ: dict[str, Any] = super().get_environ()
        if self._unwanted:
            self.wsgi_input = environ["wsgi.input"] = Input(self.rfile, 0)
            self.close_connection = True
        return environ

    def handle_one_response(self) -> None:
        """Answer."""
        self._visit.become(ANSWERED)
        self._begun, self._answered = False, True
        super().handle_one_response()

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """pywsgi's; it also says that the connection is not kept."""
        if self.close_connection and not any(name.lower() == "connection" for name, _ in headers):
            headers = [*headers, ("Connection", "close")]
        return super().start_response(status, headers, exc_info)

    # -- what goes wrong -------------------------------------------------------------------------------------

    def _refuse(self, status: str, response: bytes) -> None:
        """Answer what was no request; what comes after it is none either."""
        self._begun, self._answered = False, True
        self.status = status
        self.response_length = len(response)
        self.socket.sendall(response)
        self.time_finish = time.time()
        self.log_request()

    def _say_timeout(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.settimeout(0)
            self.socket.send(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    def handle_error(self, t: Any, v: Any, tb: Any) -> None:
        """An error of the application, which is a traceback, or of the connection, which is a line."""
        if issubclass(t, Exception) and not issubclass(t, OSError):
            super().handle_error(t, v, tb)
            return
        self.close_connection = True
        if issubclass(t, OSError):
            say(f"{self._visit.name}: {said(v)}")
        elif issubclass(t, Leave):
            say(f"{self._visit.name}: nothing of an answer was taken for too long, or its client has gone")

    def _handle_client_error(self, ex: Exception) -> Any:
        """What is answered to what is no request; None if its client has gone."""
        if isinstance(ex, OSError):
            return None
        self.log_error(f"{self._visit.name}: no request: {ex}")
        return "400", REFUSED

    def log_error(self, msg: str, *args: Any) -> None:
        """A line of the log, of bounded length."""
        say(printable((msg % args if args else msg)[:500]))

    def format_request(self) -> str:
        """A line in Apache's common format, and the seconds it took; a request line ends where it ends."""
        line = printable((self.requestline or "").replace("\\", r"\\").replace('"', r"\"")) or "-"
        status = str(getattr(self, "_orig_status", None) or self.status or "000").split()[0]
        moment = datetime.now().replace(microsecond=0)
        seconds = f"{self.time_finish - self.time_start:.6f}" if self.time_finish else "-"
        return f'{self._visit.name} - - [{moment}] "{line}" {status} {self.response_length or "-"} {seconds}'


class _Bounded:
    """The lines of a file, until they are more than ``most`` bytes."""

    def __init__(self, file: Any, most: int) -> None:
        self._file, self._left = file, most

    def readline(self, limit: int = -1) -> bytes:
        """The next line.

        :raises ValueError: it is beyond the bound.
        """
        line: bytes = self._file.readline(limit)
        self._left -= len(line)
        if self._left < 0:
            raise ValueError("the head is too long")
        return line
