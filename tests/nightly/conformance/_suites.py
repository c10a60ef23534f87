"""The suites: whose tests they are, and how they are run.

Rows. The bounds are several times what a run took on two shared cores.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

BUILD = Path(__file__).resolve().parents[3] / "build" / "conformance"


class Unavailable(Exception):
    """The suite cannot be had here; the message says why."""


@dataclass(frozen=True)
class Suite:
    """A suite of somebody else's.

    name
        What it is asked for by.
    args
        What pytest is given.
    module
        The module it is in, where it comes with something installed.
    sdist
        The distribution whose tests come with its source only; the version is the installed one.
    patched
        Whether it runs monkey-patched; else gzc patches gevent's own classes only (``stdlib=False``).
    options
        For ``gevent.monkey.patch_all``.
    plugins
        Of pytest's, those it needs. No others are loaded: each has warnings that somebody's suite makes errors.
    limit
        Seconds for one test. Longer is a hang.
    bound
        Seconds for one run of all of it.
    """

    name: str
    args: tuple[str, ...] = ()
    module: str = ""
    sdist: str = ""
    patched: bool = True
    options: Mapping[str, bool] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    limit: int = 60
    bound: int = 600

    def prepare(self) -> Path | None:
        """Have it here: the folder of its source, None for a module that is installed.

        :raises Unavailable: it is not here and cannot be fetched.
        """
        if self.sdist:
            return _source(self.sdist)
        if importlib.util.find_spec(self.module.partition(".")[0]) is None or not _there(self.module):
            where = sys.base_prefix
            raise Unavailable(f"there is no {self.module} in {where} (Debian packs it as libpython3-testsuite)")
        return None


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _source(name: str) -> Path:
    """The unpacked sdist of the version of ``name`` that is installed."""
    try:
        release = f"{name}=={version(name)}"
    except PackageNotFoundError:
        raise Unavailable(f"{name} is not installed") from None
    home = BUILD / release
    if not home.is_dir():
        packed = BUILD / "sdists" / release
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
        fetched = subprocess.run(
            [*command, "-d", packed, release], capture_output=True, text=True, timeout=300, check=False
        )
        archives = list(packed.glob("*.tar.gz"))
        if fetched.returncode or len(archives) != 1:
            said = (fetched.stderr.strip().splitlines() or ["pip says nothing"])[-1]
            raise Unavailable(f"the sdist of {release} cannot be fetched: {said}")
        unpacked = BUILD / f"{release}.unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        shutil.unpack_archive(archives[0], unpacked)
        (inside,) = unpacked.iterdir()
        inside.rename(home)  # only now: a folder of that name is a whole one
        unpacked.rmdir()
    return home


def _cpython(name: str, **options: int) -> Suite:
    return Suite(name, ("--pyargs", f"test.{name}"), module=f"test.{name}", **options)  # type: ignore[arg-type]


def _gevent(name: str, *, patched: bool = True) -> Suite:
    return Suite(f"gevent.{name}", ("--pyargs", f"gevent.tests.{name}"), module=f"gevent.tests.{name}", patched=patched)


SUITES = (
    _cpython("test_socket", limit=20),
    _cpython("test_shutil"),
    _cpython("test_httpservers"),
    _cpython("test_httplib"),
    _cpython("test_wsgiref"),
    _cpython("test_ftplib"),
    _cpython("test_tarfile"),
    _cpython("test_socketserver"),
    _cpython("test_urllib2_localnet"),
    _gevent("test__socket"),
    _gevent("test__pywsgi"),
    _gevent("test__fileobject"),
    _gevent("test__subprocess"),
    # These two assert that nothing is monkey-patched.
    _gevent("test__server", patched=False),
    _gevent("test__server_pywsgi", patched=False),
    Suite(
        "gunicorn",
        ("-o", "addopts=--assert=plain", "tests"),  # its own would measure coverage
        sdist="gunicorn",
        plugins=("pytest_asyncio.plugin",),
    ),
    Suite("werkzeug", ("tests",), sdist="werkzeug", plugins=("pytest_timeout",)),
    Suite(
        "urllib3",
        # That one fails or hangs without gzc, too, one time in six: it expects threads to take turns.
        ("test", "-k", "not http2_probe_blocked_per_thread"),
        sdist="urllib3",
        # Its servers are trio's, which wants real threads, queues and epoll; gevent's sockets work in both.
        options={"thread": False, "select": False, "queue": False},
        plugins=("pytest_timeout", "pytest_socket", "anyio.pytest_plugin"),
        bound=900,
    ),
)
