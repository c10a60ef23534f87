"""What the demo stands on: a real gunicorn, a fast HTTP client, and counters of what a worker does.

Nothing here knows gzc, but for the one environment variable that switches it on.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent


class DemoError(Exception):
    """Something is missing or wrong; the message says what, and needs no traceback."""


class Client:
    """A keep-alive HTTP connection that reads into one reused buffer: the server is the bottleneck."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.data = bytearray(256 << 10)
        self.view = memoryview(self.data)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def get(self, name: str, header: str = "", sink: Callable[[memoryview], object] = len, status: int = 200) -> int:
        """GET one file, give every piece of its body to `sink`, return the body's length."""
        self.sock.sendall(f"GET /{name} HTTP/1.1\r\nHost: demo\r\n{header}\r\n".encode())
        have = 0
        while (end := self.data.find(b"\r\n\r\n", 0, have)) < 0:
            have += self._receive(self.view[have:])
        head = self.data[: end + 2].decode("latin-1")
        found = re.search(r"(?i)\r\ncontent-length: *(\d+)\r\n", head)
        if not found:
            raise DemoError(f"GET /{name}: no Content-Length in the answer:\n{head}")
        if int(head.split(None, 2)[1]) != status:
            raise DemoError(f"GET /{name}: not the expected {status}:\n{head}")
        length = int(found[1])
        sink(self.view[end + 4 : have])
        left = length - (have - end - 4)
        while left > 0:
            got = self._receive(self.view[:left])
            sink(self.view[:got])
            left -= got
        if left < 0:
            raise DemoError(f"GET /{name}: {-left} bytes more than the Content-Length of {length}")
        return length

    def _receive(self, view: memoryview) -> int:
        if got := self.sock.recv_into(view):
            return got
        raise DemoError("the server closed the connection in the middle of an answer")


def cpu_of(pid: int) -> float:
    """CPU seconds of a process so far: all its threads, user and system."""
    # The clock that clock_getcpuclockid(3) names: nanoseconds, where /proc/PID/stat has steps of 10 ms.
    return time.clock_gettime(~pid << 3 | 2)


def strace(pid: int, summary: Path, during: Callable[[], object]) -> Counter[str]:
    """The system calls of a process while ``during`` runs, by name."""
    if not shutil.which("strace"):
        raise FileNotFoundError("strace is not installed")
    command = ["strace", "-c", "-f", "-o", str(summary), "-p", str(pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as tracer:
        try:
            said = tracer.stderr.readline() if tracer.stderr else ""
            if "attached" not in said:
                raise PermissionError(said.strip() or "strace says nothing")
            during()
        finally:
            tracer.send_signal(signal.SIGINT)  # it lets go of the process and writes its table
    # % time, seconds, usecs/call, calls, [errors,] syscall
    rows = (line.split() for line in summary.read_text().splitlines())
    return Counter({row[-1]: int(row[3]) for row in rows if len(row) > 4 and row[3].isdigit() and row[-1] != "total"})


class Server:
    """Real gunicorn with one gevent worker, running flask_app.py on a free port of the loopback interface."""

    WORKER_CLASS, APP, HOME = "gevent", "flask_app:app", HERE

    def __init__(self, name: str, switch: dict[str, str], folder: Path, work: Path) -> None:
        self.name = name
        self.log = work / f"{name}.log"
        self.worker = 0
        control = work / name  # newer gunicorns put a control socket there
        control.mkdir()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GZC", "GUNICORN", "PYTHONPATH"))}
        with socket.create_server(("127.0.0.1", 0)) as listener, self.log.open("wb") as log:
            self.port: int = listener.getsockname()[1]
            bind = f"--bind=fd://{listener.fileno()}"  # handed over open: nobody takes the port in between
            command = [sys.executable, "-m", "gunicorn", f"--worker-class={self.WORKER_CLASS}", "--workers=1"]
            self.master = subprocess.Popen(
                [*command, "--log-level=warning", bind, self.APP],
                cwd=self.HOME,
                env=kept | switch | {"FILES": str(folder), "XDG_RUNTIME_DIR": str(control)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # Ctrl-C is the demo's to answer
            )

    def start(self, name: str) -> None:
        """Wait until the worker has sent the file `name`, and find the worker's process id."""
        try:
            with Client(self.port) as client:
                client.get(name)
        except (OSError, DemoError) as exc:
            raise DemoError(f"the {self.name} server does not answer: {exc}\n{self.last_words()}") from exc
        parent = f"PPid:\t{self.master.pid}\n"
        for entry in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):  # processes come and go
                if parent in entry.read_text():
                    self.worker = int(entry.parent.name)
        if not self.worker:
            raise DemoError(f"the {self.name} server has no worker in /proc")

    def cpu(self) -> float:
        """CPU seconds of the worker so far: all its threads, user and system."""
        return cpu_of(self.worker)

    def last_words(self) -> str:
        """The end of the server's log."""
        return self.log.read_text(errors="replace").strip()[-2000:]

    def stop(self) -> None:
        """End gunicorn and its worker."""
        self.master.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.master.wait(3)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.master.pid, signal.SIGKILL)
        self.master.wait()


def download(server: Server, name: str) -> None:
    """One download on a connection of its own, the bytes thrown away."""
    with Client(server.port) as client:
        client.get(name)


class CallCount:
    """Counts the system calls of a worker during one download: by strace where it can, else by the kernel."""

    def __init__(self, server: Server, name: str, work: Path) -> None:
        self.summary = work / "strace.txt"
        self.method = "strace -c -f on the worker, in a pass of its own"
        self.by_strace = True
        try:
            self.during(server, name)
        except OSError as exc:
            self.by_strace = False
            self.method = f"/proc/PID/io, which counts read and sendfile but no send ({exc})"
            self.during(server, name)

    def during(self, server: Server, name: str) -> Counter[str]:
        """Download `name` from `server`; its worker's calls by name of the call."""
        if self.by_strace:
            return strace(server.worker, self.summary, lambda: download(server, name))
        return self._proc_io(server, name)

    def _proc_io(self, server: Server, name: str) -> Counter[str]:
        io = Path(f"/proc/{server.worker}/io")
        try:
            before = re.search(r"syscr: (\d+)", io.read_text())
            download(server, name)
            after = re.search(r"syscr: (\d+)", io.read_text())
        except OSError as exc:
            raise DemoError(f"neither strace nor {io} can be used: {exc}") from exc
        assert before
        assert after
        return Counter({"read or sendfile": int(after[1]) - int(before[1])})
