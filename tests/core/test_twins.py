"""`gzc.sendfile`, `splice`, `copy_file_range` and `tee`, and the hooks `readfrom` and `writeto`.

Rules: a twin's answer is held against that of the call it is the twin of; that it waits in the hub is shown by
another greenlet that goes on and ends the wait.
"""

# ruff: noqa: SIM115 - what is opened here is given to `Ends.keep`, which closes it

import errno
import fcntl
import io
import os
import socket as native
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket as gsocket
from gevent.fileobject import FileObjectPosix

import gzc

from .._ends import KIB, MIB, PATIENCE, Ends, at_rest, payload, python
from .._inside import _syscalls
from .._pairs import raised

CONTENT = payload(MIB + 3)


def fd_of(obj: Any) -> int:
    return int(obj.fileno())


def itself(obj: Any) -> Any:
    return obj


OBJECTS = pytest.mark.parametrize("end", [itself, fd_of], ids=["object", "descriptor"])


def a_pipe(ends: Ends) -> tuple[Any, Any]:
    """Both ends of a pipe, as gevent's FileObjects."""
    reader, writer = os.pipe()
    return ends.keep(FileObjectPosix(reader, "rb", 0)), ends.keep(FileObjectPosix(writer, "wb", 0))


def fill(fd: int) -> int:
    """Fill a pipe or socket in non-blocking mode; with how many bytes."""
    filled = 0
    for step in (4096, 1):
        while True:
            try:
                filled += os.write(fd, bytes(step))
            except BlockingIOError:
                break
    return filled


def waits(ends: Ends, call: Callable[[], int], then: Callable[[], object]) -> int:
    """What `call` answers after `then`, for which it waits in the hub and does not spin."""
    running = ends.spawn(call)
    at_rest()
    before = time.process_time()
    gevent.sleep(0.05)
    assert time.process_time() - before < 0.04
    assert not running.dead
    then()
    result: int = running.get(timeout=PATIENCE)
    return result


# -- sendfile ----------------------------------------------------------------------------------------------


@OBJECTS
def test_sendfile(ends: Ends, end: Any) -> None:
    file, (sock, there) = ends.file(CONTENT), ends.unix()
    assert gzc.sendfile(end(sock), end(file), 100, 1000) == 1000
    assert there.recv(2000) == CONTENT[100:1100]
    assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0
    assert gzc.sendfile(end(sock), end(file), None, 10) == 10  # the descriptor's own position is used and moved
    assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 10
    assert there.recv(2000) == CONTENT[:10]
    assert gzc.sendfile(end(sock), end(file), len(CONTENT), 10) == 0
    assert gzc.sendfile(end(sock), end(file), 0, 0) == 0


@OBJECTS
@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_sendfile_waits_for_a_full_socket(ends: Ends, family: str, end: Any) -> None:
    file, (sock, peer) = ends.file(CONTENT), ends.stuck(family)
    sent = waits(ends, lambda: gzc.sendfile(end(sock), end(file), 0, 1000), peer.start)
    assert 0 < sent <= 1000
    sock.close()
    assert peer.all()[peer.filled :] == CONTENT[:sent]  # type: ignore[attr-defined]


def test_sendfile_raises_what_the_kernel_says(ends: Ends) -> None:
    file, (sock, there) = ends.file(CONTENT), ends.unix()
    with pytest.raises(OSError) as caught:  # noqa: PT011
        gzc.sendfile(sock, file, -1, 10)
    assert caught.value.errno == errno.EINVAL
    there.close()
    with pytest.raises(BrokenPipeError):
        gzc.sendfile(sock, file, 0, 10)
    with pytest.raises(OSError, match="Bad file"):
        gzc.sendfile(sock, 987_654, 0, 10)
    sock.close()
    with pytest.raises(OSError, match="Bad file"):
        gzc.sendfile(sock, file, 0, 10)


def test_a_close_by_another_greenlet_ends_the_wait(ends: Ends) -> None:
    """On the owner's watcher: a private one would wake up on whoever has the number then."""
    file, (sock, _) = ends.file(CONTENT), ends.stuck()
    running = ends.spawn(raised, OSError, gzc.sendfile, sock, file, 0, 10)
    at_rest()
    sock.close()
    assert running.get(timeout=PATIENCE).errno == errno.EBADF


def test_the_sockets_own_timeout_bounds_the_wait(ends: Ends) -> None:
    file, (sock, _) = ends.file(CONTENT), ends.stuck()
    sock.settimeout(0.01)
    with pytest.raises(TimeoutError):
        gzc.sendfile(sock, file, 0, 10)
    sock.settimeout(0.0)
    with pytest.raises(BlockingIOError):
        gzc.sendfile(sock, file, 0, 10)


# -- splice ------------------------------------------------------------------------------------------------


@OBJECTS
def test_splice_between_all_that_it_can(ends: Ends, end: Any) -> None:
    (reader, writer), (sock, there), file = a_pipe(ends), ends.unix(), ends.file(CONTENT, "r+b", 0)
    assert gzc.splice(end(file), end(writer), 1000, 50) == 1000  # file to pipe, at an offset
    assert file.tell() == 0
    assert gzc.splice(end(reader), end(sock), 5000) == 1000  # pipe to socket
    assert there.recv(5000) == CONTENT[50:1050]
    there.sendall(b"hello")
    assert gzc.splice(end(sock), end(writer), 5000) == 5  # socket to pipe
    assert gzc.splice(end(reader), end(file), 5000, None, 7) == 5  # pipe to file, at an offset
    assert Path(file.name).read_bytes() == CONTENT[:7] + b"hello" + CONTENT[12:]
    assert gzc.splice(end(file), end(writer), 10, len(CONTENT)) == 0
    there.close()
    assert gzc.splice(end(sock), end(writer), 10) == 0


@OBJECTS
def test_splice_waits_for_an_empty_source(ends: Ends, end: Any) -> None:
    (reader, writer), (sock, there) = a_pipe(ends), ends.unix()
    assert waits(ends, lambda: gzc.splice(end(sock), end(writer), 100), lambda: there.sendall(b"now")) == 3
    assert reader.read(9) == b"now"
    assert waits(ends, lambda: gzc.splice(end(reader), end(sock), 100), lambda: writer.write(b"and now")) == 7
    assert there.recv(9) == b"and now"


@OBJECTS
def test_splice_waits_for_a_full_sink(ends: Ends, end: Any) -> None:
    """B13: the source is ready, so it is the sink that is waited for."""
    (reader, writer), (sock, there) = a_pipe(ends), ends.unix()
    there.sendall(b"now")
    filled = fill(writer.fileno())
    got = waits(ends, lambda: gzc.splice(end(sock), end(writer), 100), lambda: reader.read(filled))
    assert got == 3
    assert reader.read(9) == b"now"


def test_splice_between_two_pipes(ends: Ends) -> None:
    (r1, w1), (r2, w2) = a_pipe(ends), a_pipe(ends)
    assert waits(ends, lambda: gzc.splice(r1, w2, 100), lambda: w1.write(b"now")) == 3
    assert r2.read(9) == b"now"
    w1.close()
    assert gzc.splice(r1, w2, 100) == 0


def test_splice_raises_what_the_kernel_says(ends: Ends) -> None:
    (sock, _), (other, _), (reader, writer) = ends.unix(), ends.unix(), a_pipe(ends)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        gzc.splice(sock, other, 10)  # none of them is a pipe
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(OSError) as caught:  # noqa: PT011
        gzc.splice(reader, sock, 10, 5)  # an offset in a pipe
    assert caught.value.errno == errno.ESPIPE
    reader.close()
    with pytest.raises(BrokenPipeError):
        gzc.splice(ends.file(CONTENT), writer, 10)


# -- tee ---------------------------------------------------------------------------------------------------


@OBJECTS
def test_t1_tee_does_not_consume(ends: Ends, end: Any) -> None:
    """T1: called again it duplicates the same bytes again."""
    (r1, w1), (r2, w2) = a_pipe(ends), a_pipe(ends)
    w1.write(b"hello")
    assert gzc.tee(end(r1), end(w2), 100) == 5
    assert gzc.tee(end(r1), end(w2), 3) == 3
    assert r2.read(99) == b"hellohel"
    assert r1.read(99) == b"hello"


def test_t2_tee_takes_what_there_is_room_for(ends: Ends) -> None:
    """T2: a small destination takes the first part only."""
    import fcntl

    (r1, w1), (r2, w2) = a_pipe(ends), a_pipe(ends)
    fcntl.fcntl(w2.fileno(), 1031, 4096)
    w1.write(CONTENT[: 40 * KIB])
    done = gzc.tee(r1, w2, 40 * KIB)
    assert 0 < done < 40 * KIB
    assert r2.read(MIB) == CONTENT[:done]
    got = b""
    while len(got) < 40 * KIB:
        got += r1.read(MIB)
    assert got == CONTENT[: 40 * KIB]


@OBJECTS
def test_t3_tee_waits_for_the_end_that_is_not_ready(ends: Ends, end: Any) -> None:
    """T3: EAGAIN is ambiguous."""
    (r1, w1), (r2, w2) = a_pipe(ends), a_pipe(ends)
    assert waits(ends, lambda: gzc.tee(end(r1), end(w2), 100), lambda: w1.write(b"now")) == 3
    filled = 3 + fill(w2.fileno())
    assert waits(ends, lambda: gzc.tee(end(r1), end(w2), 100), lambda: r2.read(filled)) == 3
    assert r2.read(9) == b"now"


def test_t3_the_errors_of_tee(ends: Ends) -> None:
    (r1, w1), (r2, w2), (sock, _) = a_pipe(ends), a_pipe(ends), ends.unix()
    with pytest.raises(OSError) as caught:  # noqa: PT011
        gzc.tee(r1, w1, 10)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(OSError) as caught:  # noqa: PT011
        gzc.tee(sock, w1, 10)
    assert caught.value.errno == errno.EINVAL
    w1.write(b"x")
    r2.close()
    with pytest.raises(BrokenPipeError):
        gzc.tee(r1, w2, 10)
    r1.read(1)
    w1.close()
    r3, w3 = a_pipe(ends)
    assert gzc.tee(r1, w3, 10) == 0
    assert r3.fileno() >= 0


# -- ficlone -----------------------------------------------------------------------------------------------


def test_ficlone_answers_as_the_system_call(ends: Ends) -> None:
    """What it does where it can is in test_pathlib_seam."""
    src, dst = ends.file(CONTENT), ends.file(b"", "wb")
    natives = raised(OSError, fcntl.ioctl, dst.fileno(), 0x40049409, src.fileno())
    for end in (itself, fd_of):
        assert raised(OSError, gzc.ficlone, end(src), end(dst)).errno == natives.errno
    assert dst.tell() == 0


@pytest.mark.parametrize(
    "other",
    [
        lambda ends: CONTENT,
        lambda ends: io.BytesIO(CONTENT),
        lambda ends: ends.tcp()[0],
        lambda ends: gzc.limit(ends.file(CONTENT), 100),
        lambda ends: gzc.section(ends.file(CONTENT), 0, 100),
    ],
    ids=["bytes", "BytesIO", "socket", "limit", "section"],
)
def test_only_whole_files_share_their_blocks(ends: Ends, other: Callable[[Ends], Any]) -> None:
    with pytest.raises(TypeError, match="not a whole file"):
        gzc.ficlone(other(ends), ends.file(b"", "wb"))


# -- copy_file_range ---------------------------------------------------------------------------------------


@OBJECTS
def test_copy_file_range(ends: Ends, end: Any) -> None:
    src, dst = ends.file(CONTENT, "rb", 0), ends.file(b"", "w+b", 0)
    assert gzc.copy_file_range(end(src), end(dst), 1000, 50, 7) == 1000
    assert (src.tell(), dst.tell()) == (0, 0)
    assert Path(dst.name).read_bytes() == bytes(7) + CONTENT[50:1050]
    assert gzc.copy_file_range(end(src), end(dst), 10) == 10  # without offsets, those of the descriptors
    assert (src.tell(), dst.tell()) == (10, 10)
    assert gzc.copy_file_range(end(src), end(dst), 10, len(CONTENT)) == 0
    with pytest.raises(OSError) as caught:  # noqa: PT011
        gzc.copy_file_range(end(dst), end(dst), 100, 0, 10)  # overlapping
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(OSError) as caught:  # noqa: PT011
        gzc.copy_file_range(end(dst), end(src), 1000, 0, 10)  # not opened for writing
    assert caught.value.errno == errno.EBADF or isinstance(caught.value, io.UnsupportedOperation)


def test_others_run_while_a_range_is_copied(ends: Ends) -> None:
    src, dst = ends.file(CONTENT), ends.file(b"", "w+b")
    ran: list[int] = []
    ends.spawn(lambda: ran.append(1))
    assert gzc.copy_file_range(src, dst, len(CONTENT), 0, 0) == len(CONTENT)
    assert ran == [1]


def test_b13_eagain_from_ends_that_are_ready_is_passed_on(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """B13: it is the file system's then, and waiting for it would go on for ever."""
    calls = 0

    def splice(*_: object) -> int:
        nonlocal calls
        calls += 1
        return -errno.EAGAIN

    monkeypatch.setattr(_syscalls, "splice", splice)
    reader, writer = os.pipe()
    with open(reader, "rb", 0), open(writer, "wb", 0), gevent.Timeout(PATIENCE), pytest.raises(BlockingIOError):
        gzc.splice(ends.file(CONTENT).fileno(), writer, 1000)
    assert 1 < calls < 10


# -- hooks -------------------------------------------------------------------------------------------------


HOOKS = """
import gevent, os, tempfile
from gevent import socket
from gevent.fileobject import FileObject, FileObjectPosix
import gzc
assert not hasattr(socket.socket, "readfrom")
gzc.patch_all()
content = os.urandom(1 << 20)
src = tempfile.TemporaryFile(); src.write(content); src.seek(0)

a, b = socket.socketpair()
got = bytearray()
def read():
    while data := b.recv(65536):
        got.extend(data)
reading = gevent.spawn(read)
with gzc.trace() as t:
    assert a.readfrom(src) == len(content)
assert t.bytes["sendfile"] == len(content), t
a.close(); reading.get(timeout=10)
assert got == content

c, d = socket.socketpair()
gevent.spawn(lambda: (d.sendall(content), d.shutdown(socket.SHUT_WR)))
dst = tempfile.TemporaryFile()
with gzc.trace() as t:
    assert c.writeto(dst, 1000) == 1000
    assert c.writeto(dst) == len(content) - 1000
assert t.bytes["splice"] == len(content), t
dst.seek(0); assert dst.read() == content

r, w = os.pipe()
reader, writer = FileObjectPosix(r, "rb"), FileObjectPosix(w, "wb")
src.seek(0)
feeding = gevent.spawn(writer.readfrom, src)
out = bytearray()
with gzc.trace() as t:
    assert reader.writeto(out, len(content)) == len(content)
assert out == content and feeding.get(timeout=10) == len(content)
assert t.bytes["splice"] == len(content), t
try:
    a.readfrom(src)
except OSError as exc:
    assert exc.errno == 9
else:
    raise AssertionError("a closed socket took it")
gzc.unpatch_all()
assert not hasattr(socket.socket, "readfrom") and not hasattr(FileObjectPosix, "writeto")
print("ok")
"""


def test_the_hooks_are_other_names_for_copy() -> None:
    assert python(HOOKS) == "ok\n"


def test_a_bare_descriptor_in_blocking_mode_is_no_matter_for_pipes(ends: Ends) -> None:
    """splice and tee ask with SPLICE_F_NONBLOCK; the flags of the descriptor stay as they are."""
    reader, writer = os.pipe()
    sock, there = ends.unix()
    file_r, file_w = ends.keep(open(reader, "rb", 0)), ends.keep(open(writer, "wb", 0))
    assert waits(ends, lambda: gzc.splice(reader, sock, 9), lambda: file_w.write(b"now")) == 3
    assert there.recv(9) == b"now"
    assert os.get_blocking(reader)
    assert file_r.fileno() == reader


def test_a_reader_that_waits_is_not_in_the_way_of_a_call_that_need_not(ends: Ends) -> None:
    """``os.splice`` asks nobody."""
    sock, there = ends.unix()
    waiting = ends.spawn(sock.recv, 1)
    gevent.sleep(0)
    reader, writer = os.pipe()
    there.sendall(b"hello")
    assert gzc.splice(sock, writer, 3) == 3
    assert os.read(reader, 9) == b"hel"
    assert waiting.get(timeout=PATIENCE) == b"l"
    os.close(reader)
    os.close(writer)


def test_what_an_object_has_buffered_is_left_alone(ends: Ends) -> None:
    """The descriptor's own position is used: it is the object's caller who flushes, and seeks."""
    file = ends.file(b"0123456789" * 1000, "r+b")
    assert isinstance(file, io.BufferedRandom)
    file.write(b"abc")
    sock, there = ends.unix()
    assert gzc.sendfile(sock, file, None, 4) == 4
    assert there.recv(9) == b"0123"
    assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 4


@pytest.mark.parametrize("end", [b"memory", io.BytesIO(b"memory")])
def test_what_has_no_descriptor_is_a_type_error(ends: Ends, end: Any) -> None:
    sock, _ = ends.unix()
    with pytest.raises(TypeError, match="no descriptor"):
        gzc.splice(end, sock, 1)


def test_what_is_no_end_is_a_type_error(ends: Ends) -> None:
    sock, _ = ends.unix()
    bad: Any = "name"
    with pytest.raises(TypeError):
        gzc.sendfile(sock, bad, 0, 1)
    with pytest.raises(TypeError):
        gzc.splice(sock, None, 1)
    assert isinstance(sock, gsocket.socket)
    assert sock.type == native.SOCK_STREAM
