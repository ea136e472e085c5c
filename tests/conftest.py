"""Which fixtures may every test ask for, how patient is Hypothesis, and what of the machine must not matter?"""

import os

import structlog
from hypothesis import HealthCheck, settings
from tests.postgres import database_url, postgres

__all__ = ["database_url", "postgres"]

# Machines that run tests are shared, so slow examples say nothing. (Registered here, it is also imported before any
# test: Hypothesis is large, and Python 3.11 may fail to parse it late, with much garbage around.)
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", _patient)
# The same examples every time, so that a failure speaks of the change that is tested and not of the dice.
settings.register_profile("shared", _patient, derandomize=True)
settings.load_profile("shared")

# Whatever proxy this machine has: what the tests talk to is on it.
os.environ |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")

# What structlog does by itself draws a traceback with all that is in its frames, which takes seconds.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)
