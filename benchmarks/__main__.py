"""``python -m benchmarks NAME [options]`` runs the benchmark of that name, ``all`` every one.

With ``all``, ``--json FOLDER`` becomes FOLDER/transfers.json and so on. ``page`` measures nothing: it renews
docs/performance.md and its charts from what ``all --json docs/performance`` has left.
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
    status: int = import_module(f".{name}", __package__).main(arguments)
    return status


def main() -> int:
    """Run what is asked for."""
    name, arguments = (sys.argv[1:] or [""])[0], sys.argv[2:]
    if name in BENCHMARKS or name == "page":
        return run(BENCHMARKS.get(name, name), arguments)
    if name != "all":
        names = ", ".join([*BENCHMARKS, "all", "page"])
        print(f"usage: python -m benchmarks NAME [options]; NAME is one of: {names}", file=sys.stderr)
        return 2
    status, begun = 0, time.monotonic()
    for each, module in BENCHMARKS.items():
        print(f"[{time.monotonic() - begun:4.0f} s] {each}", file=sys.stderr, flush=True)
        status |= run(module, [_of(each, arguments, place) for place in range(len(arguments))])
    return status


def _of(name: str, arguments: list[str], place: int) -> str:
    """An argument for one benchmark of all: a JSON file of its own."""
    if place and arguments[place - 1] == "--json":
        return str(Path(arguments[place], f"{name}.json"))
    return arguments[place]


if __name__ == "__main__":
    sys.exit(main())
