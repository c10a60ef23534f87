"""Whether an exception came out of a signal handler."""

from __future__ import annotations

import signal


def from_signal_handler(exc: BaseException) -> bool:
    """Whether a Python signal handler raised ``exc``, as the ``signal.alarm`` idiom does.

    A handler runs between two instructions of whatever code it interrupts: what a call had done by then, or whether it
    had begun, nobody can know. Asked where an exception has left a step; for what the kernel says, see
    ``syscalls.answer``.
    """
    handlers = {_code(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    step = exc.__traceback__
    while step is not None:
        if step.tb_frame.f_code in handlers:
            return True
        step = step.tb_next
    return False


def _code(handler: object) -> object:
    while hasattr(handler, "func"):  # functools.partial
        handler = handler.func
    own = getattr(handler, "__code__", None) or getattr(handler, "__func__", None)
    return getattr(own, "__code__", own) or getattr(type(handler).__call__, "__code__", None)
