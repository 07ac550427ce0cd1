"""
What a single setting may hold: kinds of values, their check, and how an error may quote them.
"""

from __future__ import annotations

import enum
import math
import re
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from urllib.parse import SplitResult, urlsplit

import msgspec

from guestwire.errors import ConfigError
from guestwire.settings.regions import is_vendor_host

Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Whole = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
Megabytes = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=366 * 86_400)]
SecondsOrNone = Annotated[float, msgspec.Meta(ge=0, le=366 * 86_400)]


class Misfit(ConfigError):
    """
    A value that its key cannot hold; `guestwire.settings.sources` adds where it came from.

    Args:
        key: Dotted name, relative to the table that is being made.
        problem: The rest of the sentence that begins with the key.
    """

    def __init__(self, key: str, problem: str, *, code: str, hint: str = "") -> None:
        self.key = key
        self.problem = problem
        super().__init__(f"{key} {problem}", code=code, hint=hint)


class Secret:
    """A value that is never shown: `str` and `repr` give what may be seen of it."""

    __slots__ = ("_shown", "_value")

    def __init__(self, value: str, shown: str = "***") -> None:
        self._value = value
        self._shown = shown

    def reveal(self) -> str:
        """The value itself, for the one place that needs it."""
        return self._value

    def __str__(self) -> str:
        return self._shown

    def __repr__(self) -> str:
        return f"Secret({self._shown!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


NAME = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HOST = r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])"
ORIGIN = re.compile(rf"(?:https?://)?{_HOST}(?::[0-9]{{1,5}})?")
PLACE = re.compile(rf"{_HOST}(?::[0-9]{{1,5}})?")
_ADDRESS = re.compile(rf"https?://(?:[^\s/@]+@)?{_HOST}(?::[0-9]{{1,5}})?(?:/[!-~]*)?", re.IGNORECASE)
PRINTABLE = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")
_USERINFO = re.compile(r"//[^/\s]*@")
_LOOPBACK = re.compile(r"127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|::1|(?:.+\.)?localhost")
_SWITCH = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def is_plain(kind: Any) -> bool:
    """Whether `fit` can check values of this type: text, numbers, switches, and closed sets of them."""
    return not any(
        isinstance(one, type) and issubclass(one, (msgspec.Struct, Path, Secret)) for one in (kind, *get_args(kind))
    )


def fit(key: str, value: object, kind: Any, *, from_text: bool = False) -> Any:
    """
    Check a value against the type of a setting, and convert it where text must stand for it.

    Args:
        key: For the error.
        value: As a TOML file, a flag or a variable gave it.
        kind: From `Key.kind`; one for which `is_plain` holds.
        from_text: The value comes from a place that has only text: "5" may be a number, "off" a switch.

    Raises:
        Misfit: GW-C006 (type) or GW-C007 (range), with what is wanted.
    """
    if from_text and isinstance(value, str) and bool in (kind, *get_args(kind)):
        value = _SWITCH.get(value.strip().lower(), value)
    if from_text and isinstance(value, str) and get_origin(kind) is tuple:
        value = [one for one in re.split(r"[,\s]+", value) if one]
    try:
        result = msgspec.convert(value, kind, strict=not from_text)
    except (msgspec.ValidationError, UnicodeError) as error:  # a variable's bytes may be no text at all
        code = "GW-C007" if re.search(r"[<>]=? -?[0-9]", str(error)) else "GW-C006"
        raise Misfit(key, f"{shown(value)} is not {wanted(kind)}", code=code) from None
    if isinstance(result, float) and not math.isfinite(result):
        raise Misfit(key, f"{shown(value)} is not {wanted(kind)}", code="GW-C007")
    return result


def wanted(kind: Any) -> str:
    """Say in words what a type admits."""
    origin = get_origin(kind)
    if origin is Annotated:
        number, meta = get_args(kind)
        noun = "a whole number" if number is int else "a number"
        low = f"from {meta.ge:,}" if meta.ge is not None else f"above {meta.gt:,}"
        return f"{noun} {low} to {meta.le:,}"
    if origin is tuple:
        return "a list of texts"
    if origin is Literal:
        return "one of " + ", ".join(f'"{one}"' for one in get_args(kind))
    if origin in (types.UnionType, Union):
        return " or ".join(wanted(one) for one in get_args(kind) if one is not types.NoneType)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "one of " + ", ".join(f'"{one.value}"' for one in kind)
    return {bool: "true or false", str: "text", Path: "a path", Secret: "text"}.get(kind, str(kind))


def shown(value: object) -> str:
    """A value as an error may quote it: one line, short, without control characters and passwords of addresses."""
    text = ascii(_USERINFO.sub("//***@", value) if isinstance(value, str) else value)
    return text if len(text) <= 120 else text[:100] + "..." + text[-1]


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its spelling, without asking a resolver."""
    return _LOOPBACK.fullmatch(host.lower().rstrip(".").strip("[]")) is not None


def check_proxy(key: str, address: str) -> None:
    """Refuse what is not the address of an http proxy; the address is not quoted, since it may hold a password."""
    usable = _ADDRESS.fullmatch(address) is not None
    if usable:
        parts = _split(address)
        usable = parts is not None and parts.path in ("", "/") and not parts.query and not parts.fragment
    if not usable:
        raise Misfit(
            key,
            "is not the address of an http proxy",
            code="GW-C009",
            hint="write http://host:port, with user:password@ before the host where it is needed",
        )


def check_receiver(key: str, address: str) -> None:
    """Refuse what is not the address of a receiver; it is not quoted, since its path may be its key."""
    parts = _split(address) if _ADDRESS.fullmatch(address) else None
    if parts is None or parts.username is not None or parts.fragment:
        raise Misfit(
            key,
            "is not the address of a receiver",
            code="GW-C009",
            hint="write https://, a host and a path, such as https://crm.example/hooks/guestwire; no user name",
        )


def checked_url(url: str, *, key: str = "url", may_be_vendor: bool = False) -> str:
    """A gateway's address in its one spelling: lower-case scheme and host, no slash at the end."""
    url = url.strip()
    parts = _split(url) if _ADDRESS.fullmatch(url) else None
    if parts is None or parts.username is not None or parts.query or parts.fragment or "?" in url or "#" in url:
        raise Misfit(
            key,
            f"{shown(url)} is not the base address of a gateway",
            code="GW-C009",
            hint="write http:// or https://, a host and a port, such as http://127.0.0.1:8080; no user name, no query",
        )
    if is_vendor_host(parts.hostname or "") and not may_be_vendor:
        raise Misfit(
            key,
            f"{shown(url)} is a host of Genesys Cloud, which has one for each service",
            code="GW-C012",
            hint='name its region instead of a url, such as region = "eu-west-1"',
        )
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def _split(address: str) -> SplitResult | None:
    """`urlsplit`, or None where host or port make no sense."""
    try:
        parts = urlsplit(address)
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


def bypasses(host: str, no_proxy: tuple[str, ...]) -> bool:
    """Whether NO_PROXY names a host: itself, a domain above it, a network in CIDR notation, or ``*``."""
    host = host.lower().rstrip(".").strip("[]")
    for entry in no_proxy:
        if entry == "*":
            return True
        name = entry.lower().removeprefix("*").lstrip(".")
        if "/" in name:
            import ipaddress

            try:
                if ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False):
                    return True
            except ValueError:
                continue
        elif name and (host == name or host.endswith("." + name)):
            return True
    return False


def secret_address(address: str) -> Secret:
    """An address that may hold a password, as a value that shows all but that."""
    return Secret(address, shown(address)[1:-1])
