"""Files of messages: kept before acceptance, brought to the platform, never the cause of an unknown outcome."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from guestwire import Attachment, GuestWire, Limits, Message, Rejected, Ticket
from guestwire.emulator.app import Emulator
from guestwire.errors import StoreError
from guestwire.model import PartId
from guestwire.settings import RetrySettings
from guestwire.store.sqlite import SqliteStore
from guestwire.testing import emulator
from tests.journey.auditor import events_of
from tests.journey.kit import FAST, eventually, journal_of, say, settled, story_of, until, wired

QUICK_UPLOADS = {**FAST, "upload_event_delay_ms": "0-10"}
AGAIN = RetrySettings(base_s=0.01, cap_s=0.05)
PICTURE = Attachment("order.txt", b"x" * 3000)


async def send_file(wire: GuestWire, file: Attachment = PICTURE, text: str = "", guest: str = "ann") -> Ticket:
    """Submit a file, with or without a text."""
    return await wire.submit(Message(guest=guest, text=text, attachments=(file,)))


def shown(genesys: Emulator) -> list[tuple[str | None, list[str]]]:
    """Text and names of files of what agents see from guests."""
    return [
        (message["text"], [file["filename"] for file in message["attachments"]])
        for message in genesys.messages()
        if message["direction"] == "Inbound"
    ]


@pytest.mark.parametrize("text", ["", "my receipt"])
async def test_a_file_arrives_with_its_message(tmp_path: Path, text: str) -> None:
    """The agent sees the file under its name, with the text or without one; each step is in the journal."""
    async with emulator(**QUICK_UPLOADS) as genesys, wired(genesys, tmp_path) as wire:
        ticket = await send_file(wire, text=text)
        assert await settled(wire, ticket) == ["accepted"]
        assert shown(genesys) == [(text or None, ["order.txt"])]
        (file,) = genesys.messages()[0]["attachments"]
        assert (file["mime"], file["fileSize"]) == ("text/plain", 3000)
        events = events_of(await journal_of(wire))
        assert [events[name] for name in ("upload.started", "upload.stored", "upload.done")] == [1, 1, 1]


async def test_what_is_behind_a_file_waits_for_it_and_other_guests_do_not(tmp_path: Path) -> None:
    """A slow upload holds its own lane, in order, and nobody else's."""
    async with emulator(**{**FAST, "upload_event_delay_ms": "400"}) as genesys, wired(genesys, tmp_path) as wire:
        file = await send_file(wire, text="with a file")
        behind = await say(wire, "behind it")
        other = await say(wire, "another lane", "bob")
        assert await settled(wire, other) == ["accepted"]
        assert [text for text, _ in shown(genesys)] == ["another lane"]
        assert await settled(wire, file, behind) == ["accepted", "accepted"]
        assert [text for text, _ in shown(genesys)] == ["another lane", "with a file", "behind it"]


@pytest.mark.parametrize(
    ("file", "rule"),
    [
        (Attachment("empty.txt", b""), "file.empty"),
        (Attachment("large.txt", b"x" * 2_000_000), "file.too_large"),
        (Attachment("name", b"x"), "file.no_extension"),
        (Attachment(".txt", b"x"), "file.no_extension"),
        (Attachment("setup.EXE", b"x"), "file.blocked"),
        (Attachment("n" * 1100 + ".txt", b"x"), "file.name_too_long"),
        (Attachment("../../etc/passwd.txt", b"x"), "file.name"),
        (Attachment("a\x1b[2Jb.txt", b"x"), "file.name"),
    ],
)
async def test_what_the_gateway_would_refuse_is_not_accepted(tmp_path: Path, file: Attachment, rule: str) -> None:
    """A file that cannot go is refused at once, with the rule that it breaks, and nothing of it is stored."""
    async with (
        emulator(**FAST) as genesys,
        wired(genesys, tmp_path, limits=Limits(max_file_kb=1000)) as wire,
    ):
        with pytest.raises(Rejected) as caught:
            await send_file(wire, file)
        # A name that says nothing, or a program's, agrees with no content either.
        found = {finding.rule for finding in caught.value.findings}
        assert rule in found <= {rule, "file.mismatch"}
        assert not (tmp_path / "blobs").exists()


@pytest.mark.parametrize(
    ("settings", "file", "code"),
    [
        ({"attachments_enabled": False}, PICTURE, "4000"),
        ({"max_file_kb": 1}, PICTURE, "4002"),
        ({"allowed_file_types": ("application/pdf",)}, PICTURE, "4001"),
        ({"blocked_extensions": (".txt",)}, PICTURE, "4001"),
    ],
)
async def test_the_live_session_decides(tmp_path: Path, settings: dict[str, Any], file: Attachment, code: str) -> None:
    """What this session or deployment does not take ends dead with the code, before any byte of it left."""
    async with emulator(**QUICK_UPLOADS, **settings) as genesys, wired(genesys, tmp_path) as wire:
        ticket = await send_file(wire, file)
        behind = await say(wire, "and this?")
        assert await settled(wire, ticket, behind) == ["dead", "accepted"]
        (part,), _ = await wire.find(ticket.message_id)
        assert part.attempt == 0
        assert part.reason is not None
        assert code in part.reason
        assert [text for text, _ in shown(genesys)] == ["and this?"]
        assert genesys.state()["uploads"] == 0


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("drop_before_accept", {"match": {"action": "onAttachment"}}),
        ("lose_echo", {"match": {"action": "onAttachment"}}),
        ("throttle", {"match": {"action": "onAttachment"}, "retry_after_s": 1}),
        ("error_frame", {"match": {"action": "onAttachment"}, "code": 5000}),
        ("http_status", {"match": {"path": "/_storage/upload"}, "status": 503}),
        ("http_status", {"match": {"path": "/_storage/upload"}, "status": 403}),
    ],
)
async def test_an_upload_that_fails_is_redone(tmp_path: Path, kind: str, fault: dict[str, Any]) -> None:
    """Whatever goes wrong before the platform has the file, it is brought again; no outcome is ever unknown."""
    async with emulator(**QUICK_UPLOADS) as genesys, wired(genesys, tmp_path, retry=AGAIN) as wire:
        await settled(wire, await say(wire, "first"))
        genesys.inject(kind, **fault)
        ticket = await send_file(wire)
        assert await settled(wire, ticket) == ["accepted"]
        assert "checking" not in await story_of(wire, ticket)
        assert shown(genesys) == [("first", []), (None, ["order.txt"])]
        assert genesys.state()["faults_fired"] == {kind: 1}


async def test_a_connection_lost_while_the_file_is_examined(tmp_path: Path) -> None:
    """The platform's word went to the connection that is gone: on the next one it is asked for; nothing is redone."""
    async with (
        emulator(**{**FAST, "upload_event_delay_ms": "150"}) as genesys,
        wired(genesys, tmp_path, retry=AGAIN) as wire,
    ):
        await settled(wire, await say(wire, "first"))
        ticket = await send_file(wire)
        await until(wire, "upload.stored")
        genesys.trigger("drop")
        assert await settled(wire, ticket) == ["accepted"]
        assert genesys.state()["uploads"] == 1
        assert shown(genesys)[1:] == [(None, ["order.txt"])]


async def test_a_restart_does_not_upload_again(tmp_path: Path) -> None:
    """A file that is at the platform is remembered on disk: after a restart its message goes out with it."""
    async with emulator(**QUICK_UPLOADS, messages_per_second=1) as genesys:
        async with wired(genesys, tmp_path) as wire:
            await settled(wire, await say(wire, "first"))
            genesys.inject("throttle", match={"action": "onMessage"}, retry_after_s=1)
            ticket = await send_file(wire)
            await until(wire, "part.throttled")
        async with wired(genesys, tmp_path) as wire:
            assert await settled(wire, ticket) == ["accepted"]
        assert genesys.state()["uploads"] == 1


async def test_a_file_that_the_platform_forgot_is_brought_again(tmp_path: Path) -> None:
    """4009 proves that the message was not accepted: the file is uploaded anew and the message sent again."""
    async with emulator(**QUICK_UPLOADS) as genesys, wired(genesys, tmp_path, retry=AGAIN) as wire:
        genesys.inject("error_frame", match={"action": "onMessage"}, code=4009)
        ticket = await send_file(wire)
        assert await settled(wire, ticket) == ["accepted"]
        assert genesys.state()["uploads"] == 2
        assert len(shown(genesys)) == 1


async def test_a_file_with_an_unknown_outcome_is_found_by_its_id(tmp_path: Path) -> None:
    """The echo of a message without a text is lost: the history shows its file, so it is not sent twice."""
    async with emulator(**QUICK_UPLOADS) as genesys, wired(genesys, tmp_path) as wire:
        genesys.inject("lose_echo", match={"action": "onMessage"})
        ticket = await send_file(wire)
        assert await settled(wire, ticket) == ["accepted"]
        assert (await story_of(wire, ticket))[-2:] == ["checking", "accepted"]
        assert len(shown(genesys)) == 1


async def test_a_file_that_vanished_from_the_store_parks_its_message(tmp_path: Path) -> None:
    """A blob that somebody deleted: its message waits for a person, with the reason; the relay goes on for others."""
    async with emulator(**FAST) as genesys:
        async with wired(genesys, tmp_path, relay="never") as wire:
            ticket = await send_file(wire)
        (blob,) = (tmp_path / "blobs").iterdir()
        blob.unlink()
        async with wired(genesys, tmp_path) as wire:
            other = await say(wire, "hello", "bob")
            assert await settled(wire, ticket, other) == ["parked", "accepted"]
            (part,), _ = await wire.find(ticket.message_id)
            assert "gone" in (part.reason or "")


async def test_files_are_sealed_and_named_by_guest(tmp_path: Path) -> None:
    """Neither content nor name of a file stands on disk in the clear; the same file of two guests has two names."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, relay="never") as wire:
        secret = Attachment("canary-name.txt", b"canary-content" * 50)
        await send_file(wire, secret)
        await send_file(wire, secret, guest="bob")
        await send_file(wire, secret)
        assert len(list((tmp_path / "blobs").iterdir())) == 2
    for path in [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]:  # noqa: ASYNC240 - nothing waits
        data = path.read_bytes()
        assert b"canary-content" not in data
        assert b"canary-name" not in data


async def test_the_same_file_under_the_same_key_is_one_message(tmp_path: Path) -> None:
    """An idempotency key covers the file: same content, same ticket; another content is refused."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, relay="never") as wire:
        message = Message(guest="ann", key="k", attachments=(PICTURE,))
        first = await wire.submit(message)
        assert await wire.submit(message) == msgspec.structs.replace(first, fresh=False)
        other = msgspec.structs.replace(PICTURE, content=b"another")
        with pytest.raises(Rejected):
            await wire.submit(Message(guest="ann", key="k", attachments=(other,)))


async def test_a_reply_s_file_can_be_fetched_after_its_address_is_too_old(tmp_path: Path) -> None:
    """An address lives for ten minutes; `fetch` asks for a new one and brings the same bytes."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, await say(wire, "send me the label"))
        genesys.say(attachment={"name": "label.txt", "type": "text/plain", "text": "hi"})
        async with asyncio.timeout(10):
            reply = await anext(wire.replies())
        (file,) = reply.attachments
        assert file.name == "label.txt"
        assert await wire.fetch(reply, file) == b"hi"
        genesys.advance(700)
        assert await wire.fetch(reply, file) == b"hi"
        await eventually(lambda: genesys.state()["requests"].get("getAttachment") == 1)


async def test_uploads_that_fail_come_to_an_end_each_for_itself(tmp_path: Path) -> None:
    """Whatever the errors are called, they are counted; and the next file of the guest begins at one."""
    retry = RetrySettings(base_s=0.01, cap_s=0.05, max_attempts=3)
    async with emulator(**QUICK_UPLOADS) as genesys, wired(genesys, tmp_path, retry=retry) as wire:
        genesys.inject("error_frame", match={"action": "onAttachment"}, code=5000, times=4)
        first = await send_file(wire, text="one")
        second = await send_file(wire, text="two")
        assert await settled(wire, first, second) == ["dead", "accepted"]
        assert genesys.state()["requests"]["onAttachment"] == 5
        assert [text for text, _ in shown(genesys)] == ["two"]


async def test_an_eviction_during_an_upload_is_respected(tmp_path: Path) -> None:
    """Whatever is under way, the connection is not made again at once: that would evict the other program."""
    async with emulator(**{**FAST, "upload_event_delay_ms": "600"}) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, await say(wire, "first"))
        await send_file(wire)
        await until(wire, "upload.stored")
        genesys.trigger("evict")
        await until(wire, "part.deferred")
        await say(wire, "another lane", "bob")
        await until(wire, "part.accepted", times=2)
        assert genesys.state()["connections_opened"] == 2


async def test_a_file_that_cannot_be_read_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy disk is no reason to park a message for a person."""
    read = SqliteStore.file_of
    failures = iter([StoreError("busy", code="GW-S003")])

    def busy_once(self: SqliteStore, part_id: PartId) -> Any:
        for failure in failures:
            raise failure
        return read(self, part_id)

    monkeypatch.setattr(SqliteStore, "file_of", busy_once)
    async with emulator(**QUICK_UPLOADS) as genesys, wired(genesys, tmp_path, retry=AGAIN) as wire:
        assert await settled(wire, await send_file(wire)) == ["accepted"]


async def test_a_folder_among_the_files_does_not_keep_the_relay_from_starting(tmp_path: Path) -> None:
    """What somebody put into the store's folder is left alone."""
    (tmp_path / "blobs" / "mine").mkdir(parents=True)
    os.utime(tmp_path / "blobs" / "mine", (1, 1))
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        assert await settled(wire, await say(wire, "hello")) == ["accepted"]


@pytest.mark.parametrize("fault", [{"code": 4011}, {"code": 400}])
async def test_a_file_that_no_message_will_carry_is_taken_back(tmp_path: Path, fault: dict[str, Any]) -> None:
    """The message was refused for good: its file is deleted at the platform, and what is behind it goes on."""
    async with emulator(**QUICK_UPLOADS) as genesys, wired(genesys, tmp_path) as wire:
        genesys.inject("error_frame", match={"action": "onMessage"}, **fault)
        ticket = await send_file(wire)
        behind = await say(wire, "behind")
        assert await settled(wire, ticket, behind) == ["dead", "accepted"]
        assert genesys.state()["requests"]["deleteAttachment"] == 1
        assert events_of(await journal_of(wire))["upload.discarded"] == 1
