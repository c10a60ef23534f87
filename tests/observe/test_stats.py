"""What gzc says it did: `trace`, `stats`, and the log, held against strace and against the bytes.

Rules: strace is believed over gzc. A warning must point at the line of this file that made the copy.
"""

import inspect
import io
import json
import logging
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import gzc

from .._ends import BEYOND_SMALL, MIB, PATIENCE, Ends, at_rest, payload, python
from .._inside import _stats
from .._lacks import strace

CONTENT = payload(3 * MIB + 5)


# -- strace ------------------------------------------------------------------------------------------------

TRACED = """
import gevent, gzc, json, sys, tempfile
from gevent import socket
here, there = socket.socketpair()
size = 5 * (1 << 20) + 3
file = tempfile.TemporaryFile()
file.write(bytes(size))
file.seek(0)
got = 0
def read():
    global got
    while data := there.recv(50_000):
        got += len(data)
        gevent.sleep(0)
reading = gevent.spawn(read)
with gzc.trace() as t:
    assert gzc.copy(file, here) == size
    file.seek(size - 100_000)
    assert gzc.copy(file, here) == 100_000
    file.seek(0)
    assert gzc.copy(file, here, 100) == 100
    with open("/proc/self/status", "rb") as proc:
        gzc.copy(proc, here)
    reading.kill()
    try:
        with gevent.Timeout(0.02):
            file.seek(0)
            gzc.copy(file, here)
    except gevent.Timeout:
        pass
print(json.dumps([gzc.stats(), {"calls": t.calls, "bytes": t.bytes, "waits": t.waits}]))
"""


def test_the_counts_agree_with_strace(tmp_path: Path) -> None:
    """A call answered EAGAIN counts as a call; bytes count once."""
    log = tmp_path / "calls"
    printed = python(TRACED, prefix=(strace(), "-f", "-qq", "-e", "trace=sendfile", "-o", str(log)))
    stats, trace = json.loads(printed)
    calls = [line for line in log.read_text().splitlines() if "sendfile(" in line and "sendfile(-1" not in line]
    results = [re.search(r"= (-?\d+)(?: (E\w+))?", line) for line in calls]
    assert all(results), calls
    answers = [(int(found[1]), found[2]) for found in results if found]
    assert stats["calls"]["sendfile"] == trace["calls"]["sendfile"] == len(answers) > 20
    moved = sum(result for result, _ in answers if result > 0)
    assert stats["bytes"]["sendfile"] == trace["bytes"]["sendfile"] == moved > 5 * MIB
    refused = [error for _, error in answers if error]
    assert set(refused) == {"EAGAIN"}
    assert 0 < stats["waits"]["sendfile"] <= len(refused)


# -- the figures -------------------------------------------------------------------------------------------


def test_a_trace_counts_its_block_only(ends: Ends) -> None:
    sock, there = ends.unix()
    ends.reading(there)
    gzc.copy(ends.file(CONTENT), sock)
    with gzc.trace() as t:
        assert sum(t.bytes.values()) == 0
        gzc.copy(ends.file(CONTENT), sock, 300_000)
        assert t.bytes["sendfile"] == 300_000  # also while it runs
        with gzc.trace() as inner:
            gzc.copy(b"memory", bytearray())
    gzc.copy(ends.file(CONTENT), sock)
    assert (t.bytes["sendfile"], t.bytes["userspace"]) == (300_000, 6)
    assert (inner.bytes["sendfile"], inner.bytes["userspace"]) == (0, 6)
    assert set(t.calls) == set(t.bytes) == set(t.waits) >= {"sendfile", "splice", "copy_file_range", "userspace"}


def test_a_trace_sees_what_was_moved_before_a_wait(ends: Ends) -> None:
    sock, there = ends.unix()
    peer = ends.peer(there)
    with gzc.trace() as t:
        copying = ends.spawn(gzc.copy, ends.file(CONTENT), sock)
        peer.take(MIB)
        at_rest()
        assert t.bytes["sendfile"] >= MIB
        assert t.waits["sendfile"] >= 1
        copying.kill(timeout=PATIENCE)
    assert MIB <= t.bytes["sendfile"] < len(CONTENT)


def test_user_space_counts_its_reads_and_its_writes() -> None:
    with gzc.trace() as t:
        gzc.copy(io.BytesIO(CONTENT), bytearray(), 10)
    assert (t.calls["userspace"], t.bytes["userspace"]) == (2, 10)


def test_stats_are_plain_and_only_grow(ends: Ends) -> None:
    before = gzc.stats()
    assert json.loads(json.dumps(before)) == before
    assert set(before) == {"calls", "bytes", "waits", "refused"}
    gzc.copy(b"12345", bytearray())
    after = gzc.stats()
    assert after["bytes"]["userspace"] == before["bytes"]["userspace"] + 5
    after["bytes"]["userspace"] = 0
    assert gzc.stats()["bytes"]["userspace"] == before["bytes"]["userspace"] + 5


def test_totals_are_shared_by_all_threads() -> None:
    from gevent.threadpool import ThreadPool

    pool = ThreadPool(4)
    try:
        with gzc.trace() as t:
            for _ in range(20):
                pool.spawn(gzc.copy, io.BytesIO(b"x" * 1000), bytearray())
            pool.join()
    finally:
        pool.kill()
    assert t.bytes["userspace"] == 20_000


def test_the_table(ends: Ends) -> None:
    sock, there = ends.unix()
    ends.reading(there)
    with gzc.trace() as t:
        gzc.copy(ends.file(CONTENT), sock)
        gzc.copy(b"memory", sock)
        with open("/proc/self/status", "rb") as file:
            gzc.copy(file, sock)
    lines = str(t).splitlines()
    assert lines[0].split() == ["%", "bytes", "bytes", "calls", "waits", "mechanism"]
    sendfile = next(line.split() for line in lines if line.endswith("sendfile"))
    assert sendfile[1:4] == [str(len(CONTENT)), str(t.calls["sendfile"]), str(t.waits["sendfile"])]
    assert not any(line.endswith("splice") for line in lines)
    total = next(line.split() for line in lines if line.endswith("total"))
    assert total[1] == str(sum(t.bytes.values()))
    assert any(line.startswith("refused 1 x: ") for line in lines)
    assert str(gzc.trace()).splitlines()[-1].endswith("total")


def test_refusals_are_counted_by_reason(ends: Ends) -> None:
    class Unknown(io.FileIO):
        def read(self, count: int = -1) -> bytes:
            return super().read(count)

    sock, there = ends.unix()
    ends.reading(there)
    with gzc.trace() as t:
        for _ in range(3):
            gzc.copy(Unknown(ends.path(CONTENT)), sock)
        gzc.copy(ends.file(CONTENT), sock)
    assert len(t.refused) == 1
    (why, count) = t.refused[0]
    assert count == 3
    assert "Unknown, which overrides read" in why


def test_reasons_are_bounded_however_many_classes_a_program_makes(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, forgetful: pytest.LogCaptureFixture
) -> None:
    """In the totals, in their places, in what has been warned of, and in what traces of other processes bring."""
    monkeypatch.setattr(_stats, "MOST_REASONS", 10)
    sock, there = ends.unix()
    ends.reading(there)
    with gzc.trace(places=True) as t:
        for number in range(25):
            made = type(f"Made{number}", (io.FileIO,), {"read": lambda self, count=-1: io.FileIO.read(self, count)})
            gzc.copy(made(ends.path(b"x")), sock)
    assert len(t.refused) == 11
    assert t.refused[0] == (_stats.OTHER_REASONS, 15)
    assert len(t.places) == 10
    assert len(_stats._warned) == 11
    assert sum("Made24" in record.getMessage() for record in forgetful.records) == 1
    there_too = gzc.trace()
    for number in range(25):
        refusal = {"why": f"reason {number}", "count": 2, "places": [{"place": f"x:{number}", "count": 2}]}
        there_too.add({"moved": {}, "refused": [refusal]})
    assert dict(there_too.refused)[_stats.OTHER_REASONS] == 30


def test_explain_counts_no_refusal(ends: Ends) -> None:
    class Unknown:
        def read(self, count: int) -> bytes:
            return b""

    with gzc.trace() as t:
        gzc.explain(Unknown(), ends.unix()[0])
    assert t.refused == []


# -- the log -----------------------------------------------------------------------------------------------


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """As in a process in which nothing has been refused yet."""
    monkeypatch.setattr(_stats, "_totals", _stats.Totals())
    monkeypatch.setattr(_stats, "_warned", set())
    caplog.set_level(logging.DEBUG, "gzc")
    return caplog


def _line() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_the_first_refusal_is_a_warning_at_the_callers_line(ends: Ends, forgetful: pytest.LogCaptureFixture) -> None:
    sock, there = ends.unix()
    ends.reading(there)
    with open("/proc/self/status", "rb") as file:
        gzc.copy(file, sock); line = _line()  # noqa: E702  # fmt: skip
    (record,) = forgetful.records
    assert (record.name, record.levelname) == ("gzc", "WARNING")
    assert (record.pathname, record.lineno) == (__file__, line)
    assert "not zero-copy" in record.getMessage()
    assert "sendfile" in record.getMessage()


@pytest.mark.parametrize("call", ["copy", "run", "nested"])
def test_the_line_is_the_callers_however_it_is_called(
    ends: Ends, forgetful: pytest.LogCaptureFixture, call: str
) -> None:
    file = ends.file(CONTENT, "rb")
    file.read = partial(file.read)
    sock, there = ends.unix()
    ends.reading(there)
    if call == "copy":
        gzc.copy(file, sock)
    elif call == "run":
        gzc.Transfer(file, sock).run()
    else:
        gzc.copy(b"x", gzc.sink(bytearray()).observing(lambda n: gzc.copy(file, sock) and None))
    assert [record.pathname for record in forgetful.records] == [__file__]
    assert forgetful.records[0].funcName in ("<lambda>", inspect.currentframe().f_code.co_name)  # type: ignore[union-attr]


def test_the_following_refusals_are_info(ends: Ends, forgetful: pytest.LogCaptureFixture) -> None:
    sock, there = ends.unix()
    ends.reading(there)
    for _ in range(3):
        with open("/proc/self/status", "rb") as file:
            gzc.copy(file, sock)
    assert [record.levelname for record in forgetful.records] == ["WARNING", "INFO", "INFO"]


def test_each_distinct_refusal_warns_once(ends: Ends, forgetful: pytest.LogCaptureFixture) -> None:
    sock, there = ends.unix()
    ends.reading(there)

    class One(io.FileIO):
        def read(self, count: int = -1) -> bytes:
            return super().read(count)

    class Two(One):
        def read(self, count: int = -1) -> bytes:
            return super().read(count)

    for cls in (One, Two, One, Two):
        gzc.copy(ends.keep(cls(ends.path(CONTENT))), sock)
    assert [record.levelname for record in forgetful.records] == ["WARNING", "WARNING", "INFO", "INFO"]
    assert len({record.getMessage() for record in forgetful.records}) == 2


def _silent(ends: Ends) -> dict[str, tuple[Any, Any]]:
    class NoDescriptor:
        def __init__(self) -> None:
            self.read = io.BytesIO(CONTENT).read

    sock, there = ends.unix()
    ends.reading(there)
    return {
        "bytes": (CONTENT, sock),
        "BytesIO to file": (io.BytesIO(CONTENT), ends.file(mode="wb")),
        "file to memory": (ends.file(CONTENT), bytearray()),
        "small": (ends.file(CONTENT[: BEYOND_SMALL - 1]), sock),
        "small part": (ends.file(CONTENT), gzc.sink(sock)),
        "empty": (ends.file(), sock),
        "at the end": (_at_the_end(ends), sock),
        "no descriptor": (NoDescriptor(), bytearray()),
        "no descriptor to socket": (NoDescriptor(), sock),
        "fast": (ends.file(CONTENT), sock),
    }


def _at_the_end(ends: Ends) -> Any:
    file = ends.file(CONTENT)
    file.seek(0, io.SEEK_END)
    return file


@pytest.mark.parametrize(
    "what",
    [
        "bytes",
        "BytesIO to file",
        "file to memory",
        "small",
        "small part",
        "empty",
        "at the end",
        "no descriptor",
        "no descriptor to socket",
        "fast",
    ],
)
def test_what_could_not_have_been_faster_never_warns(
    ends: Ends, forgetful: pytest.LogCaptureFixture, what: str
) -> None:
    """Memory, small and empty sources, and what has no descriptor to use."""
    source, sink = _silent(ends)[what]
    gzc.copy(source, sink, 5 if what == "small part" else None)
    assert [record.getMessage() for record in forgetful.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("what", ["small", "empty", "at the end", "fast", "bytes"])
def test_small_empty_and_memory_are_no_refusals(ends: Ends, what: str) -> None:
    source, sink = _silent(ends)[what]
    with gzc.trace() as t:
        gzc.copy(source, sink)
    assert t.refused == []


def test_a_log_nobody_wants_costs_no_record(ends: Ends, forgetful: pytest.LogCaptureFixture) -> None:
    forgetful.set_level(logging.CRITICAL, "gzc")
    sock, there = ends.unix()
    ends.reading(there)
    with gzc.trace() as t, open("/proc/self/status", "rb") as file:
        gzc.copy(file, sock)
    assert forgetful.records == []
    assert len(t.refused) == 1


def test_an_exit_after_a_copy_is_quiet() -> None:
    """What gzc leaves to the end of the interpreter must not complain there."""
    code = (
        "import gevent, gzc, sys, tempfile; sys.stderr = sys.stdout; gzc.config.hub_budget = 1e-9\n"
        "import os; os.dup2(1, 2)\n"
        "assert gzc.copy(bytes(3_000_000), tempfile.TemporaryFile()) == 3_000_000"
    )
    assert python(code) == ""
