"""`guestwire guests`: who is there, what was said, errands from the command line, everything about one guest."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.journey.test_cli_kit import Cli, on_terminal, texts, tokens_in

#: Text that would move a cursor, colour what follows, or turn its direction.
HOSTILE = "red \x1b[31m\u202e\x07<b>"


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Commands with a home of their own."""
    return Cli(tmp_path)


def test_guests_are_listed_with_what_is_known_of_them(cli: Cli, genesys: Any) -> None:
    """The last active one first; nobody, in words; one object a line for programs."""
    assert cli("guests", "list").complaint[0].endswith("[GW-N004]")
    to = ("--gateway", genesys.url)
    for guest in ("Ann", "Bob\x1b[31m"):
        assert cli("send", *to, "--guest", guest, "hello").code == 0
    assert cli("send", *to, "--guest", "Ann", "later", "--wait", "none").code == 0
    listed = cli("guests", "list", "--json")
    ann, bob = listed.objects
    assert [ann["guest"], bob["guest"]] == ["Ann", "Bob\x1b[31m"]
    assert (ann["messages"], ann["open_parts"], ann["session"]) == (2, 1, "live")
    lines = cli("guests", "list").out.splitlines()
    assert lines[0].split() == ["guest", "session", "expires", "messages", "replies", "open", "last"]
    assert [line.split()[0] for line in lines[1:]] == ["Ann", "Bob\\x1b[31m"]
    assert len(cli("guests", "list", "--limit", "1").out.splitlines()) == 2
    cli.write(
        "guestwire.toml", f'[destinations.other]\nurl = "{genesys.url}"\ndeployment_id = "{genesys.deployment_id}"\n'
    )
    assert cli("guests", "list", "--to", "other").complaint == ["nobody is known at 'other' yet"]


@pytest.mark.genesys(script="showcase")
def test_a_transcript_shows_both_sides_and_harms_nobody(cli: Cli, genesys: Any) -> None:
    """Texts, answers, files, options by number; an escape stays inside its line; states that are not the usual one."""
    to = ("send", "--gateway", genesys.url, "--guest", "Ann")
    cli(*to, "-", stdin=HOSTILE)
    cli(*to, "--file", cli.write("a.txt", b"pdf"), "--wait", "reply")
    cli(*to, "choices", "--wait", "reply")
    cli(*to, "--answer", "Perhaps", "--wait", "reply")
    cli(*to, "file", "--wait", "reply")
    refused = cli(*to, "--file", cli.write("a \u202e.txt", b"a name that turns the line around"))
    assert refused.code == 3
    assert "turns the reading order" in refused.err
    said = cli("guests", "show", "Ann", "--transcript")
    assert said.code == 0
    assert "session   live, until" in said.out
    for words in (
        "> red \\x1b[31m\\u202e\\x07<b>",
        "> file  a.txt (3 bytes, text/plain)",
        "< Showcase: A file, thank you.",
        "< Showcase: Which one?",
        "   2  No",
        "> quick reply: Perhaps",
        "file  hours.txt (26 bytes, text/plain)",
    ):
        assert words in said.out
    assert not set(said.out) & set("\x1b\x07\u202e")
    data = cli("guests", "show", "Ann", "--transcript", "--json").object
    assert [line["from"] for line in data["transcript"]][:3] == ["guest", "gateway", "guest"]
    assert data["transcript"][0]["text"] == HOSTILE
    assert data["guest"]["messages"] == 5
    assert "transcript" not in cli("guests", "show", "Ann", "--json").object
    assert cli("guests", "show", "Carl").complaint[0].endswith("[GW-N003]")


@pytest.mark.genesys(clear_enabled=True)
def test_errands_have_their_turn_and_are_seen(cli: Cli, genesys: Any) -> None:
    """Close, clear, follow, unfollow; only for a guest whom the destination knows; clearing asks first."""
    at = ("--gateway", genesys.url)
    assert cli("send", *at, "--guest", "Ann", "hello").code == 0
    assert "nobody relays now" in cli("guests", "follow", "Ann", *at).err
    assert cli("guests", "show", "Ann", "--json").object["guest"]["is_followed"] is True
    assert cli("guests", "unfollow", "Ann", *at).code == 0
    asked = cli("guests", "clear", "Ann", *at)
    assert (asked.code, asked.complaint[0][-9:]) == (2, "[GW-U002]")
    assert "nothing was done" in on_terminal(cli, ["guests", "clear", "Ann", *at], b"\n")
    assert texts(genesys) == ["hello"]
    assert cli("guests", "clear", "Ann", *at, "--yes").code == 0
    closed = cli("guests", "close", "Ann", *at)
    assert (closed.code, closed.out) == (0, "")
    shown = cli("guests", "show", "Ann").out
    assert "errand    clear: done" in shown
    assert "errand    close: done" in shown
    assert cli("guests", "clear", "Ann", *at, "--store", "none").complaint[0].endswith("[GW-N004]")
    for what in ("close", "clear", "unfollow"):
        stranger = cli("guests", what, "Bob", *at, *(["--yes"] if what == "clear" else []))
        assert (stranger.code, stranger.complaint[0][-9:]) == (2, "[GW-N003]")
    cli.write(
        "guestwire.toml", f'[destinations.other]\nurl = "{genesys.url}"\ndeployment_id = "{genesys.deployment_id}"\n'
    )
    elsewhere = cli("guests", "close", "Ann", "--to", "other")
    assert "the guest is known at adhoc-" in elsewhere.complaint[1]


@pytest.mark.genesys(clear_enabled=False)
def test_what_the_gateway_refuses_is_exit_code_5(cli: Cli, genesys: Any) -> None:
    """With the reason, in two lines."""
    at = ("--gateway", genesys.url)
    assert cli("send", *at, "--guest", "Ann", "hello").code == 0
    refused = cli("guests", "clear", "Ann", *at, "--yes")
    assert (refused.code, refused.complaint[0][-9:]) == (5, "[GW-G001]")
    assert "switched off" in refused.complaint[0]


@pytest.mark.genesys(script="showcase")
def test_an_export_has_everything_and_no_key_to_the_session(cli: Cli, genesys: Any) -> None:
    """Texts, attributes, answers, files, replies, errands, journal, at every destination; for one reader alone."""
    uuid = genesys.deployment_id
    cli.write("guestwire.toml", f'[destinations.other]\nurl = "{genesys.url}"\ndeployment_id = "{uuid}"\n')
    to = ("send", "--gateway", genesys.url, "--guest", "Ann")
    file = cli.write("in voice.txt", b"the invoice")
    assert cli(*to, "see this", "--file", file, "--attr", "topic=returns", "--wait", "reply").code == 0
    assert cli(*to, "choices", "--wait", "reply").code == 0
    assert cli(*to, "--answer", "No", "--wait", "reply").code == 0
    assert cli("send", "--gateway", genesys.url, "--guest", "Bob", "about somebody else").code == 0
    assert cli("send", "--to", "other", "--guest", "Ann", "elsewhere").code == 0
    assert cli("guests", "close", "Ann", "--gateway", genesys.url).code == 0
    out, folder = cli.folder / "ann.json", cli.folder / "files"
    out.write_text("old, and open to others")
    assert cli("guests", "export", "Ann", "--out", out, "--files", folder).code == 0
    document = json.loads(out.read_text("utf-8"))
    assert (document["format"], document["guest"]) == ("guestwire.guest/1", "Ann")
    one, other = sorted(document["records"], key=lambda record: record["destination"])
    first, second, third = one["parts"]
    assert (first["body"]["text"], first["body"]["attributes"]) == ("see this", {"topic": "returns"})
    assert (first["state"], first["body"]["file"]["name"]) == ("accepted", "in voice.txt")
    assert (folder / first["written_as"]).read_bytes() == b"the invoice"
    assert first["written_as"].endswith("-in_voice.txt")
    assert (second["body"]["text"], third["body"]["answer"]["choices"][0]["text"]) == ("choices", "No")
    assert [reply["text"] for reply in one["replies"]][:2] == ["A file, thank you.", "Which one?"]
    assert [(errand["kind"], errand["state"]) for errand in one["errands"]] == [("close", "done")]
    assert {"part.queued", "upload.done", "part.accepted", "reply.received", "errand.done"} <= {
        entry["event"] for entry in one["journal"]
    }
    assert [part["body"]["text"] for part in other["parts"]] == ["elsewhere"]
    for path in (out, folder / first["written_as"]):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    everything = cli("guests", "export", "Ann").out
    for text in (out.read_text("utf-8"), everything):
        assert "about somebody else" not in text
        assert "Bob" not in text
        assert not tokens_in(text, genesys)
    assert json.loads(everything)["records"][0]["parts"]
    for blob in (cli.folder / "state" / "guestwire" / "emulator" / "blobs").iterdir():
        blob.unlink()
    rest = cli("guests", "export", "Ann", "--files", folder)
    assert (rest.code, "without its file" in rest.err) == (0, True)
    nowhere = cli("guests", "export", "Ann", "--out", cli.folder / "no" / "folder.json")
    assert (nowhere.code, nowhere.complaint[0][-9:]) == (4, "[GW-C068]")
    assert cli("guests", "export", "Carl").code == 2
