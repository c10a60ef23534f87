"""An echo server: what comes in goes out again, socket to socket by splice(2).

    python echo_server.py [HOST:PORT]

A copy from a connection to itself ends when the client has said all it wants to.
"""

import sys

from gevent.server import StreamServer

import gzc


def echo(conn, address):
    with conn:
        gzc.copy(conn, conn)


def main(address="127.0.0.1:6000"):
    host, _, port = address.rpartition(":")
    server = StreamServer((host, int(port)), echo)
    server.start()
    print(f"{host}:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
