"""Structured logs: one JSON object a line, constant event names, no personal data.

    log.info("batch_done", messages=12)

ERROR is for what a person must act on.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any


class Log:
    """A logger whose lines are an event name and fields."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, **fields: Any) -> None:
        self._logger.info(event, extra={"fields": fields})

    def warning(self, event: str, **fields: Any) -> None:
        self._logger.warning(event, extra={"fields": fields})

    def error(self, event: str, *, error: BaseException | None = None, **fields: Any) -> None:
        self._logger.error(event, exc_info=error, extra={"fields": fields})


class JsonLines(logging.Formatter):
    """A record as one JSON object. Of an exception the type and the frames, never the message: it may quote data."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1]:
            line["error"] = type(record.exc_info[1]).__name__
            line["at"] = _frames(record.exc_info[1])
        return json.dumps(line, default=str, ensure_ascii=False)


def _frames(error: BaseException) -> list[str]:
    frames, trace = [], error.__traceback__
    while trace:
        code = trace.tb_frame.f_code
        frames.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return frames[-6:]


def configure(*, level: str = "INFO") -> None:
    """Send all logs to standard error as JSON lines. Called once, by the command line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("httpx", "aiokafka", "uvicorn.access", "alembic"):
        logging.getLogger(noisy).setLevel("WARNING")
