"""The sample's music: clean sound, genres and moods that can be told apart, FMA's layout."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal, stats

from artsound.encoders.affect_audio import SAMPLE_RATE as MEASURED_RATE
from artsound.encoders.affect_audio import describe_audio
from artsound.media import MediaError
from artsound.media.audio import check_audio
from artsound.sample.clips import FAULTS, HELD_OUT, Clip, plan_clips
from artsound.sample.compose import SCALES, chord, compose_score, scale_over, voicing
from artsound.sample.genres import GENRES, Genre
from artsound.sample.layouts import fma_files
from artsound.sample.plane import spread
from artsound.sample.synth import (
    HITS,
    SAMPLE_RATE,
    VOICES,
    Samples,
    drum,
    encode_mp3,
    render,
    tone,
)
from artsound.sources.fma import list_fma, read_tracks

GENRE_TITLES = [genre.title for genre in GENRES]


def compose_clip(genre: str, valence: float, arousal: float, seconds: float, seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    return render(compose_score(GENRES[GENRE_TITLES.index(genre)], valence, arousal, seconds, rng))


# --- sound -----------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_piece() -> None:
    first, again, other = (
        encode_mp3(compose_clip("Jazz", 0.4, 0.1, seconds=12, seed=seed)) for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("genre", "valence", "arousal"),
    [("Rock", -0.9, 1.0), ("Pop", 1.0, 1.0), ("Classical", 0.2, -1.0), ("Experimental", -1, -1)],
)
def test_a_clip_decodes_to_its_length_without_clipping(
    genre: str, valence: float, arousal: float
) -> None:
    samples = compose_clip(genre, valence, arousal, seconds=13, seed=1)
    decoded, rate = soundfile.read(io.BytesIO(encode_mp3(samples)), dtype="float32")
    assert rate == SAMPLE_RATE
    assert 12.0 <= len(samples) / rate <= 17.0
    assert len(decoded) == pytest.approx(len(samples), abs=0.1 * rate)
    assert np.abs(decoded).max() < 1.0
    assert abs(decoded.mean()) < 1e-3


@pytest.mark.parametrize("name", VOICES)
def test_a_note_begins_and_ends_in_silence_and_has_its_pitch(name: str) -> None:
    sound = tone(VOICES[name], 69, 0.8)
    assert np.isfinite(sound).all()
    assert np.abs(sound[:2]).max() < 0.02
    assert np.abs(sound[-2:]).max() < 1e-3
    spectrum = np.abs(np.fft.rfft(sound[: SAMPLE_RATE // 2] * np.hanning(SAMPLE_RATE // 2)))
    frequency = np.fft.rfftfreq(SAMPLE_RATE // 2, 1 / SAMPLE_RATE)
    near = (frequency > 425) & (frequency < 455)
    elsewhere = (frequency > 455) & (frequency < 840)
    assert spectrum[near].max() > 3 * spectrum[elsewhere].max()
    assert abs(frequency[near][spectrum[near].argmax()] - 440) < 4


@pytest.mark.parametrize("name", HITS)
def test_a_drum_is_struck_at_once_and_dies_away(name: str) -> None:
    sound = drum(name)
    assert np.abs(sound).max() == pytest.approx(0.9, abs=0.01)
    assert np.sum(sound[: len(sound) // 2] ** 2) > 3 * np.sum(sound[len(sound) // 2 :] ** 2)
    assert abs(sound[-1]) < 1e-3


# --- genres and moods, measured ------------------------------------------------------------


@pytest.fixture(scope="module")
def measured() -> pd.DataFrame:
    """Four clips of each genre over the plane: what the pipeline measures, and their spectrum."""
    rows = []
    for i, (valence, arousal) in enumerate(spread(4 * len(GENRES), 3)):
        genre = GENRE_TITLES[i % len(GENRES)]
        samples = compose_clip(genre, valence, arousal, seconds=12, seed=i)
        measures = describe_audio(soxr.resample(samples, SAMPLE_RATE, MEASURED_RATE))
        affect = {"genre": genre, "valence": valence, "arousal": arousal}
        rows.append(affect | measures | _spectrum(samples))
    return pd.DataFrame(rows)


def _spectrum(samples: np.ndarray) -> dict[str, float]:
    """Level of twelve bands relative to their mean, and how much each moves, in decibels."""
    frequency, _, power = signal.spectrogram(samples, SAMPLE_RATE, nperseg=4096, noverlap=2048)
    edges = pairwise(np.geomspace(40, 14_000, 13))
    bands = np.array([power[(frequency >= a) & (frequency < b)].sum(axis=0) for a, b in edges])
    level = 10 * np.log10(bands + 1e-9 * bands.max())
    means, moves = level.mean(axis=1) - level.mean(), level.std(axis=1)
    return {f"band{i}": float(v) for i, v in enumerate([*means, *moves])}


@pytest.mark.parametrize(
    ("affect", "measure", "least"),
    [
        ("arousal", "loudness", 0.9),
        ("arousal", "centroid", 0.7),
        ("arousal", "onset_rate", 0.5),
        ("arousal", "tempo", 0.5),
        ("valence", "majorness", 0.5),
        ("valence", "pitch_height", 0.2),
    ],
)
def test_the_descriptors_of_the_pipeline_hear_the_affect(
    measured: pd.DataFrame, affect: str, measure: str, least: float
) -> None:
    assert stats.spearmanr(measured[affect], measured[measure]).statistic > least


def test_the_mode_is_heard(measured: pd.DataFrame) -> None:
    assert ((measured.majorness > 0) == (measured.valence >= 0)).mean() > 0.85


def test_loudness_spans_from_soft_to_loud(measured: pd.DataFrame) -> None:
    assert measured.loudness.min() < -26
    assert measured.loudness.max() > -14


def test_a_genre_can_be_distinguished_from_the_others_by_its_spectrum_alone(
    measured: pd.DataFrame,
) -> None:
    features = measured.filter(regex="^band").to_numpy()
    affect = np.c_[np.ones(len(measured)), measured.valence, measured.arousal]
    features = features - affect @ np.linalg.lstsq(affect, features, rcond=None)[0]
    features /= features.std(axis=0)
    genre = measured.genre.to_numpy()
    right = 0
    for i in range(len(genre)):
        others = np.arange(len(genre)) != i
        centres = {g: features[others & (genre == g)].mean(axis=0) for g in GENRE_TITLES}
        nearest = min(centres, key=lambda g: float(np.sum((centres[g] - features[i]) ** 2)))
        right += nearest == genre[i]
    assert right / len(genre) > 5 / len(GENRES)


# --- rules ---------------------------------------------------------------------------------


@pytest.mark.parametrize("genre", GENRES, ids=GENRE_TITLES)
def test_the_patterns_of_a_genre_agree_and_name_what_exists(genre: Genre) -> None:
    bars = [*genre.bass[1], *(p for comp in genre.comps for p in comp.patterns)]
    bars += [pattern for kit in genre.drums for pattern in kit.values()]
    assert {len(bar.replace(" ", "")) for bar in bars} in ({12}, {16})
    assert {genre.lead, genre.bass[0], *(comp.voice for comp in genre.comps)} <= VOICES.keys()
    assert {name for kit in genre.drums for name in kit} <= HITS.keys()
    assert all(set(p) <= set("Cc123456._ ") for comp in genre.comps for p in comp.patterns)
    assert all(set(p) <= set("R3578a._ ") for p in genre.bass[1])
    for progression in (*genre.major, *genre.minor):
        assert all(chord(symbol) for symbol in progression.split())


@given(
    st.sampled_from(sorted({s for g in GENRES for p in (*g.major, *g.minor) for s in p.split()})),
    st.sampled_from(sorted(SCALES)),
    st.floats(40, 80),
)
def test_a_chord_keeps_its_notes_when_voiced_and_a_scale_gives_way_to_it(
    symbol: str, scale: str, centre: float
) -> None:
    classes = {note % 12 for note in chord(symbol)}
    voiced = voicing(chord(symbol), centre)
    assert {note % 12 for note in voiced} <= classes
    assert len(voiced) == min(len(classes), len(classes) - (len(classes) > 4))
    assert max(voiced) - min(voiced) < 12
    assert classes <= set(scale_over(SCALES[scale], chord(symbol)))


def test_voices_move_little_from_chord_to_chord() -> None:
    tonic, dominant = voicing(chord("I"), 60), ()
    assert tonic == (55, 60, 64)
    dominant = voicing(chord("V"), 60, tonic)
    assert sum(abs(a - b) for a, b in zip(tonic, dominant, strict=True)) <= 4


# --- the miniature FMA ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_every_split_covers_the_plane_and_no_artist_is_in_two(seed: int) -> None:
    clips = plan_clips(seed)
    good = [clip for clip in clips if not clip.fault]
    assert len(good) == 78
    counts = Counter(clip.genre.title for clip in good)
    assert len(counts) >= 8
    assert min(counts.values()) >= 6
    assert sorted(clip.fault for clip in clips if clip.fault) == sorted(FAULTS)
    assert len({clip.track_id for clip in clips}) == len(clips)
    assert len({clip.title for clip in good}) == len(good)
    splits = defaultdict(set)
    for clip in clips:
        splits[clip.artist_id].add(clip.split)
        assert clip.artist.endswith("(synthetic)")
    assert all(len(found) == 1 for found in splits.values())
    for split in ("training", "validation", "test"):
        points = [(c.valence > 0, c.arousal > 0) for c in good if c.split == split]
        assert len(points) >= HELD_OUT
        assert len(set(points)) == 4


@pytest.fixture(scope="module")
def few() -> list[Clip]:
    """Each fault, what the duplicate copies, and some good clips."""
    clips = plan_clips(0)
    broken = [clip for clip in clips if clip.fault]
    copied = next(clip.seed for clip in broken if clip.fault == "duplicate")
    good = [clip for clip in clips if not clip.fault]
    chosen = {clip.track_id for clip in [*broken, *good[:4]]}
    return [clip for clip in clips
            if clip.track_id in chosen or (clip.seed == copied and not clip.fault)]  # fmt: skip


@pytest.fixture(scope="module")
def root(few: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fma")
    for name, data in fma_files(few).items():
        (folder / name).write_bytes(data)
    return folder


def test_tracks_csv_has_the_header_and_columns_of_fma(root: Path, few: list[Clip]) -> None:
    with zipfile.ZipFile(root / "fma_metadata.zip") as archive:
        data = archive.read("fma_metadata/tracks.csv")
    table = pd.read_csv(io.BytesIO(data), header=[0, 1], index_col=0)
    assert table.shape == (len(few), 52)
    assert list(table.index) == [clip.track_id for clip in few]
    assert (table["album", "title"] == "ArtSound Synthetic Sample").all()
    assert table["track", "title"].str.endswith("(synthetic)").all()
    assert table["track", "tags"].str.contains("synthetic").all()
    assert table["track", "license"].isna().sum() == 1


def test_headers_and_genres_are_those_of_the_real_files(root: Path, shared_data: Path) -> None:
    real = shared_data / "fma" / "fma_metadata"
    with zipfile.ZipFile(root / "fma_metadata.zip") as archive:
        tracks = archive.read("fma_metadata/tracks.csv").decode()
        genres = archive.read("fma_metadata/genres.csv").decode()
    with (real / "tracks.csv").open() as file:
        assert tracks.splitlines()[:3] == [next(file).rstrip("\n") for _ in range(3)]
    known = {row["genre_id"]: row for row in csv.DictReader((real / "genres.csv").open())}
    for row in csv.DictReader(io.StringIO(genres)):
        for column in ("title", "parent", "top_level"):
            assert known[row["genre_id"]][column] == row[column]


def test_the_reader_of_the_fma_reads_it(root: Path, few: list[Clip]) -> None:
    tracks = read_tracks(root, list_fma(root, "large"), "large", 2026)
    assert tracks["track_id"].to_list() == [f"{clip.track_id}" for clip in few]
    assert tracks["genre"].to_list() == [clip.genre.title for clip in few]
    assert "synthetic" in tracks["tags"][0]
    absent = tracks.filter(name="")["track_id"].to_list()
    assert absent == [f"{clip.track_id}" for clip in few if clip.fault == "absent"]


def test_faults_are_found_and_good_clips_pass(root: Path, few: list[Clip]) -> None:
    found = {}
    with zipfile.ZipFile(root / "fma_large.zip") as archive:
        for clip in few:
            if clip.fault == "absent":
                continue
            data = archive.read(f"fma_large/990/{clip.track_id}.mp3")
            try:
                check_audio(data, min_seconds=10.0, silence_db=-60.0)
            except MediaError as error:
                found[clip.fault] = error.reason
    assert found == {
        "cut": "audio-truncated",
        "one second": "audio-too-short",
        "empty": "audio-empty",
        "silent": "audio-silent",
    }


def test_the_duplicate_is_another_clip_byte_for_byte_and_the_sums_are_right(root: Path) -> None:
    with zipfile.ZipFile(root / "fma_large.zip") as archive:
        sums = archive.read("fma_large/checksums").decode().split()
        digests = dict(zip(sums[1::2], sums[::2], strict=True))
        for name, digest in digests.items():
            data = archive.read(f"fma_large/{name}")
            assert hashlib.sha1(data, usedforsecurity=False).hexdigest() == digest
    assert len(set(digests.values())) == len(digests) - 1


def test_the_archives_are_the_same_bytes_each_time(few: list[Clip]) -> None:
    two = [clip for clip in few if not clip.fault][:2]
    assert fma_files(two) == fma_files(two)


def test_the_truth_lists_what_can_be_used(root: Path, few: list[Clip]) -> None:
    truth = pd.read_csv(root / "truth.csv", index_col=0)
    usable = [clip for clip in few if clip.fault in ("", "duplicate")]
    assert list(truth.index) == [clip.track_id for clip in usable]
    assert ((truth.valence >= 0) == (truth["mode"] == "major")).all()
    assert truth.tempo.between(45, 200).all()
