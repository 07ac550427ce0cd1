"""What is set, told with the places that decided it. Nobody is asked."""

from __future__ import annotations

from guestwire.doctor.checks import Check
from guestwire.doctor.scene import Given
from guestwire.settings import region_of


def settings_check(given: Given) -> Check:
    """Tell the way out and the ids that go with it; a certificate that nobody verifies is a warning."""
    destination = given.destination
    words = [given.told(destination.transport, "transport")]
    for field, noun in (("deployment_id", "deployment"), ("integration_id", "integration")):
        value = getattr(destination, field)
        if value and (field == "integration_id") == (destination.transport == "openmessaging"):
            words.append(given.told(f"{noun} {value}", field))
    if not destination.tls.verify:
        return Check(
            "settings",
            "warn",
            "; ".join([*words, "tls.verify is off, so anyone on the way can read and alter every message"]),
            "remove tls.verify = false; for a private authority set tls.ca_file",
        )
    return Check("settings", "ok", "; ".join(words))


def region_check(given: Given) -> Check:
    """Tell the region and its domain, or whose gateway it is."""
    destination = given.destination
    if destination.region is None:
        return Check("region", "ok", given.told(f"none: a gateway of its own, {destination.url}", "url"))
    domain = region_of(destination.region).domain
    return Check("region", "ok", given.told(f"{destination.region}, {domain}", "region"))
