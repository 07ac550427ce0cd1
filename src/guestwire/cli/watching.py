"""`up`, `status`, `tail`, `messages`: a process that relays, and others that look."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from guestwire.cli import content, operating, show
from guestwire.cli.common import Place, require_store, summary
from guestwire.cli.sending import wire_of
from guestwire.cli.supervisor import Supervisor
from guestwire.client import GuestWire, Status
from guestwire.errors import AuthenticationError, ConfigError, NotFound
from guestwire.model import RECEIPT_STATES, JournalEntry, PartBody, PartId, PartState, Reply
from guestwire.store.base import PartView
from guestwire.vitals import DestinationVitals

#: `--what` to the beginnings of journal events.
KINDS: dict[str, tuple[str, ...]] = {
    "messages": ("part.", "upload."),
    "replies": ("reply.",),
    "receipts": (
        "receipt.",
        *(f"{what}.{state.value}" for what in ("part", "reply") for state in RECEIPT_STATES.values()),
    ),
    "sessions": ("session.", "lane.", "guest.", "destination.", "config.", "wire.", "relay."),
    "errands": ("errand.",),
    "all": ("",),
}


#: How often one that stands by looks whether it relays now, in seconds.
STAND_BY_S = 0.2


async def up(where: Place, again: Callable[[], Place], ports: operating.Ports, *, standby: bool = False) -> int:
    """
    Relay until told to stop; and answer at the ports that are given.

    Args:
        where: What to relay.
        again: Reads the settings anew, for SIGHUP.
        ports: For a platform's webhook, and for questions about health.
        standby: This may begin later: when the process that relays now has ended.
    """
    orders = operating.Orders(asyncio.get_running_loop())
    supervisor = Supervisor(os.environ)
    wire = wire_of(where, "auto" if standby else "required")
    async with contextlib.AsyncExitStack() as stack:
        # Around everything: whoever asks is told how starting and stopping go, too.
        await stack.enter_async_context(operating.answering(wire, ports.health))
        await stack.enter_async_context(operating.patting(wire, supervisor))
        await stack.enter_async_context(wire)
        for warning in wire.folder.warnings:
            show.warn(warning)
        if standby:
            await _stand_by(wire, orders, supervisor)
        await stack.enter_async_context(_forwarding(wire, where))
        await stack.enter_async_context(_receiving(wire, ports.webhook_host, ports.webhook))
        names = ", ".join(repr(each.name) for each in (where.destination, *where.others) if each is not None)
        show.say(f"relaying out of '{wire.folder.path}' to {names}; Ctrl-C ends it")
        told_before: set[str] = set()
        while not orders.stop:
            if orders.taken_reload():
                where = await operating.reload(wire, where, again, supervisor)
            operating.report(wire, supervisor)
            troubles = set(wire.troubles())
            for trouble in troubles - told_before:
                show.warn(f"{trouble}; still trying")
            if told_before and not troubles:
                show.say("reached again")
            try:
                wire.raise_failure()
            except (AuthenticationError, ConfigError) as error:
                # Not the end: somebody may mend it, and then the relay goes on. What to mend is said once.
                if not troubles <= told_before:
                    show.say(f"  {show.printable(error.hint)}")
            told_before = troubles
            await orders.wait(1.0)
        supervisor.tell("STOPPING=1", "STATUS=stopping: what is in flight gets its answer")
        # At once, and not after the ports: what is in flight has its time while they close.
        wire.stop()
    return 0


async def _stand_by(wire: GuestWire, orders: operating.Orders, supervisor: Supervisor) -> None:
    """Return when this process relays, or has to stop."""
    told = None
    while not orders.stop:
        status = await wire.status()
        if status.relay == "here":
            return
        if status.relay == "elsewhere" and status.relay_pid != told:
            told = status.relay_pid
            show.say(f"standing by: process {told} relays out of '{wire.folder.path}'")
            supervisor.started()
            supervisor.status("standing by")
        await orders.wait(STAND_BY_S)


@contextlib.asynccontextmanager
async def _receiving(wire: GuestWire, host: str, port: int | None) -> AsyncIterator[None]:
    """Receive webhooks for the length of the block, if a port is given."""
    if port is None:
        yield
        return
    from guestwire.webhook import WebhookServer

    async with WebhookServer(wire, host=host, port=port) as server:
        show.say(f"receiving webhooks on {server.url}")
        yield


@contextlib.asynccontextmanager
async def _forwarding(wire: GuestWire, where: Place) -> AsyncIterator[None]:
    """Forward replies for the length of the block, if the settings name a receiver."""
    settings = where.loaded.settings.sinks.replies
    if settings.url is None:
        yield
        return
    from guestwire.forwarding import forward, forwarder_of

    forwarder_of(wire, settings)  # says what is wrong with the receiver before anything begins
    task = asyncio.create_task(forward(wire, settings))
    task.add_done_callback(_say_forwarding_ended)
    show.say(f"forwarding replies to {urlsplit(settings.url).hostname}")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _say_forwarding_ended(task: asyncio.Task[None]) -> None:
    if task.cancelled():
        return
    error = task.exception()
    why = "the receiver wants nothing any more" if error is None else str(error)
    show.warn(f"replies are not forwarded any more: {why}; start again when that is mended")


async def status(where: Place, *, watch: bool, as_json: bool) -> int:
    """Print the picture once, or again and again."""
    require_store(where)
    async with wire_of(where, "never") as wire:
        while True:
            picture = await wire.status()
            lag = await _lag(wire, where)
            if as_json:
                sinks = {} if lag is None else {"replies": lag}
                show.out(show.as_json({**msgspec.structs.asdict(picture), "sinks": sinks}))
            else:
                if watch and show.colours():
                    show.out("\x1b[H\x1b[2J" + show.local(time.time()))
                _say_status(picture)
                if lag is not None:
                    show.out(f"forward   {_lag_words(lag)}")
            if not watch:
                return 0
            await asyncio.sleep(1.0)


async def _lag(wire: GuestWire, where: Place) -> dict[str, Any] | None:
    """How far the receiver of replies is behind; None where there is none."""
    settings = where.loaded.settings.sinks.replies
    if settings.url is None:
        return None
    from guestwire.forwarding import lag_of

    count, oldest_at = await lag_of(wire, settings)
    return {"consumer": settings.consumer, "unacknowledged": count, "oldest_at": oldest_at}


def _lag_words(lag: dict[str, Any]) -> str:
    count, oldest_at = lag["unacknowledged"], lag["oldest_at"]
    if not count:
        return "every reply was taken by its receiver"
    waits = show.counted(count, "reply", "replies")
    return f"{waits} not taken yet by '{lag['consumer']}', the oldest {show.ago(time.time() - oldest_at)} old"


def _say_status(picture: Status) -> None:
    store = picture.store
    nobody = "nobody"
    if store.destinations:
        # What waits for an address that was given by flags goes out only when the same address is named again.
        ways = (
            f"--to {name}" if not name.startswith("adhoc-") else "the address of then" for name in store.destinations
        )
        nobody += f": 'guestwire up' with {' or '.join(dict.fromkeys(ways))} sends what waits"
    relay = {"here": "this process", "none": nobody}.get(picture.relay, f"process {picture.relay_pid}")
    vitals = picture.vitals
    if vitals is not None:
        relay += f", up {show.ago(vitals.at - vitals.started_at)}, {vitals.in_flight:,} in flight"
        relay += ", stopping" if vitals.stopping else ""
    elif picture.relay != "none":
        relay += ", which says nothing of itself at the moment"
    show.out(f"store     {picture.folder} ({store.kind})")
    show.out(f"relay     {relay}")
    show.out(f"parts     {summary(store.parts)}")
    show.out(f"guests    {store.guests}, replies {store.replies}")
    if store.oldest_open_at is not None:
        show.out(f"oldest    queued {show.ago(time.time() - store.oldest_open_at)} ago")
    if store.held:
        show.out(f"held      {store.held} of batches that were not stored whole: run the same 'guestwire batch' again")
    show.out(f"doubles   {store.possible_duplicates} possible, {store.duplicates_seen} seen")
    if vitals is not None and vitals.store is not None:
        show.out(f"trouble   {show.printable(str(vitals.store))}; tried again every second")
    destinations = {} if vitals is None else vitals.destinations
    for name in dict.fromkeys((*store.destinations, *destinations)):
        show.out(f"  {name}: {summary(store.destinations.get(name, {}))}")
        if vitals is not None and name in destinations:
            for line in vital_lines(destinations[name], vitals.at):
                show.out(f"    {line}")


def vital_lines(of: DestinationVitals, now: float) -> Iterator[str]:
    """Give what the relay says of a destination: first what keeps its messages, then how it goes."""
    if of.trouble is not None:
        yield f"trouble   {show.printable(str(of.trouble))}"
    if of.breaker_until is not None:
        state = "one try is on its way" if of.breaker == "half_open" else f"the next try {_in(of.breaker_until - now)}"
        yield f"breaker   {of.breaker.replace('_', ' ')}: {state}, {show.counted(of.held, 'guest')} behind it"
    if of.binding is not None:
        when = "as soon as an answer comes" if of.binding_until is None else _in(of.binding_until - now)
        yield f"limit     {of.binding} binds; the next place {when}"
    if of.checks_s is not None:
        yield f"checks    {show.counted(of.checking, 'unknown outcome')} to look up, {show.ago(of.checks_s)} at least"
    lanes = show.counted(of.lanes, "guest") + (" and more" if of.backlog else "")
    yield f"busy      {lanes}, {of.waiting:,} in line, {of.in_flight:,} in flight"
    if of.last_min:
        yield f"last min  {summary(of.last_min)}"


def _in(seconds: float) -> str:
    return f"in {show.ago(seconds)}" if seconds > 0 else "now"


async def tail(where: Place, *, guest: str | None, what: Sequence[str], text: bool, as_json: bool) -> int:
    """Print journal entries as they come."""
    require_store(where)
    beginnings = tuple(beginning for kind in what for beginning in KINDS[kind])
    async with wire_of(where, "never") as wire:
        guest_ref = None if guest is None else await wire.guest_ref(guest)
        async for entry in wire.journal():
            if not entry.event.startswith(beginnings):
                continue
            if guest_ref is not None and entry.guest_ref != guest_ref:
                continue
            reply = await _reply_of(wire, entry) if text else None
            if as_json:
                said = {} if reply is None else {"said": content.reply_data(reply)}
                show.out(show.as_json({**msgspec.structs.asdict(entry), **said}))
                continue
            show.out(_line(entry))
            for line in [] if reply is None else content.of_reply(reply):
                show.out(f"    {line}")
    return 0


def _line(entry: JournalEntry) -> str:
    part = "" if entry.part_id is None else f" part {entry.part_id}"
    return (
        f"{show.local(entry.at)} {entry.event:<22} {entry.guest_ref or '':<17}{part} {_detail(entry.detail)}".rstrip()
    )


def _detail(detail: dict[str, Any]) -> str:
    shown = {key: value for key, value in detail.items() if value is not None}
    return show.printable(" ".join(f"{key}={value}" for key, value in shown.items()))


async def _reply_of(wire: GuestWire, entry: JournalEntry) -> Reply | None:
    """The reply that an entry tells of, if it tells of one that is still stored."""
    if entry.event != "reply.received":
        return None
    number = int(entry.detail["reply"])
    found = await wire.store_read(lambda store: store.replies(number - 1, 1))
    return found[0] if found and found[0].seq == number else None


def state_of(name: str) -> PartState:
    """Return the state of that name; refuses one that there is not, with the nearest."""
    if name not in set(PartState):
        near = difflib.get_close_matches(name, list(PartState), n=1)
        raise NotFound(
            f"no part is ever '{name[:60]}'",
            code="GW-N005",
            hint=f"did you mean '{near[0]}'?" if near else f"states: {', '.join(PartState)}",
        )
    return PartState(name)


async def messages(where: Place, *, state: str | None, guest: str | None, limit: int, text: bool, as_json: bool) -> int:
    """List parts."""
    require_store(where)
    wanted = None if state is None else state_of(state)
    async with wire_of(where, "never") as wire:
        guest_ref = None if guest is None else await wire.guest_ref(guest)
        parts = await wire.store_read(
            lambda store: store.list_parts(state=wanted, guest=guest_ref, limit=limit, with_text=text)
        )
    if not parts:
        show.say("no message fits" if state or guest else "no message was ever submitted to this store")
    if as_json:
        for part in parts:
            show.out(show.as_json(part))
    if as_json or not parts:
        return 0
    last = "text" if text else "reason"
    show.table(
        ["part", "state", *(["guest"] if text else []), "tries", "queued", last],
        (
            (
                part.id,
                part.state.value,
                *([part.guest or part.guest_ref] if text else []),
                str(part.attempt),
                show.local(part.queued_at)[5:19],
                (part.text if text else part.reason) or "",
            )
            for part in parts
        ),
    )
    return 0


async def message(where: Place, name: str, *, text: bool, as_json: bool) -> int:
    """Show one message: its parts, and everything the journal holds about them."""
    require_store(where)
    async with wire_of(where, "never") as wire:
        parts, entries = await wire.find(name.strip().lower(), with_text=text)
        timeline = await _with_surroundings(wire, parts, entries)
        bodies = {part.id: await _body_of(wire, part.id) for part in parts}
    if as_json:
        contents = {"contents": bodies} if text else {}
        show.out(show.as_json({"parts": parts, "journal": timeline, **contents}))
        return 0
    for part in parts:
        _say_part(part, bodies[part.id], text)
    show.out()
    started = timeline[0].at if timeline else 0.0
    for entry in timeline:
        show.out(f"{show.local(entry.at)}  +{entry.at - started:9.3f} s  {entry.event:<24} {_words(entry)}".rstrip())
    return 0


async def _body_of(wire: GuestWire, part_id: PartId) -> PartBody | None:
    return await wire.store_read(lambda store: store.body_of(part_id))


async def _with_surroundings(
    wire: GuestWire, parts: Sequence[PartView], entries: Sequence[JournalEntry]
) -> Sequence[JournalEntry]:
    """Add what the guest's journal has of the message's files, and of errands that had their turn meanwhile."""
    if not entries:
        return entries
    first = entries[0].seq
    is_over = all(part.ended_at is not None for part in parts)
    last = entries[-1].seq if is_over else 2**63 - 1
    found = await wire.store_read(lambda store: store.journal_of_guest(parts[0].guest_ref, first, last))
    ours = {part.id for part in parts}
    return [entry for entry in found if content.part_of(entry) in ours or entry.event.startswith("errand.")]


def _say_part(part: PartView, body: PartBody | None, text: bool) -> None:
    show.out(f"part      {part.id} of message {part.message_id}")
    what_for = f" ({part.parked_for})" if part.parked_for else ""
    reason = f": {show.printable(part.reason)}" if part.reason else ""
    show.out(f"state     {part.state.value}{what_for}{reason}")
    show.out(f"guest     {show.printable(part.guest) if text and part.guest else part.guest_ref}")
    show.out(f"to        {part.destination}")
    show.out(f"size      {part.size} bytes")
    if part.replay_of is not None:
        show.out(f"replay    of message {part.replay_of}")
    if part.parked_for is not None:
        show.out(f"waits     for a person: 'guestwire messages release {part.message_id}', or 'cancel'")
    if part.gateway_id:
        show.out(f"gateway   {part.gateway_id}, {part.gateway_time or 'no time given'}")
    if part.possible_duplicates:
        show.out(f"may have been seen {part.possible_duplicates + 1} times (unknown outcomes nobody could settle)")
    if body is None:
        show.out("content   not kept any more")
        return
    if body.answer is not None:
        kind = body.answer.kind.replace("_", " ")
        about = f"{kind}, {show.counted(len(body.answer.choices), 'choice')}"
        show.out(f"answer    {content.of_answer(body.answer) if text else about}")
    if body.file is not None:
        name = f"{show.isolated(show.printable(body.file.name))}, " if text else ""
        show.out(f"file      {name}{content.size(body.file.size)}, {show.printable(body.file.type)}")
    if text and body.text:
        show.out(f"text      {show.isolated(show.printable(body.text))}")


def _words(entry: JournalEntry) -> str:
    """What an entry says: in words where it is about a file or an errand, else its detail."""
    if entry.event.startswith("upload."):
        return content.about_upload(entry)
    if entry.event.startswith("errand."):
        return content.about_errand(entry)
    return _detail(entry.detail)
