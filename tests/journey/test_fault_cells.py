"""
Every fault that reliability demands to be shown stands in docs/faults.md, for every way out that can meet it.

A cell names rows of the page, or a test that holds it elsewhere; `-` says that the way out cannot meet it, and why.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.journey.test_fault_matrix import TABLES

ROOT = Path(__file__).parents[2]
#: Rows of the page by section and fault.
ROWS = {(row.section, row.cells["fault"]) for table in TABLES for row in table if "fault" in row.cells}
REST_ONLY = "- no message goes over HTTP; the history's answers are below"
NO_SESSION = "- there is no WebSocket, and no session"


def _ws(*faults: str) -> list[str]:
    return [f"WebSocket: {fault}" for fault in faults]


def _web(section: str, *faults: str) -> list[str]:
    return [f"{section}: {fault}" for fault in faults]


def _answers(*faults: str) -> list[str]:
    return [f"REST: answers: {fault}" for fault in faults]


def _lines(*faults: str) -> list[str]:
    return [f"REST: connections: {fault}" for fault in faults]


#: Demand: what shows it for web messaging, what for the REST ways.
CELLS: dict[str, tuple[list[str] | str, list[str] | str]] = {
    # HTTP
    "429, Retry-After in seconds": (_web("History", "history 429"), _answers("429, seconds")),
    "429, Retry-After as a date": (REST_ONLY, _answers("429, a date", "429, a date gone by")),
    "429, Retry-After 0": (REST_ONLY, _answers("429, 0", "429, less than nothing")),
    "429, Retry-After absurd": (REST_ONLY, _answers("429, a year", "429, words")),
    "429, Retry-After absent": (REST_ONLY, _answers("429, no time")),
    "500": (_web("History", "history unreadable"), _answers("500", "500 after taking it")),
    "502": (REST_ONLY, _answers("502", "502 after taking it")),
    "503": (_web("History", "history 503"), _answers("503, seconds", "503, no time")),
    "504": (REST_ONLY, _answers("504 after taking it")),
    "408": (REST_ONLY, _answers("408")),
    "413": (REST_ONLY, _answers("413", "413, unread")),
    "401": (_web("History", "history 401"), _answers("401 once", "401 for ever", "401, and no new token")),
    "403": (REST_ONLY, _answers("403 of a firewall", "403, permission missing")),
    "3xx to another host": (_web("History", "history as redirect"), _answers("301", "302", "307", "308")),
    "200 with HTML": (_web("History", "history as html"), _answers("200, a page")),
    "200, truncated": (_web("History", "history as cut off"), _answers("200, cut off")),
    "gzip bomb": (REST_ONLY, _answers("gzip bomb")),
    # TCP and TLS
    "refused": (_web("The way there", "refused"), _lines("refused at the start", "refused later")),
    "DNS failure": (_web("The way there", "name unknown"), _lines("name unknown")),
    "DNS slow": (
        _web("The way there", "name slow", "name without an answer"),
        _lines("name slow", "name without an answer"),
    ),
    "DNS to a private address": (
        _web("Files", "address in a private network", "address of the cloud's host"),
        "- the operator's own address may be private; addresses of others are guarded",
    ),
    "reset at byte k": (
        _web("The way there", "reset at once", "reset unanswered", "reset within the answer"),
        _lines("reset at byte 0", "reset at byte 1", "reset at byte 40", "reset before the last byte"),
    ),
    "early FIN": (
        _web("The way there", "end unanswered", "end within the answer"),
        _lines("end at byte 0", "end at byte 17", "end before the last byte"),
    ),
    "half-open peer": (
        [*_ws("no pong", "no pong after accepting"), *_web("The way there", "silence", "TLS that is silent")],
        _lines("silence", "silence after taking it"),
    ),
    "slow loris": (_web("The way there", "answer too slow"), _lines("answer too slow")),
    "chunks of one byte": (
        [*_ws("fragments of one byte"), *_web("The way there", "one byte at a time")],
        _lines("answer byte by byte", "chunks of one byte"),
    ),
    "certificate expired": (_web("The way there", "certificate expired"), _lines("certificate expired")),
    "certificate of another host": (
        _web("The way there", "certificate of another host"),
        _lines("certificate of another host"),
    ),
    "certificate signed by itself": (
        _web("The way there", "certificate signed by itself"),
        _lines("certificate signed by itself"),
    ),
    "TLS 1.1": (_web("The way there", "TLS 1.1"), _lines("TLS 1.1")),
    "proxy 407": (_web("The way there", "proxy 407"), _lines("proxy 407")),
    # WebSocket
    **{f"upgrade {status}": (_ws(f"upgrade {status}"), NO_SESSION) for status in (401, 403, 426, 429, 503)},
    **{
        f"close {code}": (
            _ws(f"close {code} on the way", f"close {code} after accepting", f"close {code} while idle"),
            NO_SESSION,
        )
        for code in (1000, 1001, 1006, 1008, 1011, 1012, 1013)
    },
    "invalid UTF-8": (_ws("invalid UTF-8", "invalid UTF-8 in fragments"), _answers("200, not UTF-8")),
    "oversized": (_ws("oversized frame", "oversized in fragments"), _answers("endless body")),
    "fragmented": (_ws("fragments"), NO_SESSION),
    "interleaved control frames": (_ws("control frames between fragments"), NO_SESSION),
    "ping flood": (_ws("ping flood"), NO_SESSION),
    "binary frame": (_ws("binary frame"), NO_SESSION),
    "fourth connection of a session": (_ws("fourth connection while idle"), NO_SESSION),
    # Guest API
    "echo missing": (_web("Echoes and limits", "echo missing"), NO_SESSION),
    "echo late": (_web("Echoes and limits", "echo late", "echo too late"), NO_SESSION),
    "echo after a reconnect": (_web("Echoes and limits", "echo after the reconnect"), NO_SESSION),
    "echo duplicated": (_web("Echoes and limits", "echo twice", "echo twice, with two ids"), NO_SESSION),
    "echo out of order": (_web("Echoes and limits", "echo out of order", "old echo first"), NO_SESSION),
    "echo with unknown tracingId": (_web("Echoes and limits", "echo with an unknown tracingId"), NO_SESSION),
    "echo without tracingId": (_web("Echoes and limits", "echo without tracingId"), NO_SESSION),
    "throttle with retryAfter": (_web("Echoes and limits", "throttle with retryAfter"), NO_SESSION),
    "throttle without retryAfter": (_web("Echoes and limits", "throttle without retryAfter"), NO_SESSION),
    **{
        f"error {code}": (_web("Errors", f"error {code}"), NO_SESSION)
        for code in (4006, 4007, 4011, 4013, 4017, 4020, 4029, 5000, 4999)
    },
    "SessionExpiredEvent": (
        _web("Sessions", "session expired, told at the message", "session expired while idle"),
        NO_SESSION,
    ),
    "ConnectionClosedEvent": (_web("Sessions", "evicted while idle", "evicted on the way"), NO_SESSION),
    "LogoutEvent": (_web("Sessions", "logged out while idle", "logged out on the way"), NO_SESSION),
    "cleared while sending": (_web("Sessions", "cleared on the way"), NO_SESSION),
    "read-only": (_web("Sessions", "read-only while idle", "read-only on the way"), NO_SESSION),
    "session replaced in silence": (_web("Sessions", "session replaced in silence"), NO_SESSION),
    "history empty": (_web("History", "history empty"), _web("REST: looking up", "looking 404")),
    "history behind": (_web("History", "history behind"), _web("REST: looking up", "conversation behind")),
    "history shifting": (
        _web("History", "history shifting"),
        "- ids of a conversation are read in one answer; tests/journey/test_open_messaging.py",
    ),
    "history without metadata": (
        _web("History", "history without metadata"),
        "- Open Messaging has no metadata of ours: messages are found by our messageId",
    ),
    "frame without type or class": (_web("Frames that are none", "frame without type and class"), NO_SESSION),
}
#: Demands that stand outside the page, with the test that holds each.
ELSEWHERE = {
    "one refresh for a thousand who wait": "tests/unit/test_oauth.py::test_a_thousand_who_wait_ask_once",
    "one renewal for a thousand that were refused": (
        "tests/unit/test_oauth.py::test_of_a_thousand_that_were_refused_one_renews"
    ),
    "a peer that does not read": "tests/unit/test_line.py::test_closing_with_a_peer_that_does_not_read",
    "a name that changes to a private address": (
        "tests/unit/test_net_guard.py::test_a_name_is_asked_for_once_and_its_answer_is_connected_to"
    ),
    "a name with a private address": "tests/unit/test_net_guard.py::test_a_name_is_refused_for_any_of_its_addresses",
    "webhook sink: down for an hour": (
        "tests/contract/test_replies_sink.py::test_after_an_outage_everything_arrives_in_order_and_once"
    ),
    "webhook sink: 5xx": "tests/contract/test_replies_sink.py::test_failures_are_spread_and_the_pause_has_a_cap",
    "webhook sink: slow": "tests/contract/test_replies_sink.py::test_a_slow_receiver_gets_it_again",
    "webhook sink: 410": "tests/contract/test_replies_sink.py::test_a_receiver_that_is_gone_for_ever_ends_it",
}

#: Demands about the machine: rows of that table.
MACHINE = {
    "disk full": ["disk nearly full", "disk full", "disk full at a write", "writes cut off"],
    "a disk that fails": ["nothing is synced", "nothing can be read", "disk gone"],
    "read-only": ["disk turns read-only", "disk read-only from the start"],
    "EMFILE": ["too few descriptors"],
    "clock": [
        *(f"clock {span} {way}" for span in ("an hour", "ten years") for way in ("ahead", "behind")),
        "clock set while a relay runs",
    ],
    "suspend": ["suspended"],
    "signals": [
        "SIGTERM",
        "SIGTERM while a name is silent",
        "SIGTERM twice",
        "SIGINT twice",
        "SIGHUP",
        "SIGPIPE",
        "SIGKILL",
    ],
    "LANG=C": ["locale of no country"],
}


@pytest.mark.parametrize("demand", MACHINE)
def test_every_demand_about_the_machine_is_a_row(demand: str) -> None:
    """Whatever may happen to the machine stands in the page."""
    assert {("The machine", fault) for fault in MACHINE[demand]} <= ROWS


@pytest.mark.parametrize("demand", CELLS)
def test_every_cell_is_filled(demand: str) -> None:
    """The rows that a cell names stand in the page, where they are executed; an empty cell says why."""
    for shown in CELLS[demand]:
        if isinstance(shown, str):
            assert shown.startswith("- ")
            continue
        assert shown
        for place in shown:
            section, _, fault = place.rpartition(": ")
            assert (section, fault) in ROWS, place


@pytest.mark.parametrize("demand", ELSEWHERE)
def test_what_is_held_elsewhere_is_there(demand: str) -> None:
    """The test exists."""
    path, _, name = ELSEWHERE[demand].partition("::")
    found = ast.walk(ast.parse((ROOT / path).read_text("utf-8")))
    assert name in {node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
