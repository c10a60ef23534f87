"""Request bodies, described: so that ``shutil.copyfileobj(request.stream, file)`` splices the socket into the file.

A body is a socket with a remaining length, below layers that have read ahead of it and count what passes. Each
layer describes itself by what is below it:

======================  ==============  ====================================  =============================
class                   below           read ahead                            counter
======================  ==============  ====================================  =============================
gunicorn Body           ``reader``      ``buf``, taken off ``length`` before  ``reader.length``
gunicorn SocketUnreader ``sock``        ``buf``, also the *next* request's
gevent.pywsgi Input     ``rfile``       in ``rfile``                          ``position``
Werkzeug LimitedStream  ``_stream``                                           ``_pos``
Django LimitedStream    ``_read``                                             ``_pos``
Django WSGIRequest      ``_stream``                                           ``_read_started``
======================  ==============  ====================================  =============================

Chunked bodies, HTTP/2, TLS and bodies that end with the connection keep their own ``read``.

A description takes no byte before the copy runs. The wrapper's own ``read`` tells the end of a body, its errors and its
limits. An object without the attributes in this table is declined.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import gzc

from .._own import is_exactly
from .._row import Row, Unknown

Describe = Callable[[Any], Any]

#: Up to so many bytes a body keeps its own ``read``: describing and setting up costs what copying 100 KiB does.
#: CPU per request of gunicorn 27, stock against spliced: 225 to 375 us at 60 kB, 425 to 425 us at 120 kB, 1400
#: to 600 us at 500 kB.
LEAST = 128 * 1024


def _stream_below(obj: object) -> Any:
    """The description of ``obj`` if a stream socket is below, as it is; None for everything else."""
    try:
        source = gzc.source(obj)
    except Exception:  # noqa: BLE001 - closed, or no source at all; or anybody's answer to a question of ours (R2)
        return None
    return source if source.kind is gzc.Kind.STREAM else None


def _counted(below: Any, left: int, settle: Callable[[int], None]) -> Any:
    """``below`` up to ``left`` bytes, told to ``settle``; the wrapper's own ``read`` has the last word."""
    return below.limited(max(0, left)).settling(settle).slow_below(LEAST).confirming_end()


# -- gunicorn ----------------------------------------------------------------------------------------------


def _cut(holder: Any, count: int) -> bytes:
    """Take up to ``count`` bytes off ``holder.buf``, and leave it as gunicorn does: positioned at its end."""
    data: bytes = holder.buf.getvalue()
    if data:
        holder.buf = io.BytesIO()
        holder.buf.write(data[count:])
    return data[:count]


def _body(self: Any) -> Any:
    """The rest of a body of known length; what follows it in the unreader is the next request's."""
    reader = self.reader
    if not is_exactly(reader, "gunicorn.http.body", "LengthReader"):
        return None
    unreader = reader.unreader
    below = is_exactly(unreader, "gunicorn.http.unreader", "SocketUnreader") and _stream_below(unreader.sock)
    if not below:
        return None

    def take(count: int) -> bytes:
        # Body asks for at least 1 KiB; what it keeps of that is off ``length`` already, and would be again.
        kept = _cut(self, count)
        reader.length += len(kept)
        return kept or _cut(unreader, count)

    def settle(count: int) -> None:
        reader.length -= count

    left = reader.length + len(self.buf.getvalue())
    return _counted(below.heading(take), left, settle).translating(_marking(self))


def _marking(body: Any) -> Callable[[BaseException], BaseException]:
    """gunicorn >= 27 does not reuse a connection on which reading a body failed."""

    def mark(exc: BaseException) -> BaseException:
        if isinstance(exc, Exception) and hasattr(body, "failed"):
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

    return _counted(below.heading(ask), self.content_length - self.position, settle)


# -- Werkzeug ----------------------------------------------------------------------------------------------


def _werkzeug_stream(self: Any) -> Any:
    """What may still be read up to the limit: Content-Length, or the most that the application accepts."""
    if not is_exactly(self, "werkzeug.wsgi", "LimitedStream"):
        return None
    below = _stream_below(self._stream)
    if below is None:
        return None

    def settle(count: int) -> None:
        self._pos += count

    def translate(exc: BaseException) -> BaseException:
        if isinstance(exc, (OSError, ValueError)):
            try:
                self.on_disconnect(error=exc)
            except Exception as seen:  # noqa: BLE001 - ClientDisconnected, whatever that is in this version
                return seen
        return exc

    return _counted(below, self.limit - self._pos, settle).translating(translate)


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

    return _counted(below, self.limit - self._pos, settle)


def _django_request(self: Any) -> Any:
    """The request's stream, until something has put a copy in memory in its place."""
    below = _stream_below(self._stream)
    if below is None:
        return None

    def begin(_count: int) -> bytes:
        self._read_started = True  # from now on request.body says that it is too late
        return b""

    return below.heading(begin).translating(_unreadable).confirming_end()


def _unreadable(exc: BaseException) -> BaseException:
    if isinstance(exc, OSError):
        seen: OSError = sys.modules["django.http.request"].UnreadablePostError(*exc.args)
        seen.__cause__ = exc
        return seen
    return exc


# -- rows --------------------------------------------------------------------------------------------------


def _row(module: str, owner: str, describe: Describe, witness: str, *knows: str) -> Row:
    """Adds ``describe`` to a class whose method ``witness`` mentions the attributes it relies on."""

    def make(_missing: object) -> Describe:
        method = getattr(getattr(sys.modules[module], owner), witness, None)
        code = getattr(method, "__code__", None)  # not what is below a wrapper, which wants to see every call
        absent = set(knows).difference(code.co_names if code is not None else ())
        if absent:
            raise Unknown(f"{module}.{owner}.{witness} no longer mentions {', '.join(sorted(absent))}")
        return describe_or_decline

    def describe_or_decline(self: Any) -> Any:
        try:
            return describe(self)
        except Exception:  # noqa: BLE001 - another version, a subclass without our ``__init__``, anybody's stream (R2)
            return None

    return Row(module, f"{owner}.__gzc_source__", make)


GUNICORN = (_row("gunicorn.http.body", "Body", _body, "read", "buf", "getvalue", "BytesIO"),)
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
