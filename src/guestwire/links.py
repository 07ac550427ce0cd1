"""Whether the addresses of remote files answer: asked before messages with them are accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from guestwire.errors import Finding
from guestwire.net import Guard, Http, Unreachable, tls_context
from guestwire.settings import Destination

#: An address that has not answered by then is called unreachable, in seconds.
PROBE_S = 5.0
#: Addresses asked at once.
AT_ONCE = 32


async def probe(urls: Iterable[str], destination: Destination) -> Mapping[str, Finding]:
    """
    Ask each address once for the head of its file.

    A server that answers HEAD with 405 or 501 is there, and that is what is asked; so is one that wants no HEAD of a
    signed address (403), because the signature names the method.

    Args:
        urls: Public addresses, or allowed ones: the guard looks where their names lead.
        destination: Whose platform will fetch them, and through whose proxy we look.

    Returns:
        A finding for each address that does not answer; its path is to be filled in.
    """
    wanted = list(dict.fromkeys(urls))
    if not wanted:
        return {}
    # The platform fetches from the public internet: a private authority of the gateway's has no say there.
    ca_file = destination.ambient.ca_file
    # In a thread: it reads the system's certificates, which takes 20 ms.
    tls = await asyncio.to_thread(tls_context, None if ca_file is None else str(ca_file), verify=True)
    http = Http(
        tls=tls,
        proxy=destination.proxy_for(urlsplit(wanted[0]).hostname or "", secure=True),
        timeout_s=PROBE_S,
        guard=Guard(allow=destination.allow_links),
        connections=AT_ONCE,
    )
    turn = asyncio.Semaphore(AT_ONCE)

    async def ask(url: str) -> str | None:
        async with turn:
            return await _probe(http, url)

    try:
        reasons = await asyncio.gather(*(ask(url) for url in wanted))
    finally:
        await http.close()
    return {url: _finding(reason) for url, reason in zip(wanted, reasons, strict=True) if reason is not None}


def _finding(reason: str) -> Finding:
    return Finding(
        "link.unreachable",
        "attachments",
        f"the file's address does not answer ({reason}), so the platform could not fetch it either",
        "check the address; probe_links = false where only the platform can reach it",
    )


async def _probe(http: Http, url: str) -> str | None:
    """Return why a file cannot be had; None where it seems that it can."""
    try:
        answer = await http.head(url)
    except Unreachable as error:
        return str(error)
    is_gone = answer.status in (404, 410) or (answer.status >= 500 and answer.status != 501)
    return f"HTTP {answer.status}" if is_gone else None
