"""
P6: what a policy costs: ten thousand rules against a hundred on 4 KiB, and a typical message with all default rules.

Rules are made-up words and patterns, nine words to a pattern, and words alone. The text is English prose of 4 KiB in
which none of them occurs, and one in which ten do. The typical messages are the benign corpus of the tests, 60 to 200
characters in eight languages, held against everything: limits, default policy, length.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from tests.corpora.rates import benign

from benchmarks.measure import interleaved, machine, ratio, spread
from guestwire.checking import ANYWHERE
from guestwire.model import Draft, GuestKey
from guestwire.policy.content import Content
from guestwire.policy.verdict import judge
from guestwire.settings.policy import Patterns, Policy, Words

#: Microseconds for 4 KiB, and how much more ten thousand rules may cost than a hundred.
GOAL_US, GOAL = 60.0, 2.0
#: For a typical message, everything on.
TYPICAL_US = 15.0
MANY, FEW = 10_000, 100
LENGTH = 4096
TIMES = 200
_PROSE = "where is my order it should have come on Tuesday and nobody answers the phone when I call please help "


def main() -> None:
    """Print microseconds and ratios."""
    print(f"a policy (P6), CPU for each text, {machine()}")
    draw = random.Random(6)  # noqa: S311 - the same rules each time
    made = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(6, 12))) for _ in range(MANY)]
    plain = (_PROSE * 50)[:LENGTH]
    hit = (_PROSE.join(made[: FEW : FEW // 10]) * 50)[:LENGTH]
    for name, share in (("words", 10), ("words and patterns", 9)):
        for what, text in (("none occurs", plain), ("ten occur", hit)):
            asked = {str(count): _looking(_policy(made[:count], share), text) for count in (FEW, MANY)}
            found = interleaved(asked)
            print(f" {name}, {what}")
            for count, values in found.items():
                goal = f"  goal {GOAL_US:.0f} us" if int(count) == MANY else ""
                print(f"  {int(count):>6,} rules {spread(values, 'us')}{goal}")
            print(f"  {'ratio':<12} {ratio(found[str(MANY)], found[str(FEW)])}  goal {GOAL:.0f}x")
    texts = [text for text, _ in benign() if 60 <= len(text) <= 200]
    quiet = [text for text in texts if sum(map(str.isdigit, text)) < 7]
    print(f" typical messages, every default rule, goal {TYPICAL_US:.0f} us")
    for name, values in interleaved({"quiet": _judging(quiet), "with numbers": _judging(texts)}).items():
        print(f"  {name:<12} {spread(values, 'us')}")


def _policy(made: Sequence[str], share: int) -> Content:
    """Of ten rules so many are words, and the others patterns."""
    words = tuple(word for number, word in enumerate(made) if number % 10 < share)
    patterns = tuple(rf"{word}-\d+" for number, word in enumerate(made) if number % 10 >= share)
    return Content(Policy(lists={"made": Words(words=words)}, patterns={"made": Patterns(patterns=patterns)}))


def _looking(content: Content, text: str) -> Callable[[], float]:
    def run() -> float:
        began = time.process_time()
        for _ in range(TIMES):
            content.look(text)
        return (time.process_time() - began) / TIMES * 1e6

    return run


def _judging(texts: Sequence[str]) -> Callable[[], float]:
    content = Content(Policy())
    drafts = [Draft(destination=ANYWHERE.name, guest=GuestKey("42"), text=text) for text in texts]

    def run() -> float:
        began = time.process_time()
        for draft in drafts:
            judge(draft, ANYWHERE, content, now=1.0)
        return (time.process_time() - began) / len(drafts) * 1e6

    return run
