"""A tcp proxy: ``gzc.tunnel`` beside a recv and sendall loop, a proxy in Go, and HAProxy with splice.

Throughput and CPU per GiB with 1, 16 and 128 busy connections; CPU of a connection that is made and ended at once;
memory and descriptors of an idle one.

Turns and tables; the proxies are forward.py, go/proxy, and what is installed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from examples.rig import DemoError, cpu_of

from . import stage
from .report import Report, Table, chosen, command, conditions, finish, progress

MIB, GIB = 1 << 20, 1 << 30
BUSY = (1, 16, 128)
MANY = BUSY[-1]
IDLE = 200
HAPROXY = """
global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  {splice}
listen proxy
  bind 127.0.0.1:{port}
  server upstream 127.0.0.1:{upstream}
"""


@contextlib.contextmanager
def proxy(command: Sequence[object], port: int = 0) -> Iterator[tuple[int, int]]:
    """A proxy's process id and its port, which it prints unless it is given one."""
    with stage.on_cpu(stage.WORKER_CPU):
        process = subprocess.Popen(
            [str(part) for part in command],
            env=os.environ | {"PYTHONPATH": str(stage.HERE.parent)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
    with process:
        try:
            assert process.stdout is not None
            yield process.pid, port or int(process.stdout.readline())
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def haproxy(program: str, upstream: int, splice: bool) -> Iterator[tuple[int, int]]:
    """HAProxy in one thread, with or without splice."""
    with socket.create_server(("127.0.0.1", 0)) as free, tempfile.TemporaryDirectory() as folder:
        port = free.getsockname()[1]
        free.close()
        file = Path(folder, "haproxy.cfg")
        wish = "option splice-request\n  option splice-response" if splice else ""
        text = HAPROXY.format(port=port, upstream=upstream, splice=wish)
        file.write_text(text)
        with proxy([program, "-db", "-f", file], port) as found:
            _until_it_listens(port)
            yield found


def _until_it_listens(port: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise DemoError(f"nothing listens on {port}")


def memory(pid: int) -> tuple[int, int]:
    """Bytes a process has to itself, and its descriptors."""
    private = [line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if "Private" in line]
    return sum(int(line[1]) for line in private) * 1024, len(os.listdir(f"/proc/{pid}/fd"))


def idle(peer: stage.Actor, pid: int, port: int, number: int) -> tuple[float, float]:
    """KiB and descriptors that one idle connection costs."""
    before = memory(pid)
    peer.ask(["idle", port, number])
    time.sleep(0.5)  # the proxy connects upstream for each of them
    after = memory(pid)
    peer.ask(["idle", port, 0])
    return (after[0] - before[0]) / 1024 / number, (after[1] - before[1]) / number


def contenders(stack: contextlib.ExitStack, upstream: int, report: Report) -> dict[str, tuple[int, int]]:
    """Process id and port, by name."""
    found = {}
    for name in ("stock", "gzc"):
        found[name] = stack.enter_context(proxy([stage.PYTHON, stage.HERE / "forward.py", name, upstream]))
    program, said = stage.go_program("proxy")
    report.conditions["Go"] = said
    if program:
        found["Go"] = stack.enter_context(proxy([program, upstream]))
    else:
        report.notes.append(f"Go is left out: {said}.")
    installed = shutil.which("haproxy")
    if installed:
        first = subprocess.run([installed, "-v"], capture_output=True, text=True, check=True, timeout=10).stdout
        report.conditions["HAProxy"] = first.splitlines()[0]
        found["HAProxy splice"] = stack.enter_context(haproxy(installed, upstream, True))
        found["HAProxy"] = stack.enter_context(haproxy(installed, upstream, False))
    else:
        report.notes.append("HAProxy is left out: no haproxy on PATH.")
    return found


def main(arguments: Sequence[str]) -> int:
    """Measure the rows asked for; 1 where one of them did not work."""
    options = command("proxy", __doc__, arguments)
    rounds, total = options.rounds or (1 if options.quick else 5), (16 if options.quick else 512) * MIB
    report = Report("proxy")
    every = {f"{number} busy": number for number in BUSY}
    lines, names = [], []
    with contextlib.ExitStack() as stack:
        upstream, peer = stack.enter_context(stage.peer()), stack.enter_context(stage.peer())
        crew = contenders(stack, upstream.ask(["upstream"]), report)
        names = list(crew)
        for row in chosen([*every, "short", "idle"], options.only):
            progress(row)
            try:
                if row == "short":
                    made = short(rounds, crew, peer)
                    report.figures.append({"name": row, "cpu_us": made})
                    cells = [[name, f"{cost:.0f}"] for name, cost in made.items()]
                    title = f"A connection for one byte, {MANY} at once"
                    report.tables.append(Table(title, ["", "CPU µs"], cells))
                    continue
                if row == "idle":
                    costs = {name: idle(peer, *one, IDLE) for name, one in crew.items()}
                    report.figures.append({"name": row, "kib_and_descriptors": costs})
                    cells = [[name, *(f"{part:.1f}" for part in cost)] for name, cost in costs.items()]
                    title = f"An idle connection, one of {IDLE}"
                    report.tables.append(Table(title, ["", "KiB", "descriptors"], cells))
                    continue
                lines.append([row, *busy(row, every[row], total, rounds, crew, peer, report)])
            except (DemoError, OSError) as exc:
                report.failed[row] = str(exc)
    heads = [f"{name} {unit}" for unit in ("MiB/s", "CPU ms/GiB") for name in names]
    report.tables.insert(0, Table(f"{total // MIB} MiB through a proxy", ["", *heads], lines))
    report.notes.append(f"Medians of {rounds} rounds; proxy on CPU {stage.WORKER_CPU}, peers on {stage.PEER_CPU}.")
    report.conditions = conditions("proxy", arguments) | report.conditions
    return finish(report, options)


def short(rounds: int, crew: dict[str, tuple[int, int]], peer: stage.Actor) -> dict[str, float]:
    """CPU microseconds of a connection that is made, asked for one byte and ended."""
    cpus: dict[str, list[float]] = {name: [] for name in crew}
    for turn in range(-1, rounds):
        for name, (pid, port) in crew.items():
            before = cpu_of(pid)
            peer.ask(["fetch", port, MANY, 1])
            if turn >= 0:
                cpus[name].append((cpu_of(pid) - before) * 1e6 / MANY)
    return {name: median(taken) for name, taken in cpus.items()}


def busy(
    row: str, number: int, total: int, rounds: int, crew: dict[str, tuple[int, int]], peer: stage.Actor, report: Report
) -> list[str]:
    """All proxies in turn with so many connections at once."""
    count = total // number
    walls: dict[str, list[float]] = {name: [] for name in crew}
    cpus: dict[str, list[float]] = {name: [] for name in crew}
    for turn in range(-1, rounds):
        for name in crew if turn % 2 else reversed(crew):
            pid, port = crew[name]
            before = cpu_of(pid)
            wall = peer.ask(["fetch", port, number, count])
            if turn >= 0:
                walls[name].append(wall)
                cpus[name].append(cpu_of(pid) - before)
    speed = {name: total / MIB / median(taken) for name, taken in walls.items()}
    cpu = {name: median(taken) * 1000 * GIB / total for name, taken in cpus.items()}
    report.figures.append({"name": row, "mib_per_s": speed, "cpu_ms_per_gib": cpu, "wall_s": walls, "cpu_s": cpus})
    return [f"{value:.0f}" for value in (*speed.values(), *cpu.values())]
