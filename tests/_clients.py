"""What the tests of clients share, inside the process where everything is patched.

Rules: imported only there, since it takes for granted that ``socket`` is gevent's. A peer that misbehaves is a
script run for each connection in turn; a server that behaves is a real one in another process.
"""

import contextlib
import hashlib
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
from gevent import socket as gsocket

import gzc

from ._ends import PATIENCE
from ._inside import _claims, _fast_prefix

KIB, MIB = 1 << 10, 1 << 20
SMALL = 32 * KIB  # gzc.config.small as it comes
OK = b"HTTP/1.1 200 OK\r\n"
SIZES = (0, 1, 1025, SMALL, SMALL + 1, 64 * KIB + 1, 3 * MIB)


def content(folder: str, size: int) -> tuple[str, bytes]:
    """A file of `size` bytes, made once: its path and its bytes."""
    path = Path(folder, f"{size}.bin")
    if not path.exists():
        path.write_bytes(os.urandom(size))
    return str(path), path.read_bytes()


def digest(data: bytes, framing: object) -> str:
    """What the server says when it received `data`, framed so."""
    return f"{hashlib.md5(data).hexdigest()} {len(data)} {framing}"


def beyond_small(size: int) -> int:
    """How many of `size` bytes are worth a sendfile."""
    return size if size > SMALL else 0


def copyfileobj(src: Any, dst: Any) -> int:
    """The seam on ``shutil.copyfileobj``: what goes below, and then its loop. What went below."""
    moved = _fast_prefix.prefix(src, dst)
    shutil.copyfileobj(src, dst)
    return moved


@contextlib.contextmanager
def stock() -> Iterator[None]:
    """Without gzc."""
    gzc.unpatch_all()
    try:
        yield
    finally:
        gzc.patch_all()


def both(run: Callable[[], Any]) -> Any:
    """What `run` gives, the same without gzc and with it."""
    with stock():
        before = run()
    after = run()
    assert before == after, f"stock: {before!r}\ngzc: {after!r}"
    return after


def failure(run: Callable[[], Any]) -> list[str]:
    """What `run` raises, in a form that can be compared: the exception and what caused it."""
    try:
        run()
    except BaseException as exc:  # noqa: BLE001 - that is what is looked at
        found, chain = exc, []
        while found is not None:
            chain.append(f"{type(found).__module__}.{type(found).__qualname__}{getattr(found, 'errno', None)}")
            found = found.__cause__
        return chain
    return ["no failure"]


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """No claim and no pipe more than before, whatever happens inside."""

    def pipes() -> int:
        links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
        return sum(os.path.lexists(link) and "pipe:" in os.readlink(link) for link in links)

    before = pipes()
    yield
    assert not _claims._claims, _claims._claims
    assert pipes() <= before + 2 * gzc.config.pool_pipes


class Serving:
    """A server that runs `scripts`, one for each connection in turn, the last one for all that follow."""

    def __init__(self, *scripts: Callable[[Any], Any]) -> None:
        self._scripts = scripts
        self._listener = gsocket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.connections = 0
        self._running = [gevent.spawn(self._accept)]

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            self._running.append(gevent.spawn(self._run, script, connection))

    def _run(self, script: Callable[[Any], Any], connection: Any) -> None:
        with connection:
            connection.settimeout(PATIENCE)
            script(connection)

    def __enter__(self) -> "Serving":
        return self

    def __exit__(self, *exc_info: object) -> None:
        gevent.killall(self._running)
        self._listener.close()


def head(sock: Any) -> bytes:
    """The head of a request, and whatever of its body came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        block = sock.recv(4096)
        assert block, data
        data += block
    return bytes(data)


def reset(sock: Any) -> None:
    """Go away with an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def answering(*parts: bytes, then: Callable[[Any], Any] = lambda _: None) -> Callable[[Any], None]:
    """A script: read the head of a request, send `parts`, and end with `then`."""

    def script(sock: Any) -> None:
        head(sock)
        for part in parts:
            sock.sendall(part)
        then(sock)

    return script


def silent(_sock: Any) -> None:
    """Neither read nor answer nor close, until the test is over."""
    gevent.get_hub().wait(gevent.get_hub().loop.async_())
