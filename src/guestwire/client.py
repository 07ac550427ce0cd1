"""
`GuestWire`: what a program imports. The only place where the parts are wired together.

    async with GuestWire.open(to="web") as wire:
        ticket = await wire.submit(Message(guest="42", text="Where is my order?"))
        result = await wire.wait(ticket, timeout_s=30)

Any number of processes may open one store; the first becomes its relay, the others submit and watch. When the relay's
process ends, however it ends, another takes over within a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeVar

import msgspec

from guestwire import vitals as vital_signs
from guestwire.accepting import Acceptance
from guestwire.clock import Clock, SystemClock
from guestwire.errors import AuthenticationError, ConfigError, Finding, NotFound, StoreError
from guestwire.feed import Feed, TypingFeed
from guestwire.filing import Filing
from guestwire.guests import Guests, fetch
from guestwire.messages import Messages
from guestwire.model import (
    OPEN_STATES,
    TAKEN_STATES,
    Draft,
    GuestKey,
    GuestRef,
    JournalEntry,
    MessageId,
    PartState,
    ReceivedFile,
    Reply,
    Ticket,
)
from guestwire.policy.order import Reorder
from guestwire.policy.reload import Changes, changed_destinations, changed_relay
from guestwire.protocol.openmessaging import RECEIPT_REASONS
from guestwire.receiving import Receiver, WebhookAnswer
from guestwire.relay import STORE_GONE, Relay
from guestwire.routes import caller_of, retune, routes_of
from guestwire.rulebook import Rulebook, find_rules
from guestwire.settings import (
    Destination,
    FileSettings,
    PolicySettings,
    RelaySettings,
    StoreSettings,
    ad_hoc,
    ambient_of,
    choose,
    load,
)
from guestwire.store.base import Intake, PartView, StoreStatus
from guestwire.store.folder import Folder, RelayLock
from guestwire.store.sqlite import SqliteStore
from guestwire.store.thread import StoreThread
from guestwire.upkeep import Upkeep
from guestwire.vitals import WRITE_EVERY_S, Obstacle, Vitals, obstacles

if TYPE_CHECKING:
    from PureCloudPlatformClientV2 import ApiClient

    from guestwire.message import Message
    from guestwire.policy.verdict import Rule, Verdict

T = TypeVar("T")

logger = logging.getLogger("guestwire.client")

#: Messages of one transaction in `submit_many`.
SUBMIT_SLICE = 1_000
#: How often a process that is not the relay looks for news, in seconds.
WATCH_EVERY_S = 0.05
#: How often it tries to become the relay, in seconds.
TAKE_OVER_EVERY_S = 1.0

RelayMode = Literal["auto", "required", "never"]


class MessageStatus(msgspec.Struct, frozen=True):
    """Where a message stands: the states of its parts, counted."""

    message_id: MessageId
    parts: Mapping[PartState, int]

    @property
    def is_accepted(self) -> bool:
        """The gateway has taken every part."""
        return all(state in TAKEN_STATES for state in self.parts)

    @property
    def is_settled(self) -> bool:
        """Nothing will happen by itself any more: every part has ended, or waits for a person."""
        return all(state not in OPEN_STATES or state is PartState.PARKED for state in self.parts)


class Status(msgspec.Struct, frozen=True):
    """The whole picture, for people and for `--json`."""

    store: StoreStatus
    folder: str
    relay: Literal["here", "elsewhere", "none"]
    relay_pid: int | None
    in_flight: int
    trouble: dict[str, str]
    """Destinations none of whose lanes can move, and why."""
    figures: dict[str, dict[str, float]]
    """Counters of each transport."""
    held: dict[str, dict[str, int]]
    """How often each limit was the one that held a message back, by destination."""
    vitals: Vitals | None = None
    """What the relay says of itself, in whatever process; None where there is none, or none that says anything."""


class GuestWire:
    """
    Submits messages, sends them, and says what became of them.

    Args:
        destinations: Where messages may go; the first is the default.
        store: The folder of the store.
        relay: Whether this process may send: ``auto`` (if no other does), ``required`` (`open` fails if another
            does), ``never``.
        store_settings: Of the store.
        relay_settings: Patience of the relay.
        clock: The time.
        api_clients: `ApiClient` objects of the official SDK, by name of the destination whose calls go through them;
            see `guestwire.transports.sdk`.
        policy: The policy file, and rules by name; None: the default policy.
        files: What files may be, and what is done to them.
        rules: Rules of the program itself: pure functions of a draft and the limits of its way out, that return
            findings.
    """

    def __init__(
        self,
        destinations: Sequence[Destination],
        *,
        store: Path,
        relay: RelayMode = "auto",
        store_settings: StoreSettings | None = None,
        relay_settings: RelaySettings | None = None,
        clock: Clock | None = None,
        api_clients: Mapping[str, ApiClient] | None = None,
        policy: PolicySettings | None = None,
        files: FileSettings | None = None,
        rules: Sequence[Rule] = (),
    ) -> None:
        self._api_clients = dict(api_clients or {})
        self._destinations = {destination.name: destination for destination in destinations}
        self.clock = clock or SystemClock()
        self._relay_mode = relay
        self._store_settings = store_settings or StoreSettings(path=store)
        self._relay_settings = relay_settings or RelaySettings()
        self._path = store
        self.feed = Feed()
        #: Who is being typed to, live.
        self.typing_feed = TypingFeed()
        self._relay: Relay | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self._teller: asyncio.Task[None] | None = None
        self._upkeep: asyncio.Task[None] | None = None
        #: Why what the relay says of itself could not be written last time.
        self._untold: OSError | None = None
        #: When this process saw to its becoming, or being, the relay.
        self._kept_at = self.clock.now()
        self.folder: Folder
        self._lock: RelayLock
        self._writer: StoreThread
        self._reader: StoreThread
        #: Sessions, errands and conversations, by the caller's own keys of guests.
        self.guests = Guests(self)
        #: What people decide: cancel, release, retry.
        self.messages = Messages(self)
        #: What platforms POST to a webhook.
        self.receiver = Receiver(self, tuple(self._destinations.values()))
        policy = policy or PolicySettings()
        self._rulebook = Rulebook(self.clock, policy.file, (*find_rules(policy.rules), *rules))
        self._filing = Filing(files or FileSettings())
        self._acceptance = Acceptance(self._destinations, self.clock, self.store_read, self._rulebook, self._filing)

    @classmethod
    def open(
        cls,
        to: str | None = None,
        *,
        gateway: str | None = None,
        region: str | None = None,
        deployment_id: str | None = None,
        store: Path | None = None,
        relay: RelayMode = "auto",
    ) -> GuestWire:
        """
        Make a `GuestWire` of the settings found (see docs/configuration.md), or of a gateway named here.

        Args:
            to: Name of a destination in the settings; None: the only one.
            gateway: Base URL of a gateway of your own, such as the emulator's; needs `deployment_id`.
            region: Region of the org, such as ``eu-west-1``; needs `deployment_id`.
            deployment_id: UUID of the Messenger deployment.
            store: Folder of the store; None: as set, by default the user's state folder.
            relay: See the class.
        """
        loaded = load()
        if gateway is not None or region is not None:
            destination = ad_hoc(
                gateway=gateway, region=region, deployment_id=deployment_id, ambient=ambient_of(os.environ)
            )
        else:
            destination = choose(loaded.settings, to)
        return cls(
            [destination],
            store=store or default_folder(loaded.settings.store, loaded.origins, destination),
            relay=relay,
            store_settings=loaded.settings.store,
            relay_settings=loaded.settings.relay,
            policy=loaded.settings.policy,
            files=loaded.settings.files,
        )

    # --- opening and closing ---

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Open the store and, if nobody else does, begin to relay. After this method: you must call `close`."""
        self.folder = Folder(self._path)
        self._lock = RelayLock(self.folder)
        self._writer = StoreThread(self._make_store, self.folder)
        self._reader = StoreThread(self._make_store, self.folder)
        try:
            await self._writer.open()
            await self._reader.open()
            for destination in self._destinations.values():
                await self._register(destination)
            if self._relay_mode == "required" and not self._lock.acquire():
                raise StoreError(
                    f"another process (pid {self._lock.holder()}) relays out of '{self.folder.path}'",
                    code="GW-S007",
                    hint="end that one, or give this one another --store; submitting to it needs neither",
                )
        except BaseException:
            await self.close()
            raise
        if self._relay_mode != "never":
            self._keeper = asyncio.create_task(self._keep_relaying())
            self._teller = asyncio.create_task(self._tell_vitals())
            self._upkeep = asyncio.create_task(self._make_upkeep().run())
        self._watcher = asyncio.create_task(self._watch_store())

    async def close(self) -> None:
        """Let what is in flight have its outcome, close everything. What is queued stays queued."""
        self.stop()
        for task in (self._keeper, self._teller, self._upkeep, self._watcher):
            if task is not None:
                if task is not self._keeper:
                    task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._keeper = self._teller = self._upkeep = self._watcher = None
        if self._failure is None:
            self._failure = StoreError(
                "this GuestWire was closed while somebody waited", code="GW-S006", hint="close it after the last wait"
            )
        self.feed.publish(())
        await self._filing.close()
        await self._writer.close()
        await self._reader.close()
        if self._lock.is_held:
            vital_signs.remove(self.folder.path)
        self._lock.release()

    def _make_store(self) -> SqliteStore:
        settings = self._store_settings
        return SqliteStore(
            self.folder, min_free_disk_mb=settings.min_free_disk_mb, busy_timeout_s=settings.busy_timeout_s
        )

    async def _register(self, destination: Destination) -> None:
        await self._writer.write(
            lambda store: store.register(
                destination.name,
                destination.transport,
                destination.fingerprint,
                is_emulator=destination.is_emulator,
            )
        )

    # --- relaying ---

    async def _keep_relaying(self) -> None:
        """Become the relay as soon as nobody else is, and stay it."""
        try:
            while not self._stopping.is_set():
                self._kept_at = self.clock.now()
                if self._lock.acquire():
                    try:
                        await self._make_relay().run()
                        return
                    except StoreError as error:
                        if error.code == "GW-S008" or error.code in STORE_GONE:
                            raise
                        logger.error("the relay starts again: %s", error, extra={"action": "relay_restarts"})
                        self._relay = None
                        self._lock.release()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), TAKE_OVER_EVERY_S)
        except Exception as error:
            logger.exception("the relay ended with an error", extra={"action": "relay_failed"})
            self._failure = error
            self._lock.release()  # another process may do better
            self.feed.publish(())
        finally:
            self._relay = None

    def _make_relay(self) -> Relay:
        relay = Relay(
            self._writer,
            self._reader,
            clock=self.clock,
            settings=self._relay_settings,
            publish=self.feed.publish,
            publish_typing=self.typing_feed.publish,
        )
        relay.routes.update(
            routes_of(
                self._destinations.values(),
                timing=self._relay_settings,
                clock=self.clock,
                emitter=relay.emitter,
                spender=relay.spender,
                heard=self._has_heard,
                api_clients=self._api_clients,
            )
        )
        self._relay = relay
        return relay

    async def _tell_vitals(self) -> None:
        """Write what the relay says of itself into the store's folder, as long as this process is the relay."""
        while True:
            if self._relay is not None:
                # On the store's thread: a disk that stands still must not hold the loop.
                with contextlib.suppress(StoreError):
                    await self._reader.read(partial(self._write_vitals, self._relay.vitals()))
            await asyncio.sleep(WRITE_EVERY_S)

    def _write_vitals(self, vitals: Vitals, _: SqliteStore) -> None:
        try:
            vital_signs.write(self.folder.path, vitals)
        except OSError as error:
            if self._untold is None:
                logger.warning("relay.json cannot be written: %s", error.strerror, extra={"action": "vitals_unwritten"})
            self._untold = error
        else:
            self._untold = None

    def stop(self) -> None:
        """Begin nothing new. What is in flight has until `relay.shutdown_s` from now; `close` waits for that."""
        self._stopping.set()
        if self._relay is not None:
            self._relay.stop()

    def reconfigure(self, destinations: Sequence[Destination], relay_settings: RelaySettings) -> Changes:
        """
        Go by other settings, as far as that can be done without letting go of a session.

        Args:
            destinations: All of them, as they are to be.
            relay_settings: As they are to be.

        Returns:
            What differs: which keys hold from now on, and which only in another `GuestWire`. These stay as they were.
        """
        merged, changes = changed_destinations(self._destinations, {each.name: each for each in destinations})
        self._relay_settings, others = changed_relay(self._relay_settings, relay_settings)
        self._destinations.update(merged)  # the acceptance of messages looks at the same
        if self._relay is not None:
            retune(self._relay.routes, merged.values(), api_clients=self._api_clients)
            self._relay.retune(self._relay_settings)
        return changes + others

    def _make_upkeep(self) -> Upkeep:
        return Upkeep(
            self._writer,
            self._reader,
            clock=self.clock,
            settings=self._store_settings.retention,
            is_ours=lambda: self._relay is not None,
            is_busy=lambda: self._relay is not None and self._relay.in_flight > 0,
        )

    async def _has_heard(self, guest: GuestRef, names: Iterable[str], before: float) -> set[str]:
        return await self._reader.read(lambda store: store.has_heard(guest, names, before))

    async def _watch_store(self) -> None:
        """While another process is the relay, look for its news on behalf of whoever waits here."""
        seen = -1
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            if self._relay is not None or not self.feed.is_watched:
                seen = -1
                continue
            try:
                if seen < 0:
                    seen = await self._reader.read(SqliteStore.journal_seq)
                    self.feed.publish(())  # news may have been missed in between: look again
                entries = await self._reader.read(partial(SqliteStore.journal, after=seen, limit=1_000))
            except StoreError as error:
                logger.warning("the store cannot be read: %s", error, extra={"action": "watch_failed"})
                continue  # whoever waits here must not wait for ever because of one failed look
            if entries:
                seen = entries[-1].seq
                self.feed.publish(entries)

    # --- submitting ---

    @property
    def destination(self) -> Destination:
        """The default destination."""
        return next(iter(self._destinations.values()))

    def draft(self, message: Message | Draft) -> Draft:
        """Return a message as a draft for its destination."""
        return message if isinstance(message, Draft) else message.to_draft(self.destination.name)

    async def submit(self, message: Message | Draft) -> Ticket:
        """
        Accept a message. When this returns, it is committed to this machine's disk.

        Raises:
            Rejected: Our rules refuse it; nothing was stored. All findings are in `findings`.
            StoreError: It could not be stored.
        """
        (ticket,) = await self.submit_many([message])
        return ticket

    async def submit_many(self, messages: Iterable[Message | Draft]) -> list[Ticket]:
        """
        Accept messages, in their order. Nothing is stored unless every one of them passes the rules.

        They are committed in transactions of at most 1,000; if the store fails half-way, those that are stored stay
        stored, and submitting the same messages with the same keys again stores the rest.

        Raises:
            Rejected: With the findings of all messages; the path of each begins with the message's number, from 0.
            StoreError: The store failed.
        """
        intakes = await self._acceptance.look_at([self.draft(message) for message in messages])
        tickets: list[Ticket] = []
        for start in range(0, len(intakes), SUBMIT_SLICE):
            slice_ = intakes[start : start + SUBMIT_SLICE]
            tickets += await self._add(slice_)
        return tickets

    async def submit_held(self, messages: Iterable[Message | Draft], batch: str) -> list[Ticket]:
        """Accept messages of a batch, at most 1,000: they enter their lanes only with `let_go`. Raises as `submit`."""
        intakes = await self._acceptance.look_at([self.draft(message) for message in messages])
        now = self.clock.now()
        return await self._writer.write(lambda store: store.add(intakes, now, held_by=batch))

    async def let_go(self, batch: str, path: str, digest: str, rows: int) -> None:
        """Let a batch, stored whole, enter its lanes in order; remember the file that it came from."""
        now = self.clock.now()
        await self._writer.write(lambda store: store.note_batch(path, digest, rows, now))
        while await self._writer.write(lambda store: store.let_go(batch, SUBMIT_SLICE, now)):
            if self._relay is not None:
                self._relay.nudge()

    def store_write(self, verb: Callable[[SqliteStore], T]) -> asyncio.Future[T]:
        """Run a verb of the store in the next transaction, and let the relay look: for what has no method here."""
        future = self._writer.write(verb)
        if self._relay is not None:
            future.add_done_callback(lambda _: None if self._relay is None else self._relay.nudge())
        return future

    def store_read(self, verb: Callable[[SqliteStore], T]) -> asyncio.Future[T]:
        """Run a reading verb of the store: for what has no method here."""
        return self._reader.read(verb)

    def judge(self, message: Message | Draft) -> Verdict:
        """Say what would become of a message, without storing anything."""
        return self._acceptance.judge(self.draft(message))

    def check(self, message: Message | Draft) -> tuple[Finding, ...]:
        """Say everything that our rules find in a message, and store nothing; `Finding.action` says what follows."""
        return self.judge(message).findings

    async def _add(self, intakes: Sequence[Intake]) -> list[Ticket]:
        now = self.clock.now()
        tickets = await self._writer.write(lambda store: store.add(intakes, now))
        if self._relay is not None:
            self._relay.nudge()
        return tickets

    # --- asking ---

    async def message(self, message_id: MessageId) -> MessageStatus:
        """Say where a message stands."""
        return MessageStatus(message_id, await self._reader.read(lambda store: store.message_states(message_id)))

    async def wait(self, ticket: Ticket, *, timeout_s: float | None = None) -> MessageStatus:
        """
        Wait until nothing more will happen to a message by itself.

        Args:
            ticket: From `submit`.
            timeout_s: Return then, whatever the state; None: no limit.

        Raises:
            AuthenticationError: The destination does not let us in. The message stays queued.
        """
        (status,) = await self.wait_many([ticket], timeout_s=timeout_s)
        return status

    async def wait_many(self, tickets: Sequence[Ticket], *, timeout_s: float | None = None) -> list[MessageStatus]:
        """Wait for several messages; as `wait`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                async for _ in self.progress(tickets):
                    pass
        return [await self.message(ticket.message_id) for ticket in tickets]

    async def progress(self, tickets: Sequence[Ticket]) -> AsyncGenerator[Sequence[JournalEntry], None]:
        """
        Yield what happens, until nothing more will happen to any of these messages by itself.

        The entries are those of the whole store; the parts of the tickets are among them.
        """
        waiting = {part for ticket in tickets for part in ticket.part_ids}
        names = {ticket.destination for ticket in tickets}
        with self.feed.watch() as news:
            look_again = True
            while True:
                if look_again:
                    # From here on the news is complete; what happened before stands in the store.
                    waiting = await self._reader.read(partial(SqliteStore.unsettled, parts=waiting))
                self.raise_failure(None if "" in names else names)
                if not waiting:
                    return
                entries = await news.get()
                look_again = not entries
                for entry in entries:
                    if entry.event in SETTLING and entry.part_id is not None:
                        waiting.discard(entry.part_id)
                yield entries

    def raise_failure(self, destinations: Collection[str] | None = None) -> None:
        """Raise what keeps the relay of this process from working, or one of these destinations; None: any."""
        if self._failure is not None:
            raise self._failure
        if self._relay is not None:
            for name, route in self._relay.routes.items():
                if destinations is not None and name not in destinations:
                    continue
                if isinstance(route.trouble, AuthenticationError | ConfigError):
                    raise route.trouble

    def show_typing(self, guest: GuestRef) -> bool:
        """Tell that a guest types, where this process relays; returns whether it went out."""
        if self._relay is None:
            return False
        return any(route.transport.type(guest) for route in self._relay.routes.values())

    def troubles(self) -> list[str]:
        """Why destinations cannot be reached, as far as the relay of this process knows."""
        routes = {} if self._relay is None else self._relay.routes
        return [str(route.trouble) for route in routes.values() if route.trouble is not None]

    @property
    def relay_pid(self) -> int | None:
        """The process that relays out of the store, or was the last to do so; None: none ever did."""
        return self._lock.holder()

    async def status(self) -> Status:
        """Return the whole picture."""
        relay = self._relay
        store = await self._reader.read(SqliteStore.status)
        if relay is not None:
            where: Literal["here", "elsewhere", "none"] = "here"
        elif self._lock.is_held_elsewhere():
            where = "elsewhere"
        else:
            where = "none"
        vitals = self.vitals()
        destinations = {} if vitals is None else vitals.destinations
        return Status(
            store,
            str(self.folder.path),
            where,
            self._lock.holder() if where != "none" else None,
            0 if vitals is None else vitals.in_flight,
            {name: str(each.trouble) for name, each in destinations.items() if each.trouble is not None},
            {name: each.figures for name, each in destinations.items()},
            {name: each.limits_held for name, each in destinations.items()},
            vitals,
        )

    def vitals(self) -> Vitals | None:
        """Return what the relay of the store says of itself, here or elsewhere; None where nobody says anything."""
        if self._relay is not None:
            return self._relay.vitals()
        told = vital_signs.read(self.folder.path)
        # A file outlives its writer; a lock does not.
        if told is None or not self._lock.is_held_elsewhere() or told.pid != self._lock.holder():
            return None
        return told

    @property
    def still_s(self) -> float:
        """How long the relay of this process, or the attempt to become it, has not turned, in seconds."""
        if self._keeper is None:
            return 0.0
        return self.clock.now() - (self._kept_at if self._relay is None else self._relay.turned_at)

    def obstacles(self) -> list[Obstacle]:
        """Say everything that keeps this process from sending what is queued now; nothing: it is ready."""
        if self._relay is None or not self._lock.is_held:
            text = "this process is not the relay of its store" if self._failure is None else "the relay has ended"
            return [Obstacle("relay", "", "no_relay", text)]
        found = obstacles(self._relay.vitals())
        if not any(each.what == "store" for each in found):
            found += self._obstacles_of_folder()
        return found

    def _obstacles_of_folder(self) -> list[Obstacle]:
        """What keeps the store from being written, though it has not said so yet."""
        if self._untold is not None:
            text = f"nothing can be written to '{self.folder.path}': {self._untold.strerror}"
            return [Obstacle("store", "", "GW-S001", text)]
        try:
            disk = os.statvfs(self.folder.path)
        except OSError as error:
            return [Obstacle("store", "", "GW-S001", f"'{self.folder.path}' cannot be looked at: {error.strerror}")]
        free_mb, least_mb = disk.f_bavail * disk.f_frsize / 1_000_000, self._store_settings.min_free_disk_mb
        if free_mb < least_mb:
            text = f"{free_mb:,.0f} MB are free, less than min_free_disk_mb ({least_mb:g}): nothing new is accepted"
            return [Obstacle("store", "", "GW-S021", text)]
        return []

    async def find(self, name: str, *, with_text: bool = False) -> tuple[list[PartView], list[JournalEntry]]:
        """Return the parts of a message and everything the journal holds about them, by id or its beginning."""
        message_id = await self._reader.read(lambda store: store.message_of(name))
        parts = await self._reader.read(lambda store: store.message_parts(message_id, with_text=with_text))
        entries: list[JournalEntry] = []
        for part in parts:
            entries += await self._reader.read(partial(SqliteStore.journal_of, part_id=part.id))
        return parts, sorted(entries, key=lambda entry: entry.seq)

    async def parts(
        self,
        *,
        state: PartState | None = None,
        guest: str | None = None,
        to: str | None = None,
        limit: int = 50,
        with_text: bool = False,
    ) -> list[PartView]:
        """Return the newest parts first; those of one guest, known to destination `to` or to the first one."""
        guest_ref = None if guest is None else await self.guest_ref(guest, to=to)
        return await self._reader.read(
            lambda store: store.list_parts(state=state, guest=guest_ref, limit=limit, with_text=with_text)
        )

    async def replies(
        self,
        guest: str | None = None,
        *,
        to: str | None = None,
        consumer: str | None = None,
        after: int = 0,
        follow: bool = True,
        reorder_s: float | None = None,
    ) -> AsyncGenerator[Reply, None]:
        """
        Yield what the platform said: to one guest, or to all.

        Nothing orders replies on the wire, so each waits a moment for older ones; one that comes later still has `late`
        set.

        Args:
            guest: The caller's key; None: every guest of the store.
            to: The destination whose guest is meant; None: the first that knows one of that key.
            consumer: A name of the caller's: only replies that were not yet acknowledged under it (`acknowledge`) are
                yielded, also after a restart.
            after: Only replies with a higher `seq`. They rise in order of arrival, which need not be the order here:
                whoever has to be sure to skip nothing uses a `consumer`.
            follow: False ends with the newest; True waits for more.
            reorder_s: How long each waits, in seconds; None: as set (`relay.reorder_s`); 0: in order of arrival.
        """
        if guest is not None and consumer is not None:
            raise ConfigError(
                "a consumer reads the replies of all guests, and one guest was named",
                code="GW-C044",
                hint="leave one of the two out; 'guest_ref' of a reply says whose it is",
            )
        guest_ref = None if guest is None else await self.guest_ref(guest, to=to)
        beyond: set[int] = set()
        if consumer is not None:
            cursor, beyond = await self._reader.read(partial(SqliteStore.cursor, sink=f"replies:{consumer}"))
            if cursor == 0:
                # From now on what it has not read yet is kept for it.
                await self._writer.write(partial(SqliteStore.know_reader, sink=f"replies:{consumer}"))
            after = max(after, cursor)
        waiting = Reorder(self._relay_settings.reorder_s if reorder_s is None else reorder_s)
        with self.feed.watch() as news:
            while True:
                found = await self._reader.read(partial(SqliteStore.replies, after=after, limit=500, guest=guest_ref))
                for reply in found:
                    after = reply.seq
                    if reply.seq not in beyond:
                        waiting.push(reply)
                for reply in waiting.release(self.clock.now()):
                    yield reply
                if found:
                    continue
                if not follow:
                    break
                await _until_reply(news, waiting.next_at, self.clock.now())
        for reply in waiting.flush():
            yield reply

    async def acknowledge(
        self,
        reply: Reply,
        *,
        consumer: str | None = None,
        status: Literal["delivered", "read", "failed"] = "read",
        reason: str | None = None,
    ) -> None:
        """
        Say what became of a reply: that a consumer has dealt with it, or that the guest has it.

        With a `consumer`, `replies(consumer=...)` does not yield it again. Without one this is a receipt: Open
        Messaging is told ``Delivered`` or ``Failed``, by whichever process relays, again until it is taken; that a
        guest has *read* it stands in the journal alone, because no platform takes more. Said twice, or out of order, it
        changes nothing.

        Args:
            reply: From `replies`; its `seq` names it.
            consumer: A name of the caller's; in any order.
            status: Of a receipt.
            reason: Of a failure: one of the platform's codes, such as ``MessageExpired``.
        """
        if consumer is not None:
            await self._writer.write(partial(SqliteStore.acknowledge, sink=f"replies:{consumer}", seq=reply.seq))
            return
        if reason is not None and (status != "failed" or reason not in RECEIPT_REASONS):
            raise ConfigError(
                "a receipt has a reason only where it failed, and the platform knows it by a code",
                code="GW-C048",
                hint=f"one of {', '.join(sorted(RECEIPT_REASONS))}",
            )
        now = self.clock.now()
        await self.store_write(lambda store: store.note_receipt(reply.seq, status, now, reason))

    async def receive_webhook(self, headers: Mapping[str, str], body: bytes) -> WebhookAnswer:
        """
        Take what a platform POSTs to a webhook: for a server of one's own. `guestwire up --webhook-port` has one.

        Args:
            headers: Of the request, compared without case where the mapping does.
            body: The raw bytes: the signature is over them, not over what they mean.

        Returns:
            The status to answer with. 200 only when everything that it brought is on disk.
        """
        return await self.receiver.receive(headers, body)

    async def refresh_token(self, to: str | None = None) -> None:
        """
        Fetch an OAuth token now: a way to see before the first message that the credentials are good.

        Args:
            to: Name of a destination; None: the default.

        Raises:
            AuthenticationError: They are not.
            GuestWireError: GW-A003, the platform cannot be asked.
        """
        from guestwire.transports.rest import RestTransport

        destination = self.destination if to is None else self._destinations[to]
        relay = self._relay
        transport = None if relay is None else relay.routes[destination.name].transport
        if isinstance(transport, RestTransport):
            await transport.refresh()
            return
        # Another process relays, or none does yet: its token is its own, so these credentials are only tried.
        caller = caller_of(destination, timing=self._relay_settings, clock=self.clock, api_clients=self._api_clients)
        try:
            await caller.refresh()
        finally:
            await caller.close()

    def typing(self) -> contextlib.AbstractContextManager[asyncio.Queue[tuple[GuestRef, float]]]:
        """
        Receive who is being typed to, and for how many seconds unless something is said before.

        Live only, never stored; nothing comes where another process is the relay.
        """
        return self.typing_feed.watch()

    async def fetch(self, reply: Reply, file: ReceivedFile) -> bytes:
        """
        Fetch a file that came with a reply. Its address lives for ten minutes; an older one is renewed first.

        Raises:
            GuestWireError: GW-G002, the file cannot be had.
        """
        destination = self._destinations.get(await self.guests.destination_of(reply.guest_ref)) or self.destination
        return await fetch(destination, file, lambda: self.guests.download_url(reply.guest_ref, file))

    async def journal(self, *, after: int | None = None) -> AsyncGenerator[JournalEntry, None]:
        """Yield journal entries as they are committed; from now on, or after a number."""
        with self.feed.watch() as news:
            seen = await self._reader.read(SqliteStore.journal_seq) if after is None else after
            while True:
                entries = await self._reader.read(partial(SqliteStore.journal, after=seen, limit=1_000))
                for entry in entries:
                    seen = entry.seq
                    yield entry
                if not entries:
                    await news.get()

    async def guest_key(self, guest_ref: GuestRef) -> GuestKey:
        """Return the caller's name for a guest."""
        return await self._reader.read(lambda store: store.guest_key(guest_ref))

    async def guest_ref(self, guest: str, *, to: str | None = None) -> GuestRef:
        """Return our name for a guest of the caller's: of destination `to`, else of the first that knows him."""
        known = await self._reader.read(SqliteStore.destinations)
        for name in dict.fromkeys((*self._destinations, *known)) if to is None else (to,):
            found = await self._reader.read(partial(SqliteStore.find_guest, destination=name, guest=GuestKey(guest)))
            if found is not None:
                return found
        raise NotFound("no message was ever submitted for this guest", code="GW-N003", hint="check the guest's key")


async def _until_reply(news: asyncio.Queue[Sequence[JournalEntry]], until: float | None, now: float) -> None:
    """Return when a reply was stored, when news may have been missed (no entries), or when a wait is over."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(None if until is None else max(0.0, until - now)):
            while entries := await news.get():
                if any(entry.event == "reply.received" for entry in entries):
                    return


#: Journal events after which nothing more happens to a part by itself.
SETTLING = frozenset({"part.accepted", "part.dead", "part.expired", "part.cancelled", "part.parked"})


def default_folder(settings: StoreSettings, origins: Mapping[str, str], destination: Destination) -> Path:
    """
    Return where a destination's store lies.

    Where the user named no place, emulators get a folder of their own: one store never serves both.
    """
    if origins.get("store.path", "default") == "default":
        return settings.path / ("emulator" if destination.is_emulator else "live")
    return settings.path
