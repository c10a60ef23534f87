"""The limits a user can set, with the measurement behind each default.

A wrong value is a ValueError where it is set, never a surprise in a copy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

#: Every way gzc knows to move bytes; the last one is always possible.
MECHANISMS = ("sendfile", "splice", "copy_file_range", "userspace")

#: Linux cuts any single transfer at this many bytes, and larger counts overflow on 32-bit machines
#: (sendfile(2) NOTES; hard cases C13, F15).
MAX_CALL = 0x7FFFF000


def _bytes(least: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        number = int(str(value))
        if not least <= number <= MAX_CALL:
            raise ValueError(f"not between {least} and {MAX_CALL}")
        return number

    return check


def _seconds(value: object) -> float:
    number = float(str(value))
    if not 0 < number < 60:
        raise ValueError("not between 0 and 60")
    return number


def _mechanisms(value: object) -> frozenset[str]:
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, (list, tuple, set, frozenset)):
        raise ValueError("not a list of mechanisms")
    names = {str(name).strip() for name in given} - {""}
    unknown = names.difference(MECHANISMS[:-1])
    if unknown:
        raise ValueError(f"unknown {', '.join(sorted(unknown))}; known: {', '.join(MECHANISMS[:-1])}")
    return frozenset(names)


_CHECKS: Mapping[str, Callable[[object], object]] = {
    "chunk": _bytes(4096),
    "small": _bytes(0),
    "pipe_size": _bytes(4096),
    "hub_budget": _seconds,
    "pool_pipes": _bytes(0),
    "disk_threads": _bytes(1),
    "disk_grace": _seconds,
    "disable": _mechanisms,
}


class Config:
    """``gzc.config``. Attributes may be set at run time, or by ``GZC_CHUNK`` and so on at start.

    chunk
        Bytes one system call may move. A call on a non-blocking socket goes on as long as the peer
        drains it, so this bounds how long one call holds the hub: 1 MiB takes about 200 us on
        loopback. From a file to tcp it took 8 % less CPU than 256 KiB, and the gaps of a 1 ms ticker
        stayed the same; an unbounded call was slower.
    small
        A source known to hold no more bytes than this goes by one read and one send, which is
        cheaper than setting up a sendfile; 0 switches that off. Up to 32 KiB nothing was lost.
    pipe_size
        Bytes of a pipe between two ends. 1 MiB instead of the kernel's 64 KiB nearly halved the CPU of a
        tcp proxy (225 against 382 ms per GiB). An unprivileged user gets 64 such pipes in all.
    hub_budget
        Seconds all transfers of a hub together may hold one turn of it. 5 ms kept the gaps of a
        1 ms ticker at 6 ms with the throughput of no budget at all.
    pool_pipes
        Empty pipes kept for the next transfer; making one costs 7 us. 0 keeps none.
    disk_threads
        Threads for what may block on storage.
    disk_grace
        Seconds an interruption waits for the call that is under way on storage.
    disable
        Mechanisms not to use (``GZC_DISABLE=sendfile,...``): a kill switch for a kernel or file
        system that answers them wrongly.
    """

    chunk: int
    small: int
    pipe_size: int
    hub_budget: float
    pool_pipes: int
    disk_threads: int
    disk_grace: float
    disable: frozenset[str]

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.chunk = 1024 * 1024
        self.small = 32 * 1024
        self.pipe_size = 1024 * 1024
        self.hub_budget = 0.005
        self.pool_pipes = 8
        self.disk_threads = 4
        self.disk_grace = 1.0
        self.disable = frozenset()
        for name in _CHECKS:
            value = environ.get(f"GZC_{name.upper()}")
            if value:
                setattr(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        check = _CHECKS.get(name)
        if check is None:
            raise AttributeError(f"gzc.config has no {name!r}; known: {', '.join(_CHECKS)}")
        try:
            super().__setattr__(name, check(value))
        except ValueError as exc:
            raise ValueError(f"gzc.config.{name} (GZC_{name.upper()}) = {value!r}: {exc}") from None

    def __repr__(self) -> str:
        return "Config(" + ", ".join(f"{name}={getattr(self, name)!r}" for name in _CHECKS) + ")"


config = Config(os.environ)
