"""Request bodies, described: so that ``shutil.copyfileobj(request.stream, file)`` splices the socket into the file.

A body is a socket with a remaining length, below layers that have read ahead of it and count what passes. Each
layer describes itself by what is below it:

======================  ==============  ====================================  =============================
class                   below           read ahead                            counter
======================  ==============  ====================================  =============================
gunicorn SocketUnreader ``sock``        ``buf``, also the *next* request's
gunicorn Body           ``reader``      ``buf``, taken off ``length`` before  ``reader.length``
gevent.pywsgi Input     ``rfile``       in ``rfile``                          ``position``
Werkzeug LimitedStream  ``_stream``                                           ``_pos``
Django LimitedStream    ``_read``                                             ``_pos``
Django WSGIRequest      ``_stream``                                           ``_read_started``
======================  ==============  ====================================  =============================

Chunked bodies, HTTP/2, TLS and bodies that end with the connection keep their own ``read``.

Rules of this file: it describes, and never takes a byte itself but in a function that runs while the copy does.
The end of a body, its errors and its limits are the wrapper's own code's business. What has not the attributes
it is known by is declined.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import gzc

from ._ledger import Row

Describe = Callable[[Any], Any]


def _stream_below(obj: object) -> Any:
    """The description of ``obj`` if a stream socket is below, as it is; None for everything else."""
    source = gzc.source(obj)
    return source if source.kind is gzc.Kind.STREAM else None


def _is(obj: object, module: str, name: str) -> bool:
    """Whether ``obj`` is of that very class; a subclass may see to things its own way."""
    return type(obj) is getattr(sys.modules.get(module), name, None)


# -- gunicorn ----------------------------------------------------------------------------------------------


def _cut(holder: Any, count: int) -> bytes:
    """Take up to ``count`` bytes off ``holder.buf``, and leave it as gunicorn does: positioned at its end."""
    data: bytes = holder.buf.getvalue()
    if data:
        holder.buf = io.BytesIO()
        holder.buf.write(data[count:])
    return data[:count]


def _unreader(self: Any) -> Any:
    """What was read while looking for the end of the headers, then the socket."""
    below = _stream_below(self.sock)
    return below and below.heading(lambda count: _cut(self, count))


def _body(self: Any) -> Any:
    """The rest of a body of known length; what follows it in the unreader is the next request's."""
    reader = self.reader
    if not _is(reader, "gunicorn.http.body", "LengthReader"):
        return None
    below = _stream_below(reader.unreader)
    if below is None:
        return None

    def take(count: int) -> bytes:
        # Body asks for at least 1 KiB; what it keeps of that is off ``length`` already, and would be again.
        data = _cut(self, count)
        reader.length += len(data)
        return data

    def settle(count: int) -> None:
        reader.length -= count

    left = reader.length + self.buf.getbuffer().nbytes
    return below.heading(take).limited(left).settling(settle).failing(_marking(self)).ending()


def _marking(body: Any) -> Callable[[Exception], Exception]:
    """gunicorn >= 26 does not reuse a connection on which reading a body failed."""

    def mark(exc: Exception) -> Exception:
        if hasattr(body, "failed"):
            body.failed = True
        return exc

    return mark


# -- gevent.pywsgi -----------------------------------------------------------------------------------------


def _input(self: Any) -> Any:
    """The rest of a body of known length, for which the client may be waiting to be asked (100-continue)."""
    if self.chunked_input or self.content_length is None:
        return None
    below = _stream_below(self.rfile)
    if below is None:
        return None

    def ask(_count: int) -> bytes:
        self._send_100_continue()
        return b""

    def settle(count: int) -> None:
        self.position += count

    return below.heading(ask).limited(self.content_length - self.position).settling(settle).ending()


# -- Werkzeug ----------------------------------------------------------------------------------------------


def _werkzeug_stream(self: Any) -> Any:
    """What may still be read up to the limit: Content-Length, or the most that the application accepts."""
    if not _is(self, "werkzeug.wsgi", "LimitedStream"):
        return None
    below = _stream_below(self._stream)
    if below is None:
        return None

    def settle(count: int) -> None:
        self._pos += count

    def translate(exc: Exception) -> Exception:
        if isinstance(exc, (OSError, ValueError)):
            try:
                self.on_disconnect(error=exc)
            except Exception as seen:  # noqa: BLE001 - ClientDisconnected, whatever that is in this version
                return seen
        return exc

    left = max(0, self.limit - self._pos)
    return below.limited(left).settling(settle).failing(translate).ending()


# -- Django ------------------------------------------------------------------------------------------------


def _django_stream(self: Any) -> Any:
    """What may still be read up to Content-Length; of the stream below only its bound ``read`` is kept."""
    stream = getattr(self._read, "__self__", None)
    if stream is None or stream.read != self._read:
        return None
    below = _stream_below(stream)
    if below is None:
        return None

    def settle(count: int) -> None:
        self._pos += count

    return below.limited(max(0, self.limit - self._pos)).settling(settle).ending()


def _django_request(self: Any) -> Any:
    """The request's stream, until something has put a copy in memory in its place."""
    below = _stream_below(self._stream)
    if below is None:
        return None

    def begin(_count: int) -> bytes:
        self._read_started = True  # from now on request.body says that it is too late
        return b""

    return below.heading(begin).failing(_unreadable).ending()


def _unreadable(exc: Exception) -> Exception:
    if isinstance(exc, OSError):
        seen: Exception = sys.modules["django.http.request"].UnreadablePostError(*exc.args)
        seen.__cause__ = exc
        return seen
    return exc


# -- rows --------------------------------------------------------------------------------------------------


def _row(module: str, owner: str, describe: Describe, witness: str, *knows: str) -> Row:
    path = f"{owner}.__gzc_source__"
    return Row(module, path, lambda _missing: describe, knows=frozenset(knows), witness=f"{owner}.{witness}")


GUNICORN = (
    _row("gunicorn.http.unreader", "SocketUnreader", _unreader, "chunk", "sock", "recv"),
    _row("gunicorn.http.body", "Body", _body, "read", "buf", "getvalue", "BytesIO"),
)
PYWSGI = (
    _row(
        *("gevent.pywsgi", "Input", _input, "_do_read"),
        *("rfile", "content_length", "position", "_send_100_continue"),
    ),
)
WERKZEUG = (
    _row(
        *("werkzeug.wsgi", "LimitedStream", _werkzeug_stream, "readinto"),
        *("_stream", "limit", "_pos", "on_exhausted", "on_disconnect"),
    ),
)
DJANGO = (
    _row("django.core.handlers.wsgi", "LimitedStream", _django_stream, "read", "_read", "_pos", "limit"),
    _row(
        *("django.core.handlers.wsgi", "WSGIRequest", _django_request, "read"),
        *("_read_started", "_stream", "UnreadablePostError"),
    ),
)
