"""`guestwire up` as a service: health, signals, notifications, logs, as a real process."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from guestwire.cli import logs
from guestwire.cli.operating import Address, address_of, answering
from guestwire.client import GuestWire
from guestwire.errors import ConfigError
from tests.journey.test_cli_kit import PATIENCE_S, Cli, ended, line_with, texts, tokens_in

#: What must not appear in any log: a guest's words, and the caller's key for him.
CANARY, KEY = "canary 4012 8888 8888 1881", "ann.canary@example.org"


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Commands with a home of their own, and the emulator's address in their settings."""
    return Cli(tmp_path)


def configured(cli: Cli, genesys: Any, *lines: str) -> None:
    """Write the settings: the emulator, and more lines below it."""
    where = f'[destinations.emulator]\nurl = "{genesys.url}"\ndeployment_id = "{genesys.deployment_id}"\n'
    cli.write("guestwire.toml", where + "\n".join(lines) + "\n")


def ask(url: str) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of an answer."""
    with contextlib.ExitStack() as stack:
        try:
            answer = stack.enter_context(urllib.request.urlopen(url, timeout=PATIENCE_S))  # noqa: S310 - ours
        except urllib.error.HTTPError as error:
            answer = stack.enter_context(error)
        return answer.status, dict(answer.headers), json.load(answer)


def asked_until(url: str, status: int) -> Any:
    """The body of the first answer of this status."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found, _, body = ask(url)
        if found == status:
            return body
    raise AssertionError(f"{url} never answered {status}")


def health_of(process: Any) -> str:
    """Where a process that has just been started answers."""
    return str(line_with(process.stderr, "answering").split()[1].removesuffix("/healthz"))


@contextlib.contextmanager
def service_manager(folder: Path) -> Iterator[tuple[dict[str, str], socket.socket]]:
    """The environment of a service, and the socket on which its manager listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        path = str(folder / "notify")
        receiver.bind(path)
        receiver.settimeout(PATIENCE_S)
        yield {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "20000000"}, receiver


def told(receiver: socket.socket, wanted: str) -> list[str]:
    """Notifications up to the wanted one."""
    found: list[str] = []
    deadline = time.monotonic() + PATIENCE_S
    while not found or wanted not in found[-1]:
        assert time.monotonic() < deadline, f"{wanted} is missing after {found}"
        found.append(receiver.recv(4096).decode())
    return found


def details(cli: Cli, event: str) -> list[Any]:
    """What the journal holds of an event."""
    (path,) = cli.folder.rglob("store.db")
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        rows = connection.execute("SELECT detail FROM journal WHERE event = ? ORDER BY seq", (event,)).fetchall()
    finally:
        connection.close()
    return [json.loads(str(detail)) for (detail,) in rows]


def until(condition: Callable[[], object]) -> None:
    """Wait until something holds that nobody announces."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline


def test_a_relay_that_works_is_alive_and_ready(cli: Cli, genesys: Any) -> None:
    """Two addresses, JSON that nobody keeps; not ready, with the reason, when nobody gets in; alive all the same."""
    process = cli.start("up", "--gateway", genesys.url, "--http", "localhost:0")
    url = health_of(process)
    assert url.startswith("http://127.0.0.1:")
    asked_until(url + "/readyz", 200)
    status, headers, body = ask(url + "/healthz")
    assert (status, headers["Cache-Control"], body["status"]) == (200, "no-store", "ok")
    assert ask(url + "/metric")[0] == 404
    genesys.inject("refuse_upgrade", status=403, times=100)
    assert cli("send", "--gateway", genesys.url, "--guest", KEY, CANARY, "--wait", "none").code == 0
    body = asked_until(url + "/readyz", 503)
    (obstacle,) = body["obstacles"]
    assert (obstacle["what"], obstacle["code"]) == ("destination", "GW-A001")
    assert ask(url + "/healthz")[0] == 200
    (vitals,) = cli.folder.rglob("relay.json")
    until(lambda: "GW-A001" in vitals.read_text())
    seen = cli("status").out
    assert "trouble   127.0.0.1 refuses the connection (HTTP 403) [GW-A001]" in seen
    picture = cli("status", "--json").object
    assert [each["trouble"]["code"] for each in picture["vitals"]["destinations"].values()] == ["GW-A001"]
    for secret in (CANARY, KEY):
        assert secret not in json.dumps([body, picture]) + seen
    assert ended(process, signal.SIGTERM).code == 0
    assert not vitals.exists()


def test_a_port_that_is_taken_ends_it_before_anything_begins(cli: Cli, genesys: Any) -> None:
    """Exit code 4, with the flag to change; no store was made."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = cli("up", "--gateway", genesys.url, "--http", f":{taken.getsockname()[1]}")
    assert said.code == 4
    assert "it is taken [GW-C051]" in said.complaint[0]
    assert "another --http" in said.complaint[1]
    assert not list(cli.folder.rglob("store.db"))


async def test_an_address_of_the_network_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before it is opened; one that this machine does not have is refused with the reason."""
    wire = GuestWire([], store=tmp_path)
    with pytest.raises(ConfigError, match=r"port 9464 of 192\.0\.2\.1 cannot be had") as caught:
        async with answering(wire, Address("192.0.2.1", 9464)):
            pass
    assert caught.value.code == "GW-C051"
    assert capsys.readouterr().err.startswith("warning: health is told to whoever reaches 192.0.2.1")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9464", Address("127.0.0.1", 9464)),
        (":9464", Address("127.0.0.1", 9464)),
        ("localhost:0", Address("127.0.0.1", 0)),
        ("[::1]:9464", Address("::1", 9464)),
        ("0.0.0.0:80", Address("0.0.0.0", 80)),  # noqa: S104 - read, not bound
    ],
)
def test_an_address_is_read_as_it_is_meant(text: str, address: Address) -> None:
    """Without one it is this machine; the whole network only by its own address."""
    assert address_of(text) == address


@pytest.mark.parametrize(
    "text", ["", "9464", "web:9464", "example.org:9464", "127.0.0.1:", "127.0.0.1:99999", "*:1", "[::1:9", "1:٣", ":-1"]
)
def test_an_address_that_could_lead_anywhere_is_refused(text: str) -> None:
    """As a mistake of usage."""
    with pytest.raises(ConfigError) as caught:
        address_of(text)
    assert caught.value.code == "GW-U001"


def test_settings_are_read_anew_without_letting_go_of_a_session(cli: Cli, genesys: Any, tmp_path: Path) -> None:
    """
    SIGHUP: a limit holds at once; what needs a restart is named; a bad file is refused with line and reason.

    The service manager hears of each step, and the same socket carries all messages.
    """
    configured(cli, genesys, "[destinations.emulator.limits]", "messages_per_s = 1")
    send = ("send", "--to", "emulator", "--guest", "1")
    with service_manager(tmp_path) as (environment, receiver):
        process = cli.start("up", "--to", "emulator", **environment)
        assert "WATCHDOG=1" in told(receiver, "READY=1")
        assert cli(*send, "before").code == 0
        configured(
            cli, genesys, 'origin = "https://shop.example"', "[destinations.emulator.limits]", "messages_per_s = 50"
        )
        process.send_signal(signal.SIGHUP)
        assert "destinations.emulator.limits.messages_per_s" in line_with(process.stderr, "from now on")
        assert "destinations.emulator.origin" in line_with(process.stderr, "only after a restart")
        reloading = told(receiver, "RELOADING=1")[-1]
        assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert told(receiver, "READY=1")[-1] == "READY=1"
        configured(cli, genesys, "[destinations.emulator.limits]", 'messages_per_s = "many"')
        process.send_signal(signal.SIGHUP)
        refused = line_with(process.stderr, "the new settings are refused")
        assert "guestwire.toml line 5" in refused
        assert "[GW-C006]" in refused
        told(receiver, "READY=1")
        configured(cli, genesys, "[destinations.emulator.limits]", "messages_per_s = 50")
        assert cli(*send, "after").code == 0
        assert ended(process, signal.SIGTERM).code == 0
        assert told(receiver, "STOPPING=1")[-1].startswith("STOPPING=1\nSTATUS=stopping")
    assert texts(genesys) == ["before", "after"]
    assert len([request for request in genesys.requests() if request["action"] == "configureSession"]) == 1
    (reloaded,) = details(cli, "config.reloaded")
    assert reloaded == {
        "changed": ["destinations.emulator.limits.messages_per_s"],
        "restart": ["destinations.emulator.origin"],
    }
    (no,) = details(cli, "config.refused")
    assert (no["code"], "line 5" in no["reason"]) == ("GW-C006", True)


def test_a_second_word_ends_it_at_once(cli: Cli, genesys: Any) -> None:
    """While it still waits for an answer: exit code 130; alive until then, and not ready."""
    genesys.inject("lose_echo", match={"text": "waits"})
    slow = {"GUESTWIRE_RELAY__ANSWER_S": "60", "GUESTWIRE_RELAY__SHUTDOWN_S": "60"}
    process = cli.start("up", "--gateway", genesys.url, "--http", ":0", **slow)
    url = health_of(process)
    assert cli("send", "--gateway", genesys.url, "--guest", "1", "waits", "--wait", "none").code == 0
    until(lambda: texts(genesys) == ["waits"])
    process.send_signal(signal.SIGTERM)
    assert asked_until(url + "/readyz", 503)["obstacles"][0]["code"] == "stopping"
    assert ask(url + "/healthz")[0] == 200
    said = ended(process, signal.SIGTERM)
    assert (said.code, "stopped at once" in said.err) == (130, True)
    assert [entry["attempt"] for entry in details(cli, "part.sending")] == [1]


@pytest.mark.genesys(history_lag_s=0.02, script="echo")
def test_no_canary_in_the_log_of_a_chaos_run(cli: Cli, genesys: Any) -> None:
    """
    At level debug, through throttles, lost answers, dropped connections, bad frames and a closed door: every line of
    stderr is an object, with the keys of the list, and none holds a text, a guest's key or a token.
    """
    for number, kind in enumerate(("throttle", "lose_echo", "drop_after_accept", "drop_before_accept"), 1):
        genesys.inject(kind, match={"nth": number}, times=1)
    genesys.inject("refuse_upgrade", status=503, times=2)
    rows = [f"{guest}-{KEY},{CANARY} {number}" for number in range(3) for guest in "ab"]
    cli.write("rows.csv", "\n".join(["guest,text", *rows, ""]))
    flags = ("--log-format", "json", "--log-level", "debug")
    process = cli.start(*flags, "up", "--gateway", genesys.url, "--http", ":0")
    url = json.loads(line_with(process.stderr, "answering"))["message"].split()[1].removesuffix("/healthz")
    batch = cli(*flags, "batch", "rows.csv", "--gateway", genesys.url, "--yes", "--pace", "off")
    assert batch.code == 0, batch.err
    text = cli("--log-level", "debug", "send", "--gateway", genesys.url, "--guest", KEY, CANARY, "--wait", "none")
    assert text.code == 0
    pages = json.dumps([ask(url + "/healthz"), ask(url + "/readyz")])
    (vitals,) = cli.folder.rglob("relay.json")
    everything = pages + vitals.read_text()
    said = ended(process, signal.SIGTERM)
    records = [json.loads(line) for line in (said.err + batch.err).splitlines()]
    assert len(records) > 20
    assert {"part.accepted", "part.sending", "session.configured"} <= {record.get("action") for record in records}
    allowed = {*logs.FIXED, *logs.KEYS.values(), *logs.OF_EXCEPTIONS}
    assert {key for record in records for key in record} <= allowed
    everything += said.err + batch.err + text.err
    for secret in (CANARY, CANARY.partition(" ")[2], KEY, KEY.partition("@")[0]):
        assert secret not in everything
    assert not tokens_in(everything, genesys)
