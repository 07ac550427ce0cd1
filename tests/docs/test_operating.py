"""The page on operating it is complete."""

from __future__ import annotations

import re
from pathlib import Path

from guestwire.cli import logs

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text("utf-8")


def test_every_key_of_a_log_record_is_explained() -> None:
    """In the order in which a record has them, and none that no record has."""
    table = PAGE[PAGE.index("A record has these keys") :]
    told = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert len(told) == len(set(told))
    assert set(told) == {*logs.FIXED, *logs.KEYS.values(), *logs.OF_EXCEPTIONS}
