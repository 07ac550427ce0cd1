"""`up`, `status`, `tail`, `messages`, `config`, `init`, `emulate` as processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.journey.test_cli_kit import PATIENCE_S, Cli, ended, line_with, on_terminal, texts


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Commands with a home of their own."""
    return Cli(tmp_path)


# --- up ---


def test_a_second_relay_is_refused_and_names_the_first(cli: Cli, genesys: Any) -> None:
    """One line with the pid, exit code 4; submitting beside the first works; SIGTERM ends it with 0, soon."""
    process = cli.start("up", "--gateway", genesys.url)
    line_with(process.stderr, "relaying out of")
    second = cli("up", "--gateway", genesys.url)
    assert second.code == 4
    assert f"(pid {process.pid})" in second.complaint[0]
    assert second.complaint[0].endswith("[GW-S007]")
    assert cli("send", "--gateway", genesys.url, "--guest", "1", "beside").code == 0
    assert f"process {process.pid}" in cli("status").out
    began = time.monotonic()
    said = ended(process, signal.SIGTERM)
    assert time.monotonic() - began < 10
    assert said.code == 0
    assert "what is queued stays queued" in said.err
    assert texts(genesys) == ["beside"]


def test_one_that_stands_by_takes_over(cli: Cli, genesys: Any) -> None:
    """It says who relays and waits; killed with SIGKILL, that one is followed by it; told to stop before, it stops."""
    first = cli.start("up", "--gateway", genesys.url)
    line_with(first.stderr, "relaying out of")
    second, third = (cli.start("up", "--standby", "--gateway", genesys.url) for _ in range(2))
    for process in (second, third):
        line_with(process.stderr, f"standing by: process {first.pid} relays out of")
    assert ended(third, signal.SIGTERM).code == 0
    first.kill()
    line_with(second.stderr, "relaying out of")
    assert cli("send", "--gateway", genesys.url, "--guest", "1", "after").code == 0
    assert texts(genesys) == ["after"]
    assert ended(second, signal.SIGTERM).code == 0
    assert ended(first).code == -signal.SIGKILL


@pytest.mark.genesys(history_lag_s=0.02)
def test_stopped_in_the_middle_up_leaves_nothing_half_written(cli: Cli, genesys: Any) -> None:
    """With answers missing it ends all the same, within its patience, and the next one sends nothing twice."""
    genesys.inject("lose_echo", times=3)
    for number in range(3):
        assert cli("send", "--gateway", genesys.url, "--guest", str(number), f"m{number}", "--wait", "none").code == 0
    process = cli.start("up", "--gateway", genesys.url, GUESTWIRE_RELAY__ANSWER_S="60", GUESTWIRE_RELAY__SHUTDOWN_S="1")
    for number in range(3):
        _until(lambda number=number: f"m{number}" in texts(genesys))
    began = time.monotonic()
    assert ended(process, signal.SIGTERM).code == 0
    assert time.monotonic() - began < 5
    assert cli("send", "--gateway", genesys.url, "--guest", "0", "last").code == 0
    assert sorted(texts(genesys)) == ["last", "m0", "m1", "m2"]


def test_ctrl_c_twice_stops_up_at_once(cli: Cli, genesys: Any) -> None:
    """The second one waits for nobody."""
    genesys.inject("silent_peer")
    cli("send", "--gateway", genesys.url, "--guest", "1", "x", "--wait", "none")
    process = cli.start(
        "up", "--gateway", genesys.url, GUESTWIRE_RELAY__ANSWER_S="60", GUESTWIRE_RELAY__SHUTDOWN_S="60"
    )
    line_with(process.stderr, "relaying out of")
    _until(lambda: genesys.state()["faults_fired"])
    process.send_signal(signal.SIGINT)
    line_with(process.stderr, "stopping")
    said = ended(process, signal.SIGINT)
    assert said.code == 130
    assert "stopped at once" in said.err


def test_up_says_what_keeps_it_from_sending(cli: Cli, genesys: Any) -> None:
    """Once, with what to check; it goes on trying, and sends when it is let in."""
    genesys.inject("refuse_upgrade", status=403, times=2)
    cli("send", "--gateway", genesys.url, "--guest", "1", "x", "--wait", "none")
    process = cli.start("up", "--gateway", genesys.url)
    line_with(process.stderr, "refuses the connection", "GW-A001", "still trying")
    line_with(process.stderr, "Messenger Deployments")
    assert ended(process, signal.SIGTERM).code == 0


# --- looking ---


def test_three_ways_of_being_empty(cli: Cli, genesys: Any) -> None:
    """No store, nothing yet, no match: each says which it is."""
    assert "there is no store" in cli("messages", "list").complaint[0]
    assert cli("batch", cli.write("a.csv", "guest,text\n1,a\n"), "--gateway", genesys.url).code == 0
    said = cli("messages", "list", "--state", "dead")
    assert (said.code, said.out, said.complaint) == (0, "", ["no message fits"])
    process = cli.start("up", "--gateway", genesys.url, "--store", "other")
    line_with(process.stderr, "relaying")
    ended(process, signal.SIGTERM)
    said = cli("messages", "list", "--store", "other", "--json")
    assert (said.code, said.out, said.complaint) == (0, "", ["no message was ever submitted to this store"])


def test_messages_are_listed_and_shown(cli: Cli, genesys: Any) -> None:
    """By state, by guest, by the beginning of an id; texts and guests' keys only where they are asked for."""
    genesys.inject("error_frame", code=4011, match={"text": "bad"})
    for guest, text in (("Ann", "good"), ("Bob", "bad"), ("Bob", "later")):
        cli("send", "--gateway", genesys.url, "--guest", guest, text)
    listed = cli("messages", "list", "--json")
    assert [part["state"] for part in listed.objects] == ["accepted", "dead", "accepted"]
    assert "Bob" not in listed.out
    assert len(cli("messages", "list", "--guest", "Bob", "--json").objects) == 2
    assert len(cli("messages", "list", "--limit", "1").out.splitlines()) == 2
    (dead,) = cli("messages", "list", "--guest", "Bob", "--state", "dead", "--text", "--json").objects
    assert (dead["guest"], dead["text"]) == ("Bob", "bad")
    nobody = cli("messages", "list", "--guest", "Carl")
    assert (nobody.code, nobody.complaint[0][-9:]) == (2, "[GW-N003]")
    near = cli("messages", "list", "--state", "ded")
    assert (near.code, near.complaint[1]) == (2, "  did you mean 'dead'?")

    for name in (dead["id"], dead["message_id"].upper(), dead["id"][:-1]):
        shown = cli("messages", "show", name)
        assert shown.code == 0
        assert "state     dead" in shown.out
        assert "part.queued" in shown.out
        assert "4011" in shown.out
        assert "Bob" not in shown.out
    assert "Bob" in cli("messages", "show", dead["id"], "--text").out
    assert [part["id"] for part in cli("messages", "show", dead["id"], "--json").object["parts"]] == [dead["id"]]
    for name, words in (("0", "more than one"), ("nope", "no message is called 'nope'"), ("a\x1b[31m%", "a\\x1b[31m%")):
        said = cli("messages", "show", name)
        assert (said.code, said.complaint[0][-9:]) == (2, "[GW-N002]")
        assert words in said.complaint[0]


def test_piped_tables_are_plain_columns(cli: Cli, genesys: Any) -> None:
    """One line a row, for grep and awk: no frame, no colour, no empty lines."""
    cli("send", "--gateway", genesys.url, "--guest", "1", "x")
    lines = cli("messages", "list", "--text").out.splitlines()
    assert [len(line.split("  ")) > 3 for line in lines] == [True, True]
    assert all(line.isascii() for line in lines)


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_gets_colours_unless_it_wants_none(no_color: str, cli: Cli, genesys: Any) -> None:
    """`NO_COLOR` is honoured where stdout is a terminal."""
    cli("send", "--gateway", genesys.url, "--guest", "1", "x")
    shown = on_terminal(cli, ["messages", "list"], TERM="xterm", NO_COLOR=no_color)
    assert "accepted" in shown
    assert ("\x1b[1m" in shown or "\x1b[3" in shown or "─" in shown) is True
    assert not (no_color and "\x1b[3" in shown)


def test_status_tells_the_state_of_the_store(cli: Cli, genesys: Any) -> None:
    """In lines for people and as one object."""
    cli("send", "--gateway", genesys.url, "--guest", "1", "x")
    cli("send", "--gateway", genesys.url, "--guest", "2", "y", "--wait", "none")
    said = cli("status")
    assert "1 queued" in said.out
    assert "1 accepted" in said.out
    assert "nobody: 'guestwire up' with the address of then sends what waits" in said.out
    picture = cli("status", "--json").object
    assert picture["store"]["parts"] == {"queued": 1, "accepted": 1}
    assert (picture["relay"], picture["store"]["kind"]) == ("none", "emulator")
    process = cli.start("status", "--watch", "--json")
    assert json.loads(line_with(process.stdout, "store"))["relay"] == "none"
    json.loads(line_with(process.stdout, "store"))
    assert ended(process, signal.SIGINT).code == 130


@pytest.mark.genesys(script="echo")
def test_tail_shows_replies_as_they_come(cli: Cli, genesys: Any) -> None:
    """Line by line into a pipe, safe against what stands in a bot's answer; ended by a signal with 130."""
    to = ("send", "--gateway", genesys.url, "--guest", "7")
    cli(*to, "first", "--wait", "reply")
    process = cli.start("tail", "--what", "replies", "--text", "--guest", "7")
    every = cli.start("tail", "--json")
    seen: list[dict[str, Any]] = []
    _until(lambda: all(_is_watching(each.pid) for each in (process, every)))
    cli(*to, "-", "--wait", "reply", stdin="red \x1b[31m\nline")
    line_with(process.stdout, "reply.received")
    text = line_with(process.stdout, "You said")
    assert "red \\x1b[31m⏎line" in text
    while not seen or seen[-1]["event"] != "reply.received":
        assert every.stdout is not None
        seen.append(json.loads(every.stdout.readline()))
    assert {"part.queued", "part.sending", "part.accepted"} <= {entry["event"] for entry in seen}
    for each in (process, every):
        assert ended(each, signal.SIGINT).code == 130


def test_tail_shows_what_was_asked_for(cli: Cli, genesys: Any) -> None:
    """Several kinds at once; a reply with its options by number and its files by name; typing is not shown."""
    to = ("send", "--gateway", genesys.url, "--guest", "7")
    cli(*to, "first")
    assert cli("tail", "--what", "replies,nonsense").complaint[0].endswith("[GW-U001]")
    assert cli("guests", "follow", "7", "--gateway", genesys.url).code == 0
    relay = cli.start("up", "--gateway", genesys.url)
    told = cli.start("tail", "--what", "replies, errands", "--guest", "7")
    objects = cli.start("tail", "--what", "replies", "--json")
    _until(lambda: all(_is_watching(each.pid) for each in (told, objects)))
    # The follower's session is open beside the one that said "first".
    _until(lambda: [request["action"] for request in genesys.requests()].count("configureSession") == 2)
    genesys.say(event="typing")
    genesys.say(
        "Which\x1b[31m one?",
        content=[
            {"contentType": "QuickReply", "quickReply": {"text": label, "payload": label}}
            for label in ("Yes", "No\u202e")
        ],
        attachment={"name": "hours.txt", "type": "text/plain", "text": "9 to 17"},
    )
    assert told.stdout is not None
    assert "reply.received" in told.stdout.readline()
    shown = [told.stdout.readline().strip() for _ in range(4)]
    assert shown[0].endswith(": Which\\x1b[31m one?")
    assert shown[1:] == ["1  Yes", "2  No\\u202e", "file  hours.txt (7 bytes, text/plain)"]
    assert objects.stdout is not None
    said = json.loads(objects.stdout.readline())["said"]
    assert ([option["label"] for option in said["options"]], said["attachments"][0]["size"]) == (["Yes", "No\u202e"], 7)
    assert cli("guests", "close", "7", "--gateway", genesys.url).code == 0
    assert "errand.queued" in told.stdout.readline()
    assert "errand.done" in told.stdout.readline()
    for each in (told, objects, relay):
        ended(each, signal.SIGINT)


def test_a_timeline_tells_of_files_and_errands(cli: Cli, genesys: Any) -> None:
    """In words, with the file's name and the answer only where texts are asked for."""
    to = ("send", "--gateway", genesys.url, "--guest", "7")
    cli(*to, "--file", cli.write("invoice.txt", b"x" * 1_500), "see", "--wait", "none")
    process = cli.start("guests", "close", "7", "--gateway", genesys.url)
    assert ended(process).code == 0
    answered = cli(*to, "--quick-reply", "Yes=confirm", "--json").object["message_id"]
    (name,) = (part["id"] for part in cli("messages", "list", "--json").objects if part["size"] == 3)
    plain, full = cli("messages", "show", name), cli("messages", "show", name, "--text")
    for words in (
        "upload.started           1.5 kB on their way",
        "upload.stored            all of it sent",
        "upload.done              the platform has it",
        "errand.queued            close was asked for",
    ):
        assert words in plain.out
    assert "file      1.5 kB, text/plain" in plain.out
    assert "file      invoice.txt, 1.5 kB, text/plain" in full.out
    assert "invoice" not in plain.out
    assert "answer    quick reply, 1 choice" in cli("messages", "show", answered).out
    assert "answer    quick reply: Yes [confirm]" in cli("messages", "show", answered, "--text").out
    contents = cli("messages", "show", answered, "--text", "--json").object["contents"]
    assert [body["answer"]["choices"][0]["payload"] for body in contents.values()] == ["confirm"]


@pytest.mark.genesys(script="echo")
def test_up_forwards_replies_to_the_receiver_of_the_settings(cli: Cli, genesys: Any) -> None:
    """Beside relaying; `status` says how far the receiver is behind; a receiver that cannot be used ends it at once."""
    secret = cli.write("secret", "whsec_" + "A" * 32)
    secret.chmod(0o600)
    taken = threading.Event()
    with receiver(taken) as (url, came):
        forwarding = {
            "GUESTWIRE_SINKS__REPLIES__URL": url,
            "GUESTWIRE_SINKS__REPLIES__SECRET_FILE": "secret",
            "GUESTWIRE_SINKS__REPLIES__ALLOW": url.split("/")[2],
        }
        to = ("send", "--gateway", genesys.url, "--guest", "Ann")
        assert cli(*to, "hello", "--wait", "reply").code == 0
        behind = cli("status", "--json", **forwarding).object["sinks"]["replies"]
        assert (behind["consumer"], behind["unacknowledged"]) == ("replies", 1)
        assert "1 reply not taken yet by 'replies'" in cli("status", **forwarding).out
        process = cli.start("up", "--gateway", genesys.url, **forwarding)
        line_with(process.stderr, "forwarding replies to 127.0.0.1")
        assert taken.wait(PATIENCE_S)
        (event,) = came
        assert (event["data"]["guest"], event["data"]["text"]) == ("Ann", "You said: hello")
        _until(lambda: "every reply was taken" in cli("status", **forwarding).out)
        assert ended(process, signal.SIGTERM).code == 0
        forwarding["GUESTWIRE_SINKS__REPLIES__ALLOW"] = "crm.example"
        refused = cli("up", "--gateway", genesys.url, **forwarding)
        assert (refused.code, refused.complaint[0][-9:]) == (4, "[GW-C009]")
    assert "not taken" not in cli("status").out
    assert cli("status", "--json").object["sinks"] == {}


def test_a_reader_that_leaves_ends_tail_quietly(cli: Cli, genesys: Any) -> None:
    """`guestwire tail | head -1` is no error."""
    cli("send", "--gateway", genesys.url, "--guest", "7", "x")
    process = cli.start("tail")
    _until(lambda: _is_watching(process.pid))
    assert process.stdout is not None
    cli("send", "--gateway", genesys.url, "--guest", "7", "x")
    process.stdout.readline()
    process.stdout.close()
    cli("send", "--gateway", genesys.url, "--guest", "7", "x")
    assert process.wait(PATIENCE_S) == 0
    assert process.stderr is not None
    with process.stderr:
        assert "error" not in process.stderr.read()


# --- settings ---


def test_config_show_names_every_origin(cli: Cli, genesys: Any) -> None:
    """Values with the place that decided them; a proxy's password is in neither form."""
    cli("init", "--gateway", genesys.url)
    secret = {"GUESTWIRE_DESTINATIONS__WEB__PROXY": "http://me:hunter2@proxy.example:3128"}
    said = cli("config", "show", "--origin", **secret)
    assert "guestwire.toml line 3" in said.out
    assert "# environment GUESTWIRE_RELAY__ANSWER_S" in said.out
    shown = cli("config", "show", "--json", "--origin", **secret)
    assert shown.object["relay.answer_s"] == {"origin": "environment GUESTWIRE_RELAY__ANSWER_S", "value": 0.4}
    assert "hunter2" not in said.out + said.err + shown.out
    assert cli("config", "show", "--json").object["destinations.web.url"] == genesys.url


def test_init_writes_looks_and_says_what_to_type(cli: Cli, genesys: Any) -> None:
    """What it prints works; a destination that exists is refused and the file stays as it was."""
    said = cli("init", "--gateway", genesys.url)
    assert said.code == 0
    assert "the deployment answers" in said.err
    assert said.out == 'guestwire send --to web --guest 42 "hello"\n'
    assert cli("send", "--to", "web", "--guest", "42", "hello").code == 0
    before = (cli.folder / "guestwire.toml").read_bytes()
    again = cli("init", "--gateway", genesys.url)
    assert (again.code, again.complaint[0][-9:]) == (4, "[GW-C017]")
    assert (cli.folder / "guestwire.toml").read_bytes() == before


def test_init_warns_about_what_it_could_not_look_at(cli: Cli, genesys: Any) -> None:
    """The settings are written all the same; the warning has no insides of a library in it."""
    uuid = "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50"
    away = cli("init", "--gateway", "http://127.0.0.1:1", "--deployment-id", uuid, "--name", "away")
    assert away.code == 0
    assert "warning: 127.0.0.1 could not be reached" in away.err
    assert "object at" not in away.err
    wrong = cli("init", "--gateway", genesys.url, "--deployment-id", uuid, "--name", "wrong")
    assert "warning: no deployment has this id there (HTTP 404)" in wrong.err
    assert "[destinations.away]" in (cli.folder / "guestwire.toml").read_text()


def test_init_asks_on_a_terminal(cli: Cli) -> None:
    """For way out, region and deployment id, and no more; nothing is written without an answer."""
    away = {"HTTPS_PROXY": "http://127.0.0.1:1"}
    shown = on_terminal(cli, ["init"], b"\neu-west-1\n3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50\n", **away)
    assert "Region of your org" in shown
    assert "Deployment id" in shown
    assert 'region = "eu-west-1"' in (cli.folder / "guestwire.toml").read_text()
    assert "GW-U002" in on_terminal(cli, ["init", "--file", "other.toml"], b"\n\n")
    assert not (cli.folder / "other.toml").exists()


def test_emulate_says_where_it_is_and_ends_on_ctrl_c(cli: Cli) -> None:
    """One object, with what a client needs; ended by Ctrl-C or SIGTERM with 0."""
    cli.write("bot.toml", '[[rule]]\nany = true\nreply = "pong \\u001b[31m"\n')
    uuid = "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50"
    for number in (signal.SIGINT, signal.SIGTERM):
        process = cli.start(
            "emulate", "--port", "0", "--json", "--seed", "3", "--script", "bot.toml", "--deployment-id", uuid,
            "--set", "echo_delay_ms=0", "--limits", "off",
        )  # fmt: skip
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        assert found["deployment_id"] == uuid
        said = cli("send", "--gateway", found["url"], "--guest", "1", "ping", "--wait", "reply", "--store", number.name)
        assert "pong \\x1b[31m" in said.out
        assert ended(process, number).code == 0


# --- helpers ---


@contextlib.contextmanager
def receiver(taken: threading.Event) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A program that takes replies, with an address and what came there; signatures have tests of their own."""
    came: list[dict[str, Any]] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            taken.set()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's own name
            """Stderr is for the tests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Taker) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/hook", came
        finally:
            server.shutdown()
            thread.join()


def _is_watching(pid: int) -> bool:
    """Whether a process has the store's WAL index open, with its reader and writer threads at work."""
    try:
        names = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]  # noqa: PTH208, PTH115
    except OSError:
        return False
    return sum(name.endswith("store.db-wal") for name in names) >= 2


def _until(condition: Any) -> None:
    """Wait for what another process is about to do."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)
