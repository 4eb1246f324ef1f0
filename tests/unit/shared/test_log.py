"""Logs: one JSON object a line, and nothing of an exception that could quote a person."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.log import JsonLines, Log

ROOT = Path(__file__).parents[3]
PERSON = "ana@example.test"


class _Lines(logging.Handler):
    """Keeps each line as the formatter wrote it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    @property
    def last(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.lines[-1])
        return found


@pytest.fixture
def lines() -> Iterator[_Lines]:
    handler, logger = _Lines(), logging.getLogger("leadpact.test")
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield handler
    logger.removeHandler(handler)


def fail() -> None:
    try:
        int(PERSON)
    except ValueError as error:
        raise KeyError(PERSON) from error


def test_a_line_is_an_event_with_its_fields(lines: _Lines) -> None:
    Log("leadpact.test").info("batch_done", messages=12, wörter="größer")
    assert {name: lines.last[name] for name in ("level", "logger", "event", "messages", "wörter")} == {
        "level": "INFO",
        "logger": "leadpact.test",
        "event": "batch_done",
        "messages": 12,
        "wörter": "größer",
    }


def test_a_line_stays_one_line_and_json_whatever_is_in_it(lines: _Lines) -> None:
    Log("leadpact.test").warning("odd", path=Path("/x"), text='two\nlines and a "')
    assert "\n" not in lines.lines[-1]
    assert lines.last["path"] == "/x"


def test_of_an_exception_its_type_and_place_are_told_and_never_its_words(lines: _Lines) -> None:
    try:
        fail()
    except KeyError as error:
        Log("leadpact.test").error("handler_failed", error=error)
    assert lines.last["error"] == "KeyError"
    assert lines.last["at"][-1].startswith("test_log.py:")
    assert lines.last["at"][-1].endswith(" fail")
    assert PERSON not in lines.lines[-1]


def test_what_asyncio_says_of_a_lost_task_quotes_nothing(lines: _Lines) -> None:
    logging.getLogger("leadpact.test").error(f"Task exception was never retrieved\nfuture: ValueError({PERSON!r})")
    assert lines.last["event"] == "Task exception was never retrieved"
    assert PERSON not in lines.lines[-1]


def test_an_exception_that_others_log_is_treated_the_same(lines: _Lines) -> None:
    try:
        fail()
    except KeyError:
        logging.getLogger("leadpact.test").exception("Exception in ASGI application")
    assert lines.last["error"] == "KeyError"
    assert PERSON not in lines.lines[-1]


def test_configured_logs_go_to_standard_error_as_json() -> None:
    code = "from shared.log import Log, configure; configure(); Log('leadpact').info('started', port=8000)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert json.loads(done.stderr)["event"] == "started"


def test_configured_logs_go_to_a_file_when_told(tmp_path: Path) -> None:
    file = tmp_path / "leadpact.log"
    code = "import sys; from pathlib import Path; from shared.log import Log, configure"
    code += "; configure(file=Path(sys.argv[1])); Log('leadpact').info('started')"
    done = subprocess.run([sys.executable, "-c", code, str(file)], cwd=ROOT, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
    assert json.loads(file.read_text())["event"] == "started"
