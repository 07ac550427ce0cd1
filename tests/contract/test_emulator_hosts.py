"""One port, many names: regional hosts, the admin API's guard, and TLS, by third-party clients."""

from __future__ import annotations

import pathlib
import ssl
import stat
from typing import Any

import aiohttp
import pytest
import websockets
from websockets.asyncio.client import connect

from guestwire.emulator.hosts import REGION_DOMAINS
from guestwire.emulator.settings import EmulatorSettings
from guestwire.emulator.thread import EmulatorThread
from guestwire.emulator.tls import make_certificates
from guestwire.errors import ConfigError
from guestwire.testing import emulator
from tests.contract.test_emulator_kit import http, raw_guest

HISTORY = "/api/v2/webmessaging/messages"


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("api.mypurecloud.de", {HISTORY}),
        ("api.usw2.pure.cloud:8443", {HISTORY}),
        ("api-cdn.mypurecloud.com.au", {"config", "domains"}),
        ("API-CDN.mypurecloud.ie", {"config", "domains"}),
        ("webmessaging.mypurecloud.jp", {"/v1"}),
        ("login.mypurecloud.com", set()),
        ("apps.mypurecloud.com", {HISTORY, "config", "domains", "/v1"}),
        ("api.example.com", {HISTORY, "config", "domains", "/v1"}),
        ("localhost", {HISTORY, "config", "domains", "/v1"}),
    ],
)
async def test_each_host_serves_what_the_real_one_does(host: str, served: set[str]) -> None:
    """Under a name of the platform there is what the real host has, otherwise 404 with a sentence; elsewhere all."""
    async with emulator() as genesys, http(genesys) as session:
        base = f"/webdeployments/v1/deployments/{genesys.deployment_id}"
        paths = {HISTORY: HISTORY, "config": f"{base}/config.json", "domains": f"{base}/domains.json", "/v1": "/v1"}
        for name, path in paths.items():
            async with session.get(path, headers={"Host": host}) as answer:
                body = await answer.text()
                assert (answer.status != 404) == (name in served), (name, body)
                if answer.status == 404:
                    assert host.lower().partition(":")[0] in body
                    assert "everything on 127.0.0.1" in body


async def test_config_names_the_hosts_of_its_region() -> None:
    """Asked under a regional name, config.json leads to the other hosts of that region, port and all."""
    async with emulator() as genesys, http(genesys) as session:
        path = f"/webdeployments/v1/deployments/{genesys.deployment_id}/config.json"
        async with session.get(path, headers={"Host": "api-cdn.mypurecloud.de:8443"}) as answer:
            config = await answer.json()
        assert config["apiEndpoint"] == "http://api.mypurecloud.de:8443"
        endpoint = config["messenger"]["apps"]["conversations"]["messagingEndpoint"]
        assert endpoint == "ws://webmessaging.mypurecloud.de:8443"


async def test_websocket_under_its_regional_name() -> None:
    """The WebSocket is on webmessaging., where an Origin of that name is the service's own; api. has none."""
    async with emulator(allowed_origins="shop.example") as genesys:
        port = int(genesys.url.rpartition(":")[2])
        path = f"/v1?deploymentId={genesys.deployment_id}"
        host = "webmessaging.mypurecloud.de"
        async with connect(f"ws://{host}:{port}{path}", host="127.0.0.1", port=port, origin=host):  # type: ignore[arg-type]
            assert genesys.state()["connections_open"] == 1
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with connect(f"ws://api.mypurecloud.de:{port}{path}", host="127.0.0.1", port=port):
                pass
        assert refused.value.response.status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost.evil.example:80"},
        {"Host": "api.mypurecloud.de"},
        {"Host": "127.0.0.1@evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_the_admin_api_is_for_this_machine(headers: dict[str, str]) -> None:
    """A rebound name and another site's page can neither read nor change anything, the page included."""
    async with emulator() as genesys, http(genesys) as session:
        for method, path in (
            ("GET", "/_emulator/messages"),
            ("GET", "/_emulator/events"),
            ("GET", "/_emulator/"),
            ("POST", "/_emulator/faults"),
            ("POST", "/_emulator/trigger"),
            ("DELETE", "/_emulator/faults"),
            ("POST", "/_emulator/reset"),
        ):
            async with session.request(method, path, headers=headers, json={"kind": "throttle"}) as answer:
                assert answer.status == 403, (method, path)
        assert genesys.faults() == []


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LocalHost", "[::1]:{port}", "127.0.0.1"])
async def test_the_admin_api_answers_its_own_page(host: str) -> None:
    """Loopback names are fine, and so is a page that came from the same one."""
    async with emulator() as genesys, http(genesys) as session:
        name = host.format(port=genesys.url.rpartition(":")[2])
        headers = {"Host": name, "Origin": f"http://{name}", "Sec-Fetch-Site": "same-origin"}
        async with session.post("/_emulator/faults", json={"kind": "throttle"}, headers=headers) as answer:
            assert answer.status == 201


# --- TLS ---


async def test_generated_certificate_is_verified() -> None:
    """https and wss work with the CA file and with nothing else; files are handed out over https too."""
    async with emulator(tls="generated") as genesys:
        assert genesys.url.startswith("https://127.0.0.1:")
        assert genesys.ws_url.startswith("wss://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=genesys.ca_file)
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connect(f"{genesys.ws_url}?deploymentId={genesys.deployment_id}"):
                pass
        async with raw_guest(genesys, ssl=trusting) as guest:
            await guest.say("hello")
            presigned = await guest.ask("onAttachment", fileName="a.txt", fileType="text/plain", fileSize=1)
            assert presigned["body"]["url"].startswith(genesys.url)
        async with (
            aiohttp.ClientSession(genesys.url, connector=aiohttp.TCPConnector(ssl=trusting)) as session,
            session.get("/_emulator/messages", headers={"Origin": genesys.url}) as answer,
        ):
            assert [message["text"] for message in await answer.json()] == ["hello"]


async def test_generated_certificate_is_good_for_every_region() -> None:
    """The names of all four hosts of every region are verified, as is localhost."""
    async with emulator(tls="generated") as genesys:
        port = int(genesys.url.rpartition(":")[2])
        trusting = ssl.create_default_context(cafile=genesys.ca_file)
        for name in ("localhost", *(f"webmessaging.{domain}" for domain in REGION_DOMAINS)):
            url = f"wss://{name}:{port}/v1?deploymentId={genesys.deployment_id}"
            async with connect(url, host="127.0.0.1", port=port, ssl=trusting):
                pass
        for part in ("api", "api-cdn", "login"):
            url = f"wss://{part}.mypurecloud.de:{port}/v1?deploymentId={genesys.deployment_id}"
            with pytest.raises(websockets.InvalidStatus):  # verified, then told that this host has no WebSocket
                async with connect(url, host="127.0.0.1", port=port, ssl=trusting):
                    pass


def test_no_key_is_left_behind() -> None:
    """Only certificates are on disk while it runs, in a folder of the owner's alone; afterwards nothing is."""
    genesys = EmulatorThread(EmulatorSettings(tls="generated"))
    try:
        assert genesys.ca_file is not None
        folder = pathlib.Path(genesys.ca_file).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert all(b"PRIVATE KEY" not in path.read_bytes() for path in folder.iterdir())
    finally:
        genesys.close()
    assert not folder.exists()


def test_certificate_of_ones_own(tmp_path: pathlib.Path) -> None:
    """A given certificate is used; a file that is not there, or does not fit, is GW-C036, and the port stays free."""
    authority, chain, key = make_certificates()
    (tmp_path / "ca.pem").write_bytes(authority)
    (tmp_path / "chain.pem").write_bytes(chain)
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "other.pem").write_bytes(make_certificates()[2])
    paths: dict[str, Any] = {"tls_certificate": str(tmp_path / "chain.pem"), "tls_key": str(tmp_path / "key.pem")}
    genesys = EmulatorThread(EmulatorSettings(tls="files", **paths))
    try:
        assert genesys.url.startswith("https://")
        assert genesys.ca_file is None
    finally:
        genesys.close()
    for wrong in ({"tls_key": ""}, {"tls_key": str(tmp_path / "none.pem")}, {"tls_key": str(tmp_path / "other.pem")}):
        with pytest.raises(ConfigError) as refused:
            EmulatorThread(EmulatorSettings(tls="files", **{**paths, **wrong}))
        assert refused.value.code == "GW-C036"
