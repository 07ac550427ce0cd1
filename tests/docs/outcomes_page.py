"""
Makes the tables of docs/outcomes.md of the tables in the code. Run it as `python -m tests.docs.outcomes_page`.

The words around them are written by hand: between `<!-- made: name -->` and `<!-- end -->` nobody writes but this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from guestwire.model import Outcome, PartState
from guestwire.policy.connect import judge_upgrade
from guestwire.policy.failures import FAILURES, Left
from guestwire.policy.states import MEANINGS, TRANSITIONS, PartEvent, after
from guestwire.protocol.codes import CLOSE_CODES, CODES, closing, outcome_of
from guestwire.protocol.platform import Barred, refusal_of

PAGE = Path(__file__).parents[2] / "docs" / "outcomes.md"
_MADE = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def diagram() -> str:
    """The life of a part, for GitHub and whoever else draws Mermaid; what changes nothing is left out."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> queued"]
    arrows: dict[tuple[PartState, PartState], list[str]] = {}
    for state, row in TRANSITIONS.items():
        for event, target in row.items():
            if target is not state:
                arrows.setdefault((state, target), []).append(event.value)
    lines += [f"    {one} --> {other}: {', '.join(events)}" for (one, other), events in arrows.items()]
    return "\n".join([*lines, "```", ""])


def states() -> str:
    """What may happen in which state, and what follows; a dash: it cannot happen."""
    lines = [
        f"| it is | {' | '.join(event.value for event in PartEvent)} |",
        f"| --- |{' --- |' * len(PartEvent)}",
    ]
    for state in PartState:
        cells = ["–" if (target := after(state, event)) is None else str(target) for event in PartEvent]
        lines.append(f"| **{state}** | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def events() -> str:
    """What each of the words means."""
    lines = ["| word | what happens |", "| --- | --- |"]
    lines += [f"| {event.value} | {meaning} |" for event, meaning in MEANINGS.items()]
    return "\n".join([*lines, ""])


def frames() -> str:
    """Codes of the Guest API, by what they prove."""
    lines = ["| code | outcome | what it says |", "| --- | --- | --- |"]
    for code, row in CODES.items():
        lines.append(f"| {code} | {_named(outcome_of(code, ''))} | {row.meaning} |")
    return "\n".join([*lines, f"| any other | {_named(outcome_of(4999, ''))} | nobody has published it |", ""])


def closes() -> str:
    """Close codes, by name."""
    lines = ["| code | name |", "| --- | --- |"]
    lines += [f"| {code} | {name} |" for code, name in CLOSE_CODES.items()]
    for first, last in ((0, 999), (1016, 2999), (3000, 3999), (4000, 4999), (5000, 65535)):
        name = closing(last).partition(", ")[2]
        lines.append(f"| {first}–{last}, else | {name} |")
    return "\n".join([*lines, ""])


#: The kinds of body that make a difference, and an answer's headers.
_PERMISSION = json.dumps({"code": "missing.permissions"}).encode()
_ANSWERS: dict[str, tuple[dict[str, str], bytes]] = {
    "JSON": ({}, b'{"code":"x"}'),
    "JSON: a permission is missing": ({}, _PERMISSION),
    "no JSON": ({}, b"<html>"),
    "JSON, with `Retry-After`": ({"Retry-After": "7"}, b'{"code":"x"}'),
}


def answers() -> str:
    """HTTP answers to a message that are not the documented acceptance: neighbours with equal rows are one row."""
    rows: list[tuple[int, int, tuple[str, ...]]] = []
    for status in range(100, 600):
        cells = tuple(_answered(status, headers, body) for headers, body in _ANSWERS.values())
        if rows and rows[-1][2] == cells:
            rows[-1] = (rows[-1][0], status, cells)
        else:
            rows.append((status, status, cells))
    lines = [f"| status | {' | '.join(_ANSWERS)} |", f"| --- |{' --- |' * len(_ANSWERS)}"]
    for first, last, cells in rows:
        lines.append(f"| {first if first == last else f'{first}–{last}'} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _answered(status: int, headers: dict[str, str], body: bytes) -> str:
    found = refusal_of(status, headers, body, now=0.0, trust_unavailable=True)
    return f"barred: {found.what}" if isinstance(found, Barred) else _named(found)


def _named(outcome: Outcome) -> str:
    return f"`{type(outcome).__name__}`"


def upgrades() -> str:
    """HTTP answers in place of a WebSocket."""
    by_code: dict[str, list[int]] = {}
    for status in range(100, 600):
        refused = judge_upgrade(status, "the gateway")
        by_code.setdefault("" if refused is None else refused.error.code, []).append(status)
    lines = ["| status | what follows |", "| --- | --- |"]
    for code, statuses in by_code.items():
        if code:
            lines.append(
                f"| {_ranges(statuses)} | {code}: nobody connects, and one asks every 60 s whether it is mended |"
            )
    return "\n".join([*lines, "| any other | tried again, with pauses that grow |", ""])


def _ranges(numbers: list[int]) -> str:
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in spans)


def exceptions() -> str:
    """Exceptions of libraries, by what of the request has left."""
    lines = ["| of | left | exceptions |", "| --- | --- | --- |"]
    by: dict[tuple[str, Left], list[str]] = {}
    for name, left in FAILURES.items():
        if left is not Left.NEVER:
            package = name.partition(".")[0]
            by.setdefault((_PACKAGES.get(package, package), left), []).append(name.rpartition(".")[2])
    for (package, left), names in by.items():
        lines.append(f"| {package} | {left.value} | {', '.join(f'`{name}`' for name in names)} |")
    return "\n".join([*lines, ""])


_PACKAGES = {"builtins": "Python", "socket": "Python", "ssl": "Python", "asyncio": "Python", "http": "http.client"}

SECTIONS: dict[str, Callable[[], str]] = {
    "frames": frames,
    "closes": closes,
    "answers": answers,
    "upgrades": upgrades,
    "exceptions": exceptions,
    "diagram": diagram,
    "states": states,
    "events": events,
}


def render(page: str) -> str:
    """Return the page with its tables made anew."""
    return _MADE.sub(lambda found: f"{found[1]}{SECTIONS[found[2]]()}{found[3]}", page)


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(render(PAGE.read_text("utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
