"""The sample's pictures: its painters, the affect plane, ArtGraph's layout and the faults."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from artsound.errors import BadUsage
from artsound.sample import sample_marker, write_sample
from artsound.sample.canvas import Mood, lch, painter_lab
from artsound.sample.layouts import write_artgraph
from artsound.sample.museum import MANNERS, WORKS, Manner, Work, paint, picture_bytes, plan_museum
from artsound.sample.plane import corner, spread
from artsound.sources.artgraph import list_artgraph, read_artworks
from artsound.storage import write_json

SEED = 0


@pytest.fixture(scope="module")
def artgraph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_artgraph(tmp_path_factory.mktemp("sample"), seed=SEED)


@pytest.fixture(scope="module")
def images(artgraph: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(artgraph / "imagesf2.zip") as archive:
        return {name.removeprefix("imagesf2/"): archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sound() -> list[Work]:
    """Works whose files are whole and their own."""
    return [work for work in plan_museum(SEED) if work.fault in ("", "cmyk")]


@pytest.fixture(scope="module")
def measures(sound: list[Work], images: dict[str, bytes]) -> dict[str, np.ndarray]:
    """Plain statistics of every sound picture, one array per statistic."""
    rows = [_measure(images[work.file]) for work in sound]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _measure(data: bytes) -> dict[str, float]:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    lab = painter_lab(np.asarray(image))
    light = lab[..., 0]
    across, down = np.abs(np.diff(light, axis=1)), np.abs(np.diff(light, axis=0))
    return {
        "light": light.mean(),
        "spread": light.std(),
        "chroma": np.hypot(lab[..., 1], lab[..., 2]).mean(),
        "red": lab[..., 1].mean(),
        "yellow": lab[..., 2].mean(),
        "edges": (across > 6).mean() + (down > 6).mean(),
        "hardness": np.percentile(across, 99),
        "fineness": across.mean() / max(light.std(), 1),
        "across": across.mean() / (down.mean() + 0.01),
        "flat": (across < 0.3).mean(),
    }


def _table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


# --- the plane -------------------------------------------------------------------------


@given(st.integers(0, 2**31))
def test_points_fill_the_plane_evenly(seed: int) -> None:
    points = spread(100, seed)
    assert points == spread(100, seed)
    cells = [(int((v + 1) * 2), int((a + 1) * 2)) for v, a in points]
    counts = [cells.count((i, j)) for i in range(4) for j in range(4)]
    assert min(counts) >= 4
    assert max(counts) <= 9


@given(st.floats(0, 100), st.floats(0, 130), st.floats(-720, 720))
def test_a_colour_out_of_gamut_keeps_its_lightness(light: float, chroma: float, hue: float) -> None:
    measured = painter_lab(np.array([lch(light, chroma, hue)], np.uint8))[0]
    assert abs(measured[0] - light) < 2  # near black, eight bits make steps of 1.6


# --- the pictures ----------------------------------------------------------------------


def test_there_are_at_least_eight_manners_and_each_spans_the_plane(sound: list[Work]) -> None:
    assert len(MANNERS) >= 8
    for manner in MANNERS:
        works = [work for work in sound if work.manner is manner]
        assert len(works) >= 6
        assert len({corner(work.valence, work.arousal) for work in works}) >= 3


def test_manners_can_be_distinguished_by_simple_statistics(
    sound: list[Work], measures: dict[str, np.ndarray]
) -> None:
    texture = ("spread", "chroma", "edges", "hardness", "fineness", "across", "flat")
    table = np.stack([measures[name] for name in texture], axis=1)
    table = (table - table.mean(0)) / table.std(0)
    styles = np.array([work.manner.style for work in sound])
    names = sorted(set(styles))
    right = 0
    for i in range(len(table)):
        others = np.arange(len(table)) != i
        centres = [table[others & (styles == name)].mean(0) for name in names]
        nearest = int(np.argmin([np.linalg.norm(table[i] - centre) for centre in centres]))
        right += names[nearest] == styles[i]
    chance = 1 / len(names)
    assert right / len(table) > 5 * chance


def test_valence_and_arousal_can_be_recovered_from_colour_and_edges(
    sound: list[Work], measures: dict[str, np.ndarray]
) -> None:
    valence = np.array([work.valence for work in sound])
    arousal = np.array([work.arousal for work in sound])

    def correlation(name: str, with_what: np.ndarray) -> float:
        return float(np.corrcoef(measures[name], with_what)[0, 1])

    assert correlation("light", valence) > 0.8
    assert correlation("yellow", valence) > 0.25
    assert correlation("chroma", arousal) > 0.7
    assert correlation("red", arousal) > 0.4
    assert correlation("spread", arousal) > 0.5
    assert correlation("edges", arousal) > 0.15
    names = ("light", "spread", "chroma", "red", "yellow", "edges")
    table = np.stack([measures[name] for name in names], axis=1)
    table = np.column_stack([(table - table.mean(0)) / table.std(0), np.ones(len(table))])
    for target, least in ((valence, 0.9), (arousal, 0.8)):
        hat = table @ np.linalg.pinv(table)
        left_out = target - (target - hat @ target) / (1 - np.diag(hat))
        assert np.corrcoef(left_out, target)[0, 1] > least


def test_another_process_paints_the_same_bytes(images: dict[str, bytes]) -> None:
    chosen = {work.manner.style: work for work in plan_museum(SEED) if not work.fault}
    code = (
        "import hashlib\n"
        "from artsound.sample.museum import picture_bytes, plan_museum\n"
        f"chosen = {{w.manner.style: w for w in plan_museum({SEED}) if not w.fault}}\n"
        "for w in chosen.values(): print(hashlib.sha256(picture_bytes(w)).hexdigest())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    digests = [hashlib.sha256(images[work.file]).hexdigest() for work in chosen.values()]
    assert run.stdout.split() == digests


def test_another_seed_paints_other_pictures() -> None:
    first, second = plan_museum(0)[0], plan_museum(1)[0]
    assert {work.file for work in plan_museum(0)} != {work.file for work in plan_museum(1)}
    assert picture_bytes(first) != picture_bytes(second)


def test_pictures_are_of_a_handy_size_and_say_that_they_are_synthetic(
    sound: list[Work], images: dict[str, bytes]
) -> None:
    for work in sound:
        image = Image.open(io.BytesIO(images[work.file]))
        assert image.size == work.size
        assert 384 <= max(image.size) <= 512
        assert b"synthetic" in image.info["comment"]


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_every_mood_has_paint_in_range(valence: float, arousal: float) -> None:
    mood = Mood(valence, arousal)
    assert 0 <= mood.unrest <= 1
    assert 20 <= mood.lightness <= 80
    assert 0 <= mood.hue < 360
    for light in (-3.0, 0.0, 3.0):
        for colour in (mood.ink(light), mood.local(120, light)):
            assert all(0 <= channel <= 255 for channel in colour)


@pytest.mark.parametrize("manner", MANNERS, ids=lambda manner: manner.style)
def test_a_manner_paints_every_motif_it_names(manner: Manner) -> None:
    seen = set()
    for motif in manner.motifs:
        image = manner.paint(motif.subject, Mood(0.9, 0.9), np.random.default_rng(0), (120, 90))
        assert image.size == (120, 90)
        assert image.mode == "RGB"
        assert np.asarray(image).std() > 5
        seen.add(image.tobytes())
    assert len(seen) == len(manner.motifs)


# --- faults ----------------------------------------------------------------------------


def _faulty(kind: str) -> Work:
    return next(work for work in plan_museum(SEED) if work.fault == kind)


def test_a_page_of_html_a_cut_jpeg_and_a_thumbnail_are_among_the_images(
    images: dict[str, bytes],
) -> None:
    assert images[_faulty("html").file].startswith(b"<!DOCTYPE html>")
    cut = Image.open(io.BytesIO(images[_faulty("cut").file]))
    with pytest.raises(OSError, match="truncated"):
        cut.load()
    assert Image.open(io.BytesIO(images[_faulty("thumbnail").file])).size == (40, 30)


def test_a_cmyk_jpeg_decodes_to_the_picture_that_was_painted(images: dict[str, bytes]) -> None:
    work = _faulty("cmyk")
    image = Image.open(io.BytesIO(images[work.file]))
    assert image.mode == "CMYK"
    painted = np.asarray(paint(work), np.float32)
    assert np.abs(np.asarray(image.convert("RGB"), np.float32) - painted).mean() < 8


def test_one_name_has_no_file_and_two_names_share_their_bytes(images: dict[str, bytes]) -> None:
    assert {work.file for work in plan_museum(SEED)} - set(images) == {_faulty("absent").file}
    digests = [hashlib.sha256(data).digest() for data in images.values()]
    assert len(digests) - len(set(digests)) == 1
    copy = _faulty("copy").file
    assert images[copy] == images[copy.replace("-1.jpg", ".jpg")]


# --- layout ----------------------------------------------------------------------------


def test_counts_and_indices_of_the_graph_agree(artgraph: Path) -> None:
    header, counts = _table(artgraph / "raw" / "num-node-dict.csv")
    nodes = dict(zip(header, map(int, counts), strict=True))
    assert nodes["artwork"] == WORKS
    for node, count in nodes.items():
        rows = _table(artgraph / "mapping" / f"{node}_entidx2name.csv")
        assert [int(row[0]) for row in rows] == list(range(count))
        assert len({row[1] for row in rows}) == count
    triplets = _table(artgraph / "raw" / "triplet-type-list.csv")
    assert len(triplets) == len(list((artgraph / "raw" / "relations").iterdir()))
    for number, (source, relation, target) in enumerate(triplets):
        place = artgraph / "raw" / "relations" / f"{source}___{relation}___{target}"
        edges = [(int(a), int(b)) for a, b in _table(place / "edge.csv")]
        assert _table(place / "num-edge-list.csv") == [[str(len(edges))]]
        assert _table(place / "edge_reltype.csv") == [[str(number)]] * len(edges)
        assert all(0 <= a < nodes[source] and 0 <= b < nodes[target] for a, b in edges)
        if relation in ("createdby", "hasstyle", "hasgenre"):
            assert [a for a, _ in edges] == list(range(WORKS))
    for node in ("style", "genre", "emotion"):
        labels = _table(artgraph / "raw" / "node-label" / "artwork" / f"node-label-{node}.csv")
        assert len(labels) == WORKS
        assert all(0 <= int(label) < nodes[node] for (label,) in labels)


def test_the_reader_of_the_real_artgraph_reads_back_what_was_planned(artgraph: Path) -> None:
    table = read_artworks(artgraph, list_artgraph(artgraph), 2026)
    works = {work.file: work for work in plan_museum(SEED)}
    assert table["artwork_id"].to_list() == list(works)
    for row in table.to_dicts():
        work = works[row["artwork_id"]]
        assert row["title"].lower() == work.title.lower()
        assert row["painter"].lower() == work.painter.lower()
        assert row["year"] == work.year
        assert row["style"] == work.manner.style
        assert row["genre"] == work.motif.genre
        assert row["school"] == "synthetic"
        assert row["period"] == work.period
        assert sorted(row["tags"]) == sorted(work.motif.tags)
        assert sorted(row["emotions"]) == sorted(work.emotions)
        assert (row["name"] == "") == (work.fault == "absent")


def test_every_split_can_have_painters_of_its_own() -> None:
    painters = [work.painter for work in plan_museum(SEED)]
    assert len(set(painters)) >= 20
    assert max(painters.count(painter) for painter in painters) <= 10


def test_truth_lists_the_mood_of_every_usable_picture(artgraph: Path) -> None:
    header, *rows = _table(artgraph / "truth.csv")
    assert header == ["file", "valence", "arousal"]
    works = {work.file: work for work in plan_museum(SEED)}
    assert len(rows) == WORKS - 4
    for file, valence, arousal in rows:
        assert float(valence) == pytest.approx(works[file].valence, abs=1e-4)
        assert float(arousal) == pytest.approx(works[file].arousal, abs=1e-4)


def test_the_sample_says_in_words_that_it_is_synthetic(artgraph: Path) -> None:
    assert "synthetic" in (artgraph / "README.txt").read_text()


# --- write_sample ----------------------------------------------------------------------


def test_a_finished_sample_is_left_as_it_is(tmp_path: Path) -> None:
    write_json(tmp_path / "sample.json", sample_marker(SEED))
    paths = write_sample(tmp_path, seed=SEED)
    assert (paths.artgraph, paths.fma) == (tmp_path / "artgraph", tmp_path / "fma")
    assert [path.name for path in tmp_path.iterdir()] == ["sample.json"]


def test_a_folder_with_other_data_is_refused_and_left_intact(tmp_path: Path) -> None:
    mapping = tmp_path / "artgraph" / "mapping" / "artwork_entidx2name.csv"
    mapping.parent.mkdir(parents=True)
    mapping.write_text("0,mine.jpg\n")
    with pytest.raises(BadUsage, match="choose another folder"):
        write_sample(tmp_path)
    assert mapping.read_text() == "0,mine.jpg\n"
    assert [path.name for path in tmp_path.iterdir()] == ["artgraph"]
