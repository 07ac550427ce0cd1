"""
The tutorial contract as a way out: one POST to a gateway of one's own.

It has no way to look for a message whose answer was lost: such a part goes by the caller's choice at once. Its answer
claims that a message is delivered; a receipt that comes to the webhook says so with more right.
"""

from __future__ import annotations

from guestwire.model import Accepted
from guestwire.net import Answer
from guestwire.protocol import contract
from guestwire.protocol.openmessaging import Call
from guestwire.transports.base import Attempt, LaneInfo
from guestwire.transports.rest import RestTransport


class RestContractTransport(RestTransport):
    """One gateway that serves the tutorial contract. Arguments as of `RestTransport`."""

    permission = "messaging:conversation:write"

    def _request(self, lane: LaneInfo, attempt: Attempt) -> Call:
        return contract.message_call(lane.guest, attempt.body, now=self.clock.now())

    def _accepted(self, answer: Answer) -> Accepted | None:
        return contract.accepted_of(answer.status, answer.headers, answer.body)
