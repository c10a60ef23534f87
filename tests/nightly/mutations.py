"""Each remedy is taken away in turn, and a test must notice: ``make mutations``.

    python -m tests.nightly.mutations [-j N] [--figures FILE] [WORD ...]

WORD chooses mutants by name. The tree is copied, each mutant is one place replaced in the copy, and only the tests
named beside it are run there. A mutant that no test kills is a failure of this program; so is a place that is not
found any more, and a test that fails without any mutation.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from .. import _figures
from ._mutants import MUTANTS, Misplaced, Mutant, mutated

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("gzc", "monkey", "tests", "examples", "benchmarks", "setup.cfg", "pyproject.toml", "README.md")
#: Seconds for the tests of one mutant: one that hangs has been noticed.
PATIENCE = 150
#: Exit statuses of pytest: a test has failed; or pytest itself, which passes without the mutation, and whose
#: descriptors and garbage a mutant may spoil.
NOTICED = (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERNAL_ERROR)


def _copy(to: Path) -> Path:
    """The tree in ``to``, with an environment in which ``gzc`` is that of the copy; its Python."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, to / name)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(to / "venv")], check=True)
    packages = next((to / "venv" / "lib").glob("python3.*")) / "site-packages"
    (packages / "copy.pth").write_text(f"{to}\n{sysconfig.get_path('purelib')}\n")
    return to / "venv" / "bin" / "python"


def _tests(python: Path, tree: Path, arguments: Iterable[str]) -> tuple[int, str]:
    """The exit status of pytest there, and what it said; 1 when it hung."""
    command = [str(python), "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout=40", *arguments]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        command,
        cwd=tree,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.communicate()
        return 1, "it hung"
    return process.returncode, said


def _verdict(mutant: Mutant, python: Path, tree: Path) -> str:
    """What became of it: empty when a test noticed, else what is wrong."""
    try:
        path, changed = mutated(mutant, tree)
    except Misplaced as exc:
        return str(exc)
    whole = path.read_text()
    path.write_text(changed)
    try:
        status, said = _tests(python, tree, mutant.tests)
    finally:
        path.write_text(whole)
    if status in NOTICED:
        return ""
    if status == 0:
        return "SURVIVED"
    return f"pytest ended with {status}:\n{said[-2000:]}"


def _whole(tests: tuple[str, ...], python: Path, tree: Path) -> str:
    """What is wrong with ``tests`` although nothing is missing."""
    status, said = _tests(python, tree, tests)
    return f"{' '.join(tests)} without any mutation: {status}\n{said[-2000:]}" if status else ""


class Trees:
    """As many copies of the tree as there are tests at once, each in one hand at a time."""

    def __init__(self, folder: Path, number: int) -> None:
        self._pool = ThreadPoolExecutor(number)
        self._free: SimpleQueue[tuple[Path, Path]] = SimpleQueue()
        for name in map(str, range(number)):
            self._free.put((_copy(folder / name), folder / name))

    def each(self, work: Callable[[Any, Path, Path], str], things: Iterable[Any]) -> Iterator[str]:
        """``work(thing, python, tree)`` for each of them, in their order."""

        def with_tree(thing: Any) -> str:
            place = self._free.get()
            try:
                return work(thing, *place)
            finally:
                self._free.put(place)

        return self._pool.map(with_tree, things)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.nightly.mutations", description=__doc__)
    parser.add_argument("-j", type=int, default=1, metavar="N", help="so many at once")
    parser.add_argument("--list", action="store_true", help="name them, and run none")
    parser.add_argument("--figures", type=Path, metavar="FILE", help="write there, as JSON, what was found")
    parser.add_argument("words", nargs="*", help="only the mutants with one of these words in their names")
    options = parser.parse_args()
    mutants = [one for one in MUTANTS if not options.words or any(word in one.name for word in options.words)]
    if options.list:
        print(*(one.name for one in mutants), sep="\n")
        return 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gzc-mutations-") as folder:
        trees = Trees(Path(folder), options.j)
        tests = dict.fromkeys(mutant.tests for mutant in mutants)
        wrong = [said for said in trees.each(_whole, tests) if said]
        print(f"{len(tests)} choices of tests without any mutation: {len(wrong)} fail", flush=True)
        survivors = []
        for mutant, verdict in zip(mutants, trees.each(_verdict, mutants), strict=True):
            print(f"{'killed  ' if not verdict else 'NOT     '} {mutant.name}", flush=True)
            if verdict:
                survivors.append(mutant.name)
                wrong.append(f"{mutant.name}: {verdict}")
    print(*wrong, sep="\n\n")
    print(f"{len(mutants)} mutants, {len(wrong)} wrong")
    if options.figures:
        found = {"mutants": len(mutants), "killed": len(mutants) - len(survivors), "not killed": survivors}
        _figures.write(options.figures, not wrong, time.monotonic() - began, found)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
