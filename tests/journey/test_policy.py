"""A policy on a message's whole way: rejected, masked, parked, split; in a program and on the command line."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from guestwire import Draft, Finding, GuestWire, Limits, Message, Rejected
from guestwire.emulator.app import Emulator
from guestwire.settings import PolicySettings, StoreSettings
from guestwire.testing import FakeClock, emulator
from tests.journey.kit import FAST, QUICK, destination, inbound, say, settled, story_of, wired
from tests.journey.test_cli_kit import Cli, texts

POLICY = """\
version = "7"

[lists.competitors]
words = ["Acme"]
action = "park"

[lists.forbidden]
words = ["blocked keyword"]
fix = "say it in other words"

[personal]
card = "redact"
email = "redact"

[groups.staff]
guests = ["staff-*"]
actions = { "list.competitors" = "off" }
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy file."""
    file = tmp_path / "policy.toml"
    file.write_text(POLICY)
    return file


def wire_with(genesys: Emulator, folder: Path, file: Path | None, *rules: Any, **more: Any) -> GuestWire:
    """A program with a policy."""
    return GuestWire(
        [destination(genesys)],
        store=folder / "store",
        store_settings=StoreSettings(path=folder / "store", min_free_disk_mb=1),
        relay_settings=QUICK,
        policy=PolicySettings(file=file),
        rules=rules,
        **more,
    )


async def test_what_a_policy_says_is_done(tmp_path: Path, policy: Path) -> None:
    """Rejected is not stored; masked leaves masked; parked waits, and what follows it waits behind."""
    async with emulator(**FAST) as genesys, wire_with(genesys, tmp_path, policy) as wire:
        with pytest.raises(Rejected) as caught:
            await say(wire, "a BLOCKED  keyword".replace("  ", " "))
        assert [finding.rule for finding in caught.value.findings] == ["list.forbidden"]
        masked = await say(wire, "my card: 4111 1111 1111 1111, mail a@b.example")
        parked = await say(wire, "ACME is cheaper")
        behind = await say(wire, "hello?")
        assert await settled(wire, masked) == ["accepted"]
        assert inbound(genesys) == ["my card: [card], mail [e-mail]"]
        assert {finding.action for finding in masked.findings} == {"redact"}
        assert [finding.rule for finding in parked.findings] == ["list.competitors"]
        status = await wire.message(parked.message_id)
        assert dict(status.parts) == {"parked": 1}
        await wire.messages.release(parked.message_id, by="ann", why="it is true")
        assert await settled(wire, parked, behind) == ["accepted", "accepted"]
        assert inbound(genesys)[1:] == ["ACME is cheaper", "hello?"]
        assert await story_of(wire, parked) == ["queued", "parked", "released", "sending", "accepted"]
        _, entries = await wire.find(masked.message_id)
        assert entries[0].detail["policy"].startswith("7/")
        assert entries[0].detail["findings"] == {"personal.card": "redact", "personal.email": "redact"}
        journal = json.dumps([entry.detail for entry in await wire.store_read(lambda store: store.journal(0, 1000))])
        assert "4111" not in journal
        ticket = await say(wire, "ACME is cheaper", guest="staff-7")
        assert await settled(wire, ticket) == ["accepted"]


async def test_a_message_that_is_known_is_known_under_another_policy_too(tmp_path: Path, policy: Path) -> None:
    """Whoever did not hear the answer says the same again, and must not hear that what is stored cannot be."""
    clock = FakeClock()
    async with emulator(**FAST) as genesys, wire_with(genesys, tmp_path, policy, relay="never", clock=clock) as wire:
        first = await say(wire, "the new word", key="k")
        policy.write_text(POLICY + '[lists.new]\nwords = ["new word"]\n')  # noqa: ASYNC240
        clock.advance(2)
        again = await say(wire, "the new word", key="k")
        assert again.message_id == first.message_id
        assert not again.fresh
        with pytest.raises(Rejected, match="list 'new'"):
            await say(wire, "the new word", key="k2")


async def test_masking_does_not_make_another_message_of_it(tmp_path: Path, policy: Path) -> None:
    """The key stands for what was said, not for what is left of it."""
    async with emulator(**FAST) as genesys, wire_with(genesys, tmp_path, policy, relay="never") as wire:
        first = await say(wire, "4111 1111 1111 1111", key="k")
        assert (await say(wire, "4111 1111 1111 1111", key="k")).message_id == first.message_id
        with pytest.raises(Rejected, match="GW-R002"):
            await say(wire, "4242 4242 4242 4242", key="k")


async def test_a_long_text_arrives_in_its_parts_in_order(tmp_path: Path) -> None:
    """Accepted all or none; joined they are the text."""
    text = "".join(f"This is sentence number {number}. " for number in range(400))
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        ticket = await say(wire, text)
        assert len(ticket.part_ids) == 3
        assert await settled(wire, ticket) == ["accepted"]
        assert "".join(inbound(genesys)) == text


async def test_a_rule_of_the_program_s_own(tmp_path: Path) -> None:
    """It sees the draft and the limits of its way out."""

    def no_questions(draft: Draft, limits: Limits) -> list[Finding]:
        assert limits.max_text == 4096
        return [Finding("shop.question", "text", "asks", "answer instead")] if "?" in draft.text else []

    async with emulator(**FAST) as genesys, wire_with(genesys, tmp_path, None, no_questions) as wire:
        with pytest.raises(Rejected, match="asks"):
            await say(wire, "why?")
        assert [one.rule for one in wire.check(Message(guest="1", text="why?"))] == ["shop.question"]
        assert await settled(wire, await say(wire, "so.")) == ["accepted"]


async def test_what_the_live_session_takes_is_asked_before_anything_leaves(tmp_path: Path) -> None:
    """It announced less than the settings say: the message ends with the gateway's code, in our words."""
    async with emulator(**FAST, max_attributes_bytes=10) as genesys, wired(genesys, tmp_path) as wire:
        ticket = await say(wire, "hello", attributes={"topic": "a long story"})
        assert await settled(wire, ticket) == ["dead"]
        (part,), _ = await wire.find(ticket.message_id)
        assert part.reason is not None
        assert part.reason.startswith("4013: 17 bytes")
        assert inbound(genesys) == []


# --- the command line ---


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Commands with a home of their own."""
    return Cli(tmp_path)


def test_a_command_goes_by_the_policy_of_the_settings(cli: Cli, genesys: Any, policy: Path) -> None:
    """send says what was masked, or that it waits; messages lists and releases it."""
    setting = {"GUESTWIRE_POLICY__FILE": str(policy)}
    where = ("--gateway", genesys.url, "--guest", "1")
    rejected = cli("send", *where, "a blocked keyword", **setting)
    assert rejected.code == 3
    assert "list of 'forbidden'" in rejected.err or "list 'forbidden'" in rejected.err
    masked = cli("send", *where, "card 4111 1111 1111 1111", **setting)
    assert masked.code == 0
    assert "masked: text holds the number of a payment card [personal.card]" in masked.err
    assert "card [card]" in texts(genesys)
    dry = cli("send", *where, "--dry-run", "Acme", **setting)
    assert dry.code == 0
    assert "waits for a person" in dry.err
    assert "guestwire messages release" in dry.out
    parked = cli("send", *where, "Acme", "--wait", "none", **setting)
    assert "parked" in parked.out
    (part,) = cli("messages", "list", "--state", "parked", "--text", "--json").objects
    assert (part["text"], part["parked_for"]) == ("Acme", "policy")
    assert cli("messages", "release", part["message_id"], "--why", "fine").code == 0
    assert cli("send", *where, "after it", **setting).code == 0
    assert texts(genesys)[-2:] == ["Acme", "after it"]


def test_every_finding_of_a_file_is_told_at_once(cli: Cli, genesys: Any, policy: Path, tmp_path: Path) -> None:
    """With its row; exit code 3, and nothing is stored."""
    rows = tmp_path / "rows.csv"
    rows.write_text("guest,text\n1,fine\n2,blocked keyword\n3,<script>\n4,Acme\n")
    said = cli("batch", str(rows), "--gateway", genesys.url, "--dry-run", GUESTWIRE_POLICY__FILE=str(policy))
    assert said.code == 3
    assert "row 2" in said.err
    assert "row 3" in said.err
    assert "row 4" not in said.err


def test_policy_check_reads_a_file(cli: Cli, policy: Path) -> None:
    """Its rules with their actions; a bad one with the line."""
    said = cli("policy", "check", str(policy))
    assert said.code == 0
    assert said.out.startswith("policy 7/")
    assert "list.competitors  park" in said.out
    assert "group staff: list.competitors off for guests staff-*" in said.out
    (data,) = cli("policy", "check", str(policy), "--json").objects
    assert data["rules"]["personal.card"] == "redact"
    policy.write_text(POLICY + '[patterns.mine]\npatterns = ["(?=a)"]\n')
    said = cli("policy", "check", str(policy))
    assert said.code == 4
    assert "patterns.mine" in said.err
    policy.write_text(POLICY.replace('"park"', '"perk"'))
    said = cli("policy", "check", str(policy))
    assert said.code == 4
    assert "line 5" in said.err


def test_policy_explain_shows_the_place(cli: Cli, policy: Path) -> None:
    """The rule, what follows, what would go out; a text of the terminal's own is shown harmless."""
    said = cli("policy", "explain", "--policy", str(policy), "pay 4111 1111 1111 1111 to \x1b[31m Acme")
    assert said.code == 0
    assert "masked: holds the number of a payment card [personal.card]" in said.out
    assert "pay »4111 1111 1111 1111« to" in said.out
    assert "\x1b" not in said.out
    assert "it would wait for a person, in 1 part, because of list.competitors (policy 7/" in said.out
    assert "pay [card] to" in said.out
    said = cli("policy", "explain", "--policy", str(policy), "-", stdin=b"a blocked keyword\n")
    assert said.code == 3
    (data,) = cli("policy", "explain", "--policy", str(policy), "--guest", "staff-1", "Acme", "--json").objects
    assert (data["outcome"], data["findings"]) == ("accepted", [])


def test_rules_by_name_come_from_where_python_finds_them(cli: Cli, genesys: Any, tmp_path: Path) -> None:
    """As the settings name them."""
    (tmp_path / "shop_rules.py").write_text(
        "from guestwire import Finding\n"
        "def no_digits(draft, limits):\n"
        "    if any(character.isdigit() for character in draft.text):\n"
        "        yield Finding('shop.digits', 'text', 'holds a digit', 'leave it out')\n"
    )
    setting = {
        "GUESTWIRE_POLICY__RULES": "shop_rules:no_digits",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    where = ("--gateway", genesys.url, "--guest", "1")
    said = cli("send", *where, "order 7", **setting)
    assert said.code == 3
    assert "holds a digit" in said.err
    assert cli("send", *where, "order seven", **setting).code == 0
    assert sys.modules.get("shop_rules") is None
    said = cli("send", *where, "order", GUESTWIRE_POLICY__RULES="shop_rules:none", PYTHONPATH=str(tmp_path))
    assert said.code == 4
    assert "GW-C023" in said.err
