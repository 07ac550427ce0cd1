"""`guests`: who is there, what was said both ways, and what can be done for a guest at the gateway."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from guestwire.cli import content, show
from guestwire.cli.common import Place, require_store
from guestwire.cli.sending import wire_of
from guestwire.client import GuestWire
from guestwire.errors import ConfigError, NotFound, StoreError
from guestwire.model import GuestKey, GuestRef
from guestwire.store.base import ErrandView, GuestView, Line, PartView
from guestwire.store.sqlite import SqliteStore

#: Of the document that `export` writes; changes when a reader of the old one would stumble.
EXPORT_FORMAT = "guestwire.guest/1"
#: More parts than one guest ever has.
EVERYTHING = 1_000_000_000


async def list_(where: Place, *, to: str | None, limit: int, as_json: bool) -> int:
    """List guests, the last active ones first."""
    require_store(where)
    async with wire_of(where, "never") as wire:
        found = await wire.guests.list(destination=to, limit=limit)
    if not found:
        show.say("nobody is known here yet" if to is None else f"nobody is known at '{to}' yet")
    if as_json:
        for guest in found:
            show.out(show.as_json(guest))
    if as_json or not found:
        return 0
    show.table(
        ["guest", "session", "expires", "messages", "replies", "open", "last"],
        (
            (
                guest.guest,
                guest.session.value,
                show.local(guest.session_expires_at)[5:16],
                str(guest.messages),
                str(guest.replies),
                str(guest.open_parts),
                show.local(guest.last_at)[5:16] if guest.last_at else "",
            )
            for guest in found
        ),
    )
    return 0


async def show_guest(where: Place, guest: str, *, to: str | None, transcript: bool, as_json: bool) -> int:
    """Show what is known of a guest; wherever he is known, unless one destination is named."""
    require_store(where)
    async with wire_of(where, "never") as wire:
        for number, guest_ref in enumerate(await _everywhere(wire, guest, to)):
            view = await _view(wire, guest_ref)
            errands = await wire.store_read(partial(SqliteStore.errands_of, guest=guest_ref))
            lines = await wire.store_read(partial(SqliteStore.transcript, guest=guest_ref)) if transcript else []
            if as_json:
                data: dict[str, Any] = {"guest": view, "errands": errands}
                if transcript:
                    data["transcript"] = [_line_data(line) for line in lines]
                show.out(show.as_json(data))
                continue
            if number:
                show.out()
            _say_guest(view, errands)
            if transcript:
                show.out()
                for line in lines:
                    _say_line(line)
    return 0


def _say_guest(view: GuestView, errands: list[ErrandView]) -> None:
    session = [view.session.value]
    if view.session_expires_at is not None:
        session.append(f"until {show.local(view.session_expires_at)}")
    session += ["followed"] if view.is_followed else []
    session += ["signed in"] if view.is_signed_in else []
    show.out(f"guest     {show.isolated(show.printable(view.guest))} ({view.guest_ref})")
    show.out(f"to        {view.destination}")
    show.out(f"session   {', '.join(session)}")
    if view.paused_until is not None and view.paused_until > time.time():
        show.out(f"paused    until {show.local(view.paused_until)}: {show.printable(view.paused_reason or '')}")
    show.out(f"messages  {view.messages}, open parts {view.open_parts}")
    show.out(f"replies   {view.replies}")
    if view.last_at:
        show.out(f"last      {show.local(view.last_at)}")
    for errand in errands:
        show.out(f"errand    {errand.kind.replace('_', ' ')}: {errand.state} {show.local(errand.ended_at)}".rstrip())


def _say_line(line: Line) -> None:
    """A line of the transcript, and below it what belongs to it."""
    if line.reply is not None:
        first, *more = content.of_reply(line.reply)
        who = "<"
    else:
        words = ["(not kept any more)"] if line.body is None else list(content.of_part(line.body))
        first, *more = words or [""]
        who = ">"
    state = "" if line.state is None or line.state.value == "accepted" else f"({line.state.value}) "
    show.out(f"{show.local(line.at)}  {who} {state}{first}".rstrip())
    for each in more:
        show.out(f"{'':29}    {each}")


def _line_data(line: Line) -> dict[str, Any]:
    data: dict[str, Any] = {"at": line.at, "gateway_time": line.gateway_time}
    if line.reply is not None:
        return {**data, "from": "gateway", "reply": content.reply_data(line.reply)}
    body = None if line.body is None else msgspec.to_builtins(line.body)
    return {**data, "from": "guest", "part_id": line.part_id, "state": line.state, **(body or {})}


# --- what can be done ---


async def errand(where: Place, guest: str, what: str) -> int:
    """Have the session closed, or the conversation cleared, and wait until that is done."""
    require_store(where)
    async with wire_of(where) as wire:
        await _require_known(wire, guest)
        verbs: dict[str, Callable[[str], Awaitable[None]]] = {"close": wire.guests.close, "clear": wire.guests.clear}
        await verbs[what](guest)
    done = {"close": "the session is closed", "clear": "the platform has forgotten the conversation"}
    show.say(f"{done[what]}; what is stored here stays")
    return 0


async def follow(where: Place, guest: str, *, on: bool) -> int:
    """Keep the guest's session open from now on, or not any more."""
    async with wire_of(where, "never") as wire:
        if not on:
            await _require_known(wire, guest)
            await wire.guests.unfollow(guest)
            show.say("not followed any more: the session closes when it is idle")
            return 0
        await wire.guests.follow(guest)
        relay = (await wire.status()).relay
    whom = "nobody relays now: 'guestwire up' does it" if relay == "none" else "whoever relays does it"
    show.say(f"followed: the session is kept open for replies; {whom}")
    return 0


def confirm_clear(where: Place, guest: str, *, yes: bool) -> bool:
    """
    Ask before something that cannot be undone.

    Raises:
        NotFound: There is no store, so nobody is known.
        ConfigError: There is nobody to ask.
    """
    require_store(where)
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask on", code="GW-U002", hint="add --yes if you mean it")
    sys.stderr.write(f"have the platform forget the conversation with '{show.printable(guest)}', for good? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _require_known(wire: GuestWire, guest: str) -> None:
    """Refuse a guest whom the destination does not know: an errand for him would make him up."""
    name = wire.destination.name
    find = partial(SqliteStore.find_guest, guest=GuestKey(guest))
    if await wire.store_read(lambda store: find(store, destination=name)) is not None:
        return
    others = [
        other
        for other in await wire.store_read(SqliteStore.destinations)
        if await wire.store_read(partial(find, destination=other)) is not None
    ]
    raise NotFound(
        f"nothing was ever submitted for this guest to '{name}'",
        code="GW-N003",
        hint=f"the guest is known at {', '.join(others)}" if others else "check the guest's key",
    )


async def _everywhere(wire: GuestWire, guest: str, to: str | None) -> list[GuestRef]:
    """Return our names for a guest of the caller's, at one destination or at every one of the store."""
    names = await wire.store_read(SqliteStore.destinations) if to is None else [to]
    found = [
        guest_ref
        for name in names
        if (
            guest_ref := await wire.store_read(partial(SqliteStore.find_guest, destination=name, guest=GuestKey(guest)))
        )
        is not None
    ]
    if not found:
        raise NotFound("no message was ever submitted for this guest", code="GW-N003", hint="check the guest's key")
    return found


async def _view(wire: GuestWire, guest_ref: GuestRef) -> GuestView:
    (view,) = await wire.store_read(partial(SqliteStore.list_guests, destination=None, guest=guest_ref, limit=1))
    return view


# --- everything about one guest ---


async def export(where: Place, guest: str, *, to: str | None, out: Path | None, files: Path | None) -> int:
    """Write everything that is stored about a guest into one document, and his files beside it."""
    require_store(where)
    async with wire_of(where, "never") as wire:
        records = [await _record(wire, guest_ref, files) for guest_ref in await _everywhere(wire, guest, to)]
        document = {"format": EXPORT_FORMAT, "guest": guest, "exported_at": wire.clock.now(), "records": records}
    text = msgspec.json.format(msgspec.json.encode(document), indent=2)
    if out is None:
        show.out(text.decode())
    else:
        write_private(out, text + b"\n")
        show.say(f"wrote {content.size(len(text))} to {show.printable(str(out))}")
    return 0


async def _record(wire: GuestWire, guest_ref: GuestRef, files: Path | None) -> dict[str, Any]:
    """Everything about a guest at one destination. Session tokens and tokens of a sign-in stay out: they are keys."""
    parts = await wire.store_read(
        lambda store: store.list_parts(state=None, guest=guest_ref, limit=EVERYTHING, with_text=False)
    )
    view = await _view(wire, guest_ref)
    return {
        "guest_ref": guest_ref,
        "destination": view.destination,
        "session": {
            "state": view.session,
            "expires_at": view.session_expires_at,
            "paused_until": view.paused_until,
            "paused_reason": view.paused_reason,
            "is_followed": view.is_followed,
            "is_signed_in": view.is_signed_in,
        },
        "parts": [await _part_data(wire, part, files) for part in reversed(parts)],
        "replies": await wire.store_read(partial(_replies, guest_ref=guest_ref)),
        "errands": await wire.store_read(partial(SqliteStore.errands_of, guest=guest_ref)),
        "journal": await wire.store_read(partial(SqliteStore.journal_of_guest, guest=guest_ref)),
    }


async def _part_data(wire: GuestWire, part: PartView, files: Path | None) -> dict[str, Any]:
    body = await wire.store_read(partial(SqliteStore.body_of, part_id=part.id))
    data = {name: value for name, value in msgspec.to_builtins(part).items() if name not in ("text", "guest")}
    data["body"] = body
    if body is not None and body.file is not None and files is not None:
        data["written_as"] = name = f"{part.id}-{file_name(body.file.name)}"
        try:
            _, kept = await wire.store_read(partial(SqliteStore.file_of, part_id=part.id))
        except StoreError as error:
            # The rest of what is known is owed all the same.
            show.warn(f"{error}; part {part.id} is exported without its file")
            data["written_as"] = None
        else:
            make_folder(files)
            write_private(files / name, kept)
    return data


def _replies(store: SqliteStore, guest_ref: GuestRef) -> list[Any]:
    replies, after = [], 0
    while found := store.replies(after, 500, guest_ref):
        after = found[-1].seq
        replies += found
    return replies


def file_name(name: str) -> str:
    """Return a name that is one on every file system, whatever the guest called his file."""
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)[-80:]


def make_folder(path: Path) -> None:
    """Make a folder that its owner alone may look into, if there is none."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def write_private(path: Path, data: bytes) -> None:
    """Write a file that its owner alone may read: personal data."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.fchmod(descriptor, 0o600)  # one that was there may have been open to others
            file.write(data)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"'{path}' cannot be written: {error.strerror}", code="GW-C068", hint="name another place; nothing was lost"
    )
