"""Hostile patterns by the hundred: each is refused when the policy is read, or finds what it says in bounded work."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import re2

from guestwire.errors import ConfigError
from guestwire.policy.content import MAX_FINDINGS, Content
from guestwire.settings.policy import Patterns, Personal, Policy
from tests.corpora.patterns import SHORT, Hostile, patterns

HOSTILE = list(patterns())
USED = [one for one in HOSTILE if not one.refused]


def content(*some: str, case: bool = True) -> Content:
    """A policy of patterns alone."""
    off = Personal(card="off", api_key="off")
    return Content(Policy(script="off", personal=off, patterns={"mine": Patterns(patterns=some, case=case)}))


def alone(one: Hostile, case: bool) -> Any:
    """The pattern without a set."""
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = case
    options.never_capture = True
    return re2.compile(one.pattern, options)


def test_there_are_enough() -> None:
    """And of both kinds."""
    assert len({one.pattern for one in HOSTILE}) == len(HOSTILE) > 200
    assert len(USED) > 80


@pytest.mark.parametrize("case", [True, False])
def test_what_cannot_be_used_is_refused_in_words(case: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """With its table and a reason, short and harmless. The engine says nothing by itself."""
    for one in HOSTILE:
        if one.refused:
            with pytest.raises(ConfigError, match=r"patterns\.mine: .+ \[GW-C021\]") as caught:
                content(one.pattern, case=case)
            assert caught.value.message.isascii(), one
            assert caught.value.message.isprintable(), one
            assert len(caught.value.message) < 400, one
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("case", [True, False])
def test_a_set_finds_what_each_pattern_finds_alone(case: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """On the text that is worst for it; never more often than there are findings."""
    for one in USED:
        text = one.text(SHORT)
        found = content(one.pattern, case=case).look(text)
        expected = [match.span() for match in itertools.islice(alone(one, case).finditer(text), MAX_FINDINGS + 1)]
        spans = [finding.span for finding in found]
        assert spans[: MAX_FINDINGS - 1] == expected[: MAX_FINDINGS - 1], one
        assert len(spans) == min(len(expected), MAX_FINDINGS), one
        assert all(start < end <= len(text) for start, end in filter(None, spans)), one
    assert capfd.readouterr() == ("", "")


def test_all_of_them_at_once_find_what_each_finds_alone(capfd: pytest.CaptureFixture[str]) -> None:
    """More than one set has room for; none is passed over for lack of memory."""
    together = content(*(one.pattern for one in USED))
    for one in USED[::4]:
        text = one.text(500)
        found = {finding.span for finding in together.look(text)}
        expected = [match.span() for match in itertools.islice(alone(one, True).finditer(text), 3)]
        starts = sorted(span for span in found if span)[: MAX_FINDINGS - 1]
        assert all(span in starts or span > starts[-1] for span in expected), one
    assert capfd.readouterr() == ("", "")
