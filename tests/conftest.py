"""How many examples the laws are tried on: 200, or 20,000 with GUESTWIRE_EXAMPLES=long."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("push", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("GUESTWIRE_EXAMPLES", "push"))
