"""Hard cases of the second rank: what the kernel does in corners, and that gzc delivers every byte there.

Rules: each test names its case. Where this kernel lacks something, the test says so by a skip that names it.
"""

import contextlib
import mmap
import os
import pty
import signal
import socket as native
import subprocess
import sys
import tty
from pathlib import Path

import gevent
import pytest
from gevent import socket as gsocket
from gevent.fileobject import FileObject

import gzc

from .._ends import PATIENCE, Ends, payload, python
from .._lacks import lacking, opened_direct
from .._pairs import AHEAD

KIB, MIB = 1 << 10, 1 << 20


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_n1_sends_and_sendfiles_keep_their_order(ends: Ends, family: str) -> None:
    here, there = ends.pair(family)
    peer = ends.reading(there)
    data = payload(MIB)
    with gzc.trace() as trace:
        for part in range(8):
            here.sendall(b"[%d]" % part)
            gzc.copy(gzc.section(ends.file(data), part * 100 * KIB, 100 * KIB), here)
    here.close()
    assert peer.all() == b"".join(b"[%d]" % n + data[n * 100 * KIB : (n + 1) * 100 * KIB] for n in range(8))
    assert trace.bytes["sendfile"] == 8 * 100 * KIB


def test_n3_a_unix_peer_that_closes_with_unread_bytes(ends: Ends) -> None:
    """What it sent before arrives; the reset is told after that."""
    here, there = ends.unix()
    here.sendall(b"never read")
    there.sendall(payload(100 * KIB))
    there.close()
    target = ends.file(mode="w+b")
    with pytest.raises(ConnectionResetError) as caught:
        gzc.copy(here, target)
    assert caught.value.transfer.moved == 100 * KIB  # type: ignore[attr-defined]
    target.seek(0)
    assert target.read() == payload(100 * KIB)


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_n6_reading_after_ones_own_shutdown_is_the_end(ends: Ends, family: str) -> None:
    here, _ = ends.pair(family)
    here.shutdown(native.SHUT_RD)
    with gevent.Timeout(PATIENCE):
        assert gzc.copy(here, ends.file(mode="wb")) == 0


def test_f19_multipath_tcp(ends: Ends) -> None:
    """Its sockets are treated as those of tcp, in both directions."""
    protocol = getattr(native, "IPPROTO_MPTCP", 262)
    try:
        listener = ends.keep(gsocket.socket(native.AF_INET, native.SOCK_STREAM, protocol))
        there = ends.keep(gsocket.socket(native.AF_INET, native.SOCK_STREAM, protocol))
    except OSError as exc:
        lacking(f"this kernel has no MPTCP: {exc}")
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    there.connect(listener.getsockname())
    here = ends.keep(listener.accept()[0])
    target = ends.file(mode="w+b")
    with gzc.trace() as trace:
        receiving = ends.spawn(gzc.copy, there, target)
        assert gzc.copy(ends.file(payload(MIB)), here) == MIB
        here.close()
        assert receiving.get(timeout=PATIENCE) == MIB
    target.seek(0)
    assert target.read() == payload(MIB)
    assert (trace.bytes["sendfile"], trace.bytes["splice"]) == (MIB, MIB)


@pytest.mark.parametrize("source", ["file", "socket"])
def test_l13_into_a_terminal(ends: Ends, source: str) -> None:
    """Older kernels refuse to splice into a tty; the bytes arrive all the same."""
    leader, follower = pty.openpty()
    tty.setraw(follower)
    terminal = ends.keep(FileObject(follower, "wb", 0))
    screen = ends.keep(FileObject(leader, "rb", 0))
    data = payload(64 * KIB)
    if source == "file":
        src = ends.file(data)
    else:
        src, there = ends.unix()
        ends.feeding(there, data)

    def look() -> bytes:
        seen = b""
        while len(seen) < len(data):
            seen += screen.read(KIB)
        return seen

    looking = ends.spawn(look)
    with gevent.Timeout(PATIENCE):
        assert gzc.copy(src, terminal) == len(data)
        assert looking.get() == data


def test_a_terminal_in_non_blocking_mode_is_offered_again_only_what_it_did_not_take(ends: Ends) -> None:
    """A full BufferedWriter says how much it took; who asks it again with all of it sends bytes twice."""
    leader, follower = pty.openpty()
    tty.setraw(follower)
    for fd in (leader, follower):
        os.set_blocking(fd, False)
    terminal, screen = ends.keep(open(follower, "wb")), ends.keep(open(leader, "rb", 0))  # noqa: SIM115
    data, seen, moved, refusals = payload(4 * AHEAD), b"", 0, 0
    with gevent.Timeout(PATIENCE):
        while moved < len(data):
            try:
                moved += gzc.copy(data[moved:], terminal)
            except BlockingIOError as exc:
                moved += gzc.transfers_of(exc)[0].moved
                refusals += 1
                seen += screen.read(KIB) or b""
        while len(seen) < len(data):
            with contextlib.suppress(BlockingIOError):
                terminal.flush()
            seen += screen.read(KIB) or b""
            gevent.sleep(0)
    assert refusals
    assert seen == data


@pytest.mark.parametrize("buffering", [-1, 0])
def test_f13_a_file_opened_with_o_direct_is_written_by_its_own_method(ends: Ends, buffering: int) -> None:
    """F13: no call of the kernel takes its odd lengths, either; whole blocks at an even address go by `write`."""
    path = ends.path(b"")
    fd = opened_direct(path, os.O_WRONLY)
    target = ends.keep(open(fd, "wb", buffering))  # noqa: SIM115
    plan = gzc.explain(ends.file(payload(MIB)), target)
    assert plan.mechanism == "userspace"
    assert "O_DIRECT" in plan.reason
    content = payload(4 * AHEAD)  # more than its buffer holds, whose memory is at an odd address
    with mmap.mmap(-1, len(content)) as memory:
        memory[:] = content
        assert gzc.copy(memory, target) == len(content)
    target.flush()
    with open(path, "rb") as file:
        assert file.read() == content


def test_c15_offsets_beyond_all_files(ends: Ends) -> None:
    """A section that begins far beyond the end is empty; a negative one is refused."""
    file, (here, _) = ends.file(payload(KIB)), ends.unix()
    for offset in (KIB, 1 << 40, (1 << 63) - 1 - KIB):
        assert gzc.copy(gzc.section(file, offset, KIB), here) == 0
    with pytest.raises(ValueError, match="negative"):
        gzc.section(file, -1, KIB)


RELEASE = """
import os, sys
os.uname = lambda own=os.uname(): os.uname_result((own[0], own[1], sys.argv[1], own[3], own[4]))
import gzc
with open(sys.argv[2], "rb") as source, open(sys.argv[3], "wb") as sink:
    plan = gzc.explain(source, sink)
    print(plan.mechanism, "5.3" in plan.reason)
"""


@pytest.mark.parametrize(
    ("release", "told"),
    [("5.2.21-generic", "True"), ("4.18.0-553.el8", "True"), ("5.3.0", "False"), ("6.18-rc1+", "False")],
)
def test_c24_copy_file_range_is_not_asked_of_kernels_before_5_3(tmp_path: Path, release: str, told: str) -> None:
    """C24: it was broken in several ways before; the release string goes on as its maker likes."""
    with (tmp_path / "source").open("wb") as made:
        made.truncate(MIB)
    assert python(RELEASE, release, tmp_path / "source", tmp_path / "sink").split()[1] == told


def test_c16_holes_arrive_as_zeros(ends: Ends) -> None:
    source = ends.file(mode="w+b")
    os.ftruncate(source.fileno(), 4 * MIB)
    os.pwrite(source.fileno(), b"end", 4 * MIB)
    target = ends.file(mode="w+b")
    assert gzc.copy(source, target) == 4 * MIB + 3
    target.seek(0)
    assert target.read() == bytes(4 * MIB) + b"end"


SIGPIPE = """
import signal, sys, tempfile
import gevent.socket, gzc
if sys.argv[1] == "default":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
here, there = gevent.socket.socketpair()
there.close()
with tempfile.TemporaryFile() as file:
    file.write(bytes(100_000))
    file.seek(0)
    try:
        gzc.copy(file, here)
    except BrokenPipeError:
        print("told")
"""


@pytest.mark.parametrize(("how", "status", "told"), [("ignored", 0, "told\n"), ("default", -signal.SIGPIPE, "")])
def test_f11_sigpipe_as_python_sets_it_and_as_it_was(how: str, status: int, told: str) -> None:
    """Ignored, it is BrokenPipeError; a program that sets it back to its default ends, as by any write."""
    command = [sys.executable, "-c", SIGPIPE, how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (status, told), done.stderr
