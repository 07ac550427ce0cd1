"""The soak, for some seconds: that it measures, and that nothing piles up at once."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.kit import record
from tests.chaos.soak import Figure, percentile, slope_per_hour, steady, table


async def test_some_seconds_of_steady_load(tmp_path: Path) -> None:
    """With a fault every two seconds nothing is lost, and neither files nor tasks become more."""
    figures = await steady(tmp_path, 18.0, 2.0)
    record("soak", **{figure.what: figure.figure for figure in figures})
    assert [figure for figure in figures if figure.holds is False] == []
    assert sum(figure.holds is True for figure in figures) == 4


def test_the_figures_are_what_they_say() -> None:
    """A slope is per hour, a percentile is one of the values, and a missed goal stands out."""
    assert slope_per_hour([(0.0, 10.0), (1800.0, 11.0), (3600.0, 12.0)]) == 2.0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert "**NO**" in table([Figure("a", "b", "c", False)])
