"""
Whatever a platform may do wrong over REST: each row of that part of docs/faults.md happens, to Open Messaging and to
the tutorial contract, with a real library and a real emulator.

The page is the test: its rows say how a fault is made and what follows, and both are read from there. Both ways out run
in one program, with one OAuth client, so that what happens to one is seen not to happen to the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import operator
import re
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from guestwire import (
    AuthenticationError,
    ConfigError,
    Delivery,
    Destination,
    GuestWire,
    GuestWireError,
    JournalEntry,
    Message,
    PartState,
    Ticket,
)
from guestwire.client import RelayMode
from guestwire.clock import Clock, SystemClock
from guestwire.emulator.app import Emulator
from guestwire.net import Http, Unreachable
from guestwire.protocol.openmessaging import Call
from guestwire.routes import caller_of
from guestwire.settings import Limits, RelaySettings, RetrySettings, Secret, StoreSettings
from guestwire.testing import FakeClock, emulator
from guestwire.transports.oauth import tokens_of
from guestwire.webhook import WebhookServer
from tests.journey.auditor import audit, events_of, fullest
from tests.journey.kit import PATIENCE_S, QUICK, eventually, journal_of, on_one_clock, settled, until
from tests.journey.raw_place import Place, serves_old_tls
from tests.journey.raw_platform import TRICKS, RawPlatform, raw_platform
from tests.journey.recovery import WAITS, observed, stated
from tests.journey.test_fault_matrix import (
    CANARY,
    STORIES,
    TABLES,
    Row,
    Step,
    _value,
    check_logs,
    check_recovery,
    check_silence,
    story_in,
    told,
    until_told,
)
from tests.journey.test_faults import running

#: The ways out, and what the page calls them.
WAYS = {"openmessaging": "Open Messaging", "rest-contract": "tutorial contract"}
#: Retries at once, and for as long as a clock that runs fast may take.
AGAIN = RetrySettings(base_s=0.01, cap_s=0.05, max_age_s=30_000_000.0)
#: Troubles that may pass by themselves: nobody who waits is told.
NETWORK = ("GW-A003", "GW-A015")
#: Longest pause between two looks whether the platform is back, in seconds.
PAUSE_S = 30.0
#: So many turns of the loop, and whoever was woken has begun what he wanted to do.
TURNS = 100

# --- the page ---

ROWS = [row for table in TABLES for row in table if "done by" in row.cells]
SHOWN = [row for row in ROWS if not row.cells["done by"].startswith("tests/")]
ELSEWHERE = [row for row in ROWS if row.cells["done by"].startswith("tests/")]
WORDS = STORIES | {
    row.words("word")[0]: row.words("the journal's story")
    for table in TABLES[1:]
    for row in table
    if "the journal's story" in row.cells
}
#: What becomes of a message whose answer is lost, by circumstances.
LOST = {row.words("word")[0]: row.cells for table in TABLES for row in table if "tutorial contract" in row.cells}


class Guest(NamedTuple):
    """A guest of one way out, to whom the fault happens, and what the page says becomes of his message."""

    way: str
    name: str
    cell: str
    careful: bool = False
    """At most once."""
    known: bool = True
    """He has said something before."""

    @property
    def key(self) -> str:
        """The caller's name for him."""
        return f"{self.name} {CANARY}"

    @property
    def story(self) -> list[str]:
        """What the journal has to tell."""
        return WORDS[re.findall(r"`([\w ]+)`", self.cell)[0]]

    @property
    def copies(self) -> int:
        """How often it has to be seen."""
        if "not seen" in self.cell or self.story[-1] == "dead":
            return 0
        return 2 if "seen twice" in self.cell else 1

    def says(self, text: str) -> str:
        """What he says, in words that nobody else uses."""
        return f"{text} {self.name} {self.way} {CANARY}"


def guests_of(row: Row) -> list[Guest]:
    """Those to whom a row happens."""
    where = row.cells["ways"].removesuffix(", SDK")
    ways = [way for way, words in WAYS.items() if where in ("both", "SDK", words)]
    word = row.words("message")[0]
    if word not in LOST:
        return [Guest(way, "ann", row.cells["message"]) for way in ways]
    cells = LOST[word]
    known, new = cells["open messaging, conversation known"], cells["open messaging, a guest's first message"]
    careful, careful_else = cells["at most once, conversation known"], cells["at most once, else"]
    return [
        Guest("openmessaging", "ann", known),
        Guest("openmessaging", "eve", new, known=False),
        Guest("openmessaging", "dan", careful, careful=True),
        Guest("openmessaging", "pat", careful_else, careful=True, known=False),
        Guest("rest-contract", "ann", cells["tutorial contract"]),
        Guest("rest-contract", "dan", careful_else, careful=True),
    ]


def steps_of(row: Row) -> list[Step]:
    """Read `done by`."""
    steps = []
    for words in row.words("done by"):
        when, kind, *rest = words.split(" ")
        plain = [word for word in rest if "=" not in word or word.startswith("{")]
        options = {key: _value(value) for key, _, value in (word.partition("=") for word in rest if "=" in word)}
        steps.append(Step(when, kind, " ".join(plain), options))
    return steps


def code_of(row: Row) -> str:
    """The code of what keeps everybody waiting; empty: nothing does."""
    found = re.search(r"GW-\w+", row.cells["destination"])
    return found[0] if found else ""


def wait_of(row: Row) -> int:
    """After how many seconds, at the earliest, it goes on; 0: at once."""
    found = re.match(r"after (\d+) s", row.cells["recovery"])
    return int(found[1]) if found else 0


def rows(condition: Callable[[Row], bool]) -> pytest.MarkDecorator:
    """Parametrize with the rows that fit."""
    return pytest.mark.parametrize(
        "row", [row for row in SHOWN if condition(row) and row.cells["ways"] != "SDK"], ids=str
    )


def is_timed(row: Row) -> bool:
    """Whether it waits for a time that somebody names, or for a person: then on a clock that is moved."""
    waits = re.search(r"\d s later|after that time|with that reason", row.cells["recovery"])
    return bool(wait_of(row) or code_of(row) or waits)


# --- the stage ---


async def say(wire: GuestWire, guests: list[Guest], text: str) -> list[Ticket]:
    """Submit a message of each guest, in one transaction."""
    return await wire.submit_many(
        Message(
            guest=guest.key,
            text=guest.says(text),
            conversation=f"c {guest.name}" if guest.way == "rest-contract" else None,
            delivery=Delivery.AT_MOST_ONCE if guest.careful else None,
        ).to_draft(guest.way)
        for guest in guests
    )


async def turn() -> None:
    """Let everybody who was woken begin what he wanted to do."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


class Stage(NamedTuple):
    """Everybody who takes part in a row."""

    row: Row
    genesys: Emulator
    platform: RawPlatform
    wire: GuestWire
    clock: FakeClock | None
    tickets: dict[str, Ticket]
    """By what was said."""
    mends: list[Callable[[], Awaitable[None]]]
    """What puts an end to the fault, beside clearing those of the emulator."""

    async def say(self, guests: list[Guest], text: str) -> list[Ticket]:
        """Submit a message of each, in one transaction, so that they leave together."""
        tickets = await say(self.wire, guests, text)
        self.tickets.update(zip((guest.says(text) for guest in guests), tickets, strict=True))
        return tickets

    async def jump(self, seconds: float) -> None:
        """Move the clock at once, and let everybody who waited for it begin."""
        assert self.clock is not None
        self.clock.advance(seconds)
        await turn()

    @contextlib.asynccontextmanager
    async def time_passing(self) -> AsyncIterator[None]:
        """Let a clock run that checks wait for; any other stands still."""
        if self.clock is None or wait_of(self.row) or code_of(self.row):
            yield
            return
        async with running(self.clock, step_s=1.0):
            yield


def options_of(row: Row, kind: str) -> dict[str, Any]:
    """What a row's `with` steps of a kind say."""
    return {key: value for step in steps_of(row) if step[:2] == ("with", kind) for key, value in step.options.items()}


def ways_to(url: str, integration_id: str, client_id: str, client_secret: str, **changes: Any) -> list[Destination]:
    """Both ways to one place, for one OAuth client."""
    return [
        Destination(
            name=way,
            transport=way,  # type: ignore[arg-type]
            url=url,
            integration_id=integration_id,
            client_id=client_id,
            client_secret=Secret(client_secret),
            **{"retry": AGAIN, **changes},
        )
        for way in WAYS
    ]


def place_of(genesys: Emulator, url: str = "") -> dict[str, str]:
    """What `ways_to` has to know of an emulator."""
    return {
        "url": url or genesys.url,
        "integration_id": genesys.integration_id,
        "client_id": genesys.client_id,
        "client_secret": genesys.client_secret,
    }


def wiring(
    places: list[Destination],
    folder: Path,
    *,
    patience: RelaySettings = QUICK,
    clock: Clock | None = None,
    relay: RelayMode = "auto",
    api_clients: Mapping[str, Any] | None = None,
) -> GuestWire:
    """A program for these destinations; not started."""
    return GuestWire(
        places,
        store=folder,
        relay=relay,
        store_settings=StoreSettings(path=folder, min_free_disk_mb=1),
        relay_settings=patience,
        clock=clock,
        api_clients=api_clients,
    )


@contextlib.asynccontextmanager
async def staged(row: Row, folder: Path, sdk: Any = None) -> AsyncIterator[Stage]:
    """An emulator, a hand on the line, a program with a store and both ways out; with `sdk` through its clients."""
    clock = FakeClock(time.time()) if is_timed(row) else None
    # A clock that is moved must not run past what a row is not about.
    long = {} if clock is None else {"check_for_s": 30_000_000.0, "reconnect_base_s": 0.5, "reconnect_cap_s": PAUSE_S}
    # Nor is a busy machine what it is about.
    answer_s = 1.0 if "`answer_s`" in row.cells["recovery"] else PATIENCE_S
    patience = msgspec.structs.replace(QUICK, **{"answer_s": answer_s, **long, **options_of(row, "patience")})
    changes: dict[str, Any] = {"retry": msgspec.structs.replace(AGAIN, **options_of(row, "retry"))}
    changes |= options_of(row, "destination")
    settings = {"history_lag_s": 0.02 if clock is None else 0.0, **options_of(row, "setting")}
    async with contextlib.AsyncExitStack() as stack:
        genesys = await stack.enter_async_context(emulator(**settings))
        platform = await stack.enter_async_context(raw_platform(genesys))
        place = Place(platform, folder)
        stack.push_async_callback(place.close)
        for step in steps_of(row):
            if step.kind in PLACES:
                changes |= await PLACES[step.kind](place, step.name)
        places = ways_to(**place_of(genesys, changes.pop("url", platform.url)), **changes)
        clients = None if sdk is None else {place.name: sdk.ApiClient(host=place.url) for place in places}
        wire = await stack.enter_async_context(
            wiring(places, folder, patience=patience, clock=clock, api_clients=clients)
        )
        if clock is not None:
            platform.now = clock.now
        yield Stage(row, genesys, platform, wire, clock, {}, place.mends)


#: What stands before the platform from the beginning.
PLACES: dict[str, Callable[[Place, str], Awaitable[dict[str, Any]]]] = {
    "tls": Place.tls,
    "proxy": Place.proxy,
    "nowhere": Place.nowhere,
    "name": Place.name,
}


async def refused(stage: Stage) -> None:
    """Nobody listens there for now."""
    await stage.platform.shut()
    stage.mends.append(stage.platform.open)


async def act(stage: Stage, when: str) -> None:
    """Do the steps of one moment."""
    for step in steps_of(stage.row):
        if step.when != when or (when == "before" and step.kind == "trigger"):
            continue  # that one has to wait for the greeting
        options = dict(step.options)
        match step.kind:
            case "fault":
                if isinstance(options.get("body"), dict):
                    options["body"] = json.dumps(options["body"])
                match_ = {key: str(options.pop(key)).replace("_", " ") for key in ("action", "path") if key in options}
                if match_:
                    times = len(guests_of(stage.row)) if when == "sending" else 1
                    stage.genesys.inject(step.name, match=match_, **{"times": times, **options})
                else:
                    for guest in guests_of(stage.row):
                        stage.genesys.inject(step.name, match={"text": guest.says("fragile")}, **options)
            case "bytes":
                path = options.pop("path", None)
                for guest in guests_of(stage.row):
                    text = guest.says("before" if when == "before" else "fragile") if path is None else ""
                    stage.platform.play(step.name, text=text, path=path or "", **options)
            case "trigger":
                stage.genesys.trigger(step.name)
            case "scene":
                await SCENES[step.name](stage)
            case "tls" | "proxy" | "nowhere" | "name" | "setting" | "patience" | "retry" | "destination":
                pass  # so from the beginning
            case _:
                raise AssertionError(f"no such step: {step}")


SCENES: dict[str, Callable[[Stage], Awaitable[None]]] = {"refused": refused}


# --- the rows ---


@rows(lambda row: not code_of(row))
async def test_a_message_has_the_stated_outcome(tmp_path: Path, row: Row, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing lost, nothing doubled without record, order kept, others go on, the journal says it, and says no more."""
    caplog.set_level(logging.DEBUG)
    async with staged(row, tmp_path) as stage:
        secrets = await play(stage)
    check_logs(secrets, caplog)


async def play(stage: Stage) -> set[str]:
    """Let a row happen; returns what may stand in no log."""
    row, wire, platform = stage.row, stage.wire, stage.platform
    victims = guests_of(row)
    others = [Guest(guest.way, "bob", "`accepted`") for guest in victims if guest.name == "ann"]
    await act(stage, "before")
    await greet(stage, [guest for guest in victims if guest.known] + others)
    since = (await journal_of(wire))[-1].seq
    await act(stage, "sending")
    # A time to come back holds everybody who shares the client: then one way after the other.
    for group in [[guest] for guest in victims] if wait_of(row) else [victims]:
        before = (await journal_of(wire))[-1].seq
        asked = await stage.say(group, "fragile")
        behind = await stage.say([guest for guest in group if not guest.careful], "behind")
        behind += await stage.say([guest for guest in others if guest.way in {one.way for one in group}], "meanwhile")
        if wait_of(row):
            # The clock stands still until the message has been told when to come back.
            await until(wire, "part.throttled", "part.requeued", after=before)
            await stage.jump(wait_of(row) - 0.5)
            assert [len(platform.said(guest.says("fragile"))) for guest in group] == [1]
            await stage.jump(2.5)
        async with stage.time_passing():
            states = await settled(wire, *asked, *behind)
        assert states == [ENDS.get(guest.story[-1], "accepted") for guest in group] + ["accepted"] * len(behind)
    asked = [stage.tickets[guest.says("fragile")] for guest in victims]
    entries = [entry for entry in await journal_of(wire) if entry.seq > since]
    for guest, ticket in zip(victims, asked, strict=True):
        assert (guest, story_in(entries, ticket)) == (guest, guest.story)
        check_waits(row, entries, ticket)
    waits = [observed(entries, ticket.part_ids[0], over_rest=True) for ticket in asked]
    check_recovery(row, functools.reduce(operator.or_, waits))
    await check_parts(stage, victims, asked)
    await until_told(wire, set(row.words("journal")), since)
    assert told(entries) == set(row.words("journal"))
    check_it_happened(stage)
    check_promise(stage, await journal_of(wire), {guest.says("fragile"): guest.copies for guest in victims})
    secrets = secrets_of(stage)
    check_silence(secrets, await journal_of(wire))
    assert platform.went_elsewhere == 0
    return secrets


#: How a message ends that is not accepted.
ENDS = {"dead": "dead", "parked": "parked"}


async def greet(stage: Stage, guests: list[Guest]) -> None:
    """Let guests say something before anything goes wrong."""
    tickets = await stage.say(guests, "before")
    assert await settled(stage.wire, *tickets) == ["accepted"] * len(tickets)
    if any(step.when == "before" for step in steps_of(stage.row)):
        stage.platform.go_on.set()
        for step in steps_of(stage.row):
            if step.when == "before" and step.kind == "trigger":
                stage.genesys.trigger(step.name, guest=guests[0].key)
        await eventually(lambda: not stage.platform.playing)
        await turn()  # the client is in this loop: it hears of it now


@rows(lambda row: bool(code_of(row)))
async def test_everything_waits_as_stated(tmp_path: Path, row: Row, caplog: pytest.LogCaptureFixture) -> None:
    """Where nothing can go, nothing is lost, no attempt is spent, nobody hammers; mended, it goes by itself."""
    caplog.set_level(logging.DEBUG)
    if row.words("done by") == ["connecting tls old"] and not serves_old_tls(tmp_path):
        pytest.skip("this OpenSSL cannot serve TLS 1.1")
    async with staged(row, tmp_path) as stage:
        secrets = await wait_it_out(stage)
    check_logs(secrets, caplog)


async def wait_it_out(stage: Stage) -> set[str]:
    """Let a row happen to a destination; returns what may stand in no log."""
    row, wire, platform = stage.row, stage.wire, stage.platform
    victims = guests_of(row)
    await act(stage, "connecting")
    since = 0
    if any(step.when == "sending" for step in steps_of(row)):
        await greet(stage, victims)
        since = (await journal_of(wire))[-1].seq
        await act(stage, "sending")
    asked = await stage.say(victims, "fragile")
    await until(wire, "destination.trouble", after=since, times=len(victims))
    await check_the_error(stage, asked)
    later = await stage.say(victims, "behind")
    later += await stage.say([Guest(guest.way, "bob", "") for guest in victims], "meanwhile")
    for ticket in (*asked, *later):
        assert (await wire.message(ticket.message_id)).parts == {PartState.QUEUED: 1}
    seen = len(platform.seen)
    if re.search(rf"every {PAUSE_S:.0f} s|that time", row.cells["recovery"]):
        await stage.jump(0.6 * PAUSE_S)
        assert len(platform.seen) == seen
    check_it_happened(stage)
    story = WORDS[row.words("message")[0]]
    if "destination.reached" in row.words("journal"):
        assert stated(row.cells["within"])[0]["pause"] == 1
        stage.genesys.clear_faults()
        for mend in stage.mends:
            await mend()
        await stage.jump(WAITS["pause"] + 1.0)  # of the clock: no more is needed
        await until(wire, "destination.reached", after=since, times=len(victims))  # till then, who waits is told
        assert await settled(wire, *asked, *later) == ["accepted"] * 3 * len(victims)
        story = story if story[-1] == "accepted" else [*story, "sending", "accepted"]
    else:
        for _ in range(3):
            await stage.jump(PAUSE_S + 1.0)
        assert {request.path for request in platform.seen} <= {"/oauth/token", "/api/v2/organizations/me"}
    entries = [entry for entry in await journal_of(wire) if entry.seq > since]
    for ticket in asked:
        assert story_in(entries, ticket) == story
        (part,), _ = await wire.find(ticket.message_id)
        assert part.attempt == (1 if story[-1] == "accepted" else 0)
    await until_told(wire, set(row.words("journal")), since)
    assert told(entries) == set(row.words("journal"))
    check_promise(stage, await journal_of(wire), {})
    secrets = secrets_of(stage)
    check_silence(secrets, await journal_of(wire))
    assert platform.went_elsewhere == 0
    return secrets


async def check_the_error(stage: Stage, tickets: list[Ticket]) -> None:
    """Whoever waits is told what to change, or `status` says why nothing goes; without a secret."""
    code, wire = code_of(stage.row), stage.wire
    troubles = (await wire.status()).trouble
    assert set(troubles) == {guest.way for guest in guests_of(stage.row)}
    if code not in NETWORK:
        with pytest.raises((AuthenticationError, ConfigError), match=code) as raised:
            await settled(wire, *tickets)
        assert isinstance(raised.value, GuestWireError)
        assert raised.value.hint
    for trouble in troubles.values():
        assert code in trouble
        assert not [secret for secret in secrets_of(stage) if secret in trouble]
    if "the error names" in stage.row.cells["recovery"]:
        wanted = re.findall(r"\w+:\w+:\w+", stage.row.cells["done by"])
        assert wanted
        assert all(name in trouble for name in wanted for trouble in troubles.values())


@pytest.mark.xdist_group("sdk")
async def test_through_the_sdk_it_is_the_same(tmp_path: Path, sdk: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What depends on who reads the bytes happens through the official SDK too: in one test, for its import is slow."""
    caplog.set_level(logging.DEBUG)
    failed: list[str] = []
    for row in SHOWN:
        if "SDK" not in row.cells["ways"]:
            continue
        folder = tmp_path / str(row)
        folder.mkdir()
        try:
            async with staged(row, folder, sdk) as stage:
                secrets = await (wait_it_out(stage) if code_of(row) else play(stage))
            check_logs(secrets, caplog)
        except (AssertionError, TimeoutError) as error:
            failed.append(f"{row}: {type(error).__name__} {error}")
        caplog.clear()
    failed += [how for how in ENDLESS if await peak_through(how, sdk) > 40_000_000]
    assert not failed, "\n".join(failed)


# --- checks ---


def check_waits(row: Row, entries: list[JournalEntry], ticket: Ticket) -> None:
    """A message goes out no earlier than the page says, and what it waits for is no longer than that."""
    seconds = wait_of(row)
    if seconds:
        mine = [entry for entry in entries if entry.part_id == ticket.part_ids[0]]
        (held,) = [entry for entry in mine if entry.event in ("part.throttled", "part.requeued")]
        assert seconds <= held.detail["at"] - held.at <= seconds + 1.2
        again = [entry for entry in mine if entry.event == "part.sending"][1]
        assert again.at >= held.detail["at"]


async def check_parts(stage: Stage, guests: list[Guest], tickets: list[Ticket]) -> None:
    """Attempts and possible duplicates are counted right, and Open Messaging gets the same bytes each time."""
    for guest, ticket in zip(guests, tickets, strict=True):
        (part,), _ = await stage.wire.find(ticket.message_id)
        assert part.attempt == guest.story.count("sending") - guest.story.count("throttled")
        assert part.possible_duplicates == guest.story.count("possible_duplicate")
        posts = stage.platform.said(guest.says("fragile"))
        if guest.way == "openmessaging":
            assert len({post.body for post in posts}) == 1
        refused = "another token" in stage.row.cells["recovery"]
        assert len(posts) == guest.story.count("sending") + (refused and not guest.story.count("checking"))


def check_it_happened(stage: Stage) -> None:
    """A fault that never struck shows nothing."""
    assert stage.platform.pending == []
    fired = Counter(fault["kind"] for fault in stage.genesys.faults() if not fault["fired"])
    assert not fired


def check_promise(stage: Stage, journal: list[JournalEntry], copies: dict[str, int]) -> None:
    """
    Hold the platform's record and the journal against what the caller was told.

    The platform is not told which attempt a message is, so each further copy of one needs a possible duplicate of its
    own on record.
    """
    parts = {text: ticket.part_ids[0] for text, ticket in stage.tickets.items()}
    seen: Counter[str] = Counter()
    shown = []
    for message in stage.genesys.messages():
        part = message["channel_message_id"] or parts[message["text"]]
        assert part == parts[message["text"]]
        shown.append({**message, "metadata": {"id": part, "attempt": 1_000 if seen[part] else 1}})
        seen[part] += 1
    found = audit(shown, journal, list(stage.tickets.values()))
    assert found.violations == []
    mended = "destination.reached" in stage.row.words("journal") or not code_of(stage.row)
    parked = [parts[guest.says("fragile")] for guest in guests_of(stage.row) if guest.story[-1] == "parked"]
    assert found.waiting == (parked if mended else list(parts.values()))
    if mended:
        assert {text: seen[part] for text, part in parts.items()} == {text: copies.get(text, 1) for text in parts}


def secrets_of(stage: Stage) -> set[str]:
    """What may stand in no log, no journal and no error."""
    bearers = {request.headers.get("authorization", "").partition(" ")[2] for request in stage.platform.seen}
    return {CANARY, stage.genesys.client_secret, *filter(None, bearers)}


# --- what takes more than a row ---


async def test_what_a_firewall_does_not_like_is_refused_once_others_have_passed(tmp_path: Path) -> None:
    """A page with 403 may be about everybody: nothing is spent. When others pass and it comes again, it is about it."""
    async with emulator() as genesys, raw_platform(genesys) as platform:
        for to in ways_to(**place_of(genesys, platform.url)):
            async with wiring([to], tmp_path / to.name) as wire:
                ann, bob = Guest(to.name, "ann", ""), Guest(to.name, "bob", "")
                genesys.inject("http_html", match={"text": ann.says("fragile")}, status=403, times=None)
                (bad,) = await say(wire, [ann], "fragile")
                (behind,) = await say(wire, [ann], "behind")
                await until(wire, "part.throttled", times=3)  # nobody else speaks, so nobody knows
                (good,) = await say(wire, [bob], "meanwhile")
                assert await settled(wire, bad, behind, good) == ["dead", "accepted", "accepted"]
                story = story_in(await journal_of(wire), bad)
                assert story[:2] + story[-3:] == ["queued", "sending", "throttled", "sending", "dead"]
                (part,), _ = await wire.find(bad.message_id)
                assert part.attempt == 1


async def test_a_lane_that_waits_for_its_own_time_keeps_nobody(tmp_path: Path) -> None:
    """A message that may go in an hour is no scout: when the platform is back, others go at once."""
    async with emulator() as genesys, raw_platform(genesys) as platform:
        for to in ways_to(**place_of(genesys, platform.url)):
            async with wiring([to], tmp_path / to.name) as wire:
                ann, bob = Guest(to.name, "ann", ""), Guest(to.name, "bob", "")
                genesys.inject("http_status", match={"text": ann.says("fragile")}, status=503, retry_after_s=3600)
                (later,) = await say(wire, [ann], "fragile")
                await until(wire, "part.requeued")
                await platform.shut()
                (now,) = await say(wire, [bob], "meanwhile")
                await until(wire, "destination.trouble")
                await platform.open()
                assert await settled(wire, now) == ["accepted"]
                assert (await wire.message(later.message_id)).parts == {PartState.QUEUED: 1}
                assert wire.troubles() == []


# --- tokens ---


async def test_a_thousand_who_were_refused_fetch_one_token() -> None:
    """The token ends under a thousand requests: one asks for another, and all of them get it."""
    async with emulator() as genesys:
        (to, _) = ways_to(**place_of(genesys))
        http = Http(tls=None, proxy=None, timeout_s=PATIENCE_S)
        tokens = tokens_of(to, http, clock=SystemClock())
        assert tokens is not None
        old = await tokens.get()
        genesys.trigger("revoke_tokens")
        new = await asyncio.gather(*(tokens.renew(old) for _ in range(1_000)))
        late = await asyncio.gather(*(tokens.renew(old) for _ in range(1_000)))
        assert len({*new, *late}) == 1
        assert new[0] != old
        assert [request["action"] for request in genesys.requests()] == ["oauth/token"] * 2
        await tokens.close()
        await http.close()


async def test_a_token_that_ends_again_and_again_costs_no_message(tmp_path: Path) -> None:
    """Revoked three times with many parts on their way: one token more each time, 0 lost, 0 doubled, order kept."""
    guests = [Guest(way, f"guest{number}", "") for way in WAYS for number in range(20)]
    async with emulator(limits="off") as genesys, wiring(ways_to(**place_of(genesys)), tmp_path) as wire:
        genesys.inject("slow_http", match={"path": "/conversations"}, times=None, delay_ms=5)
        tickets: list[Ticket] = []
        for place in range(4):
            before = genesys.state()["messages"]
            tickets += await say(wire, guests, f"{place}")
            if place < 3:
                await seen(genesys, before + 1)
                genesys.trigger("revoke_tokens")
            # Whoever has not noticed notices now, and not when the next one is revoked.
            calm = await say(wire, [Guest(way, "ann", "") for way in WAYS], f"calm {place}")
            assert await settled(wire, *tickets, *calm) == ["accepted"] * len([*tickets, *calm])
        assert genesys.state()["requests"]["oauth/token"] == len(WAYS) * 4
        journal = await journal_of(wire)
        assert told(journal) == set()
        shown = shown_by_part(genesys, tickets, guests)
        assert audit(shown, journal, tickets)[:4] == ([], [], [], [])
        assert len(shown) == len(tickets)


async def seen(genesys: Emulator, count: int) -> None:
    """Wait until so many messages are there."""
    await eventually(lambda: genesys.state()["messages"] >= count)


def shown_by_part(genesys: Emulator, tickets: list[Ticket], guests: list[Guest]) -> list[dict[str, Any]]:
    """What agents see, by the parts of messages ``0``, ``1``, … of each guest."""
    texts = {
        guest.says(f"{place}"): tickets[place * len(guests) + number].part_ids[0]
        for place in range(len(tickets) // len(guests))
        for number, guest in enumerate(guests)
    }
    return [
        {**message, "metadata": {"id": texts[message["text"]]}}
        for message in genesys.messages()
        if message["text"] in texts
    ]


# --- limits ---


async def test_two_ways_with_one_client_stay_below_its_limit(tmp_path: Path) -> None:
    """The platform counts what a client sends, not why: both ways together keep within the window, and use it."""
    clock = FakeClock(time.time())
    guests = [Guest(way, f"guest{number}", "") for way in WAYS for number in range(10)]
    limits = Limits(requests_per_min=30, reserve_per_min=5, messages_per_s=30)
    async with (
        on_one_clock(clock) as genesys,
        wiring(ways_to(**place_of(genesys), limits=limits), tmp_path, clock=clock) as wire,
    ):
        tickets = [ticket for place in range(3) for ticket in await say(wire, guests, f"{place}")]
        for count in (25, 50, 60):
            await seen(genesys, count)
            await turn()
            assert genesys.state()["messages"] == count
            clock.advance(61.0)
        assert await settled(wire, *tickets) == ["accepted"] * len(tickets)
        sent = [request["at"] for request in genesys.requests() if "message" in request["action"]]
        assert fullest(sent, 60.0) == 25
        held = (await wire.status()).held
        assert all(held[way]["messages_per_min"] > 0 for way in WAYS)


async def test_messages_leave_room_for_receipts(tmp_path: Path) -> None:
    """Messages wait for their window; a receipt has a place kept for it, and goes at once."""
    clock = FakeClock(time.time())
    guests = [Guest("openmessaging", f"guest{number}", "") for number in range(6)]
    limits = Limits(requests_per_min=8, reserve_per_min=3, messages_per_s=8)
    async with on_one_clock(clock) as genesys:
        (to, _) = ways_to(**place_of(genesys), limits=limits, webhook_secret=Secret(genesys.webhook_secret))
        async with wiring([to], tmp_path, clock=clock) as wire, WebhookServer(wire) as server:
            genesys.set_webhook(server.url)
            tickets = await say(wire, guests, "many")
            await eventually(lambda: len(genesys.messages()) == 5)
            for number in range(4):
                genesys.say("an answer")
                await until(wire, "reply.received", times=number + 1)
            replies = [reply async for reply in wire.replies(follow=False, reorder_s=0)]
            for reply in replies:
                await wire.acknowledge(reply, status="delivered")
            await eventually(lambda: genesys.state()["requests"].get("POST open/receipt") == 3)
            states = [(await wire.message(ticket.message_id)).parts for ticket in tickets]
            assert states.count({PartState.QUEUED: 1}) == 1  # the sixth waits while receipts go
            async with running(clock, step_s=0.5):
                await settled(wire, *tickets)
                await eventually(lambda: genesys.state()["requests"]["POST open/receipt"] == 4)
            at = [request["at"] for request in genesys.requests() if request["action"] != "oauth/token"]
            assert fullest(at, 60.0) <= 8


async def test_a_platform_that_allows_less_than_we_think(tmp_path: Path) -> None:
    """The far side's own limit is met and waited for: nobody is lost, doubled or given up, however often."""
    clock = FakeClock(time.time())
    guests = [Guest(way, f"guest{number}", "") for way in WAYS for number in range(8)]
    async with (
        on_one_clock(clock, token_requests_per_minute=3, contract_requests_per_second=2) as genesys,
        wiring(ways_to(**place_of(genesys)), tmp_path, clock=clock) as wire,
    ):
        tickets = await say(wire, guests, "0")
        async with running(clock, step_s=0.5):
            assert await settled(wire, *tickets) == ["accepted"] * len(tickets)
        journal = await journal_of(wire)
        assert audit(shown_by_part(genesys, tickets, guests), journal, tickets)[:4] == ([], [], [], [])
        assert len(genesys.messages()) == len(tickets)
        assert events_of(journal)["part.throttled"] > 0
        parts = [(await wire.find(ticket.message_id))[0][0] for ticket in tickets]
        assert {part.attempt for part in parts} == {1}


# --- memory ---


#: Answers that are larger than anybody wants.
ENDLESS = ("gzip_bomb", "length", "chunks", "headers", "line")


@pytest.mark.parametrize("how", ENDLESS)
async def test_no_answer_fills_the_memory(how: str) -> None:
    """An answer that inflates to 100 MB, or never ends, is read to a few megabytes at most."""
    assert await peak_through(how) < 20_000_000


async def peak_through(how: str, sdk: Any = None) -> int:
    """Return how many bytes were taken at once while a giant answer was read; with `sdk`, by its client."""
    async with emulator() as genesys, raw_platform(genesys) as platform:
        (to, _) = ways_to(**place_of(genesys, platform.url))
        timing = msgspec.structs.replace(QUICK, answer_s=PATIENCE_S)
        clients = {} if sdk is None else {to.name: sdk.ApiClient(host=platform.url)}
        caller = caller_of(to, timing=timing, clock=SystemClock(), api_clients=clients)
        await caller.ready()
        name, options = ("gzip_bomb", {}) if how == "gzip_bomb" else ("endless", {"how": how})
        platform.play(name, path="/message", accept=False, **options)
        tracemalloc.start()
        try:
            with contextlib.suppress(Unreachable):
                await caller.call(Call("POST", "/api/v2/message", {"text": "x"}))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            await caller.close()


# --- crashes ---


async def test_killed_while_a_post_is_unanswered(tmp_path: Path) -> None:
    """SIGKILL between POST and answer: the next process checks the part; found where it can be, else on record."""
    told_of: dict[str, Ticket] = {}
    async with emulator(history_lag_s=0.02) as genesys:
        for way in WAYS:
            genesys.inject("http_silent", match={"text": f"lost {way}"}, accept=True)
        order = {"place": place_of(genesys), "texts": ["before", "lost"], "ways": list(WAYS), "guests": ["ann"]}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.journey.rest_worker", str(tmp_path),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order).encode())
        process.stdin.write_eof()
        try:
            while len(told_of) < 4:
                line = await process.stdout.readline()
                if line != b"settled\n":
                    ticket = msgspec.json.decode(line, type=Ticket)
                    told_of[ticket.message_id] = ticket
            await eventually(lambda: sum(m["text"].startswith("lost") for m in genesys.messages()) == 2)
        finally:
            process.kill()
            await process.wait()
        tickets = list(told_of.values())
        async with wiring(ways_to(**place_of(genesys)), tmp_path) as wire:
            (behind,) = await say(wire, [Guest("openmessaging", "ann", "")], "behind")
            assert await settled(wire, *tickets, behind) == ["accepted"] * 5
            journal = await journal_of(wire)
            stories = [story_in(journal, ticket) for ticket in tickets[2:]]
        assert stories == [WORDS["found"], WORDS["doubtful"]]
        left = [entry.detail["left_sending"] for entry in journal if entry.event == "relay.started"]
        assert left == [0, 2]
        seen = Counter(message["text"] for message in genesys.messages())
        assert (seen["lost openmessaging"], seen["lost rest-contract"]) == (1, 2)


@pytest.mark.parametrize("row", ELSEWHERE, ids=str)
def test_what_is_shown_elsewhere_is_there(row: Row) -> None:
    """A row that names a test names one of this file."""
    path, _, name = row.cells["done by"].partition("::")
    assert (Path(__file__).parents[2] / path) == Path(__file__)
    assert name in globals()


def test_every_trick_is_used() -> None:
    """What is prepared stands in the page, and no two rows have one name."""
    steps = [step for row in SHOWN for step in steps_of(row)]
    assert set(TRICKS) == {step.name for step in steps if step.kind == "bytes"}
    assert set(SCENES) == {step.name for step in steps if step.kind == "scene"}
    assert len({str(row) for row in ROWS}) == len(ROWS)
    assert all(row.cells["ways"] in ("both", "both, SDK", "SDK", *WAYS.values()) for row in ROWS)
