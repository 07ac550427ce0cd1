"""
Makes `platform_facts.csv`: each field of the platform API, of OAuth, of webhooks and of the tutorial contract that we
read or write, as somebody outside this project has written it down.

Reads the models of the vendor's Python SDK (its source; nothing of it is imported) and the folder that the environment
variable GUESTWIRE_ORACLE names, which holds examples with their origin (`platform-api-fixtures/`, `index.md`). Neither
is part of this repository; the table of facts is. Run it as `python -m tests.wire.derive_platform_facts`.

Source keys of the table:

    S:sdk         models and token request of the vendor's Python SDK 269.0.0; what is required, of its generated docs
    D:page        the vendor's developer pages on Open Messaging, webhooks and rate limits
    V:guide       a vendor's guide to its own Open Messaging integration
    X:client      clients and middleware of third parties
    T:tutorial    a widespread tutorial; the vendor has no such route
    I:inferred    nobody has written it down: plausible, and read with care

Confidence: H stands in the vendor's code or pages; M one second-hand source; L inferred.
"""

from __future__ import annotations

import ast
import csv
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.wire import derive_facts
from tests.wire.derive_facts import Fact

FACTS = Path(__file__).with_name("platform_facts.csv")
COLUMNS = ("message", "path", "type", "required", "source", "confidence")
CONFIDENCE = {"S:sdk": "H", "D:page": "H", "V:guide": "M", "X:client": "M", "T:tutorial": "M", "I:inferred": "L"}
#: A field with more words than this may be anything: they are the vendor's services.
MAX_WORDS = 30
#: UTC, milliseconds, ``Z``.
TIME = "time"

#: Models of the SDK that are read as a whole, down to what `READ` leaves of the models within.
MODELS = (
    "OpenInboundNormalizedMessage",
    "OpenInboundNormalizedEvent",
    "OpenInboundNormalizedReceipt",
    "OpenInboundStructuredResponseMessage",
    "OpenMessageNormalizedMessage",
    "OpenEventNormalizedMessage",
    "OpenReceiptNormalizedMessage",
    "OpenStructuredResponseNormalizedMessage",
    "MessageConversation",
    "TextMessageListing",
    "Organization",
    "ErrorBody",
)
#: Of big models, what matters here.
READ = {
    "MessageConversation": {"id", "participants"},
    "MessageMediaParticipant": {"id", "purpose", "messages"},
    "MessageDetails": {"messageId", "messageStatus", "messageTime"},
    "MessageData": {
        "id", "providerMessageId", "timestamp", "direction", "status", "normalizedMessage", "conversationId",
    },
    "ConversationNormalizedMessage": {
        "id", "channel", "type", "text", "content", "events", "status", "reasons", "originatingEntity",
        "isFinalReceipt", "direction", "metadata",
    },
    "ConversationMessagingChannel": {"id", "platform", "type", "messageId", "to", "from", "time"},
    "ConversationMessagingToRecipient": {"id", "idType", "nickname", "firstName", "lastName", "image", "email"},
    "ConversationMessagingFromRecipient": {"id", "idType", "nickname", "firstName", "lastName", "image", "email"},
    "ConversationMessageContent": {"contentType", "attachment", "buttonResponse"},
    "Organization": {"id"},
    "Detail": set[str](),
}  # fmt: skip
#: What the generated docs call required. Answers promise nothing.
REQUIRED = {
    "OpenInboundNormalizedMessage": {"channel"},
    "OpenInboundNormalizedEvent": {"channel", "events"},
    "OpenInboundNormalizedReceipt": {"id", "channel", "status"},
    "OpenInboundStructuredResponseMessage": {"channel", "buttonResponse", "originatingMessageId"},
    "OpenInboundMessageMessagingChannel": {"from", "time"},
    "OpenInboundMessagingChannel": {"from", "time"},
    "OpenInboundMessagingReceiptChannel": {"to", "time"},
    "OpenMessagingFromRecipient": {"id", "idType"},
    "OpenMessagingToRecipient": {"id", "idType"},
    "OpenContentAttachment": {"mediaType", "url", "mime"},
    "OpenEvent": {"eventType"},
    "ConversationReason": {"message"},
    "ContentButtonResponse": {"type", "text", "payload"},
}
#: Examples: which message each is of, and where its shape is from.
FIXTURES = {
    "oauth_token_ok": ("token", "D:page"),
    "oauth_token_error_invalid_client": ("token error", "I:inferred"),
    "open_inbound_message_min": ("OpenInboundNormalizedMessage", "S:sdk"),
    "open_inbound_message_attachment_only": ("OpenInboundNormalizedMessage", "S:sdk"),
    "open_inbound_message_full": ("OpenInboundNormalizedMessage", "S:sdk"),
    "open_inbound_message_response": ("OpenMessageNormalizedMessage", "S:sdk"),
    "open_inbound_message_response_prefetch": ("OpenMessageNormalizedMessage", "S:sdk"),
    "open_inbound_event_typing": ("OpenInboundNormalizedEvent", "S:sdk"),
    "open_inbound_event_response": ("OpenEventNormalizedMessage", "S:sdk"),
    "open_inbound_receipt_delivered": ("OpenInboundNormalizedReceipt", "S:sdk"),
    "open_inbound_receipt_failed": ("OpenInboundNormalizedReceipt", "S:sdk"),
    "open_inbound_receipt_response": ("OpenReceiptNormalizedMessage", "S:sdk"),
    "open_inbound_structured_response": ("OpenInboundStructuredResponseMessage", "S:sdk"),
    "open_inbound_structured_response_response": ("OpenStructuredResponseNormalizedMessage", "S:sdk"),
    "agent_message_response_MessageData": ("TextMessageListing", "S:sdk"),
    "error_400_bad_request": ("ErrorBody", "X:client"),
    "error_400_invalid_value": ("ErrorBody", "X:client"),
    "error_400_schema": ("ErrorBody", "X:client"),
    "error_401_bad_token": ("ErrorBody", "X:client"),
    "error_401_expired": ("ErrorBody", "X:client"),
    "error_401_no_token": ("ErrorBody", "X:client"),
    "error_403_missing_any_permissions": ("ErrorBody", "X:client"),
    "error_403_missing_permissions": ("ErrorBody", "X:client"),
    "error_404_not_found": ("ErrorBody", "X:client"),
    "error_413_too_large": ("ErrorBody", "I:inferred"),
    "error_415_media_type": ("ErrorBody", "X:client"),
    "error_429_rate_limited": ("ErrorBody", "I:inferred"),
    "error_500": ("ErrorBody", "X:client"),
    "error_503": ("ErrorBody", "X:client"),
    "error_504": ("ErrorBody", "X:client"),
    "headers_200": ("response headers", "D:page"),
    "headers_429": ("response headers", "D:page"),
    "webhook_outbound_text": ("webhook", "D:page"),
    "webhook_outbound_typing": ("webhook", "D:page"),
    "webhook_outbound_attachment": ("webhook", "S:sdk"),
    "webhook_outbound_quickreplies": ("webhook", "S:sdk"),
    "webhook_outbound_receipt_for_inbound": ("webhook", "I:inferred"),
    "normalized_message_all_content_types": ("webhook", "S:sdk"),
}
#: Examples of what this program neither reads nor writes, and those that are no message.
NOT_OURS = re.compile(
    r"agent_(message_(media|text)|typing)|agentless_.*|media_.*|notification_.*|open_integration_.*|regions|"
    r"open_inbound_legacy_deprecated|webdeployment_cdn_config|webhook_signature_vectors|webmessaging_history_page"
)
_USER, _CONVERSATION = "string: user", "string: conversation"
_SIDES = (
    ("from", "object", "yes"),
    ("from.id", "string", "yes"),
    ("from.type", _USER, "yes"),
    ("to", "object", "yes"),
    ("to.id", "string", "yes"),
    ("to.type", _CONVERSATION, "yes"),
    ("body", "object", "yes"),
    ("body.contentType", "string: text/plain|text/html", "yes"),
    ("body.content", "string", "yes"),
)

#: What stands in neither a model nor an example.
SECOND_HAND = tuple(
    Fact(message, path, kind, required, source, CONFIDENCE[source])
    for message, source, rows in (
        (
            "token request",
            "S:sdk",
            (
                ("Authorization", "string: Basic", "yes"),
                ("Content-Type", "string: application/x-www-form-urlencoded", "yes"),
                ("grant_type", "string: client_credentials", "yes"),
            ),
        ),
        (
            "request headers",
            "S:sdk",
            (
                ("Authorization", "string: Bearer", "yes"),
                ("Content-Type", "string: application/json", "yes"),
                ("Accept", "string: application/json", "no"),
            ),
        ),
        ("request query", "S:sdk", (("prefetchConversationId", "string: true|false", "no"),)),
        ("bulk request", "S:sdk", (("[]", "string", "yes"),)),
        ("webhook headers", "D:page", (("X-Hub-Signature-256", "string", "no"),)),
        (
            "OpenInboundNormalizedMessage",
            "V:guide",
            (("channel.metadata.customAttributes", "map<string>", "no"),),
        ),
        (
            "OpenInboundStructuredResponseMessage",
            "I:inferred",
            (("channel.metadata.customAttributes", "map<string>", "no"),),
        ),
        ("token error", "X:client", (("error", "string", "no"), ("description", "string", "no"))),
        ("token error", "I:inferred", (("error_description", "string", "no"),)),
        (
            "contract request",
            "T:tutorial",
            (
                *_SIDES,
                ("metadata", "object", "yes"),
                ("metadata.readReceipt", "boolean", "yes"),
                ("metadata.transmissionTimestamp", TIME, "yes"),
                ("attachments", "[object]", "no"),
                ("attachments[].contentType", "string", "yes"),
                ("attachments[].url", "string", "yes"),
                ("attachments[].fileName", "string", "yes"),
                ("attachments[].size", "integer", "yes"),
            ),
        ),
        (
            "contract response",
            "T:tutorial",
            (
                ("id", "string", "yes"),
                *((path, kind, "no") for path, kind, _ in _SIDES),
                ("sentTime", TIME, "no"),
                ("deliveryStatus", "string", "no"),
            ),
        ),
        (
            "contract response headers",
            "T:tutorial",
            (
                ("Retry-After", "string", "no"),
                ("X-RateLimit-Remaining", "string", "no"),
                ("X-Request-Id", "string", "no"),
            ),
        ),
    )
    for path, kind, required in rows
)

#: Maps whose keys are free, but for those of the tutorial contract.
_FREE_MAPS = re.compile(r"(customAttributes|(^|normalizedMessage\.)metadata)\.")


class Model(NamedTuple):
    """A model of the SDK: the type of each field by its name in JSON, and the words that a field may be."""

    types: dict[str, str]
    words: dict[str, list[str]]


def sdk() -> Path | None:
    """Return the folder of the SDK's models, or None where it is not installed. Does not import it."""
    spec = importlib.util.find_spec("PureCloudPlatformClientV2")
    return Path(spec.origin).parent / "models" if spec is not None and spec.origin else None


# --- the SDK's models ---


def read_model(folder: Path, name: str) -> Model | None:
    """Read a model's source; None for what is no model, such as ``str``."""
    file = folder / (re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() + ".py")
    if not file.exists():
        return None
    found: dict[str, Any] = {}
    words: dict[str, list[str]] = {}
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            if node.targets[0].attr in ("swagger_types", "attribute_map"):
                found[node.targets[0].attr] = ast.literal_eval(node.value)
        elif isinstance(node, ast.FunctionDef):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Assign) and getattr(inner.targets[0], "id", "") == "allowed_values":
                    words[node.name] = ast.literal_eval(inner.value)
    names = found["attribute_map"]
    return Model(
        {names[attribute]: kind for attribute, kind in found["swagger_types"].items()},
        {names[attribute]: values for attribute, values in words.items()},
    )


def model_facts(folder: Path, message: str, name: str, path: str = "", above: tuple[str, ...] = ()) -> Iterator[Fact]:
    """Yield the facts of a model's fields, and of the models within."""
    model = read_model(folder, name)
    if model is None or name in above:
        return
    for field, kind in model.types.items():
        if field not in READ.get(name, {field}):
            continue
        place = f"{path}.{field}" if path else field
        is_asked = message.startswith("OpenInbound")
        required = "yes" if is_asked and field in REQUIRED.get(name, ()) else "no"
        yield Fact(message, place, _type(kind, model.words.get(field)), required, "S:sdk", "H")
        inner = kind.removeprefix("list[").removesuffix("]")
        yield from model_facts(folder, message, inner, place + "[]" * (inner != kind), (*above, name))


def _type(kind: str, words: list[str] | None) -> str:
    if kind.startswith("list["):
        return f"[{_type(kind[5:-1], None)}]"
    if kind.startswith("dict("):
        return "map<string>"
    if words and len(words) <= MAX_WORDS:
        return "string: " + "|".join(words)
    return {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "datetime": TIME}.get(
        kind, "object"
    )


# --- the examples ---


def fixtures(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield name and JSON of each example."""
    for file in sorted((folder / "platform-api-fixtures").glob("*.json")):
        yield file.stem, json.loads(file.read_text("utf-8"))


def fixture_paths(name: str, data: Any) -> Iterator[tuple[str, str, str]]:
    """Yield message, path and JSON type of every field of an example."""
    message, _ = FIXTURES[name]
    if message == "TextMessageListing":
        data = {"entities": [data]}
    yield from paths(message, "", data)


def paths(message: str, path: str, value: Any) -> Iterator[tuple[str, str, str]]:
    """Yield message, path and JSON type of every field of a value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            place = f"{path}.{key}" if path else key
            if message.startswith("contract") or not _FREE_MAPS.search(place):
                yield message, place, derive_facts._json_type(inner)
                yield from paths(message, place, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from paths(message, f"{path}[]", inner)


def is_read(place: str) -> bool:
    """Whether a field of the listing of messages is one that matters here."""
    return not re.search(r"^entities\[\]\.(createdBy|selfUri|fromAddress|toAddress|messengerType|normalizedRec)", place)


# --- together ---


def derive(models: Path, folder: Path) -> list[Fact]:
    """Put everything together: one row for each field, with every source that has it."""
    facts: dict[tuple[str, str], Fact] = {}
    sources: dict[tuple[str, str], set[str]] = {}

    def add(fact: Fact) -> None:
        place = (fact.frame, fact.path)
        facts.setdefault(place, fact)
        sources.setdefault(place, set()).add(fact.source)

    for name in MODELS:
        for fact in model_facts(models, name, name):
            add(fact)
    for fact in model_facts(models, "webhook", "ConversationNormalizedMessage"):
        add(fact)
    for fact in SECOND_HAND:
        add(fact)
    for name, data in fixtures(folder):
        if NOT_OURS.fullmatch(name):
            continue
        _, source = FIXTURES[name]
        for message, path, kind in fixture_paths(name, data):
            # What the SDK's models know they have told themselves; an example in their shape proves nothing more.
            is_news = source not in ("S:sdk", "I:inferred") or (message, path) not in facts
            if is_read(path) and is_news:
                add(Fact(message, path, kind, "no", source, CONFIDENCE[source]))
    order = list(CONFIDENCE)
    return sorted(
        (
            fact._replace(
                source=" ".join(sorted(sources[place], key=order.index)),
                confidence=min((CONFIDENCE[source] for source in sources[place]), key="HML".index),
            )
            for place, fact in facts.items()
        ),
        key=lambda fact: (fact.frame, fact.path),
    )


def write_csv(facts: list[Fact]) -> str:
    """Return the table as text."""
    _, _, rows = derive_facts.write_csv(facts).partition("\n")
    return ",".join(COLUMNS) + "\n" + rows


def read_csv() -> list[Fact]:
    """Return the committed table."""
    with FACTS.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        assert tuple(next(rows)) == COLUMNS
        return [Fact(*row) for row in rows]


def main() -> None:
    """Write the table anew."""
    models, folder = sdk(), derive_facts.oracle()
    if models is None or folder is None:
        raise SystemExit(f"needs the SDK (the extra 'sdk'), and {derive_facts.ORACLE}: the folder of the examples")
    facts = derive(models, folder)
    FACTS.write_text(write_csv(facts), encoding="utf-8")
    print(f"{len(facts)} facts written to {FACTS.name}")  # noqa: T201


if __name__ == "__main__":
    main()
