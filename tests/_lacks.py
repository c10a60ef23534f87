"""What a machine may lack, and what is skipped there: nowhere else does a test ask, and whatever else is missing fails.

Each reason names what is lacking. On a machine of this project's (.ci/run, as root) nothing is.
"""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: Of what is about the checkout: the tests of the sdist stand alone.
IN_A_TREE = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="the tests stand alone, without their tree")


def lacking(what: str, *, module: bool = False) -> NoReturn:
    """Skip the test, or all of its ``module``, which is being imported."""
    pytest.skip(what, allow_module_level=module)


def tool(name: str) -> str:
    """The path of a program that .ci/apt.txt has."""
    return shutil.which(name) or lacking(f"{name} is not installed (.ci/apt.txt)")


def strace() -> str:
    """The path of strace(1), where it may trace."""
    path = tool("strace")
    done = subprocess.run([path, "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    if "not permitted" in done.stderr:
        lacking(f"strace may not trace here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return path


def privileged(*command: str | Path) -> None:
    """Run what only root may do, and only where a container does not forbid it to root as well."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if any(words in done.stderr for words in ("denied", "not permitted")):
        lacking(f"{command[0]} is forbidden here: {done.stderr}")
    assert done.returncode == 0, done.stderr


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Path]:
    """A file system in memory of so many bytes, mounted on a new ``folder``."""
    folder.mkdir()
    privileged("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def other_file_system(than: Path) -> Path:
    """A folder on another file system."""
    memory = Path("/dev/shm")
    return memory if memory.stat().st_dev != than.stat().st_dev else lacking("no second file system")


def opened_direct(path: Path, flags: int) -> int:
    """A descriptor with O_DIRECT."""
    try:
        return os.open(path, flags | os.O_DIRECT)
    except OSError as exc:
        lacking(f"this file system has no O_DIRECT: {exc}")


def cpythons_tests() -> None:
    """CPython's own tests, which Debian has in a package of their own (libpython3-testsuite)."""
    if importlib.util.find_spec("test") is None or importlib.util.find_spec("test.test_socket") is None:
        lacking("this Python came without its test package")
