"""``python -m benchmarks NAME [options]`` runs the benchmark of that name."""

import sys
from importlib import import_module

#: By name: the module, which has a ``main(arguments) -> status``.
BENCHMARKS = ("transfers", "readers", "fairness", "proxy", "http", "growth", "seams")


def main() -> int:
    """Run the one that is asked for."""
    if len(sys.argv) < 2 or sys.argv[1] not in BENCHMARKS:
        print(f"usage: python -m benchmarks NAME [options]; NAME is one of: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    status: int = import_module(f".{sys.argv[1]}", __package__).main(sys.argv[2:])
    return status


if __name__ == "__main__":
    sys.exit(main())
