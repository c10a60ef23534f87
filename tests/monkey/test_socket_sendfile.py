"""The `socket` seam against gevent's own `socket.sendfile`, side by side on real sockets.

Rules: `STOCK` is gevent's function object, `SEAM` the same call through the patched class; both get fresh ends
and must agree in result, bytes and exception. Where gevent is wrong (the final position when `offset` is 0 and
the file is not at 0; a file that cannot seek) the right answer is asserted, and that gevent's still is the
wrong one. How many bytes a socket took is known from outside: its peer stops receiving and drains the rest.
"""

import bz2
import errno
import gzip
import io
import itertools
import logging
import lzma
import mmap
import os
import random
import socket as native
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
import trustme
from gevent import monkey
from gevent import socket as gsocket
from gevent import ssl as gssl
from gevent.fileobject import FileObjectPosix, FileObjectThread
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gzc

from .._ends import PlainFileObject
from .._lacks import cpythons_tests
from .._program import clean_environment

KIB, MIB = 1 << 10, 1 << 20
PATIENCE = 30
LINUX = sys.platform == "linux"

STOCK: Callable[..., int] = vars(gsocket.socket)["sendfile"]


def SEAM(sock: Any, *args: Any, **kwargs: Any) -> int:
    return sock.sendfile(*args, **kwargs)


BOTH = pytest.mark.parametrize("send", [STOCK, SEAM], ids=["stock", "seam"])


@pytest.fixture(scope="module", autouse=True)
def in_force() -> Iterator[None]:
    """The seam alone, and the standard library left as it is; undone at the end."""
    gzc.patch_all(only=["socket"], stdlib=False)
    assert vars(gsocket.socket)["sendfile"] is not STOCK
    yield
    gzc.unpatch_all()
    assert vars(gsocket.socket)["sendfile"] is STOCK


# -- tools -------------------------------------------------------------------------------------------------


def content_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


BIG = content_of(3 * MIB)  # more than a socket takes without a reader


def tcp_pair() -> tuple[Any, Any]:
    with gsocket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        here = gsocket.create_connection(listener.getsockname())
        there, _ = listener.accept()
    return here, there


def unix_pair() -> tuple[Any, Any]:
    return gsocket.socketpair()


PAIRS = {"unix": unix_pair, "tcp": tcp_pair}


@contextmanager
def pair(family: str = "unix") -> Iterator[tuple[Any, Any]]:
    here, there = PAIRS[family]()
    with here, there:
        yield here, there


def drain(sock: Any) -> bytes:
    """Everything up to end of file."""
    return b"".join(iter(lambda: sock.recv(1 << 20), b""))


def now_in(sock: Any) -> bytes:
    """Everything that is in the socket at this moment."""
    got = []
    while True:
        try:
            got.append(sock._sock.recv(1 << 20))  # gevent's own recv would wait
        except BlockingIOError:
            return b"".join(got)
        if not got[-1]:
            return b"".join(got)


def until(holds: Callable[[], object]) -> None:
    """Let others run until `holds()`."""
    with gevent.Timeout(PATIENCE):
        while not holds():
            gevent.sleep(0.001)


def waiting(sock: Any) -> bool:
    """Whether some greenlet waits for `sock` to take more."""
    watcher = sock._write_event
    return watcher is not None and watcher.callback is not None


def blocked(send: Callable[..., int], here: Any, *args: Any, **kwargs: Any) -> Any:
    """A greenlet in the middle of the call: the socket is full and it waits."""
    sender = gevent.spawn(send, here, *args, **kwargs)
    until(lambda: waiting(here) or sender.ready())
    assert not sender.ready(), f"it did not block: {sender.value!r} {sender.exception!r}"
    return sender


def taken(there: Any) -> bytes:
    """What the other end has been given so far, while the sender can send no more."""
    there.shutdown(gsocket.SHUT_RD)
    return drain(there)


class Outcome(SimpleNamespace):
    """What one call did: `result` or `error`, the `body` the peer got, and the file's `position`."""

    def __repr__(self) -> str:
        return f"<{self.result!r}, {self.error!r}, {len(self.body)} bytes, at {self.position}>"


def exchange(send: Callable[..., int], file: Any, *args: Any, family: str = "unix", **kwargs: Any) -> Outcome:
    """One call, with a peer that reads everything."""
    result: int | None = None
    error: BaseException | None = None
    with pair(family) as (here, there):
        reader = gevent.spawn(drain, there)
        try:
            result = send(here, file, *args, **kwargs)
        except Exception as exc:  # noqa: BLE001 - compared below
            error = exc
        here.close()
        body = reader.get(timeout=PATIENCE)
    position = None
    if getattr(file, "closed", False) is False and hasattr(file, "tell"):
        with suppress(OSError):
            position = file.tell()
    return Outcome(result=result, error=error, body=body, position=position)


def said(exc: BaseException | None) -> tuple[Any, ...]:
    """What a program can tell of an exception."""
    if isinstance(exc, OSError):
        return type(exc), exc.errno
    return type(exc), str(exc)


# -- files of every sort -----------------------------------------------------------------------------------


class Reader:
    """Nothing but `read`."""

    def __init__(self, content: bytes) -> None:
        self.inner = io.BytesIO(content)
        self.asked: list[int] = []

    def read(self, size: int = -1) -> bytes:
        self.asked.append(size)
        return self.inner.read(size)


class Seeker(Reader):
    """`read`, `seek` and `tell`, and no `seekable`: as many a class by hand."""

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.inner.seek(offset, whence)

    def tell(self) -> int:
        return self.inner.tell()


class SeekerOnly(Reader):
    """`read` and `seek`: all that gevent's own asks for."""

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.inner.seek(offset, whence)


class Short(Seeker):
    """Returns less than it was asked for, as pipes and decompressors do."""

    def read(self, size: int = -1) -> bytes:
        self.asked.append(size)
        return self.inner.read(min(size, 1 + len(self.asked) % 4096) if size >= 0 else size)


class Arrays(Seeker):
    def read(self, size: int = -1) -> Any:
        return bytearray(super().read(size))


class Views(Seeker):
    def read(self, size: int = -1) -> Any:
        return memoryview(super().read(size))


class Proxy:
    """Forwards every name, as Django's `File` does."""

    def __init__(self, content: bytes) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the proxy
        self.file.write(content)
        self.file.seek(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class Loud(io.FileIO):
    """A file whose `read` does something to the bytes: it must not be bypassed."""

    def read(self, size: Any = -1) -> Any:
        return bytes(byte ^ 0xFF for byte in super().read(size))


@contextmanager
def on_disk(content: bytes) -> Iterator[str]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.name


Opener = Callable[[bytes], AbstractContextManager[Any]]


def opened(opener: Callable[[str], Any]) -> Opener:
    @contextmanager
    def made(content: bytes) -> Iterator[Any]:
        with on_disk(content) as name:
            file = opener(name)
            try:
                yield file
            finally:
                file.close()

    return made


def filled(maker: Callable[[], Any]) -> Opener:
    @contextmanager
    def made(content: bytes) -> Iterator[Any]:
        with maker() as file:
            file.write(content)
            file.seek(0)
            yield file

    return made


@contextmanager
def unflushed(content: bytes) -> Iterator[Any]:
    """Opened w+b, with the last bytes written and still in the buffer above the descriptor."""
    with tempfile.TemporaryFile(buffering=64 * KIB) as file:
        file.write(content[: len(content) // 2])
        file.flush()
        file.write(content[len(content) // 2 :])
        file.seek(0)
        yield file


@contextmanager
def compressed(content: bytes, module: Any) -> Iterator[Any]:
    with on_disk(module.compress(content)) as name, module.open(name, "rb") as file:
        yield file


@contextmanager
def mapped(content: bytes) -> Iterator[Any]:
    with on_disk(content or b"\0") as name, open(name, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        yield memory


def of(cls: type) -> Opener:
    return lambda content: nullcontext(cls(content))


#: gevent 24.10 says of a buffered FileObject that its mode is "r", and then refuses it as text.
with PlainFileObject(os.devnull, "rb") as _buffered:
    BUFFERING = -1 if "b" in _buffered.mode else 0

#: By gzc's fast path when large enough.
PLAIN: dict[str, Opener] = {
    "buffered": opened(partial(open, mode="rb")),
    "raw": opened(partial(open, mode="rb", buffering=0)),
    "r+b": opened(partial(open, mode="r+b")),
    "tiny buffer": opened(partial(open, mode="rb", buffering=16)),
    "TemporaryFile": filled(tempfile.TemporaryFile),
    "NamedTemporaryFile": filled(tempfile.NamedTemporaryFile),
    "SpooledTemporaryFile, rolled": filled(partial(tempfile.SpooledTemporaryFile, 1)),
    "unflushed": unflushed,
    "FileObjectPosix": opened(lambda name: PlainFileObject(name, "rb", BUFFERING)),
}
#: By their own methods.
OTHER: dict[str, Opener] = {
    "BytesIO": of(io.BytesIO),
    "SpooledTemporaryFile": filled(partial(tempfile.SpooledTemporaryFile, 64 * MIB)),
    "FileObjectThread": opened(lambda name: FileObjectThread(name, "rb")),
    "LZMAFile": lambda content: compressed(content, lzma),
    "BZ2File": lambda content: compressed(content, bz2),
    "mmap": mapped,
    "Seeker": of(Seeker),
    "SeekerOnly": of(SeekerOnly),
    "Short": of(Short),
    "Arrays": of(Arrays),
    "Views": of(Views),
    "Proxy": of(Proxy),
    "Loud": opened(Loud),
    "Reader": of(Reader),
}
FILES = {**PLAIN, **OTHER}
CANNOT_SEEK = {"Reader"}
CANNOT_TELL = {"Reader", "SeekerOnly"}
#: `seek` beyond the end stays at the end.
CLIPPED = {"LZMAFile", "BZ2File"}


# -- the table ---------------------------------------------------------------------------------------------

#: (position of the file before the call, offset, count); the size is 100 000.
SIZE = 100_000
CALLS: list[tuple[int, int, int | None]] = [
    (0, 0, None),
    (4, 0, None),
    (SIZE, 0, None),
    (SIZE + 10, 0, None),
    (0, 1, None),
    (50_000, 10, None),
    (10, 50_000, None),
    (0, SIZE - 1, None),
    (0, SIZE, None),
    (0, SIZE + 1, None),
    (0, 10 * SIZE, 5),
    (0, 0, 1),
    (4, 0, 1),
    (0, 0, 8192),
    (0, 0, 8193),
    (0, 0, 32 * KIB),
    (4, 0, 32 * KIB),
    (0, 0, 32 * KIB + 1),
    (4, 0, 50_001),
    (0, 0, SIZE - 1),
    (0, 0, SIZE),
    (0, 0, SIZE + 1),
    (4, 0, SIZE),
    (0, 0, 1 << 40),
    (0, 0, 1 << 70),
    (7, 10, 40_000),
    (0, SIZE - 10, 40_000),
    (0, 10, True),
]


@pytest.mark.parametrize("kind", FILES)
def test_every_file_is_sent_as_gevent_sends_it(kind: str) -> None:
    """The same bytes and the same count; the position is the start plus what was sent."""
    content = content_of(SIZE)
    for start, offset, count in CALLS:
        if kind in CANNOT_SEEK and (start or offset):
            continue
        if kind == "mmap" and max(start, offset) > SIZE:
            continue  # mmap.seek itself refuses
        outcomes = []
        for send in (STOCK, SEAM):
            with FILES[kind](content) as file:
                if start:
                    file.seek(start)
                outcomes.append(exchange(send, file, offset, count))
        stock, seam = outcomes
        case = f"{kind}: at {start}, offset={offset}, count={count}"
        assert said(seam.error) == said(stock.error) == said(None), (case, seam.error)
        assert seam.result == stock.result == len(seam.body), case
        assert seam.body == stock.body, case
        begin = min(offset or start, SIZE) if kind in CLIPPED else offset or start
        if kind not in CANNOT_TELL:
            assert seam.position == begin + seam.result, case
            if stock.result:
                assert stock.position == offset + stock.result, f"{case}: gevent has mended it"


@pytest.mark.parametrize("kind", [kind for kind in FILES if kind not in CANNOT_TELL])
@pytest.mark.parametrize("family", PAIRS)
def test_large_files_arrive_whole(kind: str, family: str) -> None:
    with FILES[kind](BIG) as file:
        file.seek(12_345)
        with gzc.trace() as trace:
            seam = exchange(SEAM, file, family=family)
    assert seam.error is None
    assert seam.result == len(BIG) - 12_345 == len(seam.body)
    expected = BIG[12_345:]
    assert seam.body == (bytes(byte ^ 0xFF for byte in expected) if kind == "Loud" else expected)
    assert seam.position == len(BIG)
    moved = {name: n for name, n in trace.bytes.items() if n}
    if kind in PLAIN and LINUX:
        assert moved == {"sendfile": seam.result}, "a plain file on a plain socket goes by sendfile(2)"
    else:
        assert set(moved) <= {"userspace"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from([kind for kind in FILES if kind not in CANNOT_TELL]),
    size=st.one_of(st.integers(0, 300), st.sampled_from([8192, 32768, 32769, 65536]), st.integers(0, 400_000)),
    read_before=st.integers(0, 20_000),
    offset=st.one_of(st.just(0), st.integers(0, 300), st.integers(0, 500_000)),
    count=st.one_of(st.none(), st.integers(1, 300), st.integers(1, 500_000)),
    family=st.sampled_from(list(PAIRS)),
)
def test_any_file_any_position_any_count(
    kind: str, size: int, read_before: int, offset: int, count: int | None, family: str
) -> None:
    """A position reached by reading, so that the descriptor is somewhere else than the file."""
    if kind == "mmap" and (offset > size or not size):
        return
    content = content_of(size)
    outcomes = []
    for send in (STOCK, SEAM):
        with FILES[kind](content) as file:
            file.read(read_before)
            start = file.tell()
            outcomes.append(exchange(send, file, offset, count, family=family))
    stock, seam = outcomes
    assert said(seam.error) == said(stock.error) == said(None)
    assert seam.result == stock.result
    assert seam.body == stock.body
    begin = min(offset or start, size) if kind in CLIPPED else offset or start
    assert seam.position == begin + seam.result


@pytest.mark.parametrize("kind", ["buffered", "raw", "FileObjectPosix", "BytesIO", "LZMAFile", "Seeker"])
def test_it_starts_at_the_current_position_and_ends_behind_the_last_byte(kind: str) -> None:
    """P1: CPython's own starts at 0. gevent's seeks to `0 + sent` at the end, from wherever it began."""
    content = content_of(200_000)
    with FILES[kind](content) as file:
        assert file.read(100) == content[:100]
        seam = exchange(SEAM, file)
        assert (seam.body, seam.position) == (content[100:], 200_000)
        assert file.read(1) == b""
        file.seek(4)
        file.seek(0)  # the descriptor of a buffered file stays where it was
        seam = exchange(SEAM, file, count=150_000)
        assert (seam.body, seam.position) == (content[:150_000], 150_000)
        assert file.read(10) == content[150_000:150_010]
    with FILES[kind](content) as file:
        file.read(100)
        assert exchange(STOCK, file).position == 199_900, "gevent has mended it: say so in the docs"


def test_calls_in_a_row_on_one_file_and_one_socket_go_on_where_they_stopped() -> None:
    """Small and large counts in turn: by read and send, and by sendfile."""
    with opened(partial(open, mode="rb"))(BIG) as file, pair("tcp") as (here, there):
        reader = gevent.spawn(drain, there)
        sent = 0
        for count in itertools.cycle([1, 100_000, 10, 32_768, 32_769, 500_000]):
            moved = here.sendfile(file, count=count)
            sent += moved
            assert file.tell() == sent
            if moved < count:
                break
        here.close()
        assert reader.get(timeout=PATIENCE) == BIG
    assert sent == len(BIG)


@pytest.mark.parametrize("kind", ["Reader", "Seeker", "Short", "LZMAFile"])
def test_what_only_has_methods_goes_in_steps_larger_than_8_kib(kind: str) -> None:
    """As many reads as a step of 64 KiB takes, where gevent's takes eight times as many."""
    content, calls = content_of(MIB), []
    with FILES[kind](content) as file:
        read = file.read
        if not hasattr(file, "asked"):

            class Counted:
                def read(self, size: int = -1) -> bytes:
                    calls.append(size)
                    return read(size)  # type: ignore[no-any-return]

            file = Counted()  # noqa: PLW2901
        assert exchange(SEAM, file).body == content
        asked = getattr(file, "asked", calls)
    assert min(asked) > 8192
    if kind != "Short":
        assert len(asked) <= MIB // (64 * KIB) + 1


def test_plain_sockets_get_small_counts_by_one_read_and_one_send() -> None:
    """A response of 1 KiB has no time for more; and no more is read than asked for."""
    reader = Seeker(content_of(SIZE))
    assert exchange(SEAM, reader, 0, 1000).result == 1000
    assert reader.asked == [1000]


# -- what is refused ---------------------------------------------------------------------------------------


REFUSALS: dict[str, tuple[Opener, tuple[Any, ...]]] = {
    "count 0": (PLAIN["buffered"], (0, 0)),
    "count -1": (PLAIN["buffered"], (0, -1)),
    "count 1.0": (PLAIN["buffered"], (0, 1.0)),
    "count '1'": (PLAIN["buffered"], (0, "1")),
    "count 0 of BytesIO": (OTHER["BytesIO"], (0, 0)),
    "offset -1": (PLAIN["buffered"], (-1,)),
    "offset -1, raw": (PLAIN["raw"], (-1,)),
    "offset -1, BytesIO": (OTHER["BytesIO"], (-1,)),
    "offset 1.5": (PLAIN["buffered"], (1.5,)),
    "offset '1'": (PLAIN["buffered"], ("1",)),
    "offset without seek": (OTHER["Reader"], (1,)),
    "text file": (opened(partial(open, encoding="latin-1")), ()),
    "StringIO": (lambda content: nullcontext(io.StringIO("text " * 20_000)), ()),
    "StringIO, small count": (lambda content: nullcontext(io.StringIO("text")), (0, 4)),
    "GzipFile, whose mode is a number before 3.13": (lambda content: compressed(content, gzip), (0, 0)),
    "opened for writing": (opened(partial(open, mode="ab")), ()),
    "None": (lambda content: nullcontext(None), ()),
    "an int": (lambda content: nullcontext(0), ()),
    "an int, small count": (lambda content: nullcontext(0), (0, 5)),
    "a path": (lambda content: nullcontext("/etc/hostname"), ()),
    "object()": (lambda content: nullcontext(object()), ()),
    "bytes": (nullcontext, ()),
    "bytearray": (lambda content: nullcontext(bytearray(content)), ()),
    "memoryview": (lambda content: nullcontext(memoryview(content)), ()),
}


def test_the_inner_way_is_given_up_for_what_is_no_file() -> None:
    """As the original gives up always; whoever calls it goes on with ``send``."""
    here, there = gsocket.socketpair()
    with here, there, open("/dev/zero", "rb") as device:
        for file in (device, io.BytesIO(b"content")):
            with pytest.raises(native._GiveupOnSendfile):  # type: ignore[attr-defined]
                here._sendfile_use_sendfile(file)


@pytest.mark.parametrize("case", REFUSALS)
def test_what_gevent_refuses_is_refused_in_its_words(case: str) -> None:
    """P2: before a byte moves, and the position stays."""
    opener, arguments = REFUSALS[case]
    outcomes = []
    for send in (STOCK, SEAM):
        with opener(content_of(SIZE)) as file:
            outcomes.append(exchange(send, file, *arguments))
    stock, seam = outcomes
    assert stock.error is not None
    assert said(seam.error) == said(stock.error)
    assert seam.body == stock.body == b""
    assert seam.position in (0, stock.position), "where gevent had read a text first, we need not"


@pytest.mark.parametrize("kind", ["buffered", "raw", "BytesIO", "FileObjectPosix", "TemporaryFile", "LZMAFile"])
@pytest.mark.parametrize("count", [None, 10])
def test_a_closed_file_is_refused(kind: str, count: int | None) -> None:
    outcomes = []
    for send in (STOCK, SEAM):
        with FILES[kind](content_of(SIZE)) as file:
            file.close()
            outcomes.append(exchange(send, file, 0, count))
    stock, seam = outcomes
    assert type(seam.error) is type(stock.error)
    assert isinstance(seam.error, (ValueError, OSError))
    assert seam.body == b""


@pytest.mark.parametrize("kind", ["buffered", "BytesIO", "Reader", "Seeker"])
@pytest.mark.parametrize("count", [None, 10])
def test_a_closed_socket_is_refused_and_the_file_left_alone(kind: str, count: int | None) -> None:
    heard = []
    for send in (STOCK, SEAM):
        with FILES[kind](content_of(SIZE)) as file, pair() as (here, _):
            here.close()
            with pytest.raises(OSError, match="Bad file descriptor") as caught:
                send(here, file, 0, count)
            heard.append(said(caught.value))
            if kind == "buffered":
                assert file.tell() == 0 or send is STOCK
    assert heard[0] == heard[1] == (OSError, errno.EBADF)


@BOTH
def test_a_datagram_socket_is_refused(send: Callable[..., int]) -> None:
    with gsocket.socket(gsocket.AF_INET, gsocket.SOCK_DGRAM) as sock, PLAIN["buffered"](b"x") as file:
        with pytest.raises(ValueError, match="only SOCK_STREAM"):
            send(sock, file)
        assert file.tell() == 0


@BOTH
@pytest.mark.parametrize("count", [None, 10, 90_000])
@pytest.mark.parametrize("kind", ["buffered", "BytesIO", "Reader"])
def test_a_nonblocking_socket_is_refused(send: Callable[..., int], count: int | None, kind: str) -> None:
    with pair() as (here, there), FILES[kind](content_of(SIZE)) as file:
        for refuse in (lambda: here.setblocking(False), lambda: here.settimeout(0.0)):
            refuse()
            with pytest.raises(ValueError, match="non-blocking sockets are not supported"):
                send(here, file, 0, count)
        assert now_in(there) == b""


@BOTH
def test_a_socket_that_is_not_connected_is_refused(send: Callable[..., int]) -> None:
    with gsocket.socket() as sock, PLAIN["buffered"](content_of(SIZE)) as file:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what counts
            send(sock, file)
        assert caught.value.errno in (errno.EPIPE, errno.ENOTCONN)
        assert file.tell() == (0 if send is SEAM else file.tell())


@BOTH
@pytest.mark.parametrize("kind", ["buffered", "BytesIO", "Reader", "LZMAFile"])
def test_an_empty_file_sends_nothing(send: Callable[..., int], kind: str) -> None:
    with FILES[kind](b"") as file:
        outcome = exchange(send, file)
    assert (outcome.result, outcome.body, outcome.error) == (0, b"", None)


# -- objects that are not quite files ----------------------------------------------------------------------


@BOTH
def test_a_reader_may_give_more_than_it_was_asked_for(send: Callable[..., int]) -> None:
    """Bodies over an iterator do: they return the next piece, whatever the size asked for."""
    pieces = [content_of(100_000), b"x", content_of(400_000)]

    class Pieces:
        def __init__(self) -> None:
            self.left = list(pieces)

        def read(self, size: int = -1) -> bytes:
            return self.left.pop(0) if self.left else b""

    for count in (None, 1_000_000):
        outcome = exchange(send, Pieces(), 0, count)
        assert outcome.error is None
        assert outcome.result == len(outcome.body) == 500_001
        assert outcome.body == b"".join(pieces)


@BOTH
def test_what_has_no_read_is_not_read_by_other_means(send: Callable[..., int]) -> None:
    """`socket.sendfile` takes files. That gzc could read a socket or a `readinto` is copy()'s business."""

    class Into:
        def readinto(self, buffer: Any) -> int:
            raise AssertionError("called")

    with pair() as (other, _):
        for thing in (Into(), other):
            with pair() as (here, _there):
                here.settimeout(5)
                other.settimeout(5)
                with pytest.raises(AttributeError, match="read"):
                    send(here, thing)


@BOTH
@pytest.mark.parametrize("where", [0, 1, 5])
def test_an_error_of_the_file_itself_passes_through(send: Callable[..., int], where: int) -> None:
    """As itself, and what was read before it has been sent. Also when it happens to be one of gzc's own."""
    for error in (OSError(errno.EIO, "disk"), RuntimeError("reader"), gzc.BusyError("another copy, in the reader")):

        class Failing:
            calls = 0

            def read(self, size: int = -1) -> bytes:
                self.calls += 1
                if self.calls == where + 1:
                    raise error  # noqa: B023 - used up in this very turn
                return b"x" * 5000 if self.calls < 10 else b""

        outcome = exchange(send, Failing())
        assert outcome.error is error, outcome
        assert len(outcome.body) == 5000 * where


@BOTH
def test_a_read_that_has_nothing_yet_is_an_error_and_no_end_of_file(send: Callable[..., int]) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    with open(read, "rb", buffering=0) as pipe, open(write, "wb"), pair() as (here, _):
        here.settimeout(5)
        if send is STOCK:
            with pytest.raises((TypeError, BlockingIOError)):
                send(here, pipe)
        else:  # the seam waits in the hub until there is something
            with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
                send(here, pipe)


def test_a_pipe_is_sent_without_failing_at_its_end() -> None:
    """gevent seeks at the end, and so fails after everything was sent; a pipe cannot seek."""
    content = content_of(50_000)  # fits the pipe, for a plain open() of one blocks the hub
    for send in (STOCK, SEAM):
        for buffering in (0, -1):
            read, write = os.pipe()
            os.write(write, content)
            os.close(write)
            with open(read, "rb", buffering=buffering) as pipe:
                outcome = exchange(send, pipe)
            assert outcome.body == content
            if send is STOCK:
                assert isinstance(outcome.error, OSError), "gevent has mended it: say so in the docs"
            else:
                assert (outcome.error, outcome.result) == (None, len(content))


#: Ends of pipes that wait in the hub: gevent's, and Python's own in non-blocking mode.
WAITING: dict[str, Callable[[int], Any]] = {
    "FileObjectPosix": lambda fd: FileObjectPosix(fd, "rb", BUFFERING),
    "raw": partial(open, mode="rb", buffering=0),
    "buffered": partial(open, mode="rb"),
}


@pytest.mark.parametrize("count", [None, 10, 60_000])
@pytest.mark.parametrize("kind", WAITING)
def test_a_pipe_that_waits_in_the_hub_is_sent_as_it_fills(kind: str, count: int | None) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    with WAITING[kind](read) as source, FileObjectPosix(write, "wb", 0) as feed, pair() as (here, there):
        sender = gevent.spawn(SEAM, here, source, 0, count)
        sender.link_exception(lambda _: here.shutdown(gsocket.SHUT_RDWR))
        content, got = content_of(100_000), b""
        feeder = gevent.spawn(lambda: [feed.write(content[n : n + 777]) for n in range(0, len(content), 777)])
        wanted = len(content) if count is None else count
        feeder.link(lambda _: feed.close() if count is None else None)
        while len(got) < wanted and not sender.ready():
            got += there.recv(1 << 16)
        assert sender.get(timeout=PATIENCE) == wanted
        while len(got) < wanted:
            got += there.recv(1 << 16)
        assert got == content[:wanted]
        feeder.kill()


def test_a_file_object_is_taken_or_refused_as_by_gevent() -> None:
    heard = []
    for send in (STOCK, SEAM):
        with on_disk(content_of(SIZE)) as name, PlainFileObject(name, "rb") as file:
            outcome = exchange(send, file)
            heard.append((outcome.result, outcome.body, said(outcome.error)))
    assert heard[0] == heard[1]


# -- the peer, time, and interruption: the position is what the socket took --------------------------------

INTERRUPTED = ["buffered", "raw", "TemporaryFile", "FileObjectPosix", "BytesIO", "Seeker", "Short", "LZMAFile"]


@pytest.mark.parametrize("kind", INTERRUPTED)
@pytest.mark.parametrize("start", [0, 70_001])
def test_a_peer_that_goes_away_leaves_the_position_at_the_last_byte_taken(kind: str, start: int) -> None:
    """EPIPE in the middle: `start + sent`, exactly, where `sent` is what the peer can still drain."""
    with FILES[kind](BIG) as file, pair() as (here, there):
        file.seek(start)
        sender = blocked(SEAM, here, file)
        body = taken(there)
        with pytest.raises(BrokenPipeError):
            sender.get(timeout=PATIENCE)
        assert 0 < len(body) < len(BIG) - start
        assert BIG[start:].startswith(body)
        assert file.tell() == start + len(body)
        assert file.read(10) == BIG[start + len(body) :][:10]


@BOTH
@pytest.mark.parametrize("kind", ["buffered", "BytesIO"])
def test_a_connection_reset_arrives_as_itself(send: Callable[..., int], kind: str) -> None:
    with FILES[kind](BIG) as file:
        here, there = tcp_pair()
        with here:
            here.setsockopt(gsocket.SOL_SOCKET, gsocket.SO_SNDBUF, 64 * KIB)
            there.setsockopt(gsocket.SOL_SOCKET, gsocket.SO_RCVBUF, 64 * KIB)
            sender = blocked(send, here, file)
            there.setsockopt(gsocket.SOL_SOCKET, gsocket.SO_LINGER, struct.pack("ii", 1, 0))
            there.close()
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                sender.get(timeout=PATIENCE)
            assert 0 < file.tell() < len(BIG)


@pytest.mark.parametrize("kind", INTERRUPTED)
def test_the_sockets_timeout_ends_a_wait(kind: str) -> None:
    with FILES[kind](BIG) as file, pair() as (here, there):
        file.seek(99)
        here.settimeout(0.05)
        with pytest.raises(TimeoutError) as caught:
            here.sendfile(file)
        assert type(caught.value) is TimeoutError
        body = taken(there)
        assert BIG[99:].startswith(body)
        assert file.tell() == 99 + len(body)


@BOTH
@pytest.mark.parametrize("kind", ["buffered", "BytesIO", "LZMAFile"])
def test_the_sockets_timeout_is_for_each_wait_and_not_for_the_whole(send: Callable[..., int], kind: str) -> None:
    """G3: a peer that reads slowly, but reads, may take longer altogether."""
    limit = 1.0
    with FILES[kind](BIG) as file, pair() as (here, there):
        here.settimeout(limit)
        begin = time.monotonic()
        sender = gevent.spawn(send, here, file)
        got = b""
        while len(got) < len(BIG):
            gevent.sleep(limit / 8)
            while len(got) < len(BIG) and (part := there.recv(64 * KIB)):
                got += part
                if len(got) % (256 * KIB) < 64 * KIB:
                    break
        assert sender.get(timeout=PATIENCE) == len(BIG)
        assert time.monotonic() - begin > limit, "it took no longer than the limit, so nothing is proven"
    assert got == BIG


@pytest.mark.parametrize("kind", INTERRUPTED)
def test_killed_in_the_middle_the_same_call_goes_on_where_it_stopped(kind: str) -> None:
    """Again and again: every byte arrives exactly once, so position, claims and socket are right each time."""
    dice = random.Random(kind)
    with FILES[kind](BIG) as file, pair() as (here, there):
        got = b""
        for _ in range(12):
            sender = blocked(SEAM, here, file)
            sender.kill()
            assert isinstance(sender.value, gevent.GreenletExit)
            assert not waiting(here)
            queued = now_in(there)
            got += queued
            assert file.tell() == len(got), "the position is what the socket took"
            file.seek(len(got))
            if dice.random() < 0.5 and len(got) + 1000 < len(BIG):
                assert here.sendfile(file, count=1000) == 1000
            if len(BIG) - len(got) < MIB:
                break
        reader = gevent.spawn(drain, there)
        with gzc.trace() as trace:
            rest = here.sendfile(file)
        here.close()
        got += reader.get(timeout=PATIENCE)
        if kind in PLAIN and LINUX:
            assert trace.bytes["sendfile"] == rest > 0, "a claim was left behind: it went the old way"
    assert got == BIG


@BOTH
def test_an_interruption_is_the_callers_own_object(send: Callable[..., int]) -> None:
    with PLAIN["buffered"](BIG) as file, pair() as (here, there):
        for mine in (gevent.Timeout(0.02), ValueError("mine"), KeyboardInterrupt("mine")):
            heard: list[BaseException] = []

            def work(mine: Any = mine, heard: list[BaseException] = heard) -> None:
                try:
                    if isinstance(mine, gevent.Timeout):
                        mine.start()
                    send(here, file)
                except BaseException as exc:  # noqa: BLE001 - that is what is looked at
                    heard.append(exc)
                finally:
                    if isinstance(mine, gevent.Timeout):
                        mine.close()

            sender = gevent.spawn(work)
            if not isinstance(mine, gevent.Timeout):
                until(lambda: waiting(here))
                sender.kill(mine)
            sender.get(timeout=PATIENCE)
            assert heard == [mine]
            assert heard[0] is mine
            now_in(there)


@BOTH
@pytest.mark.parametrize("kind", ["buffered", "BytesIO"])
def test_a_close_by_another_greenlet_is_ebadf(send: Callable[..., int], kind: str) -> None:
    with FILES[kind](BIG) as file, pair() as (here, there):
        sender = blocked(send, here, file)
        here.close()
        with pytest.raises(OSError, match=r"File descriptor was closed|Bad file descriptor") as caught:
            sender.get(timeout=PATIENCE)
        assert caught.value.errno == errno.EBADF
        body = drain(there)
        assert BIG.startswith(body)
        assert file.tell() == len(body)


def test_what_is_lost_of_a_source_that_cannot_seek_is_at_most_a_step_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """API.md: lost exactly as in a read/write loop, and said at INFO, with how much."""
    source = Reader(BIG)
    with caplog.at_level(logging.INFO, logger="gzc"), pair() as (here, there):
        sender = blocked(SEAM, here, source)
        caplog.clear()
        sender.kill()
        body = taken(there)
    lost = source.inner.tell() - len(body)
    assert BIG.startswith(body)
    assert 0 < lost <= 256 * KIB
    assert [record for record in caplog.records if record.levelno == logging.INFO and str(lost) in record.getMessage()]


def test_nothing_is_left_behind_by_an_exception(recwarn: pytest.WarningsRecorder) -> None:
    """No descriptor, no ResourceWarning about bytes in flight, and no claim on either end."""

    def descriptors() -> int:
        return len(os.listdir("/dev/fd"))

    with PLAIN["buffered"](BIG) as file, pair() as (here, there):
        source = Reader(BIG * 4)
        before = descriptors()
        for _ in range(5):
            for thing in (file, source):
                sender = blocked(SEAM, here, thing)
                sender.kill()
                now_in(there)
                del sender
        gevent.sleep(0)
        # The hub may have made itself one descriptor to breathe with.
        assert descriptors() <= before + 1
        reader = gevent.spawn(drain, there)
        file.seek(0)
        assert gzc.copy(file, here) == len(BIG), "a claim left behind would be a BusyError here"
        here.close()
        assert reader.get(timeout=PATIENCE) == BIG
    assert [str(one.message) for one in recwarn if issubclass(one.category, ResourceWarning)] == []


# -- two at once -------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("second", ["buffered", "BytesIO"])
def test_a_second_call_on_a_full_socket_gets_what_gevent_always_gave(send: Callable[..., int], second: str) -> None:
    """Two greenlets that *wait* on one socket are gevent's ConcurrentObjectUseError; the first is unharmed."""
    with PLAIN["buffered"](BIG) as file, FILES[second](BIG) as other, pair() as (here, there):
        first = blocked(send, here, file)
        with pytest.raises(gevent.exceptions.ConcurrentObjectUseError):
            send(here, other)
        reader = gevent.spawn(drain, there)
        assert first.get(timeout=PATIENCE) == len(BIG)
        here.close()
        assert reader.get(timeout=PATIENCE) == BIG


@BOTH
def test_a_second_call_that_need_not_wait_gets_through(send: Callable[..., int]) -> None:
    """As stock: nobody forbids it, and the bytes mix. The peer makes room while the first one still waits."""
    with PLAIN["buffered"](BIG) as file, pair() as (here, there):
        first = blocked(send, here, file)
        room = len(now_in(there))  # without a switch to the hub, so that the first one is not woken up
        assert waiting(here)
        assert room > 100_000
        for other in (io.BytesIO(b"second"), Reader(b"second")):
            assert send(here, other) == 6
        with OTHER["Seeker"](b"third" * 10_000) as other:
            assert send(here, other, 0, 40_000) == 40_000
        reader = gevent.spawn(drain, there)
        assert first.get(timeout=PATIENCE) == len(BIG)
        here.close()
        assert len(reader.get(timeout=PATIENCE)) == len(BIG) - room + 12 + 40_000


def in_a_thread(work: Callable[[], Any]) -> Any:
    """The result of `work` in a native thread with a hub of its own; an exception is its result, too."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as exc:  # noqa: BLE001 - it is the result
            results.append(exc)
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    thread = monkey.get_original("threading", "Thread")(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "hung"
    return results[0]


@BOTH
@pytest.mark.parametrize("kind", ["buffered", "BytesIO"])
def test_a_socket_of_another_threads_hub_works_while_it_need_not_wait(send: Callable[..., int], kind: str) -> None:
    """G5: as stock. What fits is sent; whoever would have to wait gets gevent's own error."""
    with FILES[kind](content_of(60_000)) as file, pair() as (here, there):
        assert in_a_thread(lambda: send(here, file)) == 60_000
        assert now_in(there) == content_of(60_000)
        assert file.tell() == 60_000


@pytest.mark.parametrize("kind", ["buffered", "BytesIO"])
def test_a_socket_of_another_threads_hub_fails_as_gevent_fails_when_it_is_full(kind: str) -> None:
    heard = []
    for send in (STOCK, SEAM):
        with FILES[kind](BIG) as file, pair() as (here, there):
            heard.append(type(in_a_thread(lambda: send(here, file))))  # noqa: B023 - done when it returns
            body = taken(there)
            assert BIG.startswith(body)
            assert file.tell() == len(body)
    assert issubclass(heard[0], Exception)
    assert heard[1] is heard[0]


def test_threads_with_hubs_of_their_own_send_at_the_same_time() -> None:
    def work() -> bytes:
        with PLAIN["buffered"](BIG) as file:
            return bytes(exchange(SEAM, file, family="tcp").body)

    pool: list[Any] = [None] * 4
    Thread = monkey.get_original("threading", "Thread")
    threads = [Thread(target=lambda n=n: pool.__setitem__(n, in_a_thread(work)), daemon=True) for n in range(len(pool))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert all(body == BIG for body in pool)


def test_the_hub_goes_on_during_a_long_call() -> None:
    """A ticker beside a sender and a receiver at full speed runs all the time, not only at the end."""
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        while True:
            gevent.sleep(0.001)
            ticks += 1

    with PLAIN["buffered"](BIG * 20) as file, pair() as (here, there):
        ticker, reader = gevent.spawn(tick), gevent.spawn(drain, there)
        assert here.sendfile(file) == len(BIG) * 20
        seen = ticks
        here.close()
        reader.get(timeout=PATIENCE)
        ticker.kill()
    assert seen >= 3


# -- sockets with a will of their own ----------------------------------------------------------------------


def as_class(cls: Any, sock: Any) -> Any:
    return cls(sock.family, sock.type, sock.proto, fileno=sock.detach())


class Shouting(gsocket.socket):
    """Overrides `send`: its override is what the bytes go through."""

    seen: list[int]

    def send(self, data: Any, flags: int = 0) -> int:
        self.seen.append(len(data))
        return super().send(bytes(data[:30_000]).swapcase(), flags)


class Counting(gsocket.socket):
    """Overrides `sendall` and is content with that: gevent's sendfile goes through `send`, and so does ours."""

    seen: list[int]

    def sendall(self, data: Any, flags: int = 0) -> None:
        self.seen.append(len(data))
        super().sendall(data, flags)


class Both(Counting):
    def send(self, data: Any, flags: int = 0) -> int:
        self.seen.append(-len(data))
        return super().send(bytes(data).swapcase(), flags)


class Harmless(gsocket.socket):
    """Overrides nothing that carries data."""

    def tell_name(self) -> str:
        return "harmless"


@pytest.mark.parametrize("cls", [Shouting, Counting, Both])
@pytest.mark.parametrize("kind", ["buffered", "BytesIO", "Reader"])
@pytest.mark.parametrize("count", [None, 20_000, 80_000])
def test_a_socket_that_overrides_a_data_method_is_not_bypassed(cls: Any, kind: str, count: int | None) -> None:
    content = random.Random(1).choices(b"abcXYZ", k=100_000)
    outcomes = []
    for send in (STOCK, SEAM):
        plain, there = unix_pair()
        with as_class(cls, plain) as here, there, FILES[kind](bytes(content)) as file, gzc.trace() as trace:
            here.seen = []
            reader = gevent.spawn(drain, there)
            result = send(here, file, 0, count)
            here.close()
            outcomes.append((result, reader.get(timeout=PATIENCE), bool(here.seen)))
            assert trace.bytes["sendfile"] == 0
    assert outcomes[0] == outcomes[1]


def test_a_subclass_that_overrides_nothing_keeps_the_fast_path() -> None:
    plain, there = unix_pair()
    with as_class(Harmless, plain) as here, there, PLAIN["buffered"](BIG) as file, gzc.trace() as trace:
        reader = gevent.spawn(drain, there)
        assert here.sendfile(file) == len(BIG)
        here.close()
        assert reader.get(timeout=PATIENCE) == BIG
    assert trace.bytes["sendfile"] == (len(BIG) if LINUX else 0)


def test_a_send_patched_on_the_class_meanwhile_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As tracers and mocks do: on gevent's own class, after gzc has looked at it."""
    send, seen = gsocket.socket.send, []

    def traced(self: Any, data: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(len(data))
        return send(self, data, *args, **kwargs)

    monkeypatch.setattr(gsocket.socket, "send", traced)
    with PLAIN["buffered"](content_of(SIZE)) as file:
        assert exchange(SEAM, file).body == content_of(SIZE)
    assert sum(seen) == SIZE


def test_a_subclass_that_calls_its_parents_sendfile_is_served() -> None:
    """And does not recurse."""

    class Logged(gsocket.socket):
        def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
            return super().sendfile(file, offset, count) + 0

    plain, there = unix_pair()
    with as_class(Logged, plain) as here, there, PLAIN["buffered"](BIG) as file, gzc.trace() as trace:
        reader = gevent.spawn(drain, there)
        assert here.sendfile(file) == len(BIG)
        here.close()
        assert reader.get(timeout=PATIENCE) == BIG
    assert trace.bytes["sendfile"] == (len(BIG) if LINUX else 0)


# -- TLS ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contexts() -> tuple[Any, Any]:
    """A server's and a client's TLS context that trust each other."""
    authority = trustme.CA()
    server = gssl.SSLContext(gssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = gssl.SSLContext(gssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return server, client


class Wire:
    """A relay between two sockets that keeps what passes: the bytes as the wire has them."""

    def __init__(self) -> None:
        self.here, near = unix_pair()
        far, self.there = unix_pair()
        self.passed = {"sent": bytearray(), "received": bytearray()}
        self._pumps = [gevent.spawn(self._pass, near, far, "sent"), gevent.spawn(self._pass, far, near, "received")]
        self._ends = near, far

    def _pass(self, source: Any, sink: Any, name: str) -> None:
        try:
            while data := source.recv(1 << 16):
                self.passed[name] += data
                sink.sendall(data)
            sink.shutdown(gsocket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        gevent.killall(self._pumps)
        for end in self._ends:
            end.close()


@contextmanager
def tls(contexts: tuple[Any, Any], server_sends: bool = True) -> Iterator[tuple[Any, Any, Wire]]:
    """A TLS connection over a wire that is watched: the end that sends, the other, the wire."""
    wire = Wire()
    server_end, client_end = (wire.here, wire.there) if server_sends else (wire.there, wire.here)
    accept = gevent.spawn(contexts[0].wrap_socket, server_end, server_side=True)
    client = contexts[1].wrap_socket(client_end, server_hostname="localhost")
    server = accept.get(timeout=PATIENCE)
    sender, receiver = (server, client) if server_sends else (client, server)
    try:
        yield sender, receiver, wire
    finally:
        sender.close()
        receiver.close()
        wire.close()


PLAINTEXT = b"plaintext on the wire! " * 40_000


@pytest.mark.parametrize("kind", [*PLAIN, "BytesIO", "LZMAFile", "Reader", "Seeker"])
@pytest.mark.parametrize("server_sends", [True, False])
def test_over_tls_the_bytes_are_right_and_none_is_in_the_clear(
    contexts: tuple[Any, Any], kind: str, server_sends: bool
) -> None:
    """P9, O10: an SSLSocket is a gevent socket with a descriptor; below it lie the records."""
    with tls(contexts, server_sends) as (here, there, wire), FILES[kind](PLAINTEXT) as file, gzc.trace() as trace:
        reader = gevent.spawn(drain, there)
        first = here.sendfile(file, count=23)
        assert first == 23
        assert here.sendfile(file) == len(PLAINTEXT) - 23
        if kind not in CANNOT_TELL:
            assert file.tell() == len(PLAINTEXT)
        gevent.spawn(here.unwrap)
        assert reader.get(timeout=PATIENCE) == PLAINTEXT
        assert len(wire.passed["sent"]) > len(PLAINTEXT)
        assert b"plaintext" not in wire.passed["sent"] + wire.passed["received"]
    assert trace.bytes["sendfile"] == 0


def test_over_tls_the_steps_are_larger_than_8_kib(contexts: tuple[Any, Any]) -> None:
    source = Reader(PLAINTEXT)
    with tls(contexts) as (here, there, _):
        reader = gevent.spawn(drain, there)
        here.sendfile(source)
        gevent.spawn(here.unwrap)
        assert reader.get(timeout=PATIENCE) == PLAINTEXT
    assert min(source.asked) > 8192
    assert len(source.asked) <= len(PLAINTEXT) // (64 * KIB) + 2


@pytest.mark.parametrize("kind", ["buffered", "BytesIO", "Seeker"])
def test_over_tls_a_timeout_leaves_the_position_where_gevents_own_does(contexts: tuple[Any, Any], kind: str) -> None:
    """Not behind what TLS was given and not before it: what `send` said it took, by whole records."""
    with tls(contexts) as (here, there, _), FILES[kind](BIG * 3) as file:
        here.settimeout(0.2)
        with pytest.raises(TimeoutError):  # nobody reads, and the wire is finite
            here.sendfile(file)
        position = file.tell()
        assert 0 < position < len(BIG) * 3
        got = b""
        while len(got) < position:
            got += there.recv(min(1 << 16, position - len(got)))
        assert got == (BIG * 3)[:position]
        there.settimeout(0.05)
        # OpenSSL has the record it could not finish, and nothing else has been given to it.
        try:
            more = there.recv(1 << 16)
        except TimeoutError:
            more = b""
        assert (BIG * 3)[position:].startswith(more)
        assert len(more) <= 16 * KIB


def test_over_tls_a_refusal_is_said_once(contexts: tuple[Any, Any], caplog: pytest.LogCaptureFixture) -> None:
    """The fast path is not taken, and that is no secret; but no warning for each response."""
    with tls(contexts) as (here, there, _), caplog.at_level(logging.WARNING, logger="gzc"):
        reader = gevent.spawn(drain, there)
        for _ in range(5):
            with PLAIN["buffered"](PLAINTEXT) as file:
                here.sendfile(file)
        gevent.spawn(here.unwrap)
        reader.get(timeout=PATIENCE)
    assert len([record for record in caplog.records if record.name == "gzc"]) <= 1


# -- CPython's own tests -----------------------------------------------------------------------------------

DRIVER = """
    import sys
    from gevent import monkey
    monkey.patch_all(gzc=sys.argv[1] == "gzc")

    import contextlib, unittest
    from test.support import threading_helper
    # It counts native threads, and gevent's are none: gevent's own suite replaces it, too.
    threading_helper.wait_threads_exit = lambda timeout=None: contextlib.nullcontext()
    import test.test_socket as suite

    class SendfileTest(suite.SendfileUsingSendTest):
        '''The same tests through the public method, which is the one that is patched.'''
        def meth_from_sock(self, sock):
            return sock.sendfile

    if sys.argv[1] == "gzc":
        import gzc
        assert "socket" in gzc.patched()
        trace = gzc.trace()
    loaded = map(unittest.defaultTestLoader.loadTestsFromTestCase, (suite.SendfileUsingSendTest, SendfileTest))
    result = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(loaded))
    assert result.testsRun >= 20, result.testsRun
    for test, why in result.failures + result.errors:
        print("FAILED", test.id().rpartition(".")[2])
    if sys.argv[1] == "gzc":
        assert trace.bytes["sendfile"] > 10 << 20 or sys.platform != "linux", trace
"""


def test_cpythons_own_tests_of_sendfile_pass(tmp_path: Path) -> None:
    """`test.test_socket` of this very interpreter. What fails with gevent alone may fail; here nothing did."""
    cpythons_tests()
    script = tmp_path / "driver.py"
    script.write_text(dedent(DRIVER))

    def failures(which: str) -> tuple[set[str], str]:
        done = subprocess.run(
            [sys.executable, script, which],
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        everything = done.stdout + done.stderr
        assert done.returncode == 0, everything
        return {line.split()[1] for line in done.stdout.splitlines() if line.startswith("FAILED")}, everything

    ours, told = failures("gzc")
    if ours:
        stock, _ = failures("stock")
        assert ours <= stock, told
