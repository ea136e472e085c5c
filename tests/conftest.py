"""Which fixtures may every test ask for, and how patient is Hypothesis?"""

import structlog
from hypothesis import settings
from tests.postgres import database_url, postgres

__all__ = ["database_url", "postgres"]

# Machines that run tests are shared, so a slow example says nothing. (Registered here, it is also imported before any
# test: Hypothesis is large, and Python 3.11 may fail to parse it late, with much garbage around.)
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

# What structlog does by itself draws a traceback with all that is in its frames, which takes seconds.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)
