"""All that takes long, one part after the other: ``make nightly``.

    python -m tests.nightly [--make PROGRAM] [--resume] [PART ...]

A part is a target of the Makefile, which leaves its figures in build/reliability and what it says in build/nightly.
One that fails does not keep the others from their turn, and none takes longer than it may; at the end is a table that
can be quoted. A night that was cut short goes on with ``--resume``: parts that have passed on this very code stand.

What came of a part is what its exit status says and its own figures; nothing is read from what it
prints.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from .. import _figures
from ._resume import code, keep, kept
from .reliability import FIGURES, summary

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT / "build" / "nightly"
#: Lines of what a failed part has said last.
TAIL = 40
#: Seconds in which what is told to end may clean up.
GRACE = 20.0
ROW = "{:<12} {:<9} {:>7}   {}"


class Part(NamedTuple):
    """A target; ``minutes`` it may take, about twice what it took on two cores; variables for make."""

    minutes: float
    variables: tuple[str, ...] = ()


PARTS = {
    "browser": Part(6),
    "faults": Part(12),
    "fuzz": Part(40),
    "soak": Part(18, ("SOAK=600",)),
    "siege": Part(10, ("SIEGE=300",)),
    "mutations": Part(30),
    "conformance": Part(45),
    "versions": Part(230),
    "coverage": Part(30),
}


class Result(NamedTuple):
    """How a part went, and what it came to."""

    part: str
    how: str
    seconds: float
    what: str

    def __str__(self) -> str:
        minutes, seconds = divmod(round(self.seconds), 60)
        return ROW.format(self.part, self.how, f"{minutes}:{seconds:02}", self.what)


def keep_part(result: Result, of: str) -> None:
    """Remember that it passed on the code ``of`` that hash."""
    if result.how == "passed":
        keep(LOGS / f"{result.part}.json", of, result)


def kept_part(name: str, of: str) -> Result | None:
    """What was kept of an earlier night."""
    found = kept(LOGS / f"{name}.json", of) if (FIGURES / f"{name}.json").exists() else None
    return Result(*found) if found else None


def run(name: str, make: str, resume: bool) -> Result:
    """Run one part to its end, or to the end of its time; ``resume`` is for those that can."""
    part, figures, log = PARTS[name], FIGURES / f"{name}.json", LOGS / f"{name}.log"
    figures.unlink(missing_ok=True)  # those of an earlier run prove nothing
    start = time.monotonic()
    with log.open("wb") as said:
        process = subprocess.Popen(
            [make, "--no-print-directory", name, "ARGS=", f"RESUME={'--resume' if resume else ''}", *part.variables],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            how = "FAILED" if process.wait(part.minutes * 60) else "passed"
        except subprocess.TimeoutExpired:
            how = "TOO LONG"
        finally:
            _end(process)
    what = summary(figures) if figures.exists() else "no figures"
    if how == "passed" and not figures.exists():
        how = "FAILED"
    if how != "passed":
        print(*log.read_text(errors="replace").splitlines()[-TAIL:], sep="\n    ", flush=True)
    return Result(name, how, time.monotonic() - start, what)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a part: some of what it starts has sessions of its own."""
    if process.poll() is not None:
        return
    left = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGTERM)
    _, alive = psutil.wait_procs(left, GRACE)
    for one in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.kill()
    process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.nightly", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--make", default="make", help="the program (%(default)s)")
    parser.add_argument("--resume", action="store_true", help="parts that have passed on this code are not run again")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of: {', '.join(PARTS)}")
    options = parser.parse_args()
    chosen = options.parts or list(PARTS)
    if unknown := [name for name in chosen if name not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what runs is ended then, too
    LOGS.mkdir(parents=True, exist_ok=True)
    results = []
    for name in chosen:
        now = code()
        result = kept_part(name, now) if options.resume else None
        if result is None:
            print(f"==> {name}, at most {PARTS[name].minutes:g} minutes", flush=True)
            result = run(name, options.make, options.resume)
            keep_part(result, now)
        print(result, flush=True)
        results.append(result)
    good = all(result.how == "passed" for result in results)
    took = sum(result.seconds for result in results)
    whole = Result("all", "passed" if good else "FAILED", took, f"{len(results)} parts")
    print("", ROW.format("part", "result", "time", "what it came to"), *results, whole, sep="\n")
    if not options.parts:
        parts = [{**result._asdict(), "seconds": round(result.seconds)} for result in results]
        _figures.write(FIGURES / "nightly.json", good, whole.seconds, {"parts": parts})
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
