from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import artsound
from artsound.columns import RENAMED
from artsound.errors import BadData, BadUsage
from artsound.extras import install_command
from artsound.shards.verify import verify
from artsound.storage import sha256_file


def test_a_dataset_has_as_many_samples_as_its_index_and_reads_each_as_written(shards: Path) -> None:
    data = artsound.open(shards)
    assert len(data) == data.frame.height == 45
    for position, row in enumerate(data.frame.iter_rows(named=True)):
        sample = data.read(position)
        assert sample["key"] == sample["json"]["key"] == row["key"]
        assert sample["jpg"][:2] == b"\xff\xd8"
        assert len(sample["mp3"]) == row["mp3_size"]
        assert sample["json"]["score"] == pytest.approx(row["score"])
    assert data.read(-1)["key"] == data.frame["key"][-1]


def test_indexing_gives_picture_and_sound_as_arrays_beside_the_fields(shards: Path) -> None:
    sample = artsound.open(shards)[3]
    assert sample["image"].shape == (64, 96, 3)
    assert sample["image"].dtype == np.uint8
    assert sample["audio"].dtype == np.float32
    assert len(sample["audio"]) / sample["sample_rate"] == pytest.approx(1.0, abs=0.1)
    assert sample["artwork_style"] == artsound.open(shards).frame["artwork_style"][3]


def test_without_torch_samples_can_be_read_and_streams_name_the_command_that_installs_it(
    shards: Path,
) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        f"import artsound; data = artsound.open({str(shards)!r})\n"
        "print(data[0]['image'].shape)\n"
        "try: data.stream()\n"
        "except artsound.errors.BadUsage as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "(64, 96, 3)",
        f"Streams need torch: {install_command(package='torch')}",
    ]


def test_splits_part_the_dataset(shards: Path) -> None:
    data = artsound.open(shards)
    parts = [data.split(name) for name in ("train", "val", "test")]
    assert [len(part) for part in parts] == [37, 4, 4]
    assert set(parts[1].frame["split"]) == {"val"}


def test_filters_combine_and_ignore_case(shards: Path) -> None:
    data = artsound.open(shards)
    chosen = data.filter(
        artwork_style="impressionism", track_genre=["Jazz", "ROCK"], where="score > 0.3"
    )
    expected = [
        row["key"]
        for row in data.frame.iter_rows(named=True)
        if row["artwork_style"] == "Impressionism"
        and row["track_genre"] in ("Jazz", "Rock")
        and row["score"] > 0.3
    ]
    assert chosen.frame["key"].to_list() == expected
    assert 0 < len(expected) < 45
    assert chosen.asked == (
        "artwork_style='impressionism'",
        "track_genre=['Jazz', 'ROCK']",
        "score > 0.3",
    )
    assert [chosen.read(i)["key"] for i in range(len(chosen))] == expected


def test_a_column_of_lists_is_asked_for_one_of_its_values(shards: Path) -> None:
    chosen = artsound.open(shards).filter(artwork_tags="Boat")
    assert all("boat" in tags for tags in chosen.frame["artwork_tags"])
    assert len(chosen) == 15


@pytest.mark.parametrize(
    ("where", "word"),
    [
        ("artwork_yaer < 1900", "artwork_year"),
        ("artwork_year <", "not an SQL condition"),
        ("artwork_year", "true or false"),
        ("artwork_style < 3", "columns are"),
        ("true; drop table samples", "';'"),
        ("year IN (SELECT x FROM read_csv('/etc/passwd'))", "SELECT"),
        ("'/* ' = style /* ' */ or artwork_year in (select 1)", "/*"),
        ("year in (1) -- '", "--"),
        ("random() < 0.5", "not available"),
    ],
)
def test_a_bad_condition_is_one_sentence_with_the_column_names(
    shards: Path, where: str, word: str
) -> None:
    with pytest.raises(BadUsage) as caught:
        artsound.open(shards).filter(where)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_condition_may_quote_words_that_are_sql(shards: Path) -> None:
    data = artsound.open(shards)
    assert len(data.filter("track_title != 'select it from the table'")) == 45


@pytest.mark.parametrize(
    ("equals", "hint"),
    [
        ({"artwork_style": "Impresionism"}, "did you mean 'Impressionism'"),
        ({"artwork_styel": "Cubism"}, "did you mean artwork_style"),
        ({"artwork_year": "1801"}, "holds no text"),
        ({"artwork_school": "Paris"}, "nothing is known there"),
    ],
)
def test_a_value_that_does_not_occur_is_named_with_the_nearest_that_does(
    shards: Path, equals: dict[str, str], hint: str
) -> None:
    with pytest.raises(BadUsage, match=hint):
        artsound.open(shards).filter(**equals)


def test_a_place_without_shards_is_reported_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="no folder"):
        artsound.open(tmp_path / "nowhere")
    with pytest.raises(BadData, match=r"index\.json"):
        artsound.open(tmp_path)
    with pytest.raises(BadUsage, match="nosuch"):
        artsound.open("nosuch://bucket/shards")


def test_an_index_that_was_touched_is_refused(make: Callable[..., Path]) -> None:
    folder = make({"train": [3]})
    index = folder / "index.parquet"
    index.write_bytes(index.read_bytes() + b" ")
    with pytest.raises(BadData, match=r"not the file that index\.json names"):
        artsound.open(folder)


def test_an_index_that_points_outside_a_shard_is_refused(make: Callable[..., Path]) -> None:
    folder = make({"train": [3]})
    index = json.loads((folder / "index.json").read_text())
    index["shards"][0]["bytes"] = 2048
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(BadData, match="points outside the shard"):
        artsound.open(folder)


def reindexed(folder: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Path:
    """The folder with its index.parquet changed, and index.json in agreement."""
    change(pl.read_parquet(folder / "index.parquet")).write_parquet(folder / "index.parquet")
    index = json.loads((folder / "index.json").read_text())
    index["index_sha256"] = sha256_file(folder / "index.parquet")
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def test_a_genre_of_the_other_side_is_named(shards: Path) -> None:
    data = artsound.open(shards)
    with pytest.raises(BadUsage, match="'jazz': it is a value of track_genre"):
        data.filter(artwork_genre="jazz")
    with pytest.raises(BadUsage, match="'Portrait': it is a value of artwork_genre"):
        data.filter(track_genre="Portrait")


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_name_of_format_1_is_answered_with_that_of_today(
    shards: Path, old: str, new: str
) -> None:
    data = artsound.open(shards)
    with pytest.raises(BadUsage, match=f"{old}.* called {new} since format 2"):
        data.filter(f"{old} = 1")
    with pytest.raises(BadUsage, match=f"{old}.* called {new} since format 2"):
        data.filter(**{old: 1})


def test_what_is_unknown_fulfils_no_condition(make: Callable[..., Path]) -> None:
    years = pl.Series("artwork_year", [1900, None, 1800, None])
    folder = reindexed(  # without a column, as an index of other people's shards may be
        make({"train": [4]}), lambda frame: frame.drop("score").with_columns(years)
    )
    data = artsound.open(folder)
    assert data.filter("artwork_year > 1850").frame["artwork_year"].to_list() == [1900]
    assert data.filter("artwork_year <= 1850").frame["artwork_year"].to_list() == [1800]
    assert data.filter(artwork_year=1900).frame["artwork_year"].to_list() == [1900]
    assert len(data.filter("artwork_year is null")) == 2


@pytest.mark.parametrize(
    ("column", "shift"),
    [("mp3_offset", -(10**6)), ("mp3_size", -(10**6)), ("jpg_size", 10**6), ("json_offset", 10**6)],
)
def test_an_index_that_points_before_or_behind_a_shard_is_refused(
    make: Callable[..., Path], column: str, shift: int
) -> None:
    last = pl.int_range(pl.len()) == pl.len() - 1
    moved = pl.when(last).then(pl.col(column) + shift).otherwise(pl.col(column)).alias(column)
    folder = reindexed(make({"train": [3, 3]}), lambda frame: frame.with_columns(moved))
    with pytest.raises(BadData, match=r"outside the shard 'artsound-train-000001\.tar'"):
        artsound.open(folder)


def test_an_index_that_names_a_shard_that_is_not_listed_is_refused(
    make: Callable[..., Path],
) -> None:
    stray = pl.lit("artsound-train-000009.tar").alias("shard")
    folder = reindexed(make({"train": [3]}), lambda frame: frame.with_columns(stray))
    with pytest.raises(BadData, match=r"outside the shard 'artsound-train-000009\.tar'"):
        artsound.open(folder)


@pytest.mark.parametrize("column", ["key", "split", "shard", "jpg_offset", "json_size", "score"])
@pytest.mark.parametrize("what", ["another type", "a list", "nothing"])
def test_an_index_whose_columns_hold_something_else_is_refused(
    make: Callable[..., Path], column: str, what: str
) -> None:
    folder = make({"train": [3]})
    frame = pl.read_parquet(folder / "index.parquet")
    kind = frame.schema[column]
    spoilt = {
        "another type": pl.lit("1") if kind != pl.String else pl.lit(1),
        "a list": pl.concat_list(column),
        "nothing": pl.when(pl.int_range(pl.len()) != 1).then(pl.col(column)),
    }[what]
    frame.with_columns(spoilt.alias(column)).write_parquet(folder / "index.parquet")
    index = json.loads((folder / "index.json").read_text())
    index["index_sha256"] = sha256_file(folder / "index.parquet")
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(BadData, match=rf"is not an index of shards: its {column} must be {kind}"):
        artsound.open(folder)
    assert f"its {column} must be" in str(verify(folder)[0])


def test_a_shard_that_was_cut_or_swapped_is_noticed_when_read(make: Callable[..., Path]) -> None:
    folder = make({"train": [3, 3]})
    data = artsound.open(folder)
    first, second = (folder / f"artsound-train-00000{n}.tar" for n in (0, 1))
    other = second.read_bytes()
    second.write_bytes(other[:4096])
    with pytest.raises(BadData, match="ends before byte"):
        data.read(5)
    second.write_bytes(first.read_bytes())
    with pytest.raises(BadData, match=r"another sample|is damaged"):
        data.read(3)


def test_a_position_outside_is_an_index_error(shards: Path) -> None:
    data = artsound.open(shards)
    for position in (45, -46):
        with pytest.raises(IndexError, match="of 45"):
            data.read(position)
    with pytest.raises(TypeError, match="as an integer"):
        data.read("000010")  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [-3, 2.5, "all"])
def test_a_number_of_samples_that_is_none_is_reported(shards: Path, count: Any) -> None:
    data = artsound.open(shards)
    for choose in (data.top, data.sample, lambda n: data.cap("painter", n)):
        with pytest.raises(BadUsage, match=r"is not a number of samples"):
            choose(count)
    with pytest.raises(BadUsage, match="neither a key nor a track id"):
        data.without([None])


def test_an_index_whose_track_ids_are_numbers_is_read_as_any_other(
    make: Callable[..., Path],
) -> None:
    folder = make({"train": [3], "val": [2]})
    before = artsound.open(folder)
    path = folder / "index.parquet"
    frame = pl.read_parquet(path).with_columns(pl.col("track_id").cast(pl.Int32))
    frame.write_parquet(path)
    about = json.loads((folder / "index.json").read_text())
    about["index_sha256"] = sha256_file(path)
    (folder / "index.json").write_text(json.dumps(about))
    data = artsound.open(folder)
    assert data.frame.equals(before.frame)
    assert data.frame["track_id"].to_list() == data.frame["key"].to_list()
    assert verify(folder) == []


def test_opening_reads_no_field_until_one_is_asked_for(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from artsound.shards import index

    read: list[str] = []
    plain = index.read_table

    def noted(data: bytes, columns: list[str]) -> pa.Table:
        read.extend(columns)
        return plain(data, columns)

    monkeypatch.setattr(index, "read_table", noted)
    data = artsound.open(shards)
    assert not {"artwork_caption", "painter", "artwork_style"} & set(read)
    read.clear()
    part = data.filter(where="score > 0.2 and artwork_style is not null")
    assert read == ["artwork_style"]
    assert (
        part.frame["painter"].to_list()
        == data.frame.filter(pl.col("key").is_in(part.frame["key"].to_list()))["painter"].to_list()
    )


def test_a_text_that_must_be_known_is_refused_where_it_is_null_when_it_is_read(
    make: Callable[..., Path],
) -> None:
    first = pl.int_range(pl.len()) == 0
    spoilt = pl.when(~first).then(pl.col("painter_id")).alias("painter_id")
    data = artsound.open(reindexed(make({"train": [3]}), lambda rows: rows.with_columns(spoilt)))
    assert len(data.filter(where="tempo_bpm >= 0")) == 3
    for use in (lambda: data.filter(where="painter_id > 'a'"), lambda: data.frame):
        with pytest.raises(BadData, match="its painter_id must be String, no null"):
            use()


def test_texts_that_pandas_wrote_as_categories_are_filtered_as_texts(
    make: Callable[..., Path],
) -> None:
    folder = make({"train": [4]})
    named = pl.Series("kind", ["a", "b", "A", None]).cast(pl.Categorical)
    data = artsound.open(reindexed(folder, lambda rows: rows.drop("score").with_columns(named)))
    assert len(data.filter(kind="a")) == 2
