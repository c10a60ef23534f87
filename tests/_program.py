"""Small programs run in a Python of their own, for everything that patches a whole process.

Rules: the program stands outside the repository and sees no GZC_ variable but those it is given. It says by
its exit status whether it is content, so that a plain `assert` in it is an assert of the test.
"""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from tempfile import gettempdir
from textwrap import dedent
from typing import Any

from ._inside import resolved
from ._lacks import cpythons_tests

#: Seconds after which a program that should take less than one is taken for hung.
PATIENCE = 60

#: What most programs here need. `images` is what they compare: every attribute of every module and class that
#: a patch could be in, by identity.
PRELUDE = """
import importlib, importlib.util, inspect, io, logging, os, sys, threading, types

class Records(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []
    def emit(self, record):
        self.lines.append((record.levelname, record.getMessage()))
    def warnings(self):
        return [text for level, text in self.lines if level == "WARNING"]

records = Records()
logging.getLogger("gzc").addHandler(records)

OWNERS = ("gevent", "gunicorn", "socket", "ssl", "os", "io", "shutil", "select", "http", "socketserver", "builtins")

def images():
    taken = {"sys.meta_path": dict(enumerate(sys.meta_path)), "sys.path_hooks": dict(enumerate(sys.path_hooks))}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in OWNERS and isinstance(module, types.ModuleType):
            taken[name] = dict(vars(module))
            for value in list(vars(module).values()):
                if isinstance(value, type):
                    taken[f"{value.__module__}.{value.__qualname__} {id(value)}"] = dict(vars(value))
    return taken

IGNORED = ("__warningregistry__", "_abc_impl", "__weakref__", "__dict__", "_hub_counter")

def differences(before, after):
    found = []
    for owner, attributes in before.items():
        now = after.get(owner, {})
        for name in attributes.keys() | now.keys():
            one, two = attributes.get(name, "missing"), now.get(name, "missing")
            arrived = one == "missing" and isinstance(two, types.ModuleType)  # a submodule imported meanwhile
            if name not in IGNORED and one is not two and not arrived:
                found.append(f"{owner}.{name}")
    return found

def unchanged(before):
    found = differences(before, images())
    assert not found, found

def gzc_modules():
    return {name for name in sys.modules if name.partition(".")[0] == "gzc"}

def download(size=300_000):
    '''A file through a real socket by sendfile(), and how: the mechanisms gzc booked bytes for.'''
    import tempfile
    import gevent.socket, gzc
    content = os.urandom(size)
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        here, there = gevent.socket.socketpair()
        reader = gevent.spawn(lambda: b"".join(iter(lambda: there.recv(1 << 16), b"")))
        with gzc.trace() as trace:
            sent = here.sendfile(file)
        here.close()
        assert sent == size and file.tell() == size
        assert reader.get(timeout=30) == content
        there.close()
    return {name for name, moved in trace.bytes.items() if moved}
"""


def program(code: str, *argv: str, env: dict[str, str] | None = None, prelude: str = PRELUDE, cwd: str = "") -> str:
    """Run `code` in a fresh Python with the variables `env` added; what it printed. It must end well."""
    whole = resolved(prelude + dedent(code))
    return finished([sys.executable, *argv, "-c", whole], env=env, cwd=cwd)


def cpythons_own(seam: str, patched: bool, *modules: str) -> None:
    """CPython's own tests in `modules` pass, with `seam` in force, or with gevent's patches alone."""
    cpythons_tests()
    program(
        f"""
        import warnings; warnings.simplefilter("ignore")
        if {patched}:
            import gzc; gzc.patch_all()
            assert {seam!r} in gzc.patched()
        else:
            from gevent import monkey; monkey.patch_all()
        import unittest
        found = unittest.TextTestRunner(verbosity=0).run(unittest.defaultTestLoader.loadTestsFromNames({modules!r}))
        assert found.wasSuccessful() and found.testsRun > 100
        """
    )


def clean_environment(env: dict[str, str] | None = None) -> dict[str, str]:
    """This process's environment with no GZC variable but those in `env`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GZC", "GEVENT", "PYTHON"))}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}


def finished(command: list[str | Path], env: dict[str, str] | None = None, cwd: str | Path = "") -> str:
    """Run `command` to its end; what it printed. A bad end is a failure with everything it said."""
    done = subprocess.run(
        command,
        env=clean_environment(env),
        cwd=cwd or gettempdir(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


ROOT = Path(__file__).resolve().parents[1]

INSIDE = """
import sys
from gevent import monkey
monkey.patch_all()
import gzc
gzc.patch_all()
import importlib, json

root, module, name, arguments = sys.argv[1:]
sys.path.insert(0, root)  # after gzc, which is the installed one
getattr(importlib.import_module(module), name).inside(**json.loads(arguments))
"""


def patched(test: Callable[..., None]) -> Callable[..., None]:
    """Run the decorated test in a Python of its own in which gevent and gzc have patched everything.

    Its arguments come from the fixtures of this process, and must be what JSON can say.
    """

    @wraps(test)
    def outside(**arguments: Any) -> None:
        here = Path(inspect.getfile(test)).with_suffix("")
        module = ".".join(here.relative_to(ROOT).parts)
        whole = [str(ROOT), module, test.__name__, json.dumps(arguments)]
        finished([sys.executable, "-c", INSIDE, *whole])

    outside.inside = test  # type: ignore[attr-defined]
    return outside
