"""`up`, `status`, `tail`, `messages`: a process that relays, and others that look."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import signal
import time
from typing import Any

from guestwire.cli import show
from guestwire.cli.common import Place, stop_at_once, summary
from guestwire.cli.sending import wire_of
from guestwire.client import GuestWire, Status
from guestwire.errors import AuthenticationError, NotFound
from guestwire.model import JournalEntry, PartState

#: `--what` to the beginnings of journal events.
KINDS: dict[str, tuple[str, ...]] = {
    "all": ("",),
    "messages": ("part.",),
    "replies": ("reply.",),
    "sessions": ("session.", "lane.", "destination.", "wire.", "relay."),
}


async def up(where: Place) -> int:
    """Relay until told to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told() -> None:
        if stop.is_set():
            stop_at_once()
        show.say("stopping: what is in flight gets its answer, what is queued stays queued")
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    async with wire_of(where, "required") as wire:
        for warning in wire.folder.warnings:
            show.warn(warning)
        names = ", ".join(repr(each.name) for each in (where.destination, *where.others) if each is not None)
        show.say(f"relaying out of '{wire.folder.path}' to {names}; Ctrl-C ends it")
        told_before: set[str] = set()
        while not stop.is_set():
            troubles = set(wire.troubles())
            for trouble in troubles - told_before:
                show.warn(f"{trouble}; still trying")
            if told_before and not troubles:
                show.say("reached again")
            try:
                wire.raise_failure()
            except AuthenticationError as error:
                # Not the end: somebody may mend it, and then the relay goes on. What to mend is said once.
                if not troubles <= told_before:
                    show.say(f"  {show.printable(error.hint)}")
            told_before = troubles
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1.0)
    return 0


async def status(where: Place, *, watch: bool, as_json: bool) -> int:
    """Print the picture once, or again and again."""
    _require_store(where)
    async with wire_of(where, "never") as wire:
        while True:
            picture = await wire.status()
            if as_json:
                show.out(show.as_json(picture))
            else:
                if watch and show.colours():
                    show.out("\x1b[H\x1b[2J" + show.local(time.time()))
                _say_status(picture)
            if not watch:
                return 0
            await asyncio.sleep(1.0)


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
    show.out(f"store     {picture.folder} ({store.kind})")
    show.out(f"relay     {relay}")
    show.out(f"parts     {summary(store.parts)}")
    show.out(f"guests    {store.guests}, replies {store.replies}")
    if store.oldest_open_at is not None:
        show.out(f"oldest    queued {show.ago(time.time() - store.oldest_open_at)} ago")
    if store.held:
        show.out(f"held      {store.held} of batches that were not stored whole: run the same 'guestwire batch' again")
    show.out(f"doubles   {store.possible_duplicates} possible, {store.duplicates_seen} seen")
    for name, states in store.destinations.items():
        show.out(f"  {name}: {summary(states)}")


def _require_store(where: Place) -> None:
    if not (where.folder / "store.db").exists():
        raise NotFound(
            f"there is no store in '{where.folder}' yet",
            code="GW-N004",
            hint="it is made with the first 'guestwire send'; another place: --store",
        )


async def tail(where: Place, *, guest: str | None, what: str, text: bool, as_json: bool) -> int:
    """Print journal entries as they come."""
    _require_store(where)
    async with wire_of(where, "never") as wire:
        guest_ref = None if guest is None else await wire.guest_ref(guest)
        async for entry in wire.journal():
            if not entry.event.startswith(KINDS[what]):
                continue
            if guest_ref is not None and entry.guest_ref != guest_ref:
                continue
            if as_json:
                show.out(show.as_json(entry))
            else:
                show.out(_line(entry) + (await _text_of(wire, entry) if text else ""))
    return 0


def _line(entry: JournalEntry) -> str:
    part = "" if entry.part_id is None else f" part {entry.part_id}"
    return (
        f"{show.local(entry.at)} {entry.event:<22} {entry.guest_ref or '':<17}{part} {_detail(entry.detail)}".rstrip()
    )


def _detail(detail: dict[str, Any]) -> str:
    shown = {key: value for key, value in detail.items() if value is not None}
    return show.printable(" ".join(f"{key}={value}" for key, value in shown.items()))


async def _text_of(wire: GuestWire, entry: JournalEntry) -> str:
    if entry.event != "reply.received":
        return ""
    after = int(entry.detail["reply"]) - 1
    found = await wire.store_read(lambda store: store.replies(after, 1))
    return f"\n    {show.isolated(show.printable(found[0].text or ''))}" if found else ""


async def messages(where: Place, *, state: str | None, guest: str | None, limit: int, text: bool, as_json: bool) -> int:
    """List parts."""
    _require_store(where)
    if state is not None and state not in set(PartState):
        near = difflib.get_close_matches(state, list(PartState), n=1)
        raise NotFound(
            f"no part is ever '{state[:60]}'",
            code="GW-N005",
            hint=f"did you mean '{near[0]}'?" if near else f"states: {', '.join(PartState)}",
        )
    wanted = None if state is None else PartState(state)
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
    _require_store(where)
    async with wire_of(where, "never") as wire:
        parts, entries = await wire.find(name.strip().lower(), with_text=text)
    if as_json:
        show.out(show.as_json({"parts": parts, "journal": entries}))
        return 0
    for part in parts:
        show.out(f"part      {part.id} of message {part.message_id}")
        show.out(f"state     {part.state.value}" + (f": {show.printable(part.reason)}" if part.reason else ""))
        show.out(f"guest     {show.printable(part.guest) if text and part.guest else part.guest_ref}")
        show.out(f"to        {part.destination}")
        show.out(f"size      {part.size} bytes")
        if part.gateway_id:
            show.out(f"gateway   {part.gateway_id}, {part.gateway_time or 'no time given'}")
        if part.possible_duplicates:
            show.out(f"may have been seen {part.possible_duplicates + 1} times (unknown outcomes nobody could settle)")
        if text and part.text is not None:
            show.out(f"text      {show.isolated(show.printable(part.text))}")
    show.out()
    started = entries[0].at if entries else 0.0
    for entry in entries:
        show.out(f"{show.local(entry.at)}  +{entry.at - started:9.3f} s  {entry.event:<24} {_detail(entry.detail)}")
    return 0
