"""The journal's page names what the code writes."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

from guestwire.model import RECEIPT_STATES, PartState
from guestwire.store.base import ReplyStatus

ROOT = Path(__file__).parents[2]
FAMILIES = (
    "part|upload|receipt|reply|replies|session|guest|errand|typing|lane|destination|deployment|config|webhook|"
    "wire|relay|store|sink"
)
EVENT = re.compile(rf"({FAMILIES})\.[a-z_]+")
#: What reads like an event and is something else: a file, a setting's file, a rule for messages.
OTHERS = {"relay.lock", "relay.json", "config.toml", "guest.empty", "guest.id_type", "replies.body"} | {
    "store.db",
    "store.path",
}


def events_in_source() -> set[str]:
    """Every journal event that stands in the source as a literal, and those made of a state's name."""
    found = {f"part.{state.value}" for state in (PartState.DEAD, PartState.EXPIRED, PartState.PARKED)}
    found |= {f"errand.{state}" for state in ("done", "failed")}
    found |= {f"part.{state.value}" for state in RECEIPT_STATES.values()}
    found |= {f"reply.{status}" for status in get_args(ReplyStatus)}
    for path in (ROOT / "src" / "guestwire").rglob("*.py"):
        if {"emulator", "settings", "testing"} & set(path.parts):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and EVENT.fullmatch(node.value):
                found.add(node.value)
    return found - OTHERS


def test_every_event_that_is_written_is_explained() -> None:
    """Whoever meets an event in `tail` finds it on the page."""
    page = set(re.findall(r"^\| `([a-z_.]+)` \|", (ROOT / "docs" / "journal.md").read_text(), re.MULTILINE))
    assert events_in_source() - page == set()


def test_every_event_that_is_explained_exists() -> None:
    """The page promises nothing that the code never writes."""
    page = set(re.findall(r"^\| `([a-z_.]+)` \|", (ROOT / "docs" / "journal.md").read_text(), re.MULTILINE))
    assert page - events_in_source() == set()
