"""What `up` is to whoever operates it: orders by signals, settings read anew, health, a service manager's watchdog."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import signal
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, NamedTuple

import msgspec

from guestwire.cli import logs, show
from guestwire.cli.common import Place, stop_at_once, usage
from guestwire.cli.supervisor import Supervisor
from guestwire.client import GuestWire
from guestwire.errors import GuestWireError, StoreError
from guestwire.health import HealthServer, is_alive
from guestwire.policy.reload import Changes, differences
from guestwire.settings import Destination
from guestwire.settings.values import is_loopback
from guestwire.store.sqlite import SqliteStore

logger = logging.getLogger("guestwire.cli.operating")


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int


class Ports(NamedTuple):
    """What `up` answers at."""

    webhook_host: str
    webhook: int | None
    health: Address | None


def address_of(text: str) -> Address:
    """
    Read ``ADDRESS:PORT``; without an address, or with ``localhost``, this machine alone is meant.

    Another address has to be written as one: a name could lead anywhere, and nothing at all must not open a port to
    the network.
    """
    host, colon, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not (colon and port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise usage(f"--http '{text[:60]}' is not ADDRESS:PORT", "such as 127.0.0.1:9464")
    if host in ("", "localhost"):
        return Address("127.0.0.1", int(port))
    try:
        return Address(str(ipaddress.ip_address(host)), int(port))
    except ValueError:
        raise usage(
            f"--http '{text[:60]}' names no address", "such as 127.0.0.1:9464; 0.0.0.0:9464 opens it to the network"
        ) from None


class Orders:
    """
    What signals say: SIGTERM and SIGINT stop, and the second one at once; SIGHUP reads the settings anew.

    Args:
        loop: Hears the signals.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        #: Whether to end.
        self.stop = False
        self._reload = False
        self._given = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._told_to_reload)

    def _told_to_stop(self) -> None:
        if self.stop:
            stop_at_once()
        show.say("stopping: what is in flight gets its answer, what is queued stays queued")
        self.stop = True
        self._given.set()

    def _told_to_reload(self) -> None:
        self._reload = True
        self._given.set()

    def taken_reload(self) -> bool:
        """Whether the settings are to be read anew; asked once, it is told once."""
        told, self._reload = self._reload, False
        return told

    async def wait(self, most_s: float) -> None:
        """Return when there is an order, or after so many seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._given.wait(), most_s)
        self._given.clear()


@contextlib.asynccontextmanager
async def answering(wire: GuestWire, address: Address | None) -> AsyncIterator[None]:
    """Answer questions about health for the length of the block, if an address is given."""
    if address is None:
        yield
        return
    if not is_loopback(address.host):
        show.warn(f"health is told to whoever reaches {address.host}: nobody is asked who he is, nothing is encrypted")
    async with HealthServer(wire, host=address.host, port=address.port) as server:
        show.say(f"answering {server.url}/healthz and /readyz")
        yield


@contextlib.asynccontextmanager
async def patting(wire: GuestWire, supervisor: Supervisor) -> AsyncIterator[None]:
    """For the length of the block, pat the service manager's watchdog as long as the relay's loop turns."""
    every_s = supervisor.pat_every_s
    if every_s is None:
        yield
        return

    async def pat() -> None:
        while True:
            if is_alive(wire):
                supervisor.tell("WATCHDOG=1")
            await asyncio.sleep(every_s)

    task = asyncio.create_task(pat())
    try:
        yield
    finally:
        # To the end of it: closing is work too, and a loop that is stuck in it does not get here.
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def report(wire: GuestWire, supervisor: Supervisor) -> None:
    """Tell the service manager how it goes; that it has started once the store is taken over."""
    obstacles = wire.obstacles()
    if not any(each.code in ("starting", "no_relay") for each in obstacles):
        supervisor.started()
    words = "; ".join(f"{each.what} {each.name}: {each.text}".replace(" :", ":") for each in obstacles)
    supervisor.status(show.printable(f"not ready: {words}" if obstacles else "relaying", width=500))


async def reload(wire: GuestWire, where: Place, again: Callable[[], Place], supervisor: Supervisor) -> Place:
    """
    Read the settings anew, and go by them as far as a running relay can.

    Returns:
        What holds now: settings that cannot be read, or make no sense, change nothing at all.
    """
    supervisor.reloading()
    try:
        new = await asyncio.to_thread(again)
    except GuestWireError as error:
        logs.configure(where.loaded.settings.log)
        show.warn(f"the new settings are refused, the old ones hold: {error.message} [{error.code}]", code=error.code)
        if error.hint:
            show.say(f"  {show.printable(error.hint)}")
        await _note(wire, "config.refused", {"code": error.code, "reason": error.message})
        supervisor.started()
        return where
    changes = wire.reconfigure(_destinations(new), new.loaded.settings.relay) + _others(where, new)
    if changes.live:
        show.say(f"from now on: {', '.join(changes.live)}")
    if changes.restart:
        show.warn(f"only after a restart: {', '.join(changes.restart)}")
    if changes == Changes():
        show.say("the settings are what they were")
    await _note(wire, "config.reloaded", {"changed": list(changes.live), "restart": list(changes.restart)})
    supervisor.started()
    before = where.loaded.settings
    in_force = msgspec.structs.replace(new.loaded.settings, store=before.store, sinks=before.sinks)
    return msgspec.structs.replace(new, loaded=msgspec.structs.replace(new.loaded, settings=in_force))


def _destinations(where: Place) -> list[Destination]:
    return [each for each in (where.destination, *where.others) if each is not None]


def _others(old: Place, new: Place) -> Changes:
    """What differs elsewhere: how the log is written holds already, the rest after a restart."""
    before, after = old.loaded.settings, new.loaded.settings
    restart = [f"store.{key}" for key in differences(before.store, after.store)]
    restart += [f"sinks.{key}" for key in differences(before.sinks, after.sinks)]
    live = [f"log.{key}" for key in differences(before.log, after.log)]
    return Changes(tuple(live), tuple(restart))


async def _note(wire: GuestWire, event: str, detail: dict[str, Any]) -> None:
    now = wire.clock.now()
    logger.info("%s", event, extra={"action": event, **{f"detail_{name}": value for name, value in detail.items()}})
    try:
        await wire.store_write(partial(SqliteStore.note, event=event, guest=None, detail=detail, now=now))
    except StoreError as error:
        logger.error("the journal cannot be written: %s", error, extra={"action": "store_failed", "code": error.code})
