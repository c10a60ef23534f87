"""Random histories of copies, and a plain queue of bytes that knows what must have come of them.

Rules: the model is what was fed, how much of it was taken, and what must have come out; it knows nothing of
mechanisms. Every count a transfer tells is compared with it at once, every byte that comes out where it comes out.
A failure found here becomes a named test below the machine, by the steps that hypothesis prints.

``HYPOTHESIS_PROFILE=nightly`` tries thousands of histories, ``GZC_FUZZ_EXAMPLES`` any number; the default is a few
for each run of the tests. ``GZC_FUZZ_SHRINK=1`` makes a failing one smaller.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import gevent
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

import gzc

from .._ends import KIB, Ends, descriptors_are, own_descriptors, payload
from .._figures import count as counted
from .._fuzz_ends import SINKS, SOURCES, FileSource, SocketSink
from .._inside import _claims, _disk, _pipe, _storage, _syscalls, _turn
from .._pairs import raised

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
PROFILE = settings(
    max_examples=int(os.environ.get("GZC_FUZZ_EXAMPLES", "20000" if NIGHTLY else "300")),
    deadline=None,
    print_blob=True,
    # What the kernel and threads do in between differs from run to run: a history is not made smaller
    # unless that is asked for, and is printed as it was.
    phases=[Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if "GZC_FUZZ_SHRINK" in os.environ else [])],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
STEPS = 60

#: Out of the steps that the kernel and gzc think in: pages, config.small, chunks, pipes.
SIZES = st.one_of(
    st.integers(1, 100),
    st.sampled_from([4096, 8192, 16 * KIB, 32 * KIB, 32 * KIB + 1, 64 * KIB, 64 * KIB + 1]),
    st.integers(1, 100_000),
)
PATIENCE = 10.0  # seconds until a hang is a failure
MOST = 400 * KIB  # of bytes in one history


class Struck(BaseException):
    """No Exception at all."""


class Mine(Exception):
    """What the program itself throws into a copy."""


STRATEGIES: list[st.SearchStrategy[tuple[str, dict[str, Any]]]] = []


def step(
    when: Callable[[Any], bool] = lambda self: True, /, often: int = 1, **drawn: st.SearchStrategy[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A step of a history, with what is drawn for it; it does nothing while `when(machine)` is false.

    A history is drawn as a whole before it is tried, other than by hypothesis's own state machines: whether a copy
    has come to its end is the kernel's to say, and a thread's, and what is drawn must not depend on it.
    """

    def decorate(method: Callable[..., None]) -> Callable[..., None]:
        STRATEGIES.extend([st.tuples(st.just(method.__name__), st.fixed_dictionaries(drawn))] * often)

        @wraps(method)
        def guarded(self: Any, **arguments: Any) -> None:
            if when(self):
                counted("steps of histories")
                method(self, **arguments)

        return guarded

    return decorate


class Copying:
    """One source and one sink at a time; copies run in a greenlet while the far ends act."""

    def __init__(self) -> None:
        self._config = {name: getattr(gzc.config, name) for name in ("chunk", "small", "hub_budget", "disk_grace")}
        self._storage = _storage.storage
        _warm_up()
        self._before = own_descriptors()
        self._folder = tempfile.TemporaryDirectory(prefix="gzc-fuzz-")
        self._ends = Ends(Path(self._folder.name))
        self.greenlet: gevent.Greenlet | None = None
        self.transfer: gzc.Transfer | None = None
        self.limit: gzc.limit | None = None
        self.thrown: BaseException | None = None
        self.told: list[int] = []
        self.held = b""  # taken from the source by the transfer, not delivered
        self.forks = 0

    def begin(self, source: str, sink: str, chunk: int, small: int, budget: float, remote: bool) -> None:
        gzc.config.chunk, gzc.config.small, gzc.config.hub_budget = chunk, small, budget
        gzc.config.disk_grace = PATIENCE
        if remote:
            _storage.storage = lambda fd: _storage.Storage.REMOTE
        self._new_source(source)
        self._new_sink(sink)

    def _new_source(self, kind: str) -> None:
        self.source = SOURCES[kind](self._ends)
        self.fed = b""
        self.taken = 0
        self.error_seen = False

    def _new_sink(self, kind: str) -> None:
        self.sink = SINKS[kind](self._ends)
        self.out = bytearray()  # all that must come out, or the content of a file
        self.drained = 0
        self.position = 0

    # -- the model ---------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self.greenlet is not None

    def _put(self, data: bytes) -> None:
        """`data` reached the sink."""
        if not self.sink.random_access or self.sink.appends:
            self.out += data
            self.position = len(self.out)
            return
        if not data:
            return
        self.out.extend(bytes(max(0, self.position - len(self.out))))
        self.out[self.position : self.position + len(data)] = data
        self.position += len(data)

    def _book(self) -> None:
        """The run has ended: compare what it says with what it can have done."""
        transfer, greenlet = self.transfer, self.greenlet
        assert transfer is not None
        assert greenlet is not None
        assert greenlet.ready()
        self.greenlet = None
        how, what = greenlet.value if isinstance(greenlet.value, tuple) else ("raised", greenlet.value)
        assert transfer.exact
        moved = transfer.moved - self._moved_before
        available = self.held + self.fed[self.taken :]
        assert 0 <= moved <= len(available), "bytes out of nothing"
        assert sum(self.told) == moved
        self._put(available[:moved])
        held = available[moved : moved + transfer.in_flight]
        assert len(held) == transfer.in_flight
        consumed = moved + len(held) - len(self.held)
        assert consumed >= 0
        self.taken += consumed
        self.held = held
        if self._count is not None:
            assert transfer.moved <= self._count
        if self.limit is not None:
            self._limited -= consumed
            assert self.limit.remaining == self._limited >= 0
        if how == "done":
            self._ended_well(transfer, what)
        else:
            self._ended_badly(transfer, what)

    def _ended_well(self, transfer: gzc.Transfer, what: object) -> None:
        assert what == transfer.moved
        assert transfer.in_flight == 0
        enough = transfer.moved == self._count or (self.limit is not None and self._limited == 0)
        ended = self.source.ended and self.taken == len(self.fed)
        # A thread may have seen the end of a file before it grew.
        ended |= self.source.ends_by_itself and self.taken >= self._fed_before
        assert enough or ended or (self.source.broken and self.error_seen), "an end that is none"
        self.transfer = self.limit = None

    def _ended_badly(self, transfer: gzc.Transfer, what: Any) -> None:
        if what is self.thrown:
            pass
        elif isinstance(what, TimeoutError):
            assert self._timeout
        elif isinstance(what, (ConnectionResetError, BrokenPipeError)):
            assert self.source.broken or self.sink.dead
            self.error_seen = True
        else:
            raise AssertionError(f"unexpected: {what!r}") from what
        if not isinstance(what, gevent.GreenletExit) or transfer.moved or transfer.in_flight:
            assert not gzc.transfers_of(what) or gzc.transfers_of(what) == (transfer,)

    def _check_positions(self) -> None:
        if self.source.seekable:
            assert self.source.obj.tell() == self.taken
        if self.sink.random_access:
            assert self.sink.obj.tell() == self.position

    def nothing_is_out_of_place(self) -> None:
        if not self.running:
            self._check_positions()
            if not self.held:
                assert not _claims._claims

    # -- copies ------------------------------------------------------------------------------------------------------

    @step(
        lambda self: not self.running and self.transfer is None,
        count=st.none() | SIZES,
        limit=st.none() | SIZES,
        timeout=st.sampled_from([None, None, 0.001]),
        often=4,
    )
    def start(self, count: int | None, limit: int | None, timeout: float | None) -> None:
        self._count = count
        src: Any = gzc.observe(self.source.obj, self.told.append)
        self.limit = None
        if limit is not None:
            src = self.limit = gzc.limit(src, limit)
            self._limited = limit
        for end in (self.source, self.sink):
            if hasattr(end, "sock"):
                end.sock.settimeout(timeout)
        self._timeout = timeout is not None
        self.transfer = gzc.Transfer(src, self.sink.obj, count)
        self._run()

    @step(lambda self: not self.running and self.transfer is not None, often=3)
    def resume(self) -> None:
        self._run()

    def _run(self) -> None:
        transfer = self.transfer
        assert transfer is not None
        self.told.clear()
        self.thrown = None
        self._moved_before, self._fed_before = transfer.moved, len(self.fed)

        def run() -> tuple[str, object]:
            try:
                return "done", transfer.run()
            except BaseException as exc:  # noqa: BLE001 - looked at in _book
                return "raised", exc

        self.greenlet = gevent.spawn(run)
        gevent.sleep(0)  # as far as it comes without the loop

    @step(lambda self: self.running, turns=st.integers(1, 6), often=3)
    def let_it_run(self, turns: int) -> None:
        assert self.greenlet is not None
        for _ in range(turns):
            _turn.yield_to_loop()
        if self.greenlet.ready():
            self._book()

    @step(lambda self: self.running, kind=st.sampled_from([gevent.GreenletExit, gevent.Timeout, Mine, Struck]), often=2)
    def strike(self, kind: type[BaseException]) -> None:
        """A kill, a timeout, an exception of the program's own."""
        self._strike(kind)

    def _strike(self, kind: type[BaseException]) -> None:
        assert self.greenlet is not None
        self.thrown = kind()
        self.greenlet.kill(self.thrown, timeout=PATIENCE)
        assert self.greenlet.ready(), "it cannot be killed"
        self._book()

    @step(lambda self: self.running, often=2)
    def finish(self) -> None:
        """With a far end that drains, a copy whose source has ended comes to its end."""
        assert self.greenlet is not None
        deadline = time.monotonic() + PATIENCE
        while not self.greenlet.ready():
            assert time.monotonic() < deadline, f"a hang: {self.transfer!r}"
            if not self._drain(64 * KIB) and not self._must_end():
                self._strike(gevent.Timeout)
                return
            gevent.sleep(0)
            _turn.yield_to_loop()
        self._book()

    def _must_end(self) -> bool:
        """Whether the source will end; that the sink is dead nobody notices who waits for a source (hard case G4)."""
        return bool(self.source.ends_by_itself or self.source.ended or self.source.broken)

    @step(lambda self: not self.running and self.transfer is not None)
    def end(self) -> None:
        """Reclaim what is in flight."""
        self._end()

    def _end(self) -> None:
        assert self.transfer is not None
        assert self.transfer.reclaim() == self.held
        self.held = b""
        with pytest.raises(gzc.TransferClosedError):
            self.transfer.run()
        self.transfer = self.limit = None
        assert not _claims._claims

    @step(lambda self: not self.running and self.held)
    def its_ends_are_busy(self) -> None:
        with pytest.raises(gzc.BusyError):
            gzc.copy(self.source.obj, self.sink.obj, 1)

    # -- the program, between copies ---------------------------------------------------------------------------------

    @step(lambda self: not self.running and self.taken < len(self.fed) and not self.source.broken, count=SIZES)
    def read(self, count: int) -> None:
        self._read(count)

    def _read(self, count: int) -> None:
        data = self.source.read(count)
        assert data
        counted("bytes compared", len(data))
        assert data == self.fed[self.taken : self.taken + len(data)]
        self.taken += len(data)

    @step(lambda self: not self.running and not self.sink.dead, data=st.binary(min_size=1, max_size=100))
    def write(self, data: bytes) -> None:
        self._put(data[: self.sink.write(data)])

    @step(lambda self: not self.running and self.source.seekable, share=st.integers(0, 64))
    def seek_the_source(self, share: int) -> None:
        self.taken = self.source.obj.seek(len(self.fed) * share // 64)

    @step(lambda self: not self.running and self.sink.random_access and not self.sink.appends, share=st.integers(0, 80))
    def seek_the_sink(self, share: int) -> None:
        """Also beyond its end, which leaves a hole once something is written there."""
        self.position = self.sink.obj.seek(len(self.out) * share // 64)

    @step(lambda self: not self.running and not self.held, sink=st.sampled_from(sorted(SINKS)))
    def another_sink(self, sink: str) -> None:
        self._drop_transfer()
        self._sink_is_right()
        self.sink.close()
        self._new_sink(sink)

    @step(
        lambda self: not self.running and not self.held and (self.source.ended or self.source.broken),
        source=st.sampled_from(sorted(SOURCES)),
    )
    def another_source(self, source: str) -> None:
        self._drop_transfer()
        self.source.close()
        self._new_source(source)

    def _drop_transfer(self) -> None:
        if self.transfer is not None:
            self._end()

    @step(on=st.booleans())
    def patch(self, on: bool) -> None:
        """Rows come and go while copies run; nobody's bytes notice."""
        if on:
            gzc.patch_all(stdlib=False)
        else:
            gzc.unpatch_all()

    @step(lambda self: self._can_send_file(), count=SIZES)
    def send_file(self, count: int) -> None:
        """socket.sendfile, gevent's own or the seam in its place, to its end."""
        sock = self.sink.sock
        sock.settimeout(None)
        sending = gevent.spawn(sock.sendfile, self.source.obj, self.taken, count)  # stock misplaces it with 0
        available = self.fed[self.taken :][:count]
        self.held, position = available, self.taken  # what may come out meanwhile
        self.taken += len(available)
        self.greenlet = sending
        with gevent.Timeout(PATIENCE):
            while not sending.ready():
                self._drain(64 * KIB)
                gevent.sleep(0)
        self.greenlet, self.held = None, b""
        assert sending.get() == len(available)
        assert self.source.obj.tell() == position + len(available)
        self._put(available)

    def _can_send_file(self) -> bool:
        idle = not self.running and self.transfer is None
        ends = isinstance(self.source, FileSource) and type(self.sink) is SocketSink and not self.sink.dead
        return idle and ends and self.taken < len(self.fed)

    @step(lambda self: not self.running and self.forks < 2)
    def fork(self) -> None:
        """The child has no claim, no pipe, and may not go on with the parent's transfer."""
        self.forks += 1
        child = os.fork()
        if not child:
            status = 1
            try:
                status = 0 if self._in_child() else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0

    def _in_child(self) -> bool:
        clean = not _claims._claims and not _pipe._idle and not any(p.reader >= 0 for p in _pipe._alive)
        if self.transfer is not None:
            try:
                self.transfer.run()
            except gzc.TransferClosedError:
                self.transfer.close()
            else:
                return False
        return clean and gzc.copy(b"child", bytearray()) == 5

    # -- the far ends, at any time -----------------------------------------------------------------------------------

    @step(lambda self: not self.source.ended and not self.source.broken and len(self.fed) < MOST, count=SIZES, often=5)
    def feed(self, count: int) -> None:
        data = payload(count, len(self.fed))
        self.fed += data[: self.source.feed(data)]

    @step(lambda self: not self.source.ended and not self.source.broken and not self.source.ends_by_itself)
    def half_close(self) -> None:
        self.source.end()
        self.source.ended = True

    @step(lambda self: self.source.can_reset and not self.source.broken)
    def reset(self) -> None:
        self.source.reset()
        self.source.broken = True

    @step(lambda self: not self.sink.dead and not self.sink.random_access, count=SIZES, often=3)
    def drain(self, count: int) -> None:
        self._drain(count)

    def _drain(self, count: int) -> int:
        data = self.sink.drain(count) if not self.sink.dead and not self.sink.random_access else b""
        to_come = self.held + self.fed[self.taken :] if self.running else b""
        assert data == (bytes(self.out) + to_come)[self.drained :][: len(data)]
        counted("bytes compared", len(data))
        self.drained += len(data)
        return len(data)

    @step(lambda self: self.sink.can_die and not self.sink.dead)
    def the_far_end_goes(self) -> None:
        self.sink.die()
        self.sink.dead = True

    # -- the end -----------------------------------------------------------------------------------------------------

    def _sink_is_right(self) -> None:
        """All that was put must be there, and nothing else."""
        if self.sink.dead:
            return
        if self.sink.random_access:
            assert self.sink.content() == bytes(self.out)
            counted("bytes compared", len(self.out))
            return
        flushing = gevent.spawn(self.sink.flush)
        with gevent.Timeout(PATIENCE):
            while self._drain(64 * KIB) or not flushing.ready():
                gevent.sleep(0)
        flushing.get()
        assert self.drained == len(self.out)

    def conclude(self) -> None:
        if self.running:
            self._strike(gevent.GreenletExit)
        self._drop_transfer()
        self._check_positions()
        self._sink_is_right()
        self._source_is_right()

    def nothing_is_left(self) -> None:
        assert not _claims._claims
        assert [_syscalls.unread(pipe.reader) for pipe in _pipe._idle] == [0] * len(_pipe._idle)
        descriptors_are(self._before)

    def _source_is_right(self) -> None:
        """What was not taken is still there to be read."""
        while self.taken < len(self.fed) and not self.source.broken:
            self._read(64 * KIB)

    def clean_up(self) -> None:
        gzc.unpatch_all()
        if self.greenlet is not None:
            self.greenlet.kill()
        for end in (getattr(self, "source", None), getattr(self, "sink", None)):
            if end is not None:
                end.close()
        self._ends.__exit__()
        self._folder.cleanup()
        _storage.storage = self._storage
        for name, value in self._config.items():
            setattr(gzc.config, name, value)


def _warm_up() -> None:
    """What opens descriptors once and for all: the hub, its pool."""
    _disk._pool().apply(int)
    _turn.yield_to_loop()


SETTING = st.fixed_dictionaries(
    {
        "source": st.sampled_from(sorted(SOURCES)),
        "sink": st.sampled_from(sorted(SINKS)),
        "chunk": st.sampled_from([4096, 16 * KIB, 256 * KIB]),
        "small": st.sampled_from([0, 32 * KIB]),
        "budget": st.sampled_from([1e-9, 0.005]),
        "remote": st.booleans(),
    }
)


def tried(setting: dict[str, Any], history: list[tuple[str, dict[str, Any]]]) -> None:
    """Try one history, and look at what it leaves behind."""
    machine = Copying()
    try:
        machine.begin(**setting)
        for name, arguments in history:
            getattr(machine, name)(**arguments)
            machine.nothing_is_out_of_place()
        machine.conclude()
    finally:
        machine.clean_up()
    machine.nothing_is_left()
    counted("histories of copies")


@pytest.mark.timeout(24 * 3600 if NIGHTLY else 120)
@PROFILE
@given(setting=SETTING, history=st.lists(st.one_of(STRATEGIES), min_size=STEPS // 2, max_size=STEPS))
def test_random_histories(setting: dict[str, Any], history: list[tuple[str, dict[str, Any]]]) -> None:
    """No byte is lost, doubled or out of order, and no count is off, whatever happens in whatever order."""
    note(f"tried({setting!r}, {history!r})")
    tried(setting, history)


# -- what it has found -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("remote")
def test_a_read_of_a_file_that_is_struck_by_anything_leaves_the_count_exact(ends: Ends) -> None:
    """A read by offset takes nothing: also after an exception that is neither an Exception nor one of gevent's."""
    file, sink = ends.file(payload(KIB)), bytearray()
    transfer = gzc.Transfer(file, sink)
    copying = ends.spawn(raised, Struck, transfer.run)
    gevent.sleep(0)  # the read is in a thread
    copying.kill(Struck(), timeout=PATIENCE)
    assert copying.successful()
    assert (transfer.exact, transfer.moved, file.tell()) == (True, 0, 0)
    assert transfer.run() == KIB
    assert sink == payload(KIB)


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize("mode", ["wb", "ab"])
def test_memory_can_grow_again_while_a_thread_still_has_its_last_job(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """A thread of the pool keeps what it was given until it has given its answer, and a moment longer."""
    kept, work = [], _disk.Job._work

    def slow_to_forget(self: Any, *args: Any) -> Any:
        kept.append(args)
        return work(self, *args)

    monkeypatch.setattr(_disk.Job, "_work", slow_to_forget)
    memory = io.BytesIO(payload(100 * KIB))
    assert gzc.copy(memory, ends.file(mode=mode)) == 100 * KIB
    assert kept
    memory.seek(0, os.SEEK_END)
    memory.write(b"more")
