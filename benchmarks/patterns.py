"""
What hostile patterns cost: each on 100,000 characters of the text that is worst for it, and on a quarter of that.

Work that is linear in the text costs four times as much on the whole as on the quarter.
"""

from __future__ import annotations

import time

from tests.corpora.patterns import LENGTH, Hostile, patterns

from benchmarks.measure import machine
from guestwire.policy.content import Content
from guestwire.settings.policy import Patterns, Personal, Policy

#: How much more the whole may cost than the quarter, with what else the machine does.
GOAL = 8.0
#: Milliseconds below which a ratio says nothing.
LEAST_MS = 10.0
SHOWN = 8


def main() -> None:
    """Print the dearest patterns, and the worst ratio."""
    print(f"hostile patterns, {LENGTH:,} characters, {machine()}")
    found = sorted((_cost(one) for one in patterns() if not one.refused), reverse=True)
    for whole_ms, quarter_ms, pattern in found[:SHOWN]:
        print(f"  {whole_ms:>8.1f} ms  {whole_ms / quarter_ms:>4.1f}x  {ascii(pattern)[:60]}")
    worst = max((whole / quarter for whole, quarter, _ in found if whole > LEAST_MS), default=0.0)
    print(f"  {len(found)} patterns, worst ratio {worst:.1f}x  goal {GOAL:.0f}x")


def _cost(one: Hostile) -> tuple[float, float, str]:
    off = Personal(card="off", api_key="off")
    content = Content(Policy(personal=off, patterns={"one": Patterns(patterns=(one.pattern,))}))
    content.look(one.text(LENGTH))  # the automaton is built as it goes
    spent: list[float] = []
    for length in (LENGTH, LENGTH // 4):
        text = one.text(length)
        began = time.process_time()
        content.look(text)
        spent.append(max((time.process_time() - began) * 1e3, 0.001))
    return spent[0], spent[1], one.pattern
