"""What a look may use: the destination with the places of its settings, the time, and how the far side is asked."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from guestwire.clock import Clock
from guestwire.doctor.asking import Asking
from guestwire.doctor.checks import Check
from guestwire.settings import Destination


class Given(msgspec.Struct, frozen=True):
    """A destination, and where its settings come from."""

    destination: Destination
    origins: Mapping[str, str] = {}
    """By dotted key, as `guestwire.settings.load` tells them."""

    def source(self, *fields: str) -> str:
        """Where settings come from, in words; empty: nobody has set them."""
        keys = [f"destinations.{self.destination.name}.{field}" for field in fields]
        found = [self.origins[key] for key in keys if self.origins.get(key, "default") != "default"]
        return ", ".join(dict.fromkeys(found))

    def told(self, text: str, *fields: str) -> str:
        """A text with the place of its settings in brackets, if it is known."""
        source = self.source(*fields)
        return f"{text} ({source})" if source else text


class Scene(msgspec.Struct, frozen=True):
    """One examination, as each of its looks sees it."""

    given: Given
    clock: Clock
    """The time that the far side's is held against."""
    tls: ssl.SSLContext
    asking: Asking

    @property
    def destination(self) -> Destination:
        """What is looked at."""
        return self.given.destination


#: Asks one question. What it raises becomes a failed check.
Look = Callable[[Scene], Awaitable[Check]]
