"""The parity page says what the tables say, and the tables name things that exist."""

from __future__ import annotations

import ast
from functools import cache

import pytest

from guestwire.emulator.settings import EmulatorSettings
from tests.wire import derive_facts, parity

BEHAVIOURS = parity.behaviours()


@cache
def functions_in(file: str) -> frozenset[str]:
    """Return the test functions that a file of this repository defines."""
    path = parity.ROOT / file
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text("utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def test_the_page_is_the_one_that_the_tables_make() -> None:
    """docs/parity.md is up to date; `python -m tests.wire.parity` makes it."""
    assert parity.PAGE.read_text("utf-8") == parity.render()


def test_the_page_begins_with_what_was_never_tried() -> None:
    """A reader learns at the top that no live organisation was used, and then what is unknown."""
    head = parity.render()[:1500]
    assert "never run against a live\norganisation" in head
    assert parity.render().index("## Unknown") < parity.render().index("## Behaviours")


@pytest.mark.parametrize("row", BEHAVIOURS, ids=lambda row: row.id)
def test_a_behaviour_names_tests_settings_and_sources_that_exist(row: parity.Behaviour) -> None:
    """Each row can be followed to its tests, its setting and its source."""
    assert row.status in {"verified", "inferred", "unknown"}
    assert row.confidence in {"H", "M", "L"}
    assert set(row.source.split()) <= set(derive_facts._SOURCES)
    assert row.source or row.status == "unknown"
    assert set(row.settings) <= set(EmulatorSettings.__struct_fields__)
    for test in row.tests:
        file, _, name = test.partition("::")
        assert name in functions_in(file), test


def test_every_behaviour_stands_once() -> None:
    """Ids are unique."""
    assert len({row.id for row in BEHAVIOURS}) == len(BEHAVIOURS)


def test_what_is_unknown_is_never_sure() -> None:
    """An unknown behaviour has low confidence: anything else would be a claim."""
    assert {row.confidence for row in BEHAVIOURS if row.status == "unknown"} == {"L"}


def test_every_doubtful_setting_of_the_emulator_has_its_row() -> None:
    """A setting that turns a doubtful behaviour is named by the behaviour it turns."""
    named = {setting for row in BEHAVIOURS for setting in row.settings}
    doubtful = {
        "dedupe_message_id",
        "dedupe_tracing_id",
        "echo_to_later_connections",
        "echo_tracing_id_to_other_connections",
        "errors_carry_tracing_id",
        "generate_url_error_code",
        "history_lag_s",
        "history_returns_metadata",
        "missing_origin_allowed",
        "server_close_code",
        "text_unit",
    }
    assert doubtful <= named
