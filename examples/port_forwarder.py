"""Forward a port to another one, and stop without cutting anybody off.

    python port_forwarder.py LISTEN TARGET                  each HOST:PORT or unix:PATH

The idea is that of gevent's example portforwarder.py; its two loops of recv and sendall are one gzc.tunnel here.
SIGTERM and Ctrl-C end the listening at once and give the connections that are open ten seconds. One whose ends have
been silent for an hour is closed, for one of them may be gone.
"""

import functools
import signal
import sys

import gevent
from gevent import socket
from gevent.pool import Pool
from gevent.server import StreamServer

import gzc

GRACE = 10
IDLE = 3600


class PortForwarder(StreamServer):
    def __init__(self, listen, target):
        super().__init__(listener(listen), spawn=Pool())  # a pool is what stop() waits for
        self.target = target
        self.stop_timeout = GRACE

    def handle(self, client, address):
        try:
            with client, connect(self.target) as upstream:
                gzc.tunnel(client, upstream, idle_timeout=IDLE)
        except OSError as exc:
            print(f"{address or 'unix'}: {exc}", file=sys.stderr)


def listener(text):
    if text.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(text[5:])
    else:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(host_and_port(text))
    sock.listen(128)
    return sock


def connect(text):
    if not text.startswith("unix:"):
        return socket.create_connection(host_and_port(text))
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(text[5:])
    return sock


def host_and_port(text):
    host, _, port = text.rpartition(":")
    return host or "127.0.0.1", int(port)


def main(listen, target):
    forwarder = PortForwarder(listen, target)
    forwarder.start()
    name = forwarder.socket.getsockname()
    print(f"unix:{name}" if isinstance(name, str) else "{}:{}".format(*name), flush=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, functools.partial(gevent.spawn, forwarder.stop))
    forwarder.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
