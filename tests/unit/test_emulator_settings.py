"""Settings, scripts and ids of the emulator, and that its docs name them all."""

from __future__ import annotations

import inspect
import pathlib
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.emulator import admin
from guestwire.emulator.agents import BUILT_IN, Rule, load_script, parse_script
from guestwire.emulator.faults import KINDS
from guestwire.emulator.hosts import host_of
from guestwire.emulator.ids import Draws, iso_time
from guestwire.emulator.settings import EmulatorSettings, wanted
from guestwire.errors import ConfigError
from guestwire.protocol.frames import Message

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "emulator.md"


def test_overrides_are_read_by_type() -> None:
    """Numbers, switches, ranges and lists are read as what the setting is."""
    settings = EmulatorSettings.with_overrides(
        ["messages_per_second=2", "auto_start=on", "clear_enabled=true", "typing_enabled=NO", "history_lag_s=0.5",
         "echo_delay_ms=10-20", "upload_event_delay_ms=0", "allowed_origins=a.example, b.example", "limits=off",
         "deployment_id=abc"],
        base={"seed": 3, "port": 0},
    )  # fmt: skip
    assert settings == EmulatorSettings(
        seed=3,
        messages_per_second=2,
        auto_start=True,
        clear_enabled=True,
        typing_enabled=False,
        history_lag_s=0.5,
        echo_delay_ms=(10.0, 20.0),
        upload_event_delay_ms=(0.0, 0.0),
        allowed_origins=("a.example", "b.example"),
        limits="off",
        deployment_id="abc",
    )


@pytest.mark.parametrize(
    ("override", "code", "hint"),
    [
        ("messages_per_seconds=2", "GW-C032", "did you mean 'messages_per_second'?"),
        ("zzz=2", "GW-C032", "docs/emulator.md lists all settings"),
        ("messages_per_second", "GW-C030", "for example: --set messages_per_second=2"),
        ("messages_per_second=many", "GW-C033", "wanted: a whole number from 1"),
        ("messages_per_second=0", "GW-C033", "wanted: a whole number from 1"),
        ("port=70000", "GW-C033", "wanted: a whole number from 0 to 65535"),
        ("auto_start=perhaps", "GW-C033", "wanted: true or false"),
        ("limits=some", "GW-C033", "wanted: documented or off"),
        ("echo_delay_ms=40-5", "GW-C033", "wanted: milliseconds: a number, or two as FROM-TO"),
        ("echo_delay_ms=-5", "GW-C033", "wanted: milliseconds: a number, or two as FROM-TO"),
        ("history_lag_s=nan?", "GW-C033", "wanted: a number from 0"),
    ],
)
def test_wrong_overrides_teach(override: str, code: str, hint: str) -> None:
    """A wrong name names the nearest, a wrong value what is wanted."""
    with pytest.raises(ConfigError) as refused:
        EmulatorSettings.with_overrides([override])
    assert (refused.value.code, refused.value.hint) == (code, hint)


@pytest.mark.parametrize("value", [5, 5.0, [5, 5], (5, 5), "5", "5-5"])
def test_a_delay_is_a_number_or_a_range(value: Any) -> None:
    """From Python a delay may be a number, a pair or text."""
    assert EmulatorSettings.checked({"echo_delay_ms": value}).echo_delay_ms == (5.0, 5.0)


def test_every_setting_is_documented() -> None:
    """Each setting has a docstring, a type in words, and its row with the default in docs/emulator.md."""
    source = inspect.getsource(EmulatorSettings)
    docs = DOCS.read_text(encoding="utf-8")
    for field in msgspec.structs.fields(EmulatorSettings):
        assert re.search(rf'^    {field.name}: [^\n]+\n    """', source, re.MULTILINE), field.name
        assert wanted(field.name)
        assert f"| `{field.name}` | " in docs, field.name


def test_every_fault_and_route_and_rule_key_is_documented() -> None:
    """docs/emulator.md names every kind of fault with its parameters, every admin route, every key of a rule."""
    docs = DOCS.read_text(encoding="utf-8")
    for kind, what in KINDS.items():
        assert f"| `{kind}` | " in docs, kind
        assert all(f"`{parameter}`" in docs for parameter in what.parameters), kind
    routes = re.findall(r'web\.(get|post|delete)\("(/_emulator/[a-z]+)"', inspect.getsource(admin))
    for method, path in routes:
        assert f"`{method.upper()} {path}" in docs, path
    for field in msgspec.structs.fields(Rule):
        assert f"`{field.name}`" in docs, field.name


# --- scripts ---


def test_built_in_scripts() -> None:
    """Each built-in script is valid; no name is no bot."""
    for name in BUILT_IN:
        assert load_script(name)
    assert load_script("") is None


def test_support_answers_in_the_language_of_the_guest() -> None:
    """The support bot tells a language by its script or its small words, and its choices follow the seed."""
    script = load_script("support")
    assert script is not None

    def said(text: str, seed: int = 1) -> list[str]:
        draws = Draws(seed)
        actions = (
            action for _ in range(40) for action in script.react(Message(type="Text", text=text), "g", draws, 0.0)
        )
        return [action.body.text or "" for action in actions if action.body is not None]

    asked = {
        "배송 언제 되나요": "네",
        "מתי זה מגיע?": "תודה",
        "Wann kommt das?": "Danke",
        "¿Dónde está mi pedido?": "Gracias",
    }
    for text, answer in asked.items():
        assert any(line.startswith(answer) for line in said(text))
    assert said("hello") == said("hello")
    assert said("hello") != said("hello", seed=2)


@given(text=st.text(), guest=st.text())
def test_placeholders_are_plain_text(text: str, guest: str) -> None:
    """What a guest writes is put in as it is, placeholders and braces included."""
    script = parse_script('[[rule]]\nany = true\nreply = "{text}|{guest}|{other}"', "x")
    (action,) = script.react(Message(type="Text", text=text), guest, Draws(1), 0.0)
    assert action.body is not None
    assert action.body.text == f"{text}|{guest}|{{other}}"[:4000]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("[[rule", "is not TOML"),
        ("", "at least one"),
        ("nmae = 'x'\n[[rule]]\nany = true\nreply = 'x'", "unknown key 'nmae'"),
        ("[[rule]]\nreply = 'x'", "rule 1, key 'match'"),
        ("[[rule]]\nany = true\nmatch = 'x'\nreply = 'x'", "rule 1, key 'match'"),
        ("[[rule]]\nany = true\nreply = 'x'\n[[rule]]\nany = true\nrepl = 'x'", "rule 2, key 'repl'"),
        ("[[rule]]\nany = true\nreply = 'x'\nchance = 2", "rule 1, key 'chance'"),
        ("[[rule]]\npattern = '('\nreply = 'x'", "rule 1, key 'pattern'"),
        ("[[rule]]\nany = true", "rule 1, key 'reply'"),
        ("[[rule]]\nany = true\nreply = '" + "x" * 4001 + "'", "rule 1, key 'reply'"),
        ("[[rule]]\nany = true\ndisconnect = 'now'", "rule 1, key 'disconnect'"),
    ],
)
def test_wrong_scripts_name_file_rule_and_key(tmp_path: pathlib.Path, script: str, message: str) -> None:
    """What is wrong with a script is said with its file, the rule's number and the key."""
    path = tmp_path / "bot.toml"
    path.write_text(script, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_script(str(path))
    assert str(path) in refused.value.message
    assert message in refused.value.message


def test_missing_script(tmp_path: pathlib.Path) -> None:
    """A script that is not there is refused with the built-in names."""
    with pytest.raises(ConfigError, match="cannot be read") as refused:
        load_script(str(tmp_path / "none.toml"))
    assert "echo, showcase, support" in refused.value.hint


# --- ids and times ---


def test_ids_are_repeatable_and_well_formed() -> None:
    """The same seed draws the same ids; UUIDs are version 4."""
    one, same = Draws(3), Draws(3)
    assert [one.hex32(), one.uuid(), one.jwt(5)] == [same.hex32(), same.uuid(), same.jwt(5)]
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one.uuid())
        for _ in range(200)
    )


def test_times() -> None:
    """ISO 8601 with milliseconds and Z."""
    assert iso_time(1_791_139_139.0419) == "2026-10-04T18:38:59.041Z"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://Shop.Example", "shop.example"),
        ("shop.example", "shop.example"),
        ("shop.example:8443", "shop.example"),
        ("http://127.0.0.1:80/", "127.0.0.1"),
        ("null", "null"),
        ("", ""),
    ],
)
def test_host_of_origin(origin: str, host: str) -> None:
    """Clients send Origin with and without a scheme; the host decides."""
    assert host_of(origin) == host
