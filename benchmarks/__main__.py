"""``python -m benchmarks NAME [options]`` runs the benchmark of that name, ``all`` every one."""

import sys
import time
from importlib import import_module

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
        # seams is no contest, and has options of its own
        status |= run(each, [] if each == "seams" else arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
