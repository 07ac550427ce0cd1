"""The settings of `sinks.replies`: what they hold, what they refuse, and what they never show."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestwire.errors import ConfigError
from guestwire.settings import Loaded, ReplyForwarding, load

URL = "https://crm.example/hooks/canary-5512?k=canary-5512"


def loaded(folder: Path, text: str = "", **environ: str) -> Loaded:
    """Load a project file and an environment, and nothing else."""
    (folder / "guestwire.toml").write_text(text)
    return load(environ=environ, cwd=folder, home=folder)


def test_nothing_is_forwarded_where_nothing_is_set(tmp_path: Path) -> None:
    """And the defaults are those of the page."""
    assert loaded(tmp_path).settings.sinks.replies == ReplyForwarding()
    assert ReplyForwarding().url is None


def test_a_file_sets_all_of_it(tmp_path: Path) -> None:
    """The file of secrets belongs to the folder of the file that names it."""
    text = (
        f'[sinks.replies]\nurl = "{URL}"\nsecret_file = "hook.secret"\nconsumer = "crm"\ntimeout_s = 2\n'
        'allow = ["crm.example:8080", "[fd00::7]"]\n'
    )
    assert loaded(tmp_path, text).settings.sinks.replies == ReplyForwarding(
        url=URL,
        secret_file=tmp_path / "hook.secret",
        consumer="crm",
        timeout_s=2.0,
        allow=("crm.example:8080", "[fd00::7]"),
    )


def test_variables_set_all_of_it(tmp_path: Path) -> None:
    """A list is parted by commas; SECRET_FILE is the setting itself, and no file that holds a setting."""
    found = loaded(
        tmp_path,
        GUESTWIRE_SINKS__REPLIES__URL=URL,
        GUESTWIRE_SINKS__REPLIES__SECRET_FILE="hook.secret",
        GUESTWIRE_SINKS__REPLIES__ALLOW="crm.example, 10.0.0.7:8080",
    )
    assert found.settings.sinks.replies == ReplyForwarding(
        url=URL, secret_file=tmp_path / "hook.secret", allow=("crm.example", "10.0.0.7:8080")
    )
    assert found.origins["sinks.replies.allow"] == "environment GUESTWIRE_SINKS__REPLIES__ALLOW"
    assert found.origins["sinks.replies.timeout_s"] == "default"
    assert found.warnings == []


def test_the_proxy_of_the_environment_counts(tmp_path: Path) -> None:
    """As for destinations."""
    found = loaded(tmp_path, HTTPS_PROXY="http://proxy:3128", NO_PROXY="near.example").settings.sinks.replies.ambient
    assert found.proxy_for("crm.example", secure=True) == "http://proxy:3128"
    assert found.proxy_for("crm.example", secure=False) is None
    assert found.proxy_for("near.example", secure=True) is None


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ('url = "https://crm.example/"', "GW-C011", "sinks.replies.secret_file is missing"),
        ('url = "crm.example"\nsecret_file = "s"', "GW-C009", "sinks.replies.url"),
        ('url = "ftp://crm.example/canary-5512"\nsecret_file = "s"', "GW-C009", "sinks.replies.url"),
        ('url = "https://joe:canary-5512@crm.example/"\nsecret_file = "s"', "GW-C009", "sinks.replies.url"),
        ('url = "https://crm.example/#canary-5512"\nsecret_file = "s"', "GW-C009", "sinks.replies.url"),
        ('url = "https://crm.example/canary-5512 x"\nsecret_file = "s"', "GW-C009", "sinks.replies.url"),
        ("url = 7", "GW-C006", "sinks.replies.url"),
        ('consumer = "No Name"', "GW-C009", "sinks.replies.consumer"),
        ('allow = "crm.example"', "GW-C006", "a list of texts"),
        ("allow = [7]", "GW-C006", "a list of texts"),
        ('allow = ["https://crm.example"]', "GW-C009", "sinks.replies.allow"),
        ('allow = ["crm.example/x"]', "GW-C009", "sinks.replies.allow"),
        ('allow = ["*"]', "GW-C009", "sinks.replies.allow"),
        ('allow = ["::1"]', "GW-C009", "sinks.replies.allow"),
        ("timeout_s = 0", "GW-C007", "sinks.replies.timeout_s"),
        ('secret = "canary-5512"', "GW-C005", "sinks.replies.secret"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(tmp_path: Path, text: str, code: str, said: str) -> None:
    """With the key, and without a part of the address, whose path may be its key."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"[sinks.replies]\n{text}\n")
    assert caught.value.code == code
    assert said in caught.value.message
    assert "canary-5512" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("text", ["[sinks]\nreply = 1", "[sinks.reply]\nurl = 'https://x.example/'", "sinks = 1"])
def test_a_table_of_another_name_is_an_error(tmp_path: Path, text: str) -> None:
    """A sink that is misspelled would silently forward nothing."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text + "\n")
    assert caught.value.code in ("GW-C005", "GW-C006")
