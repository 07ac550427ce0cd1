"""
How long it takes until all is well again, counted in waits that the settings name, not in seconds of a test's machine.

A run tells which waits there were: the journal has every time that was decided on, and the gateway counts connections.
What each costs at most is the setting's default. A row of docs/faults.md names its waits and their sum.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from guestwire import JournalEntry
from guestwire.model import PartId
from guestwire.relay import POLL_EVERY_S
from guestwire.settings import RelaySettings, RetrySettings
from guestwire.steering import STORE_RETRY_S

_RELAY, _RETRY = RelaySettings(), RetrySettings()
#: What each wait costs at most, in seconds, at the defaults. `reconnect` doubles with each in a row.
WAITS: dict[str, float] = {
    "answer": _RELAY.answer_s,
    "silence": _RELAY.ping_after_s + _RELAY.dead_after_s,
    "reconnect": _RELAY.reconnect_base_s,
    "looks": 2 * _RELAY.settle_s,
    "unreadable": _RELAY.check_for_s,
    "back-off": _RETRY.base_s,
    "eviction": 1.2 * _RELAY.evicted_retry_s,
    "pause": _RELAY.reconnect_cap_s,
    "probe": 60.0,
    "store": STORE_RETRY_S + POLL_EVERY_S,
    "drain": _RELAY.shutdown_s,
}


def seconds_of(waits: Counter[str]) -> float:
    """Sum of waits at the defaults; `told 3` is a wait of three seconds that the far side asks for."""
    total = 0.0
    for wait, times in waits.items():
        if wait.startswith("told "):
            total += times * float(wait.removeprefix("told "))
        elif wait == "reconnect":
            total += WAITS[wait] * (2**times - 1)
        else:
            total += times * WAITS[wait]
    return total


def stated(cell: str) -> tuple[Counter[str], float]:
    """Read a cell as `written` writes it: its waits, and the seconds that it claims."""
    found: Counter[str] = Counter()
    for words in re.findall(r"`([^`]+)`", cell):
        wait, _, times = words.partition(" × ")
        found[wait] += int(times or 1)
    claimed = re.search(r": ([\d.]+) s", cell)
    return found, float(claimed[1]) if claimed else 0.0


def exceeded(waits: Counter[str], at_most: Counter[str]) -> bool:
    """Whether there were more waits of a kind, or longer ones that the far side asked for."""
    told, allowed = (sum(seconds_of(Counter({wait: 1})) for wait in one if _is_told(wait)) for one in (waits, at_most))
    return told > allowed or any(times > at_most[wait] for wait, times in waits.items() if not _is_told(wait))


def _is_told(wait: str) -> bool:
    return wait.startswith("told ")


def written(waits: Counter[str]) -> str:
    """A cell that states these waits."""
    if not waits:
        return "at once"
    known = sorted(waits, key=lambda wait: list(WAITS).index(wait) if wait in WAITS else -1)
    words = " ".join(f"`{wait}`" if waits[wait] == 1 else f"`{wait} × {waits[wait]}`" for wait in known)
    return f"{words}: {seconds_of(waits):g} s"


def observed(
    entries: Iterable[JournalEntry], part: PartId, *, connections: int = 0, over_rest: bool = False
) -> Counter[str]:
    """
    Count the waits of a message.

    Args:
        entries: Of the journal, since the fault.
        part: Its part.
        connections: That were made since.
        over_rest: One message tries after a pause where a destination is in trouble; and where nothing can be looked
            up, the next attempt has a pause before it.
    """
    found: Counter[str] = Counter()
    looks = unreadable = False
    for entry in entries:
        if entry.event == "session.silent":
            found["silence"] += 1
        elif entry.event == "lane.paused":
            found["eviction"] += 1
        elif entry.event == "destination.trouble" and over_rest:
            found["pause"] = 1
        if entry.part_id != part:
            continue
        reason = str(entry.detail.get("reason", ""))
        match entry.event:
            case "part.checking":
                looks = True
                found["answer"] += " in time" in reason or "TimeoutError" in reason or " within " in reason
            case "part.throttled":
                found[f"told {entry.detail['at'] - entry.at:.0f}"] += 1
            case "part.requeued" if entry.detail["at"] - entry.at >= 1.0:
                found[f"told {entry.detail['at'] - entry.at:.0f}"] += 1
            case "part.requeued" | "part.deferred":
                found["back-off"] += 1
            case "part.possible_duplicate":
                unreadable = "could not be read" in reason
                found["back-off"] += over_rest
    if looks:
        found["unreadable" if unreadable else "looks"] += 1
    if connections:
        found["reconnect"] += connections
    return +found
