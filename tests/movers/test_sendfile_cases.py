"""The hard cases of sendfile(2), by their ids in HARD_CASES.md: files (F), waiting (B), errnos (C), objects (O, G).

Rules: the real kernel wherever it does the thing on demand; where it does not, its answer to one call is
scripted (`Script`) and all other calls stay real. Every test also compares bytes.
"""

# ruff: noqa: SIM115 - what is opened here is given to `Ends.keep`, which closes it

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import gevent.event
import gevent.os
import pytest
from gevent import socket as gsocket
from gevent.exceptions import ConcurrentObjectUseError
from gevent.threadpool import ThreadPool

import gzc

from .._ends import (
    BEYOND_SMALL,
    CHUNK,
    MIB,
    PATIENCE,
    Ends,
    Iterations,
    Peer,
    Script,
    arrives,
    at_rest,
    error,
    is_at,
    open_fds_unchanged,
    payload,
)
from .._inside import _claims, _retries, _sendfile, _syscalls
from .._lacks import opened_direct

CONTENT = payload(2 * MIB + 3)

#: Errnos that mean "this call cannot serve this pair".
DECLINES = ("EINVAL", "EOPNOTSUPP", "ENOSYS", "ESPIPE", "EPERM", "EOVERFLOW", "ENODATA")
#: Errnos that are the truth about the disk or the peer.
TRUTHS = ("EIO", "ENOSPC", "EPIPE", "ECONNRESET", "ETIMEDOUT", "ENOTCONN", "ENOMEM", "EBADF", "EFBIG", "EDQUOT")


# -- F: what files do --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/proc/cpuinfo", "/proc/self/maps", "/proc/self/cmdline", "/proc/version"])
@pytest.mark.parametrize("buffering", [-1, 0])
def test_f1_f2_files_in_proc_arrive_whole(ends: Ends, path: str, buffering: int) -> None:
    """F1 F2: a size of 0, EINVAL from some, content all the same."""
    expected = Path(path).read_bytes()
    assert expected
    sock, there = ends.unix()
    peer = ends.reading(there)
    with open(path, "rb", buffering) as file:
        assert os.fstat(file.fileno()).st_size == 0
        gzc.copy(file, sock)
        assert file.read() == b""
    got = arrives(sock, peer)
    if path == "/proc/self/maps":  # what memory is mapped changes while it is read
        assert got.splitlines()[0] == expected.splitlines()[0]
    elif path == "/proc/cpuinfo":  # the clock rate does, too
        assert got.count(b"processor") == expected.count(b"processor")
    else:
        assert got == expected


def test_f2_part_of_a_file_in_proc(ends: Ends) -> None:
    expected = Path("/proc/version").read_bytes()
    sock, there = ends.unix()
    with open("/proc/version", "rb") as file:
        assert file.read(5) == expected[:5]
        assert gzc.copy(file, sock, 7) == 7
        assert file.read(3) == expected[12:15]
    assert there.recv(100) == expected[5:12]


def test_f3_a_size_that_promises_too_much(ends: Ends) -> None:
    """F3: a file in sysfs says 4096 bytes and has a few."""
    path = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not path.exists():
        path = Path("/sys/devices/system/cpu/online")
    expected = path.read_bytes()
    assert len(expected) < path.stat().st_size == 4096
    for count in (None, 4000):
        sock, there = ends.unix()
        with path.open("rb") as file:
            assert gzc.copy(file, sock, count, fallback=count is None) == len(expected)
        assert there.recv(9000) == expected


@pytest.mark.parametrize("at", [1, 2, 4])
def test_f4_a_zero_is_not_believed_before_a_read_agrees(ends: Ends, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """F4 C1: FUSE with direct_io answers 0 to sendfile and has content; also after progress."""
    script = Script(monkeypatch, {at: 0})
    file, (sock, there) = ends.file(CONTENT), ends.unix()
    peer = ends.reading(there)
    with gzc.trace() as t:
        assert gzc.copy(file, sock) == len(CONTENT)
    assert script.calls == at
    assert t.bytes["sendfile"] == script.moved == script.asks[-1][0]
    assert t.bytes["userspace"] == len(CONTENT) - t.bytes["sendfile"]
    assert sum(count for _, count in t.refused) == 1
    assert arrives(sock, peer) == CONTENT
    assert file.tell() == len(CONTENT)


def test_f4_a_zero_is_the_end_when_a_read_agrees(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_syscalls, "byte_at", lambda fd, offset: False)
    Script(monkeypatch, {2: 0})
    file, (sock, there) = ends.file(CONTENT), ends.unix()
    ends.reading(there)
    with gzc.trace() as t:
        moved = gzc.copy(file, sock)
    assert 0 < moved <= CHUNK
    assert t.refused == []
    is_at(file, moved, CONTENT)


def test_f5_a_file_that_is_truncated_on_the_way(ends: Ends) -> None:
    path = ends.path(payload(5 * MIB))
    file = ends.keep(path.open("rb"))
    sock, there = ends.unix()
    copying = ends.spawn(gzc.copy, file, sock)
    peer = ends.peer(there)
    peer.take(MIB)
    os.truncate(path, MIB + 100_000)
    peer.start()
    moved = copying.get(timeout=PATIENCE)
    assert MIB <= moved < 3 * MIB
    got = arrives(sock, peer)
    assert len(got) == moved == file.tell()
    assert got[:MIB] == payload(MIB)  # later pages may have been cut after they were sent (F7)


def test_f5_a_count_is_not_reached_by_a_file_that_was_truncated(ends: Ends) -> None:
    file, (sock, there) = ends.file(CONTENT), ends.unix()
    peer = ends.reading(there)
    transfer = gzc.Transfer(file, sock, len(CONTENT))
    os.truncate(file.name, 1000)
    assert transfer.run() == 1000
    assert transfer.run() == 1000
    assert arrives(sock, peer) == CONTENT[:1000]


def test_f6_a_file_that_grows_is_copied_to_its_new_end(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ends.path(CONTENT[:MIB])
    file = ends.keep(path.open("rb"))

    def grow() -> None:
        with path.open("ab") as more:
            more.write(CONTENT[MIB:])

    script = Script(monkeypatch, {2: grow})
    sock, there = ends.unix()
    peer = ends.reading(there)
    assert gzc.copy(file, sock, fallback=False) == len(CONTENT)
    assert script.asks[-1][0] + script.asks[-1][1] == len(CONTENT)
    assert arrives(sock, peer) == CONTENT


@pytest.mark.parametrize("size", [BEYOND_SMALL, CHUNK, CHUNK + 1, MIB, 2 * MIB + 3])
@pytest.mark.parametrize("count", [None, 2**40])
def test_f8_never_more_is_asked_than_there_is(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, size: int, count: int | None
) -> None:
    """F8: else kernels before 6.5 cork the last packet for 200 ms. And nothing is asked behind the last byte (X7)."""
    script = Script(monkeypatch)
    file, (sock, there) = ends.file(payload(size)), ends.unix()
    peer = ends.reading(there)
    assert gzc.copy(file, sock, count) == size
    assert all(0 < ask <= min(CHUNK, size - offset) for offset, ask in script.asks)
    offset, ask = script.asks[-1]
    assert offset + ask == size
    assert arrives(sock, peer) == payload(size)


@pytest.mark.parametrize("buffering", [-1, 0])
@pytest.mark.parametrize(("start", "count"), [(0, None), (0, 100_001), (4096, None), (1000, 70_000), (513, None)])
def test_f13_a_file_opened_with_o_direct_is_read_by_whole_blocks(
    ends: Ends, buffering: int, start: int, count: int | None
) -> None:
    """F13: sendfile would answer EINVAL at the first odd length, and Python's own read at an odd address."""
    path = ends.path(CONTENT)
    fd = opened_direct(path, os.O_RDONLY)
    file = ends.keep(open(fd, "rb", buffering))
    file.seek(start)
    sock, there = ends.unix()
    plan = gzc.explain(file, sock)
    assert plan.mechanism == "userspace"
    assert "O_DIRECT" in plan.reason
    expected = CONTENT[start:] if count is None else CONTENT[start : start + count]
    peer = ends.reading(there)
    assert gzc.copy(file, sock, count) == len(expected)
    assert file.tell() == start + len(expected)
    assert arrives(sock, peer) == expected


def test_f13_a_file_opened_with_o_direct_is_written_by_its_own_write(ends: Ends) -> None:
    """F13: whole blocks from aligned memory are its owner's affair, and what it says of them is passed on."""
    fd = opened_direct(ends.path(), os.O_WRONLY)
    file = ends.keep(open(fd, "wb", 0))
    plan = gzc.explain(ends.file(CONTENT), file)
    assert (plan.mechanism, plan.sink.kind) == ("userspace", gzc.Kind.OPAQUE)
    assert "O_DIRECT" in plan.reason
    with pytest.raises(OSError, match="Invalid argument") as caught:
        gzc.copy(b"no whole block", file)
    assert caught.value.transfer.moved == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("buffering", [-1, 0])
def test_a_device_is_read_by_its_own_read(ends: Ends, buffering: int) -> None:
    with open("/dev/zero", "rb", buffering) as device:
        sock, there = ends.unix()
        peer = ends.reading(there)
        plan = gzc.explain(device, sock, MIB)
        assert plan.mechanism == "userspace"
        assert "device" in plan.reason
        assert gzc.copy(device, sock, MIB) == MIB
        assert arrives(sock, peer) == bytes(MIB)


def test_f14_a_count_of_nothing_makes_no_call(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(monkeypatch)
    file, (sock, _) = ends.file(CONTENT), ends.unix()
    assert gzc.copy(file, sock, 0) == gzc.copy(ends.file(), sock) == 0
    assert script.asks == []


@pytest.mark.parametrize("offset", [2**31 - 5, 2**32 - 100_000, 2**32 + 1, 2**40])
def test_f16_offsets_beyond_four_gib(ends: Ends, offset: int) -> None:
    file = ends.file(mode="r+b")
    file.seek(offset)
    file.write(CONTENT[:300_000])
    file.seek(offset + 1)
    sock, there = ends.unix()
    peer = ends.reading(there)
    assert gzc.copy(file, sock, fallback=False) == 299_999
    assert file.tell() == offset + 300_000
    assert arrives(sock, peer) == CONTENT[1:300_000]


@pytest.mark.parametrize("buffering", [-1, 0])
def test_r11_f16_the_position_moves_with_each_step(ends: Ends, monkeypatch: pytest.MonkeyPatch, buffering: int) -> None:
    """R11, F16: an offset is given with each call, and the position is told behind it: for whoever polls ``tell()``."""
    file = ends.file(CONTENT, buffering=buffering)
    file.read(100)
    seen: list[int] = []
    script = Script(monkeypatch, others=lambda: seen.append(file.tell()))
    sock, there = ends.unix()
    peer = ends.reading(there)
    gzc.copy(file, sock)
    assert len(set(seen)) > 2
    assert seen == [offset for offset, _ in script.asks]
    assert file.tell() == len(CONTENT)
    assert arrives(sock, peer) == CONTENT[100:]


# -- B: waiting and fairness -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_b3_b4_b5_others_run_meanwhile(ends: Ends, family: str) -> None:
    """B3 B4 B5: a transfer whose peer, a thread, drains as fast as it is sent never has to wait; others must run."""
    here, there = ends.pair(family)
    native_fd = os.dup(there.fileno())
    os.set_blocking(native_fd, True)
    drained: list[int] = []

    def drain() -> None:
        buffer = bytearray(MIB)
        while got := os.readv(native_fd, [buffer]):
            drained.append(got)
        os.close(native_fd)

    thread = threading.Thread(target=drain)
    thread.start()
    file = ends.file(payload(5 * MIB))
    ticks: list[float] = []

    def tick() -> None:
        while True:
            ticks.append(time.monotonic())
            gevent.sleep(0.001)

    ticker = ends.spawn(tick)
    gevent.sleep(0)
    started = time.monotonic()
    try:
        for _ in range(60):
            file.seek(0)
            assert gzc.copy(file, here) == 5 * MIB
    finally:
        elapsed = time.monotonic() - started
        ticker.kill()
        here.close()
        while thread.is_alive():  # it shares nothing with the hub but the processor
            thread.join(0.01)
    assert sum(drained) == 300 * MIB
    assert len(ticks) > elapsed / 0.05  # 20 times its wish at the least


def test_b4_who_comes_when_the_turn_is_over_makes_a_short_step(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """B5: each of 256 downloads makes one step all the same, and steps of 1 MiB would hold the hub for 45 ms."""
    monkeypatch.setattr(gzc.config, "hub_budget", 1e-9)
    script = Script(monkeypatch, others=1000)
    gevent.sleep(0.002)  # into an iteration of which nothing is spent
    pairs = [ends.unix() for _ in range(3)]
    copies = [ends.spawn(gzc.copy, ends.file(payload(2 * MIB)), here) for here, _ in pairs]
    at_rest()
    assert [count for _, count in script.asks[:3]] == [MIB, _sendfile.BRIEF, _sendfile.BRIEF]
    gevent.killall(copies)


def test_b4_the_budget_of_a_turn_goes_through_the_loop(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """B5: not by sleep(0), which would not look at timers and I/O. A budget of nothing yields at every step."""
    monkeypatch.setattr(gzc.config, "hub_budget", 1e-9)
    monkeypatch.setattr(gzc.config, "chunk", 4096)
    file, (sock, there) = ends.file(CONTENT[:100_000]), ends.tcp()
    with Iterations() as loop:
        assert gzc.copy(file, sock) == 100_000
    assert loop.count >= 100_000 // 4096 // 3
    assert there.recv(10) == CONTENT[:10]


@pytest.mark.parametrize("sink", ["bytearray", "file"])
def test_b4_also_where_nothing_ever_waits(ends: Ends, monkeypatch: pytest.MonkeyPatch, sink: str) -> None:
    monkeypatch.setattr(gzc.config, "hub_budget", 1e-9)
    with Iterations() as loop:
        assert gzc.copy(CONTENT, bytearray() if sink == "bytearray" else ends.file(mode="wb")) == len(CONTENT)
    assert loop.count >= len(CONTENT) // CHUNK // 3


@pytest.mark.parametrize("before", [0, 2])
def test_b10_a_file_system_that_answers_eagain(ends: Ends, monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    """B10: waiting for the socket, which is writable, would spin for ever (GPFS, FUSE; cpython#87909)."""
    script = Script(monkeypatch, dict.fromkeys(range(1, before + 1), CHUNK), others=error(errno.EAGAIN))
    file, (sock, there) = ends.file(CONTENT), ends.unix()
    peer = ends.reading(there)
    with gevent.Timeout(PATIENCE), gzc.trace() as t:
        assert gzc.copy(file, sock) == len(CONTENT)
    assert script.calls - before <= _retries.IN_VAIN + _retries.SINK + 2
    assert t.waits["sendfile"] <= _retries.IN_VAIN + 2
    assert [count for why, count in t.refused if "EAGAIN" in why] == [1]
    assert arrives(sock, peer) == CONTENT


def test_b10_a_full_socket_is_believed(ends: Ends) -> None:
    """The other side of B10: a peer that reads in small sips makes many EAGAINs, none of them suspect."""
    file, (sock, there) = ends.file(CONTENT[:MIB]), ends.unix()
    sock.setsockopt(gsocket.SOL_SOCKET, gsocket.SO_SNDBUF, 4096)
    got = bytearray()

    def sip() -> None:
        while data := there.recv(3000):
            got.extend(data)
            gevent.sleep(0)

    sipping = ends.spawn(sip)
    with gzc.trace() as t:
        assert gzc.copy(file, sock, fallback=False) == MIB
    assert t.refused == []
    assert t.waits["sendfile"] > 5
    sock.close()
    sipping.get(timeout=PATIENCE)
    assert got == CONTENT[:MIB]


def _two_on(ends: Ends, what: str) -> tuple[gevent.Greenlet, Any, Any, Peer]:
    """A transfer that waits, and the ends of a second one that shares `what` with it."""
    file, (sock, there) = ends.file(payload(5 * MIB)), ends.unix()
    first = ends.spawn(gzc.copy, file, sock)
    peer = ends.peer(there)
    peer.take(MIB)
    return (
        first,
        file if what == "source" else ends.file(CONTENT),
        sock if what == "sink" else ends.unix()[0],
        peer,
    )


@pytest.mark.parametrize("what", ["source", "sink"])
def test_b16_a_second_transfer_is_refused_before_a_byte_moves(ends: Ends, what: str) -> None:
    first, source, sink, peer = _two_on(ends, what)
    position = source.tell()
    with gzc.trace() as t, pytest.raises(gzc.BusyError) as caught:
        gzc.copy(source, sink)
    assert sum(t.bytes.values()) == 0
    assert source.tell() == position
    assert isinstance(caught.value, ConcurrentObjectUseError)
    assert isinstance(caught.value, gzc.Error)
    assert not isinstance(caught.value, OSError)
    peer.start()
    assert first.get(timeout=PATIENCE) == 5 * MIB


@pytest.mark.parametrize("what", ["source", "sink"])
def test_b16_the_end_is_free_again_afterwards(ends: Ends, what: str) -> None:
    first, source, sink, peer = _two_on(ends, what)
    first.kill(timeout=PATIENCE)
    if what == "sink":
        peer.start()
    else:
        source.seek(0)
    with gevent.Timeout(PATIENCE):
        assert gzc.copy(source, sink, 10) == 10
    assert _claims._claims == {}


@pytest.mark.parametrize("direction", ["reading", "writing"])
def test_b16_a_greenlet_that_waits_on_the_socket_by_itself(ends: Ends, direction: str) -> None:
    """Two who read one socket would steal each other's bytes without any error."""
    sock, _peer = ends.stuck()
    other = ends.spawn(sock.recv, 1) if direction == "reading" else ends.spawn(sock.sendall, b"x")
    at_rest()
    with gzc.trace() as t, pytest.raises(gzc.BusyError):
        gzc.copy(*((sock, bytearray()) if direction == "reading" else (ends.file(CONTENT), sock)))
    assert sum(t.calls.values()) == 0
    assert not other.dead


def test_b16_two_directions_are_two_claims(ends: Ends) -> None:
    sock, peer = ends.stuck()
    copying = ends.spawn(gzc.copy, ends.file(CONTENT), sock)
    at_rest()
    peer.sock.sendall(b"other way")
    assert gzc.copy(sock, sink := bytearray(), 9) == 9
    assert sink == b"other way"
    peer.start()
    assert copying.get(timeout=PATIENCE) == len(CONTENT)
    assert arrives(sock, peer)[peer.filled :] == CONTENT  # type: ignore[attr-defined]


# -- C: answers of the kernel ------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("name", DECLINES)
def test_c9_another_way_goes_on_from_the_same_byte(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, latches: dict[str, str], name: str, at: int
) -> None:
    """C7 C9 F17: declined at the first call or after progress; never from the start again."""
    script = Script(monkeypatch, {at: error(getattr(errno, name))})
    file, (sock, there) = ends.file(CONTENT), ends.unix()
    peer = ends.reading(there)
    with gzc.trace() as t:
        assert gzc.copy(file, sock) == len(CONTENT)
    assert script.calls == at
    before = script.asks[-1][0]
    assert (t.bytes["sendfile"], t.bytes["userspace"]) == (before, len(CONTENT) - before)
    assert t.calls["sendfile"] == at
    assert sum(count for _, count in t.refused) == 1
    assert arrives(sock, peer) == CONTENT
    assert file.tell() == len(CONTENT)
    assert latches == {}  # the kernel, asked again, says that it has the call


@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("name", TRUTHS)
def test_l11_m3_a_truth_is_never_masked(ends: Ends, monkeypatch: pytest.MonkeyPatch, name: str, at: int) -> None:
    """C8 L11 P3: a second method could turn a reported error into good-looking wrong data."""
    number = getattr(errno, name)
    script = Script(monkeypatch, {at: error(number)})
    file, (sock, there) = ends.file(CONTENT), ends.unix()
    peer = ends.reading(there)
    with gzc.trace() as t, pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is asserted
        gzc.copy(file, sock)
    assert caught.value.errno == number
    assert type(caught.value) is type(error(number))
    assert script.calls == at
    transfer = caught.value.transfer  # type: ignore[attr-defined]
    assert transfer.moved == t.bytes["sendfile"] == sum(t.bytes.values()) == script.asks[-1][0]
    assert transfer.exact
    assert t.refused == []
    assert file.tell() == transfer.moved
    assert transfer.run() == len(CONTENT)  # it was a passing illness
    assert arrives(sock, peer) == CONTENT


@pytest.mark.parametrize("at", [1, 3])
def test_c9_without_fallback_a_decline_is_an_error(ends: Ends, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """API.md: NotZeroCopyError at the first call, the kernel's own error after progress."""
    script = Script(monkeypatch, {at: error(errno.EINVAL)})
    file, (sock, there) = ends.file(CONTENT), ends.unix()
    peer = ends.reading(there)
    with pytest.raises(gzc.NotZeroCopyError if at == 1 else OSError) as caught:
        gzc.copy(file, sock, fallback=False)
    assert at == 1 or caught.value.errno == errno.EINVAL
    moved = caught.value.transfer.moved
    assert moved == script.asks[-1][0]
    is_at(file, moved, CONTENT)
    assert arrives(sock, peer) == CONTENT[:moved]


def test_c5_enosys_is_remembered(ends: Ends, monkeypatch: pytest.MonkeyPatch, latches: dict[str, str]) -> None:
    script = Script(monkeypatch, others=error(errno.ENOSYS), probe=error(errno.ENOSYS))
    sock, there = ends.unix()
    peer = ends.reading(there)
    for _ in range(3):
        assert gzc.copy(ends.file(CONTENT), sock) == len(CONTENT)
    assert (script.calls, script.probes) == (1, 1)
    assert "ENOSYS" in latches["sendfile"]
    plan = gzc.explain(ends.file(CONTENT), sock)
    assert plan.mechanism != "sendfile"
    assert "ENOSYS" in plan.reason
    assert arrives(sock, peer) == CONTENT * 3


@pytest.mark.parametrize("sandbox", [True, False])
def test_c6_eperm_has_two_meanings(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, latches: dict[str, str], sandbox: bool
) -> None:
    """C6: of a sandbox, which refuses even what cannot exist, and of this one file."""
    eperm = error(errno.EPERM)
    script = Script(monkeypatch, others=eperm, probe=eperm if sandbox else None)
    sock, there = ends.unix()
    peer = ends.reading(there)
    for _ in range(3):
        assert gzc.copy(ends.file(CONTENT), sock) == len(CONTENT)
    assert (script.calls, script.probes) == ((1, 1) if sandbox else (3, 3))
    assert ("sendfile" in latches) is sandbox
    assert arrives(sock, peer) == CONTENT * 3


def test_c13_one_call_is_never_asked_for_more_than_linux_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(monkeypatch, others=error(errno.EBADF))
    for count in (2**31, 2**63, 2**64 - 1):
        with pytest.raises(OSError, match="descriptor"):
            gzc.sendfile(-2, -2, 0, count)
    assert script.asks == [(0, CHUNK)] * 3
    for count in (2**31, 2**63, 2**64 - 1):
        with pytest.raises(OSError, match="descriptor"):
            gzc.splice(-2, -2, count)  # an OverflowError, were it passed on


@pytest.mark.parametrize("most", [1000, 65_537])
def test_c20_short_counts(ends: Ends, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    script = Script(monkeypatch, others=most)
    file, (sock, there) = ends.file(CONTENT[:400_000]), ends.unix()
    peer = ends.reading(there)
    with gzc.trace() as t:
        assert gzc.copy(file, sock, fallback=False) == 400_000
    assert script.calls == t.calls["sendfile"] >= 400_000 // most
    assert arrives(sock, peer) == CONTENT[:400_000]


def test_x7_no_call_after_the_last_byte(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """X7: an EAGAIN or EPIPE after a complete copy must not become its result."""
    script = Script(monkeypatch, {1: 20_000, 2: 20_000}, others=error(errno.EPIPE))
    monkeypatch.setattr(_syscalls, "byte_at", lambda fd, offset: pytest.fail("asked"))
    file, (sock, there) = ends.file(CONTENT), ends.unix()
    assert gzc.copy(file, sock, 40_000) == 40_000
    assert script.calls == 2
    assert arrives(sock, ends.peer(there)) == CONTENT[:40_000]


# -- G, O: gevent, and descriptors that change owners ------------------------------------------------------


def _close_while_waiting(ends: Ends, direction: str) -> OSError:
    sock, _peer = ends.stuck()
    copying = ends.spawn(gzc.copy, *((ends.file(CONTENT), sock) if direction == "writing" else (sock, bytearray())))
    at_rest()
    assert not copying.dead
    sock.close()
    with pytest.raises(OSError, match="descriptor") as caught:
        copying.get(timeout=PATIENCE)
    return caught.value


@pytest.mark.parametrize("direction", ["reading", "writing"])
def test_g2_a_close_by_another_greenlet_is_ebadf(ends: Ends, direction: str) -> None:
    """G2: and an exception of its own each time; gevents of old shared one, and so its attributes."""
    first, second = (_close_while_waiting(ends, direction) for _ in range(2))
    assert first.errno == second.errno == errno.EBADF
    assert first is not second
    assert first.transfer is not second.transfer  # type: ignore[attr-defined]
    assert first.transfer.moved == 0  # type: ignore[attr-defined]
    assert first.transfer.exact  # type: ignore[attr-defined]


def test_g3_the_timeout_bounds_each_wait_not_the_whole(ends: Ends) -> None:
    """G3: a copy that takes several times the socket's timeout, in which no single wait does."""
    sock, peer = ends.stuck()
    sock.settimeout(1.0)
    file = ends.file(payload(5 * MIB))
    copying = ends.spawn(gzc.copy, file, sock)
    started = time.monotonic()
    while not copying.dead and time.monotonic() - started < 2.5:
        peer.sock.recv(100_000)
        gevent.sleep(0.05)
    peer.start()
    assert copying.get(timeout=PATIENCE) == 5 * MIB


@pytest.mark.parametrize("direction", ["reading", "writing"])
def test_g3_a_wait_that_is_too_long_is_a_timeout_error(ends: Ends, direction: str) -> None:
    sock, _peer = ends.stuck()
    sock.settimeout(0.01)
    seen = []
    for _ in range(2):
        with pytest.raises(TimeoutError) as caught:
            gzc.copy(*((ends.file(CONTENT), sock) if direction == "writing" else (sock, bytearray())))
        seen.append(caught.value)
    assert seen[0] is not seen[1]
    assert gzc.transfers_of(seen[0]) != gzc.transfers_of(seen[1])


@pytest.mark.parametrize("direction", ["reading", "writing"])
def test_g3_a_timeout_of_nothing_is_a_blocking_error(ends: Ends, direction: str) -> None:
    sock, _peer = ends.stuck()
    sock.settimeout(0)
    with pytest.raises(BlockingIOError) as caught:
        gzc.copy(*((ends.file(CONTENT), sock) if direction == "writing" else (sock, bytearray())))
    assert caught.value.errno == errno.EAGAIN
    assert caught.value.transfer.moved == 0  # type: ignore[attr-defined]


def test_g3_a_timeout_of_nothing_moves_what_goes_at_once(ends: Ends) -> None:
    file, (sock, there) = ends.file(payload(5 * MIB)), ends.unix()
    sock.settimeout(0)
    with pytest.raises(BlockingIOError) as caught:
        gzc.copy(file, sock)
    moved = caught.value.transfer.moved  # type: ignore[attr-defined]
    assert moved > 0
    peer = ends.peer(there)
    assert peer.take(moved) == payload(moved)
    is_at(file, moved, payload(5 * MIB))


@pytest.mark.parametrize("what", ["source", "sink"])
def test_g5_a_socket_of_another_thread(ends: Ends, what: str) -> None:
    """G5: the calls would work and the first wait fail, in the middle."""
    sock, _ = ends.unix()
    file = ends.file(CONTENT)

    def elsewhere() -> BaseException | None:
        try:
            gzc.copy(*((file, sock) if what == "sink" else (sock, bytearray())))
        except gzc.Error as exc:
            return exc
        return None

    pool = ThreadPool(1)
    try:
        with gzc.trace() as t:
            exc = pool.apply(elsewhere)
    finally:
        pool.kill()
    assert "another thread" in str(exc)
    assert sum(t.calls.values()) == 0
    assert file.tell() == 0


def test_g5_not_in_the_hub_itself(ends: Ends) -> None:
    sock, _ = ends.unix()
    file = ends.file(CONTENT)
    result = gevent.event.AsyncResult()

    def in_hub() -> None:
        try:
            result.set(gzc.copy(file, sock))
        except gzc.Error as exc:
            result.set(exc)

    gevent.get_hub().loop.run_callback(in_hub)
    assert "hub" in str(result.get(timeout=PATIENCE))
    assert file.tell() == 0


def _reuse(number: int, ends: Ends) -> tuple[gsocket.socket, gsocket.socket]:
    """A new connection whose one end has this very number."""
    at_rest()  # gevent closes a descriptor that somebody waits for in the next turn of the loop
    for _ in range(100):
        here, there = ends.unix()
        if here.fileno() == number:
            return here, there
        if there.fileno() == number:
            return there, here
    raise AssertionError(f"{number} is still open")


@pytest.mark.parametrize("how", ["close", "detach"])
def test_o15_o16_nothing_reaches_the_next_owner_of_a_number(ends: Ends, how: str) -> None:
    """O15 O16: a stale number is somebody else's connection."""
    sock, peer = ends.stuck()
    number = sock.fileno()
    copying = ends.spawn(gzc.copy, ends.file(CONTENT), sock)
    at_rest()
    if how == "close":
        sock.close()
    else:
        os.close(sock.detach())
    _, stranger = _reuse(number, ends)
    peer.start()
    with pytest.raises(OSError, match="descriptor"):
        copying.get(timeout=PATIENCE)
    stranger.setblocking(False)
    with pytest.raises(BlockingIOError):
        stranger.recv(1)


def test_o15_nothing_is_read_from_the_next_owner_of_a_files_number(ends: Ends) -> None:
    sock, peer = ends.stuck()
    file = ends.file(CONTENT)
    number = file.fileno()
    copying = ends.spawn(gzc.copy, file, sock)
    at_rest()
    file.close()
    secret = ends.file(b"SECRET" * 100_000)
    while secret.fileno() != number:
        secret = ends.file(b"SECRET" * 100_000)
    peer.start()
    with pytest.raises((OSError, ValueError)) as caught:
        copying.get(timeout=PATIENCE)
    assert caught.value.transfer.exact  # type: ignore[attr-defined]
    assert b"SECRET" not in arrives(sock, peer)
    assert secret.tell() == 0


def test_o16_nothing_is_received_from_the_next_owner_of_a_number(ends: Ends) -> None:
    sock, _there = ends.unix()
    number = sock.fileno()
    copying = ends.spawn(gzc.copy, sock, sink := bytearray())
    at_rest()
    sock.close()
    mine, theirs = _reuse(number, ends)
    theirs.sendall(b"SECRET")
    with pytest.raises(OSError, match="descriptor"):
        copying.get(timeout=PATIENCE)
    assert sink == b""
    assert mine.recv(10) == b"SECRET"


# -- C3, C4: files opened for appending ---------------------------------------------------------------------


@pytest.mark.parametrize("how", ["mode", "fcntl"])
def test_c3_c4_appending_is_asked_of_the_descriptor_each_time(ends: Ends, how: str) -> None:
    import fcntl

    path = ends.path(b"before ")
    file = ends.keep(path.open("ab" if how == "mode" else "r+b"))
    if how == "fcntl":
        assert "O_APPEND" not in gzc.explain(b"", file).sink.note
        fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)
    assert "O_APPEND" in str(gzc.explain(CONTENT, file))
    assert gzc.copy(ends.file(CONTENT), file) == len(CONTENT)
    file.close()
    assert path.read_bytes() == b"before " + CONTENT


# -- D10: forks --------------------------------------------------------------------------------------------


def _in_a_fork(run: Callable[[], int]) -> int:
    """What `run` returns in a forked child of gevent's."""
    # gevent installs its SIGCHLD handler after its first fork, and misses a child that was quicker.
    gevent.get_hub().loop.install_sigchld()
    pid = gevent.os.fork()
    if pid == 0:
        status = 99
        try:
            status = run()
        finally:
            os._exit(status)
    with gevent.Timeout(PATIENCE):
        _, status = gevent.os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def test_d10_a_transfer_belongs_to_its_process(ends: Ends) -> None:
    file, (sock, there) = ends.file(CONTENT), ends.unix()
    transfer = gzc.Transfer(file, sock)

    def child() -> int:
        try:
            transfer.run()
        except gzc.TransferClosedError:
            transfer.close()
            return 7
        return 8

    assert _in_a_fork(child) == 7
    peer = ends.reading(there)
    assert transfer.run() == len(CONTENT)
    assert arrives(sock, peer) == CONTENT


def test_d10_the_child_does_not_go_on_with_what_the_parent_does(ends: Ends) -> None:
    """D10 M19: the child's copy of the greenlet would send the same bytes a second time."""
    sock, peer = ends.stuck()
    copying = ends.spawn(gzc.copy, ends.file(CONTENT), sock)
    at_rest()
    read_end, write_end = os.pipe()

    def child() -> int:
        os.close(write_end)
        gevent.os.make_nonblocking(read_end)
        gevent.os.nb_read(read_end, 1)  # until the parent has read everything; the child's hub runs meanwhile
        return 5

    pid = gevent.os.fork()
    if pid == 0:
        status = 99
        try:
            status = child()
        finally:
            os._exit(status)
    os.close(read_end)
    peer.start()
    assert copying.get(timeout=PATIENCE) == len(CONTENT)
    os.close(write_end)
    with gevent.Timeout(PATIENCE):
        _, status = gevent.os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 5
    assert len(got := arrives(sock, peer)[peer.filled :]) == len(CONTENT)  # type: ignore[attr-defined]
    assert got == CONTENT


def test_d10_the_child_can_use_the_end_that_the_parent_claimed(ends: Ends) -> None:
    sock, _peer = ends.stuck()
    file = ends.file(CONTENT)
    ends.spawn(gzc.copy, file, sock)
    at_rest()

    def child() -> int:
        file.seek(0)
        return 0 if gzc.copy(file, bytearray(), 100) == 100 else 1

    assert _in_a_fork(child) == 0


# -- leaks -------------------------------------------------------------------------------------------------


def test_l4_copies_leave_no_descriptor_behind(ends: Ends) -> None:
    sock, there = ends.unix()
    ends.reading(there)
    file = ends.file(CONTENT)
    gzc.copy(file, sock)  # whatever is opened once in a process
    at_rest()
    with open_fds_unchanged():
        for _ in range(50):
            file.seek(0)
            gzc.copy(file, sock)
            gzc.copy(file, bytearray())
