"""The command line: ``gzc`` and ``python -m gzc``.

A command is a module of this package with two functions: ``define(parser)`` adds its arguments, ``main(options)``
does the work and returns the exit status: 0, or 1 where something failed; 2 is for what cannot be meant.

Only the module of the chosen command is imported, and nothing before it that a command may want to patch first.
Commands use the public face and gzc.monkey.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from importlib import import_module

import gzc

from ._voice import drop, open_streams, say

#: The commands, and what ``gzc --help`` says of them.
COMMANDS = {
    "run": "run an unmodified program, patched by gevent and gzc before it begins",
    "trace": "run a program like run does, and print what moved how, and which line of code lost the fast path",
    "doctor": "try every mechanism on this machine, and say what works, what does not and why",
    "cp": "copy between files, sockets and pipes, and say how it went",
    "serve": "serve the files of a folder over HTTP",
    "proxy": "pass connections on to another address",
}

#: These become the program that they run: its errors, its Ctrl-C and its exit status are its own.
BECOME_A_PROGRAM = ("run", "trace")

#: Exit status after Ctrl-C, as shells have it: 128 and the number of SIGINT.
INTERRUPTED = 130


class Failure(Exception):
    """What a command could not do, in words for people; ``status`` is its exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv``, or else ``sys.argv``, names; its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    chosen = next((word for word in argv if not word.startswith("-")), "")
    if chosen not in BECOME_A_PROGRAM:
        open_streams()
    try:
        options = _parser(chosen).parse_args(argv)
    except KeyboardInterrupt:
        return INTERRUPTED
    work: Callable[[Namespace], int] = options.main
    return work(options) if chosen in BECOME_A_PROGRAM else _in_words(chosen, work, options)


def _in_words(name: str, work: Callable[[Namespace], int], options: Namespace) -> int:
    """The exit status of ``work``; what stopped it is told without a traceback."""
    from ._stop import heed, quiet
    from ._words import said

    quiet()
    try:
        with heed():
            status = work(options)
            sys.stdout.flush()
            return status
    except Failure as failure:
        say(f"gzc {name}: {failure}")
        return failure.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # of our own words: gzc doctor | head -1
        drop(sys.stdout)
        return 1
    except OSError as exc:  # gzc doctor >/dev/full
        drop(sys.stdout)
        say(f"gzc {name}: {said(exc)}")
        return 1


def _parser(chosen: str) -> ArgumentParser:
    parser = ArgumentParser(prog="gzc", description="Zero-copy I/O for gevent.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"gzc {gzc.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".", allow_abbrev=False)
        if name == chosen:
            module = import_module(f".{name}", __name__)
            module.define(command)
            command.set_defaults(main=module.main, error=command.error)
    return parser
