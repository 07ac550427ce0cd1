"""
Replies on their way to a receiver of the user's own: one signed POST each, in order for each guest, again until taken.

Nothing is ever passed over. The next reply of a guest leaves when the one before it has been taken, so a receiver that
fails for one guest holds that guest, and the others go on. A crash between the receiver's yes and our note of it
repeats the delivery under the same id.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import re
import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from guestwire.clock import Clock
from guestwire.errors import ConfigError
from guestwire.model import GuestKey, GuestRef, Reply
from guestwire.net import Guard, Http, Unreachable
from guestwire.policy.reach import refusal
from guestwire.policy.webhook import Again, Gone, Taken, Verdict, judge, missed
from guestwire.settings import VERSION, ReplyForwarding, read_secrets
from guestwire.sinks.signing import Signer

#: POSTs under way at once.
IN_FLIGHT = 16
#: Replies that were read from the source and not taken yet; no more are read above this. One guest that the receiver
#: refuses for ever holds the others too when he has filled it alone.
WINDOW = 1000

# CloudEvents wants the time as RFC 3339 has it; whatever else the gateway may write stays in `data.at`.
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_log = logging.getLogger("guestwire.sinks.replies")


class ReplySource(Protocol):
    """Where the replies come from, and where it is written down that the receiver has them."""

    def replies(self) -> AsyncIterator[tuple[GuestKey, Reply]]:
        """Give every reply that is not acknowledged, those of a guest in order; then each new one as it comes."""

    async def acknowledge(self, reply: Reply) -> None:
        """Note, durably, that the receiver has it. Replies of different guests are acknowledged in any order."""

    async def note(self, event: str, detail: dict[str, Any]) -> None:
        """Write into the journal."""


class ReplyForwarder:
    """
    Forwards replies to the receiver of the settings; made for one `run`.

    Args:
        source: Where they come from.
        settings: With a `url`.
        clock: The time, and waiting for it.
        tls: From `guestwire.net.tls_context`; None for the default.
        draw: Random numbers from [0, 1).

    Raises:
        ConfigError: GW-C009, nothing may be sent to that address (see `guestwire.net.Guard`); or one of `read_secrets`.
    """

    def __init__(
        self,
        source: ReplySource,
        settings: ReplyForwarding,
        *,
        clock: Clock,
        tls: ssl.SSLContext | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        url, secret_file = settings.url, settings.secret_file
        if url is None or secret_file is None:
            raise ValueError("there is no receiver: sinks.replies.url is not set")
        if (reason := refusal(url, (), settings.allow)) is not None:
            raise ConfigError(
                f"sinks.replies.url {reason}",
                code="GW-C009",
                hint="use an https address that the internet knows, or name the host in sinks.replies.allow",
            )
        self._source = source
        self._url = url
        self._signer = Signer(read_secrets(secret_file, "sinks.replies.secret_file"))
        self._origin = f"/guestwire/{settings.consumer}"
        self._clock = clock
        self._draw = draw
        place = urlsplit(url)
        self._http = Http(
            tls=tls,
            proxy=settings.ambient.proxy_for(place.hostname or "", secure=place.scheme == "https"),
            timeout_s=settings.timeout_s,
            guard=Guard(settings.allow),
        )
        self._lanes: dict[GuestRef, deque[tuple[GuestKey, Reply]]] = {}
        self._room = asyncio.Semaphore(WINDOW)
        self._flights = asyncio.Semaphore(IN_FLIGHT)
        self._shut_until = 0.0

    async def run(self) -> None:
        """
        Forward until cancelled, or until the receiver says that it is gone for ever: what is left stays unacknowledged.

        Raises:
            GuestWireError: What the source raised.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._read(tasks)
        except BaseExceptionGroup as group:
            others = [one for one in group.exceptions if not isinstance(one, _ReceiverGone)]
            if others:
                raise others[0] from None
            await self._stop(next(one for one in group.exceptions if isinstance(one, _ReceiverGone)))
        finally:
            await self._http.close()

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        """Hand each reply to the lane of its guest; a lane is a task for as long as there is something in it."""
        replies = self._source.replies()
        try:
            async for guest, reply in replies:
                await self._room.acquire()
                lane = self._lanes.get(reply.guest_ref)
                if lane is None:
                    lane = self._lanes[reply.guest_ref] = deque()
                    tasks.create_task(self._drain(reply.guest_ref, lane))
                lane.append((guest, reply))
        finally:
            if isinstance(replies, AsyncGenerator):
                await replies.aclose()

    async def _drain(self, guest_ref: GuestRef, lane: deque[tuple[GuestKey, Reply]]) -> None:
        while lane:
            await self._deliver(*lane[0])
            lane.popleft()
            self._room.release()
        del self._lanes[guest_ref]

    async def _deliver(self, guest: GuestKey, reply: Reply) -> None:
        """Send one reply until it is taken, and note that."""
        delivery_id = delivery_id_of(reply)
        body = msgspec.json.encode(event_of(guest, reply, self._origin))
        attempt, at = 1, 0.0
        while True:
            await self._until(at)
            async with self._flights:
                while self._clock.now() < self._shut_until:
                    await self._until(self._shut_until)
                verdict = await self._post(delivery_id, body, attempt)
            match verdict:
                case Taken():
                    await self._source.acknowledge(reply)
                    return
                case Gone(reason=reason):
                    raise _ReceiverGone(reply, reason)
                case Again():
                    if verdict.for_all:
                        self._shut_until = max(self._shut_until, verdict.at)
                    if attempt == 1:
                        await self._tell(reply, verdict.reason)
                    attempt, at = attempt + 1, verdict.at

    async def _post(self, delivery_id: str, body: bytes, attempt: int) -> Verdict:
        headers = {
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "User-Agent": f"guestwire/{VERSION}",
            **self._signer.headers(delivery_id, self._clock.now(), body),
        }
        try:
            answer = await self._http.post(self._url, headers, body)
        except Unreachable as error:
            # A forbidden address is among these: nothing was sent, and the name may lead elsewhere once it is mended.
            return missed(str(error), attempt=attempt, now=self._clock.now(), jitter=self._draw())
        return judge(
            answer.status,
            answer.headers.get("Retry-After"),
            attempt=attempt,
            now=self._clock.now(),
            jitter=self._draw(),
        )

    async def _until(self, at: float) -> None:
        await self._clock.wait(asyncio.Event(), at)

    async def _tell(self, reply: Reply, reason: str) -> None:
        """Note a first failure; a note for each one would fill the journal while a receiver is down."""
        _log.warning(
            "a reply was not taken by its receiver and is sent again: %s",
            reason,
            extra={"action": "reply_not_forwarded", "guest": reply.guest_ref, "reply": reply.seq},
        )
        await self._source.note(
            "reply.not_forwarded",
            {"guest_ref": reply.guest_ref, "reply": reply.seq, "id": delivery_id_of(reply), "reason": reason},
        )

    async def _stop(self, gone: _ReceiverGone) -> None:
        reply, reason = gone.reply, gone.reason
        _log.error(
            "the receiver of replies is gone for ever: %s; nothing more is forwarded before a restart",
            reason,
            extra={"action": "reply_forwarding_stopped", "guest": reply.guest_ref, "reply": reply.seq},
        )
        await self._source.note(
            "reply.forwarding_stopped", {"guest_ref": reply.guest_ref, "reply": reply.seq, "reason": reason}
        )


class _ReceiverGone(Exception):
    """Ends every lane."""

    def __init__(self, reply: Reply, reason: str) -> None:
        self.reply = reply
        self.reason = reason
        super().__init__(reason)


def delivery_id_of(reply: Reply) -> str:
    """The name of a reply at the receiver: the same in every attempt and every process; tells nothing of the guest."""
    return "rep_" + hashlib.sha256(f"{reply.guest_ref}\0{reply.gateway_id}".encode()).hexdigest()[:32]


def event_of(guest: GuestKey, reply: Reply, origin: str) -> dict[str, Any]:
    """
    Write a reply as a CloudEvent 1.0 in its JSON format.

    Args:
        guest: The caller's own word for the guest.
        reply: With what the store filled in.
        origin: The event's `source`.
    """
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": delivery_id_of(reply),
        "source": origin,
        "type": "guestwire.reply",
        "subject": reply.guest_ref,
        "datacontenttype": "application/json",
        "data": {
            "guest": guest,
            "guest_ref": reply.guest_ref,
            "kind": reply.kind,
            "text": reply.text,
            "content": reply.content,
            "events": reply.events,
            "author": reply.author,
            "nickname": reply.nickname,
            "at": reply.at,
            "seq": reply.seq,
            "source": reply.source,
            "late": reply.late,
        },
    }
    if reply.at is not None and _RFC_3339.fullmatch(reply.at):
        event["time"] = reply.at
    return event
