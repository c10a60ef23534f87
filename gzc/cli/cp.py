"""``gzc cp SRC DST``: copy between files, sockets and pipes, and say how it went.

The copy is one ``gzc.copy``. An observer counts and draws the bar, which does not leave the fast path.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import stat
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import gevent
from gevent import socket

import gzc

from . import INTERRUPTED, Failure, _address, _stop
from ._voice import say
from ._words import extra, moved, said, size

#: Seconds after the last byte in which a peer may take it, and close, before we do. Closing at once what has
#: unread bytes in it sends a reset, which may overtake bytes of ours.
LINGER = 2.0

#: Seconds before a progress bar is drawn at all.
DELAY = 0.5


def define(parser: ArgumentParser) -> None:
    """The arguments of ``gzc cp``."""
    parser.add_argument("src", metavar="SRC", help="a file, tcp://host:port, unix:path, or - for standard input")
    parser.add_argument(
        "dst", metavar="DST", help="a file or folder, tcp://host:port, unix:path, or - for standard output"
    )
    parser.add_argument("-p", "--preserve", action="store_true", help="of a file keep mode and times, too")
    parser.add_argument("--no-progress", action="store_true", help="draw no progress bar, also on a terminal")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing unless something fails")
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="give up on a socket that is not ready for so long"
    )
    parser.epilog = (
        "Sockets are connected to, and their writing half is closed after the last byte. What was written to DST"
        " stays when the copy is interrupted. The progress bar is part of the extra gzc[cli]."
    )


def main(options: Namespace) -> int:
    """Copy, and say what moved how; words about what was written where that fails in the middle."""
    if options.timeout is not None and options.timeout <= 0:
        options.error("--timeout must be positive")
    logging.getLogger("gzc").addHandler(logging.NullHandler())  # refusals are told at the end
    try:
        src, dst = End(options.src, options.timeout), End(options.dst, options.timeout, like=options.src)
    except ValueError as exc:
        options.error(str(exc))
    if options.preserve and not (src.path and dst.path):
        options.error("-p is for files")
    with contextlib.ExitStack() as open_ends:
        reader = open_ends.enter_context(src.reading())
        if dst.path and _same(reader, dst.path):
            raise Failure(f"{src} and {dst} are the same file")
        writer = open_ends.enter_context(dst.writing())
        expected = _expected(reader)
        with gzc.trace() as trace, _told(src, dst, expected) as done, _progress(options, expected) as step:
            began = monotonic()
            source = reader if step is None else gzc.observe(reader, step)
            if gzc.explain(source, writer).mechanism != "userspace":
                _stop.between_steps()
            done.append(gzc.copy(source, writer))
            dst.finish(writer)
            took = monotonic() - began
    if options.preserve:
        shutil.copystat(src.path, dst.path)
    if not options.quiet:
        _tell(src, dst, done[0], took, trace)
    return 0


class End:
    """One of the two ends, as it was given: a path, an address, or a standard stream."""

    def __init__(self, text: str, timeout: float | None, like: str = "") -> None:
        self._text = text
        self._timeout = timeout
        self._address: _address.Address | None = None
        self.path = ""
        if text.startswith(("tcp://", "unix:")):
            self._address = _address.parse(text.removeprefix("tcp://"))
        elif text != "-":
            # Into a folder under the name it had, as cp does.
            self.path = os.path.join(text, os.path.basename(like)) if like and os.path.isdir(text) else text

    def __str__(self) -> str:
        return self.path or self._text

    @contextlib.contextmanager
    def reading(self) -> Iterator[Any]:
        with self._opened("rb", 0, "standard input") as end:
            yield end

    @contextlib.contextmanager
    def writing(self) -> Iterator[Any]:
        with self._opened("wb", 1, "standard output") as end:
            yield end

    @contextlib.contextmanager
    def _opened(self, mode: str, descriptor: int, name: str) -> Iterator[Any]:
        if self._text == "-":
            self._text = name
        try:
            opened = self._open(mode, descriptor)
        except OSError as exc:
            raise Failure(f"{self}: {said(exc)}") from None
        with opened:
            yield opened

    def _open(self, mode: str, descriptor: int) -> Any:
        if self.path:
            return open(self.path, mode, buffering=0)
        if self._address is None:
            forbidden = os.O_WRONLY if mode == "rb" else os.O_RDONLY  # as that of a closed stream is, too
            if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == forbidden:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            return open(descriptor, mode, buffering=0, closefd=False)
        connection = self._address.connect(self._timeout)
        connection.settimeout(self._timeout)
        return connection

    def finish(self, writer: Any) -> None:
        """Tell a peer that this was all, and let it take the last bytes before the connection is closed."""
        if self._address is None:
            return
        writer.shutdown(socket.SHUT_WR)
        with gevent.Timeout(LINGER, False):  # type: ignore[arg-type]
            while writer.recv(65536):
                pass


def _same(reader: Any, path: str) -> bool:
    with contextlib.suppress(OSError, AttributeError, ValueError):
        return os.path.samestat(os.fstat(reader.fileno()), os.stat(path)) and os.path.isfile(path)
    return False


def _expected(reader: Any) -> int | None:
    """How many bytes there are to copy, where that is known."""
    status = os.fstat(reader.fileno())
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        return None  # a size of 0 proves nothing: /proc
    return max(0, status.st_size - int(reader.tell()))


@contextlib.contextmanager
def _told(src: End, dst: End, expected: int | None) -> Iterator[list[int]]:
    """What interrupts the copy is told together with what was written until then; the list is for a whole copy's."""
    whole_copy: list[int] = []
    try:
        yield whole_copy
    except (OSError, KeyboardInterrupt, gzc.Error, TypeError) as exc:
        transfers = gzc.transfers_of(exc)
        done = transfers[-1].moved if transfers else sum(whole_copy)
        least = "" if not transfers or transfers[-1].exact else "at least "
        whole = "" if expected is None else f" of {expected}"
        text = f"{least}{done}{whole} bytes were written to {dst}"
        if isinstance(exc, KeyboardInterrupt):
            raise Failure(f"interrupted: {text}", INTERRUPTED) from None
        where = src if transfers and _at_source(transfers[-1], exc) else dst
        raise Failure(f"{where}: {said(exc)}: {text}") from None


def _at_source(transfer: gzc.Transfer, exc: BaseException) -> bool:
    """Whether an error can only be the source's: writing knows neither of these."""
    reading = transfer.plan.source.kind is gzc.Kind.STREAM and transfer.plan.sink.kind is not gzc.Kind.STREAM
    return isinstance(exc, IsADirectoryError) or (reading and isinstance(exc, (ConnectionError, TimeoutError)))


@contextlib.contextmanager
def _progress(options: Namespace, expected: int | None) -> Iterator[Callable[[int], None] | None]:
    """What is to be told of each step: a bar's, on a terminal; None elsewhere."""
    if options.quiet or options.no_progress or not sys.stderr.isatty():
        yield None
        return
    try:
        tqdm = extra("tqdm", "the progress bar").tqdm
    except Failure as failure:
        say(f"gzc cp: {failure} (or --no-progress)")
        yield None
        return
    tqdm.monitor_interval = 0  # a thread that would look after bars that nobody feeds
    with tqdm(
        *(None, None, expected),
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        delay=DELAY,
        leave=False,
        file=sys.stderr,
        dynamic_ncols=True,
    ) as bar:
        yield _feeding(bar)


def _feeding(bar: Any) -> Callable[[int], None]:
    """Tell the bar ten times a second: telling it of every step took 10 % of file to unix socket."""
    pending, due = 0, 0.0

    def step(count: int) -> None:
        nonlocal pending, due
        pending += count
        now = monotonic()
        if now >= due:
            bar.update(pending)
            pending, due = 0, now + 0.1

    return step


def _tell(src: End, dst: End, count: int, took: float, trace: gzc.trace) -> None:
    figures = trace.figures()
    rate = f", {size(count / took)}/s" if took > 0 and count else ""
    by = moved(figures)
    say(f"{src} -> {dst}: {size(count)} in {took:.2f} s{rate}{f', by {by}' if by else ''}")
    if count:
        calls = sum(row["calls"] for row in figures["moved"].values())
        waits = sum(row["waits"] for row in figures["moved"].values())
        say(f"  {count} bytes, {calls} calls, {waits} waits")
    for refusal in figures["refused"]:
        say(f"  not zero-copy: {refusal['why']}")
