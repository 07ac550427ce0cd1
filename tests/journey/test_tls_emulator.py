"""The whole journey over TLS: everything that has an address is reached under the emulator's own authority."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from guestwire import Attachment, GuestWire, GuestWireError, Message
from guestwire.settings import TlsSettings
from guestwire.testing import emulator
from tests.journey.kit import FAST, destination, eventually, inbound, make_wire, say, settled, until

PICTURE = Attachment("order.txt", b"x" * 3000)


async def test_all_of_it_goes_over_tls(tmp_path: Path) -> None:
    """A message, a file out, a gap filled from the history, a reply's file fetched: nothing is needed but a CA file."""
    async with emulator(**FAST, tls="generated", auto_start=True) as genesys:
        assert genesys.url.startswith("https:")
        assert genesys.ca_file is not None
        to = destination(genesys, tls=TlsSettings(ca_file=Path(genesys.ca_file)))
        async with make_wire(to, tmp_path) as wire:
            assert await settled(wire, await say(wire, "hello")) == ["accepted"]
            file = await wire.submit(Message(guest="ann", text="my order", attachments=(PICTURE,)))
            assert await settled(wire, file) == ["accepted"]
            assert inbound(genesys) == ["hello", "my order"]
            (sent,) = genesys.messages()[-1]["attachments"]
            assert sent["fileSize"] == 3000
            # The connection is lost, and what is said meanwhile can only come from the history.
            await wire.guests.follow("ann")
            genesys.trigger("drop")
            genesys.say("your label", attachment={"name": "label.txt", "type": "text/plain", "text": "hi"})
            await until(wire, "reply.received")
            (reply,) = [reply async for reply in wire.replies("ann", follow=False)]
            assert (reply.source, reply.text) == ("history", "your label")
            assert await wire.fetch(reply, reply.attachments[0]) == b"hi"
            # Ten minutes later its address has to be asked for again, which is an errand over the same socket.
            genesys.advance(700)
            assert await wire.fetch(reply, reply.attachments[0]) == b"hi"
            assert wire.troubles() == []


async def test_without_the_authority_nothing_goes_and_the_reason_is_said(tmp_path: Path) -> None:
    """The message stays queued, the trouble names the certificate, and a file is not fetched from just anybody."""
    async with emulator(**FAST, tls="generated") as genesys:
        assert genesys.ca_file is not None
        trusting = destination(genesys, tls=TlsSettings(ca_file=Path(genesys.ca_file)))
        async with make_wire(trusting, tmp_path) as wire:
            await settled(wire, await say(wire, "hello"))
            genesys.say("your label", attachment={"name": "label.txt", "type": "text/plain", "text": "hi"})
            await until(wire, "reply.received")
        async with make_wire(destination(genesys), tmp_path) as wire:
            ticket = await say(wire, "are you there?")
            await eventually(wire.troubles)
            assert not (await wire.message(ticket.message_id)).is_settled
            (trouble,) = wire.troubles()
            assert "127.0.0.1" in trouble
            assert "certificate" in trouble.lower()
            assert "[GW-A003]" in trouble
            assert inbound(genesys) == ["hello"]
            await refuses_the_file(wire)


async def refuses_the_file(wire: GuestWire) -> None:
    """The address of a reply's file is https too: without the authority nobody knows who answers there."""
    (reply,) = [reply async for reply in wire.replies("ann", follow=False)]
    with pytest.raises(GuestWireError, match="ertificate") as caught:
        async with asyncio.timeout(15):
            await wire.fetch(reply, reply.attachments[0])
    assert caught.value.code == "GW-G002"
