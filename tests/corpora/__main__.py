"""Says how much bad input the tests hold the rules against: `python -m tests.corpora`."""

from __future__ import annotations

from collections.abc import Mapping

from tests.corpora import characters, patterns, payloads


def main() -> None:
    """Print how many there are of each kind."""
    hostile = list(patterns.patterns())
    told: Mapping[str, Mapping[str, int]] = {
        "payloads": {
            "messages": sum(1 for _ in payloads.messages()),
            "of them at a limit": sum(1 for _ in payloads.limits()),
            "lines of JSON": sum(1 for _ in payloads.json_lines()),
            "cells of a CSV": sum(1 for _ in payloads.csv_cells()),
            "files that are hardly a CSV": sum(1 for _ in payloads.csv_files()),
            "arguments of send": sum(1 for _ in payloads.arguments()),
        },
        "patterns": {
            "refused": sum(one.refused for one in hostile),
            "used": sum(not one.refused for one in hostile),
        },
        "characters": {name: len(texts) for name, texts in characters.groups().items()},
    }
    for corpus, counts in told.items():
        print(corpus)
        for name, count in counts.items():
            print(f"  {count:>6,} {name}")
    print(f"  {len(characters.texts()):>6,} texts, each once")


if __name__ == "__main__":
    main()
