"""`EmulatorThread`: an emulator in a thread and loop of its own, for plain tests and for coroutines."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from guestwire.emulator.app import Emulator
from guestwire.emulator.settings import EmulatorSettings

T = TypeVar("T")


class EmulatorThread:
    """
    The same verbs as `Emulator`, callable from any thread; each returns when it is done.

    From a coroutine they block its loop for the fraction of a millisecond that they take, which a test can afford.

    Args:
        settings: How the emulator behaves.

    Raises:
        ConfigError: As `Emulator` and its `start`.
    """

    def __init__(self, settings: EmulatorSettings | None = None) -> None:
        self._emulator = Emulator(settings)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(started)), name="guestwire-emulator", daemon=True
        )
        self._thread.start()
        try:
            started.result()
        except BaseException:
            self._thread.join()
            raise
        self.settings = self._emulator.settings
        #: Base URL of everything over HTTP.
        self.url = self._emulator.url
        #: URL of the WebSocket, without its query.
        self.ws_url = self._emulator.ws_url
        #: Path of the CA certificate to verify it by; None without TLS, or with a certificate of yours.
        self.ca_file = self._emulator.ca_file
        #: The one deployment there is.
        self.deployment_id = self._emulator.deployment_id
        #: The organisation, the one integration and the one OAuth client there are.
        self.organization_id = self._emulator.organization_id
        self.integration_id = self._emulator.integration_id
        self.client_id = self._emulator.client_id
        #: What webhooks are signed with.
        self.webhook_secret = self._emulator.webhook_secret

    def __repr__(self) -> str:
        return f"<EmulatorThread {self.url}>"

    async def _run(self, started: concurrent.futures.Future[None]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            await self._emulator.start()
        except BaseException as failure:  # raised again in the thread that asked
            started.set_exception(failure)
            return
        started.set_result(None)
        try:
            await self._stop.wait()
        finally:
            await self._emulator.close()

    def close(self) -> None:
        """Close every connection, the port and the thread. May be called twice."""
        if self._thread.is_alive() and self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _call(self, verb: Callable[..., T], *arguments: Any, **named: Any) -> T:
        async def call() -> T:
            return verb(*arguments, **named)

        if self._loop is None or not self._thread.is_alive():
            raise RuntimeError("the emulator is closed")
        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()

    @property
    def client_secret(self) -> str:
        """See `Emulator.client_secret`."""
        return self._call(lambda: self._emulator.client_secret)

    def webhooks(self) -> list[dict[str, Any]]:
        """See `Emulator.webhooks`."""
        return self._call(self._emulator.webhooks)

    def set_webhook(self, url: str) -> None:
        """See `Emulator.set_webhook`."""
        self._call(self._emulator.set_webhook, url)

    def now(self) -> float:
        """See `Emulator.now`."""
        return self._call(self._emulator.now)

    def state(self) -> dict[str, Any]:
        """See `Emulator.state`."""
        return self._call(self._emulator.state)

    def conversations(self) -> list[dict[str, Any]]:
        """See `Emulator.conversations`."""
        return self._call(self._emulator.conversations)

    def messages(self, *, conversation_id: str | None = None, token: str | None = None) -> list[dict[str, Any]]:
        """See `Emulator.messages`."""
        return self._call(self._emulator.messages, conversation_id=conversation_id, token=token)

    def requests(self) -> list[dict[str, Any]]:
        """See `Emulator.requests`."""
        return self._call(self._emulator.requests)

    def inject(self, kind: str, **fault: Any) -> str:
        """See `Emulator.inject`."""
        return self._call(self._emulator.inject, kind, **fault)

    def faults(self) -> list[dict[str, Any]]:
        """See `Emulator.faults`."""
        return self._call(self._emulator.faults)

    def clear_faults(self, fault_id: str | None = None) -> int:
        """See `Emulator.clear_faults`."""
        return self._call(self._emulator.clear_faults, fault_id)

    def say(self, text: str | None = None, **what: Any) -> str:
        """See `Emulator.say`."""
        return self._call(self._emulator.say, text, **what)

    def disconnect(self, *, read_only: bool | None = None, **whom: Any) -> str:
        """See `Emulator.disconnect`."""
        return self._call(self._emulator.disconnect, read_only=read_only, **whom)

    def trigger(self, what: str, **whom: Any) -> list[str]:
        """See `Emulator.trigger`."""
        return self._call(self._emulator.trigger, what, **whom)

    def advance(self, seconds: float) -> None:
        """See `Emulator.advance`."""
        self._call(self._emulator.advance, seconds)

    def reset(self) -> None:
        """See `Emulator.reset`."""
        self._call(self._emulator.reset)
