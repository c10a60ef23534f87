"""What an exception says about the call that it came out of."""

from __future__ import annotations

import inspect
import signal
from collections.abc import Iterator
from types import FrameType

import gevent

#: What a call raises by itself: an error, and what gevent throws into a greenlet that waits.
OWN = (OSError, ValueError, gevent.Timeout, gevent.GreenletExit)


def moved_before(exc: BaseException, own: tuple[type[BaseException], ...] = OWN) -> int | None:
    """How many bytes a call moved that raised ``exc``: 0 if it is one of its ``own``, None when nobody can know.

    A signal handler runs between two instructions of whatever code it interrupts: what a call had done by then, or
    whether it had begun, nobody can know.
    """
    return 0 if isinstance(exc, own) and not from_signal_handler(exc) else None


def from_signal_handler(exc: BaseException) -> bool:
    """Whether a Python signal handler raised ``exc``, as the ``signal.alarm`` idiom does.

    A frame of the traceback is a handler's if its code is that of an installed handler, or if one of its arguments is a
    frame object: that finds a handler which has replaced itself. A handler in C has no frame and is not found. For what
    the kernel answers, see ``syscalls.answer``.
    """
    handlers = {_code(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    step = exc.__traceback__
    while step is not None:
        frame = step.tb_frame
        if frame.f_code in handlers or any(isinstance(value, FrameType) for value in _arguments(frame)):
            return True
        step = step.tb_next
    return False


def _code(handler: object) -> object:
    while hasattr(handler, "func"):  # functools.partial
        handler = handler.func
    own = getattr(handler, "__code__", None) or getattr(handler, "__func__", None)
    return getattr(own, "__code__", own) or getattr(type(handler).__call__, "__code__", None)


def _arguments(frame: FrameType) -> Iterator[object]:
    code, values = frame.f_code, frame.f_locals
    for name in code.co_varnames[: code.co_argcount]:
        yield values.get(name)
    if code.co_flags & inspect.CO_VARARGS:
        yield from values.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount], ())
