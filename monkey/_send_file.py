"""A file as a response of a WSGI server: finding it, and sending it.

A response that is a file comes as the server's own ``wsgi.file_wrapper``, or as somebody's iterable around one: a
range, a tracer's scope. Which bytes of which file that is, its class describes (``__gzc_source__``), and only as
long as nothing overrides how it is iterated.

Iterating a response is always right where its file is not known. What a server would not have asked of somebody's
object is asked before the response goes out, and every exception is an answer: not known.

Headers, framing, errors and the log stay the server's. Each server's seam has a subclass of `Response`, and chooses
`send`, `send_small` or `send_blocks`, which fix the order of the writes.
"""

from __future__ import annotations

import io
import socket
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import GeneratorType
from typing import Any

from gevent import fileobject
from gevent._fileobjectposix import GreenFileDescriptorIO  # type: ignore[import-not-found]

import gzc

from . import _fast_prefix, _own, _promises
from ._file_wrapper import FileWrapper, position, widen

#: What is sent with this flag goes in one segment with what comes next. Linux's alone.
MORE = getattr(socket, "MSG_MORE", 0)

#: Results that nobody has to be asked about: nearly all of them.
PLAIN = frozenset({list, tuple, GeneratorType})

#: Files whose bytes are there when they are asked for, and what the buffered ones of them have below.
_AT_HAND: frozenset[Any] = frozenset(
    {
        *(io.BufferedReader, io.BufferedRandom, io.FileIO, io.BytesIO),
        *(tempfile._TemporaryFileWrapper, tempfile.SpooledTemporaryFile),
        *(fileobject.FileObjectPosix, fileobject.FileObjectThread, fileobject.FileObjectBlock),
    }
)
_RAW = frozenset({io.FileIO, GreenFileDescriptorIO, type(None)})

#: The modules of servers' own file wrappers, whose iteration is ``read`` and no more.
SERVERS = frozenset({"gunicorn.http.wsgi", "wsgiref.util", FileWrapper.__module__})


# -- what is below a response --------------------------------------------------------------------------------------


def below(result: object) -> Any:
    """The description of what iterating ``result`` gives, by whoever vouches for its class; None where nobody does.

    A file is no such class: iterated it gives lines, and Django's begins anew.
    """
    cls = type(result)
    source = None if cls in PLAIN else gzc.source(result, None)
    return None if source is None or hasattr(cls, "read") else source


def described(result: object) -> Any:
    """The part of a regular file that iterating ``result`` gives; None where only iteration will do."""
    if type(result) in PLAIN:
        return None
    try:
        source = below(result)
        return source if source is not None and source.kind is gzc.Kind.FILE else None
    except Exception:  # noqa: BLE001 - text, or closed, and will say so; or anybody's answer to a question of ours (R2)
        return None


def plain(file: object) -> Any:
    """The description of a regular file that ``read`` would read; None of everything else."""
    try:
        source = gzc.source(file)
        return source if source.kind is gzc.Kind.FILE else None
    except Exception:  # noqa: BLE001 - as above
        return None


def is_at_hand(file: object) -> bool:
    """Whether nobody has to wait for the bytes of ``file``.

    It is of these very types, with nobody's own object below, and has a position, which pipes and sockets have not.
    """
    return type(file) in _AT_HAND and type(getattr(file, "raw", None)) in _RAW and position(file) is not None


def go_back(file: Any, to: Any) -> None:
    """Seek to what ``position`` has told, if anything; a file that refuses stays where it is."""
    if to is None:
        return
    try:
        file.seek(to)
    except Exception:  # noqa: BLE001 - R2
        return


def _small_body(wrapper: Any, promised: int) -> bytes:
    """What iterating gives, up to ``promised`` bytes, where nobody has to wait for them.

    A server's own wrapper gives what ``read`` does: one read does for two, of which the second finds the end.
    """
    body, module = b"", type(wrapper).__module__
    if module in SERVERS and _own.is_own(wrapper, module, "__iter__", "__next__"):
        body = bytes((wrapper.filelike.read(promised) or b"")[:promised])  # somebody's read may give more
    return body if len(body) == promised else body + b"".join(_promises.rest(wrapper, promised - len(body)))


# -- sending it ------------------------------------------------------------------------------------------------------


class Response(ABC):
    """How a server sends one response, of which iterating ``result`` gives the body."""

    #: The line before a chunk, and what follows the last one.
    chunk, last = b"%x\r\n", b"\r\n0\r\n\r\n"

    #: Whether the body goes in chunks.
    chunked = False

    result: Any
    sock: Any

    @abstractmethod
    def head(self) -> bytes:
        """The headers that are not sent yet. Nothing if they were sent before, or are by this call."""

    @abstractmethod
    def write(self, block: bytes) -> None:
        """Send a block of the body as the server does, which frames it."""

    @abstractmethod
    def write_raw(self, data: bytes, flags: int = 0) -> None:
        """Send headers or framing, which are no body to be counted; with ``flags`` by the socket's own method."""

    @abstractmethod
    def write_whole(self, block: bytes) -> None:
        """Send the whole body, one ``block``, in one piece with the headers."""

    @abstractmethod
    def finish(self) -> None:
        """Send the headers where no block has done it."""

    @abstractmethod
    def moved(self, count: int) -> None:
        """Count ``count`` bytes of the body that went below the server."""

    @abstractmethod
    def cut(self) -> None:
        """End the connection after this response, which is shorter than promised: nothing else tells the client.

        Called before `write_whole`, which may have to say so in the headers, or after the last byte.
        """

    def write_rest(self, block: bytes) -> None:
        """Send a block of the body whose framing is out already."""
        self.write_raw(block)
        self.moved(len(block))

    #: What the server does about an error of its socket, as a context.
    errors: Callable[[], AbstractContextManager[Any]] = nullcontext


def send(response: Response, source: gzc.Source, promised: int) -> None:
    """Headers and ``promised`` bytes of the file: as one piece, or in chunks of no more than what every peer takes."""
    head, left, blocks = response.head(), 0, _Blocks(response.result)
    if not response.chunked:
        left = _deliver(response, head, source, promised, blocks)
    else:
        for count in _promises.chunks(promised):
            left = _deliver(response, head + response.chunk % count, source, count, blocks)
            if left:
                break
            head, source = b"\r\n", source.after(count)
        else:
            response.write_raw(response.last)
    if left:
        response.cut()


class _Blocks:
    """The blocks of a response, cut where a chunk ends: what a block has beyond that is the next chunk's."""

    def __init__(self, result: Any) -> None:
        self.begun = False
        self._result, self._kept = result, b""

    def take(self, left: int) -> Iterator[bytes]:
        """Up to ``left`` bytes."""
        if left > 0 and not self.begun:
            self.begun = True
            widen(self._result)
            self._blocks = _promises.rest(self._result, sys.maxsize)
        while left > 0 and (block := self._kept or next(self._blocks, b"")):
            self._kept, block = block[left:], block[:left]
            left -= len(block)
            yield block


def _deliver(response: Response, head: bytes, source: gzc.Source, count: int, blocks: _Blocks) -> int:
    """``head`` and ``count`` bytes of the file, or what its iteration gives where that is refused; what is missing.

    Iteration goes on from where a transfer has left the file, and never the other way round.
    """
    left, moving = count, None if blocks.begun else _fast_prefix.attempt(source, response.sock, count)
    if moving is not None and moving.plan.sink.kind is not gzc.Kind.STREAM:  # TLS, or somebody's own socket
        _fast_prefix.step_aside(moving)
        moving = None
    if moving is not None:
        move(response, head, moving)
        left -= moving.moved
    elif head:
        response.write_raw(head)
    for block in blocks.take(left):  # also of a file that is claimed by somebody, or shorter than it was
        response.write_rest(block)
        left -= len(block)
    return left


def move(response: Response, head: bytes, moving: gzc.Transfer) -> None:
    """Send ``head``, and what can be moved below."""
    with response.errors():
        if head:
            response.write_raw(head, MORE)
        try:
            _fast_prefix.run(moving)
        finally:
            response.moved(moving.moved)


def send_small(response: Response, promised: int) -> None:
    """A short body, whose bytes are at hand, in one piece with the headers.

    Asking for descriptor, size and flags cost 10 % of gunicorn's requests a second at 1 KiB.
    """
    body = _small_body(response.result, promised)
    if len(body) < promised:
        response.cut()
    response.write_whole(body)


def send_blocks(response: Response, promised: int) -> None:
    """The server's own way as far as was promised: no more is read than that."""
    widen(response.result)
    for block in _promises.rest(response.result, promised):
        response.write(block)
        promised -= len(block)
    response.finish()
    if promised:
        response.cut()
