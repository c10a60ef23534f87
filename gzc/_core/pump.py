"""The loop: steps a mover, waits in the hub for an end that has answered EAGAIN, books bytes, and yields.

No other loop of a copy waits for an end. It does not know what it moves, nor between what.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from time import monotonic

from .._errors import TransferClosedError
from .._hub import claims
from .._hub.turn import enter, yield_to_loop
from .._kernel import retries, syscalls
from .._movers import Mover
from . import tally as tallies
from .tally import Tally


def pump(mover: Mover, left: float, tally: Tally, observers: Sequence[Callable[[int], None]] = ()) -> None:
    """Step ``mover`` until ``left`` bytes are delivered or its source ends; tell ``observers`` after each step.

    Waits on the one end that can be the cause of an EAGAIN, and yields through the loop when the hub's turn
    is over. Whatever ends it, ``tally.moved`` is what was delivered.

    :raises OSError: what the kernel answered; ``tally.refused`` is True then.
    """
    tries = again = retries.SINK
    passed = mover.reader.passed if mover.reader.rewindable else None
    born = claims.generation
    budget, deadline = enter(tally.began)
    tallies.under_way.add(tally)
    try:
        if 0.0 < deadline <= tally.began:
            yield_to_loop()
            _still_here(born)
            deadline = 0.0
        while left > 0:
            if deadline == 0.0 and budget is not None:  # first step in this loop iteration: fetch its deadline
                mover.over_budget = budget.over(monotonic())
                deadline = budget.deadline
            moved = mover.step(left)
            if moved > 0:
                left -= moved
                tally.moved += moved
                mover.in_call = False  # at once: CPython 3.10 looks for signals at each jump, too
                if tries != again:
                    if mover.waited_for is None:  # it was worth while
                        again = retries.SINK
                    tries = again
                mover.waited_for = None
                if passed is not None:
                    passed(moved)
                if observers:
                    tell(observers, moved)
                    _still_here(born)
                if left > 0 and budget is not None and (now := monotonic()) >= deadline:
                    if budget.over(now):
                        yield_to_loop()
                        _still_here(born)
                    deadline = 0.0
                continue
            mover.in_call = False
            if moved == 0:
                return
            if moved != syscalls.AGAIN or not mover.blocked_on.waitable:
                tally.refused = True
                raise OSError(-moved, os.strerror(-moved))
            if tries > 0 and mover.blocked_on.retry_eagain:
                tries -= 1
                continue
            if again > retries.SINK_LEAST:
                again = max(again // 2, retries.SINK_LEAST)
            tally.waits += 1
            mover.wait()
            _still_here(born)
            deadline = 0.0  # a new iteration has a budget of its own: ask for it
    finally:
        tallies.fold(tally)


def tell(observers: Sequence[Callable[[int], None]], count: int) -> None:
    """Each observer hears of ``count`` bytes, whatever one of them raises."""
    for number, observer in enumerate(observers):
        try:
            observer(count)
        except BaseException:
            for other in observers[number + 1 :]:
                with contextlib.suppress(Exception):
                    other(count)
            raise


def _still_here(born: int) -> None:
    """Stop a greenlet that woke up in a forked child: the parent's copy of it moves these bytes (M19)."""
    if claims.generation != born:
        raise TransferClosedError("the transfer belongs to the process that made it, and this is a fork of it")
