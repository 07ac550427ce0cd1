"""
Any interleaving of the verbs of a store: a state machine of hypothesis's, for your own store as well.

    from guestwire.testing.machine import StoreMachine

    class MyMachine(StoreMachine):
        def open_store(self) -> MyStore:
            return MyStore(self.folder)

    TestMyMachine = MyMachine.TestCase
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from guestwire.model import (
    OPEN_STATES,
    RECEIPT_STATES,
    Attachment,
    Auth,
    AuthChanged,
    CaughtUp,
    ErrandKind,
    GatewayMessageId,
    GuestRef,
    PartId,
    PartState,
    Receipt,
    Reply,
    SessionChanged,
    SessionState,
    Ticket,
)
from guestwire.policy.interventions import Verb
from guestwire.store.base import (
    Change,
    Confirm,
    Defer,
    End,
    EndErrand,
    Expire,
    Hear,
    Intake,
    Note,
    NoteUpload,
    Pause,
    Person,
    Requeue,
    Step,
    StepResult,
    Store,
    Suspect,
)
from guestwire.testing.stores import (
    ACCEPTED,
    CANCELLED,
    CHECKING,
    DEAD,
    EXPIRED,
    PARKED,
    QUEUED,
    SENDING,
    Hand,
    accepted,
    intake,
    replayed,
)

T = TypeVar("T")

#: What a relay says of an attempt.
OPINIONS = ("confirm", "retry", "throttle", "suspect", "dead", "park")
#: How far the gateway's word about a part has gone. Two ends exclude each other.
RANK = {ACCEPTED: 0, PartState.DELIVERED: 1, PartState.READ: 2, PartState.FAILED: 2}


class StoreMachine(RuleBasedStateMachine):
    """
    Any interleaving of the verbs, with relays that are replaced and stores that are reopened.

    The machine remembers only what it was told (tickets, entries, attempts) and compares it with what the store shows.
    A subclass brings `open_store`.
    """

    guests = st.sampled_from(["anna", "ben", "carl"])

    def __init__(self) -> None:
        super().__init__()
        self.hand = Hand(self.open_store())
        self.hand.register()
        self.hand.take_over()
        self.stored: set[PartId] = set()
        self.sent: dict[PartId, tuple[GuestRef, int]] = {}
        """Every part that was ever begun, with its lane and its last attempt."""
        self.lanes: dict[GuestRef, list[PartId]] = {}
        """The parts of each lane in the order of their entry."""
        self.entered: dict[PartId, int] = {}
        """The journal's number of a part's entry into its lane: its turn."""
        self.held: set[PartId] = set()
        """Parts of a batch that has not been let go."""
        self.expires: dict[PartId, float] = {}
        self.files: dict[PartId, bytes] = {}
        self.uploaded: set[PartId] = set()
        self.keys: dict[str, tuple[Intake, Ticket]] = {}
        self.errands: dict[int, tuple[GuestRef, str]] = {}
        """What was asked for and is not over: whose it is, and what."""
        self.heard: list[tuple[GuestRef, str]] = []
        self.acknowledged: set[int] = set()
        self.known: dict[PartId, PartState] = {}
        self.read_up_to = 0
        self.names = itertools.count()

    def open_store(self) -> Store:
        """Open your store: an empty one of this machine's own, and the same one again whenever it was closed."""
        raise NotImplementedError("a subclass of StoreMachine brings 'open_store'")

    def teardown(self) -> None:
        """Close the store."""
        self.hand.store.close()

    def note_entries(self) -> None:
        """Read on in the journal, as a sink does: who entered which lane."""
        for entry in self.hand.store.journal(self.read_up_to, 10_000):
            assert entry.seq == self.read_up_to + 1
            self.read_up_to = entry.seq
            if entry.guest_ref is None or entry.part_id is None:
                continue
            lane = self.lanes.setdefault(entry.guest_ref, [])
            at_once = "not_before" not in entry.detail and entry.part_id not in self.held
            if (entry.event == "part.queued" and at_once) or entry.event == "part.entered":
                lane.append(entry.part_id)
                self.entered[entry.part_id] = entry.seq
            elif entry.event == "part.parked" and entry.detail.get("aside"):
                lane.remove(entry.part_id)
            elif entry.event == "part.released" and entry.part_id not in lane:
                lane.append(entry.part_id)
                self.entered[entry.part_id] = entry.seq

    def note_begun(self, result: StepResult, before: dict[PartId, PartState]) -> None:
        """What was begun was the oldest of its lane that had not ended."""
        self.note_entries()
        states = {view.id: view.state for view in self.hand.parts()}
        for sending in result.begun:
            assert before[sending.part_id] is QUEUED
            lane = self.lanes[sending.guest_ref]
            earlier = lane[: lane.index(sending.part_id)]
            assert not {states[part] for part in earlier} & OPEN_STATES
            assert not self.waits(sending.part_id, sending.guest_ref)
            self.sent[sending.part_id] = (sending.guest_ref, sending.attempt)

    def waits(self, part: PartId, guest: GuestRef) -> bool:
        """Whether something has to happen before a part may leave: an errand before it, or its file."""
        before = [
            seq
            for seq, (whose, kind) in self.errands.items()
            if whose == guest and kind not in ("sign_in", "receipt") and seq < self.entered[part]
        ]
        return bool(before) or (part in self.files and part not in self.uploaded)

    def head(self, guest: GuestRef, states: dict[PartId, PartState]) -> PartId | None:
        """Return the oldest part of a lane that has not ended."""
        return next((part for part in self.lanes.get(guest, []) if states[part] in OPEN_STATES), None)

    def states(self) -> dict[PartId, PartState]:
        """Return the state of every part."""
        return {view.id: view.state for view in self.hand.parts()}

    def write(self, verb: Callable[[Store], T]) -> T:
        """Carry out a verb in a transaction of its own."""
        with self.hand.store.transaction():
            return verb(self.hand.store)

    # --- what comes in ---

    def message(
        self,
        guest: str,
        parts: int = 1,
        wait: int = 0,
        age: int | None = None,
        *,
        with_file: bool = False,
        key: str | None = None,
    ) -> Intake:
        """Make a message."""
        now = self.hand.now
        text = f"text {next(self.names)}"
        return intake(
            guest,
            text,
            parts=parts,
            key=key,
            not_before=now + wait if wait else None,
            expires_at=None if age is None else now + wait + age,
            attachments=(Attachment("a.txt", text.encode(), "text/plain"),) if with_file else (),
        )

    def note_stored(self, given: Intake, ticket: Ticket) -> None:
        """Remember what was promised."""
        self.stored.update(ticket.part_ids)
        if given.draft.expires_at is not None:
            self.expires |= dict.fromkeys(ticket.part_ids, given.draft.expires_at)
        for part, file in zip(ticket.part_ids, given.draft.attachments, strict=False):
            self.files[part] = file.content

    @rule(
        guest=guests,
        parts=st.integers(1, 3),
        wait=st.sampled_from([0, 0, 5, 20]),
        age=st.sampled_from([None, 1, 30]),
        with_file=st.sampled_from([False, False, True]),
        with_key=st.booleans(),
    )
    def add(self, guest: str, parts: int, wait: int, age: int | None, with_file: bool, with_key: bool) -> None:
        """Somebody submits a message, perhaps for later, perhaps with an end, a file, a key."""
        key = f"key {next(self.names)}" if with_key else None
        given = self.message(guest, parts, wait, age, with_file=with_file, key=key)
        (ticket,) = self.hand.add(given)
        assert ticket.fresh
        if key is not None:
            self.keys[key] = given, ticket
        self.note_stored(given, ticket)
        self.note_entries()

    @precondition(lambda self: self.keys)
    @rule(data=st.data())
    def add_again(self, data: st.DataObject) -> None:
        """Under a key that is known: nothing is stored, and the ticket is that of then."""
        given, ticket = self.keys[data.draw(st.sampled_from(sorted(self.keys)))]
        before = self.hand.store.journal_seq()
        (again,) = self.hand.add(given)
        assert (again.message_id, again.part_ids, again.fresh) == (ticket.message_id, ticket.part_ids, False)
        assert self.hand.store.journal_seq() == before

    @rule(guests=st.lists(guests, min_size=1, max_size=3), wait=st.sampled_from([0, 0, 5]))
    def add_held(self, guests: list[str], wait: int) -> None:
        """A slice of a batch is stored; it is in no lane."""
        given = [self.message(guest, wait=wait) for guest in guests]
        for one, ticket in zip(given, self.hand.add(*given, held_by="batch"), strict=True):
            self.note_stored(one, ticket)
            self.held.update(ticket.part_ids)
        self.note_entries()

    @rule(limit=st.integers(1, 3))
    def let_go(self, limit: int) -> None:
        """A slice of the batch enters, the first that were stored first."""
        self.hand.let_go("batch", limit)
        self.note_entries()

    @rule(seconds=st.sampled_from([0.5, 3, 25]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.hand.now += seconds

    @rule()
    def enter(self) -> None:
        """What has come due enters its lane."""
        self.hand.enter()
        self.note_entries()

    @rule()
    def begin_all(self) -> None:
        """The relay begins whatever is due; what waits for nothing is begun."""
        before = self.states()
        due = self.hand.due()
        heads = {
            guest: next((part for part in self.lanes[guest] if before[part] in OPEN_STATES), None) for guest in due
        }
        ready = {
            head
            for guest, head in heads.items()
            if head is not None
            and before[head] is QUEUED
            and not self.waits(head, guest)
            and self.expires.get(head, self.hand.now + 1) > self.hand.now
        }
        result = self.hand.step(begins=tuple(due))
        assert ready <= {sending.part_id for sending in result.begun}
        self.note_begun(result, before)

    @precondition(lambda self: self.lanes)
    @rule(data=st.data())
    def begin_any(self, data: st.DataObject) -> None:
        """It may ask for lanes that cannot move, and twice for one."""
        guests = data.draw(st.lists(st.sampled_from(list(self.lanes)), max_size=4))
        before = self.states()
        self.note_begun(self.hand.step(begins=tuple(guests)), before)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), kinds=st.lists(st.sampled_from(OPINIONS), min_size=1, max_size=4))
    def settle(self, data: st.DataObject, kinds: list[str]) -> None:
        """What a relay may say of attempts, of the last ones or of some long past, with the next begin beside it."""
        for kind in kinds:
            self.settle_one(data, kind)

    def settle_one(self, data: st.DataObject, kind: str) -> None:
        """One of them."""
        before = self.states()
        sent = sorted(self.sent)  # ids rise, so this is the order of their making
        on_their_way = [part for part in sent if before[part] in (SENDING, CHECKING)]
        is_late = data.draw(st.sampled_from([False, False, False, True]))
        part = data.draw(st.sampled_from(sent if is_late else on_their_way or sent))
        guest, last = self.sent[part]
        attempt = last - data.draw(st.sampled_from([0, 0, 0, 1]))
        at = self.hand.now + data.draw(st.sampled_from([0, 4]))
        fence = self.hand.fence - data.draw(st.sampled_from([0, 0, 0, 1]))
        changes: dict[str, Change] = {
            "confirm": Confirm(part, accepted(f"g{next(self.names)}")),
            "retry": Requeue(part, attempt, at, "failed", possible_duplicate=data.draw(st.booleans())),
            "throttle": Requeue(part, attempt, at, "slow", spent=False),
            "suspect": Suspect(part, attempt, "lost"),
            "dead": End(part, attempt, DEAD, "refused"),
            "park": End(part, attempt, PARKED, "unknown"),
        }
        fresh = attempt == last and fence == self.hand.fence and before[part] in (SENDING, CHECKING)
        begins = (guest,) if data.draw(st.booleans()) else ()
        with self.hand.store.transaction():
            result = self.hand.store.step(Step([changes[kind]], ()), fence=fence, now=self.hand.now)
        after = self.states()
        if kind == "confirm":
            assert after[part] is (before[part] if before[part] in RANK else ACCEPTED)
        elif fresh:
            wanted = {"retry": QUEUED, "throttle": QUEUED, "suspect": CHECKING, "dead": DEAD, "park": PARKED}
            assert after[part] is wanted[kind]
        elif not fresh:
            assert after == before
            assert result.entries == []
        if kind == "throttle" and fresh:
            self.sent[part] = (guest, last - 1)
        self.note_begun(self.hand.step(begins=begins), after)

    @precondition(lambda self: self.stored)
    @rule(data=st.data(), verb=st.sampled_from(["cancel", "release", "retry"]))
    def decide(self, data: st.DataObject, verb: Verb) -> None:
        """A person decides about a message: what was foreseen happens, and nothing else moves."""
        part = self.hand.part(data.draw(st.sampled_from(sorted(self.stored))))
        before = self.states()
        foreseen = self.hand.store.weigh(verb, part.message_id, self.hand.now)
        with self.hand.store.transaction():
            done = getattr(self.hand.store, verb)(part.message_id, Person("ann", "tired"), self.hand.now)
        after = self.states()
        assert (done.doubtful, len(done.parts)) == (
            foreseen.doubtful,
            len(foreseen.parts) if not foreseen.replay else 0,
        )
        if verb == "retry":
            self.stored.update(done.parts)
            for made in done.parts:
                body = self.hand.store.body_of(made)
                if body is not None and body.file is not None:
                    self.files[made] = self.hand.store.file_of(made)[1]
                    assert self.files[made] in {self.files[old] for old in before if old in self.files}
            assert all(after[made] is QUEUED for made in done.parts)
            with self.hand.store.transaction():
                again = self.hand.store.retry(part.message_id, Person(), self.hand.now)
            assert (again.parts, again.replay) == ((), done.replay)
        moved = {changed for changed, state in before.items() if after[changed] is not state}
        wanted = {"cancel": CANCELLED, "release": QUEUED, "retry": CANCELLED}
        assert moved == set(done.parts) if verb != "retry" else all(before[each] is PARKED for each in moved)
        assert all(after[each] is wanted[verb] for each in moved)

    # --- what else a relay learns, and what others ask for ---

    @precondition(lambda self: any(self.lanes.values()))
    @rule(data=st.data(), kind=st.sampled_from(["defer", "upload", "gone", "expire"]), seconds=st.sampled_from([0, 4]))
    def prepare(self, data: st.DataObject, kind: str, seconds: float) -> None:
        """A file reaches the platform, or is not there any more; a head is put off, or has become too old."""
        guest = data.draw(st.sampled_from([guest for guest, lane in self.lanes.items() if lane]))
        part = data.draw(st.sampled_from(self.lanes[guest]))
        changes: dict[str, Change] = {
            "defer": Defer(part, self.hand.now + seconds, "no room"),
            "upload": NoteUpload(part, f"upload {next(self.names)}"),
            "gone": NoteUpload(part, None),
            "expire": Expire(guest),
        }
        before = self.states()
        self.hand.step(changes[kind])
        after = self.states()
        if kind == "upload" and before[part] is QUEUED:
            self.uploaded.add(part)
        elif kind == "gone":
            self.uploaded.discard(part)
        moved = {name for name in before if after[name] is not before[name]}
        assert not moved or kind == "expire"
        assert all((before[name], after[name]) == (QUEUED, EXPIRED) for name in moved)
        assert all(self.expires[name] <= self.hand.now for name in moved)

    @precondition(lambda self: self.lanes)
    @rule(data=st.data(), name=st.sampled_from(["r1", "r2", "r3"]), by_webhook=st.booleans())
    def hear(self, data: st.DataObject, name: str, by_webhook: bool) -> None:
        """A reply comes, perhaps once more, from the relay or through a webhook: it is kept once."""
        guest = data.draw(st.sampled_from(list(self.lanes)))
        reply = Reply(gateway_id=GatewayMessageId(name), kind="text", text=f"{name} for {guest}")
        if by_webhook:
            key = self.hand.store.guest_key(guest)
            self.write(lambda store: store.receive("web", key, reply, self.hand.now, report=False))
        else:
            self.hand.step(Hear(guest, reply))
        if (guest, name) not in self.heard:
            self.heard.append((guest, name))

    @precondition(lambda self: self.heard)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        """A reader has dealt with a reply, in whatever order."""
        seq = data.draw(st.sampled_from([reply.seq for reply in self.hand.store.replies(0, 1_000)]))
        self.write(lambda store: store.acknowledge("crm", seq))
        self.acknowledged.add(seq)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), status=st.sampled_from(["Sent", "Delivered", "Read", "Failed"]), is_proof=st.booleans())
    def report(self, data: st.DataObject, status: str, is_proof: bool) -> None:
        """The far side reports on a part: it goes on, never back; with a name of the gateway's it is an acceptance."""
        part = data.draw(st.sampled_from(sorted(self.sent)))
        key = self.hand.store.guest_key(self.sent[part][0])
        receipt = Receipt(status, f"g{next(self.names)}" if is_proof else None, part)
        before = self.states()
        self.write(lambda store: store.receive("web", key, receipt, self.hand.now, report=False))
        known = before[part]
        if known not in RANK and is_proof:
            known = ACCEPTED
        target = RECEIPT_STATES.get(status.lower())
        if known in RANK and target is not None and RANK[target] > RANK[known]:
            known = target
        assert self.states() == before | {part: known}

    @precondition(lambda self: self.lanes)
    @rule(data=st.data(), kind=st.sampled_from(["close", "clear", "join", "sign_in"]), writes_on=st.booleans())
    def ask(self, data: st.DataObject, kind: ErrandKind, writes_on: bool) -> None:
        """Somebody asks for something: it has its turn behind what is queued, and before what the guest says next."""
        guest = data.draw(st.sampled_from(list(self.lanes)))
        seq = self.write(lambda store: store.ask(guest, kind, {"asked": 1}, self.hand.now))
        assert seq == self.hand.store.journal_seq()
        self.errands[seq] = guest, kind
        if writes_on:
            given = self.message(self.hand.store.guest_key(guest))
            self.note_stored(given, self.hand.add(given)[0])
            self.note_entries()

    @precondition(lambda self: self.errands)
    @rule(data=st.data(), is_done=st.booleans())
    def end_errand(self, data: st.DataObject, is_done: bool) -> None:
        """It is over, and told once; whoever waits finds what it brought."""
        seq = data.draw(st.sampled_from(sorted(self.errands)))
        for _ in range(2):
            self.hand.step(EndErrand(seq, is_done, {}, {"brought": seq}))
        assert self.hand.store.errand(seq) == ("done" if is_done else "failed", {"brought": seq})
        del self.errands[seq]

    @precondition(lambda self: self.lanes)
    @rule(data=st.data(), until=st.sampled_from([0.0, 30.0]))
    def session(self, data: st.DataObject, until: float) -> None:
        """A session opens with another token, is paused, is followed: the lane says so, and no part moves."""
        guest = data.draw(st.sampled_from(list(self.lanes)))
        token, pause = f"token {next(self.names)}", self.hand.now + until
        before = self.states()
        self.hand.step(
            SessionChanged(guest, SessionState.LIVE, "session.configured", token=token),
            AuthChanged(guest, Auth("jwt")),
            Pause(guest, pause, "evicted"),
            CaughtUp(guest),
            Note("something.seen", guest, None, {}),
        )
        self.write(lambda store: store.follow(guest, self.hand.now, on=bool(until)))
        row = self.hand.lane(guest)
        assert (row.token, row.session_state, row.auth) == (token, SessionState.LIVE, Auth("jwt"))
        assert (row.paused_until, row.seen_at, row.is_followed) == (pause, self.hand.now, bool(until))
        assert self.states() == before

    @rule()
    def another_relay(self) -> None:
        """What was on its way goes to check; nothing else changes."""
        before = self.states()
        self.hand.take_over()
        after = self.states()
        for part, state in before.items():
            assert after[part] is (CHECKING if state is SENDING else state)

    @rule()
    def reopen(self) -> None:
        """The process starts again."""
        self.hand.now += 0.002  # ids of two makers rise only from one millisecond to the next
        self.hand.store.close()
        self.hand.store = self.open_store()
        for part, content in self.files.items():
            assert self.hand.store.file_of(part)[1] == content

    @invariant()
    def nothing_is_lost_and_the_journal_knows_all(self) -> None:
        """Every part of every ticket is there, in the state that the journal tells."""
        states = self.states()
        assert set(states) == self.stored
        assert replayed(self.hand.store) == states

    @invariant()
    def what_the_gateway_took_is_never_taken_back(self) -> None:
        """An accepted part goes on to delivered, read or failed, and nowhere else."""
        known, self.known = self.known, self.states()
        for part, state in known.items():
            if state in RANK:
                assert self.known[part] is state or RANK[self.known[part]] > RANK[state]

    @invariant()
    def replies_and_errands_are_what_was_told(self) -> None:
        """Each reply once, in the order of its coming; each errand until it is over."""
        replies = self.hand.store.replies(0, 1_000)
        assert [(reply.guest_ref, reply.gateway_id) for reply in replies] == self.heard
        cursor, beyond = self.hand.store.cursor("crm")
        acknowledged = {reply.seq for reply in replies if reply.seq <= cursor} | beyond
        assert acknowledged == self.acknowledged
        assert self.hand.store.unacknowledged("crm")[0] == len(replies) - len(acknowledged)
        for guest in self.lanes:
            assert [errand.seq for errand in self.hand.lane(guest).errands] == sorted(
                seq for seq, (whose, _) in self.errands.items() if whose == guest
            )

    @invariant()
    def at_most_one_part_of_a_guest_is_on_its_way(self) -> None:
        """On the wire or in check: never two of one lane."""
        on_its_way = [view.guest_ref for view in self.hand.parts() if view.state in (SENDING, CHECKING)]
        assert len(on_its_way) == len(set(on_its_way))

    @invariant()
    def the_ready_index_agrees_with_the_heads(self) -> None:
        """A lane's place in the index is that of its oldest open part."""
        self.note_entries()
        parts = {view.id: view for view in self.hand.parts()}
        for guest in {view.guest_ref for view in parts.values()}:
            row = self.hand.lane(guest)
            head = self.head(guest, {name: view.state for name, view in parts.items()})
            assert (None if row.head is None else row.head.part_id) == head
            if head is None or parts[head].state not in (QUEUED, CHECKING):
                assert row.next_at is None
                continue
            due_at = parts[head].next_at
            assert due_at is not None
            assert row.next_at is not None
            assert (guest in self.hand.due()) == (due_at <= self.hand.now)
            # Its place among those that are due may be an earlier one; it has none before it is due.
            assert row.next_at == due_at or (row.next_at < due_at <= self.hand.now)
