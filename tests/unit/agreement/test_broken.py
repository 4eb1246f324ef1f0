"""Agreements as people get them wrong: what the check says of each is in broken/messages.txt, to be read aloud.

    python -m tests.unit.agreement.golden

writes it anew when a message is meant to be another.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.agreement import check, load
from shared.errors import Refused
from tests.unit.agreement import golden

FILES = golden.files()


def test_every_message_is_the_one_that_was_read_aloud() -> None:
    assert golden.messages() == golden.GOLDEN.read_text("utf-8")


def test_there_are_as_many_mistakes_as_people_make() -> None:
    assert len(FILES) >= 80


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_something_is_said_of_every_mistake_and_only_an_error_keeps_the_file_from_use(file: Path) -> None:
    severities = {problem.severity for problem in check(file)}
    assert severities in ({"error"}, {"warning"})
    if severities == {"warning"}:
        load(file)
    else:
        with pytest.raises(Refused):
            load(file)
