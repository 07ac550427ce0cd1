"""
Example frames of our own making, one of each shape, so that the tests bite without the outside fixtures.

Values are invented; the shapes follow `facts.csv`.
"""

from __future__ import annotations

from typing import Any

REQUESTS: dict[str, dict[str, Any]] = {
    "configure": {
        "action": "configureSession",
        "token": "t",
        "deploymentId": "d",
        "tracingId": "r1",
        "startNew": True,
        "journeyContext": {
            "customer": {"id": "c", "idType": "cookie"},
            "customerSession": {"id": "", "type": "web"},
            "triggeringAction": {"id": "a", "actionMap": {"id": "m", "version": 2}},
        },
    },
    "configure, three keys": {"action": "configureSession", "token": "t", "deploymentId": "d"},
    "configure, signed in": {
        "action": "configureAuthenticatedSession",
        "token": "t",
        "deploymentId": "d",
        "data": {"code": "jwt"},
    },
    "text with attributes": {
        "action": "onMessage",
        "token": "t",
        "tracingId": "r2",
        "message": {
            "type": "Text",
            "text": "héllo 🙂",
            "metadata": {"id": "r2", "attempt": "1"},
            "channel": {"metadata": {"customAttributes": {"topic": "bills"}}},
        },
    },
    "attachment alone, without a type": {
        "action": "onMessage",
        "token": "t",
        "message": {"content": [{"contentType": "Attachment", "attachment": {"id": "a1"}}]},
    },
    "older forms": {
        "action": "onMessage",
        "token": "t",
        "time": "2020-01-01T00:00:00.000Z",
        "message": {"type": "Text", "text": ""},
        "channel": {"metadata": {"customAttributes": {"a": "b"}}},
        "attachmentIds": ["a1", "a2"],
    },
    "choice": {
        "action": "onMessage",
        "token": "t",
        "message": {
            "type": "Structured",
            "text": "Yes",
            "content": [
                {
                    "contentType": "ButtonResponse",
                    "buttonResponse": {
                        "type": "QuickReply",
                        "text": "Yes",
                        "payload": "y",
                        "originatingMessageId": "m",
                    },
                }
            ],
        },
    },
    "form answered": {
        "action": "onMessage",
        "token": "t",
        "message": {
            "type": "Structured",
            "content": [
                {
                    "contentType": "Form",
                    "form": {
                        "originatingMessageId": "m",
                        "cannedResponseId": "c",
                        "response": [
                            {
                                "id": "name",
                                "component": {
                                    "contentType": "ButtonResponse",
                                    "buttonResponse": {"type": "Form", "text": "Ada", "payload": "Ada"},
                                },
                            }
                        ],
                    },
                }
            ],
        },
    },
    "typing": {
        "action": "onMessage",
        "token": "t",
        "message": {"type": "Event", "events": [{"eventType": "Typing", "typing": {"type": "On"}}]},
    },
    "upload": {
        "action": "onAttachment",
        "token": "t",
        "attachmentId": "a1",
        "fileName": "a.png",
        "fileType": "image/png",
        "fileSize": 7,
        "fileMd5": "x",
        "errorsAsJson": True,
    },
    "download": {"action": "getAttachment", "token": "t", "attachmentId": "a1"},
    "withdraw": {"action": "deleteAttachment", "token": "t", "attachmentId": "a1", "tracingId": "r"},
    "health": {"action": "echo", "token": "t", "message": {"type": "Text", "text": "ping"}},
    "jwt": {"action": "getJwt", "token": "t", "tracingId": "r"},
    "configuration": {"action": "getConfiguration", "token": "t", "deploymentId": "d"},
    "close": {"action": "closeSession", "token": "t", "closeAllConnections": False},
    "unknown action": {"action": "disconnectCustomer", "token": "t", "reason": {"deep": [1, None]}},
    "action of the wrong type": {"action": 7, "token": "t"},
    "no action": {"token": "t", "tracingId": "r"},
    "action named as our own tag": {"action": "unknown", "token": "t"},
    "nulls": {"action": "onMessage", "token": None, "tracingId": None, "message": None},
    "wrong types": {"action": "onAttachment", "token": 5, "fileSize": "7", "errorsAsJson": "true"},
    "unknown keys": {"action": "getJwt", "token": "t", "extra": {"extra": 1}, "jwt": 1, "message": {"text": "x"}},
}


def _message(**body: Any) -> dict[str, Any]:
    return {"type": "message", "class": "StructuredMessage", "code": 200, "body": body}


def _frame(class_: str, body: Any, code: int = 200, type_: str = "response", **more: Any) -> dict[str, Any]:
    return {"type": type_, "class": class_, "code": code, "body": body, **more}


FRAMES: dict[str, dict[str, Any]] = {
    "session": _frame(
        "SessionResponse",
        {
            "connected": True,
            "newSession": True,
            "readOnly": False,
            "clearedExistingSession": False,
            "allowedMedia": {"inbound": {"fileTypes": [{"type": "*/*"}], "maxFileSizeKB": 10240}},
            "blockedExtensions": [".exe"],
            "maxCustomDataBytes": 2048,
            "durationSeconds": 259200,
            "expirationDate": 1791139139,
            "autoStarted": True,
        },
        tracingId="r1",
    ),
    "session, two keys": _frame("SessionResponse", {"connected": True, "newSession": False}),
    "session, media partly empty": _frame("SessionResponse", {"connected": True, "allowedMedia": {"inbound": {}}}),
    "echo of a text": _message(
        id="0" * 32,
        type="Text",
        text="hi",
        direction="Inbound",
        channel={"time": "2026-01-01T00:00:00.000Z", "messageId": "m", "from": {}, "to": {"nickname": "Ada"}},
        metadata={"id": "p1", "correlationId": "c"},
        originatingEntity="",
    ),
    "bot with choices": _message(
        type="Structured",
        direction="Outbound",
        text="Well?",
        originatingEntity="Bot",
        originatingMessageId="m0",
        content=[
            {"contentType": "QuickReply", "quickReply": {"text": "Yes", "payload": "y", "action": "Message"}},
            {"contentType": "QuickReplyV2", "quickReplyV2": {"title": "Or", "actions": [{"text": "No"}]}},
            {"contentType": "Card", "card": {"title": "C", "actions": [{"type": "Link", "url": "https://x.example"}]}},
            {"contentType": "Carousel", "carousel": {"cards": [{"title": "D", "actions": []}]}},
            {"contentType": "Text", "text": {"body": "b", "type": "Text"}},
            {"contentType": "GenericTemplate", "generic": {"title": "g", "actions": {"context": {"a": [1]}}}},
        ],
    ),
    "pickers": _message(
        type="Structured",
        content=[
            {
                "contentType": "DatePicker",
                "datePicker": {
                    "title": "When",
                    "location": {"text": "Here", "latitude": 1.5, "longitude": -2},
                    "availableTimes": [{"dateTime": "2026-01-01T10:00:00Z", "duration": 1800}],
                },
            },
            {
                "contentType": "ListPicker",
                "listPicker": {
                    "sections": [{"title": "s", "multipleSelection": True, "items": [{"id": "i", "title": "t"}]}],
                    "receivedMessage": {"title": "pick"},
                    "replyMessage": {"title": "picked"},
                },
            },
            {
                "contentType": "Form",
                "form": {
                    "cannedResponseId": "c",
                    "introduction": {"title": "t", "buttonText": "Go"},
                    "formPages": [
                        {
                            "title": "p",
                            "subtitle": "q",
                            "pageComponents": [
                                {"formComponentType": "Input", "input": {"id": "n", "isRequired": True}},
                                {"formComponentType": "WheelPicker", "wheelPicker": {"items": [{"id": "w"}]}},
                            ],
                        }
                    ],
                    "showSummary": True,
                },
            },
        ],
    ),
    "content of an unknown type beside a known one": _message(
        type="Text",
        content=[
            {"contentType": "Hologram", "hologram": {"a": 1}},
            {"contentType": "Attachment", "attachment": {"id": "a", "mediaType": "Image", "fileSize": 1.5}},
            {"contentType": "Story", "story": {"type": "Reply", "url": "https://x.example"}},
        ],
    ),
    "several events": _message(
        type="Event",
        direction="Outbound",
        events=[
            {"eventType": "Typing", "typing": {"type": "Off", "duration": 1000, "durationMs": 1000}},
            {"eventType": "Presence", "presence": {"type": "Disconnect"}},
            {"eventType": "CoBrowse", "coBrowse": {"type": "Offering", "sessionId": "s", "sessionJoinToken": "j"}},
            {"eventType": "Video", "video": {"type": "Offering", "offeringId": "o", "jwt": "j"}},
            {"eventType": "Reactions", "reactions": [{"reactionType": "Like", "count": 2}]},
            {"eventType": "Newest", "newest": None},
        ],
        metadata={"readOnly": "true"},
    ),
    "no time, no content": _message(type="Text", channel={"time": None}, content=[], metadata={}),
    "upload here": _frame(
        "PresignedUrlResponse", {"attachmentId": "a", "headers": {"x-amz-tagging": "a=b"}, "url": "u"}
    ),
    "download here": _frame("PresignedUrlResponse", {"attachmentId": "a", "headers": {}, "url": "u", "fileSize": 1}),
    "uploaded": _frame("UploadSuccessEvent", {"attachmentId": "a", "downloadUrl": "u", "timestamp": "t"}),
    "not uploaded": _frame("UploadFailureEvent", {"attachmentId": "a", "errorCode": 4001, "errorMessage": "m"}),
    "withdrawn": _frame("AttachmentDeletedResponse", {"attachmentId": "a"}),
    "no url": _frame("GenerateUrlError", {"errorCode": 4001, "errorMessage": "m", "attachmentId": "a"}, 400),
    "throttled": _frame("TooManyRequestsErrorMessage", {"retryAfter": 3, "errorCode": 4029, "errorMessage": "m"}, 429),
    "error object": _frame("Error", {"name": "n", "message": "m", "stack": "s", "errorCode": 5000}, 500),
    "error message object": _frame("ErrorMessage", {"errorCode": 409, "errorMessage": "m"}, 409),
    "error text": _frame("string", "Request failed.", 400),
    "evicted": _frame("ConnectionClosedEvent", {}, type_="message"),
    "signed in elsewhere": _frame("ConnectionClosedEvent", {"reason": "signedIn", "reasonCode": "signedIn"}),
    "logged out": _frame("LogoutEvent", {}),
    "expired": _frame("SessionExpiredEvent", {}),
    "cleared": _frame("SessionClearedEvent", {}),
    "key": _frame("JwtResponse", {"jwt": "j", "exp": 1791139139.5}),
    "configuration": _frame("GetConfigurationResponse", {"maxCustomDataBytes": 2048, "messageRoutingEnabled": True}),
    "resume token": _frame("ResumeTokenResponse", {"resumeToken": "r", "exp": 1}),
    "unknown class": _frame("NewestEvent", {"a": [1, {"b": None}]}),
    "string class with an object": _frame("string", {"message": "m"}, 500),
    "object class with a string": _frame("SessionResponse", "what", 500),
    "neither type nor class": {"message": "Internal server error", "connectionId": "c", "requestId": "r"},
    "null body": _frame("SessionResponse", None),
    "no body": {"type": "message", "class": "LogoutEvent", "code": 200},
    "envelope of wrong types": {"type": 1, "class": ["x"], "code": "200", "body": {}, "tracingId": 5},
    "body of wrong types": _frame("SessionResponse", {"connected": "true", "expirationDate": "1", "newSession": None}),
    "numbers without bound": _frame("JwtResponse", {"jwt": "j", "exp": 10**40}, code=10**30),
    "more envelope": _frame("LogoutEvent", {}, extra={"a": 1}, version=2),
    "empty": {},
}
