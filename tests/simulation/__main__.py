"""`python -m tests.simulation SEED [-v]`: the world of a seed, and its story; `--seeds 0-500`: many of them."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.world import simulate


def main() -> int:
    """Run what was asked for; 1 where something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="one world")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell every event, in order")
    parser.add_argument("--seeds", help="many worlds, such as 0-500")
    args = parser.parse_args()
    if args.seed is None and args.seeds is None:
        parser.error("name a seed, or --seeds")
    low, _, high = (args.seeds or f"{args.seed}-{args.seed + 1}").partition("-")
    failed = done = 0
    began = time.process_time()
    for seed in range(int(low), int(high)):
        try:
            verdict = simulate(seed, with_story=args.verbose)
        except KeyboardInterrupt:
            break
        done += 1
        for line in verdict.story:
            print(line)
        failed += bool(verdict.wrong)
        if args.seed is not None or verdict.wrong:
            print(
                f"seed {seed}: {verdict.parts} parts, {verdict.copies} shown, {verdict.deaths} processes ended,"
                f" {verdict.seconds:.0f} s; digest {verdict.digest}"
            )
        for wrong in verdict.wrong:
            print(f"  {wrong}")
    print(f"{done} worlds, {failed} wrong, {time.process_time() - began:.1f} s", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
