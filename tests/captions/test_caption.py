"""The caption stage on a small workspace."""

from __future__ import annotations

from pathlib import Path

import pytest
from caption_records import artwork, artwork_descriptors, track, track_descriptors

from artsound.captions.caption import STAGE
from artsound.errors import BadData
from artsound.recipe import Recipe
from artsound.records import Pair
from artsound.stage import run_stage
from artsound.storage import Workspace, read_parquet, sha256_file, write_parquet


def _workspace(root: Path, count: int = 10, *, title: str = "Barges") -> Workspace:
    workspace = Workspace(root)
    names = [f"painter_work-{n}.jpg" for n in range(count + 3)]
    write_parquet(
        workspace.catalog / "artworks.parquet",
        "artwork",
        [artwork(artwork_id=name, title=title) for name in reversed(names)],
    )
    write_parquet(
        workspace.catalog / "tracks.parquet",
        "track",
        [track(track_id=n) for n in range(count + 3)],
    )
    write_parquet(
        workspace.embeddings / "affect/artworks.parquet",
        "artwork_descriptors",
        [artwork_descriptors(artwork_id=name) for name in names],
    )
    write_parquet(
        workspace.embeddings / "affect/tracks.parquet",
        "track_descriptors",
        [track_descriptors(track_id=n) for n in range(count + 3)],
    )
    write_parquet(
        workspace.pairs / "pairs.parquet",
        "pair",
        [
            Pair(n, names[count - n], "train", 0.5, "affect", 0.0, 1, 1, "sparse")
            for n in range(count)
        ],
    )
    return workspace


def test_every_paired_item_gets_one_caption_and_no_other(tmp_path: Path) -> None:
    workspace = _workspace(tmp_path)
    report = run_stage(STAGE, workspace, Recipe().replaced(run={"part_size": 4}))
    assert (report.items_in, report.items_out, report.parts) == (20, 20, 6)
    artworks = read_parquet(workspace.captions / "artworks.parquet", "caption")
    tracks = read_parquet(workspace.captions / "tracks.parquet", "caption")
    expected = sorted(f"painter_work-{n}.jpg" for n in range(1, 11))
    assert artworks.column("item_id").to_pylist() == expected
    assert tracks.column("item_id").to_pylist() == [f"{n:06d}" for n in range(10)]
    assert set(tracks.column("captioner").to_pylist()) == {"grounded"}
    assert report.extra["tracks"]["captions"] == 10
    assert 12 <= report.extra["artworks"]["mean_words"] <= 45


def test_the_part_size_changes_no_byte(tmp_path: Path) -> None:
    digests = []
    for part_size in (3, 100):
        workspace = _workspace(tmp_path / str(part_size))
        run_stage(STAGE, workspace, Recipe().replaced(run={"part_size": part_size}))
        digests.append(sha256_file(workspace.captions / "artworks.parquet"))
    assert digests[0] == digests[1]


def test_a_second_run_skips_every_part_and_a_changed_record_is_captioned_anew(
    tmp_path: Path,
) -> None:
    recipe = Recipe().replaced(run={"part_size": 4})
    workspace = _workspace(tmp_path)
    run_stage(STAGE, workspace, recipe)
    assert run_stage(STAGE, workspace, recipe).parts_skipped == 6
    _workspace(tmp_path, title="Another title")
    assert run_stage(STAGE, workspace, recipe).parts_skipped == 3


def test_missing_descriptors_are_named_in_one_sentence(tmp_path: Path) -> None:
    workspace = _workspace(tmp_path)
    (workspace.embeddings / "affect/tracks.parquet").unlink()
    with pytest.raises(BadData, match=r"affect/tracks\.parquet is missing"):
        run_stage(STAGE, workspace, Recipe())


def test_a_pair_of_an_item_that_the_catalogue_lacks_is_bad_data(tmp_path: Path) -> None:
    workspace = _workspace(tmp_path)
    write_parquet(workspace.catalog / "tracks.parquet", "track", [track(track_id=1)])
    with pytest.raises(BadData, match="lacks track 000000"):
        run_stage(STAGE, workspace, Recipe())
