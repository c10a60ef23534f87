"""``gzc serve --tls`` and ``gzc proxy`` under clients that are normal, slow, silent and hostile: ``make siege``.

    python -m tests.nightly.siege [--seconds 300] [--clients 120] [--figures FILE]

Two rounds of the same, each followed by silence. Normal clients are served all the time, and every byte they get is
compared; after either round the servers hold no more descriptors and threads than before anybody came.

All on loopback, all bounded in time; what is done is random and its seed is printed; the servers
are looked at from outside, and nothing of gzc runs in this process.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import psutil
import trustme
from gevent import socket as gsocket
from gevent import ssl as gssl

from .. import _figures
from .._command import GZC
from .._program import clean_environment
from .._server import put_down
from .soak import KIB, MIB, PATIENCE, SLACK, Wrong, must

SIZES = {"small": 1000, "middle": 300 * KIB, "large": 8 * MIB}
ENTRIES = 5000
RESET = struct.pack("ii", 1, 0)
#: What may be in one chunk of somebody's mischief.
MISCHIEF = (
    b"\x16\x03\x01\x02\x00\x01",
    b"GET /\x1b[2J HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 300,
    b"GET /" + b"y" * 20_000,
    b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + bytes(100_000),
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n" + bytes(10_000),
    b"GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"GET /many/ HTTP/1.1\r\nHost: x\r\n\r\n" * 5,
    b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n" * 200,
    b"GET /../../etc/passwd HTTP/1.1\r\n\r\n",
    b"\0" * 1000,
)


class Server:
    """A command of gzc, and what it holds."""

    def __init__(self, folder: Path, name: str, *words: str) -> None:
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*GZC, *words], env=clean_environment({}), stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        assert self.process.stdout is not None
        first = self.process.stdout.readline().decode()
        where = first.partition(" to ")[0] if words[0] == "proxy" else first
        host, _, port = where.rpartition(" ")[2].strip().rstrip("/").rpartition("/")[2].rpartition(":")
        self.address = (host, int(port))
        self.name = name
        self._seen = psutil.Process(self.process.pid)

    def held(self) -> Counter[str]:
        """Descriptors by their kind, and threads. Pipes in the pool are held on purpose, and bounded."""
        found: Counter[str] = Counter()
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found[os.readlink(entry).partition(":")[0]] += 1
        found["threads"] = self._seen.num_threads()
        return found

    def resident(self) -> int:
        return int(self._seen.memory_info().rss)

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc_info: object) -> None:
        put_down(self.process)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Clients:
    """What is done to two servers, and what came of it."""

    def __init__(self, files: dict[str, bytes], tls: Server, proxy: Server, context: Any, seed: int) -> None:
        self._files, self._tls, self._proxy, self._context = files, tls, proxy, context
        self._random = random.Random(seed)
        self.did: Counter[str] = Counter()
        self.compared = 0
        self.answered: list[float] = []
        self.wrong: list[str] = []

    def run(self, what: Callable[[Any], None], deadline: float) -> None:
        """One connection after another of somebody of that kind."""
        while time.monotonic() < deadline and not self.wrong:
            self.did[what.__name__] += 1
            try:
                with gsocket.socket() as sock:
                    sock.settimeout(PATIENCE)
                    what(sock)
            except Wrong as exc:
                self.wrong.append(f"{what.__name__}: {exc}")
            except OSError as exc:
                if what == self.normal:
                    self.wrong.append(f"normal: {exc!r}")

    def _connected(self, sock: Any, receive_buffer: int = 0) -> Any:
        if receive_buffer:
            sock.setsockopt(gsocket.SOL_SOCKET, gsocket.SO_RCVBUF, receive_buffer)
        if self._random.random() < 0.5:
            sock.connect(self._proxy.address)
            return sock
        sock.connect(self._tls.address)
        return self._context.wrap_socket(sock, server_hostname="localhost")

    def _raw(self, sock: Any) -> Any:
        sock.connect(self._random.choice((self._tls, self._proxy)).address)
        return sock

    def _download(self, talk: Any, name: str, pause: float = 0.0) -> None:
        content = self._files[name]
        talk.sendall(f"GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            more = talk.recv(65536)
            must(bool(more), f"the connection ended in the head of an answer: {data!r}")
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        must(head.startswith(b"HTTP/1.1 200 "), f"{head[:40]!r} for {name}")
        seen = 0
        while True:
            must(body == content[seen : seen + len(body)], f"a wrong byte in {name} after {seen}")
            seen += len(body)
            if seen == len(content):
                break
            gevent.sleep(pause)
            body = talk.recv(65536)
            must(bool(body), f"{name} ended after {seen} of {len(content)} bytes")
        self.compared += seen

    def list_once(self) -> None:
        """A listing of either server."""
        for server in (self._tls, self._proxy):
            with gsocket.create_connection(server.address, PATIENCE) as sock:
                talk = sock if server is self._proxy else self._context.wrap_socket(sock, server_hostname="localhost")
                with talk:
                    talk.sendall(b"GET /many/ HTTP/1.1\r\nConnection: close\r\n\r\n")
                    must(talk.recv(12) == b"HTTP/1.1 200", "no listing")

    def normal(self, sock: Any) -> None:
        """A few downloads by one connection."""
        began = time.monotonic()
        with self._connected(sock) as talk:
            for _ in range(self._random.randrange(1, 5)):
                name = self._random.choice(("small", "small", "middle", "large"))
                self._download(talk, name)
                if name == "small":
                    self.answered.append(time.monotonic() - began)
                began = time.monotonic()

    def slow(self, sock: Any) -> None:
        """Reads 64 KiB after 64 KiB, with pauses."""
        with self._connected(sock, 16 * KIB) as talk:
            self._download(talk, "middle", 0.1)

    def silent(self, sock: Any) -> None:
        """Says nothing until it is left."""
        self._raw(sock).settimeout(20)
        sock.recv(1)

    def half(self, sock: Any) -> None:
        """Half a request, or half a handshake."""
        self._raw(sock).sendall(self._random.choice((b"GET / HTTP/1.1\r\nHost:", b"\x16\x03\x01\x02\x00\x01")))
        sock.settimeout(20)
        while sock.recv(1000):
            pass

    def deaf(self, sock: Any) -> None:
        """Asks for much, and takes nothing."""
        with self._connected(sock, 4 * KIB) as talk:
            talk.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
            gevent.sleep(self._random.uniform(0, 8))

    def hostile(self, sock: Any) -> None:
        """Mischief, and then a reset or a close."""
        with self._connected(sock) if self._random.random() < 0.7 else self._raw(sock) as talk:
            for _ in range(self._random.randrange(1, 4)):
                talk.sendall(self._random.choice(MISCHIEF))
            gevent.sleep(self._random.choice((0, 0.05, 0.5)))
            if self._random.random() < 0.5:
                talk.setsockopt(gsocket.SOL_SOCKET, gsocket.SO_LINGER, RESET)


def a_round(clients: Clients, count: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    kinds = [clients.normal, clients.slow, clients.silent, clients.half, clients.deaf, clients.hostile]
    greenlets = [gevent.spawn(clients.run, kinds[number % len(kinds)], deadline) for number in range(count)]
    gevent.joinall(greenlets, timeout=seconds + PATIENCE)
    must(all(one.successful() for one in greenlets), "a client hangs or failed")
    must(not clients.wrong, f"{len(clients.wrong)} wrong: {clients.wrong[:5]}")


def silence(servers: list[Server], fresh: list[Counter[str]], pipes: int) -> list[int]:
    """Wait until they hold no more than before; their resident memory then."""
    deadline = time.monotonic() + PATIENCE
    allowed = [before | Counter({"pipe": before["pipe"] + 2 * pipes}) for before in fresh]
    while any(left := [server.held() - most for server, most in zip(servers, allowed, strict=True)]):
        must(time.monotonic() < deadline, f"held in silence: {dict(zip((s.name for s in servers), left, strict=True))}")
        time.sleep(0.2)
    return [server.resident() for server in servers]


def siege(seconds: float, count: int, seed: int) -> dict[str, Any]:
    """Two rounds of ``seconds`` together; what they came to."""
    from gzc import config

    with tempfile.TemporaryDirectory(prefix="gzc-siege-") as path, contextlib.ExitStack() as stack:
        folder, site = Path(path), Path(path) / "site"
        files = {name: random.Random(name).randbytes(size) for name, size in SIZES.items()}
        (site / "many").mkdir(parents=True)
        for name, content in files.items():
            (site / name).write_bytes(content)
        for number in range(ENTRIES):
            (site / "many" / f"{number:05}").touch()
        authority = trustme.CA()
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        context = gssl.SSLContext(gssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(context)
        pem, limits = str(folder / "server.pem"), ("--request-timeout", "3", "--idle-timeout", "5", "--limit", "100")
        serve = ("serve", str(site), "--bind", "127.0.0.1:0", *limits)
        tls = stack.enter_context(Server(folder, "serve --tls", *serve, "--tls", pem, pem))
        plain = stack.enter_context(Server(folder, "serve", *serve))
        words = ("proxy", "0", "{}:{}".format(*plain.address), "--idle-timeout", "5", "--limit", "100")
        proxy = stack.enter_context(Server(folder, "proxy", *words))
        servers = [tls, plain, proxy]
        clients = Clients(files, tls, proxy, context, seed)
        a_round(clients, 6, 1)  # what is made once is made now: late imports, and the thread of listings
        clients.list_once()
        gevent.sleep(6)
        fresh = [server.held() for server in servers]
        resident = []
        for _ in range(2):
            a_round(clients, count, seconds / 2)
            resident.append(silence(servers, fresh, config.pool_pipes))
        grown = max(now - before for before, now in zip(*resident, strict=True))
        must(grown < SLACK, f"{grown / MIB:.1f} MiB more resident after the second round than after the first")
        for server in servers:
            server.process.send_signal(signal.SIGTERM)
            must(server.process.wait(PATIENCE) == 0, f"{server.name}: status {server.process.returncode}")
            said = server.said()
            must("Traceback" not in said, f"{server.name}: a traceback: {said[said.find('Traceback') :][:2000]}")
            must(all(letter.isprintable() or letter == "\n" for letter in said), f"{server.name}: a foreign byte")
        answered = sorted(clients.answered)
        return {
            "seconds": seconds,
            "clients": count,
            "seed": seed,
            "connections": dict(clients.did),
            "bytes compared": clients.compared,
            "small files": len(answered),
            "median, ms": round(1000 * answered[len(answered) // 2]),
            "99 of 100, ms": round(1000 * answered[len(answered) * 99 // 100]),
            "descriptors": {server.name: sum(held.values()) for server, held in zip(servers, fresh, strict=True)},
            "resident, MiB": {
                server.name: [round(each[number] / MIB, 1) for each in resident]
                for number, server in enumerate(servers)
            },
            "resident growth": max(0, grown),
        }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.nightly.siege", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--clients", type=int, default=120)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--figures", type=Path, metavar="FILE", help="write there, as JSON, what was found")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 30)
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    try:
        found = siege(options.seconds, options.clients, seed)
    except Wrong as exc:
        found = {"wrong": str(exc)}
        print(f"WRONG: {exc}", file=sys.stderr)
    return _figures.tell(options.figures, time.monotonic() - began, found)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
