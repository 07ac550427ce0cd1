"""
What it costs to look for personal data in a message: CPU per message, by kind.

Quiet messages have nothing that looks like anything, as most do: they fail the first question of each kind. Confusing
ones are the benign corpus of the tests, 60 to 200 characters, eight languages: nearly each has a number in it, chosen
because it looks like a card or a phone number. Then messages that have something of a kind in them, and what a hostile
one costs for each character, at two lengths: the second has to be the first one's. Goal for the whole of validation of
a typical message with all default rules: 15 us.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tests.corpora.rates import benign, positive

from benchmarks.measure import interleaved, machine, spread
from guestwire.policy.personal import KINDS, Kind, find_personal

GOAL_US = 15.0
SHORTEST, LONGEST = 60, 200
#: A quiet message has fewer.
FEW_DIGITS = 7
#: What costs most, of what was tried: numbers that never become anything.
HOSTILE = (
    "1 ",
    "4 ",
    "4111 ",
    "+49 ",
    "01.01.",
    "030 23125123 ",
    "\N{LATIN SMALL LETTER U WITH DIAERESIS}@",
    "eyJ",
    "-----BEGIN ",
)


def main() -> None:
    """Print microseconds by kind."""
    confusing = [(text, region) for text, region in benign() if SHORTEST <= len(text) <= LONGEST]
    quiet = [(text, region) for text, region in confusing if sum(map(str.isdigit, text)) < FEW_DIGITS]
    print(f"personal data, CPU per message of {SHORTEST} to {LONGEST} characters, {machine()}")
    wanted: dict[str, Sequence[Kind]] = {**{kind: (kind,) for kind in KINDS}, "all kinds": KINDS}
    for what, texts in (("quiet", quiet), ("confusing", confusing)):
        print(f" {what}: {len(texts)} messages")
        for name, values in interleaved({name: _searching(texts, kinds) for name, kinds in wanted.items()}).items():
            goal = f"   goal {GOAL_US:.0f} us with every other rule" if name == "all kinds" else ""
            print(f"  {name:<12} {spread(values, 'us')}{goal}")
    print(" messages that have one in them, all kinds")
    with_one = {
        kind: [(entry["text"], entry["region"]) for entry in positive() if entry["spans"][0][0] == kind]
        for kind in KINDS
    }
    for name, values in interleaved({kind: _searching(texts, KINDS) for kind, texts in with_one.items()}).items():
        print(f"  {name:<12} {spread(values, 'us')}")
    print(" hostile texts of 40,000 and 400,000 characters, for each character")
    for piece in HOSTILE:
        short, long = (_hostile_ns(piece, length) for length in (40_000, 400_000))
        print(f"  {piece!a:<18} {short:8.0f} ns {long:8.0f} ns")


def _searching(texts: Sequence[tuple[str, str]], kinds: Sequence[Kind]) -> Callable[[], float]:
    """Return what searches all texts, and how long each took, in microseconds of CPU."""

    def run() -> float:
        began = time.process_time()
        for text, region in texts:
            find_personal(text, kinds, region=region)
        return (time.process_time() - began) / len(texts) * 1e6

    return run


def _hostile_ns(piece: str, length: int) -> float:
    text = piece * (length // len(piece))
    began = time.process_time()
    find_personal(text, KINDS, region="DE")
    return (time.process_time() - began) / len(text) * 1e9
