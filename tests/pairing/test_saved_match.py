"""A large matching continues after it was killed, to the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import artsound
from artsound.errors import BadData, BadUsage

# Saves after every block of 1,024 rows of Y; killed by itself after so many saves.
KILLED = """
import sys
import numpy as np
import artsound
from artsound.pairing import match, search
from dying import die_after

match._SMALL, search.SAVED_PRODUCTS = 0, 1
die_after(int(sys.argv[2]))
x, y = np.load("x.npy"), np.load("y.npy")
found = artsound.match(x, y, optimality=0.9999, folder=sys.argv[1])
np.savez("found.npz", pairs=found.pairs, scores=found.scores, bound=found.bound)
"""


def rows(count: int, seed: int) -> np.ndarray:
    """Unit rows around twelve centres, which each seed has in other proportions."""
    rng, centres = np.random.default_rng(seed), np.random.default_rng(0).standard_normal((12, 9))
    made = centres[rng.choice(12, count, p=rng.dirichlet(np.ones(12)))]
    made += 0.6 * rng.standard_normal(made.shape)
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def test_a_killed_matching_continues_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artsound.pairing.match._SMALL", 0)
    x, y = rows(1900, 1), rows(2100, 2)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    runs = 0
    while not (tmp_path / "found.npz").exists():
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", KILLED, "saved", "2"]
        done = subprocess.run(
            command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        runs += 1
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        assert runs < 9
    assert runs >= 2
    found, whole = np.load(tmp_path / "found.npz"), artsound.match(x, y, optimality=0.9999)
    assert found["pairs"].tobytes() == whole.pairs.tobytes()
    assert found["scores"].tobytes() == whole.scores.tobytes()
    assert float(found["bound"]) == whole.bound
    with pytest.raises(BadUsage, match="other rows, options or version"):
        artsound.match(x, y, floor=0.1, folder=tmp_path / "saved")
    (tmp_path / "saved" / "search.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(BadData, match="is damaged"):
        artsound.match(x, y, optimality=0.9999, folder=tmp_path / "saved")
    with pytest.raises(BadUsage, match="has other files"):
        artsound.match(x[:9], y[:9], folder=tmp_path)
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "x", "/proc/none"):
        with pytest.raises(BadUsage, match="cannot be used as the folder of a matching"):
            artsound.match(x[:9], y[:9], folder=folder)
