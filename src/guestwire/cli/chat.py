"""
`guestwire chat`: a guest's conversation in the terminal.

Everything that happens comes through one inbox and is dealt with by one loop: keys, lines, replies, the journal,
typing. What takes long (an errand, a download) runs beside it and reports into the inbox.

    chatting_editor   bytes -> keys -> a line         chatting_lines   a line -> text, command, choice
    chatting_text     clusters, widths, wrapping      chatting_words   replies, events, transcript in words
    chatting_view     terminal, plain lines, JSON     chatting_input   terminal, pipe -> inbox
    chatting_outbox   what becomes of messages        here             the conversation
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import threading
import time
from collections.abc import AsyncGenerator, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from guestwire.answers import Answer
from guestwire.cli import show
from guestwire.cli.chatting_editor import Key
from guestwire.cli.chatting_files import existing, reserve, write, write_new
from guestwire.cli.chatting_input import MAX_LINE, Edited, Inbox, Leave, Line, open_view, read_keys, read_lines
from guestwire.cli.chatting_lines import (
    COMMANDS,
    Command,
    Form,
    Mistake,
    Say,
    Typed,
    choosable,
    number_of,
    read_attribute,
    read_choice,
    read_line,
)
from guestwire.cli.chatting_outbox import Outbox
from guestwire.cli.chatting_view import Screen, View
from guestwire.cli.chatting_words import (
    Paragraph,
    Said,
    answer_words,
    event_words,
    name_of,
    paragraphs,
    presence_words,
    reply_data,
    said_before,
    said_in,
    size_words,
    transcript,
)
from guestwire.cli.common import Place, run, stop_at_once
from guestwire.cli.sending import wire_of
from guestwire.client import GuestWire
from guestwire.errors import AuthenticationError, ConfigError, GuestWireError, Rejected
from guestwire.model import Attachment, Draft, GuestKey, GuestRef, JournalEntry, Reply
from guestwire.policy.rules import BLOCKED_EXTENSIONS, check_file
from guestwire.store.sqlite import SqliteStore

#: So many lines of an older conversation are shown.
EARLIER = 10
#: On leaving, what is on its way gets its answer within this, in seconds.
LEAVE_S = 5.0
#: The far side is told at most so often that somebody types, in seconds; the transport has its own bound.
TYPING_EVERY_S = 1.0


class ChatOptions(msgspec.Struct, frozen=True):
    """The flags of `chat`."""

    guest: str | None
    attributes: dict[str, str]
    transcript: Path | None
    quiet_s: float
    timeout_s: float
    as_json: bool


# --- what comes through the inbox, beside replies, entries of the journal and keys ---


class TypedTo(msgspec.Struct, frozen=True):
    """The other side types, for so long unless it says something."""

    seconds: float


class Finished(msgspec.Struct, frozen=True):
    """Something that ran beside the loop has ended."""

    task: asyncio.Task[str]
    error: BaseException | None


def chat(where: Place, options: ChatOptions) -> int:
    """Chat as a guest until told to leave."""
    if options.transcript is not None:
        reserve(options.transcript)
    return run(lambda: _chat(where, options))


async def _chat(where: Place, options: ChatOptions) -> int:
    wire = wire_of(where)
    guest = options.guest if options.guest is not None else f"chat-{secrets.token_hex(3)}"
    reasons = wire.judge(Draft(destination=wire.destination.name, guest=GuestKey(guest), text="-")).reasons
    if reasons:
        raise Rejected(reasons)
    inbox: Inbox = asyncio.Queue()
    loop = asyncio.get_running_loop()
    signals = 0

    def told() -> None:
        nonlocal signals
        signals += 1
        view.close()  # before anything else: the second one ends the process where it stands
        if signals > 1:
            stop_at_once()
        inbox.put_nowait(Leave())

    view = open_view(inbox, told, as_json=options.as_json)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, told)
    try:
        if isinstance(view, Screen):
            read_keys(view, inbox)
        else:
            threading.Thread(target=read_lines, args=(loop, inbox), daemon=True).start()
        async with wire:
            for warning in wire.folder.warnings:
                view.note(f"warning: {show.printable(warning)}")
            return await Chat(wire, guest, view, inbox, options).run()
    finally:
        view.close()


# --- the conversation ---


class Chat:
    """
    One conversation.

    Args:
        wire: Open.
        guest: The caller's key.
        view: Where it is shown.
        inbox: Where keys and lines come from.
        options: The flags.
    """

    def __init__(self, wire: GuestWire, guest: str, view: View, inbox: Inbox, options: ChatOptions) -> None:
        self._wire = wire
        self._guest = guest
        self._view = view
        self._inbox = inbox
        self._options = options
        self._is_piped = not isinstance(view, Screen)
        self._guest_ref = GuestRef("")
        self._outbox = Outbox()
        self._attributes = dict(options.attributes)
        self._offer: Reply | None = None
        self._form: Form | None = None
        self._file_from: Reply | None = None
        self._other = ""
        self._human = ""
        self._typing_until = 0.0
        self._typed_at = 0.0
        self._is_lost = self._is_trouble = False
        self._follows = False
        self._is_leaving = self._has_ended = False
        self._active_at = time.monotonic()
        self._line_number = 0
        self._code = 0
        self._pumps: list[asyncio.Task[None]] = []
        self._tasks: dict[asyncio.Task[str], str] = {}
        """What runs beside the loop, and by which command."""

    async def run(self) -> int:
        """Chat until the end; returns the exit code."""
        was_followed = await self._begin()
        try:
            while not self._is_leaving:
                if not await self._next(self._wake_at()):
                    break
            await self._finish_flying()
        finally:
            beside = [*self._pumps, *self._tasks]
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            if not was_followed:
                with contextlib.suppress(GuestWireError):  # what ended the chat is told, and not what follows from it
                    await self._wire.guests.unfollow(self._guest)
        await self._end()
        return self._code

    async def _begin(self) -> bool:
        """Show what was said before, follow the guest; returns whether somebody follows him already."""
        wire, view = self._wire, self._view
        where = show.printable(wire.destination.name, width=40)
        view.note(f"chatting with '{where}' as guest {show.printable(self._guest, width=60)}; /help, /quit")
        view.object({"event": "chat.started", "guest": self._guest, "destination": wire.destination.name})
        seen = await wire.store_read(SqliteStore.journal_seq)
        heard = await wire.store_read(SqliteStore.last_reply)
        was_followed = False
        find = partial(SqliteStore.find_guest, destination=wire.destination.name, guest=GuestKey(self._guest))
        if await wire.store_read(find) is not None:
            was_followed = (await wire.guests.show(self._guest)).is_followed
            lines = await wire.guests.transcript(self._guest)
            shown = [
                said for line in lines if line.reply is None or line.reply.seq <= heard if (said := said_before(line))
            ]
            for said in shown[-EARLIER:]:
                view.said(said)
        await self._follow()
        self._guest_ref = await wire.guest_ref(self._guest)
        for source in (
            wire.journal(after=seen),
            # In order of arrival: a person who waits for an answer sees for himself what came first.
            wire.replies(self._guest, after=heard, reorder_s=0.0),
            self._typing_feed(),
            self._failures(),
        ):
            self._pumps.append(asyncio.create_task(self._pump(source)))
        return was_followed

    async def _follow(self) -> None:
        if not self._follows:
            self._follows = True
            await self._wire.guests.follow(self._guest)

    async def _pump(self, source: AsyncGenerator[Any, None]) -> None:
        """Bring what a source yields into the inbox; an error too, where the loop raises it."""
        try:
            async with contextlib.aclosing(source) as items:
                async for item in items:
                    self._inbox.put_nowait(item)
        except Exception as error:
            self._inbox.put_nowait(error)

    async def _typing_feed(self) -> AsyncGenerator[TypedTo, None]:
        with self._wire.typing() as queue:
            while True:
                guest, seconds = await queue.get()
                if guest == self._guest_ref:
                    yield TypedTo(seconds)

    async def _failures(self) -> AsyncGenerator[Any, None]:
        """Raise what ends the relay of this process; yield once what keeps it from being let in."""
        told = ""
        with self._wire.feed.watch() as news:
            while True:
                try:
                    self._wire.raise_failure({self._wire.destination.name})
                    told = ""
                except (AuthenticationError, ConfigError) as error:
                    if error.message != told:
                        told = error.message
                        yield Mistake(f"{show.printable(error.message)}; {show.printable(error.hint)}")
                await news.get()

    # --- the loop ---

    async def _next(self, until: float | None) -> bool:
        """Deal with the next thing, or with the time; returns whether the chat goes on."""
        item = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if until is None else max(0.0, until - time.monotonic())):
                item = await self._inbox.get()
        match item:
            case None:
                pass
            case Exception():
                raise item
            case Leave():
                if self._is_piped:
                    self._code = 130
                return False
            case Key() | Line() if self._is_leaving:
                pass
            case Key("enter", text):
                await self._line(text)
            case Key("eof"):
                return False
            case Line():
                await self._piped(item)
            case Edited(text):
                await self._tell_typing(text)
            case Reply():
                self._heard(item)
            case JournalEntry():
                self._happened(item)
            case TypedTo(seconds):
                self._typing_until = time.monotonic() + seconds
                self._view.object({"event": "typing", "seconds": seconds})
            case Mistake(words):
                self._view.note(words)
            case Finished():
                self._finished(item)
        self._view.status(self._status())
        return not (self._has_ended and self._is_silent())

    def _wake_at(self) -> float | None:
        """When to look again though nothing happens, on the monotonic clock."""
        moments = [self._typing_until] if self._typing_until > time.monotonic() else []
        if self._has_ended:
            moments.append(self._active_at + (self._options.timeout_s if self._is_busy() else self._options.quiet_s))
        return min(moments, default=None)

    def _is_busy(self) -> bool:
        return bool(self._outbox or self._tasks)

    def _is_silent(self) -> bool:
        now = time.monotonic()
        if self._is_busy():
            return now >= self._active_at + self._options.timeout_s
        return now >= max(self._active_at + self._options.quiet_s, self._typing_until)

    def _status(self) -> str:
        if self._is_trouble or self._is_lost:
            return "… connecting"
        if self._outbox:
            many = f" ({len(self._outbox)})" if len(self._outbox) > 1 else ""
            return f"… {self._outbox.doing}{many}"
        if self._tasks:
            return f"… {next(iter(self._tasks.values()))}"
        if self._typing_until > time.monotonic():
            return f"{self._other or 'somebody'} is typing …"
        return ""

    # --- what is typed ---

    async def _piped(self, line: Line) -> None:
        self._active_at = time.monotonic()
        self._line_number += 1
        if line.data is None:
            self._has_ended = True
            return
        tasks = set(self._tasks)
        try:
            if len(line.data) > MAX_LINE:
                raise ValueError
            await self._line(line.data.decode("utf-8-sig" if self._line_number == 1 else "utf-8").removesuffix("\r"))
        except ValueError:
            why = f"longer than {MAX_LINE:,} bytes" if len(line.data) > MAX_LINE else "not UTF-8"
            self._refuse(f"line {self._line_number} is {why}; it was not sent", 3)
        started = set(self._tasks) - tasks
        for task in started:
            task.add_done_callback(lambda _: line.done.set())
        if not started:
            line.done.set()

    async def _line(self, line: str) -> None:
        typed = read_line(line)
        if self._form is not None and not isinstance(typed, Command | Mistake):
            await self._fill_in(typed.text if isinstance(typed, Say) else "")
            return
        if typed is not None:
            await self._do(typed)

    async def _do(self, typed: Typed) -> None:
        match typed:
            case Mistake(words):
                self._refuse(words, 2)
            case Say(text) if (number := number_of(text, self._offer)) is not None:
                await self._choose(str(number))
            case Say(text):
                await self._submit(paragraphs(text), text=text)
            case Command("answer", argument):
                await self._choose(argument)
            case Command("attr", argument):
                pair = read_attribute(argument)
                if isinstance(pair, Mistake):
                    self._refuse(pair.words, 2)
                else:
                    self._attributes[pair[0]] = pair[1]
                    self._view.note(f"goes with your next message: {show.printable('='.join(pair), width=200)}")
            case Command("file", argument):
                try:
                    await self._send_file(argument)
                except (GuestWireError, OSError) as error:
                    self._fail(error)
            case Command("save", argument) if self._file_from is not None:
                self._beside("fetching the file", self._save(self._file_from, argument))
            case Command("save"):
                self._refuse("no file was received yet; it is said when one comes", 2)
            case Command("new"):
                self._forget_offer()
                self._beside("beginning another conversation", self._errand("start_new"))
            case Command("clear"):
                self._forget_offer()
                self._beside("clearing", self._errand("clear"))
            case Command("close"):
                self._follows = False
                self._forget_offer()
                self._beside("closing", self._errand("close"))
            case Command("cancel"):
                self._leave_form()
            case Command("help"):
                for name, (wanted, words) in COMMANDS.items():
                    self._view.note(f"/{name} {wanted}".ljust(18) + f" {words}")
            case Command("quit"):
                self._is_leaving = True

    async def _submit(self, shown: list[Paragraph], **content: Any) -> None:
        """Submit a message. By the loop alone: the order stays, and nothing is heard of a message that is not known."""
        await self._follow()
        draft = Draft(
            destination=self._wire.destination.name,
            guest=GuestKey(self._guest),
            attributes=self._attributes,
            **content,
        )
        try:
            ticket = await self._wire.submit(draft)
        except GuestWireError as error:
            self._fail(error)
            return
        self._attributes = {}
        self._outbox.add(ticket.part_ids[0], time.time(), shown)
        self._view.object({"event": "message", "message_id": ticket.message_id, "part_id": ticket.part_ids[0]})

    def _refuse(self, words: str, code: int) -> None:
        """Say that something was not done. In a pipe the first such thing decides the exit code."""
        self._view.note(show.printable(words))
        self._view.object({"event": "refused", "words": words})
        self._code = self._code or (code if self._is_piped else 0)

    def _fail(self, error: GuestWireError | OSError) -> None:
        """Say why something failed."""
        if isinstance(error, Rejected):
            for finding in error.findings:
                self._refuse(f"not sent: {finding.text}" + (f"; {finding.fix}" if finding.fix else ""), 3)
        elif isinstance(error, GuestWireError):
            self._refuse(f"{error}; {error.hint}", show.exit_code_of(error))
        else:
            self._refuse(f"{error.strerror or type(error).__name__}: {error.filename or 'the file'}", 4)

    # --- choosing ---

    async def _choose(self, argument: str) -> None:
        offer = self._offer
        found = read_choice(argument, offer)
        if isinstance(found, Mistake) or offer is None:
            self._refuse(found.words if isinstance(found, Mistake) else "nothing is on offer", 2)
        elif found[0].kind == "form":
            self._form = Form(offer)
            self._ask_field()
        else:
            await self._answer(offer.answer(found))

    async def _fill_in(self, text: str) -> None:
        form = self._form
        if form is None:
            return
        why = form.fill_in(text)
        if why is not None:
            self._refuse(why, 2)
        elif form.field is not None:
            self._ask_field()
        else:
            self._form = None
            self._view.asks("")
            try:
                answer = form.answer()
            except Rejected as error:
                self._fail(error)
                return
            await self._answer(answer)

    def _ask_field(self) -> None:
        form = self._form
        if form is None or form.field is None:
            return
        field = form.field
        choices = "; ".join(f"[{number}] {choice}" for number, choice in enumerate(form.choices, start=1))
        if choices:
            self._view.note(show.printable(f"{field.label}: {choices}"))
        self._view.asks(show.printable(field.label, width=30) + ("" if field.required else " (or nothing)"))

    def _leave_form(self) -> None:
        if self._form is None:
            self._refuse("no form is being filled in", 2)
            return
        self._form = None
        self._view.asks("")
        self._view.note("left the form; a number of its fields begins it again")

    def _forget_offer(self) -> None:
        """What was offered belongs to a conversation that is over."""
        if self._form is not None:
            self._view.asks("")
        self._offer = self._form = None

    async def _answer(self, answer: Answer) -> None:
        self._offer = None
        await self._submit(paragraphs(answer_words(answer)), answer=answer)

    # --- what runs beside ---

    def _beside(self, words: str, work: Coroutine[Any, Any, str]) -> None:
        task = asyncio.create_task(work)
        self._tasks[task] = words
        task.add_done_callback(self._report)

    def _report(self, task: asyncio.Task[str]) -> None:
        if not task.cancelled():
            self._inbox.put_nowait(Finished(task, task.exception()))

    def _finished(self, finished: Finished) -> None:
        """Say what became of it."""
        self._active_at = time.monotonic()
        self._tasks.pop(finished.task, None)
        error = finished.error
        if isinstance(error, GuestWireError | OSError):
            self._fail(error)
        elif error is not None:
            raise error
        elif words := finished.task.result():
            self._view.note(show.printable(words))
            self._view.object({"event": "done", "words": words})

    async def _errand(self, kind: str) -> str:
        guests = self._wire.guests
        if kind == "clear":
            await guests.clear(self._guest)
            return ""  # the journal's event tells it
        if kind == "close":
            await guests.close(self._guest)
            return ""
        await guests.start_new(self._guest)
        return "another conversation has begun"

    async def _send_file(self, name: str) -> None:
        path = await asyncio.to_thread(existing, name)
        status = await asyncio.to_thread(path.stat)
        limits = self._wire.destination.limits
        # Before it is read: a file can be larger than the memory.
        findings = tuple(check_file(path.name, status.st_size, max_kb=limits.max_file_kb, blocked=BLOCKED_EXTENSIONS))
        if findings:
            raise Rejected(findings)
        file = await asyncio.to_thread(Attachment.read, path)
        shown = Paragraph(f"{show.printable(file.name, width=120)} ({size_words(len(file.content))})", "file: ")
        await self._submit([shown], attachments=(file,))

    async def _save(self, reply: Reply, name: str) -> str:
        content = await self._wire.fetch(reply, reply.attachments[-1])
        path = await asyncio.to_thread(write_new, name, content)
        return f"saved {size_words(len(content))} as {path}"

    async def _tell_typing(self, text: str) -> None:
        now = time.monotonic()
        if text.startswith("/") or self._form is not None or now - self._typed_at < TYPING_EVERY_S:
            return
        self._typed_at = now
        await self._wire.guests.typing(self._guest)

    # --- what happens ---

    def _heard(self, reply: Reply) -> None:
        self._active_at = time.monotonic()
        self._typing_until = 0.0
        self._is_lost = False
        self._view.object(reply_data(reply))
        if reply.kind == "presence":
            if words := presence_words(reply):
                self._view.note(words)
            return
        if reply.kind in ("other", "typing"):
            return
        self._other = name_of(reply)
        if reply.author == "Human" and self._other != self._human:
            self._human = self._other
            self._view.note(f"{self._other} has joined, a person")
        self._view.said(said_in(reply))
        if choosable(reply):
            self._offer = reply
        if reply.attachments:
            self._file_from = reply

    def _happened(self, entry: JournalEntry) -> None:
        is_common = entry.guest_ref is None and entry.event.startswith(("destination.", "deployment."))
        if entry.guest_ref != self._guest_ref and not is_common:
            return
        self._view.object(entry)
        part_id = entry.part_id or entry.detail.get("part")
        if part_id is not None:
            if part_id in self._outbox:
                self._tell(self._outbox.moved(part_id, entry))
            return
        match entry.event:
            case "session.lost" | "session.silent":
                self._is_lost = True
            case "session.configured":
                self._is_lost = False
            case "session.closed" | "session.read_only" | "session.cleared" | "session.expired":
                self._forget_offer()
            case "destination.trouble":
                self._is_trouble = True
            case "destination.reached":
                self._is_trouble = self._is_lost = False
            case _:
                pass
        if words := event_words(entry):
            self._view.note(words)

    def _tell(self, told: Said | str | None) -> None:
        """Tell what became of a message of the guest's."""
        self._active_at = time.monotonic()
        if isinstance(told, str):
            self._view.note(told)
        elif told is not None:
            self._view.said(told)

    # --- leaving ---

    async def _finish_flying(self) -> None:
        """Let what is on its way have its answer; Ctrl-C or time ends that."""
        self._is_leaving = True
        self._view.close()
        until = time.monotonic() + LEAVE_S
        if self._has_ended or self._is_trouble or not self._is_busy():
            return
        self._view.note("what is on its way gets its answer; Ctrl-C stops at once")
        while self._is_busy() and time.monotonic() < until and await self._next(until):
            pass

    async def _end(self) -> None:
        if self._is_piped:
            self._code = self._code or self._outbox.code
        if self._outbox:
            many = show.counted(len(self._outbox), "message")
            self._view.note(f"{many} not accepted yet: what is stored goes out with the next relay to this destination")
            if self._is_piped:
                self._code = self._code or (8 if self._outbox.is_unknown else 6)
        path = self._options.transcript
        if path is not None:
            text = transcript(await self._wire.guests.transcript(self._guest))
            await asyncio.to_thread(write, path, text.encode())
            self._view.note(f"transcript: {show.printable(str(path))}")
        elif not self._is_piped and self._options.guest is None:
            self._view.note(f"to go on, or for a transcript, add: --guest {self._guest}")
