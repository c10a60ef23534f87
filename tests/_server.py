"""A real gunicorn with one gevent worker, as a child process: started, watched and ended.

Rules: nothing of the server is imported or patched here; what the tests know of it they know from outside
(its sockets, its logs, /proc/<worker>). Waiting is for an event (a line in a log, an answer), never for time;
the seconds given are only the point at which a hang becomes a failure.

`GZC_TEST_STOCK=1` in the environment of pytest runs the same tests against the worker without gzc: the tests
that pin what gzc changes must then fail.
"""

import contextlib
import os
import random
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from ._http import PATIENCE, Address, Client

APPS = Path(__file__).parent / "apps"
STOCK = os.environ.get("GZC_TEST_STOCK", "") not in ("", "0")


def eventually(holds: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether `holds()` comes true in time; for states of the kernel and of a process that send no event."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def put_down(process: "subprocess.Popen[bytes] | subprocess.Popen[str]", number: int = signal.SIGTERM) -> None:
    """End a program, if it lets itself be ended: one that is killed says nothing of the lines it has covered.

    Asked twice, since servers of gzc's own finish what is under way after the first time.
    """
    for _ in range(2):
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
            return
    process.kill()
    process.wait()


def refuses(connect: Callable[[], contextlib.AbstractContextManager[object]]) -> bool:
    """Whether nobody listens any more. A connection that comes as the socket is closed is reset, not refused."""
    try:
        with connect():
            return False
    except (ConnectionRefusedError, ConnectionResetError, FileNotFoundError):
        return True


class Folder:
    """Files with reproducible random content, so that a byte out of place is seen."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fresh(self, name: str, size: int) -> bytes:
        content = random.Random(f"{name} {size}").randbytes(size)
        (self.path / name).write_bytes(content)
        return content

    def sized(self, size: int) -> tuple[str, bytes]:
        """The file of this size, made once; its name and its content."""
        name = f"{size}.bin"
        if (self.path / name).exists():
            return name, (self.path / name).read_bytes()
        return name, self.fresh(name, size)


class Log:
    """The lines a stream has given so far; a thread reads it, so that the writer never blocks."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            with self._changed:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._changed.notify_all()
        stream.close()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, text: str, start: int = 0, seconds: float = PATIENCE) -> str:
        """The first line from number `start` on that has `text` in it, now or later."""

        def found() -> str | None:
            return next((line for line in self.lines[start:] if text in line), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or self._ended, seconds)
            line = found()
            if line is None:
                raise AssertionError(f"{text!r} did not come in:\n" + "\n".join(self.lines[start:]))
            return line

    def join(self) -> None:
        self._reader.join(PATIENCE)


class Gunicorn:
    """gunicorn -k gevent, one worker. `errors` is its error log, `access` a line per request."""

    ACCESS = "%(m)s %(U)s?%(q)s %(s)s %(B)s"
    QUICK_END = signal.SIGQUIT

    def __init__(
        self,
        app: str,
        folder: Path,
        *options: str,
        stock: bool = STOCK,
        tls: ssl.SSLContext | None = None,
        unix: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GZC")}
        environment["GZC_TEST_FOLDER"] = str(folder)
        self._runtime = tempfile.TemporaryDirectory(prefix="gzc-gunicorn-")  # for its sockets
        environment["XDG_RUNTIME_DIR"] = self._runtime.name
        if not stock:
            environment["GZC"] = "1"
        environment.update(env or {})
        bind = f"unix:{self._runtime.name}/gunicorn.sock" if unix else "127.0.0.1:0"
        self._tls = tls  # of the client
        self._process = subprocess.Popen(
            self._command(app, bind, options),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.access, self.errors = Log(self._process.stdout), Log(self._process.stderr)
        try:
            listening = self.errors.wait_for("Listening at: ")
            self.address = self._parse(listening.split("Listening at: ")[1].split(" ")[0])
            self.pid = self._ask_pid()
        except BaseException as error:
            self.stop()
            if isinstance(error, Exception):
                raise AssertionError("gunicorn did not start:\n" + "\n".join(self.errors.lines)) from error
            raise

    def _command(self, app: str, bind: str, options: tuple[str, ...]) -> list[str]:
        return [
            *(sys.executable, "-m", "gunicorn", app, "--pythonpath", str(APPS)),
            *("-k", "gevent", "-w", "1", "-b", bind, "--keep-alive", "75", "--graceful-timeout", "1"),
            *("--access-logfile", "-", "--access-logformat", self.ACCESS, "--error-logfile", "-"),
            *options,
        ]

    @staticmethod
    def _parse(url: str) -> Address:
        if url.startswith("unix:"):
            return url.removeprefix("unix:")
        host, port = url.split("://")[1].split(":")
        return host, int(port)

    def _ask_pid(self) -> int:
        with self.connect() as client:
            return int(client.get("/pid").body)

    def connect(self, receive_buffer: int | None = None) -> Client:
        return Client(self.address, receive_buffer=receive_buffer, tls=self._tls)

    def descriptors(self) -> list[str]:
        """What the worker's file descriptors point to."""
        targets = []
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                targets.append(os.readlink(entry).split(":")[0])  # "socket:[4711]" -> "socket"
        return sorted(targets)

    def read_bytes(self) -> int:
        """Bytes the worker has read so far by read(2) and its like, from wherever."""
        counters = Path(f"/proc/{self.pid}/io").read_text()
        return int(counters.split("rchar:")[1].split()[0])

    @contextlib.contextmanager
    def unharmed(self) -> Iterator[None]:
        """Whatever happens inside: afterwards the same worker serves, and has logged no error."""
        start = len(self.errors.lines)
        yield
        assert self._ask_pid() == self.pid, "the worker was replaced"
        noise = [line for line in self.errors.lines[start:] if "Traceback" in line or "[ERROR]" in line]
        assert not noise, "\n".join(self.errors.lines[start:])

    def cpu_seconds(self) -> float:
        times = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        try:
            put_down(self._process, self.QUICK_END)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self.access.join()
            self.errors.join()
            self._runtime.cleanup()

    def __enter__(self) -> "Gunicorn":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


class Script(Gunicorn):
    """`apps/serve.py`, another server than gunicorn; `app` is what it is told to be."""

    QUICK_END = signal.SIGTERM

    def _command(self, app: str, bind: str, options: tuple[str, ...]) -> list[str]:
        return [sys.executable, str(APPS / "serve.py"), app, *options]
