"""What SECURITY.md promises and no other test holds.

Rules: each test is of one threat; SECURITY.md names it, and a test reads that the names there exist.
"""

import ast
import os
import re
from pathlib import Path

import gevent
import pytest

import gzc

from .._ends import PATIENCE, Ends, payload
from .._inside import _pipe
from .._program import program
from .._server import Folder, Gunicorn

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20


def descriptors() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}


def test_a_program_that_is_started_gets_no_descriptor_of_gzcs(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """While bytes are held in a pipe of gzc's own, every descriptor is close-on-exec."""
    idle: list[_pipe.TransitPipe] = []
    monkeypatch.setattr(_pipe, "_idle", idle)  # so that a pipe is made
    stuck, _ = ends.stuck()
    conn, peer = ends.unix()
    peer.sendall(payload(64 * 1024))
    before = descriptors()
    transfer = gzc.Transfer(conn, stuck)
    copying = ends.spawn(transfer.run)
    with gevent.Timeout(PATIENCE):
        while not descriptors() - before:
            gevent.sleep(0.001)
    made = descriptors() - before
    assert len(made) == 2  # the two ends of the pipe
    assert [fd for fd in made if os.get_inheritable(fd)] == []
    copying.kill()
    assert len(transfer.reclaim()) == 64 * 1024
    for pipe in idle:
        pipe.close()


def test_m8_a_pipe_filled_by_shutil_keeps_what_was_written(tmp_path: Path) -> None:
    """Hard case F7: pages lent to a pipe would show what is written to the file later. shutil lends none."""
    told = program(
        f"""
        import gzc; gzc.patch_all()
        import shutil
        path = {str(tmp_path / "film.bin")!r}
        with open(path, "wb") as file:
            file.write(b"o" * 60_000)
        r, w = os.pipe()
        with open(path, "rb") as file, open(w, "wb", 0) as pipe:
            shutil.copyfileobj(file, pipe)
        with open(path, "r+b") as file:
            file.write(b"n" * 60_000)
        with open(r, "rb") as pipe:
            print(set(pipe.read()) == set(b"o"))
        """
    )
    assert told == "True\n"


RANGES = [
    "bytes=" + ",".join(f"{2 * n}-{2 * n}" for n in range(400)),
    "bytes=" + ",".join(["0-"] * 400),
    f"bytes=0-{1 << 64}",
    f"bytes={1 << 64}-",
    "bytes=5-2",
    "bytes=-0",
    "bytes=" + "9" * 1000 + "-",
]


@pytest.mark.slow
def test_absurd_ranges_cost_no_more_than_the_file(folder: Folder) -> None:
    """Many, overlapping, and impossible ones: an answer that is rightly framed, and no longer than the file."""
    name, content = folder.sized(MIB + 3)
    with Gunicorn("both:app", folder.path) as server, server.unharmed(), server.connect() as client:
        for range_ in RANGES:
            reply = client.get(f"/file/{name}", range=range_)
            assert reply.complete
            assert reply.status in (200, 206, 416), range_
            assert len(reply.body) <= len(content)
            if reply.status == 200:
                assert bytes(reply.body) == content


def test_gzc_creates_no_file_of_its_own() -> None:
    """Nothing is left in temporary places, readable or not: who writes is who called."""
    found = []
    rooms = [
        path for path in (ROOT / "gzc").rglob("*.py") if not {"cli", "monkey"} & set(path.parts[len(ROOT.parts) :])
    ]
    for path in [*rooms, *(ROOT / "monkey").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            made = isinstance(node, ast.Attribute) and node.attr in ("mkstemp", "mkdtemp", "memfd_create", "O_CREAT")
            called = isinstance(node, ast.Call) and ast.unparse(node.func).startswith("tempfile.")
            if made or called:
                found.append(f"{path.name}: {ast.unparse(node)}")
    # What urlretrieve gives its caller who named no file, as the original does, with mode 0600.
    assert found == ["urllib.py: tempfile.NamedTemporaryFile(delete=False)"]


def test_security_names_tests_that_exist() -> None:
    named = re.findall(r"`(test_\w+)::(test_\w+)`", (ROOT / "SECURITY.md").read_text())
    assert len(named) > 15
    for module, test in named:
        (path,) = (ROOT / "tests").rglob(f"{module}.py")
        text = path.read_text()
        assert f"def {test}(" in text, f"{module}::{test}"
