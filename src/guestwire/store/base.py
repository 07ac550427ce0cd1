"""
The verbs of a store, and what each guarantees.

Verbs are synchronous and run inside a transaction that their caller owns (`thread.StoreThread` commits many together).
A verb that refuses raises a `GuestWireError` *before* it has written anything.

Every change of state writes one journal row in the same transaction. Inside a lane order is by `lane_seq`, which is the
journal's own number for the entry "this part entered its lane": unique, rising, and handed out by the same transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

import msgspec

from guestwire.errors import Finding
from guestwire.model import (
    Accepted,
    Attachment,
    Auth,
    AuthChanged,
    CaughtUp,
    Delivery,
    Draft,
    Errand,
    ErrandKind,
    File,
    GuestKey,
    GuestRef,
    JournalEntry,
    MessageId,
    ParkedFor,
    PartBody,
    PartId,
    PartState,
    Receipt,
    Reply,
    SessionChanged,
    SessionState,
    Ticket,
)
from guestwire.policy.interventions import Verb
from guestwire.policy.pace import UseKind

ReplyStatus = Literal["delivered", "read", "failed"]

# --- what the relay asks for ---


class Confirm(msgspec.Struct, frozen=True):
    """
    The gateway took the part.

    A fact, not an opinion: it holds from every state and under every fence, and joins with what is known. On a part
    that is already accepted under another gateway id it records a visible duplicate.
    """

    part_id: PartId
    accepted: Accepted


class Requeue(msgspec.Struct, frozen=True):
    """Back to the head of its lane. Only while the part is still as the relay last saw it."""

    part_id: PartId
    attempt: int
    at: float
    reason: str
    spent: bool = True
    possible_duplicate: bool = False
    evidence: dict[str, Any] = {}
    """For the journal: ids and codes of the answer that led here."""


class Suspect(msgspec.Struct, frozen=True):
    """The attempt has an unknown outcome: *checking*. Only while the part is still as the relay last saw it."""

    part_id: PartId
    attempt: int
    reason: str
    evidence: dict[str, Any] = {}


class End(msgspec.Struct, frozen=True):
    """
    Dead, expired or parked. Conditional as `Requeue`.

    The rest of its message stops with it: beside a part that waits for a person, in its lane; beside a dead one it is
    set aside, so that the lane goes on; beside one that is too old it is too old as well.
    """

    part_id: PartId
    attempt: int
    state: PartState
    reason: str
    unsent: bool = False
    """It is still queued: given up before this attempt was made, because its file cannot go."""
    parked_for: ParkedFor | None = None
    """Why a person is waited for; None where none is."""
    evidence: dict[str, Any] = {}


class Expire(msgspec.Struct, frozen=True):
    """The head of the lane may have become too old: it, and whatever stands behind it and is too old as well, ends."""

    guest_ref: GuestRef


class Defer(msgspec.Struct, frozen=True):
    """A queued part could not be made ready (its file could not be uploaded): not before `at`."""

    part_id: PartId
    at: float
    reason: str


class NoteUpload(msgspec.Struct, frozen=True):
    """The part's file has reached the platform, under this id; None: it is not there any more."""

    part_id: PartId
    upload_id: str | None


class EndErrand(msgspec.Struct, frozen=True):
    """An errand is over. `result` is sealed for whoever waits for it; `detail` goes into the journal."""

    seq: int
    is_done: bool
    detail: dict[str, Any] = {}
    result: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"EndErrand({self.seq}, done={self.is_done})"  # not what it brought


class Pause(msgspec.Struct, frozen=True):
    """The lane waits until `until` (seconds since the epoch)."""

    guest_ref: GuestRef
    until: float
    reason: str


class Note(msgspec.Struct, frozen=True):
    """Something for the journal alone."""

    event: str
    guest_ref: GuestRef | None
    part_id: PartId | None
    detail: dict[str, Any]


class Realign(msgspec.Struct, frozen=True):
    """The head of the lane was written by a clock ahead of ours: its times are moved back by the difference."""

    guest_ref: GuestRef


class Hear(msgspec.Struct, frozen=True):
    """A reply; idempotent by its gateway id."""

    guest_ref: GuestRef
    reply: Reply


Change = (
    Confirm
    | Requeue
    | Suspect
    | End
    | Expire
    | Defer
    | NoteUpload
    | SessionChanged
    | AuthChanged
    | EndErrand
    | Pause
    | Realign
    | Hear
    | CaughtUp
    | Note
)


class Step(msgspec.Struct, frozen=True):
    """
    One tick of the relay, in one transaction.

    `changes` happen first, in order; then the head of each lane in `begins` goes to *sending*, if it is queued and due.
    """

    changes: Sequence[Change]
    begins: Sequence[GuestRef]


class Sending(msgspec.Struct, frozen=True):
    """A part whose attempt is written ahead: its bytes may leave now."""

    part_id: PartId
    message_id: MessageId
    guest_ref: GuestRef
    attempt: int
    body: PartBody
    queued_at: float
    delivery: Delivery
    tries_from: int
    """Attempts up to this one do not count any more: a person has released the part since."""
    age_from: float
    """Its age counts from here, in seconds since the epoch."""
    upload_id: str | None = None
    """Of its file, which is at the platform."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The oldest part of a lane that has not ended."""

    part_id: PartId
    message_id: MessageId
    state: PartState
    attempt: int
    due_at: float
    tries_from: int
    """Attempts up to this one do not count any more: a person has released the part since."""
    queued_at: float
    age_from: float
    """Its age counts from here: from when it entered its lane, or was released."""
    changed_at: float
    delivery: Delivery
    expires_at: float | None
    """When it is too old to be sent; a part in check never expires."""
    priority: int
    lane_seq: int
    """Its turn."""
    errand_first: bool
    """Something was asked for before it, by whatever process, and is not done yet."""
    blob: str | None
    """Digest of its file; None: it has none."""
    upload_id: str | None
    body: PartBody | None
    """Given for a part in check, which is compared with what the history shows."""

    def is_due(self, now: float) -> bool:
        """
        Whether it may go out, as far as its time is concerned.

        What was due when it was last written is due: that time may be of another process, whose clock is ahead of ours.
        """
        return self.due_at <= max(now, self.changed_at)


class LaneRow(msgspec.Struct, frozen=True):
    """A lane as the relay takes it into memory."""

    guest_ref: GuestRef
    destination: str
    token: str
    session_state: SessionState
    anchor: str | None
    paused_until: float
    priority: int
    next_at: float | None
    """When the lane is due; None while nothing is open or a person is waited for."""
    head: Head | None
    auth: Auth | None = None
    is_followed: bool = False
    errands: tuple[Errand, ...] = ()
    """In the order of their turn."""
    seen_at: float | None = None
    """Up to then nothing that was said to the guest is missing here."""
    guest: GuestKey = GuestKey("")
    """The caller's word for him; empty where the way out does not tell it."""
    conversation_id: str | None = None
    """Where his last accepted message went, where the platform said so."""

    def __repr__(self) -> str:
        return f"LaneRow({self.guest_ref})"  # not the token


class StepResult(msgspec.Struct, frozen=True):
    """What a step did."""

    begun: list[Sending]
    lanes: dict[GuestRef, Head | None]
    """The head of every touched lane in which nothing was begun."""
    entries: list[JournalEntry]
    replaced: bool = False
    """Another relay has taken over: this one has nothing to say any more."""


class Use(msgspec.Struct, frozen=True):
    """Something that a gateway has counted, and counts still."""

    destination: str
    guest_ref: GuestRef
    at: float
    """When it was answered, in seconds since the epoch; or, `ahead`, when it was written down."""
    kind: UseKind
    ahead: bool = False
    """It was written down before it left: nobody knows when it came to the gateway, or whether."""
    paused_until: float | None = None
    """It was turned away, and nothing of its kind was to come before then."""


class Copied(msgspec.Struct, frozen=True):
    """A part that was accepted after attempts of which nobody knows whether they arrived."""

    body: PartBody
    queued_at: float
    copies: int
    """So many at most may stand in the history beside the one that is known."""
    names: tuple[str | None, ...] = ()
    """Of the one that is known."""
    by_history: bool = False
    """The one that is known was found there, and may be any of them; else it is the last, and the others are older."""


class Due(msgspec.Struct, frozen=True):
    """Lanes that are due, earliest first, and when there will be more."""

    guests: list[GuestRef]
    more: bool
    """There are more due lanes than were asked for."""
    next_at: float | None
    """When the next lane becomes due or the next message enters its lane; None: neither is foreseen."""


# --- what others ask for ---


class Intake(msgspec.Struct, frozen=True):
    """A message that passed every rule, with the parts it goes out in."""

    draft: Draft
    bodies: tuple[PartBody, ...]
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    findings: tuple[Finding, ...] = ()
    """What was found and does not reject; the journal has the rules and what followed."""
    policy: str = ""
    """Version of the policy that it was held against, for the journal."""
    attachments: tuple[Attachment, ...] | None = None
    """Its files as they are sent; None: as they came. Its key stands for those that came."""
    parked_by: str | None = None
    """A rule for which it waits for a person."""


class Person(msgspec.Struct, frozen=True):
    """Who decides, and why: both stand in the journal."""

    by: str = ""
    why: str = ""

    @property
    def detail(self) -> dict[str, Any]:
        """As a journal entry has it."""
        return {"by": self.by, "why": self.why}


class Intervention(msgspec.Struct, frozen=True):
    """What a person's decision did to a message, or would do."""

    message_id: MessageId
    parts: tuple[PartId, ...]
    """That moved; of a replay those of the new message."""
    left: tuple[tuple[PartId, str], ...] = ()
    """Parts that stay as they are, and why."""
    doubtful: int = 0
    """Of those that moved: the gateway may have taken so many already."""
    replay: MessageId | None = None
    """The new message."""


class PartView(msgspec.Struct, frozen=True, kw_only=True):
    """A part as shown to people; the text is there only where it was asked for."""

    id: PartId
    message_id: MessageId
    guest_ref: GuestRef
    destination: str
    state: PartState
    attempt: int
    possible_duplicates: int
    gateway_id: str | None
    gateway_time: str | None
    queued_at: float
    sent_at: float | None
    ended_at: float | None
    next_at: float
    reason: str | None
    size: int
    parked_for: ParkedFor | None = None
    replay_of: MessageId | None = None
    """The message that this one was made of."""
    text: str | None = None
    guest: str | None = None


class GuestView(msgspec.Struct, frozen=True, kw_only=True):
    """A guest as shown to people. Times in seconds since the epoch."""

    guest_ref: GuestRef
    destination: str
    guest: str
    session: SessionState
    session_expires_at: float | None
    paused_until: float | None
    paused_reason: str | None
    is_followed: bool
    is_signed_in: bool
    messages: int
    replies: int
    open_parts: int
    last_at: float

    def __repr__(self) -> str:
        return f"GuestView({self.guest_ref})"  # not the caller's name for him


class ErrandView(msgspec.Struct, frozen=True, kw_only=True):
    """An errand as shown to people. Without the codes of a sign-in."""

    seq: int
    """Also the number of its first journal entry, which says when it was asked for."""
    kind: str
    state: str
    """``queued``, ``done`` or ``failed``."""
    ended_at: float | None
    attributes: dict[str, str]
    """Of a join; personal."""

    def __repr__(self) -> str:
        return f"ErrandView({self.kind}, {self.seq})"  # not the attributes


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a transcript: something the guest said (`part_id`, `body`), or something he was told (`reply`)."""

    at: float
    gateway_time: str | None
    part_id: PartId | None = None
    state: PartState | None = None
    body: PartBody | None = None
    reply: Reply | None = None

    def __repr__(self) -> str:
        return f"Line({'reply' if self.reply else 'part'})"  # not what was said


class StoreStatus(msgspec.Struct, frozen=True):
    """The store in figures. Times in seconds since the epoch."""

    kind: str
    parts: dict[str, int]
    """Number of parts by state."""
    guests: int
    oldest_open_at: float | None
    possible_duplicates: int
    duplicates_seen: int
    replies: int
    held: int
    """Messages of batches that are not stored whole."""
    journal_seq: int
    destinations: dict[str, dict[str, int]]
    """Open parts by destination and state."""


class Doubted(msgspec.Struct, frozen=True, kw_only=True):
    """What a restored store held that had not ended."""

    checking: int
    """Parts that may have been sent since: each is looked up."""
    parked: int
    waiting: int
    """Parts whose time has not come yet: they cannot have been sent."""
    errands: int
    """They may have been done since: ended as failed."""
    erased: int
    """Guests without a key, of whom nothing was kept."""


class Store(Protocol):
    """
    Where messages and their journal are kept.

    Whoever builds another one holds it against `guestwire.testing.stores.StoreContract`.
    """

    # --- transactions ---

    def close(self) -> None:
        """Close the files. Nothing is lost if this fails, or is never called."""

    def transaction(self) -> AbstractContextManager[None]:
        """Everything inside is committed to disk together, or not at all."""

    def changes(self) -> int:
        """Rows changed since the connection was opened: whether a verb has written anything."""

    # --- what submitting processes write ---

    def register(self, name: str, transport: str, fingerprint: str, *, is_emulator: bool) -> None:
        """Know a destination; refuse one that would mix emulator and live, or that changed under its name."""

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

    def enter(self, now: float) -> list[JournalEntry]:
        """Let messages whose `not_before` has come enter their lanes, in the order of that time."""

    def let_go(self, batch: str, limit: int, now: float) -> int:
        """Let messages of a stored batch enter their lanes, in order; returns how many there were, at most `limit`."""

    def batch(self, path: str) -> tuple[str, int] | None:
        """Return digest and rows of the file that was last stored from this path."""

    def note_batch(self, path: str, digest: str, rows: int, now: float) -> None:
        """Remember a file whose rows are all stored."""

    def holds_same(self, draft: Draft) -> bool | None:
        """Say whether a message with this key holds this payload; None where the key is not known."""

    # --- what programs ask for beside that ---

    def guest_for(self, destination: str, guest: GuestKey) -> GuestRef:
        """Return our name for a guest; one who was never met gets a name, a key and a session token."""

    def ask(self, guest: GuestRef, kind: ErrandKind, body: dict[str, Any], now: float) -> int:
        """Queue an errand behind what the guest has queued; returns its number."""

    def errand(self, seq: int) -> tuple[str, dict[str, Any] | None]:
        """Return the state of an errand (``queued``, ``done``, ``failed``) and what it brought."""

    def follow(self, guest: GuestRef, now: float, *, on: bool) -> None:
        """Keep a guest's session open for ever, or not any more."""

    def note(self, event: str, guest: GuestRef | None, detail: dict[str, Any], now: float) -> None:
        """Write something into the journal that changes nothing here."""

    def cursor(self, sink: str) -> tuple[int, set[int]]:
        """Return up to where a sink has acknowledged everything, and what it has acknowledged beyond."""

    def know_reader(self, sink: str) -> None:
        """Keep what a reader has not read yet, though he has acknowledged nothing so far."""

    def acknowledge(self, sink: str, seq: int) -> None:
        """A sink has dealt with one reply. The cursor moves on as soon as nothing before it is missing."""

    # --- what the far side says ---

    def receive(
        self, destination: str, guest: GuestKey, said: Reply | Receipt, now: float, *, report: bool
    ) -> GuestRef:
        """
        Keep what a webhook brought. The same once more changes nothing.

        Args:
            destination: Whose webhook.
            guest: As the platform names him; one who is not known yet becomes known.
            said: A reply, or a receipt for a message of his.
            now: Seconds since the epoch.
            report: Report replies as delivered by themselves, also where the guest's messages did not ask for it.
        """

    def note_receipt(self, reply: int, status: ReplyStatus, now: float, reason: str | None = None) -> bool:
        """
        Note what became of a reply here, and queue the report to the platform where it takes one.

        Args:
            reply: Its `seq`.
            status: A reply goes on from *delivered* to *read*; *failed* is for one of which nothing was said yet.
            now: Seconds since the epoch.
            reason: A code of the platform's, for *failed*.

        Returns:
            Whether that was news.

        Raises:
            NotFound: GW-N008, there is no such reply.
        """

    # --- what people decide ---

    def choose(
        self,
        states: Collection[PartState],
        *,
        since: float = 0.0,
        destination: str | None = None,
        guest: GuestRef | None = None,
        limit: int = 1000000,
    ) -> list[MessageId]:
        """
        Return messages with a part in one of these states, in the order in which they were stored.

        Args:
            states: Of a part.
            since: It came into that state then or later, in seconds since the epoch.
            destination: Only those that go there.
            guest: Only his.
            limit: At most so many.
        """

    def weigh(self, verb: Verb, message: MessageId, now: float) -> Intervention:
        """Say what a decision would do, and do nothing."""

    def cancel(self, message: MessageId, person: Person, now: float) -> Intervention:
        """End what of a message has not left."""

    def release(self, message: MessageId, person: Person, now: float) -> Intervention:
        """
        Send what of a message waits for a person, with its tries anew.

        What was set aside enters its lane at the end; what the lane waits for stays where it is.
        """

    def retry(self, message: MessageId, person: Person, now: float) -> Intervention:
        """
        Make a new message of what of an old one was given up; what of it waits for a person goes along.

        An old message is replayed once: asked again, this names the message of then.
        """

    def resume(self, guest: GuestRef, person: Person, now: float) -> bool:
        """Let a paused lane go on; returns whether it was paused."""

    # --- the relay's own ---

    def take_over(self, now: float) -> int:
        """Become the relay: a new boot number; what older boots left *sending* is *checking* from now on."""

    def step(self, step: Step, *, fence: int, now: float) -> StepResult:
        """
        One tick of the relay: its changes, then its begins, in the transaction of the caller.

        A relay that another one has replaced begins nothing and moves nothing; what the gateway took and what guests
        heard are facts, and hold. Its lanes come back empty, so that it lets go of them.
        """

    # --- what the relay reads ---

    def due(self, now: float, limit: int, destination: str) -> Due:
        """Lanes of a destination that are due, earliest first; from an index, never a scan."""

    def spend(self, kind: UseKind, destination: str, guest: GuestRef, now: float) -> None:
        """
        Write a use of a gateway's windows down, of which the journal will not tell, before it leaves.

        For a relay that begins within the next minutes; then it is forgotten.
        """

    def uses(self, since: float, until: float) -> list[Use]:
        """
        What gateways have counted between two moments, as far as the store knows: for a relay that begins.

        An attempt counts from its end; one that was checked counts once more: rather too many than too few.
        """

    def next_entering(self) -> float | None:
        """When the next message enters its lane, in seconds since the epoch; None: none waits for its time."""

    def lanes(self, guests: Iterable[GuestRef]) -> list[LaneRow]:
        """Lanes by name, each with its head; without those whose row does not open: one must not stop the others."""

    def waiting_guests(self) -> list[GuestRef]:
        """Whom a relay has to know of at its start, though their lanes are not due: followed, or with errands."""

    def errand_guests(self, limit: int, destination: str) -> list[GuestRef]:
        """Guests of a destination with errands that wait for their turn."""

    def unseen(self, before: float, now: float, limit: int) -> list[GuestRef]:
        """Guests with a live session whose replies were last complete before a moment, longest ago first."""

    def taken(self, guest: GuestRef, names: Iterable[str]) -> set[str]:
        """Which of these names of history entries already belong to a part of the guest."""

    def copied(self, guest: GuestRef) -> list[Copied]:
        """Accepted parts of a guest of which there may be more copies than are known, by what they said."""

    # --- what people and waiting programs read ---

    def journal(self, after: int, limit: int) -> list[JournalEntry]:
        """Journal entries with a higher number, in order."""

    def journal_of(self, part_id: PartId) -> list[JournalEntry]:
        """Everything the journal holds about one part, in order."""

    def journal_seq(self) -> int:
        """The number of the newest journal entry; 0 for an empty journal."""

    def replies(self, after: int, limit: int, guest: GuestRef | None = None) -> list[Reply]:
        """Replies with a higher number, in order; of one guest or of all."""

    def has_heard(self, guest: GuestRef, gateway_ids: Iterable[str], before: float) -> set[str]:
        """Which of these replies were here at a moment."""

    def file_of(self, part_id: PartId) -> tuple[File, bytes]:
        """
        Return the file of a part.

        Raises:
            StoreError: It is gone, or does not open.
        """

    def list_guests(self, *, destination: str | None, guest: GuestRef | None, limit: int) -> list[GuestView]:
        """Return guests, the last active ones first."""

    def transcript(self, guest: GuestRef) -> list[Line]:
        """Return what was said both ways, in the order in which it happened here; what is not kept has no content."""

    def last_reply(self) -> int:
        """The number of the newest reply; 0 where there is none."""

    def find_guest(self, destination: str, guest: GuestKey) -> GuestRef | None:
        """Return our name for a caller's guest; None if nothing was ever submitted for him."""

    def destinations(self) -> list[str]:
        """Return the names of all destinations that this store has met."""

    def guest_key(self, guest_ref: GuestRef) -> GuestKey:
        """Return the caller's name for a guest. Personal: for the caller's own eyes."""

    def message_of(self, name: str) -> MessageId:
        """Find a message by its id, the id of one of its parts, or the beginning of either."""

    def message_parts(self, message_id: MessageId, *, with_text: bool) -> list[PartView]:
        """Return the parts of a message, in order."""

    def list_parts(
        self, *, state: PartState | None, guest: GuestRef | None, limit: int, with_text: bool
    ) -> list[PartView]:
        """Return the newest parts first."""

    def message_states(self, message_id: MessageId) -> dict[PartState, int]:
        """Return how many parts of a message are in which state."""

    def unsettled(self, parts: Iterable[PartId]) -> set[PartId]:
        """Return which of these parts will still move by themselves."""

    def status(self) -> StoreStatus:
        """Return the store in figures. Reads every part once: for people, not for loops."""

    def body_of(self, part_id: PartId) -> PartBody | None:
        """Return the content of a part; None where its retention is over, or there is no such part."""

    def journal_of_guest(self, guest: GuestRef, after: int = 0, until: int = 2**63 - 1) -> list[JournalEntry]:
        """Everything the journal holds about a guest, from one number to another, in order. Walks that stretch."""

    def errands_of(self, guest: GuestRef) -> list[ErrandView]:
        """Return what was asked for at the gateway for a guest, in the order of asking."""

    def unacknowledged(self, sink: str) -> tuple[int, float | None]:
        """Return how many replies a sink has not acknowledged, and when the oldest of them came."""
