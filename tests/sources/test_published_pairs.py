"""Files of published pairs: generous in names of columns, strict in values."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.sources.item_names import artwork_key
from artsound.sources.published_pairs import read_pairs

PAIRS = [("claude-monet_haystacks-1891.jpg", 10425), ("x_y.png", 2)]


def as_pairs(path: Path) -> list[tuple[str, int]]:
    return [(pair.artwork, int(pair.track)) for pair in read_pairs(path)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "a.json",
            '{"Image": {"0": "%s", "1": "%s"}, "Audio": {"1": "2.mp3", "0": "a/010425.mp3"}}',
        ),
        ("b.json", '{"artwork": ["%s", "%s"], "track": [10425, 2]}'),
        ("c.json", '[{"image_file": "%s", "mp3": "010425"}, {"image_file": "%s", "mp3": 2}]'),
        ("d.csv", "Image Name,other,Track-ID\n%s,x,010425\n%s,y,000002.mp3\n"),
        ("e.csv", "\ufeffimage,audio\n%s,C:\\\\fma\\\\010425.mp3\n%s,2\n"),
        ("f.tsv", "track_id\tartwork_id\n10425\t%s\n2\t%s\n"),
    ],
)
def test_all_forms_give_the_same_pairs(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text % tuple(image for image, _ in PAIRS), encoding="utf-8")
    assert as_pairs(tmp_path / name) == PAIRS


def test_parquet_is_read_by_its_two_columns(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        PAIRS, schema={"artwork_id": pl.String, "track_id": pl.Int32}, orient="row"
    )
    frame.with_columns(score=0.5).write_parquet(tmp_path / "p.parquet")
    assert as_pairs(tmp_path / "p.parquet") == PAIRS
    frame.with_columns(pl.col("track_id").cast(pl.Float64)).write_parquet(tmp_path / "f.parquet")
    with pytest.raises(BadData, match="not text or numbers"):
        read_pairs(tmp_path / "f.parquet")


def test_the_published_list_of_ten_thousand_is_read_whole(shared_data: Path) -> None:
    pairs = read_pairs(shared_data / "reference" / "art2mus_pairs_10000.json")
    assert len(pairs) == len({pair.artwork for pair in pairs}) == 10_000
    assert len({pair.track for pair in pairs}) == 10_000
    assert not any(pair.fault for pair in pairs)
    assert (pairs[0].artwork, pairs[0].track) == ("robert-montenegro_tehuana-1950.jpg", "010425")


@pytest.mark.parametrize(
    "track",
    [True, -1, 1_000_000, 2.5, None, "", "2 or so", "1e3", "0000002.mp3", "٣", [2], "2.exe"],
)
def test_a_value_that_is_no_track_is_a_fault_of_its_row(tmp_path: Path, track: object) -> None:
    (tmp_path / "p.json").write_text(json.dumps({"image": ["a.jpg", "b.jpg"], "audio": [track, 7]}))
    first, second = read_pairs(tmp_path / "p.json")
    assert "is not a track" in first.fault
    assert (second.artwork, second.track, second.fault) == ("b.jpg", "000007", "")


@pytest.mark.parametrize("image", [None, 3, "", " ", "folder/", ".jpg", "a\nb.jpg", "x" * 600])
def test_a_value_that_is_no_image_is_a_fault_of_its_row(tmp_path: Path, image: object) -> None:
    (tmp_path / "p.json").write_text(json.dumps({"image": [image], "audio": [7]}))
    assert "is not the name of an image" in read_pairs(tmp_path / "p.json")[0].fault


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("p.json", '{"image": ["a"], "sound": ["b"]}', "no column called track"),
        ("p.json", '{"image": ["a"], "audio": ["b", "c"]}', "do not have the same rows"),
        ("p.json", '{"image": {"0": "a", "0": "b"}, "audio": {"0": 1}}', "names a key twice"),
        ("p.json", "[" * 100_000, "not JSON"),
        ("p.json", "[1, 2]", "neither an object"),
        ("p.json", '{"image": [], "audio": []}', "holds no pair"),
        ("p.csv", "image,audio\na,1,2,3\n", "not a CSV table"),
        ("p.csv", "", "not a CSV table"),
        ("p.csv", "image,audio\ra,1\rb,2\r", "line 1 has a carriage return"),
        ("p.csv", "image,audio\na,1\0\n", "line 2 holds a NUL"),
        ("p.tsv", 'image\taudio\n"a\t1\nb\t2\n', "line 2 begins a quoted cell"),
        ("p.parquet", "PAR1", "not a parquet file"),
    ],
)
def test_a_broken_file_is_reported_in_a_sentence(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    (tmp_path / name).write_text(text, newline="")
    with pytest.raises(BadData, match=told):
        read_pairs(tmp_path / name)


def test_other_kinds_of_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p.pkl").write_bytes(b"cos\nsystem\n")
    with pytest.raises(BadUsage, match="must end in"):
        read_pairs(tmp_path / "p.pkl")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.binary(max_size=200), suffix=st.sampled_from(["json", "csv", "tsv", "parquet"]))
def test_any_bytes_are_read_or_reported(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"p.{suffix}"
    path.write_bytes(data)
    with contextlib.suppress(ArtSoundError):
        assert all(pair.fault or 0 <= int(pair.track) <= 999_999 for pair in read_pairs(path))


def test_names_of_one_image_have_one_key() -> None:
    assert artwork_key("x/y\\Caf\u0065\u0301.JPG") == artwork_key("Caf\u00e9")
