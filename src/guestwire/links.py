"""Whether the address of a remote file answers: asked before a message with it is accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

from guestwire.errors import Finding
from guestwire.model import RemoteFile
from guestwire.net import Guard, Http, Unreachable, tls_of
from guestwire.settings import Destination

#: An address that has not answered by then is called unreachable, in seconds.
PROBE_S = 5.0
#: Addresses asked at once.
AT_ONCE = 16


async def probe(files: Sequence[RemoteFile], destination: Destination, path: str) -> list[Finding]:
    """
    Ask every address for the head of its file.

    A server that answers HEAD with 405 or 501 is there, and that is what is asked; so is one that wants no HEAD of a
    signed address (403), because the signature names the method.

    Args:
        files: With public addresses, or allowed ones: the guard looks where their names lead.
        destination: Whose platform will fetch them, and through whose proxy we look.
        path: Of the findings.
    """
    http = Http(
        tls=tls_of(destination),
        proxy=destination.proxy_for(urlsplit(files[0].url).hostname or "", secure=True),
        timeout_s=PROBE_S,
        guard=Guard(allow=destination.allow_links),
        connections=AT_ONCE,
    )
    try:
        found = await asyncio.gather(*(_probe(http, file) for file in files))
    finally:
        await http.close()
    return [
        Finding(
            "link.unreachable",
            path,
            f"the file's address does not answer ({reason}), so the platform could not fetch it either",
            "check the address; probe_links = false where only the platform can reach it",
        )
        for reason in found
        if reason is not None
    ]


async def _probe(http: Http, file: RemoteFile) -> str | None:
    """Return why the file cannot be had; None where it seems that it can."""
    try:
        answer = await http.head(file.url)
    except Unreachable as error:
        return str(error)
    is_gone = answer.status in (404, 410) or (answer.status >= 500 and answer.status != 501)
    return f"HTTP {answer.status}" if is_gone else None
