"""
`Webhooks`: what agents say to guests over REST, on its way to the integration's webhook.

Decides, and posts nothing: the owner takes `Post`s with `take_posts`, carries them out, and reports each with
`answered`. An attempt that is not answered within `webhook_timeout_s`, or with 429 or 5xx, is made again after
`webhook_retry_s`, `webhook_retries` times; any other answer that is no success ends the delivery at once. All of that
runs by the clock that is passed in.

Order: the first attempts to one guest go out one after the other, each when the one before it has been answered;
what is tried again overtakes nothing and waits for nobody.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from guestwire.emulator.delivery import Delivery
from guestwire.emulator.faults import Firing, Occurrence
from guestwire.emulator.ids import Draws
from guestwire.emulator.records import AgentError
from guestwire.emulator.settings import EmulatorSettings
from guestwire.errors import ConfigError

#: The only addresses that are ever posted to.
_LOOPBACK = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?(/\S*)?")

State = Literal["waiting", "delivered", "failed", "dropped"]


class Attempt(msgspec.Struct, kw_only=True, eq=False):
    """One POST, and what became of it."""

    at: float
    status: int | str | None = None
    """The answer's status, ``"timeout"``, ``"unreachable"``, or None while it is on its way."""


class Notice(msgspec.Struct, kw_only=True, eq=False):
    """One delivery."""

    id: str
    lane: str
    type: str
    message_id: str
    url: str
    body: bytes
    headers: dict[str, str]
    state: State = "waiting"
    attempts: list[Attempt] = []


class Post(NamedTuple):
    """An attempt that is to be made now."""

    notice: Notice
    attempt: Attempt


def signature_of(secret: str, body: bytes) -> str:
    """What ``X-Hub-Signature-256`` says of a body: base64, not hex (vendor's page)."""
    return "sha256=" + base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()


def checked_url(url: str) -> str:
    """
    Return an address that may be posted to; empty for none.

    Raises:
        AgentError: It is not on this machine.
    """
    if url and not _LOOPBACK.fullmatch(url):
        raise AgentError("the emulator posts webhooks to this machine only, such as http://127.0.0.1:8081/hook")
    return url


class Webhooks:
    """Every delivery, newest last. Times are in seconds since the epoch."""

    def __init__(self, settings: EmulatorSettings, delivery: Delivery, strike: Callable[[Occurrence], Firing]) -> None:
        self._settings = settings
        self._delivery = delivery
        self._strike = strike
        try:
            self.url = checked_url(settings.webhook_url)
        except AgentError as error:
            raise ConfigError(
                f"the emulator's webhook_url cannot be {settings.webhook_url[:80]!r}", code="GW-C033", hint=str(error)
            ) from error
        self.secret = settings.webhook_secret or Draws(settings.seed, "webhook secret").hex32()
        self.notices: deque[Notice] = deque(maxlen=settings.webhook_log)
        self._numbers = itertools.count(1)
        self._posts: list[Post] = []
        self._given_up: list[Attempt] = []
        self._lanes: dict[str, deque[Notice]] = {}
        self._held: dict[str, list[Notice]] = {}

    def __repr__(self) -> str:
        return f"<Webhooks {len(self.notices)} deliveries>"

    # --- sending ---

    def send(self, payload: Mapping[str, Any], lane: str, now: float) -> None:
        """Send a normalized message to the webhook, with whatever a fault does to it. Without an address: nothing."""
        if not self.url:
            return
        kind, text = str(payload.get("type", "")), str(payload.get("text") or "")
        firing = self._strike(Occurrence("webhook", action=kind, text=text, path="webhook", is_message=True))
        notice = self._notice(msgspec.json.encode(payload), lane, kind, str(payload.get("id", "")))
        spoiled = firing.get("webhook_bad_signature")
        if spoiled:
            _spoil(notice, self.secret, spoiled["form"])
        if firing.get("webhook_drop"):
            notice.state = "dropped"
            return
        reordered = firing.get("webhook_reorder")
        copies = [notice]
        if firing.get("webhook_twice"):
            copies.append(self._notice(notice.body, lane, kind, notice.message_id))
        if reordered:
            self._held.setdefault(lane, []).extend(copies)
            self._delivery.at(now + reordered["delay_ms"] / 1000, lambda at: self._release(lane, copies, at))
            return
        self._queue(lane, copies, now)
        self._release(lane, list(self._held.get(lane, ())), now)

    def send_raw(self, body: bytes, content_type: str, lane: str, now: float) -> None:
        """Send anything at all, properly signed."""
        if not self.url:
            raise AgentError("there is no webhook: set webhook_url, or PUT /_emulator/webhook")
        notice = self._notice(body, lane, "junk", "")
        notice.headers["Content-Type"] = content_type
        self._queue(lane, [notice], now)

    def _notice(self, body: bytes, lane: str, kind: str, message_id: str) -> Notice:
        headers = {"Content-Type": "application/json"}
        for header in self._settings.webhook_headers:
            name, _, value = header.partition(":")
            headers[name.strip()] = value.strip()
        headers["X-Hub-Signature-256"] = signature_of(self.secret, body)
        notice = Notice(
            id=f"w{next(self._numbers)}",
            lane=lane,
            type=kind,
            message_id=message_id,
            url=self.url,
            body=body,
            headers=headers,
        )
        self.notices.append(notice)
        return notice

    def _release(self, lane: str, held: list[Notice], now: float) -> None:
        waiting = self._held.get(lane, [])
        out = [notice for notice in held if notice in waiting]
        if out:
            self._held[lane] = [notice for notice in waiting if notice not in out]
            self._queue(lane, out, now)

    def _queue(self, lane: str, notices: list[Notice], now: float) -> None:
        waiting = self._lanes.setdefault(lane, deque())
        idle = not waiting
        waiting.extend(notices)
        if idle:
            self._attempt(waiting[0], now)

    # --- attempts ---

    def take_posts(self) -> list[Post]:
        """Return, once, what is to be posted now."""
        posts, self._posts = self._posts, []
        return posts

    def take_given_up(self) -> list[Attempt]:
        """Return, once, the attempts that have waited too long: their connections are to be closed."""
        given_up, self._given_up = self._given_up, []
        return given_up

    def _attempt(self, notice: Notice, now: float) -> None:
        attempt = Attempt(at=now)
        post = Post(notice, attempt)
        notice.attempts.append(attempt)
        self._posts.append(post)
        self._delivery.at(now + self._settings.webhook_timeout_s, lambda at: self._give_up(post, at))

    def _give_up(self, post: Post, now: float) -> None:
        if post.attempt.status is None:
            self._given_up.append(post.attempt)
            self.answered(post, "timeout", now)

    def answered(self, post: Post, status: int | str, now: float) -> None:
        """Note the outcome of an attempt: a status, ``"timeout"`` or ``"unreachable"``. Only the first counts."""
        notice, attempt = post
        if attempt.status is not None:
            return
        attempt.status = status
        again = isinstance(status, str) or status == 429 or status >= 500
        if isinstance(status, int) and 200 <= status < 300:
            self._end(notice, "delivered")
        elif again and len(notice.attempts) <= self._settings.webhook_retries:
            self._delivery.at(now + self._settings.webhook_retry_s, lambda at: self._attempt(notice, at))
        else:
            self._end(notice, "failed")
        self._next(notice, now)

    def _end(self, notice: Notice, state: State) -> None:
        notice.state = state
        notice.body = b""

    def _next(self, notice: Notice, now: float) -> None:
        waiting = self._lanes.get(notice.lane)
        if waiting and waiting[0] is notice:
            waiting.popleft()
            if waiting:
                self._attempt(waiting[0], now)
            else:
                del self._lanes[notice.lane]

    # --- what there is to see ---

    def set_url(self, url: str) -> None:
        """
        Post to another address from now on; empty: to none. What is on its way goes where it was meant to go.

        Raises:
            AgentError: It is not on this machine.
        """
        self.url = checked_url(url)

    def describe(self) -> list[dict[str, Any]]:
        """List the deliveries as the admin API shows them, oldest first."""
        return [
            {
                "id": notice.id,
                "type": notice.type,
                "message_id": notice.message_id,
                "state": notice.state,
                "last_status": notice.attempts[-1].status if notice.attempts else None,
                "attempts": [msgspec.to_builtins(attempt) for attempt in notice.attempts],
            }
            for notice in self.notices
        ]


def _spoil(notice: Notice, secret: str, form: str) -> None:
    right = hmac.digest(secret.encode(), notice.body, hashlib.sha256)
    if form == "missing":
        del notice.headers["X-Hub-Signature-256"]
    elif form == "hex":
        notice.headers["X-Hub-Signature-256"] = f"sha256={right.hex()}"
    else:
        notice.headers["X-Hub-Signature-256"] = signature_of(f"not {secret}", notice.body)
