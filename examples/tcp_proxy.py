"""A TCP proxy in front of several backends: the first that answers, in turn, gets the connection.

    python tcp_proxy.py LISTEN BACKEND [BACKEND ...]        each HOST:PORT

Bytes go from socket to socket by splice(2). A connection without a byte for five minutes is closed.
"""

import itertools
import sys

import gevent
from gevent.server import StreamServer
from gevent.socket import create_connection

import gzc

IDLE = 300
CONNECT = 3


class Proxy(StreamServer):
    def __init__(self, listen, backends):
        super().__init__(listen, self.serve)
        self.backends = backends
        self.turn = itertools.count()

    def serve(self, client, address):
        with client:
            upstream = self.connect()
            if upstream is None:
                print(f"{address}: no backend answers", file=sys.stderr)
                return
            with upstream:
                try:
                    up, down = gzc.tunnel(client, upstream, idle_timeout=IDLE)
                    print(f"{address}: {up} bytes up, {down} down", file=sys.stderr)
                except OSError as exc:  # also TimeoutError, when it was idle for too long
                    moved = sum(transfer.moved for transfer in gzc.transfers_of(exc))
                    print(f"{address}: {exc}, after {moved} bytes", file=sys.stderr)

    def connect(self):
        first = next(self.turn)
        for step in range(len(self.backends)):
            try:
                upstream = create_connection(self.backends[(first + step) % len(self.backends)], timeout=CONNECT)
            except OSError:
                continue
            upstream.settimeout(None)  # that was for connecting; the tunnel has a limit of its own
            return upstream
        return None


def address_of(text):
    host, _, port = text.rpartition(":")
    return host or "127.0.0.1", int(port)


def main(listen, *backends):
    proxy = Proxy(address_of(listen), [address_of(backend) for backend in backends])
    proxy.start()
    print(f"{proxy.server_host}:{proxy.server_port}", flush=True)
    gevent.get_hub().join()


if __name__ == "__main__":
    main(*sys.argv[1:])
