"""Structured logs: one JSON object a line, on standard error. Never the body of a message, never a secret."""

import logging
import sys


def configure(level: str) -> None:
    """Everything that logs through the standard library comes out as JSON; libraries only from WARNING on."""
    import structlog

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in ("service", "rules", "contracts"):
        logging.getLogger(name).setLevel(level)


def silence() -> None:
    """For commands that speak for themselves: libraries' complaints would only repeat their errors."""
    logging.disable(logging.CRITICAL)
