"""
P3: Open Messaging, durable, against the official SDK's own method.

The SDK sends one message after the other, and then from 16 threads; ours are a hundred guests, 64 requests on their way
at once, every attempt written ahead and every answer stored (SQLite FULL). The far side answers both with the
documented 202. Client CPU from the construction of a message to its acceptance, all threads. What a lost answer costs
either of them is `lost_answer`.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from benchmarks import far
from benchmarks.durable import IN_FLIGHT, contender
from benchmarks.measure import cpu_s, interleaved, machine, python, ratio, spread
from benchmarks.wire import TEXT

GOAL = 0.6
MESSAGES = 3_000
THREADS = 16
#: Messages before the measure begins: connections and first-time work.
WARM = 100


def main() -> None:
    """Print our CPU a message beside the SDK's."""
    if importlib.util.find_spec("PureCloudPlatformClientV2") is None:
        print("rest: the vendor's SDK is not installed (pip install 'guestwire[sdk]')")
        return
    print(f"Open Messaging (P3), client CPU per message, {machine()}")
    threads = f"SDK, {THREADS} threads"
    intake: list[float] = []
    with far.running() as url:
        found = interleaved(
            {
                "SDK": _sdk(url, 1),
                threads: _sdk(url, THREADS),
                "durable": contender("openmessaging", url, MESSAGES, intake),
            }
        )
    for name, values in found.items():
        print(f"  {name:<28} {spread(values, 'us')}")
    print(f"  {'intake of it':<28} {spread(intake[1:], 'us')}, {IN_FLIGHT} on their way at once")
    for name in ("SDK", threads):
        print(f"  {'durable / ' + name:<28} {ratio(found['durable'], found[name])}  goal {GOAL}x")


def _sdk(url: str, threads: int) -> Callable[[], float]:
    def run() -> float:
        with tempfile.TemporaryDirectory() as home:  # it reads settings of whoever is at home here
            command = python("-m", "benchmarks.rest", url, str(MESSAGES), str(threads))
            environment = {**os.environ, "HOME": home, "PYTHONPATH": os.pathsep.join(sys.path)}
            return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout)

    return run


def client(url: str, messages: int, threads: int) -> None:
    """Send with the SDK, and print the CPU per message in microseconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own
        import PureCloudPlatformClientV2 as Sdk
    api_client = Sdk.ApiClient(host=url)
    api_client.access_token = "token"  # noqa: S105 - nobody looks at it
    api = Sdk.ConversationsApi(api_client)

    def send(number: int) -> None:
        sender = Sdk.OpenMessagingFromRecipient()
        sender.id, sender.id_type = f"guest-{number % 100}", "Opaque"
        channel = Sdk.OpenInboundMessageMessagingChannel()
        channel.pcFrom, channel.time, channel.message_id = sender, datetime.now(UTC), f"ext-{number}"
        message = Sdk.OpenInboundNormalizedMessage()
        message.channel, message.text = channel, TEXT
        answer = api.post_conversations_message_inbound_open_message(
            far.INTEGRATION, message, prefetch_conversation_id=True
        )
        assert answer.id

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(send, range(WARM)))
        began = cpu_s()
        if threads == 1:
            for number in range(messages):
                send(number)
        else:
            list(pool.map(send, range(messages)))
        spent = cpu_s() - began
    print(spent / messages * 1e6)


if __name__ == "__main__":
    client(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
