"""
Which host serves what: the platform has four names a region, the emulator has one port for all of them.

A client that is made to believe that `api.mypurecloud.de` is this machine finds there what the real host serves, and
no more: a client that asks the wrong host is found out. Any other name, loopback above all, serves everything.
"""

from __future__ import annotations

from typing import Literal, NamedTuple
from urllib.parse import urlsplit

Part = Literal["api", "login", "webmessaging", "api-cdn"]

#: Domains of the platform's regions: the vendor's Java client, and `sae1` of a third party.
REGION_DOMAINS = (
    "mypurecloud.com",
    "mypurecloud.ie",
    "mypurecloud.com.au",
    "mypurecloud.jp",
    "mypurecloud.de",
    "usw2.pure.cloud",
    "cac1.pure.cloud",
    "apne2.pure.cloud",
    "euw2.pure.cloud",
    "aps1.pure.cloud",
    "use2.us-gov-pure.cloud",
    "mec1.pure.cloud",
    "apne3.pure.cloud",
    "euc2.pure.cloud",
    "mxc1.pure.cloud",
    "apse1.pure.cloud",
    "sae1.pure.cloud",
    "edee1.eusc-pure.cloud",
)
#: What the real hosts serve, as beginnings of paths.
SERVED: dict[Part, tuple[str, ...]] = {
    "api": ("/api/v2/",),
    "login": ("/oauth/token",),
    "webmessaging": ("/v1",),
    "api-cdn": ("/webdeployments/",),
}
#: Names of this machine; a certificate for the emulator is good for them.
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class RegionalHost(NamedTuple):
    """One of the platform's names."""

    part: Part
    domain: str
    port: str
    """With its colon, or empty."""

    def url(self, part: Part, scheme: str) -> str:
        """Base URL of another host of the same region."""
        return f"{scheme}://{part}.{self.domain}{self.port}"

    def serves(self, path: str) -> bool:
        """Whether the real host has such a path."""
        return path.startswith(SERVED[self.part])


def regional(host: str) -> RegionalHost | None:
    """Read a Host header; None for every name that is none of the platform's."""
    name, colon, port = host.lower().partition(":")
    for part in SERVED:
        domain = name.removeprefix(f"{part}.")
        if domain != name and domain in REGION_DOMAINS:
            return RegionalHost(part, domain, colon + port)
    return None


def regional_names() -> list[str]:
    """All names of all regions, for a certificate: one wildcard a domain."""
    return [f"*.{domain}" for domain in REGION_DOMAINS]


def is_loopback(host: str) -> bool:
    """Whether a Host header names this machine, with a port or without."""
    bare = host.lower()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    return bare in LOOPBACK


def host_of(origin: str) -> str:
    """The host of an Origin header, which official clients send with and without a scheme."""
    return (urlsplit(origin if "//" in origin else f"//{origin}").hostname or "").lower()
