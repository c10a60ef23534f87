"""One transfer for each end and direction, and which process a transfer belongs to."""

from __future__ import annotations

from typing import ClassVar, Protocol

from .._errors import BusyError


class Claimed(Protocol):
    """What is asked of a description."""

    direction: ClassVar[str]
    obj: object
    exclusive: bool


# (id of the end, direction) -> the token of the transfer that holds it. The transfer keeps the end alive, so the id is
# true; ``setdefault`` is one atomic step also between native threads.
_claims: dict[tuple[int, str], object] = {}


def take(token: object, *ends: Claimed) -> None:
    """Hold the objects of ``ends``, each in one direction, unless a description says that nobody would be in the way.

    Two greenlets that move bytes through one end steal each other's bytes without any error, since gevent notices
    only when both *wait* (hard case B16).

    :raises BusyError: somebody else holds one. What was taken before it is to be released.
    """
    for end in ends:
        if end.exclusive and _claims.setdefault((id(end.obj), end.direction), token) is not token:
            raise BusyError(f"another transfer is {end.direction} {end.obj!r}")


def release(token: object, *ends: Claimed) -> None:
    """Let go of what ``token`` holds of ``ends``."""
    for end in ends:
        key = (id(end.obj), end.direction)
        if _claims.get(key) is token:
            del _claims[key]


#: Counts the forks this process is away from where gzc was loaded. A greenlet that was moving bytes when the
#: process forked wakes up in the child, too, with the same sockets (M19).
generation = 0


def forget() -> None:
    """In a forked child: the parent's transfers are none of this process's."""
    global generation
    generation += 1
    _claims.clear()
