"""
Makes docs/parity.md of `facts.csv` and `behaviours.toml`. Run it as `python -m tests.wire.parity`.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

import msgspec

from tests.wire import derive_facts

BEHAVIOURS = Path(__file__).with_name("behaviours.toml")
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "parity.md"

_HEAD = """\
# Parity: what is emulated, and who says so

<!-- Made of tests/wire/facts.csv and tests/wire/behaviours.toml by `python -m tests.wire.parity`. -->

guestwire and its emulator follow the public Guest API of Genesys Cloud web messaging as its frame schema documents it
and as the vendor's own clients, and a few third parties, are seen to use it. **We have never run against a live
organisation.** Whatever stands below as unknown is a setting of the emulator where it matters: a client that works
both ways does not depend on what nobody knows.

- *verified*: stands in the vendor's schema, code or documentation, or in a capture that somebody published.
- *inferred*: follows from such a source; nobody outside is known to have observed it.
- *unknown*: no source says. Confidence: H high, M one second-hand source, L low.

Sources: `J:swagger` the vendor's frame schema (web-messaging-sdk-java 18.1.0); `K:source`, `K:tests` its mobile client
2.14.0; `K:mock` its mock stubs of 2026; `P:schema` its REST schema (platform-client-sdk-python); `O:fixtures`
genesys-web-messaging-tester, from real traffic by its authors' word; `M:source` a third party's browser client of
2021 to 2023; `G:docs`, `G:sdk-source` a third party who quotes the Developer Center and has read the vendor's browser
client 2.18.0.
"""


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the table of behaviours."""

    id: str
    area: str
    statement: str
    status: str
    source: str
    confidence: str
    settings: list[str]
    tests: list[str]


def behaviours() -> list[Behaviour]:
    """Return the committed behaviours, in their order."""
    data = tomllib.loads(BEHAVIOURS.read_text("utf-8"))
    return msgspec.convert(data["behaviour"], list[Behaviour])


def render() -> str:
    """Return the page."""
    rows = behaviours()
    lines = [_HEAD]
    lines += ["## Unknown", "", "Verify these first, on an organisation of your own.", ""]
    for row in rows:
        if row.status == "unknown":
            setting = f" Setting: {_code(row.settings)}." if row.settings else ""
            lines.append(f"- {row.statement}{setting}")
    counts = Counter(row.status for row in rows)
    told = ", ".join(f"{counts[status]} {status}" for status in ("verified", "inferred", "unknown"))
    lines += ["", "## Behaviours", "", f"{len(rows)} in all: {told}."]
    for area in dict.fromkeys(row.area for row in rows):
        lines += ["", f"### {area}", ""]
        lines += ["| behaviour | status | source | sure | emulator setting | shown by |", "|---|---|---|---|---|---|"]
        for row in rows:
            if row.area == area:
                tests = ", ".join(f"`{test.partition('::')[2]}`" for test in row.tests) or "-"
                lines.append(
                    f"| {row.statement} | {row.status} | {row.source or '-'} | {row.confidence} "
                    f"| {_code(row.settings) or '-'} | {tests} |"
                )
    return "\n".join([*lines, *_fields(), ""])


def _fields() -> list[str]:
    facts = derive_facts.read_csv()
    lines = [
        "",
        "## Fields",
        "",
        f"`tests/wire/facts.csv` holds {len(facts)} fields with source and confidence. `echo.message` is written down "
        "at `onMessage.message`, an entity of the history at the body of `StructuredMessage`.",
        "",
        "| frame | fields | in the vendor's schema | seen in a frame or a client only |",
        "|---|---|---|---|",
    ]
    for frame in dict.fromkeys(fact.frame for fact in facts):
        of_frame = [fact for fact in facts if fact.frame == frame]
        in_schema = [fact for fact in of_frame if {"J:swagger", "P:schema"} & set(fact.source.split())]
        outside = [fact.path for fact in of_frame if fact not in in_schema]
        # REST bodies have no machine-readable schema among the sources: naming each field would say nothing.
        shown = (f"{len(outside)} fields" if frame.startswith("rest ") else _code(outside)) if outside else "-"
        lines.append(f"| {frame} | {len(of_frame)} | {len(in_schema)} | {shown} |")
    return lines


def _code(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main() -> None:
    """Write the page anew."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
