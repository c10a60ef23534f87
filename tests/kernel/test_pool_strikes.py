"""What strikes while a thread of the pool has a call: found by review, each kept from coming back.

The call in the thread is real, and held by `Held` until it is let go; storage is declared
remote, so that everything goes to the pool.
"""

from __future__ import annotations

import errno
import gc
import os
import weakref
from typing import Any

import gevent
import pytest
from gevent import monkey

import gzc

from .._ends import (
    MIB,
    PATIENCE,
    Ends,
    Iterations,
    open_fds_unchanged,
    payload,
    strike,
)
from .._inside import _disk, _file_sinks, _lending, _pipe, _syscalls
from .._pairs import raised
from .test_disk import Held

CONTENT = payload(MIB + 3)

pytestmark = pytest.mark.usefixtures("remote")


def test_a_result_is_booked_once(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Struck between two calls, the result of the first must not be taken for the second's."""
    source, sink = ends.file(CONTENT), ends.file(mode="w+b")
    real, calls = _file_sinks.FileWriter.write_may_stay_in_hub, []

    def swift(self: Any, count: int) -> bool:
        calls.append(self.region.written)
        if len(calls) == 2:
            strike(KeyboardInterrupt())
        return real(self, count)

    monkeypatch.setattr(_file_sinks.FileWriter, "write_may_stay_in_hub", swift)
    transfer = gzc.Transfer(source, sink)
    raised(KeyboardInterrupt, transfer.run)
    assert transfer.moved == calls[1] > 0, "what the first call moved, once"
    assert transfer.exact, "no call was under way"
    monkeypatch.undo()
    assert transfer.run() == len(CONTENT)
    sink.seek(0)
    assert sink.read() == CONTENT


@pytest.mark.parametrize("at", [1, 2])
def test_no_descriptor_to_be_had_for_the_thread(ends: Ends, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """L3: EMFILE out of dup(2) fails no copy; the call is made here, and nothing stays behind."""
    source, sink = ends.file(CONTENT), ends.file(mode="wb")
    real, calls = _syscalls.duplicate, []

    def duplicate(fd: int, into: list[int]) -> int:
        calls.append(fd)
        return -errno.EMFILE if len(calls) == at else int(real(fd, into))

    transfer = gzc.Transfer(source, sink)
    with open_fds_unchanged():
        monkeypatch.setattr(_syscalls, "duplicate", duplicate)
        assert transfer.run() == len(CONTENT)
        assert len(calls) >= at
        monkeypatch.undo()
    assert transfer.exact


@pytest.mark.usefixtures("remote")
def test_a_call_made_here_for_want_of_a_descriptor_is_over(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """L3: it is not taken for one that hangs, whose pipe or view would be left to a thread."""

    path = ends.path(b"before")
    sink = ends.keep(path.open("ab"))
    sink.seek(0)
    monkeypatch.setattr(_syscalls, "duplicate", lambda *_: -errno.EMFILE)
    transfer = gzc.Transfer(b"12345", sink)
    assert transfer.run() == 5
    assert not transfer._writer.still_running()  # type: ignore[union-attr]
    assert sink.tell() == 11
    assert path.read_bytes() == b"before12345"


def test_a_second_strike_during_the_grace_writes_the_thread_off_all_the_same(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gzc.config, "disk_grace", 5.0)
    held = Held(monkeypatch, "copy_file_range")
    transfer = gzc.Transfer(ends.file(CONTENT), ends.file(mode="wb"))
    copying = ends.spawn(raised, gevent.GreenletExit, transfer.run)
    held.wait_begun()
    most = _disk._pool().maxsize
    copying.kill(block=False)
    gevent.sleep(0.01)
    assert not copying.dead, "it waits for the call"
    copying.kill(timeout=PATIENCE)
    assert _disk._pool().maxsize == most + 1
    held.finish()
    gevent.sleep(0.01)
    assert _disk._pool().maxsize == most
    transfer.reclaim()


def test_calls_beyond_the_grace_stall_nobody(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not interrupted, only slow: every thread of the pool hangs, and another copy goes through."""
    monkeypatch.setattr(gzc.config, "disk_grace", 0.05)
    threads = gzc.config.disk_threads
    lock = monkey.get_original("threading", "Event")()
    real = _syscalls.copy_file_range

    def hang(src: int, dst: int, count: int, *offsets: int) -> int:
        if os.fstat(src).st_size == 5:
            lock.wait(PATIENCE)
        return real(src, dst, count, *offsets)

    monkeypatch.setattr(_syscalls, "copy_file_range", hang)
    monkeypatch.setattr(gzc.config, "small", 0)
    slow = [ends.spawn(gzc.copy, ends.file(b"12345"), ends.file(mode="wb")) for _ in range(threads)]
    gevent.sleep(0)
    try:
        with gevent.Timeout(PATIENCE):
            assert gzc.copy(ends.file(CONTENT), ends.file(mode="wb")) == len(CONTENT)
        assert not any(one.ready() for one in slow)
    finally:
        lock.set()
    assert [one.get(timeout=PATIENCE) for one in slow] == [5] * threads


def test_a_forked_child_does_not_keep_what_the_thread_has(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its duplicates would keep a connection open that the child knows nothing of."""
    held = Held(monkeypatch, "copy_file_range")
    copying = ends.spawn(gzc.copy, ends.file(CONTENT), ends.file(mode="wb"))
    held.wait_begun()
    lent = [fd for one in _lending._all for fd in one._open]
    assert len(lent) == 2
    gevent.get_hub().loop.install_sigchld()
    pid = gevent.os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if all(map(_closed, lent)) and not any(one._open for one in _lending._all) else 2
        finally:
            os._exit(status)
    with gevent.Timeout(PATIENCE):
        assert gevent.os.waitpid(pid, 0)[1] == 0
    held.finish()
    assert copying.get(timeout=PATIENCE) == len(CONTENT)
    assert all(map(_closed, lent))


def _closed(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return True
    return False


def test_an_error_out_of_the_pool_leaves_no_cycle(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of a copy that had to go another way are freed without gc."""
    monkeypatch.setattr(_syscalls, "copy_file_range", lambda *_: -errno.EXDEV)
    source, sink = ends.path(CONTENT).open("rb"), ends.path(b"").open("wb")
    gone = weakref.ref(source)
    gc.disable()
    try:
        assert gzc.copy(source, sink) == len(CONTENT)
        source.close()
        del source
        assert gone() is None
    finally:
        gc.enable()
        sink.close()


def test_splice_between_files_moves_nobodys_position(ends: Ends) -> None:
    """A call that comes back late would move the position that the caller's file object shares."""
    source, sink = ends.file(CONTENT), ends.file(b"head", "r+b")
    os.lseek(sink.fileno(), 2, os.SEEK_SET)
    pipe = _pipe.TransitPipe()
    assert pipe.between(source.fileno(), sink.fileno(), 1000, 10, 4) == 1000
    assert (os.lseek(source.fileno(), 0, os.SEEK_CUR), os.lseek(sink.fileno(), 0, os.SEEK_CUR)) == (0, 2)
    assert os.pread(sink.fileno(), 2000, 0) == b"head" + CONTENT[10:1010]


def test_a_closed_pipe_does_not_reach_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a forked child, whose pipes are closed under the transfers it inherited."""
    monkeypatch.setattr(_pipe, "_idle", [])
    pipe = _pipe.take(None)
    assert _syscalls.write(pipe.writer, b"some") == 4
    pipe.bytes_in += 4
    pipe.close()
    assert (pipe.held, pipe.drain()) == (0, b"")
    _pipe.give_back(pipe)
    assert _pipe._idle == []


def test_a_loop_of_short_copies_shares_one_turn(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ends within its first step; together they must not hold the hub."""
    monkeypatch.setattr(gzc.config, "hub_budget", 1e-9)
    with Iterations() as loop:
        for _ in range(30):
            gzc.copy(b"12345", bytearray(), 5)
    assert loop.count >= 10
