"""Ends in the program's own memory: nothing of their size is copied to look at them, and their owner may go on.

Hard case R12, fact M28: ``BytesIO.getbuffer()`` copies what it shares with the ``bytes`` it was made of.

Rules: what is allocated is asked of tracemalloc; the size is such that one copy of the whole cannot be missed.
"""

import io
import mmap
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

import gzc

from .._ends import KIB, MIB, PATIENCE, Ends, arrives, payload
from .._inside import _memory, _storage

SIZE = 64 * MIB
#: Far more than the blocks, pipes and peers of a copy need, and far less than one copy of the whole.
MOST = 12 * MIB


@pytest.fixture(autouse=True)
def traced() -> Iterator[None]:
    """From before anything is made: memory that is resized later counts as new else."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.fixture
def memory_folder() -> Iterator[Path]:
    """A folder on tmpfs."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def allocated(work: Callable[[], object]) -> int:
    """The most bytes that were allocated at once while `work` ran, beyond what there was before."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    work()
    return tracemalloc.get_traced_memory()[1] - before


def mapped(content: bytes) -> mmap.mmap:
    made = mmap.mmap(-1, len(content))
    made[:] = content
    return made


def written(content: bytes) -> io.BytesIO:
    """It was written in pieces, so that its memory is larger than what it holds."""
    made = io.BytesIO()
    for at in range(0, len(content), 100_000):
        made.write(content[at : at + 100_000])
    made.seek(0)
    return made


SOURCES: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "BytesIO": io.BytesIO,
    "BytesIO, written": written,
    "mmap": mapped,
}


@pytest.mark.parametrize("name", SOURCES)
def test_r12_nothing_of_its_size_is_allocated_for_a_source(ends: Ends, name: str) -> None:
    content = bytes(SIZE)
    source = SOURCES[name](content)
    sock, there = ends.unix()

    def drain() -> None:
        buffer = bytearray(256 * KIB)
        while there.recv_into(buffer):
            pass

    draining = ends.spawn(drain)
    with open("/dev/null", "wb", 0) as null, tempfile.TemporaryFile() as file:
        assert allocated(lambda: gzc.explain(source, sock)) < MOST
        assert allocated(lambda: gzc.copy(source, sock)) < MOST
        sock.close()
        draining.get(timeout=PATIENCE)
        for sink in (null, file):
            if hasattr(source, "seek"):
                source.seek(0)
            assert allocated(lambda sink=sink: gzc.copy(source, sink)) < MOST


@pytest.mark.parametrize("view", [False, True], ids=["nobody has a view", "somebody has a view"])
def test_r12_nothing_of_its_size_is_allocated_for_a_bytesio_that_somebody_looks_at(ends: Ends, view: bool) -> None:
    source = io.BytesIO(bytes(SIZE))
    seen = source.getbuffer() if view else None
    with open("/dev/null", "wb", 0) as null:
        assert allocated(lambda: gzc.copy(source, null)) < MOST
    assert source.tell() == SIZE
    assert seen is None or bytes(seen[:5]) == bytes(5)


def test_r12_nothing_of_its_size_is_allocated_for_a_sink(ends: Ends) -> None:
    content = bytes(SIZE)
    for sink in (io.BytesIO(content), mapped(content), bytearray(content)):
        assert allocated(lambda sink=sink: gzc.explain(b"abc", sink)) < MIB
    sink = io.BytesIO(content)
    sink.write(b"a")  # its own copy is made by this
    assert allocated(lambda: gzc.copy(b"bcd", sink)) < MIB
    assert sink.getvalue()[:4] == b"abcd"


def test_r12_bodies_that_are_read_ahead_are_not_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: whoever looks at a BytesIO. A view of one that a program writes to would be a BufferError there."""
    root = Path(gzc.__file__).parent
    users = {
        path.name
        for folder in (root, Path(__import__("gzc.monkey", fromlist=["x"]).__path__[0]))
        for path in folder.rglob("*.py")
        if ".getbuffer(" in path.read_text(encoding="utf-8")
    }
    assert users <= {"memory.py"}


@pytest.mark.parametrize("sink", ["unix", "file", "slow file", "opaque", "tmpfs"])
@pytest.mark.parametrize("name", ["bytearray", "BytesIO", "mmap"])
def test_r12_the_owner_may_write_and_resize_between_steps(
    ends: Ends, memory_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, sink: str
) -> None:
    """What the copy then sees is what a loop of `read` would see: no BufferError, no byte of before behind a change."""
    content = payload(2 * MIB)
    source = SOURCES[name](content)
    steps: list[int] = []
    if sink == "slow file":
        monkeypatch.setattr(_storage, "storage", lambda fd: _storage.Storage.REMOTE)

    class Own:
        def __init__(self) -> None:
            self.taken = bytearray()

        def write(self, data: bytes) -> int:
            gevent.sleep(0)
            self.taken += data
            return len(data)

    def change(moved: int) -> None:
        steps.append(moved)
        if len(steps) == 1:
            if isinstance(source, bytearray):
                source[MIB:] = b"new" * 1000
            elif isinstance(source, io.BytesIO):
                source.seek(MIB)
                source.truncate()
                source.write(b"new" * 1000)
            else:
                source[MIB:] = (b"new" * MIB)[:MIB]

    expected = content[:MIB] + ((b"new" * MIB)[:MIB] if name == "mmap" else b"new" * 1000)
    watched = gzc.observe(source, change)
    if sink == "unix":
        sock, there = ends.unix()
        peer = ends.reading(there)
        assert gzc.copy(watched, sock) == len(expected)
        assert arrives(sock, peer) == expected
        return
    if sink == "opaque":
        taken = Own()
        assert gzc.copy(watched, taken) == len(expected)
        assert taken.taken == expected
        return
    with ((memory_folder if sink == "tmpfs" else ends.folder) / "sink").open("w+b") as file:
        assert gzc.copy(watched, file) == len(expected)
        file.seek(0)
        assert file.read() == expected
    assert len(steps) > 1


@pytest.mark.parametrize("kind", ["BytesIO", "bytearray"])
@pytest.mark.parametrize("storage", [_storage.Storage.LOCAL, _storage.Storage.REMOTE, _storage.Storage.MEMORY])
def test_r12_nothing_is_exported_while_others_run(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, kind: str, storage: _storage.Storage
) -> None:
    """Another greenlet grows the memory whenever it has a turn, also while a thread or a full socket has a piece."""
    monkeypatch.setattr(_storage, "storage", lambda fd: storage)
    content = payload(4 * MIB)
    source = SOURCES[kind](content)
    grown = 0

    def grow() -> None:
        nonlocal grown
        while True:
            if isinstance(source, bytearray):
                source.extend(b"x")
            else:
                position = source.tell()
                source.seek(0, 2)
                source.write(b"x")
                source.seek(position)
            grown += 1
            gevent.sleep(0)

    growing = ends.spawn(grow)
    sock, there = ends.unix()
    peer = ends.reading(there)
    with ends.path(b"").open("wb") as file:
        file.flush()
        assert gzc.copy(source, file, len(content)) == len(content)
        if isinstance(source, io.BytesIO):
            source.seek(0)
        assert gzc.copy(source, sock, len(content)) == len(content)
    assert not growing.ready(), "a BufferError"
    growing.kill()
    assert grown
    assert arrives(sock, peer) == content
    assert Path(file.name).read_bytes() == content


def test_r12_two_large_ones_side_by_side_leave_the_hub_its_turns(ends: Ends, memory_folder: Path) -> None:
    """The most that goes in one turn is bounded, whatever the size: no step is longer than a block."""
    content = bytes(SIZE)
    turns = 0
    most = 0
    moved = 0

    def count(step: int) -> None:
        nonlocal most, moved
        most = max(most, step)
        moved += step

    def turn() -> None:
        nonlocal turns
        while True:
            gevent.sleep(0.001)
            turns += 1

    ticking = ends.spawn(turn)
    copies = [
        ends.spawn(gzc.copy, gzc.observe(io.BytesIO(content), count), ends.keep((memory_folder / name).open("wb")))
        for name in ("one", "two")
    ]
    gevent.joinall(copies, timeout=PATIENCE, raise_error=True)
    ticking.kill()
    assert moved == 2 * SIZE
    assert most <= 256 * KIB
    assert turns > 3


def test_r11_the_position_of_memory_moves_with_each_step(ends: Ends) -> None:
    source = io.BytesIO(payload(MIB))
    seen: list[tuple[int, int]] = []
    total = 0

    def look(count: int) -> None:
        nonlocal total
        total += count
        seen.append((source.tell(), total))

    assert gzc.copy(gzc.observe(source, look), ends.file(mode="wb")) == MIB
    assert len(seen) > 2
    assert all(position == moved for position, moved in seen)


def test_m22_a_signal_handler_finds_a_bytesio_where_it_was() -> None:
    """Struck at each instruction of asking for its size: nothing was moved, and so says its position."""

    class Strike(Exception):
        pass

    struck = 0
    for at in range(1, 60):
        source, steps = io.BytesIO(b"x" * 1000), 0

        def trace(frame: Any, event: str, _arg: object, at: int = at) -> Any:
            nonlocal steps
            if frame.f_code is not _memory._size.__code__:
                return None
            frame.f_trace_opcodes = True
            if event == "opcode":
                steps += 1
                if steps == at:
                    raise Strike
            return trace

        # Python 3.12 asks when tracing begins whether any frame wants instructions (gh-103615).
        sys._getframe().f_trace_opcodes = True
        sys.settrace(trace)
        try:
            gzc.explain(source, bytearray())
        except Strike:
            struck += 1
        finally:
            sys.settrace(None)
        assert source.tell() == 0
    assert struck > 10


def test_a_head_is_for_what_cannot_be_read_again(ends: Ends) -> None:
    for source in (ends.file(b"abc"), io.BytesIO(b"abc"), b"abc"):
        with pytest.raises(TypeError, match="has a position"):
            gzc.source(source).heading(lambda count: b"")
