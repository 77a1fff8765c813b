"""Clips heard through descriptors and through the real CLAP code on small random weights."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from artsound.errors import BadData
from artsound.training.ears import SOUND_FIELDS, as_heard, clap_ear, describe_wave
from artsound.training.evaluate import hear

sys.path.append(str(Path(__file__).resolve().parents[1] / "encoders"))
from random_weights import CLAP_MODEL, write_clap

RATE = 16_000
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)).astype(np.float32)


@pytest.fixture
def clap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # CLAP finds its text model there
    return write_clap(tmp_path, CLAP_MODEL)


def test_frequencies_and_tempo_are_heard_on_a_logarithmic_scale() -> None:
    low, high = (as_heard(describe_wave(wave, RATE)[None])[0] for wave in (TONE, TONE[::2]))
    pitch = SOUND_FIELDS.index("centroid")
    assert high[pitch] - low[pitch] == pytest.approx(np.log(2), abs=0.15)


def test_clap_gives_unit_rows_beside_the_descriptors(clap: Path) -> None:
    ear = clap_ear(clap, CLAP_MODEL, device="cpu")
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32)
    take = hear([TONE, noise, TONE], RATE, [ear])
    rows = take.heard["clap"]
    assert rows.shape == (3, 512)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-3)
    assert np.array_equal(rows[0], rows[2])
    assert not np.allclose(rows[0], rows[1], atol=1e-3)
    assert take.described.shape == (3, len(SOUND_FIELDS))


def test_a_missing_clap_checkpoint_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"none\.pt"):
        clap_ear(tmp_path / "none.pt", CLAP_MODEL, device="cpu")
