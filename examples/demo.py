"""One unmodified Flask app under `gunicorn -k gevent`, stock beside gzc: every byte checked, then measured.

Two real servers run the same flask_app.py, one of them with GZC=1 in its environment, and take turns.
Each has one worker, pinned to one CPU; this client has another. Needs Linux, for it looks into /proc.
"""

import argparse
import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from statistics import median

from rig import CallCount, Client, DemoError, Server

MIB, GIB = 1 << 20, 1 << 30
UNITS = {"K": 1 << 10, "M": MIB, "G": GIB}
VOLUME = 256 * MIB  # downloaded per size, server and round: a quarter of a second of stock's CPU
BURST = 0.4  # seconds of requests per small size, server and round
SPANS = 5  # Range requests per server and round
SLACK = 64 * MIB  # disk space left to others


@dataclass(frozen=True)
class File:
    """A file to download, and what its bytes must hash to."""

    path: Path
    label: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class Figure:
    """One thing measured on both: medians of the rounds, and the median of the rounds' own ratios."""

    stock: float
    gzc: float
    ratio: float


@dataclass(frozen=True)
class Result:
    """All that was measured; by label of the file where it says dict."""

    speed: dict[str, Figure]  # MiB/s
    cpu: dict[str, Figure]  # seconds of the worker per GiB
    calls: dict[str, Figure]  # system calls per MiB
    requests: dict[str, Figure]  # per second
    span: Figure  # ms for one Range request near the end of the biggest file
    seen: dict[str, list[str]]  # the calls of the biggest download, by server and name
    counted_by: str
    conditions: str


def size_of(label: str) -> int:
    """`16K` -> 16384."""
    found = re.fullmatch(r"([1-9]\d*)([KMG])", label)
    if not found:
        raise DemoError(f"not a size: {label!r}. Sizes are numbers with K, M or G, as in 16K,100M.")
    return int(found[1]) * UNITS[found[2]]


def check_needs(total: int) -> None:
    """Say at once what is missing."""
    if sys.platform != "linux":
        raise DemoError("The demo looks at its servers through /proc and needs Linux.")
    for name in ("gzc", "gevent", "gunicorn", "flask"):
        try:
            version(name)
        except PackageNotFoundError:
            raise DemoError(f"{name} is not installed for {sys.executable}; `make demo` brings all it needs.") from None
    if not entry_points(group="gevent.plugins.monkey.did_patch_builtins", name="gzc"):
        raise DemoError("gzc is installed without its gevent entry point; install it anew: make clean demo")
    place = tempfile.gettempdir()
    if (free := shutil.disk_usage(place).free) < total + SLACK:
        raise DemoError(f"{place} has {free // MIB} MiB free, the files need {(total + SLACK) // MIB}; set TMPDIR.")


def make_file(folder: Path, label: str) -> File:
    """A file of random bytes: nothing on the way can compress it or take one part for another."""
    size, digest, path = size_of(label), hashlib.sha256(), folder / f"{label}.bin"
    with path.open("wb") as out:
        for start in range(0, size, MIB):
            block = os.urandom(min(MIB, size - start))
            out.write(block)
            digest.update(block)
        os.fsync(out.fileno())  # now, and not by the kernel in the middle of a measurement
    return File(path, label, size, digest.hexdigest())


def near_end(file: File) -> range:
    """Half of the last MiB, or of a smaller file, that does not reach the end."""
    piece = min(file.size, MIB) // 4
    return range(file.size - 3 * piece, file.size - piece)


def range_of(span: range) -> str:
    """The header that asks for these bytes."""
    return f"Range: bytes={span[0]}-{span[-1]}\r\n"


def check_bytes(server: Server, file: File, span: range) -> None:
    """Download the file, then a part of it by a Range request, and compare every byte."""
    digest, part = hashlib.sha256(), bytearray()
    with Client(server.port) as client, file.path.open("rb") as source:
        got = client.get(file.name, sink=digest.update)
        client.get(file.name, range_of(span), part.extend, status=206)
        source.seek(span[0])
        right = got == file.size and digest.hexdigest() == file.sha256 and part == source.read(len(span))
    if not right:
        raise DemoError(f"WRONG BYTES from the {server.name} server for {file.label} or its {range_of(span).strip()}")


def bulk(file: File, server: Server) -> tuple[float, float]:
    """MiB/s, and CPU seconds of the worker per GiB."""
    times = max(1, VOLUME // file.size)
    with Client(server.port) as client:
        cpu, start = server.cpu(), time.perf_counter()
        for _ in range(times):
            client.get(file.name)
        seconds, cpu = time.perf_counter() - start, server.cpu() - cpu
    return times * file.size / MIB / seconds, cpu * GIB / (times * file.size)


def burst(file: File, server: Server) -> tuple[float]:
    """Requests per second on one keep-alive connection."""
    with Client(server.port) as client:
        done, start = 0, time.perf_counter()
        while (seconds := time.perf_counter() - start) < BURST:
            client.get(file.name)
            done += 1
    return (done / seconds,)


def ranged(file: File, server: Server) -> tuple[float]:
    """Milliseconds for one Range request near the end of the file."""
    span = range_of(near_end(file))
    with Client(server.port) as client:
        start = time.perf_counter()
        for _ in range(SPANS):
            client.get(file.name, span, status=206)
        return ((time.perf_counter() - start) * 1000 / SPANS,)


def take_turns(servers: Sequence[Server], rounds: int, measure: Callable[[Server], tuple[float, ...]]) -> list[Figure]:
    """Measure in alternating rounds, stock and gzc first by turns; one figure for each number measured."""
    taken: dict[str, list[tuple[float, ...]]] = {server.name: [] for server in servers}
    for number in range(rounds):
        for server in servers if number % 2 else reversed(servers):
            taken[server.name].append(measure(server))
    stock, gzc = (list(zip(*taken[server.name], strict=True)) for server in servers)
    return [
        Figure(median(s), median(g), median(b / a for a, b in zip(s, g, strict=True)))
        for s, g in zip(stock, gzc, strict=True)
    ]


def run(labels: Sequence[str], rounds: int, work: Path) -> Result:
    """Make the files, start both servers, check every byte, count, measure."""
    folder = work / "files"
    folder.mkdir()
    say(f"Making files of random bytes: {', '.join(labels)}")
    files = sorted((make_file(folder, label) for label in labels), key=lambda file: file.size)
    small, large, biggest = [f for f in files if f.size < MIB], [f for f in files if f.size >= MIB], files[-1]

    with contextlib.ExitStack() as stack:
        say("Starting gunicorn -k gevent twice: stock, and with GZC=1")
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cpus[:1])  # the servers inherit this
        servers = []
        for name, switch in (("stock", {}), ("gzc", {"GZC": "1"})):
            servers.append(Server(name, switch, folder, work))
            stack.callback(servers[-1].stop)
        os.sched_setaffinity(0, cpus[1:2] or cpus)
        for server in servers:
            server.start(files[0].name)

        say("Downloading every file from both and comparing every byte")
        for server in servers:
            for file in files:
                check_bytes(server, file, near_end(file))

        count = CallCount(servers[0], files[0].name, work)
        say(f"Counting system calls by {count.method}")
        calls = {}
        for file in large:
            seen = {server.name: count.during(server, file.name) for server in servers}
            stock, gzc = (seen[server.name].total() * MIB / file.size for server in servers)
            calls[file.label] = Figure(stock, gzc, gzc / stock)
        if calls[biggest.label].ratio > 0.5:
            made = f"{gzc:.1f} system calls per MiB, stock {stock:.1f}"
            raise DemoError(f"gzc did not take effect: {made}.\n{servers[1].last_words()}")

        say(f"Measuring, {rounds} rounds, stock and gzc taking turns")
        turns = functools.partial(take_turns, servers, rounds)
        heavy = {file.label: turns(functools.partial(bulk, file)) for file in large}
        light = {file.label: turns(functools.partial(burst, file))[0] for file in small}
        ms = turns(functools.partial(ranged, biggest))[0]
    speed, cpu = ({label: figures[n] for label, figures in heavy.items()} for n in (0, 1))
    common = {who: [f"{name} {times}" for name, times in c.most_common(3)] for who, c in seen.items()}
    return Result(speed, cpu, calls, light, ms, common, count.method, conditions(cpus))


def conditions(cpus: Sequence[int]) -> str:
    """What made the figures."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("gevent", "gunicorn", "Flask"))
    apart = "the client on another" if cpus[1:] else "THE CLIENT ON THE SAME"
    return (
        f"Python {platform.python_version()}, {packages}, Linux {platform.release()}; "
        f"one worker on one CPU, {apart}, loopback, warm files."
    )


def table(result: Result) -> str:
    """The figures for people, and what they mean."""
    row = "  {:<14}|{:>8} {:>7} {:>7} |{:>8} {:>7} {:>7} |{:>8} {:>7} {:>7}".format
    three = ("stock", "gzc", "ratio")

    def cells(figure: Figure, digits: int) -> list[str]:
        return [f"{figure.stock:.{digits}f}", f"{figure.gzc:.{digits}f}", f"{figure.ratio:.2f}x"]

    lines = ["", "  {:<14}|{:^25}|{:^25}|{:^25}".format("", "MiB/s", "server CPU s/GiB", "system calls/MiB")]
    lines += [row("one download", *three, *three, *three).rstrip()]
    for label, speed in result.speed.items():
        lines += [row(f"{label}iB", *cells(speed, 0), *cells(result.cpu[label], 3), *cells(result.calls[label], 1))]
    short = "  {:<14}|{:>8} {:>7} {:>7} |  {}".format
    lines += [""]
    for label, requests in result.requests.items():
        lines += [short(f"{label}iB", *cells(requests, 0), "requests/s, one keep-alive connection")]
    lines += [short("Range", *cells(result.span, 2), "ms, 512 KiB near the end of the biggest file"), ""]
    label, cpu = list(result.cpu.items())[-1]
    seen = "; ".join(f"{who} {', '.join(calls)}" for who, calls in result.seen.items())
    lines += [
        "Every file, and a Range of each, came from both servers with the right bytes.",
        f"For the same {label}iB of the same app gzc's worker spent {cpu.ratio:.2f} of stock's CPU time:",
        "the kernel sends the file, and its bytes do not pass through Python.",
        f"Calls for {label}iB: {seen}; counted by {result.counted_by}.",
        "Medians of alternating rounds, without strace; a ratio is the median of the rounds' own ratios.",
        result.conditions,
    ]
    return "\n".join(lines)


def say(text: str) -> None:
    """Progress goes to stderr; stdout has the figures alone."""
    print(f"{text} ...", file=sys.stderr, flush=True)


def main() -> int:
    """Parse the options, run, clean up whatever happens."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", help="of the files, as in 16K,100M; those below 1M measure requests/s")
    parser.add_argument("--rounds", type=int, help="of each measurement (default 7)")
    parser.add_argument("--quick", action="store_true", help="three rounds, files up to 16M")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    labels = (options.sizes or ("1K,16K,1M,16M" if options.quick else "1K,16K,1M,16M,100M,256M")).split(",")
    rounds = options.rounds or (3 if options.quick else 7)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidy up then too
    try:
        sizes = [size_of(label) for label in labels]
        if max(sizes) < MIB or rounds < 1:
            raise DemoError("At least one size must be 1M or more, and one round: else there is nothing to see.")
        check_needs(sum(sizes))
        with tempfile.TemporaryDirectory(prefix="gzc-demo-") as work:
            result = run(labels, rounds, Path(work))
        print(table(result))
        if options.json:
            options.json.write_text(json.dumps(asdict(result), indent=1) + "\n")
    except (DemoError, OSError) as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; servers stopped, files removed", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
