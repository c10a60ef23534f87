"""What has passed on this very code stands: a night that was cut short goes on.

What is kept names the code it is of; nothing is kept of what failed.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: What decides how a run goes; not the documentation, which the figures are taken into.
CODE = ("gzc", "monkey", "tests", "examples", "benchmarks", ".ci", "Makefile", "setup.cfg", "pyproject.toml")


def code() -> str:
    """A hash of the code that is run."""
    found = hashlib.sha256()
    for top in map(ROOT.joinpath, CODE):
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return found.hexdigest()


def keep(path: Path, of: str, result: Any) -> None:
    """Remember in ``path`` what came of the code ``of`` that hash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"code": of, "result": result}), encoding="utf-8")


def kept(path: Path, of: str) -> Any:
    """The result in ``path``, or None where there is none, or one of other code."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found.get("result") if found.get("code") == of else None
