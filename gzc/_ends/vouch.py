"""One type's word for its objects, and what takes it back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import BuiltinMethodType, FunctionType, MethodType
from typing import Any, Generic, TypeVar

from .._hub.waiting import READ, WRITE
from .description import End

_E = TypeVar("_E", bound=End)

#: What gzc asks of an object that it goes below, in place of its ``read`` or ``write``: which descriptor, and where in
#: it (hard case R9); and what answers for all methods, or for the type. Not ``close``, which is never called.
_ASKED = ("tell", "seek", "seekable", "fileno", "flush", "__getattribute__", "__class__")

#: The methods that matter, by direction: through which an object's bytes pass, and what is asked in their place.
METHODS = {
    READ: (
        *("recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into"),
        *("read", "readinto", "read1", "readinto1", "readall", "readline", "peek", "__iter__", "__next__"),
        *("readable", *_ASKED),
    ),
    WRITE: ("send", "sendall", "sendmsg", "sendto", "write", "writelines", "writeall", "writable", *_ASKED),
}

#: And what is derived of them, by C alone: ``builtin_method``, as ``FileIO.read`` is since Python 3.12.
_BOUND = (BuiltinMethodType, MethodType)

IMMUTABLE_TYPE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE: nobody can patch such a class


def name_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def of_class(cls: type, name: str) -> Any:
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


def made_by(cls: type, method: Any, adder: Any = None) -> bool:
    """Whether the module of ``cls`` made ``method``, or that of ``adder``; C code is what it always was.

    A dunder that another module has added to the class vouches for methods of the class's own module and of the
    adder's, and not for a tracer's around them.
    """
    method = getattr(method, "__func__", method)
    made_in = getattr(method, "__globals__", None)
    return made_in is None or made_in.get("__name__") == cls.__module__ or made_in is getattr(adder, "__globals__", 0)


def replaced_methods(cls: type, methods: tuple[str, ...], adder: Any = None) -> set[str]:
    """Those of ``methods`` that are no longer as ``cls`` and its bases were written."""
    written = ((owner, name, method) for owner in cls.__mro__ for name, method in vars(owner).items())
    return {name for owner, name, method in written if name in methods and not made_by(owner, method, adder)}


def below_seam(method: Any) -> Any:
    """What a seam of gzc's own stands in place of, and passes on; None where ``method`` is none."""
    made_in = getattr(method, "__globals__", {}).get("__name__", "")
    return getattr(method, "__wrapped__", None) if made_in.partition(".")[0] == "gzc" else None


#: Names beside ``METHODS`` that are checked for the types in ``known_types``. A wrapper that describes itself says by
#: its description what is below it.
OF_KNOWN_TYPES = ("closed", "raw", "getbuffer", "getvalue")


@dataclass(frozen=True)
class Vouch(Generic[_E]):
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
            now = of_class(self.cls, name)
            if now is not method and (method is None or below_seam(now) is not method):
                return name
        return ""

    def _first(self, names: Any) -> str:
        """Which of ``names`` to speak of: one that ``cls`` has, too, if there is."""
        found = [name for name in self.ordered if name in names]
        return next((name for name in found if hasattr(self.cls, name)), found[0])
