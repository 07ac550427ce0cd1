"""TLS: verified by default, a CA of one's own, and what is said when it does not hold."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from guestwire.client import GuestWire
from guestwire.model import Draft, GuestKey
from guestwire.settings import Destination, TlsSettings
from guestwire.testing import emulator


def make_certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """A self-signed certificate for a host, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [x509.DNSName(host)]
    with contextlib.suppress(ValueError):
        names = [x509.IPAddress(ipaddress.ip_address(host))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{host}.pem", folder / f"{host}.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@contextlib.asynccontextmanager
async def behind_tls(port: int, certificate: Path, key: Path) -> AsyncIterator[int]:
    """A TLS front on 127.0.0.1 that hands everything to a port behind it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    tasks: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", port)
        for source, target in ((reader, back_writer), (back_reader, writer)):
            task = asyncio.create_task(copy(source, target))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def send(destination: Destination, folder: Path, timeout_s: float) -> tuple[bool, list[str]]:
    """Send one message; whether it was accepted, and what stood in the way."""
    async with GuestWire([destination], store=folder) as wire:
        ticket = await wire.submit(Draft(destination=destination.name, guest=GuestKey("42"), text="hello"))
        status = await wire.wait(ticket, timeout_s=timeout_s)
        return status.is_accepted, wire.troubles()


async def test_a_certificate_of_a_known_ca_is_accepted(tmp_path: Path) -> None:
    """WebSocket and deployment configuration go over TLS, checked against the CA that was named."""
    certificate, key = make_certificate(tmp_path, "127.0.0.1")
    async with (
        emulator(auto_start=True) as genesys,
        behind_tls(urlsplit(genesys.url).port or 0, certificate, key) as port,
    ):
        destination = Destination(
            name="tls",
            url=f"https://127.0.0.1:{port}",
            deployment_id=genesys.deployment_id,
            tls=TlsSettings(ca_file=certificate),
        )
        assert await send(destination, tmp_path / "store", 10) == (True, [])
        # The configuration was read over the same TLS: autoStart made us join.
        assert genesys.state()["requests"]["onMessage"] == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "wrong.example"])
async def test_a_certificate_that_proves_nothing_stops_the_message(tmp_path: Path, host: str) -> None:
    """An unknown CA or another host's certificate: nothing is sent, the reason is there, the message stays queued."""
    certificate, key = make_certificate(tmp_path, host)
    async with emulator() as genesys, behind_tls(urlsplit(genesys.url).port or 0, certificate, key) as port:
        trusted = TlsSettings(ca_file=certificate) if host == "wrong.example" else TlsSettings()
        destination = Destination(
            name="tls", url=f"https://127.0.0.1:{port}", deployment_id=genesys.deployment_id, tls=trusted
        )
        is_accepted, troubles = await send(destination, tmp_path / "store", 1)
        assert not is_accepted
        assert "cannot be reached" in troubles[0]
        assert "certificate" in troubles[0].lower()
        assert genesys.messages() == []
        # Switched off by name, the same place is reached.
        loud = msgspec.structs.replace(destination, tls=TlsSettings(verify=False))
        assert (await send(loud, tmp_path / "store", 10))[0]
