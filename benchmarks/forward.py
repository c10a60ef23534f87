"""A proxy on gevent: ``forward.py stock|gzc UPSTREAM_PORT`` prints its own port, and forwards.

What a user would write, and no more.
"""

import sys
from typing import Any

import gevent
from gevent import socket
from gevent.server import StreamServer

import gzc


def pump(src: Any, dst: Any) -> None:
    """The loop that is written today, with a buffer of 64 KiB."""
    while data := src.recv(65536):
        dst.sendall(data)
    dst.shutdown(socket.SHUT_WR)


def stock(client: Any, upstream: Any) -> None:
    gevent.joinall([gevent.spawn(pump, client, upstream), gevent.spawn(pump, upstream, client)])


def main() -> None:
    forward, port = {"stock": stock, "gzc": gzc.tunnel}[sys.argv[1]], int(sys.argv[2])

    def serve(client: Any, _address: object) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as upstream:
            forward(client, upstream)

    server = StreamServer(("127.0.0.1", 0), serve, backlog=1024)
    server.start()
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
