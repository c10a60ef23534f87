"""Hundreds of clients of every temper against gunicorn with gzc, and a tunnel beside it: ``make soak``.

    python -m tests.soak [--seconds 60] [--clients 200] [--tunnels 10000] [--figures FILE]

Two rounds of the same load, each followed by silence. After either the server must hold nothing any more; what it
holds after the second it must have held after the first. Every byte that comes is compared, every abort must be
found again in the server's own counts.

Rules of this file: all on loopback, all bounded in time; the load is random and its seed is printed; nothing of
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

from . import _figures
from ._server import APPS, Folder, Gunicorn, put_down

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


def silence(server: Gunicorn, tunnels: Tunnels) -> tuple[dict[str, Any], dict[str, Any]]:
    """The states of both once nobody is connected: their idle threads have to end first."""
    deadline = time.monotonic() + PATIENCE
    last = None
    time.sleep(6)  # longer than an idle thread of the pool lives
    while True:
        with server.connect() as client:
            mine = json.loads(client.get("/state").body)
        theirs = tunnels.state()
        quiet = (mine["open files"], mine["descriptors"], mine["greenlets"], mine["threads"], theirs["descriptors"])
        if quiet == last and mine["open files"] == 0:
            return mine, theirs
        must(time.monotonic() < deadline, f"no silence: {mine} {theirs}")
        last = quiet
        time.sleep(1)


def a_round(load: Load, clients: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    greenlets = [gevent.spawn(load.client, deadline) for _ in range(clients)]
    gevent.joinall(greenlets, timeout=seconds + PATIENCE)
    must(all(one.successful() for one in greenlets), "a client hangs or failed")
    must(not load.wrong, f"{len(load.wrong)} wrong: {load.wrong[:5]}")


def compared(before: dict[str, Any], after: dict[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        must(
            after[name] <= before[name], f"{name}: {before[name]} after the first round, {after[name]} after the second"
        )
    grown = after["resident"] - before["resident"]
    must(grown < SLACK, f"{grown / MIB:.1f} MiB more resident after the second round than after the first")


def soak(seconds: float, clients: int, seed: int) -> dict[str, Any]:
    """Two rounds of ``seconds`` together; what they came to."""
    with tempfile.TemporaryDirectory(prefix="gzc-soak-") as path, contextlib.ExitStack() as stack:
        folder = Folder(Path(path))
        server = stack.enter_context(Gunicorn("soak:app", folder.path, "--worker-connections", "4000"))
        assert not isinstance(server.address, str)
        tunnels = stack.enter_context(Tunnels(str(server.address[1])))
        doors = [server.address, ("127.0.0.1", int(tunnels.address))]
        load = Load(folder, doors, seed)
        a_round(load, clients, seconds / 2)
        first = silence(server, tunnels)
        a_round(load, clients, seconds / 2)
        second = silence(server, tunnels)
        compared(first[0], second[0], ("descriptors", "pipes", "threads", "greenlets"))
        compared(first[1], second[1], ("descriptors", "greenlets"))
        mine, theirs = second
        must(mine["downloads"] == load.did["GET"], f"{load.did['GET']} downloads asked for, {mine['downloads']} begun")
        must(mine["uploads"] == load.did["PUT"], f"{load.did['PUT']} uploads sent, {mine['uploads']} begun")
        broken = mine.get("uploads that failed", 0) + mine.get("uploads that were short", 0)
        must(broken == load.did["PUT broken off"], f"{load.did['PUT broken off']} broken off, {broken} found out")
        must(
            theirs["begun"] == theirs.get("ended", 0) + theirs.get("broken", 0),
            f"tunnels begun and not ended: {theirs}",
        )
        for mechanism in ("sendfile", "splice"):
            must(mine["moved"].get(mechanism, 0) > MIB, f"{mechanism} was never used: {mine['moved']}")
        faults = [line for line in server.access.lines if line.split()[2].startswith("5")]
        must(len(faults) <= broken, f"5xx: {faults[:5]}")
        return {
            "seconds": seconds,
            "clients": clients,
            "seed": seed,
            "bytes compared": load.bytes,
            "requests": dict(load.did),
            "gunicorn": mine,
            "tunnel": theirs,
            "resident growth": second[0]["resident"] - first[0]["resident"],
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
        gevent.sleep(0.5)  # the last of them are being set up
        full = tunnels.state()
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
        while (after := tunnels.state())["descriptors"] - after["pipes"] > before["descriptors"] - before["pipes"]:
            must(time.monotonic() < deadline, f"descriptors left: {after}")
            gevent.sleep(0.2)
        must(after["greenlets"] <= before["greenlets"], f"greenlets left: {before} {after}")
        grown = after["resident"] - full["resident"]
        must(grown < SLACK, f"{grown / MIB:.0f} MiB more resident when {count} tunnels had ended than while idle")
        per = (full["descriptors"] - before["descriptors"]) / count
        must(per <= 2.01, f"{per} descriptors for each idle tunnel")  # a few pipes may be in the pool
        return {
            "tunnels": count,
            "descriptors each": round(per, 3),
            "pipes afterwards": after["pipes"],
            "KiB each": round((full["resident"] - before["resident"]) / count / KIB, 1),
            "resident afterwards, MiB": round(after["resident"] / MIB, 1),
        }


def _has_something(sock: Any) -> bool:
    try:
        return bool(sock._sock.recv(1, gsocket.MSG_PEEK | gsocket.MSG_DONTWAIT))
    except BlockingIOError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
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
    print(json.dumps(found, indent=2))
    if options.figures:
        _figures.write(options.figures, "wrong" not in found, time.monotonic() - began, found)
    return 1 if "wrong" in found else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
