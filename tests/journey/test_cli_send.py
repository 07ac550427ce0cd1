"""`guestwire send` as a process: texts, keys, waits and every exit code."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.journey.test_cli_kit import Cli, ended, line_with, on_terminal, texts, tokens_in


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Commands with a home of their own."""
    return Cli(tmp_path)


def test_a_text_comes_from_an_argument_a_pipe_or_a_file(cli: Cli, genesys: Any) -> None:
    """Three ways for one message; line breaks at the end are the editor's, those inside are the guest's."""
    file = cli.write("text.txt", "from a\nfile\n")
    to = ("--gateway", genesys.url, "--guest", "42")
    assert cli("send", *to, "from an argument").code == 0
    assert cli("send", *to, "-", stdin="from a pipe 👩‍👩‍👧\r\n").code == 0
    assert cli("send", *to, "--text-file", file).code == 0
    assert texts(genesys) == ["from an argument", "from a pipe 👩‍👩‍👧", "from a\nfile"]


def test_attributes_travel(cli: Cli, genesys: Any) -> None:
    """What --attr names an agent's side can read."""
    assert cli("send", "--gateway", genesys.url, "--guest", "1", "x", "--attr", "a=1=2", "--attr", "b=").code == 0
    (message,) = genesys.messages()
    assert message["custom_attributes"] == {"a": "1=2", "b": ""}


def test_the_same_key_is_the_same_message(cli: Cli, genesys: Any) -> None:
    """The second time nothing is stored or sent, and that is success; another content is refused."""
    to = ("send", "--gateway", genesys.url, "--guest", "42", "--key", "k1")
    first, second = cli(*to, "hello"), cli(*to, "hello", "--json")
    assert (first.code, second.code) == (0, 0)
    assert second.object["fresh"] is False
    assert second.object["message_id"] in first.out
    assert "known by its key" in cli(*to, "hello").out
    other = cli(*to, "something else")
    assert (other.code, other.complaint[0][-9:]) == (3, "[GW-R002]")
    assert texts(genesys) == ["hello"]


def test_json_is_one_object(cli: Cli, genesys: Any) -> None:
    """With what the gateway called the message, and without its text."""
    said = cli("send", "--gateway", genesys.url, "--guest", "42", "a secret text", "--json")
    (part,) = said.object["parts"]
    assert (part["state"], part["gateway_id"]) == ("accepted", genesys.messages()[0]["id"])
    assert "secret" not in said.out + said.err


@pytest.mark.genesys(script="echo")
def test_waiting_for_a_reply_prints_it(cli: Cli, genesys: Any) -> None:
    """Safe against what stands in it: an escape stays inside its line."""
    to = ("send", "--gateway", genesys.url, "--guest", "42", "--wait", "reply")
    said = cli(*to, "-", stdin="red \x1b[31m\u202e")
    assert said.code == 0
    assert "You said: red \\x1b[31m\\u202e" in said.out.splitlines()[1]
    reply = cli(*to, "hello", "--json").object["reply"]
    assert (reply["text"], reply["kind"]) == ("You said: hello", "text")


def test_no_reply_in_time_is_exit_code_6(cli: Cli, genesys: Any) -> None:
    """The message was accepted all the same, and the command says so."""
    said = cli("send", "--gateway", genesys.url, "--guest", "42", "--wait", "reply", "--timeout", "1", "hello")
    assert (said.code, said.complaint) == (6, ["accepted, and no reply yet"])


def test_nobody_waits(cli: Cli, genesys: Any) -> None:
    """--wait none ends once the message is on disk, and says when nobody relays; the next command sends it."""
    to = ("send", "--gateway", genesys.url, "--guest", "42")
    said = cli(*to, "first", "--wait", "none")
    assert (said.code, said.out.split()[1]) == (0, "queued")
    assert "nobody relays now" in said.err
    assert texts(genesys) == []
    assert cli(*to, "second").code == 0
    assert texts(genesys) == ["first", "second"]


def test_a_dry_run_stores_nothing(cli: Cli, genesys: Any, tmp_path: Path) -> None:
    """It says what would happen, finds what is wrong, and leaves no folder behind."""
    to = ("send", "--gateway", genesys.url, "--guest", "42", "--dry-run")
    assert cli(*to, "hello").code == 0
    said = cli(*to, "", "--json")
    assert said.code == 3
    assert said.object["findings"][0]["rule"] == "text.empty"
    assert said.object["forecast"]["duration_s"] > 0
    assert not (tmp_path / "state").exists()


def test_refused_by_the_gateway_is_exit_code_5(cli: Cli, genesys: Any) -> None:
    """The reason stands in the line, and the object of --json has it too."""
    genesys.inject("error_frame", code=4011, times=2)
    said = cli("send", "--gateway", genesys.url, "--guest", "1", "x")
    assert (said.code, said.out.split()[1]) == (5, "dead")
    assert "4011" in said.complaint[0]
    assert "guestwire messages show" in said.complaint[1]
    said = cli("send", "--gateway", genesys.url, "--guest", "2", "x", "--json")
    assert "4011" in said.object["parts"][0]["reason"]


def test_an_unreachable_gateway_leaves_the_message_queued(cli: Cli) -> None:
    """Exit code 6, with the place and the reason; and without a claim that it was accepted."""
    to = ("--gateway", "http://127.0.0.1:1", "--deployment-id", "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50")
    said = cli("send", *to, "--guest", "1", "x", "--timeout", "1", "--wait", "reply")
    assert (said.code, said.out.split()[1]) == (6, "queued")
    assert said.complaint[0].startswith("stored, not accepted yet")
    assert "127.0.0.1 cannot be reached" in said.complaint[1]
    assert cli("status", "--json").object["store"]["parts"] == {"queued": 1}


def test_a_refused_connection_is_exit_code_4(cli: Cli, genesys: Any) -> None:
    """It does not wait for the time-out, names what to check, and the message stays queued."""
    genesys.inject("refuse_upgrade", status=403)
    said = cli("send", "--gateway", genesys.url, "--guest", "1", "x")
    assert said.code == 4
    assert "stays queued" in said.complaint[0]
    assert "[GW-A001]" in said.complaint[1]
    assert "Messenger Deployments" in said.complaint[2]
    assert cli("status", "--json").object["store"]["parts"] == {"queued": 1}


@pytest.mark.genesys(history_lag_s=0.02)
def test_an_unknown_outcome_is_exit_code_8(cli: Cli, genesys: Any) -> None:
    """No answer in time: neither accepted nor queued. The next command looks it up and sends nothing twice."""
    genesys.inject("lose_echo")
    to = ("send", "--gateway", genesys.url, "--guest", "1")
    said = cli(*to, "x", "--timeout", "0.2")
    assert said.code == 8
    assert said.out.split()[1] in ("sending", "checking")
    assert "stays queued" not in said.err
    assert cli(*to, "y").code == 0
    assert texts(genesys) == ["x", "y"]


@pytest.mark.genesys(history_lag_s=0.02)
def test_at_most_once_parks_what_no_history_settles(cli: Cli, genesys: Any) -> None:
    """A person decides; exit code 8 and the reason."""
    cli.write(
        "guestwire.toml",
        f'[destinations.web]\nurl = "{genesys.url}"\ndeployment_id = "{genesys.deployment_id}"\n'
        'delivery = "at_most_once"\n',
    )
    genesys.inject("drop_before_accept")
    said = cli("send", "--guest", "1", "x")
    assert (said.code, said.out.split()[1]) == (8, "parked"), said.err
    assert "guestwire messages show" in said.err
    assert texts(genesys) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_once_finishes_what_is_in_flight(number: signal.Signals, cli: Cli, genesys: Any) -> None:
    """Exit code 130; the message was stored and says so, and the answer that was on its way is taken."""
    genesys.inject("delay_echo", delay_ms=1000)
    process = cli.start(
        "send",
        "--gateway",
        genesys.url,
        "--guest",
        "1",
        "x",
        GUESTWIRE_RELAY__SHUTDOWN_S="8",
        GUESTWIRE_RELAY__ANSWER_S="8",
    )
    assert process.stderr is not None
    _until(lambda: texts(genesys) == ["x"])
    said = ended(process, number)
    assert said.code == 130
    assert "what is in flight gets its answer" in said.err
    assert "stored as" in said.err
    assert cli("status", "--json").object["store"]["parts"] == {"accepted": 1}


@pytest.mark.genesys(history_lag_s=0.02)
def test_interrupted_twice_stops_at_once(cli: Cli, genesys: Any) -> None:
    """Nobody is waited for; what is on disk stays there and the next command settles it."""
    genesys.inject("lose_echo")
    process = cli.start(
        "send", "--gateway", genesys.url, "--guest", "1", "x",
        GUESTWIRE_RELAY__SHUTDOWN_S="50", GUESTWIRE_RELAY__ANSWER_S="50",
    )  # fmt: skip
    _until(lambda: texts(genesys) == ["x"])
    process.send_signal(signal.SIGINT)
    line_with(process.stderr, "Ctrl-C again")
    said = ended(process, signal.SIGINT)
    assert said.code == 130
    assert "stopped at once" in said.err
    assert cli("send", "--gateway", genesys.url, "--guest", "1", "y").code == 0
    assert texts(genesys) == ["x", "y"]


@pytest.mark.genesys(history_lag_s=0.02)
def test_no_text_and_no_token_in_the_log(cli: Cli, genesys: Any) -> None:
    """Also with -v, through a throttle and a dropped connection."""
    genesys.inject("throttle", retry_after_s=1)
    genesys.inject("drop_after_accept", match={"nth": 2})
    said = cli("-v", "send", "--gateway", genesys.url, "--guest", "Ann Example", "my card number")
    assert said.code == 0
    for secret in ("my card number", "Ann Example"):
        assert secret not in said.out + said.err
    assert not tokens_in(said.out + said.err, genesys)


def test_a_terminal_without_our_letters_is_no_reason_to_fail(cli: Cli, genesys: Any) -> None:
    """What cannot be shown is shown as a number."""
    to = ("send", "--gateway", genesys.url, "--guest", "1")
    assert cli(*to, "-", stdin="שלום\nשלום", PYTHONIOENCODING="ascii").code == 0
    said = cli("messages", "list", "--text", PYTHONIOENCODING="ascii")
    assert said.code == 0
    assert "\\u05e9" in said.out


def test_send_imports_what_it_needs(cli: Cli, genesys: Any) -> None:
    """Neither pydantic nor rich: a command that sends one message has no use for them."""
    import subprocess
    import sys

    code = (
        "import json, sys\nfrom guestwire.cli import run\n"
        f"code = run(['send', '--gateway', {genesys.url!r}, '--guest', '1', 'x'])\n"
        "print(json.dumps([code, [name for name in ('pydantic', 'rich') if name in sys.modules]]))"
    )
    environment = {**os.environ, **cli.environment}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []]


# --- files and answers ---


def test_a_file_travels_with_its_text_or_alone(cli: Cli, genesys: Any) -> None:
    """Its name and type go with it; the same key and the same file are the same message."""
    file = cli.write("invoice.txt", b"your own invoice")
    to = ("send", "--gateway", genesys.url, "--guest", "42", "--file", file)
    assert cli(*to, "my invoice", "--key", "k").code == 0
    assert cli(*to).code == 0
    assert cli(*to, "my invoice", "--key", "k", "--json").object["fresh"] is False
    assert [message["text"] for message in genesys.messages()] == ["my invoice", None]
    for message in genesys.messages():
        (attachment,) = message["attachments"]
        assert (attachment["filename"], attachment["fileSize"]) == ("invoice.txt", 16)
    file.write_bytes(b"another")
    assert cli(*to, "my invoice", "--key", "k").complaint[0].endswith("[GW-R002]")


def test_what_is_wrong_with_a_file_is_a_finding(cli: Cli) -> None:
    """Exit code 3, with the reason and what to do; beside what is wrong with the rest; nothing is stored."""
    to = ("send", "--gateway", "http://127.0.0.1:1", "--deployment-id", "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50")
    cli.write("empty.pdf", b"")
    cli.write("noext", b"x")
    cli.write("bad.exe", b"x")
    with cli.write("large.pdf", b"x").open("r+b") as large:
        large.truncate(3_000_000_000)  # not read into memory
    os.mkfifo(cli.folder / "pipe.pdf")  # not waited for
    for name, words in (
        ("empty.pdf", "is empty"),
        ("noext", "has no extension"),
        ("bad.exe", "no .exe files"),
        ("large.pdf", "3000000 kB are more than the gateway takes (10240)"),
        ("missing.pdf", "No such file"),
        (".", "it is a folder"),
        ("pipe.pdf", "not a regular file"),
        ("x" * 300 + ".pdf", "File name too long"),
    ):
        said = cli(*to, "--guest", "1", "--file", name, "--dry-run")
        assert (said.code, said.out) == (3, "")
        assert words in said.complaint[0]
        assert said.complaint[0].endswith("[GW-R001]")
    said = cli(*to, "--guest", " ", "--file", "empty.pdf")
    assert said.code == 3
    assert "the file is empty (file.empty)" in said.err
    assert "the guest is empty" in said.err
    assert cli(*to, "--guest", "1", "--file", "-").complaint[0].endswith("[GW-U001]")
    assert not (cli.folder / "state").exists()


@pytest.mark.genesys(script="showcase")
def test_a_reply_that_offers_something_is_answered_by_number_or_label(cli: Cli, genesys: Any) -> None:
    """Quick replies, several items of a list, the fields of a form; each answers the reply that was shown."""
    to = ("send", "--gateway", genesys.url, "--guest", "42")
    said = cli(*to, "choices", "--wait", "reply")
    assert said.out.splitlines()[1:] == ["Showcase: Which one?", "   1  Yes", "   2  No", "   3  Perhaps"]
    assert cli(*to, "--answer", "2", "--wait", "reply").code == 0
    wrong = cli(*to, "--answer", "9")
    assert (wrong.code, "   3  Perhaps" in wrong.err) == (3, True)
    options = cli(*to, "list", "--wait", "reply", "--json").object["reply"]["options"]
    assert [(option["number"], option["label"]) for option in options[:2]] == [(1, "Olives"), (2, "Peppers")]
    assert cli(*to, "--answer", "Olives", "--answer", "2", "--wait", "reply").code == 0
    assert "Name = … (required)" in cli(*to, "form", "--wait", "reply").out
    assert cli(*to, "--answer", "1").complaint[0].endswith("[GW-U001]")
    assert "the field 'Name' is required" in cli(*to, "--answer", "people=2").err
    assert cli(*to, "--answer", "Name=Ann=Bob", "--answer", "2=1").code == 0
    answers = [message for message in genesys.messages() if message["type"] == "Structured" and message["text"]]
    mine = [message for message in answers if message["direction"] == "Inbound"]
    assert [message["text"] for message in mine] == ["No", "Chosen", "Done"]
    listed = [content["buttonResponse"]["payload"] for content in mine[1]["content"]]
    assert listed == ["topping:olives", "topping:peppers"]
    filled = [each["component"]["buttonResponse"]["payload"] for each in mine[2]["content"][0]["form"]["response"]]
    assert filled == ["Ann=Bob", "1"]


def test_an_answer_needs_an_offer(cli: Cli, genesys: Any) -> None:
    """A guest to whom nothing was offered; a store that is not there; a quick reply that the caller knows himself."""
    to = ("send", "--gateway", genesys.url, "--guest", "42")
    assert cli(*to, "--answer", "1").complaint[0].endswith("[GW-N004]")
    assert cli(*to, "--quick-reply", "Yes=confirm").code == 0
    assert "offers anything to choose" in cli(*to, "--answer", "1").complaint[0]
    assert cli(*to, "--answer", "1", "--quick-reply", "Yes").complaint[0].endswith("[GW-U001]")
    assert cli(*to, "--quick-reply", "Yes", "and a text").code == 3
    (message,) = genesys.messages()
    assert message["content"][0]["buttonResponse"] == {"type": "QuickReply", "text": "Yes", "payload": "confirm"}


def test_a_file_on_its_way_is_shown_on_a_terminal(cli: Cli, genesys: Any) -> None:
    """How much of it is gone, in one line that moves; a pipe gets no such line."""
    cli.write("large.txt", b"x" * 4_000_000)
    to = ["send", "--gateway", genesys.url, "--guest", "42", "--file", "large.txt"]
    shown = on_terminal(cli, to)
    assert "file: 4.0 MB on their way" in shown
    assert "% of 4.0 MB" in shown
    assert "file: the platform has it" in shown
    assert "accepted" in shown
    assert "file:" not in cli(*to).err


def _until(condition: Any) -> None:
    """Wait for what another process is about to do; the emulator offers no signal for it."""
    import threading
    import time

    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)
