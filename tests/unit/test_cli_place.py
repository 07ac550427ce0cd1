"""Where a command works, as flags and settings say."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestwire.cli.common import place
from guestwire.errors import ConfigError

SETTINGS = """
[destinations.web]
region = "eu-west-1"
deployment_id = "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50"
[destinations.shop]
region = "us-east-1"
deployment_id = "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c51"
[destinations.emulator]
url = "http://127.0.0.1:8700"
deployment_id = "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c52"
"""


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "guestwire.toml").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))


def test_a_relay_without_a_name_serves_every_destination_but_the_emulator() -> None:
    """`guestwire up` is one process for all that the settings name; an emulator is only ever chosen by name."""
    where = place(every=True)
    assert where.destination is not None
    assert [each.name for each in (where.destination, *where.others)] == ["web", "shop"]
    assert where.folder.name == "live"


def test_a_name_means_that_one_alone() -> None:
    """`--to emulator` has a store of its own beside the live one."""
    where = place(to="emulator", every=True)
    assert where.destination is not None
    assert (where.destination.name, where.others, where.folder.name) == ("emulator", (), "emulator")


def test_a_message_needs_a_name_where_several_are_defined() -> None:
    """`send` never guesses."""
    with pytest.raises(ConfigError, match="GW-C002"):
        place()
