"""
A program's view of its guests: their sessions, the errands that can be done for them, what was said both ways.

    await wire.guests.follow("42")                   # keep the session open, for replies
    await wire.guests.sign_in("42", code=code, redirect_uri=uri)
    await wire.guests.clear("42")

An errand is stored like a message and has its turn among the guest's messages; whichever process relays does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from guestwire.clock import Clock
from guestwire.errors import AuthenticationError, GuestWireError
from guestwire.feed import Feed
from guestwire.model import ErrandKind, GuestKey, GuestRef, ReceivedFile
from guestwire.net import Forbidden, Http, Unreachable, guard_of, tls_of
from guestwire.settings import Destination
from guestwire.store.base import GuestView, Line, Person
from guestwire.store.sqlite import SqliteStore

T = TypeVar("T")

#: An errand is waited for so long, in seconds; it goes on being tried when nobody waits any more.
PATIENCE_S = 60.0
#: A file is fetched within this, in seconds.
FETCH_S = 60.0


class Wire(Protocol):
    """What is needed of a `GuestWire`."""

    @property
    def destination(self) -> Destination:
        """The default destination."""

    @property
    def clock(self) -> Clock:
        """The time."""

    @property
    def feed(self) -> Feed:
        """News from the journal."""

    def store_read(self, verb: Callable[[SqliteStore], T]) -> asyncio.Future[T]:
        """Run a reading verb."""

    def store_write(self, verb: Callable[[SqliteStore], T]) -> asyncio.Future[T]:
        """Run a writing verb."""

    async def guest_ref(self, guest: str, *, to: str | None = None) -> GuestRef:
        """Our name for a known guest."""

    def raise_failure(self, destinations: Collection[str] | None = None) -> None:
        """Raise what keeps the relay, or one of these destinations, from working."""

    def show_typing(self, guest: GuestRef) -> bool:
        """Tell that a guest types, where this process relays."""


class Guests:
    """
    What can be done for guests, beside submitting their messages. Every `guest` is the caller's own key.

    Args:
        wire: Whose guests.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    # --- sessions ---

    async def follow(self, guest: str) -> None:
        """Keep the guest's session open from now on, whatever happens, so that replies come at once. Outlives us."""
        await self._follow(guest, on=True)

    async def unfollow(self, guest: str) -> None:
        """Let the guest's session close when it is idle."""
        await self._follow(guest, on=False)

    async def _follow(self, guest: str, *, on: bool) -> None:
        self._require_sessions("follow")
        guest_ref = await self._known_or_new(guest)
        now = self._wire.clock.now()
        await self._wire.store_write(lambda store: store.follow(guest_ref, now, on=on))

    async def typing(self, guest: str) -> bool:
        """
        Show that the guest is typing.

        At most once in five seconds, only where the deployment wants it and the session is open, and before everything
        else the thing that is left out when a limit is near.

        Returns:
            Whether it went out; always False where another process is the relay.
        """
        return self._wire.show_typing(await self._known_or_new(guest))

    async def join(self, guest: str, attributes: dict[str, str] | None = None) -> None:
        """
        Announce the guest to a deployment that starts conversations by itself, so that its flow greets him.

        Args:
            guest: The caller's key.
            attributes: Custom attributes: participant data.

        Raises:
            GuestWireError: GW-G001: the session is not new, so a Join would be wrong, or the deployment wants none.
        """
        await self._errand(guest, "join", {"attributes": attributes or {}})

    async def close(self, guest: str, *, everywhere: bool = True) -> None:
        """
        End the guest's session after what he has queued; his next message begins anew.

        Args:
            guest: The caller's key.
            everywhere: Close its other connections too.
        """
        await self.unfollow(guest)
        await self._errand(guest, "close", {"everywhere": everywhere})

    async def clear(self, guest: str) -> None:
        """
        Have the conversation forgotten at the platform, for good, after what the guest has queued.

        Raises:
            GuestWireError: GW-G001: clearing is switched off for the deployment.
        """
        await self._errand(guest, "clear", {})

    async def resume(self, guest: str, *, to: str | None = None, by: str = "", why: str = "") -> bool:
        """
        Let a guest's paused messages go on now, whatever they are paused for; whoever relays tries at once.

        Args:
            guest: The caller's key.
            to: The destination whose guest is meant; None: the first that knows one of that key.
            by: Who decides.
            why: Why; both stand in the journal.

        Returns:
            Whether they were paused.
        """
        guest_ref, now = await self._wire.guest_ref(guest, to=to), self._wire.clock.now()
        return await self._wire.store_write(lambda store: store.resume(guest_ref, Person(by, why), now))

    async def start_new(self, guest: str) -> None:
        """Begin another conversation; the one of before cannot be reached any more."""
        await self._errand(guest, "start_new", {})

    # --- signing in ---

    async def sign_in(
        self,
        guest: str,
        *,
        redirect_uri: str,
        code: str | None = None,
        code_verifier: str | None = None,
        id_token: str | None = None,
        nonce: str | None = None,
        iss: str | None = None,
    ) -> None:
        """
        Go on as a person who is known, with what his sign-in at the identity provider gave.

        An anonymous session that is open is stepped up, where the deployment allows it. Tokens are kept sealed, and
        renewed when they are too old.

        Args:
            guest: The caller's key.
            redirect_uri: As registered with the provider.
            code: Authorization code; or `id_token` of an implicit sign-in.
            code_verifier: Of a sign-in with PKCE.
            id_token: See `code`.
            nonce: Of an implicit sign-in.
            iss: Issuer, where the provider demands it.

        Raises:
            AuthenticationError: GW-A005: the platform does not accept it.
        """
        given = {
            "redirect_uri": redirect_uri,
            "code": code,
            "code_verifier": code_verifier,
            "id_token": id_token,
            "nonce": nonce,
            "iss": iss,
        }
        await self._errand(guest, "sign_in", {name: value for name, value in given.items() if value is not None})

    async def sign_out(self, guest: str) -> None:
        """End the sign-in on every device; the guest's next message goes out under a new anonymous session."""
        await self._errand(guest, "sign_out", {})

    # --- looking ---

    async def list(self, *, destination: str | None = None, limit: int = 50) -> Sequence[GuestView]:
        """Return guests, the last active ones first."""
        return await self._wire.store_read(
            partial(SqliteStore.list_guests, destination=destination, guest=None, limit=limit)
        )

    async def show(self, guest: str) -> GuestView:
        """Return one guest."""
        guest_ref = await self._wire.guest_ref(guest)
        (view,) = await self._wire.store_read(
            partial(SqliteStore.list_guests, destination=None, guest=guest_ref, limit=1)
        )
        return view

    async def transcript(self, guest: str) -> Sequence[Line]:
        """Return what was said both ways, as far as it is stored here, in the order in which it happened here."""
        guest_ref = await self._wire.guest_ref(guest)
        return await self._wire.store_read(partial(SqliteStore.transcript, guest=guest_ref))

    async def destination_of(self, guest: GuestRef) -> str:
        """Return the name of a guest's destination, by our name for the guest."""
        (view,) = await self._wire.store_read(partial(SqliteStore.list_guests, destination=None, guest=guest, limit=1))
        return view.destination

    # --- files ---

    async def download_url(self, guest: GuestRef, file: ReceivedFile) -> str:
        """
        Return a fresh address for a file that a guest received; a secret that lives for ten minutes.

        Raises:
            GuestWireError: GW-G001: the platform does not have it any more.
        """
        result = await self._run(guest, "download", {"id": file.id})
        return str((result or {}).get("url", ""))

    # --- errands ---

    async def _errand(self, guest: str, kind: ErrandKind, body: dict[str, Any]) -> dict[str, Any] | None:
        self._require_sessions(kind)
        return await self._run(await self._known_or_new(guest), kind, body)

    def _require_sessions(self, what: str) -> None:
        destination = self._wire.destination
        if not destination.has_sessions:
            raise GuestWireError(
                f"'{what}' is about a session, and destination '{destination.name}' ({destination.transport}) has none",
                code="GW-G004",
                hint="the platform finds a guest's conversation by the guest, and its agents end it",
            )

    async def _run(self, guest: GuestRef, kind: ErrandKind, body: dict[str, Any]) -> dict[str, Any] | None:
        """Queue an errand and wait for its end; returns what it brought."""
        now = self._wire.clock.now()
        names = {await self.destination_of(guest)}
        with self._wire.feed.watch() as news:
            seq = await self._wire.store_write(lambda store: store.ask(guest, kind, body, now))
            try:
                async with asyncio.timeout(PATIENCE_S):
                    while (found := await self._wire.store_read(lambda store: store.errand(seq)))[0] == "queued":
                        self._wire.raise_failure(names)
                        await news.get()
            except TimeoutError:
                raise GuestWireError(
                    f"'{kind}' was not done within {PATIENCE_S:.0f} s; it stays queued",
                    code="GW-G003",
                    hint="see 'guestwire status' and the guest's messages: it has its turn behind them",
                ) from None
        state, result = found
        if state == "failed":
            raise _failed(kind, str((result or {}).get("reason", "")))
        return result

    async def _known_or_new(self, guest: str) -> GuestRef:
        destination = self._wire.destination.name
        known = await self._wire.store_read(
            partial(SqliteStore.find_guest, destination=destination, guest=GuestKey(guest))
        )
        if known is not None:
            return known
        return await self._wire.store_write(
            partial(SqliteStore.guest_for, destination=destination, guest=GuestKey(guest))
        )


def _failed(kind: ErrandKind, reason: str) -> GuestWireError:
    words = f"'{kind}' failed: {reason or 'see the journal'}"
    if kind == "sign_in":
        return AuthenticationError(
            words,
            code="GW-A005",
            hint="sign in again: a code is good for one use; check redirect_uri and the deployment",
        )
    return GuestWireError(words, code="GW-G001", hint="the journal has the gateway's answer: 'guestwire tail'")


async def fetch(destination: Destination, file: ReceivedFile, renew: Callable[[], Awaitable[str]]) -> bytes:
    """
    Fetch a file of a reply.

    Args:
        destination: Whose gateway may be on this machine; every other address has to be a public one.
        file: As the reply names it.
        renew: Returns a fresh address.

    Raises:
        GuestWireError: GW-G002, it cannot be had.
    """
    http = Http(
        tls=tls_of(destination),
        proxy=destination.proxy_for(destination.host),
        timeout_s=FETCH_S,
        guard=guard_of(destination),
    )
    status: int | str = "no address"
    try:
        for is_fresh in (False, True):
            address = file.url if not is_fresh else await renew() if file.id is not None else None
            if not address:
                continue
            try:
                answer = await http.get(address)
            except Forbidden as error:
                status = str(error)  # a fresh address may lead elsewhere
                continue
            if answer.status == 200:
                return answer.body
            status = f"HTTP {answer.status}"
    except Unreachable as error:
        status = str(error)
    finally:
        await http.close()
    raise GuestWireError(
        f"the file cannot be had: {status}",
        code="GW-G002",
        hint="the platform keeps files for a while only; ask for it to be sent again",
    )
