"""README's first steps, run as they stand there: what a newcomer pastes must work."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.real import REPO
from tests.system.fleet import SECRET, TOKEN, fleet

README = (REPO / "README.md").read_text()


def pasted(port: int) -> str:
    """The block under "Try it", with the secret and the token that a person would put in."""
    (block,) = re.findall(r"```sh\n(SECRET=.*?)```", README, re.DOTALL)
    block = re.sub(r"^SECRET=.*$", f"SECRET={SECRET}", block, flags=re.MULTILINE)
    block = re.sub(r"^TOKEN=.*$", f"TOKEN={TOKEN}", block, flags=re.MULTILINE)
    return block.replace("127.0.0.1:8000", f"127.0.0.1:{port}")


def test_the_webhook_of_the_readme_becomes_a_hand_off(tmp_path: Path) -> None:
    with fleet(tmp_path, agreement=REPO / "deploy" / "agreement.yaml") as made:
        done = subprocess.run(
            ["bash", "-e", "-c", pasted(made.door)], capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 0, done.stderr
    assert '{"accepted":3,"rejected":0}' in done.stdout
    assert '"grade":"B1"' in done.stdout
    assert '"state":"handed_off"' in done.stdout
    assert re.search(r'leadpact_handoffs_total\{.*trigger="Asked for a demo"\} 1\.0', done.stdout)
