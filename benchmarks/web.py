"""HTTP: the same file by Flask and Django under gunicorn and pywsgi, stock beside gzc, and by nginx.

Requests a second and CPU per GiB from 1 KiB to 100 MiB; the 99th percentile of small requests while big downloads run;
uploads.

Servers, turns, tables. The applications are in apps.py and know nothing of gzc.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from examples.rig import Client, DemoError, cpu_of

from . import peers, seams, stage
from .report import Report, Table, chosen, command, conditions, finish, progress, size

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SIZES = (KIB, 16 * KIB, MIB, 100 * MIB)
#: By row: the application and gunicorn's worker class, or None for gevent's own server.
SERVERS: dict[str, tuple[str, str | None]] = {
    "Flask, gunicorn gevent": ("flask", "gevent"),
    "Flask, gunicorn gevent_pywsgi": ("flask", "gevent_pywsgi"),
    "Flask, pywsgi": ("flask", None),
    "Django, gunicorn gevent": ("djangoapp", "gevent"),
    "Django, gunicorn gevent_pywsgi": ("djangoapp", "gevent_pywsgi"),
    "Django, pywsgi": ("djangoapp", None),
}
SWITCHES = {"stock": {}, "gzc": {"GZC": "1"}}
NGINX = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; root {files}; }}
}}
"""
#: Big downloads beside which small requests are timed.
BIG = 8


@dataclass(frozen=True)
class Running:
    """A server: the process that does its work, and its port."""

    pid: int
    port: int


@contextlib.contextmanager
def python_server(
    app: str, worker_class: str | None, switch: dict[str, str], folder: Path, work: Path
) -> Iterator[Running]:
    """gunicorn with one worker, or gevent's own server."""
    if worker_class is None:
        with seams.program(["serve", app], switch, folder) as (child, tell):
            yield Running(child.pid, int(tell()))
        return
    work.mkdir()
    kind = type("Gunicorn", (seams.Gunicorn,), {"APP": f"apps:{app}", "WORKER_CLASS": worker_class})
    server = kind("server", switch, folder, work)
    try:
        server.start("tiny.bin")
        yield Running(server.worker, server.port)
    finally:
        server.stop()


@contextlib.contextmanager
def nginx(program: str, folder: Path, work: Path) -> Iterator[Running]:
    """nginx in one process, with sendfile."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    work.mkdir()
    # Its worker gives up root, and has to read the files all the same.
    text = "user root;\n" + NGINX if os.geteuid() == 0 else NGINX
    (work / "nginx.conf").write_text(text.format(folder=work, port=port, files=folder))
    with subprocess.Popen(
        [program, "-c", work / "nginx.conf", "-p", work, "-e", work / "error.log"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.05)
            else:
                raise DemoError(f"nginx does not answer: {(work / 'error.log').read_text()}")
            yield Running(process.pid, port)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


# -- what is asked of them ---------------------------------------------------------------------------------


def downloads(server: Running, name: str, count: int, seconds: float) -> tuple[float, float]:
    """Seconds and CPU seconds of a download, of as many as there is time for, over one connection.

    Or over as many as the server wants. A turn has a time and not a number: pywsgi writes head and body apart, and
    where the client's kernel then waits 40 ms with its ACK, stock answers 23 requests a second.
    """
    done, cpu, begun = 0, cpu_of(server.pid), time.perf_counter()
    client = Client(server.port)
    try:
        while not done or time.perf_counter() - begun < seconds:
            try:
                got = client.get(name)
            except (DemoError, ConnectionError):  # it does not keep connections alive
                client.sock.close()
                client = Client(server.port)
                got = client.get(name)
            if got != count:
                raise DemoError(f"{got} bytes came, and not {count}")
            done += 1
    finally:
        client.sock.close()
    return (time.perf_counter() - begun) / done, (cpu_of(server.pid) - cpu) / done


def upload(server: Running, file: Path) -> tuple[float, float]:
    """Seconds and CPU seconds of one raw upload."""
    cpu, wall = cpu_of(server.pid), time.perf_counter()
    peers.put(server.port, file)
    return time.perf_counter() - wall, cpu_of(server.pid) - cpu


def small_beside_big(server: Running, big: str, seconds: float) -> tuple[float, float]:
    """Median and 99th percentile, in seconds, of small requests while ``BIG`` downloads run."""
    over = threading.Event()

    def download() -> None:
        with contextlib.suppress(OSError, DemoError):
            while not over.is_set():
                with Client(server.port) as client:
                    client.get(big, sink=lambda _: over.is_set() and client.sock.shutdown(socket.SHUT_RDWR))

    threads = [threading.Thread(target=download, daemon=True) for _ in range(BIG)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    took, until = [], time.perf_counter() + seconds
    while not took or time.perf_counter() < until:
        begun = time.perf_counter()
        with Client(server.port) as client:
            client.get(f"f{KIB}.bin")
        took.append(time.perf_counter() - begun)
    over.set()
    for thread in threads:
        thread.join(10)
    took.sort()
    return median(took), took[int(0.99 * len(took))]


class Session:
    """The servers of one row, and what their turns gave."""

    def __init__(self, servers: dict[str, Running], rounds: int) -> None:
        self._servers, self._rounds = servers, rounds

    def turns(self, ask: Callable[[Running], tuple[float, float]]) -> dict[str, tuple[float, float]]:
        """The medians of both numbers, by server; who begins changes."""
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in self._servers}
        for turn in range(-1, self._rounds):
            for name in self._servers if turn % 2 else reversed(self._servers):
                pair = ask(self._servers[name])
                if turn >= 0:  # the first one warms
                    found[name].append(pair)
        return {name: (median(a for a, _ in taken), median(b for _, b in taken)) for name, taken in found.items()}


def main(arguments: Sequence[str]) -> int:
    """Measure the rows asked for; 1 where one of them did not work."""
    options = command("http", __doc__, arguments)
    rounds = options.rounds or (1 if options.quick else 3)
    sizes = SIZES[:3] if options.quick else SIZES
    seconds = 0.1 if options.quick else 0.6
    report = Report("http")
    lines: dict[str, list[Sequence[str]]] = {"downloads": [], "latency": [], "uploads": []}
    installed = shutil.which("nginx")
    if installed is None:
        report.notes.append("nginx is left out: no nginx on PATH.")
    else:
        said = subprocess.run([installed, "-v"], capture_output=True, text=True, check=True, timeout=10).stderr
        report.conditions["nginx"] = said.strip()
    with stage.folders() as places, contextlib.ExitStack() as stack:
        folder = places["disk"] / "files"
        folder.mkdir()
        folder.chmod(0o755)
        places["disk"].chmod(0o755)
        (folder / "tiny.bin").write_bytes(b"x")
        for count in sizes:
            stage.file_of(folder, count).rename(folder / f"f{count}.bin")
        signal.signal(signal.SIGALRM, _hung)
        signal.alarm(900)
        with stage.on_cpu(stage.WORKER_CPU):
            other = (
                {"nginx": stack.enter_context(nginx(installed, folder, places["disk"] / "nginx"))} if installed else {}
            )
        stack.enter_context(stage.on_cpu(stage.PEER_CPU))
        for row in chosen(SERVERS, options.only):
            progress(row)
            try:
                one_row(row, sizes, seconds, rounds, other, folder, places["disk"], lines, report)
            except (DemoError, OSError) as exc:
                report.failed[row] = str(exc)
        signal.alarm(0)
    names = ["stock", "gzc", *other]
    heads = ["", *(f"{name} {unit}" for unit in ("req/s", "CPU ms/GiB") for name in names)]
    report.tables.append(Table("Downloads over one connection", heads, lines["downloads"]))
    heads = ["", *(f"{name} {unit} ms" for unit in ("p50", "p99") for name in names)]
    report.tables.append(Table(f"Small requests beside {BIG} big downloads", heads, lines["latency"]))
    heads = ["", *(f"{name} {unit}" for unit in ("MiB/s", "CPU ms/GiB") for name in ("stock", "gzc"))]
    report.tables.append(Table("Raw uploads to a file", heads, lines["uploads"]))
    if other:
        report.tables.append(beside_nginx(report.figures, sizes))
    where = f"server on CPU {stage.WORKER_CPU}, clients on {stage.PEER_CPU}"
    report.notes.append(f"Medians of {rounds} rounds, turns of {seconds} s; {where}.")
    report.conditions = conditions("http", arguments) | report.conditions
    return finish(report, options)


def beside_nginx(figures: Sequence[dict[str, Any]], sizes: Sequence[int]) -> Table:
    """gzc's requests a second over nginx's, and the most there could be under that framework.

    That is a server which takes as long as stock does for the least file, and as long as nginx does for all further
    bytes.
    """
    lines: list[Sequence[str]] = []
    every = [figure for figure in figures if "requests_per_s" in figure]
    for name in dict.fromkeys(figure["name"] for figure in every):
        rates = {figure["size"]: figure["requests_per_s"] for figure in every if figure["name"] == name}
        least = rates[sizes[0]]
        for count in sizes[1:]:
            most = 1 / (1 / least["stock"] + 1 / rates[count]["nginx"] - 1 / least["nginx"])
            mine = [rate / rates[count]["nginx"] for rate in (rates[count]["gzc"], most)]
            lines.append([f"{name}, {size(count)}", *(f"{value:.2f}" for value in mine)])
    return Table("Requests a second over nginx's", ["", "gzc", "the most under that framework"], lines)


def one_row(
    row: str,
    sizes: Sequence[int],
    seconds: float,
    rounds: int,
    other: dict[str, Running],
    folder: Path,
    work: Path,
    lines: dict[str, list[Sequence[str]]],
    report: Report,
) -> None:
    """Everything about one application under one server."""
    app, worker_class = SERVERS[row]
    with contextlib.ExitStack() as stack:
        servers = {}
        with stage.on_cpu(stage.WORKER_CPU):
            for name, switch in SWITCHES.items():
                place = work / f"{row} {name}".replace(" ", "-").replace(",", "")
                servers[name] = stack.enter_context(python_server(app, worker_class, switch, folder, place))
        both = Session(servers, rounds)
        every = Session(servers | other, rounds)
        for count in sizes:
            found = every.turns(lambda one, count=count: downloads(one, f"f{count}.bin", count, seconds))
            rates = {name: 1 / wall for name, (wall, _) in found.items()}
            cpus = {name: cpu * 1000 * GIB / count for name, (_, cpu) in found.items()}
            report.figures.append({"name": row, "size": count, "requests_per_s": rates, "cpu_ms_per_gib": cpus})
            cells = [f"{value:.0f}" for value in (*rates.values(), *cpus.values())]
            cells[: len(rates)] = [f"{rate:.1f}" for rate in rates.values()]
            lines["downloads"].append([f"{row}, {size(count)}", *cells])
        found = Session(servers | other, min(rounds, 2)).turns(
            lambda one: small_beside_big(one, f"f{sizes[-1]}.bin", 2 * seconds)
        )
        report.figures.append({"name": row, "small_beside_big_s": found})
        halves = [[f"{pair[part] * 1000:.1f}" for pair in found.values()] for part in (0, 1)]
        lines["latency"].append([row, *halves[0], *halves[1]])
        if app == "flask":
            found = both.turns(lambda one: upload(one, folder / f"f{sizes[-1]}.bin"))
            speeds = [f"{sizes[-1] / MIB / wall:.0f}" for wall, _ in found.values()]
            used = [f"{cpu * 1000 * GIB / sizes[-1]:.0f}" for _, cpu in found.values()]
            report.figures.append({"name": row, "upload_s": found})
            lines["uploads"].append([row, *speeds, *used])


def _hung(_signal: int, _frame: object) -> None:
    raise DemoError("the servers take too long")
