"""docs/ways-out.md and docs/coming-from.md do what they say: snippets run, settings load, on a local Genesys."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib
import inspect
import json
import re
import tomllib
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from guestwire import Destination, GuestWire, Message
from guestwire.emulator.app import Emulator
from guestwire.protocol.openmessaging import signature_of
from guestwire.settings import load
from guestwire.testing import emulator
from tests.journey.far_server import FarServer, answer
from tests.journey.kit import FAST, inbound, journal_of, kiosk, make_wire, own_gateway, settled, until

ROOT = Path(__file__).parents[2]
PAGES = ("ways-out.md", "coming-from.md")


def snippets(language: str) -> dict[tuple[str, str, int], str]:
    """Code blocks by page, heading and place below it."""
    found: dict[tuple[str, str, int], str] = {}
    for page in PAGES:
        sections = re.split(r"^##+ (.*)\n", (ROOT / "docs" / page).read_text(), flags=re.MULTILINE)
        for title, text in zip(sections[1::2], sections[2::2], strict=True):
            blocks = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
            found |= {(page, title, place): block for place, block in enumerate(blocks)}
    return found


SNIPPETS = snippets("python")


class Scene(NamedTuple):
    """What a snippet finds."""

    genesys: Emulator
    folder: Path

    async def run(self, snippet: str, wire: GuestWire | None = None) -> dict[str, Any]:
        """Run a snippet, which may await; returns the names that it made."""
        names: dict[str, Any] = {"wire": wire}
        code = compile(snippet, "docs", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        async with asyncio.timeout(60):
            if inspect.isawaitable(done := eval(code, names)):  # noqa: S307 - our own pages
                await done
        return names

    def wired(self, to: Destination) -> GuestWire:
        """A program of the reader's."""
        return make_wire(to, self.folder / "store")


@contextlib.asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    """A server of the reader's, for the length of the block."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def receive(scene: Scene, snippet: str) -> str:
    """The reader's own server takes the platform's webhook, and nobody else's."""
    async with scene.wired(kiosk(scene.genesys)) as wire:
        await settled(wire, await wire.submit(Message(guest="42", text="hello")))
        made = await scene.run(snippet, wire)
        async with served(made["app"]) as url:
            scene.genesys.set_webhook(url + "/genesys")
            scene.genesys.say("It is on its way.")
            await until(wire, "reply.received")
            (reply,) = [reply async for reply in wire.replies("42", follow=False)]
            scene.genesys.inject("webhook_bad_signature")
            scene.genesys.say("Not from here.")
            await until(wire, "webhook.refused")
            return str([reply.text, len([each async for each in wire.replies("42", follow=False)])])


async def report(scene: Scene, snippet: str) -> str:
    """Every reply is printed, and the platform is told that it was delivered."""
    async with scene.wired(kiosk(scene.genesys)) as wire:
        await settled(wire, await wire.submit(Message(guest="42", text="hello")))
        body = {
            "id": "reply-1",
            "channel": {"id": scene.genesys.integration_id, "to": {"id": "42"}},
            "type": "Text",
            "text": "It is on its way.",
            "direction": "Outbound",
        }
        raw = json.dumps(body).encode()
        await wire.receive_webhook({"X-Hub-Signature-256": signature_of(scene.genesys.webhook_secret, raw)}, raw)
        await scene.run(snippet, wire)
        await until(wire, "errand.done", "errand.failed")
        return ", ".join(entry.event for entry in await journal_of(wire) if entry.event.startswith("reply."))


async def by_address(scene: Scene, snippet: str) -> str:
    """The platform is told where the file lies."""
    with FarServer(lambda _: answer(200, b"")) as files:
        async with scene.wired(kiosk(scene.genesys, allow_links=("127.0.0.1",))) as wire:
            await scene.run(snippet.replace("https://files.example", files.url), wire)
            await until(wire, "part.accepted")
        assert [request.method for request in files.requests] == ["HEAD"]
    (seen,) = scene.genesys.messages()
    return f"{seen['text']} {seen['attachments'][0]['filename']}"


async def through_the_sdk(scene: Scene, snippet: str) -> str:
    """An ApiClient as the SDK gives it carries the message."""
    genesys = scene.genesys
    here = {
        "https://api.mypurecloud.ie": genesys.url,
        'region="eu-west-1"': f'url="{genesys.url}"',
        "b7f1c6d2-0c35-4c0e-8f0a-53a9d8e0a3f4": genesys.integration_id,
        # It blocks while it fetches its token, and here the platform lives in the same loop.
        "api_client.get_client_credentials_token(": "await asyncio.to_thread(api_client.get_client_credentials_token, ",
    }
    for there, ours in here.items():
        assert there in snippet
        snippet = snippet.replace(there, ours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, the first time that it is imported
        importlib.import_module("PureCloudPlatformClientV2")
    await scene.run("import asyncio\n" + snippet)
    return str(inbound(genesys))


async def contract(scene: Scene, snippet: str) -> str:
    """The tutorial's payload, as a message to a gateway that serves the contract."""
    async with scene.wired(own_gateway(scene.genesys)) as wire:
        await scene.run(snippet, wire)
    (seen,) = scene.genesys.messages()
    return f"{seen['conversation_id']} {seen['guest_id']} {seen['text']} {seen['metadata']['readReceipt']}"


async def instead_of_the_sdk(scene: Scene, snippet: str) -> str:
    """What took a model of the SDK takes a Message, attributes included."""
    async with scene.wired(kiosk(scene.genesys)) as wire:
        await scene.run(snippet, wire)
    (seen,) = scene.genesys.messages()
    return f"{seen['guest_id']} {seen['nickname']} {seen['custom_attributes']}"


async def dialogue(scene: Scene, snippet: str) -> str:
    """A scenario of two lines, against a bot."""
    to = Destination(name="emulator", url=scene.genesys.url, deployment_id=scene.genesys.deployment_id)
    async with scene.wired(to) as wire:
        await scene.run(snippet, wire)
    return str(inbound(scene.genesys))


#: By page, section and place in it: what runs the snippet, what then was printed, and what came of it.
PLAYS: dict[tuple[str, str, int], tuple[Callable[[Scene, str], Awaitable[str]], str, str]] = {
    ("ways-out.md", "The webhook", 0): (receive, "", "['It is on its way.', 1]"),
    ("ways-out.md", "Receipts", 0): (report, "It is on its way.\n", "reply.received, reply.delivered"),
    ("ways-out.md", "Files by address", 0): (by_address, "", "It came like this. parcel.png"),
    ("ways-out.md", "Through the official SDK", 0): (through_the_sdk, "True\n", "['Where is my order?']"),
    ("coming-from.md", "From the tutorial", 0): (
        contract,
        "True\n",
        "conv-def-456 guest-abc-123 Validated transmission payload True",
    ),
    ("coming-from.md", "From the official SDK", 0): (
        instead_of_the_sdk,
        "accepted True\n",
        "42 Ann {'topic': 'delivery'}",
    ),
    ("coming-from.md", "From web-messaging-tester", 0): (dialogue, "passed\n", "['hi', 'Yes']"),
}
BOT = """
[[rule]]
pattern = "^hi$"
reply = ["Can we ask you some questions?"]

[[rule]]
pattern = "^Yes$"
reply = ["Thank you! Now for the next question..."]
"""


def test_every_snippet_has_its_play() -> None:
    """A snippet that is added to one of the pages is run, too."""
    assert set(SNIPPETS) == set(PLAYS)


@pytest.mark.xdist_group("sdk")  # one of them imports the SDK, which takes seconds
@pytest.mark.parametrize(("page", "title", "place"), PLAYS, ids=str)
async def test_a_snippet_does_what_the_page_says(
    page: str,
    title: str,
    place: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It runs as it stands but for the address, prints what it should, and has the effect that the page names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "bot.toml").write_text(BOT)
    play, printed, brought = PLAYS[page, title, place]
    async with emulator(**FAST, script="bot.toml" if play is dialogue else "") as genesys:
        monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_ID", genesys.client_id)
        monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_SECRET", genesys.client_secret)
        assert await play(Scene(genesys, tmp_path), SNIPPETS[page, title, place]) == brought
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(("key", "toml"), snippets("toml").items(), ids=lambda value: str(value)[:60])
def test_settings_on_the_pages_load(key: tuple[str, str, int], toml: str, tmp_path: Path) -> None:
    """Every block of settings makes the destination that its section is about."""
    path = tmp_path / "guestwire.toml"
    path.write_text(toml)
    path.chmod(0o600)
    home = tmp_path / "home"
    (home / ".gc").mkdir(parents=True)
    profile = home / ".gc" / "config.toml"
    profile.write_text(
        '[prod]\nenvironment = "mypurecloud.ie"\nclient_credentials = "an-id"\nclient_secret = "a-secret"\n'
    )
    profile.chmod(0o600)
    loaded = load(environ={}, cwd=tmp_path, home=home)
    assert loaded.warnings == []
    (destination,) = loaded.settings.destinations.values()
    wanted: Mapping[str, str] = {
        "Setting up web messaging": "webmessaging",
        "Setting up Open Messaging": "openmessaging",
        "Setting up the tutorial contract": "rest-contract",
    }
    assert destination.transport == wanted[key[1]]
    assert destination.name in tomllib.loads(toml)["destinations"]


def test_links_into_pages_find_their_heading() -> None:
    """An anchor in a link from one of these pages is that of a heading, or of an error."""
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", (ROOT / "docs" / page).read_text()):
            text = (ROOT / "docs" / (target or page)).resolve().read_text()
            headings = {
                re.sub(r"[^a-z0-9 _-]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)", text, re.M)
            }
            assert anchor in headings or f'<a id="{anchor}"></a>' in text, f"{page} links to {target}#{anchor}"
