"""Options that servers have in common: times, how many connections, the permissions of a socket.

Values that make no sense are refused here, before anything is opened.
"""

from __future__ import annotations

import math
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable


def seconds(text: str) -> float:
    """A time that an option gives, 0 among them."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise ArgumentTypeError(f"{text} is no time")
    return value


def positive(text: str) -> float:
    """A time that an option gives, and that is longer than none."""
    if not (value := seconds(text)):
        raise ArgumentTypeError("it must be positive")
    return value


def number(text: str) -> int:
    """How many an option allows, one at least."""
    if (value := int(text)) < 1:
        raise ArgumentTypeError("it must be positive")
    return value


def mode_of(text: str) -> int:
    """The permissions that ``text`` is, in octal."""
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise ArgumentTypeError(f"{text!r} is no mode: three octal digits are meant, as 660")
    return mode


def add_time(
    parser: ArgumentParser, name: str, default: float, text: str, kind: Callable[[str], float] = positive
) -> None:
    """An option that is a time in seconds."""
    parser.add_argument(name, type=kind, default=default, metavar="SECONDS", help=f"{text} (%(default)s)")


def add_bounds(parser: ArgumentParser) -> None:
    """How many may connect, and who may connect to a unix socket."""
    text = "connections at a time; more wait unaccepted (%(default)s)"
    parser.add_argument("--limit", type=number, default=1000, metavar="N", help=text)
    parser.add_argument("--mode", type=mode_of, help="of a unix socket's file, as 660 (what the umask leaves)")
