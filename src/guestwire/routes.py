"""
From destinations to the routes that a relay drives: which transport, which windows, whose token.

Windows of REST ways count by token, because the platform does: destinations with one OAuth client share them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from guestwire.clock import Clock
from guestwire.errors import ConfigError
from guestwire.lane import Route, SharedWindows
from guestwire.net import Http, tls_of
from guestwire.policy.breaker import Breaker
from guestwire.policy.pace import Key, Limit, Pace
from guestwire.settings import Destination, RelaySettings
from guestwire.transports.base import Emit, Spend, Transport, spend_nothing

if TYPE_CHECKING:
    from PureCloudPlatformClientV2 import ApiClient

    from guestwire.transports.calls import Caller
    from guestwire.transports.reads import Heard

ApiClients = Mapping[str, "ApiClient"]
#: What a message over REST needs a place in; the first one is paused when the platform says that it is enough.
FOR_MESSAGES = ("requests_per_min", "messages_per_min", "messages_per_s", "max_in_flight")
#: What a look, a receipt or typing needs a place in: so many may be on their way beside `max_in_flight` messages.
FOR_OTHERS = ("requests_per_min", "others_in_flight")
OTHERS_IN_FLIGHT = 4


def routes_of(
    destinations: Iterable[Destination],
    *,
    timing: RelaySettings,
    clock: Clock,
    emitter: Callable[[str], Emit],
    spender: Callable[[str], Spend] = lambda name: spend_nothing,
    heard: Heard,
    api_clients: ApiClients,
) -> dict[str, Route]:
    """
    Make the routes of destinations, by name.

    Args:
        destinations: Where messages may go.
        timing: The relay's patience.
        clock: The time.
        emitter: Gives what the transport of a destination calls for each event.
        spender: Gives what it awaits before something leaves that is no message; default: nothing.
        heard: Which replies are known already.
        api_clients: The official SDK's clients, by name of the destination whose calls go through them.
    """
    found = list(destinations)
    windows = _windows_of(found, api_clients)
    routes: dict[str, Route] = {}
    for destination in found:
        name = destination.name
        if destination.has_sessions:
            from guestwire.transports.webmessaging import WebMessagingTransport

            pace = Pace(session_limits(destination))
            sessions = WebMessagingTransport(
                destination,
                timing=timing,
                pace=pace,
                clock=clock,
                emit=emitter(name),
                heard=heard,
                spend=spender(name),
            )
            routes[name] = Route(sessions, pace, destination.retry, breaker_of(destination, timing), name)
        else:
            shared = windows[name]
            transport = _rest(
                destination,
                caller_of(destination, timing=timing, clock=clock, api_clients=api_clients),
                timing=timing,
                pace=shared.pace,
                errand_keys=shared.errand_keys,
                clock=clock,
                emit=emitter(name),
                spend=spender(name),
            )
            breaker = breaker_of(destination, timing)
            routes[name] = Route(transport, shared.pace, destination.retry, breaker, name, shared=shared)
    return routes


def breaker_of(destination: Destination, timing: RelaySettings) -> Breaker:
    """Make the breaker of a destination."""
    return Breaker(destination.retry.trip_after, base_s=timing.reconnect_base_s, cap_s=timing.reconnect_cap_s)


def _windows_of(destinations: Iterable[Destination], api_clients: ApiClients) -> dict[str, SharedWindows]:
    """Return the windows of REST destinations, by name: those of one token have the same, and the smallest limits."""
    windows: dict[str, SharedWindows] = {}
    for owner, together in _by_owner(destinations, api_clients).items():
        keys, errand_keys = (tuple((name, owner) for name in names) for names in (FOR_MESSAGES, FOR_OTHERS))
        shared = SharedWindows(Pace(token_limits(together)), keys, errand_keys)
        windows |= {destination.name: shared for destination in together}
    return windows


def _by_owner(destinations: Iterable[Destination], api_clients: ApiClients) -> dict[str, list[Destination]]:
    """Return the REST destinations, by whom the platform counts."""
    by_owner: dict[str, list[Destination]] = {}
    for destination in destinations:
        if not destination.has_sessions:
            owner = token_owner(destination, api_clients.get(destination.name))
            by_owner.setdefault(owner, []).append(destination)
    return by_owner


def retune(routes: Mapping[str, Route], destinations: Iterable[Destination], *, api_clients: ApiClients) -> None:
    """Let routes that are driven keep the limits, and the patience, that their destinations have now."""
    found = list(destinations)
    for destination in found:
        route = routes[destination.name]
        route.retry = destination.retry
        if destination.has_sessions:
            route.pace.retune(session_limits(destination))
    for together in _by_owner(found, api_clients).values():
        routes[together[0].name].pace.retune(token_limits(together))


def _rest(
    destination: Destination,
    caller: Caller,
    *,
    timing: RelaySettings,
    pace: Pace,
    errand_keys: tuple[Key, ...],
    clock: Clock,
    emit: Emit,
    spend: Spend,
) -> Transport:
    from guestwire.transports.openmessaging import OpenMessagingTransport
    from guestwire.transports.rest_contract import RestContractTransport

    kind = OpenMessagingTransport if destination.transport == "openmessaging" else RestContractTransport
    return kind(
        destination, caller, timing=timing, pace=pace, errand_keys=errand_keys, clock=clock, emit=emit, spend=spend
    )


def caller_of(destination: Destination, *, timing: RelaySettings, clock: Clock, api_clients: ApiClients) -> Caller:
    """
    Make what calls the platform of a REST destination.

    Raises:
        ConfigError: GW-C049, web messaging has no token, and no calls.
    """
    from guestwire.transports.calls import HttpCaller
    from guestwire.transports.oauth import tokens_of

    if destination.has_sessions:
        raise ConfigError(
            f"destination '{destination.name}' is web messaging, which needs no OAuth token",
            code="GW-C049",
            hint="there is nothing to fetch: a guest's session token is made here",
        )
    api_client = api_clients.get(destination.name)
    if api_client is not None:
        from guestwire.transports.sdk import sdk_caller_of

        return sdk_caller_of(destination, api_client, clock=clock, timing=timing)
    secure = destination.gateway.startswith("https:")
    http = Http(
        tls=tls_of(destination) if secure else None,
        proxy=destination.proxy_for(destination.host),
        timeout_s=timing.answer_s,
        connect_s=min(timing.connect_timeout_s, timing.answer_s),
        connections=destination.limits.max_in_flight + OTHERS_IN_FLIGHT + 1,  # and one for a token
        plain=True,
    )
    return HttpCaller(destination.gateway, http, tokens_of(destination, http, clock=clock))


def token_owner(destination: Destination, api_client: ApiClient | None = None) -> str:
    """Name whom the platform counts: the OAuth client where it is known, else whoever brings the token."""
    if destination.client_id is not None:
        return f"{destination.token_url} {destination.client_id}"
    if api_client is not None:
        return f"api client {id(api_client)}"
    if destination.access_token is not None:
        token = destination.access_token.reveal().encode()
        return f"token {hashlib.blake2b(token, digest_size=8, person=b'owner').hexdigest()}"
    return destination.name


def token_limits(destinations: Sequence[Destination]) -> list[Limit]:
    """Return the windows of a token: of all that its destinations allow, the least."""
    limits = [destination.limits for destination in destinations]
    together = [
        Limit("typing", 1, max(each.typing_every_s for each in limits)),
        Limit("max_in_flight", min(each.max_in_flight for each in limits), 0.0),
        Limit("others_in_flight", OTHERS_IN_FLIGHT, 0.0),
    ]
    paced = [destination.limits for destination in destinations if destination.pace]
    if not paced:
        return together
    return [
        *together,
        Limit("requests_per_min", min(each.requests_per_min for each in paced), 60.0),
        Limit("messages_per_min", min(each.requests_per_min - each.reserve_per_min for each in paced), 60.0),
        Limit("messages_per_s", min(each.messages_per_s for each in paced), 1.0),
    ]


def session_limits(destination: Destination) -> list[Limit]:
    """Return the windows of web messaging."""
    limits = destination.limits
    typing = Limit("typing", 1, limits.typing_every_s)
    if not destination.pace:
        return [typing]
    new_guests = destination.max_new_guests_per_min
    return [
        typing,
        *([] if new_guests is None else [Limit("max_new_guests_per_min", new_guests, 60.0)]),
        Limit("messages_per_s", limits.messages_per_s, 1.0),
        Limit("requests_per_min", limits.requests_per_min, 60.0),
        Limit("configures_per_min", limits.configures_per_min, 60.0),
        Limit("connects_per_min", limits.connects_per_min, 60.0),
        Limit("health_checks_per_min", limits.health_checks_per_min, 60.0),
        Limit("history_per_min", limits.history_per_min, 60.0),
    ]
