"""The ingest stage, on the real files and on small sources written here."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_sources import (
    artgraph_files,
    clip,
    fma_files,
    picture,
    tracks_csv,
    write_files,
    write_zip,
)

from artsound.encoders import embed
from artsound.errors import BadData, BadUsage
from artsound.media import MediaError
from artsound.media.limits import limited
from artsound.progress import QUIET
from artsound.recipe import Audio, Images, Recipe, RightsSection, RunSection, Sources
from artsound.sources import ingest
from artsound.stage import Context, Report, run_stage
from artsound.storage import Workspace, read_parquet, sha256_bytes

BY, NC = "Attribution 3.0 International", "Attribution-NonCommercial 3.0 International"
SIDES = ("artwork", "track")
# As many real names, not in ASCII.
OLD, NEW = "old-master_château-1800.jpg", "new-master_tower-1960.jpg"


@pytest.fixture(scope="module")
def real(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, Recipe, Report]:
    """The catalogue of the real files."""
    sources = Sources(artgraph=str(shared_data / "artgraph"), fma=str(shared_data / "fma"))
    recipe = Recipe(sources=sources)
    workspace = Workspace(tmp_path_factory.mktemp("real"))
    return workspace, recipe, run_stage(ingest.STAGE, workspace, recipe)


def test_the_real_files_give_every_painting_and_clip_and_account_for_the_rest(
    real: tuple[Workspace, Recipe, Report],
) -> None:
    workspace, _, report = real
    artworks = read_parquet(workspace.catalog / "artworks.parquet", "artwork")
    tracks = read_parquet(workspace.catalog / "tracks.parquet", "track")
    rejects = read_parquet(workspace.catalog / "rejects.parquet", "reject")
    assert (artworks.num_rows, tracks.num_rows) == (575, 38)
    assert report.items_in == 575 + 25_014
    assert report.items_out == 575 + 38
    assert report.items_in == report.items_out + rejects.num_rows
    assert set(rejects["reason"].to_pylist()) == {"no-audio-here"}
    assert set(rejects["kind"].to_pylist()) == {"filtered"}


def test_the_real_files_carry_their_rights(
    real: tuple[Workspace, Recipe, Report],
) -> None:
    workspace = real[0]
    tracks = read_parquet(workspace.catalog / "tracks.parquet", "track").to_pylist()
    by_id = {track["track_id"]: track for track in tracks}
    assert by_id["000002"]["license_id"] == "CC-BY-NC-SA-3.0-US"
    assert by_id["900008"]["license_id"] == "GPL-2.0-or-later"
    assert by_id["000368"]["license_id"] == "unknown"
    assert not by_id["000368"]["redistribute"]
    artworks = read_parquet(workspace.catalog / "artworks.parquet", "artwork").to_pylist()
    free = {artwork["painter"] for artwork in artworks if artwork["redistribute"]}
    held = {artwork["painter"] for artwork in artworks if not artwork["redistribute"]}
    assert {"Anthony van Dyck", "Katsushika Hokusai"} <= free
    assert {"Paul Klee", "Wassily Kandinsky"} <= held
    assert all(artwork["rights_reason"] for artwork in artworks)


def test_kept_media_are_the_original_bytes(
    real: tuple[Workspace, Recipe, Report], shared_data: Path
) -> None:
    workspace = real[0]
    for row in read_parquet(workspace.catalog / "tracks.parquet", "track").to_pylist():
        number = row["track_id"]
        original = shared_data / f"fma/fma_large/{number[:3]}/{number}.mp3"
        assert workspace.path(row["audio_path"]).read_bytes() == original.read_bytes()


def _sources(root: Path, **changes: bytes | None) -> dict[str, Any]:
    """A small source of each kind below `root`: what the recipe's `sources` needs."""
    images = {OLD: picture(1), NEW: picture(2)}
    rows = [
        {"track_id": 2, "track.license": BY},
        {"track_id": 5, "track.license": NC},
        {"track_id": 7, "track.license": ""},
        {"track_id": 9, "track.license": BY},
    ]
    clips = {number: clip(number) for number in (2, 5, 7)}
    style = {"artwork___hasstyle___style": (["romanticism"], [(0, 0)])}  # bears out OLD's year
    artgraph = artgraph_files([OLD, NEW], images, style)
    files = {
        **{f"artgraph/{name}": data for name, data in artgraph.items()},
        **{f"fma/{name}": data for name, data in fma_files(rows, clips).items()},
    }
    for name, data in changes.items():
        if data is None:
            del files[name]
        else:
            files[name] = data
    write_files(root, files)
    return {"artgraph": str(root / "artgraph"), "fma": str(root / "fma")}


def _ingest(root: Path, sources: dict[str, Any], **sections: Any) -> tuple[Any, Any, Any, Any]:
    """Artworks, tracks, rejects by item, and the report of a run into `root`/out."""
    workspace = Workspace(root / "out")
    recipe = Recipe(sources=Sources(**sources), **sections)
    report = run_stage(ingest.STAGE, workspace, recipe)
    rejects = read_parquet(workspace.catalog / "rejects.parquet", "reject").to_pylist()
    assert report.items_in == report.items_out + len(rejects)
    assert report.filtered == sum(reject["kind"] == "filtered" for reject in rejects)
    return (
        read_parquet(workspace.catalog / "artworks.parquet", "artwork").to_pylist(),
        read_parquet(workspace.catalog / "tracks.parquet", "track").to_pylist(),
        {reject["item_id"]: (reject["kind"], reject["reason"]) for reject in rejects},
        report,
    )


def test_every_row_comes_out_or_is_accounted_for(tmp_path: Path) -> None:
    broken = {
        "fma/fma_large/000/000005.mp3": b"<html>404</html>",
        "artgraph/imagesf2/" + NEW: picture(2)[:900],
    }
    artworks, tracks, rejects, report = _ingest(tmp_path, _sources(tmp_path, **broken))
    assert [artwork["artwork_id"] for artwork in artworks] == [OLD]
    assert [int(track["track_id"]) for track in tracks] == [2, 7]
    assert rejects["000009"] == ("filtered", "no-audio-here")
    assert rejects["000005"][0] == rejects[NEW][0] == "failed"
    assert rejects["000005"][1].startswith("audio-")
    assert rejects[NEW][1].startswith("image-")
    assert report.extra["tracks_in"] == 4
    assert tracks[0]["audio_sha256"] == sha256_bytes(clip(2))
    assert tracks[0]["source"] == "fma"


def test_an_image_that_the_mapping_names_but_is_absent_is_a_fault(tmp_path: Path) -> None:
    sources = _sources(tmp_path, **{"artgraph/imagesf2/" + NEW: None})
    _, _, rejects, report = _ingest(tmp_path, sources)
    assert rejects[NEW] == ("failed", "image-absent")
    assert report.failed == 1


def test_a_clip_of_an_unreadable_zip_member_is_a_fault_and_the_rest_continues(
    tmp_path: Path,
) -> None:
    sources = _sources(tmp_path, **{"fma/fma_large/000/000005.mp3": None})
    path = write_zip(tmp_path / "fma/fma_small.zip", {"fma_small/000/000005.mp3": clip(5)})
    data = bytearray(path.read_bytes())
    data[2000:2100] = bytes(100)
    path.write_bytes(data)
    _, tracks, rejects, _ = _ingest(tmp_path, sources)
    assert rejects["000005"] == ("failed", "file-damaged")
    assert [int(track["track_id"]) for track in tracks] == [2, 7]


@pytest.mark.parametrize(
    ("policy", "artworks", "tracks"),
    [
        ("any", [NEW, OLD], [2, 5, 7]),
        ("redistributable", [OLD], [2, 5]),
        ("commercial", [OLD], [2]),
    ],
)
def test_a_rights_policy_takes_only_what_it_may(
    tmp_path: Path, policy: Any, artworks: list[str], tracks: list[int]
) -> None:
    found = _ingest(tmp_path, _sources(tmp_path), rights=RightsSection(policy=policy))
    assert [artwork["artwork_id"] for artwork in found[0]] == artworks
    assert [int(track["track_id"]) for track in found[1]] == tracks
    for item in {"000005", "000007", NEW} & found[2].keys():
        assert found[2][item] == ("filtered", "rights-policy")


def test_a_limit_reads_ids_up_to_the_last_track_it_takes(tmp_path: Path) -> None:
    sources = _sources(tmp_path, **{"fma/fma_large/000/000002.mp3": None})
    _, tracks, rejects, report = _ingest(tmp_path, {**sources, "limit": 1})
    assert [int(track["track_id"]) for track in tracks] == [5]
    assert rejects == {"000002": ("filtered", "no-audio-here")}
    assert report.extra["tracks_in"] == 2


def test_a_limit_ends_with_as_many_usable_tracks_and_no_more(tmp_path: Path) -> None:
    rows = [{"track_id": number} for number in range(1, 13)]
    broken = (1, 2, 3, 5, 8)
    clips = {n: b"<html>404</html>" if n in broken else clip(n) for n in range(1, 13)}
    sources = {
        **_sources(tmp_path),
        "fma": str(write_files(tmp_path / "many", fma_files(rows, clips))),
        "limit": 4,
    }
    _, tracks, rejects, report = _ingest(tmp_path, sources)
    assert [int(track["track_id"]) for track in tracks] == [4, 6, 7, 9]
    assert {item for item in rejects if item.isdecimal()} == {f"{n:06d}" for n in broken}
    assert report.extra["tracks_in"] == 9
    assert report.parts_skipped == 0
    again = _ingest(tmp_path, sources)
    assert again[1] == tracks
    assert again[3].parts_skipped == again[3].parts
    # Once the broken ones are mended, fewer are looked at: what was noted before does not count.
    write_files(tmp_path / "many", fma_files(rows, {n: clip(n) for n in range(1, 13)}))
    assert [int(track["track_id"]) for track in _ingest(tmp_path, sources)[1]] == [1, 2, 3, 4]


def test_a_limit_that_the_source_cannot_fill_is_reported_in_a_sentence(tmp_path: Path) -> None:
    notes: list[str] = []

    class Listener(type(QUIET)):  # type: ignore[misc]
        def note(self, sentence: str) -> None:
            notes.append(sentence)

    recipe = Recipe(sources=Sources(**{**_sources(tmp_path), "limit": 10}))
    run_stage(ingest.STAGE, Workspace(tmp_path / "out"), recipe, progress=Listener())
    assert len(notes) == 1
    assert notes[0].startswith("Only 3 of the 10 tracks asked for are usable")


@pytest.mark.parametrize(
    ("changes", "artworks", "tracks"),
    [
        (
            {"track_where": "track_id > '000004' and license like '%NonCommercial%'"},
            [NEW, OLD],
            [5],
        ),
        ({"artwork_where": "year < 1900"}, [OLD], [2, 5, 7]),
        ({"ids": "000005\n7\n"}, [NEW, OLD], [5, 7]),
        ({"artwork_ids": f"images/{OLD}\n\n"}, [OLD], [2, 5, 7]),
        ({"artwork_ids": OLD[:-4], "ids": "2", "limit": 1}, [OLD], [2]),
    ],
)
def test_lists_and_conditions_choose_what_is_read(
    tmp_path: Path, changes: dict[str, Any], artworks: list[str], tracks: list[int]
) -> None:
    for key in ("ids", "artwork_ids"):
        if key in changes:
            (tmp_path / key).write_text(changes[key])
            changes = {**changes, key: str(tmp_path / key)}
    found = _ingest(tmp_path, {**_sources(tmp_path), **changes})
    assert [artwork["artwork_id"] for artwork in found[0]] == artworks
    assert [int(track["track_id"]) for track in found[1]] == tracks
    assert found[3].items_in == len(artworks) + len(tracks) + len(found[2])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"track_where": "gnre = 'Rock'"}, "gnre"),
        ({"track_where": "track_id in (select 1)"}, "select"),
        ({"artwork_where": "year"}, "true or false"),
    ],
)
def test_a_condition_that_cannot_be_used_is_reported(
    tmp_path: Path, changes: dict[str, str], told: str
) -> None:
    with pytest.raises(BadUsage, match=told):
        _ingest(tmp_path, {**_sources(tmp_path), **changes})


def test_a_limit_spreads_the_artworks_over_the_list(
    real: tuple[Workspace, Recipe, Report], tmp_path: Path
) -> None:
    from artsound.sources.selection import plan

    sources = real[1].sources.model_copy(update={"limit": 20})
    recipe = real[1].model_copy(update={"sources": sources})
    parts = plan(Context(Workspace(tmp_path), recipe))
    counts = Counter()
    for part in parts:
        counts[part.inputs["rows"]] += part.items
    assert counts["artworks"] == 80
    assert counts["tracks"] == 20


def test_a_smaller_set_leaves_the_others_out(tmp_path: Path) -> None:
    long = {"1000005", "9" * 25}  # no key has room for them
    rows = [{"track_id": 2}, {"track_id": 5, "set.subset": "large"}, {"track_id": 7}]
    rows += [{"track_id": number} for number in long]
    files = fma_files(rows, {number: clip(number) for number in (2, 5, 7)})
    sources = {**_sources(tmp_path), "fma": str(write_files(tmp_path / "sets", files))}
    _, tracks, rejects, _ = _ingest(tmp_path, {**sources, "subset": "small"})
    assert [int(track["track_id"]) for track in tracks] == [2, 7]
    assert rejects["000005"] == ("filtered", "outside-subset")
    assert {rejects[number] for number in long} == {("failed", "track-number-too-long")}


def test_duplicates_share_a_cluster_and_go_when_the_recipe_says_so(tmp_path: Path) -> None:
    twins = {
        "artgraph/imagesf2/" + NEW: picture(1, (320, 280), "PNG"),
        "fma/fma_large/000/000007.mp3": clip(5),
    }
    sources = _sources(tmp_path, **twins)
    artworks, tracks, _, report = _ingest(tmp_path / "kept", sources)
    assert [artwork["cluster"] for artwork in artworks] == [NEW, NEW]
    assert [track["cluster"] for track in tracks] == ["000002", "000005", "000005"]
    assert report.extra["tracks_near_duplicate"] == 1
    artworks, tracks, rejects, _ = _ingest(
        tmp_path / "dropped",
        sources,
        images=Images(near_duplicates="drop"),
        audio=Audio(near_duplicates="drop"),
    )
    assert [artwork["artwork_id"] for artwork in artworks] == [NEW]
    assert [int(track["track_id"]) for track in tracks] == [2, 5]
    assert rejects["000007"] == rejects[OLD] == ("filtered", "near-duplicate")


def test_a_second_run_does_nothing_and_a_changed_file_only_its_part(tmp_path: Path) -> None:
    sources, run = _sources(tmp_path), RunSection(part_size=1)
    first = _ingest(tmp_path, sources, run=run)[3]
    again = _ingest(tmp_path, sources, run=run)[3]
    assert again.parts_skipped == again.parts == first.parts
    assert again.files == first.files
    changed = tmp_path / "fma/fma_large/000/000005.mp3"
    changed.write_bytes(clip(55))
    os.utime(changed, (1, 1))
    third = _ingest(tmp_path, sources, run=run)[3]
    assert third.parts_skipped == third.parts - 1
    assert third.files != first.files


def test_kept_media_that_are_lost_or_damaged_are_taken_again(tmp_path: Path) -> None:
    sources = _sources(tmp_path)
    artworks, tracks, _, first = _ingest(tmp_path, sources)
    image = tmp_path / "out" / artworks[0]["image_path"]
    sound = tmp_path / "out" / tracks[0]["audio_path"]
    image.unlink()
    sound.write_bytes(sound.read_bytes()[:-1] + b"?")
    again = _ingest(tmp_path, sources)[3]
    assert again.files == first.files
    assert sha256_bytes(image.read_bytes()) == artworks[0]["image_sha256"]
    assert sha256_bytes(sound.read_bytes()) == tracks[0]["audio_sha256"]


def test_the_size_of_parts_and_the_kind_of_source_change_no_byte(tmp_path: Path) -> None:
    sources = _sources(tmp_path)
    whole = _ingest(tmp_path / "whole", sources)[3]
    parted = _ingest(tmp_path / "parted", sources, run=RunSection(part_size=1))[3]
    packed = {}
    for kind in ("artgraph", "fma"):
        folder = tmp_path / kind
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        packed[kind] = str(write_zip(tmp_path / f"{kind}.zip", files))
    zipped = _ingest(tmp_path / "zipped", packed)[3]
    assert whole.files == parted.files == zipped.files


def test_no_usable_track_is_reported_with_the_reasons(tmp_path: Path) -> None:
    sources = _sources(tmp_path)
    with pytest.raises(BadData, match="has no usable track: 3 × rights-policy"):
        _ingest(
            tmp_path,
            {**sources, "fma": str(write_files(tmp_path / "nc", _only(NC)))},
            rights=RightsSection(policy="commercial"),
        )
    silent = write_files(
        tmp_path / "none", {"fma_metadata/tracks.csv": tracks_csv([{"track_id": 3}])}
    )
    write_files(silent, {"fma_metadata/genres.csv": fma_files([], {})["fma_metadata/genres.csv"]})
    with pytest.raises(BadData, match="has no usable track: 1 × no-audio-here"):
        _ingest(tmp_path, {**sources, "fma": str(silent)})
    noise = write_files(tmp_path / "noise", fma_files([{"track_id": 3}], {3: b"noise"}))
    with pytest.raises(BadData, match="No track could be used: 1 × audio-"):
        _ingest(tmp_path, {**sources, "fma": str(noise)})


def _only(licence: str) -> dict[str, bytes]:
    rows = [{"track_id": number, "track.license": licence} for number in (2, 5, 7)]
    return fma_files(rows, dict.fromkeys((2, 5, 7), b"x"))


def test_sources_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    sources = _sources(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("notes")
    for changes, kind, sentence in (
        ({"artgraph": str(tmp_path / "nowhere")}, BadUsage, "does not exist"),
        ({"fma": str(tmp_path / "empty")}, BadData, "is empty"),
        ({"fma": str(tmp_path / "notes.txt")}, BadData, "is not a zip"),
        ({"artgraph": sources["fma"]}, BadData, "is not ArtGraph"),
        ({"fma": sources["artgraph"]}, BadData, "is not the FMA"),
    ):
        with pytest.raises(kind, match=sentence):
            _ingest(tmp_path, {**sources, **changes})
    assert not (tmp_path / "out/catalog").exists()


def test_of_a_part_in_which_one_file_has_changed_only_that_one_is_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []

    def counted(function: Any, kind: str, data: bytes, **options: Any) -> Any:
        decoded.append(data)
        return limited(function, kind, data, **options)

    def catalogue(out: str) -> list[bytes]:
        sources = {name: str(tmp_path / name) for name in ("artgraph", "fma")}
        workspace = Workspace(tmp_path / out)
        run_stage(ingest.STAGE, workspace, Recipe(sources=Sources(**sources)))
        return [(workspace.catalog / f"{side}s.parquet").read_bytes() for side in SIDES]

    monkeypatch.setattr(ingest, "limited", counted)
    changed = clip(77)
    _sources(tmp_path)
    catalogue("out")
    assert len(decoded) == 5
    (tmp_path / "fma/fma_large/000/000005.mp3").write_bytes(changed)
    again = catalogue("out")
    assert decoded[5:] == [changed]
    assert again == catalogue("another")
    # A catalogue that has been damaged since is not believed.
    (tmp_path / "out/catalog/tracks.parquet").write_bytes(b"damaged")
    for marker in (tmp_path / "out/parts/ingest").glob("tracks-*.json"):
        marker.unlink()
    assert catalogue("out") == again


def test_clusters_are_those_of_a_clean_build_whatever_has_changed(tmp_path: Path) -> None:
    """They are taken from the catalogue before where no digest and no fingerprint differs."""
    sources = _sources(tmp_path)
    folder, clips = tmp_path / "fma/fma_large/000", {number: clip(number) for number in (2, 5, 7)}
    table = tmp_path / "fma/fma_metadata/tracks.csv"
    pictures = tmp_path / "artgraph/imagesf2"
    plain = table.read_text(encoding="utf-8")
    changes: list[tuple[Path, bytes]] = [
        (folder / "000007.mp3", clips[5]),  # the same as another now
        (table, plain.replace(BY, NC, 1).encode()),  # a text alone
        (folder / "000007.mp3", clips[7]),
        (folder / "000002.mp3", b"noise"),  # the first is gone
        (folder / "000007.mp3", b"noise"),  # the last, too
        (folder / "000007.mp3", clips[7]),
        (folder / "000005.mp3", clips[7]),
        (folder / "000002.mp3", clips[2]),
        (pictures / OLD, picture(2)),
        (pictures / NEW, picture(3)),
    ]
    clusters = set()
    _ingest(tmp_path / "used", sources)
    for number, (path, data) in enumerate(changes):
        path.write_bytes(data)
        used = _ingest(tmp_path / "used", sources)
        clean = _ingest(tmp_path / f"clean-{number}", sources)
        assert used[:3] == clean[:3]
        assert used[3].extra == clean[3].extra
        clusters.add(tuple(track["cluster"] for track in used[1]))
    assert len(clusters) > 2


@pytest.mark.parametrize(
    ("reason", "again"),
    [("", False), ("audio-crash", True), ("audio-too-slow", True), ("audio-too-large", True)],
)
def test_what_fails_by_its_content_is_not_decoded_again_and_all_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str, again: bool
) -> None:
    decoded: list[bytes] = []
    noise, changed = b"noise", clip(77)

    def counted(function: Any, kind: str, data: bytes, **options: Any) -> Any:
        decoded.append(data)
        if reason and data == noise:
            raise MediaError(reason, "the machine is busy")
        return limited(function, kind, data, **options)

    def build(out: str, retry_failed: bool = False, **sections: Any) -> tuple[bytes, ...]:
        workspace = Workspace(tmp_path / out)
        recipe = Recipe(sources=Sources(**{**sources, **sections.pop("sources", {})}), **sections)
        decoded.clear()
        run_stage(ingest.STAGE, workspace, recipe, retry_failed=retry_failed)
        return tuple(
            (workspace.catalog / f"{name}.parquet").read_bytes()
            for name in ("artworks", "tracks", "rejects")
        )

    monkeypatch.setattr(ingest, "limited", counted)
    sources = _sources(tmp_path)
    bad, other = (tmp_path / f"fma/fma_large/000/00000{n}.mp3" for n in (5, 7))
    bad.write_bytes(noise)
    first = build("out")
    other.write_bytes(changed)
    second = build("out")
    assert sorted(decoded) == sorted([noise, changed] if again else [changed])
    assert second == build("clean") != first
    assert build("out", retry_failed=True) == second
    assert decoded == [noise]
    # Other limits, or other bytes, may give another result.
    build("out", audio=Audio(min_seconds=11.0))
    assert noise in decoded
    bad.write_bytes(noise * 2)
    build("out", audio=Audio(min_seconds=11.0))
    assert decoded == [noise * 2]
    # What a list names is withdrawn, usable or not.
    listed = tmp_path / "listed.txt"
    listed.write_text(f"sha256:{sha256_bytes(noise * 2)}\n", encoding="utf-8")
    build("out", audio=Audio(min_seconds=11.0), sources={"without": str(listed)})
    rejects = read_parquet(tmp_path / "out/catalog/rejects.parquet", "reject").to_pylist()
    assert [row["reason"] for row in rejects if row["item_id"] == "000005"] == ["withdrawn"]


def test_quality_is_measured_if_the_recipe_asks_and_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = _sources(tmp_path)
    artworks, tracks, *_ = _ingest(tmp_path, sources)
    plain = {row["sharpness"] for row in artworks} | {row["snr"] for row in tracks}
    assert plain == {-1.0}
    sections = {"images": Images(quality=True), "audio": Audio(quality=True)}
    artworks, tracks, *_ = _ingest(tmp_path, sources, **sections)
    assert all(row["sharpness"] > 0 and 0 < row["contrast"] <= 0.5 for row in artworks)
    assert {row["aspect"] for row in artworks} == {float(np.float32(160 / 140))}
    assert all(row["bandwidth"] > 100 and row["clipping_share"] == 0 for row in tracks)
    monkeypatch.setattr(ingest, "limited", None)  # nothing is decoded again
    write_files(tmp_path, {"artgraph/readme.txt": b"new"})
    sections["rights"] = RightsSection(policy="redistributable")
    fewer, *_ = _ingest(tmp_path, sources, **sections)
    assert fewer
    assert all(row in artworks for row in fewer)


def test_what_ingest_has_decoded_is_not_decoded_again_to_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def descriptors() -> list[bytes]:
        run_stage(embed.STAGE, workspace, recipe)
        folder = workspace.embeddings / "affect"
        return [(folder / f"{side}s.parquet").read_bytes() for side in SIDES]

    sources = _sources(tmp_path)
    recipe, workspace = Recipe(sources=Sources(**sources)), Workspace(tmp_path / "out")
    run_stage(ingest.STAGE, workspace, recipe)
    with monkeypatch.context() as patch:
        patch.delattr(embed, "read_media")
        taken = descriptors()
    # Without what ingest has measured, or with a damaged table of it, the same is measured here.
    shutil.rmtree(workspace.parts / "embed")
    shutil.rmtree(workspace.embeddings)
    for side in SIDES:
        ingest.measured_path(workspace, side).write_bytes(b"damaged")
    assert descriptors() == taken
