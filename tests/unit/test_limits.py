"""
Every limit that the wire's pages name is a setting with that default, or is on record as none of ours to keep.

`tests/wire/limits.csv` is the table of facts: limit, value, setting, source, when it was read, and how sure it is.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from guestwire.settings import LIMITS_OF, Limits
from tests.wire import derive_facts

LIMITS_CSV = Path(__file__).parents[1] / "wire" / "limits.csv"
DOCS = Path(__file__).parents[2] / "docs"
#: Settings of our own, about which nobody outside has said anything.
OURS = {"max_sessions", "reserve_per_min", "max_in_flight", "media_types", "text_unit", "max_parts"}


class Row(NamedTuple):
    """A limit that somebody outside has written down. Without a setting, `source` says why there is none."""

    way: str
    limit: str
    value: str
    setting: str
    source: str
    read: str
    confidence: str


def rows() -> list[Row]:
    """The table."""
    with LIMITS_CSV.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        assert next(lines) == list(Row._fields)
        return [Row(*line) for line in lines]


def test_every_limit_is_a_setting_with_that_default() -> None:
    """Value by value; each with its source, the date of reading, and how sure it is."""
    for row in rows():
        assert re.fullmatch(r"20\d\d-\d\d [HML] .+", f"{row.read} {row.confidence} {row.source}"), row
        assert bool(row.setting) == bool(row.value), row
        if row.setting:
            assert float(row.value) == getattr(LIMITS_OF[row.way], row.setting), row


def test_every_setting_is_a_limit_of_somebodys() -> None:
    """What is no outside limit is said to be ours."""
    named = {row.setting for row in rows()} - {""}
    assert set(Limits.__struct_fields__) == named | OURS
    assert not named & OURS


def test_every_limit_has_source_and_date_in_the_document() -> None:
    """docs/configuration.md says of each where it comes from; those of the limits page when it was read."""
    page = (DOCS / "configuration.md").read_text("utf-8")
    for row in rows():
        if row.setting and row.way == "webmessaging":
            (line,) = re.findall(rf"^\| `destinations\.NAME\.limits\.{row.setting}` .*$", page, re.MULTILINE)
            source = line.strip("|").split("|")[4]
            assert re.search(r"(high|medium)\)", source), line
            assert "limits page" not in source or row.read in source, line


@pytest.mark.skipif(
    derive_facts.oracle() is None,
    reason="GUESTWIRE_ORACLE is not set: the outside material is not on this machine",
)
@pytest.mark.parametrize(
    ("page", "way", "begin", "end"),
    [
        ("guest-api.md", "webmessaging", "\n## 10. Limits", "\n## "),
        ("platform-api.md", "openmessaging", "\n**Limits**", "\n## "),
    ],
)
def test_the_facts_hold_every_limit_of_the_outside_pages(page: str, way: str, begin: str, end: str) -> None:
    """A limit that a page grows is missed here first."""
    folder = derive_facts.oracle()
    assert folder is not None
    text = (folder / page).read_text("utf-8").partition(begin)[2].partition(end)[0]
    cells = [cell.replace("*", "").replace("`", "").strip() for cell in re.findall(r"^\|([^|]+)\|", text, re.MULTILINE)]
    found = [cell for cell in cells if cell.lower() != "limit" and set(cell) - set("- ")]
    facts = [row.limit for row in rows() if row.way == way]
    assert len(found) == len(facts) >= 10
    assert [cell for cell in found if not any(cell.startswith(fact) for fact in facts)] == []
