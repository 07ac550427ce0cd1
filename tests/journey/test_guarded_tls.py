"""TLS where the guard has chosen the address."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from guestwire.net import Guard, Http, Unreachable, tls_context
from tests.journey.test_tls import behind_tls, make_certificate
from tests.unit.test_net_guard import serving


async def test_the_certificate_is_held_against_the_name_in_the_url(tmp_path: Path) -> None:
    """Although the connection is made to a number."""

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async def take(_: web.BaseRequest) -> web.Response:
        return web.Response()

    certificate, key = make_certificate(tmp_path, "crm.example")
    tls = tls_context(str(certificate), verify=True)
    async with serving(take) as place, behind_tls(int(place.rpartition(":")[2]), certificate, key) as port:
        for host, is_meant in (("crm.example", True), ("www.example", False)):
            http = Http(tls=tls, proxy=None, timeout_s=30, guard=Guard((host,)), resolve=resolve)
            try:
                if is_meant:
                    assert (await http.get(f"https://{host}:{port}/")).status == 200
                else:
                    with pytest.raises(Unreachable, match="ertificate"):
                        await http.get(f"https://{host}:{port}/")
            finally:
                await http.close()
