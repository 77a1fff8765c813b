"""Our shards in other people's loaders, and other people's shards in ours."""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import webdataset
from PIL import Image

import artsound
from artsound.cli import app
from artsound.errors import BadData, BadUsage
from artsound.reports.browse import serve
from artsound.reports.stats import shard_stats
from artsound.shards.external import index_folder
from artsound.shards.index import sample_fields
from artsound.shards.release import diff
from artsound.shards.subset import write_subset
from artsound.shards.verify import verify
from artsound.shards.withdraw import withdraw
from artsound.storage import sha256_file
from artsound.training.data import open_release


def test_plain_webdataset_reads_our_shards(shards: Path) -> None:
    paths = [str(path) for path in sorted(shards.glob("*.tar"))]
    found = list(webdataset.WebDataset(paths, shardshuffle=False))
    ours = artsound.open(shards)
    by_key = {sample["__key__"]: sample for sample in found}
    assert len(by_key) == len(found) == 45
    for position in range(45):
        sample = ours.read(position)
        other = by_key[sample["key"]]
        assert {n for n in other if not n.startswith("__")} == {"jpg", "mp3", "json"}
        assert (other["jpg"], other["mp3"]) == (sample["jpg"], sample["mp3"])
        assert sample_fields(other["json"]) == sample["json"]


def test_webdataset_decodes_our_pictures_and_fields(shards: Path) -> None:
    path = str(shards / "artsound-val-000000.tar")
    data = webdataset.WebDataset(path, shardshuffle=False).decode("rgb8").to_tuple("jpg", "json")
    image, fields = next(iter(data))
    assert image.shape == (64, 96, 3)
    assert fields["split"] == "val"


@pytest.mark.parametrize("streaming", [True, False])
def test_hugging_face_datasets_reads_our_shards(
    shards: Path, tmp_path: Path, streaming: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    files = {
        split: [str(path) for path in sorted(shards.glob(f"*-{split}-*.tar"))]
        for split in ("train", "val", "test")
    }
    loaded = datasets.load_dataset(
        "webdataset", data_files=files, streaming=streaming, cache_dir=str(tmp_path)
    )
    assert set(loaded) == {"train", "val", "test"}
    features = loaded["train"].features
    assert isinstance(features["jpg"], datasets.Image)
    assert isinstance(features["mp3"], datasets.Audio)
    raw = {name: part.cast_column("mp3", datasets.Audio(decode=False))
           for name, part in loaded.items()}  # fmt: skip
    assert sum(1 for _ in raw["train"]) == 37
    sample = next(iter(raw["val"]))
    ours = artsound.open(shards).split("val").read(0)
    assert sample["__key__"] == sample["json"]["key"] == ours["key"]
    assert np.asarray(sample["jpg"]).shape == (64, 96, 3)
    assert sample["mp3"]["bytes"] == ours["mp3"]


def test_hugging_face_datasets_decodes_our_sound(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        from torchcodec.decoders import AudioDecoder

        AudioDecoder(artsound.open(shards).read(0)["mp3"])
    except (ImportError, RuntimeError, OSError):
        pytest.skip("torchcodec finds no FFmpeg on this machine")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    path = str(shards / "artsound-val-000000.tar")
    loaded = datasets.load_dataset(
        "webdataset", data_files=[path], split="train", streaming=True, cache_dir=str(tmp_path)
    )
    sound = next(iter(loaded))["mp3"].get_all_samples()
    assert sound.data.shape[-1] / sound.sample_rate == pytest.approx(1.0, abs=0.1)


def write_foreign(folder: Path, shards: int = 3, samples: int = 5) -> None:
    """A WebDataset as webdataset's own writer makes it, of other members than ours."""
    folder.mkdir()
    for shard in range(shards):
        pattern = str(folder / f"pictures-{'val' if shard == 0 else 'train'}-%06d.tar")
        with webdataset.ShardWriter(pattern, start_shard=shard, verbose=0) as writer:
            for number in range(samples):
                at = shard * samples + number
                fields = {"label": f"class {at % 3}", "weight": at / 2, "odd": [1, "a"][at % 2]}
                sample = {"__key__": f"item-{at}", "png": np.full((8, 8, 3), at, np.uint8)}
                writer.write(sample | ({"json": fields} if at % 4 else {}))


def test_shards_of_webdataset_s_own_writer_are_indexed_filtered_and_streamed(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "foreign"
    write_foreign(folder)
    index_folder(folder)
    assert verify(folder) == []
    data = artsound.open(folder)
    assert (len(data), len(data.split("val"))) == (15, 5)
    assert "odd" not in data.frame.columns
    assert len(data.filter(label="CLASS 1", where="weight > 1")) == 3
    found = {sample["key"]: sample for sample in data.stream(batch_size=0)}
    assert set(found) == {f"item-{at}" for at in range(15)}
    picture = np.asarray(Image.open(io.BytesIO(found["item-7"]["png"])))
    assert (picture == 7).all()
    assert "json" not in found["item-8"]
    assert data[0]["image"].shape == (8, 8, 3)


def test_what_needs_a_release_says_so_of_other_people_s_samples(tmp_path: Path) -> None:
    folder = tmp_path / "foreign"
    write_foreign(folder)
    index_folder(folder)
    for need in (
        shard_stats,
        serve,
        open_release,
        lambda place: diff(place, place),
        lambda place: withdraw(place, tmp_path / "out", ["item-1"]),
    ):
        with pytest.raises(BadData, match=r"has no \w+: it is no release of ArtSound"):
            need(folder)


def test_ids_of_other_people_s_samples_are_their_keys(tmp_path: Path) -> None:
    folder = tmp_path / "foreign"
    write_foreign(folder)
    index_folder(folder)
    chosen, rest = tmp_path / "chosen.npy", tmp_path / "rest.npy"
    write_subset(str(folder), chosen, where="weight > 1 and weight < 3")
    assert np.load(chosen).tolist() == ["item-3", "item-5"]
    write_subset(str(folder), rest, exclude=chosen)
    assert len(np.load(rest)) == 13
    assert "item-3" not in np.load(rest)


def test_fields_of_others_with_our_names_have_their_own_meaning(tmp_path: Path) -> None:
    """A key of their own, digests of something else, painters as lists, places that are none."""
    for split, numbers in (("train", (0, 1)), ("test", (2, 3))):
        with webdataset.TarWriter(str(tmp_path / f"{split}-0.tar")) as writer:
            for at in numbers:
                fields = {"key": at, "image_sha256": "a negative's", "painter_id": ["a", "b"],
                          "musician_id": "anonymous" if at else None, "artwork_cluster": f"{at}",
                          "crop_offset": 3, "crop_size": 8}  # fmt: skip
                picture = np.full((8, 8, 3), at, np.uint8)
                writer.write({"__key__": f"item-{at}", "png": picture, "json": fields})
    index_folder(tmp_path)
    problems = verify(tmp_path, deep=True)
    assert [str(problem) for problem in problems] == [
        "index item-1: the musician anonymous is in the splits test and train"
    ]
    data = artsound.open(tmp_path)
    assert [sample["json"]["key"] for sample in data.stream(shuffle=False)] == [0, 1, 2, 3]
    assert data.frame["crop_size"].to_list() == [8] * 4


def test_pictures_and_sounds_of_others_are_decoded_by_a_deep_check(tmp_path: Path) -> None:
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        writer.write({"__key__": "item", "png": b"no picture", "flac": b"no sound"})
    index_folder(tmp_path)
    assert verify(tmp_path) == []
    told = "\n".join(str(problem) for problem in verify(tmp_path, deep=True))
    assert "not a picture" in told
    assert "the file is not sound" in told


def test_names_in_capitals_and_folders_are_read_as_webdataset_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("set/One.JPG", "set/One.txt", "set/two.left.txt"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    index_folder(tmp_path)
    assert verify(tmp_path) == []
    ours = {sample["key"]: sample for sample in artsound.open(tmp_path).stream()}
    theirs = webdataset.WebDataset(str(path), shardshuffle=False)
    for sample in theirs:
        members = {name: data for name, data in sample.items() if not name.startswith("__")}
        assert ours[sample["__key__"]] == {"key": sample["__key__"], **members}


def tarred(folder: Path, *arguments: str) -> Path:
    """A folder with x.tar, made by GNU tar from the files in `folder`."""
    out = folder.parent / f"{folder.name}-shards"
    out.mkdir(exist_ok=True)
    command = ["tar", "--sort=name", "-cf", str(out / "x.tar"), *arguments]
    subprocess.run(command, cwd=folder, check=True)
    return out


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    """A folder with the files of three samples, as one would put them into a tar."""
    folder = tmp_path / "loose"
    for at in range(3):
        (folder / "data").mkdir(parents=True, exist_ok=True)
        (folder / "data" / f"{at:04}.txt").write_text(f"text {at}")
        (folder / "data" / f"{at:04}.json").write_text(json.dumps({"label": at}))
    return folder


@pytest.mark.parametrize(
    ("what", "prefix"), [("data", "data/"), (".", "data/"), ("./data", "data/")]
)
def test_what_tar_makes_of_a_folder_is_indexed(loose: Path, what: str, prefix: str) -> None:
    (loose / "data" / "README").write_text("no sample")
    (loose / "data" / "._0001.txt").write_bytes(b"of macOS")
    (loose / "data" / ".DS_Store").write_bytes(b"of macOS")
    folder = tarred(loose, what)
    index_folder(folder)
    assert verify(folder) == []
    data = artsound.open(folder)
    assert data.frame["key"].to_list() == [f"{prefix}{at:04}" for at in range(3)]
    assert data.frame["label"].to_list() == [0, 1, 2]
    theirs = webdataset.WebDataset(str(folder / "x.tar"), shardshuffle=False)
    found = {
        sample["__key__"].removeprefix("./"): sample["txt"] for sample in theirs if "txt" in sample
    }
    assert found == {sample["key"]: sample["txt"] for sample in data.stream()}


def test_a_hard_link_in_a_tar_has_the_data_of_its_target(loose: Path) -> None:
    (loose / "data" / "0002.txt").unlink()
    (loose / "data" / "0002.txt").hardlink_to(loose / "data" / "0000.txt")
    folder = tarred(loose, "data")
    index_folder(folder)
    assert verify(folder) == []
    texts = {sample["key"]: sample["txt"] for sample in artsound.open(folder).stream()}
    assert texts["data/0002"] == texts["data/0000"] == b"text 0"


def test_a_tar_without_end_blocks_is_indexed_and_a_cut_one_is_not(loose: Path) -> None:
    folder = tarred(loose, "data")
    data = (folder / "x.tar").read_bytes()
    (folder / "x.tar").write_bytes(data.rstrip(b"\0") + bytes(-len(data.rstrip(b"\0")) % 512))
    index_folder(folder)
    assert verify(folder) == []
    for kept in (100, 700):
        (folder / "x.tar").write_bytes(data[: len(data.rstrip(b"\0")) - kept])
        with pytest.raises(BadData, match=r"x\.tar cannot be indexed"):
            index_folder(folder)


def test_a_foreign_tar_need_not_be_sorted(loose: Path) -> None:
    folder = tarred(loose, "data/0002.txt", "data/0000.txt")
    index_folder(folder)
    assert verify(folder) == []


def test_what_is_wrong_with_a_foreign_tar_is_said_of_the_sample(loose: Path) -> None:
    (loose / "data" / "0001.json").write_text("{label")
    with pytest.raises(BadData, match=r"x\.tar cannot be indexed: the \.json of data/0001 is"):
        index_folder(tarred(loose, "data"))
    (loose / "data" / "0001.json").write_text("{}")
    (loose / "data" / "0001.TXT").write_text("another")
    with pytest.raises(BadData, match=r"'data/0001\.TXT' and 'data/0001\.txt' differ in nothing"):
        index_folder(tarred(loose, "data"))
    (loose / "data" / "0001.TXT").unlink()
    (loose / "data" / "0001.png").symlink_to("0000.txt")
    with pytest.raises(BadData, match=r"'data/0001\.png' is not a plain file"):
        index_folder(tarred(loose, "data"))
    (loose / "data" / "0001.png").unlink()
    folder = tarred(loose, "data")
    (folder / "y.tar.gz").write_bytes(b"")
    with pytest.raises(BadUsage, match=r"y\.tar\.gz is compressed"):
        index_folder(folder)


def test_damaged_samples_of_a_foreign_tar_are_left_out_by_name_with_skip(
    loose: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = [path.stem for path in sorted((loose / "data").glob("*.json"))]
    (loose / "data" / f"{whole[1]}.json").write_text("{label")
    folder = tarred(loose, *sorted(str(path.relative_to(loose)) for path in loose.rglob("*.*")))
    lines: list[str] = []
    index_folder(folder, skip=lines.append)
    [line] = lines
    assert line.startswith(f"{folder / 'x.tar'}: the .json of data/{whole[1]} is damaged")
    left = [f"data/{name}" for name in whole if name != whole[1]]
    assert [sample["key"] for sample in artsound.open(folder).stream(shuffle=False)] == left
    index_command = typer.main.get_command(app)
    index_command(["index", str(folder), "--skip", "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["skipped"] == lines
    data = (folder / "x.tar").read_bytes().rstrip(b"\0")
    (folder / "x.tar").write_bytes(data[:-600])  # within the last file
    index_folder(folder, skip=lines.append)
    assert f"data/{whole[-1]} is cut off" in lines[1]
    assert f"what follows data/{whole[-2]} is left out" in lines[2]
    assert artsound.open(folder).frame["key"].to_list() == left[:-1]
    (folder / "x.tar").write_bytes(b"no tar")
    with pytest.raises(BadData, match="holds a sample that is not damaged"):
        index_folder(folder, skip=lines.append)


def odd(name: str, *, encoding: str = "utf-8", data: bytes = b"odd", **attributes: Any) -> bytes:
    """A tar with an odd member between the samples 0 and 1; attributes are of its header."""
    out = io.BytesIO()
    options: dict[str, Any] = {"encoding": encoding, "format": tarfile.GNU_FORMAT}
    with tarfile.open(fileobj=out, mode="w", **options) as archive:
        for member, content in (("0.txt", b"text"), (name, data), ("1.txt", b"text")):
            info = tarfile.TarInfo(member)
            info.size = len(content)
            for attribute, value in attributes.items() if member == name else ():
                setattr(info, attribute, value)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "fault", "left"),
    [
        (odd("a.txt", type=tarfile.SYMTYPE, linkname="0.txt", data=b""), "--dereference", "01"),
        (odd("a.txt", type=tarfile.LNKTYPE, linkname="1.txt", data=b""), "not before it", "01"),
        (odd("a.txt", type=tarfile.CHRTYPE, data=b""), "a device: leave it out", "01"),
        (odd("a.txt", type=b"Z"), "of the type b'Z'", "01"),
        (odd("a.txt", type=tarfile.GNUTYPE_SPARSE, size=0, data=b""), "without --sparse", "01"),
        (odd("/a.txt"), "'/a.txt' is not allowed: rename", "01"),
        (odd("b/../a.txt"), "leads out of its folder: rename", "01"),
        (odd("a\nb.txt"), r"'a\\nb.txt' is not allowed", "01"),
        (odd("é.txt", encoding="latin-1"), r"b'\\xe9.txt' is not UTF-8", "01"),
        (odd("0.txt"), "occurs twice", "1"),
        (odd("0.TXT"), "differ in nothing but case", "1"),
        (odd("a.json", data=b""), r"\.json of a is damaged", "01"),
        (odd("a.txt", type=b"D"), "without --listed-incremental", "0"),
        (odd("a.txt") + odd("b.txt"), "other data follow .* --concatenate", "0a1"),
        (b"\x1f\x8b\x08", "compressed by gzip: unpack it", ""),
        (b"<!doctype html>", "a web page or XML, no tar: download", ""),
        (b"text" * 1000, "does not begin as a tar does", ""),
        (odd("a.txt", type=b"V", data=b""), "", "01"),
        (odd("a.json", data=b'{"": 1, "txt_offset": 2, "x": 3}'), "", "0a1"),
    ],
)  # fmt: skip
def test_odd_members_of_a_foreign_tar_are_named_with_a_remedy_or_left_out_alone(
    tmp_path: Path, data: bytes, fault: str, left: str
) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    lines: list[str] = []
    if fault:
        with pytest.raises(BadData, match=rf"x\.tar cannot be indexed: .*({fault}).*--skip"):
            index_folder(tmp_path)
    if not left:
        return
    index_folder(tmp_path, skip=lines.append)
    assert re.search(fault, " ".join(lines)) if fault else not lines
    found = [sample["key"] for sample in artsound.open(tmp_path).stream(shuffle=False)]
    assert found == list(left)
    assert all(line.isprintable() for line in lines)


def test_a_subset_holds_every_key_that_an_index_accepts(tmp_path: Path) -> None:
    folder = tmp_path / "foreign"
    folder.mkdir()
    names = ["été", "日本", "k" * 120, "a/0001", "v1.0/" + "é" * 60, "plain"]
    for shard in ("one", "two"):
        with tarfile.open(folder / f"{shard}.tar", "w", format=tarfile.PAX_FORMAT) as archive:
            for name in names:
                info = tarfile.TarInfo(f"{name}.txt")
                info.size = 3
                archive.addfile(info, io.BytesIO(shard.encode()))
    index_folder(folder)
    write_subset(str(folder), tmp_path / "copy")
    assert {problem.message.partition(":")[0] for problem in verify(tmp_path / "copy")} == {
        "the key occurs twice"
    }
    found = sorted((s["key"], s["txt"]) for s in artsound.open(tmp_path / "copy").stream())
    assert found == sorted((name, text) for name in names for text in (b"one", b"two"))
    paths = [str(path) for path in sorted((tmp_path / "copy").glob("*.tar"))]
    theirs = webdataset.WebDataset(paths, shardshuffle=False)
    assert sorted((sample["__key__"], sample["txt"]) for sample in theirs) == found


def test_our_own_shards_without_an_index_get_the_same_one_again(
    shards: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    for path in shards.glob("*.tar"):
        (folder / path.name).write_bytes(path.read_bytes())
    index_folder(folder)
    assert sha256_file(folder / "index.parquet") == sha256_file(shards / "index.parquet")
    assert verify(folder, deep=True) == []


def test_what_cannot_be_indexed_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match=r"no \.tar file"):
        index_folder(tmp_path)
    (tmp_path / "a.tar").write_bytes(b"<html>" * 500)
    with pytest.raises(BadData, match=r"a\.tar cannot be indexed"):
        index_folder(tmp_path)
    with tarfile.open(tmp_path / "a.tar", "w"):
        pass
    with pytest.raises(BadData, match="has no sample"):
        index_folder(tmp_path)
