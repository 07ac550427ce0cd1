"""How many examples the laws are tried on: 200, or 20,000 with GUESTWIRE_EXAMPLES=long; and the official SDK."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("push", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("GUESTWIRE_EXAMPLES", "push"))


@pytest.fixture(scope="session")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """
    The SDK, imported away from the settings of whoever runs the tests.

    It takes seconds and 200 MB, so tests that want it are marked ``xdist_group("sdk")``: one process imports it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own
            import PureCloudPlatformClientV2
        yield PureCloudPlatformClientV2
