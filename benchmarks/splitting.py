"""
Cutting a long text into parts: how long it takes per MB, and whether twice the text takes twice the time.

Plain texts, and what patterns choke on. A ratio of 2 is linear and 4 quadratic; it is the mean of three doublings.
Time of the processor, so that neighbours on the machine count less.
"""

from __future__ import annotations

import time

from benchmarks.measure import machine
from guestwire.policy.split import fit

LIMIT = 4096
SIZES = (125_000, 250_000, 500_000, 1_000_000)  # bytes
ROUNDS = 5
GOAL = 2.5
TEXTS = {
    "prose": "The quick brown fox jumps over the lazy dog. It was not amused at all.\nThe fox was.\n\n",
    "prose with links": "See [the docs](https://example.com/a?b=c) or `run it`, and mail to jane@example.com.\n",
    "Chinese": "今天天气很好，我们去公园散步吧！你觉得怎么样？",
    "Arabic": "مرحبا كيف حالك اليوم. ",
    "one long word": "x",
    "families of emoji": "👨‍👩‍👧‍👦",
    "flags": "🇩🇪",
    "marks on one letter": "\u0301",
    "whitespace": " ",
    "runs of whitespace": "a" + " " * 3000,
    "line ends": "a\r\n",
    "[": "[",
    "[](": "[](",
    "[a](": "[a](",
    "`": "`",
    "`a``a```a…": "".join("`" * length + "a" for length in range(1, 1500)),
    "http://": "http://",
    "www.": "www.",
    "a@": "a@",
}


def main() -> None:
    """Print, for each text, what a MB takes and how that grows."""
    print(f"cutting into parts of {LIMIT:,} bytes, best of {ROUNDS}, {machine()}")
    print(f"  {'':<22} {' '.join(f'{size // 1000:3} kB' for size in SIZES)}")
    for name, unit in TEXTS.items():
        took_s = [_took_s(_text(unit, size)) for size in SIZES]
        growth = (took_s[-1] / took_s[0]) ** (1 / (len(SIZES) - 1))
        figures = " ".join(f"{each * 1e3:6.1f}" for each in took_s)
        print(f"  {name:<22} {figures} ms  twice the text: {growth:.1f}x the time  goal < {GOAL}x")
    short = "Hello, where is my order?"
    began = time.process_time()
    for _ in range(100_000):
        fit(short, LIMIT, "bytes")
    print(f"  {'a text that fits':<22} {(time.process_time() - began) * 10:7.2f} us")


def _text(unit: str, size: int) -> str:
    return (unit * (size // len(unit.encode()) + 1)).encode()[:size].decode(errors="ignore")


def _took_s(text: str) -> float:
    took_s = []
    for _ in range(ROUNDS):
        began = time.process_time()
        fit(text, LIMIT, "bytes")
        took_s.append(time.process_time() - began)
    return min(took_s)
