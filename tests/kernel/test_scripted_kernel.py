"""A kernel that answers by script, in place of `_syscalls`, for every route, errno and call number.

Rules: the fake answers only where it is told to, and makes the real call everywhere else, so that it cannot drift:
what it cannot reproduce it does not have. That its answers are the kernel's own forms is checked against strace,
which makes the kernel itself give them to an unmodified program.
"""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import gevent
import pytest

import gzc

from .._ends import KIB, MIB, PATIENCE, Ends, error, open_fds_unchanged, payload
from .._figures import count as counted
from .._inside import _claims, _errnos, _pipe, _syscalls
from .._lacks import strace
from .._pairs import HEAD, SINKS, SOURCES, Scripted, raised

CONTENT = payload(MIB + 77)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that every route makes a handful of calls."""
    monkeypatch.setattr(gzc.config, "chunk", 256 * KIB)


#: What each call declines on, written out once more: a row that gets lost or is added shows here.
DECLINES = {
    "sendfile": "EINVAL EOPNOTSUPP ENOSYS EPERM ESPIPE EOVERFLOW ENODATA",
    "splice": "EINVAL EOPNOTSUPP ENOSYS EPERM ESPIPE",
    "copy_file_range": "EINVAL EOPNOTSUPP ENOSYS EPERM EXDEV ETXTBSY EACCES EOVERFLOW",
}
#: The truth about a disk, a peer or the machine, which no other way makes untrue.
TRUTHS = "EBADF EIO ENOSPC EDQUOT EFBIG ENOMEM EPIPE ECONNRESET ETIMEDOUT EROFS ESTALE ENOBUFS"

#: Every route that has a call below: its source, its sink and the calls it is made of, the first one first.
ROUTES = {
    ("file", "unix"): "sendfile",
    ("file", "tcp"): "sendfile",
    ("file", "/dev/null"): "sendfile",
    ("file", "pipe"): "splice",
    ("file", "pipe FileObject"): "splice",
    ("file", "file wb"): "copy_file_range",
    ("file", "file r+b"): "copy_file_range",
    ("tcp", "unix"): "splice",
    ("tcp", "file wb"): "splice",
    ("tcp", "pipe"): "splice",
    ("tcp", "/dev/null"): "splice",
    ("unix", "tcp"): "splice",
    ("unix", "makefile"): "splice",
    ("makefile", "unix"): "splice",
    ("pipe", "unix"): "splice",
    ("pipe", "file wb"): "splice",
    ("pipe FileObject", "pipe FileObject"): "splice",
}


def _count_at(call: str) -> int:
    return 3 if call == "sendfile" else 2


def test_the_table_of_declines_is_the_one_tested_here() -> None:
    tables = {
        "sendfile": _errnos.SENDFILE,
        "splice": _errnos.SPLICE,
        "copy_file_range": _errnos.COPY_RANGE,
    }
    for call, table in tables.items():
        assert set(table) == {getattr(errno, name) for name in DECLINES[call].split()}


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize(("source", "sink"), ROUTES)
def test_every_decline_at_every_call_loses_nothing(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, latches: dict[str, str], source: str, sink: str, at: int
) -> None:
    """C2, C5, C6, C7, C9, D9, F1, L16: "not me" at the n-th call, in all its words, and another way goes on there."""
    call = ROUTES[source, sink]
    for name in DECLINES[call].split():
        with monkeypatch.context() as patch:
            given, taken = SOURCES[source](ends, CONTENT, 100_000), SINKS[sink](ends)
            script = Scripted(
                patch, call, {at: error(getattr(errno, name))}, others=128 * KIB, count_at=_count_at(call)
            )
            with gzc.trace() as t, gevent.Timeout(PATIENCE):
                assert gzc.copy(given.obj, taken.obj) == len(CONTENT), name
        assert script.calls >= at, name
        said = errno.errorcode[getattr(errno, name)]  # some have two names
        assert sum(count for why, count in t.refused if said in why) == 1, (name, t.refused)
        assert taken.content() in (None, HEAD + CONTENT), name
        latches.clear()


@pytest.mark.parametrize("at", [1, 2, 4])
@pytest.mark.parametrize(("source", "sink"), ROUTES)
def test_every_truth_at_every_call_goes_up_and_is_gone_on_from(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, source: str, sink: str, at: int
) -> None:
    """C8, L11, P3: the caller's error, an exact count, no other way; and from there a second run goes on."""
    call = ROUTES[source, sink]
    for name in TRUTHS.split():
        with monkeypatch.context() as patch:
            given, taken = SOURCES[source](ends, CONTENT, 100_000), SINKS[sink](ends)
            Scripted(patch, call, {at: error(getattr(errno, name))}, others=128 * KIB, count_at=_count_at(call))
            transfer = gzc.Transfer(given.obj, taken.obj)
            with gzc.trace() as t, gevent.Timeout(PATIENCE):
                exc = raised(OSError, transfer.run)
            assert exc.errno == getattr(errno, name)
            assert t.refused == []
            assert transfer.exact
            assert transfer.run() == len(CONTENT)
        assert taken.content() in (None, HEAD + CONTENT), name
        assert not _claims._claims


@pytest.mark.parametrize("most", [1000, 4097, 65_536])
@pytest.mark.parametrize(("source", "sink"), ROUTES)
def test_short_counts_are_no_end_on_any_route(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, source: str, sink: str, most: int
) -> None:
    """B2, C20, X8."""
    content = CONTENT[: 200 * most]
    call = ROUTES[source, sink]
    given, taken = SOURCES[source](ends, content, 100_000), SINKS[sink](ends)
    monkeypatch.setattr(gzc.config, "small", 0)
    script = Scripted(monkeypatch, call, others=most, count_at=_count_at(call))
    with gzc.trace() as t:
        assert gzc.copy(given.obj, taken.obj) == len(content)
    assert script.calls >= (len(content) - given.ahead) // most
    assert t.refused == []
    assert taken.content() in (None, HEAD + content)


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize(("source", "sink"), ROUTES)
def test_a_zero_in_the_middle_is_no_end_on_any_route(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, source: str, sink: str, at: int
) -> None:
    """C1, D1, F4: whoever answers 0 while there are bytes, a plain read finds them."""
    call = ROUTES[source, sink]
    given, taken = SOURCES[source](ends, CONTENT, 100_000), SINKS[sink](ends)
    ours = given.obj.fileno()
    # From our own pipe the kernel never answers 0; and files may be in a thread's hands, under other numbers.
    asked = (lambda *args: True) if source == "file" else (lambda *args: args[0] == ours)
    script = Scripted(monkeypatch, call, {at: 0}, others=256 * KIB, count_at=_count_at(call), only=asked)
    with gevent.Timeout(PATIENCE):
        assert gzc.copy(given.obj, taken.obj) == len(CONTENT)
    assert script.calls >= at
    assert taken.content() in (None, HEAD + CONTENT)


@pytest.mark.parametrize("room", [0, 1, 2, 3])
@pytest.mark.parametrize("name", ["EMFILE", "ENFILE"])
@pytest.mark.parametrize(("source", "sink"), [("tcp", "unix"), ("tcp", "file wb"), ("unix", "pipe")])
def test_no_pipe_to_be_had_at_any_time(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, source: str, sink: str, name: str, room: int
) -> None:
    """L3: the table of files of the process, or of the whole machine, is full; bytes go through user space."""
    given, taken = SOURCES[source](ends, CONTENT, 10_000), SINKS[sink](ends)
    monkeypatch.setattr(gzc.config, "pool_pipes", 0)
    monkeypatch.setattr(_pipe, "_idle", [])
    real, made = _syscalls.make_pipe, []

    def make_pipe(into: list[int]) -> int:
        made.append(1)
        if len(made) > room:
            counted("errors of a scripted kernel")
            return -int(getattr(errno, name))
        return real(into)

    monkeypatch.setattr(_syscalls, "make_pipe", make_pipe)
    with open_fds_unchanged(), gzc.trace() as t, gevent.Timeout(PATIENCE):
        assert gzc.copy(given.obj, taken.obj, len(CONTENT)) == len(CONTENT)
    assert len(made) <= room or any("no pipe to be had" in why for why, _ in t.refused)
    assert taken.content() == HEAD + CONTENT


# -- the kernel itself, through strace -------------------------------------------------------------------------------

PROGRAM = """
import errno, os, sys, tempfile
import gevent.socket, gzc
for name in gzc.__all__:
    getattr(gzc, name)
content = os.urandom(int(sys.argv[3]))
def ends(kind):
    if kind == "file":
        file = tempfile.TemporaryFile(); file.write(content); file.seek(0)
        return file, lambda: None
    here, there = gevent.socket.socketpair()
    def feed():
        there.sendall(content); there.shutdown(1)
    return here, lambda: gevent.spawn(feed)
src, feed = ends(sys.argv[1])
feeding = feed()
if sys.argv[2] == "file":
    dst = tempfile.TemporaryFile()
    def got():
        dst.seek(0); return dst.read()
else:
    dst, there = gevent.socket.socketpair()
    reading = gevent.spawn(lambda: b"".join(iter(lambda: there.recv(1 << 16), b"")))
    def got():
        dst.shutdown(1); return reading.get(timeout=30)
gzc.config.chunk = 65536
transfer = gzc.Transfer(src, dst)
try:
    transfer.run()
except OSError as exc:
    print(errno.errorcode[exc.errno], end=" ")
    assert transfer.exact
    transfer.run()
assert transfer.moved == len(content), transfer
assert got() == content
print(transfer.moved)
"""


def _injected(tmp_path: Path, inject: str, *args: str) -> str:
    """What the program prints with the kernel answering as told; skipped where strace may not tell it to."""
    log = tmp_path / "calls"
    tracing = [strace(), "-f", "-o", log, "-e", f"trace={inject.partition(':')[0]}", "-e", f"inject={inject}"]
    done = subprocess.run(
        [*tracing, sys.executable, "-c", PROGRAM, *args],
        capture_output=True,
        text=True,
        timeout=PATIENCE * 3,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    injected = log.read_text().count("(INJECTED)")
    assert injected, "the program never came to this call"
    counted("answers injected by strace", injected)
    return done.stdout.strip()


#: Enough for three calls: between files one may move 8 MiB.
SIZE = {"sendfile": MIB, "splice": MIB, "copy_file_range": 18 * MIB}
CALLS = {("file", "unix"): "sendfile", ("file", "file"): "copy_file_range", ("unix", "unix"): "splice"}


@pytest.mark.slow
@pytest.mark.parametrize("when", [1, 3])
@pytest.mark.parametrize("name", ["EINVAL", "EPERM", "ENOSYS", "EIO", "ENOMEM"])
@pytest.mark.parametrize(("source", "sink"), CALLS)
def test_the_script_answers_as_the_kernel_does(tmp_path: Path, source: str, sink: str, name: str, when: int) -> None:
    """The fake cannot drift: an unmodified program, whose kernel gives the same answer at the same call."""
    call = CALLS[source, sink]
    said = _injected(tmp_path, f"{call}:error={name}:when={when}", source, sink, str(SIZE[call]))
    assert said == (f"{name} {SIZE[call]}" if name in TRUTHS.split() else str(SIZE[call]))


@pytest.mark.slow
@pytest.mark.parametrize(("source", "sink"), CALLS)
def test_a_zero_of_the_kernels_is_no_end(tmp_path: Path, source: str, sink: str) -> None:
    """C1, D1, F4: the call says 0 and moves nothing, as it does at urgent data and on FUSE."""
    call = CALLS[source, sink]
    said = _injected(tmp_path, f"{call}:retval=0:when=1", source, sink, str(SIZE[call]))
    assert said == str(SIZE[call])
