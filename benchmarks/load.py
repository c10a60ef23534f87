"""Many downloads in one gevent process, and a ticker beside them: ``load.py NAME FD``, NAME stock or gzc.

An order is ``PORT N SIZE SECONDS warm|cold PATH``: N greenlets send SIZE bytes of PATH to PORT, each from a place of
its own, again and again until SECONDS are over. The answer says bytes, copies, CPU seconds, and the gaps of a ticker of
1 ms.

What is measured is one process; nobody else may make it wait but its peers and its disk.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from gevent import socket as gsocket

import gzc

TICK = 0.001

Send = Callable[[Any, Any, int, int], int]


def stock(sock: Any, file: Any, offset: int, count: int) -> int:
    """The standard library's call on gevent's socket."""
    return int(sock.sendfile(file, offset, count))


def by_gzc(sock: Any, file: Any, offset: int, count: int) -> int:
    """The same through gzc."""
    file.seek(offset)
    return gzc.copy(file, sock, count)


class Load:
    """N senders and a ticker."""

    def __init__(self, send: Send, port: int, size: int, cold: bool, path: Path) -> None:
        self._send, self._port, self._size, self._cold, self._path = send, port, size, cold, path
        self._span = path.stat().st_size
        self.moved = self.copies = 0
        self.gaps: list[float] = []
        self.over = False

    def sender(self, number: int, of: int, until: float) -> None:
        """Send until it is time, and the last copy to its end: so every byte is counted.

        It looks at the clock itself, because nobody could tell it: beside a peer that is quick enough, stock
        gevent's send never waits, and no other greenlet ever runs.
        """
        offset = number * (self._span // of) // 4096 * 4096
        with gsocket.create_connection(("127.0.0.1", self._port)) as sock, self._path.open("rb") as file:
            while time.perf_counter() < until:
                count = min(self._size, self._span - offset)
                if self._cold:
                    os.posix_fadvise(file.fileno(), offset, count, os.POSIX_FADV_DONTNEED)
                sent = self._send(sock, file, offset, count)
                self.moved += sent  # not in one line: what was read before the switch would be written after it
                self.copies += 1
                offset = offset + count if offset + count < self._span else 0

    def ticker(self) -> None:
        """Note how long a sleep of 1 ms takes."""
        before = time.perf_counter()
        while not self.over:
            gevent.sleep(TICK)
            now = time.perf_counter()
            self.gaps.append(now - before)
            before = now

    def run(self, number: int, seconds: float) -> dict[str, float]:
        """All of it."""
        ticker = gevent.spawn(self.ticker)
        gevent.sleep(10 * TICK)
        self.gaps.clear()
        cpu, wall = time.process_time(), time.perf_counter()
        greenlets = [gevent.spawn(self.sender, one, number, wall + seconds) for one in range(number)]
        gevent.joinall(greenlets, raise_error=True)
        found = {"bytes": self.moved, "copies": self.copies}
        found |= {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        gevent.sleep(2 * TICK)  # the last gap is one, too
        self.over = True
        ticker.join()
        gaps = sorted(self.gaps)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            found[name] = gaps[min(len(gaps) - 1, int(share * len(gaps)))]
        return found | {"rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def main() -> None:
    send, orders = {"stock": stock, "gzc": by_gzc}[sys.argv[1]], socket.socket(fileno=int(sys.argv[2]))
    while said := orders.recv(4096):
        port, number, size, seconds, cache, path = said.decode().split(" ", 5)
        load = Load(send, int(port), int(size), cache == "cold", Path(path))
        try:
            answer: object = load.run(int(number), float(seconds))
        except Exception as exc:  # noqa: BLE001 - it is the report's to show
            answer = {"error": f"{type(exc).__name__}: {exc}"}
        orders.send(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
