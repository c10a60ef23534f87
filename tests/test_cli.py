"""What all commands of `gzc` have in common: help, version, usage, Ctrl-C.

Rules: as processes; what `run` and `trace` do as the programs they become is tested with them.
"""

import os
import signal
from pathlib import Path

import pytest

import gzc
from gzc.cli import COMMANDS

from ._command import Command, end


def test_the_help_lists_every_command() -> None:
    ended = end("--help")
    assert (ended.status, ended.err) == (0, "")
    for name, text in COMMANDS.items():
        assert name in ended.out
        assert text.split(",")[0].split()[0] in ended.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help(name: str) -> None:
    ended = end(name, "--help")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith(f"usage: gzc {name}")
    assert COMMANDS[name].split()[-1] in " ".join(ended.out.split())


def test_the_version() -> None:
    assert end("--version") == (0, f"gzc {gzc.__version__}\n", "")


@pytest.mark.parametrize("words", [(), ("fly",), ("--nonsense",), ("cp", "--nonsense", "a", "b")], ids=" ".join)
def test_what_cannot_be_meant(words: tuple[str, ...]) -> None:
    ended = end(*words)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("usage: gzc")


def test_ctrl_c_while_a_command_waits(tmp_path: Path) -> None:
    """Wherever it strikes: while the files are opened, or in the hub."""
    os.mkfifo(tmp_path / "fifo")
    fifo = tmp_path / "fifo"
    with Command("cp", fifo, "/dev/null") as command, fifo.open("wb"):  # which waits until it is opened for reading
        ended = command.end(signal.SIGINT)
    assert (ended.status, ended.out) == (130, "")
    assert ended.err in ("", "gzc cp: interrupted: 0 bytes were written to /dev/null")
