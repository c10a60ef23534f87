"""Fixtures shared by the test modules. Each that starts something also ends it."""

import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ._server import Folder


@pytest.fixture(scope="session")
def folder() -> Iterator[Folder]:
    """A folder for files to serve."""
    with tempfile.TemporaryDirectory(prefix="gzc-tests-") as path:
        yield Folder(Path(path))


@pytest.fixture(scope="session")
def certificates(folder: Folder) -> tuple[ssl.SSLContext, list[str]]:
    """A client's TLS context, and gunicorn's options for a server that this client trusts."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    certificate, key = folder.path / "server.pem", folder.path / "server.key"
    issued.private_key_pem.write_to_path(key)
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(certificate, append=number > 0)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context, ["--certfile", str(certificate), "--keyfile", str(key)]
