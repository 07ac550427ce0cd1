"""Which region a person means."""

from __future__ import annotations

import pytest

from guestwire.errors import ConfigError
from guestwire.settings.regions import REGIONS, Region, is_vendor_host, region_of


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.aws)
def test_every_region_is_found_by_every_way_to_write_it(region: Region) -> None:
    """AWS name, SDK spelling, domain, and every address that a browser or a document shows."""
    for text in (
        region.aws,
        region.aws.upper(),
        region.aws.replace("-", "_"),
        f"  {region.domain} ",
        f"https://api.{region.domain}",
        f"https://login.{region.domain}/oauth/token",
        f"https://apps.{region.domain}/directory/#/admin/welcome",
        f"wss://webmessaging.{region.domain}:443/v1?deploymentId=x",
        f"api.{region.domain}.",
    ):
        assert region_of(text) == region


def test_names_and_domains_are_unique() -> None:
    """No spelling means two regions."""
    names = [name for region in REGIONS for name in region]
    assert len(names) == len(set(names)) == 36


@pytest.mark.parametrize(
    ("text", "near"),
    [("eu-west-3", "eu-west-"), ("mypurecloud.it", "mypurecloud.i"), ("us-eats-1", "us-east-1"), ("Mars", "")],
)
def test_an_unknown_region_is_refused_with_the_nearest_names(text: str, near: str) -> None:
    """At most three names are offered, and none where nothing is near."""
    with pytest.raises(ConfigError) as caught:
        region_of(text)
    assert caught.value.code == "GW-C010"
    assert text.lower() in caught.value.message
    assert near in caught.value.hint
    assert caught.value.hint.count(",") <= 1


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example/?mypurecloud.ie",
        "https://mypurecloud.ie@evil.example",
        "https://evil.example\\@mypurecloud.ie",
        "notmypurecloud.ie",
        "mypurecloud.ie.evil.example",
        "",
        "\x00",
        "https://[",
    ],
)
def test_an_address_elsewhere_is_never_taken_for_a_region(text: str) -> None:
    """Only the host of an address counts, and only below the vendor's domains."""
    with pytest.raises(ConfigError):
        region_of(text)


def test_a_password_in_an_address_is_not_repeated() -> None:
    """The error shows the host, not what stood before it."""
    with pytest.raises(ConfigError) as caught:
        region_of("https://user:hunter2@example.com")
    assert "hunter2" not in str(caught.value)


def test_hosts_of_the_vendor_are_known_also_in_regions_younger_than_the_table() -> None:
    """Limits are kept on each of them."""
    assert is_vendor_host("api.mypurecloud.ie")
    assert is_vendor_host("WEBMESSAGING.new1.pure.cloud.")
    assert not is_vendor_host("purecloud.example")
    assert not is_vendor_host("127.0.0.1")
