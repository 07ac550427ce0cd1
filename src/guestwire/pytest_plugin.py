"""
The pytest plugin: the fixture `genesys`, a local Genesys for one test.

Loaded by pytest through the entry point in every run of everybody who has guestwire installed, so it imports nothing
until the fixture is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from guestwire.emulator.thread import EmulatorThread


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker that sets the emulator up, and let the suites' assertions say what they saw."""
    for suite in ("stores", "machine", "transports"):
        pytest.register_assert_rewrite(f"guestwire.testing.{suite}")
    config.addinivalue_line("markers", "genesys(**settings): settings of the emulator behind the fixture `genesys`")


@pytest.fixture
def genesys(request: pytest.FixtureRequest) -> Iterator[EmulatorThread]:
    """
    A local Genesys in a thread of its own: for plain tests and for coroutines.

    ``@pytest.mark.genesys(limits="off")`` gives it settings. It offers `url`, `ws_url`, `deployment_id`, `messages()`,
    `inject(kind, ...)`, `say(text)`, `advance(seconds)`, `state()`, `reset()`.
    """
    from guestwire.emulator.settings import EmulatorSettings
    from guestwire.emulator.thread import EmulatorThread

    marker = request.node.get_closest_marker("genesys")
    emulator = EmulatorThread(EmulatorSettings.checked(marker.kwargs if marker else {}))
    try:
        yield emulator
    finally:
        emulator.close()
