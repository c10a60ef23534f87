"""The loop.

Rules of this file: the only loop of a copy, and the only place that books bytes, waits, and gives the turn back. It
does not know what it moves, nor between what.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from time import monotonic

from .._errors import TransferClosedError
from .._hub import waiting as _hub
from .._kernel import syscalls as _syscalls
from .._movers import Mover
from . import tally as _stats
from .tally import Tally

#: How often a sink whose EAGAIN is soon over is tried again at once before the greenlet waits in the hub. A call costs
#: 1 us, to sleep and be woken 20 us, and a peer on another core goes on meanwhile: file to pipe took a third of the
#: CPU by it and was 4 times as fast. Beside a slow peer it is a waste, so each wait that it did not avert halves it.
#: A mover that has stalled behind what it moved is waited for at once: between sockets the tries cost 10 % more CPU.
MOST_TRIES, LEAST_TRIES = 12, 2


def pump(mover: Mover, left: float, tally: Tally, observers: Sequence[Callable[[int], None]] = ()) -> None:
    """Call ``mover`` until ``left`` bytes are delivered or its source ends; tell ``observers`` after each step.

    Waits on the one end that can be the cause of an EAGAIN, and goes through the loop when the hub's turn
    is over. Whatever ends it, ``tally.moved`` is what was delivered.
    """
    tries = again = MOST_TRIES
    passed = mover.source.passed if mover.source.rewindable else None
    born = _hub.generation
    turn = _hub.turn()
    deadline = 0.0
    _stats.under_way.add(tally)
    try:
        if turn is not None and 0.0 < (deadline := turn.enter(tally.began)) <= tally.began:
            _hub.breathe()
            _still_here(born)
            deadline = 0.0
        while left > 0:
            if deadline == 0.0 and turn is not None:  # an iteration that has not been asked about
                mover.brief = turn.over(monotonic())
                deadline = turn.deadline
            try:
                moved = mover(left)
            except BlockingIOError as exc:
                if not mover.blocked_on.waitable or _syscalls.struck(exc):
                    raise  # an object of somebody else's in non-blocking mode: what it took only it knows
                mover.unsure = False
                if tries > 0 and mover.blocked_on.soon:
                    tries -= 1
                    continue
            else:
                if moved == 0:
                    mover.unsure = False
                    return
                left -= moved
                tally.moved += moved
                mover.unsure = False  # at once: CPython 3.10 looks for signals at each jump, too
                if tries != again:
                    if mover.woken is None:  # it was worth while
                        again = MOST_TRIES
                    tries = again
                mover.woken = None
                if passed is not None:
                    passed(moved)
                if observers:
                    tell(observers, moved)
                    _still_here(born)
                if mover.stalled is None:
                    if left > 0 and turn is not None and (now := monotonic()) >= deadline:
                        if turn.over(now):
                            _hub.breathe()
                            _still_here(born)
                        deadline = 0.0
                    continue
                mover.blocked_on, mover.stalled = mover.stalled, None
            if again > LEAST_TRIES:
                again = max(again // 2, LEAST_TRIES)
            tally.waits += 1
            mover.wait()
            _still_here(born)
            deadline = 0.0  # a new iteration has a budget of its own: ask for it
    finally:
        _stats.fold(tally)


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
    if _hub.generation != born:
        raise TransferClosedError("the transfer belongs to the process that made it, and this is a fork of it")
