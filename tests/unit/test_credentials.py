"""Credentials: whose names count, that a pair stays a pair, and who never gets to see them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guestwire.cli import setup
from guestwire.errors import ConfigError
from guestwire.settings import Loaded, Secret, load
from guestwire.settings.credentials import Family, Found, families_of
from tests.unit.test_settings import INTEGRATION, KIOSK, WEB, World

GC = {"GENESYSCLOUD_OAUTHCLIENT_ID": "gc-id", "GENESYSCLOUD_OAUTHCLIENT_SECRET": "gc-hunter2"}
TUTORIAL = {"GENESYS_CLIENT_ID": "tutorial-id", "GENESYS_CLIENT_SECRET": "tutorial-hunter2"}
PROFILE = (
    '[prod]\nenvironment = "mypurecloud.ie"\nclient_credentials = "profile-id"\nclient_secret = "profile-hunter2"\n'
)
GATE = '[destinations.gate]\ntransport = "rest-contract"\nurl = "{url}"\n'


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An empty one."""
    cwd = tmp_path / "home" / "work"
    cwd.mkdir(parents=True)
    return World(tmp_path / "home", cwd, {})


def private(path: Path) -> Path:
    """The file, for its owner alone."""
    path.chmod(0o600)
    return path


def shown(loaded: Loaded, name: str = "kiosk") -> tuple[str | None, str | None]:
    """Id and secret of a destination."""
    destination = loaded.settings.destinations[name]
    secret = destination.client_secret
    return destination.client_id, None if secret is None else secret.reveal()


def dotenv_of(world: World, values: dict[str, str]) -> Path:
    """A private .env."""
    return private(world.dotenv("".join(f"{name}={value}\n" for name, value in values.items())))


# --- who speaks ---


def test_the_names_of_the_vendors_tools_speak_for_a_silent_destination(world: World) -> None:
    """With the place where they come from; web messaging, which needs none, gets none."""
    world.project(KIOSK + WEB)
    world.environ.update(GC)
    loaded = world.load()
    assert shown(loaded) == ("gc-id", "gc-hunter2")
    assert shown(loaded, "web") == (None, None)
    assert loaded.origins["destinations.kiosk.client_secret"] == "environment GENESYSCLOUD_OAUTHCLIENT_SECRET"
    assert loaded.origins["destinations.web.client_secret"] == "default"
    assert loaded.warnings == []


def test_an_access_token_is_enough(world: World) -> None:
    """Also beside a pair of the same family, which can renew it."""
    world.project(KIOSK)
    world.environ["GENESYSCLOUD_ACCESS_TOKEN"] = "token-hunter2"
    loaded = world.load()
    assert loaded.settings.destinations["kiosk"].access_token == Secret("token-hunter2")
    assert shown(loaded) == (None, None)
    world.environ.update(GC)
    loaded = world.load()
    assert loaded.settings.destinations["kiosk"].access_token == Secret("token-hunter2")
    assert shown(loaded) == ("gc-id", "gc-hunter2")


_RANKS = ("own", "gc env", "tutorial env", "gc dotenv", "tutorial dotenv", "profile")


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(sources=st.sets(st.sampled_from(_RANKS), min_size=1))
def test_the_first_family_that_has_a_pair_gives_both_halves(tmp_path: Path, sources: set[str]) -> None:
    """Whatever else is set; and whoever is overruled by another tool's name or a file is named once, without values."""
    world = World(tmp_path, tmp_path / "work", {})
    world.cwd.mkdir(exist_ok=True)
    for old in (world.cwd / ".env", world.home / ".gc" / "config.toml"):
        old.unlink(missing_ok=True)
    lines: dict[str, str] = {}
    text = KIOSK
    for source in sources:
        if source == "own":
            world.environ["GUESTWIRE_DESTINATIONS__KIOSK__CLIENT_ID"] = "own-id"
            world.environ["GUESTWIRE_DESTINATIONS__KIOSK__CLIENT_SECRET"] = "own-hunter2"
        elif source == "profile":
            private(world.gc(PROFILE))
            text += 'profile = "prod"\n'
        else:
            names = GC if source.startswith("gc") else TUTORIAL
            where = world.environ if source.endswith("env") and "dotenv" not in source else lines
            where.update(
                {name: f"{source.replace(' ', '-')}{value[value.index('-') :]}" for name, value in names.items()}
            )
    dotenv_of(world, lines)
    world.project(text)
    loaded = world.load()

    winner = next(source for source in _RANKS if source in sources)
    prefix = winner.replace(" ", "-")
    assert shown(loaded) == (f"{prefix}-id", f"{prefix}-hunter2")
    expected = min(1, len(sources - {"own", "profile"})) if winner == "own" else len(sources) - 1
    assert len(loaded.warnings) == expected, loaded.warnings
    assert not [one for one in loaded.warnings if "hunter2" in one]


def test_two_that_say_the_same_do_not_disagree(world: World) -> None:
    """A warning is for what differs."""
    world.project(KIOSK)
    world.environ.update(GC)
    world.environ.update(zip(TUTORIAL, GC.values(), strict=True))
    assert world.load().warnings == []
    world.environ["GENESYS_CLIENT_SECRET"] = "old-hunter2"
    (warning,) = world.load().warnings
    assert "GENESYSCLOUD_OAUTHCLIENT_SECRET" in warning
    assert "GENESYS_CLIENT_SECRET" in warning
    assert "hunter2" not in warning


def test_the_id_of_one_never_goes_with_the_secret_of_another(world: World) -> None:
    """Half a pair is not used, and it is said; the next family that is whole counts."""
    world.project(KIOSK)
    world.environ["GENESYSCLOUD_OAUTHCLIENT_ID"] = "gc-id"
    world.environ["GENESYS_CLIENT_SECRET"] = "tutorial-hunter2"
    loaded = world.load()
    assert shown(loaded) == (None, None)
    first, second = loaded.warnings
    assert "GENESYSCLOUD_OAUTHCLIENT_ID" in first
    assert "GENESYS_CLIENT_SECRET" in second
    world.environ["GENESYS_CLIENT_ID"] = "tutorial-id"
    loaded = world.load()
    assert shown(loaded) == ("tutorial-id", "tutorial-hunter2")
    (warning,) = loaded.warnings
    assert "GENESYSCLOUD_OAUTHCLIENT_ID" in warning


def test_a_half_of_ones_own_is_not_completed_by_strangers(world: World) -> None:
    """It is an error that names the half there is."""
    world.project(KIOSK + 'client_id = "own-id"\n')
    world.environ.update(GC)
    error = world.refused("GW-C011")
    assert "client_secret is missing" in error.message
    assert "line 5" in error.message


def test_ones_own_halves_may_stand_in_two_places(world: World) -> None:
    """The id in the file that everybody reads, the secret in the environment."""
    world.project(KIOSK + 'client_id = "own-id"\n')
    world.environ["GUESTWIRE_DESTINATIONS__KIOSK__CLIENT_SECRET"] = "own-hunter2"
    assert shown(world.load()) == ("own-id", "own-hunter2")


_names = st.sampled_from([*GC, "GENESYSCLOUD_ACCESS_TOKEN", *TUTORIAL])


@given(found=st.dictionaries(_names, st.dictionaries(st.sampled_from([1, 2]), st.sampled_from("ab"), max_size=2)))
def test_a_family_is_never_mixed_where_one_source_has_both_halves(found: dict[str, dict[int, str]]) -> None:
    """Names of two tools never meet, nor two ranks of which one is whole or which contradict each other."""
    given_ = {
        name: [Found(value, f"{name} {rank}", rank) for rank, value in sorted(by_rank.items())]
        for name, by_rank in found.items()
    }
    families = families_of(given_)
    for family in families:
        sources = {one.source for one in family.given.values()}
        assert len({source.startswith("GENESYS_") for source in sources}) == 1
        ranks = {one.rank for one in family.given.values()}
        if len(ranks) > 1:
            fields = [source.partition(" ")[0] for source in sources]
            assert all(len(given_[name]) == 1 for name in fields), "one of them was said twice"
    told = [one for family in families for one in family.given.values()]
    assert sorted(told) == sorted(one for ones in given_.values() for one in ones), "nothing is lost or told twice"
    assert [family.rank for family in families] == sorted(family.rank for family in families)


def test_halves_in_two_places_that_complete_each_other_are_one() -> None:
    """The id in .env, its secret from the environment of the machine."""
    one, two = Found("id", "x", 1), Found("secret", "y", 2)
    names = list(GC)
    assert families_of({names[0]: [one], names[1]: [two]}) == [Family(client_id=one, client_secret=two)]
    assert len(families_of({names[0]: [one, Found("other", "z", 2)], names[1]: [two]})) == 2


# --- files ---


def test_every_name_has_a_twin_that_names_a_file(world: World) -> None:
    """Ours and theirs; a file with a secret is private or refused, one with an id need not be."""
    world.project(KIOSK)
    secret = private(world._write(world.home / "secret", "file-hunter2\n"))
    client = world._write(world.home / "id", "file-id\n")
    client.chmod(0o644)
    for prefix in ("GENESYSCLOUD_OAUTHCLIENT", "GENESYS_CLIENT", "GUESTWIRE_DESTINATIONS__KIOSK__CLIENT"):
        world.environ.clear()
        world.environ.update({f"{prefix}_ID_FILE": str(client), f"{prefix}_SECRET_FILE": "~/secret"})
        loaded = world.load()
        assert shown(loaded) == ("file-id", "file-hunter2")
        assert loaded.origins["destinations.kiosk.client_secret"] == f"environment {prefix}_SECRET_FILE ({secret})"
        assert {client, secret} <= set(loaded.files)
        secret.chmod(0o640)
        assert "hunter2" not in str(world.refused("GW-C016"))
        secret.chmod(0o600)
        world.environ[f"{prefix}_SECRET_FILE"] = "/nowhere/x"
        assert f"{prefix}_SECRET_FILE" in world.refused("GW-C003").message


def test_a_file_of_somebody_elses_secret_is_not_opened_without_need(world: World) -> None:
    """Web messaging needs no client, so it does not matter whether the file is there."""
    world.project(WEB)
    world.environ["GENESYSCLOUD_OAUTHCLIENT_SECRET_FILE"] = "/nowhere/x"
    assert world.load().warnings == []
    world.environ["GENESYSCLOUD_REGION_FILE"] = str(world._write(world.home / "region", "eu-west-1\n"))
    world.project(WEB.replace('region = "eu-west-1"\n', ""))
    assert world.load().settings.destinations["web"].region == "eu-west-1"


def test_a_variable_and_its_file_that_disagree_are_told(world: World) -> None:
    """Without either value."""
    world.project(KIOSK)
    world.environ.update(GC)
    world.environ["GENESYSCLOUD_OAUTHCLIENT_SECRET_FILE"] = str(
        private(world._write(world.home / "s", "other-hunter2"))
    )
    loaded = world.load()
    assert shown(loaded) == ("gc-id", "gc-hunter2")
    (warning,) = loaded.warnings
    assert "GENESYSCLOUD_OAUTHCLIENT_SECRET_FILE" in warning
    assert "hunter2" not in warning


def test_a_dotenv_that_others_can_read_is_warned_of(world: World) -> None:
    """The tutorial's readers have such a file; one without a secret is nobody's business."""
    world.project(KIOSK)
    path = world.dotenv("\n".join(f"{name}={value}" for name, value in TUTORIAL.items()))
    path.chmod(0o644)
    loaded = world.load()
    assert shown(loaded) == ("tutorial-id", "tutorial-hunter2")
    (warning,) = loaded.warnings
    assert f"chmod 600 {path}" in warning
    assert "GENESYS_CLIENT_SECRET" in warning
    assert "hunter2" not in warning
    private(path)
    assert world.load().warnings == []
    for line, is_secret in (
        ("GUESTWIRE_DESTINATIONS__KIOSK__CLIENT_ID=x\nGUESTWIRE_DESTINATIONS__KIOSK__CLIENT_SECRET=y", True),
        ("GUESTWIRE_DESTINATIONS__KIOSK__PROXY=http://joe:hunter2@proxy:1", True),
        ("HTTPS_PROXY=http://joe:hunter2@proxy:1", True),
        ("HTTPS_PROXY=http://proxy:1", False),
        ("GENESYS_CLIENT_SECRET_FILE=/run/secret", False),
        ("GENESYS_ENVIRONMENT=mypurecloud.ie", False),
        ("DJANGO_SECRET=x", False),
    ):
        world.project(WEB if "FILE" in line else KIOSK)
        world.dotenv(line).chmod(0o644)
        assert any("can be read by others" in one for one in world.load().warnings) is is_secret, line


def test_a_secret_in_the_project_file_makes_it_private(world: World) -> None:
    """Refused, while others can read it."""
    path = world.project(KIOSK + 'client_id = "x"\nclient_secret = "hunter2"\n')
    path.chmod(0o644)
    assert "hunter2" not in str(world.refused("GW-C016"))
    private(path)
    assert shown(world.load()) == ("x", "hunter2")


def test_nothing_reads_the_tutorials_webhook_address(world: World) -> None:
    """It is no setting, and no error either."""
    world.project(KIOSK)
    world.environ["ANALYTICS_WEBHOOK_URL"] = "https://bi.example/hook"
    loaded = world.load()
    assert (loaded.warnings, shown(loaded)) == ([], (None, None))


# --- profiles ---


def test_a_profile_gives_region_and_client(world: World) -> None:
    """Where nothing higher does; its file is private or refused, once its secret is wanted."""
    world.project(KIOSK.replace('region = "eu-west-1"', 'profile = "Prod"'))
    path = world.gc(PROFILE)
    path.chmod(0o644)
    error = world.refused("GW-C016")
    assert str(path) in error.message
    assert "hunter2" not in str(error)
    private(path)
    loaded = world.load()
    assert loaded.settings.destinations["kiosk"].region == "eu-west-1"
    assert shown(loaded) == ("profile-id", "profile-hunter2")
    assert loaded.origins["destinations.kiosk.client_id"] == f"{path} profile Prod"
    path.chmod(0o644)
    world.environ.update(GC)
    loaded = world.load()
    assert shown(loaded) == ("gc-id", "gc-hunter2")
    assert "profile Prod" in loaded.warnings[0]


def test_a_profile_that_holds_no_text_is_refused(world: World) -> None:
    """And its numbers are not repeated."""
    world.project(KIOSK + 'profile = "prod"\n')
    private(world.gc('[prod]\nclient_credentials = "x"\nclient_secret = 4711\n'))
    error = world.refused("GW-C006")
    assert "profile prod" in error.message
    assert "4711" not in str(error)


# --- who gets them ---


@pytest.mark.parametrize(
    ("url", "login_url", "gets"),
    [
        ("http://127.0.0.1:8080", None, True),
        ("http://localhost:8080", "https://login.mypurecloud.ie", True),
        ("https://gate.example", None, False),
        ("https://127.0.0.1.gate.example", None, False),
        ("https://mypurecloud.ie.gate.example", None, False),
        ("http://127.0.0.1:8080", "https://gate.example", False),
        ("https://gate.example", "https://login.mypurecloud.ie", False),
    ],
)
def test_credentials_of_the_environment_stay_here_or_go_to_the_vendor(
    world: World, url: str, login_url: str | None, gets: bool
) -> None:
    """A file that came with a repository cannot have them sent elsewhere; that they were not used is said."""
    world.project(GATE.format(url=url) + (f'login_url = "{login_url}"\n' if login_url else ""))
    world.environ.update(GC)
    loaded = world.load()
    assert shown(loaded, "gate") == (("gc-id", "gc-hunter2") if gets else (None, None))
    assert bool([one for one in loaded.warnings if "could lead them elsewhere" in one]) is not gets
    assert gets or "destinations.gate.client_id" in loaded.warnings[0]


def test_a_place_of_ones_own_gets_none_of_them_by_a_variable_either(world: World) -> None:
    """The vendor's names are for the vendor, whoever has set the address."""
    world.project(GATE.format(url="http://127.0.0.1:8080"))
    world.environ.update(GC, GUESTWIRE_DESTINATIONS__GATE__URL="https://gate.example")
    loaded = world.load()
    assert shown(loaded, "gate") == (None, None)
    assert any("GENESYSCLOUD_OAUTHCLIENT_ID is not used" in one for one in loaded.warnings)


@pytest.mark.parametrize(
    ("more", "gets"),
    [
        ("", True),
        ('proxy = "http://proxy.example:8080"\n', False),
        ("[destinations.kiosk.tls]\nverify = false\n", False),
        ("[destinations.kiosk.tls]\nverify = true\n", True),
        ('[destinations.kiosk.tls]\nca_file = "ca.pem"\n', False),
        ('login_url = "http://login.mypurecloud.ie"\n', False),
        ('login_url = "https://login.mypurecloud.ie"\n', True),
    ],
)
@pytest.mark.parametrize("source", ["environment", "profile"])
def test_a_projects_file_cannot_lead_credentials_elsewhere(world: World, more: str, gets: bool, source: str) -> None:
    """By a proxy, an authority of its own, or without encryption: whoever wrote the file could read them on the way."""
    (world.cwd / "ca.pem").write_text("x")
    profile = 'profile = "prod"\n' if source == "profile" else ""
    world.project(KIOSK + profile + more)
    if source == "profile":
        private(world.gc(PROFILE))
    else:
        world.environ.update(GC)
    loaded = world.load()
    assert (shown(loaded) != (None, None)) is gets
    assert bool([one for one in loaded.warnings if "could lead them elsewhere" in one]) is not gets


def test_what_the_user_has_set_himself_leads_them_where_he_wants(world: World) -> None:
    """The same proxy by a variable: he has said so himself."""
    world.project(KIOSK)
    world.environ.update(GC, GUESTWIRE_DESTINATIONS__KIOSK__PROXY="http://proxy.example:8080")
    assert shown(world.load()) == ("gc-id", "gc-hunter2")


def test_a_region_with_a_login_address_elsewhere_gets_none_either(world: World) -> None:
    """The secret goes to whoever gives the tokens."""
    world.project(KIOSK + 'login_url = "https://gate.example"\n')
    world.environ.update(GC)
    assert shown(world.load()) == (None, None)
    world.environ["GUESTWIRE_DESTINATIONS__KIOSK__LOGIN_URL"] = "https://login.mypurecloud.ie"
    assert shown(world.load()) == ("gc-id", "gc-hunter2")


def test_a_profile_that_the_user_names_beside_his_own_address_is_meant(world: World) -> None:
    """Its credentials go there; those of the environment still do not, and a project's file cannot say so."""
    world.project(GATE.format(url="https://gate.example") + 'profile = "prod"\n')
    private(world.gc(PROFILE))
    world.environ.update(GC)
    assert shown(world.load(), "gate") == (None, None)
    world.environ["GUESTWIRE_DESTINATIONS__GATE__URL"] = "https://gate.example"
    loaded = world.load()
    assert shown(loaded, "gate") == ("profile-id", "profile-hunter2")
    assert loaded.settings.destinations["gate"].region is None


def test_an_emulator_needs_no_profile(world: World) -> None:
    """A variable sends the destination to this machine, where the profile's file may not exist."""
    world.project(KIOSK.replace('region = "eu-west-1"', 'profile = "prod"'))
    world.environ["GUESTWIRE_DESTINATIONS__KIOSK__URL"] = "http://127.0.0.1:8080"
    world.environ.update(TUTORIAL)
    assert shown(world.load()) == ("tutorial-id", "tutorial-hunter2")
    world.environ.clear()
    world.environ["GUESTWIRE_DESTINATIONS__KIOSK__URL"] = "http://127.0.0.1:8080"
    assert "profile" in world.refused("GW-C015").message


def test_an_unencrypted_login_address_is_warned_of(world: World) -> None:
    """The secret itself travels there."""
    world.project(KIOSK + 'login_url = "http://login.example"\n')
    assert "login_url is not encrypted" in world.load().warnings[0]
    world.project(KIOSK + 'login_url = "http://127.0.0.1:1"\n')
    assert world.load().warnings == []


# --- the tutorial's place ---


@pytest.mark.parametrize(
    "environment",
    ["mypurecloud.ie", "api.mypurecloud.ie", "https://apps.mypurecloud.ie/directory/#/admin", "eu-west-1", "eu_west_1"],
)
def test_the_tutorials_environment_may_be_written_in_every_way(world: World, environment: str) -> None:
    """A domain, a host, an address of the console, an AWS name."""
    world.project(KIOSK.replace('region = "eu-west-1"\n', ""))
    world.environ["GENESYS_ENVIRONMENT"] = environment
    assert world.load().settings.destinations["kiosk"].gateway == "https://api.mypurecloud.ie"


def test_the_tutorials_environment_may_be_an_emulator(world: World) -> None:
    """Then it is the url of whoever names no place, and the client goes there too; another machine's is refused."""
    world.project(KIOSK.replace('region = "eu-west-1"\n', "") + WEB)
    world.environ.update(TUTORIAL, GENESYS_ENVIRONMENT="http://127.0.0.1:8080/")
    loaded = world.load()
    assert loaded.settings.destinations["kiosk"].url == "http://127.0.0.1:8080"
    assert loaded.settings.destinations["web"].region == "eu-west-1"
    assert loaded.origins["destinations.kiosk.url"] == "environment GENESYS_ENVIRONMENT"
    assert shown(loaded) == ("tutorial-id", "tutorial-hunter2")
    assert loaded.warnings == []
    world.environ["GENESYS_ENVIRONMENT"] = "http://gate.example:8080"
    assert "GENESYS_ENVIRONMENT" in world.refused("GW-C010").message


# --- who sees them ---


def test_no_secret_is_shown_with_its_origin_or_without(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """`config show` has stars and the place; the id may be seen."""
    fields = "".join(f'{key} = "{"hunter2" * 3}"\n' for key in ("client_secret", "access_token", "webhook_secret"))
    path = private(world.project(KIOSK + 'client_id = "own-id"\n' + fields))
    loaded = world.load()
    assert "hunter2" not in f"{loaded!r} {loaded} {loaded.settings.destinations['kiosk']!r}"
    for as_json in (False, True):
        setup.show_config(loaded, origin=True, as_json=as_json)
        said = capsys.readouterr()
        assert "hunter2" not in said.out + said.err
        if as_json:
            shown_ = json.loads(said.out)
            for line, key in enumerate(("client_secret", "access_token", "webhook_secret"), start=6):
                assert shown_[f"destinations.kiosk.{key}"] == {"value": "***", "origin": f"{path} line {line}"}
            assert shown_["destinations.kiosk.client_id"]["value"] == "own-id"


@settings(max_examples=150, deadline=None)
@given(
    secret=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=8, max_size=40).filter(
        lambda text: not text.isspace()
    ),
    name=st.sampled_from(
        [
            "GENESYSCLOUD_OAUTHCLIENT_SECRET",
            "GENESYSCLOUD_ACCESS_TOKEN",
            "GUESTWIRE_DESTINATIONS__KIOSK__CLIENT_SECRET",
            "GUESTWIRE_DESTINATIONS__KIOSK__ACCESS_TOKEN",
            "GUESTWIRE_DESTINATIONS__KIOSK__WEBHOOK_SECRET",
            "GUESTWIRE_DESTINATIONS__KIOSK__PROXY",
        ]
    ),
)
def test_no_error_and_no_warning_quotes_a_secret(
    tmp_path_factory: pytest.TempPathFactory, secret: str, name: str
) -> None:
    """Whatever it is made of, and whatever is wrong with it."""
    secret = f"hunter2{secret}"
    folder = tmp_path_factory.getbasetemp()
    environ = {
        "GUESTWIRE_DESTINATIONS__KIOSK__TRANSPORT": "openmessaging",
        "GUESTWIRE_DESTINATIONS__KIOSK__REGION": "eu-west-1",
        "GUESTWIRE_DESTINATIONS__KIOSK__INTEGRATION_ID": INTEGRATION,
        name: secret,
    }
    if name.startswith("GUESTWIRE") and name.endswith("CLIENT_SECRET"):
        environ["GUESTWIRE_DESTINATIONS__KIOSK__CLIENT_ID"] = "x"
    said = ""
    try:
        loaded = load(environ=environ, cwd=folder, home=folder)
        said = f"{loaded!r} {loaded.settings.destinations['kiosk']} {loaded.warnings}"
    except ConfigError as error:
        said = f"{error.message} {error.hint} {error!r}"
    assert "hunter2" not in said
