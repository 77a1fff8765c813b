"""`artsound build` and one command for each stage."""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artsound.cli.app import (
    ArtGraph,
    ArtworkIds,
    ArtworkWhere,
    Base,
    Bridge,
    ExcludePairs,
    Fma,
    Json,
    Limit,
    Out,
    Published,
    RecipeFile,
    Retry,
    RightsChoice,
    Runner,
    Scheduler,
    TrackIds,
    TrackWhere,
    Without,
    Workers,
    app,
    print_summary,
    say,
)
from artsound.errors import BadData, BadUsage

if TYPE_CHECKING:
    from collections.abc import Callable

    from artsound.recipe import Recipe
    from artsound.stage import StageReport
    from artsound.storage import Workspace


def _command(name: str, stage: str | None, example: str, doc: str) -> None:
    """Register a command that runs one stage, or all of them; their options are the same."""

    def command(
        out: Out,
        artgraph: ArtGraph = "",
        fma: Fma = "",
        recipe: RecipeFile = "",
        limit: Limit = None,
        track_ids: TrackIds = "",
        artwork_ids: ArtworkIds = "",
        track_where: TrackWhere = "",
        artwork_where: ArtworkWhere = "",
        without: Without = "",
        base: Base = "",
        import_pairs: Published = "",
        exclude_pairs: ExcludePairs = "",
        bridge: Bridge = "",
        rights: RightsChoice = "",
        runner: Runner = "",
        workers: Workers = None,
        scheduler: Scheduler = "",
        retry_failed: Retry = False,
        as_json: Json = False,
    ) -> None:
        go_on = stage is not None or not (artgraph or fma)
        chosen = _recipe(
            out, recipe, go_on, artgraph, fma, limit, bridge, rights, runner, workers, scheduler,
            track_ids, artwork_ids, track_where, artwork_where, import_pairs, exclude_pairs,
            without, base,
        )  # fmt: skip
        if stage is None and not recipe and not bridge and _matches_as_usual(chosen):
            say(
                "Matching through the affect bridge (measured descriptors); "
                "--bridge chooses others."
            )
        _run_stages(stage, out, chosen, retry_failed, as_json)

    command.__doc__ = doc
    app.command(name, epilog=f"Example: artsound {name} {example}")(command)


def _matches_as_usual(recipe: Recipe) -> bool:
    return recipe.pair.bridge == "affect" and recipe.name == "artsound" and not recipe.pair.given


_command(
    "build",
    None,
    "--artgraph sample --fma sample --out out",
    """Pull, match, caption and shard: everything, or the rest of it.

    Without sources, the build that --out holds is gone on with; where there is none, the
    official servers are meant. Killed at any moment, the same command goes on from there.
    """,
)
for _stage, _doc in {
    "ingest": "Pull and check artworks and tracks into the catalogue.",
    "embed": "Measure and embed every artwork and track.",
    "pair": "Split, score and match artworks and tracks.",
    "caption": "Write a caption for both sides of every pair.",
    "shard": "Pack the pairs into WebDataset shards.",
    "report": "Draw the report of the build.",
}.items():
    _command(_stage, _stage, "--out out", _doc)


def _recipe(
    out: Path,
    recipe: str,
    go_on: bool,
    artgraph: str,
    fma: str,
    limit: int | None,
    bridge: str,
    rights: str,
    runner: str,
    workers: int | None,
    scheduler: str,
    track_ids: str,
    artwork_ids: str,
    track_where: str,
    artwork_where: str,
    import_pairs: str,
    exclude_pairs: str,
    without: str,
    earlier: str,
) -> Recipe:
    """The recipe that was asked for: a file, the workspace's own, or the default; then options."""
    from artsound.readers import check_path
    from artsound.recipe import Recipe, bundled_recipe, load_recipe

    check_path(out)
    for path in (artgraph, fma, recipe, track_ids, artwork_ids, import_pairs, exclude_pairs,
                 without, earlier):  # fmt: skip
        if path and "://" not in path:
            check_path(Path(path))
    kept = out / "recipe.toml"
    if recipe:
        base = load_recipe(Path(recipe)) if recipe.endswith(".toml") else bundled_recipe(recipe)
    elif go_on and kept.is_file():
        base = load_recipe(kept)
    elif artgraph == fma == "sample":
        base = bundled_recipe("sample")
    else:
        base = Recipe()
    if scheduler and runner not in ("", "dask"):
        raise BadUsage("--scheduler is an address of Dask: leave --runner out, or give dask.")
    runner = "dask" if scheduler else runner
    given: dict[str, dict[str, Any]] = {
        "sources": {
            "artgraph": artgraph, "fma": fma, "limit": limit, "ids": track_ids,
            "artwork_ids": artwork_ids, "track_where": track_where,
            "artwork_where": artwork_where, "without": without, "base": earlier,
        },
        "pair": {"bridge": bridge, "given": import_pairs, "exclude": exclude_pairs},
        "rights": {"policy": rights},
        "run": {"runner": runner, "workers": workers, "dask_address": scheduler},
    }  # fmt: skip
    return base.replaced(
        **{
            section: {key: value for key, value in keys.items() if value not in ("", None)}
            for section, keys in given.items()
        }
    )


def _check(only: str | None, workspace: Workspace, recipe: Recipe) -> None:
    """Raise for what can be seen to be wrong before anything is written and Prefect is started.

    What is quickest comes first: paths, then extras, sources and selections, then models.
    """
    from artsound.sources import ingest
    from artsound.stage import check_stages
    from artsound.storage import check_out

    check_out(workspace.root)
    if recipe.run.runner == "dask" and not all(map(find_spec, ("distributed", "prefect_dask"))):
        raise BadUsage("The dask runner needs an extra: pip install 'artsound[dask]'.")
    if only in (None, ingest.NAME):
        if ingest.downloads(recipe):
            say("Connecting to the servers of the sources …")
        ingest.check(workspace, recipe)
    else:
        for side in ("artworks", "tracks"):
            catalogue = workspace.catalog / f"{side}.parquet"
            if not catalogue.is_file():
                raise BadData(f"{catalogue} is missing: run the stage that writes it first.")
    from artsound_flows.serial import STAGES

    stages = [stage for name, stage in STAGES.items() if only in (None, name)]
    check_stages([stage for stage in stages if stage.name != ingest.NAME], workspace, recipe)


def _run_stages(
    only: str | None, out: Path, recipe: Recipe, retry_failed: bool, as_json: bool
) -> None:
    from artsound.console import console_progress, print_stages
    from artsound.storage import Workspace
    from artsound_flows.interrupt import ends_at_once

    workspace = Workspace(out)
    progress = console_progress()

    with ends_at_once("artsound: stopped; the same command goes on from here."):
        _check(only, workspace, recipe)
        run = _runner(recipe.run.runner)
        reports = run(workspace, recipe, only=only, progress=progress, retry_failed=retry_failed)
    print_stages(reports)
    for name, path in (("shards", workspace.shards), ("report", workspace.report / "index.html")):
        if path.exists():
            print(f"{name}: {path}")
    print_summary(as_json, {"out": str(out), "stages": [asdict(report) for report in reports]})


def _runner(name: str) -> Callable[..., list[StageReport]]:
    """The function that runs a build. Prefect is imported, and started, only where it adds
    something: a server of the user's own, which records the build, or a cluster."""
    from artsound_flows.server import has_own_server, start

    if name == "serial":
        from artsound_flows.serial import run_serially

        return run_serially
    own_server = has_own_server()
    if name != "dask" and not own_server:
        from artsound_flows.local import run_locally

        return run_locally
    say("Starting Prefect …")
    if not own_server:
        start()  # it starts while this process imports the rest
    from artsound_flows.build import run_with_prefect

    return run_with_prefect
