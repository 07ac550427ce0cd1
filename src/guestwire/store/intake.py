"""Intake: destinations, guests, messages, batches; everything that comes in before the relay has a say."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from guestwire.errors import ConfigError, Finding, Rejected, StoreError
from guestwire.model import (
    Attachment,
    Draft,
    File,
    GuestKey,
    GuestRef,
    JournalEntry,
    MessageId,
    PartBody,
    PartId,
    PartState,
    Ticket,
)
from guestwire.store.base import Intake
from guestwire.store.connection import Row
from guestwire.store.lanes import Lanes


class IntakeVerbs(Lanes):
    """What submitting processes write."""

    def register(self, name: str, transport: str, fingerprint: str, *, is_emulator: bool) -> None:
        """Know a destination; refuse one that would mix emulator and live, or that changed under its name."""
        wanted = "emulator" if is_emulator else "live"
        kind = self._meta("kind")
        if kind is not None and kind != wanted:
            raise ConfigError(
                f"the store '{self._folder.path}' belongs to {kind} destinations, and '{name}' is {wanted}:"
                " one store never serves both",
                code="GW-C040",
                hint="give one of them another folder with --store or store.path",
            )
        row = self._row("destination", (name,))
        if row is None:
            if kind is None:
                self._run("set_meta", ("kind", wanted))
            self._run("add_destination", (name, transport, fingerprint))
        elif row != (transport, fingerprint):
            raise ConfigError(
                f"destination '{name}' now points somewhere else than when this store first met it",
                code="GW-C041",
                hint="give the new place a new name, so that no queued message changes its way by accident",
            )

    def add(self, intakes: Sequence[Intake], now: float, *, held_by: str | None = None) -> list[Ticket]:
        """
        Commit messages, all of the list or none.

        Args:
            intakes: In the order in which they are to enter their lanes.
            now: Seconds since the epoch.
            held_by: A batch: its messages enter their lanes only when the batch is let go.

        Raises:
            Rejected: An idempotency key is known with another payload.
            StoreError: Less disk is free than `min_free_disk_mb`.
        """
        self._require_disk()
        digests = [self._payload_digest(intake.draft) for intake in intakes]
        known = self._known_keys(intakes, digests)
        guests = self._guests_of(intakes)
        tickets: list[Ticket] = []
        added: dict[tuple[str, str], Ticket] = {}
        for intake, digest in zip(intakes, digests, strict=True):
            draft = intake.draft
            key = None if draft.key is None else (draft.destination, draft.key)
            ticket = None if key is None else known.get(key) or added.get(key)
            if ticket is None:
                ticket = self._add_message(intake, digest, guests[draft.destination, draft.guest], now, held_by)
                if key is not None:
                    added[key] = msgspec.structs.replace(ticket, fresh=False)
            tickets.append(ticket)
        self._settle_lanes(list(dict.fromkeys(ticket.guest_ref for ticket in tickets if ticket.fresh)))
        self._entries.clear()  # the relay, in whatever process, reads them from the journal
        return tickets

    def _known_keys(self, intakes: Sequence[Intake], digests: Sequence[bytes]) -> dict[tuple[str, str], Ticket]:
        """Find the messages whose keys were given before; refuse a key that now carries another payload."""
        known: dict[tuple[str, str], Ticket] = {}
        first: dict[tuple[str, str], bytes] = {}
        for intake, digest in zip(intakes, digests, strict=True):
            draft = intake.draft
            if draft.key is None:
                continue
            key = (draft.destination, draft.key)
            row = self._row("find_by_key", (draft.destination, self._vault.index("key", draft.key)))
            if (row[2] if row else first.setdefault(key, digest)) != digest:
                raise Rejected(
                    [
                        Finding(
                            "key.other_payload",
                            "key",
                            "this idempotency key was used before, for another guest or another content",
                            "give each message a key of its own",
                        )
                    ],
                    code="GW-R002",
                )
            if row is not None:
                parts = tuple(PartId(part) for (part,) in self._rows("part_ids", (row[0],)))
                known[key] = Ticket(MessageId(row[0]), parts, GuestRef(row[1]), fresh=False, destination=key[0])
        return known

    def _guests_of(self, intakes: Sequence[Intake]) -> dict[tuple[str, GuestKey], GuestRef]:
        """Return the guests of some messages; new ones get a name, a key and a session token first."""
        guests: dict[tuple[str, GuestKey], GuestRef] = {}
        new: list[tuple[str, GuestKey, bytes, GuestRef]] = []
        for draft in (intake.draft for intake in intakes):
            if (draft.destination, draft.guest) in guests:
                continue
            guest_hash = self._vault.index("guest", draft.destination, draft.guest)
            row = self._row("find_guest", (draft.destination, guest_hash))
            if row is None:
                guest_ref = GuestRef(f"g{secrets.token_hex(8)}")
                new.append((draft.destination, draft.guest, guest_hash, guest_ref))
            else:
                guest_ref = GuestRef(row[0])
            guests[draft.destination, draft.guest] = guest_ref
        self._vault.add(guest_ref for *_, guest_ref in new)
        for destination, guest, guest_hash, guest_ref in new:
            sealed_key = self._vault.seal(guest_ref, f"guests.guest_key.{guest_ref}", guest.encode())
            self._run("add_guest", (guest_ref, destination, guest_hash, sealed_key, self._seal_token(guest_ref)))
        return guests

    def _seal_token(self, guest_ref: GuestRef, token: str | None = None) -> bytes:
        """Seal a session token; a fresh one, in the form the platform recommends, where none is given."""
        plain = token or str(_uuid4())
        return self._vault.seal(guest_ref, f"guests.token.{guest_ref}", plain.encode())

    def _add_message(
        self, intake: Intake, digest: bytes, guest_ref: GuestRef, now: float, held_by: str | None
    ) -> Ticket:
        draft = intake.draft
        if not intake.bodies:  # it was known when it was looked at, and has been let go since
            raise Rejected(intake.findings)
        message_id = MessageId(self._new_id(now))
        waits = held_by is not None or (draft.not_before is not None and draft.not_before > now)
        self._put(
            "add_message",
            (
                message_id,
                guest_ref,
                draft.destination,
                None if draft.key is None else self._vault.index("key", draft.key),
                digest,
                (draft.not_before or now) if waits else None,
                draft.expires_at,
                draft.priority,
                intake.delivery.value,
                now,
                held_by,
            ),
        )
        files = draft.attachments if intake.attachments is None else intake.attachments
        part_ids: list[PartId] = []
        for position, given in enumerate(intake.bodies):
            part_id = PartId(self._new_id(now))
            body = self._keep_file(guest_ref, given, files[position : position + 1])
            size = len(body.text.encode())
            detail: dict[str, Any] = {"message": message_id, "size": size}
            if intake.policy:
                detail["policy"] = intake.policy
            if intake.findings and position == 0:
                detail["findings"] = {finding.rule: finding.action for finding in intake.findings}
            if draft.not_before is not None and waits:
                detail["not_before"] = draft.not_before
            seq = self._note(now, "part.queued", guest_ref, part_id, detail)
            sealed = self._vault.seal(guest_ref, f"parts.body.{part_id}", msgspec.json.encode(body))
            lane_seq = None if waits else seq
            blob = None if body.file is None else body.file.digest
            self._put(
                "add_part", (part_id, message_id, guest_ref, position, lane_seq, now, sealed, blob, size, now, now)
            )
            part_ids.append(part_id)
        if intake.parked_by is not None:
            self._park(part_ids, guest_ref, f"policy: {intake.parked_by}", now)
        if draft.read_receipt is not None:
            self._run("read_receipt", (int(draft.read_receipt), guest_ref))
        return Ticket(message_id, tuple(part_ids), guest_ref, destination=draft.destination, findings=intake.findings)

    def _park(self, part_ids: Sequence[PartId], guest_ref: GuestRef, reason: str, now: float) -> None:
        """Let a message that was just stored wait for a person, in its place in the lane."""
        for part_id in part_ids:
            self._run("finish", (PartState.PARKED.value, now, None, reason, "policy", part_id))
            detail = {"attempt": 0, "reason": reason, "parked_for": "policy"}
            self._note(now, "part.parked", guest_ref, part_id, detail)

    def _keep_file(self, guest_ref: GuestRef, body: PartBody, attachments: Sequence[Attachment]) -> PartBody:
        """Keep the file of a part, before the transaction that names it is committed."""
        for attachment in attachments:
            digest = self._blobs.put(guest_ref, attachment.content)
            file = File(digest, attachment.name, attachment.mime, len(attachment.content))
            self._run("add_blob", (digest, guest_ref, file.size, file.type))
            return msgspec.structs.replace(body, file=file)
        return body

    def _payload_digest(self, draft: Draft) -> bytes:
        attributes = msgspec.json.encode(draft.attributes, order="sorted").decode()
        more: list[str] = []
        if draft.answer is not None:
            more.append(msgspec.json.encode(draft.answer).decode())
        for extra in (draft.remote_files, draft.profile, draft.conversation):
            if extra:
                more.append(msgspec.json.encode(extra).decode())
        if draft.content_type != "text/plain":
            more.append(draft.content_type)
        for attachment in draft.attachments:
            more += [attachment.name, attachment.mime, self._vault.digest(GuestRef(""), attachment.content)]
        return self._vault.index("payload", draft.guest, draft.text, attributes, *more)

    def _require_disk(self) -> None:
        disk = os.statvfs(self._folder.path)
        free = disk.f_bavail * disk.f_frsize
        if free < self._min_free_bytes:
            raise StoreError(
                f"{free // 1_000_000} MB are free at '{self._folder.path}', less than min_free_disk_mb"
                f" ({self._min_free_bytes // 1_000_000}): nothing new is accepted, what is queued goes on being sent",
                code="GW-S021",
                hint="free some disk, or lower store.min_free_disk_mb",
            )

    def enter(self, now: float) -> list[JournalEntry]:
        """Let messages whose `not_before` has come enter their lanes, in the order of that time."""
        self._enter(self._rows("entering", (now,)), now)
        return self._drain()

    def let_go(self, batch: str, limit: int, now: float) -> int:
        """Let messages of a stored batch enter their lanes, in order; returns how many there were, at most `limit`."""
        held = self._rows("held", (batch, limit))
        for message_id, *_ in held:
            self._put("let_go", (message_id,))
        self._enter([(message_id, guest_ref) for message_id, guest_ref, at in held if at <= now], now)
        self._entries.clear()  # the relay, in whatever process, reads them from the journal
        return len(held)

    def _enter(self, messages: list[Row], now: float) -> None:
        names = [message_id for message_id, _ in messages]
        for part_id, guest_ref in self._rows("parts_entering", (msgspec.json.encode(names).decode(),)):
            self._put("enter_part", (self._note(now, "part.entered", guest_ref, part_id, {}), now, part_id))
        for name in names:
            self._put("entered", (name,))
        self._settle_lanes(list(dict.fromkeys(guest_ref for _, guest_ref in messages)))

    def batch(self, path: str) -> tuple[str, int] | None:
        """Return digest and rows of the file that was last stored from this path."""
        row = self._row("batch", (path,))
        return None if row is None else (row[0], row[1])

    def note_batch(self, path: str, digest: str, rows: int, now: float) -> None:
        """Remember a file whose rows are all stored."""
        self._run("set_batch", (path, digest, rows, now))

    def holds_same(self, draft: Draft) -> bool | None:
        """Say whether a message with this key holds this payload; None where the key is not known."""
        row = self._row("find_by_key", (draft.destination, self._vault.index("key", draft.key or "")))
        return None if row is None else bool(row[2] == self._payload_digest(draft))


def _uuid4() -> str:
    digits = bytearray(secrets.token_bytes(16))
    digits[6] = (digits[6] & 0x0F) | 0x40
    digits[8] = (digits[8] & 0x3F) | 0x80
    text = digits.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
