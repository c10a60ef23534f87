"""Random histories of a tunnel: two queues of bytes, and who has said that no more will come.

Rules: those of ``test_fuzz``. Either far end sends, reads, ends its half or goes away, in any order; what comes out
at one end is what went in at the other, and its end comes after its last byte.
"""

from __future__ import annotations

import socket as native
import tempfile
import time
from pathlib import Path
from typing import Any

import gevent
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

import gzc

from .._ends import KIB, Ends, descriptors_are, own_descriptors, payload
from .._figures import count as counted
from .._fuzz_ends import _pair, _reset, _send_now
from .._inside import _claims, _pipe, _syscalls, _turn
from .test_fuzz import NIGHTLY, PATIENCE, PROFILE, SIZES

SIDES = st.integers(0, 1)
STEP = st.one_of(
    *[st.tuples(st.just("send"), SIDES, SIZES)] * 4,
    *[st.tuples(st.just("read"), SIDES, SIZES)] * 4,
    *[st.tuples(st.just("turn"), SIDES, st.integers(1, 5))] * 2,
    st.tuples(st.just("half_close"), SIDES, st.just(0)),
    st.tuples(st.just("go"), SIDES, st.just(0)),
    st.tuples(st.just("kill"), SIDES, st.just(0)),
)


class Tunnel:
    """Two far ends, 0 and 1, with a tunnel between the near ones."""

    def __init__(self, ends: Ends, families: tuple[str, str]) -> None:
        pairs = [_pair(ends, family) for family in families]
        self.far = [there for _, there in pairs]
        self.tcp = [family == "tcp" for family in families]
        self.sent, self.read_ = [b"", b""], [b"", b""]
        self.closed, self.gone = [False, False], [False, False]
        self.over = False
        self.running = ends.spawn(self._run, *(here for here, _ in pairs))
        gevent.sleep(0)

    def _run(self, *near: Any) -> Any:
        try:
            return gzc.tunnel(*near)
        except (ConnectionResetError, BrokenPipeError, gevent.GreenletExit) as exc:
            for transfer in gzc.transfers_of(exc):  # what is in flight is the program's, and keeps its ends claimed
                assert transfer.exact
                transfer.reclaim()
            return exc

    def send(self, side: int, count: int) -> None:
        if not self.closed[side] and not self.gone[side] and not self.over:
            data = payload(count, len(self.sent[side]))
            try:
                self.sent[side] += data[: _send_now(self.far[side], data)]
            except (BrokenPipeError, ConnectionResetError):
                assert any(self.gone)

    def read(self, side: int, count: int) -> bool:
        """Whether anything came."""
        if self.gone[side]:
            return False
        try:
            data = self.far[side]._sock.recv(count, native.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            assert any(self.gone) or self.over
            return False
        other = 1 - side
        self.read_[side] += data
        assert self.sent[other].startswith(self.read_[side])
        counted("bytes compared", len(data))
        if not data and not any(self.gone) and not self.over:
            assert self.closed[other], "an end that nobody sent"
            assert self.read_[side] == self.sent[other], "the end came before the last byte"
        return bool(data)

    def half_close(self, side: int, _: int) -> None:
        if not self.closed[side] and not self.gone[side]:
            self.closed[side] = True
            try:
                self.far[side].shutdown(native.SHUT_WR)
            except OSError:
                assert any(self.gone)

    def go(self, side: int, _: int) -> None:
        if not self.gone[side]:
            self.gone[side] = True
            _reset(self.far[side]) if self.tcp[side] else self.far[side].close()

    def kill(self, _: int, __: int) -> None:
        self.over = True
        self.running.kill(timeout=PATIENCE)
        assert self.running.ready()

    def turn(self, _: int, turns: int) -> None:
        for _ in range(turns):
            _turn.yield_to_loop()

    def conclude(self) -> None:
        """Both halves are ended, and everything comes out."""
        for side in (0, 1):
            self.half_close(side, 0)
        deadline = time.monotonic() + PATIENCE
        while not self.running.ready():
            assert time.monotonic() < deadline, "a hang"
            for side in (0, 1):
                self.read(side, 64 * KIB)
            _turn.yield_to_loop()
        for side in (0, 1):
            while self.read(side, 64 * KIB):
                pass
        if not any(self.gone) and not self.over:
            assert self.running.value == (len(self.sent[0]), len(self.sent[1]))
            assert self.read_ == self.sent[::-1]


def tried(families: tuple[str, str], history: list[tuple[str, int, int]]) -> None:
    before = own_descriptors()
    with tempfile.TemporaryDirectory(prefix="gzc-fuzz-") as folder, Ends(Path(folder)) as ends:
        tunnel = Tunnel(ends, families)
        for name, side, number in history:
            getattr(tunnel, name)(side, number)
        tunnel.conclude()
        assert not _claims._claims
    assert [_syscalls.unread(pipe.reader) for pipe in _pipe._idle] == [0] * len(_pipe._idle)
    gevent.sleep(0)  # gevent closes sockets in the hub's next turn
    descriptors_are(before)
    counted("histories of tunnels")
    counted("steps of histories", len(history))


FAMILIES = st.sampled_from(["tcp", "unix"])


@pytest.mark.timeout(24 * 3600 if NIGHTLY else 120)
@PROFILE
@given(families=st.tuples(FAMILIES, FAMILIES), history=st.lists(STEP, min_size=10, max_size=60))
def test_random_histories_of_a_tunnel(families: tuple[str, str], history: list[tuple[str, int, int]]) -> None:
    """What comes out at one end is what went in at the other, whole where nobody has gone (D6, D8)."""
    note(f"tried({families!r}, {history!r})")
    tried(families, history)
