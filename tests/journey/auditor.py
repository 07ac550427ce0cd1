"""
The outside auditor: what the gateway shows, what the journal says, what the caller was told. Nothing else.

It never looks into the product's memory and counts limits in its own code, so that it can be believed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from guestwire.model import JournalEntry, Ticket

Record = Mapping[str, Any]

#: The last word of the journal on a part that the gateway has taken …
TAKEN = "part.accepted"
#: … on one that ended with a reason …
ENDED = ("part.dead", "part.expired", "part.cancelled")
#: … and on one that is shown as waiting.
WAITING = (
    "part.queued",
    "part.entered",
    "part.sending",
    "part.checking",
    "part.requeued",
    "part.throttled",
    "part.possible_duplicate",
    "part.parked",
)


class Audit(NamedTuple):
    """What an auditor found; the first four are violations."""

    lost: list[str]
    """Parts that were promised, and are neither visible, nor ended, nor waiting; or called accepted and invisible."""
    unexplained: list[str]
    """Parts that are visible twice without an earlier unknown outcome on record."""
    disorder: list[str]
    """Parts that appeared before an earlier one of their guest."""
    strangers: list[str]
    """Visible messages that nobody was promised."""
    waiting: list[str]
    duplicates: int

    @property
    def violations(self) -> list[str]:
        """Everything that must not be."""
        return [
            f"{kind} {part}"
            for kind, parts in zip(("lost", "unexplained", "disorder", "stranger"), self[:4], strict=True)
            for part in parts
        ]


def audit(shown: Iterable[Record], journal: Iterable[JournalEntry], told: Iterable[Ticket]) -> Audit:
    """
    Judge a run.

    Args:
        shown: `messages()` of the emulator.
        journal: All of it, in order.
        told: The tickets the caller got, in the order of his submissions; the same one twice counts once.
    """
    entries: dict[str, list[JournalEntry]] = defaultdict(list)
    for entry in journal:
        if entry.part_id is not None:
            entries[entry.part_id].append(entry)
    copies: dict[str, list[Record]] = defaultdict(list)
    for message in shown:
        if message["direction"] == "Inbound":
            copies[str(message["metadata"].get("id") or message["tracing_id"])].append(message)
    promised: dict[str, str] = {part: ticket.guest_ref for ticket in told for part in ticket.part_ids}
    lost: list[str] = []
    waiting: list[str] = []
    for part in promised:
        states = [entry.event for entry in entries[part] if entry.event in (TAKEN, *ENDED, *WAITING)]
        last = states[-1] if states else ""
        if last in WAITING:
            waiting.append(part)
        elif last not in ENDED and not (last == TAKEN and part in copies):
            lost.append(part)
    return Audit(
        lost,
        [part for part, seen in copies.items() if not _explained(seen, entries[part])],
        _disorder([part for part in copies if part in promised], promised),
        [part for part in copies if part not in promised],
        waiting,
        sum(len(seen) - 1 for seen in copies.values()),
    )


def _explained(seen: Sequence[Record], entries: Sequence[JournalEntry]) -> bool:
    """Every copy but the first needs an earlier attempt that was on record as unknown, and not settled."""
    doubts = [
        int(entry.detail["attempt"])
        for entry in entries
        if entry.event == "part.possible_duplicate"
        and any(earlier.event == "part.checking" and earlier.seq < entry.seq for earlier in entries)
    ]
    # Where the attempt does not travel with the message, a copy is of any of them.
    attempts = [int(message["metadata"].get("attempt", 1 + max(doubts, default=0))) for message in seen]
    return all(sum(doubt < attempt for doubt in doubts) >= place for place, attempt in enumerate(attempts))


def relays(journal: Iterable[JournalEntry]) -> list[str]:
    """Say where two relays were at work at once: one fence twice, or two parts of a guest on their way together."""
    wrong: list[str] = []
    newest = 0
    on_its_way: dict[str, str] = {}
    for entry in journal:
        if entry.event == "relay.started":
            if entry.detail["fence"] <= newest:
                wrong.append(f"fence {entry.detail['fence']} after {newest}")
            newest = entry.detail["fence"]
        if entry.guest_ref is None or entry.part_id is None:
            continue
        if entry.event == "part.sending":
            before = on_its_way.setdefault(entry.guest_ref, entry.part_id)
            if before != entry.part_id:
                wrong.append(f"part {entry.part_id} begun while {before} was on its way")
        elif entry.event in (TAKEN, *ENDED, *WAITING) and on_its_way.get(entry.guest_ref) == entry.part_id:
            del on_its_way[entry.guest_ref]
    return wrong


def _disorder(appeared: Sequence[str], promised: Mapping[str, str]) -> list[str]:
    place = {part: number for number, part in enumerate(promised)}
    newest: dict[str, int] = {}
    wrong = []
    for part in appeared:
        guest = promised[part]
        if place[part] < newest.get(guest, -1):
            wrong.append(part)
        newest[guest] = max(place[part], newest.get(guest, -1))
    return wrong


class Busiest(NamedTuple):
    """The fullest window of each limit, whoever it belongs to."""

    messages_per_s: int
    requests_per_min: int
    connects_per_min: int
    history_per_min: int


def busiest(requests: Iterable[Record]) -> Busiest:
    """Count the windows in the emulator's log of requests; refused requests count as well."""
    messages: dict[str, list[float]] = defaultdict(list)
    by_connection: dict[int, list[float]] = defaultdict(list)
    connects: list[float] = []
    histories: dict[str, list[float]] = defaultdict(list)
    for request in requests:
        at = float(request["at"])
        if request["action"] == "connect":
            connects.append(at)
        elif request["action"] == "history":
            histories[request["token_sha256"]].append(at)
        elif request["connection"]:
            by_connection[request["connection"]].append(at)
            if request["action"] == "onMessage":
                messages[request["token_sha256"]].append(at)
    return Busiest(
        max((fullest(times, 1.0) for times in messages.values()), default=0),
        max((fullest(times, 60.0) for times in by_connection.values()), default=0),
        fullest(connects, 60.0),
        max((fullest(times, 60.0) for times in histories.values()), default=0),
    )


def fullest(times: Sequence[float], span_s: float) -> int:
    """Return the greatest number of times that lie in one half-open window (t - span, t]."""
    most, start = 0, 0
    for end, at in enumerate(times):
        while times[start] <= at - span_s:
            start += 1
        most = max(most, end - start + 1)
    return most


def events_of(journal: Iterable[JournalEntry]) -> Counter[str]:
    """Count the events."""
    return Counter(entry.event for entry in journal)
