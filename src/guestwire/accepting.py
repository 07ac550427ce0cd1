"""
What is accepted: drafts against the rules of their destinations, and the parts that they become.

All of it is known before anything is stored. Only addresses of remote files take time: each is asked once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from guestwire.clock import Clock
from guestwire.errors import Finding, NotFound, Rejected
from guestwire.filing import Filing
from guestwire.model import Attachment, Draft
from guestwire.rulebook import Rulebook
from guestwire.settings import Destination
from guestwire.store.base import Intake
from guestwire.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from guestwire.policy.verdict import Verdict

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
        rulebook: The policy, and the program's own rules.
        filing: Scans and cleans files.
    """

    def __init__(
        self, destinations: Mapping[str, Destination], clock: Clock, read: Read, rulebook: Rulebook, filing: Filing
    ) -> None:
        self._destinations = destinations
        self._clock = clock
        self._read = read
        self._rulebook = rulebook
        self._filing = filing

    def judge(self, draft: Draft, *, with_links: bool = True) -> Verdict:
        """Say what would become of a message, without asking anybody."""
        from guestwire.policy.verdict import judge

        destination = self._destinations.get(draft.destination)
        if destination is None:
            raise NotFound(
                f"no destination is called '{draft.destination}' here",
                code="GW-N001",
                hint=f"known: {', '.join(self._destinations)}",
            )
        book = self._rulebook
        return judge(
            draft,
            destination,
            book.content,
            book.rules,
            now=self._clock.now(),
            with_links=with_links,
            files=self._filing.settings,
        )

    async def look_at(self, drafts: Sequence[Draft]) -> list[Intake]:
        """
        Hold messages against every rule.

        Raises:
            Rejected: With the findings of all; of several, the path of each begins with the message's number, from 0.
        """
        verdicts = [self.judge(draft) for draft in drafts]
        # Whoever says the same again must not hear that what is stored cannot be: an address may be gone by now, and a
        # policy may have changed.
        doubtful = [
            draft
            for draft, verdict in zip(drafts, verdicts, strict=True)
            if draft.key is not None and (verdict.is_rejected or draft.remote_files or draft.attachments)
        ]
        known: set[tuple[str, str | None]] = set()
        if doubtful:
            known = await self._read(lambda store: {_name_of(draft) for draft in doubtful if store.holds_same(draft)})
        verdicts, files = await self._treat(drafts, verdicts, known)
        intakes = self._intakes(drafts, verdicts, known, files)
        asked = [(n, draft) for n, draft in enumerate(drafts) if draft.remote_files and _name_of(draft) not in known]
        if asked:
            await self._probe(asked, len(drafts))
        return intakes

    def _intakes(
        self,
        drafts: Sequence[Draft],
        verdicts: Sequence[Verdict],
        known: Collection[tuple[str, str | None]],
        files: Mapping[int, tuple[Attachment, ...]],
    ) -> list[Intake]:
        findings: list[Finding] = []
        intakes: list[Intake] = []
        for number, (draft, verdict) in enumerate(zip(drafts, verdicts, strict=True)):
            if verdict.is_rejected and _name_of(draft) not in known:
                before = f"[{number}]." if len(drafts) > 1 else ""
                findings += (msgspec.structs.replace(one, path=before + one.path) for one in verdict.reasons)
                continue
            delivery = draft.delivery or self._destinations[draft.destination].delivery
            intakes.append(
                Intake(
                    draft,
                    verdict.bodies,
                    delivery,
                    verdict.findings,
                    verdict.policy,
                    files.get(number),
                    verdict.parked_by,
                )
            )
        if findings:
            raise Rejected(findings)
        return intakes

    async def _treat(
        self, drafts: Sequence[Draft], verdicts: Sequence[Verdict], known: Collection[tuple[str, str | None]]
    ) -> tuple[list[Verdict], dict[int, tuple[Attachment, ...]]]:
        """Have files scanned and cleaned, of messages that are not known and that nothing else rejects."""
        treated = list(verdicts)
        files: dict[int, tuple[Attachment, ...]] = {}
        for number, (draft, verdict) in enumerate(zip(drafts, verdicts, strict=True)):
            if not draft.attachments or verdict.is_rejected or _name_of(draft) in known:
                continue
            found = await self._filing.treat(draft.attachments, self._destinations[draft.destination].limits)
            files[number] = found.attachments
            treated[number] = msgspec.structs.replace(verdict, findings=(*verdict.findings, *found.findings))
        return treated, files

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
