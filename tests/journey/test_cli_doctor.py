"""`guestwire doctor`, and `guestwire init` for Open Messaging: what is looked at, and what is never shown."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from guestwire.doctor import RECEIVE, Check, examine, examine_store, is_allowed_origin
from guestwire.emulator.app import Emulator
from guestwire.settings import Ambient, Destination, Limits, Secret, StoreSettings, TlsSettings
from guestwire.store.folder import Folder, RelayLock
from guestwire.testing import FakeClock, emulator
from tests.journey.kit import eventually, make_wire, say, settled
from tests.journey.test_cli_kit import Cli, on_terminal
from tests.journey.test_tls import behind_tls, make_certificate

UUID = "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50"
INBOUND = "POST open/message"


def kiosk(genesys: Any, **changes: Any) -> Destination:
    """Open Messaging at the emulator."""
    fields: dict[str, Any] = {
        "name": "kiosk",
        "transport": "openmessaging",
        "url": genesys.url,
        "integration_id": genesys.integration_id,
        "client_id": genesys.client_id,
        "client_secret": Secret(genesys.client_secret),
    }
    return Destination(**{**fields, **changes})


def web(genesys: Any, **changes: Any) -> Destination:
    """Web messaging at the emulator."""
    return Destination(**{"name": "web", "url": genesys.url, "deployment_id": genesys.deployment_id, **changes})


async def looked(destination: Destination, **how: Any) -> dict[str, Check]:
    """Every check by its first word; secrets are in none of them."""
    found = [check async for check in examine(destination, **how)]
    secret = destination.client_secret
    if secret is not None:
        assert secret.reveal() not in str(found)
    return {check.name.partition(" ")[0]: check for check in found}


def statuses(checks: dict[str, Check]) -> dict[str, str]:
    """Name and status."""
    return {name: check.status for name, check in checks.items()}


def actions(genesys: Any) -> list[str]:
    """What was asked of the platform."""
    return [request["action"] for request in genesys.requests()]


# --- a destination that works ---


async def test_a_good_destination_passes_and_nobody_hears_of_it() -> None:
    """Every check is there in one order; the one request to the way in is refused as no message."""
    async with emulator(webhook_url="http://127.0.0.1:9/hooks/secret-path") as genesys:
        checks = await looked(kiosk(genesys, expect_org_id=genesys.organization_id))
        assert statuses(checks) == dict.fromkeys(
            [
                *("settings", "region", "dns", "tls", "clock", "credentials"),
                *("token", "organisation", "permission", "integration", "limits"),
            ],
            "ok",
        )
        assert genesys.messages() == []
        assert genesys.conversations() == []
        assert [one["answered"] for one in genesys.requests() if one["action"] == INBOUND] == [400]
        assert "as expected" in checks["organisation"].detail
        assert "127.0.0.1:9" in checks["integration"].detail
        assert "secret-path" not in checks["integration"].detail, "a path may be a key"
        assert actions(genesys).count("oauth/token") == 1


async def test_web_messaging_needs_no_client() -> None:
    """Its checks are others: the deployment, and who may embed it."""
    async with emulator() as genesys:
        checks = await looked(web(genesys))
        assert list(checks) == ["settings", "region", "dns", "tls", "clock", "deployment", "origin", "limits"]
        assert set(statuses(checks).values()) == {"ok"}
        assert genesys.state()["sessions"] == 0


async def test_a_gateway_of_ones_own_is_asked_for_nothing_that_could_be_a_message() -> None:
    """The tutorial contract has no harmless request; without credentials there is no token either."""
    async with emulator() as genesys:
        gate = Destination(name="gate", transport="rest-contract", url=genesys.url)
        checks = await looked(gate)
        assert {name for name, status in statuses(checks).items() if status == "skip"} == {
            *("credentials", "token", "organisation", "permission")
        }
        assert "fail" not in statuses(checks).values()
        assert actions(genesys) == []
        checks = await looked(kiosk(genesys, transport="rest-contract", integration_id=""))
        assert checks["token"].status == "ok"
        assert actions(genesys) == ["oauth/token"]


# --- credentials ---


async def test_a_wrong_secret_is_named_with_its_places() -> None:
    """What depends on the token is skipped, the rest is looked at; the limit is not used up by guesses."""
    async with emulator() as genesys:
        origins = {
            "destinations.kiosk.client_id": "environment GENESYSCLOUD_OAUTHCLIENT_ID",
            "destinations.kiosk.client_secret": "/home/ann/.gc/config.toml profile prod",
        }
        checks = await looked(kiosk(genesys, client_secret=Secret("hunter2")), origins=origins)
        assert {name for name, status in statuses(checks).items() if status == "fail"} == {"token"}
        assert {name for name, status in statuses(checks).items() if status == "skip"} == {
            *("organisation", "permission", "integration")
        }
        for origin in origins.values():
            assert origin in checks["token"].fix
        assert "client secret is wrong" in checks["token"].detail
        assert "'token' failed" in checks["integration"].detail
        assert actions(genesys) == ["oauth/token"]


async def test_missing_credentials_are_told_without_any_network() -> None:
    """Open Messaging cannot do without."""
    gone = kiosk_at("http://127.0.0.1:1")
    checks = await looked(gone)
    assert checks["credentials"].status == "fail"
    assert "GENESYSCLOUD_OAUTHCLIENT_ID" in checks["credentials"].fix
    assert "GUESTWIRE_" not in checks["credentials"].detail
    assert checks["token"].status == "skip"


def kiosk_at(url: str, **changes: Any) -> Destination:
    """Open Messaging at an address, without credentials."""
    return Destination(name="kiosk", transport="openmessaging", url=url, integration_id=UUID, **changes)


async def test_an_access_token_is_tried_and_the_client_steps_in() -> None:
    """A stale one alone is a failure; beside a pair it is a warning, and the pair's token is used."""
    async with emulator() as genesys:
        stale = Secret("stale-hunter2")
        alone = await looked(kiosk(genesys, client_id=None, client_secret=None, access_token=stale))
        assert alone["token"].status == "fail"
        assert "not taken" in alone["token"].detail
        assert alone["permission"].status == "skip"
        beside = await looked(kiosk(genesys, access_token=stale))
        assert beside["token"].status == "warn"
        assert beside["permission"].status == "ok"
        assert "hunter2" not in str(alone) + str(beside)
        good = await token_of(genesys)
        fresh = await looked(kiosk(genesys, client_id=None, client_secret=None, access_token=Secret(good)))
        assert "nobody can renew it" in fresh["token"].detail
        assert fresh["permission"].status == "ok"
        assert good not in str(fresh)


async def token_of(genesys: Emulator) -> str:
    """A token, by hand."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(genesys.url.rpartition(":")[2]))
    basic = base64.b64encode(f"{genesys.client_id}:{genesys.client_secret}".encode()).decode()
    lines = [
        "POST /oauth/token HTTP/1.0",
        f"Authorization: Basic {basic}",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Length: 29",
        "",
        "grant_type=client_credentials",
    ]
    writer.write("\r\n".join(lines).encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer.partition('"access_token":"')[2].partition('"')[0]


# --- rights and ids ---


async def test_a_missing_permission_is_named() -> None:
    """The one without which nothing goes is a failure; one that only doctor wants is skipped."""
    async with emulator(missing_permissions=RECEIVE) as genesys:
        checks = await looked(kiosk(genesys))
        assert checks["permission"].status == "fail"
        assert RECEIVE in checks["permission"].detail
        assert "Roles" in checks["permission"].fix
        assert checks["integration"].status == "skip"
    async with emulator(missing_permissions="messaging:integration:view") as genesys:
        checks = await looked(kiosk(genesys))
        assert checks["integration"].status == "skip"
        assert "messaging:integration:view" in checks["integration"].detail
        assert "fail" not in statuses(checks).values()


@pytest.mark.parametrize(("wanted", "status"), [(None, "skip"), (UUID, "fail")])
async def test_an_organisation_that_may_not_be_read_matters_to_whoever_expects_one(
    wanted: str | None, status: str
) -> None:
    """The transport sends nothing to an organisation that it cannot compare."""
    async with emulator() as genesys:
        body = (
            '{"code":"missing.permissions","status":403,"messageParams":{"permissions":"directory:organization:view"}}'
        )
        genesys.inject("http_status", status=403, body=body, match={"path": "/organizations/me"})
        checks = await looked(kiosk(genesys, expect_org_id=wanted))
        assert checks["organisation"].status == status
        assert checks["permission"].status == ("ok" if wanted is None else "skip")
        assert wanted is not None or "directory:organization:view" in checks["organisation"].detail


async def test_another_organisation_than_the_expected_is_not_touched() -> None:
    """Both ids are told; the way in is not even asked."""
    async with emulator() as genesys:
        checks = await looked(kiosk(genesys, expect_org_id=UUID))
        assert checks["organisation"].status == "fail"
        assert UUID in checks["organisation"].detail
        assert genesys.organization_id in checks["organisation"].detail
        assert INBOUND not in actions(genesys)


async def test_an_unknown_integration_is_told_by_its_id() -> None:
    """Also where a region or a client of another organisation is the reason."""
    async with emulator() as genesys:
        checks = await looked(kiosk(genesys, integration_id=UUID))
        assert checks["permission"].status == "fail"
        assert UUID in checks["permission"].detail
        assert "another organisation" in checks["permission"].fix
        assert checks["integration"].status == "skip"


async def test_an_integration_without_a_webhook_is_a_warning() -> None:
    """Messages go; replies go nowhere."""
    async with emulator() as genesys:
        checks = await looked(kiosk(genesys))
        assert checks["integration"].status == "warn"
        assert "replies go nowhere" in checks["integration"].detail


# --- web messaging ---


async def test_a_deployment_that_is_not_there_or_switched_off() -> None:
    """404, and a status that is not Active."""
    async with emulator(deployment_status="Inactive") as genesys:
        assert "'Inactive'" in (await looked(web(genesys)))["deployment"].detail
        checks = await looked(web(genesys, deployment_id=UUID))
        assert checks["deployment"].status == "fail"
        assert UUID in checks["deployment"].detail
        assert checks["origin"].status == "skip"


@pytest.mark.parametrize(
    ("origin", "status"),
    [("https://shop.example", "ok"), ("https://other.example", "fail"), (None, "warn")],
)
async def test_the_origin_is_held_against_the_allowed_domains(origin: str | None, status: str) -> None:
    """Where the deployment restricts them."""
    async with emulator(allowed_origins="shop.example,pay.example") as genesys:
        checks = await looked(web(genesys, origin=origin))
        assert checks["origin"].status == status
        assert status == "ok" or "shop.example" in checks["origin"].detail


def test_domains_are_compared_by_their_host() -> None:
    """With a scheme or without; a star stands for what is below, and for nothing else."""
    assert is_allowed_origin("https://Shop.example:8443", ["http://shop.example"])
    assert is_allowed_origin("https://a.shop.example", ["*.shop.example"])
    assert not is_allowed_origin("https://evilshop.example", ["*.shop.example", "shop.example"])
    assert not is_allowed_origin("https://shop.example", [])


# --- limits and clock ---


@pytest.mark.parametrize(("allowed", "words"), [(180, "throttled"), (600, "faster")])
async def test_a_limit_that_the_platform_sees_otherwise_is_a_warning(allowed: int, words: str) -> None:
    """With the line that makes them agree."""
    async with emulator(token_requests_per_minute=allowed) as genesys:
        checks = await looked(kiosk(genesys), origins={"destinations.kiosk.limits.requests_per_min": "a.toml line 9"})
        assert checks["limits"].status == "warn"
        assert words in checks["limits"].detail
        assert "a.toml line 9" in checks["limits"].detail
        assert f"requests_per_min = {allowed}" in checks["limits"].fix
        agreed = Limits(requests_per_min=allowed)
        assert (await looked(kiosk(genesys, limits=agreed)))["limits"].status == "ok"


async def test_a_used_up_limit_is_no_mistake_of_the_settings() -> None:
    """Somebody else's messages may have done it."""
    async with emulator() as genesys:
        genesys.inject("http_status", status=429, retry_after_s=7, match={"path": "/inbound/open/message"})
        checks = await looked(kiosk(genesys))
        assert checks["permission"].status == "warn"
        assert "7 s" in checks["permission"].fix


@pytest.mark.parametrize(("off_s", "status"), [(0, "ok"), (-20, "ok"), (100, "warn"), (-100, "warn"), (1000, "fail")])
async def test_a_clock_that_is_off_is_told(off_s: float, status: str) -> None:
    """More than half a minute is a warning, more than five minutes a failure."""
    async with emulator() as genesys:
        checks = await looked(web(genesys), clock=FakeClock(time.time() + off_s))
        assert checks["clock"].status == status
        assert status == "ok" or ("ahead of" if off_s > 0 else "behind") in checks["clock"].detail


# --- the network ---


async def test_a_page_of_a_proxy_is_told_as_such() -> None:
    """Not as a wrong secret, and not as a platform in trouble; whatever its status."""
    async with emulator() as genesys:
        genesys.inject("http_html", status=403, match={"path": "/oauth/token"})
        checks = await looked(kiosk(genesys))
        assert checks["token"].status == "fail"
        assert "page of HTML (403)" in checks["token"].detail
        assert "HTTPS_PROXY" in checks["token"].fix
        genesys.inject("http_html", status=200, match={"path": "/integrations/"})
        assert "page of HTML (200)" in (await looked(kiosk(genesys)))["integration"].detail


async def test_a_silent_far_side_ends_one_check_and_not_the_others() -> None:
    """Each has its own patience."""
    async with emulator() as genesys:
        genesys.inject("http_silent", match={"path": "/integrations/"})
        checks = await looked(kiosk(genesys), timeout_s=1.0)
        assert checks["integration"].status == "fail"
        assert "no answer" in checks["integration"].detail
        assert (checks["permission"].status, checks["limits"].status) == ("ok", "ok")


async def test_trouble_of_the_platform_comes_with_what_support_asks_for() -> None:
    """A correlation id."""
    async with emulator() as genesys:
        body = '{"code":"internal.server.error","status":500,"message":"x","contextId":"7e0f5b7a"}'
        genesys.inject("http_status", status=500, body=body, match={"path": "/integrations/"})
        checks = await looked(kiosk(genesys))
        assert checks["integration"].status == "fail"
        assert "500" in checks["integration"].detail


async def test_nobody_at_the_address(tmp_path: Path) -> None:
    """The connection fails, what needs it is skipped, settings and limits are told all the same."""
    checks = await looked(kiosk_at("http://127.0.0.1:1"))
    assert checks["tls"].status == "fail"
    assert "refused" in checks["tls"].detail
    assert (checks["clock"].status, checks["limits"].status) == ("skip", "ok")


async def test_a_name_that_is_none_is_told_by_the_resolver() -> None:
    """`.invalid` never resolves (RFC 6761)."""
    checks = await looked(kiosk_at("https://gate.invalid"))
    assert checks["dns"].status == "fail"
    assert checks["tls"].status == "skip"


async def test_tls_tells_version_issuer_and_days(tmp_path: Path) -> None:
    """A known authority passes; an unknown one is named, because a company's proxy shows itself so."""
    async with emulator(tls="generated") as genesys:
        assert genesys.ca_file is not None
        trusting = TlsSettings(ca_file=Path(genesys.ca_file))
        checks = await looked(kiosk(genesys, tls=trusting))
        assert checks["tls"].status == "ok"
        assert "TLSv1.3" in checks["tls"].detail
        assert "days" in checks["tls"].detail
        assert checks["permission"].status == "ok"
        strange = await looked(kiosk(genesys))
        assert strange["tls"].status == "fail"
        assert "issued by" in strange["tls"].detail
        assert "ca_file" in strange["tls"].fix
        assert strange["token"].status == "skip"
        blind = await looked(kiosk(genesys, tls=TlsSettings(verify=False)))
        assert (blind["tls"].status, blind["settings"].status) == ("warn", "warn")
    missing = await looked(kiosk_at("https://127.0.0.1:1", tls=TlsSettings(ca_file=tmp_path / "none.pem")))
    assert statuses(missing) == {"tls": "fail"}


async def test_a_certificate_that_ends_soon_or_is_for_another_host(tmp_path: Path) -> None:
    """A day is a warning; another host's is a failure."""
    for host, status in (("127.0.0.1", "warn"), ("wrong.example", "fail")):
        certificate, key = make_certificate(tmp_path, host)
        async with emulator() as genesys, behind_tls(int(genesys.url.rpartition(":")[2]), certificate, key) as port:
            tls = TlsSettings(ca_file=certificate)
            checks = await looked(kiosk(genesys, url=f"https://127.0.0.1:{port}", tls=tls))
            assert checks["tls"].status == status
            assert checks["token"].status == ("ok" if status == "warn" else "skip")


class Proxy:
    """An http proxy on this machine that tunnels every name to one port; what it was asked for."""

    def __init__(self, port: int, answer: bytes) -> None:
        self._port = port
        self._answer = answer
        self._tasks: set[asyncio.Task[None]] = set()
        self.heads: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one CONNECT, and carry what follows."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self._answer)
            if b" 200 " in self._answer:
                back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._port)
                for source, target in ((reader, back_writer), (back_reader, writer)):
                    self._tasks.add(asyncio.create_task(self._copy(source, target)))
            else:
                writer.close()

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    async def close(self) -> None:
        """End every tunnel."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def proxy_to(port: int, answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> AsyncIterator[tuple[int, Proxy]]:
    """Run a proxy."""
    proxy = Proxy(port, answer)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], proxy
    finally:
        server.close()
        await proxy.close()
        await server.wait_closed()


async def test_a_proxy_is_used_and_named_and_its_password_is_not(tmp_path: Path) -> None:
    """Names are left to it; the certificate behind it is the far side's."""
    certificate, key = make_certificate(tmp_path, "gate.example")
    async with (
        emulator() as genesys,
        behind_tls(int(genesys.url.rpartition(":")[2]), certificate, key) as tls_port,
        proxy_to(tls_port) as (port, proxy),
    ):
        ambient = Ambient(https_proxy=Secret(f"http://joe:hunter2@127.0.0.1:{port}"), ca_file=certificate)
        checks = await looked(kiosk(genesys, url="https://gate.example", ambient=ambient))
        assert f"left to the proxy 127.0.0.1:{port}" in checks["dns"].detail
        assert f"through the proxy 127.0.0.1:{port}" in checks["tls"].detail
        assert (checks["token"].status, checks["permission"].status) == ("ok", "ok")
        assert proxy.heads[0].startswith(b"CONNECT gate.example:443 HTTP/1.1\r\n")
        assert base64.b64encode(b"joe:hunter2") in proxy.heads[0]
        assert "hunter2" not in str(checks)


async def test_a_proxy_that_refuses_is_named() -> None:
    """With its status."""
    async with proxy_to(1, b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as (port, _):
        ambient = Ambient(https_proxy=Secret(f"http://127.0.0.1:{port}"))
        checks = await looked(kiosk_at("https://gate.example", ambient=ambient))
        assert checks["tls"].status == "fail"
        assert "no tunnel: 407" in checks["tls"].detail
        assert f"127.0.0.1:{port}" in checks["tls"].detail


# --- the store ---


def settings_of(folder: Path, min_free_disk_mb: int = 1) -> StoreSettings:
    """Of a store."""
    return StoreSettings(path=folder, min_free_disk_mb=min_free_disk_mb)


async def test_a_store_that_is_not_there_yet_stays_so(tmp_path: Path) -> None:
    """Looking makes nothing; the disk under it is looked at."""
    folder = tmp_path / "a" / "b"
    check = await examine_store(folder, settings_of(folder))
    assert check.status == "ok"
    assert "made with the first message" in check.detail
    assert not folder.parent.exists()
    full = await examine_store(folder, settings_of(folder, min_free_disk_mb=1_000_000_000))
    assert full.status == "fail"
    assert "min_free_disk_mb" in full.fix


async def test_a_store_tells_who_sends_out_of_it(tmp_path: Path) -> None:
    """Without taking the role from him; a broken one fails with the store's own words."""
    async with emulator() as genesys, make_wire(web(genesys), tmp_path) as wire:
        await settled(wire, await say(wire, "hello"))
    check = await examine_store(tmp_path, settings_of(tmp_path), origin="flag --store")
    assert check.status == "ok"
    assert "nobody sends" in check.detail
    assert "flag --store" in check.detail
    lock = RelayLock(Folder(tmp_path))
    assert lock.acquire()
    try:
        held = await examine_store(tmp_path, settings_of(tmp_path))
        assert f"process {lock.holder()} sends" in held.detail
    finally:
        lock.release()
    for name in ("store.db", "store.db-wal", "store.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "store.db").write_bytes(b"no database" * 1000)
    broken = await examine_store(tmp_path, settings_of(tmp_path))
    assert broken.status == "fail"
    assert "backup" in broken.fix


# --- the command ---


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Commands with a home of their own."""
    return Cli(tmp_path)


def credentials(genesys: Any) -> dict[str, str]:
    """The emulator's client under the tutorial's names."""
    return {"GENESYS_CLIENT_ID": genesys.client_id, "GENESYS_CLIENT_SECRET": genesys.client_secret}


@pytest.mark.genesys(webhook_url="http://127.0.0.1:9/")
def test_init_and_doctor_go_together(cli: Cli, genesys: Any) -> None:
    """What init says to type works, once the credentials are set; the secret is nowhere."""
    made = cli("init", "--transport", "openmessaging", "--gateway", genesys.url)
    assert made.code == 0
    assert made.out == "guestwire doctor --to open\n"
    assert "GENESYSCLOUD_OAUTHCLIENT_ID" in made.err
    before = cli("doctor", "--to", "open")
    assert before.code == 9
    assert "fail  credentials" in before.out
    after = cli("doctor", "--to", "open", **credentials(genesys))
    assert after.code == 0, after.out
    assert "environment GENESYS_CLIENT_ID" in after.out
    assert "12 checks: 12 ok" in after.err
    again = cli("init", "--gateway", genesys.url, "--transport", "openmessaging", "--name", "b", **credentials(genesys))
    assert f"OAuth client {genesys.client_id} of environment GENESYS_CLIENT_ID" in again.err
    everything = [made, before, after, again]
    assert not [said for said in everything if genesys.client_secret in said.out + said.err]
    assert genesys.client_secret not in (cli.folder / "guestwire.toml").read_text()
    assert genesys.messages() == []


def test_doctor_in_json_is_one_object_a_check(cli: Cli, genesys: Any) -> None:
    """With the destination, for whoever looks at several; exit code 9 where one failed."""
    cli("init", "--gateway", genesys.url)
    cli("init", "--gateway", "http://127.0.0.1:1", "--deployment-id", UUID, "--name", "gone")
    said = cli("doctor", "--json")
    assert said.code == 9
    assert {one["destination"] for one in said.objects} == {"web", "gone"}
    assert all(set(one) == {"destination", "name", "status", "detail", "fix"} for one in said.objects)
    failed = [one for one in said.objects if one["status"] == "fail"]
    assert [one["name"] for one in failed] == ["tls 127.0.0.1:1"]
    assert failed[0]["fix"]
    assert [one["status"] for one in said.objects if one["name"] == "store"] == ["ok", "ok"]
    assert cli("doctor", "--to", "web", "--json").code == 0


def test_doctor_leaves_emulators_out_where_there_is_more(cli: Cli, genesys: Any) -> None:
    """They are only ever chosen by name."""
    cli("init", "--gateway", genesys.url, "--name", "emulator")
    live = '[destinations.live]\nurl = "http://gate.invalid"\ndeployment_id = "' + UUID + '"\n'
    path = cli.folder / "guestwire.toml"
    path.write_text(path.read_text() + live)
    said = cli("doctor", "--json")
    assert {one["destination"] for one in said.objects} == {"live"}
    assert {one["destination"] for one in cli("doctor", "--to", "emulator", "--json").objects} == {"emulator"}


def test_doctor_without_a_destination_says_so(cli: Cli) -> None:
    """Exit code 4, as for every mistake in the settings; a name that is none is 2."""
    assert cli("doctor").code == 4
    assert cli("doctor", "--to", "nobody").code == 2
    cli.write("guestwire.toml", "[destinations.a]\nregion = 'mars'\n")
    assert cli("doctor").code == 4


def test_doctor_on_a_terminal_is_a_table(cli: Cli, genesys: Any) -> None:
    """With the remedy below what it is for."""
    cli("init", "--transport", "openmessaging", "--gateway", genesys.url)
    shown = on_terminal(cli, ["doctor"], NO_COLOR="1", TERM="xterm")
    assert "credentials" in shown
    assert "fix:" in shown
    assert "─" in shown


# --- init ---


def test_init_asks_for_open_messaging_on_a_terminal(cli: Cli) -> None:
    """The way out, the region, the integration, the profile; no secret, neither asked nor written."""
    home = Path(cli.environment["HOME"])
    (home / ".gc").mkdir(parents=True)
    profiles = home / ".gc" / "config.toml"
    profiles.write_text('[prod]\nclient_credentials = "abc"\nclient_secret = "hunter2"\n')
    profiles.chmod(0o600)
    shown = on_terminal(cli, ["init"], f"2\nmypurecloud.ie\n{UUID}\nprod\n".encode())
    for word in ("Way out", "Region", "Integration id", "Profile"):
        assert word in shown
    assert "secret" not in shown.replace("GENESYSCLOUD_OAUTHCLIENT_SECRET", "").lower()
    text = (cli.folder / "guestwire.toml").read_text()
    assert 'transport = "openmessaging"' in text
    assert 'region = "eu-west-1"' in text
    assert f'integration_id = "{UUID}"' in text
    assert 'profile = "prod"' in text
    assert "OAuth client abc of" in shown
    assert "hunter2" not in shown + text


def test_init_takes_all_of_it_from_flags(cli: Cli) -> None:
    """Without a terminal; a profile that does not exist is a warning, for it may come later."""
    said = cli("init", "--region", "eu-west-1", "--integration-id", UUID, "--profile", "prod", "--name", "kiosk")
    assert said.code == 0
    assert said.out == "guestwire doctor --to kiosk\n"
    assert "GW-C015" in said.err
    assert 'profile = "prod"' in (cli.folder / "guestwire.toml").read_text()
    assert (
        cli("init", "--transport", "rest-contract", "--gateway", "https://gate.example", "--file", "b.toml").code == 0
    )
    assert 'transport = "rest-contract"' in (cli.folder / "b.toml").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--transport", "pigeon"), "GW-U001", "openmessaging"),
        (("--transport", "rest-contract"), "GW-U001", "--gateway"),
        (("--transport", "openmessaging"), "GW-U002", "--region"),
        (("--transport", "openmessaging", "--region", "eu-west-1"), "GW-U002", "--integration-id"),
        (("--region", "eu-west-1", "--integration-id", "12"), "GW-C008", "--integration-id"),
        (("--transport", "rest-contract", "--region", "eu-west-1"), "GW-C020", "--transport"),
        (("--transport", "openmessaging", "--gateway", "http://127.0.0.1:1"), "GW-C042", "emulator"),
    ],
)
def test_init_names_the_flag_that_is_wrong(cli: Cli, arguments: tuple[str, ...], code: str, words: str) -> None:
    """And writes nothing."""
    said = cli("init", *arguments)
    assert f"[{code}]" in said.err
    assert words in said.err
    assert not (cli.folder / "guestwire.toml").exists()


async def test_closing_in_the_middle_leaves_no_task_behind() -> None:
    """Whoever stops reading ends the examination."""
    async with emulator() as genesys:
        genesys.inject("http_silent", match={"path": "/oauth/token"})
        examination = examine(kiosk(genesys))
        async for check in examination:
            if check.name == "clock":
                break
        await eventually(lambda: "oauth/token" in actions(genesys))
        await examination.aclose()  # type: ignore[attr-defined]
        assert {task for task in asyncio.all_tasks() if "_take" in repr(task)} == set()
