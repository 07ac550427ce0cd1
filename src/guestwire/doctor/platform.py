"""Whose organisation it is, what the OAuth client may do there, and how often."""

from __future__ import annotations

from typing import Final

import msgspec

from guestwire.doctor.checks import Check, Spot
from guestwire.doctor.refusals import ADMIN_CLIENTS, lacking_of, unforeseen_check
from guestwire.doctor.scene import Given, Scene
from guestwire.net import Answer
from guestwire.protocol.platform import json_of

#: The permission without which Open Messaging takes nothing.
RECEIVE: Final = "conversation:message:receive"
#: Path of what everybody may know of his own organisation.
ORGANISATION: Final = "/api/v2/organizations/me"


# --- the organisation ---


async def look_at_organisation(scene: Scene) -> Check:
    """Look which organisation the credentials belong to, unless nobody could tell and nobody wants to know."""
    destination = scene.destination
    if destination.transport == "rest-contract" and not destination.expect_org_id:
        return Check("organisation", "skip", "the tutorial contract tells none, and expect_org_id is not set")
    answer = await scene.asking.call("GET", ORGANISATION)
    return organisation_check(scene.given, answer, now=scene.clock.now())


def organisation_check(given: Given, answer: Answer, *, now: float) -> Check:
    """Judge the answer to `ORGANISATION`: without `expect_org_id` nothing depends on it."""
    destination = given.destination
    wanted = destination.expect_org_id
    found = json_of(answer.body) or {}
    if answer.status != 200 or not isinstance(found.get("id"), str):
        return _no_organisation(given, answer, now)
    name = found.get("name")
    what = f"{name}, {found['id']}" if isinstance(name, str) and name else found["id"]
    if wanted is None:
        return Check("organisation", "ok", what)
    if found["id"].lower() != wanted:
        return Check(
            "organisation",
            "fail",
            f"{what}; but {given.told('expect_org_id', 'expect_org_id')} is {wanted}",
            f"use {given.told('the OAuth client', 'client_id', 'access_token')} of the right organisation; nothing "
            "is sent to this one",
        )
    return Check("organisation", "ok", f"{what}, as expected")


def _no_organisation(given: Given, answer: Answer, now: float) -> Check:
    destination = given.destination
    is_expected = destination.expect_org_id is not None
    if not is_expected and answer.status == 404 and destination.region is None:
        return Check("organisation", "skip", f"{destination.host} tells none")
    if not is_expected and answer.status == 403:
        return Check("organisation", "skip", f"may not be read: {lacking_of(answer)}; nothing depends on it")
    check = unforeseen_check("organisation", answer, host=destination.host, now=now)
    if answer.status == 403:
        fix = "give the OAuth client's role that permission, or remove expect_org_id: until then nothing is sent"
        return msgspec.structs.replace(check, fix=fix)
    return check


# --- rights ---


async def look_at_permission(scene: Scene) -> Check:
    """Look whether messages would be taken, by a request that can be none."""
    destination = scene.destination
    if destination.transport != "openmessaging":
        return Check("permission", "skip", "no request of the tutorial contract is sure to be no message")
    # An empty object can never be a message: `channel`, with the guest in it, is required by the schema, so the
    # platform can neither thread nor keep it. What it says instead tells who it is that asks: rights are looked at
    # before bodies (vendor's error pages), so 400 means "you may", 403 names the permission, 404 the integration.
    path = f"/api/v2/conversations/messages/{destination.integration_id}/inbound/open/message"
    answer = await scene.asking.call("POST", path, b"{}")
    return permission_check(scene.given, answer, now=scene.clock.now())


def permission_check(given: Given, answer: Answer, *, now: float) -> Check:
    """Judge the answer to a message that is none."""
    if answer.status == 400:
        return Check("permission", "ok", f"{RECEIVE}; the integration takes requests")
    if answer.status == 403:
        fix = f"give a role with {RECEIVE} to the OAuth client ({ADMIN_CLIENTS} > Roles)"
        return Check("permission", "fail", f"the OAuth client lacks {lacking_of(answer) or RECEIVE}", fix)
    if answer.status == 404:
        return _no_integration("permission", given)
    return unforeseen_check("permission", answer, host=given.destination.host, now=now)


async def look_at_integration(scene: Scene) -> Check:
    """Look whether the integration is active, and where its replies go."""
    path = f"/api/v2/conversations/messaging/integrations/open/{scene.destination.integration_id}"
    answer = await scene.asking.call("GET", path)
    return integration_check(scene.given, answer, now=scene.clock.now())


def integration_check(given: Given, answer: Answer, *, now: float) -> Check:
    """Judge an integration by what the platform tells of it; of its webhook the host alone is named."""
    found = json_of(answer.body) or {}
    if answer.status == 403:
        return Check("integration", "skip", f"may not be read: {lacking_of(answer)}; no message depends on it")
    if answer.status == 404:
        return _no_integration("integration", given)
    if answer.status != 200 or not found:
        return unforeseen_check("integration", answer, host=given.destination.host, now=now)
    name, created = str(found.get("name", "without a name")), found.get("createStatus", "Completed")
    if created != "Completed":
        fix = "wait until it is made; if it stays so, make it again (Admin > Message > Platforms)"
        return Check("integration", "warn", f"{name}: its making is '{created}'", fix)
    if found.get("status", "Active") != "Active":
        fix = "switch it on in Admin > Message > Platforms"
        return Check("integration", "warn", f"{name} is '{found['status']}'", fix)
    hook = found.get("outboundNotificationWebhookUrl")
    if not isinstance(hook, str) or not hook:
        fix = "set its outbound notification webhook URL, or expect no replies"
        return Check("integration", "warn", f"{name} has no webhook, so replies go nowhere", fix)
    try:
        return Check("integration", "ok", f"{name}; replies go to {Spot.of(hook)}")
    except ValueError:
        fix = "correct its outbound notification webhook URL"
        return Check("integration", "warn", f"{name}: the address of its webhook is none, so replies go nowhere", fix)


def _no_integration(name: str, given: Given) -> Check:
    return Check(
        name,
        "fail",
        f"there is no {given.told(f'integration {given.destination.integration_id}', 'integration_id')} here",
        "copy its id from Admin > Message > Platforms; a region or an OAuth client of another organisation gives "
        "the same answer",
    )


# --- limits ---


async def look_at_limits(scene: Scene) -> Check:
    """Tell which limits are kept, and hold them against what the platform has said meanwhile."""
    return limits_check(scene.given, scene.asking.allowed)


def limits_check(given: Given, allowed: int | None) -> Check:
    """Judge the limits by what the platform says it allows a minute; None: it has said nothing."""
    destination = given.destination
    limits = destination.limits
    words = [
        f"{name} {getattr(limits, name):,} ({given.source(f'limits.{name}') or 'default'})"
        for name in ("messages_per_s", "requests_per_min", "max_text")
    ]
    if not destination.pace:
        return Check("limits", "warn", "pace is off: none is kept", "remove pace = false")
    if allowed is None or destination.transport == "rest-contract":
        return Check("limits", "ok", ", ".join(words))
    if allowed == limits.requests_per_min:
        return Check("limits", "ok", f"{', '.join(words)}; the platform says the same")
    effect = "messages will be throttled" if allowed < limits.requests_per_min else "it could go faster"
    return Check(
        "limits",
        "warn",
        f"{words[1]}, but the platform allows {allowed:,} a minute: {effect}",
        f"set requests_per_min = {allowed} in [destinations.{destination.name}.limits]",
    )
