"""The log of a server: lines are written by a thread, so that nobody who does not read them stops the server.

The hub never waits for a terminal, a pipe or a disk. Lines that had to be dropped are counted, and the count is logged.
"""

from __future__ import annotations

import os
import select
import sys
import time
from _queue import SimpleQueue  # the native one: nothing of gevent's may wait here
from threading import Thread
from typing import TextIO, cast

#: Pieces that may wait to be written; what comes beyond is lost.
MOST = 1000

#: Seconds between two writes: a busy server hands over many lines at a time, and wakes the thread seldom.
PAUSE = 0.02

#: Seconds that the last lines have to be written, at the end.
LAST_WORDS = 2.0


class Log:
    """``with Log():`` it has the place of ``sys.stderr``, and never waits."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self._stream = sys.stderr
        self._number = self._stream.fileno()
        self._waiting: SimpleQueue[bytes | None] = SimpleQueue()
        #: Lines for which there was no room, and lines that could not be written: each has one writer.
        self._refused = self._failed = 0
        self._thread = Thread(target=self._run, name="gzc-log", daemon=True)

    def __enter__(self) -> Log:
        self._stream.flush()
        self._thread.start()
        sys.stderr = cast(TextIO, self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.stderr = self._stream
        self._waiting.put(None)
        self._thread.join(LAST_WORDS)

    def write(self, text: str) -> int:
        """Have ``text`` written, or count it as lost."""
        if self._waiting.qsize() < MOST:
            self._waiting.put(text.encode(errors="backslashreplace"))
        else:
            self._refused += text.count("\n")
        return len(text)

    def flush(self) -> None:
        """Nothing: what was written is on its way."""

    def fileno(self) -> int:
        """Where it writes."""
        return self._number

    def _run(self) -> None:
        goes_on, told = True, 0
        while goes_on:
            pieces = [self._waiting.get()]
            while not self._waiting.empty():
                pieces.append(self._waiting.get())
            goes_on = None not in pieces
            if lost := self._refused + self._failed - told:
                told += lost
                pieces.append(f"{lost} lines of this log were lost: nobody read them in time\n".encode())
            self._write(b"".join(filter(None, pieces)))
            if goes_on:
                time.sleep(PAUSE)

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._number, data) :]
            except BlockingIOError:  # whoever shares it has made it so
                select.select([], [self._number], [])
            except OSError:  # its reader has gone, or the disk is full
                self._failed += data.count(b"\n")
                return
