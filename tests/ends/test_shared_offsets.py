"""An offset that is shared: with children that have the same open file, with greenlets that write to the same object.

Hard case R8, fact M26: the place of a piece is taken by one atomic step of the kernel before the piece is written.

Rules: the children are processes, and write as shells and loggers do: a line at a time, one write(2) each.
"""

import fcntl
import io
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

import gzc

from .._ends import KIB, MIB, PATIENCE, Ends, payload
from .._inside import _storage, _syscalls

LINES = 6000

CHILD = f"""
import os, time
for number in range({LINES}):
    os.write(1, b"line %06d of the child ...\\n" % number)
    if number % 10 == 0:
        time.sleep(0.0001)
"""

#: What the parent writes: no byte of it is in a line, none is 0.
BLOCK = bytes(range(128, 256)) * 1024

PARENT = """
import gevent.monkey; gevent.monkey.patch_all()
import gevent, os, socket, subprocess, sys, shutil
import gzc; gzc.patch_all()
child = subprocess.Popen([sys.executable, "-S", "-c", sys.argv[1]], stdout=LOG)
with open(sys.argv[2], "rb") as block:
    turn = 0
    while child.poll() is None:
        block.seek(0)
        if turn % 3 == 0:
            shutil.copyfileobj(block, LOG)
        elif turn % 3 == 1:
            gzc.copy(block.read(), LOG)
        else:
            here, there = socket.socketpair()
            gevent.spawn(lambda: (there.sendall(block.read()), there.close()))
            gzc.copy(here, LOG)
            here.close()
        LOG.flush()
        gevent.sleep(0)
        turn += 1
print(turn, file=sys.stderr)
sys.exit(child.wait())
"""


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    with Ends(tmp_path) as made:
        yield made


@pytest.fixture(params=["disk", "tmpfs"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param == "disk":
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as memory:
        yield Path(memory)


def nothing_is_lost(out: Path, turns: int) -> None:
    content = out.read_bytes()
    assert content.count(b"\0") == 0, "a hole"
    lines = [b"line %06d of the child ...\n" % number for number in range(LINES)]
    assert len(content) == turns * len(BLOCK) + sum(map(len, lines))
    kept = content.translate(None, delete=bytes(range(128, 256)))
    assert kept == b"".join(lines), "each line whole, and in its order"


@pytest.mark.slow
@pytest.mark.parametrize("log", ["stdout", "Popen(stdout=log)"])
def test_r8_one_step_no_line_of_a_child_is_overwritten(folder: Path, log: str) -> None:
    """20 rounds of `program > out.txt` whose child writes 6000 lines, and 5 of Popen(stdout=log)."""
    block, out = folder / "block", folder / "out"
    block.write_bytes(BLOCK)
    named = {"stdout": "sys.stdout.buffer", "Popen(stdout=log)": "open(sys.argv[3], 'wb')"}[log]
    for _ in range(20 if log == "stdout" else 5):
        with out.open("wb") as stdout:
            ended = subprocess.run(
                [sys.executable, "-c", f"import sys\nLOG = {named}\n{PARENT}", CHILD, block, out],
                stdout=stdout if log == "stdout" else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=True,
                timeout=PATIENCE * 5,
            )
        nothing_is_lost(out, int(ended.stderr))


def test_r8_one_step_at_a_time_between_the_pieces(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process writes between any two calls that gzc makes below: its lines are where nobody else writes."""
    path = ends.path(b"")
    sink = ends.keep(path.open("wb"))
    writer, lines = os.dup(sink.fileno()), 0  # as a child has it: another descriptor, the same offset

    def line() -> None:
        nonlocal lines
        os.write(writer, b"%05d\n" % lines)
        lines += 1

    def between(real: Any) -> Any:
        def call(*args: Any) -> Any:
            line()
            try:
                return real(*args)
            finally:
                line()

        return call

    for name in ("advance", "offset", "write_at", "splice", "copy_file_range"):
        monkeypatch.setattr(_syscalls, name, between(getattr(_syscalls, name)))
    content = BLOCK * 2
    sock, there = ends.unix()
    ends.spawn(lambda: (there.sendall(content), there.close()))
    assert gzc.copy(sock, sink) == len(content)
    assert gzc.copy(content, sink) == len(content)
    assert gzc.copy(ends.file(content), sink) == len(content)
    os.close(writer)
    sink.close()
    monkeypatch.undo()
    written = path.read_bytes()
    assert b"\0" not in written
    assert len(written) == 3 * len(content) + 6 * lines
    assert written.translate(None, delete=bytes(range(128, 256))) == b"".join(b"%05d\n" % n for n in range(lines))
    assert written.translate(None, delete=bytes(range(128))) == content * 3


@pytest.mark.parametrize("buffering", [0, -1])
@pytest.mark.parametrize("source", ["file", "unix", "bytes"])
def test_r8_what_a_full_file_did_not_take_is_given_back(ends: Ends, source: str, buffering: int) -> None:
    """A write in part, and an error: the position is behind the last byte that was written, as after a loop."""
    content, most = payload(MIB), 300 * KIB
    src: Any = content
    if source == "file":
        src = ends.file(content)
    elif source == "unix":
        src, there = ends.unix()
        ends.spawn(lambda: there.sendall(content))
    sink = ends.file(b"head", "r+b", buffering)
    sink.seek(4)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
        with pytest.raises(OSError, match="File too large") as caught:
            gzc.copy(src, sink)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    moved = caught.value.transfer.moved  # type: ignore[attr-defined]
    assert sink.tell() == 4 + moved == most
    assert os.lseek(sink.fileno(), 0, os.SEEK_CUR) == most
    sink.write(b"tail")
    sink.flush()
    assert Path(sink.name).read_bytes() == b"head" + content[:moved] + b"tail"
    assert caught.value.transfer.exact  # type: ignore[attr-defined]
    caught.value.transfer.close()  # type: ignore[attr-defined]


def test_r8_what_somebody_wrote_behind_a_place_stays_and_a_second_run_fills_the_place(ends: Ends) -> None:
    """What is left of a region is given back only as long as nobody has moved the offset."""
    content = payload(MIB)
    source, sink = ends.file(content), ends.file(mode="w+b")
    writer = os.dup(sink.fileno())

    def stop(count: int) -> None:
        os.write(writer, b"behind")
        raise KeyError(count)

    transfer = gzc.Transfer(gzc.observe(source, stop), sink)
    storage = _storage.storage
    _storage.storage = lambda fd: _storage.Storage.MEMORY  # in pieces of 256 KiB
    try:
        with pytest.raises(KeyError):
            transfer.run()
        assert 0 < transfer.moved < len(content)
        assert os.lseek(writer, 0, os.SEEK_CUR) == len(content) + 6
        with pytest.raises(KeyError):
            transfer.run()
    finally:
        _storage.storage = storage
        os.close(writer)
    moved = transfer.moved
    assert Path(sink.name).read_bytes()[:moved] == content[:moved]
    assert Path(sink.name).read_bytes()[len(content) :] == b"behind" * 2
    transfer.close()


def test_r8_a_bufferedrandom_knows_where_it_stands(ends: Ends) -> None:
    """It computes a seek from where it believes the descriptor to be, and asks anew before it reads."""
    content = payload(MIB)
    sink = ends.file(content, "r+b")
    assert isinstance(sink, io.BufferedRandom)
    assert sink.read(10) == content[:10]
    assert gzc.copy(b"x" * 100, sink) == 100
    assert sink.read(10) == content[110:120]
    assert sink.seek(115) == 115
    assert sink.read(10) == content[115:125]
    assert sink.seek(-5, os.SEEK_CUR) == 120
    assert sink.read(3) == content[120:123]


def test_r8_greenlets_that_write_to_one_object(ends: Ends) -> None:
    content = BLOCK * 4
    sink = ends.file(mode="wb")

    def copy() -> None:
        here, there = ends.unix()
        ends.spawn(lambda: (there.sendall(content), there.close()))
        gzc.copy(here, sink)

    copying = ends.spawn(copy)
    lines = 0
    with gevent.Timeout(PATIENCE):
        while not copying.ready():
            sink.write(b"%05d\n" % lines)
            lines += 1
            gevent.sleep(0)
    copying.get()
    sink.flush()
    written = Path(sink.name).read_bytes()
    assert len(written) == len(content) + 6 * lines
    assert written.translate(None, delete=bytes(range(128, 256))) == b"".join(b"%05d\n" % n for n in range(lines))
    assert written.translate(None, delete=bytes(range(128))) == content


STORAGES = [_storage.Storage.MEMORY, _storage.Storage.LOCAL, _storage.Storage.REMOTE]


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("mode", ["wb", "ab"])
@pytest.mark.parametrize("source", ["unix", "bytes"])
def test_what_is_rotated_away_gets_nothing_more(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, source: str, mode: str, storage: _storage.Storage
) -> None:
    """dup2(2), as a rotation of logs does it: neither a place in the old file counts, nor a duplicate of it."""
    content = payload(4 * MIB)
    monkeypatch.setattr(_storage, "storage", lambda fd: storage)
    path, other = ends.path(b""), ends.folder / "rotated"
    sink = ends.keep(path.open(mode))
    moved = rotated = 0

    def rotate(count: int) -> None:
        nonlocal moved, rotated
        moved += count
        if not rotated and moved >= MIB:
            fd = os.open(other, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if mode == "ab" else 0))
            os.dup2(fd, sink.fileno())
            os.close(fd)
            rotated = moved

    src: Any = content
    if source == "unix":
        src, there = ends.unix()
        ends.spawn(lambda: (there.sendall(content), there.close()))
    assert gzc.copy(gzc.observe(src, rotate), sink) == len(content)
    sink.flush()
    assert (path.stat().st_size, other.stat().st_size) == (rotated, len(content) - rotated)
    assert path.read_bytes() + other.read_bytes() == content


def test_a_place_in_another_file_is_not_gone_on_with(ends: Ends) -> None:
    """A run that is resumed after dup2(2) begins where the new file stands."""
    content = payload(MIB)
    sink = ends.keep(ends.path(b"").open("wb"))
    other = ends.folder / "other"

    def stop(_count: int) -> None:
        if not other.exists():
            os.write(sink.fileno(), b"behind")
            os.close(os.open(other, os.O_WRONLY | os.O_CREAT))
            raise KeyError

    transfer = gzc.Transfer(gzc.observe(ends.file(content), stop), sink)
    storage = _storage.storage
    _storage.storage = lambda fd: _storage.Storage.MEMORY
    try:
        with pytest.raises(KeyError):
            transfer.run()
        moved = transfer.moved
        fd = os.open(other, os.O_WRONLY)
        os.dup2(fd, sink.fileno())
        os.close(fd)
        assert transfer.run() == len(content)
    finally:
        _storage.storage = storage
    assert other.read_bytes() == content[moved:]


def test_a_run_that_was_refused_does_not_forget_its_place(ends: Ends) -> None:
    content = payload(MIB)
    source, sink = ends.file(content), ends.file(mode="w+b")
    stopped: list[int] = []

    def stop(count: int) -> None:
        if not stopped:
            stopped.append(count)
            os.write(sink.fileno(), b"behind")
            raise KeyError

    transfer = gzc.Transfer(gzc.observe(source, stop), sink)
    storage = _storage.storage
    _storage.storage = lambda fd: _storage.Storage.MEMORY
    try:
        with pytest.raises(KeyError):
            transfer.run()
        here, there = ends.unix()
        claiming = ends.spawn(gzc.copy, here, sink)
        gevent.sleep(0)
        with pytest.raises(gzc.BusyError):
            transfer.run()
        there.close()
        claiming.get(timeout=PATIENCE)
        assert transfer.run() == len(content)
    finally:
        _storage.storage = storage
    assert Path(sink.name).read_bytes() == content + b"behind"


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("source", ["file", "unix", "bytes"])
def test_o_append_that_somebody_sets_meanwhile_is_heeded(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, source: str, storage: _storage.Storage
) -> None:
    """The flags are shared as the offset is: GNU make sets O_APPEND on its stdout, and writes its lines at the end."""
    content = payload(12 * MIB)
    monkeypatch.setattr(_storage, "storage", lambda fd: storage)
    sink = ends.file(mode="wb")
    lines = moved = 0

    def append(count: int) -> None:
        nonlocal lines, moved
        moved += count
        if not lines:
            flags = fcntl.fcntl(sink, fcntl.F_GETFL)
            fcntl.fcntl(sink, fcntl.F_SETFL, flags | os.O_APPEND)
            os.write(sink.fileno(), b"make: a line\n")
            lines += 1

    src: Any = content
    if source == "file":
        src = ends.file(content)
    elif source == "unix":
        src, there = ends.unix()
        ends.spawn(lambda: (there.sendall(content), there.close()))
    assert gzc.copy(gzc.observe(src, append), sink) == len(content)
    sink.flush()
    written = Path(sink.name).read_bytes()
    assert written.replace(b"make: a line\n", b"") == content
    assert len(written) == len(content) + len(b"make: a line\n")


def test_another_file_that_was_put_below_gets_what_follows_from_its_start(ends: Ends) -> None:
    """dup2(2), as a rotation of logs does it: a place in the old file is none in the new one."""
    content = payload(MIB)
    path, other = ends.path(b""), ends.folder / "rotated"
    sink = ends.keep(path.open("wb"))
    seen = []

    def rotate(count: int) -> None:
        if not seen:
            fd = os.open(other, os.O_WRONLY | os.O_CREAT)
            os.dup2(fd, sink.fileno())
            os.close(fd)
        seen.append(count)

    storage = _storage.storage
    _storage.storage = lambda fd: _storage.Storage.MEMORY
    try:
        assert gzc.copy(gzc.observe(ends.file(content), rotate), sink) == len(content)
    finally:
        _storage.storage = storage
    sink.flush()
    assert path.read_bytes() + other.read_bytes() == content
    assert len(seen) > 1
