"""The world without sockets, on a virtual clock: whatever guests do, it answers and keeps its books."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from guestwire.emulator import triggers
from guestwire.emulator.agents import load_script
from guestwire.emulator.faults import KINDS
from guestwire.emulator.records import Abort, AgentError, Close, Connection
from guestwire.emulator.settings import EmulatorSettings
from guestwire.emulator.world import World

START = 1_790_000_000.0
TOKENS = ("a", "b")


def presence(kind: str) -> dict[str, Any]:
    """A presence event as a guest sends it."""
    return {"type": "Event", "events": [{"eventType": "Presence", "presence": {"type": kind}}]}


MESSAGES: list[Any] = [
    {"type": "Text", "text": "hello order"},
    {"type": "Text", "text": ""},
    {"type": "Text", "text": "x", "channel": {"messageId": "m", "metadata": {"customAttributes": {"k": "v"}}}},
    {"content": [{"contentType": "Attachment", "attachment": {"id": "file"}}]},
    {"type": "Event", "events": [{"eventType": "Typing", "typing": {"type": "On"}}]},
    presence("Join"),
    presence("Clear"),
    presence("Disconnect"),
    {"type": 7, "text": ["no"]},
    None,
]

requests = st.fixed_dictionaries(
    {
        "action": st.sampled_from(
            [  # some twice: they are what clients do most
                "configureSession",
                "configureSession",
                "configureAuthenticatedSession",
                "onMessage",
                "onMessage",
                "onMessage",
                "onAttachment",
                "getAttachment",
                "deleteAttachment",
                "echo",
                "getJwt",
                "getConfiguration",
                "closeSession",
                "resumeToken",
            ]
        )
    },
    optional={
        "token": st.sampled_from(TOKENS),
        "deploymentId": st.just("D"),
        "tracingId": st.sampled_from(["1", "2", 3]),
        "startNew": st.booleans(),
        "closeAllConnections": st.booleans(),
        "message": st.sampled_from(MESSAGES),
        "attachmentId": st.just("file"),
        "fileName": st.just("a.png"),
        "fileType": st.just("image/png"),
        "fileSize": st.integers(0, 2),
        "data": st.just({"code": "x"}),
        "errorsAsJson": st.booleans(),
    },
)
likely = st.sampled_from(
    [{"action": "configureSession", "token": token, "deploymentId": "D"} for token in TOKENS]
    + [
        {"action": "onMessage", "token": token, "tracingId": "t", "message": message}
        for token in TOKENS
        for message in MESSAGES
    ]
)
steps = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 4), requests | likely | likely),
    st.tuples(st.just("connect"), st.integers(0, 4), st.none()),
    st.tuples(st.just("lose"), st.integers(0, 4), st.none()),
    st.tuples(st.just("pass"), st.integers(0, 4), st.sampled_from([0.0, 0.01, 1.0, 70.0, 300_000.0])),
    st.tuples(st.just("fault"), st.integers(0, 4), st.sampled_from(sorted(KINDS))),
    st.tuples(st.just("agent"), st.integers(0, 4), st.sampled_from(["send", "read_only", None])),
    st.tuples(st.just("trigger"), st.integers(0, 4), st.sampled_from(sorted(triggers.KINDS))),
)


class Simulation:
    """Five guests' clients on one world."""

    def __init__(self, **options: Any) -> None:
        values = {"deployment_id": "D", "clear_enabled": True, "script": "support", **options}
        chosen = EmulatorSettings.checked(values)
        self.world = World(chosen, load_script(chosen.script))
        self.now = START
        self.slots: list[Connection | None] = [None] * 5

    def step(self, verb: str, slot: int, what: Any) -> None:
        """Do one thing, then what is due, then collect what would be written."""
        connection = self.slots[slot]
        match verb:
            case "connect":
                if connection is not None:
                    self.world.lost(connection)
                answer = self.world.upgrade("D", None, "localhost", self.now)
                self.slots[slot] = answer if isinstance(answer, Connection) else None
            case "send" if connection is not None:
                self.world.receive(connection, json.dumps(what), self.now)
            case "lose" if connection is not None:
                self.world.lost(connection)
            case "pass":
                self.now += what
            case "fault":
                self.world.faults.inject({"kind": what, "match": {"action": "*"}})
            case "agent":
                self.act(what)
            case "trigger":
                with contextlib.suppress(AgentError):  # nobody is there
                    triggers.pull(self.world, {"what": what, "token": TOKENS[slot % 2]}, self.now)
        self.world.delivery.run_due(self.now)
        self.check()

    def act(self, mode: Any) -> None:
        """End every conversation there is; some cannot be ended."""
        for session in list(self.world.sessions.values()):
            try:
                self.world.desk.disconnect(session, mode, self.now)
            except AgentError:
                assert session.read_only or self.now >= session.expires_at

    def check(self) -> None:
        """What always holds."""
        world = self.world
        for connection in world.delivery.take_touched():
            outputs, connection.outputs = connection.outputs, []
            ends = [place for place, output in enumerate(outputs) if isinstance(output, Close | Abort)]
            assert ends in ([], [len(outputs) - 1])
            assert bool(ends) <= (not connection.open)
        for session in world.sessions.values():
            assert len(session.connections) <= world.settings.connections_per_session
            assert all(each.open and each.session is session for each in session.connections)
        assert sum(len(session.history) for session in world.sessions.values()) <= len(world.entries)
        assert len({entry.body.id for entry in world.entries}) == len(world.entries)
        assert sum(conversation.kept for conversation in world.conversations.values()) == len(world.entries)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=40), st.sampled_from(["documented", "off"]), st.booleans())
def test_no_order_of_events_breaks_the_world(script: list[Any], limits: str, auth: bool) -> None:
    """Any order of requests, losses, faults, time and agents gives answers, never an exception."""
    simulation = Simulation(limits=limits, auth_enabled=auth, max_messages=10, max_sessions=3)
    for slot in range(5):
        simulation.step("connect", slot, None)
    for step in script:
        simulation.step(*step)


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_frame_is_answered(data: bytes | str) -> None:
    """Bytes that are no request are answered with an error."""
    world = World(EmulatorSettings(deployment_id="D"))
    connection = world.upgrade("D", None, "localhost", START)
    assert isinstance(connection, Connection)
    world.receive(connection, data, START)
    (output,) = connection.outputs
    assert isinstance(output, bytes)
    assert json.loads(output)["code"] in (400, 4007, 4020)


def test_a_guests_ids_do_not_depend_on_others() -> None:
    """What one guest gets is the same whether or not another one talks in between."""

    def ids(*, crowded: bool) -> list[str | None]:
        simulation = Simulation(script="echo")
        for slot, token in enumerate(TOKENS):
            simulation.step("connect", slot, None)
            simulation.step("send", slot, {"action": "configureSession", "token": token, "deploymentId": "D"})
        for number in range(4):
            for slot, token in enumerate(TOKENS if crowded else TOKENS[:1]):
                message = {"type": "Text", "text": str(number)}
                simulation.step("send", slot, {"action": "onMessage", "token": token, "message": message})
            simulation.step("pass", 0, 1.0)
        first = simulation.world.sessions[next(iter(simulation.world.sessions))]
        return [entry.body.id for entry in first.history]

    assert ids(crowded=True) == ids(crowded=False)
