"""The PostgreSQL of the wheel after deaths of all kinds: it starts again, and ends with its last user."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.system.fleet import wait_for

REPO = Path(__file__).resolve().parents[2]
USE = """
import sys
from pathlib import Path
from shared.database import start_embedded
print(start_embedded(Path(sys.argv[1])), flush=True)
sys.stdin.readline()
"""


def user(data: Path) -> subprocess.Popen[str]:
    """A process that uses the server, until it is told to end."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", USE, str(data)], cwd=REPO, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("postgresql://")
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=30)


def note(data: Path) -> Path:
    """Where the server says that it runs, and under which number."""
    return data / "postgres" / "postmaster.pid"


def server(data: Path) -> int:
    return int(note(data).read_text().splitlines()[0])


def gone(pid: int) -> Callable[[], bool]:
    return lambda: not Path(f"/proc/{pid}").exists()


def test_it_is_shared_and_ends_with_the_last_who_uses_it(tmp_path: Path) -> None:
    first, second = user(tmp_path), user(tmp_path)
    pid = server(tmp_path)
    end(first)
    assert server(tmp_path) == pid
    end(second)
    assert not note(tmp_path).exists()


def test_who_was_killed_does_not_keep_it_running(tmp_path: Path) -> None:
    killed = user(tmp_path)
    killed.kill()
    killed.communicate()
    pid = server(tmp_path)
    last = user(tmp_path)
    assert server(tmp_path) == pid
    end(last)
    assert not note(tmp_path).exists()


def test_after_a_power_cut_another_program_with_its_number_is_not_taken_for_it(tmp_path: Path) -> None:
    killed = user(tmp_path)
    left = note(tmp_path).read_text()
    killed.kill()
    killed.communicate()
    os.kill(server(tmp_path), 9)
    wait_for("the server to be gone", gone(int(left.splitlines()[0])), within_s=30)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other:
        note(tmp_path).write_text(left.replace(left.splitlines()[0], str(other.pid), 1))
        end(user(tmp_path))
        assert not note(tmp_path).exists()
        assert other.poll() is None  # nor was it stopped in the server's place


def test_a_note_that_was_half_written_does_not_stop_the_start(tmp_path: Path) -> None:
    end(user(tmp_path))
    note(tmp_path).write_text("1234567\n")
    end(user(tmp_path))
    assert not note(tmp_path).exists()


def test_files_that_were_made_half_way_are_made_again(tmp_path: Path) -> None:
    half = tmp_path / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    end(user(tmp_path))
    assert not half.exists()
