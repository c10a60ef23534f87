"""Fixtures shared by the test modules. Each that starts something also ends it."""

import os
import signal
import ssl
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from . import _figures
from ._ends import Ends
from ._inside import _claims, _errnos, _storage
from ._lacks import lacking
from ._server import Folder

_PROCESS = os.getpid()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script: Ctrl-C is tested, too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--figures", metavar="FILE", help="write there, as JSON, what was tried and how often")


def pytest_configure(config: pytest.Config) -> None:
    _figures.register(config)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and os.geteuid():
        lacking("needs root")


def pytest_runtest_makereport() -> None:
    """A forked child that got out of its test, by an error in fork itself, must not run the others as well."""
    if os.getpid() != _PROCESS:
        os._exit(97)


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    """What makes ends, and closes them; afterwards no transfer may still claim one."""
    with Ends(tmp_path) as made:
        yield made
    left = dict(_claims._claims)
    _claims._claims.clear()  # the next test is not to blame
    assert left == {}


@pytest.fixture
def latches(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the kernel is remembered not to have; forgotten after the test."""
    missing = dict(_errnos.missing)
    monkeypatch.setattr(_errnos, "missing", missing)
    return missing


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is on storage gzc does not know: all that touches it goes to the pool."""
    monkeypatch.setattr(_storage, "storage", lambda fd: _storage.Storage.REMOTE)


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is on storage that never waits: nothing that touches it goes to the pool."""
    monkeypatch.setattr(_storage, "storage", lambda fd: _storage.Storage.MEMORY)


@pytest.fixture(scope="session")
def folder() -> Iterator[Folder]:
    """A folder for files to serve."""
    with tempfile.TemporaryDirectory(prefix="gzc-tests-") as path:
        yield Folder(Path(path))


@pytest.fixture(scope="session")
def certificates(folder: Folder) -> tuple[ssl.SSLContext, list[str]]:
    """A client's TLS context, and gunicorn's options for a server that this client trusts."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    certificate, key = folder.path / "server.pem", folder.path / "server.key"
    issued.private_key_pem.write_to_path(key)
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(certificate, append=number > 0)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context, ["--certfile", str(certificate), "--keyfile", str(key)]


@pytest.fixture
def without(tmp_path: Path) -> Callable[[str], Path]:
    """`without("tqdm")`: a folder for PYTHONPATH in which that package cannot be imported."""

    def make(package: str) -> Path:
        folder = tmp_path / "without"
        folder.mkdir()
        (folder / f"{package}.py").write_text(f"raise ImportError('no {package} here')")
        return folder

    return make
