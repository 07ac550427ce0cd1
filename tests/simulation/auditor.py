"""
What must hold, seen from outside: conversations, times of requests, the journal, what callers were told.

Nothing here looks into the relay's memory, and limits are counted in code of its own.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from guestwire.model import Delivery, GuestRef, JournalEntry, PartId, PartState, Ticket
from guestwire.settings import Destination
from guestwire.store.sqlite import SqliteStore
from tests.journey.auditor import audit, fullest
from tests.simulation.gateway import REFUSED, Copy, Gateway, Request
from tests.simulation.plan import LATER_S

if TYPE_CHECKING:
    from tests.simulation.world import World

ENDED = frozenset(
    {
        PartState.ACCEPTED,
        PartState.DELIVERED,
        PartState.READ,
        PartState.FAILED,
        PartState.DEAD,
        PartState.EXPIRED,
        PartState.CANCELLED,
    }
)


def judge(world: World, store: SqliteStore) -> list[str]:
    """Return everything that must not be, after the world has come to rest."""
    return [
        *_conversations(world),
        *_doubles(world),
        *_refusals(world.journal),
        *_cancelled(world.journal),
        *_states(world, store),
        *_counts(world, store),
        *_heard(world),
        *([] if world.plan.is_timeless or world.plan.has_zombies else _windows(world)),
    ]


def _in_order_of_entry(world: World) -> list[Ticket]:
    """What callers were told, part by part, in the order in which the parts entered their lanes."""
    entered: dict[str, int] = {}
    aside: set[str] = set()
    for entry in world.journal:
        part, event = entry.part_id, entry.event
        if part is None:
            continue
        if event == "part.parked" and entry.detail.get("aside"):
            aside.add(part)
        if (event == "part.queued" and "not_before" not in entry.detail) or event == "part.entered":
            entered[part] = entry.seq
        elif event == "part.released" and part in aside:
            aside.remove(part)
            entered[part] = entry.seq  # at the end of its lane
    last = len(world.journal) + 1
    told = [
        (entered.get(part, last), Ticket(ticket.message_id, (part,), ticket.guest_ref))
        for ticket in world.tickets.values()
        for part in ticket.part_ids
    ]
    return [ticket for _, ticket in sorted(told, key=lambda each: each[0])]


def _all_copies(world: World) -> list[Copy]:
    return sorted((copy for each in world.gateways.values() for copy in each.copies), key=lambda copy: copy.at)


def _conversations(world: World) -> list[str]:
    """I1 and I3: nothing is lost, nobody is overtaken, and nothing shows that nobody was promised."""
    promised = {part for ticket in world.tickets.values() for part in ticket.part_ids}
    # A caller who died before he was told may have had his message stored all the same.
    unheard = {entry.part_id for entry in world.journal if entry.event == "part.queued"} - promised
    copies = [copy for copy in _all_copies(world) if copy.part_id not in unheard]
    # What left a relay that had been replaced may come after everything: that it came is what I2 counts.
    in_time = {copy.part_id for copy in copies if not copy.came_late}
    copies = [copy for copy in copies if not copy.came_late or copy.part_id not in in_time]
    late = {copy.part_id for copy in copies if copy.came_late}
    shown = [
        {"direction": "Inbound", "metadata": {"id": copy.part_id, "attempt": copy.attempt}, "tracing_id": copy.part_id}
        for copy in copies
    ]
    found = audit(shown, [_as_doubt(entry) for entry in world.journal], _in_order_of_entry(world))
    return (
        [f"I1 lost: {part}" for part in found.lost]
        + [f"I1 nobody submitted: {part}" for part in found.strangers]
        + [f"I2 unexplained: {part}" for part in found.unexplained if part not in late]
        + [f"I3 out of order: {part}" for part in found.disorder if part not in late]
    )


def _as_doubt(entry: JournalEntry) -> JournalEntry:
    """What a person has sent again though nobody knows whether it was taken is a doubt on record too."""
    if entry.event == "part.released" and entry.detail["possible_duplicate"]:
        return msgspec.structs.replace(entry, event="part.possible_duplicate")
    return entry


def _doubles(world: World) -> list[str]:
    """I2: what shows twice; never at most once, and never where the history could be relied on."""
    wrong = []
    released = {entry.part_id for entry in world.journal if entry.event == "part.released"}
    for gateway in world.gateways.values():
        counted = Counter(copy.part_id for copy in gateway.copies)
        may = {copy.part_id for copy in gateway.copies if copy.came_late} | released
        for part, times in counted.items():
            if times < 2:
                continue
            if world.delivery.get(part) is Delivery.AT_MOST_ONCE and part not in may:
                wrong.append(f"I2 {times} times at most once: {part}")
            elif gateway.is_honest and not world.plan.has_zombies and not world.plan.same_texts:
                wrong.append(f"I2 {times} times, and the history would have said so: {part}")
    return wrong


def _refusals(journal: Iterable[JournalEntry]) -> list[str]:
    """What was refused is not tried again."""
    return [
        f"refused and tried again: {entry.part_id}"
        for entry in journal
        if entry.event in ("part.requeued", "part.checking") and entry.detail.get("reason") == REFUSED
    ]


def _cancelled(journal: Iterable[JournalEntry]) -> list[str]:
    """What was cancelled, or has ended, does not leave any more."""
    over: set[PartId] = set()
    wrong = []
    for entry in journal:
        if entry.part_id is None:
            continue
        if entry.event in ("part.cancelled", "part.dead", "part.expired", "part.accepted"):
            over.add(entry.part_id)
        elif entry.event == "part.sending" and entry.part_id in over:
            wrong.append(f"begun after its end: {entry.part_id}")
    return wrong


def _states(world: World, store: SqliteStore) -> list[str]:
    """The store says of each part what the journal said last."""
    wrong = []
    last: dict[PartId, str] = {}
    for entry in world.journal:
        if entry.part_id is not None and entry.event.removeprefix("part.") in {state.value for state in PartState}:
            last[entry.part_id] = entry.event.removeprefix("part.")
        elif entry.part_id is not None and entry.event in REQUEUED:
            last[entry.part_id] = PartState.QUEUED.value
    for part, state in states_of(store).items():
        if last.get(part) != state.value:
            wrong.append(f"I7 the store says {state.value}, the journal {last.get(part)}: {part}")
    return wrong


REQUEUED = frozenset({"part.entered", "part.requeued", "part.throttled", "part.possible_duplicate", "part.released"})


def states_of(store: SqliteStore) -> dict[PartId, PartState]:
    """The state of every part."""
    parts = store.list_parts(state=None, guest=None, limit=1_000_000, with_text=False)
    return {part.id: part.state for part in parts}


def restless(world: World, store: SqliteStore) -> list[str]:
    """Return parts that have not ended, where neither a person is waited for nor a time that the caller has named."""
    parts = store.list_parts(state=None, guest=None, limit=1_000_000, with_text=False)
    moving = [part for part in parts if part.state not in ENDED and part.state is not PartState.PARKED]
    if not moving:
        return []
    aside: set[str] = set()
    later: dict[str, float] = {}
    for entry in world.journal:
        part_id = entry.part_id or ""
        if entry.event == "part.parked" and entry.detail.get("aside"):
            aside.add(part_id)
        elif entry.event == "part.queued" and "not_before" in entry.detail:
            later[part_id] = entry.detail["not_before"]
        elif entry.event == "part.entered":
            later.pop(part_id, None)
    standing = {part.guest_ref for part in parts if part.state is PartState.PARKED and part.id not in aside}
    # Nobody asks for later than this, unless his clock is another one than the relay's.
    soon = world.now() + LATER_S
    return [
        f"{part.id} is {part.state.value} ({part.reason})"
        for part in moving
        if part.guest_ref not in standing and later.get(part.id, soon) <= soon
    ]


def _counts(world: World, store: SqliteStore) -> list[str]:
    """I7: figures are those of the journal."""
    status, events = store.status(), Counter(entry.event for entry in world.journal)
    wrong = []
    doubtful = {entry.part_id for entry in world.journal if entry.event == "part.checking"}
    doubts = sum(
        _as_doubt(entry).event == "part.possible_duplicate" or entry.detail.get("replay_of") in doubtful
        for entry in world.journal
    )
    if status.possible_duplicates != doubts:
        wrong.append(f"I7 {status.possible_duplicates} possible duplicates, {doubts} told")
    if status.parts.get("accepted", 0) != events["part.accepted"]:
        wrong.append(f"I7 {status.parts.get('accepted', 0)} are accepted, {events['part.accepted']} were told so")
    if status.journal_seq != len(world.journal):
        wrong.append(f"I7 the journal ends at {status.journal_seq}, and has {len(world.journal)} entries")
    return wrong


def _heard(world: World) -> list[str]:
    """Readers of the journal hear everything, once and in order, from when their relay began."""
    wrong = []
    for name, heard in world.heard.items():
        numbers = [entry.seq for entry in heard]
        if any(after <= before for before, after in itertools.pairwise(numbers)):
            wrong.append(f"I7 {name} told entries twice or out of order")
        if numbers and name in world.at_rest and numbers != list(range(numbers[0], len(world.journal) + 1)):
            wrong.append(f"I7 {name} did not tell everything")
    return wrong


def _windows(world: World) -> list[str]:
    """I5: no window over its limit."""
    wrong = []
    tokens: dict[str | None, list[Gateway]] = defaultdict(list)
    for gateway in world.gateways.values():
        if gateway.destination.has_sessions:
            wrong += _session_windows(gateway.destination, gateway.requests)
        else:
            tokens[gateway.destination.client_id].append(gateway)
    for together in tokens.values():
        requests = sorted((each for gateway in together for each in gateway.requests), key=lambda each: each.at)
        limits = together[0].destination.limits
        messages = [each.at for each in requests if each.action == "message"]
        wrong += _over("requests a minute of a token", [each.at for each in requests], 60.0, limits.requests_per_min)
        most = limits.requests_per_min - limits.reserve_per_min
        wrong += _over("messages a minute of a token", messages, 60.0, most)
        wrong += _over("messages a second of a token", messages, 1.0, limits.messages_per_s)
    return wrong


def _session_windows(destination: Destination, requests: Sequence[Request]) -> list[str]:
    limits = destination.limits
    by_guest: dict[tuple[str, GuestRef], list[float]] = defaultdict(list)
    by_connection: dict[int, list[float]] = defaultdict(list)
    for each in requests:
        by_guest[each.action, each.guest].append(each.at)
        if each.connection:
            by_connection[each.connection].append(each.at)
    connects = sorted(each.at for each in requests if each.action == "connect")
    wrong = _over("connects a minute", connects, 60.0, limits.connects_per_min)
    for (action, guest), times in by_guest.items():
        if action == "message":
            wrong += _over(f"messages a second of {guest}", times, 1.0, limits.messages_per_s)
        elif action == "configure":
            wrong += _over(f"configures a minute of {guest}", times, 60.0, limits.configures_per_min)
        elif action == "history":
            wrong += _over(f"reads of the history a minute of {guest}", times, 60.0, limits.history_per_min)
    for connection, times in by_connection.items():
        wrong += _over(f"requests a minute of connection {connection}", times, 60.0, limits.requests_per_min)
    return wrong


def _over(what: str, times: Sequence[float], span_s: float, limit: int) -> list[str]:
    most = fullest(times, span_s)
    return [f"I5 {most} {what}, and {limit} are allowed"] if most > limit else []
