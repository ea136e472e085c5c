"""What is logged, and how? To stderr: for eyes on a terminal, as JSON elsewhere."""

import logging
import sys

import structlog


def configure(level: str) -> None:
    """Log this and what is worse, here and in the libraries."""
    least = getattr(logging, level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if sys.stderr.isatty():
        last: list[structlog.typing.Processor] = [
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        ]
    else:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        # Looked up each time, so that whoever replaces stderr gets what is logged after that.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    logging.basicConfig(
        stream=sys.stderr, level=max(least, logging.WARNING), format="%(levelname)s %(name)s: %(message)s"
    )
