"""`limit`, `section` and `observe`: they keep the mechanism, count alike both ways, and are ordinary readers.

Rules: that a wrapper keeps the fast path is asserted by plan and trace, never by the bytes alone.
"""

# ruff: noqa: SIM115 - what is opened here is given to `Ends.keep`, which closes it

import gzip
import io
import os
import shutil
import socket as native
from collections.abc import Callable
from typing import Any

import gevent
import pytest

import gzc

from .._ends import KIB, MIB, PATIENCE, Ends, at_rest, payload
from .._pairs import HEAD, SINKS, SOURCES, Given

CONTENT = payload(MIB + 3)


def given(ends: Ends, source: str) -> Given:
    if source == "BytesIO":
        memory = io.BytesIO(CONTENT)
        return Given(memory, memory.read)
    return SOURCES[source](ends, CONTENT, MIB)


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "limit": lambda src: gzc.limit(src, 2 * MIB),
    "observe": lambda src: gzc.observe(src, int),
    "both": lambda src: gzc.observe(gzc.limit(gzc.observe(src, int), 2 * MIB), int),
}


@pytest.mark.parametrize("sink", ["tcp", "file wb", "pipe", "/dev/null"])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_mechanism_is_kept(ends: Ends, wrapper: str, source: str, sink: str) -> None:
    """X3: a wrapper does not silently lose the fast path."""
    one, taken = given(ends, source), SINKS[sink](ends)
    wrapped = WRAPPERS[wrapper](one.obj)
    bare = gzc.explain(one.obj, taken.obj)
    plan = gzc.explain(wrapped, taken.obj)
    assert plan.mechanism == bare.mechanism != "userspace"
    assert plan.movers == bare.movers
    with gzc.trace() as t:
        assert gzc.copy(wrapped, taken.obj) == len(CONTENT)
    assert t.bytes[plan.mechanism] >= len(CONTENT) - one.ahead
    assert t.refused == []
    assert taken.content() in (None, HEAD + CONTENT)


# -- limit -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [*SOURCES, "BytesIO"])
def test_a_limit_counts_down_and_leaves_the_rest(ends: Ends, source: str) -> None:
    one, taken = given(ends, source), SINKS["unix"](ends)
    body = gzc.limit(one.obj, 500_000)
    assert gzc.copy(body, taken.obj, 100_000) == 100_000
    assert body.remaining == 400_000
    assert gzc.copy(body, taken.obj) == 400_000
    assert body.remaining == 0
    assert gzc.copy(body, taken.obj) == 0
    assert one.rest() == CONTENT[500_000:]
    assert taken.content() == HEAD + CONTENT[:500_000]


def test_a_limit_counts_by_what_was_consumed(ends: Ends) -> None:
    """Not by what was delivered: the rest of a body is drained by it."""
    here, there = ends.unix()
    there.sendall(CONTENT[:1000])
    sock, _ = ends.stuck()
    body = gzc.limit(here, 5000)
    transfer = gzc.Transfer(body, sock)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        transfer.run()
    assert (transfer.moved, transfer.in_flight, body.remaining) == (0, 1000, 4000)
    assert transfer.reclaim() == CONTENT[:1000]
    there.sendall(CONTENT[1000:6000])
    assert gzc.copy(body, drained := bytearray()) == 4000
    assert drained == CONTENT[1000:5000]


def test_a_limit_read_and_copied_in_turns(ends: Ends) -> None:
    file = ends.file(CONTENT)
    body = gzc.limit(file, 300_000)
    sink = ends.file(b"", "w+b")
    got = bytearray(body.read(1000))
    assert gzc.copy(body, sink, 99_000) == 99_000
    buffer = bytearray(50_000)
    assert body.readinto(buffer) == 50_000
    assert body.remaining == 150_000
    assert gzc.copy(body, sink) == 150_000
    assert body.read() == b""
    sink.seek(0)
    written = sink.read()
    assert got + written[:99_000] + buffer + written[99_000:] == CONTENT[:300_000]
    assert file.tell() == 300_000


# -- section -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sink", "how"), [("tcp", "sendfile"), ("file wb", "copy_file_range"), ("pipe", "splice")])
@pytest.mark.parametrize("open_", [lambda p: open(p, "rb"), lambda p: open(p, "rb", 0), lambda p: open(p, "r+b")])
def test_a_section_keeps_the_mechanism_and_the_position(ends: Ends, open_: Any, sink: str, how: str) -> None:
    file = ends.keep(open_(ends.path(CONTENT)))
    assert file.read(7) == CONTENT[:7]
    taken = SINKS[sink](ends)
    part = gzc.section(file, 100_001, 500_000)
    assert gzc.explain(part, taken.obj).mechanism == how
    with gzc.trace() as t:
        assert gzc.copy(part, taken.obj) == 500_000
    assert t.bytes[how] == 500_000
    assert file.tell() == 7
    assert file.read(9) == CONTENT[7:16]
    assert gzc.copy(part, taken.obj) == 0
    assert taken.content() == HEAD + CONTENT[100_001:600_001]


def test_several_sections_of_one_file_at_once(ends: Ends) -> None:
    file = ends.file(CONTENT)
    file.read(3)
    copies = []
    for n in range(5):
        sock, there = ends.unix()
        sock.setsockopt(native.SOL_SOCKET, native.SO_SNDBUF, 16 * KIB)
        part = gzc.section(file, n * 200_000, 200_000)
        copies.append((ends.spawn(gzc.copy, part, sock), sock, ends.peer(there)))
    at_rest()
    assert not any(copying.dead for copying, *_ in copies)  # all of them wait at once
    for _, _, peer in reversed(copies):
        peer.start()
    for n, (copying, sock, peer) in enumerate(copies):
        assert copying.get(timeout=PATIENCE) == 200_000
        sock.close()
        assert peer.all() == CONTENT[n * 200_000 :][:200_000]
    assert file.tell() == 3


def test_a_section_beyond_the_end(ends: Ends) -> None:
    file = ends.file(CONTENT)
    assert gzc.copy(gzc.section(file, len(CONTENT) - 10, 100), out := bytearray()) == 10
    assert gzc.copy(gzc.section(file, 2 * MIB, 100), out) == 0
    assert out == CONTENT[-10:]
    assert gzc.section(file, len(CONTENT) - 10, 100).read() == CONTENT[-10:]


def test_a_section_interrupted_goes_on(ends: Ends) -> None:
    file = ends.file(CONTENT)
    sock, there = ends.unix()
    transfer = gzc.Transfer(gzc.section(file, 1000, 900_000), sock)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        transfer.run()
    assert 0 < transfer.moved < 900_000
    peer = ends.reading(there)
    assert transfer.run() == 900_000
    sock.close()
    assert peer.all() == CONTENT[1000:901_000]
    assert file.tell() == 0


@pytest.mark.parametrize("make", ["BytesIO", "GzipFile"])
def test_a_section_of_what_is_no_plain_file(ends: Ends, make: str) -> None:
    """By its own seek and read; the position is put back."""
    file: Any = io.BytesIO(CONTENT)
    if make == "GzipFile":
        file = ends.keep(gzip.open(ends.path(gzip.compress(CONTENT, 1))))
    file.seek(5)
    sock, there = ends.unix()
    peer = ends.reading(there)
    assert gzc.copy(gzc.section(file, 1000, 300_000), sock) == 300_000
    sock.close()
    assert peer.all() == CONTENT[1000:301_000]
    assert file.tell() == 5


# -- observe -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sink", ["tcp", "file wb", "file ab", "pipe", "bytearray", "/dev/null"])
@pytest.mark.parametrize("source", [*SOURCES, "BytesIO"])
def test_the_sum_of_what_is_told_is_the_return_value(ends: Ends, source: str, sink: str) -> None:
    """Bytes from a buffer above the descriptor are told, too."""
    one, taken = given(ends, source), SINKS[sink](ends)
    told: list[int] = []
    assert gzc.copy(gzc.observe(one.obj, told.append), taken.obj) == sum(told) == len(CONTENT)
    assert min(told) > 0
    assert taken.content() in (None, HEAD + CONTENT)


@pytest.mark.parametrize("source", [*SOURCES, "BytesIO"])
def test_what_is_told_stays_right_over_interruptions(ends: Ends, source: str) -> None:
    one = given(ends, source)
    sock, there = ends.unix()
    peer = ends.peer(there)
    told: list[int] = []
    transfer = gzc.Transfer(gzc.observe(one.obj, told.append), sock)
    for _ in range(3):
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
            transfer.run()
        assert sum(told) == transfer.moved  # what is in flight is not delivered
        peer.take(min(50_000, transfer.moved - len(peer.received)))
    peer.start()
    assert transfer.run() == sum(told) == len(CONTENT)
    sock.close()
    assert peer.all() == CONTENT


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("source", [*SOURCES, "BytesIO"])
def test_what_a_callback_raises_interrupts_like_a_kill(ends: Ends, source: str, at: int) -> None:
    one, taken = given(ends, source), SINKS["unix"](ends)
    told: list[int] = []
    own = KeyError("mine")

    def callback(count: int) -> None:
        told.append(count)
        if len(told) == at:
            raise own

    transfer = gzc.Transfer(gzc.observe(one.obj, callback), taken.obj)
    with pytest.raises(KeyError) as caught:
        transfer.run()
    assert caught.value is own
    assert gzc.transfers_of(own) == (transfer,)
    assert transfer.exact
    assert transfer.moved == sum(told)
    assert transfer.run() == len(CONTENT) == sum(told)
    assert taken.content() == HEAD + CONTENT


def test_a_callback_runs_in_the_copying_greenlet(ends: Ends) -> None:
    seen = set()
    assert gzc.copy(gzc.observe(b"x", lambda _: seen.add(gevent.getcurrent())), bytearray()) == 1
    assert seen == {gevent.getcurrent()}


# -- as ordinary readers -----------------------------------------------------------------------------------


def wrapped(ends: Ends) -> dict[str, Any]:
    """Wrappers that all give CONTENT[:90_001]."""
    short = ends.path(CONTENT[:90_001])
    here, there = ends.unix()
    ends.feeding(there, CONTENT)
    return {
        "limit": gzc.limit(ends.file(CONTENT), 90_001),
        "limit of bytes": gzc.limit(CONTENT, 90_001),
        "limit of a socket": gzc.limit(here, 90_001),
        "section": gzc.section(ends.file(b"abc" + CONTENT), 3, 90_001),
        "observe": gzc.observe(ends.keep(short.open("rb")), int),
        "nested": gzc.observe(gzc.limit(gzc.section(ends.file(CONTENT), 0, 99_999), 90_001), int),
    }


KINDS = ("limit", "limit of bytes", "limit of a socket", "section", "observe", "nested")


@pytest.mark.parametrize("kind", KINDS)
def test_read_readinto_and_iteration(ends: Ends, kind: str) -> None:
    expected = CONTENT[:90_001]
    reader = wrapped(ends)[kind]
    got = b""
    while data := reader.read(999):
        assert len(data) <= 999
        got += data
    assert got == expected
    reader = wrapped(ends)[kind]
    buffer, got = bytearray(777), b""
    while count := reader.readinto(buffer):
        got += buffer[:count]
    assert got == expected
    assert b"".join(wrapped(ends)[kind]) == expected
    if kind != "limit of a socket":
        assert wrapped(ends)[kind].read() == expected
        assert wrapped(ends)[kind].read(None) == expected
    assert wrapped(ends)[kind].readable()


@pytest.mark.parametrize("kind", KINDS)
def test_as_a_source_of_shutil(ends: Ends, kind: str) -> None:
    out = io.BytesIO()
    reader = wrapped(ends)[kind]
    shutil.copyfileobj(reader, out)
    assert out.getvalue() == CONTENT[:90_001]


@pytest.mark.parametrize("kind", KINDS)
def test_as_a_body_of_wsgi(ends: Ends, kind: str) -> None:
    from wsgiref.util import FileWrapper

    assert b"".join(FileWrapper(wrapped(ends)[kind], 5000)) == CONTENT[:90_001]


def test_read_tells_the_observer(ends: Ends) -> None:
    told: list[int] = []
    reader = gzc.observe(ends.file(CONTENT), told.append)
    assert len(reader.read(10)) == 10
    assert gzc.copy(reader, bytearray(), 90_000) == 90_000
    assert reader.readinto(bytearray(5)) == 5
    assert sum(told) == 90_015


@pytest.mark.parametrize(
    "make", [lambda f: gzc.limit(f, 5), lambda f: gzc.section(f, 0, 5), lambda f: gzc.observe(f, int)]
)
def test_close_closes_what_is_inside(ends: Ends, make: Any) -> None:
    file = ends.file(CONTENT)
    with make(file) as reader:
        assert not file.closed
        assert reader.read(1) == CONTENT[:1]
    assert file.closed
    with pytest.raises(ValueError, match="closed"):
        gzc.copy(reader, bytearray())


# -- bad input ---------------------------------------------------------------------------------------------


def test_bad_input(ends: Ends) -> None:
    file = ends.file(CONTENT)
    for call in (
        lambda: gzc.limit(file, -1),
        lambda: gzc.section(file, -1, 5),
        lambda: gzc.section(file, 5, -1),
    ):
        with pytest.raises(ValueError, match="negative"):
            call()
    bad: Any = "5"
    text = ends.keep(open(file.name))
    here, _ = ends.unix()
    for call in (
        lambda: gzc.limit(file, bad),
        lambda: gzc.limit(file, 1.5),  # type: ignore[arg-type]
        lambda: gzc.section(file, bad, 5),
        lambda: gzc.observe(file, bad),
        lambda: gzc.limit(text, 5),
        lambda: gzc.observe(text, int),
        lambda: gzc.limit(7, 5),
        lambda: gzc.section(here, 0, 5),
        lambda: gzc.limit(object(), 5),
    ):
        with pytest.raises(TypeError):
            call()
    closed = ends.file(CONTENT)
    closed.close()
    with pytest.raises(ValueError, match="closed"):
        gzc.limit(closed, 5)
    assert file.tell() == 0


def test_a_pipe_has_no_sections(ends: Ends) -> None:
    reader, writer = os.pipe()
    os.close(writer)
    with open(reader, "rb") as pipe, pytest.raises(TypeError, match="seek"):
        gzc.section(pipe, 0, 5)


def test_claims_reach_through_wrappers(ends: Ends) -> None:
    """Two wrappers of one socket are one end."""
    here, there = ends.unix()
    first = ends.spawn(gzc.copy, gzc.limit(here, 10), one := bytearray())
    at_rest()
    with pytest.raises(gzc.BusyError):
        gzc.copy(gzc.observe(here, int), bytearray())
    there.sendall(b"x" * 10)
    there.shutdown(native.SHUT_WR)
    assert first.get(timeout=PATIENCE) == 10
    assert one == b"x" * 10
    assert gzc.copy(here, bytearray(), KIB) == 0


# -- failing -----------------------------------------------------------------------------------------------


def test_a_failure_of_the_source_is_seen_as_its_wrapper_says(ends: Ends) -> None:
    """From the inside out, and the transfer hangs on what is seen; what had come is delivered and counted."""
    here, there = ends.unix()
    there.sendall(b"x" * 1000)
    here.settimeout(0.05)
    told: list[BaseException] = []

    def inner(exc: BaseException) -> BaseException:
        told.append(exc)
        return KeyError("inner")

    def outer(exc: BaseException) -> BaseException:
        told.append(exc)
        return LookupError("outer")

    file = ends.file(mode="wb")
    with pytest.raises(LookupError, match="outer") as caught:
        gzc.copy(gzc.source(here).translating(inner).translating(outer), file)
    assert [type(exc) for exc in told] == [TimeoutError, KeyError]
    (transfer,) = gzc.transfers_of(caught.value)
    assert (transfer.moved, transfer.in_flight, file.tell()) == (1000, 0, 1000)


def test_a_failure_given_back_stays_the_callers_own(ends: Ends) -> None:
    told: list[BaseException] = []
    here, _ = ends.unix()
    source = gzc.source(here).translating(lambda exc: (told.append(exc), exc)[1])
    timeout = gevent.Timeout(0.05)
    with pytest.raises(gevent.Timeout) as caught, timeout:
        gzc.copy(source, ends.file(mode="wb"))
    assert told == [timeout]
    assert caught.value is timeout


def test_a_failure_of_the_sink_is_not_the_sources(ends: Ends) -> None:
    here, there = ends.unix()
    feeder = ends.feeding(there, CONTENT)
    out, _ = ends.stuck()
    told: list[BaseException] = []
    source = gzc.source(here).translating(lambda exc: (told.append(exc), exc)[1])
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
        gzc.copy(source, out)
    assert told == []
    feeder.kill()


def test_all_there_is_of_what_only_receives(ends: Ends) -> None:
    """``read()`` of a wrapper over a socket, which has no ``read`` of its own."""
    sock, there = ends.unix()
    seen: list[int] = []
    content = payload(200 * KIB)
    ends.feeding(there, content)
    with gevent.Timeout(PATIENCE):
        assert gzc.observe(sock, seen.append).read() == content
    assert seen == [len(content)]


def test_closing_a_wrapper_over_what_cannot_be_closed() -> None:
    reader = type("Reader", (), {"read": lambda self, count: b"content"[:count]})()
    with gzc.limit(reader, 4) as part:
        assert part.read() == b"cont"
    part.close()
