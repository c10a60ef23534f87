"""What each seam costs and saves: system calls per MiB and CPU seconds per GiB, stock gevent beside gzc.

The process that does the work is a real server or client, once without and once with GZC=1, which take turns.
Its system calls are counted by strace in passes of their own, its CPU time by its own clock without strace.

Rows, turns, tables. What is moved and by whom is in the other modules.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from examples.rig import Client, DemoError, Server, cpu_of, strace

from . import peers, stage
from .report import Report, Table, chosen, command, conditions, finish, progress

HERE = Path(__file__).resolve().parent
MIB, GIB = 1 << 20, 1 << 30
SIZE = 64 * MIB  # of the file: 8192 reads and as many sends of stock, a second under strace
SPAN = MIB  # of a Range, near the end of it
SWITCHES = {"stock": {}, "gzc": {"GZC": "1"}}
#: Seconds for one thing a process is told. More is a hang, and ends the benchmark.
PATIENCE = 120


@dataclass
class Process:
    """A process to be measured, and how it is made to do its work once."""

    pid: int
    work: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


Start = Callable[[dict[str, str], Path, Path], contextlib.AbstractContextManager[Process]]


@dataclass(frozen=True)
class Case:
    """A row: its name, who does the work, and the bytes of one go."""

    name: str
    start: Start
    size: int = SIZE


@dataclass(frozen=True)
class Figure:
    """Medians of the turns, and the median of the turns' own ratios."""

    stock: float
    gzc: float
    ratio: float


@dataclass(frozen=True)
class Result:
    """What one case gave."""

    name: str
    calls_per_mib: Figure
    cpu_s_per_gib: Figure
    most: dict[str, list[str]]  # the commonest calls of one go, by configuration


# -- who does the work -------------------------------------------------------------------------------------


class Gunicorn(Server):
    """gunicorn with the applications of apps.py."""

    HOME = HERE


Ask = Callable[[int, Path], None]


def gunicorn(app: str, ask: Ask, worker_class: str = "gevent") -> Start:
    """A gunicorn worker that is asked over HTTP."""
    kind = type("Gunicorn", (Gunicorn,), {"APP": f"apps:{app}", "WORKER_CLASS": worker_class})

    @contextlib.contextmanager
    def start(switch: dict[str, str], folder: Path, work: Path) -> Iterator[Process]:
        server = kind("server", switch, folder, work)
        try:
            server.start("tiny.bin")
            yield Process(server.worker, lambda: ask(server.port, folder))
        finally:
            server.stop()

    return start


def serving(name: str, ask: Ask) -> Start:
    """A server of work.py that is asked over HTTP."""

    @contextlib.contextmanager
    def start(switch: dict[str, str], folder: Path, work: Path) -> Iterator[Process]:
        with program(["serve", name], switch, folder) as (child, tell):
            port = int(tell())
            with Client(port) as client:
                client.get("tiny.bin")
            yield Process(child.pid, lambda: ask(port, folder))

    return start


def doing(job: str, peer: Callable[[Path], contextlib.AbstractContextManager[int]] | None = None) -> Start:
    """A job of work.py, with the peer it needs."""

    @contextlib.contextmanager
    def start(switch: dict[str, str], folder: Path, work: Path) -> Iterator[Process]:
        with (
            peer(folder) if peer else contextlib.nullcontext(0) as port,
            program(["do", job, str(port)], switch, folder) as (child, tell),
        ):
            tell()

            def work_once() -> None:
                tell("go", "done")
                _check_copy(folder)

            yield Process(child.pid, work_once, lambda: tell("prepare", "prepared"))

    return start


@contextlib.contextmanager
def program(
    arguments: Sequence[str], switch: dict[str, str], folder: Path
) -> Iterator[tuple[subprocess.Popen[str], Callable[..., str]]]:
    """work.py in a process of its own, and a way to tell it a line and have its answer."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GZC", "PYTHONPATH"))}
    child = subprocess.Popen(
        [sys.executable, HERE / "work.py", *arguments],
        env=kept | switch | {"FILES": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if arguments[0] == "serve" else None,  # http.server logs each request there
        text=True,
        start_new_session=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    stdin, stdout = child.stdin, child.stdout

    def tell(line: str = "", answer: str = "") -> str:
        if line:
            stdin.write(f"{line}\n")
            stdin.flush()
        signal.alarm(PATIENCE)
        said = stdout.readline().strip()
        signal.alarm(0)
        if not said or (answer and said != answer):
            raise DemoError(f"work.py {' '.join(arguments)} said {said!r} after {line!r}")
        return said

    try:
        yield child, tell
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        stdin.close()
        stdout.close()


def _check_copy(folder: Path) -> None:
    """What a job wrote, if it wrote something, is all there: a tar archive is a little longer."""
    target = folder / "target.bin"
    if target.exists() and not SIZE <= target.stat().st_size <= SIZE + MIB:
        raise DemoError(f"{target.stat().st_size} bytes were written, and not {SIZE}")
    target.unlink(missing_ok=True)


# -- the rows ----------------------------------------------------------------------------------------------


def whole(port: int, _folder: Path) -> None:
    """The whole file."""
    peers.get(port, "source.bin", SIZE)


def part(port: int, _folder: Path) -> None:
    """A part of it, near its end."""
    peers.get_range(port, "source.bin", SIZE - 2 * SPAN, SPAN)


def raw(port: int, folder: Path) -> None:
    """An upload whose body is the file."""
    peers.put(port, folder / "source.bin")


def form(port: int, folder: Path) -> None:
    """An upload as multipart/form-data."""
    peers.post_form(port, folder / "source.bin")


def http_peer(_folder: Path) -> contextlib.AbstractContextManager[int]:
    """An HTTP server that takes and gives a file's size."""
    return peers.http_peer(SIZE)


CASES = (
    Case("gunicorn + Flask, download", gunicorn("flask", whole)),
    Case("gunicorn + Flask, Range near the end", gunicorn("flask", part), SPAN),
    Case("gunicorn + Django, download", gunicorn("djangoapp", whole)),
    Case("gunicorn gevent_pywsgi + Flask, download", gunicorn("flask", whole, "gevent_pywsgi")),
    Case("pywsgi + Flask, download", serving("flask", whole)),
    Case("pywsgi + Django, download", serving("djangoapp", whole)),
    Case("http.server, download", serving("http.server", whole)),
    Case("gunicorn + Flask, raw upload", gunicorn("flask", raw)),
    Case("pywsgi + Flask, raw upload", serving("flask", raw)),
    Case("gunicorn + Flask, FileStorage.save", gunicorn("flask", form)),
    Case("requests.put(data=file)", doing("requests_put", http_peer)),
    Case("http.client PUT, chunked", doing("client_put", http_peer)),
    Case("http.client PUT, Content-Length", doing("client_put_sized", http_peer)),
    Case("requests: copyfileobj(r.raw, file)", doing("requests_get", http_peer)),
    Case("ftplib storbinary", doing("ftp_store", peers.ftp_peer)),
    Case("ftplib retrbinary", doing("ftp_retrieve", peers.ftp_peer)),
    Case("shutil.copyfile", doing("copyfile")),
    Case("tarfile.add", doing("tar_add")),
    Case("subprocess stdout to a file", doing("from_pipe")),
)


# -- measuring ---------------------------------------------------------------------------------------------


def cpu(process: Process) -> float:
    """CPU seconds of one go."""
    process.prepare()
    before = cpu_of(process.pid)
    process.work()
    return cpu_of(process.pid) - before


def measure(case: Case, folder: Path, work: Path, rounds: int) -> Result:
    """Both configurations of one case, taking turns."""
    with contextlib.ExitStack() as stack:
        processes = {}
        for name, switch in SWITCHES.items():
            place = work / name
            place.mkdir()
            processes[name] = stack.enter_context(case.start(switch, folder, place))
            cpu(processes[name])  # warm, and it works
        times: dict[str, list[float]] = {name: [] for name in processes}
        calls: dict[str, list[Counter[str]]] = {name: [] for name in processes}
        for number in range(rounds):
            for name in sorted(processes, reverse=bool(number % 2)):
                times[name].append(cpu(processes[name]))
        for _ in range(min(rounds, 3)):
            for name, process in processes.items():
                process.prepare()
                calls[name].append(strace(process.pid, work / "strace.txt", process.work))
    counts = {name: [float(one.total()) for one in found] for name, found in calls.items()}
    most = {name: [f"{call} {times}" for call, times in found[-1].most_common(4)] for name, found in calls.items()}
    return Result(case.name, figure(counts, MIB / case.size), figure(times, GIB / case.size), most)


def figure(taken: dict[str, list[float]], scale: float) -> Figure:
    """The medians of what was taken in turns."""
    stock, gzc = taken["stock"], taken["gzc"]
    ratio = median(b / a for a, b in zip(stock, gzc, strict=True))
    return Figure(median(stock) * scale, median(gzc) * scale, ratio)


def table(results: Sequence[Result]) -> Table:
    """What people read."""
    lines = []
    for result in results:
        one, two = result.calls_per_mib, result.cpu_s_per_gib
        calls = [f"{one.stock:.1f}", f"{one.gzc:.1f}", f"{one.ratio:.3f}"]
        lines.append([result.name, *calls, f"{two.stock:.3f}", f"{two.gzc:.3f}", f"{two.ratio:.2f}"])
    heads = ["", "calls/MiB, stock", "gzc", "ratio", "CPU s/GiB, stock", "gzc", "ratio"]
    return Table("Every place where bulk bytes flow", heads, lines)


def main(arguments: Sequence[str]) -> int:
    """Measure the cases asked for; 1 where one of them did not work."""
    options = command("seams", __doc__, arguments)
    rounds = options.rounds or (1 if options.quick else 5)
    report, results = Report("seams"), []
    every = {case.name: case for case in CASES}
    signal.signal(signal.SIGALRM, _hung)
    with tempfile.TemporaryDirectory(prefix="gzc-seams-") as place:
        folder = Path(place, "files")
        folder.mkdir()
        (folder / "tiny.bin").write_bytes(b"x")
        stage.file_of(folder, SIZE).rename(folder / "source.bin")
        for number, name in enumerate(chosen(every, options.only)):
            progress(name)
            work = Path(place, str(number))
            work.mkdir()
            try:
                results.append(measure(every[name], folder, work, rounds))
            except (DemoError, OSError) as exc:
                report.failed[name] = str(exc)
    report.figures += [asdict(result) for result in results]
    report.tables.append(table(results))
    report.notes.append(
        f"Medians of {rounds} rounds; a ratio is the median of the rounds' own, so that it need not be that of the two"
        " medians. Calls by strace, CPU of the process that does the work by its own clock without strace."
    )
    report.conditions = conditions("seams", arguments)
    return finish(report, options)


def _hung(_signal: int, _frame: object) -> None:
    raise DemoError(f"no answer for {PATIENCE} s")
