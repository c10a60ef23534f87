"""Storage that is slow, hangs, lies or is cold: the hub goes on, a timeout gets through, and no byte is lost.

Rules: the slow storage is a FUSE file system of our own (`_fuse.py`), in a process of its own; where the moment
counts, a call is held in its thread by a lock instead. What the hub does is measured around `gzc.copy` alone:
opening and closing such a file is the test's own doing, and may block. Time is no measure on a busy machine: FUSE
answers once the hub has ticked, and a hub that waits for it stands still for the minute after which FUSE gives up.
"""

# ruff: noqa: SIM115 - what is opened here is given to `Ends.keep`, which closes it

import contextlib
import errno
import gc
import io
import itertools
import logging
import os
import signal
import subprocess
import sys
import time
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import gevent
import pytest
from gevent import monkey
from gevent.threadpool import ThreadPool

import gzc

from .. import _fuse
from .._ends import MIB, PATIENCE, Ends, PlainFileObject, Ticker, arrives, open_fds_unchanged, payload, strike
from .._figures import count as counted
from .._inside import _disk, _file_sinks, _signals, _stats, _storage, _syscalls
from .._lacks import lacking
from .._pairs import HEAD, SINKS, SOURCES, Scripted, raised

CONTENT = _fuse.content()
GAP = 10.0  # a hub that waited for FUSE would have stood still for _fuse.HANG
_numbers = itertools.count()  # each file of its own: the kernel lets those of one file wait for each other
Lock = monkey.get_original("threading", "Event")
get_ident = monkey.get_original("threading", "get_ident")


def ticks_of(mountpoint: Path) -> str:
    """The FIFO that tells the file system that the hub goes on."""
    return f"{mountpoint}.ticks"


@contextlib.contextmanager
def mounted(mountpoint: Path, *options: str) -> Iterator[Path]:
    """A misbehaving file system; what hangs in it when it ends fails then."""
    if not os.access("/dev/fuse", os.W_OK):
        lacking("to mount a FUSE file system needs /dev/fuse")
    os.mkfifo(ticks := ticks_of(mountpoint))
    with open(ticks, "r+b", 0) as heard:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests._fuse", str(mountpoint), *options],
            cwd=Path(__file__).parents[2],
            stdin=heard,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    deadline = time.monotonic() + PATIENCE
    while not os.path.ismount(mountpoint):
        if process.poll() is not None:
            assert process.stdout is not None
            said = process.stdout.read().decode()
            assert "not permitted" in said, said
            lacking(f"no FUSE here: {said}")
        assert time.monotonic() < deadline
        time.sleep(0.02)
    try:
        yield mountpoint
    finally:
        process.kill()
        process.wait()
        subprocess.run(["umount", "-l", str(mountpoint)], check=True)


@pytest.fixture(scope="module")
def fuse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with mounted(tmp_path_factory.mktemp("fuse")) as mountpoint:
        yield mountpoint
        counted("misbehaviours of a FUSE file system", int((mountpoint / "misbehaved").read_text()))
    # What hung is back now: other tests are to find closed what it had.
    with gevent.Timeout(PATIENCE):
        getattr(gevent.get_hub(), _disk._ATTRIBUTE).join()
        gevent.sleep(0.001)  # the hub hears of it


class Held:
    """One of the calls that gzc makes in its threads is held there until it is let go; then it is made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, at: int = 1) -> None:
        self.begun, self.go, self.over = Lock(), Lock(), Lock()
        self.calls = 0
        real, hubs_thread = getattr(_syscalls, name), get_ident()

        def held(*args: Any) -> int:
            if get_ident() == hubs_thread:
                return real(*args)  # type: ignore[no-any-return]
            self.calls += 1
            if self.calls != at:
                return real(*args)  # type: ignore[no-any-return]
            counted("calls held up in a thread")
            # A call in the kernel has its memory, whatever becomes of the view meanwhile.
            args = tuple(bytes(one) if isinstance(one, memoryview) else one for one in args)
            self.begun.set()
            self.go.wait(PATIENCE)
            try:
                return real(*args)  # type: ignore[no-any-return]
            finally:
                self.over.set()

        monkeypatch.setattr(_syscalls, name, held)

    def wait_begun(self) -> None:
        with gevent.Timeout(PATIENCE):
            while not self.begun.is_set():
                gevent.sleep(0.001)

    def finish(self) -> None:
        """Let it go, and wait until it is over."""
        self.go.set()
        assert self.over.wait(PATIENCE)
        gevent.sleep(0.01)  # the thread tells the hub


# -- slow --------------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.parametrize("sink", ["unix", "file wb", "file ab", "pipe", "/dev/null", "bytearray"])
def test_a_slow_source_never_stops_the_hub(ends: Ends, fuse: Path, sink: str) -> None:
    taken = SINKS[sink](ends)
    with (fuse / f"read-ticks {next(_numbers)}").open("rb", 0) as source:
        with Ticker(ends, ticks_of(fuse)) as ticker:
            assert gzc.copy(source, taken.obj, 70_001) == 70_001
        assert source.tell() == 70_001
    assert ticker.gap < GAP
    assert taken.content() in (None, HEAD + CONTENT[:70_001])


@pytest.mark.root
@pytest.mark.parametrize("source", [*SOURCES, "bytes"])
def test_a_slow_sink_never_stops_the_hub(ends: Ends, fuse: Path, source: str) -> None:
    content = payload(70_001)
    src = content if source == "bytes" else SOURCES[source](ends, content, MIB).obj
    path = fuse / f"write-ticks new {source}"
    with path.open("wb", 0) as sink:
        with Ticker(ends, ticks_of(fuse)) as ticker:
            assert gzc.copy(src, sink) == len(content)
        assert sink.tell() == len(content)
    assert ticker.gap < GAP
    assert path.read_bytes() == content


@pytest.mark.root
def test_slow_to_slow_and_others_go_on_meanwhile(ends: Ends, fuse: Path) -> None:
    """A copy between two slow files, and a disk copy beside it that is done before."""
    quick = ends.file(payload(MIB)), ends.file(b"", "w+b")
    path = fuse / "write-ticks new both"
    with (fuse / f"read-ticks {next(_numbers)}").open("rb", 0) as source, path.open("wb", 0) as sink:
        slow = ends.spawn(gzc.copy, source, sink, 70_001)
        gevent.sleep(0.01)
        assert gzc.copy(*quick) == MIB
        assert not slow.dead
        with Ticker(ends, ticks_of(fuse)) as ticker:
            assert slow.get(timeout=PATIENCE) == 70_001
        assert (source.tell(), sink.tell()) == (70_001, 70_001)
    assert ticker.gap < GAP
    assert path.read_bytes() == CONTENT[:70_001]


@pytest.mark.parametrize("mode", ["wb", "ab"])
@pytest.mark.parametrize("buffering", [-1, 0])
@pytest.mark.parametrize("source", ["file", "unix", "stream"])
def test_a_file_that_cannot_seek_takes_and_gives_every_byte(
    ends: Ends, fuse: Path, source: str, buffering: int, mode: str
) -> None:
    """FUSE's FOPEN_NONSEEKABLE: no place in it can be taken before anything is written, nor is there a position."""
    path = fuse / f"new stream {next(_numbers)}"
    if source == "file":
        given: Any = ends.file(CONTENT)
    elif source == "unix":
        given, there = ends.unix()
        ends.feeding(there, CONTENT)
    else:
        given = ends.keep((fuse / "a stream").open("rb", 0))
    with path.open(mode, buffering) as sink:
        with pytest.raises(OSError, match="Illegal seek"):
            os.lseek(sink.fileno(), 0, os.SEEK_CUR)
        assert gzc.explain(given, sink).mechanism == "userspace"
        assert gzc.copy(given, sink) == len(CONTENT)
    assert path.read_bytes() == CONTENT


# -- hung --------------------------------------------------------------------------------------------------


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(gzc.config, "disk_grace", 0.2)
    return 0.2


def timed_out(ends: Ends, transfer: gzc.Transfer, grace: float, *, exact: bool = False) -> None:
    """A timeout of 0.1 s gets through after the grace, the hub going on; only a thread with the sink is inexact."""
    began = time.monotonic()
    own = gevent.Timeout.start_new(0.1)
    with contextlib.closing(own), Ticker(ends) as ticker:  # M19: one merely dropped breaks libuv
        assert raised(gevent.Timeout, transfer.run) is own
        took = time.monotonic() - began
    assert gzc.transfers_of(own) == (transfer,)
    assert 0.1 + grace * 0.9 < took < GAP
    assert ticker.gap < GAP
    assert transfer.exact is exact
    if not exact:
        with pytest.raises(gzc.TransferClosedError, match="an exception hid"):
            transfer.run()
    transfer.reclaim()


@pytest.mark.root
@pytest.mark.parametrize("sink", ["unix", "file wb", "/dev/null"])
def test_a_timeout_gets_through_a_source_that_hangs(ends: Ends, fuse: Path, short_grace: float, sink: str) -> None:
    taken = SINKS[sink](ends)
    source = ends.keep((fuse / f"read-hang {next(_numbers)}").open("rb", 0))
    transfer = gzc.Transfer(source, taken.obj)
    timed_out(ends, transfer, short_grace, exact=True)  # it hangs in the question whether the last byte is there
    assert (transfer.moved, transfer.in_flight, source.tell()) == (0, 0, 0)


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize("sink", ["unix", "tcp", "pipe", "/dev/null"])
@pytest.mark.parametrize("late", [False, True])
def test_a_thread_never_has_the_socket(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, short_grace: float, sink: str, late: bool
) -> None:
    """It fills our pipe: what it does after an interruption reaches nobody, and the transfer stays exact."""
    content = payload(MIB + 3)
    source, taken = ends.file(content), SINKS[sink](ends)
    held = Held(monkeypatch, "splice", at=2 if sink != "/dev/null" else 1)
    transfer = gzc.Transfer(source, taken.obj)
    copying = ends.spawn(raised, gevent.Timeout, transfer.run)
    held.wait_begun()
    if late:
        gevent.spawn_later(short_grace / 2, held.go.set)
    copying.kill(gevent.Timeout(), timeout=PATIENCE)
    assert transfer.exact
    assert source.tell() == transfer.moved
    held.finish()
    assert transfer.run() == len(content)
    assert taken.content() in (None, HEAD + content)


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize(
    ("number", "why"),
    [("EAGAIN", "the file system answers EAGAIN"), ("EOPNOTSUPP", "the file system refuses")],
)
def test_b10_a_file_system_that_does_not_splice_any_more(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, number: str, why: str, at: int
) -> None:
    """B10: what our pipe holds by then is delivered, and the rest goes another way."""
    content, real, fills = payload(2 * MIB + 3), _syscalls.splice, 0

    def splice(src: int, dst: int, count: int, *offsets: int) -> int:
        nonlocal fills
        fills += bool(offsets)
        if offsets and fills >= at:
            return -int(getattr(errno, number))
        return real(src, dst, count, *offsets)

    monkeypatch.setattr(_syscalls, "splice", splice)
    source, (sock, there) = ends.file(content), ends.unix()
    peer = ends.reading(there)
    with gzc.trace() as trace:
        assert gzc.copy(source, sock) == len(content)
    assert arrives(sock, peer) == content
    assert source.tell() == len(content)
    assert fills == at
    assert [refused for refused, _ in trace.refused if refused.endswith(why)], trace.refused
    assert trace.bytes["splice"] == (at - 1) * _disk.PIECE
    assert trace.bytes["userspace"] == len(content) - trace.bytes["splice"]


def test_what_cannot_be_asked_is_taken_for_slow() -> None:
    assert _storage.storage(-1) is _storage.Storage.REMOTE


def test_a_thread_that_was_had_before_none_could_be_made(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool says that no thread is to be had, and an older one has made the call: it is not made again."""
    calls: list[int] = []
    real = ThreadPool.spawn

    def spawn(pool: ThreadPool, *work: Any) -> None:
        real(pool, *work).get(timeout=PATIENCE)
        raise RuntimeError("can't start new thread")

    def call(fd: int) -> int:
        calls.append(fd)
        return 7

    _disk.Job().run(os.fstat, ends.file().fileno())  # the pool is there
    job, file = _disk.Job(), ends.file()
    monkeypatch.setattr(ThreadPool, "spawn", spawn)
    with open_fds_unchanged(), pytest.raises(RuntimeError, match="new thread"):
        job.run(call, (file.fileno(),))
    assert len(calls) == 1
    assert job.result == 7, "what it did is known all the same"


@pytest.mark.root
def test_b7_a_source_that_hangs_does_not_hold_the_users_pipe(ends: Ends, tmp_path: Path, short_grace: float) -> None:
    """B7: splice(2) from a file holds the mutex of the pipe while the file system does not answer: whoever reads,
    writes or closes that pipe then hangs with it, the hub first of all."""
    (tmp_path / "hung").mkdir()
    with mounted(tmp_path / "hung") as mountpoint:
        reader, writer = os.pipe2(os.O_NONBLOCK)
        source, sink = (mountpoint / "read-hang").open("rb", 0), open(writer, "wb", 0)
        transfer = gzc.Transfer(source, sink)
        answered: list[object] = []

        def read() -> None:
            answered.append(raised(BlockingIOError, os.read, reader, 1))

        reading = monkey.get_original("threading", "Thread")(target=read, daemon=True)
        try:
            with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
                transfer.run()
            reading.start()
            reading.join(1.0)
            assert answered, "the pipe is held"
        finally:
            subprocess.run(["umount", "-f", str(mountpoint)], check=False)  # now it fails, and lets go
            ends.keep(source), ends.keep(sink), ends.keep(open(reader, "rb", 0))
            transfer.reclaim()


@pytest.mark.root
@pytest.mark.parametrize("source", [*SOURCES, "bytes"])
def test_a_timeout_gets_through_a_sink_that_hangs(ends: Ends, fuse: Path, short_grace: float, source: str) -> None:
    content = payload(70_001)
    src = content if source == "bytes" else SOURCES[source](ends, content, MIB).obj
    sink = ends.keep((fuse / f"write-hang new {source}").open("wb", 0))
    timed_out(ends, gzc.Transfer(src, sink), short_grace)


@pytest.mark.root
def test_a_read_that_hangs_has_moved_nothing(ends: Ends, fuse: Path, short_grace: float) -> None:
    """What a plain read brings is not delivered before it is back: the count stays true, and it could go on."""
    source = ends.keep((fuse / f"read-hang {next(_numbers)}").open("rb", 0))
    transfer = gzc.Transfer(source, sink := bytearray())
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
        transfer.run()
    assert transfer.exact
    assert transfer.moved == source.tell() == len(sink) == 0


def test_a_call_that_nobody_waits_for_any_more_keeps_nothing_once_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its error had a traceback with the call's pipe in it, in a cycle: three pipes were open until a collection."""
    monkeypatch.setattr(gzc.config, "disk_grace", 0.01)

    class Pipe:
        pass

    back = monkey.get_original("threading", "Event")()

    def splice(_: Pipe) -> None:
        back.wait(PATIENCE)
        raise OSError(errno.EIO, "a disk that comes back broken")

    pipe = Pipe()
    kept = weakref.ref(pipe)
    gc.collect()
    gc.disable()
    try:
        job = _disk.Job()
        with contextlib.suppress(gevent.Timeout), gevent.Timeout(0.01):
            job.run(splice, pipe)
        del pipe, job
        assert kept() is not None, "the call has it"
        back.set()
        with gevent.Timeout(PATIENCE):
            while kept() is not None:
                gevent.sleep(0.01)
    finally:
        gc.enable()


def test_an_error_of_a_signal_handler_is_known_as_such_where_no_thread_is_to_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It strikes the call in the hub then, and its traceback is what tells it from the kernel's word."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    def handler(*_: object) -> None:
        raise TimeoutError("of the program's own")

    monkeypatch.setattr(ThreadPool, "spawn", refuse)
    before = signal.signal(signal.SIGUSR1, handler)
    job = _disk.Job()
    try:
        with pytest.raises(TimeoutError) as caught:
            job.run(signal.raise_signal, signal.SIGUSR1)
        assert _signals.from_signal_handler(caught.value)
        assert job.result is None, "what the call had done nobody knows"
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.root
def test_threads_that_hang_do_not_starve_other_disk_transfers(ends: Ends, fuse: Path, short_grace: float) -> None:
    for _ in range(gzc.config.disk_threads + 2):
        source = ends.keep((fuse / f"read-hang {next(_numbers)}").open("rb", 0))
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
            gzc.copy(source, bytearray())
    path = fuse / "new afterwards"
    with path.open("wb", 0) as sink, gevent.Timeout(5):
        assert gzc.copy(payload(MIB), sink) == MIB
    assert path.read_bytes() == payload(MIB)


@pytest.mark.root
def test_the_grace_lets_a_slow_call_end(ends: Ends, fuse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is over within the grace, a second by default: the transfer is exact and goes on."""
    assert gzc.config.disk_grace >= 2 * _fuse.SLOW
    monkeypatch.setattr(gzc.config, "disk_grace", PATIENCE)
    sink = bytearray()
    with (fuse / f"read-slow {next(_numbers)}").open("rb", 0) as source:
        transfer = gzc.Transfer(source, sink, 70_001)
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
            transfer.run()
        assert transfer.exact
        assert source.tell() == transfer.moved == len(sink)
        assert transfer.run() == 70_001
    assert sink == CONTENT[:70_001]


# -- files that lie ----------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.parametrize("sink", ["unix", "file wb", "pipe", "/dev/null", "bytearray"])
@pytest.mark.parametrize("name", ["size-zero", "size-big", "read-short", "honest"])
def test_c1_f3_f4_a_size_is_not_believed(ends: Ends, fuse: Path, name: str, sink: str) -> None:
    """C1 F3 F4: the size is too small or too big, the reads are short: what is there arrives."""
    taken = SINKS[sink](ends)
    with (fuse / name).open("rb") as source:
        assert source.read(10) == CONTENT[:10]
        assert gzc.copy(source, taken.obj) == len(CONTENT) - 10
        assert source.tell() == len(CONTENT)
    assert taken.content() in (None, HEAD + CONTENT[10:])


@pytest.mark.root
@pytest.mark.parametrize("sink", ["unix", "file wb", "pipe", "/dev/null"])
@pytest.mark.parametrize("name", ["EIO", "EAGAIN", "ENODATA", "ENOSPC"])
def test_f17_b10_errors_after_a_mebibyte(ends: Ends, fuse: Path, name: str, sink: str) -> None:
    """F17 B10: the exact count with the error; neither hidden, nor a hang, nor a spin."""
    taken = SINKS[sink](ends)
    with (fuse / f"read-{name}").open("rb", 0) as source:
        transfer = gzc.Transfer(source, taken.obj)
        cpu = time.process_time()
        with gevent.Timeout(PATIENCE), pytest.raises(OSError) as caught:  # noqa: PT011
            transfer.run()
        assert time.process_time() - cpu < 2
        assert caught.value.errno == getattr(errno, name)
        assert not isinstance(caught.value, gevent.Timeout)
        assert transfer.exact
        assert transfer.moved == source.tell() == MIB
        assert transfer.in_flight == 0
    assert taken.content() in (None, HEAD + CONTENT[:MIB])


@pytest.mark.root
@pytest.mark.parametrize("source", ["file", "tcp", "pipe", "bytes"])
@pytest.mark.parametrize("name", ["EIO", "ENOSPC"])
def test_c21_errors_of_the_sink_after_a_mebibyte(ends: Ends, fuse: Path, name: str, source: str) -> None:
    content = payload(2 * MIB)
    src = content if source == "bytes" else SOURCES[source](ends, content, MIB).obj
    path = fuse / f"write-{name} new {source}"
    with path.open("wb", 0) as sink:
        transfer = gzc.Transfer(src, sink)
        with pytest.raises(OSError) as caught:  # noqa: PT011
            transfer.run()
        assert caught.value.errno == getattr(errno, name)
        assert transfer.exact
        moved, held = transfer.moved, transfer.in_flight
        assert transfer.reclaim() == content[moved:][:held]
        assert moved == sink.tell() >= MIB  # a request that begins below it may end above
    assert path.read_bytes() == content[:moved]


@pytest.mark.root
@pytest.mark.parametrize("sink", ["unix", "file wb", "pipe", "/dev/null"])
def test_f3_a_size_that_is_too_big_is_asked_about_before_its_pages_are_taken(
    ends: Ends, fuse: Path, monkeypatch: pytest.MonkeyPatch, sink: str
) -> None:
    """F3: the kernel would fill what is missing with zeros, now and then also for a file of direct_io."""
    source = ends.keep((fuse / "size-big").open("rb"))
    ends_of_calls: list[int] = []
    for name, offset, count in (("splice", 3, 2), ("copy_file_range", 3, 2)):
        real = getattr(_syscalls, name)

        def look(*args: Any, real: Any = real, offset: int = offset, count: int = count) -> int:
            if len(args) > offset and isinstance(args[offset], int):
                ends_of_calls.append(args[offset] + args[count])
            return int(real(*args))

        monkeypatch.setattr(_syscalls, name, look)
    taken = SINKS[sink](ends)
    with gzc.trace() as seen:
        assert gzc.copy(source, taken.obj) == len(CONTENT)
    assert taken.content() in (None, HEAD + CONTENT)
    assert ends_of_calls
    assert max(ends_of_calls) <= len(CONTENT)
    assert any("less than it tells" in why for why, _ in seen.refused)


# -- cold --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sink", ["unix", "file wb", "pipe", "/dev/null", "bytearray"])
def test_b8_a_cold_file_is_read_off_the_hub(ends: Ends, monkeypatch: pytest.MonkeyPatch, sink: str) -> None:
    """B8: right, and no call for pages that are not there is made in the hub."""
    content = payload(5 * MIB)
    file = ends.file(content)
    if _storage.storage(file.fileno()) is not _storage.Storage.LOCAL:
        lacking("the tests' folder is not on a disk")
    os.fsync(file.fileno())
    with gevent.Timeout(PATIENCE):  # a page that another processor is about to list stays for a moment
        while _syscalls.is_cached(file.fileno(), 3 * MIB, 1):  # to ask has what is missing read, there and a little on
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            gevent.sleep(0.01)
    jobs = []
    run = _disk.Job.run
    monkeypatch.setattr(_disk.Job, "run", lambda self, *args: (jobs.append(args), run(self, *args))[1])
    taken = SINKS[sink](ends)
    assert gzc.copy(file, taken.obj) == len(content)
    assert jobs
    assert taken.content() in (None, HEAD + content)
    if sink not in ("file wb", "bytearray"):  # warm now, and what is cached stays in the hub
        jobs.clear()
        file.seek(0)
        again = SINKS[sink](ends)
        assert gzc.copy(file, again.obj) == len(content)
        assert jobs == []
        assert again.content() in (None, HEAD + content)


@pytest.mark.parametrize(("sink", "call"), [("unix", "sendfile"), ("/dev/null", "sendfile"), ("pipe", "splice")])
def test_b8_a_download_that_met_cold_pages_goes_back_to_the_cheaper_call(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, sink: str, call: str
) -> None:
    """B8: by the pool and our pipe only while the page cache has a gap; the whole window behind it is asked for."""
    content = payload(16 * MIB)
    gaps = [(2 * MIB, 3 * MIB), (9 * MIB + 5, 9 * MIB + 6), (16 * MIB - 1, 16 * MIB)]
    asked: list[int] = []

    def cached(fd: int, offset: int, count: int) -> bool:
        asked.append(offset)
        return all(offset + count <= begin or offset >= end for begin, end in gaps)

    monkeypatch.setattr(_syscalls, "is_cached", cached)
    monkeypatch.setattr(_storage, "storage", lambda fd: _storage.Storage.LOCAL)
    jobs = []
    run = _disk.Job.run
    monkeypatch.setattr(_disk.Job, "run", lambda self, *args: (jobs.append(args), run(self, *args))[1])
    own: list[tuple[int, int]] = []  # the calls that go without our pipe, by offset and count
    whole = getattr(_syscalls, call)

    def look(*args: Any) -> int:
        moved: int = whole(*args)
        if call == "sendfile":
            own.append((args[2], moved))
        elif len(args) > 3 and args[1] == taken.obj.fileno():
            own.append((args[3], moved))
        return moved

    taken = SINKS[sink](ends)
    monkeypatch.setattr(_syscalls, call, look)
    with gzc.trace() as seen:
        assert gzc.copy(ends.file(content), taken.obj) == len(content)
    assert taken.content() in (None, HEAD + content)
    assert seen.refused == []
    assert 3 <= len(jobs) <= 20
    assert sum(moved for _, moved in own) > 11 * MIB
    assert any(offset > 4 * MIB for offset, _ in own)
    assert any(offset > 10 * MIB for offset, _ in own)
    assert not any(offset < end and begin < offset + moved for begin, end in gaps for offset, moved in own)


@pytest.mark.root
@pytest.mark.parametrize("mode", ["wb", "w+b", "r+b"])
def test_what_the_file_object_has_still_to_write_does_not_stop_the_hub(ends: Ends, fuse: Path, mode: str) -> None:
    path = fuse / f"write-ticks {next(_numbers)}"
    file = ends.keep(path.open(mode))
    file.write(b"pending")
    source = ends.file(b"more" * 100)
    with Ticker(ends, ticks_of(fuse)) as ticker:
        assert gzc.copy(source, file) == 400
    assert ticker.gap < GAP
    assert file.tell() == 407
    assert path.read_bytes()[:407] == b"pending" + b"more" * 100


@pytest.mark.root
def test_a_pending_write_of_the_source_does_not_stop_the_hub(ends: Ends, fuse: Path) -> None:
    file = ends.keep((fuse / f"write-ticks new {next(_numbers)}").open("w+b"))
    file.write(b"pending")
    sock, there = ends.unix()
    peer = ends.reading(there)
    with Ticker(ends, ticks_of(fuse)) as ticker:
        assert gzc.copy(gzc.section(file, 3, 100), sock) == 4
    assert ticker.gap < GAP
    assert arrives(sock, peer) == b"ding"
    assert file.tell() == 7


# -- a thread that outlives its greenlet -------------------------------------------------------------------


ROUTES = [
    ("file", "file wb", "copy_file_range"),
    ("tcp", "file ab", "write"),
    ("bytes", "file wb", "write_at"),
]


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize(("source", "sink", "call"), ROUTES)
def test_g1_a_thread_beyond_its_grace_writes_into_no_other_file(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, source: str, sink: str, call: str
) -> None:
    """G1: the descriptors are closed and their numbers reused while the thread is still in its call."""
    monkeypatch.setattr(gzc.config, "disk_grace", 0.05)
    given = SOURCES["file" if source == "bytes" else source](ends, payload(MIB), MIB)
    taken = SINKS[sink](ends)
    held = Held(monkeypatch, call)
    transfer = gzc.Transfer(payload(MIB) if source == "bytes" else given.obj, taken.obj)
    copying = ends.spawn(transfer.run)
    held.wait_begun()
    copying.kill(timeout=PATIENCE)
    assert not transfer.exact
    transfer.reclaim()
    numbers = {given.obj.fileno(), taken.obj.fileno()}
    given.obj.close()
    taken.obj.close()
    gevent.sleep(0.01)  # gevent closes sockets in the hub's next turn
    contents = [payload(100_000, number) for number in range(20)]
    victims = [ends.file(content, "r+b") for content in contents]
    assert numbers <= {victim.fileno() for victim in victims}
    held.finish()
    assert [os.pread(victim.fileno(), 2 * MIB, 0) for victim in victims] == contents
    assert [os.lseek(victim.fileno(), 0, os.SEEK_CUR) for victim in victims] == [0] * len(victims)


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize(("source", "sink", "call"), ROUTES)
def test_an_interruption_waits_for_the_call_and_counts_it(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, source: str, sink: str, call: str
) -> None:
    """Within the grace the call's result is not lost: the transfer is exact and goes on."""
    content = payload(MIB + 3)
    src = content if source == "bytes" else SOURCES[source](ends, content, MIB).obj
    taken = SINKS[sink](ends)
    held = Held(monkeypatch, call, at=2 if call != "copy_file_range" else 1)
    transfer = gzc.Transfer(src, taken.obj)
    copying = ends.spawn(raised, gevent.Timeout, transfer.run)
    held.wait_begun()
    gevent.spawn_later(0.05, held.go.set)
    copying.kill(gevent.Timeout(), timeout=PATIENCE)
    assert held.over.is_set()
    assert transfer.exact
    assert transfer.moved > 0
    assert transfer.run() == len(content)
    assert taken.content() == HEAD + content


def _late(
    ends: Ends,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    content: bytes,
    sink: Any,
    call: str,
    observer: Callable[[int], None],
) -> gzc.Transfer:
    """A transfer that was interrupted in its first call, which came back during the grace."""
    src = content if source == "bytes" else SOURCES[source](ends, content, MIB).obj
    held = Held(monkeypatch, call)
    transfer = gzc.Transfer(gzc.observe(src, observer), sink)
    copying = ends.spawn(raised, gevent.Timeout, transfer.run)
    held.wait_begun()
    gevent.spawn_later(0.05, held.go.set)
    copying.kill(gevent.Timeout(), timeout=PATIENCE)
    return transfer


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize(("source", "sink", "call"), ROUTES)
def test_an_observer_hears_of_what_an_interrupted_call_moved(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, source: str, sink: str, call: str
) -> None:
    """The sum of what it is told is the return value, also when the call came back during the grace."""
    content = payload(MIB + 3)
    told: list[int] = []
    transfer = _late(ends, monkeypatch, source, content, SINKS[sink](ends).obj, call, told.append)
    assert sum(told) == transfer.moved > 0
    assert transfer.run() == sum(told) == len(content)


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize(("source", "sink", "call"), ROUTES)
def test_an_observer_that_writes_to_the_file_itself_writes_behind_what_came_late(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, source: str, sink: str, call: str
) -> None:
    """It is told once the positions are set, and may give up the turn; a resumed run goes on behind its line."""
    content = payload(MIB + 3)
    taken = SINKS[sink](ends)
    marks: list[int] = []

    def observer(count: int) -> None:
        if not marks:
            gevent.sleep(0)
            marks.append(taken.obj.tell())
            taken.obj.write(b"mark")

    transfer = _late(ends, monkeypatch, source, content, taken.obj, call, observer)
    assert transfer.moved > 0
    assert transfer.exact
    assert marks == [len(HEAD) + transfer.moved]
    cut = transfer.moved
    assert transfer.run() == len(content)
    assert taken.content() == HEAD + content[:cut] + b"mark" + content[cut:]


@pytest.mark.usefixtures("remote")
def test_a_call_that_has_not_begun_is_never_made(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """All threads are busy, the greenlet is killed in the queue: nothing was moved, and that is known."""
    held = Held(monkeypatch, "copy_file_range")
    gate = Lock()
    real = _syscalls.read_at

    def wait(*args: Any) -> Any:
        gate.wait(PATIENCE)
        return real(*args)

    monkeypatch.setattr(_syscalls, "read_at", wait)
    blockers = [ends.spawn(gzc.copy, ends.file(b"x" * 10), bytearray()) for _ in range(gzc.config.disk_threads)]
    gevent.sleep(0.01)
    src, dst = ends.file(payload(MIB)), ends.file(b"", "w+b")
    transfer = gzc.Transfer(src, dst)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        transfer.run()
    assert (transfer.exact, transfer.moved) == (True, 0)
    gate.set()
    gevent.joinall(blockers, timeout=PATIENCE)
    gevent.sleep(0.01)
    assert held.calls == 0
    held.go.set()
    assert transfer.run() == MIB
    assert Path(dst.name).read_bytes() == payload(MIB)


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize(("source", "sink", "call"), ROUTES)
def test_no_descriptor_stays_behind_an_interrupted_call(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, source: str, sink: str, call: str
) -> None:
    monkeypatch.setattr(gzc.config, "disk_grace", 0.02)
    with Ends(ends.folder) as warm:  # the pool's own descriptors
        gzc.copy(warm.file(payload(MIB)), bytearray())
    with open_fds_unchanged():
        with Ends(ends.folder) as own:
            src = payload(MIB) if source == "bytes" else SOURCES[source](own, payload(MIB), MIB).obj
            taken = SINKS[sink](own)
            held = Held(monkeypatch, call)
            transfer = gzc.Transfer(src, taken.obj)
            copying = own.spawn(transfer.run)
            held.wait_begun()
            copying.kill(timeout=PATIENCE)
            transfer.reclaim()
        gevent.sleep(0.01)
        held.finish()
        gevent.sleep(0.01)


def test_the_threads_are_bounded(ends: Ends, remote: None) -> None:
    before = len(os.listdir("/proc/self/task"))
    copies = [ends.spawn(gzc.copy, ends.file(payload(MIB)), ends.file(b"", "w+b")) for _ in range(40)]
    gevent.joinall(copies, timeout=PATIENCE)
    assert [copy.value for copy in copies] == [MIB] * 40
    assert len(os.listdir("/proc/self/task")) - before <= gzc.config.disk_threads


def test_where_no_thread_can_be_started_the_call_is_made_here(
    ends: Ends, remote: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a limit of processes, or at the exit of Python 3.12, which starts no threads any more."""

    def refuse(_pool: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ThreadPool, "_add_thread", refuse)
    monkeypatch.setattr(gevent.get_hub(), _disk._ATTRIBUTE, None, raising=False)
    content = payload(MIB)
    src, dst = ends.file(content), ends.file(b"", "w+b")
    with open_fds_unchanged():
        assert gzc.copy(src, dst) == MIB
    pool = getattr(gevent.get_hub(), _disk._ATTRIBUTE)
    monkeypatch.undo()  # what is queued then finds nothing to do
    _disk._retire(pool)
    assert gzc.copy(ends.file(b"more"), dst) == 4
    dst.seek(0)
    assert dst.read() == content + b"more"


def test_no_thread_more_is_no_reason_to_give_up_a_call_that_takes_long(
    ends: Ends, remote: None, monkeypatch: pytest.MonkeyPatch, short_grace: float
) -> None:
    def refuse(_pool: object) -> None:
        raise RuntimeError("can't start new thread")

    content = payload(MIB)
    gzc.copy(ends.file(content), ends.file(b"", "wb", 0))  # there is one thread
    monkeypatch.setattr(ThreadPool, "_add_thread", refuse)
    held = Held(monkeypatch, "copy_file_range")
    long = ends.spawn(gzc.copy, ends.file(content), ends.file(b"", "wb", 0))
    held.wait_begun()
    assert gzc.copy(ends.file(content), ends.file(b"", "wb", 0)) == MIB
    gevent.sleep(2 * short_grace)
    held.finish()
    assert long.get(timeout=PATIENCE) == MIB


@pytest.mark.parametrize("mode", ["ab", "wb"])
def test_memory_can_grow_when_a_result_came_late(
    ends: Ends, remote: None, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """M22: the traceback of the interruption keeps the frames of the write, but nothing of the memory."""
    held = Held(monkeypatch, "write" if mode == "ab" else "write_at")
    source = io.BytesIO(payload(1000))
    transfer = gzc.Transfer(source, ends.file(b"", mode, 0))
    copying = ends.spawn(raised, KeyError, transfer.run)
    held.wait_begun()
    copying.kill(KeyError, block=False)
    gevent.sleep(0.01)
    held.go.set()
    struck = copying.get(timeout=PATIENCE)
    assert (transfer.moved, transfer.exact) == (1000, True)
    source.write(b"more")
    source.close()
    assert struck.__traceback__ is not None


# -- others who write to the same object -------------------------------------------------------------------


def until(size: int, file: Any) -> None:
    with gevent.Timeout(PATIENCE):
        while os.fstat(file.fileno()).st_size < size:
            gevent.sleep(0.001)


@pytest.mark.parametrize("mode", ["wb", "w+b"])
@pytest.mark.parametrize("buffering", [0, -1])
@pytest.mark.parametrize("source", ["tcp", "unix", "makefile", "opaque"])
@pytest.mark.parametrize("size", [100, 200_000])
def test_what_others_write_meanwhile_is_not_overwritten(
    ends: Ends, size: int, source: str, buffering: int, mode: str
) -> None:
    """B16: two greenlets collect into one log; while one waits for its source, the other writes a line."""
    here, there = ends.pair("tcp" if source == "tcp" else "unix")
    src = {"makefile": lambda: ends.keep(here.makefile("rb")), "opaque": lambda: Reads(here)}.get(
        source, lambda: here
    )()
    log = ends.file(b"", mode, buffering)
    copying = ends.spawn(gzc.copy, src, log)
    content = payload(2 * size)
    there.sendall(content[:size])
    until(size, log)
    assert log.tell() == size
    log.write(b"line\n")
    there.sendall(content[size:])
    there.close()
    assert copying.get(timeout=PATIENCE) == 2 * size
    assert log.tell() == 2 * size + 5
    log.flush()
    assert Path(log.name).read_bytes() == content[:size] + b"line\n" + content[size:]


class Reads:
    """Somebody's own wrapper around a socket."""

    def __init__(self, sock: Any) -> None:
        self.read = sock.recv


@pytest.mark.parametrize("most", [MIB, 1000])
def test_what_others_write_while_the_pool_has_a_piece_comes_behind_it(
    ends: Ends, remote: None, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Also where the call wrote only ``most`` bytes of it: the rest is filled in, and no zeros stay in between."""
    real = _syscalls.splice

    def splice(source: int, sink: int, count: int, *offsets: int | None) -> int:
        return real(source, sink, min(count, most) if offsets else count, *offsets)

    monkeypatch.setattr(_syscalls, "splice", splice)
    held = Held(monkeypatch, "splice")
    here, there = ends.unix()
    out = ends.file(b"", "wb", 0)
    content = payload(20_000)
    there.sendall(content[:10_000])
    copying = ends.spawn(gzc.copy, here, out)
    held.wait_begun()
    assert out.tell() == 10_000
    out.write(b"line\n")
    held.finish()
    until(10_005, out)
    there.sendall(content[10_000:])
    there.close()
    assert copying.get(timeout=PATIENCE) == 20_000
    assert Path(out.name).read_bytes() == content[:10_000] + b"line\n" + content[10_000:]
    assert out.tell() == 20_005


@pytest.mark.parametrize("write", [b"", b"x"])
def test_what_others_have_read_ahead_does_not_come_back(ends: Ends, write: bytes) -> None:
    """A file open for both has one buffer: what it read before the copy wrote there is out of date."""
    log = ends.keep(open(ends.path(b"o" * 4096), "r+b"))
    here, there = ends.unix()
    copying = ends.spawn(gzc.copy, here, log)
    for piece in (b"A" * 100, b"B" * 100):
        before = log.tell()
        there.sendall(piece)
        with gevent.Timeout(PATIENCE):
            while log.tell() == before:
                gevent.sleep(0.001)
        assert log.read(1) == b"o"
        log.write(write)
    there.close()
    assert copying.get(timeout=PATIENCE) == 200
    log.seek(0)
    assert log.read(210) == (b"A" * 100 + b"o" + write + b"B" * 100 + b"o" + write + b"o" * 8)[:210]


def test_a_log_that_gzc_itself_writes_to_is_not_overwritten(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal of one way is told between two legs, and the log may be where the copy goes."""
    log = ends.file(b"", "wb", 0)

    class IntoLog(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.write(b"warning\n")

    handler = IntoLog()
    monkeypatch.setattr(logging.getLogger("gzc"), "handlers", [handler])
    monkeypatch.setattr(_stats, "_warned", set())
    content = payload(MIB)
    Scripted(monkeypatch, "copy_file_range", {1: OSError(errno.EXDEV, os.strerror(errno.EXDEV))})
    assert gzc.copy(ends.file(content), log) == MIB
    assert Path(log.name).read_bytes() == b"warning\n" + content


def test_a_copy_that_was_interrupted_in_the_queue_fills_its_place_when_resumed(
    ends: Ends, remote: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody wrote behind what was reserved for it: without that, zeros would stay there for ever."""
    out = ends.file(b"", "wb", 0)
    content = payload(MIB)
    transfer = gzc.Transfer(content, out)
    waits = Mock()
    waiting = types.SimpleNamespace(wait=waits, ready=lambda: False)
    monkeypatch.setattr(_disk, "_pool", lambda: types.SimpleNamespace(spawn=lambda *_: waiting))
    waits.side_effect = lambda _: (out.write(b"line\n"), raise_(KeyError))  # before a thread has taken it
    raised(KeyError, transfer.run)
    monkeypatch.undo()
    assert (transfer.moved, transfer.exact) == (0, True)
    assert transfer.run() == MIB
    data = Path(out.name).read_bytes()
    assert data.replace(b"line\n", b"") == content
    assert data.index(b"line\n") > 0


def raise_(kind: type[BaseException]) -> None:
    raise kind


def test_c1_a_file_that_overstates_its_size_leaves_no_zeros(ends: Ends) -> None:
    """C1: sysfs says 4096 of each; who writes to the sink meanwhile does not find a hole in front of himself."""
    path = Path("/sys/kernel/fscaps")
    out = ends.file(b"", "wb", 0)
    with path.open("rb") as source:
        assert os.fstat(source.fileno()).st_size == 4096
        content = path.read_bytes()
        assert gzc.copy(gzc.observe(source, lambda count: out.write(b"line\n")), out) == len(content)
    assert Path(out.name).read_bytes() == content + b"line\n"


def test_a_description_that_is_used_again_begins_where_the_file_stands(ends: Ends) -> None:
    out = ends.file(b"", "w+b", 0)
    sink = gzc.sink(out)

    def strike(_: int) -> None:
        out.write(b"behind")
        raise KeyError

    raised(KeyError, gzc.copy, gzc.observe(ends.file(payload(20 * MIB)), strike), sink)
    out.seek(0)
    assert gzc.copy(b"again", sink) == 5
    assert out.tell() == 5
    out.seek(0)
    assert out.read(5) == b"again"


def test_a_result_of_the_pool_is_booked_once_in_user_space(
    ends: Ends, remote: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M22: struck between two writes, the first one's result is not taken for the second's."""
    out = ends.file(b"", "wb", 0)
    real, calls = _file_sinks.FileWriter.write_may_stay_in_hub, []

    def swift(self: Any, count: int) -> bool:
        calls.append(count)
        if len(calls) == 2:
            strike(KeyboardInterrupt())
        return real(self, count)

    monkeypatch.setattr(_file_sinks.FileWriter, "write_may_stay_in_hub", swift)
    transfer = gzc.Transfer(payload(MIB), out)
    raised(KeyboardInterrupt, transfer.run)
    assert transfer.moved == os.fstat(out.fileno()).st_size == out.tell() == calls[0]
    assert not transfer.exact


def test_a_flush_by_the_pool_says_nothing_of_a_write_that_a_handler_strikes(
    ends: Ends, remote: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M22: its result, 0, is not how many bytes the write moved; dup2(2) may change the storage between the two."""
    out = ends.file(b"", "wb")
    out.write(b"before")
    real = _syscalls.write_at

    def strikes(*args: Any) -> int:
        real(*args)
        strike(KeyboardInterrupt())

    monkeypatch.setattr(_file_sinks.FileWriter, "write_may_stay_in_hub", lambda self, count: True)
    monkeypatch.setattr(_syscalls, "write_at", strikes)
    transfer = gzc.Transfer(payload(1000), out)
    raised(KeyboardInterrupt, transfer.run)
    assert os.fstat(out.fileno()).st_size == len(b"before") + 1000
    assert not transfer.exact


def test_a_forked_child_closes_the_watcher_of_the_pool_it_inherits(
    ends: Ends, remote: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M19: libuv goes on using the memory of a watcher that is merely dropped, and the process crashes later."""
    monkeypatch.setattr(gevent.get_hub(), _disk._ATTRIBUTE, None, raising=False)  # other tests may hang in theirs
    gzc.copy(ends.file(payload(MIB)), ends.file(b"", "wb", 0))
    inherited = getattr(gevent.get_hub(), _disk._ATTRIBUTE)
    inherited.size = 0  # a child has none of its threads, which would start the watcher again when they end
    watcher = inherited.fork_watcher = Mock(wraps=inherited.fork_watcher)
    inherited.pid += 1  # as a child sees it
    gzc.copy(ends.file(payload(MIB)), ends.file(b"", "wb", 0))
    assert getattr(gevent.get_hub(), _disk._ATTRIBUTE) is not inherited
    assert [name for name, *_ in watcher.method_calls] == ["stop", "close"]


def test_gevents_own_pool_stays_free(ends: Ends, remote: None) -> None:
    """It also resolves names: a slow disk must not fill it."""
    size = gevent.get_hub().threadpool.size
    gzc.copy(ends.file(payload(MIB)), ends.file(b"", "w+b"))
    assert gevent.get_hub().threadpool.size == size


@pytest.mark.parametrize("opened", ["FileObject", "FileObject, unbuffered", "open", "open, unbuffered"])
def test_g1_a_file_that_is_closed_while_its_job_waits_gives_nobody_elses_bytes(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, opened: str
) -> None:
    """Reading needs no duplicate: what a number gave that is another file's by now is thrown away."""
    monkeypatch.setattr(_storage, "storage", lambda fd: _storage.Storage.REMOTE)
    held = Held(monkeypatch, "splice")
    path, secret = ends.path(b"p" * MIB), ends.path(b"S" * MIB)
    buffering = 0 if "unbuffered" in opened else -1
    file: Any = (
        PlainFileObject(str(path), "rb", bufsize=buffering) if "Object" in opened else path.open("rb", buffering)
    )
    fd = file.fileno()
    sock, there = ends.unix()
    peer = ends.reading(there)
    copying = ends.spawn(raised, ValueError, gzc.copy, file, sock)
    held.wait_begun()
    file.close()
    other = os.open(secret, os.O_RDONLY)
    try:
        assert other == fd, "the number is another file's"
        held.finish()
        copying.get(timeout=PATIENCE)
    finally:
        os.close(other)
    sock.close()
    assert peer.all() == b""
