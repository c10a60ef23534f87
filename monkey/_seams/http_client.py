"""``http.client``: request bodies out of files, and response bodies below their ``read``.

A file goes below ``HTTPConnection.send`` as it is: ``send`` takes files by contract, so framing, headers and the
end of the body stay http.client's own. Only chunks are framed here, larger than its 8 KiB, and only of a file whose
size is no mere claim.

The fast prefix sends what it can, and the original finds the file at its end. http.client keeps its own way for a
connection that overrides ``send``, prints what it sends or speaks TLS, for text files and for pipes.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import gzc

from .. import _fast_prefix, _own
from .._describe import added
from .._row import Row

Method = Callable[..., Any]

#: Bytes of one chunk of a chunked body, which servers limit: uWSGI to 1 MiB (hard case R10). Its size is on the wire
#: before its data, so a file that shrinks meanwhile costs the connection; http.client's own 8 KiB would be 128 of each
#: call for a MiB.
CHUNK = 256 * 1024

#: What is sent with this flag goes in one segment with what comes next. Linux's alone.
_MORE = getattr(socket, "MSG_MORE", 0)

#: Overrides of ``send`` that pass on whatever they are given, or nothing: botocore's, after an early answer
#: to ``Expect: 100-continue``.
_PASSING_ON = {("botocore.awsrequest", "AWSConnection")}


def send(original: Method) -> Method:
    """The replacement of ``HTTPConnection.send``: a plain file on a plain socket goes by sendfile(2)."""

    @wraps(original)
    def send(self: Any, data: Any) -> Any:
        send_prefix(self, data)
        return original(self, data)

    return send


def send_output(original: Method) -> Method:
    """The replacement of ``HTTPConnection._send_output``: a file is handed to ``send`` whole, not in blocks."""

    @wraps(original)
    def _send_output(self: Any, message_body: Any = None, encode_chunked: bool = False) -> Any:
        if not takes_whole(self, message_body):
            return original(self, message_body, encode_chunked)
        if encode_chunked and self._http_vsn == 11:
            return original(self, _chunks(self, message_body), False)
        return original(self, (message_body,), False)

    return _send_output


def send_prefix(connection: Any, data: Any) -> None:
    """Send of a plain file what can be sent below it; the caller's ``send`` finds the rest, or its end."""
    if type(data) is _Chunk:
        for part, send_part in ((data.head, data.send_head), (data, data.send_data)):
            sys.audit("http.client.send", connection, part)
            send_part()
        return
    if type(data) is bytes or connection.debuglevel > 0 or not _is_worthwhile(data):
        return
    if connection.sock is None and connection.auto_open:
        connection.connect()
    moving = _fast_prefix.transfer(data, connection.sock)
    if moving is not None:
        # Once, and with the file: the bytes themselves do not come by here.
        sys.audit("http.client.send", connection, data)
        _fast_prefix.run(moving)


def takes_whole(connection: Any, body: Any) -> bool:
    """Whether ``body`` may be given to the ``send`` of ``connection`` as a file, in place of its blocks."""
    if connection.debuglevel > 0 or not _is_worthwhile(body) or not _is_true(body):
        return False
    return _send_is_known(connection) and _own.is_own(connection, "http.client", "_read_readable")


def _is_true(body: Any) -> bool:
    """Whether ``body`` will do as a block: one that is false is left out, as Django's file without a name would be."""
    try:
        return bool(body)
    except Exception:  # noqa: BLE001 - http.client does not ask a file
        return False


def _is_worthwhile(file: Any) -> bool:
    """Whether so much is left of a file that it is not best sent as ever: to look at it more than once costs."""
    source = _file(file)
    return source is not None and (source.amount() or 0) > gzc.config.small


def _file(body: Any) -> Any:
    """The description of a regular binary file that ``send`` would read; None for everything else."""
    try:
        source = gzc.source(body, None)
        return source if source is not None and source.kind is gzc.Kind.FILE and hasattr(body, "read") else None
    except Exception:  # noqa: BLE001 - whatever is wrong, http.client finds it in its own time
        return None


def _send_is_known(connection: Any) -> bool:
    """Whether a file given to ``send`` reaches ours: an override may want to see bytes (hard case O9)."""
    if "send" in vars(connection):
        return False
    for cls in type(connection).__mro__:
        method = vars(cls).get("send")
        if method is not None and (cls.__module__, cls.__qualname__) not in _PASSING_ON:
            return _own.is_ours(method)
    return False


class _Chunk:
    """One chunk, as ``send`` takes it: its head, a transfer of its data, and a reader of what that leaves."""

    def __init__(self, before: bytes, file: Any, source: Any, size: int, sink: Any) -> None:
        self.head = b"%b%X\r\n" % (before, size)
        self._file = file
        self._sock = sink.obj
        self.left = size
        self.moving = _fast_prefix.transfer(source.limited(size).settling(self._past), sink)

    def _past(self, count: int) -> None:
        self.left -= count

    def send_head(self) -> None:
        """By itself it would be a segment of its own, which costs more CPU than the data's system call."""
        self._sock.sendall(self.head, _MORE)

    def send_data(self) -> None:
        """Move what goes below."""
        if self.moving is not None:
            _fast_prefix.run(self.moving)

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes of what is left of the chunk."""
        data: bytes = self._file.read(min(size, self.left))
        self.left -= len(data)
        return data


def _chunks(connection: Any, file: Any) -> Iterator[Any]:
    """The chunks of ``file`` as ``send`` takes them, framing included; the end of one goes with the next one's head."""
    end, sink = b"", gzc.sink(connection.sock)
    while source := _file(file):  # asked anew for each chunk: a file may shrink
        left = source.amount()
        if not left or not source.size_is_reliable():
            break
        chunk = _Chunk(end, file, source, min(left, CHUNK), sink)
        if chunk.moving is None:
            break  # small, or TLS
        yield chunk
        if chunk.left:
            # The rest of the body would be taken for data of this chunk.
            connection.close()
            raise ConnectionAbortedError(
                errno.ECONNABORTED, f"{file!r} became {chunk.left} bytes shorter than the chunk announced"
            )
        end = b"\r\n"
    for block in connection._read_readable(file):
        yield b"%b%X\r\n%b\r\n" % (end, len(block), block)
        end = b""
    yield b"%b0\r\n\r\n" % end


def body(response: Any) -> Any:
    """Describe what is left of the body of an ``HTTPResponse``: its buffered file, and no more than its length.

    None where the bytes are not the body's own: chunked, TLS, closed, not begun.
    """
    try:
        file, length = response.fp, response.length
        known = response.chunked is False and (isinstance(length, int) or (length is None and response.will_close))
    except Exception:  # noqa: BLE001 - a subclass that keeps its state in another way
        return None
    if file is None or not known:
        return None
    source = gzc.source(file)
    if source.kind is not gzc.Kind.STREAM:
        return None

    def consumed(count: int) -> None:
        if response.length is not None:
            response.length -= count

    def failed(exc: BaseException) -> BaseException:
        if isinstance(exc, TimeoutError):
            file.raw._timeout_occurred = True  # as ``SocketIO`` does: it refuses to be read after that
        return exc

    source = source.settling(consumed).translating(failed).confirming_end()  # ``read`` closes it (hard case O13)
    return source if length is None else source.limited(length)


ROWS = (
    Row(
        *("http.client", "HTTPConnection.send", send),
        knows=frozenset({"data", "sock", "auto_open", "connect", "debuglevel", "blocksize", "sendall"}),
    ),
    Row(
        *("http.client", "HTTPConnection._send_output", send_output),
        caller="HTTPConnection.endheaders",
        knows=frozenset({"_buffer", "send", "message_body", "_read_readable", "encode_chunked", "_http_vsn", "chunks"}),
    ),
    Row("http.client", "HTTPResponse.__gzc_source__", added(body)),
)
