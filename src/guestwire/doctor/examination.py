"""
What is asked of a destination, after what, and for how long.

Each check is a small question of its own with a time-out of its own; those that do not need each other run at the same
time, and one that fails skips only what depends on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import NamedTuple

from guestwire.clock import Clock, SystemClock
from guestwire.doctor.asking import Asking, Page
from guestwire.doctor.checks import PATIENCE_S, Check, Spot
from guestwire.doctor.configuration import region_check, settings_check
from guestwire.doctor.credentials import credentials_check, look_at_token
from guestwire.doctor.network import connect, look_at_clock, look_up
from guestwire.doctor.platform import look_at_integration, look_at_limits, look_at_organisation, look_at_permission
from guestwire.doctor.scene import Given, Look, Scene
from guestwire.doctor.webmessaging import look_at_deployment, look_at_origin
from guestwire.errors import GuestWireError
from guestwire.net import Unreachable, tls_of
from guestwire.settings import Destination

_NETWORK_FIX = "check the network, a firewall, a proxy"
_PROXY_FIX = "let the host pass there, or set HTTPS_PROXY and NO_PROXY to a way that does not change answers"


class Step(NamedTuple):
    """One question in its place."""

    name: str
    look: Look
    needs: tuple[str, ...] = ()
    """Names of steps without which this one is not worth asking."""
    after: tuple[str, ...] = ()
    """Names of steps that have to be over first, whatever came of them."""


async def examine(
    destination: Destination,
    *,
    origins: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    timeout_s: float = PATIENCE_S,
) -> AsyncIterator[Check]:
    """
    Look at a destination: settings, network, credentials, rights, what it is told to write to.

    Args:
        destination: Which.
        origins: Of its settings, by dotted key, as `guestwire.settings.load` tells them.
        clock: The time that the far side's is held against.
        timeout_s: For each check.

    Yields:
        Every check, always in the same order, each as soon as it and those before it are done.
    """
    try:
        tls = tls_of(destination)
    except GuestWireError as error:
        yield Check("tls", "fail", error.message, error.hint)
        return
    asking = Asking(destination, tls, timeout_s)
    examination = _Examination(Scene(Given(destination, origins or {}), clock or SystemClock(), tls, asking), timeout_s)
    try:
        async for check in examination.run(steps_of(destination)):
            yield check
    finally:
        await examination.close()
        await asking.close()


def steps_of(destination: Destination) -> list[Step]:
    """What to ask of a destination, in the order in which it is told."""
    api, login = Spot.of(destination.gateway), Spot.of(destination.token_url)
    cdn, socket = Spot.of(destination.config_url), Spot.of(destination.websocket_url)
    is_web = destination.transport == "webmessaging"
    spots = list(dict.fromkeys((socket, cdn, api) if is_web else (api, login)))
    return [
        Step("settings", _told(settings_check)),
        Step("region", _told(region_check)),
        *(Step(f"dns {spot}", partial(look_up, spot)) for spot in spots),
        *(Step(f"tls {spot}", partial(connect, spot), needs=(f"dns {spot}",)) for spot in spots),
        Step("clock", look_at_clock, needs=(f"tls {api}",)),
        *(_web_steps(cdn) if is_web else _rest_steps(destination, api, login)),
    ]


def _web_steps(cdn: Spot) -> list[Step]:
    return [
        Step("deployment", look_at_deployment, needs=(f"tls {cdn}",)),
        Step("origin", look_at_origin, needs=("deployment",)),
        Step("limits", look_at_limits),
    ]


def _rest_steps(destination: Destination, api: Spot, login: Spot) -> list[Step]:
    needs = ("token", f"tls {api}")
    steps = [
        Step("credentials", _told(credentials_check)),
        Step("token", look_at_token, needs=("credentials", f"tls {login}")),
        Step("organisation", look_at_organisation, needs=needs),
        Step("permission", look_at_permission, needs=(*needs, "organisation")),
    ]
    if destination.transport == "openmessaging":
        steps.append(Step("integration", look_at_integration, needs=(*needs, "permission")))
    return [*steps, Step("limits", look_at_limits, after=("token", "organisation", "permission"))]


def _told(check: Callable[[Given], Check]) -> Look:
    """A look that asks nobody."""

    async def look(scene: Scene) -> Check:
        return check(scene.given)

    return look


class _Examination:
    """One run over one destination."""

    def __init__(self, scene: Scene, timeout_s: float) -> None:
        self._scene = scene
        self._timeout_s = timeout_s
        self._tasks: dict[str, asyncio.Task[Check]] = {}
        self._useless: dict[str, str] = {}
        """Steps after which those that need them are not worth asking, and the one that failed first."""

    async def run(self, steps: list[Step]) -> AsyncIterator[Check]:
        for step in steps:
            self._tasks[step.name] = asyncio.create_task(self._take(step))
        for task in list(self._tasks.values()):
            yield await task

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _take(self, step: Step) -> Check:
        """Wait for what a step needs, then ask."""
        for need in step.needs:
            await asyncio.wait([self._tasks[need]])
            if need in self._useless:
                first = self._useless[step.name] = self._useless[need]
                return Check(step.name, "skip", f"not looked at, because '{first}' failed")
        check = await self._ask(step)
        if check.status == "fail":
            self._useless[step.name] = step.name
        return check

    async def _ask(self, step: Step) -> Check:
        """Ask; whatever goes wrong is an answer too."""
        try:
            if step.after:  # each of them has a time of its own
                await asyncio.wait([self._tasks[name] for name in step.after])
            async with asyncio.timeout(self._timeout_s):
                return await step.look(self._scene)
        except (TimeoutError, Page, Unreachable, GuestWireError) as error:
            return trouble_check(step.name, error, timeout_s=self._timeout_s)


def trouble_check(name: str, error: TimeoutError | Page | Unreachable | GuestWireError, *, timeout_s: float) -> Check:
    """Tell what kept a look from an answer; `timeout_s` is what it had, in seconds."""
    match error:
        case TimeoutError():
            return Check(name, "fail", f"no answer within {timeout_s:g} s", _NETWORK_FIX)
        case Page():
            what = f"{error.host} answers with a page of HTML ({error.status})"
            return Check(name, "fail", f"{what}: a proxy, a firewall or a sign-in page", _PROXY_FIX)
        case Unreachable():
            return Check(name, "fail", f"no answer: {error}", _NETWORK_FIX)
        case GuestWireError():
            return Check(name, "fail", error.message, error.hint)
