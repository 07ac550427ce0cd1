"""`emulate say | trigger | fault | clock | reset` as processes, against emulators that run."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from websockets.exceptions import ConnectionClosed

from tests.journey.raw_guest import Guest, connected
from tests.journey.test_cli_kit import Cli, Said, ended


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Commands with a home of their own."""
    return Cli(tmp_path)


@pytest.fixture
def guest(genesys: Any) -> Iterator[Guest]:
    """A guest who has said hello to the fixture's emulator."""
    with connected(genesys) as someone:
        someone.say("hello")
        yield someone


def over_rest(genesys: Any, *messages: tuple[str, dict[str, Any]]) -> None:
    """Send messages to the emulator's REST side: path and body."""
    connection = http.client.HTTPConnection(urlsplit(genesys.url).netloc)
    with contextlib.closing(connection):
        client = {"client_id": genesys.client_id, "client_secret": genesys.client_secret}
        form = urlencode({"grant_type": "client_credentials", **client})
        connection.request("POST", "/oauth/token", form, {"Content-Type": "application/x-www-form-urlencoded"})
        token = json.loads(connection.getresponse().read())["access_token"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        for path, body in messages:
            connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            assert answer.status < 300, answer.read()
            answer.read()


def open_message(genesys: Any, guest: str) -> tuple[str, dict[str, Any]]:
    """A guest's message over Open Messaging."""
    path = f"/api/v2/conversations/messages/{genesys.integration_id}/inbound/open/message"
    channel = {"from": {"id": guest, "idType": "Opaque"}, "time": "2026-03-04T05:06:07.089Z"}
    return path, {"channel": channel, "text": "hello"}


def contract_message(guest: str) -> tuple[str, dict[str, Any]]:
    """A guest's message over the tutorial contract."""
    body = {"contentType": "text/plain", "content": "hello"}
    ends = {"from": {"id": guest, "type": "user"}, "to": {"id": "conv-1", "type": "conversation"}}
    return "/api/v2/conversations/messaging/messages", {**ends, "body": body}


def complains(said: Said, code: int, error: str, *words: str) -> None:
    """Assert that a command failed with this exit code and error, in two lines with these words."""
    assert (said.code, said.out) == (code, "")
    assert len(said.complaint) == 2
    assert said.complaint[0].endswith(f"[{error}]")
    for word in words:
        assert word in said.err


# --- finding one ---


def test_without_an_address_the_one_started_last_is_meant(cli: Cli) -> None:
    """Of those that run; one that was killed leaves a file, which the next command recognises and removes."""
    running = cli.folder / "state" / "guestwire" / "running"
    complains(cli("emulate", "reset"), 4, "GW-C043", "guestwire emulate", "--gateway")
    started = []
    for _ in range(2):
        process = cli.start("emulate", "--port", "0", "--json")
        assert process.stdout is not None
        started.append((process, json.loads(process.stdout.readline())["url"]))
    (first, first_url), (second, second_url) = started
    assert cli("emulate", "reset").out.startswith(second_url)
    second.kill()
    ended(second)
    assert len(list(running.iterdir())) == 2
    assert cli("emulate", "reset").out.startswith(first_url)
    assert len(list(running.iterdir())) == 1
    assert ended(first, signal.SIGTERM).code == 0
    assert list(running.iterdir()) == []
    complains(cli("emulate", "clock", "+1s"), 4, "GW-C043")


def test_an_emulator_that_cannot_be_found_runs_all_the_same(cli: Cli) -> None:
    """Where the state folder cannot be written it says that the others will need the address."""
    cli.write("state", "a file where a folder should be")
    process = cli.start("emulate", "--port", "0", "--json")
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    assert cli("emulate", "reset", "--gateway", url).code == 0
    assert "--gateway" in ended(process, signal.SIGINT).err


@pytest.mark.parametrize(
    "address", ["ftp://127.0.0.1", "127.0.0.1:1", "http://", "http://someone@127.0.0.1", "http://[", "http://h:x"]
)
def test_an_address_that_is_none(cli: Cli, address: str) -> None:
    """Refused before anybody is asked."""
    complains(cli("emulate", "reset", "--gateway", address), 4, "GW-C009", "http://127.0.0.1:8700")


def test_nobody_answers_at_the_address(cli: Cli) -> None:
    """What is not an emulator, or nobody, is named."""
    complains(cli("emulate", "reset", "--gateway", "http://127.0.0.1:1"), 4, "GW-C042", "guestwire emulate")


def test_options_of_the_start_do_not_go_before_a_command(cli: Cli) -> None:
    """They would be ignored, for the emulator runs already."""
    complains(cli("emulate", "--seed", "1", "reset"), 2, "GW-U001", "--seed", "reset")


def test_an_emulator_with_a_certificate_of_its_own_is_trusted(cli: Cli) -> None:
    """By the file that it names, with and without its address; under another name nobody vouches for it."""
    process = cli.start("emulate", "--port", "0", "--json", "--set", "tls=generated")
    assert process.stdout is not None
    found = json.loads(process.stdout.readline())
    assert found["url"].startswith("https://")
    assert Path(found["ca_file"]).is_file()
    assert cli("emulate", "reset").code == 0
    assert cli("emulate", "reset", "--gateway", found["url"]).code == 0
    elsewhere = ("emulate", "reset", "--gateway", found["url"].replace("127.0.0.1", "localhost"))
    complains(cli(*elsewhere), 4, "GW-C042", "certificate", "SSL_CERT_FILE")
    assert cli(*elsewhere, SSL_CERT_FILE=found["ca_file"]).code == 0
    assert ended(process, signal.SIGTERM).code == 0


# --- say ---


def test_the_agent_says_text_choices_a_card_and_a_file(cli: Cli, genesys: Any, guest: Guest) -> None:
    """Each reaches the guest's socket in the wire's own words; the id is the message's."""
    here = ("--gateway", genesys.url)
    said = cli("emulate", "say", "How can I help?", "--nickname", "Ann", *here)
    assert said.code == 0
    body = guest.body()
    assert (body["text"], body["channel"]["from"]["nickname"]) == ("How can I help?", "Ann")
    assert said.out.split()[0] == body["id"]
    said = cli("emulate", "say", "-", "--quick-reply", "Yes", "--quick-reply", "No", "--json", *here, stdin="Well?\n")
    body = guest.body()
    assert said.object["id"] == body["id"]
    assert body["text"] == "Well?"
    assert [item["quickReply"]["text"] for item in body["content"]] == ["Yes", "No"]
    card = ("--card", "Lamp", "--card-text", "It is here.", "--card-button", "Send=s1")
    cli("emulate", "say", *card, "--card-button", "Terms=https://shop.example/t", *here)
    assert guest.body()["content"][0]["card"] == {
        "title": "Lamp",
        "description": "It is here.",
        "actions": [
            {"type": "Postback", "text": "Send", "payload": "s1"},
            {"type": "Link", "text": "Terms", "url": "https://shop.example/t"},
        ],
    }
    cli.write("invoice.txt", "49.90")
    assert cli("emulate", "say", "Here", "--file", "invoice.txt", *here).code == 0
    attachment = guest.body()["content"][0]["attachment"]
    assert (attachment["filename"], attachment["mime"], attachment["fileSize"]) == ("invoice.txt", "text/plain", 5)


def test_whom_the_agent_means(cli: Cli, genesys: Any, guest: Guest) -> None:
    """By the beginning of the conversation's id, or by the guest's token."""
    (conversation,) = genesys.conversations()
    here = ("--gateway", genesys.url)
    for whom in (("--conversation", conversation["conversation_id"][:8]), ("--guest-token", guest.token)):
        assert cli("emulate", "say", "you", *whom, *here).code == 0
        assert guest.body()["text"] == "you"
    complains(cli("emulate", "say", "x", "--conversation", "zz", *here), 2, "GW-N006", "'zz'")
    complains(cli("emulate", "say", "x", "--guest-token", "nobody", *here), 5, "GW-E001", "configureSession")
    both = ("--conversation", "a", "--guest-token", "b")
    complains(cli("emulate", "say", "x", *both, *here), 2, "GW-U001", "exclude")


def test_a_guest_over_rest_is_meant_by_his_own_id(cli: Cli, genesys: Any) -> None:
    """Open Messaging or the tutorial contract; of several, not the latest but the one who is named."""
    here = ("--gateway", genesys.url)
    complains(cli("emulate", "say", "x", "--guest", "ada", *here), 5, "GW-E001", "over REST")
    over_rest(genesys, open_message(genesys, "ada"), contract_message("bob"), open_message(genesys, "eve"))
    for who in ("ada", "bob"):
        said = cli("emulate", "say", "you", "--guest", who, "--json", *here)
        assert said.code == 0
        (heard,) = [message for message in genesys.messages() if message["id"] == said.object["id"]]
        assert (heard["text"], heard["guest_id"], heard["direction"]) == ("you", who, "Outbound")
    assert cli("emulate", "trigger", "read_only", "--guest", "ada", *here).out.startswith("read_only  guest ")
    assert {each["guest_id"] for each in genesys.conversations() if each["read_only"]} == {"ada"}
    for command in (("say", "x"), ("trigger", "read_only")):
        nobody = cli("emulate", *command, "--guest", "mallory", *here)
        complains(nobody, 5, "GW-E001", "over REST")
        assert "mallory" not in nobody.err
    several = ("--conversation", "a", "--guest-token", "b", "--guest", "c")
    complains(cli("emulate", "say", "x", *several, *here), 2, "GW-U001", "--guest-token and --guest exclude")
    complains(cli("emulate", "trigger", "read_only", *several[2:], *here), 2, "GW-U001", "--guest exclude")


def test_nothing_can_be_said_yet(cli: Cli, genesys: Any) -> None:
    """Before a guest's first message there is nobody to answer: exit code 5, with the page to look at."""
    here = ("--gateway", genesys.url)
    complains(cli("emulate", "say", "hi", *here), 5, "GW-E001", "first message", f"{genesys.url}/_emulator/")
    complains(cli("emulate", "say", *here), 2, "GW-U001", "--card")
    complains(cli("emulate", "say", "--card-text", "x", *here), 2, "GW-U001", "--card TITLE")
    complains(cli("emulate", "say", "--file", "nowhere.txt", *here), 4, "GW-C060", "nowhere.txt")
    cli.write("large.bin", b"x" * 10_240_001)
    complains(cli("emulate", "say", "--file", "large.bin", *here), 4, "GW-C061", "10,240,000", "max_file_kb")


# --- trigger, fault, clock, reset ---


def test_a_trigger_happens_at_once(cli: Cli, genesys: Any, guest: Guest) -> None:
    """To the guest's socket, with its parameters; a wrong name gets the nearest one."""
    here = ("--gateway", genesys.url)
    listed = cli("emulate", "trigger", "--list", *here)
    assert "read_only" in listed.out
    assert cli("emulate", "trigger", "--list", "--json", *here).object["kinds"]["close"]["parameters"] == {"code": 1001}
    complains(cli("emulate", "trigger", "raed_only", *here), 2, "GW-U001", "did you mean 'read_only'?")
    complains(cli("emulate", "trigger", *here), 2, "GW-U001", "--list")
    complains(cli("emulate", "trigger", "close", "--set", "code", *here), 2, "GW-U001", "NAME=VALUE")
    assert cli("emulate", "trigger", "read_only", *here).out.startswith("read_only  guest ")
    assert guest.body()["events"][0]["presence"]["type"] == "Disconnect"
    assert cli("emulate", "trigger", "close", "--set", "code=1012", "--guest-token", "t", "--json", *here).code == 0
    with contextlib.suppress(ConnectionClosed):
        while True:
            guest.body()
    assert guest.socket.close_code == 1012


def test_a_fault_waits_fires_and_is_cleared(cli: Cli, genesys: Any, guest: Guest) -> None:
    """With match, times and parameters as given; the list counts it."""
    here = ("--gateway", genesys.url)
    made = cli("emulate", "fault", "throttle", "--match", "text=17", "--times", "3", "--set", "retry_after_s=2", *here)
    assert made.out == "f1 throttle\n"
    assert guest.say("order 17")["retryAfter"] == 2
    (fault,) = cli("emulate", "fault", "--list", "--json", *here).object["faults"]
    assert (fault["match"], fault["times"], fault["fired"]) == ({"text": "17"}, 3, 1)
    by_chance = ("--times", "0", "--match", "nth=2", "--probability", "0.5")
    assert cli("emulate", "fault", "lose_echo", *by_chance, *here).out == "f2 lose_echo\n"
    listed = cli("emulate", "fault", "--list", *here).out
    assert "without end" in listed
    assert "nth=2" in listed
    assert cli("emulate", "fault", "--clear", "f1", *here).out == "1 fault removed\n"
    assert cli("emulate", "fault", "--clear", "--json", *here).object == {"cleared": 1}
    assert genesys.faults() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("lose_ehco",), "did you mean 'lose_echo'?"),
        ((), "--list"),
        (("--clear", "f99"), "f99"),
        (("lose_echo", "--match", "txt=x"), "txt"),
        (("lose_echo", "--set", "delay=5"), "delay"),
        (("--list", "--clear"), "exclude"),
        (("lose_echo", "--match", "x"), "text=order"),
    ],
)
def test_a_fault_that_cannot_be(cli: Cli, genesys: Any, arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2, with what would be right; nothing is set up."""
    complains(cli("emulate", "fault", *arguments, "--gateway", genesys.url), 2, "GW-U001", words)
    assert genesys.faults() == []


@pytest.mark.parametrize(("by", "seconds"), [("+90s", 90), ("2h", 7200), ("+1.5min", 90), ("+3d", 259_200)])
def test_the_clock_is_moved(cli: Cli, genesys: Any, by: str, seconds: float) -> None:
    """By what is said, at once."""
    before = genesys.now()
    moved = cli("emulate", "clock", by, "--json", "--gateway", genesys.url).object["now"]
    assert before + seconds <= moved <= genesys.now()


@pytest.mark.parametrize("by", ["90", "-5s", "soon", "+5 weeks"])
def test_a_time_that_is_none(cli: Cli, genesys: Any, by: str) -> None:
    """Exit code 2, with units that there are."""
    said = cli("emulate", "clock", "--gateway", genesys.url, "--", by)
    complains(said, 2, "GW-U001", "+5min")


def test_a_reset_forgets_everything(cli: Cli, genesys: Any, guest: Guest) -> None:
    """Conversations and connections are gone; the deployment stays."""
    said = cli("emulate", "reset", "--json", "--gateway", genesys.url)
    assert said.object == {"deployment_id": genesys.deployment_id}
    assert (genesys.conversations(), genesys.state()["connections_open"]) == ([], 0)


def test_hostile_answers_stay_in_their_line(cli: Cli, genesys: Any) -> None:
    """What the command repeats of its arguments cannot leave the line."""
    said = cli("emulate", "trigger", "x\x1b[31m\ny", "--gateway", genesys.url)
    assert said.code == 2
    assert "\x1b" not in said.err
    assert len(said.complaint) == 2
