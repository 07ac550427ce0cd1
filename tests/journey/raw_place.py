"""What stands before a platform and is not what it should be: certificates, and proxies."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from guestwire.settings import Secret, TlsSettings
from tests.journey.raw_platform import RawPlatform

#: A name that leads nowhere: only a proxy can resolve it.
BEHIND_PROXY = "gateway.invalid"
#: How long the servers of a slow name take, in seconds.
SLOW_NAME_S = 0.1
_PAGE = b"<!DOCTYPE html><html><title>Please accept our terms</title></html>"


class Certificates:
    """
    A CA of one's own, and what it signs.

    Args:
        folder: Where the files go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA of the tests")])
        made = self._certificate(self._name, self._key, self._key, is_ca=True)
        self.ca_file = self._write("ca", made.public_bytes(serialization.Encoding.PEM))

    def context(self, *, host: str = "127.0.0.1", ended_s: float = 0.0, signed: bool = True) -> ssl.SSLContext:
        """
        Make the TLS side of a server.

        Args:
            host: Whose certificate.
            ended_s: So long ago it ended, in seconds; 0: it is good for a day.
            signed: By the CA; else by itself.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        made = self._certificate(name, key, self._key if signed else key, host=host, ended_s=ended_s)
        file = self._write(
            "server",
            made.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _certificate(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        signer: ec.EllipticCurvePrivateKey,
        *,
        host: str = "",
        ended_s: float = 0.0,
        is_ca: bool = False,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        end = now - datetime.timedelta(seconds=ended_s) if ended_s else now + datetime.timedelta(days=1)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name if signer is self._key else name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=2))
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        if is_ca:
            use = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            made = made.add_extension(use, critical=True)
        else:
            alternative: x509.GeneralName = x509.DNSName(host)
            with contextlib.suppress(ValueError):
                alternative = x509.IPAddress(ipaddress.ip_address(host))
            made = made.add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        return made.sign(signer, hashes.SHA256())

    def _write(self, name: str, content: bytes) -> Path:
        path = self._folder / f"{name}.pem"
        path.write_bytes(content)
        return path


def old_tls(context: ssl.SSLContext) -> ssl.SSLContext:
    """Let a server know TLS 1.1 and nothing newer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def serves_old_tls(folder: Path) -> bool:
    """Whether this machine's OpenSSL can serve TLS 1.1 to a client that wants nothing else."""
    server = old_tls(Certificates(folder).context())
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    old_tls(client)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(10):
        done = 0
        for end in ends:
            try:
                end.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                return False
        if done == len(ends):
            return True
    return False


class RawProxy:
    """
    An HTTP proxy that lets nobody through, until it is mended.

    Args:
        port: Where it leads then, on 127.0.0.1.
        how: `407`, `page`, `page_and_200`, `silence` or `refused`.
    """

    def __init__(self, port: int, how: str) -> None:
        self._to = port
        self._how = how
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen, or at least have a port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]
        if self._how == "refused":
            self._server.close()

    async def mend(self) -> None:
        """Let everybody through."""
        was, self._how = self._how, ""
        if was == "refused":
            await self.open()

    async def shut(self) -> None:
        """Listen no more, and break every line."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far: asyncio.StreamWriter | None = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"CONNECT "), head
            if self._how == "silence":
                await reader.read()
                return
            if self._how:
                writer.write(_ANSWERS[self._how])
                await writer.drain()
                return
            near, far = await asyncio.open_connection("127.0.0.1", self._to)
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            there = asyncio.ensure_future(_copy(reader, far))
            await asyncio.wait(
                [there, back := asyncio.ensure_future(_copy(near, writer))], return_when="FIRST_COMPLETED"
            )
            for one in (there, back):
                one.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for end in (writer, far):
                if end is not None:
                    end.close()


_ANSWERS = {
    "407": b'HTTP/1.1 407 Who are you?\r\nProxy-Authenticate: Basic realm="proxy"\r\nContent-Length: 0\r\n\r\n',
    "page": b"HTTP/1.1 403 No\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(_PAGE), _PAGE),
    "page_and_200": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(_PAGE), _PAGE),
}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


class Place:
    """Puts something before a platform that is not what it should be; `mends` put it right."""

    def __init__(self, platform: RawPlatform, folder: Path) -> None:
        self._platform = platform
        self._folder = folder
        self.mends: list[Callable[[], Awaitable[None]]] = []
        self._proxy: RawProxy | None = None
        self._named = threading.Event()
        self._resolve = socket.getaddrinfo

    async def tls(self, name: str) -> dict[str, Any]:
        """Have the platform speak TLS with a certificate that is no good, or not at all."""
        await self._platform.shut()
        good = Certificates(self._folder)
        bad: dict[str, Callable[[], ssl.SSLContext | None]] = {
            "expired": lambda: good.context(ended_s=3600.0),
            "other_host": lambda: good.context(host="elsewhere.example"),
            "self_signed": lambda: good.context(signed=False),
            "old": lambda: old_tls(good.context()),
            "none": lambda: None,
        }
        await self._platform.open(bad[name]())

        async def mend() -> None:
            await self._platform.shut()
            await self._platform.open(good.context())

        self.mends.append(mend)
        return {"url": f"https://127.0.0.1:{self._platform.port}", "tls": TlsSettings(ca_file=good.ca_file)}

    async def proxy(self, name: str) -> dict[str, Any]:
        """Have a proxy before the platform that lets nobody through."""
        await self._platform.shut()
        good = Certificates(self._folder)
        await self._platform.open(good.context(host=BEHIND_PROXY))
        self._proxy = RawProxy(self._platform.port, name)
        await self._proxy.open()
        self.mends.append(self._proxy.mend)
        return {
            "url": f"https://{BEHIND_PROXY}",
            "proxy": Secret(f"http://127.0.0.1:{self._proxy.port}"),
            "tls": TlsSettings(ca_file=good.ca_file),
        }

    async def nowhere(self, name: str) -> dict[str, Any]:
        """Have a name that nobody knows."""
        return {"url": f"http://{name}.invalid"}

    async def name(self, how: str) -> dict[str, Any]:
        """Have a name whose servers take their time, `slow`, or say nothing, `silent`; the resolver waits for them."""

        def late(host: Any, *rest: Any, **more: Any) -> Any:
            if host == "localhost":
                self._named.wait(SLOW_NAME_S if how == "slow" else None)
            return self._resolve(host, *rest, **more)

        async def mend() -> None:
            self._named.set()

        socket.getaddrinfo = late
        self.mends.append(mend)
        return {"url": f"http://localhost:{self._platform.port}"}

    async def close(self) -> None:
        """End what was begun."""
        self._named.set()
        socket.getaddrinfo = self._resolve
        if self._proxy is not None:
            await self._proxy.shut()
