"""
`Platform`: every REST route there is, who may use it, and how often.

A request goes through authentication, the rate of its token, permission, and then its route, which is a function of
its own (`oauth`, `openmessaging`, `conversations`, `contract`). No server in here: `edge` is that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple

from guestwire.emulator.calls import Answer, Call, Refusal
from guestwire.emulator.contract import Contract
from guestwire.emulator.conversations import Conversations
from guestwire.emulator.delivery import Delivery
from guestwire.emulator.desk import Desk
from guestwire.emulator.guests import Guests
from guestwire.emulator.ids import Draws
from guestwire.emulator.ledger import Ledger
from guestwire.emulator.limits import NoWindow, Window
from guestwire.emulator.oauth import OAuth, bearer_sha256, too_many
from guestwire.emulator.openmessaging import OpenMessaging
from guestwire.emulator.records import Logged, Tally
from guestwire.emulator.registry import Registry
from guestwire.emulator.settings import EmulatorSettings
from guestwire.emulator.webhooks import Webhooks

_RECEIVE = ("conversation:message:receive",)
_VIEW = ("conversation:message:view", "conversation:webmessaging:view")
_CREATE = ("conversation:message:create", "conversation:webmessaging:create")
_WRITE = ("messaging:conversation:write",)
_MESSAGES = "/api/v2/conversations/messages"
_INBOUND = f"{_MESSAGES}/{{integrationId}}/inbound/open"
_COMMUNICATION = f"{_MESSAGES}/{{conversationId}}/communications/{{communicationId}}"


#: The setting that each kind of rate is.
_RATES = {
    "token": "token_requests_per_minute",
    "contract": "contract_requests_per_second",
    "login": "tokens_per_minute",
}


class Route(NamedTuple):
    """Where a route is, what the log of requests calls it, and which permissions any of will do."""

    method: Literal["GET", "POST", "PATCH"]
    path: str
    action: str
    permissions: tuple[str, ...] = ()
    rate: Literal["token", "contract", "login"] = "token"


ROUTES = (
    Route("POST", "/oauth/token", "oauth/token", rate="login"),
    Route("POST", f"{_INBOUND}/message", "POST open/message", _RECEIVE),
    Route("POST", f"{_INBOUND}/event", "POST open/event", _RECEIVE),
    Route("POST", f"{_INBOUND}/receipt", "POST open/receipt", _RECEIVE),
    Route("POST", f"{_INBOUND}/structured/response", "POST open/structured/response", _RECEIVE),
    Route("POST", f"{_MESSAGES}/inbound/open", "POST inbound/open", _RECEIVE),
    Route("GET", f"{_MESSAGES}/{{conversationId}}", "GET conversation", _VIEW),
    Route("GET", f"{_MESSAGES}/{{messageId}}/details", "GET message/details", _VIEW),
    Route("GET", f"{_MESSAGES}/{{conversationId}}/messages/{{messageId}}", "GET message", _VIEW),
    Route("POST", f"{_MESSAGES}/{{conversationId}}/messages/bulk", "POST messages/bulk", _VIEW),
    Route("POST", f"{_COMMUNICATION}/messages", "POST agent/message", _CREATE),
    Route("POST", f"{_COMMUNICATION}/typing", "POST agent/typing", _CREATE),
    Route("PATCH", f"{_MESSAGES}/{{conversationId}}/participants/{{participantId}}", "PATCH participant"),
    Route("GET", "/api/v2/organizations/me", "GET organization"),
    Route(
        "GET",
        "/api/v2/conversations/messaging/integrations/open/{integrationId}",
        "GET integration",
        ("messaging:integration:view",),
    ),
    Route("POST", "/api/v2/conversations/messaging/messages", "POST contract/message", _WRITE, "contract"),
)


class Platform:
    """Answers whatever comes in over REST. Times are in seconds since the epoch."""

    def __init__(
        self,
        settings: EmulatorSettings,
        oauth: OAuth,
        guests: Guests,
        open_messaging: OpenMessaging,
        conversations: Conversations,
        contract: Contract,
        log: deque[Logged],
        tally: Tally,
    ) -> None:
        self._settings = settings
        self.oauth = oauth
        self.guests = guests
        self.conversations = conversations
        self._contract = contract
        self._log = log
        self._tally = tally
        self._contexts = Draws(settings.seed, "correlation")
        self._acts: dict[str, Callable[[Call], Answer]] = {
            "oauth/token": oauth.grant,
            "POST open/message": open_messaging.message,
            "POST open/event": open_messaging.event,
            "POST open/receipt": open_messaging.receipt,
            "POST open/structured/response": open_messaging.structured,
            "POST inbound/open": open_messaging.legacy,
            "GET conversation": conversations.conversation,
            "GET message/details": conversations.details,
            "GET message": conversations.message,
            "POST messages/bulk": conversations.bulk,
            "POST agent/message": conversations.say,
            "POST agent/typing": conversations.typing,
            "PATCH participant": conversations.patch_participant,
            "GET organization": conversations.organization,
            "GET integration": open_messaging.integration,
            "POST contract/message": contract.message,
        }

    def answer(self, route: Route, call: Call) -> Answer:
        """Answer a request; every answer says which it is, and how far the rate is used up."""
        context_id = self._contexts.uuid()
        headers: dict[str, str] = {"ININ-Correlation-Id": context_id}
        if route.rate == "contract":
            headers["X-Request-Id"] = f"req-{context_id}"
        try:
            self._admit(route, call, headers)
            answer = self._acts[route.action](call)
        except Refusal as refused:
            answer = refused.answer(context_id)
            self._tally.errors[refused.code] += 1
            if refused.status == 429:
                self._tally.throttles[_RATES[route.rate]] += 1
        self._note(route.action, call, answer.status)
        return answer._replace(headers={**headers, **answer.headers})

    def context_id(self) -> str:
        """An id for an answer that is none of the platform's."""
        return self._contexts.uuid()

    def _note(self, action: str, call: Call, status: int) -> None:
        self._tally.requests[action] += 1
        self._log.append(Logged(call.now, 0, bearer_sha256(call.authorization), action, status))

    def _admit(self, route: Route, call: Call, headers: dict[str, str]) -> None:
        if route.rate == "login":
            return
        token = self.oauth.token_of(call.authorization, call.now)
        if route.rate == "contract":
            try:
                used = self._contract.admit(call.now)
            except Refusal:
                headers["X-RateLimit-Remaining"] = "0"
                raise
            headers["X-RateLimit-Remaining"] = str(max(0, self._settings.contract_requests_per_second - used.count))
        else:
            self._count(token.requests, call.now, headers)
        self._permit(route)

    def _count(self, used: Window, now: float, headers: dict[str, str]) -> None:
        admitted = used.admit(now)
        if not isinstance(used, NoWindow):
            headers["inin-ratelimit-count"] = str(used.count if admitted else used.count + 1)
            headers["inin-ratelimit-allowed"] = str(used.limit)
            headers["inin-ratelimit-reset"] = str(used.reset_s(now))
        if not admitted:
            raise too_many(used, now, "client.credentials.token.rate.per.minute", "platform.api")

    def _permit(self, route: Route) -> None:
        missing = self._settings.missing_permissions
        if not route.permissions or any(name not in missing for name in route.permissions):
            return
        if len(route.permissions) == 1:
            message = (
                "Unable to perform the requested action. You are missing the following permission(s): {permissions}"
            )
            code, named = "missing.permissions", route.permissions[0]
        else:
            message = (
                "Unable to perform the requested action. You must have at least one of the following permissions "
                "assigned: {permissions}"
            )
            code, named = "missing.any.permissions", f"[{', '.join(route.permissions)}]"
        raise Refusal(403, code, message.format(permissions=named), messageParams={"permissions": named})


def platform(
    settings: EmulatorSettings,
    registry: Registry,
    ledger: Ledger,
    desk: Desk,
    delivery: Delivery,
    webhooks: Webhooks,
    log: deque[Logged],
    tally: Tally,
) -> Platform:
    """Make the REST side of a world."""
    guests = Guests(settings, registry, ledger, desk, tally)
    return Platform(
        settings,
        OAuth(settings),
        guests,
        OpenMessaging(settings, guests, ledger, webhooks),
        Conversations(settings, ledger, desk),
        Contract(settings, guests, delivery, webhooks),
        log,
        tally,
    )
