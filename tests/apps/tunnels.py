"""A proxy that is nothing but ``gzc.tunnel``: ``python tunnels.py UPSTREAM``, where UPSTREAM is a port or a unix path.

It prints the address it listens on, and one line of JSON about itself for every line on its standard input.
"""

import json
import resource
import sys
from collections import Counter
from typing import Any

import gevent
from gevent import socket
from gevent.fileobject import FileObject
from gevent.server import StreamServer
from held import held

import gzc

counts: Counter[str] = Counter()


def connect(upstream: str) -> Any:
    if upstream.isdigit():
        return socket.create_connection(("127.0.0.1", int(upstream)))
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(upstream)
    return sock


def carry(sock: Any, _: object) -> None:
    counts["begun"] += 1
    with sock, connect(sys.argv[1]) as other:
        try:
            there, back = gzc.tunnel(sock, other)
            counts["bytes"] += there + back
            counts["ended"] += 1
        except (ConnectionResetError, BrokenPipeError):
            counts["broken"] += 1


def state() -> dict[str, Any]:
    return {**counts, **held()}


def listen() -> Any:
    if sys.argv[1].isdigit():
        return ("127.0.0.1", 0)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(sys.argv[1] + ".front")
    sock.listen(1024)
    return sock


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    server = StreamServer(listen(), carry)
    server.start()
    print(server.address[1] if isinstance(server.address, tuple) else sys.argv[1] + ".front", flush=True)
    for _ in FileObject(sys.stdin, "rb", close=False):
        gevent.sleep(0)
        print(json.dumps(state()), flush=True)
