from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def outcomes() -> list[tuple[str, str, bool, str, str]]:
    """What the checks say of every damaged file, under a limit on memory, in one process."""
    script = Path(__file__).with_name("damage.py")
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def test_hundreds_of_damaged_files_crash_nothing(outcomes):
    assert len(outcomes) >= 200
    assert {side for side, *_ in outcomes} == {"image", "audio"}


def test_what_cannot_be_used_is_refused(outcomes):
    taken = [name for _, name, must, reason, _ in outcomes if must and not reason]
    assert taken == []


def test_every_refusal_has_a_code_and_a_sentence(outcomes):
    for side, name, _, reason, message in outcomes:
        if reason:
            assert re.fullmatch(f"{side}-[a-z]+(-[a-z]+)*", reason), name
            assert 10 < len(message) < 250, name
            assert "\n" not in message, name
            assert "0x" not in message, name  # addresses differ from run to run
