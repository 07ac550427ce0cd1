"""
A thousand who want a token at once: how many requests for one that makes.

Three crowds, against the same far side: nobody has a token yet; everybody was refused the same one and asks for
another; everybody sends a message with a token that has been revoked meanwhile, is answered 401, and sends it once
more. The counts are those of the far side. Each crowd ten times, each time with another `Tokens`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from benchmarks import far
from benchmarks.measure import machine, spread
from guestwire.clock import SystemClock
from guestwire.net import Answer, Http
from guestwire.protocol.openmessaging import Call
from guestwire.protocol.platform import token_request
from guestwire.transports.calls import HttpCaller
from guestwire.transports.oauth import Tokens

CROWD = 1_000
TIMES = 10
CALL = Call("POST", f"/api/v2/conversations/messages/{far.INTEGRATION}/inbound/open/message", {"text": "hello"})

#: What a crowd does, each of it; it gets a token that is bad by then.
Member = Callable[[HttpCaller, Tokens, str], Awaitable[object]]


def main() -> None:
    """Print how many requests for a token came, beside how many there should be."""
    print(f"{CROWD:,} who want a token at once, {TIMES} times, {machine()}")
    with far.running() as url:
        _report(url, "no token yet", lambda _, tokens, __: tokens.get(), has_token=False)
        _report(url, "the same token refused", lambda _, tokens, bad: tokens.renew(bad))
        _report(url, "sending with a revoked one", _send)


async def _send(caller: HttpCaller, _: Tokens, __: str) -> None:
    answer = await caller.call(CALL)
    assert answer.status == 202, answer


def _report(url: str, name: str, member: Member, *, has_token: bool = True) -> None:
    came: Counter[str] = Counter()
    fetches: list[int] = []
    took_ms: list[float] = []
    for _ in range(TIMES):
        before = far.counts(url)
        took_ms.append(asyncio.run(_crowd(url, member, has_token=has_token)))
        found = far.counts(url) - before
        fetches.append(found["tokens"] - has_token)  # the first one was asked for before the crowd came
        came += found
    most = f"{min(fetches)} .. {max(fetches)} requests for a token, goal 1"
    print(f"  {name:<28} {most}; {spread(took_ms, 'ms')}")
    if came["messages"]:
        sent, refused = came["messages"] / TIMES, came["unauthorized"] / TIMES
        print(f"  {'':<28} {sent:,.0f} POSTs for {CROWD:,} messages, {refused:,.0f} of them answered 401")


async def _crowd(url: str, member: Member, *, has_token: bool) -> float:
    """Let all of them go at once; return how long it took, in milliseconds."""
    http = Http(tls=None, proxy=None, timeout_s=30, connections=64, plain=True)

    async def ask() -> Answer:
        headers, body = token_request("client", "secret")
        return await http.post(f"{url}/oauth/token", headers, body)

    tokens = Tokens(ask, whose="the benchmark", clock=SystemClock())
    caller = HttpCaller(url, http, tokens)
    try:
        bad = ""
        if has_token:
            bad = await tokens.get()
            await asyncio.to_thread(far.revoke, url)
        began = time.perf_counter()
        await asyncio.gather(*(member(caller, tokens, bad) for _ in range(CROWD)))
        return (time.perf_counter() - began) * 1000
    finally:
        await caller.close()
