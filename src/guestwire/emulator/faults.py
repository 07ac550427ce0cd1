"""
Misbehaviour by script: what goes wrong, where, and how often.

A *fault* waits at one of six points (upgrade, request, HTTP, HTTP answer, history, webhook) for an *occurrence* that
its `match` fits. `decide` is pure: fault list and occurrence in, fired faults and new counts out; whoever asked carries
them out. A draw for a fault with a `probability` depends on the seed, the fault and the number of its occurrence, on
nothing else, so one more fault in the list does not change when another fires.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from guestwire.emulator.ids import Draws

Point = Literal["upgrade", "request", "http", "http_answer", "history", "webhook"]


class Kind(NamedTuple):
    """What a kind of fault is about."""

    point: Point
    does: str
    """One sentence; the admin API and docs/emulator.md give it."""
    parameters: Mapping[str, Any] = {}
    """Names of its parameters and what they default to."""
    ends: bool = False
    """Whether it decides the fate of the request: only the first of these fires on one request."""


_TERMINAL = True
#: With `accept` true the message is processed before it goes wrong, and its echo is not sent.
_ACCEPT = {"accept": False}

KINDS: dict[str, Kind] = {
    "refuse_upgrade": Kind("upgrade", "The WebSocket upgrade is answered with `status`.", {"status": 403}, _TERMINAL),
    "drop_before_accept": Kind(
        "request", "The connection is aborted without a close frame before the request is processed.", {}, _TERMINAL
    ),
    "drop_after_accept": Kind(
        "request", "The message is accepted and visible; the connection is aborted before its echo.", {}, _TERMINAL
    ),
    "lose_echo": Kind("request", "The message is accepted; nobody gets its echo.", {}),
    "delay_echo": Kind("request", "The echo (or answer) comes `delay_ms` later.", {"delay_ms": 1000}),
    "duplicate_echo": Kind("request", "The echo (or answer) comes twice.", {}),
    "reorder_echo": Kind(
        "request",
        "The echo is held until the next frame to that connection has gone out, at most `delay_ms`.",
        {"delay_ms": 1000},
    ),
    "echo_without_tracing_id": Kind(
        "request",
        "The echo has no `tracingId`; with `strip_metadata` not the guest's metadata either.",
        {"strip_metadata": False},
    ),
    "throttle": Kind(
        "request",
        "The request is refused as by a limit; `retry_after_s` or the setting.",
        {"retry_after_s": None},
        _TERMINAL,
    ),
    "error_frame": Kind(
        "request",
        "The request is answered with an error; with `accept` it is processed nevertheless.",
        {"code": 5000, "text": "Request failed.", "tracing_id": None, **_ACCEPT},
        _TERMINAL,
    ),
    "expire_session": Kind("request", "The session expires before the request is processed.", {}, _TERMINAL),
    "close_with": Kind(
        "request",
        "The connection is closed with `code`; with `accept` after processing.",
        {"code": 1001, **_ACCEPT},
        _TERMINAL,
    ),
    "silent_peer": Kind(
        "request",
        "No pong and no frame from here on. What comes in is lost; with `accept` it is processed.",
        dict(_ACCEPT),
        _TERMINAL,
    ),
    "malformed_frame": Kind(
        "request",
        "A frame that is none of the protocol's comes before the answer.",
        {"text": '{"message":"Internal server error","connectionId":"x","requestId":"y"}'},
    ),
    "http_status": Kind(
        "http",
        "The HTTP request is answered with `status`, and with `headers` and `body` if given; with `accept` it is "
        "processed nevertheless.",
        {
            "status": 503,
            "retry_after_s": None,
            "body": None,
            "content_type": "application/json",
            "headers": {},
            **_ACCEPT,
        },
        _TERMINAL,
    ),
    "http_html": Kind(
        "http",
        "A proxy answers with `status` and a page of HTML; with `accept` the request is processed nevertheless.",
        {"status": 502, **_ACCEPT},
        _TERMINAL,
    ),
    "http_truncated_json": Kind(
        "http",
        "The answer is JSON that ends in its middle; with `accept` the request is processed.",
        {"status": 200, **_ACCEPT},
        _TERMINAL,
    ),
    "http_redirect": Kind(
        "http",
        "The request is redirected to `location`.",
        {"status": 307, "location": "http://127.0.0.1:9/"},
        _TERMINAL,
    ),
    "http_gzip_bomb": Kind(
        "http",
        "The answer is gzip that inflates to `megabytes`; with `accept` the request is processed.",
        {"megabytes": 100, **_ACCEPT},
        _TERMINAL,
    ),
    "http_silent": Kind(
        "http",
        "The request is read and never answered; with `accept` it is processed.",
        dict(_ACCEPT),
        _TERMINAL,
    ),
    "http_drop_before": Kind(
        "http", "The request is read and not processed; the connection is aborted without an answer.", {}, _TERMINAL
    ),
    "slow_http": Kind("http", "The HTTP answer comes `delay_ms` later.", {"delay_ms": 1000}),
    "http_drop_after": Kind(
        "http_answer",
        "The request is processed, a message visible; the connection is aborted without an answer.",
        {},
        _TERMINAL,
    ),
    "http_reset_at": Kind(
        "http_answer",
        "The request is processed; the connection is reset after `bytes` of the answer.",
        {"bytes": 40},
        _TERMINAL,
    ),
    "http_slow_answer": Kind(
        "http_answer",
        "The request is processed; the answer trickles, a byte every `delay_ms`.",
        {"delay_ms": 10},
        _TERMINAL,
    ),
    "history_truncate": Kind("history", "The history ends after its `keep` newest entries.", {"keep": 0}),
    "webhook_drop": Kind("webhook", "What should be POSTed to the webhook never is.", {}, _TERMINAL),
    "webhook_twice": Kind("webhook", "It is POSTed twice.", {}),
    "webhook_reorder": Kind(
        "webhook",
        "It is held until the next one for that guest has been queued, at most `delay_ms`.",
        {"delay_ms": 1000},
    ),
    "webhook_bad_signature": Kind(
        "webhook", "Its signature is `form`: wrong, hex instead of base64, or missing.", {"form": "wrong"}
    ),
}

_WANTED: dict[str, tuple[type, ...]] = {
    "status": (int,),
    "body": (str, type(None)),
    "content_type": (str,),
    "headers": (dict,),
    "location": (str,),
    "megabytes": (int,),
    "bytes": (int,),
    "form": (str,),
    "delay_ms": (int, float),
    "retry_after_s": (int, float, type(None)),
    "code": (int,),
    "text": (str,),
    # None: as the emulator's setting says; true or false: as here.
    "tracing_id": (bool, type(None)),
    "accept": (bool,),
    "strip_metadata": (bool,),
    "keep": (int,),
}


class FaultError(ValueError):
    """A fault cannot be what was asked for; the text is a sentence for the one who asked."""


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an occurrence must be. What is not given fits everything."""

    text: str | None = None
    """Contained in the message's text."""
    token_sha256: str | None = None
    tracing_id: str | None = None
    action: str | None = None
    """The request's `action`; `*` fits every request. Not given: messages only (no typing, no presence)."""
    path: str | None = None
    """Contained in the HTTP path."""
    nth: int | None = None
    """The first that goes wrong is the n-th that fits, counted from 1."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault, and how often it was met and fired."""

    id: str
    kind: str
    match: Match = Match()
    times: int | None = 1
    """How often it fires; None: without end."""
    probability: float | None = None
    parameters: dict[str, Any] = {}
    seen: int = 0
    fired: int = 0

    def __getitem__(self, parameter: str) -> Any:
        return self.parameters[parameter]


class Occurrence(NamedTuple):
    """Something at which a fault may strike."""

    point: Point
    action: str = ""
    is_message: bool = False
    text: str = ""
    token_sha256: str = ""
    tracing_id: str | None = None
    path: str = ""


def parse_fault(data: Any, fault_id: str) -> Fault:
    """
    Read a fault as the admin API takes it: `kind`, `match`, `times` or `probability`, and the kind's own parameters.

    Raises:
        FaultError: It cannot be; the text says which key and what is wanted.
    """
    if not isinstance(data, dict):
        raise FaultError("a fault is a JSON object with 'kind'")
    rest = dict(data)
    name = rest.pop("kind", None)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        near = difflib.get_close_matches(str(name), KINDS, n=1)
        raise FaultError(f"unknown fault kind {name!r}" + (f": did you mean {near[0]!r}?" if near else ""))
    try:
        match = msgspec.convert(rest.pop("match", None) or {}, Match)
    except msgspec.ValidationError as error:
        raise FaultError(f"match of {name!r}: {error}") from error
    probability = rest.pop("probability", None)
    if probability is not None and not (type(probability) in (int, float) and 0 <= probability <= 1):
        raise FaultError(f"probability must be a number from 0 to 1, not {probability!r}")
    times = rest.pop("times", 1 if probability is None else None)
    if times is not None and (type(times) is not int or times < 1):
        raise FaultError(f"times must be a whole number from 1, or null for without end, not {times!r}")
    parameters = dict(kind.parameters)
    for key, value in rest.items():
        if key not in parameters:
            raise FaultError(f"{name!r} takes {', '.join(parameters) or 'no parameters'}; {key!r} is none of them")
        if type(value) not in _WANTED[key] or (type(value) in (int, float) and value < 0):
            raise FaultError(f"{key} of {name!r} cannot be {value!r}")
        parameters[key] = value
    return Fault(id=fault_id, kind=str(name), match=match, times=times, probability=probability, parameters=parameters)


def fits(fault: Fault, occurrence: Occurrence) -> bool:
    """Say whether a fault is about this occurrence."""
    match = fault.match
    return (
        KINDS[fault.kind].point == occurrence.point
        and (match.text is None or match.text in occurrence.text)
        and (match.token_sha256 is None or match.token_sha256 == occurrence.token_sha256)
        and (match.tracing_id is None or match.tracing_id == occurrence.tracing_id)
        and (match.path is None or match.path in occurrence.path)
        and _fits_action(match.action, occurrence)
    )


def _fits_action(action: str | None, occurrence: Occurrence) -> bool:
    if action == "*" or (action is None and occurrence.point != "request"):
        return True
    return occurrence.is_message if action is None else action == occurrence.action


def decide(faults: Iterable[Fault], occurrence: Occurrence, seed: int) -> tuple[list[Fault], list[Fault]]:
    """
    Say which faults strike.

    Args:
        faults: All that are set up, in order of injection.
        occurrence: What is happening.
        seed: Of the draws for faults with a probability.

    Returns:
        The faults with their new counts, and those that fire now. Pure.
    """
    kept: list[Fault] = []
    firing: list[Fault] = []
    ended = False
    for fault in faults:
        ends = KINDS[fault.kind].ends
        if (ends and ended) or not fits(fault, occurrence):
            kept.append(fault)
            continue
        seen = fault.seen + 1
        fires = (
            (fault.times is None or fault.fired < fault.times)
            and (fault.match.nth is None or seen >= fault.match.nth)
            and (fault.probability is None or _draw(seed, fault.id, seen) < fault.probability)
        )
        counted = msgspec.structs.replace(fault, seen=seen, fired=fault.fired + fires)
        kept.append(counted)
        if fires:
            firing.append(counted)
            ended = ended or ends
    return kept, firing


def _draw(seed: int, fault_id: str, seen: int) -> float:
    return Draws(seed, "fault", fault_id, seen).random()


class Firing:
    """The faults that strike one occurrence, by kind."""

    __slots__ = ("_by_kind",)

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._by_kind = {fault.kind: fault for fault in faults}

    def __bool__(self) -> bool:
        return bool(self._by_kind)

    def get(self, kind: str) -> Fault | None:
        """The fault of this kind, if it strikes."""
        return self._by_kind.get(kind)

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._by_kind.values())

    def kinds(self) -> Iterable[str]:
        """What strikes."""
        return self._by_kind

    def accepting(self) -> Fault | None:
        """The fault that ruins the answer to a request that is processed, if one does."""
        for kind in ("drop_after_accept", "error_frame", "close_with", "silent_peer"):
            fault = self._by_kind.get(kind)
            if fault is not None and (kind == "drop_after_accept" or fault["accept"]):
                return fault
        return None


NOTHING = Firing()


class FaultBook:
    """The faults that are set up, with their counts."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._faults: list[Fault] = []
        self._made = 0

    def __len__(self) -> int:
        return len(self._faults)

    def inject(self, data: Any) -> list[str]:
        """
        Set up one fault or a list of them: all or none. Returns their ids.

        Raises:
            FaultError: One of them cannot be.
        """
        wanted = data if isinstance(data, list) else [data]
        faults = [parse_fault(item, f"f{self._made + place}") for place, item in enumerate(wanted, 1)]
        self._made += len(faults)
        self._faults += faults
        return [fault.id for fault in faults]

    def strike(self, occurrence: Occurrence) -> Firing:
        """Count an occurrence and say what strikes it."""
        if not self._faults:
            return NOTHING
        self._faults, firing = decide(self._faults, occurrence, self._seed)
        return Firing(firing) if firing else NOTHING

    def describe(self) -> list[dict[str, Any]]:
        """List the faults as the admin API shows them."""
        return [
            {
                "id": fault.id,
                "kind": fault.kind,
                "match": msgspec.to_builtins(fault.match),
                "times": fault.times,
                "probability": fault.probability,
                **fault.parameters,
                "seen": fault.seen,
                "fired": fault.fired,
            }
            for fault in self._faults
        ]

    def clear(self, fault_id: str | None = None) -> int:
        """Remove one fault, or all. Returns how many there were."""
        before = len(self._faults)
        self._faults = [] if fault_id is None else [fault for fault in self._faults if fault.id != fault_id]
        return before - len(self._faults)
