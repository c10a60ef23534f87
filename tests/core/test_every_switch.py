"""Interrupted at every switch point: each is struck in turn, the transfer goes on, and the bytes are compared.

Rules: the points are enumerated, not sampled. greenlet's own trace tells each time the copying greenlet gives up
the processor, whoever made it; for each k one run is struck at the k-th such moment, until a run ends before it
comes to k. The exception comes in by the door that a kill or a `gevent.Timeout` uses: thrown by the hub, before the
hub looks whether the wait is over. Buffers are small, so that a route has tens of points, not thousands.
"""

import fcntl
import os
import socket as native
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import greenlet
import pytest
from gevent import socket as gsocket

import gzc

from .._ends import KIB, PATIENCE, Ends, payload
from .._figures import count as counted
from .._inside import _claims, _copy_range, _pipe, _storage, _syscalls, _userspace
from .._pairs import HEAD, SINKS, SOURCES

CONTENT = payload(600 * KIB + 7)
SMALL = 16 * KIB  # a socket's buffers
F_SETPIPE_SZ = 1031


class Narrow(Ends):
    """Ends whose sockets hold little."""

    def _narrow(self, pair: tuple[gsocket.socket, gsocket.socket]) -> tuple[gsocket.socket, gsocket.socket]:
        for sock in pair:
            sock.setsockopt(native.SOL_SOCKET, native.SO_SNDBUF, SMALL)
            if sock.family == native.AF_UNIX:  # a narrow receiver makes tcp wait for its timers
                sock.setsockopt(native.SOL_SOCKET, native.SO_RCVBUF, SMALL)
        return pair

    def tcp(self) -> tuple[gsocket.socket, gsocket.socket]:
        return self._narrow(super().tcp())

    def unix(self, kind: int = native.SOCK_STREAM) -> tuple[gsocket.socket, gsocket.socket]:
        return self._narrow(super().unix(kind))


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Little in each step, and a turn of the hub that is over at once."""
    pipe = os.pipe

    def narrow() -> tuple[int, int]:
        reader, writer = pipe()
        fcntl.fcntl(writer, F_SETPIPE_SZ, SMALL)
        return reader, writer

    monkeypatch.setattr(os, "pipe", narrow)
    monkeypatch.setattr(_copy_range, "JOB", SMALL)
    monkeypatch.setattr(_userspace, "BLOCK", SMALL)
    monkeypatch.setattr(gzc.config, "chunk", SMALL)
    monkeypatch.setattr(gzc.config, "small", 0)
    monkeypatch.setattr(gzc.config, "disk_grace", PATIENCE)  # a busy disk is not what is asked about here
    monkeypatch.setattr(gzc.config, "hub_budget", 1e-9)
    yield
    left = dict(_claims._claims)
    _claims._claims.clear()  # the next test is not to blame
    assert left == {}
    assert [_syscalls.unread(pipe.reader) for pipe in _pipe._idle if pipe.reader >= 0] == [0] * len(_pipe._idle)


class Strike:
    """Throws `exc` into a greenlet where it gives up the processor for the k-th time."""

    def __init__(self, k: int, exc: BaseException) -> None:
        self.k = k
        self.exc = exc
        self.seen = 0
        self.victim: Any = None

    def __enter__(self) -> "Strike":
        self._before = greenlet.settrace(self._trace)
        return self

    def __exit__(self, *exc_info: object) -> None:
        greenlet.settrace(self._before)

    def _trace(self, event: str, pair: tuple[Any, Any]) -> None:
        if pair[0] is self.victim is not None:
            self.seen += 1
            if self.seen == self.k:
                gevent.get_hub().loop.run_callback(self._throw)

    def _throw(self) -> None:
        if not self.victim.dead:
            self.victim.throw(self.exc)


def struck(transfer: gzc.Transfer, k: int, check: Callable[[], None]) -> tuple[int, int]:
    """Run `transfer` to its end, struck at its k-th switch: how often it was interrupted, and how often it switched."""
    exc: BaseException = (gevent.GreenletExit if k % 2 else gevent.Timeout)()
    interruptions = 0

    def run() -> int:
        nonlocal interruptions
        while True:
            try:
                return transfer.run()
            except (gevent.GreenletExit, gevent.Timeout) as caught:
                assert caught is exc  # noqa: PT017
                interruptions += 1
                assert gzc.transfers_of(exc) == (transfer,)
                assert transfer.exact, (k, strike.seen, transfer)
                check()

    with Strike(k, exc) as strike:
        strike.victim = gevent.spawn(run)
        try:
            strike.victim.get(timeout=PATIENCE)
        except (
            gevent.GreenletExit
        ):  # struck before its first, or after its last step: it was the greenlet, not the copy
            assert interruptions == 0
            transfer.run()
        finally:
            strike.victim.kill(block=False)
    return interruptions, strike.seen


def every_switch(tmp_path: Path, source: str, sink: str, count: int | None, least: int) -> None:
    expected = CONTENT if count is None else CONTENT[:count]
    k, hits = 0, 0
    while True:
        k += 1
        with Narrow(tmp_path) as ends:
            given, taken = SOURCES[source](ends, CONTENT, 5000), SINKS[sink](ends)
            limited = gzc.limit(given.obj, len(CONTENT) + 1)
            told: list[int] = []
            transfer = gzc.Transfer(gzc.observe(limited, told.append), taken.obj, count)

            def check() -> None:
                assert sum(told) == transfer.moved  # noqa: B023
                assert limited.remaining == len(CONTENT) + 1 - transfer.moved - transfer.in_flight  # noqa: B023
                if source == "file":
                    assert given.obj.tell() == len(HEAD) + transfer.moved  # noqa: B023
                    assert transfer.in_flight == 0  # noqa: B023
                if sink.startswith("file"):
                    assert taken.obj.tell() == len(HEAD) + transfer.moved  # noqa: B023

            interruptions, seen = struck(transfer, k, check)
            check()
            assert transfer.moved == len(expected)
            assert transfer.in_flight == 0
            assert given.rest() == CONTENT[len(expected) :]
            content = taken.content()
            assert content in (None, HEAD + expected)
            counted("bytes compared", len(content or b""))
        counted("transfers struck at a switch", interruptions)
        hits += interruptions
        if seen < k:
            break
    assert k > least
    assert hits >= k - 4, (hits, k)  # not those before its first step and after its last


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_route_struck_at_every_switch(tmp_path: Path, source: str, sink: str) -> None:
    every_switch(tmp_path, source, sink, None, 6)


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("source", ["file", "unix", "makefile", "pipe"])
def test_a_count_is_kept_however_it_is_struck(tmp_path: Path, source: str, sink: str) -> None:
    every_switch(tmp_path, source, sink, 250_001, 4)


@pytest.mark.parametrize(
    ("source", "sink"), [(one, two) for one in SOURCES for two in SINKS if one == "file" or two.startswith("file")]
)
def test_every_route_struck_while_a_thread_has_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, sink: str
) -> None:
    """Whatever touches a file goes to the pool, as on storage gzc does not know."""
    monkeypatch.setattr(_storage, "storage", lambda fd: _storage.Storage.REMOTE)
    every_switch(tmp_path, source, sink, None, 6)
