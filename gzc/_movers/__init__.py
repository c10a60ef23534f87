"""What a mover is: one way to move bytes, one attempt at a time.

``step`` is called with how many bytes may still be moved, and answers as a system call does: how many it delivered, 0
at end of file, -errno where ``blocked_on`` refuses. -EAGAIN means that the pump is to wait for ``blocked_on``, the one
end that can be the cause. ``Declined`` means: not me, and my hands are clean.

A mover has no loop, waits for nothing but its own call in the pool, and books no bytes. What a step has delivered is
known when it returns: a call that completes later (MSG_ZEROCOPY, io_uring) has no place here.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from .._ends.run import Reader, RunEnd, Writer
from .._kernel import errnos, retries, syscalls


class Declined(Exception):
    """This mover cannot serve this pair; nothing it took is lost.

    number
        The errno that the kernel answered, or 0.
    refusal
        Whether the fast path is lost by it: not so where the next mover is as good, and may decline in turn.
    """

    def __init__(self, why: str, number: int = 0, *, refusal: bool = True) -> None:
        super().__init__(why)
        self.number = number
        self.refusal = refusal


class Mover(ABC):
    """What the pump needs of each."""

    name: ClassVar[str]
    #: Whether it stands in only for bytes that are not in the page cache, not for a call that was refused.
    only_when_cold: ClassVar[bool] = False
    #: Errnos that mean "not me", with the evidence.
    declines: ClassVar[Mapping[int, str]] = {}

    #: System calls made, or calls of an object's own methods.
    calls = 0
    #: Set right before a call that moves bytes, cleared by the pump once the result is booked. If an exception comes in
    #: between, the result is lost, and the transfer asks ``moved_before``.
    in_call = False
    #: The end waited for since the last byte moved; the pump resets it. An EAGAIN of this end is suspect.
    waited_for: RunEnd | None = None
    #: How often that end had been waited for before.
    _in_vain = 0
    #: -errno of the source, met while its earlier bytes were still to be delivered. The kernel reports it once
    #: (ECONNRESET), so the step after those bytes answers it.
    behind = 0
    #: Set by the pump: whether the hub's budget is spent already. Each transfer still gets one short step in each loop
    #: iteration.
    over_budget = False

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self.reader = reader
        self.writer = writer
        self.blocked_on: RunEnd = writer

    @abstractmethod
    def step(self, left: float) -> int:
        """Try once to move up to ``left`` bytes: how many were delivered, 0 at end of file, -errno of ``blocked_on``.

        :raises Declined: this mover cannot go on; another may.
        """

    def moved_before(self, exc: BaseException) -> int | None:
        """How many bytes a step delivered before its call raised ``exc``; None when nobody can know.

        A system call answers, and never raises: it was a signal handler, or another thread.
        """
        return None

    def close(self, exact: bool) -> bytes:
        """End this mover's turn, and return what it took from the source and did not deliver.

        :param exact: whether its counts are known to be true.
        """
        return b""

    def wait(self) -> None:
        """Wait in the hub for ``blocked_on``."""
        end = self.blocked_on
        end.wait()
        self._in_vain = self._in_vain + 1 if self.waited_for is end else 0
        self.waited_for = end

    def refused(self, answer: int) -> int:
        """What a step answers to -errno of the kernel.

        :raises Declined: it means "not me"; or it is an EAGAIN that cannot come from ``blocked_on``.
        """
        if answer == syscalls.AGAIN:
            if self._is_in_vain():
                raise Declined("EAGAIN of the file system, while the end is ready", -answer)
            return answer
        why = self.declines.get(-answer)
        if why is None:
            return answer
        errnos.remember_missing(self.name, -answer)
        raise Declined(f"{errno.errorcode[-answer]}, {why}", -answer)

    def _is_in_vain(self) -> bool:
        """Whether ``blocked_on`` was waited for, and the kernel calls it ready, again and again."""
        if self.waited_for is not self.blocked_on:
            return False
        if not self.waited_for.ready():  # somebody else was quicker
            self._in_vain = 0
            return False
        return self._in_vain >= retries.IN_VAIN - 1
