"""
The regions of Genesys Cloud, and every way in which people write them.

Source: the region map of the vendor's Python SDK and the host list of its Java web messaging SDK, both read in 2026;
they agree wherever both name a region. A region that is not in the table is refused, because a message sent to a
guessed host is a message in strange hands.
"""

from __future__ import annotations

from typing import NamedTuple

from guestwire.errors import ConfigError


class Region(NamedTuple):
    """A region by its two names: the one of AWS and the domain of its hosts."""

    aws: str
    domain: str


#: In the order of the AWS names.
REGIONS: tuple[Region, ...] = (
    Region("ap-northeast-1", "mypurecloud.jp"),
    Region("ap-northeast-2", "apne2.pure.cloud"),
    Region("ap-northeast-3", "apne3.pure.cloud"),
    Region("ap-south-1", "aps1.pure.cloud"),
    Region("ap-southeast-1", "apse1.pure.cloud"),
    Region("ap-southeast-2", "mypurecloud.com.au"),
    Region("ca-central-1", "cac1.pure.cloud"),
    Region("eu-central-1", "mypurecloud.de"),
    Region("eu-central-2", "euc2.pure.cloud"),
    Region("eu-west-1", "mypurecloud.ie"),
    Region("eu-west-2", "euw2.pure.cloud"),
    Region("eusc-de-east-1", "edee1.eusc-pure.cloud"),  # EU sovereign cloud
    Region("me-central-1", "mec1.pure.cloud"),
    Region("mx-central-1", "mxc1.pure.cloud"),
    Region("sa-east-1", "sae1.pure.cloud"),
    Region("us-east-1", "mypurecloud.com"),
    Region("us-east-2", "use2.us-gov-pure.cloud"),  # FedRAMP
    Region("us-west-2", "usw2.pure.cloud"),
)

_BY_NAME = {name: region for region in REGIONS for name in region}

#: Every host below one of these is the vendor's, also in a region that is younger than the table.
_VENDOR_DOMAINS = (
    *(region.domain for region in REGIONS),
    "pure.cloud",
    "us-gov-pure.cloud",
    "eusc-pure.cloud",
    "genesys.cloud",
    "inindca.com",  # where the vendor's own test stages live
)


def region_of(text: str) -> Region:
    """
    Find the region that a person means.

    Args:
        text: An AWS name (``eu-west-1``, also ``eu_west_1`` as SDKs spell it), a domain (``mypurecloud.ie``), or any
            address in it: ``https://api.mypurecloud.ie``, ``https://apps.mypurecloud.ie/directory/#/admin``.

    Raises:
        ConfigError: GW-C010, with up to three names that are spelled nearly so.
    """
    wanted = text.strip().lower()
    region = _BY_NAME.get(wanted) or _BY_NAME.get(wanted.replace("_", "-")) or _region_of_host(_host_in(wanted))
    if region is not None:
        return region
    import difflib

    near = difflib.get_close_matches(_host_in(wanted)[:80], list(_BY_NAME), n=3, cutoff=0.5)
    shown = wanted if len(wanted) <= 80 else wanted[:77] + "..."
    if "@" in shown:  # userinfo of an address: never repeated
        shown = shown.rpartition("@")[2]
    raise ConfigError(
        f"{shown!a} is not a region of Genesys Cloud",
        code="GW-C010",
        hint=f"did you mean {_either(near)}?" if near else "write it as eu-west-1 or as mypurecloud.ie",
    )


def is_vendor_host(host: str) -> bool:
    """Whether a host belongs to the vendor, so that its limits are kept whatever else is asked for."""
    host = host.lower().rstrip(".")
    return any(host == domain or host.endswith("." + domain) for domain in _VENDOR_DOMAINS)


def _host_in(text: str) -> str:
    """The host of an address or of a bare host, without userinfo, port and the root's dot."""
    for scheme in ("https://", "http://", "wss://", "ws://"):
        text = text.removeprefix(scheme)
    for end in "/?#\\":
        text = text.partition(end)[0]
    return text.rpartition("@")[2].partition(":")[0].rstrip(".")


def _region_of_host(host: str) -> Region | None:
    for region in REGIONS:
        if host == region.domain or host.endswith("." + region.domain):
            return region
    return None


def _either(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]
