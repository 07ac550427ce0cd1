"""docs/guarantees.md shows what the code, the page of faults and the last long run say."""

from __future__ import annotations

import re

from tests.docs.guarantees_page import DOCS, PAGE, SECTIONS, cells, render


def test_the_page_shows_what_it_is_made_of() -> None:
    """`make docs` makes it anew."""
    page = PAGE.read_text("utf-8")
    assert render(page) == page
    assert sorted(re.findall(r"<!-- made: (\w+) -->", page)) == sorted(SECTIONS)


def test_every_row_of_the_page_of_faults_is_counted() -> None:
    """A table that is not read would make the matrix smaller than it is."""
    page = (DOCS / "faults.md").read_text("utf-8")
    tables = re.findall(r"^\| fault \|.*\n\| ---.*\n((?:\|.*\n)+)", page, re.MULTILINE)
    assert sum(table.count("\n") for table in tables) == len(list(cells())) > 300


def test_the_promise_is_that_of_the_readme() -> None:
    """Word for word."""
    promise = re.search(r"^\*\*Queued means .*?\*\*$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert promise is not None
    assert promise[0] in (DOCS.parent / "README.md").read_text("utf-8")


def test_every_suite_that_the_page_names_is_there() -> None:
    """A path that leads nowhere would be a claim without its proof."""
    named = set(re.findall(r"tests/[\w/]+(?:\.py)?", PAGE.read_text("utf-8")))
    assert len(named) > 8
    assert [path for path in named if not (DOCS.parent / path).exists()] == []
