"""Whether a deployment is there, and whom it lets embed it."""

from __future__ import annotations

from collections.abc import Sequence

from guestwire.doctor.checks import Check
from guestwire.doctor.refusals import unforeseen_check
from guestwire.doctor.scene import Given, Scene
from guestwire.net import Answer
from guestwire.protocol.platform import json_of


async def look_at_deployment(scene: Scene) -> Check:
    """Look whether the deployment is there, and switched on."""
    answer = await scene.asking.get(scene.destination.config_url)
    return deployment_check(scene.given, answer, now=scene.clock.now())


def deployment_check(given: Given, answer: Answer, *, now: float) -> Check:
    """Judge a deployment by its public configuration."""
    destination = given.destination
    found = json_of(answer.body)
    if answer.status in (403, 404):  # what a store of files says of one that is not there
        return Check(
            "deployment",
            "fail",
            f"no deployment {given.told(destination.deployment_id, 'deployment_id')} there ({answer.status})",
            "copy its id from Admin > Message > Messenger Deployments, and compare the region",
        )
    if answer.status != 200 or found is None:
        return unforeseen_check("deployment", answer, host=destination.host, now=now)
    status = found.get("status", "Active")
    if status != "Active":
        fix = "switch the deployment on in Admin > Message > Messenger Deployments"
        return Check("deployment", "fail", f"{destination.deployment_id} is '{status}'", fix)
    return Check("deployment", "ok", f"{destination.deployment_id} is active")


async def look_at_origin(scene: Scene) -> Check:
    """Look whether the deployment allows the origin that is set."""
    return origin_check(scene.given, await scene.asking.get(scene.destination.domains_url))


def origin_check(given: Given, answer: Answer) -> Check:
    """Judge the origin by the deployment's public list of allowed domains."""
    destination = given.destination
    found = json_of(answer.body)
    if answer.status != 200 or found is None:
        return Check("origin", "skip", f"which domains are allowed is not published here ({answer.status})")
    domains = found.get("allowedDomains")
    allowed = [domain for domain in domains if isinstance(domain, str)] if isinstance(domains, list) else []
    if found.get("allowAllDomains") is True:
        return Check("origin", "ok", "the deployment allows every domain")
    listed = f"the deployment allows {_some(allowed)}"
    if destination.origin is None:
        first = f'set destinations.{destination.name}.origin, such as "https://{_bare(allowed[0])}"' if allowed else ""
        return Check("origin", "warn", f"{listed}, and origin is not set", first or "allow a domain")
    if is_allowed_origin(destination.origin, allowed):
        return Check("origin", "ok", given.told(f"{destination.origin} is allowed", "origin"))
    fix = "add it in Admin > Message > Messenger Deployments, or set origin to one that is allowed"
    return Check("origin", "fail", f"{listed}, not {given.told(destination.origin, 'origin')}", fix)


def is_allowed_origin(origin: str, allowed: Sequence[str]) -> bool:
    """Whether a list of allowed domains has an origin: the same host, with a scheme or not, or ``*.`` and its end."""
    host = _bare(origin)
    return any(
        host == _bare(entry) or (_bare(entry).startswith("*.") and host.endswith(_bare(entry)[1:])) for entry in allowed
    )


def _bare(origin: str) -> str:
    """The host of an origin."""
    return origin.rpartition("//")[2].partition("/")[0].partition(":")[0].lower()


def _some(names: Sequence[str]) -> str:
    if not names:
        return "no domain"
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
