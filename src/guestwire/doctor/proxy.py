"""How a proxy is asked for a tunnel, and what its answer means."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import unquote, urlsplit

from guestwire.doctor.checks import Spot


async def connect_through(proxy: str, spot: Spot) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a proxy; for TLS, ask it for a tunnel. Raises OSError if it gives none."""
    place = Spot.of(proxy)
    reader, writer = await asyncio.open_connection(place.host, place.port, ssl=place.secure or None)
    if not spot.secure:
        return reader, writer
    try:
        writer.write(tunnel_request(proxy, spot))
        refusal = tunnel_refusal(await reader.readuntil(b"\r\n\r\n"))
        if refusal is not None:
            raise OSError(f"the proxy gives no tunnel: {refusal}")
    except BaseException as error:
        writer.close()
        if isinstance(error, asyncio.LimitOverrunError):
            raise OSError("the proxy gives no tunnel: its answer has no end") from None
        raise
    return reader, writer


def tunnel_request(proxy: str, spot: Spot) -> bytes:
    """Spell CONNECT to a place, with the user and password of the proxy's URL where it has them."""
    target = f"[{spot.host}]:{spot.port}" if ":" in spot.host else f"{spot.host}:{spot.port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    parts = urlsplit(proxy)
    if parts.username is not None:
        from base64 import b64encode

        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {b64encode(user.encode()).decode()}")
    return "\r\n".join([*lines, "", ""]).encode()


def tunnel_refusal(head: bytes) -> str | None:
    """Say why a proxy gives no tunnel; None: it gives one."""
    status = re.match(rb"HTTP/1\.[01] ([0-9]{3})", head)
    if status is None:
        return "something that is no HTTP"
    return None if status[1] == b"200" else status[1].decode()
