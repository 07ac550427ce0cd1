"""`messages cancel|release|retry|export` and `guests resume`: what people decide about what is stored."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from guestwire.cli import show
from guestwire.cli.common import Place, require_store, usage
from guestwire.cli.guests import file_name, make_folder, write_private
from guestwire.cli.sending import wire_of
from guestwire.client import GuestWire
from guestwire.errors import ConfigError, StoreError
from guestwire.model import MessageId, PartBody, PartId, PartState
from guestwire.policy.interventions import Verb
from guestwire.store.base import Intervention, Person
from guestwire.store.sqlite import SqliteStore

#: Which states a decision is about, where messages are chosen by their state.
STATES: dict[Verb, tuple[PartState, ...]] = {
    "cancel": (PartState.QUEUED, PartState.PARKED),
    "release": (PartState.PARKED,),
    "retry": (PartState.DEAD, PartState.EXPIRED),
}
DONE: dict[Verb, str] = {"cancel": "cancelled", "release": "released", "retry": "queued anew"}
#: Messages that are named one by one in words; more are counted.
NAMED = 20


class Choice(msgspec.Struct, frozen=True):
    """Which messages are meant: these, or those in a state."""

    names: tuple[str, ...] = ()
    state: str | None = None
    since: float | None = None
    """In seconds since the epoch."""
    guest: str | None = None
    to: str | None = None


class Terms(msgspec.Struct, frozen=True):
    """How a decision is carried out."""

    why: str = ""
    dry_run: bool = False
    yes: bool = False
    as_json: bool = False


async def decide(where: Place, verb: Verb, choice: Choice, terms: Terms) -> int:
    """Carry out a decision, or say what it would do. Exit code 7: something of what was named stays as it is."""
    _require_meant(verb, choice)
    require_store(where)
    async with wire_of(where, "never") as wire:
        chosen = await _chosen(wire, verb, choice)
        weighed = await wire.messages.weigh(verb, chosen)
        if terms.dry_run:
            _say(verb, weighed, terms, would=True)
            return 0
        if not choice.names and not _is_meant(verb, weighed, terms):
            show.say("nothing was done")
            return 0
        done = await wire.messages.decide(verb, chosen, Person(getpass.getuser(), terms.why))
        _say(verb, done, terms)
        if verb != "cancel" and any(each.parts for each in done) and (await wire.status()).relay == "none":
            show.say("nobody relays now: 'guestwire up' sends them")
    return 7 if any(each.left for each in done) and choice.names else 0


def _require_meant(verb: Verb, choice: Choice) -> None:
    """Refuse a decision about nothing in particular."""
    filters = (choice.state, choice.since, choice.guest)
    if choice.names and any(each is not None for each in filters):
        raise usage("ids and a choice exclude each other", "keep the ids, or --state with --since and --guest")
    if not choice.names and choice.state is None:
        states = " or ".join(STATES[verb])
        raise usage(f"which messages are meant to be {DONE[verb]}?", f"name their ids, or --state {states}")
    if choice.state is not None and choice.state not in STATES[verb]:
        states = " or ".join(STATES[verb])
        raise usage(f"--state '{choice.state[:60]}' cannot be {DONE[verb]}", f"write {states}")


async def _chosen(wire: GuestWire, verb: Verb, choice: Choice) -> list[MessageId]:
    if choice.names:
        names = [name.strip().lower() for name in choice.names]
        found = await wire.store_read(lambda store: [store.message_of(name) for name in names])
        return list(dict.fromkeys(found))
    return await wire.messages.choose([choice.state or ""], since=choice.since or 0.0, to=choice.to, guest=choice.guest)


def _is_meant(verb: Verb, weighed: Sequence[Intervention], terms: Terms) -> bool:
    """
    Ask before many messages are moved at once.

    Raises:
        ConfigError: There is nobody to ask.
    """
    moving = [each for each in weighed if each.parts]
    if terms.yes or not moving:
        return True
    if not sys.stdin.isatty():
        raise ConfigError(
            f"{show.counted(len(moving), 'message')} would be {DONE[verb]}, and there is no terminal to ask on",
            code="GW-U002",
            hint="add --yes if you mean it, or --dry-run to see first",
        )
    sys.stderr.write(f"{_sum(verb, weighed, would=True)}. Do it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _say(verb: Verb, done: Sequence[Intervention], terms: Terms, *, would: bool = False) -> None:
    if terms.as_json:
        for each in done:
            show.out(show.as_json(msgspec.to_builtins(each)))
        return
    for each in done[:NAMED]:
        what = f"{'would be ' if would else ''}{DONE[verb]}" if each.parts else "stays as it is"
        replay = f" as {each.replay}" if each.replay and each.parts and not would else ""
        show.out(f"{each.message_id}  {what}{replay}")
        for part_id, why in each.left:
            show.out(f"  {part_id}  {show.printable(why)}")
    if len(done) > NAMED:
        show.out(f"… and {len(done) - NAMED:,} more")
    show.say(_sum(verb, done, would=would))


def _sum(verb: Verb, done: Sequence[Intervention], *, would: bool) -> str:
    moved = [each for each in done if each.parts]
    verbs = f"{'would be ' if would else ''}{DONE[verb]}"
    words = f"{show.counted(len(moved), 'message')} {verbs}"
    doubtful = sum(1 for each in moved if each.doubtful)
    if doubtful:
        seen = "may have been seen all the same" if verb == "cancel" else "may be seen twice"
        words += f"; {doubtful:,} of them {seen} (an attempt had an unknown outcome)"
    stay = len(done) - len(moved)
    return f"{words}; {stay:,} stay as they are" if stay else words


async def resume(where: Place, guest: str, to: str | None, why: str) -> int:
    """Let a guest's paused messages go on."""
    require_store(where)
    async with wire_of(where, "never") as wire:
        was_paused = await wire.guests.resume(guest, to=to, by=getpass.getuser(), why=why)
    show.say("the guest's messages go on" if was_paused else "nothing of this guest was paused")
    return 0


# --- export ---


async def export(where: Place, choice: Choice, out: Path | None, files: Path | None) -> int:
    """Write messages as rows that 'guestwire batch' takes; exit code 7 where a row cannot say all of its message."""
    require_store(where)
    rows, incomplete = [], 0
    async with wire_of(where, "never") as wire:
        states = [choice.state] if choice.state is not None else list(PartState)
        if choice.names:
            chosen = await _chosen(wire, "cancel", choice)
        else:
            chosen = await wire.messages.choose(states, since=choice.since or 0.0, to=choice.to, guest=choice.guest)
        for message in chosen:
            row, missing = await _row(wire, message, files)
            if missing:
                incomplete += 1
                show.warn(f"message {message}: {', '.join(missing)}")
            if row is not None:
                rows.append(msgspec.json.encode(row))
    text = b"".join(row + b"\n" for row in rows)
    if out is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    else:
        write_private(out, text)
        show.say(f"wrote {show.counted(len(rows), 'message')} to {show.printable(str(out))}")
    return 7 if incomplete else 0


async def _row(wire: GuestWire, message: MessageId, files: Path | None) -> tuple[dict[str, Any] | None, list[str]]:
    """Return a message as a row of a batch, and what of it such a row cannot say."""
    parts = await wire.store_read(lambda store: store.message_parts(message, with_text=False))
    bodies = [await wire.store_read(partial(SqliteStore.body_of, part_id=part.id)) for part in parts]
    kept = [(part.id, body) for part, body in zip(parts, bodies, strict=True) if body is not None]
    if not kept:
        return None, ["its content is not kept any more"]
    missing = ["a part's content is not kept any more"] if len(kept) < len(parts) else []
    row: dict[str, Any] = {"id": message, "guest": await wire.guest_key(parts[0].guest_ref)}
    text = "".join(body.text for _, body in kept)
    if text:
        row["text"] = text
    for name, value in kept[0][1].attributes.items():
        row[f"attr.{name}"] = value
    if kept[0][1].conversation is not None:
        row["conversation"] = kept[0][1].conversation
    missing += _add_answer(row, kept[0][1])
    missing += await _add_files(wire, row, kept, files)
    return row, missing


def _add_answer(row: dict[str, Any], body: PartBody) -> list[str]:
    if body.answer is None:
        return []
    if body.answer.kind != "quick_reply" or len(body.answer.choices) != 1:
        return [f"a row cannot say its answer ({body.answer.kind.replace('_', ' ')})"]
    choice = body.answer.choices[0]
    row.pop("text", None)
    row["quick_reply"] = choice.text if choice.payload == choice.text else f"{choice.text}={choice.payload}"
    return []


async def _add_files(
    wire: GuestWire, row: dict[str, Any], kept: Sequence[tuple[PartId, PartBody]], files: Path | None
) -> list[str]:
    """Name a message's file in its row, written where `files` says."""
    remote = [remote for _, body in kept for remote in body.remote_files]
    own = [part_id for part_id, body in kept if body.file is not None]
    if not remote and not own:
        return []
    if remote:
        row["file"] = remote[0].url
    elif files is None:
        return ["its file is not written: name a folder with --files"]
    else:
        try:
            file, data = await wire.store_read(partial(SqliteStore.file_of, part_id=own[0]))
        except StoreError as error:
            return [str(error)]
        make_folder(files)
        path = files / f"{own[0]}-{file_name(file.name)}"
        write_private(path, data)
        row["file"] = str(path.absolute())
    return ["a row cannot name more than one file"] if len(remote) + len(own) > 1 else []
