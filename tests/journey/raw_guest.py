"""A guest's client for tests without an event loop: a third party's WebSocket, raw JSON, nothing of ours."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from websockets.sync.client import ClientConnection, connect

#: How long a test waits for a frame that must come, in seconds.
PATIENCE_S = 15.0


class Guest(NamedTuple):
    """A guest's client that knows the wire and nothing else."""

    socket: ClientConnection
    token: str

    def send(self, action: str, **fields: Any) -> None:
        """Send a request."""
        self.socket.send(json.dumps({"action": action, "token": self.token, **fields}))

    def body(self) -> dict[str, Any]:
        """Return the next frame's body."""
        body: dict[str, Any] = json.loads(self.socket.recv(timeout=PATIENCE_S))["body"]
        return body

    def ask(self, action: str, **fields: Any) -> dict[str, Any]:
        """Send a request and return the next frame's body."""
        self.send(action, **fields)
        return self.body()

    def say(self, text: str, **message: Any) -> dict[str, Any]:
        """Send a text and return the next frame's body."""
        return self.ask("onMessage", message={"type": "Text", "text": text, **message})

    def join(self) -> dict[str, Any]:
        """Announce the guest, as autoStart clients do."""
        event = {"eventType": "Presence", "presence": {"type": "Join"}}
        return self.ask("onMessage", message={"type": "Event", "events": [event]})

    @property
    def name(self) -> str:
        """What the emulator calls the guest."""
        return f"guest {hashlib.sha256(self.token.encode()).hexdigest()[:6]}"


@contextlib.contextmanager
def connected(genesys: Any, who: str = "t") -> Iterator[Guest]:
    """A guest whose session is configured; `who` is the token."""
    with connect(f"{genesys.ws_url}?deploymentId={genesys.deployment_id}") as socket:
        guest = Guest(socket, who)
        guest.ask("configureSession", deploymentId=genesys.deployment_id)
        yield guest
