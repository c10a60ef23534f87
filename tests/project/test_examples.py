"""The examples, each as its user runs it: a process of its own, real clients, every byte compared.

Rules: a server says on its first line where it listens. How bytes were moved is told by strace, or by what the
example itself prints.
"""

import configparser
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import gunicorn.config
import pytest
import requests

from .._ends import payload
from .._lacks import IN_A_TREE, privileged, tool
from .._program import clean_environment, finished
from .._server import Log, eventually
from .._strace import Strace

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PATIENCE = 30
MIB = 1 << 20

pytestmark = IN_A_TREE


class Example:
    """A running example; `address` is where it listens, `log` what it says on stderr."""

    def __init__(self, *command: str | Path, status: int = -signal.SIGTERM) -> None:
        self._status = status
        self.process = subprocess.Popen(
            [sys.executable, "-u", *command],
            cwd=EXAMPLES,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.pid = self.process.pid
        self.said, self.log = Log(self.process.stdout), Log(self.process.stderr)
        try:
            self.url = self.said.wait_for("", seconds=PATIENCE)
        except AssertionError as error:
            self.process.kill()
            self.log.join()
            raise AssertionError("\n".join(self.log.lines)) from error

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").rstrip("/").split(":")
        return host, int(port)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=PATIENCE)

    def __enter__(self) -> "Example":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.terminate()
        try:
            assert self.process.wait(PATIENCE) == self._status, self.log.lines
        finally:
            self.process.kill()
            self.log.join()
            self.said.join()
        assert not any("Traceback" in line for line in self.log.lines), self.log.lines


def everything(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 18), b""))


def exchange(sock: socket.socket, data: bytes) -> bytes:
    """What comes back for `data`, sent and half-closed meanwhile."""

    def send() -> None:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    received = everything(sock)
    sender.join(PATIENCE)
    return received


@contextlib.contextmanager
def backend(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that reads all there is, and then answers; its address, and what it was sent."""
    taken: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    conn, _ = listener.accept()
                    with conn:
                        taken.append(everything(conn))
                        conn.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", taken
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE)


def test_every_example_is_run_here() -> None:
    """But for the demo, demo.py and its rig.py, which .ci/run runs."""
    here = Path(__file__).read_text()
    files = {path.name for path in EXAMPLES.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {name for name in files if name not in here} == set()


def test_pywsgi_static(tmp_path: Path) -> None:
    data = payload(3 * MIB)
    (tmp_path / "film.bin").write_bytes(data)
    (tmp_path / "index.html").write_text("<h1>hello</h1>")
    with (
        Example("pywsgi_static.py", tmp_path, "127.0.0.1:0") as site,
        requests.Session() as client,
        Strace(site.pid) as trace,
    ):
        whole = client.get(site.url + "film.bin", timeout=PATIENCE)
        part = client.get(site.url + "film.bin", headers={"Range": "bytes=1000-2000999"}, timeout=PATIENCE)
        known = {"If-Modified-Since": whole.headers["Last-Modified"]}
        again = client.get(site.url + "film.bin", headers=known, timeout=PATIENCE)
        index = client.get(site.url, timeout=PATIENCE)
        missing = client.get(site.url + "../etc/passwd", timeout=PATIENCE)
    assert (whole.status_code, whole.content) == (200, data)
    assert (part.status_code, part.content) == (206, data[1000:2001000])
    assert (again.status_code, again.content) == (304, b"")
    assert (index.status_code, index.text) == (200, "<h1>hello</h1>")
    assert missing.status_code == 404
    assert trace.of_files == len(data) + 2_000_000


def test_upload_to_disk(tmp_path: Path) -> None:
    data = payload(5 * MIB)
    with Example("upload_to_disk.py", tmp_path, "127.0.0.1:0") as site:
        with Strace(site.pid) as trace:
            done = requests.put(site.url + "film.bin", data=data, timeout=PATIENCE)
        assert (done.status_code, done.text) == (201, f"{len(data)} bytes\n")
        assert requests.get(site.url + "film.bin", timeout=PATIENCE).status_code == 405
        assert requests.put(site.url + ".hidden", data=b"x", timeout=PATIENCE).status_code == 405
        with site.connect() as broken:
            broken.sendall(b"PUT /broken.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + bytes(300_000))
            assert eventually(lambda: any(path.name.startswith(".") for path in tmp_path.iterdir()))
        assert eventually(lambda: [path.name for path in tmp_path.iterdir()] == ["film.bin"])
    assert (tmp_path / "film.bin").read_bytes() == data
    # Twice: into the pipe, and out of it. What came with the headers was read with them.
    assert trace.bytes("splice") >= 2 * (len(data) - MIB)


def test_tcp_proxy() -> None:
    up, down = payload(3 * MIB), payload(2 * MIB)
    with socket.socket() as nobody, backend(down) as (target, taken):
        nobody.bind(("127.0.0.1", 0))  # bound, and not listening: who connects is refused
        dead = f"127.0.0.1:{nobody.getsockname()[1]}"
        with Example("tcp_proxy.py", "127.0.0.1:0", dead, target) as proxy:
            with Strace(proxy.pid) as trace:
                for _ in range(2):
                    with proxy.connect() as client:
                        assert exchange(client, up) == down
            proxy.log.wait_for(f"{len(up)} bytes up, {len(down)} down")
        assert taken == [up, up]
        assert trace.bytes("splice") >= 2 * 2 * 0.9 * (len(up) + len(down))
    with Example("tcp_proxy.py", "127.0.0.1:0", dead) as proxy:
        with proxy.connect() as client:
            assert everything(client) == b""
        proxy.log.wait_for("no backend answers")


def test_tcp_proxy_is_patient_once_it_is_connected() -> None:
    """The limit for connecting is none for a backend that thinks for longer."""
    start = "import tcp_proxy; tcp_proxy.CONNECT = 0.1; tcp_proxy.main('127.0.0.1:0', {!r})"
    with backend(b"answer") as (target, taken), Example("-c", start.format(target)) as proxy:
        with proxy.connect() as client:
            client.settimeout(0.5)
            with pytest.raises(TimeoutError):
                client.recv(1)
            client.settimeout(PATIENCE)
            assert exchange(client, b"late") == b"answer"
        proxy.log.wait_for("4 bytes up, 6 down")
    assert taken == [b"late"]


def test_port_forwarder() -> None:
    """SIGTERM: nobody new is let in, and who is in is served to the end."""
    up, down = payload(2 * MIB), payload(3 * MIB)
    with backend(down) as (target, taken), Example("port_forwarder.py", "127.0.0.1:0", target, status=0) as forwarder:
        with forwarder.connect() as first:
            assert exchange(first, up) == down
        with forwarder.connect() as client:
            client.sendall(up[:1000])
            assert eventually(lambda: sockets(forwarder.pid) >= 3)  # the listening one, and the two ends
            forwarder.process.send_signal(signal.SIGTERM)
            assert eventually(lambda: refused(forwarder.address))
            assert exchange(client, up[1000:]) == down
        assert forwarder.process.wait(PATIENCE) == 0
    assert [data for data in taken if data] == [up, up]  # who asked whether it still listens may have got in


def test_port_forwarder_between_unix_and_tcp(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with (
        backend(b"there") as (target, taken),
        Example("port_forwarder.py", f"unix:{path}", target, status=0),
        Example("port_forwarder.py", "127.0.0.1:0", f"unix:{path}", status=0) as front,
        front.connect() as client,
    ):
        assert exchange(client, b"here") == b"there"
    assert taken == [b"here"]


def sockets(pid: int) -> int:
    links = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(link.startswith("socket:") for link in links)


def refused(address: tuple[str, int]) -> bool:
    with contextlib.suppress(ConnectionResetError), socket.socket() as sock:
        return sock.connect_ex(address) != 0
    return False


def test_echo_server() -> None:
    data = payload(3 * MIB)
    with Example("echo_server.py", "127.0.0.1:0") as server, Strace(server.pid) as trace, server.connect() as client:
        assert exchange(client, data) == data
    assert trace.bytes("splice") >= 2 * 0.9 * len(data)


@pytest.mark.parametrize(("start", "sent"), [((), 0), (("-m", "gzc", "run"), 3 * MIB)], ids=["stock", "gzc"])
def test_legacy_file_server(start: tuple[str, ...], sent: int, tmp_path: Path) -> None:
    """The same program, not a line changed."""
    data = payload(3 * MIB)
    (tmp_path / "film.bin").write_bytes(data)
    with Example(*start, "legacy_file_server.py", tmp_path, "0") as server:
        with Strace(server.pid) as trace, server.connect() as client:
            client.sendall(b"film.bin\n")
            assert everything(client) == b"%d\n" % len(data) + data
        with server.connect() as client:
            client.sendall(b"nothing.bin\n")
            assert everything(client) == b"-1\n"
    assert trace.of_files == sent


def test_subprocess_to_socket(tmp_path: Path) -> None:
    data = payload(3 * MIB)
    (tmp_path / "film.bin").write_bytes(data)
    with Example("subprocess_to_socket.py", "127.0.0.1:0", "cat", tmp_path / "film.bin") as server:
        with Strace(server.pid) as trace, server.connect() as client:
            assert everything(client) == data
        server.log.wait_for(f"{len(data)} bytes, exit status 0")
    assert trace.bytes("splice") >= 2 * 0.9 * len(data)


def test_subprocess_to_socket_whose_client_goes_away() -> None:
    with Example("subprocess_to_socket.py", "127.0.0.1:0", "yes") as server:
        with server.connect() as client:
            assert client.recv(4) == b"y\ny\n"
        server.log.wait_for("exit status -9")


def test_requests_download(tmp_path: Path) -> None:
    data = payload(3 * MIB)
    (tmp_path / "film.bin").write_bytes(data)
    with Example("pywsgi_static.py", tmp_path, "127.0.0.1:0") as site:
        command = [sys.executable, EXAMPLES / "requests_download.py", site.url + "film.bin", tmp_path / "copy.bin"]
        done = subprocess.run(
            command, env=clean_environment(), capture_output=True, text=True, timeout=PATIENCE, check=True
        )
    assert (tmp_path / "copy.bin").read_bytes() == data
    assert done.stdout == f"{len(data)} bytes\n"
    moved = re.search(r"(\d+) +\d+ +\d+  splice", done.stderr)
    assert moved, done.stderr
    assert int(moved[1]) >= len(data) - 2 * 64 * 1024  # the rest came with the headers


def test_own_reader(tmp_path: Path) -> None:
    (tmp_path / "film.bin").write_bytes(payload(MIB))
    first, second = finished([sys.executable, EXAMPLES / "own_reader.py", tmp_path / "film.bin"]).splitlines()
    assert first.startswith(f"Counted: {MIB} bytes by userspace (")
    assert "nobody vouches for" in first
    assert second == f"Described: {MIB} bytes by sendfile (a regular file to a stream socket)"


def test_gunicorn_conf_and_flask_app(tmp_path: Path) -> None:
    """gunicorn.conf.py with flask_app.py: no variable is set."""
    data = payload(3 * MIB)
    (tmp_path / "film.bin").write_bytes(data)
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "-w", "1", "-b", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "flask_app:app"],
        cwd=EXAMPLES,
        env=clean_environment({"FILES": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as server:
        assert server.stderr is not None
        log = Log(server.stderr)
        try:
            url = log.wait_for("Listening at: ").split("Listening at: ")[1].split()[0]
            assert requests.get(f"{url}/film.bin", timeout=PATIENCE).content == data
            assert re.search(r"gzc: \d\d seams in force, skipped: none", log.wait_for("gzc: "))
            server.terminate()
            assert f"gzc: moved {len(data)} bytes by sendfile" in log.wait_for("gzc: moved")
            assert server.wait(PATIENCE) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)


def gunicorn_options(words: list[str]) -> dict[str, object]:
    """What gunicorn itself makes of its command line."""
    parsed: dict[str, object] = vars(gunicorn.config.Config().parser().parse_args(words))
    return parsed


def test_systemd_unit(tmp_path: Path) -> None:
    """gzc-app.service."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(EXAMPLES / "gzc-app.service")
    assert unit.sections() == ["Unit", "Service", "Install"]
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    assert program.endswith("/bin/gunicorn")
    assert gunicorn_options(words)["args"] == ["app:app"]
    if shutil.which("systemd-analyze"):
        text = (EXAMPLES / "gzc-app.service").read_text().replace(program, sys.executable).replace("User=app\n", "")
        (tmp_path / "gzc-app.service").write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", tmp_path / "gzc-app.service"],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert "gzc-app.service" not in done.stderr, done.stderr


def test_containerfile() -> None:
    """Containerfile."""
    text = (EXAMPLES / "Containerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert {line.split()[0] for line in lines} == {"FROM", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "ENV", "CMD"}
    program, *words = json.loads(lines[-1].removeprefix("CMD "))
    assert program == "gunicorn"
    options = gunicorn_options(words)
    assert (options["args"], options["worker_tmp_dir"], options["bind"]) == (["app:app"], "/dev/shm", ["0.0.0.0:8000"])


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.parametrize("options", [(), ("--cut",)], ids=["killed", "cut off"])
def test_haproxy_failover(options: tuple[str, ...]) -> None:
    """failover.py and haproxy.cfg: one of three hosts goes, every byte of every download is compared."""
    tool("haproxy")
    privileged("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "true")
    told = finished([sys.executable, EXAMPLES / "haproxy" / "failover.py", *options])
    assert "12 of 12 are whole: 603979776 bytes compared" in told
    assert re.search(r"^[1-9]\d* were resumed by Range on another host$", told, re.MULTILINE)
    assert re.search(r"^host1: moved \d{9} bytes by sendfile$", told, re.MULTILINE)
