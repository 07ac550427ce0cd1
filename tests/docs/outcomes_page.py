"""
Makes the tables of docs/outcomes.md of the tables in the code. Run it as `python -m tests.docs.outcomes_page`.

The words around them are written by hand: between `<!-- made: name -->` and `<!-- end -->` nobody writes but this.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from guestwire.model import PartState
from guestwire.policy.states import MEANINGS, TRANSITIONS, PartEvent, after

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


SECTIONS: dict[str, Callable[[], str]] = {"diagram": diagram, "states": states, "events": events}


def render(page: str) -> str:
    """Return the page with its tables made anew."""
    return _MADE.sub(lambda found: f"{found[1]}{SECTIONS[found[2]]()}{found[3]}", page)


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(render(PAGE.read_text("utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
