"""The caption stage on a small workspace."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from caption_records import artwork, track
from chat_server import Server, completion
from PIL import Image
from small_captions import small_workspace
from tiny_models import make_blip

from artsound.captions.caption import STAGE
from artsound.errors import BadData
from artsound.recipe import Recipe
from artsound.stage import Part, run_stage
from artsound.storage import Workspace, read_parquet, sha256_file, write_parquet


def test_every_paired_item_gets_one_caption_and_no_other(tmp_path: Path) -> None:
    workspace = small_workspace(tmp_path)
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
        workspace = small_workspace(tmp_path / str(part_size))
        run_stage(STAGE, workspace, Recipe().replaced(run={"part_size": part_size}))
        digests.append(sha256_file(workspace.captions / "artworks.parquet"))
    assert digests[0] == digests[1]


def test_a_second_run_skips_every_part_and_a_changed_record_is_captioned_again(
    tmp_path: Path,
) -> None:
    recipe = Recipe().replaced(run={"part_size": 4})
    workspace = small_workspace(tmp_path)
    run_stage(STAGE, workspace, recipe)
    assert run_stage(STAGE, workspace, recipe).parts_skipped == 6
    small_workspace(tmp_path, title="Another title")
    assert run_stage(STAGE, workspace, recipe).parts_skipped == 3


def test_missing_descriptors_are_named_in_one_sentence(tmp_path: Path) -> None:
    workspace = small_workspace(tmp_path)
    (workspace.embeddings / "affect/tracks.parquet").unlink()
    with pytest.raises(BadData, match=r"affect/tracks\.parquet is missing"):
        run_stage(STAGE, workspace, Recipe())


def test_a_pair_of_an_item_that_the_catalogue_lacks_is_bad_data(tmp_path: Path) -> None:
    workspace = small_workspace(tmp_path)
    write_parquet(workspace.catalog / "tracks.parquet", "track", [track(track_id="000001")])
    with pytest.raises(BadData, match="lacks the track 000000"):
        run_stage(STAGE, workspace, Recipe())


def _with_pictures(workspace: Workspace, count: int = 13) -> Workspace:
    rows = []
    for number in range(count):
        relative = f"media/artworks/{number:02d}.jpg"
        path = workspace.path(relative)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 40, 3), 15 * number, np.uint8)).save(path)
        name = f"painter_work-{number}.jpg"
        rows.append(artwork(artwork_id=name, image_path=relative, image_sha256=f"{number:064x}"))
    write_parquet(workspace.catalog / "artworks.parquet", "artwork", rows)
    return workspace


def test_a_models_faulty_captions_fall_back_to_grounded_ones_with_the_reason_kept(
    tmp_path: Path,
) -> None:
    workspace = _with_pictures(small_workspace(tmp_path / "out"))
    checkpoint = make_blip(tmp_path / "blip")
    recipe = Recipe().replaced(
        captions={"artworks": f"transformers:{checkpoint}", "max_new_tokens": 12, "device": "cpu"}
    )
    report = run_stage(STAGE, workspace, recipe)
    rows = read_parquet(workspace.captions / "artworks.parquet", "caption").to_pylist()
    assert len(rows) == 10
    # A random model babbles: what it wrote is refused, and said to be.
    assert all(row["fallback_reason"] and row["captioner"] == "grounded" for row in rows)
    assert all(12 <= row["words"] <= 45 for row in rows)
    assert report.extra["artworks"]["captioner"] == "transformers:blip"
    assert report.extra["artworks"]["fallback_share"] == 1.0
    assert sum(report.extra["artworks"]["fallbacks"].values()) == 10
    assert report.extra["tracks"]["fallbacks"] == {}


def test_a_servers_captions_are_cached_and_near_duplicates_fall_back(tmp_path: Path) -> None:
    server = Server()
    texts = [
        "A grey field without any figure, calm and even from side to side.",
        "A painting by Claude Monet of the sea.",
        "Some other picture, flat and quiet, with a tone that is neither warm nor cold.",
    ]
    server.answer = lambda number, _body: (200, completion(texts[number % 3]))
    workspace = _with_pictures(small_workspace(tmp_path))
    recipe = Recipe().replaced(
        captions={"artworks": f"endpoint:{server.url}#model-7", "requests_at_once": 1}
    )
    try:
        report = run_stage(STAGE, workspace, recipe)
        again = run_stage(STAGE, workspace, recipe.replaced(run={"part_size": 3}))
    finally:
        server.close()
    rows = read_parquet(workspace.captions / "artworks.parquet", "caption").to_pylist()
    kept = [row for row in rows if not row["fallback_reason"]]
    assert sorted(row["caption"] for row in kept) == [texts[0], texts[2]]
    assert {row["captioner_version"] for row in kept} == {"model-7"}
    assert json.loads(kept[0]["settings"])["temperature"] == 0
    assert "Describe this artwork" in kept[0]["prompt"]
    assert report.extra["artworks"]["fallbacks"] == {"name-not-in-record": 4, "near-duplicate": 4}
    # Other parts, the same requests: every answer was kept, and the same bytes come out.
    assert len(server.requests) == 10
    assert again.files == report.files


def test_settings_of_one_side_caption_nothing_again_on_the_other(tmp_path: Path) -> None:
    server = Server()
    workspace = _with_pictures(small_workspace(tmp_path))
    chosen = {"artworks": f"endpoint:{server.url}#m", "tracks": f"endpoint:{server.url}#m"}
    recipe = Recipe().replaced(captions=chosen, run={"part_size": 4})
    for number in range(13):
        path = workspace.path(f"media/tracks/{number:02d}.mp3")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    tracks = [track(track_id=f"{n:06d}", audio_path=f"media/tracks/{n:02d}.mp3") for n in range(13)]
    write_parquet(workspace.catalog / "tracks.parquet", "track", tracks)
    try:
        first = run_stage(STAGE, workspace, recipe)
        reported = [
            {"artwork_prompt": "What is painted here?"},
            {"tracks": "grounded"},
            {"min_words": 4},
        ]
        done = []
        for changes in reported:
            recipe = recipe.replaced(captions=changes)
            done.append(run_stage(STAGE, workspace, recipe).parts_skipped)
    finally:
        server.close()
    # The sentences of `grounded` depend on nothing that the recipe says of captions.
    assert (first.parts, first.parts_skipped, done) == (6, 0, [3, 3, 3])


def test_everything_is_captioned_before_there_are_pairs_when_a_bridge_needs_it(
    tmp_path: Path,
) -> None:
    workspace = small_workspace(tmp_path)
    (workspace.pairs / "pairs.parquet").unlink()
    recipe = Recipe().replaced(run={"part_size": 4}, pair={"bridge": "captions"})
    assert run_stage(STAGE, workspace, recipe).items_out == 26
    captions = read_parquet(workspace.captions / "tracks.parquet", "caption")
    assert captions["item_id"].to_pylist() == [f"{n:06d}" for n in range(13)]


@pytest.mark.parametrize(
    ("writer", "device", "needed"),
    [
        ("grounded", "auto", ()),
        ("endpoint:http://localhost/v1#m", "auto", ()),
        ("transformers:some/model", "auto", ("gpu",)),
        ("lp-music-caps", "cuda:0", ("gpu",)),
        ("lp-music-caps:folder", "cpu", ()),
    ],
)
def test_only_a_model_on_this_machine_competes_for_the_gpu(
    writer: str, device: str, needed: tuple[str, ...]
) -> None:
    recipe = Recipe().replaced(captions={"tracks": writer, "device": device})
    assert STAGE.needs is not None
    assert STAGE.needs(recipe, Part("tracks-000000", 1, {"side": "tracks"})) == needed
