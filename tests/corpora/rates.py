"""
How often the search for personal data errs, by kind: `python -m tests.corpora.rates`.

False alarms: of the benign texts, how many have something of the kind in them. Missed: of what has to be found, what is
not covered to its last character. Cut: what was found longer or shorter than it is. Beside: what was found in the same
texts and is something else. Each of these is printed with `--each`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from guestwire.policy.personal import KINDS, Found, Kind, find_personal
from tests.corpora.sentences import REGIONS

HERE = Path(__file__).parent


def benign() -> Iterator[tuple[str, str]]:
    """Yield the benign texts with the region of their writers."""
    for path in sorted((HERE / "benign").glob("*.txt")):
        for text in path.read_text("utf-8").split("\n")[:-1]:
            yield text, REGIONS[path.stem]


def positive() -> list[dict[str, Any]]:
    """Return the texts with something personal."""
    return [json.loads(line) for line in (HERE / "personal.jsonl").read_text("utf-8").split("\n")[:-1]]


class Rates:
    """What came of a run over both corpora."""

    def __init__(self, *, with_region: bool = True, tell: Callable[[str], object] = lambda _: None) -> None:
        self.texts = 0
        self.alarms: Counter[Kind] = Counter()
        self.wanted: Counter[Kind] = Counter()
        self.missed: Counter[Kind] = Counter()
        self.cut: Counter[Kind] = Counter()
        self.elsewhere: Counter[Kind] = Counter()
        for text, region in benign():
            self.texts += 1
            found = find_personal(text, KINDS, region=region if with_region else None)
            self.alarms.update({one.kind for one in found})
            for one in found:
                tell(f"alarm {one.kind} {text[one.start : one.end]!r} in {text!r} ({region})")
        for entry in positive():
            self._hold(
                entry, find_personal(entry["text"], KINDS, region=entry["region"] if with_region else None), tell
            )

    def _hold(self, entry: dict[str, Any], found: list[Found], tell: Callable[[str], object]) -> None:
        text, [(kind, start, end)] = entry["text"], entry["spans"]
        self.wanted[kind] += 1
        same = [one for one in found if one.kind == kind and one.start < end and start < one.end]
        self.elsewhere.update(one.kind for one in found if one not in same)
        if not any(one.start <= start and end <= one.end for one in same):
            self.missed[kind] += 1
            tell(f"missed {kind} {text[start:end]!r} in {text!r} ({entry['region']})")
        if any((one.start, one.end) != (start, end) for one in same):
            self.cut[kind] += 1
            tell(f"cut {kind} {text[start:end]!r} in {text!r} ({entry['region']})")

    def alarm_rate(self, kind: Kind) -> float:
        """False alarms of a kind, of all benign texts."""
        return self.alarms[kind] / self.texts

    def miss_rate(self, kind: Kind) -> float:
        """What was not covered, of what should be."""
        return self.missed[kind] / self.wanted[kind]

    def table(self) -> str:
        """Return the rates as a table."""
        lines = [f"{'kind':<10}{'false alarms':>20}{'missed':>20}{'cut':>8}{'beside':>8}"]
        for kind in KINDS:
            alarms = f"{self.alarms[kind]}/{self.texts} {self.alarm_rate(kind):7.2%}"
            missed = f"{self.missed[kind]}/{self.wanted[kind]} {self.miss_rate(kind):7.2%}"
            lines.append(f"{kind:<10}{alarms:>20}{missed:>20}{self.cut[kind]:>8}{self.elsewhere[kind]:>8}")
        return "\n".join(lines)


if __name__ == "__main__":
    tell: Callable[[str], object] = print if "--each" in sys.argv else lambda _: None
    for with_region in (True, False):
        print("region of the writer given" if with_region else "\nno region given")
        print(Rates(with_region=with_region, tell=tell).table())
