"""What `leadpact agreement check` says of every agreement in broken/, in one file to be read aloud.

    python -m tests.unit.agreement.golden

writes it anew. Each file there is a whole agreement with one mistake that people make; what is said
of it names the place and what would be right.
"""

from __future__ import annotations

from pathlib import Path

from shared.agreement import check

FOLDER = Path(__file__).parent / "broken"
GOLDEN = FOLDER / "messages.txt"


def files() -> list[Path]:
    return sorted(FOLDER.glob("*.yaml"))


def said_of(file: Path) -> list[str]:
    """What is wrong, a line each, with the file's name alone."""
    return [str(problem).removeprefix(f"{file.parent}/") for problem in check(file)]


def messages() -> str:
    return "\n".join("\n".join(said_of(file)) + "\n" for file in files())


if __name__ == "__main__":
    GOLDEN.write_text(messages(), "utf-8")
