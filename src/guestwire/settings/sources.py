"""
Where settings come from, and which of two wins.

The first of these that names a key decides it; whoever is overruled is named in a warning, unless a flag did it:

    flag > environment > .env > project file > user file > names of other tools > gc profile > default

The project file is the first ``guestwire.toml`` upward from the working folder, the user file stands in
``$XDG_CONFIG_HOME/guestwire``. ``GENESYSCLOUD_REGION`` and ``GENESYS_ENVIRONMENT`` speak only for destinations that
say nothing about their place. Nothing here reads the process's own environment unless the caller leaves it out.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from guestwire.errors import ConfigError
from guestwire.settings.files import (
    exists,
    leaves,
    must_be_private,
    parse_dotenv,
    parse_toml,
    read_text,
    source_in,
)
from guestwire.settings.keys import (
    PREFIX,
    find_key,
    known_keys,
    nearest,
    pattern_of,
    refuse_unknown,
    variable_of,
)
from guestwire.settings.regions import region_of
from guestwire.settings.tree import (
    Ambient,
    Destination,
    RelaySettings,
    ReplyForwarding,
    Section,
    Settings,
    SinkSettings,
    StoreSettings,
    fields_of,
)
from guestwire.settings.values import (
    NAME,
    Misfit,
    Secret,
    check_proxy,
    fit,
    is_loopback,
    is_plain,
    secret_address,
    shown,
)

FILE_NAME = "guestwire.toml"
#: Names that other tools taught people to set; the first one wins.
FOREIGN_REGION_NAMES = ("GENESYSCLOUD_REGION", "GENESYS_ENVIRONMENT")
#: Variables about the network that count when a destination is silent.
AMBIENT_NAMES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE")

#: Set by Kubernetes for every service that is called "guestwire"; no setting of ours.
_KUBERNETES = re.compile(r"GUESTWIRE_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_.*)?)")


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """The settings, and the evidence for them."""

    settings: Settings
    origins: dict[str, str]
    """For every key: "flag --region", "environment GUESTWIRE_…", "/path/guestwire.toml line 7", "default"."""
    warnings: list[str]
    files: list[Path]
    """Every file that was read."""


class _Rank(enum.IntEnum):
    FLAG = 0
    ENVIRONMENT = 1
    DOTENV = 2
    PROJECT = 3
    USER = 4
    FOREIGN = 5
    PROFILE = 6


class _Given(NamedTuple):
    """A value as one source gave it."""

    value: Any
    source: str
    rank: _Rank
    folder: Path
    """What a relative path is relative to."""


class _Variable(NamedTuple):
    name: str
    value: str
    source: str
    rank: _Rank


def load(
    overrides: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    home: Path | None = None,
) -> Loaded:
    """
    Read every source and make one tree of them.

    Args:
        overrides: What flags say, by dotted key (``destinations.web.region``); None as a value means "not given".
        environ: Default: the process's own. Empty values count as not set.
        cwd: Where the search for the project file begins. Default: the working folder.
        home: Default: the user's.

    Raises:
        ConfigError: GW-C003 to GW-C018; names key, value, source and what is wanted.
    """
    environ = os.environ if environ is None else environ
    home = _home() if home is None else home
    if cwd is None:
        try:
            cwd = Path.cwd()
        except FileNotFoundError:  # the working folder was deleted
            cwd = home
    return _Loading(environ, cwd, home).run(overrides or {})


class _Loading:
    """One run of `load`: `given` fills up source by source, then `_section` picks the winners."""

    def __init__(self, environ: Mapping[str, str], cwd: Path, home: Path) -> None:
        self.cwd = cwd
        self.home = home
        self.environ = environ
        self.given: dict[str, list[_Given]] = {}
        self.origins: dict[str, str] = {}
        self.warnings: list[str] = []
        self.files: list[Path] = []

    def run(self, overrides: Mapping[str, object]) -> Loaded:
        for key, value in overrides.items():
            if value is not None:
                find_key(key, "flags")
                self._give(
                    key, _Given(value, "flag --" + key.rpartition(".")[2].replace("_", "-"), _Rank.FLAG, self.cwd)
                )
        for path, rank in self._config_files():
            self._take_file(path, rank)
        variables = self._variables()
        for variable in variables:
            if variable.name.upper().startswith(PREFIX):
                self._take_variable(variable)
        # Of two with one name the environment wins; it comes first.
        by_name = {variable.name: variable for variable in reversed(variables)}
        self._take_other_tools(by_name)
        for givens in self.given.values():
            givens.sort(key=lambda given: given.rank)
        self._settle_places()
        self._tell_disagreements()

        ambient = ambient_of({name: variable.value for name, variable in by_name.items()})
        destinations = {name: self._destination(name, ambient) for name in self._names()}
        settings = Settings(
            destinations=destinations,
            store=self._section("store", StoreSettings, path=_state_folder(self.environ, self.home)),
            relay=self._section("relay", RelaySettings),
            sinks=SinkSettings(replies=self._section("sinks.replies", ReplyForwarding, ambient=ambient)),
        )
        self._warn_about(destinations)
        return Loaded(settings=settings, origins=self.origins, warnings=self.warnings, files=self.files)

    # --- gathering ---

    def _give(self, key: str, given: _Given) -> None:
        self.given.setdefault(key, []).append(given)

    def _names(self) -> list[str]:
        """Destinations, in the order in which they were first named."""
        return list(dict.fromkeys(key.split(".")[1] for key in self.given if key.startswith("destinations.")))

    def _config_files(self) -> Iterator[tuple[Path, _Rank]]:
        project = next((path for folder in (self.cwd, *self.cwd.parents) if exists(path := folder / FILE_NAME)), None)
        user = _xdg(self.environ, "XDG_CONFIG_HOME", self.home / ".config") / "guestwire" / FILE_NAME
        if project is not None:
            yield project, _Rank.PROJECT
        if exists(user) and user != project:
            yield user, _Rank.USER

    def _take_file(self, path: Path, rank: _Rank) -> None:
        self.files.append(path)
        text = read_text(path)
        for segments, value in leaves(parse_toml(text, path), (), path, text):
            key = ".".join(segments)
            if _is_secret(find_key(key, str(path)).kind) and isinstance(value, str) and "@" in value:
                must_be_private(path, key)
            self._give(key, _Given(value, source_in(path, text, segments), rank, path.parent))

    def _variables(self) -> list[_Variable]:
        """The environment, then the ``.env`` of the working folder, as far as they concern us."""
        variables = [
            _Variable(name, value, f"environment {name}", _Rank.ENVIRONMENT)
            for name, value in sorted(self.environ.items())
            if value and _concerns_us(name)
        ]
        path = self.cwd / ".env"
        if exists(path):
            self.files.append(path)
            lines = parse_dotenv(read_text(path, errors="surrogateescape"), path, _concerns_us)
            variables += [_Variable(name, value, f"{path} line {line}", _Rank.DOTENV) for line, name, value in lines]
        return variables

    def _take_variable(self, variable: _Variable) -> None:
        upper = variable.name.upper()
        rest = upper.removeprefix(PREFIX)
        key = self._key_of(rest)
        if key is not None:
            self._give(key, _Given(variable.value, variable.source, variable.rank, self.cwd))
            return
        if rest.endswith("_FILE") and (key := self._key_of(rest.removesuffix("_FILE"))) is not None:
            path = _expand(variable.value, self.home, self.cwd)
            value = read_text(path, at=variable.source).rstrip("\r\n")
            if _is_secret(find_key(key, variable.source).kind) and "@" in value:
                must_be_private(path, key)
            self.files.append(path)
            self._give(key, _Given(value, f"{variable.source} ({path})", variable.rank, self.cwd))
            return
        if _KUBERNETES.fullmatch(upper):
            return
        if "__" in rest:
            refuse_unknown(rest.lower().replace("__", "."), variable.source)
        near = next((one for one in known_keys() if one.replace(".", "_").upper() == rest), None)
        if near is not None:
            raise ConfigError(
                f"{variable.source} is not a setting: tables are parted by two underscores",
                code="GW-C005",
                hint=f"write {variable_of(near)}",
            )
        self.warnings.append(f"{variable.source} is not a setting and was ignored; docs/configuration.md lists them")

    def _key_of(self, rest: str) -> str | None:
        """The dotted key that a variable's name stands for; no shell allows ``-`` in one, so ``_`` stands for it."""
        segments = rest.lower().split("__")
        if segments[0] == "destinations" and len(segments) > 2:
            names = self._names()
            name = segments[1]
            if name not in names:
                segments[1] = next((one for one in names if one.replace("-", "_") == name.replace("-", "_")), name)
            if not NAME.fullmatch(segments[1]):
                return None
        key = ".".join(segments)
        return key if pattern_of(key) in known_keys() else None

    def _take_other_tools(self, variables: Mapping[str, _Variable]) -> None:
        foreign = [(name, variables[name]) for name in FOREIGN_REGION_NAMES if name in variables]
        foreign.sort(key=lambda pair: pair[1].rank)
        if len({_region_or_text(variable.value) for _, variable in foreign}) > 1:
            (first, one), (second, other) = foreign
            self.warnings.append(
                f"{first} says {shown(one.value)} and {second} says {shown(other.value)}: {first} counts"
            )
        named: set[str] = set()
        for name in self._names():
            region, url = f"destinations.{name}.region", f"destinations.{name}.url"
            if region not in self.given and url not in self.given:
                for _, variable in foreign[:1]:
                    self._give(region, _Given(variable.value, variable.source, _Rank.FOREIGN, self.cwd))
            if url not in self.given:
                self._take_profile(name)
            named.update(_region_or_text(one.value) for one in self.given.get(region, ()))
        if foreign and named and _region_or_text(foreign[0][1].value) not in named:
            first, one = foreign[0]
            self.warnings.append(
                f"{first} says {shown(one.value)} ({one.source}), but every destination names another region: "
                f"the destinations' own count"
            )

    def _take_profile(self, name: str) -> None:
        profiles = sorted(self.given.get(f"destinations.{name}.profile", ()), key=lambda given: given.rank)
        if not profiles:
            return
        wanted, path = str(profiles[0].value), self.home / ".gc" / "config.toml"
        tables: dict[str, Any] = {}
        if exists(path):
            if path not in self.files:
                self.files.append(path)
            tables = {key: value for key, value in parse_toml(read_text(path), path).items() if isinstance(value, dict)}
        profile = next((value for key, value in tables.items() if key.lower() == wanted.lower()), None)
        if profile is None:
            near = nearest(wanted, list(tables))
            raise ConfigError(
                f"destinations.{name}.profile {shown(wanted)} is not in {path} ({profiles[0].source})",
                code="GW-C015",
                hint=f"did you mean {near!r}?" if near else "make it with 'gc profiles new', or set region instead",
            )
        if profile.get("environment"):
            given = _Given(profile["environment"], f"{path} profile {wanted}", _Rank.PROFILE, path.parent)
            self._give(f"destinations.{name}.region", given)

    # --- deciding ---

    def _settle_places(self) -> None:
        """Let the higher of region and url win, so that a variable can send a destination to an emulator."""
        for name in self._names():
            keys = [key for key in (f"destinations.{name}.region", f"destinations.{name}.url") if key in self.given]
            if len(keys) == 2 and self.given[keys[0]][0].rank != self.given[keys[1]][0].rank:
                winner, loser = sorted(keys, key=lambda key: self.given[key][0].rank)
                dropped = self.given.pop(loser)[0]
                if self.given[winner][0].rank is not _Rank.FLAG:
                    self.warnings.append(
                        f"{winner} from {self.given[winner][0].source} counts, {loser} from {dropped.source} does not"
                    )

    def _tell_disagreements(self) -> None:
        for key, (first, *others) in self.given.items():
            if first.rank is _Rank.FLAG:
                continue
            for other in others:
                one, two = self._comparable(key, first), self._comparable(key, other)
                if one != two:
                    values = (
                        ("", "") if isinstance(one, Secret) else (f"{shown(first.value)} ", f"{shown(other.value)} ")
                    )
                    self.warnings.append(
                        f"{key}: {values[0]}from {first.source} counts, {values[1]}from {other.source} does not"
                    )

    def _comparable(self, key: str, given: _Given) -> Any:
        if key.endswith(".region"):
            return _region_or_text(given.value)
        try:
            return self._value(key, given)
        except ConfigError:
            return given.value

    def _value(self, key: str, given: _Given) -> Any:
        """Convert what a source gave to what the key holds."""
        kind = find_key(key, given.source).kind
        value = given.value
        try:
            if is_plain(kind):
                return fit(key, value, kind, from_text=given.rank not in (_Rank.PROJECT, _Rank.USER))
            if _is_secret(kind):
                text = value.reveal() if isinstance(value, Secret) else value
                if not isinstance(text, str):
                    raise Misfit(key, "is not text", code="GW-C006")
                check_proxy(key, text)
                return secret_address(text)
            return _expand(str(value) if isinstance(value, Path) else fit(key, value, str), self.home, given.folder)
        except Misfit as misfit:
            raise _placed(misfit, key, given.source) from None

    def _destination(self, name: str, ambient: Ambient) -> Destination:
        prefix = f"destinations.{name}"
        if f"{prefix}.deployment_id" not in self.given:
            source = next(givens[0].source for key, givens in self.given.items() if key.startswith(prefix + "."))
            raise ConfigError(
                f"{prefix}.deployment_id is missing ({source})",
                code="GW-C011",
                hint="copy it from Genesys Cloud, Admin > Message > Messenger Deployments",
            )
        destination: Destination = self._section(prefix, Destination, name=name, ambient=ambient)
        for key, ca_file in ((f"{prefix}.tls.ca_file", destination.tls.ca_file), ("SSL_CERT_FILE", ambient.ca_file)):
            if ca_file is not None and destination.gateway.startswith("https:") and not _is_readable(ca_file):
                where = self.origins.get(key, "environment")
                raise ConfigError(f"{key} {shown(str(ca_file))} cannot be read ({where})", code="GW-C003")
        return destination

    def _section(self, prefix: str, section: type[msgspec.Struct], **known: Any) -> Any:
        """Make one table of the winners below `prefix`; `known` are values that no source gives, or only maybe."""
        values = dict(known)
        for name, kind, _ in fields_of(section):
            key = f"{prefix}.{name}"
            if isinstance(kind, type) and issubclass(kind, Section):
                values[name] = self._section(key, kind)
            elif key in self.given:
                values[name] = self._value(key, self.given[key][0])
                self.origins[key] = self.given[key][0].source
            elif pattern_of(key) in known_keys():
                self.origins[key] = "default"
        try:
            return section(**values)
        except Misfit as misfit:
            key = f"{prefix}.{misfit.key}"
            near = next((givens for one, givens in self.given.items() if one.startswith(prefix + ".")), ())
            raise _placed(misfit, key, next((one.source for one in self.given.get(key, near)), "default")) from None

    def _warn_about(self, destinations: Mapping[str, Destination]) -> None:
        for name, destination in destinations.items():
            if not destination.tls.verify:
                self.warnings.append(
                    f"destinations.{name}.tls.verify is off: anyone on the way can read and alter every message"
                )
            if destination.gateway.startswith("http:") and not is_loopback(destination.host):
                self.warnings.append(
                    f"destinations.{name}.url is not encrypted: messages and session tokens can be read on the way"
                )


def ambient_of(environ: Mapping[str, str]) -> Ambient:
    """
    Read what the environment says about proxies and certificates.

    The lower-case spelling of a proxy variable wins, as in curl. A proxy without a scheme is an http proxy.

    Raises:
        ConfigError: GW-C009, the value is not the address of an http proxy.
    """
    proxies: dict[str, Secret] = {}
    for name in ("https_proxy", "http_proxy"):
        found = name if environ.get(name) else name.upper()
        if address := environ.get(found, ""):
            address = address if "://" in address else "http://" + address
            try:
                check_proxy(found, address)
            except Misfit as misfit:
                raise _placed(misfit, found, "environment") from None
            proxies[name] = secret_address(address)
    no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    ca_file = environ.get("SSL_CERT_FILE")
    return Ambient(
        https_proxy=proxies.get("https_proxy"),
        http_proxy=proxies.get("http_proxy"),
        no_proxy=tuple(entry for entry in re.split(r"[,\s]+", no_proxy) if entry),
        ca_file=Path(ca_file) if ca_file else None,
    )


def _is_secret(kind: Any) -> bool:
    return kind is Secret or Secret in getattr(kind, "__args__", ())


def _placed(misfit: Misfit, key: str, source: str) -> ConfigError:
    return ConfigError(f"{key} {misfit.problem} ({source})", code=misfit.code, hint=misfit.hint)


def _region_or_text(value: Any) -> str:
    try:
        return region_of(str(value)).aws
    except ConfigError:
        return str(value)


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # no HOME, and no entry for this user
        return Path("/")


def _xdg(environ: Mapping[str, str], name: str, default: Path) -> Path:
    """A base folder; a relative one is to be ignored (XDG base directory specification)."""
    value = environ.get(name, "")
    return Path(value) if value.startswith("/") else default


def _state_folder(environ: Mapping[str, str], home: Path) -> Path:
    return _xdg(environ, "XDG_STATE_HOME", home / ".local" / "state") / "guestwire"


def _expand(text: str, home: Path, folder: Path) -> Path:
    if text == "~" or text.startswith("~/"):
        return home / text[2:]
    return folder / text


def _concerns_us(name: str) -> bool:
    return name.upper().startswith(PREFIX) or name in FOREIGN_REGION_NAMES or name.upper() in AMBIENT_NAMES


def _is_readable(path: Path) -> bool:
    """Whether a file can be read; a path that no file system can spell (NUL, half a surrogate pair) cannot."""
    try:
        return os.access(path, os.R_OK)
    except ValueError:
        return False
