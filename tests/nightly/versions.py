"""The fast tests on every Python that gzc supports, on either loop of gevent's: ``make versions``.

    python -m tests.nightly.versions [--only 3.10 ...] [--resume] [--figures FILE] [--engine FILE ...] [-- TEST ...]

With the oldest gevent and gunicorn that setup.cfg allows and that this Python can have, and with the newest. Each
combination is a row, with what pytest said below it where a test failed. What is asked of libuv is the engine. Tests
that are named are run on both loops, and no others. Pythons that this machine lacks are made (.ci/make-pythons).
With ``--resume`` rows stand that have passed on this very code.

The counts are those that pytest itself has written down; a combination that cannot be had is a
row with the reason, never left out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from .. import _figures
from ._resume import code, keep, kept

ROOT = Path(__file__).resolve().parents[2]
AGES = ("newest", "oldest")
LOOPS = ("libev", "libuv")
#: Seconds for one run of pytest.
PATIENCE = 1800
#: Where the rows that have passed are kept.
ROWS = ROOT / "build" / "nightly" / "versions"
ROW = "{:<7} {:<7} {:<9} {:<9} {:>7} {:>7} {:>8}   {}"


class Environment(NamedTuple):
    """A virtual environment of a Python with an age of what it depends on; ``why`` it cannot be had."""

    python: str
    age: str
    program: Path
    gevent: str = ""
    gunicorn: str = ""
    why: str = ""


def pythons(only: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Minor version and program of each Python that gzc supports, or of ``only`` these; or why there is none."""
    wanted = list(only) or re.findall(r"Python :: (3\.\d+)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    made = subprocess.run([ROOT / ".ci/make-pythons", *wanted], stderr=subprocess.PIPE, text=True, check=True).stderr
    why = dict(re.findall(r"^pythons: (\S+) cannot be had: (.*)$", made, re.MULTILINE))
    said = subprocess.run([ROOT / ".ci/pythons"], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = dict(line.split(" ", 1) for line in said.splitlines())
    for minor in wanted:
        yield minor, found.get(minor, ""), "" if minor in found else why.get(minor, "no Python")


def oldest(package: str) -> str:
    """The oldest version that setup.cfg allows."""
    found = re.search(rf"^ *{re.escape(package)}>=([0-9.]+)", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert found is not None, package
    return found[1]


def oldest_wheel(pip: Sequence[str | Path], package: str) -> str:
    """The oldest version that setup.cfg allows, and of which there is a wheel: a build from source proves nothing."""
    floor = oldest(package)
    said = subprocess.run([*pip, "index", "versions", package], stdout=subprocess.PIPE, text=True, check=False).stdout
    listed = re.search("^Available versions: (.*)$", said, re.MULTILINE)
    versions = listed[1].split(", ")[::-1] if listed is not None else []
    for version in versions[versions.index(floor) if floor in versions else 0 :]:
        tried = [*pip, "install", "-q", "--dry-run", "--no-deps", "--only-binary", package, f"{package}=={version}"]
        if not subprocess.run(tried, capture_output=True, check=False).returncode:
            return version
    return floor


def environment(minor: str, base: str, age: str) -> Environment:
    """Make it, unless an earlier run has done so."""
    home = ROOT / f".venv-{minor}-{age}"
    program, stamp = home / "bin" / "python", home / "bin" / ".extra-test"
    if not stamp.exists():
        subprocess.run([base, "-m", "venv", "--clear", home], check=True)
        pip = [program, "-m", "pip", "--disable-pip-version-check"]
        pins: list[str] = []
        if age == "oldest":
            pins = [f"gevent=={oldest_wheel(pip, 'gevent')}", f"gunicorn=={oldest('gunicorn[gevent]')}"]
            pins += ["--only-binary", "gevent,greenlet"]
        install = [*pip, "install", "-q", "-e", f"{ROOT}[test]", *pins]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
            return Environment(minor, age, program, why=(errors or ["ERROR: pip failed"])[-1].removeprefix("ERROR: "))
        stamp.touch()
    code = "import gevent, gunicorn; print(gevent.__version__, gunicorn.__version__)"
    had = subprocess.run([program, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return Environment(minor, age, program, *had)


class Outcome(NamedTuple):
    """What came of one run of pytest, why tests were skipped, and what it said where that was not good."""

    tests: Counter[str]
    why: Counter[str]
    said: list[str]


def run(env: Environment, loop: str, tests: Sequence[str], *options: str) -> Outcome:
    """The fast ones of ``tests``."""
    with tempfile.TemporaryDirectory(prefix="gzc-versions-") as folder:
        figures = Path(folder, "versions.json")
        try:
            done = subprocess.run(
                [env.program, "-m", "pytest", "-q", "-m", "not slow", "--figures", figures, *options, *tests],
                cwd=ROOT,
                env={**os.environ, **({"GEVENT_LOOP": loop} if loop != LOOPS[0] else {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Outcome(Counter(failed=1), Counter(), [f"{' '.join(tests)}: not over after {PATIENCE} s"])
        found = json.loads(figures.read_text())["counts"] if figures.exists() else {"tests": {}, "skipped because": {}}
    counts, why = Counter[str](found["tests"]), Counter[str](found["skipped because"])
    if done.returncode:
        counts["failed"] = counts["failed"] or 1  # it crashed
    return Outcome(counts, why, done.stdout.splitlines()[-40:] if done.returncode else [])


def tried(env: Environment, loop: str, engine: Sequence[str], chosen: Sequence[str]) -> list[Outcome]:
    """The tests of a combination, on two processors: three processes, since each waits a third of its time."""
    if chosen or loop != "libuv":
        return [run(env, loop, chosen, "-n", "3", "--dist", "loadfile")]
    # A process for each module: what one leaves behind in the loop is in no other's way.
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda module: run(env, loop, [module]), engine))


def print_row(row: dict[str, Any], seconds: float) -> None:
    """Print a row that was run."""
    counts = (row[name] for name in ("passed", "failed", "skipped"))
    print(ROW.format(row["Python"], row["loop"], row["gevent"], row["gunicorn"], *counts, round(seconds)), flush=True)


def row_of(env: Environment, loop: str, outcomes: Sequence[Outcome], seconds: float) -> dict[str, Any]:
    """A combination in figures, which is also printed."""
    row: dict[str, Any] = {"Python": env.python, "age": env.age, "loop": loop}
    if env.why:
        print(f"{env.python:<7} {loop:<7} {env.age}: not run: {env.why}", flush=True)
        return row | {"not run": env.why}
    tests = sum((outcome.tests for outcome in outcomes), Counter[str]())
    counts = {name: tests[name] for name in ("passed", "failed", "skipped")}
    why = sum((outcome.why for outcome in outcomes), Counter[str]())
    row |= {"gevent": env.gevent, "gunicorn": env.gunicorn, **counts, "skipped because": dict(why)}
    print_row(row, seconds)
    return row


def main() -> int:
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m tests.nightly.versions", description=description)
    parser.add_argument("--only", nargs="*", default=(), metavar="3.N", help="these Pythons, not all")
    parser.add_argument("--engine", nargs="*", default=(), metavar="FILE", help="the tests of the engine, for libuv")
    parser.add_argument("--figures", type=Path, metavar="FILE", help="write there, as JSON, what was found")
    parser.add_argument("tests", nargs="*", metavar="TEST", help="for pytest, on both loops; all that are fast")
    parser.add_argument("--resume", action="store_true", help="what has passed on this code is not run again")
    options = parser.parse_args()
    began, rows, failures = time.monotonic(), [], []
    print(ROW.format("Python", "loop", "gevent", "gunicorn", "passed", "failed", "skipped", "seconds"), flush=True)
    for minor, base, why in pythons(options.only):
        for age in AGES:
            env = Environment(minor, age, Path(), why=why) if why else environment(minor, base, age)
            for loop in LOOPS:
                start, now, path = time.monotonic(), code(), ROWS / f"{minor}-{age}-{loop}.json"
                row = kept(path, now) if options.resume and not env.why and not options.tests else None
                if row and (row["gevent"], row["gunicorn"]) == (env.gevent, env.gunicorn):
                    print_row(row, 0)
                    rows.append(row)
                    continue
                outcomes = [] if env.why else tried(env, loop, options.engine, options.tests)
                rows.append(row_of(env, loop, outcomes, time.monotonic() - start))
                if outcomes and not options.tests and not any(outcome.said for outcome in outcomes):
                    keep(path, now, rows[-1])
                for outcome in outcomes:
                    if outcome.said:
                        print(*outcome.said, sep="\n    ", flush=True)
                        failures.append(f"{minor} {loop}, gevent {env.gevent}")
    if failures:
        print(f"FAILED: {'; '.join(dict.fromkeys(failures))}")
    good = not failures and any("passed" in row for row in rows)
    if options.figures:
        _figures.write(options.figures, good, time.monotonic() - began, {"combinations": rows})
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
