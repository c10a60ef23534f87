"""The pump's own choice: when a sink that answers EAGAIN is tried again, and when an end is waited for.

Rules: no kernel here; a mover that plays a script, and ends that count how often they are waited for.
"""

import errno
from typing import Any

import pytest

import gzc

from .._inside import Mover, Reader, Writer, _pump, _retries, _stats

SOURCE, SINK = "source is empty", "sink is full"
BIG = 64 * 1024
WAIT = "wait"


class _End(Reader, Writer):
    """Writes down each wait among the calls."""

    waitable = True

    def __init__(self, log: list[Any]) -> None:
        self._log = log

    def wait(self) -> None:
        self._log.append(WAIT)


class _Script(Mover):
    """Plays bytes moved and EAGAINs."""

    name = "splice"

    def __init__(self, steps: list[Any]) -> None:
        self.steps = steps
        self.log: list[Any] = []
        super().__init__(_End(self.log), _End(self.log))
        self.writer.retry_eagain = True

    def step(self, left: float) -> int:
        step = self.steps.pop(0) if self.steps else 0
        self.log.append(step)
        self.blocked_on = self.reader if step == SOURCE else self.writer
        if step in (SOURCE, SINK):
            return -errno.EAGAIN
        return int(step)


def _play(*steps: Any) -> list[Any]:
    mover = _Script(list(steps))
    _pump.pump(mover, float("inf"), _stats.Tally(mover, gzc.Source(None), gzc.Sink(None)))
    assert not mover.steps
    return mover.log[:-1]  # without the 0 at the end


def _waits(*steps: Any) -> list[int]:
    """After how many calls each wait came, since the one before."""
    gaps, calls = [], 0
    for entry in _play(*steps):
        calls += 1
        if entry == WAIT:
            gaps.append(calls - 1)
            calls = 0
    return gaps


def test_a_sink_that_drains_at_once_is_not_waited_for() -> None:
    """To sleep and be woken costs twenty times the call."""
    assert WAIT not in _play(BIG, SINK, BIG, *[SINK] * _retries.SINK, BIG)


def test_beside_a_slow_sink_each_vain_round_halves_the_tries() -> None:
    """So a slow peer costs two calls a wait and not twelve; and one that is quick again gets all of them."""
    most, least = _retries.SINK, _retries.SINK_LEAST
    halved = most // 2
    slow = [SINK] * (most + 1) + [BIG] + [SINK] * (halved + 1) + [BIG]
    assert _waits(*slow) == [most + 1, 1 + halved + 1]
    while halved > least:
        halved = max(halved // 2, least)
        slow += [*[SINK] * (halved + 1), BIG]
    assert _waits(*slow, *[SINK] * (least + 1), BIG)[-1] == 1 + least + 1
    quick = [*[SINK] * least, BIG]
    assert _waits(*slow, *quick, *[SINK] * (most + 1), BIG)[-1] >= most + 1


def test_a_source_is_never_tried_again() -> None:
    """Small pieces have to gather: asked for at once, each would cost a call or two of its own."""
    assert _play(BIG, SOURCE, BIG) == [BIG, SOURCE, WAIT, BIG]
    assert _play(SOURCE, BIG) == [SOURCE, WAIT, BIG]


def test_every_observer_hears_whatever_another_one_raises() -> None:
    told: list[int] = []

    def first(count: int) -> None:
        raise KeyError(count)

    def last(count: int) -> None:
        told.append(-count)
        raise ValueError

    with pytest.raises(KeyError, match="5"):
        _pump.tell([told.append, first, told.append, last, told.append], 5)
    assert told == [5, 5, -5, 5]


def test_an_end_that_is_woken_in_vain_is_waited_for_at_once() -> None:
    """A wake-up that brought nothing earns no new tries: that would be a spin."""
    vain = [SINK] * (_retries.SINK + 1)
    assert _play(*vain, SINK, SINK, BIG) == [*vain, WAIT, SINK, WAIT, SINK, WAIT, BIG]
