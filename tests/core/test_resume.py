"""What a run that goes on, or begins later, asks anew: an end is described at the moment of the run."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest

import gzc

from .._ends import MIB, PATIENCE, Ends, payload
from .._pairs import HEAD, SINKS, raised

CONTENT = payload(8 * MIB + 5)


class Interrupted(Exception):
    pass


def at(*counts: int) -> Callable[[int], None]:
    """An observer that raises once each time so much has gone past."""
    rest, past = list(counts), 0

    def observer(count: int) -> None:
        nonlocal past
        past += count
        if rest and past >= rest[0]:
            del rest[0]
            raise Interrupted

    return observer


def test_what_a_limit_gave_between_making_and_running_is_gone(ends: Ends) -> None:
    """Of the next message, which is somebody else's, nothing is taken."""
    here, there = ends.unix()
    there.sendall(b"B" * 100 + b"NEXT MESSAGE")
    limit, out = gzc.limit(here, 100), io.BytesIO()
    transfer = gzc.Transfer(limit, out)
    assert limit.read(50) == b"B" * 50
    assert transfer.run() == 50
    assert out.getvalue() == b"B" * 50
    assert here.recv(99) == b"NEXT MESSAGE"


def test_what_a_section_gave_between_making_and_running_is_gone(ends: Ends) -> None:
    section, out = gzc.section(ends.file(bytes(range(200))), 0, 100), io.BytesIO()
    transfer = gzc.Transfer(section, out)
    assert section.read(50) == bytes(range(50))
    assert transfer.run() == 50
    assert out.getvalue() == bytes(range(50, 100))


def test_no_more_of_the_sink_is_taken_than_is_copied(ends: Ends) -> None:
    """A child that shares the offset writes behind it: there were zeros in between."""
    src, dst = ends.file(CONTENT), ends.file(b"", "wb")
    transfer = gzc.Transfer(src, dst)
    src.seek(5 * MIB)
    child = os.dup(dst.fileno())
    writing = ends.spawn(os.write, child, b"LINE")
    rest = len(CONTENT) - 5 * MIB
    assert transfer.run() == rest
    writing.get(timeout=PATIENCE)
    os.close(child)
    written = Path(dst.name).read_bytes()
    assert written in (CONTENT[5 * MIB :] + b"LINE", b"LINE" + CONTENT[5 * MIB :])


class Reconnects:
    """A sink that cannot be described once in a while."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.fails = 0

    def write(self, data: Any) -> int:
        return int(self.inner.send(data))

    def __gzc_sink__(self) -> gzc.Sink:
        if self.fails:
            self.fails -= 1
            raise OSError(107, "not connected now")
        return gzc.sink(self.inner)


def test_a_run_that_did_not_begin_changes_nothing(ends: Ends) -> None:
    """What went past is subtracted from a description once, however often the sink could not be described."""
    taken = SINKS["unix"](ends)
    sink, transfer = Reconnects(taken.obj), None
    source = gzc.source(gzc.section(ends.file(CONTENT), 0, len(CONTENT))).observing(at(MIB, 3 * MIB))
    transfer = gzc.Transfer(source, sink)
    with gevent.Timeout(PATIENCE):
        for _ in range(2):
            raised(Interrupted, transfer.run)
            sink.fails = 2
            raised(OSError, transfer.run)
            raised(OSError, transfer.run)
        assert transfer.run() == len(CONTENT)
    assert taken.content() == HEAD + CONTENT


class Describes:
    """Gives the same description each time."""

    def __init__(self, described: gzc.Source) -> None:
        self._described = described

    def read(self, size: int) -> bytes:
        raise NotImplementedError

    def __gzc_source__(self) -> gzc.Source:
        return self._described


@pytest.mark.parametrize("kind", ["object", "description"])
@pytest.mark.parametrize("below", ["file", "section", "BytesIO", "unix"])
def test_a_limit_holds_over_all_runs(ends: Ends, below: str, kind: str) -> None:
    taken, limit = SINKS["unix"](ends), 3 * MIB
    if below == "unix":
        here, there = ends.unix()
        ends.spawn(there.sendall, CONTENT)
        end: Any = here
    elif below == "BytesIO":
        end = io.BytesIO(CONTENT)
    else:
        end = ends.file(CONTENT)
        end = gzc.section(end, 0, len(CONTENT)) if below == "section" else end
    described = gzc.source(end).limited(limit).observing(at(MIB // 2, MIB, 2 * MIB))
    transfer = gzc.Transfer(Describes(described) if kind == "object" else described, taken.obj)
    with gevent.Timeout(PATIENCE):
        for _ in range(3):
            raised(Interrupted, transfer.run)
        assert transfer.run() == limit
    assert taken.content() == HEAD + CONTENT[:limit]


def test_claims_do_not_heap_up(ends: Ends) -> None:
    taken = SINKS["unix"](ends)
    transfer = gzc.Transfer(gzc.observe(ends.file(CONTENT), at(MIB, 2 * MIB, 3 * MIB, 4 * MIB)), taken.obj)
    with gevent.Timeout(PATIENCE):
        for _ in range(4):
            raised(Interrupted, transfer.run)
            assert len(transfer._claimed) <= 2
        assert transfer.run() == len(CONTENT)
