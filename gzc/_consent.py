"""Who may be bypassed: a file number is no consent.

GzipFile, SSLSocket, a chunked HTTPResponse, a counting subclass: all have a ``fileno()``, and going below
them would be corruption. A type vouches for its objects, by registration or by a ``__gzc_source__`` or
``__gzc_sink__`` of its own, and the vouching holds only while nothing more derived overrides a data
method. TLS, counters and decompressors drop out with no special case.

Rules of this file: it decides, it knows no concrete type, and it never calls a method of the object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from . import _hub
from ._endpoint import End, Sink, Source

_E = TypeVar("_E", bound=End)

#: The methods through which an object's bytes pass, by direction.
DATA_METHODS = {
    _hub.READ: (
        *("read", "readinto", "read1", "readinto1", "readall", "readline", "peek", "__iter__", "__next__"),
        *("recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into"),
    ),
    _hub.WRITE: ("write", "writelines", "writeall", "send", "sendall", "sendmsg", "sendto"),
}

_IMMUTABLE_TYPE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE: nobody can patch such a class


def _forwards(method: Any, inner: object, cls: type) -> bool:
    """Whether ``method``, found in an instance's ``__dict__``, only forwards to ``inner``.

    gevent's FileObjects and tempfile's wrappers keep bound methods of the object below them there; these
    delegates are no override (M18). A function around one is, unless ``cls``'s own module made it.
    """
    if hasattr(method, "__wrapped__"):
        if getattr(method, "__globals__", {}).get("__name__") != cls.__module__:
            return False
        method = method.__wrapped__
    return getattr(method, "__self__", None) is inner


def _made_by(cls: type, method: Any, adder: Any = None) -> bool:
    """Whether the module of ``cls`` made ``method``, or that of ``adder``; C code is what it always was.

    Who adds a dunder to somebody else's class knows its methods as they were written, and those that he has
    added himself, not what a tracer has wrapped around them meanwhile.
    """
    method = getattr(method, "__func__", method)
    made_in = getattr(method, "__globals__", None)
    return made_in is None or made_in.get("__name__") == cls.__module__ or made_in is getattr(adder, "__globals__", 0)


def _seam(now: Any, pristine: object) -> bool:
    """Whether ``now`` is a seam of gzc's own in place of ``pristine``: it passes on what that did."""
    made_in = getattr(now, "__globals__", {}).get("__name__", "")
    return made_in.partition(".")[0] == __package__ and getattr(now, "__wrapped__", None) is pristine


@dataclass(frozen=True)
class _Vouch(Generic[_E]):
    """``describe`` may be called for objects of ``cls`` while its methods are still the ``pristine`` ones.

    inner
        The attribute with the object below, when instances keep delegates to its methods.
    """

    cls: type
    describe: Callable[[Any], _E | None]
    pristine: tuple[tuple[str, object], ...]
    inner: str

    def holds_for(self, obj: object, direction: str) -> bool:
        cls = type(obj)
        for name, method in self.pristine:  # somebody patched the class itself, as tracers and mocks do
            now = getattr(self.cls, name, None)
            if now is not method and not _seam(now, method):
                return False
        if cls is not self.cls:
            for derived in cls.__mro__[: cls.__mro__.index(self.cls)]:
                if not vars(derived).keys().isdisjoint(DATA_METHODS[direction]):
                    return False
        if not cls.__dictoffset__:  # no attribute of its own; to ask for ``__dict__`` runs gevent's ``__getattr__``
            return True
        own = getattr(obj, "__dict__", None)
        if not own:
            return True
        names = own.keys() & DATA_METHODS[direction]
        return not names or (
            bool(self.inner) and all(_forwards(own[name], getattr(obj, self.inner), self.cls) for name in names)
        )


class _Register(Generic[_E]):
    """What has been vouched for in one direction."""

    def __init__(self, direction: str, dunder: str) -> None:
        self.direction = direction
        self.dunder = dunder
        self._vouches: dict[type, _Vouch[_E]] = {}
        self._found: dict[type, tuple[object, _Vouch[_E] | None]] = {}

    def add(self, cls: type, describe: Callable[[Any], _E | None], inner: str = "") -> None:
        if not isinstance(cls, type):
            raise TypeError(f"{cls!r} is not a class")
        self._vouches[cls] = self._vouch(cls, describe, inner)
        self._found.clear()

    def _vouch(self, cls: type, describe: Callable[[Any], _E | None], inner: str = "") -> _Vouch[_E]:
        pristine: tuple[tuple[str, object], ...] = ()
        if not cls.__flags__ & _IMMUTABLE_TYPE:
            names = DATA_METHODS[self.direction]
            pristine = tuple((n, getattr(cls, n)) for n in names if getattr(cls, n, None) is not None)
        return _Vouch(cls, describe, pristine, inner)

    def _lookup(self, cls: type) -> _Vouch[_E] | None:
        for base in cls.__mro__:
            if base in self._vouches:
                return self._vouches[base]
            describe = vars(base).get(self.dunder)
            if callable(describe):
                own = _made_by(base, describe) or all(
                    _made_by(owner, method, describe)
                    for owner in base.__mro__
                    for name, method in vars(owner).items()
                    if name in DATA_METHODS[self.direction]
                )
                return self._vouch(base, describe) if own else None
        return None

    def _find(self, cls: type) -> _Vouch[_E] | None:
        hook = getattr(cls, self.dunder, None)  # it may be added to a class, and taken away again
        found = self._found.get(cls)
        if found is None or found[0] is not hook:
            if len(self._found) > 1000:  # somebody makes classes by the request; do not keep them all
                self._found.clear()
            found = self._found[cls] = hook, self._lookup(cls)
        return found[1]

    def describe(self, obj: object) -> _E | None:
        """The description of ``obj`` by whoever may vouch for it, or None: only its own methods may be used."""
        found = self._find(type(obj))
        if found is None or not found.holds_for(obj, self.direction):
            return None
        return found.describe(obj)

    def permits(self, obj: object) -> bool:
        """Whether some class vouches for ``obj`` and no override takes that back."""
        found = self._find(type(obj))
        return found is not None and found.holds_for(obj, self.direction)

    def overridden(self, obj: object) -> bool:
        """Whether some class vouches for ``obj`` and an override takes that back."""
        found = self._find(type(obj))
        return found is not None and not found.holds_for(obj, self.direction)


sources: _Register[Source] = _Register(_hub.READ, "__gzc_source__")
sinks: _Register[Sink] = _Register(_hub.WRITE, "__gzc_sink__")


def register(
    cls: type,
    source: Callable[[Any], Source | None] | None = None,
    sink: Callable[[Any], Sink | None] | None = None,
) -> None:
    """Vouch for the objects of ``cls``: describe what is below them.

    :param source: called with the object, returns a description such as
        ``gzc.source(obj.inner).limited(n).settling(obj.count)``, or None to decline for this object.
    :param sink: the same for writing.

    The vouching also covers subclasses, as long as neither they nor the instance override a method that
    carries data in that direction. A class can vouch for itself with ``__gzc_source__`` and
    ``__gzc_sink__`` methods instead.
    """
    if source is not None:
        sources.add(cls, source)
    if sink is not None:
        sinks.add(cls, sink)
