"""Hundreds of clients of every temper against gunicorn with gzc, and a tunnel beside it: ``make soak``.

    python -m tests.nightly.soak [--seconds 60] [--clients 200] [--tunnels 10000] [--figures FILE]

Two rounds of the same load, each followed by silence. After either the server must hold no more than before anybody
came, descriptor by descriptor; the pool of pipes is bounded and counted apart. Every byte that comes is compared, every
abort must be found again in the server's own counts.

All on loopback, all bounded in time; the load is random and its seed is printed; nothing of
gzc runs in this process.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import gevent
from gevent import socket as gsocket

from .. import _figures
from .._server import APPS, Folder, Gunicorn, put_down

PATIENCE = 60.0
KIB, MIB = 1 << 10, 1 << 20
SIZES = (0, 1, 1000, 20 * KIB, 32 * KIB + 1, 200 * KIB, MIB, 4 * MIB)
#: What a process may grow by from one silence to the next: allocators keep what they had at the peak.
SLACK = 12 * MIB


class Wrong(Exception):
    """What a soak test is there to find."""


def must(holds: bool, what: str) -> None:
    if not holds:
        raise Wrong(what)


# -- clients ---------------------------------------------------------------------------------------------------------


class Conversation:
    """One client's connection, with as little between it and the bytes as can be."""

    def __init__(self, address: tuple[str, int], receive_buffer: int = 0) -> None:
        self.sock = gsocket.socket()
        if receive_buffer:
            self.sock.setsockopt(gsocket.SOL_SOCKET, gsocket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(address)
        self._ahead = b""

    def ask(self, method: str, path: str, **headers: object) -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: x"]
        lines += [f"{name.title().replace('_', '-')}: {value}" for name, value in headers.items()]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode())

    def head(self) -> tuple[int, int]:
        """Status and Content-Length of the answer."""
        data = self._ahead
        while b"\r\n\r\n" not in data:
            more = self.sock.recv(65536)
            must(bool(more), f"the connection ended in the head of an answer: {data!r}")
            data += more
        head, _, self._ahead = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
        return int(lines[0].split()[1]), length

    def body(self, expected: bytes, most: int = 1 << 60, step: int = 65536, pause: float = 0.0) -> int:
        """Compare up to ``most`` bytes of the body as they come."""
        seen = 0
        while seen < min(len(expected), most):
            data, self._ahead = self._ahead[: len(expected) - seen], self._ahead[len(expected) - seen :]
            data = data or self.sock.recv(min(step, len(expected) - seen))
            must(bool(data), f"the connection ended after {seen} of {len(expected)} bytes")
            must(data == expected[seen : seen + len(data)], f"a wrong byte after {seen}")
            seen += len(data)
            if pause:
                gevent.sleep(pause)
        return seen

    def reset(self) -> None:
        self.sock.setsockopt(gsocket.SOL_SOCKET, gsocket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Load:
    """What the clients did, and what they saw."""

    def __init__(self, folder: Folder, doors: list[tuple[str, int]], seed: int) -> None:
        self.files = {size: folder.sized(size)[1] for size in SIZES}
        self.names = {size: folder.sized(size)[0] for size in SIZES}
        self.doors = doors
        self.random = random.Random(seed)
        self.did: Counter[str] = Counter()
        self.bytes = 0
        self.wrong: list[str] = []

    def client(self, deadline: float) -> None:
        """One client after another, until it is over."""
        deeds = [self.download] * 4 + [self.part] * 3 + [self.upload] * 3
        deeds += [self.leave, self.leave_rudely, self.read_slowly, self.break_off_upload]
        while time.monotonic() < deadline and not self.wrong:
            door = self.random.choice(self.doors)
            slow = self.random.random() < 0.1
            talk = None
            try:
                talk = Conversation(door, 4096 if slow else 0)
                for _ in range(self.random.randrange(1, 6)):
                    deed = self.random.choice(deeds)
                    self.did[deed.__name__] += 1
                    if deed(talk):
                        break
            except (Wrong, OSError) as exc:
                self.wrong.append(repr(exc))
            finally:
                if talk is not None:
                    talk.sock.close()

    def _begin(self, talk: Conversation, size: int) -> bytes:
        talk.ask("GET", f"/{self.names[size]}")
        status, length = talk.head()
        must((status, length) == (200, size), f"{status}, {length} bytes for {size}")
        self.did["GET"] += 1
        return self.files[size]

    def _compared(self, count: int) -> None:
        self.bytes += count  # not around the comparing itself: others add meanwhile

    def download(self, talk: Conversation) -> bool:
        self._compared(talk.body(self._begin(talk, self.random.choice(SIZES))))
        return False

    def part(self, talk: Conversation) -> bool:
        size = self.random.choice(SIZES[2:])
        first = self.random.randrange(size)
        last = self.random.randrange(first, size)
        talk.ask("GET", f"/{self.names[size]}", range=f"bytes={first}-{last}")
        status, length = talk.head()
        must((status, length) == (206, last - first + 1), f"{status}, {length} bytes for {first}-{last}")
        self.did["GET"] += 1
        self._compared(talk.body(self.files[size][first : last + 1]))
        return False

    def leave(self, talk: Conversation) -> bool:
        """Go in the middle of a download."""
        self._compared(talk.body(self._begin(talk, 4 * MIB), self.random.randrange(MIB)))
        return True

    def leave_rudely(self, talk: Conversation) -> bool:
        self.leave(talk)
        talk.reset()
        return True

    def read_slowly(self, talk: Conversation) -> bool:
        self._compared(talk.body(self._begin(talk, 200 * KIB), step=8 * KIB, pause=0.01))
        return False

    def upload(self, talk: Conversation) -> bool:
        content = self.files[self.random.choice(SIZES)]
        talk.ask("PUT", "/", content_length=len(content))
        talk.sock.sendall(content)
        status, length = talk.head()
        must(status == 200, f"{status} for an upload")
        said = bytearray()
        while len(said) < length:
            said += talk._ahead or talk.sock.recv(length)
            talk._ahead = b""
        must(said.decode() == f"{len(content)} {hashlib.sha256(content).hexdigest()}", f"an upload became {said!r}")
        self.did["PUT"] += 1
        self._compared(len(content))
        return False

    def break_off_upload(self, talk: Conversation) -> bool:
        """Send half of what was promised, and hear nothing of it."""
        content = self.files[MIB]
        talk.ask("PUT", "/", content_length=len(content))
        talk.sock.sendall(content[: self.random.randrange(1, MIB)])
        self.did["PUT"] += 1
        self.did["PUT broken off"] += 1
        return True


# -- servers ---------------------------------------------------------------------------------------------------------


class Tunnels:
    """``apps/tunnels.py`` in front of ``upstream``."""

    def __init__(self, upstream: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(APPS / "tunnels.py"), upstream],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = self._line().strip()

    def _line(self) -> str:
        stream: IO[str] | None = self._process.stdout
        assert stream is not None
        return stream.readline()

    def state(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._line())
        return found

    def __enter__(self) -> Tunnels:
        return self

    def __exit__(self, *exc_info: object) -> None:
        put_down(self._process)
        self._process.communicate()


class Watched:
    """The two servers, and what they held before anybody had come."""

    def __init__(self, server: Gunicorn, tunnels: Tunnels) -> None:
        self._server, self._tunnels = server, tunnels
        self._fresh = self._states()

    def _states(self) -> tuple[dict[str, Any], dict[str, Any]]:
        with self._server.connect() as client:
            return json.loads(client.get("/state").body), self._tunnels.state()

    def silence(self, load: Load) -> tuple[dict[str, Any], dict[str, Any]]:
        """Their states once nothing of ``load`` is left in them; what only takes its time is waited for."""
        deadline = time.monotonic() + PATIENCE
        while left := self._left(load, *(states := self._states())):
            must(time.monotonic() < deadline, "; ".join(left))
            time.sleep(0.2)
        return states

    def _left(self, load: Load, mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
        broken = mine.get("uploads that failed", 0) + mine.get("uploads that were short", 0)
        ended = theirs.get("ended", 0) + theirs.get("broken", 0)
        counted = [
            ("open files", 0, mine["open files"]),
            ("downloads", load.did["GET"], mine.get("downloads", 0)),
            ("uploads", load.did["PUT"], mine.get("uploads", 0)),
            ("uploads broken off", load.did["PUT broken off"], broken),
            ("tunnels ended", theirs.get("begun", 0), ended),
        ]
        wrong = [f"{what}: {had} instead of {should}" for what, should, had in counted if had != should]
        for name, fresh, now in zip(("gunicorn", "tunnel"), self._fresh, (mine, theirs), strict=True):
            wrong += [f"{name} holds {what}" for what in more_than(fresh, now)]
        return wrong


def more_than(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is held now and was not before, by its kind. The pool of pipes is bounded; filling it takes nothing away."""
    kinds = [(what, before["descriptors"].get(what, 0), count) for what, count in now["descriptors"].items()]
    kinds += [(what, before[what], now[what]) for what in ("threads", "greenlets")]
    kinds += [("pooled pipes", now["most pooled pipes"], now["pooled pipes"])]
    return [f"{count} × {what}, and may hold {most}" for what, most, count in kinds if count > most]


def a_round(load: Load, clients: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    greenlets = [gevent.spawn(load.client, deadline) for _ in range(clients)]
    gevent.joinall(greenlets, timeout=seconds + PATIENCE)
    must(all(one.successful() for one in greenlets), "a client hangs or failed")
    must(not load.wrong, f"{len(load.wrong)} wrong: {load.wrong[:5]}")


def soak(seconds: float, clients: int, seed: int) -> dict[str, Any]:
    """Two rounds of ``seconds`` together; what they came to."""
    with tempfile.TemporaryDirectory(prefix="gzc-soak-") as path, contextlib.ExitStack() as stack:
        folder = Folder(Path(path))
        server = stack.enter_context(Gunicorn("soak:app", folder.path, "--worker-connections", "4000"))
        assert not isinstance(server.address, str)
        tunnels = stack.enter_context(Tunnels(str(server.address[1])))
        doors = [server.address, ("127.0.0.1", int(tunnels.address))]
        load = Load(folder, doors, seed)
        watched = Watched(server, tunnels)
        states = []
        for _ in range(2):
            a_round(load, clients, seconds / 2)
            states.append(watched.silence(load))
        first, second = states
        grown = [now["resident"] - before["resident"] for before, now in zip(first, second, strict=True)]
        must(max(grown) < SLACK, f"{max(grown) / MIB:.1f} MiB more resident after the second round than the first")
        mine, theirs = second
        for mechanism in ("sendfile", "splice"):
            must(mine["moved"].get(mechanism, 0) > MIB, f"{mechanism} was never used: {mine['moved']}")
        faults = [line for line in server.access.lines if line.split()[2].startswith("5")]
        must(len(faults) <= load.did["PUT broken off"], f"5xx: {faults[:5]}")
        return {
            "seconds": seconds,
            "clients": clients,
            "seed": seed,
            "bytes compared": load.bytes,
            "requests": dict(load.did),
            "gunicorn": mine,
            "tunnel": theirs,
            "pooled pipes": [[state["pooled pipes"] for state in each] for each in states],
            "resident growth": grown[0],
        }


# -- idle tunnels ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def upstream(path: str) -> Iterator[list[Any]]:
    """A listener that accepts and keeps what comes."""
    kept: list[Any] = []
    with gsocket.socket(gsocket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1024)

        def accept() -> None:
            while True:
                kept.append(listener.accept()[0])

        accepting = gevent.spawn(accept)
        try:
            yield kept
        finally:
            accepting.kill()
            for sock in kept:
                sock.close()


def idle_tunnels(count: int) -> dict[str, Any]:
    """What a tunnel costs that carries nothing, and whether it still carries."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(count, (hard - 600) // 2)  # the rest is for our own, and for pipes while bytes are in them
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gzc-tunnels-"))
        kept = stack.enter_context(upstream(f"{folder}/upstream"))
        tunnels = stack.enter_context(Tunnels(f"{folder}/upstream"))
        before = tunnels.state()
        clients = []
        for number in range(count):
            sock = gsocket.socket(gsocket.AF_UNIX)
            sock.settimeout(PATIENCE)
            sock.connect(tunnels.address)
            clients.append(sock)
            if number % 100 == 0:
                gevent.sleep(0.001)
        with gevent.Timeout(PATIENCE):
            while len(kept) < count:
                gevent.sleep(0.01)
        idle = before["descriptors"] | {"socket": before["descriptors"]["socket"] + 2 * count}
        deadline = time.monotonic() + PATIENCE
        while (full := tunnels.state())["descriptors"] != idle:  # the last of them are being set up
            must(time.monotonic() < deadline, f"{full['descriptors']} for {count} idle tunnels, not {idle}")
            gevent.sleep(0.2)
        sample = random.Random(1).sample(clients, min(count, 200))
        for number, sock in enumerate(sample):
            sock.sendall(b"%06d" % number)
        seen: set[bytes] = set()
        with gevent.Timeout(PATIENCE):
            while len(seen) < len(sample):
                gevent.sleep(0.05)
                seen |= {bytes(sock.recv(6)) for sock in kept if _has_something(sock)}
        must(len(seen) == len(sample), f"{len(seen)} of {len(sample)} idle tunnels still carry")
        for sock in clients:
            sock.close()
        for sock in kept:
            sock.close()
        deadline = time.monotonic() + PATIENCE
        while left := more_than(before, after := tunnels.state()):
            must(time.monotonic() < deadline, "; ".join(left))
            gevent.sleep(0.2)
        grown = after["resident"] - full["resident"]
        must(grown < SLACK, f"{grown / MIB:.0f} MiB more resident when {count} tunnels had ended than while idle")
        return {
            "tunnels": count,
            "descriptors each": 2,
            "pooled pipes": after["pooled pipes"],
            "KiB each": round((full["resident"] - before["resident"]) / count / KIB, 1),
            "resident afterwards, MiB": round(after["resident"] / MIB, 1),
        }


def _has_something(sock: Any) -> bool:
    try:
        return bool(sock._sock.recv(1, gsocket.MSG_PEEK | gsocket.MSG_DONTWAIT))
    except BlockingIOError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.nightly.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--tunnels", type=int, default=10_000, help="idle ones; 0 leaves them out")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--figures", type=Path, metavar="FILE", help="write there, as JSON, what was found")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 30)
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    found: dict[str, Any] = {}
    try:
        found["soak"] = soak(options.seconds, options.clients, seed)
        if options.tunnels:
            found["idle tunnels"] = idle_tunnels(options.tunnels)
    except Wrong as exc:
        found["wrong"] = str(exc)
        print(f"WRONG: {exc}", file=sys.stderr)
    return _figures.tell(options.figures, time.monotonic() - began, found)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
