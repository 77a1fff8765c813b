"""Clips heard by descriptors and by the real CLAP code on small random weights, to the results."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from artsound.encoders.descriptors import SOUND_FIELDS, as_embedded, measure_wave
from artsound.errors import BadData
from artsound.training.data import Release
from artsound.training.evaluate import embed_sound, evaluate, window_of
from artsound.training.loop import TrainReport
from artsound.training.metrics import (
    clap_embedder,
    frechet_distance,
    kernel_distance,
)

sys.path.append(str(Path(__file__).resolve().parents[1] / "encoders"))
from random_weights import CLAP_MODEL, write_clap

RATE = 16_000
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clap")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_clap(folder, CLAP_MODEL)
    return folder


@pytest.fixture
def clap(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(home)  # CLAP finds its text model there
    return home / "clap.pt"


def test_frequencies_and_tempo_are_heard_on_a_logarithmic_scale() -> None:
    low, high = (as_embedded(measure_wave(wave, RATE)[None])[0] for wave in (TONE, TONE[::2]))
    pitch = SOUND_FIELDS.index("centroid")
    assert high[pitch] - low[pitch] == pytest.approx(np.log(2), abs=0.15)


def test_clap_gives_unit_rows_beside_the_descriptors(clap: Path) -> None:
    ear = clap_embedder(clap, CLAP_MODEL, device="cpu")
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32)
    take = embed_sound([TONE, noise, TONE], RATE, [ear])
    rows = take.embedded["clap"]
    assert rows.shape == (3, 512)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-3)
    assert np.array_equal(rows[0], rows[2])
    assert not np.allclose(rows[0], rows[1], atol=1e-3)
    assert take.described.shape == (3, len(SOUND_FIELDS))


def test_evaluation_reports_distances_in_claps_embeddings(
    clap: Path, trained: tuple[Path, TrainReport], release: Release, tmp_path: Path
) -> None:
    summary = evaluate(
        trained[0],
        release,
        tmp_path / "out",
        takes=1,
        steps=2,
        limit=4,
        clap=clap,
        clap_tower=CLAP_MODEL,
    )
    assert summary["embeddings"] == ["descriptors", "clap"]
    assert all(set(s) == {"descriptors", "clap", "bridge"} for s in summary["systems"].values())
    measured = summary["systems"]["model"]["clap"]
    # The same, from the files that were left and the library's own calls.
    samples = [release.pairs(split).read(n) for split in ("val", "test") for n in range(4)]
    ear = clap_embedder(clap, CLAP_MODEL, device="cpu")
    assert ear.embed is not None
    real = ear.embed([window_of(sample["mp3"], 1.024, RATE) for sample in samples], RATE)
    files = [tmp_path / "out" / "wavs" / f"{sample['key']}.wav" for sample in samples]
    made = ear.embed([soundfile.read(file, dtype="float32")[0] for file in files], RATE)
    assert measured["frechet"]["mean"] == pytest.approx(frechet_distance(real, made), rel=1e-3)
    assert measured["kernel"]["mean"] == pytest.approx(kernel_distance(real, made), rel=1e-3)
    table = (tmp_path / "out" / "table.md").read_text()
    assert "clap" in table.lower()


def test_a_missing_clap_checkpoint_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"none\.pt"):
        clap_embedder(tmp_path / "none.pt", CLAP_MODEL, device="cpu")
