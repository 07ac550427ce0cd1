"""
Our own code made wrong on purpose: what the simulation must find out, or it proves nothing.

Each mutant is a mistake that others have made. It is made here, from outside, and undone afterwards: the product has no
switch for any of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from guestwire import relay, routes, steering
from guestwire.model import Failed, GuestRef, Outcome, Refused, Unknown
from guestwire.policy import check
from guestwire.policy.pace import Key, Limit, Pace
from guestwire.policy.retry import Decision, decide
from guestwire.store import sqlite
from guestwire.store.base import Sending, Step, StepResult
from guestwire.store.connection import SQL
from guestwire.transports.base import Attempt

Patch = pytest.MonkeyPatch


def no_fence(patch: Patch) -> None:
    """A relay that was replaced goes on as if nothing had happened."""
    step = sqlite.SqliteStore.step

    def unfenced(self: sqlite.SqliteStore, what: Step, *, fence: int, now: float) -> StepResult:
        return step(self, what, fence=int(self._meta("boot") or 0), now=now)

    patch.setattr(sqlite.SqliteStore, "step", unfenced)


def no_write_ahead(patch: Patch) -> None:
    """Bytes leave at once; that they did is written down afterwards, with their outcome."""
    commit = relay.Relay._commit

    async def hasty(self: relay.Relay, step: Step) -> StepResult:
        begun: list[Sending] = []
        for guest in step.begins:
            lane = self._lanes[guest]
            row = self._reader._process.store._head(guest, with_body=True)  # type: ignore[attr-defined]
            if row is None or row.body is None or row.state != "queued":
                continue
            begun.append(
                Sending(
                    row.part_id,
                    row.message_id,
                    guest,
                    row.attempt + 1,
                    row.body,
                    row.queued_at,
                    row.delivery,
                    row.tries_from,
                    row.age_from,
                )
            )
            lane.route.transport.send(
                Attempt(row.part_id, guest, row.attempt + 1, row.body, None, row.queued_at, lane.slot)
            )
            lane.slot = None
        result = await commit(self, step)
        ahead = {sending.part_id for sending in begun}
        self._ahead = ahead  # type: ignore[attr-defined]
        return result

    stepped = relay.Relay._stepped

    def sent_already(self: relay.Relay, result: StepResult) -> None:
        ahead: set[str] = getattr(self, "_ahead", set())
        kept: dict[Any, Any] = {}
        for sending in result.begun:
            if sending.part_id in ahead:
                transport = self._lanes[sending.guest_ref].route.transport
                kept[transport] = transport.send
                transport.send = lambda attempt: None  # type: ignore[method-assign]
        stepped(self, result)
        for transport in kept:
            del transport.send

    patch.setattr(relay.Relay, "_commit", hasty)
    patch.setattr(relay.Relay, "_stepped", sent_already)


def retry_unknown(patch: Patch) -> None:
    """No answer is read as "not accepted"."""

    def hopeful(outcome: Outcome, **more: Any) -> Decision:
        return decide(Failed(outcome.reason) if isinstance(outcome, Unknown) else outcome, **more)

    patch.setattr(steering, "decide", hopeful)


def retry_refused(patch: Patch) -> None:
    """A refusal is tried again, like everything else."""

    def stubborn(outcome: Outcome, **more: Any) -> Decision:
        return decide(Failed(outcome.reason) if isinstance(outcome, Refused) else outcome, **more)

    patch.setattr(steering, "decide", stubborn)


def order_by_row(patch: Patch) -> None:
    """Rows are leased instead of lanes: whatever is due goes, and what waits or is on its way is skipped."""
    oldest = SQL["heads"]
    skipping = oldest.replace("ORDER BY lane_seq", "ORDER BY state <> 'queued', next_at, lane_seq")
    assert skipping != oldest
    patch.setitem(SQL, "heads", skipping)


class Bucket(Pace):
    """A token bucket in a window's place: it holds `limit` tokens and fills up all the time."""

    def _admitted_at(self, key: Key, now: float) -> float:
        limit = self._limits.get(key[0])
        if limit is None or not limit.period_s:
            return super()._admitted_at(key, now)
        missing = 1.0 - self._tokens(key, limit, now)
        return now if missing <= 0.0 else now + max(missing * limit.period_s / limit.count, 0.001)

    def _room(self, key: Key, now: float) -> int:
        limit = self._limits.get(key[0])
        if limit is None or not limit.period_s:
            return super()._room(key, now)
        return max(0, int(self._tokens(key, limit, now)))

    def _tokens(self, key: Key, limit: Limit, now: float) -> float:
        window = self._windows.get(key)
        if window is None:
            return limit.count
        tokens, last, rate = float(limit.count), float("-inf"), limit.count / limit.period_s
        for at in window.used_at:
            tokens, last = min(limit.count, tokens + (at - last) * rate) - 1.0, at
        return min(limit.count, tokens + (now - last) * rate) - window.in_flight + 1e-6


def token_buckets(patch: Patch) -> None:
    """Windows are token buckets: a burst goes through at the border of two seconds."""
    patch.setattr(routes, "Pace", Bucket)


def forget_windows(patch: Patch) -> None:
    """A new relay believes that nothing was sent in the last minute."""

    async def forget(self: relay.Relay, now: float) -> None:
        await asyncio.sleep(0)

    patch.setattr(relay.Relay, "_remember_uses", forget)


def spend_silently(patch: Patch) -> None:
    """What is no message leaves, and nobody writes it down."""
    patch.setattr(sqlite.SqliteStore, "spend", lambda *_, **__: None)


def believe_first_look(patch: Patch) -> None:
    """A history that does not show it at the first look is believed."""

    def hasty(found: Any, progress: check.Progress, *, settle_s: float) -> check.Verdict:
        return check.Found(found) if found is not None else check.Absent(len(progress.read_at))

    patch.setattr(check, "judge", hasty)


def forget_sending(patch: Patch) -> None:
    """What was on its way when the last relay died is sent again, as if it had never left."""
    take_over = sqlite.SqliteStore.take_over

    def careless(self: sqlite.SqliteStore, now: float) -> int:
        self._db.execute("UPDATE parts SET state = 'queued', attempt = attempt - 1 WHERE state = 'sending'")
        fence = take_over(self, now)
        for (guest,) in self._db.execute("SELECT guest_ref FROM guests").fetchall():
            self._settle_lane(GuestRef(str(guest)))
        return fence

    patch.setattr(sqlite.SqliteStore, "take_over", careless)


#: By name: what makes it, and words of which at least one stands in what the auditor says of it.
MUTANTS: dict[str, tuple[Callable[[Patch], None], tuple[str, ...]]] = {
    "no fence": (no_fence, ("I4",)),
    "no write-ahead": (no_write_ahead, ("not written ahead",)),
    "retry unknown": (retry_unknown, ("I2",)),
    "retry refused": (retry_refused, ("refused and tried again",)),
    "order by row": (order_by_row, ("I3",)),
    "token buckets": (token_buckets, ("I5",)),
    "forget windows": (forget_windows, ("I5",)),
    "spend silently": (spend_silently, ("reads of the history", "connects", "requests a minute of a token")),
    "believe the first look": (believe_first_look, ("I2",)),
    "forget what was sending": (forget_sending, ("I2",)),
}


@contextlib.contextmanager
def made(name: str) -> Iterator[None]:
    """Make a mutant for a while."""
    with pytest.MonkeyPatch.context() as patch:
        MUTANTS[name][0](patch)
        yield
