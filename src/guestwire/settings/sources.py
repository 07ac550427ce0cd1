"""
Where settings come from, and which of two wins.

The first of these that names a key decides it; whoever is overruled is named in a warning, unless a flag did it:

    flag > environment > .env > project file > user file > names of other tools > gc profile > default

The project file is the first ``guestwire.toml`` upward from the working folder, the user file stands in
``$XDG_CONFIG_HOME/guestwire``. Names of other tools and profiles speak only for destinations that say nothing
themselves: about their place, or about their credentials. Credentials so found go to hosts of Genesys Cloud and to this
machine, and nowhere else: a file that somebody else wrote must not be able to have them sent to him. Nothing here reads
the process's own environment unless the caller leaves it out.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from guestwire.errors import ConfigError
from guestwire.settings.credentials import (
    CREDENTIAL_NAMES,
    FIELDS,
    OAUTH_TRANSPORTS,
    SECRET_NAMES,
    Family,
    Found,
    difference,
    families_of,
)
from guestwire.settings.files import (
    exists,
    is_private,
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
from guestwire.settings.regions import is_vendor_host, region_of
from guestwire.settings.tree import (
    LIMITS_OF,
    RETRY_OF,
    Ambient,
    Destination,
    FileSettings,
    Limits,
    LogSettings,
    PolicySettings,
    RelaySettings,
    ReplyForwarding,
    RetrySettings,
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
#: Every name of another tool that we read. Each has a twin with ``_FILE``, which names a file that holds the value.
FOREIGN_NAMES = (*FOREIGN_REGION_NAMES, *(name for names in CREDENTIAL_NAMES for name in names.values()))
#: Variables about the network that count when a destination is silent.
AMBIENT_NAMES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE")

#: Where one half of a pair is missing, the other half's source is the one to tell.
_TWINS = {"client_id": "client_secret", "client_secret": "client_id"}
#: Set by Kubernetes for every service that is called "guestwire"; no setting of ours.
_KUBERNETES = re.compile(r"GUESTWIRE_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_.*)?)")
#: Shows where an unexpected error happened; the command line reads it before there are settings.
_DEBUG = "GUESTWIRE_DEBUG"


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
        self.foreign: dict[str, list[Found]] = {}
        """What other tools' variables say, by name, as far as somebody wanted to know."""

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
        self._take_places(variables)
        for givens in self.given.values():
            givens.sort(key=lambda given: given.rank)
        self._settle_places()
        self._take_credentials(variables)
        self._tell_disagreements()

        ambient = ambient_of({name: variable.value for name, variable in by_name.items()})
        destinations = {name: self._destination(name, ambient) for name in self._names()}
        settings = Settings(
            destinations=destinations,
            store=self._section("store", StoreSettings, path=_state_folder(self.environ, self.home)),
            relay=self._section("relay", RelaySettings),
            sinks=SinkSettings(replies=self._section("sinks.replies", ReplyForwarding, ambient=ambient)),
            log=self._section("log", LogSettings),
            policy=self._section("policy", PolicySettings),
            files=self._section("files", FileSettings),
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
            if isinstance(value, str) and _holds_secret(key, value):
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
            lines = list(parse_dotenv(read_text(path, errors="surrogateescape"), path, _concerns_us))
            variables += [_Variable(name, value, f"{path} line {line}", _Rank.DOTENV) for line, name, value in lines]
            secret = next((name for _, name, value in lines if _is_secret_variable(name, value)), None)
            if secret is not None and not is_private(path):
                self.warnings.append(f"{path} holds a secret ({secret}) and can be read by others: chmod 600 {path}")
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
            if _holds_secret(key, value):
                must_be_private(path, key)
            self.files.append(path)
            self._give(key, _Given(value, f"{variable.source} ({path})", variable.rank, self.cwd))
            return
        if _KUBERNETES.fullmatch(upper) or upper == _DEBUG:
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

    # --- names of other tools ---

    def _found(self, variables: list[_Variable], name: str) -> list[Found]:
        """What a name of another tool says, or the file that it names with ``_FILE``; the highest source first."""
        if name not in self.foreign:
            by_rank: dict[_Rank, Found] = {}
            for variable in variables:
                if variable.name not in (name, name + "_FILE"):
                    continue
                one = Found(variable.value, variable.source, variable.rank)
                if variable.name != name:
                    path = _expand(variable.value, self.home, self.cwd)
                    value = read_text(path, at=variable.source).rstrip("\r\n")
                    if name in SECRET_NAMES:
                        must_be_private(path, name)
                    self.files.append(path)
                    one = Found(value, f"{variable.source} ({path})", variable.rank)
                first = by_rank.setdefault(variable.rank, one)
                if first.value != one.value:
                    self.warnings.append(f"{first.source} counts, {one.source} says something else")
            self.foreign[name] = [by_rank[rank] for rank in sorted(by_rank)]
        return self.foreign[name]

    def _take_places(self, variables: list[_Variable]) -> None:
        """Let other tools say where the silent destinations live."""
        foreign = [(name, found[0]) for name in FOREIGN_REGION_NAMES if (found := self._found(variables, name))]
        foreign.sort(key=lambda pair: pair[1].rank)
        if len({_region_or_text(one.value) for _, one in foreign}) > 1:
            (first, one), (second, other) = foreign
            self.warnings.append(
                f"{first} says {shown(one.value)} and {second} says {shown(other.value)}: {first} counts"
            )
        named: set[str] = set()
        followed = False
        for name in self._names():
            region, url = f"destinations.{name}.region", f"destinations.{name}.url"
            says_url = url in self.given
            if region not in self.given and not says_url:
                for _, one in foreign[:1]:
                    # "http://127.0.0.1:8080" is where an emulator lives, and no region.
                    key = url if _is_local_address(one.value) else region
                    self._give(key, _Given(one.value, one.source, _Rank.FOREIGN, self.cwd))
            if not says_url and (profile := self._profile(name)) is not None and profile[0].get("environment"):
                table, source, folder = profile
                self._give(region, _Given(table["environment"], source, _Rank.PROFILE, folder))
            named.update(_region_or_text(one.value) for one in self.given.get(region, ()))
            followed = followed or any(one.rank is _Rank.FOREIGN for one in self.given.get(url, ()))
        if foreign and named and not followed and _region_or_text(foreign[0][1].value) not in named:
            first, one = foreign[0]
            self.warnings.append(
                f"{first} says {shown(one.value)} ({one.source}), but every destination names another region: "
                f"the destinations' own count"
            )

    def _profile(self, name: str) -> tuple[dict[str, Any], str, Path] | None:
        """The profile that a destination names, how to call it, and the folder of its file; GW-C015."""
        profiles = sorted(self.given.get(f"destinations.{name}.profile", ()), key=lambda given: given.rank)
        if not profiles:
            return None
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
        return profile, f"{path} profile {wanted}", path.parent

    def _take_credentials(self, variables: list[_Variable]) -> None:
        """Let other tools and profiles speak for destinations that need credentials and have none of their own."""
        names = [name for name in self._names() if self._says(name, "transport") in OAUTH_TRANSPORTS]
        if not names:
            return
        foreign = [name for family in CREDENTIAL_NAMES for name in family.values()]
        others = families_of({name: self._found(variables, name) for name in foreign})
        own: list[Family] = []
        followed = False
        for name in names:
            is_safe = all(self._is_safe(name, key) for key in ("url", "login_url"))
            diverted = self._diverted_by(name)
            keys = {field: f"destinations.{name}.{field}" for field in FIELDS}
            mine = Family(**{field: Found(*self.given[key][0][:3]) for field, key in keys.items() if key in self.given})
            if mine.given:
                own.append(mine)
                continue
            found = list(others) if is_safe and diverted is None else []
            # A url needs no profile for its place; whoever names one beside it means the credentials.
            needed = self._says(name, "url") is None or not any(family.is_complete for family in found)
            if needed and diverted is None and (profile := self._profile(name)) is not None:
                found += _family_of(*profile[:2])
            winner = next((family for family in found if family.is_complete), None)
            followed = followed or winner in others
            if winner is not None:
                self._give_credentials(name, winner)
            elif diverted is not None and (others or self._says(name, "profile") is not None):
                self._warn_once(
                    f"no credentials of the environment or a profile are used for destinations.{name}: {diverted} "
                    f"could lead them elsewhere, and a project's file is not yours alone; set it by a variable or in "
                    f"your own file, or set destinations.{name}.client_id and client_secret"
                )
            elif others and not is_safe:
                self._warn_once(
                    f"{others[0].source} is not used for destinations.{name}, which lives at an address of its own: "
                    f"set destinations.{name}.client_id and client_secret"
                )
            for family in found:
                if winner is None:
                    self._warn_once(f"{family.source} is not used: it is half of a pair, and the other half is missing")
                elif family is not winner and (words := difference(winner, family)) is not None:
                    self._warn_once(words)
        if others and own and not followed and all(difference(mine, others[0]) for mine in own):
            self.warnings.append(f"{others[0].source} is not used: every destination names an OAuth client of its own")

    def _give_credentials(self, name: str, family: Family) -> None:
        for field, one in family.given.items():
            rank = _Rank(one.rank)
            if rank is _Rank.PROFILE and field != "client_id":
                must_be_private(self.home / ".gc" / "config.toml", f"destinations.{name}.{field}")
            rank = rank if rank is _Rank.PROFILE else _Rank.FOREIGN
            self._give(f"destinations.{name}.{field}", _Given(one.value, one.source, rank, self.cwd))

    def _says(self, name: str, field: str) -> Any:
        """What the highest source says about a field of a destination; None: nothing."""
        givens = self.given.get(f"destinations.{name}.{field}")
        return givens[0].value if givens else None

    def _is_safe(self, name: str, field: str) -> bool:
        """Whether an address may be handed credentials that nobody meant for it: the vendor's and this machine's."""
        address = self._says(name, field)
        host = "" if address is None else _host_of(str(address))
        return address is None or is_vendor_host(host) or is_loopback(host)

    def _diverted_by(self, name: str) -> str | None:
        """
        Return what of a project's file could lead credentials to somebody who must not have them; None: nothing does.

        Whoever works in a folder reads its ``guestwire.toml``, whoever wrote it. His credentials go only where he has
        said himself, to the vendor, or nowhere beyond this machine.
        """
        places = [self._says(name, field) for field in ("url", "login_url")]
        if places[0] is not None and all(place is None or is_loopback(_host_of(str(place))) for place in places):
            return None  # nothing leaves this machine
        for field in ("url", "login_url", "proxy", "tls.ca_file", "tls.verify"):
            givens = self.given.get(f"destinations.{name}.{field}", ())
            if givens and givens[0].rank is _Rank.PROJECT and not self._leaves_it(name, field):
                return f"destinations.{name}.{field} ({givens[0].source})"
        return None

    def _leaves_it(self, name: str, field: str) -> bool:
        """Whether a setting leaves credentials on their way to the vendor."""
        if field == "tls.verify":
            return self._says(name, field) is not False
        if field in ("url", "login_url"):
            address = str(self._says(name, field))
            return is_loopback(_host_of(address)) or (self._is_safe(name, field) and address.startswith("https:"))
        return False

    def _warn_once(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

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
                    values = ("", "")
                    if not _is_secret(find_key(key, first.source).kind):
                        values = (f"{shown(first.value)} ", f"{shown(other.value)} ")
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
                if not _is_proxy(key):
                    return Secret(text)
                check_proxy(key, text)
                return secret_address(text)
            return _expand(str(value) if isinstance(value, Path) else fit(key, value, str), self.home, given.folder)
        except Misfit as misfit:
            raise _placed(misfit, key, given.source) from None

    def _destination(self, name: str, ambient: Ambient) -> Destination:
        prefix = f"destinations.{name}"
        transport = self.given.get(f"{prefix}.transport", ())
        # A name that is none is told by the section itself.
        limits = LIMITS_OF.get(str(transport[0].value) if transport else "webmessaging", Limits())
        preset = self.given.get(f"{prefix}.retry.preset", ())
        retry = RETRY_OF.get(str(preset[0].value) if preset else "default", RetrySettings())
        secrets = (self.given.get(f"{prefix}.{key}") for key in ("client_secret", "access_token"))
        destination: Destination = self._section(
            prefix,
            Destination,
            name=name,
            ambient=ambient,
            limits=limits,
            retry=retry,
            credentials_from=next((found[0].source for found in secrets if found), ""),
        )
        for key, ca_file in ((f"{prefix}.tls.ca_file", destination.tls.ca_file), ("SSL_CERT_FILE", ambient.ca_file)):
            if ca_file is not None and destination.gateway.startswith("https:") and not _is_readable(ca_file):
                where = self.origins.get(key, "environment")
                raise ConfigError(f"{key} {shown(str(ca_file))} cannot be read ({where})", code="GW-C003")
        return destination

    def _section(self, prefix: str, section: type[msgspec.Struct], **known: Any) -> Any:
        """Make one table of the winners below `prefix`; `known` are values that no source gives, or only maybe.

        A table among them is the default that the sources' values are laid over.
        """
        values = dict(known)
        for name, kind, _ in fields_of(section):
            key = f"{prefix}.{name}"
            if isinstance(kind, type) and issubclass(kind, Section):
                base = values.get(name)
                values[name] = self._section(key, kind, **({} if base is None else _fields(base)))
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
            near = self.given.get(f"{prefix}.{_TWINS.get(misfit.key)}", near)
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
            login = urlsplit(destination.login_url or "")
            if login.scheme == "http" and not is_loopback(login.hostname or ""):
                self.warnings.append(
                    f"destinations.{name}.login_url is not encrypted: the client's secret can be read on the way"
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


def _fields(section: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(section, name) for name in section.__struct_fields__}


def _is_proxy(key: str) -> bool:
    return key.endswith(".proxy")


def _holds_secret(key: str, value: str) -> bool:
    """Whether a value of a key is a secret; the address of a proxy is one only where it holds a password."""
    return _is_secret(known_keys()[pattern_of(key)].kind) and (not _is_proxy(key) or "@" in value)


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
    return (
        name.upper().startswith(PREFIX) or name.removesuffix("_FILE") in FOREIGN_NAMES or name.upper() in AMBIENT_NAMES
    )


def _is_secret_variable(name: str, value: str) -> bool:
    """Whether a variable holds a secret itself; the address of a proxy does where it has a password."""
    last = name.upper().rpartition("__")[2].lower() if name.upper().startswith(PREFIX) else name.lower()
    if last == "proxy" or name.upper() in AMBIENT_NAMES:
        return "@" in value
    own = {key.path.rpartition(".")[2] for key in known_keys().values() if _is_secret(key.kind)}
    return name in SECRET_NAMES or (name.upper().startswith(PREFIX) and last in own)


def _family_of(profile: Mapping[str, Any], source: str) -> list[Family]:
    """The credentials of a profile, in the words of the vendor's tool; none if it has none."""
    names = {"client_id": "client_credentials", "client_secret": "client_secret"}
    fields = {field: Found(profile[name], source, _Rank.PROFILE) for field, name in names.items() if profile.get(name)}
    return [Family(**fields)] if fields else []


def _is_local_address(value: Any) -> bool:
    """Whether a text is the address of something on this machine."""
    text = str(value).strip()
    return text.lower().startswith(("http://", "https://")) and is_loopback(_host_of(text))


def _host_of(address: str) -> str:
    """The host of an address; of one that is none, something that is nobody's."""
    try:
        return urlsplit(address.strip()).hostname or "?"
    except ValueError:
        return "?"


def _is_readable(path: Path) -> bool:
    """Whether a file can be read; a path that no file system can spell (NUL, half a surrogate pair) cannot."""
    try:
        return os.access(path, os.R_OK)
    except ValueError:
        return False
