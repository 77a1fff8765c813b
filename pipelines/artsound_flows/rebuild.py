"""Flow: a build as a deployment runs it, its options as parameters that Prefect's UI shows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from prefect import flow

from artsound.recipe import BridgeName, Recipe, RightsPolicy, bundled_recipe, load_recipe
from artsound.storage import Workspace
from artsound_flows.build import build
from artsound_flows.engine import session


@flow(name="rebuild", flow_run_name="rebuild {out}")
def rebuild(
    out: Path,
    recipe: str = "artsound",
    artgraph: str = "",
    fma: str = "",
    limit: int = 0,
    bridge: BridgeName | Literal[""] = "",
    rights: RightsPolicy | Literal[""] = "",
    without: str = "",
    base: str = "",
    exclude_pairs: str = "",
    runner: Literal["threads", "processes", "dask"] = "processes",
    workers: int = 0,
    scheduler: str = "",
    notify: str = "",
    retry_failed: bool = False,
    from_scratch: bool = False,
) -> None:
    """Build or update the dataset in a folder: what is done already and unchanged is kept.

    Args:
        out: The build's folder, on a disk that every worker sees.
        recipe: A TOML file, or one of artsound, open and sample.
        artgraph: ArtGraph: a folder, a zip, a URL, or `sample`; empty: as the recipe says.
        fma: FMA: a folder, a zip, a URL, or `sample`; empty: as the recipe says.
        limit: Use at most so many tracks; 0: all.
        bridge: The space in which art and music meet; empty: as the recipe says.
        rights: Which rights an item needs to be used; empty: as the recipe says.
        without: A file with tracks and artworks never to use: a takedown list.
        base: An earlier release, whose pairs, splits and unchanged shards are kept.
        exclude_pairs: Pairs never to make: a parquet list by `artsound judgements`.
        runner: Where parts run.
        workers: Parts at work at once; 0: one per processor.
        scheduler: A Dask scheduler, tcp://host:8786, for the dask runner; empty: a local cluster.
        notify: Told at the end: an http(s) address, or python:module:function.
        retry_failed: Try failed items again.
        from_scratch: Do every part anew, whatever was done before.
    """
    workspace = Workspace(out)
    chosen = load_recipe(Path(recipe)) if recipe.endswith(".toml") else bundled_recipe(recipe)
    chosen = _with_options(
        chosen,
        sources={
            "artgraph": artgraph, "fma": fma, "limit": limit, "without": without, "base": base,
        },
        pair={"bridge": bridge, "exclude": exclude_pairs},
        rights={"policy": rights},
        run={"runner": runner, "workers": workers, "dask_address": scheduler, "notify": notify},
    )  # fmt: skip
    with session(workspace, chosen, retry_failed=retry_failed):
        if from_scratch:
            shutil.rmtree(workspace.parts, ignore_errors=True)
        build(workspace.root, chosen)


def _with_options(recipe: Recipe, **sections: dict[str, str | int]) -> Recipe:
    """The recipe with those options that were given: not empty, not 0."""
    return recipe.replaced(
        **{
            section: {key: value for key, value in options.items() if value}
            for section, options in sections.items()
        }
    )
