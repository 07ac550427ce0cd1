"""
What is accepted: drafts against the rules of their destinations, and the parts that they become.

All of it is known before anything is stored. Only addresses of remote files take time: each is asked once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from guestwire.clock import Clock
from guestwire.errors import Finding, NotFound, Rejected
from guestwire.model import Draft, PartBody
from guestwire.policy.ways import check_message
from guestwire.settings import Destination
from guestwire.store.base import Intake
from guestwire.store.sqlite import SqliteStore

T = TypeVar("T")


class Read(Protocol):
    """Runs a reading verb of the store."""

    def __call__(self, verb: Callable[[SqliteStore], T], /) -> asyncio.Future[T]:
        """Run it."""


class Acceptance:
    """
    Decides what may be stored.

    Args:
        destinations: Where messages may go, by name.
        clock: The time.
        read: Asks the store which messages are known.
    """

    def __init__(self, destinations: Mapping[str, Destination], clock: Clock, read: Read) -> None:
        self._destinations = destinations
        self._clock = clock
        self._read = read

    def check(self, draft: Draft, *, with_links: bool = True) -> tuple[Finding, ...]:
        """Say everything that is wrong with a message, without asking anybody."""
        destination = self._destinations.get(draft.destination)
        if destination is None:
            raise NotFound(
                f"no destination is called '{draft.destination}' here",
                code="GW-N001",
                hint=f"known: {', '.join(self._destinations)}",
            )
        return check_message(draft, destination, self._clock.now(), with_links=with_links)

    async def look_at(self, drafts: Sequence[Draft]) -> list[Intake]:
        """
        Hold messages against every rule.

        Raises:
            Rejected: With the findings of all; of several, the path of each begins with the message's number, from 0.
        """
        linked = [draft for draft in drafts if draft.remote_files]
        if not linked:
            return self._intakes(drafts, set())
        # Whoever says the same again must not hear that what is stored cannot be: its address may be gone by now.
        known = await self._read(
            lambda store: {_name_of(draft) for draft in linked if draft.key is not None and store.holds_same(draft)}
        )
        intakes = self._intakes(drafts, known)
        asked = [(n, draft) for n, draft in enumerate(drafts) if draft.remote_files and _name_of(draft) not in known]
        await self._probe(asked, len(drafts))
        return intakes

    def _intakes(self, drafts: Sequence[Draft], known: Collection[tuple[str, str | None]]) -> list[Intake]:
        findings: list[Finding] = []
        intakes: list[Intake] = []
        for number, draft in enumerate(drafts):
            found = self.check(draft, with_links=_name_of(draft) not in known)
            if len(drafts) > 1:
                found = tuple(msgspec.structs.replace(finding, path=f"[{number}].{finding.path}") for finding in found)
            findings += found
            if not found:
                destination = self._destinations[draft.destination]
                intakes.append(Intake(draft, (body_of(draft, destination),), draft.delivery or destination.delivery))
        if findings:
            raise Rejected(findings)
        return intakes

    async def _probe(self, drafts: Sequence[tuple[int, Draft]], count: int) -> None:
        """Look whether remote files can be fetched at all; the platform drops silently what it cannot."""
        from guestwire.links import probe

        findings: list[Finding] = []
        for name in {draft.destination for _, draft in drafts}:
            destination = self._destinations[name]
            if not destination.probe_links:
                continue
            mine = [(n, file) for n, draft in drafts if draft.destination == name for file in draft.remote_files]
            gone = await probe([file.url for _, file in mine], destination)
            for number, file in mine:
                if file.url in gone:
                    path = f"[{number}].attachments" if count > 1 else "attachments"
                    findings.append(msgspec.structs.replace(gone[file.url], path=path))
        if findings:
            raise Rejected(findings)


def _name_of(draft: Draft) -> tuple[str, str | None]:
    """Return what tells a message from every other, where it has a key."""
    return (draft.destination, draft.key)


def body_of(draft: Draft, destination: Destination) -> PartBody:
    """Return what of a draft goes on the wire."""
    asks = destination.read_receipt if draft.read_receipt is None else draft.read_receipt
    return PartBody(
        draft.text,
        draft.attributes,
        draft.answer,
        remote_files=draft.remote_files,
        profile=draft.profile,
        content_type=draft.content_type,
        conversation=draft.conversation,
        read_receipt=asks,
    )
