"""`messages cancel|release|retry|export` and `guests resume` as processes, beside a local Genesys."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.journey.test_cli_kit import Cli, Said, on_terminal, texts


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Commands with a home of their own."""
    return Cli(tmp_path)


def queue(cli: Cli, genesys: Any, guest: str, text: str, *more: str, wait: str = "none", **environment: str) -> Said:
    """Submit a message; by default nobody sends it yet."""
    where = ("--gateway", genesys.url, "--guest", guest)
    return cli("send", *where, text, "--wait", wait, *more, "--json", **environment)


def parts(cli: Cli, *more: str) -> dict[str, str]:
    """State by text."""
    return {part["text"]: part["state"] for part in cli("messages", "list", "--text", "--json", *more).objects}


def drain(cli: Cli, genesys: Any) -> None:
    """Send what guest 1 has queued: a message at the end of his lane is through when all before it have ended."""
    assert queue(cli, genesys, "1", "drain", wait="accepted").code == 0


def message_id(cli: Cli, text: str) -> str:
    """Id of the only message with this text."""
    found = {part["message_id"] for part in cli("messages", "list", "--text", "--json").objects if part["text"] == text}
    (one,) = found
    return str(one)


def test_a_queued_message_is_cancelled_with_who_and_why(cli: Cli, genesys: Any) -> None:
    """By a beginning of its id; it is never sent; the timeline says it; again it is named as cancelled already."""
    queue(cli, genesys, "1", "twice")
    queue(cli, genesys, "1", "once")
    name = message_id(cli, "twice")
    said = cli("messages", "cancel", name[:20], "--why", "ordered\x1b[31m twice")
    assert (said.code, said.complaint) == (0, ["1 message cancelled"])
    assert said.out == f"{name}  cancelled\n"
    again = cli("messages", "cancel", name)
    assert again.code == 7
    assert "cancelled already" in again.out
    drain(cli, genesys)
    assert "twice" not in texts(genesys)
    assert "once" in texts(genesys)
    shown = cli("messages", "show", name)
    assert "part.cancelled" in shown.out
    assert "\x1b" not in shown.out
    assert "why=ordered" in shown.out


def test_messages_chosen_by_state_are_counted_and_asked_about(cli: Cli, genesys: Any) -> None:
    """Without a terminal and without --yes nothing happens; --dry-run says what would."""
    for number in range(3):
        queue(cli, genesys, str(number), f"m{number}")
    choice = ("messages", "cancel", "--state", "queued")
    refused = cli(*choice)
    assert refused.code == 2
    assert refused.complaint[0].startswith("error: 3 messages would be cancelled, and there is no terminal")
    dry = cli(*choice, "--dry-run", "--guest", "1", "--json")
    assert dry.code == 0
    assert [len(each["parts"]) for each in dry.objects] == [1]
    assert set(parts(cli).values()) == {"queued"}
    assert cli(*choice, "--guest", "1", "--yes").code == 0
    assert parts(cli) == {"m0": "queued", "m1": "cancelled", "m2": "queued"}
    said = on_terminal(cli, [*choice], b"n\n")
    assert "2 messages would be cancelled. Do it? [y/N]" in said
    assert "nothing was done" in said
    assert parts(cli)["m0"] == "queued"


def test_an_outage_is_replayed_once(cli: Cli, genesys: Any) -> None:
    """Dead messages of the last day, in order; the second time there is nothing to do."""
    genesys.inject("error_frame", code=4011, times=2)
    for text in ("a", "b"):
        assert queue(cli, genesys, "1", text, wait="accepted").code == 5
    assert queue(cli, genesys, "1", "c", wait="accepted").code == 0
    dry = cli("messages", "retry", "--state", "dead", "--since", "1d", "--dry-run")
    assert (dry.code, dry.complaint) == (0, ["2 messages would be queued anew"])
    done = cli("messages", "retry", "--state", "dead", "--since", "1d", "--yes")
    assert done.complaint == ["2 messages queued anew", "nobody relays now: 'guestwire up' sends them"]
    again = cli("messages", "retry", "--state", "dead", "--yes")
    assert again.complaint == ["0 messages queued anew"]
    drain(cli, genesys)
    assert [text for text in texts(genesys) if text != "drain"] == ["c", "a", "b"]
    newest = cli("messages", "list", "--guest", "1", "--json").objects[1]
    assert f"replay    of message {newest['replay_of']}" in cli("messages", "show", newest["message_id"]).out


@pytest.mark.genesys(history_lag_s=0.02)
def test_what_may_be_seen_twice_is_said_before(cli: Cli, genesys: Any) -> None:
    """At most once: the echo was lost, nobody can say, a person decides; then it is seen twice, and counted."""
    web = "GUESTWIRE_DESTINATIONS__WEB__"
    cli.environment |= {
        f"{web}URL": genesys.url,
        f"{web}DEPLOYMENT_ID": genesys.deployment_id,
        f"{web}DELIVERY": "at_most_once",
    }
    genesys.inject("lose_echo")
    genesys.inject("history_truncate", times=1000)
    assert cli("send", "--to", "web", "--guest", "1", "maybe").code == 8
    assert parts(cli) == {"maybe": "parked"}
    shown = cli("messages", "show", message_id(cli, "maybe")).out
    assert "state     parked (unknown): outcome unknown: " in shown
    assert f"waits     for a person: 'guestwire messages release {message_id(cli, 'maybe')}', or 'cancel'" in shown
    dry = cli("messages", "release", "--state", "parked", "--dry-run")
    assert dry.complaint == [
        "1 message would be released; 1 of them may be seen twice (an attempt had an unknown outcome)"
    ]
    assert cli("messages", "release", message_id(cli, "maybe"), "--why", "asked the agent").code == 0
    assert cli("send", "--to", "web", "--guest", "1", "behind it").code == 0
    assert texts(genesys) == ["maybe", "maybe", "behind it"]
    assert "doubles   1 possible" in cli("status").out


def test_an_export_is_a_batch(cli: Cli, genesys: Any, tmp_path: Path) -> None:
    """What died goes into a file for you alone, with its attachment, and out again by 'guestwire batch', once."""
    picture = tmp_path / "a.txt"
    picture.write_text("a description of the picture")
    genesys.inject("error_frame", code=4011, times=2)
    assert queue(cli, genesys, "42", "look\nhere", "--file", str(picture), wait="accepted").code == 5
    assert queue(cli, genesys, "42", "=1+1", "--attr", "topic=returns", wait="accepted").code == 5
    out = tmp_path / "dead.jsonl"
    said = cli("messages", "export", "--state", "dead", "--out", out, "--files", tmp_path / "files")
    assert (said.code, said.complaint) == (0, [f"wrote 2 messages to {out}"])
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    first, second = map(json.loads, out.read_text().splitlines())
    assert (first["guest"], first["text"]) == ("42", "look\nhere")
    assert Path(first["file"]).read_bytes() == picture.read_bytes()
    assert (second["text"], second["attr.topic"]) == ("=1+1", "returns")
    batch = ("batch", "--gateway", genesys.url, out, "--yes")
    assert cli(*batch).code == 0
    assert cli(*batch).code == 0  # the second time it sends nothing
    assert sorted(texts(genesys)) == ["=1+1", "look\nhere"]
    named = cli("messages", "export", first["id"])
    assert named.code == 7
    assert "--files" in named.complaint[0]
    assert json.loads(named.out)["text"] == "look\nhere"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("cancel",), "which messages are meant to be cancelled?"),
        (("retry", "--state", "queued"), "--state 'queued' cannot be queued anew"),
        (("release", "0123", "--state", "parked"), "ids and a choice exclude each other"),
        (("cancel", "--state", "queued", "--since", "yesterday"), "--since 'yesterday' is not an ISO 8601 time"),
        (("cancel", "nothing"), "no message is called 'nothing'"),
        (("export", "--state", "deed"), "no part is ever 'deed'"),
    ],
)
def test_what_is_meant_must_be_clear(cli: Cli, genesys: Any, arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2, what is wrong, and what to write."""
    queue(cli, genesys, "1", "hello")
    said = cli("messages", *arguments)
    assert said.code == 2
    assert said.complaint[0].startswith(f"error: {words}")
    assert parts(cli) == {"hello": "queued"}


def test_a_guest_who_is_not_paused_is_not_resumed(cli: Cli, genesys: Any) -> None:
    """Said in words; one whom nobody knows is an error."""
    queue(cli, genesys, "1", "hello")
    said = cli("guests", "resume", "1")
    assert (said.code, said.complaint) == (0, ["nothing of this guest was paused"])
    assert cli("guests", "resume", "2").code == 2
