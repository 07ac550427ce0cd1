"""
Whatever a gateway may do wrong: each row of docs/faults.md happens, to a real library and a real emulator.

The page is the test: its rows say how a fault is made and what follows, and both are read from there.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import gc
import json
import logging
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from guestwire import Attachment, GuestWire, GuestWireError, JournalEntry, Message, PartState, Reply, Ticket
from guestwire.emulator.app import Emulator
from guestwire.emulator.faults import KINDS
from guestwire.emulator.triggers import HOSTILE
from guestwire.policy.connect import PROBE_EVERY_S
from guestwire.settings import RetrySettings
from guestwire.testing import FakeClock, emulator
from guestwire.transports.histories import CATCH_UP_READS
from tests.contract.test_emulator_kit import raw_guest
from tests.journey.auditor import audit
from tests.journey.bad_frames import BYTES, HISTORIES, PONGS, is_echo, is_reply
from tests.journey.kit import (
    FAST,
    QUICK,
    destination,
    eventually,
    inbound,
    journal_of,
    make_wire,
    say,
    settled,
    until,
)
from tests.journey.raw_gateway import Json, Link, RawGateway, raw_gateway, text
from tests.journey.recovery import WAITS, exceeded, observed, seconds_of, stated, written
from tests.journey.test_faults import running

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
#: Counters of a gateway that has seen only Bob.
NOBODY_YET = Counter({"connections": 1, "sessions": 1})
#: Stands in every text, key and file, and may stand in no log and no journal.
CANARY = "canary"
ANN, BOB = f"ann {CANARY}", f"bob {CANARY}"
PICTURE = Attachment(f"{CANARY}.txt", CANARY.encode() * 500)

# --- the page ---


class Row(NamedTuple):
    """A line of a table of the page."""

    section: str
    cells: dict[str, str]

    def __str__(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", f"{self.section} {self.cells['fault']}".lower()).strip("-")

    def words(self, column: str) -> list[str]:
        """What stands in backticks in a cell."""
        return re.findall(r"`([^`]+)`", self.cells[column])


def tables() -> list[list[Row]]:
    """Every table of the page."""
    found: list[list[Row]] = []
    section = ""
    names: list[str] = []
    for line in PAGE.read_text().splitlines():
        if line.startswith("#"):
            section = line.lstrip("# ")
        if not line.startswith("|"):
            names = []
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if not names:
            names = [cell.lower() for cell in cells]
            found.append([])
        elif set(line) - set("|- "):
            assert len(cells) == len(names), line
            found[-1].append(Row(section, dict(zip(names, cells, strict=True))))
    return found


TABLES = tables()
#: The page's words for what the journal tells of a message.
STORIES = {row.words("word")[0]: row.words("the journal's story") for row in TABLES[0]}
ROWS = [row for table in TABLES for row in table if "made by" in row.cells]
SHOWN = [row for row in ROWS if not row.cells["made by"].startswith("tests/")]
ELSEWHERE = [row for row in ROWS if row.cells["made by"].startswith("tests/")]


class Step(NamedTuple):
    """One step of `made by`: when, what kind, which one, with what."""

    when: str
    kind: str
    name: str
    options: dict[str, Any]


def steps_of(row: Row) -> list[Step]:
    """Read `made by`."""
    steps = []
    for words in row.words("made by"):
        when, kind, *rest = words.split(" ")
        plain = " ".join(word for word in rest if "=" not in word)
        options = dict(word.split("=", 1) for word in rest if "=" in word)
        steps.append(Step(when, kind, plain, {key: _value(value) for key, value in options.items()}))
    return steps


def _value(written: str) -> Any:
    try:
        return json.loads(written)
    except ValueError:
        return written


# --- the stage ---


class Stage(NamedTuple):
    """Everybody who takes part in a row."""

    row: Row
    genesys: Emulator
    gateway: RawGateway | None
    wire: GuestWire
    heard: list[Reply]
    """What the caller was handed out of what was said to Ann."""
    tasks: list[asyncio.Task[None]]
    """What a scene has going on beside the row."""
    pending: list[str]
    """Hands that wait for their frame."""

    async def token(self, guest: str = ANN) -> str:
        """The guest's session token, as it stands in the store now."""
        guest_ref = await self.wire.guest_ref(guest)
        (lane,) = await self.wire.store_read(lambda store: store.lanes([guest_ref]))
        return lane.token

    def meddle(self, name: str) -> None:
        """Put a hand on the line, once."""
        assert self.gateway is not None
        kind, make = BYTES[name]
        self.pending.append(name)

        def meddle(link: Link, message: Json) -> bytes | None:
            if name not in self.pending or not kind(message):
                return None
            self.pending.remove(name)
            return make(message)

        self.gateway.meddles.append(meddle)

    def tell(self, words: str | None, **more: Any) -> str:
        """Say something to Ann as the agent."""
        ann = next(one for one in self.genesys.messages() if one["direction"] == "Inbound" and "ann" in one["text"])
        return self.genesys.say(words, conversation_id=self.newest(ann["token_sha256"]), **more)

    def newest(self, token_sha256: str) -> str:
        """A guest's conversation that began last."""
        mine = [one for one in self.genesys.conversations() if one["token_sha256"] == token_sha256]
        return str(mine[-1]["conversation_id"])


@contextlib.asynccontextmanager
async def staged(row: Row, folder: Path, clock: FakeClock | None = None) -> AsyncIterator[Stage]:
    """An emulator, a hand on the line where the row needs one, a program with a store."""
    steps = steps_of(row)
    settings = {key: value for step in steps if step.kind == "setting" for key, value in step.options.items()}
    patience = {key: value for step in steps if step.kind == "patience" for key, value in step.options.items()}
    quick = msgspec.structs.replace(QUICK, **patience)
    retry = RetrySettings(base_s=0.01, cap_s=0.05)
    async with contextlib.AsyncExitStack() as stack:
        genesys = await stack.enter_async_context(emulator(**{**FAST, "upload_event_delay_ms": "0-5", **settings}))
        gateway = None
        if {"bytes", "history", "scene"} & {step.kind for step in steps}:
            gateway = await stack.enter_async_context(raw_gateway(genesys))
        to = destination(genesys, retry=retry)
        if gateway is not None:
            to = msgspec.structs.replace(to, url=gateway.url)
        wire = await stack.enter_async_context(make_wire(to, folder, patience=quick, clock=clock))
        stage = Stage(row, genesys, gateway, wire, [], [], [])
        yield stage
        await asyncio.gather(*stage.tasks)


async def act(stage: Stage, when: str) -> None:
    """Do the steps of one moment."""
    events = stage.row.words("journal")
    for step in steps_of(stage.row):
        if step.when != when:
            continue
        options = dict(step.options)
        match step.kind:
            case "fault":
                match_: dict[str, Any] = {key: options.pop(key) for key in ("action", "path") if key in options}
                if when == "sending" and not match_ and KINDS[step.name].point == "request":
                    match_ = {"text": "fragile"}
                stage.genesys.inject(step.name, match=match_, **options)
            case "trigger":
                before = (await journal_of(stage.wire))[-1].seq
                stage.genesys.trigger(step.name, token=await stage.token(), **options)
                if when == "idle" and events:
                    await until(stage.wire, *events, after=before)
            case "say":
                stage.tell(f"{step.name} {CANARY}", **options)
            case "errand":
                await getattr(stage.wire.guests, step.name)(ANN)
            case "event":
                stage.tell(None, event={"eventType": step.name, step.name.lower(): {"news": CANARY}})
            case "bytes":
                stage.meddle(step.name)
            case "history":
                assert stage.gateway is not None
                stage.gateway.answers.append(("/api/v2/webmessaging/messages", HISTORIES[step.name]))
            case "scene":
                await SCENES[step.name](stage)
            case _:
                raise AssertionError(f"no such step: {step}")


# --- the rows ---


def rows(condition: Callable[[Row], bool]) -> pytest.MarkDecorator:
    """Parametrize with the rows of the page that fit."""
    return pytest.mark.parametrize("row", [row for row in SHOWN if condition(row)], ids=str)


@rows(lambda row: "message" in row.cells and row.words("message") != ["waiting"])
async def test_a_message_has_the_stated_outcome(tmp_path: Path, row: Row, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing lost, nothing doubled without record, order kept, others go on, the journal says it, and says no more."""
    caplog.set_level(logging.DEBUG)
    expected = set(row.words("journal"))
    story = STORIES[row.words("message")[0]]
    async with staged(row, tmp_path) as stage:
        wire, genesys = stage.wire, stage.genesys
        before: list[Ticket] = []
        started, token, since = NOBODY_YET, "", 0
        if not any(step.when == "connecting" for step in steps_of(row)):
            before = await greet(stage)
            started, token, since = figures(stage), await stage.token(), (await journal_of(wire))[-1].seq
        ticket, behind, other = await misbehave(stage)
        state = story[-1] if story[-1] == "dead" else "accepted"
        assert await settled(wire, ticket, behind, other) == [state, "accepted", "accepted"]
        await check_that_it_happened(stage)
        await until_told(wire, expected, since)
        entries = [entry for entry in await journal_of(wire) if entry.seq > since]
        assert story_in(entries, ticket) == story
        assert told(entries) == expected
        copies = 2 if "seen twice" in row.cells["message"] else int(state == "accepted")
        mine = [one for one in inbound(genesys) if one.startswith(("fragile", "behind"))]
        assert mine == [*[f"fragile {CANARY}"] * copies, f"behind {CANARY}"]
        assert genesys.state()["uploads"] == sum(entry.event == "upload.stored" for entry in entries)
        check_waits(row, entries)
        check_recovery(row, observed(entries, ticket.part_ids[0], connections=reconnects(started, figures(stage))))
        lane, _, _ = row.cells["lane, session"].partition(",")
        assert lane == ("pauses" if "lane.paused" in expected else "goes on")
        same = token in ("", await stage.token())
        assert row.words("lane, session") == [what_became(started, figures(stage), same=same)]
        check_promise(genesys, await journal_of(wire), [*before, ticket, behind, other], copies - 1)
        (part,), _ = await wire.find(ticket.message_id)
        assert part.attempt == story.count("sending") - story.count("throttled")
        assert part.possible_duplicates == story.count("possible_duplicate")
        # One look may come too early; two more, far enough apart, decide. Who comes back to a session reads what he may
        # have missed, and once more after `settle_s`: on a busy machine the second comes before this line does.
        resumed = [entry for entry in await journal_of(wire) if entry.detail.get("new_session") is False]
        faults = sum(step.kind in ("history", "fault") for step in steps_of(row))
        if "times=null" not in row.cells["made by"]:
            most = 3 * story.count("checking") + CATCH_UP_READS * len(resumed) + faults
            assert genesys.state()["history_reads"] <= most
        secrets = {CANARY, token or CANARY, await stage.token(), await stage.token(BOB)}
        check_silence(secrets, await journal_of(wire))
    check_logs(secrets, caplog)


async def greet(stage: Stage) -> list[Ticket]:
    """Let both guests say something before anything goes wrong."""
    wire = stage.wire
    tickets = [await say(wire, f"other: before {CANARY}", BOB), await say(wire, f"ann: before {CANARY}", ANN)]
    assert await settled(wire, *tickets) == ["accepted"] * 2
    return tickets


async def misbehave(stage: Stage) -> tuple[Ticket, Ticket, Ticket]:
    """Submit the message in question, one behind it, and one of another guest's, while it happens."""
    wire, steps = stage.wire, steps_of(stage.row)
    await act(stage, "connecting")
    await act(stage, "idle")
    # A trigger finds the message accepted and not echoed; everything else waits for the message.
    midway = any(step.when == "sending" and step.kind == "trigger" for step in steps)
    if midway:
        stage.genesys.inject("lose_echo", match={"text": "fragile"})
    else:
        await act(stage, "sending")
    await act(stage, "uploading")
    files = (PICTURE,) if any(step.when == "uploading" for step in steps) else ()
    ticket = await wire.submit(Message(guest=ANN, text=f"fragile {CANARY}", attachments=files))
    behind = await say(wire, f"behind {CANARY}", ANN)
    if midway:
        await eventually(lambda: f"fragile {CANARY}" in inbound(stage.genesys))
        await act(stage, "sending")
    return ticket, behind, await say(wire, f"other: meanwhile {CANARY}", BOB)


@rows(lambda row: "message" in row.cells and row.words("message") == ["waiting"])
async def test_a_message_waits_as_stated(tmp_path: Path, row: Row, caplog: pytest.LogCaptureFixture) -> None:
    """At a shut door nothing is lost and nobody hammers; whoever waits is told why; it goes by itself in the end."""
    caplog.set_level(logging.DEBUG)
    clock = FakeClock(time.time())
    async with staged(row, tmp_path, clock) as stage:
        wire, genesys = stage.wire, stage.genesys
        await act(stage, "connecting")
        ticket = await say(wire, f"fragile {CANARY}", ANN)
        (code,) = re.findall(r"GW-\w+", row.cells["recovery"])
        with pytest.raises(GuestWireError, match=code):
            await settled(wire, ticket)
        assert (await wire.message(ticket.message_id)).parts == {PartState.QUEUED: 1}
        assert story_in(await journal_of(wire), ticket) == STORIES["waiting"]
        await until_told(wire, set(row.words("journal")), 0)
        assert told(await journal_of(wire)) == set(row.words("journal"))
        refused = genesys.state()["upgrades_refused"]
        async with running(clock, 50.0):
            pass
        assert genesys.state()["upgrades_refused"] == refused
        genesys.clear_faults()
        async with running(clock):
            await until(wire, "destination.reached")
            assert await settled(wire, ticket) == ["accepted"]
        check_promise(genesys, await journal_of(wire), [ticket])
        secrets = {CANARY, await stage.token()}
        check_silence(secrets, await journal_of(wire))
    check_logs(secrets, caplog)


@rows(lambda row: "replies" in row.cells)
async def test_a_reply_has_the_stated_outcome(tmp_path: Path, row: Row, caplog: pytest.LogCaptureFixture) -> None:
    """What is said to a guest is handed out once, in order or flagged; his messages go on; the journal says it."""
    caplog.set_level(logging.DEBUG)
    async with staged(row, tmp_path) as stage:
        wire, genesys = stage.wire, stage.genesys
        tickets = await greet(stage)
        await wire.guests.follow(ANN)
        token, since = await stage.token(), (await journal_of(wire))[-1].seq
        started = figures(stage)
        listening = asyncio.create_task(listen(stage))
        await act(stage, "replying")
        expected = set(row.words("journal"))
        await eventually(lambda: len(stage.heard) >= len(row.words("replies")))
        await until_told(wire, expected, since)
        tickets += [await say(wire, f"behind {CANARY}", ANN), await say(wire, f"other: after {CANARY}", BOB)]
        assert await settled(wire, *tickets) == ["accepted"] * 4
        await check_that_it_happened(stage)
        if row.words("lane, session") != ["kept"]:
            # What was missed is looked for in the history; what it shows again must not be told again.
            await eventually(lambda: genesys.state()["history_reads"] > 0)
        stage.tell(f"last {CANARY}")
        await eventually(lambda: stage.heard and summary(stage.heard[-1]) == "last")
        listening.cancel()
        assert [summary(reply) for reply in stage.heard] == [*row.words("replies"), "last"]
        entries = [entry for entry in await journal_of(wire) if entry.seq > since]
        assert Counter(entry.event for entry in entries)["reply.received"] == len(stage.heard)
        assert told(entries) - {"reply.received"} == expected
        assert row.words("lane, session") == [what_became(started, figures(stage), same=token == await stage.token())]
        check_promise(genesys, await journal_of(wire), tickets)
        secrets = {CANARY, token, await stage.token(BOB)}
        check_silence(secrets, await journal_of(wire))
    check_logs(secrets, caplog)


async def listen(stage: Stage) -> None:
    """Take what is said to Ann, as it is handed out."""
    async for reply in stage.wire.replies(ANN):
        stage.heard.append(reply)


def story_in(entries: list[JournalEntry], ticket: Ticket) -> list[str]:
    """What the journal says of a message, without its file."""
    mine = [entry.event for entry in entries if entry.part_id == ticket.part_ids[0]]
    return [event.removeprefix("part.") for event in mine if event.startswith("part.")]


def summary(reply: Reply) -> str:
    """A reply as the page has it."""
    words = reply.text or ""
    if words == HOSTILE:
        said = "hostile"
    elif len(words) > 1000:
        said = f"{len(words)} characters"
    else:
        said = words.removesuffix(CANARY).strip() or reply.kind
    return f"{said} (late)" if reply.late else said


async def until_told(wire: GuestWire, expected: set[str], since: int) -> None:
    """Wait until the journal has each of these."""
    for event in expected:
        await until(wire, event, after=since)


def told(entries: list[JournalEntry]) -> set[str]:
    """What the journal says beside the stories of messages, and that sessions and relays begin."""
    ordinary = {"session.configured", "relay.started"}
    return {entry.event for entry in entries if entry.event not in ordinary and not entry.event.startswith("part.")}


def figures(stage: Stage) -> Counter[str]:
    """Counters of the gateway about everybody; Bob's stay what they are."""
    state = stage.genesys.state()
    # Other programs of a guest do not come this way.
    connections = state["connections_opened"] if stage.gateway is None else len(stage.gateway.links)
    refused = state["upgrades_refused"]
    return Counter({"connections": connections, "sessions": state["sessions_created"], "refused": refused})


def what_became(before: Counter[str], after: Counter[str], *, same: bool) -> str:
    """The page's word for what became of the session."""
    if not same:
        return "replaced"
    if after["sessions"] > before["sessions"]:
        return "new"
    return "resumed" if after["connections"] > before["connections"] else "kept"


async def check_that_it_happened(stage: Stage) -> None:
    """A fault that never struck shows nothing; and what the page says of pongs and close codes is so."""
    wanted = Counter(step.name for step in steps_of(stage.row) if step.kind == "fault")
    fired = stage.genesys.state()["faults_fired"]
    assert all(fired.get(kind, 0) >= count for kind, count in wanted.items()), fired
    if stage.gateway is not None:
        assert stage.gateway.answers == []
        codes = re.findall(r"closed with (\d+)", stage.row.cells["recovery"])
        pongs = PONGS.get(stage.row.words("made by")[0].split(" ")[-1], 0)
        gateway = stage.gateway
        await eventually(lambda: gateway.pongs >= pongs and {int(code) for code in codes} <= set(gateway.closed_with))
    assert stage.pending == []


def check_waits(row: Row, entries: list[JournalEntry]) -> None:
    """A message that was throttled goes out no earlier than the page says."""
    for seconds in re.findall(r"^after (\d+) s", row.cells["recovery"]):
        sent = next(entry for entry in entries if entry.event == "part.sending")
        held = next(entry for entry in entries if entry.event == "part.throttled")
        assert held.detail["at"] >= sent.at + int(seconds)


def reconnects(before: Counter[str], after: Counter[str]) -> int:
    """How often somebody connected again since."""
    return after["connections"] + after["refused"] - before["connections"] - before["refused"] - (before == NOBODY_YET)


def check_recovery(row: Row, waits: Counter[str]) -> None:
    """It took no other waits, and no more of them, than the page says."""
    at_most, _ = stated(row.cells["within"])
    assert not exceeded(waits, at_most), written(waits)


def check_promise(genesys: Emulator, journal: list[JournalEntry], tickets: list[Ticket], doubles: int = 0) -> None:
    """Hold the gateway's record and the journal against what the caller was told."""
    ours = [one for one in genesys.messages() if "stranger" not in str(one["text"])]
    found = audit(ours, journal, tickets)
    assert found.violations == []
    assert found.waiting == []
    assert found.duplicates == max(doubles, 0)


def check_silence(secrets: set[str], journal: list[JournalEntry]) -> None:
    """No text, key, file name or token stands in the journal."""
    for entry in journal:
        details = json.dumps(entry.detail)
        assert not [secret for secret in secrets if secret in details], entry.event


def check_logs(secrets: set[str], caplog: pytest.LogCaptureFixture) -> None:
    """Nothing to be told as an error, no traceback, no secret."""
    gc.collect()  # a task that failed unseen says so when it goes
    for record in caplog.records:
        if record.name.startswith("websockets"):
            continue  # the other programs of these tests
        whole = f"{record.getMessage()} {record.__dict__}"
        assert record.levelno < logging.ERROR, whole
        assert record.exc_info is None, whole
        assert not [secret for secret in secrets if secret in whole], whole


# --- what stands in the page only to be found elsewhere ---


@pytest.mark.parametrize("row", ELSEWHERE, ids=str)
def test_what_is_shown_elsewhere_is_there(row: Row) -> None:
    """A row that names a test of another file names one that exists."""
    (place,) = re.findall(r"(tests/\S+?\.py)::(\w+)", row.cells["made by"])
    path, name = place
    tree = ast.parse((PAGE.parents[1] / path).read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in functions


def test_every_recovery_is_the_sum_of_its_waits() -> None:
    """Each row says within what time all is well again, at the defaults; each wait has its cost in the table."""
    words = {row.words("wait")[0]: row.cells["at most"] for table in TABLES for row in table if "wait" in row.cells}
    assert words == {**{wait: f"{seconds:g} s" for wait, seconds in WAITS.items()}, "told N": "N s"}
    rows = [row for table in TABLES for row in table if "within" in row.cells]
    assert len(rows) > 250
    for row in rows:
        waits, claimed = stated(row.cells["within"])
        assert (str(row), claimed) == (str(row), seconds_of(waits))
        assert waits or row.cells["within"] in ("at once", "–"), row


def test_a_peer_that_is_gone_is_noticed_within_forty_seconds() -> None:
    """By silence on a connection, and by patience with an answer, whatever the way out."""
    assert WAITS["silence"] <= 40.0
    assert WAITS["answer"] <= 40.0
    assert WAITS["probe"] == PROBE_EVERY_S


def test_every_kind_of_fault_is_used() -> None:
    """What is prepared here stands in the page, and nothing twice."""
    used = {(step.kind, step.name) for row in SHOWN for step in steps_of(row)}
    for kind, names in (("bytes", BYTES), ("history", HISTORIES), ("scene", SCENES)):
        assert set(names) == {name for other, name in used if other == kind}
    assert len({str(row) for row in ROWS}) == len(ROWS)


# --- what takes more than one step ---


async def cut_off_before_the_echo(stage: Stage) -> None:
    """The echo is kept from the connection that asked, and comes on the next one; the history cannot be read."""
    gateway = stage.gateway
    assert gateway is not None
    kept: list[bytes] = []
    stage.genesys.inject("http_status", match={"path": "messages"}, times=None, status=500)

    def meddle(link: Link, message: Json) -> bytes | None:
        if is_echo(message) and not kept:
            kept.append(text(message))
            link.abort()
            return b""
        if message.get("class") == "SessionResponse" and kept:
            return text(message) + kept[0]
        return None

    gateway.meddles.append(meddle)


async def echo_of_the_message_before(stage: Stage) -> None:
    """What was echoed before is echoed again first."""
    gateway = stage.gateway
    assert gateway is not None
    ours = next(one for one in stage.genesys.messages() if "ann: before" in one["text"])
    again = {
        "type": "message",
        "class": "StructuredMessage",
        "code": 200,
        "tracingId": ours["tracing_id"],
        "body": {
            "id": ours["id"],
            "direction": "Inbound",
            "type": "Text",
            "channel": {"messageId": ours["channel_message_id"], "time": ours["time"]},
        },
    }
    gateway.meddles.append(lambda link, message: text(again, message) if is_echo(message) else None)


async def another_program(stage: Stage) -> None:
    """Another program of the same guest writes meanwhile, and all connections of the session hear it."""
    async with raw_guest(stage.genesys, await stage.token()) as other:
        await other.say("stranger", tracing_id="11111111-2222-4333-8444-555555555555")


async def fourth_connection(stage: Stage) -> None:
    """Three others come into the session: ours, the oldest, is let go."""
    token = await stage.token()
    async with contextlib.AsyncExitStack() as others:
        for _ in range(3):
            await others.enter_async_context(raw_guest(stage.genesys, token))
        await until(stage.wire, "session.evicted")


async def shifting_history(stage: Stage) -> None:
    """Much is said between acceptance and check, and more while the pages are read."""
    genesys, gateway = stage.genesys, stage.gateway
    assert gateway is not None
    genesys.inject("slow_http", match={"path": "messages"}, times=None, delay_ms=50)

    def meddle(link: Link, message: Json) -> bytes | None:
        if message.get("class") == "JwtResponse":
            for number in range(30):
                stage.tell(f"said meanwhile {number}")
            task = asyncio.get_running_loop().create_task(speak_on())
            stage.tasks.append(task)
        return None

    async def speak_on() -> None:
        # A page has been asked for, and its answer is held back: what is said now shifts the next one.
        await eventually(lambda: genesys.state()["faults_fired"].get("slow_http"))
        for number in range(10):
            stage.tell(f"said while reading {number}")

    gateway.meddles.append(meddle)


async def after_one_the_line_is_cut(stage: Stage) -> None:
    """Heard live, the reply is met again in the history."""
    await eventually(lambda: stage.heard)
    stage.genesys.trigger("drop", token=await stage.token())


async def address_past_the_gateway(stage: Stage) -> None:
    """The file is to go to the emulator itself: on this machine as well, and not where the destination is."""
    gateway, genesys = stage.gateway, stage.genesys
    assert gateway is not None

    def meddle(link: Link, message: Json) -> bytes | None:
        if message.get("class") != "PresignedUrlResponse":
            return None
        body = message["body"]
        return text({**message, "body": {**body, "url": body["url"].replace(gateway.url, genesys.url)}})

    gateway.meddles.append(meddle)


async def half_a_reply(stage: Stage) -> None:
    """The line is cut in the middle of a frame."""
    gateway = stage.gateway
    assert gateway is not None
    cut: list[Link] = []

    def meddle(link: Link, message: Json) -> bytes | None:
        if cut or not is_reply(message):
            return None
        cut.append(link)
        link.write(text(message)[:40])
        asyncio.get_running_loop().call_soon(link.close)
        return b""

    gateway.meddles.append(meddle)


async def session_replaced(stage: Stage) -> None:
    """The line is cut in place of the echo, and the session is gone before anybody comes back."""
    gateway, token = stage.gateway, await stage.token()
    assert gateway is not None
    cut: list[Link] = []

    def meddle(link: Link, message: Json) -> bytes | None:
        if cut or not is_echo(message):
            return None
        cut.append(link)
        stage.genesys.trigger("expire", token=token)
        link.abort()
        return b""

    gateway.meddles.append(meddle)


async def late(stage: Stage) -> None:
    """The first of two is kept until the second has been handed out."""
    gateway = stage.gateway
    assert gateway is not None
    kept: list[tuple[Link, bytes]] = []

    def meddle(link: Link, message: Json) -> bytes | None:
        if is_reply(message) and "one" in str(message["body"].get("text")):
            kept.append((link, text(message)))
            return b""
        return None

    gateway.meddles.append(meddle)
    stage.tell(f"one {CANARY}")
    await eventually(lambda: kept)
    stage.genesys.advance(0.002)  # another millisecond: the wire's times are no finer
    stage.tell(f"two {CANARY}")
    await eventually(lambda: stage.heard)
    (link, data) = kept[0]
    link.write(data)


async def old_disconnect(stage: Stage) -> None:
    """Cut off, and the conversation ended and begun again meanwhile."""
    token = await stage.token()  # nothing is waited for between the two
    stage.genesys.trigger("drop", token=token)
    event = {"eventType": "Presence", "presence": {"type": "Disconnect"}}
    stage.genesys.say(event=event, metadata={"readOnly": "true"}, token=token)


SCENES: dict[str, Callable[[Stage], Awaitable[None]]] = {
    "echo_on_the_next_connection": cut_off_before_the_echo,
    "echo_of_the_message_before": echo_of_the_message_before,
    "another_program": another_program,
    "fourth_connection": fourth_connection,
    "shifting_history": shifting_history,
    "after_one_the_line_is_cut": after_one_the_line_is_cut,
    "address_past_the_gateway": address_past_the_gateway,
    "half_a_reply": half_a_reply,
    "session_replaced": session_replaced,
    "late": late,
    "old_disconnect": old_disconnect,
}
