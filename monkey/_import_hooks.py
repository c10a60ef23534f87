"""Patching modules when they arrive: a target that nobody has imported yet is not imported for our sake.

The module's own loader loads it. Our callback runs after the module's code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Finder:
    """First on ``sys.meta_path`` while something is awaited; finds nothing by itself."""

    def __init__(self) -> None:
        self.awaited: dict[str, list[Callable[[], None]]] = {}
        # Loaders, what they had for an ``exec_module`` of their own, ours, and for which modules.
        self._listening: list[tuple[Any, Any, Any, set[str]]] = []

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.awaited:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find and finder is not self else None
            if spec is not None:
                self._listen(spec.loader, name)
                return spec
        return None

    def _listen(self, loader: Any, name: str) -> None:
        # A loader that is a class serves frozen and built-in modules, and nobody awaits those.
        if not hasattr(loader, "exec_module") or isinstance(loader, type) or not hasattr(loader, "__dict__"):
            return
        for known, _, _, names in self._listening:
            if known is loader:
                names.add(name)
                return
        load = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            waiting = self.awaited.pop(module.__name__, [])
            self._give_back(loader, module.__name__)
            if waiting and not self.awaited:
                await_nothing()
            # It is still marked as being imported, by the machinery that called us.
            for then in waiting:
                then()

        self._listening.append((loader, vars(loader).get("exec_module"), exec_module, {name}))
        loader.exec_module = exec_module

    def _give_back(self, loader: Any, name: str) -> None:
        """Leave a loader as it was once nothing awaited is left for it: it may serve many other modules."""
        for entry in self._listening:
            if entry[0] is loader:
                entry[3].discard(name)
                if not entry[3]:
                    self._listening.remove(entry)
                    _restore(entry)
                return

    def stop(self) -> None:
        """Give all loaders back as they were."""
        self.awaited.clear()
        for entry in self._listening:
            _restore(entry)
        self._listening.clear()


def _restore(entry: tuple[Any, Any, Any, set[str]]) -> None:
    loader, before, ours, _ = entry
    if vars(loader).get("exec_module") is not ours:
        return  # somebody wraps ours, which does nothing any more
    if before is None:
        del loader.exec_module
    else:
        loader.exec_module = before


_finder = _Finder()


def await_module(name: str, then: Callable[[], None]) -> None:
    """Call ``then`` right after module ``name`` has been imported for the first time."""
    _finder.awaited.setdefault(name, []).append(then)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def await_nothing() -> None:
    """Forget everything awaited, and leave the import system as it was."""
    _finder.stop()
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
