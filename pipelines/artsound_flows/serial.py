"""A build in this one process, without Prefect: for tests, debugging and small machines."""

from __future__ import annotations

from artsound.captions.caption import STAGE as CAPTION
from artsound.captions.caption_items import before_pairs
from artsound.encoders.embed import STAGE as EMBED
from artsound.lock import lock_workspace
from artsound.pairing.pair import STAGE as PAIR
from artsound.progress import QUIET, Progress
from artsound.recipe import Recipe
from artsound.reports.report import STAGE as REPORT
from artsound.shards.shard import STAGE as SHARD
from artsound.sources.ingest import STAGE as INGEST
from artsound.stage import Context, MapParts, Report, Stage, check_stages, map_serially, run_stage
from artsound.storage import Workspace, write_bytes

STAGES: dict[str, Stage] = {
    stage.name: stage for stage in (INGEST, EMBED, PAIR, CAPTION, SHARD, REPORT)
}


def stage_order(recipe: Recipe) -> list[str]:
    """The stages' names in the order in which this recipe's build runs them."""
    names = list(STAGES)
    if before_pairs(recipe):
        names.remove("caption")
        names.insert(names.index("pair"), "caption")
    return names


def run_serially(
    workspace: Workspace,
    recipe: Recipe,
    *,
    only: str | None = None,
    progress: Progress = QUIET,
    retry_failed: bool = False,
    map_parts: MapParts = map_serially,
) -> list[Report]:
    """Run all stages, or the one called `only`, without Prefect; their reports.

    Parts run one after another, unless `map_parts` spreads them.
    """
    with lock_workspace(workspace):
        workspace.sweep()
        write_bytes(workspace.recipe, recipe.to_toml().encode())
        stages = [STAGES[name] for name in ([only] if only else stage_order(recipe))]
        check_stages(stages, Context(workspace, recipe))
        return [
            run_stage(
                stage,
                workspace,
                recipe,
                progress=progress,
                retry_failed=retry_failed,
                map_parts=map_parts,
            )
            for stage in stages
        ]
