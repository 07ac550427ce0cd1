"""
`guestwire demo`: a day of a support desk, over the real wire protocol, against a local Genesys that loses answers.

What arrived is judged from the outside: the emulator's record of what agents see, held against the file and the
part ids that were given to the caller. The relay's own opinion takes no part in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from guestwire.cli import show
from guestwire.cli.batchfile import BadRow, BatchFile, Row
from guestwire.cli.killing import Relays
from guestwire.client import SETTLING, GuestWire
from guestwire.errors import ConfigError
from guestwire.model import JournalEntry, PartId, Ticket
from guestwire.settings import Destination, RelaySettings, ad_hoc

#: What goes wrong, how often. The places are drawn from the seed.
DRIZZLE: dict[str, int] = {
    "throttle": 6,
    "drop_before_accept": 4,
    "drop_after_accept": 4,
    "lose_echo": 3,
    "expire_session": 1,
}
#: Patience of the demo, in seconds: a lost echo is noticed soon, because thirty seconds are all there is.
ANSWER_S = 2.0
#: So long at most relays that are killed may take for it all, in seconds.
CHAOS_S = 90.0


#: What to type after the demo, and what it is good for.
NEXT = (
    ("guestwire demo --compare", "the same day, with the tutorial's retry rule"),
    ("guestwire demo --chaos", "the same day, and the relay is killed again and again"),
    ("guestwire emulate --script support", "a local Genesys with a bot that answers"),
    ("guestwire send --gateway URL -g 42 hi", "a message to it; URL as it printed"),
    ("guestwire init", "then the same against your own org"),
)


class Verdict(msgspec.Struct, frozen=True):
    """What agents see, held against what was handed in."""

    messages: int
    shown: int
    lost: int
    duplicates: int
    out_of_order: int
    changed: int
    """Shown with another text than was handed in."""

    @property
    def is_clean(self) -> bool:
        """Nothing lost, nothing doubled, everything in order and as it was."""
        return not (self.lost or self.duplicates or self.out_of_order or self.changed)


def judge(rows: Sequence[Row], names: Sequence[str], shown: Sequence[dict[str, Any]]) -> Verdict:
    """
    Compare what was handed in with what an agent sees.

    Args:
        rows: The messages, in the order in which they were handed in.
        names: For each row, the `tracingId` under which it was to travel.
        shown: The emulator's record, in visible order.
    """
    row_of = dict(zip(names, rows, strict=True))
    seen: Counter[str] = Counter()
    order: dict[str, list[int]] = {}
    changed = 0
    for message in shown:
        name = message["tracing_id"]
        if message["direction"] != "Inbound" or name not in row_of:
            continue
        seen[name] += 1
        row = row_of[name]
        changed += message["text"] != row.draft.text
        if seen[name] == 1:
            order.setdefault(row.draft.guest, []).append(row.number)
    displaced = sum(later < earlier for numbers in order.values() for earlier, later in itertools.pairwise(numbers))
    return Verdict(
        messages=len(rows),
        shown=len(seen),
        lost=len(rows) - len(seen),
        duplicates=sum(count - 1 for count in seen.values()),
        out_of_order=displaced,
        changed=changed,
    )


def drizzle(seed: int, messages: int) -> list[dict[str, Any]]:
    """Return the demo's faults: each at its own message, drawn from the seed."""
    draws = random.Random(seed)  # noqa: S311 - a script of mishaps, not a secret
    kinds = [kind for kind, count in DRIZZLE.items() for _ in range(count)]
    first = messages // 20 + 2
    places = draws.sample(range(first, max(messages * 4 // 5, first + len(kinds))), len(kinds))
    draws.shuffle(kinds)
    faults: list[dict[str, Any]] = []
    for kind, place in zip(kinds, places, strict=True):
        fault: dict[str, Any] = {"kind": kind, "match": {"action": "onMessage", "nth": place}}
        if kind == "throttle":
            fault["retry_after_s"] = 1
        faults.append(fault)
    return faults


class Story:
    """The conversation lines, as they happen, and the figures behind them."""

    def __init__(self, rows: Sequence[Row], as_json: bool, agents_view: Callable[[], Sequence[dict[str, Any]]]) -> None:
        self._rows = rows
        self._agents_view = agents_view
        self._print = show.say if as_json else show.out
        self._row_of: dict[PartId, Row] = {}
        self.latencies_ms: list[float] = []
        self.events: Counter[str] = Counter()
        self.settled: Counter[str] = Counter()
        self._began = time.monotonic()

    def know(self, tickets: Sequence[Ticket]) -> None:
        """Connect part ids with rows."""
        self._row_of = {ticket.part_ids[0]: row for ticket, row in zip(tickets, self._rows, strict=True)}

    def tell(self, entry: JournalEntry) -> None:
        """Print what happened, and count it."""
        self.events[entry.event] += 1
        row = self._row_of.get(entry.part_id) if entry.part_id else None
        if row is not None:
            if entry.event == "part.accepted":
                if entry.detail.get("latency_ms") is not None and entry.detail["was"] == "sending":
                    self.latencies_ms.append(entry.detail["latency_ms"])
                if entry.detail["source"] == "history":
                    self.settled["found in the history"] += 1
                elif entry.detail["was"] == "checking":
                    self.settled["late echo"] += 1
                self._line(row, "→", row.draft.text)
                if self.events["part.accepted"] == 1 and entry.part_id is not None:
                    self._show_other_side(entry.part_id)
            elif entry.event == "part.checking":
                self._line(row, "?", f"outcome unknown ({entry.detail['reason']}): looking it up")
            elif entry.event == "part.possible_duplicate":
                self.settled["absent, sent again"] += 1
                self._line(row, "↻", f"{entry.detail['reason']}: sent again")
            elif entry.event == "part.throttled":
                self._line(row, "…", f"throttled: {entry.detail['reason']}")
            elif entry.event == "part.requeued":
                self._line(row, "↻", f"surely not accepted ({entry.detail['reason']}): sent again")

    def _show_other_side(self, part_id: PartId) -> None:
        """Show the first message from the agent's desk as well: it is the emulator that speaks here, not the relay."""
        for message in self._agents_view():
            if message["tracing_id"] == part_id:
                seen = show.isolated(show.printable(message["text"] or "", width=96))
                self._print(
                    f"{self._clock()}  {'the agent':<10} ◂  {seen}  (conversation {message['conversation_id']})"
                )
                return

    def reply(self, guest: str, text: str) -> None:
        """Print what an agent's bot said."""
        self._print(f"{self._clock()}  {show.printable(guest):<10} ←  {show.isolated(show.printable(text, width=96))}")

    def _line(self, row: Row, sign: str, text: str) -> None:
        guest = show.printable(row.draft.guest)
        self._print(f"{self._clock()}  {guest:<10} {sign}  {show.isolated(show.printable(text, width=96))}")

    def _clock(self) -> str:
        return f"{time.monotonic() - self._began:6.2f} s"


async def demo(file: Path | None, *, compare: bool, chaos: bool, keep: bool, seed: int, as_json: bool) -> int:
    """Run the demo; 0 only if nothing was lost, doubled or out of order."""
    from guestwire.emulator.app import Emulator
    from guestwire.emulator.settings import EmulatorSettings

    began = time.monotonic()
    path = file or example()
    emulator = Emulator(EmulatorSettings(seed=seed, script="support"))
    try:
        await emulator.start()
        say = show.say if as_json else show.out
        say(f"a local Genesys is up at {emulator.url}: documented limits, and {sum(DRIZZLE.values())} mishaps to come")
        say("→ accepted from a guest   ◂ seen by the agent   ← an answer   ? unknown   ↻ sent again   … throttled\n")
        destination = ad_hoc(gateway=emulator.url, deployment_id=emulator.deployment_id)
        rows = read(path, destination)
        for fault in drizzle(seed, len(rows)):
            emulator.inject(**fault)
        other = asyncio.create_task(_tutorial(rows, seed)) if compare else None
        story = Story(rows, as_json, emulator.messages)
        with tempfile.TemporaryDirectory(prefix="guestwire-demo-") as folder:
            if chaos:
                relays = Relays(emulator.url, Path(folder), say)
                names, figures = await _send(destination, Path(folder), rows, story, relays)
            else:
                names, figures = await _send(destination, Path(folder), rows, story)
        verdict = judge(rows, names, emulator.messages())
        tutorial = None if other is None else await other
        result = _result(verdict, story, emulator.state(), figures, time.monotonic() - began, seed)
        if chaos:
            result["kills"], result["takeover_s"] = relays.kills, relays.takeovers_s
        if tutorial is not None:
            result["tutorial_client"] = tutorial
        _say(result, verdict, as_json, path)
        if keep:
            show.say(f"the emulator stays up at {emulator.url}; Ctrl-C ends it")
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
    finally:
        await emulator.close()
    return 0 if verdict.is_clean else 9


async def _send(
    destination: Destination, folder: Path, rows: Sequence[Row], story: Story, relays: Relays | None = None
) -> tuple[list[str], dict[str, float]]:
    """Send every row, by this process or by some that are killed; returns the part ids and what was counted."""
    settings = RelaySettings(answer_s=ANSWER_S, reconnect_cap_s=1.0)
    wire = GuestWire([destination], store=folder, relay_settings=settings, relay="never" if relays else "auto")
    async with wire, relays or contextlib.nullcontext():
        listening = asyncio.create_task(_listen(wire, story))
        tickets = await wire.submit_many([row.draft for row in rows])
        story.know(tickets)
        waiting = {part for ticket in tickets for part in ticket.part_ids}
        # Relays that cannot even begin leave everything queued: the verdict says so.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CHAOS_S if relays else None):
                async for entry in wire.journal(after=0):
                    story.tell(entry)
                    if relays is not None:
                        relays.see(entry, wire.relay_pid)
                    if entry.event in SETTLING and entry.part_id is not None:
                        waiting.discard(entry.part_id)
                        if not waiting:
                            break
        status = await wire.status()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    figures = status.figures.get(destination.name, {"reconnects": story.events["session.lost"]})
    return [ticket.part_ids[0] for ticket in tickets], figures


async def _listen(wire: GuestWire, story: Story) -> None:
    """Print replies; each guest is looked up once."""
    guests: dict[str, str] = {}
    async for reply in wire.replies():
        if reply.text:
            guest = guests.get(reply.guest_ref) or await wire.guest_key(reply.guest_ref)
            guests[reply.guest_ref] = guest
            story.reply(guest, reply.text)


async def _tutorial(rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """The same file, seed and faults through a client with the tutorial's retry rule, on an emulator of its own."""
    from guestwire.cli.tutorial import transmit
    from guestwire.emulator.app import Emulator
    from guestwire.emulator.settings import EmulatorSettings

    emulator = Emulator(EmulatorSettings(seed=seed, script="support"))
    await emulator.start()
    try:
        for fault in drizzle(seed, len(rows)):
            emulator.inject(**fault)
        names = await transmit(emulator.ws_url, emulator.deployment_id, rows, answer_s=ANSWER_S)
        return msgspec.to_builtins(judge(rows, names, emulator.messages()))  # type: ignore[no-any-return]
    finally:
        await emulator.close()


def _result(
    verdict: Verdict,
    story: Story,
    state: dict[str, Any],
    figures: dict[str, float],
    seconds: float,
    seed: int,
) -> dict[str, Any]:
    latencies = sorted(story.latencies_ms)
    return {
        **msgspec.to_builtins(verdict),
        "faults": state["faults_fired"],
        "unknown": story.events["part.checking"],
        "settled": dict(story.settled),
        "throttled": story.events["part.throttled"],
        "reconnects": int(figures["reconnects"]),
        "replies": story.events["reply.received"],
        "echo_p50_ms": round(statistics.median(latencies), 1) if latencies else None,
        "echo_p95_ms": round(latencies[int(0.95 * (len(latencies) - 1))], 1) if latencies else None,
        "seconds": round(seconds, 2),
        "seed": seed,
    }


def _say(result: dict[str, Any], verdict: Verdict, as_json: bool, path: Path) -> None:
    if as_json:
        show.out(show.as_json(result))
        return
    tutorial = result.get("tutorial_client")
    columns = ["", "guestwire", *(["tutorial's retry"] if tutorial else [])]
    lines = [("messages in the file", "messages"), ("seen by agents", "shown"), ("lost", "lost")]
    lines += [("doubled", "duplicates"), ("out of order", "out_of_order"), ("changed on the way", "changed")]
    rows = [[words, str(result[key]), *([str(tutorial[key])] if tutorial else [])] for words, key in lines]
    blank = [""] * bool(tutorial)
    faults = ", ".join(f"{count} {kind}" for kind, count in result["faults"].items())
    settled = ", ".join(f"{count} {how}" for how, count in result["settled"].items())
    rows += [
        ["mishaps", faults, *blank],
        ["outcomes unknown", f"{result['unknown']}: {settled}" if settled else str(result["unknown"]), *blank],
        ["throttled · reconnects", f"{result['throttled']} · {result['reconnects']}", *blank],
        *([["relay killed", _kills_in_words(result), *blank]] if "kills" in result else []),
        ["send to echo", f"p50 {result['echo_p50_ms']} ms, p95 {result['echo_p95_ms']} ms", *blank],
    ]
    show.out()
    show.table(columns, rows)
    good = "Nothing lost, nothing doubled, everything in order."
    show.out(good if verdict.is_clean else "THIS IS NOT AS IT SHOULD BE: please report it with the seed.")
    show.out(f"{result['seconds']} s, seed {result['seed']}, {show.printable(path.name)}\n")
    show.out("Try next:")
    for command, what in NEXT:
        show.out(f"  {command:<36} {what}")


def _kills_in_words(result: dict[str, Any]) -> str:
    took = ", ".join(f"{seconds:.1f}" for seconds in result["takeover_s"])
    return f"{result['kills']} times; another took over after {took} s"


def read(path: Path, destination: Destination) -> list[Row]:
    """
    Read the demo's messages.

    Raises:
        ConfigError: The file has a row that is no message.
    """
    rows: list[Row] = []
    for row in BatchFile(path, destination.name).rows():
        if isinstance(row, BadRow):
            raise ConfigError(f"'{path}': {row}", code="GW-C064", hint="mend the row, or leave the file out")
        rows.append(row)
    if not rows:
        raise ConfigError(f"'{path}' has no rows", code="GW-C063", hint="the first line names the columns")
    return rows


def example() -> Path:
    """Return the file that comes with guestwire: beside this module when installed, in examples/ in a checkout."""
    packaged = Path(str(resources.files("guestwire.cli"))) / "support_day.csv"
    if packaged.exists():
        return packaged
    return Path(__file__).parents[3] / "examples" / "support_day.csv"
