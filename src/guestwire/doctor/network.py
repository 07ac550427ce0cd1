"""Whether a place can be reached and trusted, and whether its clock and ours agree."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from guestwire.doctor.checks import Check, Spot, Status
from guestwire.doctor.proxy import connect_through
from guestwire.doctor.scene import Scene
from guestwire.net import tls_context
from guestwire.settings.values import is_loopback

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

#: A clock that is off by more than this, in seconds, is worth a word; by more than the second, a failure: signed
#: addresses, tokens and certificates are judged by it.
SKEW_WARN_S, SKEW_FAIL_S = 30.0, 300.0
#: A certificate that ends sooner than this, in days, is worth a word.
CERTIFICATE_DAYS: Final = 14


class Handshake(msgspec.Struct, frozen=True):
    """What TLS told of the far side."""

    version: str
    """Such as ``TLSv1.3``."""
    issuer: str
    """Who has signed the certificate."""
    ends_at: float
    """When the certificate does, in seconds since the epoch."""


# --- names ---


async def look_up(spot: Spot, scene: Scene) -> Check:
    """Look whether the name of a place can be resolved; behind a proxy, that is the proxy's business."""
    name = f"dns {spot}"
    proxy = _proxy_for(spot, scene)
    if proxy is not None:
        return Check(name, "ok", f"left to the proxy {Spot.of(proxy)}")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(spot.host, spot.port, type=socket.SOCK_STREAM)
    except OSError as error:
        fix = "check the network and its resolver; behind a proxy, set HTTPS_PROXY"
        return Check(name, "fail", f"the name cannot be resolved: {error.strerror}", fix)
    return Check(name, "ok", addresses_in_words([str(address[4][0]) for address in found]))


def addresses_in_words(addresses: Sequence[str]) -> str:
    """Name three of them, and how many more there are."""
    different = list(dict.fromkeys(addresses))
    more = f" and {len(different) - 3} more" if len(different) > 3 else ""
    return ", ".join(different[:3]) + more


def _proxy_for(spot: Spot, scene: Scene) -> str | None:
    return scene.destination.proxy_for(spot.host, secure=spot.secure)


# --- connections ---


async def connect(spot: Spot, scene: Scene) -> Check:
    """Look whether a place takes a connection, and who vouches for its certificate."""
    proxy = _proxy_for(spot, scene)
    through = "" if proxy is None else f", through the proxy {Spot.of(proxy)}"
    try:
        shaken = await _greet(spot, proxy, scene.tls)
    except ssl.SSLCertVerificationError as error:
        issuer = ""
        # Whose certificate it is: a company's proxy shows itself by its own.
        with contextlib.suppress(OSError, EOFError, ValueError):
            blind = await _greet(spot, proxy, tls_context(None, verify=False))  # a handshake; nothing is sent
            issuer = "" if blind is None else blind.issuer
        return distrust_check(spot, error.verify_message, issuer=issuer, ca_file=scene.destination.ca_file)
    except (OSError, EOFError, ValueError) as error:
        return no_connection_check(spot, error, through=through)
    if shaken is None:
        return plain_check(spot, through=through)
    verified = scene.destination.tls.verify
    return handshake_check(spot, shaken, verified=verified, through=through, now=scene.clock.now())


async def _greet(spot: Spot, proxy: str | None, context: ssl.SSLContext) -> Handshake | None:
    """Connect, and shake hands where it is TLS. Raises OSError, EOFError, ValueError."""
    if proxy is None:
        _, writer = await asyncio.open_connection(
            spot.host,
            spot.port,
            ssl=context if spot.secure else None,
            server_hostname=spot.host if spot.secure else None,
        )
    else:
        _, writer = await connect_through(proxy, spot)
    try:
        if proxy is not None and spot.secure:
            await writer.start_tls(context, server_hostname=spot.host)
        secured = writer.get_extra_info("ssl_object")
        if not spot.secure or secured is None:
            return None
        from cryptography import x509

        certificate = x509.load_der_x509_certificate(secured.getpeercert(True))
        ends_at = certificate.not_valid_after_utc.timestamp()
        return Handshake(str(secured.version()), _issuer_of(certificate), ends_at)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _issuer_of(certificate: Certificate) -> str:
    """Who has signed a certificate, in the words of its name."""
    names: list[Any] = [attribute.value for attribute in certificate.issuer]
    return ", ".join(str(name) for name in reversed(names))[:120] or "nobody"


def handshake_check(spot: Spot, shaken: Handshake, *, verified: bool, through: str, now: float) -> Check:
    """Judge a connection by TLS; `through` tells the proxy, `now` is in seconds since the epoch."""
    name = f"tls {spot}"
    days = (shaken.ends_at - now) / 86_400
    detail = f"{shaken.version}, certificate issued by {shaken.issuer}, good for {days:.0f} days{through}"
    if not verified:
        return Check(name, "warn", f"{detail}; NOT verified", "remove tls.verify = false")
    if days < CERTIFICATE_DAYS:
        return Check(name, "warn", detail, "whoever runs the host has to renew it")
    return Check(name, "ok", detail)


def plain_check(spot: Spot, *, through: str) -> Check:
    """Judge a connection without TLS: on this machine it is as it should be."""
    name = f"tls {spot}"
    if is_loopback(spot.host):
        return Check(name, "ok", "connected; no TLS, on this machine")
    return Check(name, "warn", f"connected without TLS{through}: all of it can be read", "use https://")


def distrust_check(spot: Spot, why: str, *, issuer: str, ca_file: Path | None) -> Check:
    """Tell whose certificate it is that is not trusted, and what is."""
    issued = f", it is issued by {issuer}" if issuer else ""
    trusted = "the system's authorities are trusted" if ca_file is None else f"'{ca_file}' is trusted"
    return Check(
        f"tls {spot}",
        "fail",
        f"the certificate is not trusted: {why}{issued}; {trusted}",
        "behind a proxy that opens TLS, set tls.ca_file or SSL_CERT_FILE to a file with its authority; never "
        "tls.verify = false",
    )


def no_connection_check(spot: Spot, error: Exception, *, through: str) -> Check:
    """Tell why there is no connection, in the system's words."""
    name = f"tls {spot}"
    if isinstance(error, ssl.SSLError):
        fix = "check the port, and what answers there: a proxy, or a server without TLS 1.2"
        return Check(name, "fail", f"no TLS: {error.reason or error}{through}", fix)
    number = getattr(error, "errno", None) or 0  # asyncio's own words repeat address and port
    why = os.strerror(number) if number > 0 else str(error) or type(error).__name__
    fix = "check the network, a firewall, a proxy (HTTPS_PROXY)"
    return Check(name, "fail", f"no connection to port {spot.port}: {why}{through}", fix)


# --- the clock ---


async def look_at_clock(scene: Scene) -> Check:
    """Hold our clock against the far side's."""
    url = scene.destination.gateway + "/"  # whatever is there: every answer has a date
    began = scene.clock.now()
    answer = await scene.asking.get(url, may_be_page=True)
    return clock_check((began + scene.clock.now()) / 2, answer.headers)


def clock_check(ours: float, headers: Mapping[str, str]) -> Check:
    """Judge our time, in seconds since the epoch, by the headers of an answer that left at that moment."""
    date, age = headers.get("Date"), headers.get("Age", "0")
    try:
        # A date is cut to the second; one out of a cache has stood there for `Age`.
        theirs = parsedate_to_datetime(date or "").timestamp() + 0.5 + float(age)
    except (ValueError, TypeError, OverflowError):
        return Check("clock", "skip", "the far side tells no time")
    off_s = ours - theirs
    if abs(off_s) <= SKEW_WARN_S:
        return Check("clock", "ok", f"within {max(1, round(abs(off_s)))} s of the far side's")
    status: Status = "fail" if abs(off_s) > SKEW_FAIL_S else "warn"
    way = "ahead of" if off_s > 0 else "behind"
    fix = "set the time of this machine by NTP (timedatectl set-ntp true)"
    return Check("clock", status, f"{abs(off_s):.0f} s {way} the far side's", fix)
