"""The loop.

Rules of this file: the only loop over bytes, and the only place that counts them. It does not know what
it moves, nor between what.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from . import _hub, _stats
from ._endpoint import Sink
from ._errors import TransferClosedError
from ._movers import Mover
from ._stats import Tally

#: How often a full sink is tried again at once before the greenlet waits in the hub. A peer on another
#: core drains meanwhile, and a wake-up costs more than a call: file to unix socket gained 10 % with two, tcp
#: was unchanged. A source that is empty is better waited for: asking it again cost 7 % of unix to unix.
RETRIES = 2


def pump(mover: Mover, left: float, sink: Sink, tally: Tally, observers: Sequence[Callable[[int], None]] = ()) -> None:
    """Call ``mover`` until ``left`` bytes are delivered or its source ends; tell ``observers`` after each step.

    Waits on the one end that can be the cause of an EAGAIN, and goes through the loop when the hub's turn
    is over. Whatever ends it, ``tally.moved`` is what was delivered.
    """
    tries = RETRIES
    born = _hub.generation
    turn = _hub.turn()
    deadline = 0.0
    _stats.under_way.add(tally)
    try:
        if turn is not None and turn.again(monotonic()):
            _hub.breathe()
            _still_here(born)
        while left > 0:
            try:
                moved = mover(left)
            except BlockingIOError:
                blocked_on = mover.blocked_on
                if not blocked_on.waitable:
                    raise  # an object of somebody else's in non-blocking mode: what it took only it knows
                mover.unsure = False
                if tries > 0 and blocked_on is sink:
                    tries -= 1
                    continue
                tally.waits += 1
                blocked_on.wait()
                _still_here(born)
                mover.woken = True
                deadline = 0.0  # a new iteration has a budget of its own: ask for it
                continue
            if moved == 0:
                mover.unsure = False
                return
            left -= moved
            tally.moved += moved
            mover.unsure = mover.woken = False
            tries = RETRIES
            for observer in observers:
                observer(moved)
            if left > 0 and turn is not None and (now := monotonic()) >= deadline:
                if turn.over(now):
                    _hub.breathe()
                    _still_here(born)
                deadline = turn.deadline
    finally:
        _stats.fold(tally)


def _still_here(born: int) -> None:
    """Stop a greenlet that woke up in a forked child: the parent's copy of it moves these bytes (M19)."""
    if _hub.generation != born:
        raise TransferClosedError("the transfer belongs to the process that made it, and this is a fork of it")
