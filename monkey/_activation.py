"""``patch_all`` and its kin: which seams are wanted, and putting them in force.

A call decides over the environment. A row that does not fit is skipped with one warning, and its seam is not half in
force.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from gevent import monkey

import gzc

from . import _early_importers, _import_hooks, _plugin
from ._catalog import GONE, SEAMS, Seam
from ._ledger import Ledger, arrived
from ._row import MISSING, Row, Unknown

_log = logging.getLogger("gzc")
_ledger = Ledger()
_skipped: dict[str, str] = {}
_wanted: set[str] = set()
_warned: set[str] = set()

#: Whether the program has chosen by a call; the environment does not overrule it then.
_explicit = False

# Programs patch in threads, too, and gevent may be patching threading meanwhile: so not ``threading.RLock``, whose
# original makes one of gevent's locks then.
_new_lock = monkey.get_original("_thread", "RLock")
_lock = _new_lock()


def _forked() -> None:
    global _lock
    _lock = _new_lock()  # a thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class RowState(NamedTuple):
    """A row of a seam: the attribute, how it stands, who had taken the original before, and the module it is in."""

    target: str
    state: str
    early: tuple[str, ...] = ()
    module: str = ""

    def __str__(self) -> str:
        late = "".join(f"\n    not reached: {name}, which was imported earlier" for name in self.early)
        return f"{self.target}: {self.state}{late}"


class SeamState(NamedTuple):
    """A seam of ``gzc.seams()``: what is replaced, why, whom it reaches, and how it stands.

    rows
        The same for each attribute it replaces.
    early
        Globals such as ``"app.copyfileobj"`` that hold what stood there before, and are not reached.
    """

    name: str
    why: str
    reaches: str
    state: str
    opt_in: bool
    rows: tuple[RowState, ...] = ()

    @property
    def early(self) -> tuple[str, ...]:
        return tuple(name for row in self.rows for name in row.early)

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.state}{' (opt-in)' if self.opt_in else ''}", self.why, f"reaches {self.reaches}"]
        return "\n  ".join((*lines, *map(str, self.rows)))


def patch_all(
    *,
    only: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    also: Iterable[str] = (),
    stdlib: bool = True,
    **gevent_options: Any,
) -> None:
    """Make this program zero-copy: ``gevent.monkey.patch_all`` if it has not run, then gzc's seams.

    :param only: names of the seams to apply, in place of all that are not opt-in.
    :param skip: names of seams to leave alone, or to undo where they are in force.
    :param also: names of opt-in seams to apply.
    :param stdlib: False leaves the standard library alone, for programs that use gevent unpatched.
    :param gevent_options: passed on to ``gevent.monkey.patch_all``.
    :raises ValueError: an unknown seam, and the message lists the known ones; a wrong limit in the environment.

    Idempotent, and not bound to an order: only methods and functions are replaced, never classes.
    """
    gzc.config  # noqa: B018 - a wrong limit is said before anything is patched
    wanted = _choose(only, skip, also, stdlib)
    if stdlib and not _plugin.ran:
        monkey.patch_all(gzc=False, **gevent_options)
    _chosen(wanted)


def patch(name: str) -> None:
    """Apply one seam, and leave the others as they are.

    :raises ValueError: an unknown seam.
    """
    _chosen(_choose([name], (), (), True), keep=True)


def unpatch_all() -> None:
    """Undo gzc's rows, and only those; gevent's own patches stay."""
    _chosen(set())


def _chosen(wanted: set[str], keep: bool = False) -> None:
    global _explicit
    _explicit = True
    _put_in_force(wanted, keep)


def patched() -> tuple[str, ...]:
    """The names of the seams in force."""
    with _lock:  # the ledger forgets rows whose target is gone
        return tuple(seam.name for seam in SEAMS if any(row in _ledger for row in seam.rows))


def seams() -> tuple[SeamState, ...]:
    """Every seam, and how it stands: in force, off, waiting for an import, skipped and why, or not in this Python.

    Looks through the globals of all modules for early importers, which takes a few milliseconds.
    """
    with _lock:
        originals = {row: _ledger.original(row) for row in _ledger.newest_first()}
    held = _early_importers.holders(original for original in originals.values() if original is not MISSING)
    with _lock:
        return tuple(
            SeamState(
                *(seam.name, seam.why, seam.reaches, _state(seam), seam.opt_in),
                rows=tuple(
                    RowState(str(row), _row_state(seam, row), held.get(id(originals.get(row)), ()), row.module)
                    for row in seam.rows
                ),
            )
            for seam in SEAMS
        )


def environment() -> dict[str, Any]:
    """What ``GZC_ONLY``, ``GZC_SKIP`` and ``GZC_ALSO`` choose, names with commas, as arguments of ``patch_all``."""
    chosen = {name: _names(os.environ.get(f"GZC_{name.upper()}", "")) for name in ("only", "skip", "also")}
    return {name: names for name, names in chosen.items() if names}


def switch_on(*, by_call: bool) -> None:
    """Apply what the environment chooses.

    Unless a call has chosen before, and this comes from the environment alone.

    :raises ValueError: an unknown seam or a wrong limit.
    """
    if _explicit and not by_call:
        return
    chosen = environment()
    _put_in_force(_choose(chosen.get("only"), chosen.get("skip", ()), chosen.get("also", ()), True))


def _names(setting: str) -> list[str]:
    return [name.strip() for name in setting.split(",") if name.strip()]


def _choose(only: Iterable[str] | None, skip: Iterable[str], also: Iterable[str], stdlib: bool) -> set[str]:
    known = {seam.name: seam for seam in SEAMS}
    only, skip, also = (None if only is None else set(only)), set(skip), set(also)
    unknown = ((only or set()) | skip | also).difference(known, GONE)
    if unknown:
        raise ValueError(f"unknown seam {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    chosen = {name for name, seam in known.items() if not seam.opt_in} if only is None else only
    return {name for name in (chosen | also) - skip - GONE if stdlib or not known[name].stdlib}


def _put_in_force(wanted: set[str], keep: bool = False) -> None:
    # Not to be called with the lock held: below it waits for imports in other threads.
    if wanted:
        gzc.copy  # noqa: B018 - load the engine now, not inside the first copy
    with _lock:
        if keep:
            wanted = wanted | _wanted
        _wanted.clear()
        _wanted.update(wanted)
        _skipped.clear()
        _import_hooks.await_nothing()
        unwanted = {row for seam in SEAMS if seam.name not in wanted for row in seam.rows}
        for row in _ledger.newest_first():
            if row in unwanted and not _ledger.undo(row):
                _log.warning("%s stays in force: somebody has patched it after gzc", row)
        chosen = [seam for seam in SEAMS if seam.name in wanted]
        for seam in chosen:
            _apply(seam)
    for seam in chosen:
        for module in {row.module for row in seam.rows}:
            if module in sys.modules and not arrived(module):
                # Another thread is importing it, and that needs our lock when it is done.
                with contextlib.suppress(Exception):
                    importlib.import_module(module)
                _apply(seam)


def _apply(seam: Seam, here: str = "") -> None:
    """Apply the rows of ``seam``; ``here`` is the module that is arriving just now."""
    with _lock:
        if seam.name not in _wanted or seam.name in _skipped:
            return
        try:
            for row in seam.rows:
                if not _ledger.apply(row, here):
                    _import_hooks.await_module(row.module, partial(_apply, seam, row.module))
        except Exception as exc:  # noqa: BLE001 - a row that fails, however, must not take the program down
            # Also those of a module that had arrived before: a seam is in force whole, or not at all.
            for row in reversed(seam.rows):
                _ledger.undo(row)
            why = str(exc) if isinstance(exc, Unknown) else repr(exc)
            _skipped[seam.name] = why
            if why not in _warned:
                _warned.add(why)
                _log.warning("seam %s is skipped, what it would speed up goes the old way: %s", seam.name, why)


def _row_state(seam: Seam, row: Row) -> str:
    if row in _ledger:
        return "left alone, it has that by itself" if _ledger.left_alone(row) else "in force"
    state = _state(seam)
    return f"waiting for {row.module}" if state.startswith("waiting") else state


def _state(seam: Seam) -> str:
    if not seam.rows:
        return "not in this Python"
    if seam.name in _skipped:
        return f"skipped: {_skipped[seam.name]}"
    applied = [row in _ledger for row in seam.rows]
    if all(applied):
        return "in force"
    if seam.name not in _wanted:
        return "off"
    return "waiting for " + ", ".join(sorted({row.module for row in seam.rows if row not in _ledger}))
