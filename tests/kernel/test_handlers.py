"""What a signal handler raises is its program's, whatever it looks like; and what a fork leaves running the parent's.

Rules: the handler is a real one; the call that it strikes in is made, or not made, before. That call is made in the
thread of the hub: Python runs a handler in the main thread only, so a signal raised in a thread of the pool strikes
whatever runs there meanwhile, the greenlet that feeds the source among them.
"""

import errno
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import gevent
import pytest

import gzc

from .._ends import MIB, PATIENCE, Ends, payload, python
from .._inside import _claims, _pipe, _syscalls
from .._pairs import HEAD, SINKS, SOURCES, raised

CONTENT = payload(MIB + 3)


class Stop(BaseException):
    """An interruption of our own; no Exception, as those of gevent."""


SAYS_NOTHING = {
    "a wake-up socket that is full": BlockingIOError(errno.EAGAIN, "wake-up"),
    "a file that is not there": FileNotFoundError(errno.ENOENT, "config"),
    "a file that may not be read": PermissionError(errno.EPERM, "config"),
    "a bad argument": OSError(errno.EINVAL, "bad"),
}


Alarm = Callable[[BaseException], None]


@pytest.fixture
def alarm() -> Iterator[Alarm]:
    """Let the handler of SIGUSR1 raise what this is called with."""
    before = signal.getsignal(signal.SIGUSR1)

    def answer(exc: BaseException) -> None:
        def handler(number: int, frame: object) -> NoReturn:
            raise exc

        signal.signal(signal.SIGUSR1, handler)

    yield answer
    signal.signal(signal.SIGUSR1, before)


#: gzc's calls, with harmless arguments, and the functions of ``os`` that they make.
WITHIN: dict[str, tuple[str, tuple[Any, ...]]] = {
    "sendfile": ("_sendfile", (0, 0, 0, 1)),
    "splice": ("_splice", (0, 0, 1)),
    "copy_file_range": ("_copy_file_range", (0, 0, 1)),
    "read": ("_read", (0, 1)),
    "write": ("_write", (0, b"x")),
    "read_at": ("_pread", (0, 1, 0)),
    "write_at": ("_pwrite", (0, b"x", 0)),
    "byte_at": ("_pread", (0, 0)),
    "read_direct": ("_preadv", (0, 1, 0)),
    "is_cached": ("_preadv", (0, 0, 1)),
    "duplicate": ("_dup", (0, [])),
}


@pytest.mark.parametrize("what", SAYS_NOTHING)
@pytest.mark.parametrize("call", WITHIN)
def test_what_a_handler_raises_inside_a_call_is_not_the_kernels_word(
    monkeypatch: pytest.MonkeyPatch, alarm: Alarm, call: str, what: str
) -> None:
    own = SAYS_NOTHING[what]
    alarm(own)
    inner, arguments = WITHIN[call]
    monkeypatch.setattr(_syscalls, inner, lambda *_: signal.raise_signal(signal.SIGUSR1))
    assert raised(type(own), getattr(_syscalls, call), *arguments) is own


@pytest.mark.usefixtures("in_memory")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("what", SAYS_NOTHING)
@pytest.mark.parametrize(
    ("source", "sink", "call"),
    [
        ("unix", "unix", "splice"),
        ("tcp", "tcp", "splice"),
        ("unix", "/dev/null", "splice"),
        ("unix", "file wb", "splice"),
        ("file", "unix", "sendfile"),
        ("file", "pipe", "splice"),
        ("file", "file wb", "copy_file_range"),
    ],
)
def test_what_a_signal_handler_raises_is_not_the_kernels_word(
    ends: Ends,
    monkeypatch: pytest.MonkeyPatch,
    alarm: Alarm,
    source: str,
    sink: str,
    call: str,
    what: str,
    at: int,
    when: str,
) -> None:
    """M22: taken for EAGAIN, or for "not me", the bytes of the call it struck were lost, or sent twice."""
    own = SAYS_NOTHING[what]
    given, taken = SOURCES[source](ends, CONTENT, MIB), SINKS[sink](ends)
    monkeypatch.setattr(gzc.config, "chunk", 200_000)
    alarm(own)
    real, calls, struck = getattr(_syscalls, call), 0, 0

    def strikes(*args: Any) -> int:
        nonlocal calls, struck
        calls += 1
        if when == "before" and calls == at:
            struck = calls
            signal.raise_signal(signal.SIGUSR1)
        moved: int = real(*args)
        if when == "after" and calls >= at and not struck:
            struck = calls
            signal.raise_signal(signal.SIGUSR1)
        return moved

    monkeypatch.setattr(_syscalls, call, strikes)
    transfer = gzc.Transfer(given.obj, taken.obj)
    with gevent.Timeout(PATIENCE), gzc.trace() as trace:
        assert raised(type(own), transfer.run) is own
        assert struck
        assert trace.refused == []
        if transfer.exact:
            assert transfer.run() == len(CONTENT)
    if transfer.exact:
        assert taken.content() in (None, HEAD + CONTENT)
    else:
        assert source == "file"
        with pytest.raises(gzc.TransferClosedError, match="twice"):
            transfer.run()


class Late(Exception):
    """Of a handler that has set another one before it raised this."""


def once(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)
    raise Late


def anonymous(*arguments: object) -> NoReturn:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    raise Late


CALLS = [
    ("unix", "unix", "splice"),
    ("unix", "file wb", "splice"),
    ("file", "unix", "sendfile"),
    ("file", "file wb", "copy_file_range"),
    ("memory", "unix", "write"),
    ("memory", "file wb", "write_at"),
]


@pytest.mark.usefixtures("alarm", "in_memory")
@pytest.mark.parametrize("handler", [signal.default_int_handler, once, anonymous])
@pytest.mark.parametrize(("source", "sink", "call"), CALLS)
def test_exact_is_no_lie_where_a_handler_leaves_no_trace(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, source: str, sink: str, call: str, handler: Any
) -> None:
    """M22: one in C has no frame, and one that has just set another in its place is none that is set."""
    given: Any = CONTENT if source == "memory" else SOURCES[source](ends, CONTENT, MIB).obj
    taken = SINKS[sink](ends)
    monkeypatch.setattr(gzc.config, "chunk", 200_000)
    signal.signal(signal.SIGUSR1, handler)
    real, struck = getattr(_syscalls, call), list[int]()

    def strikes(*args: Any) -> int:
        moved: int = real(*args)
        if not struck and moved > 0:
            struck.append(moved)
            signal.raise_signal(signal.SIGUSR1)
        return moved

    monkeypatch.setattr(_syscalls, call, strikes)
    transfer = gzc.Transfer(given, taken.obj)
    with gevent.Timeout(PATIENCE):
        raised(KeyboardInterrupt if handler is signal.default_int_handler else Late, transfer.run)
        assert struck
        if transfer.exact:  # FIONREAD tells
            assert source == "unix"
            assert transfer.run() == len(CONTENT)
            assert taken.content() == HEAD + CONTENT


@pytest.mark.usefixtures("in_memory")
@pytest.mark.parametrize(("source", "sink", "call"), CALLS)
def test_a_strike_between_two_calls_hides_nothing(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, alarm: Alarm, source: str, sink: str, call: str
) -> None:
    """What is known of the step before is booked once, and ``exact`` stays true."""
    given: Any = CONTENT if source == "memory" else SOURCES[source](ends, CONTENT, MIB).obj
    taken = SINKS[sink](ends)
    monkeypatch.setattr(gzc.config, "chunk", 200_000)
    transfer, own, steps = gzc.Transfer(given, taken.obj), Stop(), 0
    alarm(own)
    mover = transfer.plan.movers[0]
    real = mover.step

    def step(self: Any, left: float) -> int:
        nonlocal steps
        steps += 1
        if steps == 2:
            signal.raise_signal(signal.SIGUSR1)
        return real(self, left)

    monkeypatch.setattr(mover, "step", step)
    with gevent.Timeout(PATIENCE):
        assert raised(Stop, transfer.run) is own
        assert transfer.exact
        assert transfer.run() == len(CONTENT)
    assert taken.content() == HEAD + CONTENT


@pytest.mark.parametrize("at", [0, 1])
def test_a_descriptor_is_closed_once(monkeypatch: pytest.MonkeyPatch, alarm: Alarm, at: int) -> None:
    """Closed a second time, its number may be somebody else's."""
    alarm(Stop())
    pipe = _pipe.TransitPipe()
    numbers, real, calls = (pipe.reader, pipe.writer), _syscalls.close_popped, []

    def strikes(fds: list[int]) -> None:
        real(fds)
        calls.append(1)
        if len(calls) == at + 1:
            signal.raise_signal(signal.SIGUSR1)

    with pytest.raises(Stop):
        pipe.close(strikes)
    others = [os.open("/dev/null", os.O_RDONLY) for _ in range(at + 1)]
    assert set(others) <= set(numbers)
    del pipe
    for fd in others:
        os.fstat(fd)
        os.close(fd)


def test_a_timeout_by_signal_is_no_want_of_descriptors(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, alarm: Alarm
) -> None:
    own = TimeoutError("alarm")
    alarm(own)
    monkeypatch.setattr(_pipe, "_idle", [])
    real = _syscalls.make_pipe

    def strikes(into: list[int]) -> int:
        real(into)
        signal.raise_signal(signal.SIGUSR1)
        raise AssertionError("the handler raises")

    monkeypatch.setattr(_syscalls, "make_pipe", strikes)
    given, taken = SOURCES["unix"](ends, CONTENT, MIB), SINKS["unix"](ends)
    transfer = gzc.Transfer(given.obj, taken.obj)
    assert raised(TimeoutError, transfer.run) is own
    monkeypatch.undo()
    assert transfer.run() == len(CONTENT)
    assert taken.content() == HEAD + CONTENT


def test_claims_that_a_strike_left_go_with_the_transfer(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next object with that id would be busy for ever."""
    (here, there), (sock, far) = ends.unix(), ends.unix()
    there.sendall(b"bytes")
    there.close()
    transfer = gzc.Transfer(here, sock)

    def strikes(*_: object) -> NoReturn:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(_claims, "release", strikes)
        with pytest.raises(Stop):
            transfer.run()
    assert len(_claims._claims) == 2
    del transfer
    assert _claims._claims == {}
    assert far.recv(9) == b"bytes"


FORKED = """
import os
from gevent import socket
import gzc
a, b = socket.socketpair(); c, d = socket.socketpair()
a.sendall(b"x" * 100_000); a.shutdown(socket.SHUT_WR)
mine = os.getpid()
def observer(count):
    if os.getpid() == mine:
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0, "the child went on with the parent's copy"
try:
    moved = gzc.copy(gzc.observe(b, observer), c, 100_000)
except gzc.TransferClosedError:
    os._exit(os.getpid() == mine)
if os.getpid() != mine:
    os._exit(1)
c.close()
got = 0
while data := d.recv(100_000):
    got += len(data)
print(moved, got)
"""


def test_an_observer_that_forks_leaves_the_copy_to_the_parent() -> None:
    """D10 M19: the child comes back from it, too, in the middle of the loop."""
    assert python(FORKED) == "100000 100000\n"
