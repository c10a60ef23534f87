"""The program's own open file is what is read and written: its locks, flags and access mode, and who watches it.

Hard cases R4 to R7: closing any descriptor of a file drops the POSIX locks of the whole process on it, wakes up those
who wait for IN_CLOSE_WRITE, and is a FLUSH on FUSE and NFS (M24); a second open file has other flags.

Rules: locks are asked about by another process, watchers are inotify's, FUSE is a file system of our own. Nothing in
here opens a file that is locked: to close it again would drop the lock.
"""

# ruff: noqa: SIM115 - what is opened here is given to `Ends.keep`, which closes it

import errno
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from werkzeug.datastructures import FileStorage

import gzc
import gzc.monkey

from .. import _fuse
from .._ends import BEYOND_SMALL, KIB, MIB, PATIENCE, Ends, open_fds_unchanged, payload
from .._inotify import Watch
from .._inside import _disk, _lending, _locks, _pipe, _storage, _syscalls
from .._lacks import other_file_system
from .._pairs import SOURCES
from .._program import PRELUDE
from .._program import program as run_program
from .._strace import Strace
from ..kernel.test_disk import Held, mounted

CONTENT = payload(3 * MIB + 7)

ASK = """
import fcntl, os, sys
fd = os.open(sys.argv[2], os.O_RDWR)
try:
    getattr(fcntl, sys.argv[1])(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print("held")
"""


def held(path: Any, kind: str = "lockf") -> bool:
    """Whether another process is refused a lock on `path`."""
    asked = subprocess.run([sys.executable, "-S", "-c", ASK, kind, path], capture_output=True, text=True, check=True)
    return asked.stdout == "held\n"


@pytest.fixture
def seams() -> Iterator[None]:
    gevent.get_hub()
    for name in ("shutil", "socket", "tarfile"):
        gzc.monkey.patch(name)
    yield
    gzc.unpatch_all()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    with tempfile.TemporaryDirectory(dir=other_file_system(tmp_path)) as folder:
        yield Path(folder)


# -- R5: locks ---------------------------------------------------------------------------------------------------------

Way = Callable[[Ends, Any, Any], None]


def sent(ends: Ends, source: Any, sink: Any) -> None:
    sock, there = ends.unix()
    peer = ends.reading(there)
    assert sock.sendfile(source) == len(CONTENT)
    sock.close()
    assert peer.all() == CONTENT
    there.close()


def received(ends: Ends, source: Any, sink: Any) -> None:
    sock, there = ends.unix()
    ends.spawn(lambda: (there.sendall(CONTENT), there.close()))
    assert gzc.copy(sock, sink) == len(CONTENT)
    sock.close()


def archived(ends: Ends, source: Any, sink: Any) -> None:
    with tarfile.open(fileobj=sink, mode="w") as archive:
        info = tarfile.TarInfo("member")
        info.size = len(CONTENT)
        archive.addfile(info, source)


def extracted(ends: Ends, source: Any, sink: Any) -> None:
    archive = io.BytesIO()
    archived(ends, io.BytesIO(CONTENT), archive)
    source.write(archive.getvalue())
    source.seek(0)
    with tarfile.open(fileobj=source) as opened:
        shutil.copyfileobj(opened.extractfile("member"), sink)  # type: ignore[type-var]


def read_by_user_space(ends: Ends, source: Any, sink: Any) -> None:
    class Own:
        def write(self, data: bytes) -> int:
            return len(data)

    assert gzc.copy(source, Own()) == len(CONTENT)


def between_descriptors(ends: Ends, source: Any, sink: Any) -> None:
    assert gzc.copy_file_range(source, sink, MIB, 0, 0) > 0


WAYS: dict[str, Way] = {
    "copyfileobj": lambda ends, source, sink: shutil.copyfileobj(source, sink),
    "sock.sendfile": sent,
    "socket to file": received,
    "memory to file": lambda ends, source, sink: print(gzc.copy(CONTENT, sink)),
    "tarfile": archived,
    "extractfile": extracted,
    "Werkzeug": lambda ends, source, sink: FileStorage(source, "name").save(sink),
    "by its methods": read_by_user_space,
    "gzc.copy_file_range": between_descriptors,
}


def forget_cached(file: Any) -> None:
    os.fsync(file.fileno())
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.mark.parametrize("slow", [False, True], ids=["disk", "slow storage"])
@pytest.mark.parametrize("mode", ["w+b", "a+b"])
@pytest.mark.parametrize("across", [False, True], ids=["one file system", "two"])
@pytest.mark.parametrize("way", WAYS)
def test_r5_locks_are_kept_at_either_end(
    ends: Ends,
    seams: None,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    across: bool,
    mode: str,
    slow: bool,
) -> None:
    if way == "gzc.copy_file_range" and (across or mode == "a+b"):
        return  # EXDEV, EBADF
    if slow:
        monkeypatch.setattr(_storage, "storage", lambda fd: _storage.Storage.REMOTE)
    source = ends.file(b"" if way == "extractfile" else CONTENT, "r+b")
    sink = ends.keep(((elsewhere if across else ends.folder) / "sink").open(mode))
    forget_cached(source)
    with open_fds_unchanged():
        for file in (source, sink):
            fcntl.lockf(file, fcntl.LOCK_EX)
            fcntl.flock(file, fcntl.LOCK_EX)
        with gevent.Timeout(PATIENCE):
            WAYS[way](ends, source, sink)
        for file in (source, sink):
            assert held(file.name)
            assert held(file.name, "flock")
            fcntl.lockf(file, fcntl.LOCK_UN)
            fcntl.flock(file, fcntl.LOCK_UN)
            assert not held(file.name)


class Exchanged:
    """A file on slow storage that is closed while a thread asks for its locks; its number is another file's then."""

    def __init__(self, ends: Ends, monkeypatch: pytest.MonkeyPatch, *, locked: bool) -> None:
        monkeypatch.setattr(_storage, "storage", lambda fd: _storage.Storage.REMOTE)
        monkeypatch.setattr(_lending, "is_locked", self._is_locked)
        self.locked, self.is_time, self._exchanged = locked, True, False
        self._other, self.file = ends.path(b"other"), ends.file(mode="wb", buffering=0)
        self._number = self.file.fileno()

    def _is_locked(self, fd: int) -> bool:
        if self.is_time and not self._exchanged and fd == self._number:
            self.file.close()
            self._exchanged = True
            assert os.open(self._other, os.O_RDWR) == self._number
        return self.locked and fd == self._number

    def refuses(self, source: Any) -> None:
        """A copy of `source` to the file says that it is closed, and changes no other."""
        with pytest.raises(ValueError, match="closed file") as caught, gevent.Timeout(PATIENCE):
            gzc.copy(source, self.file)
        gzc.transfers_of(caught.value)[0].reclaim()
        assert self._exchanged
        os.close(self._number)
        assert self._other.read_bytes() == b"other"


@pytest.mark.parametrize("source", ["file", "tcp", "pipe", "bytes"])
@pytest.mark.parametrize("locked", [False, True])
def test_g1_a_file_that_is_closed_while_its_locks_are_asked_for_is_not_taken_for_another(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, locked: bool, source: str
) -> None:
    sink = Exchanged(ends, monkeypatch, locked=locked)
    sink.refuses(payload(MIB) if source == "bytes" else SOURCES[source](ends, payload(MIB), MIB).obj)


def test_g1_the_rest_of_a_piece_does_not_go_into_another_file(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked file is asked for its locks before each call; its place for the rest of a piece is known already."""
    sink, gives, given = Exchanged(ends, monkeypatch, locked=True), _pipe.TransitPipe.give_to, list[int]()
    sink.is_time = False

    def give_half(pipe: _pipe.TransitPipe, file_fd: int, count: int, where: int) -> int:
        given.append(gives(pipe, file_fd, count // 2, where))
        sink.is_time = True
        return given[-1]

    monkeypatch.setattr(_pipe.TransitPipe, "give_to", give_half)
    sink.refuses(SOURCES["tcp"](ends, payload(MIB), MIB).obj)
    assert len(given) == 1


def test_r5_a_file_that_is_locked_gets_no_duplicate(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """On storage of this machine the hub makes the calls then, in pieces that it can afford."""
    made: list[int] = []
    asked: list[int] = []
    duplicate, copy_file_range = _syscalls.duplicate, _syscalls._copy_file_range

    def counted(source: int, sink: int, count: int, *offsets: Any) -> int:
        asked.append(count)
        return copy_file_range(source, sink, count, *offsets)

    monkeypatch.setattr(_syscalls, "duplicate", lambda fd, into: (made.append(fd), duplicate(fd, into))[1])
    monkeypatch.setattr(_syscalls, "_copy_file_range", counted)
    monkeypatch.setattr(_storage, "storage", lambda fd: _storage.Storage.LOCAL)
    source, sink = ends.file(CONTENT), ends.file(mode="w+b")
    fcntl.lockf(sink, fcntl.LOCK_EX)
    assert gzc.copy(source, sink) == len(CONTENT)
    assert sink.fileno() not in made
    assert max(asked) <= _disk.PIECE
    assert held(sink.name)
    fcntl.lockf(sink, fcntl.LOCK_UN)
    made.clear()
    source.seek(0)
    assert gzc.copy(source, sink) == len(CONTENT)
    assert sorted(made) == sorted((source.fileno(), sink.fileno())), "one each, for the whole copy"


@pytest.mark.parametrize("slow", [False, True], ids=["disk", "slow storage"])
def test_r5_a_lock_that_is_taken_meanwhile_is_kept(ends: Ends, monkeypatch: pytest.MonkeyPatch, slow: bool) -> None:
    storage = _storage.Storage.REMOTE if slow else _storage.Storage.LOCAL
    monkeypatch.setattr(_storage, "storage", lambda fd: storage)
    monkeypatch.setattr(_lending, "INTERVAL", 0.01)
    source, sink = ends.file(CONTENT), ends.file(mode="w+b")
    with open_fds_unchanged():
        copied = 0

        def lock(count: int) -> None:
            nonlocal copied
            copied += count
            fcntl.lockf(sink, fcntl.LOCK_EX)

        assert gzc.copy(gzc.observe(source, lock), sink) == copied == len(CONTENT)
        assert held(sink.name)
        assert _lending._kept, "it could not be closed"
        gevent.sleep(0.05)
        assert _lending._kept
        fcntl.lockf(sink, fcntl.LOCK_UN)


def test_r5_a_copy_that_is_interrupted_keeps_locks_too(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_storage, "storage", lambda fd: _storage.Storage.REMOTE)
    source, sink = ends.file(CONTENT), ends.file(mode="w+b")
    with open_fds_unchanged():
        fcntl.lockf(sink, fcntl.LOCK_EX)

        def stop(_count: int) -> None:
            raise KeyError

        with pytest.raises(KeyError):
            gzc.copy(gzc.observe(source, stop), sink)
        gevent.sleep(0.01)
        assert held(sink.name)
        fcntl.lockf(sink, fcntl.LOCK_UN)


HOLD = """
import fcntl, os, sys
fcntl.lockf(os.open(sys.argv[2], os.O_RDWR), getattr(fcntl, sys.argv[1]))
print(flush=True)
input()
"""


def another_process_locks(path: str, kind: str) -> "subprocess.Popen[str]":
    """A process that holds a lock until it gets a line."""
    command = [sys.executable, "-S", "-c", HOLD, kind, path]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("slow", [False, True], ids=["disk", "slow storage"])
def test_r5_others_locks_keep_no_duplicate(ends: Ends, monkeypatch: pytest.MonkeyPatch, slow: bool) -> None:
    """Closing drops our own locks only; a duplicate that stayed open would keep our flock, and both would wait."""
    storage = _storage.Storage.REMOTE if slow else _storage.Storage.LOCAL
    monkeypatch.setattr(_storage, "storage", lambda fd: storage)
    source, sink = ends.file(CONTENT), ends.file(mode="w+b")
    with another_process_locks(sink.name, "LOCK_EX") as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "\n"
        fcntl.flock(sink, fcntl.LOCK_EX)
        assert gzc.copy(source, sink) == len(CONTENT)
        assert not _lending._kept
        sink.close()
        with open(sink.name, "rb") as again:
            fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        other.communicate("\n")


def test_r5_a_lock_of_ours_is_seen_behind_another_processs(ends: Ends) -> None:
    """Read locks stand side by side, and the kernel tells of one only."""
    file = ends.file(b"0123456789", "r+b")
    with another_process_locks(file.name, "LOCK_SH") as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "\n"
        assert not _locks.is_locked(file.fileno())
        fcntl.lockf(file, fcntl.LOCK_SH)
        assert _locks.is_locked(file.fileno())
        fcntl.lockf(file, fcntl.LOCK_UN)
        assert not _locks.is_locked(file.fileno())
        other.communicate("\n")


def test_r5_what_a_hanging_thread_leaves_last_is_closed_too(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy was given up, a lock is held when the thread comes back, and no hub is there to look after it."""
    monkeypatch.setattr(_storage, "storage", lambda fd: _storage.Storage.REMOTE)
    monkeypatch.setattr(_lending, "INTERVAL", 0.01)
    monkeypatch.setattr(gzc.config, "disk_grace", 0.02)
    with open_fds_unchanged():
        calling = Held(monkeypatch, "copy_file_range")
        source, sink = ends.file(CONTENT), ends.file(mode="w+b")
        copying = ends.spawn(gzc.copy, source, sink)
        calling.wait_begun()
        copying.kill(timeout=PATIENCE)
        fcntl.lockf(sink, fcntl.LOCK_EX)
        calling.finish()
        with gevent.Timeout(PATIENCE):
            while not _lending._kept:
                gevent.sleep(0.01)
        assert held(sink.name)
        source.close()
        sink.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # struck in a __del__, too
def test_m22_a_signal_handler_leaves_no_duplicate_behind(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Struck at each instruction of giving one back: it is closed, or closed later."""
    monkeypatch.setattr(_storage, "storage", lambda fd: _storage.Storage.LOCAL)
    codes = {_lending.Duplicate.leave.__code__, _locks.is_locked.__code__, _syscalls.close_popped.__code__}

    class Strike(Exception):
        pass

    def copy(at: int) -> bool:
        steps = 0

        def trace(frame: Any, event: str, _arg: object) -> Any:
            nonlocal steps
            if frame.f_code not in codes:
                return None
            frame.f_trace_opcodes = True
            if event == "opcode":
                steps += 1
                if steps == at:
                    raise Strike
            return trace

        with ends.path(b"").open("wb") as sink:
            # Python 3.12 asks when tracing begins whether any frame wants instructions (gh-103615).
            sys._getframe().f_trace_opcodes = True
            sys.settrace(trace)
            try:
                gzc.copy(b"x" * 200_000, sink)
            except Strike:
                return True
            finally:
                sys.settrace(None)
        return False

    with open_fds_unchanged():
        at = 1
        while copy(at):
            at += 1
    assert at > 20


def test_r5_djangos_save() -> None:
    run_program(
        """
        import subprocess, sys
        from django.conf import settings
        ROOT = tempfile.mkdtemp()
        settings.configure(MEDIA_ROOT=ROOT)
        from django.core.files.base import File
        from django.core.files.storage import FileSystemStorage
        with open(f"{ROOT}/upload", "w+b") as upload:
            upload.write(os.urandom(3_000_017))
            upload.seek(0)
            os.fsync(upload.fileno())
            os.posix_fadvise(upload.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            fcntl.lockf(upload, fcntl.LOCK_EX)
            with gzc.trace() as trace:
                name = FileSystemStorage().save("saved", File(upload, "upload"))
            assert trace.bytes["copy_file_range"], trace
            asked = subprocess.run(
                [sys.executable, "-S", "-c", ASK, "lockf", upload.name], capture_output=True, text=True, check=True
            )
            assert asked.stdout == "held\\n"
        """,
        env={"GZC": "1"},
        prelude=PRELUDE
        + f"import gevent.monkey; gevent.monkey.patch_all()\nimport fcntl, tempfile\nASK = {ASK!r}\nimport gzc\n",
    )


# -- R4: what the program may not do, gzc may not do for it ------------------------------------------------------------


@pytest.mark.parametrize("size", [1, BEYOND_SMALL, len(CONTENT)])
@pytest.mark.parametrize("source", ["file", "unix", "bytes", "elsewhere"])
def test_r4_a_sink_that_is_open_for_reading_only_stays_untouched(
    ends: Ends, elsewhere: Path, source: str, size: int
) -> None:
    path = ends.path(b"as it was")
    sink = ends.keep(open(os.open(path, os.O_RDONLY), "wb"))
    src: Any = CONTENT[:size]
    if source == "file":
        src = ends.file(src)
    elif source == "elsewhere":
        (elsewhere / "source").write_bytes(src)
        src = ends.keep((elsewhere / "source").open("rb"))
    elif source == "unix":
        src, there = ends.unix()
        ends.spawn(lambda: (there.sendall(CONTENT[:size]), there.close()))
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        gzc.copy(src, sink)
    assert caught.value.errno == errno.EBADF
    assert path.read_bytes() == b"as it was"
    assert sink.tell() == 0
    for transfer in gzc.transfers_of(caught.value):
        transfer.reclaim()  # what it took from a socket; it holds both ends until then


# -- R6: who watches the folder, and flags -----------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [0, os.O_SYNC, os.O_DSYNC], ids=["plain", "O_SYNC", "O_DSYNC"])
@pytest.mark.parametrize("slow", [False, True], ids=["disk", "slow storage"])
@pytest.mark.parametrize("source", ["file", "elsewhere", "unix", "bytes", "opaque"])
def test_r6_a_file_is_opened_once_and_closed_once(
    ends: Ends, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, source: str, slow: bool, flags: int
) -> None:
    """So what the kernel writes is the program's own open file, with its flags."""
    src: Any = CONTENT
    if source == "file":
        src = ends.file(CONTENT)
    elif source == "elsewhere":
        (elsewhere / "source").write_bytes(CONTENT)
        src = ends.keep((elsewhere / "source").open("rb"))
    elif source == "unix":
        src, there = ends.unix()
        ends.spawn(lambda: (there.sendall(CONTENT), there.close()))
    elif source == "opaque":
        src = type("Own", (io.BytesIO,), {"read": lambda self, n=-1: io.BytesIO.read(self, n)})(CONTENT)
    if slow:
        monkeypatch.setattr(_storage, "storage", lambda fd: _storage.Storage.REMOTE)
    folder = ends.folder / "watched"
    folder.mkdir()
    with Watch(folder) as seen:
        with open(os.open(folder / "sink", os.O_WRONLY | os.O_CREAT | flags), "wb") as sink:
            assert gzc.copy(src, sink) == len(CONTENT)
            assert seen.events() == {("sink", "IN_OPEN"): 1}
            assert fcntl.fcntl(sink, fcntl.F_GETFL) & flags == flags
        assert seen.events() == {("sink", "IN_CLOSE_WRITE"): 1}
    assert (folder / "sink").read_bytes() == CONTENT


def test_r6_uploads_that_are_kept_are_opened_and_closed_once(ends: Ends, seams: None, elsewhere: Path) -> None:
    """40 MiB from another file system into a folder that somebody watches, as Werkzeug and copyfile do it."""
    size = 40 * MIB
    upload = elsewhere / "upload"
    with upload.open("wb") as file:
        for at in range(0, size, MIB):
            file.write(payload(MIB, at % (4 * MIB)))
    folder = ends.folder / "watched"
    folder.mkdir()
    once = {"IN_OPEN": 1, "IN_CLOSE_WRITE": 1}
    with Watch(folder) as seen:
        with upload.open("rb") as file:
            FileStorage(file, "name").save(folder / "werkzeug")
        assert seen.events() == {("werkzeug", what): count for what, count in once.items()}
        shutil.copyfile(upload, folder / "copyfile")
        assert seen.events() == {("copyfile", what): count for what, count in once.items()}
    assert (folder / "werkzeug").stat().st_size == (folder / "copyfile").stat().st_size == size


@pytest.mark.slow
def test_r6_nothing_is_opened_again(ends: Ends, elsewhere: Path) -> None:
    """strace: between two file systems the payload goes through a pipe, and no file is opened by /proc/self/fd."""
    source = ends.path(CONTENT)
    code = (
        "import sys, gevent, gzc; gevent.sleep(0); gzc.copy; print(flush=True); sys.stdin.readline()\n"
        f"with open({str(source)!r}, 'rb') as a, open({str(elsewhere / 'sink')!r}, 'wb') as b:\n"
        "    print(gzc.copy(a, b), flush=True)\n"
        "sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        with Strace(process.pid) as trace:
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{len(CONTENT)}\n"
        process.stdin.close()
    assert trace.bytes("splice") == 2 * len(CONTENT), "into the pipe, and out of it"
    assert trace.user_space < 64 * KIB
    assert (elsewhere / "sink").read_bytes() == CONTENT


# -- R7: flushes of FUSE -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fuse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with mounted(tmp_path_factory.mktemp("fuse"), "calls") as mountpoint:
        yield mountpoint


class Calls:
    """How often the files of a FUSE file system were opened and flushed meanwhile."""

    def __init__(self, fuse: Path) -> None:
        self._fuse = fuse

    def _now(self) -> dict[str, int]:
        counts: dict[str, int] = json.loads((self._fuse / "calls").read_bytes())
        return {name: count for name, count in counts.items() if not name.endswith("/calls")}

    def __enter__(self) -> "Calls":
        self._before = self._now()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.seen = {name: count - self._before.get(name, 0) for name, count in self._now().items()}

    def count(self, verb: str) -> int:
        return sum(count for name, count in self.seen.items() if name.startswith(f"{verb} "))


@pytest.mark.root
@pytest.mark.parametrize("way", ["to", "from", "between", "received", "sent"])
def test_r7_fuse_is_flushed_once_more_at_most(ends: Ends, fuse: Path, way: str) -> None:
    content = _fuse.content(_fuse.LARGE)
    new = fuse / f"new-{way}"
    source = (fuse / "large").open("rb") if way in ("from", "between", "sent") else ends.file(content)
    with Calls(fuse) as calls:
        with source:
            if way == "from":
                sink = ends.file(mode="w+b")
                assert gzc.copy(source, sink) == len(content)
            elif way == "sent":
                sock, there = ends.unix()
                peer = ends.reading(there)
                assert gzc.copy(source, sock) == len(content)
                sock.close()
                assert peer.all() == content
            elif way == "received":
                sock, there = ends.unix()
                ends.spawn(lambda: (there.sendall(content), there.close()))
                with new.open("wb") as sink:
                    assert gzc.copy(sock, sink) == len(content)
            else:
                with new.open("wb") as sink:
                    assert gzc.copy(source, sink) == len(content)
        files = {"to": 1, "from": 1, "between": 2, "received": 1, "sent": 1}[way]
        opened = {"to": 1, "from": 0, "between": 1, "received": 1, "sent": 0}[way]  # "large" was open before
    assert calls.count("open") == opened
    assert files <= calls.count("flush") <= files + 1
    if new.exists():
        assert new.read_bytes() == content
