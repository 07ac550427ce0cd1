"""docs/outcomes.md shows the tables that the code decides by."""

from __future__ import annotations

import re

from tests.docs.outcomes_page import PAGE, SECTIONS, render


def test_the_page_shows_the_tables_of_the_code() -> None:
    """What is made of the code is what the code says now; `make docs` makes it anew."""
    page = PAGE.read_text("utf-8")
    assert render(page) == page


def test_every_table_stands_in_the_page_once() -> None:
    """A table that nobody is shown is no documentation."""
    assert sorted(re.findall(r"<!-- made: (\w+) -->", PAGE.read_text("utf-8"))) == sorted(SECTIONS)
