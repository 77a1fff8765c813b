"""The ingest stage, on the real files and on small sources written here."""

from __future__ import annotations

from pathlib import Path

import pytest

from artsound.recipe import Recipe, Sources
from artsound.sources import ingest
from artsound.stage import StageReport, run_stage
from artsound.storage import Workspace, read_parquet


@pytest.fixture(scope="module")
def real(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, Recipe, StageReport]:
    """The catalogue of the real files."""
    sources = Sources(artgraph=str(shared_data / "artgraph"), fma=str(shared_data / "fma"))
    recipe = Recipe(sources=sources)
    workspace = Workspace(tmp_path_factory.mktemp("real"))
    return workspace, recipe, run_stage(ingest.STAGE, workspace, recipe)


def test_the_real_files_give_every_painting_and_clip_and_account_for_the_rest(
    real: tuple[Workspace, Recipe, StageReport],
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
