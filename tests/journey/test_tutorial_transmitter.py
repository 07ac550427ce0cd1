"""The tutorial's script over guestwire: as a program and as a module, against the emulator and a real receiver."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from guestwire import Destination, Limits, Rejected
from guestwire.blocking import GuestWire
from guestwire.emulator.thread import EmulatorThread
from guestwire.settings import LIMITS_OF, Secret, StoreSettings
from tests.journey.far_server import FarServer, Request, answer

SCRIPT = Path(__file__).parents[2] / "examples" / "tutorial_transmitter.py"
TEXT = "Transmitting validated message with session reference."
#: The tutorial's analytics event: these fields, and no others.
EVENT = {"event_type", "guest_id", "conversation_id", "status", "latency_ms", "timestamp", "error"}
MESSAGES = {"path": "/api/v2/conversations/messaging/messages"}


def taken(_: Request) -> bytes:
    """Answer as an analytics receiver that has stored the event."""
    return answer(202, b"")


def run(
    genesys: EmulatorThread, folder: Path, webhook: str = "http://127.0.0.1:9/", *, dotenv: str = "", **environ: str
) -> str:
    """Run the script to its end, in a folder of its own and with the tutorial's names alone; returns its words."""
    (folder / ".env").write_text(dotenv)
    names = {
        "GENESYS_ENVIRONMENT": genesys.url,
        "GENESYS_CLIENT_ID": genesys.client_id,
        "GENESYS_CLIENT_SECRET": genesys.client_secret,
        "ANALYTICS_WEBHOOK_URL": webhook,
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "GUESTWIRE_STORE__MIN_FREE_DISK_MB": "1",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT)],
        cwd=folder, env=names | environ, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def events(receiver: FarServer) -> list[dict[str, Any]]:
    """What the receiver was told."""
    return [json.loads(request.body) for request in receiver.posts()]


def test_it_is_no_longer_than_promised() -> None:
    """The page says 80 lines."""
    assert len(SCRIPT.read_text().splitlines()) <= 80


def test_a_message_is_transmitted_and_told(genesys: EmulatorThread, tmp_path: Path) -> None:
    """With the tutorial's environment it arrives as written, and the receiver hears of it in the tutorial's words."""
    with FarServer(taken) as receiver:
        said = run(genesys, tmp_path, receiver.url + "/webhook")
    (seen,) = genesys.messages()
    assert (seen["text"], seen["conversation_id"], seen["guest_id"]) == (
        TEXT,
        "conv-web-msg-1234",
        "guest-session-9f8e7d",
    )
    assert seen["metadata"]["readReceipt"] is True
    assert "'status': 'transmitted', 'latency_ms': " in said
    assert f"'message_id': '{seen['id']}'" in said
    assert "rate: 100.00%" in said
    (request,), (event,) = receiver.requests, events(receiver)
    assert (request.target, request.headers["x-source"]) == ("/webhook", "genesys-transmitter")
    assert event.keys() == EVENT
    assert (event["event_type"], event["status"], event["error"]) == ("message_transmission", "success", None)
    assert event["latency_ms"] > 0


def test_everything_may_stand_in_dotenv(genesys: EmulatorThread, tmp_path: Path) -> None:
    """All four names are read from `.env` where the environment has none."""
    with FarServer(taken) as receiver:
        names = {
            "GENESYS_ENVIRONMENT": genesys.url,
            "GENESYS_CLIENT_ID": genesys.client_id,
            "GENESYS_CLIENT_SECRET": genesys.client_secret,
            "ANALYTICS_WEBHOOK_URL": receiver.url,
        }
        dotenv = "".join(f"{name}={value}\n" for name, value in names.items())
        said = run(genesys, tmp_path, dotenv=dotenv, **dict.fromkeys(names, ""))
    assert "transmitted" in said
    assert [event["status"] for event in events(receiver)] == ["success"]


# --- the tutorial's four errors ---


@pytest.mark.genesys(contract_content_types=("text/html",))
def test_400_says_what_to_compare(genesys: EmulatorThread, tmp_path: Path) -> None:
    """A payload that the gateway refuses is dead after one attempt: its reason and the remedy are printed."""
    with FarServer(taken) as receiver:
        said = run(genesys, tmp_path, receiver.url)
    assert "400 bad.request: body.contentType must be one of text/html.\n  compare the payload" in said
    assert "'status': 'dead'" in said
    assert "rate: 0.00%" in said
    (event,) = events(receiver)
    assert (event["status"], event["error"]) == (
        "failed",
        "400 bad.request: body.contentType must be one of text/html.",
    )
    assert len(genesys.requests()) == 2  # a token, and one attempt


def test_401_says_where_the_secret_stands(genesys: EmulatorThread, tmp_path: Path) -> None:
    """Wrong credentials: where they came from and where to compare them; with the right ones the message goes out."""
    said = run(genesys, tmp_path, GENESYS_CLIENT_SECRET="wrong")
    assert "environment GENESYS_CLIENT_SECRET" in said
    assert "[GW-A010]\n  compare client id and secret with Admin > Integrations > OAuth" in said
    assert genesys.messages() == []
    run(genesys, tmp_path)
    assert [seen["text"] for seen in genesys.messages()] == [TEXT, TEXT]  # that of the first run, and the second's own


@pytest.mark.genesys(missing_permissions=("messaging:conversation:write",))
def test_403_names_the_permission(genesys: EmulatorThread, tmp_path: Path) -> None:
    """A client without the right: which one, and where to give it."""
    said = run(genesys, tmp_path)
    assert "[GW-A014]\n  give a role with messaging:conversation:write to the OAuth client" in said


def test_429_is_waited_for(genesys: EmulatorThread, tmp_path: Path) -> None:
    """A full window costs patience and no failure: guestwire sends again, and the remedy is printed."""
    genesys.inject("http_status", status=429, retry_after_s=1, match=MESSAGES)
    said = run(genesys, tmp_path)
    assert "429 too.many.requests: Injected by a fault.\n  guestwire waits as it is told and sends again" in said
    assert "'status': 'transmitted'" in said
    assert "rate: 100.00%" in said
    assert len(genesys.messages()) == 1


@pytest.mark.genesys(max_request_bytes=200)
def test_413_says_what_to_make_smaller(genesys: EmulatorThread, tmp_path: Path) -> None:
    """What is larger than the gateway takes is dead, with the remedy."""
    said = run(genesys, tmp_path)
    assert "413 request.entity.too.large" in said
    assert "\n  split the text into several messages, or make the file smaller" in said
    assert "'status': 'dead'" in said


# --- what the tutorial has otherwise ---


def test_a_message_that_was_retried_is_delivered_once(genesys: EmulatorThread, tmp_path: Path) -> None:
    """Two refusals and then success are one message that was accepted: 100 %, where the tutorial counts 33 %."""
    genesys.inject("http_status", status=503, retry_after_s=1, times=2, match=MESSAGES)
    said = run(genesys, tmp_path, GUESTWIRE_DESTINATIONS__GATE__RETRY__BASE_S="0.01")
    assert "rate: 100.00%" in said
    assert len(genesys.messages()) == 1
    answers = [asked["answered"] for asked in genesys.requests() if asked["action"] == "POST contract/message"]
    assert answers == [503, 503, 200]


def test_a_receiver_that_is_down_fails_no_message(genesys: EmulatorThread, tmp_path: Path) -> None:
    """Analytics are told, or not: the message is accepted all the same."""
    with FarServer(lambda _: answer(500)) as receiver:
        refused = run(genesys, tmp_path, receiver.url)
    gone = run(genesys, tmp_path, receiver.url)
    for said in (refused, gone):
        assert "warning: the analytics receiver was not told" in said
        assert "rate: 100.00%" in said
    assert len(genesys.messages()) == 2


@pytest.mark.parametrize("domain", ["mypurecloud.com", "https://api.mypurecloud.ie"])
def test_genesys_cloud_has_no_such_route(genesys: EmulatorThread, tmp_path: Path, domain: str) -> None:
    """With a domain of Genesys Cloud nothing is sent: it says what to use in place of the contract."""
    said = run(genesys, tmp_path, GENESYS_ENVIRONMENT=domain)
    assert '[GW-C020]\n  use transport = "openmessaging" (or "webmessaging")' in said


# --- as a module ---


@pytest.fixture
def tutorial() -> Any:
    """The script, imported."""
    spec = importlib.util.spec_from_file_location("tutorial_transmitter", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def gate(genesys: EmulatorThread, folder: Path, **changes: Any) -> GuestWire:
    """A wire to the emulator's side of the contract."""
    to = Destination(
        name="gate",
        transport="rest-contract",
        url=genesys.url,
        client_id=genesys.client_id,
        client_secret=Secret(genesys.client_secret),
        **changes,
    )
    return GuestWire([to], store=folder, store_settings=StoreSettings(path=folder, min_free_disk_mb=1))


def payload(tutorial: Any, text: str = "hello", *attachments: tuple[str, str, str, int]) -> Any:
    """One of the tutorial's payloads, by the tutorial's names."""
    return tutorial.TransmissionPayload(
        guest_id="guest-abc-123",
        conversation_id="conv-def-456",
        body=tutorial.MessageBody(content_type="text/plain", content=text),
        attachments=[
            tutorial.AttachmentMetadata(content_type=kind, url=url, file_name=name, size_bytes=size)
            for kind, url, name, size in attachments
        ],
        read_receipt_trigger=False,
    )


def test_payloads_go_out_in_order_with_their_files(tutorial: Any, genesys: EmulatorThread, tmp_path: Path) -> None:
    """A queue of payloads, one with a file: all seen in order, and the rate is that of messages."""
    with FarServer(taken) as far, gate(genesys, tmp_path, allow_links=("127.0.0.1",)) as wire:
        transmitter = tutorial.MessageTransmitter(wire, analytics_webhook_url=far.url)
        assert transmitter.get_delivery_rate() == 0.0
        results = [transmitter.transmit_message(payload(tutorial, text)) for text in ("one", "two")]
        file = ("image/png", far.url + "/parcel.png", "parcel.png", 2_000)
        results.append(transmitter.transmit_message(payload(tutorial, "three", file)))
        assert transmitter.get_delivery_rate() == 100.0
    assert all(result.keys() == {"status", "latency_ms", "message_id"} for result in results)
    seen = genesys.messages()
    assert [message["text"] for message in seen] == ["one", "two", "three"]
    assert [result["message_id"] for result in results] == [message["id"] for message in seen]
    assert [file["filename"] for file in seen[-1]["attachments"]] == ["parcel.png"]
    assert seen[0]["metadata"]["readReceipt"] is False


@pytest.mark.parametrize(
    ("text", "file", "rule"),
    [
        ("<script src=x>\nalert(1)</SCRIPT>", None, "content.blocked"),
        ("get Malware.exe here", None, "content.blocked"),
        ("x" * 51 * 4096, None, "text.too_many_parts"),
        ("", None, "text.empty"),
        ("look", ("application/zip", "https://files.example/a.zip", "a.zip", 9), "file.type"),
        ("look", ("image/png", "https://files.example/a.png", "a.png", 27_000_000), "file.too_large"),
        ("look", ("image/png", "http://10.0.0.7/a.png", "a.png", 9), "link.refused"),
    ],
)
def test_what_must_not_leave_does_not(
    tutorial: Any, genesys: EmulatorThread, tmp_path: Path, text: str, file: tuple[str, str, str, int] | None, rule: str
) -> None:
    """The tutorial's validation: refused with its rule and a remedy before anything is stored, sent or told."""
    with FarServer(taken) as receiver, gate(genesys, tmp_path, probe_links=False) as wire:
        transmitter = tutorial.MessageTransmitter(wire, receiver.url)
        with pytest.raises(Rejected) as refused:
            transmitter.transmit_message(payload(tutorial, text, *([file] if file else [])))
        assert transmitter.get_delivery_rate() == 0.0
        assert wire.status().store.parts == {}
    assert rule in [finding.rule for finding in refused.value.findings]
    assert refused.value.hint
    assert genesys.messages() == []
    assert receiver.requests == []


def test_a_long_text_becomes_several_transmissions(tutorial: Any, genesys: EmulatorThread, tmp_path: Path) -> None:
    """As the tutorial advises; the result is that of the last of them."""
    with FarServer(taken) as receiver, gate(genesys, tmp_path) as wire:
        transmitter = tutorial.MessageTransmitter(wire, receiver.url)
        assert transmitter.transmit_message(payload(tutorial, "ж" * 2049))["status"] == "transmitted"
    assert [len(message["text"]) for message in genesys.messages()] == [2048, 1]


def test_its_bounds_are_the_tutorials() -> None:
    """What guestwire's rules keep for the contract are the tutorial's own numbers."""
    limits: Limits = LIMITS_OF["rest-contract"]
    assert (limits.max_text, limits.text_unit) == (4096, "bytes")
    assert limits.max_file_kb == 25 * 1024 * 1024 // 1000
    assert set(limits.media_types) == {"image/png", "image/jpeg", "application/pdf", "text/plain"}
