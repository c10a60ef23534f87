"""The hard cases of splice(2) through a pipe of our own, and of pipes as ends, by their ids in HARD_CASES.md.

Rules: the real kernel wherever it does the thing on demand; where it does not, its answer to one call is scripted
(`Scripted`) and all other calls stay real. What cannot be done to this process (limits, other users, forks) is done
to one of its own. Every test that moves something also compares bytes.
"""

# ruff: noqa: SIM115 - what is opened here is given to `Ends.keep`, which closes it

import errno
import fcntl
import os
import socket as native
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import monkey
from gevent import socket as gsocket
from gevent.fileobject import FileObjectPosix

import gzc

from .._ends import KIB, MIB, PATIENCE, After, Ends, at_rest, error, open_fds_unchanged, payload, python
from .._inside import _hub, _pipe, _syscalls
from .._pairs import HEAD, SINKS, SOURCES, Scripted, feeding_pipe, is_fifo, pipe_peer, pipes_open, raised

CONTENT = payload(MIB + 3)
NOW = struct.pack("ii", 1, 0)  # SO_LINGER: a close is a reset


@pytest.fixture
def no_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No pipe is there before the test, and none of its own afterwards."""
    idle: list[_pipe.TransitPipe] = []
    monkeypatch.setattr(_pipe, "_idle", idle)
    yield
    for pipe in idle:
        pipe.close()


def until(true: Callable[[], object]) -> None:
    """Let the others run until it is so."""
    with gevent.Timeout(PATIENCE):
        while not true():
            gevent.sleep(0.001)


def drains(src: int, dst: int, *_: object) -> bool:
    return not is_fifo(src)


def pumps(src: int, dst: int, *_: object) -> bool:
    return not is_fifo(dst)


# -- D: nothing lost, no false end -------------------------------------------------------------------------


def urgent(sock: gsocket.socket) -> None:
    """Data with two urgent marks in it."""
    sock.sendall(CONTENT[:5000])
    sock.send(b"!", native.MSG_OOB)
    sock.sendall(CONTENT[5000:9000])
    sock.send(b"?", native.MSG_OOB)
    sock.sendall(CONTENT[9000:9999])


def received(ends: Ends) -> bytes:
    """What a plain loop over recv makes of it."""
    here, there = ends.tcp()
    urgent(there)
    there.shutdown(native.SHUT_WR)
    at_rest()
    got = b""
    while data := here.recv(65536):
        got += data
    assert len(got) >= 9999
    return got


@pytest.mark.parametrize("sink", ["file wb", "unix", "tcp", "pipe", "/dev/null", "bytearray"])
def test_d1_urgent_data_is_no_end(ends: Ends, sink: str) -> None:
    """D1: splice answers 0 at the mark although data follows, once the peer has sent its end."""
    here, there = ends.tcp()
    urgent(there)
    there.shutdown(native.SHUT_WR)
    expected = received(ends)
    taken = SINKS[sink](ends)
    with gevent.Timeout(PATIENCE):
        assert gzc.copy(here, taken.obj) == len(expected)
    assert taken.content() in (None, HEAD + expected)


@pytest.mark.parametrize("sink", ["file wb", "unix", "pipe"])
def test_d2_urgent_data_neither_hangs_nor_spins(ends: Ends, sink: str) -> None:
    """D2: splice answers EAGAIN at the mark while poll calls the socket readable."""
    here, there = ends.tcp()
    expected = received(ends)
    taken = SINKS[sink](ends)
    seen: list[int] = []
    copying = ends.spawn(gzc.copy, gzc.observe(here, seen.append), taken.obj)
    urgent(there)
    until(lambda: sum(seen) >= len(expected))
    before = time.process_time()
    gevent.sleep(0.5)
    assert time.process_time() - before < 0.2
    there.send(b"#", native.MSG_OOB)  # nothing but a mark
    before = time.process_time()
    gevent.sleep(0.5)
    assert time.process_time() - before < 0.2
    there.sendall(b"after")
    there.shutdown(native.SHUT_WR)
    moved = copying.get(timeout=PATIENCE)
    content = taken.content()
    assert content is not None
    # which of the urgent bytes stay in the stream depends on when it is read: the others are all there
    assert moved == len(content) - len(HEAD)
    bare = bytes.maketrans(b"", b"")
    assert content.startswith(HEAD + CONTENT[:5000])
    assert content.endswith(b"after")
    assert CONTENT[5000:9000].translate(bare) in content
    assert CONTENT[9000:9999] in content
    assert len(HEAD) + 9999 + 5 <= len(content) <= len(HEAD) + 9999 + 5 + 3


@pytest.mark.parametrize("kind", [native.SOCK_DGRAM, native.SOCK_SEQPACKET])
def test_d4_d5_records_stay_whole(ends: Ends, kind: int) -> None:
    """D4 D5: splice would cut a record to the room in its pipe, and take an empty one for the end."""
    here, there = ends.unix(kind)
    records = [payload(100), payload(30_000, 7), payload(65_000, 9)]
    if kind == native.SOCK_DGRAM:
        records.insert(1, b"")
    whole = sum(map(len, records))
    assert gzc.explain(here, bytearray()).mechanism == "userspace"
    sink = ends.file(b"", "w+b")

    def feed() -> None:
        for record in records:
            there.send(record)

    ends.spawn(feed)
    with gevent.Timeout(PATIENCE), gzc.trace() as t:
        assert gzc.copy(here, sink, whole) == whole
    assert t.bytes["splice"] == 0
    sink.seek(0)
    assert sink.read() == b"".join(records)


@pytest.mark.parametrize("source", ["unix", "tcp", "pipe"])
def test_d6_the_destination_dies_with_bytes_in_the_pipe(ends: Ends, source: str) -> None:
    """D6: what was consumed counts against the limit, and is handed back; Go loses it and over-reads."""
    if source == "pipe":
        reader, writer = os.pipe()
        here, there = ends.keep(open(reader, "rb", 0)), ends.keep(open(writer, "wb", 0))
        there.write(CONTENT[:50_000])
    else:
        here, there = ends.pair(source)
        there.sendall(CONTENT[:50_000])
    sock, peer = ends.stuck("tcp")
    body = gzc.limit(here, 100_000)
    transfer = gzc.Transfer(body, sock)
    copying = ends.spawn(raised, OSError, transfer.run)
    until(lambda: not ready_to_read(here))
    peer.sock.setsockopt(native.SOL_SOCKET, native.SO_LINGER, NOW)
    peer.sock.close()
    exc = copying.get(timeout=PATIENCE)
    assert exc.errno in (errno.EPIPE, errno.ECONNRESET)
    assert gzc.transfers_of(exc) == (transfer,)
    assert transfer.exact
    consumed = 100_000 - body.remaining
    assert transfer.in_flight > 0
    assert transfer.moved + transfer.in_flight == consumed == 50_000
    with pytest.raises(gzc.BusyError):  # nobody comes between
        gzc.copy(here, bytearray())
    assert transfer.reclaim() == CONTENT[transfer.moved : consumed]
    there.close()
    assert gzc.copy(here, bytearray()) == 0


def ready_to_read(obj: Any) -> bool:
    return bool(monkey.get_original("select", "select")([obj], [], [], 0)[0])


@pytest.mark.parametrize("sink", ["tcp", "unix", "pipe"])
def test_d7_killed_in_mid_pump_no_byte_reaches_the_next_client(ends: Ends, no_pool: None, sink: str) -> None:
    """D7: a pipe returned to the pool with bytes in it hands them to somebody else."""
    here, there = ends.unix()
    there.sendall(b"secret" * 1000)
    target: Any
    if sink == "pipe":
        reader, writer = os.pipe()
        fcntl.fcntl(writer, 1031, 4096)
        target = ends.keep(FileObjectPosix(writer, "wb"))
        os.write(writer, bytes(4096))
        ends.keep(open(reader, "rb"))
    else:
        target, _ = ends.stuck(sink)
    transfer = gzc.Transfer(here, target)
    copying = ends.spawn(transfer.run)
    until(lambda: not ready_to_read(here))
    copying.kill(timeout=PATIENCE)
    assert transfer.in_flight == 6000
    assert [_syscalls.unread(pipe.reader) for pipe in _pipe._idle] == [0] * len(_pipe._idle)
    given, taken = SOURCES["tcp"](ends, CONTENT, MIB), SINKS["unix"](ends)
    assert gzc.copy(given.obj, taken.obj) == len(CONTENT)
    assert taken.content() == HEAD + CONTENT
    assert transfer.reclaim() == b"secret" * 1000


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("name", ["EINVAL", "EOPNOTSUPP", "ENOSYS", "EPERM"])
@pytest.mark.parametrize("sink", ["unix", "file wb", "/dev/null", "pipe"])
def test_d9_the_sink_declines_with_the_bytes_in_our_pipe(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, latches: dict[str, str], no_pool: None, sink: str, name: str, at: int
) -> None:
    """D9: they are rescued and delivered first. Go loses them."""
    monkeypatch.setattr(gzc.config, "pipe_size", 128 * KIB)
    given, taken = SOURCES["tcp"](ends, CONTENT, MIB), SINKS[sink](ends)
    ours = given.obj.fileno()
    script = Scripted(monkeypatch, "splice", {at: error(getattr(errno, name))}, only=lambda src, *_: src != ours)
    with gevent.Timeout(PATIENCE), gzc.trace() as t:
        assert gzc.copy(given.obj, taken.obj) == len(CONTENT)
    assert script.calls == at
    assert t.bytes["splice"] == sum(script.moved)
    assert t.bytes["userspace"] == len(CONTENT) - sum(script.moved) > 0
    assert taken.content() in (None, HEAD + CONTENT)


def test_what_came_before_an_error_of_the_source_is_written_first(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells a reset once; it may do so while the pipe is filled further for a job of the pool."""
    here, there = ends.unix()
    there.sendall(CONTENT[: 100 * KIB])
    number = here.fileno()
    script = Scripted(monkeypatch, "splice", {2: error(errno.ECONNRESET)}, only=lambda src, *_: src == number)
    out = ends.file(b"", "wb")
    transfer = gzc.Transfer(here, out)
    raised(ConnectionResetError, transfer.run)
    assert script.calls == 2
    assert (transfer.exact, transfer.moved, transfer.in_flight) == (True, 100 * KIB, 0)
    assert Path(out.name).read_bytes() == CONTENT[: 100 * KIB]


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_a_reset_behind_bytes_outlives_the_mover(ends: Ends, family: str) -> None:
    """It is told once: kept while the bytes before it are on their way, it was lost with an interruption."""
    here, there = ends.tcp() if family == "tcp" else ends.unix()
    here.sendall(b"never read")
    there.sendall(CONTENT[:20_000])
    until(lambda: ready_to_read(there) and ready_to_read(here))
    there.setsockopt(native.SOL_SOCKET, native.SO_LINGER, NOW)
    there.close()
    taken, interrupts = SINKS["unix"](ends), [Own()]
    if family == "tcp":
        until(lambda: here.getsockopt(native.SOL_TCP, native.TCP_INFO, 1) == b"\x07")  # closed

    def observer(_: int) -> None:
        if interrupts:
            raise interrupts.pop()

    transfer = gzc.Transfer(gzc.observe(here, observer), taken.obj)
    first = raised(Exception, transfer.run)
    if isinstance(first, Own):  # else the reset came before the bytes
        assert transfer.moved == 20_000
        first = raised(Exception, transfer.run)
    assert isinstance(first, ConnectionResetError)
    assert transfer.run() == transfer.moved
    assert taken.content() == HEAD + CONTENT[: transfer.moved]


def test_a_reset_behind_bytes_comes_to_who_goes_on(ends: Ends) -> None:
    """A sink that splice cannot serve any more: user space would have found an end there."""
    here, there = ends.unix()
    here.sendall(b"never read")
    there.sendall(CONTENT[:90_000])
    there.close()
    path, asked = ends.path(), list[BaseException]()
    with path.open("wb") as sink:
        source = gzc.source(here).translating(lambda exc: asked.append(exc) or exc)  # type: ignore[func-returns-value]
        transfer = gzc.Transfer(source, sink)
        fcntl.fcntl(sink, fcntl.F_SETFL, fcntl.fcntl(sink, fcntl.F_GETFL) | os.O_APPEND)
        exc = raised(ConnectionResetError, transfer._run)
        assert asked == [exc]
    assert path.read_bytes() == CONTENT[:90_000]


def test_a_signal_while_a_descriptor_is_asked_for_is_raised(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though bytes of the source are in the pipe, and go first where it was closed."""
    here, there = ends.unix()
    there.sendall(CONTENT[:150_000])
    there.close()
    sock, peer = ends.stuck()
    source, asked = gzc.source(here), list[int]()
    real = source.fileno

    def fileno() -> int:
        asked.append(1)
        if len(asked) == 2:
            raise TimeoutError("alarm")
        return real()

    source.fileno = fileno
    transfer = gzc.Transfer(source, sock)
    ends.spawn(peer.start)
    with gevent.Timeout(PATIENCE):
        raised(TimeoutError, transfer.run)
        assert transfer.exact
        assert transfer.run() == 150_000


def test_d9_o_append_set_in_the_middle(ends: Ends) -> None:
    here, there = ends.tcp()
    path = ends.path()
    seen: list[int] = []
    with path.open("wb") as sink:
        copying = ends.spawn(gzc.copy, gzc.observe(here, seen.append), sink)
        there.sendall(CONTENT[:1000])
        until(lambda: sum(seen) == 1000)
        fcntl.fcntl(sink, fcntl.F_SETFL, fcntl.fcntl(sink, fcntl.F_GETFL) | os.O_APPEND)
        there.sendall(CONTENT[1000:])
        there.shutdown(native.SHUT_WR)
        assert copying.get(timeout=PATIENCE) == len(CONTENT)
        assert sink.tell() == len(CONTENT)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("source", ["tcp", "unix", "pipe", "file"])
def test_d9_dev_full_says_so(ends: Ends, source: str) -> None:
    given = SOURCES[source](ends, CONTENT, MIB)
    with open("/dev/full", "wb", 0) as full, pytest.raises(OSError, match="No space") as caught:
        gzc.copy(given.obj, full)
    transfer: gzc.Transfer = caught.value.transfer  # type: ignore[attr-defined]
    assert transfer.moved == 0
    assert CONTENT.startswith(transfer.reclaim())


FORK = """
import os, sys
import gevent
from gevent import socket
import gzc
from inside import _claims, _pipe

a, b = socket.socketpair()
c, d = socket.socketpair()
b.sendall(b"x" * 1000)
assert gzc.copy(a, c, 1000) == 1000           # a pipe is in the pool now
assert _pipe._idle
pooled = [fd for pipe in _pipe._idle for fd in (pipe.reader, pipe.writer)]
d.recv(1000)
transfer = gzc.Transfer(a, c)
running = gevent.spawn(transfer.run)          # and one waits for its source
gevent.idle()
sys.stdout.flush()
pid = gevent.os.fork()
if not pid:
    status = 1
    try:
        open_ = []
        for fd in pooled:
            try:
                os.fstat(fd)
                open_.append(fd)
            except OSError:
                pass
        assert not open_, open_
        assert not _pipe._idle
        for call in (transfer.run, gzc.Transfer.run.__get__(transfer)):
            try:
                call()
            except gzc.TransferClosedError as exc:
                assert "fork" in str(exc)
            else:
                raise AssertionError("it ran")
        transfer.close()
        e, f = socket.socketpair()            # a transfer of the child's own works
        e.sendall(b"child"); e.shutdown(socket.SHUT_WR)
        out = bytearray()
        assert gzc.copy(f, out) == 5 and out == b"child"
        g, h = socket.socketpair()
        e, f = socket.socketpair()
        e.sendall(b"child"); e.shutdown(socket.SHUT_WR)
        assert gzc.copy(f, g) == 5 and h.recv(9) == b"child"
        status = 0
    finally:
        if status:
            import traceback; traceback.print_exc()
        os._exit(status)
_, status = gevent.os.waitpid(pid, 0)
assert status == 0, status
b.sendall(b"y" * 1000)
b.shutdown(socket.SHUT_WR)
running.join(10)
assert transfer.moved == 1000, transfer
assert d.recv(2000) == b"y" * 1000
print("ok")
"""


def test_d10_a_forked_child_shares_no_pipe() -> None:
    """D10 M19: the child closes the pooled pipes, refuses the parent's transfer, and can copy itself."""
    assert python("import gevent.os\n" + FORK) == "ok\n"


@pytest.mark.parametrize("sink", ["tcp", "file wb", "pipe", "bytearray"])
def test_d12_bytes_above_the_descriptor_go_first(ends: Ends, sink: str) -> None:
    """D12: makefile().readline() has read further than the line."""
    here, there = ends.unix()
    there.sendall(b"GET /\n" + CONTENT[:3000])
    file = ends.keep(here.makefile("rb"))
    assert file.readline() == b"GET /\n"
    ends.feeding(there, CONTENT[3000:])
    taken = SINKS[sink](ends)
    with gzc.trace() as t:
        assert gzc.copy(file, taken.obj) == len(CONTENT)
    if sink != "bytearray":
        assert t.bytes["userspace"] == 3000
    assert taken.content() == HEAD + CONTENT


# -- B: EAGAIN and blocking --------------------------------------------------------------------------------


def test_b1_b2_pipes_too_small_are_declined(ends: Ends, monkeypatch: pytest.MonkeyPatch, no_pool: None) -> None:
    """B1 B2 L1: below 64 KiB a pipe moves less than a buffer."""
    monkeypatch.setattr(gzc.config, "pipe_size", 4096)
    given, taken = SOURCES["tcp"](ends, CONTENT, MIB), SINKS["unix"](ends)
    with gzc.trace() as t:
        assert gzc.copy(given.obj, taken.obj) == len(CONTENT)
    assert t.bytes["userspace"] == len(CONTENT)
    assert [why for why, _ in t.refused if "4096" in why]
    assert _pipe._idle == []
    assert taken.content() == HEAD + CONTENT


@pytest.mark.parametrize("most", [1, 1000])
def test_b2_short_counts_are_no_end(ends: Ends, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    content = CONTENT[: 500 * most]
    given, taken = SOURCES["tcp"](ends, content, MIB), SINKS["unix"](ends)
    script = Scripted(monkeypatch, "splice", others=most)
    assert gzc.copy(given.obj, taken.obj) == len(content)
    assert script.calls >= 1000
    assert taken.content() == HEAD + content


def test_b2_a_pipe_full_of_little_pieces(ends: Ends) -> None:
    """B2: full is counted in slots: each of a thousand sends of one byte takes a whole one."""
    here, there = ends.unix()
    for n in range(200):
        there.send(CONTENT[n : n + 1])
    there.shutdown(native.SHUT_WR)
    taken = SINKS["tcp"](ends)
    with gevent.Timeout(PATIENCE):
        assert gzc.copy(here, taken.obj) == 200
    assert taken.content() == HEAD + CONTENT[:200]


@pytest.mark.parametrize("sink", ["tcp", "file wb", "pipe", "/dev/null", "bytearray"])
def test_b6_a_blocking_pipe_as_source_never_blocks_the_hub(ends: Ends, sink: str) -> None:
    """B6 O14: SPLICE_F_NONBLOCK covers the pipe, and its flags stay as they are."""
    reader, writer = os.pipe()
    source = ends.keep(open(reader, "rb"))
    taken = SINKS[sink](ends)
    seen: list[int] = []
    copying = ends.spawn(gzc.copy, gzc.observe(source, seen.append), taken.obj)
    for n in range(1, 4):  # a hub that blocks in the read never comes here
        os.write(writer, b"abc")
        until(lambda n=n: sum(seen) == 3 * n)
        assert os.get_blocking(reader)
    gevent.sleep(0.05)
    os.close(writer)
    assert copying.get(timeout=PATIENCE) == 9
    assert os.get_blocking(reader)
    assert taken.content() in (None, HEAD + b"abc" * 3)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("source", ["file", "tcp", "pipe", "bytes", "makefile"])
def test_b6_b12_a_full_blocking_pipe_as_sink_never_blocks_the_hub(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, source: str, fast: bool
) -> None:
    """B6 B11 B12 O14: it is waited for in the hub, without a spin, and its flags stay as they are."""
    if not fast:
        monkeypatch.setattr(gzc.config, "disable", "splice")
    reader, writer = os.pipe()
    peer = pipe_peer(ends, os.dup(reader))
    os.close(reader)
    sink = ends.keep(open(writer, "wb"))
    src = CONTENT if source == "bytes" else SOURCES[source](ends, CONTENT, MIB).obj
    transfer = gzc.Transfer(src, sink)
    copying = ends.spawn(transfer.run)
    until(lambda: not monkey.get_original("select", "select")([], [writer], [], 0)[1])
    before = time.process_time()
    gevent.sleep(0.1)
    assert time.process_time() - before < 0.08
    assert os.get_blocking(writer)
    assert not copying.dead
    peer.start()  # a hub that blocks in the write never comes here
    assert copying.get(timeout=PATIENCE) == len(CONTENT)
    assert os.get_blocking(writer)
    sink.close()
    assert peer.all() == CONTENT


def test_b7_an_idle_source_does_not_hold_the_users_pipe(ends: Ends) -> None:
    """B7: a splice straight into a user's pipe would hold its mutex while the socket has nothing."""
    here, there = ends.tcp()
    reader, writer = os.pipe2(os.O_NONBLOCK)
    sink = ends.keep(open(writer, "wb"))
    ends.keep(open(reader, "rb", 0))
    copying = ends.spawn(gzc.copy, here, sink)
    at_rest()
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)  # blocks for good where the pipe is held
    there.sendall(b"now")
    until(lambda: ready_to_read(reader))
    assert os.read(reader, 9) == b"now"
    there.shutdown(native.SHUT_WR)
    assert copying.get(timeout=PATIENCE) == 3


@pytest.mark.parametrize("blocked", ["source", "sink"])
@pytest.mark.parametrize("open_", [open, FileObjectPosix])
def test_b13_between_pipes_the_right_end_is_waited_for(ends: Ends, open_: Any, blocked: str) -> None:
    """B13: EAGAIN between two pipes that are not ours is ambiguous; the wrong answer spins or hangs."""
    reader, writer = os.pipe()
    far, near = os.pipe()
    peer = pipe_peer(ends, far)
    source, sink = ends.keep(open_(reader, "rb")), ends.keep(open_(near, "wb"))
    transfer = gzc.Transfer(source, sink)
    copying = ends.spawn(transfer.run)
    if blocked == "sink":
        feeding = feeding_pipe(ends, writer, (CONTENT,))
        until(lambda: not monkey.get_original("select", "select")([], [near], [], 0)[1])
    at_rest()
    before = time.process_time()
    gevent.sleep(0.2)
    assert time.process_time() - before < 0.1
    assert not copying.dead
    if blocked == "source":
        feeding = feeding_pipe(ends, writer, (CONTENT,))
    peer.start()
    assert copying.get(timeout=PATIENCE) == len(CONTENT)
    feeding.get(timeout=PATIENCE)
    sink.close()
    assert peer.all() == CONTENT


# -- L: limits, flags, errors ------------------------------------------------------------------------------


NOBODY = """
import os, resource, sys
import gevent
from gevent import socket
import gzc
from inside import _claims, _pipe, _syscalls
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
content = os.urandom(1 << 20)

def copied():
    a, b = socket.socketpair()
    c, d = socket.socketpair()
    def feed():
        b.sendall(content); b.shutdown(socket.SHUT_WR)
    gevent.spawn(feed)
    got = bytearray()
    def read():
        while data := d.recv(65536):
            got.extend(data)
    reading = gevent.spawn(read)
    with gzc.trace() as t:
        assert gzc.copy(a, c) == len(content)
    c.close()
    reading.get(timeout=20)
    assert got == content
    return t

copied()  # as root, who may read the folder that gevent is imported from
os.setgid(65534); os.setuid(int(sys.argv[1]))
t = copied()
assert t.bytes["splice"] == len(content), t
for pipe in _pipe._idle: pipe.close()
_pipe._idle.clear()
hoard = []
while True:
    fds = []
    _syscalls.make_pipe(fds)
    hoard.append(fds)
    if _syscalls.resize_pipe(fds[1], 1 << 20) < 65536:
        break
    assert len(hoard) < 1000
fds = len(os.listdir("/proc/self/fd"))
t = copied()
assert t.bytes["userspace"] == len(content), t
assert any("pipe-user-pages-soft" in why for why, _ in t.refused), t.refused
gevent.idle()
assert not _pipe._idle
for fds in hoard:
    for fd in fds: os.close(fd)
t = copied()                                   # and good again when there is room
assert t.bytes["splice"] == len(content), t
print("ok")
"""


@pytest.mark.root
def test_l1_an_ordinary_user_whose_share_of_pipes_is_used_up(ends: Ends) -> None:
    """L1: new pipes have 8 KiB; user space is better than that."""
    # a user of our own: nobody's share may be in use
    assert python(NOBODY, 61_234) == "ok\n"


EMFILE = """
import os, resource
import gevent
from gevent import socket
import gzc
from inside import _claims, _pipe
for name in gzc.__all__:
    getattr(gzc, name)
content = os.urandom(1 << 20)
ends = [socket.socketpair() for _ in range(2)]
(a, b), (c, d) = ends
got = bytearray()
def feed():
    b.sendall(content); b.shutdown(socket.SHUT_WR)
def read():
    while data := d.recv(65536):
        got.extend(data)
gevent.spawn(feed)
reading = gevent.spawn(read)
free = os.dup(0); os.close(free)
before = set(os.listdir("/proc/self/fd"))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (free + ROOM, hard))
with gzc.trace() as t:
    assert gzc.copy(a, c) == len(content)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
assert t.bytes["userspace"] == len(content), t
assert any("no pipe to be had" in why for why, _ in t.refused), t.refused
assert set(os.listdir("/proc/self/fd")) == before
c.close()
reading.get(timeout=20)
assert got == content
print("ok")
"""


@pytest.mark.parametrize("room", [0, 1])
def test_l3_no_descriptor_to_be_had(room: int) -> None:
    """L3: EMFILE, also with room for one end only; no half-open pipe stays behind."""
    assert python(EMFILE.replace("ROOM", str(room))) == "ok\n"


@pytest.mark.parametrize("sink", ["unix", "tcp", "pipe", "file wb"])
@pytest.mark.parametrize("source", SOURCES)
def test_l6_l8_the_flags(ends: Ends, monkeypatch: pytest.MonkeyPatch, source: str, sink: str) -> None:
    """L6: MORE corks the tail for 200 ms. L8: without NONBLOCK kernels before 5.1 hang."""
    script = Scripted(monkeypatch, "splice")
    given, taken = SOURCES[source](ends, CONTENT, MIB), SINKS[sink](ends)
    assert gzc.copy(given.obj, taken.obj) == len(CONTENT)
    assert script.calls or (source == "file" and sink != "pipe")
    assert _syscalls._SPLICE_FLAGS & os.SPLICE_F_NONBLOCK
    assert not _syscalls._SPLICE_FLAGS & os.SPLICE_F_MORE


def test_l7_the_pump_asks_for_what_is_in_the_pipe(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """L7: old kernels take "asked for more than there is" for MORE."""

    def exact(src: int, dst: int, count: int, *_: object) -> bool:
        assert _syscalls.unread(src) == count
        return True

    given, taken = SOURCES["tcp"](ends, CONTENT, MIB), SINKS["unix"](ends)
    ours = given.obj.fileno()
    script = Scripted(monkeypatch, "splice", only=lambda src, *rest: src != ours and exact(src, *rest))
    assert gzc.copy(given.obj, taken.obj) == len(CONTENT)
    assert script.calls


@pytest.mark.parametrize("half", ["drain", "pump"])
@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("name", ["EIO", "ENOSPC", "EPIPE", "ECONNRESET", "ENOMEM", "ETIMEDOUT"])
def test_l11_the_truth_is_raised_at_any_call(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, name: str, at: int, half: str
) -> None:
    """L11: an error that is not "not me" is never hidden behind another way; and the transfer can go on."""
    given, taken = SOURCES["tcp"](ends, CONTENT, 100_000), SINKS["unix"](ends)
    ours = given.obj.fileno()
    script = Scripted(
        monkeypatch,
        "splice",
        {at: error(getattr(errno, name))},
        others=50_000,
        only=lambda src, *_: (src == ours) == (half == "drain"),
    )
    transfer = gzc.Transfer(given.obj, taken.obj)
    with gzc.trace() as t, pytest.raises(OSError) as caught:  # noqa: PT011
        transfer.run()
    assert caught.value.errno == getattr(errno, name)
    assert script.calls == at
    assert t.bytes["userspace"] == 0
    assert transfer.exact
    assert transfer.moved == t.bytes["splice"]
    assert transfer.run() == len(CONTENT)
    assert taken.content() == HEAD + CONTENT


@pytest.mark.parametrize("sink", ["file wb", "unix", "pipe", "bytearray"])
def test_l14_a_reset_comes_after_the_bytes_before_it(ends: Ends, sink: str) -> None:
    """L14: what arrived is delivered, then the error is raised; it is no end."""
    here, there = ends.tcp()
    here.sendall(b"never read")
    taken = SINKS[sink](ends)
    seen: list[int] = []
    transfer = gzc.Transfer(gzc.observe(here, seen.append), taken.obj)
    copying = ends.spawn(raised, OSError, transfer.run)
    there.sendall(b"12345")
    until(lambda: sum(seen) == 5)
    there.setsockopt(native.SOL_SOCKET, native.SO_LINGER, NOW)
    there.close()
    exc = copying.get(timeout=PATIENCE)
    assert exc.errno == errno.ECONNRESET
    assert (transfer.moved, transfer.in_flight) == (5, 0)
    assert taken.content() == HEAD + b"12345"


def test_l14_a_reset_before_the_copy(ends: Ends) -> None:
    here, there = ends.tcp()
    there.sendall(b"12345")
    here.sendall(b"never read")
    until(lambda: ready_to_read(there))
    there.close()  # with unread data: a reset
    taken = SINKS["unix"](ends)
    with pytest.raises(ConnectionResetError) as caught:
        gzc.copy(here, taken.obj)
    moved = caught.value.transfer.moved  # type: ignore[attr-defined]
    assert moved in (0, 5)
    assert taken.content() == HEAD + b"12345"[:moved]


# -- O, G --------------------------------------------------------------------------------------------------


def test_o14_a_shared_pipe_keeps_its_flags(ends: Ends) -> None:
    """O14: the flags belong to the open file, which the process at the other end of a dup shares."""
    reader, writer = os.pipe()
    shared = os.dup(reader)
    ends.keep(open(shared, "rb", 0))
    source = ends.keep(open(reader, "rb"))
    before = fcntl.fcntl(shared, fcntl.F_GETFL)
    copying = ends.spawn(gzc.copy, source, sink := bytearray())
    at_rest()
    assert fcntl.fcntl(shared, fcntl.F_GETFL) == before
    os.write(writer, b"x")
    os.close(writer)
    assert copying.get(timeout=PATIENCE) == 1
    assert sink == b"x"
    assert fcntl.fcntl(shared, fcntl.F_GETFL) == before


@pytest.mark.parametrize("waiting", [True, False])
@pytest.mark.parametrize("open_", [open, FileObjectPosix])
@pytest.mark.parametrize("source", ["file", "tcp", "pipe", "bytes"])
def test_g7_the_reader_of_a_pipe_is_gone(ends: Ends, source: str, open_: Any, waiting: bool) -> None:
    reader, writer = os.pipe()
    sink = ends.keep(open_(writer, "wb"))
    src = CONTENT if source == "bytes" else SOURCES[source](ends, CONTENT, MIB).obj
    transfer = gzc.Transfer(src, sink)
    if not waiting:
        os.close(reader)
    copying = ends.spawn(raised, BrokenPipeError, transfer.run)
    if waiting:
        until(lambda: not monkey.get_original("select", "select")([], [writer], [], 0)[1])
        os.close(reader)
    exc = copying.get(timeout=PATIENCE)
    assert gzc.transfers_of(exc) == (transfer,)
    assert transfer.exact
    assert (transfer.moved > 0) == waiting
    held = transfer.in_flight
    assert transfer.reclaim() == CONTENT[transfer.moved :][:held]


# -- X: limits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["file", "tcp", "unix", "pipe", "makefile"])
@pytest.mark.parametrize(
    ("limits", "count", "expected"),
    [
        ((0,), None, 0),
        ((41,), None, 41),
        ((42,), None, 42),
        ((43,), None, 42),
        ((10, 20), None, 10),
        ((20, 10), None, 10),
        ((30, 20, 25), 22, 20),
        ((30,), 7, 7),
        ((30,), 0, 0),
    ],
)
def test_x5_nested_limits(ends: Ends, source: str, limits: tuple[int, ...], count: int | None, expected: int) -> None:
    """X5: the smallest counts, all of them go down, and what is not asked for stays where it is (X6)."""
    given, taken = SOURCES[source](ends, CONTENT[:42], MIB), SINKS["unix"](ends)
    nested, obj = [], given.obj
    for limit in limits:
        obj = gzc.limit(obj, limit)
        nested.append(obj)
    assert gzc.copy(obj, taken.obj, count) == expected
    assert [one.remaining for one in nested] == [limit - expected for limit in limits]
    assert given.rest() == CONTENT[expected:42]
    assert taken.content() == HEAD + CONTENT[:expected]


@pytest.mark.parametrize("source", ["tcp", "unix", "pipe"])
def test_x6_no_more_is_taken_than_asked_for(ends: Ends, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    given, taken = SOURCES[source](ends, CONTENT, MIB), SINKS["tcp"](ends)
    script = Scripted(monkeypatch, "splice")
    assert gzc.copy(given.obj, taken.obj, 100_001) == 100_001
    assert all(ask[2] <= 100_001 for ask in script.asks)
    assert given.rest() == CONTENT[100_001:]


@pytest.mark.parametrize("sink", ["unix", "file wb", "/dev/null"])
def test_x7_nothing_is_asked_after_the_last_byte(ends: Ends, monkeypatch: pytest.MonkeyPatch, sink: str) -> None:
    """X7: an EAGAIN after a complete copy must not leak out as an error."""
    here, there = ends.unix()
    there.sendall(CONTENT[:1000])
    taken = SINKS[sink](ends)
    script = Scripted(monkeypatch, "splice", {n: error(errno.EIO) for n in range(3, 9)})
    assert gzc.copy(here, taken.obj, 1000) == 1000
    assert script.calls == 2


@pytest.mark.parametrize("source", ["tcp", "unix", "pipe"])
def test_x8_x9_each_line_goes_at_once(ends: Ends, source: str) -> None:
    """X8 X9: a short read is no end, and nothing is held back to fill a pipe."""
    if source == "pipe":
        reader, writer = os.pipe()
        src: Any = ends.keep(open(reader, "rb"))
        out = ends.keep(open(writer, "wb", 0))
        send, close = out.write, out.close
    else:
        src, there = ends.pair(source)
        send, close = there.sendall, there.close
    sock, far = ends.unix()
    copying = ends.spawn(gzc.copy, src, sock)
    for n in range(5):
        send(b"line %d\n" % n)
        with gevent.Timeout(PATIENCE):
            assert far.recv(100) == b"line %d\n" % n
    close()
    assert copying.get(timeout=PATIENCE) == 35


# -- from descriptor to descriptor -----------------------------------------------------------------------


@pytest.mark.parametrize("source", ["tcp", "unix", "pipe"])
@pytest.mark.parametrize("sink", ["tcp", "unix", "pipe", "/dev/null"])
@pytest.mark.parametrize("count", [1, 1000, 1001, 99_999])
def test_a_relay_takes_no_more_than_is_asked_for(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, count: int, sink: str, source: str
) -> None:
    given, taken = SOURCES[source](ends, CONTENT, MIB), SINKS[sink](ends)
    script = Scripted(monkeypatch, "splice", others=1000)
    with gzc.trace() as t:
        assert gzc.copy(given.obj, taken.obj, count) == count
    assert t.bytes["splice"] + t.bytes["userspace"] == count  # what a file object has read ahead
    assert t.calls["splice"] == script.calls
    assert given.rest() == CONTENT[count:]
    assert taken.content() in (None, HEAD + CONTENT[:count])


@pytest.mark.parametrize("rounds", [0, 1, 5])
@pytest.mark.parametrize("half", ["drain", "pump"])
def test_a_fault_amid_a_relay_is_that_ends_and_what_came_before_is_counted(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, half: str, rounds: int
) -> None:
    given, taken = SOURCES["unix"](ends, CONTENT, MIB), SINKS["unix"](ends)
    told: list[int] = []

    class Own(Exception):
        pass

    def translate(exc: BaseException) -> BaseException:
        return Own()

    ours = given.obj.fileno()
    Scripted(
        monkeypatch,
        "splice",
        {rounds + 1: error(errno.ECONNRESET)},
        others=1000,
        only=lambda src, *_: (src == ours) == (half == "drain"),
    )
    source = gzc.source(given.obj).translating(translate).observing(told.append)
    transfer = gzc.Transfer(source, taken.obj)
    raised(Own if half == "drain" else ConnectionResetError, transfer.run)
    assert transfer.exact
    assert (transfer.in_flight == 0) == (half == "drain")
    assert transfer.moved == sum(told)
    assert transfer.moved >= rounds
    assert transfer.run() == len(CONTENT)
    assert taken.content() == HEAD + CONTENT


def test_a_relay_that_stalls_is_not_asked_again_before_it_is_waited_for(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = ends.unix()
    sock, far = ends.unix()
    there.sendall(b"x" * 1000)
    script = Scripted(monkeypatch, "splice")
    with gzc.trace() as t:
        copying = ends.spawn(gzc.copy, here, sock)
        assert far.recv(2000) == b"x" * 1000
        at_rest()
        assert script.calls == 3, "in, out, and EAGAIN"
        assert t.waits["splice"] == 1
        there.close()
        copying.get(timeout=PATIENCE)


def test_wake_ups_of_the_source_put_the_sink_in_no_doubt(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """B10: a sink that says EAGAIN, and has room a moment later, is an ordinary one, however often."""
    here, there = ends.unix()
    sock, far = ends.tcp()
    ours = here.fileno()
    Scripted(
        monkeypatch,
        "splice",
        {n: error(errno.EAGAIN) for n in range(1, 200) if n % 4},
        only=lambda src, *_: src != ours,
    )
    with gzc.trace() as t:
        copying = ends.spawn(gzc.copy, here, sock)
        for n in range(20):
            there.sendall(b"line %02d" % n)
            with gevent.Timeout(PATIENCE):
                assert far.recv(100) == b"line %02d" % n
        there.close()
        assert copying.get(timeout=PATIENCE) == 140
    assert t.refused == []


@pytest.mark.parametrize("open_", [lambda fd: open(fd, "rb", 0), lambda fd: FileObjectPosix(fd, "rb", 0), "unix"])
def test_what_a_source_gave_before_it_was_closed_is_delivered(ends: Ends, open_: Any) -> None:
    if open_ == "unix":
        src, there = ends.unix()
        there.sendall(CONTENT[:5000])
    else:
        reader, writer = os.pipe()
        src = ends.keep(open_(reader))
        os.write(writer, CONTENT[:5000])
        os.close(writer)
    sock, peer = ends.stuck()
    transfer = gzc.Transfer(src, sock, 5000)
    with gzc.trace() as t:
        copying = ends.spawn(transfer.run)
        gevent.sleep(0.01)
        src.close()
        peer.start()
        assert copying.get(timeout=PATIENCE) == 5000
    assert t.bytes["splice"] == 5000


class Own(Exception):
    pass


def test_what_an_observer_raises_is_not_the_sources(ends: Ends) -> None:
    """Nor a kill while the turn is given back: a wrapper's ``read`` would not have met it."""
    here, there = ends.unix()
    there.sendall(CONTENT[:5000])  # and then it stalls
    taken = SINKS["unix"](ends)

    def observer(count: int) -> None:
        raise Own

    asked: list[BaseException] = []
    source = gzc.source(here).translating(lambda exc: asked.append(exc) or exc)  # type: ignore[func-returns-value]
    raised(Own, gzc.copy, source, gzc.sink(taken.obj).observing(observer))
    assert asked == []


def test_a_count_that_a_signal_hid_while_it_was_made_up_is_not_exact(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M22: a strike amid the call that delivers, and another one while gzc asks the pipe how many these were."""
    given, taken = SOURCES["unix"](ends, CONTENT, MIB), SINKS["unix"](ends)
    Scripted(monkeypatch, "splice", {2: After(Own())}, others=1000)
    transfer = gzc.Transfer(given.obj, taken.obj)

    def strikes(fd: int) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(_pipe, "_idle", [])
    with monkeypatch.context() as patch:
        real, asked = _syscalls.unread, []

        def unread(fd: int) -> int:
            asked.append(fd)
            return strikes(fd) if len(asked) == 2 else real(fd)  # the first is of the pipe that is taken

        patch.setattr(_syscalls, "unread", unread)
        raised(KeyboardInterrupt, transfer.run)
    assert len(asked) == 3  # the last empties the pipe
    assert transfer.moved == 0
    assert not transfer.exact
    with pytest.raises(gzc.TransferClosedError, match="twice"):
        transfer.run()
    transfer.close()


@pytest.mark.parametrize("ready", [True, False])
def test_a_sink_whose_room_somebody_else_takes_is_in_no_doubt(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, ready: bool
) -> None:
    """B10: woken in vain, and full again when it is asked: another process writes there, too."""
    given, taken = SOURCES["unix"](ends, CONTENT, MIB), SINKS["tcp"](ends)
    ours = given.obj.fileno()
    Scripted(
        monkeypatch,
        "splice",
        {n: error(errno.EAGAIN) for n in range(1, 7)},
        only=lambda src, *_: src != ours,
    )
    answers = iter([False] * 4)
    monkeypatch.setattr(_hub, "ready", lambda fd, direction: ready or next(answers, True))
    with gzc.trace() as t:
        assert gzc.copy(given.obj, taken.obj) == len(CONTENT)
    assert bool(t.refused) == ready
    assert taken.content() == HEAD + CONTENT


# -- pipes are held only while bytes are in them -----------------------------------------------------------


def test_an_idle_copy_holds_no_pipe(ends: Ends, no_pool: None) -> None:
    before = pipes_open()
    copies = []
    for _ in range(200):
        here, there = ends.unix()
        sink, far = ends.unix()
        copies.append((ends.spawn(gzc.copy, here, sink), there, far))
    at_rest()
    assert pipes_open() - before <= 2 * gzc.config.pool_pipes
    for n, (_, there, far) in enumerate(copies):
        there.sendall(b"%d" % n)
        assert far.recv(9) == b"%d" % n
    at_rest()
    assert pipes_open() - before <= 2 * gzc.config.pool_pipes
    for copying, there, _ in copies:
        there.close()
        copying.get(timeout=PATIENCE)


def test_a_stuck_copy_holds_its_pipe_and_gives_it_back(ends: Ends, no_pool: None) -> None:
    before = set(_pipe._alive)  # not descriptors: those of earlier tests may be closed only now

    def ours() -> list[_pipe.TransitPipe]:
        return [pipe for pipe in _pipe._alive if pipe not in before and pipe.reader >= 0]

    stuck = []
    for _ in range(20):
        here, there = ends.unix()
        sock, peer = ends.stuck()
        there.sendall(b"x" * 10)
        there.shutdown(native.SHUT_WR)
        stuck.append((ends.spawn(gzc.copy, here, sock), peer))
    until(lambda: sum(pipe.held == 10 for pipe in ours()) == 20)
    for copying, peer in stuck:
        peer.start()
        copying.get(timeout=PATIENCE)
    assert set(ours()) == set(_pipe._idle)
    assert len(_pipe._idle) <= gzc.config.pool_pipes


def test_the_pool_can_be_switched_off(ends: Ends, monkeypatch: pytest.MonkeyPatch, no_pool: None) -> None:
    monkeypatch.setattr(gzc.config, "pool_pipes", 0)
    with open_fds_unchanged():
        for _ in range(3):
            with Ends(ends.folder) as own:
                given, taken = SOURCES["unix"](own, CONTENT, MIB), SINKS["unix"](own)
                assert gzc.copy(given.obj, taken.obj) == len(CONTENT)
            at_rest()
    assert _pipe._idle == []


# -- a thousand aborted transfers --------------------------------------------------------------------------


ABORTED = """
import errno, gc, os, random, resource, sys, tempfile, threading, warnings
import gevent, greenlet
from gevent import socket, monkey
from gevent.fileobject import FileObjectPosix
import gzc
from inside import _claims, _hub, _pipe

warnings.simplefilter("ignore", ResourceWarning)
chance = random.Random(3)

def at_rest():
    for _ in range(4):
        gevent.idle()

big = tempfile.TemporaryFile(); big.write(os.urandom(3 << 20)); big.flush()

def source(kind, keep):
    if kind == "file":
        big.seek(0)
        return open(f"/proc/self/fd/{big.fileno()}", "rb")
    if kind in ("unix", "makefile"):
        a, b = socket.socketpair(); keep += [a, b]
        b.sendall(b"x" * 50_000)
        return a if kind == "unix" else a.makefile("rb")
    if kind == "pipe":
        r, w = os.pipe(); os.write(w, b"y" * 5000); keep += [open(w, "wb", 0)]
        return open(r, "rb")
    return b"z" * (3 << 20)

def sink(kind, keep):
    if kind == "unix":
        a, b = socket.socketpair(); keep += [a, b]
        return a
    if kind == "pipe":
        r, w = os.pipe(); keep += [open(r, "rb", 0)]
        return FileObjectPosix(w, "wb", 0)
    if kind == "file":
        return tempfile.TemporaryFile()
    return bytearray()

def once(n):
    keep = []
    a = source(chance.choice(["file", "unix", "makefile", "pipe", "bytes"]), keep)
    b = sink(chance.choice(["unix", "unix", "pipe", "file", "bytearray"]), keep)
    keep += [a, b]
    how = n % 4
    copying = gevent.spawn(gzc.copy, a, b) if how < 3 else gevent.spawn(gzc.tunnel, *socket_pair(keep))
    at_rest()
    if how == 2:
        for end in keep:
            if isinstance(end, socket.socket):
                end.close()
    copying.kill(gevent.Timeout() if how else gevent.GreenletExit, timeout=10)
    assert copying.dead
    for end in keep:
        if hasattr(end, "close"):
            try: end.close()
            except OSError: pass

def socket_pair(keep):
    a, b = socket.socketpair(); c, d = socket.socketpair(); keep += [a, b, c, d]
    b.sendall(b"t" * 1000)
    return a, c

def state():
    gc.collect(); gevent.idle(); gevent.idle(); gevent.sleep(0.01); gc.collect()
    greenlets = sum(issubclass(type(o), gevent.Greenlet) and not o.dead for o in gc.get_objects())
    return len(os.listdir("/proc/self/fd")), greenlets, len(_claims._claims), len(os.listdir("/proc/self/task"))

def rss():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

for n in range(200):
    once(n)
before, memory = state(), rss()
for n in range(1000):
    once(n)
after, grown = state(), rss() - memory
for pipe in _pipe._idle:
    assert pipe.held == 0
print(before[0] - 2 * 8 <= after[0] <= before[0] + 2 * 8, before, after)
print(after[1] <= before[1], after[2] == 0, after[3] <= 2 + gzc.config.disk_threads + 10, after[3] - before[3])
print(grown < 16 << 20, grown)
"""


@pytest.mark.slow
def test_a_thousand_aborted_transfers_leave_nothing_behind() -> None:
    """No descriptor (but for pooled pipes), greenlet, claim or thread, and no memory."""
    lines = python(ABORTED).splitlines()
    assert lines[0].startswith("True"), lines
    assert lines[1].startswith("True True True"), lines
    assert lines[2].startswith("True"), lines
