"""Who may be bypassed: a file number is no consent.

GzipFile, SSLSocket, a chunked HTTPResponse, a counting subclass: all have a ``fileno()``, and going below
them would be corruption. A type vouches for its objects, by registration or by a ``__gzc_source__`` or
``__gzc_sink__`` of its own, and the vouching holds only while nothing more derived overrides a method that
matters. TLS, counters and decompressors drop out with no special case.

This module knows no concrete type and never calls a method of the object.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Generic, TypeVar

from .._hub.waiting import READ, WRITE
from .description import End, Sink, Source
from .vouch import (
    IMMUTABLE_TYPE,
    METHODS,
    OF_KNOWN_TYPES,
    Vouch,
    below_seam,
    made_by,
    name_of,
    of_class,
    replaced_methods,
)

_E = TypeVar("_E", bound=End)


class _Register(Generic[_E]):
    """What has been vouched for in one direction.

    refusal
        The object refused last, and why, for the text of an error or of a plan. Threads share it; a race between them
        spoils only the text.
    """

    def __init__(self, direction: str, dunder: str) -> None:
        self.direction = direction
        self.dunder = dunder
        self.refusal = ""
        self._vouches: dict[type, Vouch[_E]] = {}
        self._found: dict[type, tuple[object, Vouch[_E] | None]] = {}

    def add(
        self,
        cls: type,
        describe: Callable[[Any], _E | None],
        inner: str = "",
        declining: str = "",
        *,
        asks: tuple[str, ...] = OF_KNOWN_TYPES,
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
    ) -> Vouch[_E]:
        methods, names = METHODS[self.direction] + asks, tuple[str, ...]()
        if not cls.__flags__ & IMMUTABLE_TYPE:
            names = tuple(n for n in methods if of_class(cls, n) is not None)
        look = attrgetter(*names) if names else None
        pristine = look(cls) if look else ()
        # A tracer may have replaced methods of a known type before gzc was loaded. A class that is registered, or has a
        # dunder, is taken as it is now.
        unknown = replaced_methods(cls, names) if asks else ()
        standing: tuple[object, ...] = pristine if len(names) > 1 else (pristine,) if names else ()
        below = [below_seam(method) for method in standing]  # seams of gzc's own come and go
        if unknown or any(below):
            known = (None if name in unknown else method for name, method in zip(names, standing, strict=True))
            pristine = tuple(under or method for under, method in zip(below, known, strict=True))
        absent = frozenset(methods).difference(names) if inner else frozenset()
        declining = declining or "which describes nothing below it"
        return Vouch(cls, describe, frozenset(methods), methods, inner, declining, absent, names, pristine, look)

    def _lookup(self, cls: type) -> Vouch[_E] | None:
        for base in cls.__mro__:
            if base in self._vouches:
                return self._vouches[base]
            describe = vars(base).get(self.dunder)
            if callable(describe):
                own = made_by(base, describe) or not replaced_methods(base, METHODS[self.direction], describe)
                return self._vouch(base, describe) if own else None
        return None

    def find(self, cls: type) -> Vouch[_E] | None:
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

    def vouch(self, obj: object) -> Vouch[_E] | None:
        """Who vouches for ``obj``; None if nobody does, or an override takes that back."""
        found = self.find(type(obj))
        why = "which nobody vouches for" if found is None else found.override(obj)
        if not why:
            return found
        self.refuse(obj, why)
        return None

    def describe(self, obj: object) -> _E | None:
        """The description of ``obj`` by whoever may vouch for it, or None: only its own methods may be used.

        Objects of a known class itself, with no attribute of their own, are seen through here: nearly all are such, and
        calls are what small copies cost (M16).
        """
        cls = type(obj)
        found = self._vouches.get(cls)
        try:
            known = (
                found is not None
                and not found.absent
                and not (cls.__dictoffset__ and obj.__dict__)
                and (found.look is None or found.look(cls) == found.pristine)
            )
        except AttributeError:  # a method is gone
            known = False
        if not known:
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


sources: _Register[Source] = _Register(READ, "__gzc_source__")
sinks: _Register[Sink] = _Register(WRITE, "__gzc_sink__")


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
