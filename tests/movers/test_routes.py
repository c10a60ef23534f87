"""Every route between two ends: bytes, counts, positions, and the mechanism by which they went.

Rules: real files, sockets and pipes. That the bytes are right proves no route, a copy through user space has the
same: so every copy is also held against its plan and its trace.
"""

# ruff: noqa: SIM115 - what is opened here is given to `Ends.keep`, which closes it

import contextlib
import errno
import gc
import os
import socket as native
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

import gzc

from .._ends import BEYOND_SMALL, KIB, MIB, PATIENCE, Ends, at_rest, error, open_fds_unchanged, payload, python
from .._inside import _pipe, _syscalls
from .._lacks import other_file_system, tmpfs
from .._pairs import HEAD, SINKS, SOURCES, TAIL, Given, Scripted, Taken

PAGE = 4096
SIZES = (0, 1, 42, 1025, PAGE + 1, BEYOND_SMALL, MIB + 3, 5 * MIB)
GIB = 1 << 30


def mechanism(source: str, sink: str) -> str:
    """The table of the issue, written down a second time."""
    if sink in ("file ab", "BytesIO", "bytearray"):
        return "userspace"
    if source != "file" or sink.startswith("pipe"):
        return "splice"
    return "copy_file_range" if sink.startswith("file") else "sendfile"


def check(given: Given, taken: Taken, content: bytes, count: int | None, how: str, *, small: bool) -> None:
    """Copy, and hold plan, count, bytes, positions and trace against `content` and the mechanism `how`."""
    expected = content if count is None else content[:count]
    with gevent.Timeout(PATIENCE):
        assert small or gzc.explain(given.obj, taken.obj, count).mechanism == how
        with gzc.trace() as t:
            assert gzc.copy(given.obj, taken.obj, count) == len(expected)
        assert given.rest() == content[len(expected) :]
        taken.write(TAIL)
        got = taken.content()
    assert got is None or got == HEAD + expected + TAIL
    went = {name: moved for name, moved in t.bytes.items() if moved}
    assert sum(went.values()) == len(expected)
    if small or how == "userspace":
        assert set(went) <= {"userspace"}
    else:
        assert set(went) <= {how, "userspace"}
        assert went.get("userspace", 0) <= given.ahead
        assert t.refused == []


# -- the matrix of the seeds -------------------------------------------------------------------------------


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_route_in_every_size_and_limit(ends: Ends, source: str, sink: str) -> None:
    how = mechanism(source, sink)
    for size in SIZES:
        content = payload(size, 3)
        limits = (None, size - 1, size // 2, size + 1) if size else (None, 1)
        for count in limits:
            amount = size if count is None else min(size, count)
            small = source == "file" and 0 < amount <= gzc.config.small
            with Ends(ends.folder) as own:
                check(SOURCES[source](own, content, MIB), SINKS[sink](own), content, count, how, small=small)


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("source", [name for name in SOURCES if name != "file"])
def test_every_route_from_a_peer_that_writes_little(ends: Ends, source: str, sink: str) -> None:
    """X8: a short read is no end."""
    how = mechanism(source, sink)
    for size, step in ((42, 1), (MIB + 3, 1025)):
        content = payload(size, 5)
        for count in (None, size // 2):
            with Ends(ends.folder) as own:
                check(SOURCES[source](own, content, step), SINKS[sink](own), content, count, how, small=False)


@contextlib.contextmanager
def no_garbage() -> Iterator[None]:
    """Nothing of gzc's is left to the garbage collector: all goes when the last reference does.

    A socket in a cycle is closed at any later moment, when its number may be somebody else's.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        left = {type(found).__qualname__ for found in gc.garbage if type(found).__module__.partition(".")[0] == "gzc"}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.unfreeze()
    assert left == set()


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("source", SOURCES)
def test_no_route_leaves_garbage(ends: Ends, source: str, sink: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, struck in the middle, given up by one mover and by all."""
    given, taken = SOURCES[source](ends, payload(MIB), MIB), SINKS[sink](ends)
    with gevent.Timeout(PATIENCE), no_garbage():
        gzc.copy(given.obj, taken.obj, 300_001)
        with contextlib.suppress(KeyError):
            gzc.copy(gzc.observe(given.obj, {}.__getitem__), taken.obj, 300_001)
        monkeypatch.setattr(gzc.config, "disable", {"sendfile"})
        with contextlib.suppress(gzc.Error):
            gzc.copy(given.obj, taken.obj, 100_001, fallback=False)


@pytest.mark.parametrize("sink", SINKS)
def test_a_small_file_takes_the_fast_way_where_user_space_is_forbidden(ends: Ends, sink: str) -> None:
    how = mechanism("file", sink)
    content = payload(1025)
    given, taken = SOURCES["file"](ends, content, MIB), SINKS[sink](ends)
    assert "small" in gzc.explain(given.obj, taken.obj).reason
    if how == "userspace":
        with pytest.raises(gzc.NotZeroCopyError):
            gzc.copy(given.obj, taken.obj, fallback=False)
        assert given.rest() == content
        return
    with gzc.trace() as t:
        assert gzc.copy(given.obj, taken.obj, fallback=False) == 1025
    assert t.bytes[how] == 1025
    taken.write(TAIL)
    assert taken.content() in (None, HEAD + content + TAIL)


@pytest.mark.parametrize("sink", [name for name in SINKS if mechanism("unix", name) == "splice"])
@pytest.mark.parametrize("source", SOURCES)
def test_user_space_is_there_where_the_kernel_has_nothing(
    ends: Ends, latches: dict[str, str], source: str, sink: str
) -> None:
    """C5 L16: ENOSYS for everything, from the first call on."""
    content = payload(MIB + 3)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("splice", "sendfile", "copy_file_range"):
            patch.setattr(_syscalls, f"_{name}", _syscalls.unavailable)
        for _ in range(2):  # the second time it is known
            given, taken = SOURCES[source](ends, content, MIB), SINKS[sink](ends)
            with gzc.trace() as t:
                assert gzc.copy(given.obj, taken.obj) == len(content)
            assert t.bytes["userspace"] == len(content)
            assert len(t.refused) >= 1
            taken.write(TAIL)
            assert taken.content() in (None, HEAD + content + TAIL)
    assert latches


# -- C: copy_file_range ------------------------------------------------------------------------------------

CONTENT = payload(MIB + 3)


def between(ends: Ends, content: bytes = CONTENT) -> tuple[Any, Any]:
    """A file with `content` and an empty one."""
    return ends.file(content), ends.file(b"", "w+b")


def copied(src: Any, dst: Any, content: bytes = CONTENT) -> Any:
    """Copy, and hold bytes and positions against `content`; the trace."""
    with gzc.trace() as t, gevent.Timeout(PATIENCE):
        assert gzc.copy(src, dst) == len(content)
    assert src.tell() == dst.tell() == len(content)
    assert Path(dst.name).read_bytes() == content
    return t


def test_c1_a_zero_at_first_is_no_end(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """C1: 0 from the first call although there is content; splice says it as well."""
    Scripted(monkeypatch, "copy_file_range", others=0)
    src, dst = between(ends)
    t = copied(src, dst)
    assert t.bytes["splice"] == len(CONTENT)
    Scripted(monkeypatch, "splice", others=0)
    t = copied(*between(ends))
    assert t.bytes["userspace"] == len(CONTENT)


@pytest.mark.parametrize("path", ["/proc/version", "/proc/cpuinfo", "/proc/self/cmdline"])
def test_c1_files_of_size_zero_in_proc(ends: Ends, path: str) -> None:
    dst = ends.file(b"", "w+b")
    with open(path, "rb") as src:
        assert gzc.copy(src, dst) > 0
    if path != "/proc/cpuinfo":  # its clock rates change
        assert Path(dst.name).read_bytes() == Path(path).read_bytes()


def test_c2_exdev_between_two_file_systems(ends: Ends, tmp_path: Path) -> None:
    """C2: EXDEV is no matter of the process: the next pair on one file system goes the fast way again."""
    memory = other_file_system(tmp_path)
    src = ends.file(CONTENT)
    path = memory / f"gzc-test-{os.getpid()}"
    try:
        with path.open("w+b") as dst:
            t = copied(src, dst)
    finally:
        path.unlink()
    assert (t.bytes["copy_file_range"], t.bytes["splice"]) == (0, len(CONTENT))
    assert [why for why, _ in t.refused if "EXDEV" in why]
    assert copied(*between(ends)).bytes["copy_file_range"] == len(CONTENT)


def test_c3_c4_o_append_behind_pythons_back(ends: Ends) -> None:
    """C3 C4: fcntl is believed, not the mode."""
    import fcntl

    src, dst = between(ends)
    dst.write(b"before")
    dst.flush()
    dst.seek(2)  # an O_APPEND file is written at its end all the same
    flags = fcntl.fcntl(dst.fileno(), fcntl.F_GETFL)
    fcntl.fcntl(dst.fileno(), fcntl.F_SETFL, flags | os.O_APPEND)
    with gzc.trace() as t:
        assert gzc.copy(src, dst) == len(CONTENT)
    assert t.bytes["userspace"] == len(CONTENT)
    assert dst.tell() == len(CONTENT) + 6
    assert Path(dst.name).read_bytes() == b"before" + CONTENT


DECLINES = ("EXDEV", "EINVAL", "EOPNOTSUPP", "ENOSYS", "EPERM", "ETXTBSY", "EACCES", "EOVERFLOW")


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("name", DECLINES)
def test_c5_c6_c7_c9_not_me_also_after_progress(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, latches: dict[str, str], name: str, at: int
) -> None:
    """C5 C6 C7 C9: the count is kept and the copy goes on from there, never from 0."""
    script = Scripted(monkeypatch, "copy_file_range", {1: 30_000, at: error(getattr(errno, name))})
    t = copied(*between(ends))
    assert t.bytes["copy_file_range"] == sum(script.moved) == (30_000 if at == 2 else 0)
    assert t.bytes["splice"] == len(CONTENT) - sum(script.moved)
    assert not latches or (name in ("ENOSYS", "EPERM") and not latches.get("copy_file_range"))


def test_c6_eperm_is_final_only_where_the_probe_says_so(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, latches: dict[str, str]
) -> None:
    monkeypatch.setattr(_syscalls, "copy_file_range", lambda *_: -errno.EPERM)
    assert copied(*between(ends)).bytes["splice"] == len(CONTENT)
    assert "EPERM" in latches["copy_file_range"]


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("name", ["EIO", "ENOSPC", "EFBIG", "EDQUOT", "ENOMEM", "EBADF"])
def test_c8_the_truth_about_the_disk_is_raised(ends: Ends, monkeypatch: pytest.MonkeyPatch, name: str, at: int) -> None:
    """C8 L11: a second method could turn an EIO into good-looking wrong data."""
    Scripted(monkeypatch, "copy_file_range", {1: 30_000, at: error(getattr(errno, name))})
    src, dst = between(ends)
    transfer = gzc.Transfer(src, dst)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        transfer.run()
    assert caught.value.errno == getattr(errno, name)
    assert transfer.exact
    assert transfer.moved == src.tell() == dst.tell() == (30_000 if at == 2 else 0)
    assert transfer.run() == len(CONTENT)
    assert Path(dst.name).read_bytes() == CONTENT


@pytest.mark.parametrize("link", ["same", "hard link", "symlink"])
def test_c10_c11_c12_a_file_onto_itself(ends: Ends, link: str) -> None:
    """C10 C11 C12: as shutil would do it, from an earlier part onto a later one; and onto its own end it ends."""
    path = ends.path(CONTENT)
    other = path
    if link != "same":
        other = path.with_name("linked")
        (os.link if link == "hard link" else os.symlink)(path, other)
    with path.open("rb") as src, other.open("r+b") as dst, gzc.trace() as t:
        dst.seek(500_000)
        assert gzc.copy(src, dst, 300_000) == 300_000
    assert path.read_bytes() == CONTENT[:500_000] + CONTENT[:300_000] + CONTENT[800_000:]
    assert t.bytes["userspace"] == 300_000
    with path.open("rb") as src, other.open("r+b") as dst:
        dst.seek(0, os.SEEK_END)
        src.seek(-10, os.SEEK_END)
        tail = src.read()
        src.seek(-10, os.SEEK_END)
        assert gzc.copy(src, dst, 25) == 25  # the end runs away from it, and a count stops it
    assert path.read_bytes()[-25:] == (tail * 3)[:25]


def test_c13_no_call_asks_for_more_than_linux_gives(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(monkeypatch, "copy_file_range")
    src, dst = between(ends)
    assert gzc.copy(src, dst, 1 << 62) == len(CONTENT)
    assert max(ask[2] for ask in script.asks) <= 0x7FFFF000
    with open(src.name, "rb") as a, open(dst.name, "r+b") as b:
        assert gzc.copy_file_range(a, b, (1 << 63) - 1, 0, 0) == len(CONTENT)


def test_c20_short_counts_are_no_end(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(monkeypatch, "copy_file_range", others=99_991)
    t = copied(*between(ends))
    assert t.bytes["copy_file_range"] == len(CONTENT)
    assert script.calls == len(CONTENT) // 99_991 + 1


FULL = """
import errno, resource, sys
import gzc
src, path, most, how = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
gzc.config.disable = how
with open(src, "rb") as src, open(path, "wb") as dst:
    transfer = gzc.Transfer(src, dst)
    try:
        transfer.run()
    except OSError as exc:
        print(errno.errorcode[exc.errno], transfer.moved, transfer.exact, src.tell(), dst.tell())
"""


@pytest.mark.parametrize("disabled", ["", "copy_file_range", "copy_file_range,sendfile"])
def test_c21_efbig_comes_with_the_exact_count(ends: Ends, disabled: str) -> None:
    """C21: RLIMIT_FSIZE; the first call is short, the next one errors."""
    src, dst = ends.path(CONTENT), ends.path()
    said = python(FULL, src, dst, 700_001, disabled).split()
    assert said == ["EFBIG", "700001", "True", "700001", "700001"]
    assert dst.read_bytes() == CONTENT[:700_001]


@pytest.mark.root
@pytest.mark.parametrize("source", ["file", "unix", "pipe", "bytes"])
def test_c21_enospc_comes_with_the_exact_count(ends: Ends, tmp_path: Path, source: str) -> None:
    """C21: a file system of 64 KiB."""
    with tmpfs(tmp_path / "tiny", "64k") as mountpoint:
        src = CONTENT if source == "bytes" else SOURCES[source](ends, CONTENT, MIB).obj
        with (mountpoint / "file").open("wb") as dst:
            transfer = gzc.Transfer(src, dst)
            with pytest.raises(OSError, match="No space") as caught:
                transfer.run()
            assert caught.value.errno == errno.ENOSPC
            assert transfer.exact
            assert transfer.moved == dst.tell() == 64 * KIB
        assert (mountpoint / "file").read_bytes() == CONTENT[: 64 * KIB]
        taken = transfer.in_flight
        assert bool(taken) == (source in ("unix", "pipe"))
        assert transfer.reclaim() == CONTENT[64 * KIB :][:taken]


# -- beyond 4 GiB ------------------------------------------------------------------------------------------

HUGE = 5 * GIB
MARK = b"beyond the fourth gibibyte"

#: Drains all but the last bytes without looking at them, then prints the count and those last bytes.
DRAIN = """
import os, socket, sys
kind, fd, huge, mark = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
left = huge - mark
if kind == "pipe":
    null = os.open(os.devnull, os.O_WRONLY)
    while left:
        left -= os.splice(fd, null, min(left, 1 << 20))
    read = lambda n: os.read(fd, n)
else:
    sock = socket.socket(fileno=fd)
    buffer, flags = bytearray(1 << 20), socket.MSG_TRUNC if kind == "tcp" else 0
    while left:
        got = sock.recv_into(buffer, min(left, 1 << 20), flags)
        assert got, left
        left -= got
    read = sock.recv
last = b""
while data := read(1 << 16):
    last += data
print(huge - mark + len(last), last[-mark:].decode())
"""


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """5 GiB, nearly all of it a hole."""
    path = tmp_path_factory.mktemp("huge") / "sparse"
    with path.open("wb") as file:
        file.truncate(HUGE)
        file.seek(-len(MARK), os.SEEK_END)
        file.write(MARK)
    yield path
    path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tcp", "unix", "pipe"])
def test_beyond_4_gib_from_a_file(ends: Ends, sparse: Path, kind: str) -> None:
    if kind == "pipe":
        there, writer = os.pipe()
        sink, how = ends.keep(open(writer, "wb")), "splice"
    else:
        sink, other = ends.pair(kind)
        there, how = os.dup(other.fileno()), "sendfile"
        other.close()
        os.set_blocking(there, True)
    drain = [sys.executable, "-c", DRAIN, kind, str(there), str(HUGE), str(len(MARK))]
    with (
        subprocess.Popen(drain, pass_fds=[there], stdout=subprocess.PIPE, text=True) as process,
        sparse.open("rb") as file,
    ):
        os.close(there)
        with gzc.trace() as t:
            assert gzc.copy(file, sink) == HUGE
        assert file.tell() == HUGE
        assert t.bytes[how] == HUGE
        sink.close()
        assert process.communicate(timeout=PATIENCE)[0].strip() == f"{HUGE} {MARK.decode()}"


@pytest.mark.slow
def test_beyond_4_gib_to_dev_null(ends: Ends, sparse: Path) -> None:
    with sparse.open("rb") as file, open(os.devnull, "wb") as null, gzc.trace() as t:
        assert gzc.copy(file, null) == HUGE
        assert file.tell() == HUGE
    assert t.bytes["sendfile"] == HUGE


POUR = """
import socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
block, left = bytes(1 << 20), int(sys.argv[2])
while left:
    left -= sock.send(block[:left])
sock.shutdown(socket.SHUT_WR)
"""


@pytest.mark.slow
@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_beyond_4_gib_from_a_socket_to_dev_null(ends: Ends, family: str) -> None:
    here, there = ends.pair(family)
    os.set_blocking(there.fileno(), True)
    with (
        subprocess.Popen([sys.executable, "-c", POUR, str(there.fileno()), str(HUGE)], pass_fds=[there.fileno()]) as p,
        open(os.devnull, "wb") as null,
    ):
        there.close()
        with gzc.trace() as t:
            assert gzc.copy(here, null) == HUGE
        assert p.wait(PATIENCE) == 0
    assert t.bytes["splice"] == HUGE


@pytest.mark.slow
def test_beyond_4_gib_of_offset_in_both_files(ends: Ends, sparse: Path) -> None:
    """copy_file_range from beyond 4 GiB to beyond 4 GiB."""
    start, at = HUGE - MIB, 4 * GIB + 17
    with sparse.open("rb") as src, ends.path().open("w+b") as dst:
        src.seek(start)
        dst.seek(at)
        with gzc.trace() as t:
            assert gzc.copy(src, dst) == MIB
        assert (src.tell(), dst.tell()) == (HUGE, at + MIB)
        assert t.bytes["copy_file_range"] == MIB
        dst.seek(at)
        assert dst.read() == bytes(MIB - len(MARK)) + MARK
        assert os.fstat(dst.fileno()).st_blocks * 512 < 64 * MIB  # nothing was written below


# -- no descriptor -----------------------------------------------------------------------------------------


def test_no_route_leaves_a_descriptor(ends: Ends) -> None:
    def all_pairs() -> None:
        for make in SOURCES.values():
            for sink in SINKS.values():
                with Ends(ends.folder) as own:
                    given, taken = make(own, CONTENT, MIB), sink(own)
                    gzc.copy(given.obj, taken.obj)
                at_rest()

    all_pairs()  # the pool fills
    with open_fds_unchanged():
        all_pairs()
        at_rest()


def test_no_pipe_is_made_where_nothing_is_to_be_moved(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """F14 X5: a count of 0 makes no system call and takes no pipe."""
    from .._inside import _pipe

    monkeypatch.setattr(_pipe, "_idle", [])
    monkeypatch.setattr(_syscalls, "make_pipe", lambda into: pytest.fail("a pipe was made"))
    script = Scripted(monkeypatch, "splice")
    here, there = ends.unix()
    there.sendall(b"x")
    sink, _ = ends.unix()
    assert gzc.copy(here, sink, 0) == 0
    assert gzc.copy(gzc.limit(here, 0), sink) == 0
    assert script.calls == 0
    assert here.recv(9, native.MSG_DONTWAIT) == b"x"


# -- what the catalogue asks for besides -------------------------------------------------------------------


@pytest.mark.parametrize("size", [4096, 65_537, 0x7FFFF000])
def test_l2_a_pipe_is_as_large_as_the_kernel_makes_it(ends: Ends, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """L2: F_SETPIPE_SZ rounds up, and says EPERM beyond pipe-max-size; the capacity is read back and used."""
    monkeypatch.setattr(gzc.config, "pipe_size", size)
    monkeypatch.setattr(_pipe, "_idle", [])
    content = payload(MIB + 3)
    sock, peer_end = ends.tcp()
    peer = ends.reading(peer_end)
    here, there = ends.tcp()
    ends.spawn(lambda: (there.sendall(content), there.close()))
    with gzc.trace() as t:
        assert gzc.copy(here, sock) == len(content)
    sock.close()
    assert peer.all() == content
    mechanism = "userspace" if size < _pipe.LEAST else "splice"  # a tiny pipe moves less than a buffer
    assert t.bytes[mechanism] == len(content)


def test_x1_hooks_that_copy_do_not_call_one_another(ends: Ends) -> None:
    """X1: copy never asks its ends to perform, so a writeto that copies and a readfrom that copies end there."""
    content = payload(100_000)

    class Both:
        def __init__(self) -> None:
            self.left, self.got = content, b""

        def read(self, count: int) -> bytes:
            piece, self.left = self.left[:count], self.left[count:]
            return piece

        def write(self, data: bytes) -> int:
            self.got += data
            return len(data)

        def writeto(self, dst: object) -> int:
            return gzc.copy(self, dst)

        def readfrom(self, src: object) -> int:
            return gzc.copy(src, self)

    source, sink = Both(), Both()
    assert sink.readfrom(source) == len(content)
    assert sink.got == content
    assert Both().writeto(sink) == len(content)
