"""Null for unknown, and releases of format 1; the code of that format made `format_1/`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
import webdataset

import artsound
from artsound.columns import COLUMNS, KINDS, fields_now, json_schemas, row_of, sample_of
from artsound.errors import BadUsage
from artsound.rights import AI_TRAINING, AI_TRAINING_SOURCES
from artsound.schema import json_schema
from artsound.shards.format import sample_json, write_shard
from artsound.shards.index import write_index
from artsound.shards.migrate import migrate
from artsound.shards.release import diff, withheld_rows
from artsound.shards.subset import moved, write_subset
from artsound.shards.verify import verify
from artsound.shards.withdraw import withdraw

OLD = Path(__file__).with_name("format_1")


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "artsound", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.fixture
def make_early(migrated: Path) -> Callable[[Path], Path]:
    """Makes a release of this format as the first ones were, without the late columns."""

    def make(folder: Path) -> Path:
        late = {column.name for column in COLUMNS if column.late}
        data = artsound.open(migrated)
        shards, frames = [], []
        folder.mkdir()
        for shard in data.shards:
            rows = data.frame.filter(shard=shard.name)
            samples = []
            for key in rows["key"]:
                raw = data.read(data.position(key))
                fields = {name: value for name, value in raw["json"].items() if name not in late}
                text = sample_json({n: None if v == [] else v for n, v in fields.items()})
                samples.append((key, {"jpg": raw["jpg"], "mp3": raw["mp3"], "json": text}))
            made, placed = write_shard(folder / shard.name, shard.split, samples)
            shards.append(made)
            frames.append(moved(rows.drop(late), made.name, placed))
        write_index(folder, "early", "", shards, pl.concat(frames).to_arrow())
        return folder

    return make


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("migrated") / "release"
    migrate(OLD, out)
    return out


def test_the_schemas_are_those_of_the_table_of_columns() -> None:
    for name, schema in json_schemas().items():
        assert schema == json_schema(name), f"schemas/{name}.json: run docs/column_tables.py"


def test_what_a_column_may_say_of_training_is_what_rights_say() -> None:
    assert KINDS["training"]["enum"] == list(AI_TRAINING)
    assert KINDS["training_source"]["enum"] == list(AI_TRAINING_SOURCES)


def test_a_format_1_release_has_todays_names_and_nulls() -> None:
    data = artsound.open(OLD)
    assert data.frame.columns == [column.name for column in COLUMNS]
    assert data.frame["artwork_year"].to_list() == [1810, None, 1812, None]
    assert data.frame["artwork_license_id"].to_list() == ["CC0-1.0", None, "CC0-1.0", None]
    assert data.frame["track_title"][0] == "Tone 10, “played” by 楽器"
    assert len(data.filter("artwork_year < 1900")) == 2
    assert len(data.filter("artwork_year is null")) == 2
    assert verify(OLD, deep=True) == []


def test_a_format_1_sample_has_todays_names() -> None:
    data = artsound.open(OLD)
    first, second = data[0], data["000011"]
    assert (first["track_id"], first["track_title"]) == ("000010", "Tone 10, “played” by 楽器")
    assert (second["artwork_style"], second["artwork_year"], second["artwork_tags"]) == ("", -1, [])
    assert [one["json"]["musical_key"] for one in data.stream(shuffle=False)] == ["A minor"] * 4
    decoded = next(iter(data.webdataset(decode={"image_size": 8})))
    assert decoded["duration_s"] == 0.25


def test_a_migrated_release_has_the_same_media_and_a_major_version(migrated: Path) -> None:
    old, new = artsound.open(OLD), artsound.open(migrated)
    assert verify(migrated, deep=True) == []
    assert old.frame.drop(_places(old.frame)).equals(new.frame.drop(_places(new.frame)))
    for key in old.frame["key"]:
        assert old.read(old.position(key)) == new.read(new.position(key))
    about = json.loads((migrated / "index.json").read_text())
    assert (about["format"], about["version"]) == ("artsound-shards-2", "2.0.0")
    assert withheld_rows(migrated).equals(withheld_rows(OLD))
    assert withheld_rows(migrated)["artwork_year"].to_list() == [None]


def test_columns_that_came_later_are_unknown_in_an_earlier_release_of_the_format(
    tmp_path: Path, make_early: Callable[[Path], Path]
) -> None:
    early = make_early(tmp_path / "early")
    assert verify(early, deep=True) == []
    data = artsound.open(early)
    assert data.frame.columns == [column.name for column in COLUMNS]
    assert len(data.filter("track_rank is null and pairing_method is null")) == len(data)
    assert (data[0]["track_rank"], data[0]["pairing_method"]) == (-1, "")
    withdraw(early, tmp_path / "next", [data.frame["key"][0]])
    assert verify(tmp_path / "next", deep=True) == []


def test_a_release_is_migrated_once_and_into_a_new_folder(migrated: Path, tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="nothing to migrate"):
        migrate(migrated, tmp_path / "again")
    with pytest.raises(BadUsage, match="in use"):
        migrate(OLD, migrated)


def test_diff_sees_only_the_format_between_a_release_and_its_migration(migrated: Path) -> None:
    found = diff(str(OLD), str(migrated))
    assert found.formats == ("artsound-shards-1", "artsound-shards-2")
    kinds = (found.added, found.removed, found.moved, found.changed, found.columns)
    assert not any(kinds)
    assert (found.bump, diff(str(migrated), str(migrated)).bump) == ("major", "")


def test_what_is_written_of_a_format_1_release_is_of_todays(tmp_path: Path) -> None:
    withdraw(OLD, tmp_path / "next", ["000011"])
    write_subset(OLD, tmp_path / "some", where="artwork_year < 1812")
    for folder, keys in (("next", ["000010", "000012", "000013"]), ("some", ["000010"])):
        assert verify(tmp_path / folder, deep=True) == []
        assert artsound.open(tmp_path / folder).frame["key"].to_list() == keys
        for path in sorted((tmp_path / folder).glob("*.tar")):
            for sample in webdataset.WebDataset(str(path), shardshuffle=False):
                assert "musical_key" in json.loads(sample["json"])


def test_bare_format_1_shards_can_be_indexed_again(tmp_path: Path) -> None:
    for path in OLD.glob("*.tar"):
        shutil.copy(path, tmp_path)
    assert command("index", tmp_path).returncode == 0
    old, new = artsound.open(OLD).frame, artsound.open(tmp_path).frame
    assert new.drop(_places(new)).equals(old.drop(_places(old)))
    assert verify(tmp_path) == []


def test_the_command_migrates_with_new_cards(tmp_path: Path) -> None:
    done = command("migrate", OLD, "--out", tmp_path / "new")
    assert (done.returncode, done.stdout.split(" in ")[0]) == (0, "2 shards written")
    assert "track_title" in (tmp_path / "new" / "README.md").read_text()


def test_a_sample_and_its_row_say_the_same(shards: Path) -> None:
    for row in artsound.open(shards).frame.iter_rows(named=True):
        fields = sample_of(
            {column.name: row[column.name] for column in COLUMNS if column.in_sample}
        )
        assert not any(value is None or value == [] for value in fields.values())
        assert row_of(fields).items() <= row.items()
        assert fields_now(fields)["key"] == row["key"]


def test_the_index_describes_its_columns(shards: Path) -> None:
    schema = pq.read_schema(shards / "index.parquet")
    assert schema.metadata[b"artsound_format"] == b"2"
    rows = pl.read_parquet(shards / "index.parquet")
    for column in COLUMNS:
        about = schema.field(column.name).metadata
        assert about[b"description"].decode() == column.description
        assert about.get(b"unit", b"").decode() == column.unit
        assert json.loads(about[b"example"]) == column.example
        known = rows[column.name]
        empty = (known.list.len() == 0).sum() if known.dtype == pl.List else 0
        assert int(about[b"unknown"]) == known.null_count() + empty


def test_samples_with_late_values_load_without_a_card(tmp_path: Path, late_shards: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        "webdataset", data_files={"train": str(late_shards / "artsound-train-*.tar")},
        split="train", cache_dir=str(tmp_path),
    )  # fmt: skip
    records = loaded.select_columns("json")["json"][:]
    expected = [json.loads(one["json"]) for one in webdataset.WebDataset(
        str(late_shards / "artsound-train-000000.tar"), shardshuffle=False)]  # fmt: skip
    assert records == expected
    assert records[0]["artwork_tags"] == [""]
    assert records[-1]["artwork_tags"] == ["sea", "boat"]
    assert (records[0]["artwork_year"], records[-1]["artwork_year"]) == (-1, 1850)


def _places(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if name.endswith(("_offset", "_size"))]
