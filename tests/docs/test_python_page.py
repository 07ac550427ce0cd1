"""docs/python.md does what it says: each of its snippets runs, against a local Genesys."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from guestwire import GuestWire, Message
from guestwire.emulator.app import Emulator
from guestwire.testing import emulator
from tests.corpora.files import picture
from tests.journey.kit import FAST, eventually, inbound, until, wired

ROOT = Path(__file__).parents[2]
SECTIONS = re.split(r"^##+ (.*)\n", (ROOT / "docs" / "python.md").read_text(), flags=re.MULTILINE)
SNIPPETS = {
    title: re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for title, text in zip(SECTIONS[1::2], SECTIONS[2::2], strict=True)
}


class Enough(Exception):
    """The snippet would go on for ever, and has shown what it does."""


class Crm:
    """A program's own system, which takes so many replies and then breaks down."""

    def __init__(self, room: int) -> None:
        self._room = room
        self.stored: list[tuple[str, str | None]] = []

    async def store(self, guest: str, text: str | None) -> None:
        """Keep a reply."""
        if len(self.stored) == self._room:
            raise Enough
        self.stored.append((guest, text))


class Scene(NamedTuple):
    """What a snippet finds."""

    genesys: Emulator
    wire: GuestWire

    async def run(self, snippet: str, **more: Any) -> None:
        """Run a snippet, which may await."""
        names = {"wire": self.wire, "Message": Message, **more}
        code = compile(snippet, "docs/python.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with contextlib.suppress(Enough):
            async with asyncio.timeout(15):
                if inspect.isawaitable(done := eval(code, names)):  # noqa: S307 - our own page
                    await done


async def construct(scene: Scene, snippet: str) -> str:
    """Three ways to name a place: each finds its settings."""
    await scene.run(snippet)
    return ""


async def message(scene: Scene, snippet: str) -> str:
    """It can be submitted as it stands."""
    made = eval(snippet.split("\n\n", 1)[1], {"Message": Message})  # noqa: S307 - our own page
    await scene.wire.wait(await scene.wire.submit(made))
    return inbound(scene.genesys)[-1]


async def print_replies(scene: Scene, snippet: str) -> str:
    """It prints what is there, and ends."""
    await heard(scene, text="It is on its way.")
    await scene.run(snippet)
    return ""


async def consume(scene: Scene, snippet: str) -> str:
    """It takes every reply, and a second run goes on behind what was acknowledged."""
    for text in ("one", "two", "three", "four"):
        await heard(scene, text=text)
    before, after = Crm(2), Crm(1)
    await scene.run(snippet, crm=before)
    await scene.run(snippet, crm=after)
    return f"{before.stored} {after.stored}"


async def typing(scene: Scene, snippet: str) -> str:
    """It hears that the agent types."""
    running = asyncio.create_task(scene.run(snippet))
    await asyncio.sleep(0)
    scene.genesys.say(event="typing")
    await running
    return "heard"


async def answer(scene: Scene, snippet: str) -> str:
    """It chooses a quick reply by its label."""
    offers = [{"contentType": "QuickReply", "quickReply": {"text": name, "payload": name}} for name in ("Yes", "No")]
    await heard(scene, text="Shall I?", content=offers)
    await scene.run(snippet)
    await eventually(lambda: inbound(scene.genesys)[-1] == "Yes")
    return "Yes"


async def attach(scene: Scene, snippet: str) -> str:
    """A file goes out with its message."""
    await scene.run(snippet)
    await eventually(lambda: inbound(scene.genesys)[-1] == "It came like this.")
    return ", ".join(file["filename"] for file in scene.genesys.messages()[-1]["attachments"])


async def fetch(scene: Scene, snippet: str) -> str:
    """The file of a reply is fetched."""
    await heard(scene, attachment={"name": "label.txt", "type": "text/plain", "text": "hi"})
    await scene.run(snippet)
    return ""


async def guests(scene: Scene, snippet: str) -> str:
    """A guest is followed, and listed."""
    await scene.run(snippet)
    return ""


async def decide(scene: Scene, snippet: str) -> str:
    """A message is cancelled if it has not left, and a dead one goes out again."""
    scene.genesys.inject("error_frame", code=4011)
    dead = await scene.wire.submit(Message(guest="7", text="poor thing"))
    assert not (await scene.wire.wait(dead, timeout_s=10)).is_accepted
    await scene.run(snippet, outage_began=0.0)
    await eventually(lambda: "poor thing" in inbound(scene.genesys))
    return ""


async def sign_in(scene: Scene, snippet: str) -> str:
    """The code is exchanged, and the guest is known from then on."""
    await scene.run(snippet)
    return str((await scene.wire.guests.show("42")).is_signed_in)


async def suite(scene: Scene, snippet: str) -> str:
    """It is collected and run by a pytest that knows nothing but the plugin."""
    mine = (
        "from guestwire.store.folder import Folder\n"
        "from guestwire.store.sqlite import SqliteStore\n\n"
        "def MyStore(path):\n    return SqliteStore(Folder(path), min_free_disk_mb=0)\n\n"
    )
    await asyncio.to_thread(Path("test_mine.py").write_text, mine + snippet)
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "lane_keeps_the_order or reply")
    process = await asyncio.create_subprocess_exec(*command, "test_mine.py", stdout=asyncio.subprocess.PIPE)
    shown, _ = await process.communicate()
    found = re.search(r"\d+ passed", shown.decode())
    return found[0] if found else shown.decode()


async def heard(scene: Scene, **what: Any) -> None:
    """The agent says something, and it has arrived."""
    after = await scene.wire.store_read(lambda store: store.journal_seq())
    scene.genesys.say(**what)
    await until(scene.wire, "reply.received", after=after)


#: By section and place in it: what runs the snippet, what then was printed (a pattern) and returned.
PLAYS: dict[tuple[str, int], tuple[Callable[[Scene, str], Awaitable[str]], str, str]] = {
    ("GuestWire", 0): (construct, "", ""),
    ("Message", 0): (message, "", "Where is my order?"),
    ("Replies", 0): (print_replies, r".* Human It is on its way\.\n", ""),
    ("Every reply once, across restarts", 0): (
        consume,
        "",
        "[('42', 'one'), ('42', 'two')] [('42', 'three')]",
    ),
    ("Typing", 0): (typing, "", "heard"),
    ("Structured answers", 0): (answer, "1 quick_reply Yes\n2 quick_reply No\n", "Yes"),
    ("Files", 0): (attach, "", "parcel.png"),
    ("Files", 1): (fetch, "label.txt text/plain 2\n", ""),
    ("Guests", 0): (guests, r"42 live True 1 0\n", ""),
    ("Deciding about messages", 0): (decide, r"\(.*\) \(.*\)\n", ""),
    ("A store or a transport of your own", 0): (suite, "", "2 passed"),
    ("Signing in", 0): (sign_in, "", "True"),
    ("Transcript", 0): (print_replies, r".* accepted hello\n.* Human It is on its way\.\n", ""),
}


def test_every_snippet_has_its_play() -> None:
    """A snippet that is added to the page is run, too."""
    assert {(title, place) for title, found in SNIPPETS.items() for place in range(len(found))} == set(PLAYS)


@pytest.mark.parametrize(("title", "place"), PLAYS, ids=str)
async def test_a_snippet_does_what_the_page_says(
    title: str, place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It runs as it stands, prints what it should, and has the effect that the page names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    play, printed, brought = PLAYS[title, place]
    (tmp_path / "parcel.png").write_bytes(picture("PNG"))
    signs_in = play is sign_in
    async with emulator(**FAST, auth_enabled=signs_in) as genesys, wired(genesys, tmp_path / "store") as wire:
        (tmp_path / "guestwire.toml").write_text(
            f'[destinations.web]\ntransport = "webmessaging"\nurl = "{genesys.url}"\n'
            f'deployment_id = "{genesys.deployment_id}"\n'
        )
        if not signs_in:
            await wire.wait(await wire.submit(Message(guest="42", text="hello")), timeout_s=10)
        assert await play(Scene(genesys, wire), SNIPPETS[title][place]) == brought
    assert re.fullmatch(printed, capsys.readouterr().out)
