"""Where the tests reach what is not public: each private name that any of them uses, and its module.

    from ._inside import _pipe, Row

In a program that a test runs in a Python of its own it is a line ``from inside import _pipe``, which `resolved` turns
into the import that is meant. So a module that moves changes this table, and no test.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

#: A module, or a name in one behind a colon.
HOMES = {
    # the engine
    "_classify": "gzc._ends.known_types",
    "_config": "gzc._config",
    "Config": "gzc._config:Config",
    "_consent": "gzc._ends.consent",
    "sinks": "gzc._ends.consent:sinks",
    "sources": "gzc._ends.consent:sources",
    "Reader": "gzc._ends.run:Reader",
    "Writer": "gzc._ends.run:Writer",
    "_disk": "gzc._kernel.disk_pool",
    "_file_sinks": "gzc._ends.file_sinks",
    "_hub": "gzc._hub.waiting",
    "_lending": "gzc._ends.lending",
    "_locks": "gzc._kernel.locks",
    "_memory": "gzc._ends.memory",
    "_movers": "gzc._movers",
    "Mover": "gzc._movers:Mover",
    "_pipe": "gzc._kernel.transit_pipe",
    "_pump": "gzc._core.pump",
    "_routes": "gzc._core.plan",
    "_stats": "gzc._core.tally",
    "_syscalls": "gzc._kernel.syscalls",
    "_signals": "gzc._kernel.signals",
    "_storage": "gzc._kernel.storage",
    "_retries": "gzc._kernel.retries",
    "_claims": "gzc._hub.claims",
    "_turn": "gzc._hub.turn",
    "_sendfile": "gzc._movers.sendfile",
    "_copy_range": "gzc._movers.copy_range",
    "_userspace": "gzc._movers.userspace",
    "_errnos": "gzc._kernel.errnos",
    # the patch layer
    "_import_hooks": "gzc.monkey._import_hooks",
    "request_bodies": "gzc.monkey._seams.request_bodies",
    "_catalog": "gzc.monkey._catalog",
    "SEAMS": "gzc.monkey._catalog:SEAMS",
    "Seam": "gzc.monkey._catalog:Seam",
    "_activation": "gzc.monkey._activation",
    "_gunicorn_worker": "gzc.monkey._seams.gunicorn_worker",
    "_ledger": "gzc.monkey._ledger",
    "Ledger": "gzc.monkey._ledger:Ledger",
    "MISSING": "gzc.monkey._row:MISSING",
    "Row": "gzc.monkey._row:Row",
    "Unknown": "gzc.monkey._row:Unknown",
    "arrived": "gzc.monkey._ledger:arrived",
    "_plugin": "gzc.monkey._plugin",
    "_promises": "gzc.monkey._promises",
    "_fast_prefix": "gzc.monkey._fast_prefix",
    "_turns": "gzc.monkey._turns",
    "_send_file": "gzc.monkey._send_file",
    "_file_wrapper": "gzc.monkey._file_wrapper",
    "FileWrapper": "gzc.monkey._file_wrapper:FileWrapper",
    # the command line
    "_address": "gzc.cli._address",
    "_advice": "gzc.cli._advice",
    "_probes": "gzc.cli._probes",
    "Site": "gzc.cli._site:Site",
    "_stop": "gzc.cli._stop",
}


def __getattr__(name: str) -> Any:
    try:
        module, _, attribute = HOMES[name].partition(":")
    except KeyError:
        raise AttributeError(f"tests._inside has no name {name!r}") from None
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def resolved(program: str) -> str:
    """``program`` with each line ``from inside import ...`` as an import of where these names are."""
    return re.sub(r"^( *)from inside import (.+)$", _imports, program, flags=re.MULTILINE)


def _imports(line: re.Match[str]) -> str:
    return line[1] + "; ".join(sentence(name.strip()) for name in line[2].split(","))


def sentence(name: str) -> str:
    """The statement that imports ``name``."""
    module, _, attribute = HOMES[name].partition(":")
    if not attribute:
        module, _, attribute = module.rpartition(".")
    return f"from {module} import {attribute} as {name}"
