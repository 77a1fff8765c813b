from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import artsound
from artsound.cli import app
from artsound.errors import BadData, BadUsage
from artsound.shards.index import read_shard_index
from artsound.shards.release import CHANGELOG, CHANGES
from artsound.shards.store import LocalStore
from artsound.shards.verify import verify
from artsound.shards.withdraw import named, traces, withdraw
from artsound.storage import sha256_file

Make = Callable[..., Path]


@pytest.fixture
def release(make: Make) -> Path:
    return make({"train": [5, 5, 5], "val": [4], "test": [1]}, media=60)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir())}


def test_only_shards_that_held_a_withdrawn_pair_change(release: Path, tmp_path: Path) -> None:
    frame = artsound.open(str(release)).frame
    track, artwork = frame.row(1, named=True), frame.row(3, named=True)
    assert track["shard"] == artwork["shard"]
    found = withdraw(release, tmp_path / "next", [track["key"], artwork["artwork_id"]])
    assert set(found.removed) == {track["key"], artwork["key"]}
    assert found.shards_changed == (track["shard"],)
    before, after = digests(release), digests(tmp_path / "next")
    same = set(found.shards_kept)
    assert len(same) == 4
    assert all(before[name] == after[name] for name in same)
    assert verify(tmp_path / "next", deep=True) == []
    kept = frame.filter(~pl.col("key").is_in([track["key"], artwork["key"]]))
    now = artsound.open(str(tmp_path / "next"))
    assert now.frame["key"].to_list() == kept["key"].to_list()
    for number, key in enumerate(kept["key"]):
        old = artsound.open(str(release)).filter(f"key = '{key}'").read(0)
        assert now.read(number) == old
    assert "| Removed | 2 |" in (tmp_path / "next" / CHANGELOG).read_text()
    about = read_shard_index(LocalStore(tmp_path / "next"))
    assert about["version"] == "2.0.0"
    assert about["base"] == sha256_file(release / "index.json")


def test_a_damaged_shard_is_not_linked_into_the_next_release(release: Path, tmp_path: Path) -> None:
    row = artsound.open(str(release)).frame.row(-1, named=True)
    path = release / row["shard"]
    data = bytearray(path.read_bytes())
    data[row["mp3_offset"] + 50] ^= 1
    path.write_bytes(data)
    first = artsound.open(str(release)).frame["key"][0]
    with pytest.raises(BadData, match=f"{row['shard']} is damaged"):
        withdraw(release, tmp_path / "next", [first])
    assert not (tmp_path / "next").exists()


def test_the_same_takedown_gives_the_same_bytes(release: Path, tmp_path: Path) -> None:
    ids = artsound.open(str(release)).frame["key"][:2].to_list()
    withdraw(release, tmp_path / "one", ids)
    withdraw(release, tmp_path / "two", ids)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_a_withdrawn_item_is_nowhere_in_the_release_and_a_trace_would_be_found(
    release: Path, tmp_path: Path
) -> None:
    row = artsound.open(str(release)).frame.row(0, named=True)
    ids = tmp_path / "takedown.txt"
    ids.write_text(row["artwork_id"])
    told = CliRunner().invoke(
        app, ["withdraw", str(release), str(ids), "--out", str(tmp_path / "next"), "--json"]
    )
    assert told.exit_code == 0, told.output
    assert json.loads(told.output.splitlines()[-1])["removed"] == [row["key"]]
    needles = [row["artwork_id"], row["image_sha256"], row["audio_sha256"]]
    assert traces(tmp_path / "next", needles, [row["key"]]) == []
    assert set(traces(release, needles)) >= {row["shard"], "index.parquet"}
    assert "croissant.json" in digests(tmp_path / "next")
    shutil.copy(release / row["shard"], tmp_path / "next" / "forgotten.tar")
    assert traces(tmp_path / "next", needles) == ["forgotten.tar"]
    assert traces(tmp_path / "next", [], [row["key"]]) == ["forgotten.tar"]
    assert traces(tmp_path / "next", [row["audio_sha256"]]) == ["forgotten.tar"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("NOTES.md", "We no longer have\n- 000010\n"),
        ("notes.md", "or painter-train-0_work-10.jpg, by the way"),
        ("ATTRIBUTION.csv", "artwork,painter-train-0_work-10.jpg,x\n"),
        ("more.csv", "track,000010,x\n"),
        ("notes.json", '{"gone": [{"was": "000010"}]}'),
    ],
)
def test_an_id_in_any_kind_of_text_is_found(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / "plain.md").write_text("A sample `000010` has members; artsound-train-000010.tar")
    ids = ["000010", "painter-train-0_work-10.jpg"]
    assert traces(tmp_path, *named(ids)) == [name]


def test_verify_shows_what_a_list_forbids(release: Path, tmp_path: Path) -> None:
    ids = tmp_path / "takedown.txt"
    ids.write_text(artsound.open(str(release)).frame["key"][0])
    next_release = tmp_path / "next"
    withdraw(release, next_release, [ids.read_text()])
    for folder, code in ((release, 1), (next_release, 0)):
        told = CliRunner().invoke(app, ["verify", str(folder), "--without", str(ids)])
        assert told.exit_code == code, told.output
        assert ("lists" in told.output) == bool(code)


def test_a_takedown_in_any_spelling_works_and_a_line_that_names_nothing_stops_it(
    release: Path, tmp_path: Path
) -> None:
    rows = artsound.open(str(release)).frame
    artwork, track = rows["artwork_id"][0], rows["key"][4]
    ids = tmp_path / "takedown.txt"
    ids.write_text(f"imagesf2/{artwork.upper()}\n{int(track)}.mp3\nno-such_work\n")
    command = ["withdraw", str(release), str(ids), "--out", str(tmp_path / "next")]
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 1
    assert "'no-such_work'" in str(told.exception)
    assert not (tmp_path / "next").exists()
    told = CliRunner().invoke(app, [*command, "--allow-unmatched"])
    assert told.exit_code == 0, told.output
    left = artsound.open(str(tmp_path / "next")).frame
    assert not {rows["key"][0], track} & set(left["key"])
    for folder, code in ((release, 1), (tmp_path / "next", 0)):
        told = CliRunner().invoke(app, ["verify", str(folder), "--without", str(ids)])
        assert told.exit_code == code, told.output


def test_opt_outs_are_honoured_by_subset_verify_push_and_withdraw(
    release: Path, tmp_path: Path
) -> None:
    rows = artsound.open(str(release)).frame
    painter = rows["painter"][0]
    gone = set(rows.filter(pl.col("painter") == painter)["key"])
    optouts = tmp_path / "optouts.txt"
    optouts.write_text(f"{painter.upper()}\nNobody Known\n")
    option = ["--optouts", str(optouts)]

    def run(*arguments: object) -> tuple[int, str]:
        told = CliRunner().invoke(app, [*map(str, arguments), *option])
        return told.exit_code, f"{told.output} {told.exception}"

    assert run("verify", release)[0] == 1
    code, said = run("push", release, tmp_path / "target", "--restricted")
    assert code != 0
    assert "withdraw --optouts" in said
    assert not (tmp_path / "target").exists()
    for command in (("subset", release), ("withdraw", release)):
        out = tmp_path / command[0]
        code, said = run(*command, "--out", out)
        assert code == 0, said
        assert "'Nobody Known'" in said
        assert set(artsound.open(str(out)).frame["key"]) == set(rows["key"]) - gone
        assert run("verify", out)[0] == 0
        assert run("push", out, tmp_path / f"{command[0]}-target", "--restricted")[0] == 0


def test_a_subset_excludes_in_any_spelling_and_names_lines_that_match_nothing(
    release: Path, tmp_path: Path
) -> None:
    rows = artsound.open(str(release)).frame
    ids = tmp_path / "ids.txt"
    ids.write_text(f"{int(rows['key'][0])}.mp3\n{rows['artwork_id'][1].upper()}\nno-such\n")
    out = tmp_path / "rest.parquet"
    told = CliRunner().invoke(
        app, ["subset", str(release), "--exclude", str(ids), "--out", str(out), "--json"]
    )
    assert told.exit_code == 0, told.output
    assert json.loads(told.output.splitlines()[-1])["unmatched"] == ["no-such"]
    assert set(artsound.open(str(out)).frame["key"]) == set(rows["key"][2:])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("notes.md", "No longer here: IMAGES/Painter-train-0_work-10.JPG"),
        ("more.csv", "painter-train-0_work%2D10.jpg,x\n"),
        ("notes.json", '{"gone": [{"artwork_id": "painter-train-0_work-10"}]}'),
    ],
)
def test_another_spelling_of_a_listed_artwork_is_found(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / "plain.md").write_text("painter-train-0_work-100.jpg stays")
    assert traces(tmp_path, *named(["painter-train-0_work-10.jpg"])) == [name]


def test_what_has_the_bytes_of_a_withdrawn_item_goes_with_it(make: Make, tmp_path: Path) -> None:
    release = make({"train": [4, 4], "test": [2]}, media=12)
    rows = artsound.open(str(release)).frame
    listed = rows.row(0, named=True)
    twins = rows.filter(pl.col("audio_sha256") == listed["audio_sha256"])["key"].to_list()
    assert len(twins) > 1
    found = withdraw(release, tmp_path / "next", [listed["key"]])
    assert list(found.removed) == sorted(twins)
    assert traces(tmp_path / "next", [listed["audio_sha256"]]) == []


def test_a_near_duplicate_that_stays_gives_up_the_withdrawn_name_of_its_cluster(
    make: Make, rewrite: Callable[..., None], tmp_path: Path
) -> None:
    release = make({"train": [3, 3, 3], "test": [2]}, media=60)
    rows = artsound.open(str(release)).frame
    first, twin = rows["key"][0], rows["key"][4]
    clustered = pl.when(pl.col("key") == twin).then(pl.lit(first)).otherwise("track_cluster")
    rewrite(release, rows.with_columns(track_cluster=clustered))
    withdraw(release, tmp_path / "next", [first])
    now = artsound.open(str(tmp_path / "next"))
    assert now.frame.filter(key=twin)["track_cluster"].to_list() == [twin]
    assert now.filter(f"key = '{twin}'").read(0)["json"]["track_cluster"] == twin
    assert verify(tmp_path / "next") == []


def test_versions_and_counts_of_all_releases_are_kept_but_no_withdrawn_key(
    release: Path, tmp_path: Path
) -> None:
    keys = artsound.open(str(release)).frame["key"].to_list()
    withdraw(release, tmp_path / "two", keys[:1])
    withdraw(tmp_path / "two", tmp_path / "three", keys[7:9])
    changes = json.loads((tmp_path / "three" / CHANGES).read_text())
    assert [one["version"] for one in changes["releases"]] == ["3.0.0", "2.0.0"]
    assert [one["counts"]["Removed"] for one in changes["releases"]] == [2, 1]
    assert traces(tmp_path / "three", [], [keys[0], *keys[7:9]]) == []
    text = (tmp_path / "three" / CHANGELOG).read_text()
    assert text.index("## 3.0.0") < text.index("## 2.0.0")
    assert verify(tmp_path / "three") == []


def test_changes_that_do_not_belong_to_the_index_are_a_problem(
    release: Path, tmp_path: Path
) -> None:
    keys = artsound.open(str(release)).frame["key"].to_list()
    withdraw(release, tmp_path / "next", keys[:1])
    path = tmp_path / "next" / CHANGES
    value = json.loads(path.read_text())
    value["releases"][0]["version"] = "7.0.0"
    value["keys"]["added"] = ["999999"]
    path.write_text(json.dumps(value))
    told = [problem.message for problem in verify(tmp_path / "next")]
    assert any("not the one in index.json" in one for one in told)
    assert any("999999" in one for one in told)
    path.write_text("[]")
    assert [problem.shard for problem in verify(tmp_path / "next")] == [CHANGES]
    path.unlink()
    assert [problem.shard for problem in verify(tmp_path / "next")] == [CHANGES]


def test_a_shard_of_which_nothing_is_left_is_gone(release: Path, tmp_path: Path) -> None:
    frame = artsound.open(str(release)).frame
    only = frame.filter(pl.col("split") == "test")["key"].to_list()
    found = withdraw(release, tmp_path / "next", only)
    assert found.shards_gone == ("artsound-test-000000.tar",)
    assert verify(tmp_path / "next") == []


def test_a_list_that_names_nothing_everything_or_a_folder_in_use_is_refused(
    release: Path, tmp_path: Path
) -> None:
    keys = artsound.open(str(release)).frame["key"].to_list()
    with pytest.raises(BadUsage, match="none of the 1 listed"):
        withdraw(release, tmp_path / "next", ["999999"])
    with pytest.raises(BadData, match="Nothing would be left"):
        withdraw(release, tmp_path / "next", keys)
    with pytest.raises(BadUsage, match="in use"):
        withdraw(release, release, keys[:1])
    assert not (tmp_path / "next").exists()
