"""The corpora on their way: into a store and out of it, and over the wire, as they were written."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from guestwire import Draft, GuestWire, Message, Rejected
from guestwire.model import GuestKey, PartBody
from guestwire.policy.verdict import judge
from guestwire.store.sqlite import SqliteStore
from guestwire.testing import emulator
from tests.corpora import characters, payloads
from tests.journey.kit import FAST, inbound, make_wire, settled, wired
from tests.unit.test_corpus_payloads import CONTENT, WAYS

#: Of the texts, about so many go over the wire.
SENT = 120


def drafts_of(texts: list[str]) -> list[Draft]:
    """Those that are accepted on web messaging."""
    drafts = (Draft(destination=WAYS[0].name, guest=GuestKey("ann"), text=text) for text in texts)
    return [draft for draft in drafts if not judge(draft, WAYS[0], CONTENT, now=1.0).is_rejected]


async def stored(wire: GuestWire, drafts: list[Draft]) -> list[list[PartBody | None]]:
    """Submit messages, and read back what lies on the disk."""
    tickets = await wire.submit_many(drafts)

    def bodies(store: SqliteStore) -> list[list[PartBody | None]]:
        return [[store.body_of(part) for part in ticket.part_ids] for ticket in tickets]

    return await wire.store_read(bodies)


async def test_every_text_is_read_from_the_store_as_it_was_written(tmp_path: Path) -> None:
    """Whatever it is made of."""
    drafts = drafts_of(characters.texts())
    async with make_wire(WAYS[0], tmp_path, relay="never") as wire:
        found = await stored(wire, drafts)
    assert len(found) > 10_000
    assert ["".join(body.text for body in bodies if body) for bodies in found] == [draft.text for draft in drafts]


async def test_every_message_that_is_accepted_is_stored_whole(tmp_path: Path) -> None:
    """With whatever its fields hold."""
    drafts: dict[int, Draft] = {}
    for number, one in enumerate(payloads.messages()):
        try:
            draft = Message(**one.values).to_draft(WAYS[0].name)
        except (ValidationError, Rejected):
            continue
        if not draft.key and not judge(draft, WAYS[0], CONTENT, now=1.0).is_rejected:
            drafts[number] = draft
    async with make_wire(WAYS[0], tmp_path, relay="never") as wire:
        found = await stored(wire, list(drafts.values()))
    assert len(found) > 500
    for draft, bodies in zip(drafts.values(), found, strict=True):
        assert "".join(body.text for body in bodies if body) == draft.text
        assert bodies[0] is not None
        assert bodies[0].attributes == draft.attributes
        assert bodies[0].answer == draft.answer


async def test_texts_arrive_as_they_were_written(tmp_path: Path) -> None:
    """A hundred of every kind, over a real connection, in their order."""
    texts: list[str] = []
    groups = characters.groups()
    for some in groups.values():
        mine = [draft.text for draft in drafts_of(list(some))]
        texts += mine[:: max(1, len(mine) * len(groups) // SENT)]
    async with emulator(**FAST, limits="off") as genesys, wired(genesys, tmp_path, pace=False) as wire:
        tickets = await wire.submit_many([Message(guest="ann", text=text) for text in texts])
        assert set(await settled(wire, *tickets)) == {"accepted"}
        assert inbound(genesys) == texts
    assert len(texts) >= 100
