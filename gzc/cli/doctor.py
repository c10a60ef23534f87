"""``gzc doctor``: what this machine gives, tried and not guessed, and what would make it better.

Its exit status is 0 where every mechanism that gzc needs works and no seam that applies is skipped, 1 otherwise.

It collects the facts in one dict, which ``--json`` prints and people read as text. The experiments are in ``_probes``.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import platform
import resource
import sys
import tempfile
import warnings
from argparse import ArgumentParser, Namespace
from importlib import import_module, metadata
from typing import Any

import gevent

import gzc
import gzc.monkey

from . import Failure
from ._advice import advice
from ._words import said

#: What pipes are limited by, pipe(7).
_LIMITS = ("pipe-max-size", "pipe-user-pages-soft", "pipe-user-pages-hard")

#: The attributes of gzc.config.
_SETTINGS = ("chunk", "small", "pipe_size", "hub_budget", "pool_pipes", "disk_threads", "disk_grace", "disable")


def define(parser: ArgumentParser) -> None:
    """The arguments of ``gzc doctor``."""
    parser.add_argument(
        "folder", nargs="?", metavar="DIR", help="whose file system is to be tried (default: that for temporary files)"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.epilog = "Exit status 0: all that gzc needs works; 1: something does not, and the text says what to do."


def main(options: Namespace) -> int:
    """Try everything, and tell."""
    folder = options.folder or tempfile.gettempdir()
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as exc:
        raise Failure(f"{folder}: no file can be made there: {said(exc)}") from None
    logging.getLogger("gzc").addHandler(logging.NullHandler())  # what is refused is told here
    try:
        told = examine(folder)
    except ValueError as exc:  # a wrong setting or seam in the environment
        raise Failure(str(exc)) from None
    print(json.dumps(told, indent=2) if options.json else _text(told))
    return 0 if told["well"] else 1


def examine(folder: str) -> dict[str, Any]:
    """All facts, as JSON can say them."""
    settings = _config()
    from . import _probes

    seams = _seams()
    mechanisms = [finding._asdict() for finding in _probes.findings(folder)]
    told = {
        "gzc": gzc.__version__,
        "python": {"version": platform.python_version(), "implementation": platform.python_implementation()},
        "gevent": {"version": gevent.__version__, "loop": _loop()},
        "kernel": {"system": platform.system(), "release": platform.release(), "machine": platform.machine()},
        "pipes": {**{name: _limit(name) for name in _LIMITS}, "granted": _probes.granted(1 << 20), "of": 1 << 20},
        "descriptors": dict(zip(("soft", "hard"), resource.getrlimit(resource.RLIMIT_NOFILE), strict=True)),
        "config": settings,
        "switched_on": os.environ.get("GZC", "") not in ("", "0"),
        "folder": folder,
        "mechanisms": mechanisms,
        "targets": _targets(seams),
        "seams": seams,
    }
    told["advice"] = advice(told)
    works = all(finding["works"] or not finding["needed"] for finding in mechanisms)
    told["well"] = works and not any(seam["state"].startswith("skipped") for seam in seams)
    return told


def _config() -> dict[str, dict[str, Any]]:
    """Each setting, and where it comes from."""
    settings = {}
    for name in _SETTINGS:
        variable = f"GZC_{name.upper()}"
        value = getattr(gzc.config, name)
        settings[name] = {
            "value": sorted(value) if isinstance(value, frozenset) else value,
            "from": variable if os.environ.get(variable) else "default",
        }
    return settings


def _loop() -> str:
    return type(gevent.get_hub().loop).__module__.replace("gevent.", "")


def _limit(name: str) -> int | None:
    try:
        with open(f"/proc/sys/fs/{name}") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _seams() -> list[dict[str, Any]]:
    """Patch this process as a program would be, and see what became of each seam.

    What the seams are for is imported, if it is installed; a row shows only then whether it fits that version.
    """
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gzc.patch_all(**gzc.monkey.environment())
        absent = {module for module in _waiting() if not _imported(module)}
    return [
        {
            "name": seam.name,
            "state": "not installed" if _modules(seam) & absent else seam.state,
            "opt_in": seam.opt_in,
            "modules": sorted(_modules(seam)),
            "rows": [{"target": row.target, "state": row.state} for row in seam.rows],
        }
        for seam in gzc.seams()
    ]


def _waiting() -> set[str]:
    return {row.module for seam in gzc.seams() for row in seam.rows if row.state.startswith("waiting")}


def _modules(seam: Any) -> set[str]:
    return {row.module for row in seam.rows}


def _imported(module: str) -> bool:
    try:
        import_module(module)
    except Exception:  # noqa: BLE001 - of whatever somebody else's module raises on import
        return False
    return True


def _targets(seams: list[dict[str, Any]]) -> dict[str, str]:
    """The versions of the installed packages that seams reach into."""
    tops = {module.partition(".")[0] for seam in seams for module in seam["modules"]}
    installed = metadata.packages_distributions()
    names = {name for top in tops - sys.stdlib_module_names for name in installed.get(top, ())}
    return {name: metadata.version(name) for name in sorted(names)}


def _text(told: dict[str, Any]) -> str:
    pipes, kernel, files = told["pipes"], told["kernel"], told["descriptors"]
    limits = ", ".join(f"{name} {pipes[name]}" for name in _LIMITS if pipes[name] is not None)
    lines = [
        f"gzc {told['gzc']}, {told['python']['implementation']} {told['python']['version']}",
        f"gevent {told['gevent']['version']} on {told['gevent']['loop']}",
        f"{kernel['system']} {kernel['release']} {kernel['machine']}",
        f"pipes: 1 MiB asked for, {pipes['granted']} bytes given{f' ({limits})' if limits else ''}",
        f"open files: {files['soft']}, at most {files['hard']}",
        f"\nmechanisms, with files in {told['folder']}:",
    ]
    for finding in told["mechanisms"]:
        verdict = "works" if finding["works"] else "REFUSED" if finding["needed"] else "refused"
        lines.append(f"  {verdict:<8} {finding['name']}: {finding['what']}")
    lines.append("\nsettings (gzc.config):")
    for name, setting in told["config"].items():
        value = ", ".join(setting["value"]) or "nothing" if isinstance(setting["value"], list) else setting["value"]
        lines.append(f"  {name:<13} {value}  ({setting['from']})")
    found = ", ".join(f"{name} {version}" for name, version in told["targets"].items())
    lines.append(f"\nseams, as they would be in a patched program, with {found or 'nothing but gevent'}:")
    lines += [f"  {seam['name']:<16} {seam['state']}{' (opt-in)' if seam['opt_in'] else ''}" for seam in told["seams"]]
    lines.append("\nwhat would make it better:" if told["advice"] else "\nnothing to be made better")
    lines += [f"  - {one}" for one in told["advice"]]
    lines.append("all that gzc needs works" if told["well"] else "NOT all that gzc needs works")
    return "\n".join(lines)
