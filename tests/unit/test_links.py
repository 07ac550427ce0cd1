"""Addresses of remote files: private ones, and signed ones that end too soon."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.model import RemoteFile
from guestwire.policy.links import check_link, expiry_of

#: 2026-03-04T05:00:00Z
NOW = 1_772_600_400.0


def rules(url: str, *, allow: tuple[str, ...] = (), min_life_s: float = 3600.0) -> list[str]:
    """Which findings there are."""
    return [finding.rule for finding in check_link(RemoteFile(url=url), allow=allow, now=NOW, min_life_s=min_life_s)]


@pytest.mark.parametrize(
    "url",
    [
        "https://files.example.com/a.png",
        "https://files.example.com/a.png?v=2&expires=never",
        # S3, signed for a day
        "https://b.s3.amazonaws.com/a?X-Amz-Date=20260304T050000Z&X-Amz-Expires=86400&X-Amz-Signature=x",
        "https://storage.googleapis.com/b/a?X-Goog-Date=20260304T050000Z&X-Goog-Expires=7200&X-Goog-Signature=x",
        "https://x.blob.core.windows.net/c/a?se=2026-03-05T05%3A00%3A00Z&sig=x",
        "https://d1.cloudfront.net/a?Expires=1772700000&Signature=x&Key-Pair-Id=y",
    ],
)
def test_a_public_address_that_lives_long_enough_passes(url: str) -> None:
    """Also one that is signed, in every manner that is known."""
    assert rules(url) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://files.example.com/a.png",
        "https://127.0.0.1/a.png",
        "https://10.0.0.7/a.png",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/a.png",
        "https://printer.local/a.png",
        "https://user:secret@files.example.com/a.png",
        "ftp://files.example.com/a.png",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "",
        "https://files.example.com/" + "a" * 5000,
    ],
)
def test_what_a_platform_could_not_or_must_not_fetch_is_refused(url: str) -> None:
    """Private hosts, other schemes, user names, addresses without end; and the finding does not repeat the address."""
    (finding,) = check_link(RemoteFile(url=url), allow=(), now=NOW, min_life_s=1.0)
    assert finding.rule == "link.refused"
    assert "secret" not in finding.text


def test_a_platform_of_ones_own_may_fetch_from_ones_own_network() -> None:
    """What is allowed by name is allowed with its port, and without TLS."""
    assert rules("http://10.0.0.7:8080/a.png", allow=("10.0.0.7:8080",)) == []
    assert rules("http://10.0.0.7:9090/a.png", allow=("10.0.0.7:8080",)) == ["link.refused"]


@pytest.mark.parametrize(
    ("url", "ends_at"),
    [
        ("https://b.example/a?X-Amz-Date=20260304T050000Z&X-Amz-Expires=60", NOW + 60),
        ("https://b.example/a?X-Goog-Date=20260304T040000Z&X-Goog-Expires=600", NOW - 3000),
        ("https://b.example/a?se=2026-03-04T05%3A30Z&sig=x", NOW + 1800),
        ("https://b.example/a?Expires=1772600460&Signature=x", NOW + 60),
        ("https://b.example/a?Expires=1772600460", None),  # of a cache, perhaps; nothing says that it is signed
        ("https://b.example/a?X-Amz-Date=garbage&X-Amz-Expires=60", None),
        ("https://b.example/a?X-Amz-Date=20260304T050000Z&X-Amz-Expires=-5", None),
    ],
)
def test_the_end_of_a_signed_address_is_read(url: str, ends_at: float | None) -> None:
    """As S3, Google, Azure and CloudFront write it; whatever else is no known end."""
    assert expiry_of(url) == ends_at


def test_a_signed_address_that_ends_before_the_message_may_have_left_is_a_finding() -> None:
    """The message may wait for its turn, and the platform fetches the file after that."""
    soon = "https://b.example.com/a?X-Amz-Date=20260304T050000Z&X-Amz-Expires=900"
    assert rules(soon) == ["link.expires_soon"]
    assert rules(soon, min_life_s=600.0) == []
    assert rules("https://b.example.com/a?X-Amz-Date=20260304T040000Z&X-Amz-Expires=900") == ["link.expired"]


@given(st.text(max_size=300))
def test_any_text_is_judged_without_an_exception(text: str) -> None:
    """Addresses come from elsewhere."""
    expiry_of(text)
    rules(text)
    rules("https://files.example.com/a?" + text)
