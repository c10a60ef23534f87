"""Commands of `gzc` as processes of their own, as a user starts them.

Rules: what a command says is read while it runs, so that it never blocks; whatever happens in a test, no process
is left behind. A traceback is never what a user should see.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ._program import PATIENCE, clean_environment
from ._server import Log, put_down

GZC = (sys.executable, "-m", "gzc")

#: What gevent itself says now and then when a program that was interrupted ends: of 700 under gevent alone, on Python
#: 3.13, one did. Its shutdown sleeps, and something that the Ctrl-C left in the loop wakes it.
GEVENTS_OWN = re.compile(
    r"Exception ignored (?:on|in)[^\n]*threading[^\n]*\nTraceback[^\n]*\n(?: [^\n]*\n)+"
    r"gevent\.exceptions\.InvalidSwitchError: [^\n]*\n?"
)


class Ended(NamedTuple):
    status: int
    out: str
    err: str


def end(*words: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, input: bytes = b"") -> Ended:
    """Run `gzc words...` to its end."""
    done = subprocess.run(
        [*GZC, *words],
        env=clean_environment(dict(env or {})),
        cwd=cwd,
        input=input,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


class Command:
    """`gzc words...`, running: `with Command("serve", folder) as command:`; `files` is the limit of descriptors."""

    def __init__(
        self,
        *words: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        files: int | None = None,
    ) -> None:
        limited = [] if files is None else ["prlimit", f"--nofile={files}:{files}"]
        self.process = subprocess.Popen(
            [*limited, *GZC, *words],
            env=clean_environment(dict(env or {})),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.out, self.err = Log(self.process.stdout), Log(self.process.stderr)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, number: int | None = None) -> Ended:
        """Send the signal, wait for the end, and give all it said."""
        if number is not None:
            self.signal(number)
        status = self.process.wait(PATIENCE)
        self.out.join()
        self.err.join()
        ended = Ended(status, "\n".join(self.out.lines), GEVENTS_OWN.sub("", "\n".join(self.err.lines)))
        assert "Traceback" not in ended.err, ended.err
        return ended

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *exc_info: object) -> None:
        put_down(self.process)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # what it has started
        self.out.join()
        self.err.join()


class Peer:
    """A listening socket of the test; each connection is served by `serve` in a thread."""

    def __init__(self, serve: Callable[[socket.socket], Any], path: Path | None = None) -> None:
        self._listener = socket.socket(socket.AF_INET if path is None else socket.AF_UNIX)
        self._listener.settimeout(PATIENCE)
        self._listener.bind(("127.0.0.1", 0) if path is None else str(path))
        self._listener.listen()
        self.name = f"unix:{path}" if path else "tcp://{}:{}".format(*self._listener.getsockname())
        self.results: list[Any] = []
        self._serve = serve
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(PATIENCE)
                self._threads.append(threading.Thread(target=self._run, args=(connection,), daemon=True))
                self._threads[-1].start()

    def _run(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionResetError):
            self.results.append(self._serve(connection))

    @property
    def address(self) -> str:
        """As `gzc proxy` takes it."""
        return self.name.removeprefix("tcp://")

    def result(self) -> Any:
        """What `serve` returned for the first connection."""
        while len(self._threads) < 2:
            self._threads[0].join(0.01)
        self._threads[1].join(PATIENCE)
        return self.results[0]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes up the thread in accept()
        self._listener.close()

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def everything(connection: socket.socket) -> bytes:
    """Read to the end."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def giving(content: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(content)


def echo(connection: socket.socket) -> int:
    count = 0
    while data := connection.recv(1 << 16):
        connection.sendall(data)
        count += len(data)
    connection.shutdown(socket.SHUT_WR)
    return count


@contextlib.contextmanager
def connected(address: str, patience: float = PATIENCE) -> Iterator[socket.socket]:
    """A plain client of `host:port` or `unix:path`."""
    family = socket.AF_UNIX if address.startswith("unix:") else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(patience)
        host, _, port = address.rpartition(":")
        client.connect(address[5:] if family == socket.AF_UNIX else (host, int(port)))
        yield client
