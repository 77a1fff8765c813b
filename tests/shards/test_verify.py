from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import artsound
from artsound.errors import BadUsage
from artsound.shards.external import index_folder
from artsound.shards.format import sample_json, scan_tar
from artsound.shards.index import read_shard_index, shards_of, write_index
from artsound.shards.store import LocalStore
from artsound.shards.verify import verify
from artsound.storage import sha256_file

Make = Callable[..., Path]
SHARD = "artsound-train-000000.tar"


def told(folder: Path, **options: Any) -> str:
    return "\n".join(str(problem) for problem in verify(folder, **options))


def test_sound_shards_have_no_problem(shards: Path) -> None:
    assert verify(shards) == []
    assert verify(shards, deep=True, workers=2) == []


def test_a_folder_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="no folder"):
        verify(tmp_path / "nowhere")
    assert "index.json" in told(tmp_path)


def test_any_flipped_byte_is_found_and_placed(shards: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shards, tmp_path / "copy")
    path = folder / SHARD
    data = path.read_bytes()

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, len(data) - 1), st.integers(1, 255))
    def flip(at: int, bits: int) -> None:
        path.write_bytes(data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :])
        line = f"{SHARD}: its SHA-256 is not the one in index.json (part train-000000)"
        assert line in told(folder).splitlines()

    flip()


@pytest.mark.parametrize("cut", [1, 600, 1024, 5000])
def test_a_cut_shard_is_reported(make: Make, cut: int) -> None:
    folder = make({"train": [3, 3]})
    path = folder / SHARD
    path.write_bytes(path.read_bytes()[:-cut])
    assert f"{SHARD}: it has " in told(folder)
    assert "artsound-train-000001.tar" not in told(folder)


def test_a_missing_shard_and_a_stray_one_are_reported(make: Make) -> None:
    folder = make({"train": [3, 3]})
    (folder / SHARD).rename(folder / "artsound-train-000007.tar")
    assert f"{SHARD}: it cannot be read: No such file" in told(folder)
    assert "artsound-train-000007.tar: no entry of index.json names it" in told(folder)


def respoilt(folder: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Path:
    """The folder with its index changed, and all digests made to agree again."""
    value = read_shard_index(LocalStore(folder))
    frame = change(pl.read_parquet(folder / "index.parquet"))
    shards = []
    for shard in shards_of(value):
        path = folder / shard.name
        fields = {"sha256": sha256_file(path), "bytes": path.stat().st_size}
        shards.append(type(shard)(**{**{n: getattr(shard, n) for n in shard.__slots__}, **fields}))
    write_index(folder, value["name"], "", shards, frame.to_arrow())
    return folder


@pytest.mark.parametrize(
    ("column", "word"),
    [
        ("painter_id", "the painter"),
        ("musician_id", "the musician"),
        ("artwork_cluster", "near-duplicate"),
        ("track_cluster", "near-duplicate"),
        ("audio_sha256", "the clip"),
        ("image_original_sha256", "the image"),
    ],
)
def test_what_crosses_splits_is_reported(make: Make, column: str, word: str) -> None:
    folder = make({"train": [3], "test": [3]})

    def cross(frame: pl.DataFrame) -> pl.DataFrame:
        values = frame[column].to_list()
        return frame.with_columns(pl.Series(column, [*values[:-1], values[0]], frame[column].dtype))

    problems = told(respoilt(folder, cross))
    assert f"{word}" in problems
    assert "is in the splits test and train" in problems


def test_an_index_that_disagrees_with_a_json_names_the_field(make: Make) -> None:
    folder = respoilt(make({"train": [3]}), lambda f: f.with_columns(pl.col("artwork_year") + 1))
    assert f"{SHARD} 000010: artwork_year is 1810 in its .json, but 1811 in the index" in told(
        folder
    )


def test_offsets_that_are_off_are_reported(make: Make) -> None:
    folder = respoilt(make({"train": [3]}), lambda f: f.with_columns(pl.col("mp3_offset") + 512))
    assert "000010.mp3 is not at offset" in told(folder)


def test_a_key_that_occurs_twice_is_reported(make: Make) -> None:
    folder = make({"train": [3, 3]})
    second = folder / "artsound-train-000001.tar"
    shutil.copy(folder / SHARD, second)

    def doubled(frame: pl.DataFrame) -> pl.DataFrame:
        head = frame.head(3)
        return pl.concat([head, head.with_columns(pl.lit(second.name).alias("shard"))])

    assert "000010: the key occurs twice" in told(respoilt(folder, doubled))


def spoil_member(folder: Path, key: str, member: str, data: bytes) -> None:
    """Overwrite the start of a member, and make every digest of the shard agree again."""
    row = pl.read_parquet(folder / "index.parquet").filter(pl.col("key") == key).row(0, named=True)
    with (folder / row["shard"]).open("r+b") as file:
        file.seek(row[f"{member}_offset"])
        file.write(data)
    respoilt(folder, lambda frame: frame)


def test_a_json_that_breaks_the_schema_is_reported_with_shard_and_key(make: Make) -> None:
    folder = make({"train": [3]})
    spoil_member(folder, "000011", "json", b'{"key"; ')
    assert f"{SHARD} 000011: its .json cannot be read" in told(folder)
    spoil_member(folder, "000012", "json", b'{"kez": ')
    assert f"{SHARD} 000012: its .json breaks the schema" in told(folder)


@pytest.mark.parametrize("member", ["jpg", "mp3"])
def test_only_a_deep_check_finds_media_that_do_not_decode(make: Make, member: str) -> None:
    folder = make({"train": [3]})
    spoil_member(folder, "000011", member, b"<html>" * 40)
    assert verify(folder) == []
    problems = told(folder, deep=True)
    assert f"{SHARD} 000011: the SHA-256 of its .{member}" in problems
    assert len(problems.splitlines()) == 2


def foreign(folder: Path, names: list[str]) -> Path:
    """A folder with one shard of empty members in this order, and its index."""
    folder.mkdir()
    with tarfile.open(folder / "other-000000.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    index_folder(folder)
    return folder


def test_samples_of_a_release_that_are_out_of_order_are_reported(make: Make) -> None:
    folder = make({"train": [2]})
    with tarfile.open(folder / SHARD) as archive:
        found = [(info, archive.extractfile(info).read()) for info in archive]  # type: ignore[union-attr]
    with tarfile.open(folder / SHARD, "w", format=tarfile.USTAR_FORMAT) as archive:
        for info, data in found[3:] + found[:3]:
            archive.addfile(info, io.BytesIO(data))
    index_folder(folder)
    assert f"{SHARD} 000010: it comes after 000011: keys are not in order" in told(folder)


def test_external_samples_in_pieces_are_reported_and_may_be_out_of_order(tmp_path: Path) -> None:
    shard = "other-000000.tar"
    assert told(foreign(tmp_path / "sound", ["a.txt", "a.cls", "b.txt"])) == ""
    assert told(foreign(tmp_path / "swapped", ["b.txt", "a.txt"])) == ""
    pieces = told(foreign(tmp_path / "pieces", ["a.txt", "b.txt", "a.cls"]))
    assert pieces == f"{shard}: the members of a sample are not next to each other"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"samples": 4}, f"{SHARD}: it holds 3 samples, not 4"),
        ({"first_key": "000009"}, f"{SHARD}: its first or last key is not the one in index.json"),
        ({"last_key": "000013"}, f"{SHARD}: its first or last key is not the one in index.json"),
        ({"sha256": "0" * 64}, f"{SHARD}: its SHA-256 is not the one in index.json"),
        ({"split": "test"}, f"{SHARD} 000011: a train sample is in a test shard"),
    ],
)
def test_an_entry_of_a_shard_that_is_not_true_is_reported(
    make: Make, change: dict[str, Any], sentence: str
) -> None:
    folder = make({"train": [3]})
    value = json.loads((folder / "index.json").read_text())
    value["shards"][0].update(change)
    (folder / "index.json").write_text(json.dumps(value))
    assert sentence in told(folder)


@pytest.mark.parametrize("total", ["samples", "bytes"])
def test_totals_that_do_not_add_up_are_reported(make: Make, total: str) -> None:
    folder = make({"train": [3]})
    value = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**value, total: value[total] + 1}))
    assert told(folder) == "index.json: its totals do not add up"


def test_a_shard_that_is_listed_twice_is_reported(make: Make) -> None:
    folder = make({"train": [3]})
    value = json.loads((folder / "index.json").read_text())
    value["shards"] *= 2
    (folder / "index.json").write_text(json.dumps(value))
    assert f"{SHARD}: it is listed twice in index.json" in told(folder)


def test_a_member_that_no_row_names_is_reported(make: Make) -> None:
    folder = respoilt(make({"train": [3]}), lambda frame: frame.head(2))
    lines = [line for line in told(folder).splitlines() if "is not in the index" in line]
    starts = [line.partition(" at offset ")[0] for line in lines]
    assert starts == [f"{SHARD} 000012: 000012.{name}" for name in ("jpg", "json", "mp3")]


def test_an_unknown_musician_may_be_in_all_splits(make: Make) -> None:
    unknown = pl.lit(None, pl.Int64).alias("musician_id")
    folder = make({"train": [3], "test": [3]})
    assert "the musician" not in told(respoilt(folder, lambda frame: frame.with_columns(unknown)))


def test_a_row_that_breaks_the_schema_of_an_index_is_reported(make: Make) -> None:
    folder = make({"train": [3]})
    path = folder / "index.parquet"
    pl.read_parquet(path).with_columns(pl.lit("ab").alias("audio_sha256")).write_parquet(path)
    value = json.loads((folder / "index.json").read_text())
    value["index_sha256"] = sha256_file(path)
    (folder / "index.json").write_text(json.dumps(value))
    lines = [line for line in told(folder).splitlines() if line.startswith("index.parquet: ")]
    assert len(lines) == 1
    assert "audio_sha256" in lines[0]


@pytest.mark.parametrize(
    ("field", "before", "after", "message"),
    [
        ("score", "0.07", "0.08", "score is 0.08 in its .json, but 0.07"),
        ("synthetic", "true", "1   ", "its .json breaks the schema: synthetic"),
        ("artwork_year", "1811", "1812", "artwork_year is 1812 in its .json, but 1811"),
    ],
)
def test_a_field_that_differs_a_little_from_its_row_is_reported(
    make: Make, field: str, before: str, after: str, message: str
) -> None:
    folder = make({"train": [3]})
    text = artsound.open(folder).read(1)["json"]
    whole = sample_json(text).decode()
    assert f'"{field}": {before}' in whole
    spoilt = whole.replace(f'"{field}": {before}', f'"{field}": {after}')
    spoil_member(folder, "000011", "json", spoilt.encode())
    assert f"{SHARD} 000011: {message}" in told(folder)


def hostile(**fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo("000010.jpg")
    for name, value in fields.items():
        setattr(info, name, value)
    return info


def tar_of(*members: tarfile.TarInfo, end: bytes = bytes(1024)) -> bytes:
    blocks = [info.tobuf(tarfile.GNU_FORMAT) + bytes(-(-info.size // 512) * 512
              if info.size < 10_000 else 0) for info in members]  # fmt: skip
    return b"".join(blocks) + end


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (tar_of(hostile(name="../../etc/passwd")), "leads out"),
        (tar_of(hostile(name="/etc/passwd")), "not allowed"),
        (tar_of(hostile(name="a\\b.jpg")), "not allowed"),
        (tar_of(hostile(name="a\x1b[2J.jpg")), "not allowed"),
        (tar_of(hostile(type=tarfile.SYMTYPE, linkname="/etc/passwd")), "not a plain file"),
        (tar_of(hostile(type=tarfile.LNKTYPE, linkname="x")), "not a plain file"),
        (tar_of(hostile(type=tarfile.CHRTYPE)), "not a plain file"),
        (tar_of(hostile(type=tarfile.FIFOTYPE)), "not a plain file"),
        (tar_of(hostile(type=tarfile.DIRTYPE)), "not a plain file"),
        (tar_of(hostile(size=10), hostile(size=10)), "twice"),
        (tar_of(hostile(size=2**40)), "unexpected end|more than there are"),
        (tar_of(hostile(size=5), end=b""), "no end"),
        (tar_of(hostile(type=tarfile.XHDTYPE, size=2**33)), "asks for|unexpected end|bad"),
        (tar_of(hostile(type=tarfile.GNUTYPE_LONGNAME, size=2**33)), "asks for"),
        (b"\x1f\x8b" + bytes(2000), "invalid|bad|not"),
        (b"", "empty"),
    ],
)
def test_a_hostile_tar_is_refused_without_extracting(data: bytes, word: str) -> None:
    with pytest.raises((tarfile.TarError, ValueError), match=word):
        list(scan_tar(io.BytesIO(data), len(data)))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=3000))
def test_no_bytes_make_the_scan_fail_in_any_other_way(data: bytes) -> None:
    with pytest.raises((tarfile.TarError, ValueError, OverflowError)):
        assert list(scan_tar(io.BytesIO(data + b"x"), len(data) + 1))


def test_a_missing_column_in_the_index_of_a_build_is_reported(make: Make) -> None:
    folder = respoilt(make({"train": [3]}), lambda frame: frame.drop("score"))
    assert verify(folder) == []  # it may be another program's
    value = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**value, "recipe_digest": "a" * 64}))
    assert told(folder) == "index.parquet: it lacks the columns score"


def test_a_broken_list_of_withheld_pairs_is_a_problem_not_a_crash(make: Make) -> None:
    folder = make({"train": [3]})
    path = folder / "withheld.parquet"
    path.write_bytes(b"PAR1" + bytes(100))
    assert "withheld.parquet is not a readable parquet file" in told(folder)
    pl.DataFrame({"key": [1], "artwork_id": ["a"]}).write_parquet(path)
    assert "its key and artwork_id must be text" in told(folder)


def test_a_hostile_shard_index_is_a_problem_not_a_crash(make: Make) -> None:
    folder = make({"train": [3]})
    value = json.loads((folder / "index.json").read_text())
    value["shards"][0]["name"] = "../../etc/passwd.tar"
    (folder / "index.json").write_text(json.dumps(value))
    assert "is not a shard index" in told(folder)
    (folder / "index.json").write_text("[" * 100_000)
    assert "index" in told(folder)
