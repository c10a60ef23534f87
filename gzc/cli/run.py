"""``gzc run program args...`` and ``gzc run -m module args...``: the program as ``python`` would run it, but patched.

What a program can see of how it was started (``sys.argv``, ``sys.path[0]``, ``__main__``, its exit status, Ctrl-C)
is as under ``python program``; tests compare the two.

gevent patches before anything else is imported, and the program finds nothing of gzc's in its ``sys``.
"""

from __future__ import annotations

import builtins
import io
import os
import sys
from argparse import REMAINDER, ArgumentParser, Namespace
from collections.abc import Callable
from types import ModuleType

import gzc.monkey

from ._voice import say


def define(parser: ArgumentParser) -> None:
    """The arguments of ``gzc run``."""
    parser.usage = "gzc run [--only SEAMS] [--skip SEAMS] [--also SEAMS] [-m] program ..."
    parser.add_argument("--only", metavar="SEAMS", help="put these seams in force and no others; names with commas")
    parser.add_argument("--skip", metavar="SEAMS", help="leave these seams alone")
    parser.add_argument("--also", metavar="SEAMS", help="put these in force, too, which must be asked for by name")
    parser.add_argument("-m", dest="module", action="store_true", help="the program is a module, as in python -m")
    parser.add_argument("command", nargs=REMAINDER, metavar="program ...", help="the program, and all its arguments")
    parser.epilog = "What is not given is taken from GZC_ONLY, GZC_SKIP and GZC_ALSO. gzc.seams() lists the seams."


def main(options: Namespace, begin: Callable[[list[str]], None] | None = None) -> int:
    """Patch this process, and be the program; what the program ends by is passed on.

    ``begin`` is called when everything is patched, just before the program is run.
    """
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not words:
        options.error("which program?")
    _patch(options)
    if begin is not None:
        begin(words)
    sys.argv = words
    (_run_module if options.module else _run_program)(words[0])
    return 0


def _patch(options: Namespace) -> None:
    from gevent import monkey

    monkey.patch_all(gzc=False)  # before logging and its kin are imported for gzc

    from ._stop import quiet

    quiet()
    given = {name: getattr(options, name) for name in ("only", "skip", "also")}
    chosen = {name: _names(seams) for name, seams in given.items() if seams is not None}
    try:
        gzc.patch_all(**{**gzc.monkey.environment(), **chosen})
    except ValueError as exc:
        options.error(str(exc))


def _names(setting: str) -> list[str]:
    return [name.strip() for name in setting.split(",") if name.strip()]


def _run_module(name: str) -> None:
    _first_on_path(os.getcwd())
    _be_main(lambda _: _as_main(name))


def _run_program(path: str) -> None:
    from pkgutil import get_importer

    whole = os.path.join(os.getcwd(), path)
    if get_importer(path) is not None:  # a folder, or an archive, with a __main__ in it
        _first_on_path(whole, always=True)
        _be_main(lambda _: _as_main("__main__", False))
        return
    try:
        with io.open_code(whole) as file:
            content = file.read()
    except OSError as exc:
        say(f"{sys.executable}: can't open file {whole!r}: [Errno {exc.errno}] {exc.strerror}")
        sys.exit(2)
    _first_on_path(os.path.dirname(os.path.realpath(path)))
    _be_main(lambda main: _execute(content, whole, main))


def _as_main(name: str, alter_argv: bool = True) -> None:
    """What python itself calls for ``-m`` and for folders: it finds the module, and says it when there is none."""
    import runpy

    runpy._run_module_as_main(name, alter_argv)  # type: ignore[attr-defined]


def _execute(content: bytes, path: str, main: ModuleType) -> None:
    from importlib.machinery import SourceFileLoader, SourcelessFileLoader
    from pkgutil import read_code

    code = read_code(io.BytesIO(content))  # None where it is not compiled
    loader = SourceFileLoader if code is None else SourcelessFileLoader
    main.__dict__.update(__file__=path, __loader__=loader("__main__", path))
    if sys.version_info < (3, 15):
        main.__dict__["__cached__"] = None
    # Without "dont_inherit" the __future__ imports of this file would be the program's.
    exec(code or compile(content, path, "exec", dont_inherit=True), main.__dict__)


def _first_on_path(folder: str, always: bool = False) -> None:
    """Put ``folder`` where python puts the program's, in place of that of ``gzc`` itself."""
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        sys.path[0] = folder
    elif always:
        sys.path.insert(0, folder)


def _be_main(program: Callable[[ModuleType], None]) -> None:
    """Run ``program`` with a new ``__main__``, which stays; its error is told without the frames that are ours."""
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    try:
        program(main)
    except Exception as exc:  # noqa: BLE001 - as the interpreter would
        step = exc.__traceback__
        while step is not None and step.tb_frame.f_globals is not main.__dict__:
            step = step.tb_next
        sys.excepthook(type(exc), exc.with_traceback(step), step)
        sys.exit(1)
