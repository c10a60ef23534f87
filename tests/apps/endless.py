"""A handler of http.server that sends what never ends: by copyfileobj, and by a loop of its own."""

import http.server
import os
import shutil
import socketserver
from typing import Any


class Reader:
    def read(self, size: int = -1) -> bytes:
        return bytes(size)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        if self.path == "/pid":
            self.wfile.write(b"%d" % os.getpid())
        elif self.path == "/zero":
            with open("/dev/zero", "rb") as zero:
                shutil.copyfileobj(zero, self.wfile)
        elif self.path == "/reader":
            shutil.copyfileobj(Reader(), self.wfile)
        else:
            while True:
                self.wfile.write(bytes(8192))

    def log_message(self, *args: Any) -> None:
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, address: Any) -> None:
        """The client has gone away, as it should."""


def app() -> Server:
    return Server(("127.0.0.1", 0), Handler)
