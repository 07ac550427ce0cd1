"""
Makes what docs/guarantees.md takes from elsewhere. Run it as `python -m tests.docs.guarantees_page`.

The diagram is that of the table in the code, the fault matrix is counted in docs/faults.md, and the figures are those
of docs/long_run.json: a copy of the `.soak/soak-report.json` that `make soak` writes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.docs.outcomes_page import diagram

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "guarantees.md"
RUN = DOCS / "long_run.json"
_MADE = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def cells() -> Iterator[tuple[str, str]]:
    """Every row of the fault matrix: its section, and what becomes of the message, or of the replies."""
    section = ""
    column: int | None = None
    for line in (DOCS / "faults.md").read_text("utf-8").splitlines():
        if line.startswith("#"):
            section, column = line.lstrip("# "), None
        fields = [field.strip() for field in line.split(" | ")] if line.startswith("| ") else []
        if not fields:
            column = None
        elif fields[0] == "| fault":
            column = next((fields.index(name) for name in ("message", "replies") if name in fields), None)
        elif column is not None and not fields[0].startswith("| ---"):
            yield section, fields[column]


def matrix() -> str:
    """How many faults of each kind are made, and what becomes of the message."""
    found: dict[str, Counter[str]] = {}
    for section, outcome in cells():
        word = re.match(r"`([a-z ]+)`", outcome)
        found.setdefault(section, Counter())[word[1] if word and section != "Replies" else "as its row says"] += 1
    lines = ["| faults of | rows | what becomes of the message |", "| --- | --- | --- |"]
    for section, outcomes in found.items():
        words = ", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common())
        lines.append(f"| {section} | {outcomes.total()} | {words} |")
    total = sum(outcomes.total() for outcomes in found.values())
    return "\n".join([*lines, f"| **all** | **{total}** | |", ""])


def figures() -> str:
    """What the last long run showed."""
    run: dict[str, Any] = json.loads(RUN.read_text("utf-8"))
    lines = [
        f"`{run['command']}` at commit `{run['commit']}`, {run['at']}, {run['machine']}:",
        "",
        "| suite | figure | goal | held |",
        "| --- | --- | --- | --- |",
    ]
    words = {True: "yes", False: "**no**", None: "–"}
    lines += [f"| {row['suite']} | {row['figure']} | {row['goal']} | {words[row['held']]} |" for row in run["rows"]]
    return "\n".join([*lines, ""])


SECTIONS: dict[str, Callable[[], str]] = {"diagram": diagram, "matrix": matrix, "figures": figures}


def render(page: str) -> str:
    """Return the page with what is made for it made anew."""
    return _MADE.sub(lambda found: f"{found[1]}{SECTIONS[found[2]]()}{found[3]}", page)


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(render(PAGE.read_text("utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
