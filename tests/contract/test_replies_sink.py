"""Replies forwarded to a receiver: a real server that checks each signature with code of its own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import logging
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from guestwire.errors import ConfigError, StoreError
from guestwire.model import GatewayMessageId, GuestKey, GuestRef, Reply
from guestwire.policy.webhook import MAX_RETRY_AFTER_S, SPREAD_S, Again, Gone, Taken, judge, missed, patience_s
from guestwire.settings import ReplyForwarding, read_secrets
from guestwire.sinks.replies import IN_FLIGHT, WINDOW, ReplyForwarder, event_of
from guestwire.sinks.signing import Signer
from guestwire.testing import FakeClock

SECRET = base64.b64encode(b"0123456789abcdefghijklmnopqrstuv").decode()
SPOKEN = "canary-7391 what the agent said"
TOKEN_IN_PATH = "hook-token-5512"


def reply_of(guest: str, number: int, **fields: Any) -> Reply:
    """The numberth reply to a guest."""
    base: dict[str, Any] = {
        "gateway_id": GatewayMessageId(f"{guest}-{number}"),
        "kind": "text",
        "text": f"{SPOKEN} {number}",
        "guest_ref": GuestRef(f"ref-{guest}"),
        "seq": number,
    }
    return Reply(**{**base, **fields})


class Source:
    """What the store will be: replies in the order of arrival, and which of them are acknowledged."""

    def __init__(self, *replies: Reply) -> None:
        self.stored: list[Reply] = list(replies)
        self.acknowledged: list[Reply] = []
        self.notes: list[tuple[str, dict[str, Any]]] = []
        self.read = 0
        self.closed = 0
        self.fail_next: Exception | None = None
        self._more = asyncio.Event()

    def add(self, *replies: Reply) -> None:
        """One more arrives."""
        self.stored.extend(replies)
        self._more.set()

    async def replies(self) -> AsyncIterator[tuple[GuestKey, Reply]]:
        """From the first that is not acknowledged, then live."""
        done, place = set(map(id, self.acknowledged)), 0
        try:
            while True:
                while place < len(self.stored):
                    reply = self.stored[place]
                    place += 1
                    if id(reply) not in done:
                        self.read += 1
                        yield GuestKey("key-of-" + reply.guest_ref), reply
                self._more.clear()
                await self._more.wait()
        finally:
            self.closed += 1

    async def acknowledge(self, reply: Reply) -> None:
        """Durable, as far as this test goes."""
        if self.fail_next is not None:
            error, self.fail_next = self.fail_next, None
            raise error
        self.acknowledged.append(reply)

    async def note(self, event: str, detail: dict[str, Any]) -> None:
        """The journal."""
        self.notes.append((event, detail))


class Receiver:
    """Takes events, checks their signature on its own, and answers as it is told."""

    def __init__(self, clock: FakeClock, secrets: Iterable[bytes] = (base64.b64decode(SECRET),)) -> None:
        self._clock = clock
        self._secrets = tuple(secrets)
        self.asked: list[str] = []
        self.came: list[dict[str, Any]] = []
        self.taken: list[dict[str, Any]] = []
        self.now_open = 0
        self.most_open = 0
        self.place = ""

        async def always(event: dict[str, Any]) -> web.StreamResponse:
            return web.Response(status=204)

        self.answer: Callable[[dict[str, Any]], Awaitable[web.StreamResponse]] = always

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One POST."""
        self.asked.append(request.path)
        body = await request.read()
        self.now_open += 1
        self.most_open = max(self.most_open, self.now_open)
        try:
            event = self._checked(request, body)
            self.came.append(event)
            answer = await self.answer(event)
        finally:
            self.now_open -= 1
        if 200 <= answer.status < 300:
            self.taken.append(event)
        return answer

    def _checked(self, request: web.BaseRequest, body: bytes) -> dict[str, Any]:
        assert request.method == "POST"
        message, stamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        assert abs(int(stamp) - self._clock.now()) <= 1
        signatures = request.headers["webhook-signature"].split(" ")
        assert len(signatures) == len(self._secrets)
        for secret, signature in zip(self._secrets, signatures, strict=True):
            mac = hmac.new(secret, digestmod=hashlib.sha256)
            for piece in (message.encode("ascii"), b".", stamp.encode("ascii"), b".", body):
                mac.update(piece)
            version, _, told = signature.partition(",")
            assert version == "v1"
            assert base64.standard_b64decode(told) == mac.digest()
        assert request.headers["Content-Type"].startswith("application/cloudevents+json")
        event: dict[str, Any] = json.loads(body)
        assert event["id"] == message
        return event

    def numbers_of(self, guest: str) -> list[int]:
        """What was taken for a guest, in order."""
        return [event["data"]["seq"] for event in self.taken if event["subject"] == f"ref-{guest}"]


@contextlib.asynccontextmanager
async def receiving(clock: FakeClock, **options: Any) -> AsyncIterator[Receiver]:
    """Run a receiver on loopback."""
    receiver = Receiver(clock, **options)
    runner = web.ServerRunner(web.Server(receiver.handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.place = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()


class Kit:
    """Makes forwarders to one receiver."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.clock = clock
        self.secrets = folder / "secrets"
        self.write(f"whsec_{SECRET}\n")

    def write(self, text: str) -> None:
        """Into the file of secrets."""
        self.secrets.write_text(text)
        self.secrets.chmod(0o600)

    def forwarder(
        self, source: Source, place: str, *, draw: Callable[[], float] = lambda: 0.0, **settings: Any
    ) -> ReplyForwarder:
        """With draws of 0, what failed goes out again at once."""
        return ReplyForwarder(
            source,
            ReplyForwarding(
                url=f"http://{place}/{TOKEN_IN_PATH}?key={TOKEN_IN_PATH}",
                secret_file=self.secrets,
                allow=(place,),
                **{"timeout_s": 30.0, **settings},
            ),
            clock=self.clock,
            draw=draw,
        )

    @contextlib.asynccontextmanager
    async def running(self, source: Source, place: str, **settings: Any) -> AsyncIterator[asyncio.Task[None]]:
        """Run a forwarder for the length of the block; cancelling it ends it without a word."""
        task = asyncio.create_task(self.forwarder(source, place, **settings).run())
        try:
            yield task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    """With a clock that stands still."""
    return Kit(tmp_path, FakeClock())


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, for 20 s at most."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the condition is in another's hands
            await asyncio.sleep(0)


async def turns() -> None:
    """Give everything that could happen now the time to happen."""
    for _ in range(200):
        await asyncio.sleep(0)


# --- what arrives ---


async def test_a_reply_arrives_whole_and_signed(kit: Kit) -> None:
    """As a CloudEvent, with the guest's own key and everything that the platform said."""
    content = [{"contentType": "QuickReply", "quickReply": {"text": "Yes", "payload": "y"}}]
    said = reply_of(
        "a",
        7,
        kind="structured",
        at="2026-11-22T10:11:12.345Z",
        author="Bot",
        nickname="Ava",
        content=content,
        source="history",
        late=True,
    )
    source = Source(said)
    async with receiving(kit.clock) as receiver, kit.running(source, receiver.place):
        await until(lambda: source.acknowledged)
    (event,) = receiver.taken
    assert event.pop("id").startswith("rep_")
    assert event == {
        "specversion": "1.0",
        "source": "/guestwire/replies",
        "type": "guestwire.reply",
        "subject": "ref-a",
        "time": "2026-11-22T10:11:12.345Z",
        "datacontenttype": "application/json",
        "data": {
            "guest": "key-of-ref-a",
            "guest_ref": "ref-a",
            "kind": "structured",
            "text": f"{SPOKEN} 7",
            "content": content,
            "events": [],
            "author": "Bot",
            "nickname": "Ava",
            "at": "2026-11-22T10:11:12.345Z",
            "seq": 7,
            "source": "history",
            "late": True,
        },
    }
    assert source.acknowledged == [said]
    assert source.notes == []


@pytest.mark.parametrize("at", [None, "", "yesterday", "2026-11-22", "2026-11-22T10:11:12"])
def test_a_time_that_is_none_is_left_out(at: str | None) -> None:
    """Receivers check what stands in an event's `time`; `data.at` has it as it came."""
    event = event_of(GuestKey("k"), reply_of("a", 1, at=at), "/x")
    assert "time" not in event
    assert event["data"]["at"] == at


def test_the_name_of_a_delivery_belongs_to_one_reply() -> None:
    """Stable, different for each, and without the ids that it is made of."""
    names = {event_of(GuestKey("k"), reply_of(guest, n), "/x")["id"] for guest in "ab" for n in (1, 2)}
    assert len(names) == 4
    assert event_of(GuestKey("z"), reply_of("a", 1, late=True), "/y")["id"] in names
    assert not any("ref-a" in name for name in names)


async def test_every_secret_of_the_file_signs(kit: Kit) -> None:
    """So that a receiver changes from the old one to the new one whenever it likes."""
    raw = b"a secret in plain letters, long enough"
    kit.write(f"whsec_{SECRET}\n\n{raw.decode()}\n")
    source = Source(reply_of("a", 1))
    async with (
        receiving(kit.clock, secrets=(base64.b64decode(SECRET), raw)) as receiver,
        kit.running(source, receiver.place),
    ):
        await until(lambda: source.acknowledged)
    assert len(receiver.taken) == 1


def test_a_signature_is_what_the_standard_shows() -> None:
    """An example that the scheme's authors have published."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = Signer([secret]).headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330.9, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


# --- order, outages, restarts ---


async def test_after_an_outage_everything_arrives_in_order_and_once(kit: Kit) -> None:
    """Also what comes meanwhile; each is acknowledged once, after it was taken."""
    source = Source(*(reply_of(guest, n) for n in range(1, 11) for guest in "abc"))
    down = True

    async def flaky(event: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=500 if down else 200)

    async with receiving(kit.clock) as receiver, kit.running(source, receiver.place):
        receiver.answer = flaky
        await until(lambda: len(receiver.came) > 30)
        assert {event["data"]["seq"] for event in receiver.came} == {1}
        source.add(*(reply_of(guest, n) for n in range(11, 14) for guest in "abc"))
        down = False
        await until(lambda: len(source.acknowledged) == 39)
    assert [receiver.numbers_of(guest) for guest in "abc"] == [list(range(1, 14))] * 3
    assert len(source.acknowledged) == len(set(map(id, source.acknowledged)))
    assert [event for event, _ in source.notes] == ["reply.not_forwarded"] * 3


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_a_receiver_does_the_order_of_each_guest_holds(kit: Kit, seed: int) -> None:
    """No reply comes before the one ahead of it was taken, under answers drawn by chance."""
    chance = random.Random(seed)  # noqa: S311 - a test's dice
    source = Source(*(reply_of(guest, n) for n in range(1, 16) for guest in "abcde"))
    highest: dict[str, int] = defaultdict(int)

    async def moody(event: dict[str, Any]) -> web.StreamResponse:
        guest, number = event["subject"], event["data"]["seq"]
        assert number == highest[guest] + 1
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
        status = chance.choice([200, 201, 204, 299, 301, 307, 400, 401, 404, 408, 413, 422, 500, 502, 599])
        if 200 <= status < 300:
            highest[guest] = number
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async with receiving(kit.clock) as receiver, kit.running(source, receiver.place):
        receiver.answer = moody
        await until(lambda: len(source.acknowledged) == 75)
    assert [receiver.numbers_of(guest) for guest in "abcde"] == [list(range(1, 16))] * 5
    assert set(receiver.asked) == {f"/{TOKEN_IN_PATH}"}


async def test_one_guest_that_fails_does_not_hold_the_others(kit: Kit) -> None:
    """Neither by errors, nor by silence, nor by a request for patience that concerns nobody else."""
    source = Source(*(reply_of(guest, n) for n in range(1, 6) for guest in ("bad", "mute", "busy", "good")))

    async def picky(event: dict[str, Any]) -> web.StreamResponse:
        match event["subject"]:
            case "ref-bad":
                await asyncio.sleep(0)
                return web.Response(status=500)
            case "ref-mute":
                await asyncio.Event().wait()
            case "ref-busy":
                return web.Response(status=503, headers={"Retry-After": "60"})
        return web.Response()

    async with receiving(kit.clock) as receiver, kit.running(source, receiver.place):
        receiver.answer = picky
        await until(lambda: len(source.acknowledged) == 5)
        assert receiver.numbers_of("good") == [1, 2, 3, 4, 5]
        assert [event["data"]["seq"] for event in receiver.came if event["subject"] != "ref-good"].count(2) == 0


async def test_a_restart_in_the_middle_passes_nothing_over(kit: Kit) -> None:
    """What was under way is sent again, under its old name; what was acknowledged is not."""
    source = Source(*(reply_of(guest, n) for n in range(1, 9) for guest in "ab"))
    stuck = asyncio.Event()

    async def stall(event: dict[str, Any]) -> web.StreamResponse:
        if event["data"]["seq"] == 4 and not stuck.is_set():
            await stuck.wait()
        return web.Response()

    async with receiving(kit.clock) as receiver:
        receiver.answer = stall
        async with kit.running(source, receiver.place):
            await until(lambda: len(source.acknowledged) == 6 and receiver.now_open == 2)
        assert source.closed == 1
        first_names = {event["id"] for event in receiver.came if event["data"]["seq"] == 4}
        stuck.set()
        came_before = len(receiver.came)
        async with kit.running(source, receiver.place):
            await until(lambda: len(source.acknowledged) == 16)
    later = receiver.came[came_before:]
    assert {event["id"] for event in later if event["data"]["seq"] == 4} == first_names
    for guest in "ab":
        assert [event["data"]["seq"] for event in later if event["subject"] == f"ref-{guest}"] == [4, 5, 6, 7, 8]


async def test_a_crash_before_the_acknowledgement_repeats_under_the_same_name(kit: Kit) -> None:
    """The store's own error is what `run` raises."""
    source = Source(reply_of("a", 1), reply_of("a", 2))
    source.fail_next = StoreError("the disk is full", code="GW-S020")
    async with receiving(kit.clock) as receiver:
        with pytest.raises(StoreError):
            await kit.forwarder(source, receiver.place).run()
        async with kit.running(source, receiver.place):
            await until(lambda: len(source.acknowledged) == 2)
    assert receiver.numbers_of("a") == [1, 1, 2]
    assert receiver.taken[0]["id"] == receiver.taken[1]["id"] != receiver.taken[2]["id"]


async def test_no_more_than_a_few_are_under_way(kit: Kit) -> None:
    """However many guests wait."""
    source = Source(*(reply_of(f"g{n}", 1) for n in range(3 * IN_FLIGHT)))
    gate = asyncio.Event()

    async def wait(event: dict[str, Any]) -> web.StreamResponse:
        await gate.wait()
        return web.Response()

    async with receiving(kit.clock) as receiver, kit.running(source, receiver.place):
        receiver.answer = wait
        await until(lambda: receiver.now_open == IN_FLIGHT)
        gate.set()
        await until(lambda: len(source.acknowledged) == 3 * IN_FLIGHT)
    assert receiver.most_open == IN_FLIGHT


async def test_no_more_is_read_than_the_window_holds(kit: Kit) -> None:
    """A receiver that is down fills no memory; once it is back, all of it arrives."""
    source = Source(*(reply_of("a", n) for n in range(1, WINDOW + 21)))
    gate = asyncio.Event()

    async def wait(event: dict[str, Any]) -> web.StreamResponse:
        await gate.wait()
        return web.Response()

    async with receiving(kit.clock) as receiver, kit.running(source, receiver.place):
        receiver.answer = wait
        await until(lambda: source.read == WINDOW + 1 and receiver.now_open)
        await turns()
        assert source.read == WINDOW + 1
        gate.set()
        await until(lambda: len(source.acknowledged) == WINDOW + 20)
    assert receiver.numbers_of("a") == list(range(1, WINDOW + 21))


async def test_the_source_is_closed_before_run_ends(kit: Kit) -> None:
    """Also where it was waiting for room: the store behind it may be closed right afterwards."""
    source = Source(*(reply_of("a", n) for n in range(WINDOW + 20)))

    async def never(event: dict[str, Any]) -> web.StreamResponse:
        return await asyncio.Future()

    async with receiving(kit.clock) as receiver:
        receiver.answer = never
        async with kit.running(source, receiver.place):
            await until(lambda: source.read == WINDOW + 1)
            await turns()
        assert source.closed == 1


# --- answers of every kind ---


async def test_a_receiver_that_asks_for_patience_gets_it_from_everybody(kit: Kit) -> None:
    """429: nobody knocks before the time it named, and then all do."""
    source = Source(reply_of("a", 1))
    statuses = [429]

    async def busy(event: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=statuses.pop() if statuses else 200, headers={"Retry-After": "7"})

    async with receiving(kit.clock) as receiver, kit.running(source, receiver.place):
        receiver.answer = busy
        await until(lambda: kit.clock.next_at is not None)
        assert kit.clock.next_at == kit.clock.now() + 7
        source.add(reply_of("b", 1))
        await until(lambda: source.read == 2)
        kit.clock.advance(6.9)
        await turns()
        assert len(receiver.came) == 1
        kit.clock.advance(0.2)
        await until(lambda: len(source.acknowledged) == 2)


async def test_failures_are_spread_and_the_pause_has_a_cap(kit: Kit) -> None:
    """Full jitter: the draw decides between nothing and a bound that doubles up to a minute."""
    source = Source(reply_of("a", 1))
    pauses: list[float] = []

    async def never(event: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=500)

    async with receiving(kit.clock) as receiver, kit.running(source, receiver.place, draw=lambda: 0.5):
        receiver.answer = never
        for attempt in range(1, 10):
            await until(lambda attempt=attempt: len(receiver.came) == attempt and kit.clock.next_at is not None)  # type: ignore[misc]
            pauses.append((kit.clock.next_at or 0.0) - kit.clock.now())
            kit.clock.advance(pauses[-1])
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert [event for event, _ in source.notes] == ["reply.not_forwarded"]


async def test_a_receiver_that_is_gone_for_ever_ends_it(kit: Kit) -> None:
    """410: a note, and nothing more is sent; what is left stays unacknowledged."""
    source = Source(*(reply_of(guest, n) for n in (1, 2) for guest in "ab"))

    async def gone(event: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=200 if event["subject"] == "ref-a" and event["data"]["seq"] == 1 else 410)

    async with receiving(kit.clock) as receiver:
        receiver.answer = gone
        async with asyncio.timeout(20):
            await kit.forwarder(source, receiver.place).run()
    assert ("reply.forwarding_stopped", "HTTP 410") in [(event, detail["reason"]) for event, detail in source.notes]
    assert [event for event, _ in source.notes].count("reply.forwarding_stopped") == 1
    assert all(reply.seq == 1 and reply.guest_ref == "ref-a" for reply in source.acknowledged)
    assert source.closed == 1


async def test_a_slow_receiver_gets_it_again(kit: Kit) -> None:
    """No answer in time is no answer."""
    source = Source(reply_of("a", 1))
    calls = 0

    async def slow_once(event: dict[str, Any]) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.Event().wait()
        return web.Response()

    async with receiving(kit.clock) as receiver, kit.running(source, receiver.place, timeout_s=0.3):
        receiver.answer = slow_once
        await until(lambda: source.acknowledged)
    assert [event["id"] for event in receiver.came] == [receiver.came[0]["id"]] * 2


async def test_a_huge_answer_counts_by_its_status(kit: Kit) -> None:
    """It is not read to its end, and the reply is not sent again for it."""
    source = Source(reply_of("a", 1), reply_of("a", 2))

    async def talkative(event: dict[str, Any]) -> web.StreamResponse:
        return web.Response(body=bytes(20_000_000))

    async with receiving(kit.clock) as receiver, kit.running(source, receiver.place):
        receiver.answer = talkative
        await until(lambda: len(source.acknowledged) == 2)
    assert len(receiver.came) == 2


async def test_a_redirect_is_not_followed(kit: Kit) -> None:
    """It would carry the content to where nobody has allowed it."""
    source = Source(reply_of("a", 1))
    statuses = [301, 302, 303, 307, 308]

    async def elsewhere(event: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=statuses.pop() if statuses else 200, headers={"Location": "/stolen"})

    async with receiving(kit.clock) as receiver, kit.running(source, receiver.place):
        receiver.answer = elsewhere
        await until(lambda: source.acknowledged)
    assert receiver.asked == [f"/{TOKEN_IN_PATH}"] * 6


async def test_a_receiver_that_is_not_there_yet_gets_it_when_it_comes(kit: Kit) -> None:
    """A connection that is refused is a failure like others."""
    async with receiving(kit.clock) as early:
        place = early.place
    source = Source(reply_of("a", 1))
    async with kit.running(source, place, draw=lambda: 0.5):
        await until(lambda: source.notes and kit.clock.next_at is not None)
        runner = web.ServerRunner(web.Server(early.handle))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", int(place.rpartition(":")[2])).start()
        kit.clock.advance(60)
        await until(lambda: source.acknowledged)
        await runner.cleanup()


# --- the decision ---


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("299", 299.0),
        ("301", MAX_RETRY_AFTER_S),
        ("9" * 400, MAX_RETRY_AFTER_S),
        ("Thu, 01 Jan 1970 00:16:45 GMT", 5.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER_S),
        ("-1", None),
        ("1.5", None),
        ("٧", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_patience_is_read_as_seconds_or_date_and_bounded(value: str | None, seconds: float | None) -> None:
    """Absurd ones are cut, senseless ones do not count."""
    assert patience_s(value, 1000.0) == seconds


@given(
    status=st.integers(100, 999),
    retry_after=st.none() | st.text(max_size=40) | st.integers().map(str) | st.datetimes().map(str),
    attempt=st.integers(1, 10**6),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_every_answer_is_decided(status: int, retry_after: str | None, attempt: int, jitter: float) -> None:
    """Taken by 2xx alone, gone by 410 alone, and else again, within a bound."""
    now = 1_800_000_000.0
    verdict = judge(status, retry_after, attempt=attempt, now=now, jitter=jitter)
    assert isinstance(verdict, Taken) == (200 <= status < 300)
    assert isinstance(verdict, Gone) == (status == 410)
    if isinstance(verdict, Again):
        assert now <= verdict.at <= now + MAX_RETRY_AFTER_S + SPREAD_S
        assert not verdict.for_all or status == 429
    assert now <= missed("x", attempt=attempt, now=now, jitter=jitter).at <= now + 60


# --- what is refused, and what is never told ---


@pytest.mark.parametrize(
    "url",
    [
        f"http://crm.example/{TOKEN_IN_PATH}",
        f"https://127.0.0.1/{TOKEN_IN_PATH}",
        f"https://10.0.0.7:8443/{TOKEN_IN_PATH}",
        f"https://localhost/{TOKEN_IN_PATH}",
        f"https://2130706433/{TOKEN_IN_PATH}",
    ],
)
def test_an_address_that_is_not_public_is_refused_before_anything_is_sent(kit: Kit, url: str) -> None:
    """Unless it is allowed by name; the error names the two ways out."""

    async def make() -> None:
        ReplyForwarder(Source(), ReplyForwarding(url=url, secret_file=kit.secrets), clock=kit.clock)

    with pytest.raises(ConfigError) as caught:
        asyncio.run(make())
    assert caught.value.code == "GW-C009"
    assert "sinks.replies.allow" in caught.value.hint
    assert TOKEN_IN_PATH not in caught.value.message


async def test_nothing_of_a_reply_is_told_to_anybody_else(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    """Neither text nor key nor secret nor the receiver's path, in logs, journal and reprs, whatever goes wrong."""
    caplog.set_level(logging.DEBUG)
    source = Source(*(reply_of(guest, 1) for guest in "abcdef"))
    trouble: dict[str, str] = {}

    async def parrot(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers with what it was told, in six wrong ways and then in the right one."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        body = await reader.readexactly(length)
        guest = json.loads(body)["subject"]
        if guest in trouble:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        else:
            trouble[guest] = "told"
            match len(trouble):
                case 1:
                    writer.write(body)
                case 2:
                    writer.write(b"HTTP/1.1 500 " + body + b"\r\nContent-Length: 0\r\n\r\n")
                case 3:
                    writer.write(b"HTTP/1.1 200 OK\r\n" + body + head + b"\r\n\r\n")
                case 4:
                    writer.write(b"HTTP/1.1 429 OK\r\nRetry-After: " + body + b"\r\nContent-Length: 0\r\n\r\n")
                case 5:
                    writer.write(b"HTTP/1.1 302 OK\r\nLocation: /" + body + b"\r\nContent-Length: 0\r\n\r\n")
                case 6:
                    writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(parrot, "127.0.0.1", 0)
    async with server:
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        forwarder = kit.forwarder(source, place)
        task = asyncio.create_task(forwarder.run())
        await until(lambda: len(source.acknowledged) == 6)
        told = repr(forwarder) + repr(vars(forwarder)) + repr(task)
        task.cancel()
        await asyncio.wait([task])
    assert len(source.notes) == 6
    own = [record for record in caplog.records if record.name.startswith("guestwire")]
    assert len(own) == 6
    told += repr(source.notes) + "".join(repr(vars(record)) for record in caplog.records)
    url_is_known_to = told.replace(repr(vars(forwarder)["_url"]), "")
    for canary in ("canary-7391", "key-of-", SECRET, "0123456789abcdef"):
        assert canary not in told
    assert TOKEN_IN_PATH not in url_is_known_to


def test_the_secrets_of_a_file_are_read_in_both_spellings(kit: Kit) -> None:
    """One a line, without what surrounds them."""
    kit.write(f"  whsec_{SECRET}  \r\n\nplain letters are a secret too\n")
    assert read_secrets(kit.secrets, "k") == (base64.b64decode(SECRET), b"plain letters are a secret too")


@pytest.mark.parametrize(
    "text", ["", "\n \n", "short", "whsec_c2hvcnQ=", "whsec_!!!not-base64-at-all-but-long-enough!!!", "whsec_é" * 9]
)
def test_a_file_without_a_usable_secret_is_refused_without_quoting_it(kit: Kit, text: str) -> None:
    """The error says which line, and how to make one."""
    kit.write(text)
    with pytest.raises(ConfigError) as caught:
        read_secrets(kit.secrets, "sinks.replies.secret_file")
    assert caught.value.code == "GW-C019"
    assert "openssl rand" in caught.value.hint
    assert text.strip() == "" or text.strip() not in caught.value.message


def test_a_file_of_secrets_that_others_can_read_is_refused(kit: Kit) -> None:
    """As everywhere."""
    kit.secrets.chmod(0o640)
    with pytest.raises(ConfigError) as caught:
        read_secrets(kit.secrets, "sinks.replies.secret_file")
    assert caught.value.code == "GW-C016"


def test_a_forwarder_needs_a_receiver(kit: Kit) -> None:
    """Whoever wires it asks first whether there is one."""

    async def make() -> None:
        ReplyForwarder(Source(), ReplyForwarding(), clock=kit.clock)

    with pytest.raises(ValueError, match="no receiver"):
        asyncio.run(make())


def test_a_reply_of_any_shape_can_be_written() -> None:
    """Whatever JSON the platform sent."""
    odd = reply_of("a", 1, text=None, kind="other", content=[{"x": [1.5, None, "\u202e\x00"]}], events=[{}])
    assert json.loads(msgspec.json.encode(event_of(GuestKey("k"), odd, "/x")))["data"]["content"] == odd.content
