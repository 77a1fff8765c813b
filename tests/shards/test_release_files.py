"""What a release says of itself, and that the readers of others never mix two releases."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import jsonschema
import polars as pl
import pytest
import yaml

import artsound
from artsound.errors import BadData, BadUsage
from artsound.recipe import Recipe
from artsound.reports.card import CARDS, UNANSWERED, licence_texts, write_cards
from artsound.shards.index import SUMS, read_shard_index, shards_of, write_index
from artsound.shards.push import push
from artsound.shards.release import credit_lacks, write_attribution
from artsound.shards.store import LocalStore
from artsound.shards.subset import write_shards, write_subset
from artsound.shards.verify import verify
from artsound.shards.withdraw import traces, withdraw

SAID = {
    "title": "A set",
    "authors": ["Ada Lovelace (0000-0002-1825-0097)"],
    "contact": "ada@example.org",
    "takedown": "takedown@example.org",
    "date": "2026-11-01",
}


@pytest.fixture(scope="module")
def said(
    shards: Path, rewrite: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A release of real works, whose publisher says who it is."""
    folder = tmp_path_factory.mktemp("said") / "shards"
    shutil.copytree(shards, folder)
    rows = artsound.open(folder).frame.with_columns(
        artwork_source=pl.lit("artgraph"), track_source=pl.lit("fma"), synthetic=pl.lit(False)
    )
    (folder / "fits.json").write_bytes(b"{}\n")
    rewrite(folder, rows, "real", version="1.0.0", release=SAID)
    write_cards(folder, folder)
    return folder


def front_matter(folder: Path) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    return found


def loaded(folder: Path, cache: Path) -> dict[str, list[str]]:
    """The keys that `load_dataset` gives of a folder with its card, by split."""
    datasets = pytest.importorskip("datasets")
    found = datasets.load_dataset(str(folder), cache_dir=str(cache))
    return {
        split: sorted(rows.select_columns("__key__")["__key__"]) for split, rows in found.items()
    }


def expected(folder: Path) -> dict[str, list[str]]:
    frame = artsound.open(folder).frame.sort("key")
    names = {"train": "train", "val": "validation", "test": "test"}
    return {names[s]: rows["key"].to_list() for (s,), rows in frame.group_by("split")}


def test_load_dataset_never_mixes_two_releases(
    said: Path, make: Callable[..., Path], tmp_path: Path
) -> None:
    counts = {"train": [8, 7, 8, 7, 7], "val": [4], "test": [4]}  # as the other, with other keys
    other = make(counts, "other/shards", first=100)
    write_cards(other, other)
    gone = artsound.open(said).frame["key"][:3].to_list()
    withdraw(said, tmp_path / "next" / "shards", gone, describe=lambda f: write_cards(f, f))
    for folder in (said, other, tmp_path / "next" / "shards", said):
        assert loaded(folder, tmp_path / "cache") == expected(folder)


def test_mlcroissant_never_mixes_two_releases_in_one_cache(
    said: Path, make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    epath = pytest.importorskip("etils.epath")
    monkeypatch.setattr(
        "mlcroissant._src.operation_graph.operations.extract.EXTRACT_PATH",
        epath.Path(tmp_path / "cache"),
    )
    other = make({"train": [4]}, "other", first=100)
    write_cards(other, other)
    gone = artsound.open(said).frame["key"][:3].to_list()
    withdraw(said, tmp_path / "next", gone, describe=lambda folder: write_cards(folder, folder))
    for folder in (said, other, tmp_path / "next"):
        found = mlcroissant.Dataset(str(folder / "croissant.json"))
        assert not found.metadata.ctx.issues.errors
        assert not found.metadata.ctx.issues.warnings
        keys = sorted(row["images/key"].decode() for row in found.records("images"))
        assert keys == sorted(artsound.open(folder).frame["key"])


def test_every_work_is_credited_or_the_list_says_what_is_not_known(
    shards: Path, tmp_path: Path
) -> None:
    rows = artsound.open(shards).frame.head(4).with_columns(
        track_license_id=pl.Series(["CC-BY-3.0", "CC-BY", "CC-BY-NC-SA-3.0-US", "CC0-1.0"]),
        track_source_url=pl.Series(["https://example.org/1", "https://example.org/2", None, None]),
        artwork_license_id=pl.lit("public-domain"), excerpt_start_s=pl.lit(69), duration_s=30.0,
        image_original_sha256=pl.lit("0" * 64), image_width=pl.lit(10), image_height=pl.lit(5),
        image_original_width=pl.lit(20), image_original_height=pl.lit(10),
    )  # fmt: skip
    write_attribution(tmp_path, rows.to_arrow())
    found = pl.read_csv(tmp_path / "ATTRIBUTION.csv").sort("id")
    artworks, tracks = (found.filter(side=side) for side in ("artwork", "track"))
    assert tracks["missing"].to_list() == [None, "licence_url", "address", None]
    assert set(tracks["changes"]) == {"excerpt of 30 s from second 69"}
    assert set(artworks["changes"]) == {"scaled to 10 × 5 pixels, re-encoded as JPEG"}
    assert set(artworks["missing"]) == {None}
    lacks = {"works": 3, "complete": 1, "licence_url": 1, "address": 1}
    assert credit_lacks(rows.to_arrow()) == lacks
    texts = licence_texts(["CC-BY", "CC-BY-3.0", "CC-BY-NC-SA-3.0-US", "GPL-2.0-or-later"])
    for words in ("states no version", "Attribution 3.0 Unported", "GNU GENERAL PUBLIC LICENSE",
                  "https://creativecommons.org/licenses/by-nc-sa/3.0/us/"):  # fmt: skip
        assert words in texts


def test_the_summary_for_training_counts_the_index_and_what_was_left_out(
    said: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "counted"
    shutil.copytree(said, folder)
    about = read_shard_index(LocalStore(folder))
    state = {"side": "track", "source": "fma", "items": 1_234_567, "sha256": "a" * 64}
    more = {"sources": [state], "rejects": {"track": {"opted-out": 17, "rights-policy": 23}}}
    write_index(folder, "real", "", shards_of(about), artsound.open(said).frame.to_arrow(), more)
    write_cards(folder, folder)
    summary = (folder / "TRAINING_DATA_SUMMARY.md").read_text()
    assert f"| 1,234,567 | {len(artsound.open(said))} |" in summary
    assert "by the recipe's policy: 17 and 23." in summary
    assert "a" * 64 in summary
    assert "names when the release was built" not in summary
    assert "that were left out: 17." in (folder / "TAKEDOWN.md").read_text()
    assert re.search(r"\| track \| rights-policy \| 23 \|", (folder / "DATASHEET.md").read_text())


def test_load_dataset_reads_late_values_with_the_card(late_shards: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    late_release = tmp_path / "late"
    shutil.copytree(late_shards, late_release)
    write_cards(late_release, late_release)
    found = datasets.load_dataset(str(late_release), split="test", cache_dir=str(tmp_path))
    records = found.select_columns("json")["json"]
    assert (records[0]["artwork_tags"], records[-1]["artwork_tags"]) == ([""], ["sea", "boat"])
    assert str(found.features["json"]["artwork_year"]) == "Value('int32')"


def test_the_card_names_each_shard_and_its_features(said: Path) -> None:
    told = front_matter(said)
    files = told["configs"][0]["data_files"]  # type: ignore[index]
    named = [name for entry in files for name in entry["path"]]
    assert sorted(named) == sorted(path.name for path in said.glob("*.tar"))


def test_a_card_claims_no_more_than_is_known(said: Path, shards: Path, tmp_path: Path) -> None:
    text = (said / "README.md").read_text() + (said / "DATASHEET.md").read_text()
    assert "An independent rebuild" in text
    assert "read from file names" in text
    for claim in ("who chose their licences", "1,024", "favour Western"):
        assert claim not in text
    write_cards(shards, tmp_path)
    assert "An independent rebuild" not in (tmp_path / "README.md").read_text()


def test_what_the_publisher_does_not_say_is_not_answered(said: Path) -> None:
    text = (said / "README.md").read_text()
    for name, field in Recipe().release.model_fields.items():
        row = re.search(rf"^\| {re.escape(field.description or '')} \| (.*) \|$", text, re.M)
        assert row is not None, name
        assert (row[1] == UNANSWERED) == (name not in SAID)
    assert "takedown@example.org" in (said / "TAKEDOWN.md").read_text()
    citation = yaml.safe_load((said / "CITATION.cff").read_text())
    assert (citation["title"], citation["authors"]) == ("A set", [{"name": "Ada Lovelace"}])


def test_a_subset_has_a_name_a_version_and_a_parent_of_its_own(said: Path, tmp_path: Path) -> None:
    for place, top in (("some", 5), ("fewer", 4)):
        write_subset(said, tmp_path / place, top=top)
        write_cards(tmp_path / place, tmp_path / place)
    some, fewer = (json.loads((tmp_path / one / "index.json").read_text())
                   for one in ("some", "fewer"))  # fmt: skip
    assert some["name"] != fewer["name"]
    assert some["parent"]["name"] == "real"
    assert some["parent"]["index_sha256"] == artsound.open(said).index_sha256
    assert some["release"] == {k: SAID[k] for k in ("authors", "contact", "takedown")}
    assert (tmp_path / "some" / "fits.json").read_bytes() == b"{}\n"
    assert "A subset of a release" in (tmp_path / "some" / "README.md").read_text()


def test_a_new_release_has_a_date_of_its_own_or_none(said: Path, tmp_path: Path) -> None:
    key = artsound.open(said).frame["key"][0]
    for date in ("", "2026-12-01"):
        write_subset(said, tmp_path / f"some{date}", top=5, date=date)
        withdraw(said, tmp_path / f"next{date}", [key], date=date)
        for name in ("some", "next"):
            about = json.loads((tmp_path / f"{name}{date}" / "index.json").read_text())
            assert about["release"].get("date", "") == date
    for date in ("2026-13-01", "20261201", "1 December 2026"):
        for make in (
            lambda date=date: write_subset(said, tmp_path / "no", top=5, date=date),
            lambda date=date: withdraw(said, tmp_path / "no", [key], date=date),
        ):
            with pytest.raises(BadUsage, match="give it as YYYY-MM-DD"):
                make()
    assert not (tmp_path / "no").exists()
    with pytest.raises(BadUsage, match="is no release that has a date"):
        write_subset(said, tmp_path / "ids.npy", date="2026-12-01")


def test_the_schemas_that_ship_hold_for_the_release(said: Path) -> None:
    sample = json.loads((said / "sample.schema.json").read_text())
    data = artsound.open(said)
    for position in range(5):
        shard, span = data.frame.row(position, named=True)["shard"], data.pointers.ranges(position)
        jsonschema.validate(json.loads(data.store.read_ranges(shard, span)[-1]), sample)
    about = json.loads((said / "shard_index.schema.json").read_text())
    jsonschema.validate(json.loads((said / "index.json").read_text()), about)
    assert all((said / name).is_file() for name in CARDS)


@pytest.mark.parametrize(
    ("title", "cell"),
    [
        ('=HYPERLINK("http://x.example")', '\'=HYPERLINK("http://x.example")'),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3+cmd|x", "'-2+3+cmd|x"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\tTab", "'\tTab"),
        ("\rReturn", "'\rReturn"),
        ("  \u00a0=1+1", "'  \u00a0=1+1"),
        ("\u200b\ufeff=1+1", "'\u200b\ufeff=1+1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("-3.5", "-3.5"),
        ("+1e-3", "+1e-3"),
        ("a = b", "a = b"),
        ("'tis = not", "'tis = not"),
    ],
)
def test_a_formula_in_the_credits_is_text_for_a_spreadsheet_and_is_still_found(
    shards: Path, tmp_path: Path, title: str, cell: str
) -> None:
    named = ("artwork_title", "painter", "track_title", "musician", "artwork_id")
    rows = artsound.open(shards).frame.head(1).with_columns(pl.lit(title).alias(n) for n in named)
    write_attribution(tmp_path, rows.to_arrow())
    with (tmp_path / "ATTRIBUTION.csv").open(newline="") as file:
        artwork, track = csv.DictReader(file)
    assert {artwork[name] for name in ("id", "title", "author")} == {cell}
    assert {track[name] for name in ("title", "author")} == {cell}
    assert rows["artwork_title"].to_list() == [title]
    if not title.startswith(("\t", "\r")):  # ids are lines of lists
        assert traces(tmp_path, [title]) == ["ATTRIBUTION.csv"]


def test_a_changed_byte_in_any_file_of_a_release_is_named_and_goes_no_further(
    said: Path, tmp_path: Path
) -> None:
    before = {*verify(said)}  # of the .json files, which still name the sample
    assert (said / SUMS).read_text().count("\n") == len(list(said.iterdir())) - 1
    subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=said, check=True)
    key = artsound.open(said).frame["key"][0]
    for path in sorted(said.iterdir()):
        folder = tmp_path / "release"
        shutil.copytree(said, folder)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        (folder / path.name).write_bytes(data)
        named = {problem.shard for problem in verify(folder) if problem not in before}
        assert named, path.name
        with pytest.raises(BadData):
            push(folder, str(tmp_path / "pushed"), restricted=True)
        if path.suffix != ".tar":  # of a shard that is packed again, only the members matter
            with pytest.raises(BadData):
                withdraw(folder, tmp_path / "next", [key])
            with pytest.raises(BadData):
                write_shards(artsound.open(folder), tmp_path / "subset")
        shutil.rmtree(folder)
    assert not list(tmp_path.rglob("*.tar"))


@pytest.mark.parametrize("member", ["jpg", "mp3", "json"])
def test_a_damaged_member_is_not_packed_again(said: Path, tmp_path: Path, member: str) -> None:
    shutil.copytree(said, tmp_path / "release")
    row = artsound.open(said).frame.row(0, named=True)
    path = tmp_path / "release" / row["shard"]
    data = bytearray(path.read_bytes())
    data[row[f"{member}_offset"] + row[f"{member}_size"] // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadData, match=f"{member} of {row['key']} is damaged"):
        write_shards(artsound.open(tmp_path / "release"), tmp_path / "subset")
    assert not (tmp_path / "subset").exists()
