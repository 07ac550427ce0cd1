"""
What each code of the gateway proves about the message it answers.

One question decides between sending again and never again: does the code say that the message was turned away
*before* it was processed? Only then is it surely not accepted. Codes whose meaning nobody has published count as
"nothing proven" unless they lie in the documented range of request errors.

Source: error table of the vendor's mobile client (ErrorCode.kt, 2.14.0), of its browser client (messenger 2.18.0,
second-hand), and the Developer Center as quoted there. Names and confidence: docs/parity.md.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from guestwire.model import Failed, Outcome, Refused, Throttled, Unknown
from guestwire.protocol.frames import ErrorBody, Frame, StringBody, TooManyRequestsErrorMessage

#: A throttle that names no time. The fixture says 3; our own choice.
DEFAULT_RETRY_AFTER_S = 3.0
#: A throttle that says 0, or less, is waited for all the same: being throttled costs no attempt, so it would spin.
MIN_RETRY_AFTER_S = 1.0


class Proof(enum.Enum):
    """What a code proves about the message it answers."""

    NEVER = "refused before processing, and it would be again"
    NOT_NOW = "refused before processing; something else has to change first"
    THROTTLED = "refused before processing, by a limit"
    NOTHING = "may have been processed"


class Code(NamedTuple):
    """A row of the table."""

    proof: Proof
    meaning: str


CODES: dict[int, Code] = {
    400: Code(Proof.NEVER, "bad request"),
    401: Code(Proof.NOT_NOW, "not authorised: the session's credentials are not valid any more"),
    403: Code(Proof.NEVER, "refused by the deployment's configuration"),
    404: Code(Proof.NEVER, "not found"),
    408: Code(Proof.NOTHING, "the gateway timed out"),
    409: Code(Proof.NOT_NOW, "the session is read-only"),
    429: Code(Proof.THROTTLED, "too many requests"),
    4000: Code(Proof.NEVER, "attachments are not available"),
    4001: Code(Proof.NEVER, "file type not allowed"),
    4002: Code(Proof.NEVER, "file too large"),
    4003: Code(Proof.NEVER, "file content not valid"),
    4004: Code(Proof.NEVER, "file name not valid"),
    4005: Code(Proof.NEVER, "file name too long"),
    4006: Code(Proof.NOT_NOW, "the session has expired"),
    4007: Code(Proof.NOT_NOW, "the session is not known"),
    4008: Code(Proof.NEVER, "the attachment has expired"),
    4009: Code(Proof.NEVER, "the attachment is not known"),
    4010: Code(Proof.NOT_NOW, "the attachment is not uploaded yet"),
    4011: Code(Proof.NEVER, "the message is too long"),
    4012: Code(Proof.NEVER, "refused; meaning not published"),
    4013: Code(Proof.NEVER, "the custom attributes are too large"),
    4014: Code(Proof.NEVER, "refused; meaning not published"),
    4015: Code(Proof.NEVER, "refused; meaning not published"),
    4016: Code(Proof.NEVER, "refused; meaning not published"),
    4017: Code(Proof.NEVER, "the session belongs to a signed-in guest"),
    4020: Code(Proof.NEVER, "a parameter is missing"),
    4029: Code(Proof.THROTTLED, "message rate too high for this session"),
    4102: Code(Proof.NEVER, "the file is empty"),
    5000: Code(Proof.NOTHING, "unexpected error"),
}

#: Codes with which a WebSocket is closed. None of them proves anything about a message on its way: which of them the
#: gateway gives when is not published, and no client of the vendor's tells them apart. Names are for the journal.
#: Source: RFC 6455, 7.4.1; IANA, "WebSocket Close Code Number Registry".
CLOSE_CODES: dict[int, str] = {
    1000: "normal closure",
    1001: "going away",
    1002: "protocol error",
    1003: "unsupported data",
    1004: "reserved",
    1005: "no code",
    1006: "no close frame",
    1007: "invalid text",
    1008: "policy violation",
    1009: "message too big",
    1010: "extension missing",
    1011: "internal error",
    1012: "service restart",
    1013: "try again later",
    1014: "bad gateway",
    1015: "TLS handshake",
    3000: "unauthorized",
    3003: "forbidden",
    3008: "timeout",
}

#: 403 with one of these texts asks for a new sign-in; the message may follow it. Compared without case.
AUTHORIZE_AGAIN = ("session authentication failed", "try to authenticate again")


def closing(code: int) -> str:
    """Name a close code, for the journal: `1012, service restart`. Every number that two bytes can hold has a name."""
    if code in CLOSE_CODES:
        return f"{code}, {CLOSE_CODES[code]}"
    ranges = ((1000, "no code"), (3000, "unassigned"), (4000, "of a library"), (5000, "of the gateway's own"))
    return f"{code}, {next((name for end, name in ranges if code < end), 'no code')}"


def error_code(frame: Frame) -> int | None:
    """
    Return the code that a frame reports, or None when it reports none.

    `body.errorCode` outranks the envelope: the envelope of an error may say 200.
    """
    if isinstance(frame.body, ErrorBody) and frame.body.error_code is not None:
        return frame.body.error_code
    if isinstance(frame.body, StringBody) and frame.code == 200:
        return None
    if isinstance(frame.body, ErrorBody | StringBody) or (frame.code is not None and frame.code != 200):
        return frame.code if frame.code is not None else 0
    return None


def error_text(frame: Frame) -> str:
    """Return the gateway's words about an error; bounded, because they go into the journal."""
    if isinstance(frame.body, StringBody):
        text = frame.body.text
    elif isinstance(frame.body, ErrorBody):
        text = frame.body.error_message or frame.body.message or ""
    else:
        text = ""
    return text[:200]


def outcome_of(code: int, text: str, retry_after_s: float | None = None) -> Outcome:
    """
    Say what an error proves about the message it answers.

    Args:
        code: As `error_code` returns it.
        text: The gateway's words, for the reason.
        retry_after_s: What a throttle asks for, in seconds; None where it names no time.
    """
    known = CODES.get(code)
    reason = f"{code}: {text or (known.meaning if known else 'a code that nobody has published')}"
    if known is None or known.proof is Proof.NOTHING:
        return Unknown(reason)
    if known.proof is Proof.THROTTLED:
        wait_s = DEFAULT_RETRY_AFTER_S if retry_after_s is None else max(MIN_RETRY_AFTER_S, retry_after_s)
        return Throttled("session", wait_s, reason)
    if known.proof is Proof.NOT_NOW or (code == 403 and text.lower().startswith(AUTHORIZE_AGAIN)):
        return Failed(reason, code)
    return Refused(code, reason)


def outcome_of_frame(frame: Frame) -> Outcome | None:
    """Say what an error frame proves; None when the frame reports no error."""
    code = error_code(frame)
    if code is None:
        return None
    retry_after = frame.body.retry_after if isinstance(frame.body, TooManyRequestsErrorMessage) else None
    return outcome_of(code, error_text(frame), retry_after)
