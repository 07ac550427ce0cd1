"""
Files of settings: ``guestwire.toml`` read with the line of each key and added to, and ``.env``.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from guestwire.errors import ConfigError
from guestwire.settings.keys import known_keys, pattern_of, refuse_unknown, variable_of
from guestwire.settings.regions import region_of
from guestwire.settings.tree import LIMITS_OF, RETRY_OF, Destination, Section, fields_of
from guestwire.settings.values import NAME, Secret, shown

# --- reading ---


def exists(path: Path) -> bool:
    """Whether there is a file that we might read."""
    try:
        return path.is_file()
    except OSError:  # a folder on the way that we may not enter holds no file for us
        return False


def read_text(path: Path, *, at: str = "", errors: str = "strict") -> str:
    """The text of a file, without a byte order mark; GW-C003 or GW-C004. `at` is who named the file."""
    try:
        return path.read_text(encoding="utf-8-sig", errors=errors)
    except OSError as error:
        where = f" ({at})" if at else ""
        raise ConfigError(f"{path} cannot be read{where}: {error.strerror}", code="GW-C003") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not UTF-8", code="GW-C004", hint="save it as UTF-8") from error


def is_private(path: Path) -> bool:
    """Whether nobody but its owner and ourselves can read a file; one that is gone by now can be read by nobody."""
    try:
        others = path.stat().st_mode & 0o077
        return not others or (not others & 0o007 and _is_ours_by_access_list(path))
    except OSError:
        return True


def _is_ours_by_access_list(path: Path) -> bool:
    """
    Whether what looks like rights of the group are rights of ours.

    systemd gives a service its credentials so: root's file, with an access list that names the service's user; the
    group's bits are then only the mask of the list. Form of the list: Linux's `posix_acl_xattr.h`.
    """
    try:
        found = os.getxattr(path, "system.posix_acl_access")
    except (OSError, AttributeError):
        return False
    entries = list(struct.iter_unpack("<HHI", found[4 : len(found) - (len(found) - 4) % 8]))
    owner, user, mask = 0x01, 0x02, 0x10
    return bool(entries) and all(
        not rights or tag in (owner, mask) or (tag == user and name == os.geteuid()) for tag, rights, name in entries
    )


def must_be_private(path: Path, key: str) -> None:
    """Refuse a file with a secret that other users can read: GW-C016."""
    if not is_private(path):
        raise ConfigError(
            f"{path} holds a secret ({key}) and can be read by others", code="GW-C016", hint=f"chmod 600 {path}"
        )


def read_secrets(path: Path, key: str) -> tuple[bytes, ...]:
    """
    Read a file of signing secrets: one a line, ``whsec_`` and base64 as Standard Webhooks writes them, or any text.

    Several are for changing them: each one signs, and a receiver needs only one of them.

    Args:
        path: Must be private.
        key: The setting that names it, for errors.

    Raises:
        ConfigError: GW-C003, GW-C004, it cannot be read; GW-C016, others can read it; GW-C019, it holds no secret, or
            one that is no base64 or shorter than 24 bytes, of which it quotes nothing.
    """
    from base64 import b64decode

    lines = [line.strip() for line in read_text(path, at=key).splitlines()]
    must_be_private(path, key)
    secrets: list[bytes] = []
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        secret = line.encode()
        if line.startswith("whsec_"):
            try:
                secret = b64decode(line.removeprefix("whsec_"), validate=True)
            except ValueError:
                secret = b""
        # Source: the Standard Webhooks specification asks for 24 to 64 random bytes.
        if len(secret) < 24:
            raise ConfigError(
                f"{path} line {number} is no signing secret of 24 bytes or more ({key})",
                code="GW-C019",
                hint="write whsec_ and the output of: openssl rand -base64 32",
            )
        secrets.append(secret)
    if not secrets:
        raise ConfigError(
            f"{path} holds no signing secret ({key})",
            code="GW-C019",
            hint="write whsec_ and the output of: openssl rand -base64 32",
        )
    return tuple(secrets)


def parse_toml(text: str, path: Path) -> dict[str, Any]:
    """Read TOML; GW-C004 tells line and column."""
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at line (\d+), column (\d+)\)$", str(error))
        problem = str(error)[: place.start()] if place else str(error).removesuffix(" (at end of document)")
        line, column = place.groups() if place else (str(text.count("\n") + 1), "1")
        raise ConfigError(
            f"{path} line {line} column {column} is not TOML: {problem}",
            code="GW-C004",
            hint='text stands in quotes, such as region = "eu-west-1"',
        ) from None


def leaves(
    table: Mapping[str, Any], above: tuple[str, ...], path: Path, text: str
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every setting of a file with its place in the tree."""
    tables = {pattern.rpartition(".")[0] for pattern in known_keys()} | {"destinations", "destinations.*", "sinks"}
    for name, value in table.items():
        segments = (*above, name)
        source = source_in(path, text, segments)
        if above == ("destinations",) and not NAME.fullmatch(name):
            raise ConfigError(
                f"{shown(name)} cannot name a destination ({source})",
                code="GW-C013",
                hint="use lower-case letters and digits, with single '-' or '_' between them",
            )
        pattern = pattern_of(".".join(segments))
        if pattern in tables:
            if not isinstance(value, dict):
                raise ConfigError(
                    f"{'.'.join(segments)} {shown(value)} is not a table ({source})",
                    code="GW-C006",
                    hint=f"write [{'.'.join(segments)}] on a line of its own and its keys below",
                )
            yield from leaves(value, segments, path, text)
        elif pattern in known_keys():
            yield segments, value
        else:
            refuse_unknown(".".join(segments), source)


def source_in(path: Path, text: str, segments: tuple[str, ...]) -> str:
    """
    A file, with the line on which a key or its table stands where that is certain.

    tomllib tells no lines, so this looks for them; texts over several lines could hold anything, so it then gives up.
    """
    if '"""' in text or "'''" in text:
        return str(path)
    header: tuple[str, ...] = ()
    found: list[tuple[int, int]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        key, equals, _ = line.partition("=")
        if line.lstrip().startswith("["):
            here = header = _dotted(line.partition("[")[2].partition("]")[0])
        elif equals and not key.lstrip().startswith("#"):
            here = header + _dotted(key)
        else:
            continue
        if here == segments[: len(here)]:
            found.append((len(here), number))
    deepest = max((depth for depth, _ in found), default=0)
    lines = [number for depth, number in found if depth == deepest]
    return f"{path} line {lines[0]}" if len(lines) == 1 else str(path)


def _dotted(text: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in text.split("."))


def parse_dotenv(text: str, path: Path, concerns_us: Callable[[str], bool]) -> Iterator[tuple[int, str, str]]:
    """
    Line, name and value of every assignment that concerns us.

    ``NAME=value``, with ``export`` before it or without; '…' as it stands, "…" with ``\\n \\" \\\\``; unquoted up to
    `` #``. Nothing is interpolated. What other programs wrote for themselves is passed over unread.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        left, equals, right = line.partition("=")
        name, raw = left.strip().removeprefix("export ").strip(), right.strip()
        if not equals or not concerns_us(name):
            continue
        if raw[:1] in ("'", '"'):
            body = r"'([^']*)'" if raw[0] == "'" else r'"((?:[^"\\]|\\.)*)"'
            quoted = re.fullmatch(body + r"\s*(?:#.*)?", raw)
            if quoted is None:
                raise ConfigError(
                    f"{path} line {number}: the value of {name} is not closed by its quote",
                    code="GW-C018",
                    hint="a value ends on its line, with the quote that began it",
                )
            value = quoted[1]
            if raw[0] == '"':
                value = re.sub(r"\\(.)", lambda escape: {"n": "\n", "t": "\t"}.get(escape[1], escape[1]), value)
        else:
            value = re.split(r"(?:^|\s)#", raw, maxsplit=1)[0].rstrip()
        if value:
            yield number, name, value


# --- writing ---


def to_toml(destination: Destination) -> str:
    """
    Write a destination as a block of TOML, with comments: what differs from the defaults, and the place.

    Secrets are left to the environment, and said so.
    """
    name = destination.name
    where = "" if destination.region is None else f"  # {region_of(destination.region).domain}"
    lines = [f"[destinations.{name}]", f'transport = "{destination.transport}"']
    if destination.region is not None:
        lines.append(f"region = {_literal(destination.region)}{where}")
    else:
        lines.append(f"url = {_literal(destination.url)}  # everything on this one address")
    if destination.transport == "webmessaging":
        lines.append(f"deployment_id = {_literal(destination.deployment_id)}")
        if destination.origin is None:
            lines.append("# Needed where the deployment restricts its domains:")
            lines.append('# origin = "https://shop.example"')
        else:
            lines.append(f"origin = {_literal(destination.origin)}  # one of the deployment's allowed domains")
    placed = {"name", "transport", "region", "url", "ambient", "credentials_from"}
    placed |= {"deployment_id", "origin"} if destination.transport == "webmessaging" else set()
    usuals: dict[str, Section] = {
        "limits": LIMITS_OF[destination.transport],
        "retry": RETRY_OF[destination.retry.preset],
    }
    tables: list[str] = []
    for field, kind, default in fields_of(Destination):
        value = getattr(destination, field)
        if isinstance(kind, type) and issubclass(kind, Section):
            usual = usuals.get(field, default)
            changed = [
                (one, getattr(value, one))
                for one, _, own in fields_of(kind)
                # A preset says itself what it is.
                if getattr(value, one) != (own if one == "preset" else getattr(usual, one))
            ]
            if changed:
                tables += ["", f"[destinations.{name}.{field}]", *(f"{one} = {_literal(two)}" for one, two in changed)]
        elif isinstance(value, Secret) and (field != "proxy" or "@" in value.reveal()):
            what = "has a password" if field == "proxy" else "is a secret"
            lines.append(f"# {field} {what}: set {variable_of(f'destinations.{name}.{field}')}")
        elif field not in placed and value != default:
            lines.append(f"{field} = {_literal(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def add_destination(path: Path, destination: Destination) -> None:
    """
    Append a destination to a file, or make the file; what stands there stays, byte for byte.

    Raises:
        ConfigError: GW-C017, the file defines it already; GW-C004, the file is not TOML or cannot be added to;
            GW-C003, it cannot be read or written. The file is then as it was.
    """
    path = path.resolve()
    block = to_toml(destination)
    before = b""
    try:
        before = path.read_bytes() if path.exists() else b""
        text = before.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", code="GW-C003") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not UTF-8", code="GW-C004", hint="save it as UTF-8") from error
    old = parse_toml(text, path)
    if destination.name in old.get("destinations", {}):
        where = source_in(path, text, ("destinations", destination.name))
        raise ConfigError(
            f"destination {destination.name!r} exists already ({where})",
            code="GW-C017",
            hint="choose another name, or edit the file",
        )
    gap = b"" if not text.strip() else b"\n" if text.endswith("\n") else b"\n\n"
    after = before + gap + block.encode()
    try:
        parse_toml(after.decode("utf-8-sig"), path)
    except ConfigError:
        raise ConfigError(
            f"{path} cannot be added to, because it writes destinations in one line",
            code="GW-C004",
            hint="write each as [destinations.NAME] with its keys below, then run this again",
        ) from None
    _replace(path, after)


def _replace(path: Path, content: bytes) -> None:
    """All or nothing: a full disk or a crash leaves the old file."""
    import tempfile

    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written: {error.strerror}", code="GW-C003") from error


def _literal(value: Any) -> str:
    """A TOML literal for a value of a setting."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    text = value.reveal() if isinstance(value, Secret) else str(value)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda match: f"\\u{ord(match[0]):04X}", escaped) + '"'
