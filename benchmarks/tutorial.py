"""
P2: durable delivery against the tutorial's way, one message at a time over REST.

The tutorial's code creates an HTTP client for each analytics call; here it shares one for everything, as whoever
measures once would write it, and its retry decorator (tenacity) is left out: what remains is the work itself. A payload
model of pydantic's, size and patterns and media checked, a POST, an analytics POST, an audit line to a file. Nothing of
it is durable.

Ours are a hundred guests with one message in flight each, everything on, over web messaging to the emulator and over
the same REST contract to the same far side. Client CPU from the construction of a message to its acceptance.
"""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel

from benchmarks import far
from benchmarks.durable import contender
from benchmarks.measure import cpu_s, interleaved, machine, python, ratio, spread
from benchmarks.wire import TEXT

GOAL = 1 / 25
#: Messages of a round. The tutorial's way takes its time.
THEIRS, OURS_REST, OURS_WEB = 1_000, 3_000, 10_000
#: Messages before the measure begins: connections and first-time work.
WARM = 50

logger = logging.getLogger("tutorial")


def main() -> None:
    """Print our CPU a message beside the tutorial's."""
    print(f"the tutorial's way, and ours (P2), client CPU per message, {machine()}")
    with far.running() as url, far.emulating() as emulator:
        found = interleaved(
            {
                "tutorial": _tutorial(url),
                "web messaging": contender("webmessaging", emulator, OURS_WEB),
                "rest-contract": contender("rest-contract", url, OURS_REST),
            }
        )
    for name, values in found.items():
        print(f"  {name:<28} {spread(values, 'us')}")
    for name in ("web messaging", "rest-contract"):
        print(f"  {name + ' / tutorial':<28} {_share(found[name], found['tutorial'])}  goal 1/{1 / GOAL:.0f}")


def _share(ours: list[float], theirs: list[float]) -> str:
    """A ratio below one, also as a fraction of one."""
    times = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    return f"{ratio(ours, theirs)}, 1/{times[len(times) // 2]:.1f}"


def _tutorial(url: str) -> Callable[[], float]:
    def run() -> float:
        with tempfile.TemporaryDirectory() as folder:
            command = python("-m", "benchmarks.tutorial", url, str(THEIRS), folder)
            return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    return run


# --- what the tutorial's code does for a message, in our own words ---


class _Body(BaseModel):
    content_type: str
    content: str


class _File(BaseModel):
    content_type: str
    url: str
    file_name: str
    size_bytes: int


class _Payload(BaseModel):
    guest_id: str
    conversation_id: str
    body: _Body
    attachments: list[_File] = []
    read_receipt_trigger: bool = True


_BLOCKED = (r"<script[^>]*>.*?</script>", r"malware\.exe", r"blocked_keyword")
_MEDIA = frozenset({"image/png", "image/jpeg", "application/pdf", "text/plain"})
_MAX_TEXT, _MAX_FILE = 4096, 25 * 1024 * 1024


def _is_valid(payload: _Payload) -> bool:
    text = payload.body.content
    if len(text.encode()) > _MAX_TEXT:
        return False
    if any(re.search(pattern, text, re.IGNORECASE | re.DOTALL) for pattern in _BLOCKED):
        return False
    return all(file.content_type in _MEDIA and file.size_bytes <= _MAX_FILE for file in payload.attachments)


class _Transmitter:
    """Sends one message at a time, with one client for everything."""

    def __init__(self, url: str, client: httpx.Client) -> None:
        self._url = url
        self._client = client
        self._sent = 0
        self._latency_ms = 0.0

    def transmit(self, payload: _Payload) -> str:
        if not _is_valid(payload):
            raise ValueError("not valid")
        began = time.perf_counter()
        request: dict[str, Any] = {
            "from": {"id": payload.guest_id, "type": "user"},
            "to": {"id": payload.conversation_id, "type": "conversation"},
            "body": {"contentType": payload.body.content_type, "content": payload.body.content},
            "metadata": {"readReceipt": payload.read_receipt_trigger, "transmissionTimestamp": _now()},
        }
        headers = {"Authorization": "Bearer token", "Accept": "application/json"}
        answer = self._client.post(self._url + far.CONTRACT, json=request, headers=headers)
        answer.raise_for_status()
        message_id = str(answer.json()["id"])
        latency_ms = (time.perf_counter() - began) * 1000
        self._sent += 1
        self._latency_ms += latency_ms
        self._tell_analytics(payload, latency_ms)
        self._log(payload, latency_ms, message_id)
        return message_id

    def _tell_analytics(self, payload: _Payload, latency_ms: float) -> None:
        event = {
            "event_type": "message_transmission",
            "guest_id": payload.guest_id,
            "conversation_id": payload.conversation_id,
            "status": "success",
            "latency_ms": latency_ms,
            "timestamp": _now(),
            "error": None,
        }
        answer = self._client.post(self._url + "/analytics", json=event, headers={"X-Source": "transmitter"})
        if answer.status_code not in (200, 201, 202):
            logger.warning("analytics: %s", answer.status_code)

    def _log(self, payload: _Payload, latency_ms: float, message_id: str) -> None:
        record = {
            "action": "TRANSMIT_MESSAGE",
            "guest_session": payload.guest_id,
            "target_conversation": payload.conversation_id,
            "content_type": payload.body.content_type,
            "payload_size_bytes": len(payload.body.content.encode()),
            "latency_ms": latency_ms,
            "status": "success",
            "response_id": message_id,
            "error": None,
            "logged_at": _now(),
        }
        logger.info(f"TRANSMISSION_AUDIT: {record}")


def _now() -> str:
    return datetime.now(UTC).isoformat()


def client(url: str, messages: int, folder: Path) -> None:
    """Send, and print the CPU per message in microseconds."""
    logging.basicConfig(
        filename=folder / "audit.log", level=logging.INFO, format="%(asctime)s - %(name)s - %(levelname)s - %(message)s"
    )
    with httpx.Client(timeout=5.0) as shared:
        transmitter = _Transmitter(url, shared)

        def send(number: int) -> None:
            body = _Body(content_type="text/plain", content=TEXT)
            transmitter.transmit(_Payload(guest_id=f"guest-{number % 100}", conversation_id="conv-42", body=body))

        for number in range(WARM):
            send(number)
        began = cpu_s()
        for number in range(messages):
            send(number)
        spent = cpu_s() - began
    print(spent / messages * 1e6)


if __name__ == "__main__":
    client(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
