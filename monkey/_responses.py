"""Descriptions of what frameworks and middlewares put around a file: ranges, proxies, scopes.

Rules of this file: they describe and do not perform. A part that was begun, or an attribute that is not there,
is declined (None), and the object's own methods are used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import gzc

from . import _seam
from ._ledger import Row
from ._wsgi import added, below

#: What ``__next__`` of Werkzeug's range calls of its own.
_STEPS = ("_next", "_first_iteration", "_next_chunk")


def _werkzeug_range(self: Any) -> Any:
    """``_RangeWrapper``: it seeks at its first iteration, if what it wraps can."""
    try:
        start, count = self.start_byte, self.byte_range
        if self.read_length or self.end_reached or not self.seekable or count is None:
            return None
        inner = self.iterable
    except AttributeError:
        return None
    if not _seam.is_own(self, "werkzeug.wsgi", *_STEPS):
        return None
    if gzc.source(inner).kind is not gzc.Kind.FILE:
        return None

    end = start + count
    position = start

    def consumed(moved: int) -> None:
        nonlocal position
        position += moved
        self.read_length, self.end_reached = position, position >= end
        if not self.end_reached:  # it goes on by iteration
            inner.seek(position)

    return gzc.source(gzc.section(inner, start, count)).settling(consumed)


def _werkzeug_file(self: Any) -> Any:
    """Werkzeug's own ``FileWrapper``, for servers that have none."""
    file = getattr(self, "file", None)
    return None if file is None else gzc.source(file)


def _whitenoise_slice(self: Any) -> Any:
    """``SlicedFile``: it has sought already, and counts what remains."""
    try:
        inner, remaining = self.fileobj, self.remaining
    except AttributeError:
        return None

    def consumed(moved: int) -> None:
        self.remaining -= moved

    return gzc.source(inner).limited(max(0, remaining)).settling(consumed)


def _django_file(self: Any) -> Any:
    """``File`` and ``FieldFile`` forward to the file that a storage gave them."""
    file = getattr(self, "file", None)
    return None if file is None else gzc.source(file)


def _sentry_scope(self: Any) -> Any:
    """``_ScopedResponse``: each block is taken in the scope of the request, and there is no code in a file."""
    return below(getattr(self, "_response", None))


def _falcon_part(self: Any) -> Any:
    """``_BoundedFile``, a range: it has sought already, and counts what remains."""
    try:
        inner, remaining = self.fh, self.remaining
    except AttributeError:
        return None

    def consumed(moved: int) -> None:
        self.remaining -= moved

    return gzc.source(inner).limited(max(0, remaining)).settling(consumed)


def _bottle_range(original: Callable[..., Any]) -> Callable[..., Any]:
    """The replacement of ``_rangeiter``: a part of a file that can be read, where it was a generator."""

    @wraps(original)
    def _rangeiter(fp: Any, offset: int, limit: int, *args: Any, **kwargs: Any) -> Any:
        try:
            return gzc.section(fp, offset, limit)
        except (TypeError, ValueError, OSError):
            return original(fp, offset, limit, *args, **kwargs)

    return _rangeiter


#: What ``_closeiter`` closes can be read, if it can: Bottle then gives it to the server's file wrapper.
_bottle_read = property(lambda self: self.iterator.read)


def _bottle_closing(self: Any) -> Any:
    iterator = getattr(self, "iterator", None)
    return gzc.source(iterator) if isinstance(iterator, gzc.section) else None


WERKZEUG = (
    Row("werkzeug.wsgi", "_RangeWrapper.__gzc_source__", added(_werkzeug_range)),
    Row("werkzeug.wsgi", "FileWrapper.__gzc_source__", added(_werkzeug_file)),
)
WHITENOISE = (Row("whitenoise.responders", "SlicedFile.__gzc_source__", added(_whitenoise_slice)),)
FALCON = (Row("falcon.routing.static", "_BoundedFile.__gzc_source__", added(_falcon_part)),)
DJANGO = (Row("django.core.files.base", "File.__gzc_source__", added(_django_file)),)
SENTRY = (Row("sentry_sdk.integrations.wsgi", "_ScopedResponse.__gzc_source__", added(_sentry_scope)),)
BOTTLE = (
    Row(
        *("bottle", "_rangeiter", _bottle_range),
        knows=frozenset({"fp", "offset", "limit", "seek", "read"}),
        caller="static_file",
    ),
    Row("bottle", "_closeiter.read", lambda _missing: _bottle_read),
    Row("bottle", "_closeiter.__gzc_source__", added(_bottle_closing)),
)
