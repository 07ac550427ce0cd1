"""
The settings as a frozen tree, and what each of them means.

Where values come from, and which of two wins, is decided in `guestwire.settings.sources`. A tree made by hand is held
to the same laws: an impossible `Destination` cannot be made. docs/configuration.md has every key, and a test holds it
to that.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from guestwire.errors import ConfigError, NotFound
from guestwire.model import Delivery, TransportName
from guestwire.settings.regions import Region, is_vendor_host, region_of
from guestwire.settings.values import (
    NAME,
    ORIGIN,
    PLACE,
    PRINTABLE,
    UUID,
    Count,
    Megabytes,
    Misfit,
    Seconds,
    SecondsOrNone,
    Secret,
    Whole,
    bypasses,
    check_proxy,
    check_receiver,
    checked_url,
    fit,
    is_loopback,
    is_plain,
    shown,
    wanted,
)

#: Sent to the gateway as part of the application name. Reading it from the installed metadata would cost every
#: command 40 ms; a test keeps the two equal.
VERSION = "0.1.0"

#: Every code of a `ConfigError` that settings can raise, with its meaning.
CODES: Final[Mapping[str, str]] = {
    "GW-C001": "no destination is defined",
    "GW-C002": "several destinations are defined and none was chosen",
    "GW-C003": "a file cannot be read or written",
    "GW-C004": "a file is not valid TOML",
    "GW-C005": "a key is not a setting",
    "GW-C006": "a value has the wrong type or is not one of the allowed ones",
    "GW-C007": "a number is out of its range",
    "GW-C008": "an id is not a UUID",
    "GW-C009": "an address, a host, a name or a secret cannot be used",
    "GW-C010": "a region is unknown",
    "GW-C011": "a destination or a sink lacks a key that it needs",
    "GW-C012": "two settings contradict each other",
    "GW-C013": "a destination has a name that cannot be used, or is called 'emulator' without living on this machine",
    "GW-C014": "pacing cannot be switched off for hosts of Genesys Cloud",
    "GW-C015": "a profile of the gc command line tool does not exist",
    "GW-C016": "a file that holds a secret can be read by others",
    "GW-C017": "a destination of that name exists already",
    "GW-C018": "a line of the .env file cannot be read",
    "GW-C019": "a file of signing secrets holds none, or one that cannot be used",
    "GW-C020": "the tutorial contract is not a route of Genesys Cloud",
    "GW-N001": "no destination has that name",
}


#: The platform wants more than 15 characters.
MIN_WEBHOOK_SECRET = 16
#: What a client secret or a token is made of.
_CREDENTIAL = re.compile(r"[!-~]+")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
#: Where people find the ids.
_ID_PLACES = {
    "deployment_id": "Admin > Message > Messenger Deployments",
    "integration_id": "Admin > Message > Platforms",
    "expect_org_id": "Admin > Account Settings > Organization Settings",
}


@functools.cache
def fields_of(section: type[msgspec.Struct]) -> tuple[tuple[str, Any, Any], ...]:
    """Name, type and default of every field."""
    return tuple((field.name, field.type, field.default) for field in msgspec.structs.fields(section))


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A table of settings. Making one checks every value against its type and range."""

    def __post_init__(self) -> None:
        for name, kind, _ in fields_of(type(self)):
            value = getattr(self, name)
            if is_plain(kind) and fit(name, value, kind) != value:
                raise Misfit(name, f"{shown(value)} is not {wanted(kind)}", code="GW-C006")


def _ordered(section: Section, low: str, high: str) -> None:
    if getattr(section, low) > getattr(section, high):
        raise Misfit(low, f"{getattr(section, low):g} is above {high}, {getattr(section, high):g}", code="GW-C012")


class Limits(Section, frozen=True, kw_only=True):
    """
    How much the gateway takes. Nothing on the wire announces these numbers, so each is a setting.

    The defaults below are those of web messaging; `LIMITS_OF` has the others'. What a program leaves out of
    ``Limits(...)`` is therefore web messaging's, whatever way out it is for: `Limits.of` begins with the way's own.
    "limits page": the vendor's page on web messaging limits as quoted by a third party in October 2026.
    """

    messages_per_s: Count = 5
    """Messages per second and session. Limits page: 5 (medium confidence); announced as 2 in December 2023
    (developer forum 23587, high); 60 per minute before that."""
    requests_per_min: Count = 60
    """Requests of every kind per minute and connection: typing, health checks and history tokens count too.
    Limits page (medium). It makes one message per second the rate that lasts."""
    configures_per_min: Count = 60
    """Session configurations per minute and session. Limits page (medium)."""
    connects_per_min: Count = 1000
    """New connections per minute and deployment. Limits page (medium)."""
    health_checks_per_min: Count = 2
    """Health checks per minute and connection. Limits page, and the 30 s pause of the vendor's mobile client (high)."""
    history_per_min: Count = 10
    """Reads of the history per minute and session. Limits page (medium)."""
    typing_every_s: Seconds = 5.0
    """Least time between two signs that a guest is typing. Limits page, and the vendor's mobile client (high)."""
    max_text: Count = 4096
    """Longest text of one part, in `text_unit`. From the gateway's own error text (high)."""
    text_unit: Literal["bytes", "characters"] = "bytes"
    """What `max_text` counts. Not stated anywhere (low confidence); bytes of UTF-8 is the careful reading."""
    max_parts: Count = 50
    """Parts that a long text may become. Ours: each is a message of its own to the gateway, and to an agent."""
    max_attributes_bytes: Count = 2048
    """UTF-8 bytes of all names and values of the custom attributes of one message, as the vendor's client counts them
    (high: `maxCustomDataBytes` of the session's answer)."""
    max_attachments: Count = 1
    """Files of one message. The vendor's schema (high)."""
    max_file_kb: Count = 10240
    """Largest file, in kilobytes of 1,000 bytes; what the session announces (`maxFileSizeKB`) narrows it (high)."""
    max_file_name: Count = 1023
    """Longest name of a file, in characters. Documented as "< 1024" (medium)."""
    connections_per_session: Count = 3
    """The gateway closes the oldest above this (high)."""
    max_sessions: Count = 5000
    """Sessions that this process keeps connected at once. Ours: a matter of memory and open files."""
    reserve_per_min: Whole = 0
    """Of `requests_per_min`, so many are kept from messages, for receipts, typing and checks. REST ways only."""
    max_in_flight: Count = 64
    """Messages that are on their way at once. REST ways only; ours."""
    media_types: tuple[str, ...] = ()
    """MIME types that a file may have; none named: the platform decides."""

    @classmethod
    def of(cls, transport: TransportName, **changes: Any) -> Limits:
        """
        Return what a way out takes, with some of it set otherwise, as a table of the settings file does.

        ``Limits.of("openmessaging", reserve_per_min=0)`` keeps its 300 requests a minute.

        Raises:
            Misfit: As the constructor.
        """
        return msgspec.structs.replace(LIMITS_OF[transport], **changes)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reserve_per_min >= self.requests_per_min:
            raise Misfit(
                "reserve_per_min",
                f"{self.reserve_per_min:,} leaves nothing of requests_per_min, {self.requests_per_min:,}, for messages",
                code="GW-C012",
                hint="keep the reserve below it, such as a twentieth",
            )


#: What each way out takes, where nothing else is set.
LIMITS_OF: Final[Mapping[str, Limits]] = {
    "webmessaging": Limits(),
    "openmessaging": Limits(
        # `client.credentials.token.rate.per.minute`, which support can raise (vendor's blog; medium). It counts
        # whatever the token is used for. The rate of web messaging's sessions does not apply (vendor's staff; high).
        requests_per_min=300,
        reserve_per_min=15,  # ours
        messages_per_s=300,  # nothing finer than the minute is known (low)
        # No length is published for this way in (low): the figure of web messaging, in characters as the vendor's
        # other length limits are.
        text_unit="characters",
        max_file_kb=25_000,  # ceiling of the platform (medium)
    ),
    "rest-contract": Limits(
        messages_per_s=100,  # all of these as the tutorial says
        requests_per_min=6000,
        max_file_kb=26_214,
        max_attachments=10,  # ours: it names no number
        media_types=("image/png", "image/jpeg", "application/pdf", "text/plain"),
    ),
}
#: Stands for "whatever `LIMITS_OF` says".
_UNSET_LIMITS: Final = Limits()


#: Three attempts, exponential from 2 s to 10 s with a factor of 1, as the tutorial contract's client has it: that is a
#: pause of 2 s after the first, and one of 2 s after the second; with more attempts up to 4 s, 8 s, 10 s.
_TUTORIAL_RETRY: Final[Mapping[str, Any]] = {"max_attempts": 3, "base_s": 1.0, "cap_s": 10.0, "floor_s": 2.0}


class RetrySettings(Section, frozen=True, kw_only=True):
    """When a part that surely was not accepted is tried again, and when that ends. Throttling costs no attempt."""

    preset: Literal["default", "tutorial"] = "default"
    """Where the values of attempts and pauses come from, as far as they are not set themselves: see `RETRY_OF`."""
    max_attempts: Count = 8
    max_age_s: Seconds = 86_400.0
    """Age of a part, from its entry into its lane, after which no new attempt is made. Throttling does not age it."""
    base_s: Seconds = 1.0
    """Pause after the first failed attempt; it doubles with each one, with jitter."""
    cap_s: Seconds = 300.0
    """Longest pause between two attempts."""
    floor_s: SecondsOrNone = 0.0
    """Shortest pause between two attempts."""
    trip_after: Count = 5
    """Attempts, or connects, in a row that fail or have no answer, of whichever guests: then the destination is left
    alone for a pause (`relay.reconnect_base_s` to `relay.reconnect_cap_s`), and tried again by one."""
    poison: Literal["park_and_continue", "stop_guest"] = "park_and_continue"
    """What follows when a part is refused or has used up its tries: its message is set aside and the guest's next one
    goes, or everything of the guest waits for a person."""
    trust_unavailable: bool = True
    """Whether HTTP 503 with a `Retry-After` means that the message was not taken. Off: it means nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.preset == "tutorial" and all(getattr(self, key) == _USUAL_RETRY[key] for key in _TUTORIAL_RETRY):
            for key, value in _TUTORIAL_RETRY.items():
                msgspec.structs.force_setattr(self, key, value)
        _ordered(self, "base_s", "cap_s")
        _ordered(self, "floor_s", "cap_s")


_USUAL_RETRY: Final[Mapping[str, Any]] = {name: default for name, _, default in fields_of(RetrySettings)}
#: The values of each preset. In Python, `msgspec.structs.replace(RETRY_OF["tutorial"], max_attempts=5)` changes some.
RETRY_OF: Final[Mapping[str, RetrySettings]] = {
    "default": RetrySettings(),
    "tutorial": RetrySettings(preset="tutorial"),
}


class TlsSettings(Section, frozen=True, kw_only=True):
    """How the far side proves who it is."""

    ca_file: Path | None = None
    """Certificates to trust (PEM); default: SSL_CERT_FILE, else those of the system."""
    verify: bool = True
    """Off means that anyone on the way can read and alter everything; every start warns about it."""


class Ambient(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment says about the network, for destinations that do not say it themselves."""

    https_proxy: Secret | None = None
    http_proxy: Secret | None = None
    no_proxy: tuple[str, ...] = ()
    """Hosts and domains that are reached directly; ``*`` means all of them."""
    ca_file: Path | None = None

    def proxy_for(self, host: str, *, secure: bool, own: Secret | None = None) -> str | None:
        """
        Say through which proxy a host is reached.

        Args:
            host: A name or an address, without port and brackets.
            secure: Whether TLS will be spoken.
            own: A proxy that goes before those of the environment.

        Returns:
            An http or https address, which may hold a password; None: directly. Loopback and the hosts of
            NO_PROXY are always reached directly.
        """
        if is_loopback(host) or bypasses(host, self.no_proxy):
            return None
        proxy = own or (self.https_proxy if secure else self.http_proxy)
        return None if proxy is None else proxy.reveal()


class Destination(Section, frozen=True, kw_only=True):
    """
    A named way out.

    Exactly one of `region` and `url` is set. Making one normalises both and the ids, so that two spellings of one place
    have one `fingerprint`.
    """

    name: str
    """Lower-case letters, digits, ``-`` and ``_`` between them. ``emulator`` is reserved for a loopback `url`."""
    transport: TransportName = "webmessaging"
    """The way out; docs/ways-out.md says which to use when."""
    region: str | None = None
    """AWS name of the region; other spellings are accepted, see `guestwire.settings.regions.region_of`."""
    url: str | None = None
    """A gateway of one's own, such as the emulator: everything on one base address, http or https."""
    deployment_id: str = ""
    """UUID of the messenger deployment. Web messaging needs one."""
    integration_id: str = ""
    """UUID of the Open Messaging integration. Open Messaging needs one."""
    client_id: str | None = None
    """Of an OAuth client with the grant "client credentials"."""
    client_secret: Secret | None = None
    access_token: Secret | None = None
    """A token of one's own in place of a client; nobody renews it."""
    login_url: str | None = None
    """Base address that gives tokens; default: ``login.<domain>`` of the region, or the `url` itself."""
    expect_org_id: str | None = None
    """UUID of the organisation that the credentials must belong to; checked at the start."""
    id_type: Literal["Opaque", "Email", "Phone"] = "Opaque"
    """What a guest's key is, in Open Messaging's eyes."""
    prefetch_conversation_id: bool = True
    """Ask where each message went: without a known conversation a lost answer cannot be looked up."""
    long_text: Literal["split", "reject", "truncate"] = "split"
    """What becomes of a text longer than `limits.max_text`: parts of one message, a refusal, or its beginning alone."""
    part_markers: bool = False
    """Let each part of a text that was split begin with its number, such as ``(1/3)``."""
    read_receipt: bool = False
    """Default of a message's `read_receipt`."""
    webhook_secret: Secret | None = None
    """With it the platform signs what it sends to the webhook: the integration's "signature secret token"."""
    probe_links: bool = True
    """Look whether the address of a remote file answers before a message is accepted."""
    min_link_life_s: Seconds = 3600.0
    """A signed address that lives shorter than this is refused: the message may have to wait for its turn."""
    allow_links: tuple[str, ...] = ()
    """``host`` or ``host:port`` of remote files that may be private, or without TLS: for a platform of one's own."""
    allow_undocumented: bool = False
    """Send the tutorial contract's requests to a host of Genesys Cloud all the same."""
    origin: str | None = None
    """The Origin header, which the gateway checks against the deployment's allowed domains; None sends no such
    header. The vendor's mobile client sends ``webmessaging.<domain>``; whether any is needed where all domains are
    allowed is not known for sure (a third party's client does without)."""
    application: str = f"guestwire-{VERSION}"
    """How this client names itself to the gateway."""
    profile: str | None = None
    """A profile of ``~/.gc/config.toml``; gives the region where nothing else does."""
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    pace: bool = True
    """Off: send without keeping `limits`. For load tests against a gateway of one's own; refused on vendor hosts."""
    max_new_guests_per_min: Count | None = None
    """Bound on new sessions, each of which may open a conversation; None: no bound but the gateway's."""
    proxy: Secret | None = None
    """``http://[user:password@]host:port``; default: HTTPS_PROXY. See `proxy_for`."""
    limits: Limits = _UNSET_LIMITS
    retry: RetrySettings = RetrySettings()
    tls: TlsSettings = TlsSettings()
    ambient: Ambient = Ambient()
    """Not a setting: filled in from the environment."""
    credentials_from: str = ""
    """Not a setting: where its client secret, or its token, comes from; for whoever has to mend it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not NAME.fullmatch(self.name) or len(self.name) > 64:
            raise Misfit(
                "name",
                f"{shown(self.name)} cannot name a destination",
                code="GW-C013",
                hint="use lower-case letters and digits, with single '-' or '_' between them, at most 64",
            )
        if self.limits is _UNSET_LIMITS:
            msgspec.structs.force_setattr(self, "limits", LIMITS_OF[self.transport])
        self._check_place()
        self._check_ids()
        self._check_credentials()
        if self.origin is not None and not ORIGIN.fullmatch(self.origin):
            raise Misfit(
                "origin",
                f"{shown(self.origin)} is not an origin",
                code="GW-C009",
                hint="write scheme and host without a path, such as https://shop.example",
            )
        if not PRINTABLE.fullmatch(self.application):
            raise Misfit("application", f"{shown(self.application)} is not 1 to 128 printable ASCII", code="GW-C009")
        if self.proxy is not None:
            check_proxy("proxy", self.proxy.reveal())

    def _check_place(self) -> None:
        if self.region is not None and self.url is not None:
            raise Misfit("url", "is set beside region", code="GW-C012", hint="keep the one that is meant")
        if self.region is not None:
            try:
                region = region_of(self.region)
            except ConfigError as error:
                raise Misfit("region", error.message, code=error.code, hint=error.hint) from None
            msgspec.structs.force_setattr(self, "region", region.aws)
        elif self.url is not None:
            msgspec.structs.force_setattr(self, "url", checked_url(self.url))
        else:
            raise Misfit(
                "region",
                "is missing, and so is url: nothing says where to connect",
                code="GW-C011",
                hint='set region = "eu-west-1" (or where your organisation lives)',
            )
        if self.name == "emulator" and not self.is_emulator:
            raise Misfit(
                "name",
                "'emulator' is reserved for a url on this machine",
                code="GW-C013",
                hint="choose another name, or set url to an address such as http://127.0.0.1:8080",
            )
        if not self.pace and self.is_genesys_host:
            raise Misfit(
                "pace",
                "is off, which hosts of Genesys Cloud do not stand",
                code="GW-C014",
                hint="load tests run against 'guestwire emulate'",
            )
        if self.login_url is not None:
            login_url = checked_url(self.login_url, key="login_url", may_be_vendor=True)
            msgspec.structs.force_setattr(self, "login_url", login_url)
        if self.transport == "rest-contract" and self.is_genesys_host and not self.allow_undocumented:
            raise Misfit(
                "transport",
                '"rest-contract" is no route of Genesys Cloud: its documentation and its SDK do not have it',
                code="GW-C020",
                hint='use transport = "openmessaging" (or "webmessaging"), or set url to the gateway that serves this '
                "contract; allow_undocumented = true tries it all the same",
            )

    def _check_ids(self) -> None:
        """Bring ids into their one spelling; the way out must have the one that it needs."""
        needed = {"webmessaging": "deployment_id", "openmessaging": "integration_id"}.get(self.transport)
        for name, where in _ID_PLACES.items():
            given: str | None = getattr(self, name)
            wanted_id = (given or "").strip().lower()
            if not wanted_id and name == needed:
                raise Misfit(name, "is missing", code="GW-C011", hint=f"copy it from Genesys Cloud, {where}")
            if wanted_id and not UUID.fullmatch(wanted_id):
                raise Misfit(
                    name,
                    f"{shown(given)} is not a UUID",
                    code="GW-C008",
                    hint=f"copy it from Genesys Cloud, {where}; it looks like 3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50",
                )
            msgspec.structs.force_setattr(self, name, wanted_id or (None if given is None else ""))

    def _check_credentials(self) -> None:
        """Half a pair of credentials is a mistake, and so is what no header can carry. Secrets are not quoted."""
        if (self.client_id is None) != (self.client_secret is None) and self.access_token is None:
            missing = "client_secret" if self.client_secret is None else "client_id"
            raise Misfit(
                missing,
                "is missing beside its other half",
                code="GW-C011",
                hint="set both, such as with GENESYSCLOUD_OAUTHCLIENT_ID and GENESYSCLOUD_OAUTHCLIENT_SECRET",
            )
        if self.client_id is not None and not PRINTABLE.fullmatch(self.client_id):
            raise Misfit("client_id", f"{shown(self.client_id)} is not 1 to 128 printable ASCII", code="GW-C009")
        for name in ("client_secret", "access_token"):
            secret: Secret | None = getattr(self, name)
            if secret is not None and not _CREDENTIAL.fullmatch(secret.reveal()):
                raise Misfit(
                    name,
                    "is empty, or holds spaces or characters outside ASCII",
                    code="GW-C009",
                    hint="copy it once more, without line breaks and quotes",
                )
        if self.webhook_secret is not None and len(self.webhook_secret.reveal()) < MIN_WEBHOOK_SECRET:
            raise Misfit(
                "webhook_secret",
                f"has fewer than {MIN_WEBHOOK_SECRET} characters, which the platform does not take",
                code="GW-C009",
                hint="copy the signature secret token of the integration",
            )

    @property
    def _region(self) -> Region | None:
        return None if self.region is None else region_of(self.region)

    @property
    def gateway(self) -> str:
        """Base address of the REST calls, without a slash at its end."""
        region = self._region
        return f"https://api.{region.domain}" if region else str(self.url)

    @property
    def websocket_url(self) -> str:
        """Address of the WebSocket, without the query that names the deployment."""
        region = self._region
        # "http" -> "ws", "https" -> "wss"
        return f"wss://webmessaging.{region.domain}/v1" if region else "ws" + str(self.url).removeprefix("http") + "/v1"

    @property
    def config_url(self) -> str:
        """Address of the deployment's public configuration."""
        return self._deployment_folder + "/config.json"

    @property
    def domains_url(self) -> str:
        """Address of the deployment's public list of allowed domains."""
        return self._deployment_folder + "/domains.json"

    @property
    def _deployment_folder(self) -> str:
        region = self._region
        base = f"https://api-cdn.{region.domain}" if region else str(self.url)
        return f"{base}/webdeployments/v1/deployments/{self.deployment_id}"

    @property
    def history_url(self) -> str:
        """Address of a guest's history."""
        return self.gateway + "/api/v2/webmessaging/messages"

    @property
    def token_url(self) -> str:
        """Address that gives tokens."""
        region = self._region
        base = self.login_url or (f"https://login.{region.domain}" if region else str(self.url))
        return base + "/oauth/token"

    @property
    def host(self) -> str:
        """Host that messages go to."""
        return urlsplit(self.websocket_url if self.transport == "webmessaging" else self.gateway).hostname or ""

    @property
    def has_sessions(self) -> bool:
        """Whether each guest has a session, and limits of his own; over REST the token has them."""
        return self.transport == "webmessaging"

    @property
    def is_genesys_host(self) -> bool:
        """Whether the vendor's limits apply, whatever is set."""
        return self.region is not None or is_vendor_host(self.host)

    @property
    def is_emulator(self) -> bool:
        """Whether this may be an emulator: a `url` on this machine. Only asking it makes it certain."""
        return self.url is not None and is_loopback(self.host)

    @property
    def fingerprint(self) -> str:
        """Identity of the place in the store: the same for every spelling and every name of it. 32 hex digits."""
        import hashlib

        if self.transport == "webmessaging":
            where = (self.websocket_url, self.deployment_id)
        else:
            where = (self.gateway, self.integration_id)
        place = "\0".join((self.transport, *where))
        return hashlib.blake2b(place.encode(), digest_size=16, person=b"destination").hexdigest()

    @property
    def ca_file(self) -> Path | None:
        """Certificates to trust; None: those of the system."""
        return self.tls.ca_file or self.ambient.ca_file

    def proxy_for(self, host: str, *, secure: bool | None = None) -> str | None:
        """Say through which proxy a host is reached: `Ambient.proxy_for`; `secure` None: as to the gateway."""
        if secure is None:
            secure = self.gateway.startswith("https:")
        return self.ambient.proxy_for(host, secure=secure, own=self.proxy)


class RetentionSettings(Section, frozen=True, kw_only=True):
    """How long the store keeps what is over; 0 days: for ever."""

    contents_days: Whole = 30
    """Texts, files and replies are kept so long after a message has ended, or a reply has come."""
    records_days: Whole = 400
    """What became of each message, its idempotency key, and the journal."""
    lag_days: Whole = 7
    """What is due is kept so much longer for a consumer that has not taken it. Then it is counted as a gap."""
    lag_mb: Megabytes = 2000
    """And no more of it than this."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.records_days and not 0 < self.contents_days <= self.records_days:
            raise Misfit(
                "contents_days",
                f"{self.contents_days} (0: for ever) is more than records_days, {self.records_days}",
                code="GW-C012",
                hint="no content is kept longer than the record of its message",
            )


class StoreSettings(Section, frozen=True, kw_only=True):
    """Where messages are kept."""

    path: Path
    """A folder of this program's own; default: ``$XDG_STATE_HOME/guestwire``, else ``~/.local/state/guestwire``."""
    min_free_disk_mb: Megabytes = 200
    """Intake refuses below this much free space, while sending goes on."""
    busy_timeout_s: Seconds = 5.0
    """How long a write waits for another process that is writing."""
    retention: RetentionSettings = RetentionSettings()


class RelaySettings(Section, frozen=True, kw_only=True):
    """The loop's patience."""

    ping_after_s: Seconds = 15.0
    """A connection that was silent this long is pinged. The vendor's clients use 15 s."""
    dead_after_s: Seconds = 15.0
    """A connection that stays silent this long after the ping is dead."""
    answer_s: Seconds = 10.0
    """A request without an answer for this long has an unknown outcome."""
    settle_s: Seconds = 5.0
    """Pause before each of the two reads of the history that must agree before "absent" is believed."""
    check_for_s: Seconds = 600.0
    """A history that stays unreadable this long cannot settle anything any more."""
    linger_s: Seconds = 300.0
    """An idle guest keeps its connection this long, for replies."""
    poll_replies_s: Seconds | None = None
    """A guest whose connection was let go is visited this often, for replies that came meanwhile; default: at his next
    message."""
    reorder_s: Seconds = 0.5
    """Replies wait this long for earlier ones, by the gateway's time, before they are handed out: nothing orders them
    on the wire."""
    expiry_warning_s: Seconds = 300.0
    """So long before a connected session expires the journal warns. The vendor's browser client: five minutes."""
    upload_s: Seconds = 120.0
    """From asking where a file may go to the platform's word that it is there."""
    evicted_retry_s: Seconds = 300.0
    """Pause after another program took over a guest's session, before the one try to come back."""
    connect_timeout_s: Seconds = 10.0
    """From the first packet to the accepted upgrade."""
    reconnect_base_s: Seconds = 0.5
    reconnect_cap_s: Seconds = 30.0
    """Pause between connects of one guest: doubles from the base to the cap, with jitter."""
    shutdown_s: Seconds = 8.0
    """What is in flight gets this long to end after the first signal to stop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ordered(self, "reconnect_base_s", "reconnect_cap_s")


class ReplyForwarding(Section, frozen=True, kw_only=True):
    """Replies on their way to a receiver of one's own, with their content: a URL, and what signs what goes there."""

    url: str | None = None
    """Takes one signed POST for each reply; None: nothing is forwarded."""
    secret_file: Path | None = None
    """Signing secrets, one a line, of which each one signs; needed with `url`. Mode 0600."""
    consumer: str = "replies"
    """Under this name the store remembers which replies the receiver has taken."""
    timeout_s: Seconds = 5.0
    """For one POST. Longer than this, and the reply is sent again."""
    allow: tuple[str, ...] = ()
    """``host`` or ``host:port`` that may be private addresses, or be reached without TLS; see `guestwire.net.Guard`."""
    ambient: Ambient = Ambient()
    """Not a setting: filled in from the environment."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for entry in self.allow:
            if not PLACE.fullmatch(entry):
                raise Misfit(
                    "allow",
                    f"{shown(entry)} is not a host",
                    code="GW-C009",
                    hint="write crm.example, or with a port 10.0.0.7:8443 or [fd00::7]:8443; no scheme, no path",
                )
        if not NAME.fullmatch(self.consumer) or len(self.consumer) > 64:
            raise Misfit(
                "consumer",
                f"{shown(self.consumer)} cannot name a consumer",
                code="GW-C009",
                hint="use lower-case letters and digits, with single '-' or '_' between them, at most 64",
            )
        if self.url is None:
            return
        check_receiver("url", self.url)
        if self.secret_file is None:
            raise Misfit(
                "secret_file",
                "is missing: without a signature the receiver cannot know who writes",
                code="GW-C011",
                hint="name a file, mode 0600, with a line of whsec_ and the base64 of 24 random bytes or more",
            )


class SinkSettings(Section, frozen=True, kw_only=True):
    """Who hears of what has happened."""

    replies: ReplyForwarding = ReplyForwarding()


class LogSettings(Section, frozen=True, kw_only=True):
    """What a command writes of its inside, on stderr. Programs that import guestwire configure their own logging."""

    format: Literal["text", "json"] = "text"
    """A line for people, or an object; with ``json`` everything on stderr is one."""
    level: Literal["debug", "info", "warning", "error", "off"] | None = None
    """The least that is written; None: ``warning`` in JSON, ``off`` in text."""


class PolicySettings(Section, frozen=True, kw_only=True):
    """What may be said."""

    file: Path | None = None
    """The policy file, which is read again when it changes; docs/policy.md."""
    rules: tuple[str, ...] = ()
    """Rules of one's own, as ``module:function``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for rule in self.rules:
            if not _FUNCTION.fullmatch(rule):
                raise Misfit(
                    "rules",
                    f"{shown(rule)} names no function",
                    code="GW-C009",
                    hint="write module:function, such as shop.rules:no_order_numbers",
                )


class FileSettings(Section, frozen=True, kw_only=True):
    """What files of guests may be, and what is done to them before they are stored."""

    clean: Literal["auto", "on", "off"] = "auto"
    """Write pictures anew, without what a camera tells beside what they show, and small enough for their way out. Needs
    the extra ``media``; ``auto``: where that is installed."""
    keep_exif: bool = False
    """Keep what the camera wrote, the place among it."""
    scan: tuple[str, ...] = ()
    """A command, with its arguments, that gets each file on its standard input: 0 is clean, 1 infected, anything else
    no answer, and a file without an answer is rejected."""
    scan_timeout_s: Seconds = 60.0
    archives: bool = False
    """Take ZIP and the like: what is in them, nobody has looked at."""
    macros: bool = False
    """Take Office documents that bring programs."""
    unknown: bool = False
    """Take types that are not known here, so that nothing can be held against the content."""

    @property
    def cleans(self) -> bool:
        """Whether pictures are cleaned here, and so may be larger before than after."""
        return self.clean == "on" or (self.clean == "auto" and _has_pillow())


@functools.cache
def _has_pillow() -> bool:
    return importlib.util.find_spec("PIL") is not None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set."""

    destinations: dict[str, Destination] = {}
    store: StoreSettings
    relay: RelaySettings = RelaySettings()
    sinks: SinkSettings = SinkSettings()
    log: LogSettings = LogSettings()
    policy: PolicySettings = PolicySettings()
    files: FileSettings = FileSettings()


# --- choosing a destination ---


def choose(settings: Settings, to: str | None = None) -> Destination:
    """
    Pick the destination that a caller means.

    Args:
        settings: What is defined.
        to: A name; None: the only one that is defined.

    Raises:
        NotFound: GW-N001, no destination has that name.
        ConfigError: GW-C001, none is defined; GW-C002, several are and none was named.
    """
    defined = settings.destinations
    if to is not None:
        if to in defined:
            return defined[to]
        import difflib

        near = difflib.get_close_matches(to.lower(), defined, n=1, cutoff=0.5)
        if near:
            hint = f"did you mean {near[0]!r}?"
        elif to == "emulator":
            hint = "start one with 'guestwire emulate' and pass its address with --gateway"
        else:
            hint = f"defined: {', '.join(sorted(defined))}" if defined else "none is defined; run 'guestwire init'"
        raise NotFound(f"there is no destination {shown(to)}", code="GW-N001", hint=hint)
    if not defined:
        raise ConfigError(
            "no destination is defined",
            code="GW-C001",
            hint="run 'guestwire init', or pass --gateway URL, or --region and --deployment-id; "
            "'guestwire demo' needs none",
        )
    if len(defined) > 1:
        names = sorted(defined)
        raise ConfigError(
            f"{len(names)} destinations are defined and none was chosen: {', '.join(names)}",
            code="GW-C002",
            hint=f"choose one with --to, such as --to {names[0]}",
        )
    return next(iter(defined.values()))


def ad_hoc(
    *,
    gateway: str | None = None,
    region: str | None = None,
    deployment_id: str | None = None,
    name: str | None = None,
    ambient: Ambient | None = None,
) -> Destination:
    """
    Make a destination of flags instead of a file.

    Args:
        gateway: Base address of a gateway of one's own; excludes `region`.
        region: In any spelling.
        deployment_id: UUID of the messenger deployment; needed.
        name: Default: ``adhoc-`` and the begin of the fingerprint, so that the same flags mean the same destination.
        ambient: Proxies and certificates of the environment: `guestwire.settings.sources.ambient_of`.

    Raises:
        ConfigError: A flag is missing or cannot be used; the message names the flag.
    """
    if deployment_id is None:
        raise ConfigError(
            "--deployment-id is missing",
            code="GW-C011",
            hint="it stands in Genesys Cloud, Admin > Message > Messenger Deployments; "
            "'guestwire emulate' prints its own",
        )
    if gateway is not None and region is not None:
        raise ConfigError(
            "--gateway and --region exclude each other", code="GW-C012", hint="keep the one that is meant"
        )
    if gateway is None and region is None:
        raise ConfigError("neither --region nor --gateway was given", code="GW-C011", hint="such as --region eu-west-1")
    try:
        destination = Destination(
            name=name or "adhoc", url=gateway, region=region, deployment_id=deployment_id, ambient=ambient or Ambient()
        )
    except Misfit as misfit:
        flag = "--gateway" if misfit.key == "url" else "--" + misfit.key.replace("_", "-")
        raise ConfigError(f"{flag} {misfit.problem}", code=misfit.code, hint=misfit.hint) from None
    if name is None:
        return msgspec.structs.replace(destination, name=f"adhoc-{destination.fingerprint[:8]}")
    return destination
