"""
Which addresses a URL may lead to that a user or a peer has handed in: public ones, and those allowed by name.

Whoever lets others say where he connects lends them his place in the network: `http://169.254.169.254/` is a cloud's
store of credentials, `http://10.0.0.7/` somebody's printer. So the URL has to be spelled in the one way in which no two
readers disagree about its host, and every address that the host's name leads to has to be one of the public internet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, NamedTuple

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>[/?#][!-\[\]-~]*)?",
)
_AUTHORITY = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
# Underscores stand in names that resolvers answer for, if not in host names of the standard.
_NAME = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
)
# Resolvers take a name whose last label is a number for an IPv4 address: decimal, octal or hexadecimal, 1 to 4 parts.
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?")
_PORTS: Final = {"http": 80, "https": 443}

#: Names that belong to a machine or a local network, whatever a resolver, or one behind a proxy, says of them.
#: Source: RFC 6761 (localhost, test, invalid), RFC 6762 (local, and in its appendix G what private networks use), RFC
#: 8375 (home.arpa), RFC 7686 (onion), RFC 9476 (alt), ICANN resolution of July 2024 (internal). None of the others is
#: a domain of the public internet either: what Linux systems, Kubernetes and Consul call themselves.
LOCAL_DOMAINS: Final = (
    *("localhost", "local", "internal", "home.arpa", "test", "invalid", "onion", "alt"),
    *("intranet", "private", "corp", "home", "lan", "localdomain", "localdomain6", "svc", "consul"),
)

#: What is no address of the public internet.
#: Source: IANA special-purpose registries for IPv4 and IPv6 (RFC 6890), multicast and class E beside them.
_CLOSED_4: Final = tuple(
    (ip_network(block), kind)
    for block, kind in (
        ("0.0.0.0/8", "an unspecified"),
        ("10.0.0.0/8", "a private"),
        ("100.64.0.0/10", "a carrier's internal"),
        ("127.0.0.0/8", "a loopback"),
        ("169.254.0.0/16", "a link-local"),
        ("172.16.0.0/12", "a private"),
        ("192.0.0.0/24", "a reserved"),
        ("192.0.2.0/24", "a documentation"),
        ("192.88.99.0/24", "a reserved"),
        ("192.168.0.0/16", "a private"),
        ("198.18.0.0/15", "a test bench's"),
        ("198.51.100.0/24", "a documentation"),
        ("203.0.113.0/24", "a documentation"),
        ("224.0.0.0/4", "a multicast"),
        ("240.0.0.0/4", "a reserved"),
        # Public by its number, and answered inside Azure by the host's own agent.
        ("168.63.129.16/32", "a cloud host's"),
    )
)
#: All of IPv6 but 2000::/3 is closed; these are closed inside it.
_OPEN_6: Final = ip_network("2000::/3")
_CLOSED_6: Final = tuple(
    (ip_network(block), kind)
    for block, kind in (
        ("2001::/23", "a reserved"),  # Teredo among them
        ("2001:db8::/32", "a documentation"),
        ("3fff::/20", "a documentation"),
    )
)
_NAMED_6: Final = tuple(
    (ip_network(block), kind)
    for block, kind in (
        ("::/128", "an unspecified"),
        ("::1/128", "a loopback"),
        ("fc00::/7", "a private"),
        ("fe80::/10", "a link-local"),
        ("ff00::/8", "a multicast"),
    )
)
#: IPv6 addresses that stand for an IPv4 address, and how many bits follow that one. The local-use prefix of
#: RFC 8215 is none of them: where in it the IPv4 address stands is its network's own affair, so it stays closed.
_TRANSLATED: Final = (
    (ip_network("::ffff:0:0/96"), 0),  # v4-mapped
    (ip_network("64:ff9b::/96"), 0),  # NAT64, RFC 6052: how an IPv6-only network reaches all of IPv4
    (ip_network("2002::/16"), 80),  # 6to4
)


class _Place(NamedTuple):
    secure: bool
    host: str
    """In lower case; IPv6 in brackets, in its shortest spelling."""
    port: int
    literal: IPv4Address | IPv6Address | None


def refusal(url: str, addresses: Iterable[str], allow: Sequence[str]) -> str | None:
    """
    Say why a URL must not be followed.

    Args:
        url: As it was handed in. Only a spelling that leaves no doubt passes: https, a host name in ASCII or a plain
            IP address, no user name, and printable ASCII after it.
        addresses: What the host's name leads to, all of them; empty where that is not known, or not yet.
        allow: ``host`` or ``host:port``, IPv6 in brackets. To these every address is open, and plain http.

    Returns:
        The rest of a sentence that begins with "the URL", which quotes the host and nothing else of the URL;
        None: it may be followed.
    """
    place = _place(url)
    if isinstance(place, str):
        return place
    if is_allowed(place.host, place.port, allow):
        return None
    if not place.secure:
        return "is not https"
    if place.literal is not None:
        return address_refusal(str(place.literal))
    if "." not in place.host or any(("." + place.host).endswith("." + domain) for domain in LOCAL_DOMAINS):
        return f"names a host of the local network, {place.host}"
    return next((reason for address in addresses if (reason := address_refusal(address)) is not None), None)


def is_allowed(host: str, port: int, allow: Sequence[str]) -> bool:
    """Whether a host is one that was allowed by name."""
    host = host.lower()
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return any(entry.lower() in (host, f"{host}:{port}") for entry in allow)


def address_refusal(address: str) -> str | None:
    """Say why nobody may be sent to an address, in the words of `refusal`; None where he may."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "leads to something that is no IP address"
    kind = _kind(parsed)
    return None if kind is None else f"leads to {kind} address, {parsed}"


def _kind(address: IPv4Address | IPv6Address) -> str | None:
    """What an address is, with its article, where it is not one of the public internet."""
    if isinstance(address, IPv4Address):
        return next((kind for block, kind in _CLOSED_4 if address in block), None)
    if address.scope_id is not None:
        return "a link-local"
    for block, bits_below in _TRANSLATED:
        if address in block:
            return _kind(IPv4Address((int(address) >> bits_below) & 0xFFFF_FFFF))
    known = next((kind for block, kind in (*_NAMED_6, *_CLOSED_6) if address in block), None)
    return known or (None if address in _OPEN_6 else "a reserved")


def _place(url: str) -> _Place | str:
    """Take a URL apart, or say why that cannot be done in one way only."""
    parts = _URL.fullmatch(url)
    if parts is None:
        return "is not a URL in printable ASCII"
    scheme, authority = parts["scheme"].lower(), parts["authority"]
    if scheme not in _PORTS:
        return "is not https"
    if "@" in authority:
        return "holds a user name"
    found = _AUTHORITY.fullmatch(authority)
    port = int(found["port"] or _PORTS[scheme]) if found else 0
    if found is None or not 0 < port < 65536:
        return "has a host or a port that cannot be read"
    host = found["host"].lower()
    literal: IPv4Address | IPv6Address | None = None
    if host.startswith("[") or _ENDS_IN_NUMBER.fullmatch(host):
        try:
            literal = IPv6Address(host[1:-1]) if host.startswith("[") else IPv4Address(host)
        except ValueError:
            return "has an IP address in an unusual spelling"
        host = str(literal) if isinstance(literal, IPv4Address) else f"[{literal}]"
    elif not _NAME.fullmatch(host):
        return "has a host or a port that cannot be read"
    return _Place(scheme == "https", host, port, literal)
