"""
Makes `facts.csv`: each field of the Guest API that somebody outside this project has written down.

Reads the folder that the environment variable GUESTWIRE_ORACLE names. It holds the vendor's frame schema
(`webmessaging-swagger.json`) and captured or test frames with their origin (`guest-api-fixtures/`, `index.md`). Neither
is part of this repository; the table of facts is. Run it as `python -m tests.wire.derive_facts`.

Source keys of the table:

    J:swagger     the vendor's machine-readable frame schema, web-messaging-sdk-java 18.1.0
    K:tests       tests of the vendor's mobile client 2.14.0
    K:source      its source
    K:mock        the vendor's own WireMock stubs of 2026 (not recorded traffic)
    O:fixtures    genesys-web-messaging-tester; its authors say: from real traffic
    M:source      a third party's browser client, in use 2021 to 2023
    G:docs        a third party who quotes the Developer Center
    G:sdk-source  the same, reading the vendor's browser client 2.18.0
    P:schema      the vendor's REST schema, platform-client-sdk-python

Confidence: H stands in a schema, in the vendor's code or in a capture; M one second-hand source; L inferred.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ORACLE = "GUESTWIRE_ORACLE"
FACTS = Path(__file__).with_name("facts.csv")
COLUMNS = ("frame", "path", "type", "required", "source", "confidence")
_SOURCES = (
    "J:swagger", "K:tests", "K:source", "K:mock", "O:fixtures", "M:source", "G:docs", "G:sdk-source", "P:schema",
)  # fmt: skip


class Fact(NamedTuple):
    """One row. `path` is the place in the frame's JSON; ``[]`` is a list's element, ``*`` any key of a map."""

    frame: str
    path: str
    type: str
    required: str
    source: str
    confidence: str


#: What the schema calls each request.
REQUESTS = {
    "configureSession": "ConfigureSessionRequest",
    "configureAuthenticatedSession": "ConfigureAuthenticatedSessionRequest",
    "onMessage": "SendMessageRequest",
    "onAttachment": "GenerateUploadUrlRequest",
    "getAttachment": "GenerateDownloadUrlRequest",
    "deleteAttachment": "DeleteAttachmentRequest",
    "echo": "SendEchoRequest",
    "getJwt": "GetJwtRequest",
    "getConfiguration": "GetConfigurationRequest",
    "closeSession": "CloseSessionRequest",
}
#: What the schema calls each body. The schema has two forms of a message, without saying which one a guest gets.
BODIES = {
    "SessionResponse": ("SessionResponse",),
    "StructuredMessage": ("CleanMessage", "StructuredMessage"),
    "PresignedUrlResponse": ("PresignedUrlResponse",),
    "AttachmentDeletedResponse": ("AttachmentDeletedResponse",),
    "UploadFailureEvent": ("UploadFailureEvent",),
    "UploadSuccessEvent": ("UploadSuccessEvent",),
    "ConnectionClosedEvent": ("ConnectionClosedEvent",),
    "LogoutEvent": ("LogoutEvent",),
    "SessionExpiredEvent": ("SessionExpiredEvent",),
    "SessionClearedEvent": ("SessionClearedEvent",),
    "JwtResponse": ("JwtResponse",),
    "GetConfigurationResponse": ("GetConfigurationResponse",),
    "GenerateUrlError": ("GenerateUrlError",),
    "TooManyRequestsErrorMessage": ("TooManyRequestsErrorMessage",),
    "ResumeTokenResponse": ("ResumeTokenResponse",),
    "Error": ("ErrorMessage",),
    "ErrorMessage": ("ErrorMessage",),
}
#: A place whose shape is written down once, elsewhere.
SAME_AS = {("echo", "message"): ("onMessage", "message"), ("rest history", "entities[]"): ("StructuredMessage", "body")}

#: Known from sources that are neither the schema nor a fixture: from code that was read, and from second hand.
SECOND_HAND = tuple(
    Fact(*row)
    for row in (
        ("onMessage", "message.metadata.id", "string", "no", "G:sdk-source", "H"),
        ("onMessage", "message.metadata.customMessageId", "string", "no", "K:source", "H"),
        ("onMessage", "message.metadata.parentMessageId", "string", "no", "G:sdk-source", "M"),
        ("configureAuthenticatedSession", "journeyContext", "object", "no", "K:source", "H"),
        ("configureAuthenticatedSession", "journeyContext.triggeringAction", "object", "no", "K:source", "L"),
        ("configureAuthenticatedSession", "journeyContext.triggeringAction.id", "string", "no", "K:source", "L"),
        ("configureAuthenticatedSession", "journeyContext.triggeringAction.actionMap", "object", "no", "K:source", "L"),
        (
            "configureAuthenticatedSession", "journeyContext.triggeringAction.actionMap.id", "string", "no",
            "K:source", "L",
        ),
        (
            "configureAuthenticatedSession", "journeyContext.triggeringAction.actionMap.version", "integer", "no",
            "K:source", "L",
        ),
        ("StructuredMessage", "body.originatingMessageId", "string", "no", "K:source", "H"),
        ("StructuredMessage", "body.metadata.id", "string", "no", "G:sdk-source", "H"),
        ("StructuredMessage", "body.metadata.customMessageId", "string", "no", "K:source", "H"),
        ("StructuredMessage", "body.metadata.readOnly", "string: true|false", "no", "K:source", "H"),
        ("StructuredMessage", "body.metadata.authenticated", "string: true", "no", "K:source", "H"),
        ("StructuredMessage", "body.metadata.correlationId", "string", "no", "K:source", "H"),
        ("StructuredMessage", "body.metadata.durationSeconds", "string", "no", "K:source", "H"),
        ("StructuredMessage", "body.metadata.expirationDate", "string", "no", "K:source", "H"),
        ("StructuredMessage", "body.events[].typing.durationMs", "number", "no", "G:sdk-source", "M"),
        ("StructuredMessage", "body.content[].card.actions[].type", "string", "no", "K:source", "H"),
        ("StructuredMessage", "body.content[].card.actions[].text", "string", "no", "K:source", "H"),
        ("StructuredMessage", "body.content[].card.actions[].payload", "string", "no", "K:source", "H"),
        ("StructuredMessage", "body.content[].card.actions[].url", "string", "no", "K:source", "H"),
        ("StructuredMessage", "body.content[].carousel.cards[].actions[].payload", "string", "no", "K:source", "H"),
        ("ConnectionClosedEvent", "body.reason", "string: signedIn", "no", "K:source", "H"),
        ("onMessage", "attachmentIds", "[string]", "no", "M:source", "M"),
        ("onAttachment", "errorsAsJson", "boolean", "no", "K:source", "H"),
        ("string", "body", "string", "yes", "K:source", "H"),
        ("rest history", "entities", "[object]", "yes", "P:schema K:source", "H"),
        ("rest history", "pageSize", "integer", "no", "P:schema", "H"),
        ("rest history", "pageNumber", "integer", "no", "P:schema", "H"),
        ("rest history", "total", "integer", "no", "P:schema", "H"),
        ("rest history", "pageCount", "integer", "no", "P:schema", "H"),
        ("rest config", "messenger.apps.conversations.notifications", "object", "no", "K:source", "H"),
        ("rest config", "messenger.apps.conversations.humanize", "object", "no", "G:docs", "M"),
        ("rest config", "messenger.apps.conversations.sessionDurationSeconds", "number", "no", "G:docs", "M"),
        ("rest config", "headlessMode.enabled", "boolean", "no", "G:docs", "M"),
        ("rest token exchange", "oauth.idToken", "string", "no", "P:schema", "H"),
        ("rest token exchange", "oauth.nonce", "string", "no", "P:schema", "H"),
        ("rest token exchange", "oauth.maxAge", "integer", "no", "P:schema", "H"),
        ("rest token exchange", "oauth.iss", "string", "no", "P:schema", "H"),
        ("rest token exchange", "journeyContext", "object", "no", "P:schema", "H"),
        ("rest token refresh", "deploymentId", "string", "yes", "P:schema", "H"),
        *(
            ("rest error", path, kind, "no", "P:schema", "H")
            for path, kind in (
                ("message", "string"),
                ("code", "string"),
                ("status", "integer"),
                ("entityId", "string"),
                ("entityName", "string"),
                ("messageWithParams", "string"),
                ("messageParams", "map<string>"),
                ("contextId", "string"),
                ("details", "[object]"),
                ("errors", "[object]"),
                ("limit", "object"),
                ("limit.key", "string"),
                ("limit.namespace", "string"),
                ("limit.value", "string"),
            )
        ),
    )
)  # fmt: skip

#: Placeholders that the authors of a fixture put in to test unknown keys. They are no fact about the service.
TEST_VALUES = {("StructuredMessage", "body.content[].fakeContent"), ("StructuredMessage", "body.events[].bloop")}

#: Maps whose keys are free; a key is a fact only where somebody gives it a meaning.
_FREE_MAPS = re.compile(r"(customAttributes|headers)\.")

_REST_FIXTURES = {
    "rest-history-page": "rest history",
    "rest-history-empty": "rest history",
    "rest-deployment-config": "rest config",
    "rest-deployment-config-wiremock": "rest config",
    "rest-domains": "rest domains",
    "rest-auth-exchange-request": "rest token exchange",
    "rest-auth-exchange-response": "rest token answer",
    "rest-auth-refresh-request": "rest token refresh",
    "rest-push-register-request": "rest push",
}


def oracle() -> Path | None:
    """Return the folder of outside material, or None where it is not on this machine."""
    folder = os.environ.get(ORACLE)
    return Path(folder) if folder else None


# --- the schema ---


def _flatten(
    definitions: dict[str, Any], schema: dict[str, Any], frame: str, path: str, required: bool
) -> Iterator[Fact]:
    """Yield the facts of a schema node, itself first."""
    names = set()
    while "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name in names:
            return
        names.add(name)
        schema = definitions[name]
    shape = _type(definitions, schema)
    if path:
        yield Fact(frame, path, shape, "yes" if required else "no", "J:swagger", "H")
    if (frame, path) in SAME_AS:
        return
    if schema.get("type") == "array":
        items = schema.get("items") or {}
        while "$ref" in items:
            items = definitions[items["$ref"].rpartition("/")[2]]
        yield from (fact for fact in _flatten(definitions, items, frame, f"{path}[]", True) if fact.path != f"{path}[]")
    needed = schema.get("required", ())
    for key, value in schema.get("properties", {}).items():
        yield from _flatten(definitions, value, frame, f"{path}.{key}" if path else key, key in needed)


def _type(definitions: dict[str, Any], schema: dict[str, Any]) -> str:
    while "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if "enum" in schema:
        return "string: " + "|".join(schema["enum"])
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"[{_type(definitions, schema.get('items') or {})}]"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map<{_type(definitions, schema['additionalProperties'])}>"
    return kind


def schema_facts(folder: Path) -> Iterator[Fact]:
    """Yield what the vendor's schema says about each frame."""
    definitions = json.loads((folder / "webmessaging-swagger.json").read_text("utf-8"))["definitions"]
    yield from _flatten(definitions, definitions["BaseMessage"], "envelope", "", False)
    for action, name in REQUESTS.items():
        yield from _flatten(definitions, definitions[name], action, "", False)
    for class_, forms in BODIES.items():
        for name in forms:
            yield from _flatten(definitions, definitions[name], class_, "body", True)


# --- the fixtures ---


def fixtures(folder: Path) -> Iterator[tuple[str, Any, str]]:
    """Yield name, JSON and source key of each fixture."""
    origins = dict(
        re.findall(r"^\| (\S+)\.json \| [^|]+ \| ([^|]+) \|", _index(folder).read_text("utf-8"), re.MULTILINE)
    )
    for file in sorted(_index(folder).parent.glob("*.json")):
        origin = origins[file.stem]
        if "ovotech" in origin[:20]:
            source = "O:fixtures"
        elif "mcphee11" in origin[:20]:
            source = "M:source"
        elif "Safricloud" in origin[:20]:
            source = "G:docs"
        else:
            source = "K:mock" if "wiremock/" in origin else "K:tests"
        yield file.stem, json.loads(file.read_text("utf-8")), source


def _index(folder: Path) -> Path:
    return folder / "guest-api-fixtures" / "index.md"


def fixture_paths(name: str, data: Any) -> Iterator[tuple[str, str, str]]:
    """Yield frame, path and JSON type of every field of a fixture."""
    if name.startswith("rest-"):
        yield from _paths(_REST_FIXTURES[name], "", data)
    elif name.startswith("req-"):
        yield from _paths(data["action"], "", data)
    else:
        yield from _paths("envelope", "", {key: value for key, value in data.items() if key != "body"})
        yield "envelope", "body", _json_type(data["body"])
        yield data["class"], "body", _json_type(data["body"])
        yield from _paths(data["class"], "body", data["body"])


def _paths(frame: str, path: str, value: Any) -> Iterator[tuple[str, str, str]]:
    if (frame, path) in SAME_AS:
        frame, path = SAME_AS[frame, path]
    if (frame, path) in TEST_VALUES:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            place = f"{path}.{key}" if path else key
            if _FREE_MAPS.search(place) or (frame, place) in TEST_VALUES:
                continue
            yield frame, place, _json_type(inner)
            yield from _paths(frame, place, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _paths(frame, f"{path}[]", inner)


def _json_type(value: Any) -> str:
    if isinstance(value, list):
        return f"[{_json_type(value[0])}]" if value else "[any]"
    names = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", type(None): "any"}
    return names[type(value)]


# --- together ---


def derive(folder: Path) -> list[Fact]:
    """Put everything together: one row for each field, with every source that has it."""
    facts: dict[tuple[str, str], Fact] = {}
    sources: dict[tuple[str, str], set[str]] = {}

    def add(fact: Fact) -> None:
        place = (fact.frame, fact.path)
        known = facts.get(place)
        if known is None:
            facts[place] = fact
        elif fact.source == "J:swagger":
            # The two forms of a message: the richer type, and required only where both say so.
            kind = max(known.type, fact.type, key=len)
            both = "yes" if known.required == fact.required == "yes" else "no"
            facts[place] = known._replace(type=kind, required=both)
        sources.setdefault(place, set()).update(fact.source.split())

    for fact in schema_facts(folder):
        add(fact)
    for fact in SECOND_HAND:
        add(fact)
    for name, data, source in fixtures(folder):
        for frame, path, kind in fixture_paths(name, data):
            add(Fact(frame, path, kind, "no", source, "M" if source[0] in "MG" else "H"))
    return sorted(
        (fact._replace(source=" ".join(sorted(sources[place], key=_SOURCES.index))) for place, fact in facts.items()),
        key=lambda fact: (fact.frame, fact.path),
    )


def write_csv(facts: list[Fact]) -> str:
    """Return the table as text."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(facts)
    return buffer.getvalue()


def read_csv() -> list[Fact]:
    """Return the committed table."""
    with FACTS.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        assert tuple(next(rows)) == COLUMNS
        return [Fact(*row) for row in rows]


def main() -> None:
    """Write the table anew."""
    folder = oracle()
    if folder is None:
        raise SystemExit(f"{ORACLE} is not set: name the folder that holds the schema and the fixtures")
    facts = derive(folder)
    FACTS.write_text(write_csv(facts), encoding="utf-8")
    print(f"{len(facts)} facts written to {FACTS.name}")  # noqa: T201


if __name__ == "__main__":
    main()
