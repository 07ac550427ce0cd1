"""Run the benchmarks: `python -m benchmarks [NAME...] [--guests N]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial

from benchmarks import (
    backlog,
    durable,
    idle,
    intake,
    lost_answer,
    pacing,
    patterns,
    personal,
    policy,
    rest,
    restart,
    splitting,
    start,
    tokens,
    tutorial,
    webhook,
    wire,
)


def main() -> int:
    """Run those that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ratios beside the goals.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all, twenty minutes")
    parser.add_argument("--guests", type=int, default=idle.GUESTS, metavar="N", help="of idle (default: %(default)s)")
    asked = parser.parse_args()
    known: dict[str, Callable[[], None]] = {
        "start": start.main,
        "wire": wire.main,
        "durable": durable.main,
        "intake": intake.main,
        "backlog": backlog.main,
        "pacing": pacing.main,
        "patterns": patterns.main,
        "personal": personal.main,
        "policy": policy.main,
        "restart": restart.main,
        "tutorial": tutorial.main,
        "rest": rest.main,
        "lost_answer": lost_answer.main,
        "tokens": tokens.main,
        "webhook": webhook.main,
        "splitting": splitting.main,
        "idle": partial(idle.main, asked.guests),
    }
    unknown = [name for name in asked.names if name not in known]
    if unknown:
        print(f"no benchmark is called {unknown[0]}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    for name in asked.names or known:
        known[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
