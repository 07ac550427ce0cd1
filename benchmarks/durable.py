"""
P1: what one message costs from `Message(...)` to "accepted", everything on: rules, pacing, journal, SQLite FULL.

A hundred guests over web messaging with one message in flight each, beside two bare loops over a hundred connections
to the same server (that of `wire`, which answers with canned echoes): picows, and `websockets` on uvloop. The bare
loops store nothing, decide nothing and write the same bytes again and again.

A client process of its own: `python -m benchmarks.durable KIND URL MESSAGES FOLDER` prints microseconds of CPU a
message, all threads; what comes first (imports, tokens, connections, the guests' first messages) is not counted.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.far import INTEGRATION
from benchmarks.measure import cpu_s, interleaved, machine, python, ratio, spread
from benchmarks.wire import TEXT, bare, serving
from guestwire import Destination, GuestWire, Limits, Message
from guestwire.settings import Secret

#: Times the bare loops: P1.
GOALS = {"picows": 4.0, "websockets": 1.2}
GUESTS = 100
#: Messages of a round, of P1.
MESSAGES = 10_000
#: On their way at once, over REST.
IN_FLIGHT = 64
#: So high that every message is looked at and none is held back.
PACED = Limits(
    messages_per_s=1_000_000,
    requests_per_min=10_000_000,
    reserve_per_min=1,
    configures_per_min=100_000,
    max_in_flight=IN_FLIGHT,
)


def main() -> None:
    """Print what a message costs beside the bare loops."""
    print(f"durable delivery over web messaging (P1), {GUESTS} guests, client CPU per message, {machine()}")
    intake: list[float] = []
    with serving() as port:
        far = json.dumps({"url": f"http://127.0.0.1:{port}", "deployment_id": "00000000-0000-4000-8000-000000000001"})
        loops = {kind: bare(kind, port, GUESTS, MESSAGES // GUESTS) for kind in GOALS}
        found = interleaved({**loops, "durable": contender("webmessaging", far, MESSAGES, intake)})
    for name, values in found.items():
        print(f"  {name:<24} {spread(values, 'us')}")
    print(f"  {'intake of it':<24} {spread(intake[1:], 'us')}")
    for name, goal in GOALS.items():
        print(f"  {'durable / ' + name:<24} {ratio(found['durable'], found[name])}  goal {goal}x")


class Spent(msgspec.Struct, frozen=True):
    """Microseconds of CPU a message."""

    intake: float
    """Until it is on disk: construction, rules, commit, in slices of 1,000; the relay is at work beside it."""
    whole: float


def destination_of(kind: str, url: str) -> Destination:
    """Make the destination of a way out; `url` is JSON of the emulator's for web messaging."""
    if kind == "webmessaging":
        far = json.loads(url)
        return Destination(name="far", url=far["url"], deployment_id=far["deployment_id"], limits=PACED)
    return Destination(
        name="far",
        transport="openmessaging" if kind == "openmessaging" else "rest-contract",
        url=url,
        integration_id=INTEGRATION if kind == "openmessaging" else "",
        client_id="client",
        client_secret=Secret("secret"),
        limits=PACED,
    )


async def deliver(kind: str, url: str, messages: int, folder: Path) -> Spent:
    """Deliver so many messages of `GUESTS` guests, each guest's one after the other."""
    to = destination_of(kind, url)
    run = secrets.token_hex(4)  # other guests than those of the round before, whom the emulator knows
    conversation = "conv-42" if kind == "rest-contract" else None

    def said(number: int) -> Message:
        return Message(guest=f"{run}-{number % GUESTS}", text=TEXT, conversation=conversation)

    async with GuestWire([to], store=folder, relay="required") as wire:

        async def all_of(number: int) -> float:
            tickets = await wire.submit_many([said(one) for one in range(number)])
            stored = cpu_s()
            async for _ in wire.progress(tickets):
                pass
            return stored

        await all_of(2 * GUESTS)
        began = cpu_s()
        stored = await all_of(messages)
        ended = cpu_s()
        assert (await wire.status()).store.parts == {"accepted": 2 * GUESTS + messages}
    return Spent((stored - began) / messages * 1e6, (ended - began) / messages * 1e6)


def contender(kind: str, url: str, messages: int, seen: list[float] | None = None) -> Callable[[], float]:
    """Return what delivers in a process of its own, for `interleaved`; `seen` takes the share of the intake."""

    def run() -> float:
        with tempfile.TemporaryDirectory() as folder:
            command = python("-m", "benchmarks.durable", kind, url, str(messages), folder)
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        spent = msgspec.json.decode(output, type=Spent)
        if seen is not None:
            seen.append(spent.intake)
        return spent.whole

    return run


if __name__ == "__main__":
    import uvloop

    _, kind, url, messages, folder = sys.argv
    print(msgspec.json.encode(uvloop.run(deliver(kind, url, int(messages), Path(folder) / "store"))).decode())
