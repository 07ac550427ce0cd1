"""
A REST request and its answer, apart from any server: what the routes of the platform are written in.

A route is a plain function of a `Call`. It returns an `Answer`, or raises a `Refusal`, which becomes the platform's
ErrorBody. Wording and codes of the errors: the vendor's pages and what third parties have quoted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec


class Call(NamedTuple):
    """One request."""

    names: Mapping[str, str]
    """The parts of the path that a route leaves open."""
    query: Mapping[str, str]
    authorization: str
    """The header; empty where there is none."""
    content_type: str
    """Without its parameters, in lower case."""
    body: bytes | None
    """None: larger than `max_request_bytes`."""
    now: float
    """Seconds since the epoch."""


class Answer(NamedTuple):
    """What goes back."""

    status: int
    body: Any = None
    """JSON; None: no body."""
    headers: Mapping[str, str] = {}


class Refusal(Exception):
    """
    The request is refused with an ErrorBody.

    Args:
        status: HTTP status.
        code: Of the error, such as ``bad.request``.
        message: What people read.
        **more: Further fields of the body, such as `messageParams` and `limit`.
    """

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}
        self.more = more

    def answer(self, context_id: str) -> Answer:
        """Make the ErrorBody; `context_id` equals the header ``ININ-Correlation-Id``."""
        return Answer(
            self.status, error_body(self.status, self.code, self.message, context_id, **self.more), self.headers
        )


def error_body(status: int, code: str, message: str, context_id: str, **more: Any) -> dict[str, Any]:
    """Spell the platform's ErrorBody."""
    return {
        "message": message,
        "code": code,
        "status": status,
        "contextId": context_id,
        "details": [],
        "errors": [],
        **more,
    }


#: What a status says when nothing more is known: code and message.
WORDS: dict[int, tuple[str, str]] = {
    400: ("bad.request", "The request could not be understood by the server due to malformed syntax."),
    401: ("bad.credentials", "Invalid login credentials."),
    403: ("not.authorized", "You are not authorized to perform the requested action."),
    404: ("not.found", "The requested resource was not found."),
    408: ("client.failed.request", "The client did not produce a request within the time that the server waits."),
    409: ("general.conflict", "The request conflicts with the current state of the resource."),
    413: ("request.entity.too.large", "The request is over the size limit."),
    415: (
        "unsupported.media.type",
        "Unsupported Media Type - Unsupported or incorrect media type, such as an incorrect Content-Type value in the "
        "header.",
    ),
    429: ("too.many.requests", "Rate limit exceeded the maximum."),
    500: (
        "internal.server.error",
        "The server encountered an unexpected condition which prevented it from fulfilling the request.",
    ),
    503: (
        "service.unavailable",
        "Service Unavailable - The server is currently unavailable (because it is overloaded or down for maintenance).",
    ),
    504: ("request.timeout", "The request timed out."),
}


def refusal(status: int) -> Refusal:
    """A refusal in the words of its status."""
    return Refusal(status, *WORDS[status])


def bad_request(message: str | None = None) -> Refusal:
    """400 ``bad.request``; without a message the platform's own, which says nothing."""
    return refusal(400) if message is None else Refusal(400, "bad.request", message)


def invalid_value(value: object, field: str, allowed: tuple[str, ...]) -> Refusal:
    """400 ``invalid.value``: a name that is none of those allowed."""
    params = {"value": str(value)[:100], "fieldType": field, "allowedValues": ", ".join(allowed).lower()}
    words = "Value [{value}] is not valid for field type [{fieldType}]. Allowable values are: {allowedValues}"
    return Refusal(400, "invalid.value", words.format(**params), messageWithParams=words, messageParams=params)


def too_large(most: int) -> Refusal:
    """413: the request has more than `most` bytes."""
    return Refusal(
        413,
        "request.entity.too.large",
        f"The request is over the size limit. Maximum bytes: {most}",
        messageParams={"maximumBytes": str(most)},
    )


def json_of(call: Call, most: int) -> Any:
    """
    Read a JSON body.

    Args:
        call: The request.
        most: `max_request_bytes`, for the words.

    Raises:
        Refusal: 415, 413 or 400.
    """
    if call.content_type != "application/json":
        raise refusal(415)
    if call.body is None:
        raise too_large(most)
    try:
        return msgspec.json.decode(call.body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise bad_request() from None
