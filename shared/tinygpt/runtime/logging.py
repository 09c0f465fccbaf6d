"""Structured logs: one event per line, with the id of the request and the run. Never a prompt's text at info level."""

import logging
import sys
from collections.abc import Sequence
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger


def configure_logging(
    service: str, *, format: Literal["console", "json"], level: str, extra: Sequence[Processor] = ()
) -> None:
    """Send structlog's and the standard library's records to stdout in one format. Call once, in `main`."""

    def add_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    for_both: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        *extra,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso" if format == "json" else "%H:%M:%S", utc=format == "json"),
    ]
    renderer: Processor
    if format == "json":
        for_both += [add_service, structlog.processors.format_exc_info]
        renderer = structlog.processors.JSONRenderer()
    else:
        # structlog's default traces show the values of variables, such as a prompt.
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stdout.isatty(), pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[*for_both, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=for_both,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for chatty in ("httpx", "httpcore", "uvicorn.access", "rq.worker", "rq.job", "rq.queue"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    for own_handlers in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(own_handlers).handlers = []
        logging.getLogger(own_handlers).propagate = True
