"""``gzc trace program args...``: the program as ``gzc run`` runs it, and at its end what moved how, and what did not.

Children that it forks are counted, too, if they end by themselves or by ``os._exit``: workers of gunicorn, of
``multiprocessing`` and of ``socketserver.ForkingMixIn`` do. Programs that it starts anew are not patched, and what
is killed by a signal tells nothing.

As in ``run``, gevent patches before anything else is imported. Nothing is printed on the program's standard output.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from typing import Any

import gzc

from . import run
from ._voice import say


def define(parser: ArgumentParser) -> None:
    """The arguments of ``gzc trace``: those of ``gzc run``, and what to do with the table."""
    run.define(parser)
    assert parser.usage is not None
    parser.usage = parser.usage.replace("gzc run", "gzc trace [--json] [-o FILE]")
    assert parser.epilog is not None
    parser.epilog += (
        " Children that the program forks are counted, too, if they end by themselves: not those that a signal kills,"
        " nor programs that it starts anew."
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to, in place of standard error")


def main(options: Namespace) -> int:
    """Run the program; what it moved is told when it ends, however it ends."""
    if options.output is not None:
        try:
            options.output = os.path.abspath(options.output)  # the program may go elsewhere
            open(options.output, "w").close()
        except OSError as exc:
            options.error(f"{options.output}: {exc.strerror}")
    return run.main(options, begin=lambda words: Report(options, words).begin())


class Report:
    """What the process and its forked children have counted; the first one prints it.

    A child appends a line to a file in a folder for temporary files, which the first process reads and removes.
    """

    def __init__(self, options: Namespace, words: list[str]) -> None:
        self._options = options
        self._words = list(words)  # sys.argv, in which runpy puts the path of a module
        self._first = os.getpid()
        self._told = False
        self._children = ""

    def begin(self) -> None:
        """Count from now on. Imported are only modules that gevent has patched by now."""
        import atexit
        import tempfile

        handle, self._children = tempfile.mkstemp(prefix="gzc-trace-")
        os.close(handle)
        self._count()
        atexit.register(self._tell)  # the first to be registered is the last to be called
        os.register_at_fork(after_in_child=self._count)
        exit_at_once = os._exit

        def _exit(status: int) -> None:
            self._tell()
            exit_at_once(status)

        os._exit = _exit  # type: ignore[assignment]

    def _count(self) -> None:
        self._told = False
        self._trace = gzc.trace(places=True).__enter__()

    def _tell(self) -> None:
        if self._told:
            return
        self._told = True
        if os.getpid() != self._first:
            self._append()
            return
        children = self._collect()
        text = self._json(children) if self._options.json else self._table(children)
        if self._options.output is None:
            say(text)
            return
        try:
            with open(self._options.output, "w") as file:
                print(text, file=file)
        except OSError as exc:  # the program ends as it would, all the same
            say(f"gzc trace: {self._options.output}: {exc.strerror}")

    def _append(self) -> None:
        import json

        figures = self._trace.figures()
        if not figures["refused"] and not any(row["calls"] for row in figures["moved"].values()):
            return
        try:
            file = os.open(self._children, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:  # the first process has ended before
            return
        os.write(file, json.dumps(figures).encode() + b"\n")  # one write: lines of two children do not mix
        os.close(file)

    def _collect(self) -> int:
        """Add what the children have left; how many had something to tell."""
        import json

        with open(self._children) as file:
            lines = file.readlines()
        os.unlink(self._children)
        for line in lines:
            self._trace.add(json.loads(line))
        return len(lines)

    def _table(self, children: int) -> str:
        forked = f", and {children} process{'es' if children > 1 else ''} it forked" if children else ""
        return f"gzc trace: {' '.join(self._words)}{forked}\n{self._trace}"

    def _json(self, children: int) -> str:
        import json

        whole: dict[str, Any] = {"program": self._words, "forked": children, **self._trace.figures()}
        return json.dumps(whole, indent=2)
