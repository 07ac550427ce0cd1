"""
`EmulatorSettings`: every number and every doubtful behaviour of the emulator, by default as documented.

Each setting says its unit, where its default comes from and how sure that is: *high* (stated by the vendor's schema,
code or documentation, or seen in a capture), *medium* (one second-hand source), *low* (inferred; nobody
outside has observed it). A setting of low confidence is there to be turned: a client that works both ways does not
depend on what nobody knows.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from guestwire.errors import ConfigError

Count = Annotated[int, msgspec.Meta(ge=1)]
Size = Annotated[int, msgspec.Meta(ge=0)]
Duration = Annotated[float, msgspec.Meta(ge=0)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
CloseCode = Annotated[int, msgspec.Meta(ge=1000, le=4999)]
Secret = Annotated[str, msgspec.Meta(min_length=16)]
OAuthStatus = Annotated[int, msgspec.Meta(ge=400, le=401)]
#: 200 or 202; nothing in between is sent by anybody.
Accepted = Annotated[int, msgspec.Meta(ge=200, le=202)]
#: Posted to by the emulator, and so never another machine's.
LoopbackUrl = Annotated[
    str, msgspec.Meta(pattern=r"\A(https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?(/[^\s]*)?)?\Z")
]
#: From, to; a fixed delay has the same number twice.
Range = tuple[Duration, Duration]
Names = tuple[str, ...]

_TRUE, _FALSE = ("true", "on", "yes", "1"), ("false", "off", "no", "0")


class EmulatorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    How this emulator behaves. Make one with `checked` or `with_overrides`; both refuse what cannot be.

    Durations are in seconds (`_s`) or milliseconds (`_ms`), sizes in bytes or kilobytes of 1,000 bytes (`_kb`).
    """

    # --- the process ---

    port: Port = 0
    """TCP port on 127.0.0.1 for everything; 0: a free one."""
    deployment_id: str | None = None
    """The one Messenger deployment there is; default: a UUID drawn from `seed`."""
    seed: int = 1
    """Seed of all that is drawn: ids, delays, fault draws, a bot's choices. Same seed and requests, same run."""
    script: str = ""
    """Bot: a path to a TOML script, or `echo`, `showcase` or `support`, which are built in; empty: no bot."""
    tls: Literal["off", "generated", "files"] = "off"
    """`generated`: https and wss, with a certificate made at the start and the CA file to trust it by. `files`: with
    `tls_certificate` and `tls_key`."""
    tls_certificate: str = ""
    """Path of the certificate chain, PEM, for `tls` = files."""
    tls_key: str = ""
    """Path of its private key, PEM, without a passphrase."""

    # --- who is who over REST ---

    organization_id: str | None = None
    """The organisation; default: a UUID drawn from `seed`."""
    integration_id: str | None = None
    """The one Open Messaging integration there is; default: a UUID drawn from `seed`."""
    client_id: str | None = None
    """The one OAuth client there is; default: a UUID drawn from `seed`."""
    client_secret: str | None = None
    """Its secret; default: drawn from `seed`."""
    webhook_url: LoopbackUrl = ""
    """Where what agents say to guests over REST is POSTed, on this machine only; empty: nowhere. Can be changed
    while it runs."""
    webhook_secret: Secret | None = None
    """What webhooks are signed with, more than 15 characters (high); default: drawn from `seed`."""
    webhook_headers: Names = ()
    """Further headers of every webhook, each as `Name: value`."""
    missing_permissions: Names = ()
    """Permissions that the OAuth client lacks, such as `conversation:message:receive`; where any of several will do,
    name all. The tutorial contract's is `messaging:conversation:write`."""

    # --- limits ---

    limits: Literal["documented", "off"] = "documented"
    """`off`: none of the rates below is enforced. Sizes are."""
    messages_per_second: Count = 5
    """`onMessage` per session, sliding second. Announced as 2 in Dec 2023, read as 5 on the limits page in
    Oct 2026 (medium)."""
    requests_per_minute: Count = 60
    """All requests per connection, sliding minute. Limits page (medium)."""
    configures_per_minute: Count = 60
    """Configure requests per session, sliding minute. Limits page (medium)."""
    connects_per_minute: Count = 1000
    """New connections to the deployment, sliding minute. Limits page (medium); that the upgrade then answers 429 is
    inferred (low)."""
    health_checks_per_minute: Count = 2
    """`echo` requests per connection, sliding minute. Limits page and the vendor's client (high)."""
    history_per_minute: Count = 10
    """History reads over REST per session, sliding minute. Limits page (medium)."""
    token_requests_per_minute: Count = 300
    """REST requests per access token, sliding minute. The vendor's blog (medium); what is refused does not count
    (low)."""
    tokens_per_minute: Count = 60
    """Logins of the OAuth client, sliding minute. That there is a limit is told, its number is not (low)."""
    contract_requests_per_second: Count = 100
    """The tutorial contract's route per OAuth client, sliding second. As the contract says."""
    retry_after_s: Count = 3
    """`retryAfter` of a throttle, seconds. The vendor's fixture (high that it exists, low that it is always 3)."""

    # --- sizes ---

    connections_per_session: Count = 3
    """One more evicts the oldest. Limits page, vendor's client (high)."""
    max_text: Count = 4096
    """Longest inbound text, in `text_unit`. The documented error text names it (high)."""
    text_unit: Literal["bytes", "characters"] = "bytes"
    """Whether `max_text` counts UTF-8 bytes or characters: not published (low). Bytes is the stricter reading."""
    max_attributes_bytes: Size = 2048
    """Custom attributes of a message: UTF-8 bytes of all keys and values. Vendor's client (high)."""
    max_file_kb: Count = 10240
    """Largest upload, kilobytes. `maxFileSizeKB` as measured in production (high)."""
    max_file_name: Count = 1023
    """Longest file name, characters. Documented as "< 1024" (medium)."""
    blocked_extensions: Names = (".ade", ".adp", ".bat", ".chm", ".cmd", ".com", ".cpl", ".exe", ".js", ".ps1", ".vbs")
    """File extensions that are refused under any type, with the dot. A part of production's list (medium)."""
    allowed_file_types: Names = ("*/*",)
    """MIME types that may be uploaded; `*/*` is a wildcard. As measured in production (high)."""
    max_frame_bytes: Count = 131072
    """Largest WebSocket frame; beyond it the connection closes with 1009. Not published: the limit of the gateway
    service that production resembles (low)."""

    max_request_bytes: Count = 1_048_576
    """Largest body of a REST request; beyond it 413. The error is known (high), the number is not (low)."""
    open_max_text: Size = 0
    """Longest inbound text over Open Messaging, characters; beyond it 400. 0: none, for none is published (low)."""
    open_max_attachments: Count = 1
    """Attachments of one Open Messaging message. "Only one item is allowed" in the schema of the answer (low)."""
    open_allowed_media: Names = ("*/*",)
    """MIME types that the integration's supported content profile lets in; other media is dropped and the message kept
    (high)."""

    # --- lives ---

    session_duration_s: Count = 259200
    """A session ends after this silence in both directions, seconds. Default of the platform: 72 h (high)."""
    jwt_life_s: Count = 60
    """Life of the key to the history, seconds. "About a minute" (medium)."""
    auth_jwt_life_s: Count = 3600
    """Life of the JWT that a sign-in is exchanged for, seconds; configuring with an older one gets 401. Not published
    (low)."""
    download_url_life_s: Count = 600
    """Life of a download URL, seconds; afterwards 404. Vendor's client (high)."""
    upload_url_life_s: Count = 600
    """Life of an upload URL, seconds; afterwards 403. Not published (low)."""
    unsent_upload_life_s: Count = 1296000
    """An uploaded file that no message carries vanishes after this long, seconds: 15 days (medium)."""

    token_life_s: Count = 86400
    """Life of an access token, seconds, and its `expires_in`. Default of the platform, by hearsay (low)."""
    threading_window_s: Count = 259200
    """An Open Messaging guest's next message begins another conversation after this silence in both directions,
    seconds: 72 h (medium)."""

    # --- times of answering ---

    echo_delay_ms: Range = (5.0, 40.0)
    """From acceptance to echo, milliseconds, drawn evenly: `5-40`, or one number. 0: at once. Our choice."""
    upload_event_delay_ms: Range = (20.0, 120.0)
    """From the end of the PUT to `UploadSuccessEvent`, milliseconds. Documented as asynchronous; the time is our
    choice."""
    history_lag_s: Duration = 1.0
    """From acceptance to appearing in the history, seconds. Not published (low); a check that comes at once must not
    take absence for proof."""
    history_page_max: Count = 100
    """Largest history page; a larger `pageSize` is cut to it. The vendor's Java client asks for 100 (low)."""

    webhook_timeout_s: Duration = 10.0
    """A webhook that is not answered within this time has failed, seconds. Vendor's page (high)."""
    webhook_retry_s: Duration = 5.0
    """From a webhook's failure (no answer, 429 or 5xx) to its next attempt, seconds. Vendor's page (high)."""
    webhook_retries: Size = 5
    """Attempts after the first. Vendor's page (high)."""
    contract_read_after_ms: Duration = 500.0
    """From acceptance to the Read receipt that the tutorial contract's `readReceipt` asks for, milliseconds. Our
    choice."""

    # --- doubtful behaviour ---

    errors_carry_tracing_id: bool = True
    """Whether `string` errors and throttles copy `tracingId`. Absent in fixtures, read by the browser client (low)."""
    echo_tracing_id_to_other_connections: bool = True
    """Whether the session's other connections see `tracingId` on an echo (low)."""
    echo_to_later_connections: bool = False
    """Whether an echo that is still on its way also reaches connections that joined the session after acceptance (low).
    `false` is the harder case: nothing is replayed."""
    history_returns_metadata: bool = False
    """Whether history gives a guest's `metadata` back (low). `false` is the harder case."""
    dedupe_tracing_id: bool = False
    """Whether a second message with a `tracingId` of this session is answered with the first one's echo and shown once
    (low: no deduplication is documented)."""
    dedupe_message_id: bool = False
    """The same for a client's own `message.channel.messageId`, and for Open Messaging's `channel.messageId`: a repeated
    one is answered as the first was (low)."""
    inbound_status: Accepted = 202
    """Status of what Open Messaging accepts: 200 and 202 are both documented (high)."""
    bad_client_status: OAuthStatus = 401
    """Status of a login with a wrong id or secret: 400 and 401 are both reported (low)."""
    webhook_receipts: bool = False
    """Whether a `Receipt` with `Published` is POSTed for what Open Messaging accepts. Third parties receive some
    (low)."""
    any_iso_time: bool = True
    """Whether `channel.time` may have an offset and any number of decimals, as the official SDK writes it. `false`:
    only the documented `yyyy-MM-ddTHH:mm:ss[.mmm]Z` (low)."""
    accept_top_level_attributes: bool = False
    """Whether custom attributes at the top level count. Ignored by the platform since 2026-06-05 (medium)."""
    echo_typing: bool = True
    """Whether the guest's own typing comes back as an Inbound event. Observed (medium)."""
    missing_origin_allowed: bool = True
    """Whether an upgrade without `Origin` passes when `allowed_origins` is set (low)."""
    own_origin_allowed: bool = True
    """Whether an `Origin` naming the service's own host always passes: the vendor's mobile client sends that (low)."""
    generate_url_error_code: int = 400
    """`code` on the envelope of `GenerateUrlError`: 400 in the documentation, 200 in the vendor's fixtures (low)."""
    server_close_code: CloseCode = 1001
    """Close code when the server ends a connection. Not published; 1001 in the vendor's mock servers (low)."""

    # --- the deployment ---

    deployment_status: Literal["Active", "Inactive"] = "Active"
    """`Inactive`: upgrades are refused with 403 (medium)."""
    allowed_origins: Names = ()
    """Hosts whose pages may connect, compared without scheme and port; empty: all."""
    auto_start: bool = False
    """`autoStart.enabled`: the client is expected to send Presence Join on a new session. Platform default: off."""
    conversation_disconnect: Literal["off", "send", "read_only"] = "off"
    """What a guest is told when an agent disconnects without saying how; also in config.json. Platform default: off."""
    clear_enabled: bool = False
    """Whether a guest may clear the conversation. Platform default: off."""
    typing_enabled: bool = True
    """Whether a guest may send typing; otherwise 403."""
    attachments_enabled: bool = True
    """Whether a guest may upload files; otherwise 4000."""
    auth_enabled: bool = False
    """Whether guests must sign in. A stand-in for the sign-in itself: any OAuth code is exchanged for a JWT."""

    open_typing_enabled: bool = False
    """Whether typing is shown and told over Open Messaging. `false`: a guest's is accepted and shown to nobody, an
    agent's is not POSTed. Platform default: off (high)."""
    contract_content_types: Names = ("text/plain", "text/html")
    """What `body.contentType` of the tutorial contract may be. As the contract says."""
    contract_attachment_types: Names = ("image/png", "image/jpeg", "application/pdf", "text/plain")
    """What `contentType` of its attachments may be. As the contract says."""

    # --- bounds of the emulator itself ---

    max_messages: Count = 200_000
    """Messages and events kept; the oldest go first, and `dropped_messages` in the state counts them."""
    max_sessions: Count = 100_000
    """Sessions kept; the oldest without a connection go first, counted as `dropped_sessions`."""
    max_pending: Count = 100_000
    """Answers on their way; a request beyond them ends its connection, counted as `overloads`."""
    max_unread_bytes: Count = 8_388_608
    """Output that a client does not read; beyond it the connection is aborted, counted as `slow_readers`."""
    max_stored_mb: Count = 256
    """Uploaded bytes kept, in megabytes; the oldest go first, counted as `dropped_files`."""
    request_log: Size = 200_000
    """Entries of `/_emulator/requests`; the oldest go first."""
    webhook_log: Count = 10_000
    """Entries of `/_emulator/webhooks`; the oldest go first."""

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> EmulatorSettings:
        """
        Make settings of names and values, as Python objects or as text.

        Raises:
            ConfigError: A name is unknown (GW-C032, with the nearest) or a value does not fit (GW-C033).
        """
        kinds = typing.get_type_hints(cls)
        fitting = {}
        for name, value in values.items():
            if name not in kinds:
                near = difflib.get_close_matches(name, kinds, n=1, cutoff=0.5)
                raise ConfigError(
                    f"the emulator has no setting {name!r}",
                    code="GW-C032",
                    hint=f"did you mean {near[0]!r}?" if near else "docs/emulator.md lists all settings",
                )
            fitting[name] = _read(name, value, cls)
        return cls(**fitting)

    @classmethod
    def with_overrides(cls, overrides: Sequence[str], *, base: Mapping[str, Any] | None = None) -> EmulatorSettings:
        """
        Make settings of ``NAME=VALUE`` texts, as `--set` takes them, over `base`.

        Raises:
            ConfigError: Not ``NAME=VALUE`` (GW-C030), or as in `checked`.
        """
        values: dict[str, Any] = dict(base or {})
        for override in overrides:
            name, equals, value = override.partition("=")
            if not equals:
                raise ConfigError(
                    f"{override!r} is not NAME=VALUE", code="GW-C030", hint="for example: --set messages_per_second=2"
                )
            values[name.strip()] = value.strip()
        return cls.checked(values)


def wanted(name: str) -> str:
    """Say in words what type the setting `name` takes."""
    return _words(typing.get_type_hints(EmulatorSettings, include_extras=True)[name])


def _words(hint: Any) -> str:
    if hint == Range:
        return "milliseconds: a number, or two as FROM-TO"
    if hint == Names:
        return "names separated by commas"
    if typing.get_origin(hint) is Literal:
        return " or ".join(typing.get_args(hint))
    if hint == str | None:
        return "text"
    if hint == Secret | None:
        return "text of 16 characters or more"
    if hint == LoopbackUrl:
        return "an http address on this machine"
    plain = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[plain]
    for bound in typing.get_args(hint)[1:]:
        words += f" from {bound.ge}" if bound.ge is not None else ""
        words += f" to {bound.le}" if bound.le is not None else ""
    return words


def _read(name: str, value: Any, settings: type[EmulatorSettings]) -> Any:
    hint = typing.get_type_hints(settings, include_extras=True)[name]
    try:
        read = msgspec.convert(_prepared(hint, value), hint, strict=False)
        if hint == Range and read[0] > read[1]:
            raise ValueError("ends before it begins")
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigError(
            f"the emulator's {name} cannot be {str(value)[:80]!r}", code="GW-C033", hint=f"wanted: {wanted(name)}"
        ) from error
    return read


def _prepared(hint: Any, value: Any) -> Any:
    """Turn the spellings that a command line allows into what msgspec reads."""
    if hint == Range:
        if isinstance(value, str):
            first, dash, last = value.partition("-")
            return [first, last if dash else first]
        return [value, value] if isinstance(value, int | float) else list(value)
    if hint == Names and isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    if hint is bool and isinstance(value, str):
        spelled = value.lower()
        return True if spelled in _TRUE else False if spelled in _FALSE else value
    return value
