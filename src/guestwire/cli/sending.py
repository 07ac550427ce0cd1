"""`guestwire send` and `guestwire batch`: open, submit, wait, say."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guestwire.cli import attaching, content, show
from guestwire.cli import batch as batches
from guestwire.cli.batchfile import BatchFile
from guestwire.cli.common import Place, require_store, run, summary, usage
from guestwire.client import GuestWire, MessageStatus, RelayMode
from guestwire.errors import AuthenticationError, ConfigError, Finding, NotFound, Rejected
from guestwire.model import TAKEN_STATES, Draft, JournalEntry, PartState, Reply, Ticket
from guestwire.policy.forecast import forecast_for
from guestwire.store.base import PartView


class BatchOptions(msgspec.Struct, frozen=True):
    """The flags of `batch`."""

    again: bool
    wait: str
    report: Path | None
    dry_run: bool
    yes: bool
    as_json: bool


def wire_of(where: Place, relay: RelayMode = "auto") -> GuestWire:
    """Make the `GuestWire` of a command."""
    return GuestWire(
        [] if where.destination is None else [where.destination, *where.others],
        store=where.folder,
        relay=relay,
        store_settings=where.loaded.settings.store,
        relay_settings=where.loaded.settings.relay,
        policy=where.loaded.settings.policy,
        files=where.loaded.settings.files,
    )


class SendOptions(msgspec.Struct, frozen=True):
    """The flags of `send` that are not the message's own."""

    file: Path | None
    answers: tuple[str, ...]
    """To the newest reply that offers something."""
    wait: str
    timeout_s: float
    dry_run: bool
    as_json: bool


async def send(where: Place, draft: Draft, options: SendOptions) -> int:
    """Send one message and say what became of it."""
    wait, timeout_s = options.wait, options.timeout_s
    wire = wire_of(where, "never" if options.dry_run or wait == "none" else "auto")
    findings: tuple[Finding, ...] = ()
    if options.file is not None:
        found = attaching.read(options.file, wire.destination.limits)
        if isinstance(found, tuple):
            findings = found
        else:
            draft = msgspec.structs.replace(draft, attachments=(found,))
    if options.dry_run and not options.answers:
        return _dry_run(wire, draft, findings, options.as_json)
    if findings:
        raise Rejected(attaching.joined(findings, wire.judge(draft).reasons))
    if options.answers:
        require_store(where)
    async with wire:
        for warning in wire.folder.warnings:
            show.warn(warning)
        if options.answers:
            draft = await _answered(wire, draft, options.answers)
        if options.dry_run:
            return _dry_run(wire, draft, (), options.as_json)
        after = await wire.store_read(lambda store: store.last_reply())
        ticket = await wire.submit(draft)
        if not options.as_json:
            tell_findings(ticket.findings)
        deadline = asyncio.get_running_loop().time() + timeout_s
        status = reply = None
        try:
            if wait != "none":
                status = await _settled(wire, ticket, timeout_s)
            if wait == "reply" and status is not None and status.is_accepted:
                reply = await _reply(wire, draft, after, deadline - asyncio.get_running_loop().time())
        except asyncio.CancelledError:
            show.say(f"stored as {ticket.message_id}, and stays queued unless it was accepted meanwhile")
            raise
        except (AuthenticationError, ConfigError):
            show.say(f"stored as {ticket.message_id}, and stays queued")
            raise
        parts = await wire.store_read(lambda store: store.message_parts(ticket.message_id, with_text=False))
        result = Result(ticket, parts, status, reply, wait)
        if options.as_json:
            show.out(show.as_json(result.as_data()))
        else:
            await _tell(wire, result)
        return result.code


async def _answered(wire: GuestWire, draft: Draft, chosen: Sequence[str]) -> Draft:
    """Make the message the answer to the newest reply to its guest that offers something."""
    newest = None
    with contextlib.suppress(NotFound):  # a guest nobody knows was offered nothing
        async for reply in wire.replies(draft.guest, follow=False):
            if reply.options:
                newest = reply
    if newest is None:
        raise Rejected(
            [
                Finding(
                    "answer.nothing_offered",
                    "answer",
                    "no reply to this guest offers anything to choose",
                    "send a text; or --quick-reply LABEL, if it was offered elsewhere",
                )
            ]
        )
    try:
        return msgspec.structs.replace(draft, answer=newest.answer(_choice(newest, chosen)))
    except Rejected:
        for line in content.of_reply(newest):
            show.say(line)
        raise


def _choice(reply: Reply, chosen: Sequence[str]) -> str | Sequence[str] | dict[str, str]:
    """What `Reply.answer` wants: the values of a form by field, or what was chosen."""
    fields = {str(option.number): option.payload for option in reply.options if option.kind == "form"}
    if not fields:
        return chosen[0] if len(chosen) == 1 else chosen
    values: dict[str, str] = {}
    for each in chosen:
        name, equals, value = each.partition("=")
        if not equals:
            raise usage(
                "the newest reply holds a form, and an --answer is not FIELD=VALUE", "such as --answer Name=Ann"
            )
        values[fields.get(name, name)] = value
    return values


async def _settled(wire: GuestWire, ticket: Ticket, timeout_s: float) -> MessageStatus:
    """Wait as `GuestWire.wait` does; meanwhile show how far a file has come."""
    moving = UploadLine(ticket)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                async for entries in wire.progress([ticket]):
                    for entry in entries:
                        moving.tell(entry)
    finally:
        moving.end()
    return await wire.message(ticket.message_id)


class UploadLine:
    """A line that tells how far the file of a message has come, on a terminal; nothing elsewhere."""

    def __init__(self, ticket: Ticket) -> None:
        self._parts = ticket.part_ids
        self._moves = sys.stderr.isatty()
        self._is_open = False

    def tell(self, entry: JournalEntry) -> None:
        """Show what an entry of the journal says of the file, if it is about it."""
        if self._moves and entry.event.startswith("upload.") and content.part_of(entry) in self._parts:
            self._is_open = True
            sys.stderr.write(f"\r\x1b[Kfile: {content.about_upload(entry)}")
            sys.stderr.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._is_open:
            sys.stderr.write("\n")


class Result(msgspec.Struct, frozen=True):
    """What became of one message."""

    ticket: Ticket
    parts: list[PartView]
    status: MessageStatus | None
    """None: nobody waited."""
    reply: Reply | None
    wait: str

    @property
    def code(self) -> int:
        """The exit code."""
        if self.status is None:
            return 0
        code = exit_code(self.status)
        return 6 if code == 0 and self.wait == "reply" and self.reply is None else code

    def as_data(self) -> dict[str, Any]:
        """As one object of JSON; no text but the reply's, which was asked for."""
        data: dict[str, Any] = {
            "message_id": self.ticket.message_id,
            "guest_ref": self.ticket.guest_ref,
            "fresh": self.ticket.fresh,
            "states": self.states(),
            "parts": [
                {
                    "id": part.id,
                    "state": part.state,
                    "gateway_id": part.gateway_id,
                    "gateway_time": part.gateway_time,
                    "reason": part.reason,
                }
                for part in self.parts
            ],
        }
        if self.ticket.findings:
            data["findings"] = self.ticket.findings
        if self.wait == "reply":
            data["reply"] = self.reply and content.reply_data(self.reply)
        return data

    def states(self) -> dict[str, int]:
        """The states of its parts, counted."""
        return dict(Counter(part.state.value for part in self.parts))


def _dry_run(wire: GuestWire, draft: Draft, of_files: tuple[Finding, ...], as_json: bool) -> int:
    verdict = wire.judge(draft)
    reasons = attaching.joined(of_files, verdict.reasons)
    expected = forecast_for([len(verdict.bodies) or 1], wire.destination)
    if as_json:
        show.out(show.as_json({"findings": (*of_files, *verdict.findings), "forecast": expected}))
    else:
        tell_findings(verdict.findings)
    if reasons:
        raise Rejected(reasons)
    if not as_json and verdict.parked_by:
        show.out("it would wait for a person: 'guestwire messages release' sends it")
    elif not as_json:
        parts = f"{len(verdict.bodies)} parts, " if len(verdict.bodies) > 1 else ""
        problems = "" if verdict.findings else "no problems; "
        show.out(f"{problems}{parts}accepted in about {show.ago(expected.duration_s)} ({expected.assumptions})")
    return 0


def tell_findings(findings: Iterable[Finding]) -> None:
    """Say on stderr what was found and is no reason to reject a message."""
    for finding in findings:
        if finding.action != "reject":
            what = {"warn": "warning", "redact": "masked", "park": "waits for a person"}[finding.action]
            show.say(f"{what}: {show.printable(finding.path)} {show.printable(finding.text)} [{finding.rule}]")


async def _reply(wire: GuestWire, draft: Draft, after: int, timeout_s: float) -> Reply | None:
    try:
        async with asyncio.timeout(max(0.0, timeout_s)):
            async for reply in wire.replies(draft.guest, after=after):
                if reply.kind in ("text", "structured"):
                    return reply
    except TimeoutError:
        pass
    return None


async def _tell(wire: GuestWire, result: Result) -> None:
    """Say in one line where the message stands, and on stderr what follows from it."""
    ticket, states, reply = result.ticket, result.states(), result.reply
    state = next(iter(states)) if list(states.values()) == [1] else summary(states)
    known = "" if ticket.fresh else " (known by its key; nothing was stored)"
    show.out(f"{ticket.message_id} {state}{known}")
    reasons = dict.fromkeys(part.reason for part in result.parts if part.reason and part.state not in TAKEN_STATES)
    if reply is not None:
        for line in content.of_reply(reply):
            show.out(line)
    elif result.code == 6 and result.status is not None and result.status.is_accepted:
        show.say("accepted, and no reply yet")
    elif result.code == 6:
        show.say(f"stored, not accepted yet: it stays queued in '{wire.folder.path}' and goes out with the next relay")
        for reason in dict.fromkeys([*wire.troubles(), *reasons]):
            show.say(f"  {show.printable(reason)}")
    elif result.code in (5, 8):
        if PartState.SENDING in states:
            show.say("no answer yet: the outcome is unknown, and is looked up before anything is sent again")
        elif reasons:
            show.say(f"{state}: {show.printable('; '.join(reasons))}")
        show.say(f"  see 'guestwire messages show {ticket.message_id}'")
    elif result.status is None and (await wire.status()).relay == "none":
        show.say("nobody relays now: it goes out with the next 'up', 'send' or 'batch' to the same destination")


def exit_code(status: MessageStatus) -> int:
    """0 accepted · 5 refused by the gateway · 8 outcome unknown · 6 stored, not accepted yet."""
    if status.is_accepted:
        return 0
    states = set(status.parts)
    if states & {PartState.DEAD, PartState.EXPIRED, PartState.CANCELLED, PartState.FAILED}:
        return 5
    return 8 if states & {PartState.SENDING, PartState.CHECKING, PartState.PARKED} else 6


def batch(where: Place, file: BatchFile, options: BatchOptions) -> int:
    """Send a file and say what became of its rows."""
    wire = wire_of(where, "never" if options.wait == "none" else "auto")
    try:
        plan = batches.survey(file, wire)
    except Rejected as error:
        if options.dry_run and options.as_json:
            show.out(show.as_json({"findings": error.findings}))
        raise
    finally:
        for note in file.notes:
            show.say(note)
    if options.dry_run:
        return _say_plan(plan, options.as_json)
    if options.report is not None:
        batches.reserve(options.report, file)
    # Before the loop runs: a question that waits for its answer must not keep Ctrl-C waiting.
    if not batches.confirm(wire.destination, plan, yes=options.yes):
        show.say("nothing was stored")
        return 0
    return run(
        lambda: _batch(wire, file, options),
        interrupted="interrupted: what is in flight gets its answer; Ctrl-C again stops at once",
    )


async def _batch(wire: GuestWire, file: BatchFile, options: BatchOptions) -> int:
    async with wire:
        for warning in wire.folder.warnings:
            show.warn(warning)
        if not options.again:
            await batches.refuse_changed(file, wire)
        try:
            tickets = await batches.store(file, wire, again=options.again)
        except asyncio.CancelledError:
            show.say("nothing was sent; run the same command again to go on storing")
            raise
        known = sum(not ticket.fresh for ticket in tickets)
        show.say(
            f"{show.counted(len(tickets) - known, 'row')} stored, {known:,} known from before"
            if known
            else f"{show.counted(len(tickets), 'row')} stored"
        )
        try:
            if options.wait == "none":
                counts, code = await batches.count(wire, tickets), 0
            else:
                counts = await batches.wait(wire, tickets)
                code = batches.exit_code(counts)
        except (asyncio.CancelledError, AuthenticationError, ConfigError):
            counts = await batches.count(wire, tickets)
            show.say(f"{summary(counts)}; what is queued stays queued: run the same command again, or 'guestwire up'")
            raise
        if options.report is not None:
            await batches.report(wire, file, tickets, options.report)
    if options.as_json:
        show.out(show.as_json({"rows": len(tickets), "known": known, "states": counts}))
    else:
        show.out(summary(counts))
    if code in (7, 8) and options.report is None:
        show.say("  which and why: 'guestwire messages list --state dead' (or parked), or --report FILE")
    return code


def _say_plan(plan: batches.Survey, as_json: bool) -> int:
    if as_json:
        show.out(show.as_json(plan))
    else:
        show.out(
            f"{plan}, no problems;"
            f" through in about {show.ago(plan.forecast.duration_s)}"
            f" (bound by {plan.forecast.binding}; {plan.forecast.assumptions})"
        )
    return 0
