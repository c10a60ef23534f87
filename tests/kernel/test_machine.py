"""The limits of other people's machines: tables that are full, rights that are missing, calls a sandbox forbids.

Rules: real limits of a real kernel, set in a process of their own where they cannot be taken back; only what would
harm the whole machine (ENFILE) is left to the scripted kernel. Here is also what no other test file is about:
numbers of pipes that were reused, what a program started meanwhile inherits, what the pool takes back.
"""

# ruff: noqa: SIM115 - what is opened here is given to `Ends.keep`, which closes it

import errno
import fcntl
import os
import platform
import socket as native
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import ssl as gssl

import gzc

from .._ends import MIB, PATIENCE, Ends, Script, arrives, payload, python, strike
from .._inside import _pipe, _syscalls
from .._lacks import lacking, privileged, tmpfs
from .._pairs import SINKS, SOURCES, Scripted, raised

CONTENT = payload(MIB + 5)

# -- a sandbox -------------------------------------------------------------------------------------------------------

#: linux/audit.h and the tables of system calls.
NUMBERS = {
    "x86_64": (0xC000003E, {"sendfile": 40, "splice": 275, "copy_file_range": 326}),
    "aarch64": (0xC00000B7, {"sendfile": 71, "splice": 76, "copy_file_range": 285}),
}

SANDBOX = """
import ctypes, errno, os, struct, sys, tempfile
import gevent.socket, gzc
for name in gzc.__all__:
    getattr(gzc, name)
from inside import _errnos, _storage, _syscalls
mechanism, number, arch, answer = sys.argv[1], *map(int, sys.argv[2:])

def forbid():
    '''A seccomp filter of six instructions: this one call is answered, all others pass.'''
    def op(code, jt, jf, k):
        return struct.pack("HBBI", code, jt, jf, k)
    program = b"".join([
        op(0x20, 0, 0, 4), op(0x15, 0, 3, arch),
        op(0x20, 0, 0, 0), op(0x15, 0, 1, number),
        op(0x06, 0, 0, 0x00050000 | answer), op(0x06, 0, 0, 0x7FFF0000),
    ])
    buffer = ctypes.create_string_buffer(program)
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 6, ctypes.addressof(buffer)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    if prctl(38, 1, 0, 0, 0) or prctl(22, 2, ctypes.addressof(header), 0, 0):
        print("no seccomp:", os.strerror(ctypes.get_errno()))
        sys.exit()

content = os.urandom(1 << 20)
def copied():
    if mechanism == "splice":
        src, there = gevent.socket.socketpair()
        def feed():
            there.sendall(content); there.shutdown(1)
        gevent.spawn(feed)
    else:
        src = tempfile.TemporaryFile(); src.write(content); src.seek(0)
    if mechanism == "copy_file_range":
        dst = tempfile.TemporaryFile()
    else:
        dst, end = gevent.socket.socketpair()
        reading = gevent.spawn(lambda: b"".join(iter(lambda: end.recv(1 << 16), b"")))
    plan = gzc.explain(src, dst)
    with gzc.trace() as t:
        assert gzc.copy(src, dst) == len(content)
    if mechanism == "copy_file_range":
        dst.seek(0); got = dst.read()
    else:
        dst.close(); got = reading.get(timeout=20)
    assert got == content
    return plan, t

forbid()
first, t = copied()
assert first.mechanism == mechanism, first
assert t.calls[mechanism] >= 1 and t.bytes[mechanism] == 0, t
plan, t = copied()
assert t.calls[mechanism] == 0, t
assert plan.mechanism != mechanism, plan
assert errno.errorcode[answer] in plan.reason, plan
assert errno.errorcode[answer] in _errnos.missing[mechanism]
print("ok")
"""


@pytest.mark.parametrize("name", ["EPERM", "ENOSYS"])
@pytest.mark.parametrize("mechanism", ["sendfile", "splice", "copy_file_range"])
def test_c5_c6_l16_a_sandbox_that_forbids_a_call_is_asked_once(mechanism: str, name: str) -> None:
    """C5, C6, L16: a seccomp filter, as Docker's; the call is not made again, and the plan says why."""
    if platform.machine() not in NUMBERS:
        lacking(f"no table of system calls for {platform.machine()}")
    arch, numbers = NUMBERS[platform.machine()]
    said = python(SANDBOX, mechanism, numbers[mechanism], arch, getattr(errno, name))
    if said.startswith("no seccomp"):
        lacking(said)
    assert said == "ok\n"


# -- switched off ----------------------------------------------------------------------------------------------------

DISABLED = """
import os, tempfile
import gevent.socket, gzc
content = os.urandom(300_000)
for source in ("file", "unix"):
    if source == "file":
        src = tempfile.TemporaryFile(); src.write(content); src.seek(0)
    else:
        src, there = gevent.socket.socketpair()
        def feed():
            there.sendall(content); there.shutdown(1)
        gevent.spawn(feed)
    dst = tempfile.TemporaryFile()
    with gzc.trace() as t:
        assert gzc.copy(src, dst) == len(content)
    dst.seek(0)
    assert dst.read() == content
    print(*sorted(name for name, calls in t.calls.items() if calls))
"""


def test_copy_file_range_is_not_trusted_before_linux_5_3() -> None:
    """It lost bytes there in several ways (Go#42400)."""
    old = "import os, types\nos.uname = lambda: types.SimpleNamespace(release='5.2.21-generic')\n"
    why = "\nprint(gzc.explain(tempfile.TemporaryFile(), tempfile.TemporaryFile()).reason)"
    by_file, by_unix, reason = python(old + DISABLED + why).splitlines()
    assert (by_file, by_unix) == ("splice", "splice")
    assert "not to be trusted before Linux 5.3" in reason


ELSEWHERE = """
import os, sys
import gevent.socket, gevent.ssl, gevent.threadpool, gevent.fileobject, gevent.monkey
sys.platform = "darwin"  # gevent is loaded: what follows is gzc's
for name in ("sendfile", "splice", "copy_file_range"):
    delattr(os, name)
"""


def test_elsewhere_everything_goes_through_user_space_and_says_why() -> None:
    why = """
for call in (gzc.sendfile, gzc.splice, gzc.copy_file_range, gzc.tee):
    r, w = os.pipe()
    try:
        call(*((w, r, 0, 1) if call is gzc.sendfile else (r, w, 1)))
    except OSError as exc:
        print(type(exc).__name__, exc.strerror)
print(gzc.explain(tempfile.TemporaryFile(), gevent.socket.socketpair()[0]).reason)
"""
    by_file, by_unix, *calls, reason = python(ELSEWHERE + DISABLED + why).splitlines()
    assert by_file == by_unix == "userspace"
    assert calls == ["OSError Function not implemented"] * 4
    assert "this platform has no sendfile" in reason


@pytest.mark.parametrize(
    ("disable", "file", "unix"),
    [
        ("", "copy_file_range", "splice"),
        ("copy_file_range", "splice", "splice"),
        ("copy_file_range,splice", "userspace", "userspace"),
        ("splice", "copy_file_range", "userspace"),
        ("sendfile,splice,copy_file_range", "userspace", "userspace"),
    ],
)
def test_c18_the_kill_switch_in_the_environment(disable: str, file: str, unix: str) -> None:
    """C18: no call is made that is switched off, and the next way has its turn."""
    assert python(DISABLED, env={"GZC_DISABLE": disable}).split("\n")[:2] == [file, unix]


# -- tables that are full --------------------------------------------------------------------------------------------

FULL = """
import errno, os, resource, sys, tempfile
import gevent.socket, gzc
from inside import _disk, _errnos, _storage
for name in gzc.__all__:
    getattr(gzc, name)
content = os.urandom(1 << 20)
if sys.argv[2] == "remote":
    _storage.storage = lambda fd: _storage.Storage.REMOTE
    _disk._pool().apply(int)
src = tempfile.TemporaryFile(); src.write(content); src.seek(0)
if sys.argv[1] == "unix":
    dst, there = gevent.socket.socketpair()
    reading = gevent.spawn(lambda: b"".join(iter(lambda: there.recv(1 << 16), b"")))
    gevent.sleep(0)
    def got():
        dst.close(); return reading.get(timeout=20)
else:
    dst = tempfile.TemporaryFile()
    def got():
        dst.seek(0); return dst.read()
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
free = os.dup(0); os.close(free)
before = set(os.listdir("/proc/self/fd"))
resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
transfer = gzc.Transfer(src, dst)
try:
    transfer.run()
    outcome = "done"
except OSError as exc:
    outcome = errno.errorcode[exc.errno]
    assert transfer.exact and not transfer.in_flight
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
assert set(os.listdir("/proc/self/fd")) == before
assert src.tell() == transfer.moved
assert transfer.run() == len(content)
assert got() == content
print(outcome)
"""


@pytest.mark.parametrize(
    ("sink", "storage", "outcome"),
    [("unix", "local", "done"), ("file", "local", "done"), ("unix", "remote", "EMFILE"), ("file", "remote", "EMFILE")],
)
def test_l3_no_descriptor_left_for_a_file(sink: str, storage: str, outcome: str) -> None:
    """L3, EMFILE: what needs none goes on; what needs a duplicate for a thread says so, and can be gone on from."""
    said = python(FULL, sink, storage).strip()
    assert said in ("done", outcome)
    if storage == "local" and sink == "unix":
        assert said == "done"


SPOOLED = """
import errno, os, resource, sys, gzc
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
content = os.urandom(1 << 20)
source = open(sys.argv[1], "rb")
sink = open(sys.argv[2], "wb")
transfer = gzc.Transfer(source, sink)
try:
    transfer.run()
except OSError as exc:
    assert exc.errno == errno.EFBIG, exc
    assert gzc.transfers_of(exc) == (transfer,)
    print(transfer.moved, source.tell(), sink.tell(), os.stat(sys.argv[2]).st_size, transfer.exact)
"""


@pytest.mark.parametrize("disable", ["", "copy_file_range", "copy_file_range,sendfile"])
def test_c21_the_file_size_limit_by_every_way(ends: Ends, disable: str) -> None:
    """C21, RLIMIT_FSIZE: EFBIG with the exact count, whichever call came to it."""
    source, sink = ends.path(CONTENT), ends.path()
    said = python(SPOOLED, source, sink, env={"GZC_DISABLE": disable})
    assert said.split() == ["300000"] * 4 + ["True"]
    assert sink.read_bytes() == CONTENT[:300_000]


# -- targets that refuse ---------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.parametrize("source", ["file", "unix", "bytes"])
def test_c6_an_immutable_file_is_eperm_and_latches_nothing(ends: Ends, latches: dict[str, str], source: str) -> None:
    """C6: chattr +i on an open file; the error is the file's, and the next file goes the fast way."""
    path = ends.path()
    sink: Any = ends.keep(open(path, "wb"))
    privileged("chattr", "+i", path)
    try:
        given: Any = CONTENT if source == "bytes" else SOURCES[source](ends, CONTENT, MIB).obj
        exc = raised(OSError, gzc.copy, given, sink)
        assert exc.errno == errno.EPERM
        assert exc.transfer.moved == 0
        assert exc.transfer.exact
        if source == "unix":
            taken = exc.transfer.reclaim()
            assert taken == CONTENT[: len(taken)]
            assert taken
    finally:
        subprocess.run(["chattr", "-i", path], check=True)
    assert path.read_bytes() == b""
    assert not latches
    with gzc.trace() as t:
        assert gzc.copy(ends.file(CONTENT), ends.file(mode="wb")) == len(CONTENT)
    assert t.bytes["copy_file_range"] == len(CONTENT)


@pytest.mark.parametrize("source", ["file", "unix"])
def test_c6_a_sealed_memory_file_is_eperm(ends: Ends, latches: dict[str, str], source: str) -> None:
    """C6, F_SEAL_WRITE."""
    fd = os.memfd_create("sealed", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    sink = ends.keep(open(fd, "wb", 0))
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    exc = raised(OSError, gzc.copy, SOURCES[source](ends, CONTENT, MIB).obj, sink)
    assert exc.errno == errno.EPERM
    assert exc.transfer.moved == 0
    assert CONTENT.startswith(exc.transfer.reclaim())
    assert not latches


@pytest.mark.root
def test_a_read_only_file_system_is_erofs_before_anything(ends: Ends, tmp_path: Path) -> None:
    """A file opened before its file system became read-only cannot be made here; opening one says EROFS itself."""
    with tmpfs(tmp_path / "read-only", "4m") as folder:
        (folder / "file").write_bytes(CONTENT)
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        exc = raised(OSError, open, folder / "file", "r+b")
        assert exc.errno == errno.EROFS
        with open(folder / "file", "rb") as source, gzc.trace() as t:
            assert gzc.copy(source, ends.file(mode="wb")) == len(CONTENT)
        assert t.bytes["userspace"] == 0


# -- pipes and numbers -----------------------------------------------------------------------------------------------


def test_o15_a_pipe_whose_number_is_somebody_elses_when_the_copy_wakes_up(ends: Ends) -> None:
    """O15, O16: closed by another greenlet, its number given out again, and the old pipe still ready by a duplicate."""
    fds = os.pipe()
    reader, writer = ends.keep(open(fds[0], "rb", 0)), ends.keep(open(fds[1], "wb", 0))
    sink = bytearray()
    copying = ends.spawn(raised, ValueError, gzc.copy, reader, sink)
    gevent.sleep(0.01)
    other, victim = os.pipe()
    spare, number = os.dup(reader.fileno()), reader.fileno()
    reader.close()
    os.dup2(other, number)
    try:
        os.write(victim, b"not for the copy")
        writer.write(b"wakes it up")
        copying.get(timeout=PATIENCE)
        assert os.read(other, 100) == b"not for the copy"
        assert sink == b""
    finally:
        for fd in (number, other, victim, spare):
            os.close(fd)


def test_o16_nothing_is_written_into_the_next_pipe_of_a_number(ends: Ends) -> None:
    """O15, O16: the same for a sink."""
    fds = os.pipe()
    reader, writer = ends.keep(open(fds[0], "rb", 0)), ends.keep(open(fds[1], "wb", 0))
    copying = ends.spawn(raised, ValueError, gzc.copy, CONTENT, writer)
    gevent.sleep(0.01)
    assert not copying.dead
    other, victim = os.pipe()
    os.set_blocking(other, False)
    spare, number = os.dup(writer.fileno()), writer.fileno()
    writer.close()
    os.dup2(victim, number)
    try:
        reader.read(MIB)
        copying.get(timeout=PATIENCE)
        assert not _readable(other)
    finally:
        for fd in (number, other, victim, spare):
            os.close(fd)


@pytest.mark.parametrize("end", ["source", "sink"])
def test_o15_a_socket_closed_while_the_copy_gives_way(ends: Ends, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """O15, O16: not while it waits, where gevent wakes it with EBADF, but while the hub has its turn."""
    here, there = ends.unix()
    far, back = ends.unix()
    monkeypatch.setattr(gzc.config, "hub_budget", 1e-9)
    monkeypatch.setattr(gzc.config, "chunk", 4096)
    if end == "source":
        there.sendall(CONTENT[:100_000])
    victim, mine = ends.unix()
    numbers = []

    def close(_: int) -> None:
        """In the middle of the copy, as another greenlet would: the number is another connection's from here on."""
        if not numbers:
            sock = here if end == "source" else far
            numbers.append(sock.fileno())
            sock.close()
            gevent.sleep(0)  # gevent defers the closing
            os.dup2(victim.fileno(), numbers[0])

    src = gzc.observe(here if end == "source" else ends.file(CONTENT), close)
    mine.sendall(b"not for the copy")
    exc = raised(OSError, gzc.copy, src, far)
    try:
        assert exc.errno == errno.EBADF
        assert victim.recv(100) == b"not for the copy"
        mine.setblocking(False)
        raised(BlockingIOError, mine.recv, 1)
    finally:
        os.close(numbers[0])
        back.close()


def _readable(fd: int) -> bool:
    try:
        return bool(os.read(fd, 1))
    except BlockingIOError:
        return False


def test_d7_a_pipe_with_bytes_in_it_never_reaches_the_next_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """D7: who gives one back is not asked whether it is empty, nor is a count believed: the kernel is asked."""
    monkeypatch.setattr(_pipe, "_idle", [])
    for counted in (True, False):
        pipe = _pipe.take("one")
        written = _syscalls.write(pipe.writer, b"somebody's")
        if counted:
            pipe.bytes_in += written
        _pipe.give_back(pipe)
        assert _pipe._idle == ([] if counted else [pipe])
        other = _pipe.take("another")
        assert other is not pipe
        assert _syscalls.unread(other.reader) == 0
        assert pipe.reader == -1
        other.close()


def test_d7_a_pipe_that_was_another_clients_meanwhile_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pipe, "_idle", [])
    pipe = _pipe.take("one")
    _pipe.give_back(pipe)
    assert _pipe.take("one") is pipe
    _pipe.give_back(pipe)
    assert _pipe.take("another") is pipe
    _syscalls.write(pipe.writer, b"the other's")
    _pipe.give_back(pipe)
    mine = _pipe.take("one")
    assert mine is not pipe
    mine.close()


@pytest.mark.parametrize("written", [True, False])
def test_d7_a_pipe_in_doubt_never_gets_into_the_pool(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    """D7: not even an empty one: what was under way when a signal handler struck nobody knows."""
    monkeypatch.setattr(_pipe, "_idle", [])

    class Strike(BaseException):
        pass

    real = _syscalls.write

    def write(fd: int, data: Any) -> int:
        if written:
            real(fd, data)
        strike(Strike())  # whether it is in the pipe, no count says

    given, taken = SOURCES["unix"](ends, CONTENT, MIB), SINKS["unix"](ends)
    Scripted(monkeypatch, "splice", {1: 0, 2: 0})
    monkeypatch.setattr(_syscalls, "write", write)
    exc = raised(Strike, gzc.copy, given.obj, taken.obj)
    assert not exc.transfer.exact
    assert not _pipe._idle
    assert _pipe.take(None).reader >= 0


@pytest.mark.untraced
def test_d10_our_pipes_are_not_for_programs_started_meanwhile(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """D10: close-on-exec, all of them: one that a child holds open would hold its bytes, and never break."""
    monkeypatch.setattr(_pipe, "_idle", [])
    pipe = _pipe.take(None)
    assert not any(os.get_inheritable(fd) for fd in (pipe.reader, pipe.writer))
    here, _ = ends.stuck()
    copying = ends.spawn(gzc.copy, SOURCES["unix"](ends, CONTENT, MIB).obj, here)
    gevent.sleep(0.01)
    assert not copying.dead
    held = [one for one in _pipe._alive if one.held]
    assert held
    assert not any(os.get_inheritable(fd) for one in held for fd in (one.reader, one.writer))
    copying.kill()
    pipe.close()


def test_m9_o10_makefile_above_tls_is_never_bypassed(ends: Ends, certificates: Any) -> None:
    """P9, O10: the bytes of the file object are the plain ones, those of its descriptor are not."""
    _, options = certificates
    here, there = ends.tcp()

    def serve() -> None:
        context = gssl.SSLContext(gssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options[1], options[3])
        tls = context.wrap_socket(there, server_side=True)
        tls.sendall(CONTENT)
        tls.recv(1)  # until the client goes

    ends.spawn(serve)
    context = gssl.SSLContext(gssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, gssl.CERT_NONE
    client = ends.keep(context.wrap_socket(here))
    file = ends.keep(client.makefile("rb"))
    sink = bytearray()
    with gevent.Timeout(PATIENCE):
        assert gzc.explain(file, ends.unix()[0]).mechanism == "userspace"
        gzc.copy(file, sink, len(CONTENT))
    assert sink == CONTENT
    out = ends.keep(client.makefile("wb"))
    assert gzc.explain(ends.file(CONTENT), out).mechanism == "userspace"


def test_b3_no_call_is_asked_for_more_than_a_chunk(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """B3: one sendfile goes on as long as the peer drains, and holds the hub meanwhile: each call is cut."""
    here, there = ends.unix()
    peer = ends.reading(there)
    script = Script(monkeypatch)
    assert gzc.copy(ends.file(CONTENT), here) == len(CONTENT)
    assert max(count for _, count in script.asks) == gzc.config.chunk < len(CONTENT)
    assert arrives(here, peer) == CONTENT


# -- what the documentation promises, and no more --------------------------------------------------------------------


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_f7_a_page_that_is_on_its_way_is_still_the_files(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """F7: what is overwritten before the peer has read it arrives as it is then; through user space it does not."""
    for disable, first in (("", b"new"), ("sendfile,splice", b"old")):
        monkeypatch.setattr(gzc.config, "disable", disable)
        path = ends.path(b"old" + CONTENT[: 100 * 1024])
        here, there = ends.pair(family)
        assert gzc.copy(ends.keep(open(path, "rb")), here, 50_000) == 50_000
        with path.open("r+b") as file:
            file.write(b"new")
        assert ends.peer(there).take(50_000) == first + CONTENT[:49_997]


@pytest.mark.parametrize("source", ["file", "unix", "bytes"])
def test_o5_a_target_that_was_read_and_sought_is_written_where_it_stands(ends: Ends, source: str) -> None:
    """O5: 'r+b', read ahead, then sought: the descriptor is elsewhere, and later writes go on behind."""
    path = ends.path(before := payload(MIB, 7))
    file = ends.keep(open(path, "r+b"))
    file.read(100)
    file.seek(20)
    content = CONTENT[:70_000]
    given: Any = content if source == "bytes" else SOURCES[source](ends, content, MIB).obj
    assert gzc.copy(given, file) == len(content)
    assert file.tell() == 20 + len(content)
    file.write(b"behind")
    file.close()
    expected = before[:20] + content + b"behind" + before[20 + len(content) + 6 :]
    assert path.read_bytes() == expected


@pytest.mark.untraced
def test_tunnels_of_which_one_half_has_ended_keep_no_buffer(ends: Ends) -> None:
    """Each confirms its end by a read, and lived on with the 256 KiB of it: 3.6 GiB when 10,000 ended at once."""
    pairs = [(ends.unix(), ends.unix()) for _ in range(100)]
    running = [ends.spawn(gzc.tunnel, here[1], far[1]) for here, far in pairs]
    gevent.sleep(0.01)
    tracemalloc.start()
    try:
        for here, far in pairs:
            here[0].shutdown(native.SHUT_WR)
            with gevent.Timeout(PATIENCE):
                assert far[0].recv(1) == b""
        assert not any(one.ready() for one in running)
        # What other tests have left running in this process takes memory, too: gzc's alone is looked at.
        own = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, f"{Path(gzc.__file__).parent}/*")])
    finally:
        tracemalloc.stop()
    held = own.statistics("lineno")
    # 6 KiB each, and up to 19 under Python 3.10, whose frames lie on stacks that greenlet copies; with buffers 65.
    assert 0 < sum(line.size for line in held) < 100 * 32 * 1024, held[:3]
    for _, far in pairs:
        far[0].shutdown(native.SHUT_WR)
    gevent.joinall(running, timeout=PATIENCE)
    assert all(one.value == (0, 0) for one in running)
