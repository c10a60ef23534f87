"""The command line: ``gzc`` and ``python -m gzc``.

A command is a module of this package with two functions: ``define(parser)`` adds its arguments, ``main(options)``
does the work and returns the exit status.

Rules of this file: only the module of the chosen command is imported, and nothing that a command may want to
patch first. Commands stand on the public face and on gzc.monkey.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from importlib import import_module

import gzc

#: The commands, and what ``gzc --help`` says of them.
COMMANDS = {
    "run": "run an unmodified program, patched by gevent and gzc before it begins",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv``, or else ``sys.argv``, names; its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    options = _parser(next((word for word in argv if not word.startswith("-")), "")).parse_args(argv)
    work: Callable[..., int] = options.main
    return work(options)


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
