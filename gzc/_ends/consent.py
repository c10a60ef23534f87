"""Who may be bypassed: a file number is no consent.

GzipFile, SSLSocket, a chunked HTTPResponse, a counting subclass: all have a ``fileno()``, and going below
them would be corruption. A type vouches for its objects, by registration or by a ``__gzc_source__`` or
``__gzc_sink__`` of its own, and the vouching holds only while nothing more derived overrides a method that
matters. TLS, counters and decompressors drop out with no special case.

Rules of this file: it decides, it knows no concrete type, and it never calls a method of the object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from types import BuiltinMethodType, FunctionType, MethodType
from typing import Any, Generic, TypeVar

from .._hub import waiting as _hub
from .description import End, Sink, Source

_E = TypeVar("_E", bound=End)

#: What gzc asks of an object that it goes below, in place of its ``read`` or ``write``: which descriptor, and where in
#: it (hard case R9); and what answers for all methods, or for the type. Not ``close``, which is never called.
_ASKED = ("tell", "seek", "seekable", "fileno", "flush", "__getattribute__", "__class__")

#: The methods that matter, by direction: through which an object's bytes pass, and what is asked in their place.
METHODS = {
    _hub.READ: (
        *("recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into"),
        *("read", "readinto", "read1", "readinto1", "readall", "readline", "peek", "__iter__", "__next__"),
        *("readable", *_ASKED),
    ),
    _hub.WRITE: ("send", "sendall", "sendmsg", "sendto", "write", "writelines", "writeall", "writable", *_ASKED),
}

#: And what is derived of them, by C alone: ``builtin_method``, as ``FileIO.read`` is since Python 3.12.
_BOUND = (BuiltinMethodType, MethodType)

_IMMUTABLE_TYPE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE: nobody can patch such a class


def name_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _of_class(cls: type, name: str) -> Any:
    """The attribute of a class; None also where a metaclass, or a descriptor for instances only, raises."""
    try:
        return getattr(cls, name, None)
    except Exception:  # noqa: BLE001 - what answers so is not asked again
        return None


def _forwards(method: Any, inner: object, cls: type) -> bool:
    """Whether ``method``, found in an instance's ``__dict__``, only forwards to ``inner``.

    gevent's FileObjects and tempfile's wrappers keep bound methods of the object below them there; these
    delegates are no override (M18). A function around one is, unless ``cls``'s own module made it.
    """
    if type(method) is FunctionType and hasattr(method, "__wrapped__"):
        if method.__globals__.get("__name__") != cls.__module__:
            return False
        method = method.__wrapped__
    return issubclass(type(method), _BOUND) and method.__self__ is inner


def _made_by(cls: type, method: Any, adder: Any = None) -> bool:
    """Whether the module of ``cls`` made ``method``, or that of ``adder``; C code is what it always was.

    Who adds a dunder to somebody else's class knows its methods as they were written, and those that he has
    added himself, not what a tracer has wrapped around them meanwhile.
    """
    method = getattr(method, "__func__", method)
    made_in = getattr(method, "__globals__", None)
    return made_in is None or made_in.get("__name__") == cls.__module__ or made_in is getattr(adder, "__globals__", 0)


def _replaced(cls: type, methods: tuple[str, ...], adder: Any = None) -> set[str]:
    """Those of ``methods`` that are no longer as ``cls`` and its bases were written."""
    written = ((owner, name, method) for owner in cls.__mro__ for name, method in vars(owner).items())
    return {name for owner, name, method in written if name in methods and not _made_by(owner, method, adder)}


def _below_seam(method: Any) -> Any:
    """What a seam of gzc's own stands in place of, and passes on; None where ``method`` is none."""
    made_in = getattr(method, "__globals__", {}).get("__name__", "")
    return getattr(method, "__wrapped__", None) if made_in.partition(".")[0] == "gzc" else None


#: What is asked, beside these, of the types that gzc knows itself: a wrapper says by its description what is below it.
_OF_KNOWN_TYPES = ("closed", "raw", "getbuffer", "getvalue")


@dataclass(frozen=True)
class _Vouch(Generic[_E]):
    """``describe`` may be called for objects of ``cls`` while ``names`` of it are still the ``pristine`` ones.

    methods, ordered
        What nothing more derived may override, and the order in which it is spoken of.
    inner
        The attribute with the object below, when instances keep delegates to its methods.
    absent
        Where instances keep delegates: the methods that the class lacks, so that one put there is an override, too.
    declining
        Why ``describe`` gives None, unless it is because of something below.
    """

    cls: type
    describe: Callable[[Any], _E | None]
    methods: frozenset[str]
    ordered: tuple[str, ...]
    inner: str
    declining: str
    absent: frozenset[str]
    names: tuple[str, ...]
    pristine: object
    look: Callable[[type], object] | None

    def override(self, obj: object) -> str:
        """What takes the vouching back for ``obj``, in words; empty when nothing does."""
        cls, methods = type(obj), self.methods
        if self.look is not None and (patched := self._patched()):
            return f"whose {patched} was replaced in the class"
        if cls is not self.cls:
            for derived in cls.__mro__[: cls.__mro__.index(self.cls)]:
                if not vars(derived).keys().isdisjoint(methods):
                    below = "" if derived is cls else f" in {name_of(derived)}"
                    return f"which overrides {self._first(vars(derived).keys())}{below}"
        if not cls.__dictoffset__:  # no attribute of its own; to ask for ``__dict__`` runs gevent's ``__getattr__``
            return ""
        own = getattr(obj, "__dict__", None)
        if not own:
            return ""
        names = own.keys() & methods
        if not names:
            return ""
        inner = getattr(obj, self.inner) if self.inner else self
        for name in names:
            method = own[name]
            if issubclass(type(method), _BOUND) and method.__self__ is inner:
                continue
            # Werkzeug's range keeps there, as a flag, whether it is ``seekable``.
            if type(method) is not bool and not _forwards(method, inner, self.cls):
                return f"whose {name} was replaced in the object"
        return ""

    def _patched(self) -> str:
        """The method of the class itself that somebody has replaced, as tracers and mocks do; empty when none is."""
        if self.absent:
            for cls in self.cls.__mro__[:-1]:
                if not vars(cls).keys().isdisjoint(self.absent):
                    return self._first(self.absent & vars(cls).keys())
        try:
            if self.look(self.cls) == self.pristine:  # type: ignore[misc] # it is there where this is asked
                return ""
        except AttributeError:  # one of them is gone
            pass
        pristine = self.pristine if isinstance(self.pristine, tuple) else (self.pristine,)
        for name, method in zip(self.names, pristine, strict=True):
            now = _of_class(self.cls, name)
            if now is not method and (method is None or _below_seam(now) is not method):
                return name
        return ""

    def _first(self, names: Any) -> str:
        """Which of ``names`` to speak of: one that ``cls`` has, too, if there is."""
        found = [name for name in self.ordered if name in names]
        return next((name for name in found if hasattr(self.cls, name)), found[0])


class _Register(Generic[_E]):
    """What has been vouched for in one direction.

    refusal
        The object that was refused last, and why: words for whoever looked at it in order to describe another. Were
        another thread to refuse one meanwhile, only the words would be wrong.
    """

    def __init__(self, direction: str, dunder: str) -> None:
        self.direction = direction
        self.dunder = dunder
        self.refusal = ""
        self._vouches: dict[type, _Vouch[_E]] = {}
        self._found: dict[type, tuple[object, _Vouch[_E] | None]] = {}

    def add(
        self,
        cls: type,
        describe: Callable[[Any], _E | None],
        inner: str = "",
        declining: str = "",
        *,
        asks: tuple[str, ...] = _OF_KNOWN_TYPES,
    ) -> None:
        if not isinstance(cls, type):
            raise TypeError(f"{cls!r} is not a class")
        self._vouches[cls] = self._vouch(cls, describe, inner, declining, asks)
        self._found.clear()

    def _vouch(
        self,
        cls: type,
        describe: Callable[[Any], _E | None],
        inner: str = "",
        declining: str = "",
        asks: tuple[str, ...] = (),
    ) -> _Vouch[_E]:
        methods, names = METHODS[self.direction] + asks, tuple[str, ...]()
        if not cls.__flags__ & _IMMUTABLE_TYPE:
            names = tuple(n for n in methods if _of_class(cls, n) is not None)
        look = attrgetter(*names) if names else None
        pristine = look(cls) if look else ()
        # gzc may have been loaded after a tracer; who registers a class, or gives it a dunder, knows how it is now.
        unknown = _replaced(cls, names) if asks else ()
        standing: tuple[object, ...] = pristine if len(names) > 1 else (pristine,) if names else ()
        below = [_below_seam(method) for method in standing]  # seams of gzc's own come and go
        if unknown or any(below):
            known = (None if name in unknown else method for name, method in zip(names, standing, strict=True))
            pristine = tuple(under or method for under, method in zip(below, known, strict=True))
        absent = frozenset(methods).difference(names) if inner else frozenset()
        declining = declining or "which describes nothing below it"
        return _Vouch(cls, describe, frozenset(methods), methods, inner, declining, absent, names, pristine, look)

    def _lookup(self, cls: type) -> _Vouch[_E] | None:
        for base in cls.__mro__:
            if base in self._vouches:
                return self._vouches[base]
            describe = vars(base).get(self.dunder)
            if callable(describe):
                own = _made_by(base, describe) or not _replaced(base, METHODS[self.direction], describe)
                return self._vouch(base, describe) if own else None
        return None

    def find(self, cls: type) -> _Vouch[_E] | None:
        try:
            hook = getattr(cls, self.dunder, None)  # it may be added to a class, and taken away again
        except Exception:  # noqa: BLE001 - a metaclass that answers so
            hook = None
        found = self._found.get(cls)
        if found is None or found[0] is not hook:
            if len(self._found) > 1000:  # somebody makes classes by the request; do not keep them all
                self._found.clear()
            found = self._found[cls] = hook, self._lookup(cls)
        return found[1]

    def vouch(self, obj: object) -> _Vouch[_E] | None:
        """Who vouches for ``obj``; None if nobody does, or an override takes that back."""
        found = self.find(type(obj))
        why = "which nobody vouches for" if found is None else found.override(obj)
        if not why:
            return found
        self.refuse(obj, why)
        return None

    def describe(self, obj: object) -> _E | None:
        """The description of ``obj`` by whoever may vouch for it, or None: only its own methods may be used."""
        found = self.vouch(obj)
        if found is None:
            return None
        self.refusal = ""
        described = found.describe(obj)
        if described is None and not self.refusal:
            self.refuse(obj, found.declining)
        return described

    def refuse(self, obj: object, why: str) -> None:
        """Note why ``obj`` may not be bypassed."""
        self.refusal = f"{name_of(type(obj))}, {why}"

    def why(self, obj: object) -> str:
        """Why ``obj`` has just been refused: itself, or the innermost object below it that was."""
        name = name_of(type(obj))
        return self.refusal if self.refusal.startswith(f"{name}, ") else f"{name} over {self.refusal}"


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
    carries data in that direction, or tells the position or the descriptor. A class can vouch for itself with
    ``__gzc_source__`` and ``__gzc_sink__`` methods instead.
    """
    if source is not None:
        sources.add(cls, source, asks=())
    if sink is not None:
        sinks.add(cls, sink, asks=())
