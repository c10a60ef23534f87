"""A reader of your own that keeps the fast path: it describes what is below it.

    python own_reader.py FILE          sends the file through a socket pair, twice, and shows how

`Counted` counts in `read`, so gzc may not go around it: every byte passes through Python. `Described` says by
`__gzc_source__` what it would read and who is to be told, and the kernel moves the bytes.
"""

import sys

import gevent
from gevent import socket

import gzc


class Counted:
    """A file that counts what is read of it."""

    def __init__(self, file):
        self.file = file
        self.count = 0

    def read(self, size=-1):
        data = self.file.read(size)
        self.count += len(data)
        return data


class Described(Counted):
    """The same, and it says so."""

    def __gzc_source__(self):
        return gzc.source(self.file).settling(self.counted)

    def counted(self, size):
        self.count += size


def send(reader):
    """The whole of `reader` through a socket pair: how, and what it counted."""
    here, there = socket.socketpair()
    drain = gevent.spawn(lambda: sum(len(data) for data in iter(lambda: there.recv(1 << 16), b"")))
    plan = gzc.explain(reader, here)
    gzc.copy(reader, here)
    here.close()
    received = drain.get()
    there.close()
    assert reader.count == received, (reader.count, received)
    return plan, received


def main(path):
    for kind in (Counted, Described):
        with open(path, "rb") as file:
            plan, count = send(kind(file))
        print(f"{kind.__name__}: {count} bytes by {plan.mechanism} ({plan.reason})")


if __name__ == "__main__":
    main(*sys.argv[1:])
