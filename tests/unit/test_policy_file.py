"""The policy file: what stands in it is in force, and what cannot be is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.errors import ConfigError
from guestwire.settings.policy import Policy, Words, parse_policy

PATH = Path("/policies/shop.toml")


def parse(text: str, **files: str) -> Policy:
    """Read a policy with lists beside it."""

    def read(path: Path) -> str:
        if path.name not in files:
            raise FileNotFoundError(2, "No such file or directory")
        assert path.parent == PATH.parent
        return files[path.name]

    return parse_policy(text, PATH, read)


def test_an_empty_file_is_the_default_policy_by_another_name() -> None:
    """It has a digest, so that the journal tells it from no file."""
    policy = parse("")
    assert (policy.version, policy.script, policy.personal.card) == ("unnamed", "reject", "warn")
    assert policy.name == f"unnamed/{policy.digest}"
    assert Policy().name == "default"


def test_lists_beside_it_are_part_of_it() -> None:
    """Comments and empty lines are not; the digest changes with a list."""
    text = '[lists.a]\nwords = ["one"]\nfiles = ["more"]\n'
    policy = parse(text, more="# ours\n two words \n\nthree\n")
    assert policy.lists["a"].words == ("one", "two words", "three")
    assert policy.digest != parse(text, more="other").digest
    assert policy.digest == parse(text, more="# ours\n two words \n\nthree\n").digest


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("version = ", "GW-C004", "line 1"),
        (
            '\nscript = "of"',
            "GW-C006",
            "script 'of' is not one of reject, redact, park, warn, off (/policies/shop.toml line 2)",
        ),
        ("version = 5", "GW-C006", "version 5 is not text"),
        ('version = ""', "GW-C006", "1 to 64 printable"),
        ('[list.a]\nwords = ["x"]', "GW-C005", "list is no key"),
        ('[lists.a]\nword = ["x"]', "GW-C005", "lists.a.word is no key of a policy (/policies/shop.toml line 2)"),
        ('[lists.a]\nwords = "x"', "GW-C006", "lists.a.words"),
        ("[lists.a]\nwords = [1]", "GW-C006", "lists.a.words"),
        ('[lists."A B"]\nwords = []', "GW-C006", "is no name"),
        ("lists = 5", "GW-C006", "lists 5 is not a table"),
        ('[lists.a]\nfiles = ["none.txt"]', "GW-C003", "'none.txt' cannot be read: No such file"),
        ('[personal]\ncard = "mask"', "GW-C006", "personal.card"),
        ('[groups.vip]\nguests = ["x"]\nactions = { "list.a" = "no" }', "GW-C006", "groups.vip"),
        ("[links]\nallow = 5", "GW-C006", "links.allow"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(text: str, code: str, words: str) -> None:
    """Nobody looks for the mistake in a file of a thousand lines."""
    with pytest.raises(ConfigError, match=code) as caught:
        parse(text)
    assert words in caught.value.message
    assert caught.value.hint


def test_a_misspelled_key_has_a_neighbour() -> None:
    """Which is named."""
    with pytest.raises(ConfigError) as caught:
        parse('[lists.a]\nword = ["x"]')
    assert caught.value.hint == "did you mean 'words'?"


def outcome(text: str) -> Policy | str:
    """A policy, or the code of its refusal."""
    try:
        return parse(text)
    except ConfigError as error:
        return error.code


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
)


@given(st.text(max_size=80))
def test_any_text_is_a_policy_or_is_refused(text: str) -> None:
    """Never anything else."""
    found = outcome(text)
    assert isinstance(found, Policy) or found in ("GW-C003", "GW-C004", "GW-C005", "GW-C006")


@given(VALUES)
def test_any_value_fits_or_is_refused(value: object) -> None:
    """Of whatever type."""
    shown = "[]" if value is None else str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')
    found = outcome(f"[lists.a]\nwords = {shown}")
    assert found in ("GW-C004", "GW-C006") if isinstance(found, str) else isinstance(found.lists["a"], Words)
