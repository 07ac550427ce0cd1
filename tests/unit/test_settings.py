"""Settings: what can be set, who wins, and what an error says."""

from __future__ import annotations

import importlib.metadata
import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from guestwire.errors import ConfigError, NotFound
from guestwire.model import Delivery
from guestwire.settings import (
    CODES,
    LIMITS_OF,
    REGIONS,
    RETRY_OF,
    VERSION,
    Ambient,
    Destination,
    Limits,
    Loaded,
    RelaySettings,
    RetrySettings,
    Secret,
    Settings,
    StoreSettings,
    TlsSettings,
    ad_hoc,
    add_destination,
    ambient_of,
    choose,
    known_keys,
    load,
    to_toml,
    variable_of,
)

DEPLOYMENT = "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50"
INTEGRATION = "b7f1c6d2-0c35-4c0e-8f0a-53a9d8e0a3f4"
DOCS = Path(__file__).parents[2] / "docs"
WEB = f'[destinations.web]\nregion = "eu-west-1"\ndeployment_id = "{DEPLOYMENT}"\n'
KIOSK = f'[destinations.kiosk]\ntransport = "openmessaging"\nregion = "eu-west-1"\nintegration_id = "{INTEGRATION}"\n'


class World(NamedTuple):
    """A home, a working folder below it, and an environment of their own."""

    home: Path
    cwd: Path
    environ: dict[str, str]

    def load(self, **overrides: object) -> Loaded:
        """Load; `store__path` as a keyword is the key `store.path`."""
        named = {key.replace("__", "."): value for key, value in overrides.items()}
        return load(named, environ=self.environ, cwd=self.cwd, home=self.home)

    def project(self, text: str) -> Path:
        """Write the project file."""
        return self._write(self.cwd / "guestwire.toml", text)

    def user(self, text: str) -> Path:
        """Write the user file."""
        return self._write(self.home / ".config" / "guestwire" / "guestwire.toml", text)

    def dotenv(self, text: str) -> Path:
        """Write the .env file."""
        return self._write(self.cwd / ".env", text)

    def gc(self, text: str) -> Path:
        """Write the profiles of the vendor's tool."""
        return self._write(self.home / ".gc" / "config.toml", text)

    def refused(self, code: str, **overrides: object) -> ConfigError:
        """Load, and get the error with this code, in one line."""
        with pytest.raises(ConfigError) as caught:
            self.load(**overrides)
        assert caught.value.code == code, caught.value
        assert "\n" not in caught.value.message
        return caught.value

    @staticmethod
    def _write(path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An empty one."""
    cwd = tmp_path / "home" / "work" / "deep"
    cwd.mkdir(parents=True)
    return World(tmp_path / "home", cwd, {})


def web(**fields: Any) -> Destination:
    """A destination of the real vendor."""
    return Destination(**{"name": "web", "region": "eu-west-1", "deployment_id": DEPLOYMENT, **fields})


def kiosk(**fields: Any) -> Destination:
    """An Open Messaging integration of the real vendor."""
    usual = {"name": "kiosk", "transport": "openmessaging", "region": "eu-west-1", "integration_id": INTEGRATION}
    return Destination(**{**usual, **fields})


def contract(**fields: Any) -> Destination:
    """A gateway of one's own that speaks the tutorial's contract."""
    return Destination(**{"name": "gate", "transport": "rest-contract", "url": "https://gate.example", **fields})


def local(**fields: Any) -> Destination:
    """A destination on this machine."""
    return Destination(**{"name": "emulator", "url": "http://127.0.0.1:8080", "deployment_id": DEPLOYMENT, **fields})


# --- the tree ---


def test_a_region_gives_every_address() -> None:
    """One word of the user becomes the hosts of the vendor."""
    destination = web(region="https://apps.mypurecloud.ie/directory")
    assert destination.region == "eu-west-1"
    assert destination.gateway == "https://api.mypurecloud.ie"
    assert destination.websocket_url == "wss://webmessaging.mypurecloud.ie/v1"
    folder = f"https://api-cdn.mypurecloud.ie/webdeployments/v1/deployments/{DEPLOYMENT}"
    assert destination.config_url == folder + "/config.json"
    assert destination.domains_url == folder + "/domains.json"
    assert destination.history_url == "https://api.mypurecloud.ie/api/v2/webmessaging/messages"
    assert destination.is_genesys_host
    assert not destination.is_emulator


@pytest.mark.parametrize(
    ("url", "base", "socket"),
    [
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080", "ws://127.0.0.1:8080/v1"),
        ("HTTPS://Gate.Example/base/", "https://gate.example/base", "wss://gate.example/base/v1"),
        ("http://[::1]:9", "http://[::1]:9", "ws://[::1]:9/v1"),
    ],
)
def test_a_gateway_of_ones_own_has_everything_on_one_address(url: str, base: str, socket: str) -> None:
    """REST, WebSocket and configuration share host, port and path."""
    destination = web(region=None, url=url)
    assert destination.gateway == base
    assert destination.websocket_url == socket
    assert destination.config_url == f"{base}/webdeployments/v1/deployments/{DEPLOYMENT}/config.json"
    assert destination.history_url == base + "/api/v2/webmessaging/messages"
    assert not destination.is_genesys_host


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("[::1]", True),
        ("localhost", True),
        ("gw.localhost", True),
        ("127.0.0.1.example.com", False),
        ("localhost.example", False),
        ("10.0.0.1", False),
    ],
)
def test_only_this_machine_may_be_an_emulator(host: str, loopback: bool) -> None:
    """The spelling of the host decides; no resolver is asked."""
    assert web(region=None, url=f"http://{host}:80").is_emulator is loopback


def test_the_fingerprint_is_the_place_and_not_its_spelling() -> None:
    """The name, the limits and the way of writing may change; the identity in the store does not."""
    pinned = "4bdd6536f7636ec71c363061c8799823"
    assert web().fingerprint == pinned
    assert web(name="shop", region="mypurecloud.ie", pace=True, limits=Limits(max_text=9)).fingerprint == pinned
    assert web(deployment_id=DEPLOYMENT.upper()).fingerprint == pinned
    others = [web(region="us-east-1"), web(deployment_id=DEPLOYMENT.replace("3", "4")), local()]
    assert len({pinned, *(other.fingerprint for other in others)}) == 4


def test_the_ids_that_a_way_out_needs_are_its_identity() -> None:
    """One integration is one place, whatever is said of deployments; each way out is a place of its own."""
    pinned = "26c27acc41e8b307233cee0db503e6a0"
    assert kiosk().fingerprint == kiosk(name="x", deployment_id=DEPLOYMENT, region="mypurecloud.ie").fingerprint
    assert kiosk(integration_id=INTEGRATION.upper()).fingerprint == kiosk().fingerprint == pinned
    assert contract().fingerprint == contract(url="HTTPS://gate.example/", name="y").fingerprint
    places = [
        kiosk(),
        kiosk(integration_id=DEPLOYMENT),
        kiosk(region="us-east-1"),
        kiosk(region=None, url="http://127.0.0.1:8080"),
        contract(),
        contract(url="http://127.0.0.1:8080"),
        local(),
        web(),
    ]
    assert len({place.fingerprint for place in places}) == len(places)


def test_a_region_gives_the_addresses_of_open_messaging_too() -> None:
    """Calls go to one host, tokens come from another; at a gateway of one's own they are one, unless it is said."""
    assert (kiosk().gateway, kiosk().host) == ("https://api.mypurecloud.ie", "api.mypurecloud.ie")
    assert kiosk().token_url == "https://login.mypurecloud.ie/oauth/token"
    assert contract().token_url == "https://gate.example/oauth/token"
    assert contract(login_url="https://Login.example/").token_url == "https://login.example/oauth/token"
    assert contract(login_url="https://login.mypurecloud.ie").token_url == kiosk().token_url


def test_each_way_out_has_limits_of_its_own() -> None:
    """Whoever sets some of them keeps the others of that way out, from a file as from code."""
    assert (web().limits, kiosk().limits, contract().limits) == tuple(
        LIMITS_OF[name] for name in ("webmessaging", "openmessaging", "rest-contract")
    )
    assert (web().limits.requests_per_min, kiosk().limits.requests_per_min) == (60, 300)
    assert kiosk(limits=Limits(max_text=9)).limits == Limits(max_text=9), "what is given in code is taken as it is"


def test_a_limit_in_a_file_is_laid_over_those_of_its_way_out(world: World) -> None:
    """The others stay, and they are called defaults."""
    world.project(KIOSK + "[destinations.kiosk.limits]\nrequests_per_min = 3000\n")
    loaded = world.load()
    limits = loaded.settings.destinations["kiosk"].limits
    assert limits == Limits.of("openmessaging", requests_per_min=3000)
    assert loaded.origins["destinations.kiosk.limits.reserve_per_min"] == "default"
    assert loaded.origins["destinations.kiosk.limits.requests_per_min"].endswith("guestwire.toml line 6")
    world.environ["GUESTWIRE_DESTINATIONS__KIOSK__LIMITS__RESERVE_PER_MIN"] = "0"
    assert world.load().settings.destinations["kiosk"].limits.reserve_per_min == 0
    world.environ["GUESTWIRE_DESTINATIONS__KIOSK__LIMITS__MEDIA_TYPES"] = "image/png, text/plain"
    assert world.load().settings.destinations["kiosk"].limits.media_types == ("image/png", "text/plain")


@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        (lambda: kiosk(integration_id=""), "GW-C011", "integration_id is missing"),
        (lambda: kiosk(integration_id="12345"), "GW-C008", "integration_id"),
        (lambda: kiosk(expect_org_id="12345"), "GW-C008", "expect_org_id"),
        (lambda: web(deployment_id=""), "GW-C011", "deployment_id is missing"),
        (lambda: kiosk(client_id="x"), "GW-C011", "client_secret is missing"),
        (lambda: kiosk(client_secret=Secret("x")), "GW-C011", "client_id is missing"),
        (lambda: kiosk(client_id="a\nb", client_secret=Secret("x")), "GW-C009", "client_id"),
        (lambda: kiosk(client_id="x", client_secret=Secret("")), "GW-C009", "client_secret is empty"),
        (lambda: kiosk(client_id="x", client_secret=Secret("hunter2\n")), "GW-C009", "client_secret"),
        (lambda: kiosk(access_token=Secret("hunter2\r\nX-Evil: 1")), "GW-C009", "access_token"),
        (lambda: kiosk(webhook_secret=Secret("hunter2" + "x" * 8)), "GW-C009", "fewer than 16"),
        (lambda: kiosk(id_type="Twitter"), "GW-C006", "Opaque"),
        (lambda: kiosk(login_url="login.example"), "GW-C009", "login_url"),
        (lambda: kiosk(min_link_life_s=0), "GW-C007", "min_link_life_s"),
        (lambda: kiosk(pace=False), "GW-C014", "pace"),
        (lambda: contract(url=None, region="eu-west-1"), "GW-C020", "no route of Genesys Cloud"),
        (lambda: contract(url="https://api.mypurecloud.ie"), "GW-C012", "has one for each service"),
        (lambda: Limits(requests_per_min=15, reserve_per_min=15), "GW-C012", "leaves nothing"),
    ],
)
def test_an_impossible_rest_destination_cannot_be_made(make: Callable[[], Destination], code: str, said: str) -> None:
    """Each law names the key; none quotes a secret."""
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.code == code
    assert said in caught.value.message
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"


def test_what_looks_odd_and_is_allowed() -> None:
    """A token needs no pair; 16 characters sign; the contract goes to the vendor for whoever insists."""
    assert kiosk().client_id is None, "credentials may come later: looking at a store needs none"
    assert kiosk(access_token=Secret("t"), client_id="x").client_secret is None
    assert kiosk(webhook_secret=Secret("x" * 16)).webhook_secret == Secret("x" * 16)
    insisted = contract(url=None, region="eu-west-1", allow_undocumented=True)
    assert insisted.is_genesys_host
    assert Limits(requests_per_min=16, reserve_per_min=15).reserve_per_min == 15


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"region": None}, "GW-C011"),
        ({"url": "http://127.0.0.1:1"}, "GW-C012"),
        ({"region": "mars-1"}, "GW-C010"),
        ({"deployment_id": "12345"}, "GW-C008"),
        ({"name": "Web"}, "GW-C013"),
        ({"name": "a__b"}, "GW-C013"),
        ({"name": "emulator"}, "GW-C013"),
        ({"pace": False}, "GW-C014"),
        ({"origin": "https://shop.example/path"}, "GW-C009"),
        ({"origin": "https://shop.example\r\nX-Evil: 1"}, "GW-C009"),
        ({"application": "a\nb"}, "GW-C009"),
        ({"proxy": Secret("socks5://proxy:1")}, "GW-C009"),
        ({"max_new_guests_per_min": 0}, "GW-C007"),
        ({"pace": 3}, "GW-C006"),
    ],
)
def test_an_impossible_destination_cannot_be_made(fields: dict[str, Any], code: str) -> None:
    """Also in code, without any file."""
    with pytest.raises(ConfigError) as caught:
        web(**fields)
    assert caught.value.code == code


def test_pacing_cannot_be_switched_off_afterwards_either() -> None:
    """A copy with another value is held to the same law."""
    assert msgspec.structs.replace(local(), pace=False).pace is False
    with pytest.raises(ConfigError):
        msgspec.structs.replace(web(), pace=False)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1",
        "127.0.0.1:8080",
        "http://",
        "http://host:99999",
        "http://host:0",
        "http://user:hunter2@host",
        "http://host/?a=b",
        "http://host/#x",
        "http://ho st",
        "http://host\n",
        "http://[::1",
        "http://bücher.example",
        "http://host/\x1b[31m",
    ],
)
def test_an_address_that_is_no_base_address_is_refused(url: str) -> None:
    """Schemes, user names, queries and control characters have no place in it; a password is not repeated."""
    if url.endswith("\n"):
        assert web(region=None, url=url).url == url.strip()
        return
    with pytest.raises(ConfigError) as caught:
        web(region=None, url=url)
    assert caught.value.code == "GW-C009"
    assert "hunter2" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_host_of_the_vendor_is_named_by_its_region() -> None:
    """As a url it would be half right: its services live on several hosts."""
    with pytest.raises(ConfigError) as caught:
        web(region=None, url="https://API.mypurecloud.ie.")
    assert caught.value.code == "GW-C012"


MAY_BE_NOTHING = {("reserve_per_min", 0), ("floor_s", 0)}


@pytest.mark.parametrize("section", [Limits, RetrySettings, RelaySettings])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_every_number_is_above_zero_and_finite(section: type[Any], value: float) -> None:
    """A limit of zero would wait for ever; only of a reserve, and of a shortest pause, there may be none."""
    for field in msgspec.structs.fields(section):
        if isinstance(field.default, (int, float)) and (field.name, value) not in MAY_BE_NOTHING:
            with pytest.raises(ConfigError):
                section(**{field.name: value})


def test_a_pause_cannot_grow_downwards() -> None:
    """The base of a pause is at most its cap."""
    with pytest.raises(ConfigError) as caught:
        RetrySettings(base_s=10, cap_s=5)
    assert caught.value.code == "GW-C012"


def test_secrets_do_not_show() -> None:
    """Neither in the text of a destination nor in that of the whole tree."""
    destination = web(proxy=Secret("http://joe:hunter2@proxy:3128", "http://***@proxy:3128"))
    tree = Settings(destinations={"web": destination}, store=StoreSettings(path=Path("/x")))
    for text in (repr(tree), str(tree), repr(destination), str(destination.proxy), f"{destination.proxy}"):
        assert "hunter2" not in text
    assert destination.proxy_for("api.example") == "http://joe:hunter2@proxy:3128"


# --- proxies ---


def test_the_environment_names_the_proxy_where_the_destination_does_not() -> None:
    """HTTPS_PROXY for TLS, HTTP_PROXY without; loopback and NO_PROXY go directly."""
    ambient = ambient_of(
        {"HTTPS_PROXY": "proxy:3128", "http_proxy": "http://plain:1", "NO_PROXY": ".example, ten.org,10.0.0.0/8"}
    )
    destination = web(ambient=ambient)
    assert destination.proxy_for("webmessaging.mypurecloud.ie") == "http://proxy:3128"
    assert destination.proxy_for("storage.org", secure=False) == "http://plain:1"
    for host in ("shop.example", "TEN.org", "a.ten.org", "127.0.0.1", "::1", "localhost", "10.1.2.3"):
        assert destination.proxy_for(host) is None
    assert destination.proxy_for("often.org") == "http://proxy:3128"
    assert web(ambient=ambient, proxy=Secret("http://own:2")).proxy_for("x.org") == "http://own:2"
    assert web(ambient=Ambient(https_proxy=Secret("http://p:1"), no_proxy=("*",))).proxy_for("x.org") is None


def test_an_unusable_proxy_is_refused_without_its_password() -> None:
    """The variable is named, its value is not."""
    with pytest.raises(ConfigError) as caught:
        ambient_of({"HTTPS_PROXY": "socks5://joe:hunter2@proxy"})
    assert caught.value.code == "GW-C009"
    assert "HTTPS_PROXY" in str(caught.value)
    assert "hunter2" not in str(caught.value)


# --- sources ---


def test_without_any_source_everything_is_default(world: World) -> None:
    """No destination, and a store in the user's state folder: never in the working folder."""
    loaded = world.load()
    assert loaded.settings.destinations == {}
    assert loaded.settings.store.path == world.home / ".local" / "state" / "guestwire"
    assert loaded.settings.relay == RelaySettings()
    assert set(loaded.origins.values()) == {"default"}
    assert (loaded.warnings, loaded.files) == ([], [])


def test_the_base_folders_of_the_desktop_are_honoured(world: World) -> None:
    """XDG_STATE_HOME and XDG_CONFIG_HOME, unless they are relative, which the specification tells to ignore."""
    world.environ.update(XDG_STATE_HOME="/var/state", XDG_CONFIG_HOME=str(world.home / "conf"))
    path = world.home / "conf" / "guestwire" / "guestwire.toml"
    path.parent.mkdir(parents=True)
    path.write_text("[store]\nbusy_timeout_s = 2\n")
    loaded = world.load()
    assert loaded.settings.store.path == Path("/var/state/guestwire")
    assert loaded.settings.store.busy_timeout_s == 2
    world.environ.update(XDG_STATE_HOME="here")
    assert world.load().settings.store.path == world.home / ".local" / "state" / "guestwire"


def test_the_project_file_is_found_upward_and_its_lines_are_told(world: World) -> None:
    """Whoever asks where a value comes from gets the file and the line."""
    path = world._write(
        world.cwd.parent / "guestwire.toml", "# ours\n" + WEB + "\n[destinations.web.limits]\nmax_text = 9\n"
    )
    loaded = world.load()
    assert loaded.settings.destinations["web"].limits.max_text == 9
    assert loaded.origins["destinations.web.region"] == f"{path} line 3"
    assert loaded.origins["destinations.web.limits.max_text"] == f"{path} line 7"
    assert loaded.origins["destinations.web.pace"] == "default"
    assert loaded.files == [path]


def test_lines_are_not_told_where_they_are_not_certain(world: World) -> None:
    """A text over several lines could hold anything."""
    path = world.project(WEB + 'origin = """https://shop.example"""\n')
    assert world.load().origins["destinations.web.region"] == str(path)


def test_relative_paths_belong_to_the_file_that_names_them(world: World) -> None:
    """And to the working folder where a flag or a variable does; the tilde is the user's home."""
    world._write(world.cwd.parent / "guestwire.toml", '[store]\npath = "data"\n')
    assert world.load().settings.store.path == world.cwd.parent / "data"
    assert world.load(store__path="~/x").settings.store.path == world.home / "x"
    assert world.load(store__path=Path("y")).settings.store.path == world.cwd / "y"


_SOURCES = ("flag", "environment", "dotenv", "project", "user")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(values=st.dictionaries(st.sampled_from(_SOURCES), st.integers(1, 9_999), min_size=1))
@pytest.mark.parametrize("key", ["destinations.web.limits.max_text", "store.min_free_disk_mb"])
def test_the_highest_source_that_names_a_key_wins(tmp_path: Path, key: str, values: dict[str, int]) -> None:
    """Whatever the others say; and each one that was overruled otherwise than by a flag is named in a warning."""
    for old in tmp_path.rglob("*"):
        if old.is_file():
            old.unlink()
    world = World(tmp_path, tmp_path / "work", {})
    world.cwd.mkdir(exist_ok=True)
    table, _, name = key.rpartition(".")
    variable = variable_of(key)
    if "user" in values:
        world.user(f"[{table}]\n{name} = {values['user']}\n")
    if "project" in values:
        world.project(f"[{table}]\n{name} = {values['project']}\n")
    if "dotenv" in values:
        world.dotenv(f"{variable}={values['dotenv']}\n")
    if "environment" in values:
        world.environ[variable.lower()] = str(values["environment"])
    overrides = {"destinations.web.region": "eu-west-1", "destinations.web.deployment_id": DEPLOYMENT}
    flags = {key: values["flag"]} if "flag" in values else {}
    loaded = load({**overrides, **flags}, environ=world.environ, cwd=world.cwd, home=world.home)

    winner = next(source for source in _SOURCES if source in values)
    store, limits = loaded.settings.store, loaded.settings.destinations["web"].limits
    found = getattr(store if table == "store" else limits, name)
    assert found == values[winner]
    mark = {"flag": "flag --", "environment": "environment guestwire_", "dotenv": ".env line 1"}
    assert mark.get(winner, "guestwire.toml line 2") in loaded.origins[key]
    overruled = [value for source, value in values.items() if source != winner and value != values[winner]]
    assert len(loaded.warnings) == (0 if winner == "flag" else len(overruled))


def test_two_spellings_of_one_region_do_not_disagree(world: World) -> None:
    """A warning is for what differs, not for how it is written."""
    world.project(WEB)
    world.environ["GUESTWIRE_DESTINATIONS__WEB__REGION"] = "mypurecloud.ie"
    assert world.load().warnings == []
    world.environ["GUESTWIRE_DESTINATIONS__WEB__REGION"] = "us-east-1"
    (warning,) = world.load().warnings
    assert "GUESTWIRE_DESTINATIONS__WEB__REGION" in warning
    assert "guestwire.toml line 2" in warning


def test_variables_alone_make_a_destination(world: World) -> None:
    """Names are read in any case; numbers and switches are read as what the key wants."""
    world.environ.update(
        {
            "GUESTWIRE_DESTINATIONS__KIOSK__URL": "http://127.0.0.1:1",
            "guestwire_destinations__kiosk__deployment_id": DEPLOYMENT,
            "GUESTWIRE_DESTINATIONS__KIOSK__PACE": "off",
            "GUESTWIRE_DESTINATIONS__KIOSK__MAX_NEW_GUESTS_PER_MIN": "7",
            "GUESTWIRE_DESTINATIONS__KIOSK__DELIVERY": "at_most_once",
            "GUESTWIRE_DESTINATIONS__KIOSK__RETRY__CAP_S": "2.5",
            "GUESTWIRE_DESTINATIONS__KIOSK__ORIGIN": "",
        }
    )
    kiosk = world.load().settings.destinations["kiosk"]
    assert (kiosk.pace, kiosk.max_new_guests_per_min, kiosk.retry.cap_s, kiosk.origin) == (False, 7, 2.5, None)
    assert kiosk.delivery is Delivery.AT_MOST_ONCE


def test_a_preset_of_retries_is_the_default_of_its_section(world: World) -> None:
    """Chosen, its values are in force; a single key overrides it, from whichever source, its own default included."""
    world.project(WEB + '[destinations.web.retry]\npreset = "tutorial"\n')
    assert world.load().settings.destinations["web"].retry == RETRY_OF["tutorial"]
    world.environ["GUESTWIRE_DESTINATIONS__WEB__RETRY__MAX_ATTEMPTS"] = "8"
    retry = world.load().settings.destinations["web"].retry
    assert (retry.max_attempts, retry.base_s, retry.cap_s, retry.floor_s) == (8, 1.0, 10.0, 2.0)
    world.environ["GUESTWIRE_DESTINATIONS__WEB__RETRY__PRESET"] = "default"
    assert world.load().settings.destinations["web"].retry == RetrySettings()
    assert RetrySettings(preset="tutorial") == RETRY_OF["tutorial"]
    world.environ["GUESTWIRE_DESTINATIONS__WEB__RETRY__PRESET"] = "brave"
    with pytest.raises(ConfigError, match="GW-C006"):
        world.load()


def test_an_underscore_in_a_variable_stands_for_a_dash_too(world: World) -> None:
    """No shell lets a variable have a dash."""
    world.project(WEB.replace("web", "my-shop"))
    world.environ["GUESTWIRE_DESTINATIONS__MY_SHOP__ORIGIN"] = "https://shop.example"
    assert world.load().settings.destinations["my-shop"].origin == "https://shop.example"


def test_a_variable_may_name_a_file_that_holds_the_value(world: World) -> None:
    """As container secrets come; the key that itself ends in "file" keeps its own name."""
    world.project(WEB)
    path = world._write(world.home / "id", DEPLOYMENT.upper() + "\n")
    world.environ["GUESTWIRE_DESTINATIONS__WEB__DEPLOYMENT_ID_FILE"] = str(path)
    loaded = world.load()
    assert loaded.settings.destinations["web"].deployment_id == DEPLOYMENT
    assert str(path) in loaded.origins["destinations.web.deployment_id"]
    world.environ["GUESTWIRE_DESTINATIONS__WEB__DEPLOYMENT_ID_FILE"] = "/nowhere/x"
    assert "DEPLOYMENT_ID_FILE" in world.refused("GW-C003").message


def test_a_file_with_a_secret_must_be_private(world: World) -> None:
    """A proxy's password that others can read is refused, in a file of its own and in the project file."""
    world.project(WEB)
    path = world._write(world.home / "proxy", "http://joe:hunter2@proxy:1")
    world.environ["GUESTWIRE_DESTINATIONS__WEB__PROXY_FILE"] = str(path)
    path.chmod(0o644)
    assert "chmod 600" in world.refused("GW-C016").hint
    path.chmod(0o600)
    loaded = world.load()
    assert loaded.settings.destinations["web"].proxy == Secret("http://joe:hunter2@proxy:1")
    assert "hunter2" not in repr(loaded)
    del world.environ["GUESTWIRE_DESTINATIONS__WEB__PROXY_FILE"]
    project = world.project(WEB + 'proxy = "http://joe:hunter2@proxy:1"\n')
    project.chmod(0o644)
    assert "hunter2" not in str(world.refused("GW-C016"))
    world.project(WEB + 'proxy = "http://proxy:1"\n')
    assert world.load().settings.destinations["web"].proxy_for("x.org") == "http://proxy:1"


def access_list(*entries: tuple[int, int, int]) -> bytes:
    """An access list as Linux keeps it: tag, rights and name of each entry."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ALL, ME = 0xFFFFFFFF, os.geteuid()
OWNER, USER, GROUP_OF_FILE, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32


@pytest.mark.parametrize(
    ("entries", "is_refused"),
    [
        ([(OWNER, 4, ALL), (USER, 4, ME), (GROUP_OF_FILE, 0, ALL), (MASK, 4, ALL), (OTHER, 0, ALL)], False),
        ([(OWNER, 4, ALL), (USER, 4, ME + 1), (GROUP_OF_FILE, 0, ALL), (MASK, 4, ALL), (OTHER, 0, ALL)], True),
        ([(OWNER, 4, ALL), (USER, 4, ME), (GROUP_OF_FILE, 4, ALL), (MASK, 4, ALL), (OTHER, 0, ALL)], True),
        (
            [(OWNER, 4, ALL), (USER, 4, ME), (GROUP_OF_FILE, 0, ALL), (GROUP, 4, 0), (MASK, 4, ALL), (OTHER, 0, ALL)],
            True,
        ),
        ([(OWNER, 4, ALL), (USER, 4, ME), (GROUP_OF_FILE, 0, ALL), (MASK, 4, ALL), (OTHER, 4, ALL)], True),
    ],
)
def test_a_credential_of_a_service_is_private(
    world: World, entries: list[tuple[int, int, int]], is_refused: bool
) -> None:
    """systemd lets a service's user read root's file by an access list, which looks like a right of the group."""
    world.project(WEB)
    path = world._write(world.home / "proxy", "http://joe:hunter2@proxy:1")
    path.chmod(0o400)
    os.setxattr(path, "system.posix_acl_access", access_list(*entries))
    assert path.stat().st_mode & 0o040
    world.environ["GUESTWIRE_DESTINATIONS__WEB__PROXY_FILE"] = str(path)
    if is_refused:
        world.refused("GW-C016")
    else:
        assert world.load().settings.destinations["web"].proxy is not None


def test_the_env_file_is_read_as_people_write_it(world: World) -> None:
    """Quotes, comments, "export"; what belongs to other programs is not looked at."""
    world.dotenv(
        "# comment\n"
        "DJANGO_KEY='never closed\n"
        f"export GUESTWIRE_DESTINATIONS__WEB__DEPLOYMENT_ID={DEPLOYMENT}   # ours\n"
        'GUESTWIRE_DESTINATIONS__WEB__REGION = "eu-west-1" # quoted\n'
        "GUESTWIRE_DESTINATIONS__WEB__APPLICATION='a # b'\n"
        'GUESTWIRE_STORE__PATH="/a \\"b\\" \\\\c"\n'
        "GUESTWIRE_STORE__BUSY_TIMEOUT_S=\n"
        "no assignment\n"
    )
    loaded = world.load()
    assert loaded.settings.destinations["web"].application == "a # b"
    assert loaded.settings.store.path == Path('/a "b" \\c')
    assert loaded.origins["destinations.web.region"].endswith(".env line 4")
    path = world.dotenv('GUESTWIRE_STORE__PATH="never closed\n')
    assert f"{path} line 1" in world.refused("GW-C018").message


def test_a_virtual_environment_called_env_is_no_env_file(world: World) -> None:
    """Some people name it so."""
    (world.cwd / ".env").mkdir()
    assert world.load().files == []


# --- names of other tools ---


def test_names_of_other_tools_speak_for_destinations_that_say_nothing(world: World) -> None:
    """A destination with a region or a url keeps it."""
    world.project(
        f'[destinations.a]\ndeployment_id = "{DEPLOYMENT}"\n'
        f'[destinations.b]\ndeployment_id = "{DEPLOYMENT}"\nurl = "http://127.0.0.1:1"\n'
        f'[destinations.c]\ndeployment_id = "{DEPLOYMENT}"\nregion = "us-east-1"\n'
    )
    world.environ["GENESYS_ENVIRONMENT"] = "mypurecloud.de"
    loaded = world.load()
    assert [one.region for one in loaded.settings.destinations.values()] == ["eu-central-1", None, "us-east-1"]
    assert loaded.origins["destinations.a.region"] == "environment GENESYS_ENVIRONMENT"
    assert loaded.warnings == []
    world.environ["GENESYSCLOUD_REGION"] = "eu-west-1"
    loaded = world.load()
    assert loaded.settings.destinations["a"].region == "eu-west-1"
    assert "GENESYSCLOUD_REGION" in loaded.warnings[0]
    assert "GENESYS_ENVIRONMENT" in loaded.warnings[0]


def test_a_region_of_another_tool_that_nobody_follows_is_told(world: World) -> None:
    """Whoever exported it may think that it counts."""
    world.project(WEB)
    world.environ["GENESYSCLOUD_REGION"] = "us-east-1"
    loaded = world.load()
    assert loaded.settings.destinations["web"].region == "eu-west-1"
    assert "GENESYSCLOUD_REGION" in loaded.warnings[0]


def test_a_profile_of_the_vendors_tool_gives_the_region(world: World) -> None:
    """Below everything else; a profile that does not exist is an error with the nearest name."""
    world.project(WEB.replace('region = "eu-west-1"', 'profile = "prod"'))
    path = world.gc('[PROD]\nenvironment = "mypurecloud.de"\nclient_credentials = "x"\nclient_secret = "hunter2"\n')
    loaded = world.load()
    assert loaded.settings.destinations["web"].region == "eu-central-1"
    assert str(path) in loaded.origins["destinations.web.region"]
    assert "hunter2" not in repr(loaded)
    world.gc('[production]\nenvironment = "mypurecloud.de"\n[prd]\nenvironment = "x"\n')
    assert "'prd'" in world.refused("GW-C015").hint


def test_a_variable_can_send_a_destination_to_an_emulator(world: World) -> None:
    """The higher of region and url wins, and it is said; two of one rank contradict each other."""
    world.project(WEB)
    world.environ["GUESTWIRE_DESTINATIONS__WEB__URL"] = "http://127.0.0.1:8080"
    loaded = world.load()
    assert loaded.settings.destinations["web"].is_emulator
    assert "region" in loaded.warnings[0]
    del world.environ["GUESTWIRE_DESTINATIONS__WEB__URL"]
    world.project(WEB + 'url = "http://127.0.0.1:8080"\n')
    assert "guestwire.toml line 4" in world.refused("GW-C012").message


# --- errors ---


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("[destinations.web", "GW-C004", "line 1 column"),
        ("region = ", "GW-C004", "line 1"),
        ("[destination.web]\nx = 1", "GW-C005", "destinations"),
        (WEB + "regoin = 'x'", "GW-C005", "destinations.web.region"),
        (WEB + "max_text = 5", "GW-C005", "destinations.web.limits.max_text"),
        (WEB + "[destinations.web.limits]\nmesages_per_s = 5", "GW-C005", "messages_per_s"),
        ("[polity]\nfile = 'x'", "GW-C005", "polity"),
        ("[policy]\nrules = ['no function']", "GW-C009", "policy.rules"),
        (WEB + "pace = 'maybe'", "GW-C006", "true or false"),
        (WEB + "limits = 5", "GW-C006", "not a table"),
        ("destinations = []", "GW-C006", "not a table"),
        (WEB + "transport = 'carrier pigeon'", "GW-C006", "webmessaging"),
        (WEB + "delivery = 'exactly_once'", "GW-C006", "at_most_once"),
        (WEB + "origin = 1979-05-27", "GW-C006", "text"),
        ("[store]\npath = 7", "GW-C006", "text"),
        (WEB + "proxy = 7", "GW-C006", "text"),
        (WEB + "[destinations.web.limits]\nmax_text = '5'", "GW-C006", "whole number"),
        (WEB + "[destinations.web.limits]\nmax_text = 0", "GW-C007", "from 1"),
        ("[relay]\nanswer_s = inf", "GW-C007", "above 0"),
        ("[relay]\nanswer_s = nan", "GW-C007", "above 0"),
        ("[relay]\nreconnect_base_s = 90", "GW-C012", "reconnect_cap_s"),
        (WEB.replace(DEPLOYMENT, "abc"), "GW-C008", "Messenger Deployments"),
        (WEB + "origin = 'https://x/y'", "GW-C009", "https://shop.example"),
        (WEB.replace("eu-west-1", "eu-wst-1"), "GW-C010", "eu-west-1"),
        ("[destinations.web]\nregion = 'eu-west-1'", "GW-C011", "deployment_id"),
        (f"[destinations.web]\ndeployment_id = '{DEPLOYMENT}'", "GW-C011", "region"),
        (WEB.replace("web", "Web"), "GW-C013", "lower-case"),
        (WEB.replace("web", "emulator"), "GW-C013", "reserved"),
        (WEB + "pace = false", "GW-C014", "load tests"),
        (WEB + "profile = 'prod'", "GW-C015", "gc profiles new"),
        (WEB + "[destinations.web.tls]\nca_file = 'nowhere.pem'", "GW-C003", "nowhere.pem"),
        (KIOSK.replace("integration_id", "deployment_id"), "GW-C011", "integration_id is missing"),
        (KIOSK + "client_id = 'x'", "GW-C011", "line 5"),
        (KIOSK + "id_type = 'opaque'", "GW-C006", "Opaque"),
        (KIOSK + "[destinations.kiosk.limits]\nreserve_per_min = 300", "GW-C012", "leaves nothing"),
        (KIOSK.replace("openmessaging", "rest-contract"), "GW-C020", "allow_undocumented"),
    ],
)
def test_a_bad_file_is_one_clear_sentence(world: World, text: str, code: str, said: str) -> None:
    """It names the file, what is wrong in it, and what is wanted, with a code that has an entry."""
    path = world.project(text)
    error = world.refused(code)
    assert str(path) in error.message
    assert said in f"{error.message} {error.hint}"
    assert code in CODES


def test_a_file_that_cannot_be_read_is_named(world: World) -> None:
    """Bytes that are not UTF-8, and a byte order mark, which is no fault."""
    path = world.project("")
    path.write_bytes(b"\xff\xfe\x00")
    assert str(path) in world.refused("GW-C004").message
    path.write_bytes(b"\xef\xbb\xbf" + WEB.encode().replace(b"\n", b"\r\n"))
    assert world.load().settings.destinations["web"].region == "eu-west-1"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("GUESTWIRE_DESTINATION__WEB__REGION", "destinations"),
        ("GUESTWIRE_STORE__PAHT", "store.path"),
        ("GUESTWIRE_STORE_PATH", "GUESTWIRE_STORE__PATH"),
    ],
)
def test_a_misspelled_variable_is_refused_with_the_nearest_name(world: World, name: str, hint: str) -> None:
    """Silence would leave the user with a setting that does nothing."""
    world.environ[name] = "x"
    error = world.refused("GW-C005")
    assert name in error.message
    assert hint in error.hint


def test_variables_that_kubernetes_sets_are_none_of_ours(world: World) -> None:
    """A service called guestwire gets these in every pod; other strangers get a warning."""
    world.environ.update(
        GUESTWIRE_SERVICE_HOST="10.0.0.1",
        GUESTWIRE_PORT="tcp://10.0.0.1:80",
        GUESTWIRE_PORT_80_TCP_ADDR="10.0.0.1",
        GUESTWIRE_SERVICE_PORT_HTTP="80",
    )
    assert world.load().warnings == []
    world.environ["GUESTWIRE_TOKEN"] = "hunter2"
    (warning,) = world.load().warnings
    assert "GUESTWIRE_TOKEN" in warning
    assert "hunter2" not in warning


def test_the_variable_that_shows_where_an_error_was_is_known(world: World) -> None:
    """The command line itself says to set it."""
    world.environ["GUESTWIRE_DEBUG"] = "1"
    assert world.load().warnings == []


def test_a_flag_is_named_by_its_own_name(world: World) -> None:
    """Flags that were not given are None."""
    world.project(WEB)
    loaded = world.load(destinations__web__deployment_id=None, destinations__web__region="us-east-1")
    assert loaded.origins["destinations.web.region"] == "flag --region"
    assert "flag --region" in world.refused("GW-C010", destinations__web__region="mars").message


def test_what_is_dangerous_is_said(world: World) -> None:
    """Unverified certificates, and a gateway elsewhere without TLS."""
    world.project(WEB + "[destinations.web.tls]\nverify = false\n")
    assert "verify is off" in world.load().warnings[0]
    world.project(WEB.replace('region = "eu-west-1"', 'url = "http://gate.example"'))
    assert "not encrypted" in world.load().warnings[0]


def refusal(environ: dict[str, str], cwd: Path, home: Path) -> ConfigError | None:
    """The error that loading ends with, if it is the one kind that it may be."""
    try:
        load(environ=environ, cwd=cwd, home=home)
    except ConfigError as error:
        return error
    return None


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.one_of(st.text(max_size=60), st.text(max_size=60).map(lambda text: WEB + text)))
def test_any_file_gives_settings_or_a_config_error(tmp_path: Path, text: str) -> None:
    """Nothing else, whatever stands in it."""
    try:
        content = text.encode()
    except UnicodeEncodeError:
        return
    (tmp_path / "guestwire.toml").write_bytes(content)
    error = refusal(environ={}, cwd=tmp_path, home=tmp_path)
    assert error is None or (error.code in CODES and str(error).isprintable())


@settings(max_examples=200, deadline=None)
@given(value=st.text(st.characters(exclude_characters="\0"), max_size=40), key=st.sampled_from(sorted(known_keys())))
@example(value="\ud800", key="destinations.*.tls.ca_file")
@example(value="\ud800", key="destinations.*.delivery")
def test_any_variable_gives_settings_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: str
) -> None:
    """Nothing else, for any key and any value; and the error is one printable line."""
    folder = tmp_path_factory.getbasetemp()
    environ = {
        "GUESTWIRE_DESTINATIONS__W__DEPLOYMENT_ID": DEPLOYMENT,
        "GUESTWIRE_DESTINATIONS__W__REGION": "eu-west-1",
        variable_of(key.replace("*", "w")): value,
    }
    error = refusal(environ=environ, cwd=folder, home=folder)
    assert error is None or (error.code in CODES and str(error).isprintable())


# --- choosing ---


def tree(*destinations: Destination) -> Settings:
    """Settings with these destinations."""
    return Settings(destinations={one.name: one for one in destinations}, store=StoreSettings(path=Path("/x")))


def test_the_only_destination_needs_no_name() -> None:
    """Several need one, and none at all says what to type next."""
    assert choose(tree(web())).name == "web"
    assert choose(tree(web(), local()), "emulator").name == "emulator"
    with pytest.raises(ConfigError) as caught:
        choose(tree(web(), local()))
    assert caught.value.code == "GW-C002"
    assert "emulator, web" in caught.value.message
    with pytest.raises(ConfigError) as caught:
        choose(tree())
    assert caught.value.code == "GW-C001"
    assert "guestwire init" in caught.value.hint
    assert "--gateway" in caught.value.hint


@pytest.mark.parametrize(("to", "hint"), [("wbe", "'web'"), ("emulator", "guestwire emulate"), ("zzz", "defined: web")])
def test_an_unknown_destination_is_not_found(to: str, hint: str) -> None:
    """With the nearest name, or what there is; the emulator is never chosen by itself."""
    with pytest.raises(NotFound) as caught:
        choose(tree(web()), to)
    assert caught.value.code == "GW-N001"
    assert hint in caught.value.hint


def test_flags_make_a_destination_without_a_file() -> None:
    """The same flags mean the same destination, by name and by fingerprint."""
    one = ad_hoc(region="mypurecloud.ie", deployment_id=DEPLOYMENT)
    assert one == ad_hoc(region="eu-west-1", deployment_id=DEPLOYMENT.upper())
    assert one.name.startswith("adhoc-")
    assert one.fingerprint == web().fingerprint
    assert ad_hoc(gateway="http://127.0.0.1:1", deployment_id=DEPLOYMENT, name="x").is_emulator


@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        (lambda: ad_hoc(region="eu-west-1"), "GW-C011", "--deployment-id"),
        (lambda: ad_hoc(deployment_id=DEPLOYMENT), "GW-C011", "--region"),
        (lambda: ad_hoc(region="x", gateway="y", deployment_id=DEPLOYMENT), "GW-C012", "--gateway"),
        (lambda: ad_hoc(region="mars", deployment_id=DEPLOYMENT), "GW-C010", "--region"),
        (lambda: ad_hoc(gateway="nope", deployment_id=DEPLOYMENT), "GW-C009", "--gateway"),
        (lambda: ad_hoc(region="eu-west-1", deployment_id="nope"), "GW-C008", "--deployment-id"),
    ],
)
def test_a_bad_flag_is_named_as_a_flag(make: Callable[[], Destination], code: str, said: str) -> None:
    """The user typed a flag, so that is what he reads."""
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.code == code
    assert said in caught.value.message


# --- writing ---

_words = st.from_regex(r"[a-z0-9]{1,8}([-_][a-z0-9]{1,8}){0,2}", fullmatch=True).filter(lambda name: name != "emulator")
_places = st.one_of(
    st.sampled_from([{"region": "eu-west-1"}, {"region": "us-east-2"}]),
    st.sampled_from([{"url": "http://127.0.0.1:8080"}, {"url": "https://gate.example/base", "pace": False}]),
)
_ways = st.one_of(
    st.just({"deployment_id": DEPLOYMENT}),
    st.fixed_dictionaries(
        {"transport": st.just("openmessaging"), "integration_id": st.just(INTEGRATION)},
        optional={
            "id_type": st.sampled_from(["Email", "Phone"]),
            "prefetch_conversation_id": st.booleans(),
            "expect_org_id": st.just(DEPLOYMENT),
            "login_url": st.just("https://login.example"),
            "allow_links": st.lists(st.sampled_from(["a.example", "10.0.0.1:8080"]), max_size=2).map(tuple),
            "min_link_life_s": st.floats(1, 1e6),
        },
    ),
    st.just({"transport": "rest-contract", "allow_undocumented": True, "read_receipt": True}),
)
_limits = {
    "max_text": st.integers(1, 9_999),
    "requests_per_min": st.sampled_from([60, 300, 6000]),
    "text_unit": st.sampled_from(["bytes", "characters"]),
    "media_types": st.sampled_from([(), ("image/png", "text/plain")]),
}
_options = st.fixed_dictionaries(
    {},
    optional={
        "origin": st.just("https://shop.example"),
        "application": st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30),
        "delivery": st.sampled_from(Delivery),
        "max_new_guests_per_min": st.integers(1, 10_000),
        "proxy": st.just(Secret("http://proxy:3128")),
        "limits": st.builds(Limits, **_limits),
        "retry": st.builds(RetrySettings, cap_s=st.floats(1, 1e6), max_attempts=st.integers(1, 99))
        | st.builds(msgspec.structs.replace, st.sampled_from(list(RETRY_OF.values())), max_attempts=st.integers(1, 9)),
        "tls": st.builds(TlsSettings, verify=st.booleans()),
    },
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=_words, way=_ways, place=_places, options=_options)
def test_what_is_written_reads_back_as_it_was(
    tmp_path: Path, name: str, way: dict[str, Any], place: dict[str, Any], options: dict[str, Any]
) -> None:
    """Every destination survives its own text, whichever its way out, and its limits too."""
    destination = Destination(name=name, **{**options, **way, **place})
    (tmp_path / "guestwire.toml").write_text(to_toml(destination), encoding="utf-8")
    loaded = load(environ={}, cwd=tmp_path, home=tmp_path)
    assert loaded.settings.destinations == {name: destination}


def test_a_secret_is_not_written() -> None:
    """The block says by which variable to set it, and still reads back."""
    secrets = {"proxy": "http://joe:hunter2@proxy:1", "client_secret": "hunter2", "access_token": "hunter2"}
    secrets["webhook_secret"] = "hunter2" * 3
    fields = {field: Secret(value) for field, value in secrets.items()}
    text = to_toml(kiosk(client_id="x", **fields))
    assert "hunter2" not in text
    for field in secrets:
        assert f"GUESTWIRE_DESTINATIONS__KIOSK__{field.upper()}\n" in text
    assert 'client_id = "x"' in text
    assert "deployment_id" not in text


def test_a_destination_is_added_beside_what_stands_there(world: World) -> None:
    """Byte for byte; a new file is made with its folders; a second one of that name is refused."""
    path = world.cwd / "new" / "guestwire.toml"
    add_destination(path, web())
    before = path.read_bytes() + b"# my notes\r\n[store]\r\npath = 'x'  # no line end"
    path.write_bytes(before)
    path.chmod(0o600)
    add_destination(path, local())
    assert path.read_bytes().startswith(before + b"\n\n[destinations.emulator]")
    assert path.stat().st_mode & 0o777 == 0o600
    loaded = load(environ={}, cwd=path.parent, home=world.home)
    assert loaded.settings.destinations == {"web": web(), "emulator": local()}
    after = path.read_bytes()
    with pytest.raises(ConfigError) as caught:
        add_destination(path, web(region="us-east-1"))
    assert caught.value.code == "GW-C017"
    assert "line 1" in caught.value.message
    assert path.read_bytes() == after
    assert [one.name for one in path.parent.iterdir()] == ["guestwire.toml"]


@pytest.mark.parametrize(
    "text", ["broken = ", f'destinations = {{ a = {{ region = "eu-west-1", deployment_id = "{DEPLOYMENT}" }} }}\n']
)
def test_a_file_that_cannot_be_added_to_is_left_alone(world: World, text: str) -> None:
    """Broken ones, and ones that write their destinations in one line."""
    path = world.project(text)
    with pytest.raises(ConfigError) as caught:
        add_destination(path, web())
    assert caught.value.code == "GW-C004"
    assert path.read_text() == text


# --- documents ---


def test_every_setting_is_documented_with_its_default() -> None:
    """docs/configuration.md has one row for each key, and none for a key that does not exist."""
    rows: dict[str, list[str]] = {}
    for line in (DOCS / "configuration.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 6 and cells[0].startswith("`"):
            rows[cells[0].strip("`").replace("NAME", "*")] = cells
    assert list(rows) == list(known_keys())
    for key in known_keys().values():
        if isinstance(key.default, bool):
            default = "true" if key.default else "false"
        elif key.default in (msgspec.NODEFAULT, None, ()):
            continue
        else:
            default = f"{key.default:g}" if isinstance(key.default, float) else str(key.default)
        assert default in re.sub(r"(?<=\d),(?=\d{3})", "", rows[key.path][3]), key.path


def test_the_limits_of_each_way_out_are_documented() -> None:
    """One row for each limit in which two ways out differ, with what is in force."""
    rows: dict[str, list[str]] = {}
    for line in (DOCS / "configuration.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 5 and cells[0].strip("`") in Limits.__struct_fields__:
            rows[cells[0].strip("`")] = cells[1:4]
    names = ("webmessaging", "openmessaging", "rest-contract")
    assert names == tuple(LIMITS_OF)
    ways = [[getattr(LIMITS_OF[name], field) for name in names] for field in Limits.__struct_fields__]
    told = {
        field: [", ".join(way) if isinstance(way, tuple) else str(way) for way in row]
        for field, row in zip(Limits.__struct_fields__, ways, strict=True)
    }
    assert rows == {field: row for field, row in told.items() if len(set(row)) > 1 or field == "max_attachments"}


def test_every_code_is_told_in_the_document_and_raised_somewhere() -> None:
    """No code without an explanation, none that nothing raises."""
    document = (DOCS / "configuration.md").read_text(encoding="utf-8")
    folder = Path(sys.modules[Settings.__module__].__file__ or "").parent
    source = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    for code, meaning in CODES.items():
        assert f"| `{code}` | {meaning} |" in document
        assert f'code="{code}"' in source or f'"{code}" if' in source or f'else "{code}"' in source, code


def test_every_region_stands_in_the_document() -> None:
    """With both of its names."""
    document = (DOCS / "configuration.md").read_text(encoding="utf-8")
    for region in REGIONS:
        assert f"| {region.aws} | {region.domain} |" in document


def test_the_application_name_carries_the_version_of_the_package() -> None:
    """The constant that spares every command a look into the installed metadata is not stale."""
    assert importlib.metadata.version("guestwire") == VERSION
    assert web().application == f"guestwire-{VERSION}"


def test_settings_import_without_heavy_company() -> None:
    """Every command reads settings, so they bring neither pydantic nor asyncio nor a parser that is not needed."""
    heavy = {"pydantic", "asyncio", "tomllib", "difflib", "hashlib", "ssl", "aiohttp", "tempfile"}
    command = "import sys, guestwire.settings; print(' '.join(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert heavy & set(ran.stdout.split()) == set()
