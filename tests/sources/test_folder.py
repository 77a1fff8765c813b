"""A museum or a label of one's own: pictures and clips in folders and zips, with tables."""

from __future__ import annotations

import gzip
import io
import unicodedata
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import soundfile
from small_builds import run_serially
from tiny_sources import clip, fma_files, picture, table, write_files, write_zip

import artsound
from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.media.audio import check_audio
from artsound.recipe import Recipe, Sources
from artsound.shards.verify import verify
from artsound.sources import ingest
from artsound.sources.base import Options, places, read_place
from artsound.stage import Context, run_stage
from artsound.storage import Workspace, read_json, read_parquet
from artsound.testing import check_source

PICTURES = {"rooms/Sea at dusk.jpg": picture(1), "rooms/b.png": picture(2, kind="PNG")}
CLIPS = {"Disc 1/01 Intro.mp3": clip(1), "02.mp3": clip(2)}


def read(side: str, root: Path) -> pl.DataFrame:
    """The rows of a folder source."""
    option = {"artwork": "artworks", "track": "music"}[side]
    [place] = places(Recipe(sources=Sources(**{option: [f"folder:{root}"]})), side)
    return read_place(place, root, place.list_files(root, Options()), Options())


def ingested(root: Path, **sources: Any) -> dict[str, list[dict[str, Any]]]:
    """The catalogue of sources."""
    workspace = Workspace(root / "out")
    recipe = Recipe(sources=Sources(**sources))
    ingest.check(Context(workspace, recipe))
    run_stage(ingest.STAGE, workspace, recipe)
    return {
        name: read_parquet(workspace.catalog / f"{name}s.parquet", name).to_pylist()
        for name in ("artwork", "track")
    }


def test_without_a_table_every_medium_is_an_item_of_which_little_is_known(tmp_path: Path) -> None:
    museum = write_files(tmp_path / "museum", PICTURES)
    write_zip(museum / "More.zip", {"c.jpg": picture(3), "notes.txt": b"x", "._d.jpg": b"x"})
    rows = read("artwork", museum).sort("artwork_id")
    assert rows["artwork_id"].to_list() == [
        "folder-more-c-28d30680",
        "folder-rooms-b-b61024a3",
        "folder-rooms-sea-at-dusk-d403acef",
    ]
    assert rows["title"].to_list() == ["c", "b", "Sea at dusk"]
    assert rows["box"].to_list() == ["More.zip", "", ""]
    assert rows["source"].unique().to_list() == ["folder"]
    assert not rows["redistribute"].any()
    assert rows["painter_id"].to_list() == rows["artwork_id"].to_list()


def test_a_table_says_what_is_known_and_what_may_be_done(tmp_path: Path) -> None:
    header = ("file", "title", "painter", "painter_died", "year", "tags", "license", "commercial")
    items = table(
        [
            header,
            ("rooms/Sea at dusk.jpg", "Dusk", "Ana Lim", 1901, "1890.0", "sea|dusk", "", ""),
            ("b.png", "", "", "", "", "", "CC BY 4.0", "no"),
        ]
    )
    museum = write_files(tmp_path / "museum", {**PICTURES, "items.csv": items})
    sea, b = read("artwork", museum).sort("title", descending=True).rows(named=True)
    assert (sea["title"], sea["painter"], sea["painter_id"]) == ("Dusk", "Ana Lim", "ana-lim")
    assert (sea["year"], sea["tags"], sea["style"]) == (1890, ["sea", "dusk"], "")
    assert (sea["license_id"], sea["redistribute"]) == ("public-domain", True)
    assert (b["license_id"], b["redistribute"], b["commercial"]) == ("CC-BY-4.0", True, False)


def test_a_parquet_table_may_have_lists_and_flags(tmp_path: Path) -> None:
    label = write_files(tmp_path / "label", CLIPS)
    pl.DataFrame(
        {
            "file": ["Disc 1/01 Intro.mp3"],
            "artist": ["The Band"],
            "tags": [["loud", "live"]],
            "redistribute": [True],
            "split": ["val"],
        }
    ).write_parquet(label / "tracks.parquet")
    [row] = read("track", label).rows(named=True)
    assert row["tags"] == ["loud", "live"]
    assert (row["split"], row["redistribute"], row["commercial"]) == ("val", True, False)
    assert row["artist_id"] >= 1 << 30
    assert row["rights_reason"] == "as the source states"


def test_a_table_states_what_creators_prefer_of_training_and_a_refusal_always_wins(
    tmp_path: Path,
) -> None:
    header = ("file", "license", "ai_training", "ai_training_source")
    rows = [
        ("a.jpg", "CC0 1.0", "No AI", ""),
        ("b.jpg", "CC0 1.0", "refused", "header"),
        ("c.jpg", "CC0 1.0", "refused", "licence"),
        ("d.jpg", "CC BY-NC 4.0", "yes", ""),
        ("e.jpg", "", "allowed", "creator-preference"),
        ("f.jpg", "CC BY 4.0", "", ""),
    ]
    pictures = {name: picture(n) for n, (name, *_) in enumerate(rows, 1)}
    museum = write_files(tmp_path / "museum", {**pictures, "items.csv": table([header, *rows])})
    found = read("artwork", museum).sort("artwork_id")
    assert found.select("ai_training", "ai_training_source").rows() == [
        ("refused", "creator-preference"),
        ("refused", "header"),
        ("refused", "creator-preference"),
        ("non-commercial-only", "licence"),
        ("allowed", "creator-preference"),
        ("allowed-with-attribution", "licence"),
    ]


def test_a_preference_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    for column in ("ai_training", "ai_training_source"):
        items = table([("file", column), ("a.jpg", "perhaps")])
        museum = write_files(tmp_path / column, {"a.jpg": picture(1), "items.csv": items})
        with pytest.raises(BadData, match=r"'perhaps'.* is none of"):
            read("artwork", museum)


def test_sources_of_several_kinds_make_one_catalogue(tmp_path: Path) -> None:
    museum = write_files(tmp_path / "museum", {"a.jpg": picture(1)})
    other = write_files(tmp_path / "other", {"a.jpg": picture(2)})
    label = write_zip(tmp_path / "label.zip", CLIPS)
    files = fma_files([{"track_id": 2, "artist.name": "AWOL"}], {2: clip(5)})
    archive = write_files(tmp_path / "fma", files)
    found = ingested(
        tmp_path,
        artworks=[f"folder:{museum}", f"folder:{other}"],
        music=[f"folder:{label}"],
        fma=str(archive),
    )
    assert [row["artwork_id"] for row in found["artwork"]] == ["folder-a", "folder2-a"]
    assert [row["track_id"] for row in found["track"]] == [
        "000002",
        "folder-02",
        "folder-disc-1-01-intro-d5a51ea2",
    ]
    assert [row["source"] for row in found["track"]] == ["fma", "folder", "folder"]
    extra = read_json(tmp_path / "out/runs/ingest.json")["extra"]
    assert extra["artworks_all_without_style_in_folder2"] == 1
    assert extra["tracks_all_without_license_in_folder"] == 2
    assert "tracks_all_without_genre_in_fma" not in extra


def test_clips_of_any_format_are_released_as_mp3(tmp_path: Path) -> None:
    sounds = [soundfile.read(io.BytesIO(clip(n)), dtype="float32") for n in range(6)]
    for n, (sound, rate) in enumerate(sounds):
        name = f"fma/{n:06d}.WAV" if n > 3 else f"label/{n}.WAV" if n > 1 else f"label/{n}.flac"
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, sound, rate)
    names = [path.name for path in (tmp_path / "label").iterdir()]
    items = table([("file", "title"), *((name, f"song {name}") for name in names)])
    (tmp_path / "label/items.CSV.GZ").write_bytes(gzip.compress(items, mtime=0))
    write_files(tmp_path / "fma", fma_files([{"track_id": 4}, {"track_id": 5}], {}))
    write_files(tmp_path / "museum", {f"{n}.jpg": picture(n) for n in range(12)})
    places = {"artworks": [f"folder:{tmp_path}/museum"], "music": [f"folder:{tmp_path}/label"]}
    recipe = Recipe().replaced(sources={**places, "fma": f"{tmp_path}/fma"})
    workspace = Workspace(tmp_path / "out")
    run_serially(workspace, recipe.replaced(pair={"bridge": "affect"}))
    dataset = artsound.open(workspace.shards)
    samples = {sample["key"]: sample for sample in map(dataset.read, range(len(dataset)))}
    assert sorted(samples) == ["000004", "000005", *(f"folder-{n}" for n in range(4))]
    for key, sample in samples.items():
        info = check_audio(sample["mp3"], min_seconds=0, silence_db=-120)
        sound, rate = sounds[int(key[-1])]
        assert (info.format, info.duration) == ("MP3", len(sound) / rate)
    assert verify(workspace.shards, deep=True) == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"readme.txt": b"x"}, "has no pictures"),
        ({"a.jpg": picture(1), "A.JPG": picture(2)}, "two items of one name"),
        ({"a.jpg": picture(1), "a.png": picture(2, kind="PNG")}, "two items of one name"),
        ({"a.jpg": picture(1), "x.csv": b"file\nb.jpg\n"}, "names 'b.jpg'"),
        ({"sunset.jpg": picture(1), "x.csv": b"file\nsunste.jpg\n"}, "did you mean 'sunset.jpg'"),
        ({"a.jpg": picture(1), "x.csv": b"file,titel\na.jpg,x\n"}, "did you mean 'title'"),
        ({"a.jpg": picture(1), "x.csv": b"name\na\n"}, "no column `file`"),
        ({"a.jpg": picture(1), "x.csv": b"file\na.jpg\na.jpg\n"}, "in two rows"),
        ({"a.jpg": picture(1), "x.csv": b"file,year\na.jpg,old\n"}, "not a whole number"),
        ({"a.jpg": picture(1), "x.csv": b"file,commercial\na.jpg,perhaps\n"}, "neither true nor"),
        ({"a.jpg": picture(1), "x.csv": b"file\n"}, "has no rows"),
        ({"a.jpg": picture(1), "x.csv": b"file\na.jpg\n", "y.csv": b"file\na.jpg\n"}, "several"),
        ({"a.jpg": picture(1), "x.csv": b"file\n\xff\xfe.jpg\n"}, "not a CSV table in UTF-8"),
        ({"a.jpg": picture(1), "x.parquet": b"PAR1"}, "not a parquet file"),
        ({"p/a.jpg": b"", "q/a.jpg": b"", "x.csv": b"file\na.jpg\n"}, "from the folder on"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_clear_error(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    with pytest.raises(BadData, match=message):
        read("artwork", write_files(tmp_path / "museum", files))


def test_names_that_differ_only_in_nfc_and_nfd_are_refused(tmp_path: Path) -> None:
    one, two = (unicodedata.normalize(form, "é.mp3") for form in ("NFC", "NFD"))
    label = write_zip(tmp_path / "label.zip", {one: clip(1), two: clip(2)})
    with pytest.raises(BadData, match="two items of one name"):
        read("track", label)


def test_a_file_that_is_no_picture_is_rejected_with_its_key(tmp_path: Path) -> None:
    museum = write_files(tmp_path / "museum", {"a.jpg": picture(1), "b.jpg": b"<html>"})
    label = write_files(tmp_path / "label", {"x.mp3": clip(1)})
    found = ingested(tmp_path, artworks=[f"folder:{museum}"], music=[f"folder:{label}"])
    assert [row["artwork_id"] for row in found["artwork"]] == ["folder-a"]
    rejects = read_parquet(tmp_path / "out/catalog/rejects.parquet", "reject").to_pylist()
    assert [(row["item_id"], row["kind"]) for row in rejects] == [("folder-b", "failed")]


def test_lists_name_items_by_key_or_as_the_folder_does(tmp_path: Path) -> None:
    museum = write_files(tmp_path / "museum", {f"{n}.jpg": picture(n) for n in (1, 2, 3)})
    label = write_files(tmp_path / "label", {f"{n}.mp3": clip(1) for n in ("a", "b c", "d")})
    names = {
        "ids": "folder-a\nb c.mp3\n",
        "artwork_ids": "1.jpg\nfolder-2\n",
        "without": "a\n2.jpg\n",
    }
    lists = {name: str(write_files(tmp_path, {name: lines.encode()}) / name)
             for name, lines in names.items()}  # fmt: skip
    found = ingested(tmp_path, artworks=[f"folder:{museum}"], music=[f"folder:{label}"], **lists)
    assert [row["artwork_id"] for row in found["artwork"]] == ["folder-1"]
    assert [row["title"] for row in found["track"]] == ["b c"]


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"music": ["folda:x"]}, "did you mean 'folder'"),
        ({"music": ["folder"]}, "has no place"),
        ({"music": ["artgraph:x"]}, "has no music"),
        ({"music": ["folder:x", "folder:x"]}, "named twice"),
        ({"music": ["https://somewhere/x.zip"]}, "which source it is"),
        ({"music": ["folder:https://somewhere/x.zip"]}, "cannot be fetched"),
        ({"music": ["folder:missing"]}, "does not exist"),
    ],
)
def test_a_source_that_cannot_be_used_is_named(
    tmp_path: Path, sources: dict[str, Any], message: str
) -> None:
    museum = write_files(tmp_path / "museum", {"a.jpg": picture(1)})
    recipe = Recipe(sources=Sources(artworks=[f"folder:{museum}"], **sources))
    with pytest.raises((BadUsage, ArtSoundError), match=message):
        ingest.check(Context(Workspace(tmp_path / "out"), recipe))


@pytest.mark.parametrize("side", ["artwork", "track"])
def test_the_folder_source_keeps_the_contract(tmp_path: Path, side: str) -> None:
    root = write_files(tmp_path / "place", {**PICTURES, **CLIPS})
    check_source("folder", side, root)


def test_media_of_formats_that_are_not_read_are_rejects_and_not_ignored(tmp_path: Path) -> None:
    root = write_files(
        tmp_path / "music",
        {**CLIPS, "02.m4a": b"\0\0\0\x20ftypM4A ", "03.m4a": b"\0\0\0\x20ftypM4A " + bytes(99),
         "03.wma": b"x", "cover.jpg": picture(3)},
    )  # fmt: skip
    museum = write_files(
        tmp_path / "museum", {**PICTURES, "c.HEIC": b"\0\0\0\x18ftypheic" + bytes(99)}
    )
    found = ingested(tmp_path, artworks=[f"folder:{museum}"], music=[f"folder:{root}"])
    assert (len(found["artwork"]), len(found["track"])) == (2, 2)
    rejects = read_parquet(tmp_path / "out" / "catalog" / "rejects.parquet", "reject").to_pylist()
    said = {row["reason"]: row["message"] for row in rejects}
    assert len(rejects) == 2
    assert "M4A" in said["audio-unsupported"]
    assert "HEIC" in said["image-unsupported"]
