"""The SDK stays away until somebody brings it along."""

from __future__ import annotations

import pytest

from guestwire.clock import SystemClock
from guestwire.errors import ConfigError
from guestwire.settings import Destination, RelaySettings
from guestwire.transports.sdk import sdk_caller_of
from tests.unit.test_importing import pulled_in_by


def test_the_way_through_the_sdk_does_not_import_it() -> None:
    """It takes seconds and 200 MB, and its users have imported it when they hand over an object of it."""
    candidates = ("PureCloudPlatformClientV2", "urllib3", "watchdog", "aiohttp")
    assert pulled_in_by("import guestwire.transports.sdk", candidates) == []


@pytest.mark.parametrize("thing", [None, object(), "https://api.mypurecloud.com"])
def test_what_is_no_api_client_is_refused_without_the_sdk(thing: object) -> None:
    """Whether the SDK is there or not, the error says what is wanted."""
    to = Destination(name="own", transport="rest-contract", url="http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="no ApiClient") as caught:
        sdk_caller_of(to, thing, clock=SystemClock(), timing=RelaySettings())
    assert caught.value.code == "GW-C006"
    assert "ApiClient()" in caught.value.hint
