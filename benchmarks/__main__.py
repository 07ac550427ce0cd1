"""Run the benchmarks: `python -m benchmarks [start] [wire]`."""

from __future__ import annotations

import sys

from benchmarks import start, wire

ALL = {"start": start.main, "wire": wire.main}


def main() -> int:
    """Run those that are named, or all."""
    names = sys.argv[1:] or list(ALL)
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"no benchmark is called {unknown[0]}; there are {', '.join(ALL)}", file=sys.stderr)
        return 2
    for name in names:
        ALL[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
