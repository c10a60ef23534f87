"""``python -m benchmarks NAME [options]`` runs the benchmark of that name, ``all`` every one.

With ``all``, ``--json found.json`` becomes found-transfers.json and so on.
"""

import sys
import time
from importlib import import_module
from pathlib import Path

#: By name: the module, which has a ``main(arguments) -> status``.
BENCHMARKS = {
    "transfers": "transfers",
    "readers": "readers",
    "fairness": "fairness",
    "proxy": "proxy",
    "http": "web",
    "growth": "growth",
    "seams": "seams",
}


def run(name: str, arguments: list[str]) -> int:
    """One of them."""
    status: int = import_module(f".{BENCHMARKS[name]}", __package__).main(arguments)
    return status


def main() -> int:
    """Run what is asked for."""
    name, arguments = (sys.argv[1:] or [""])[0], sys.argv[2:]
    if name in BENCHMARKS:
        return run(name, arguments)
    if name != "all":
        names = ", ".join([*BENCHMARKS, "all"])
        print(f"usage: python -m benchmarks NAME [options]; NAME is one of: {names}", file=sys.stderr)
        return 2
    status, begun = 0, time.monotonic()
    for each in BENCHMARKS:
        print(f"[{time.monotonic() - begun:4.0f} s] {each}", file=sys.stderr, flush=True)
        mine = [_of(each, arguments, place) for place in range(len(arguments))]
        if each == "seams":  # it has options of its own
            mine = [*_json_only(mine), "--rounds", "1" if "--quick" in arguments else "3"]
        status |= run(each, mine)
    return status


def _of(name: str, arguments: list[str], place: int) -> str:
    """An argument for one benchmark of all: a JSON file of its own."""
    if place and arguments[place - 1] == "--json":
        file = Path(arguments[place])
        return str(file.with_name(f"{file.stem}-{name}{file.suffix}"))
    return arguments[place]


def _json_only(arguments: list[str]) -> list[str]:
    place = arguments.index("--json") if "--json" in arguments else len(arguments)
    return arguments[place : place + 2]


if __name__ == "__main__":
    sys.exit(main())
