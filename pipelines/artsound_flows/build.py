"""Flow: a whole build, from raw sources to shards and their report."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from artsound.progress import QUIET, Progress
from artsound.recipe import Recipe
from artsound.stage import Context, Report, check_stages
from artsound.storage import Workspace
from artsound_flows.caption import caption
from artsound_flows.embed import embed
from artsound_flows.engine import run_flow, session
from artsound_flows.ingest import ingest
from artsound_flows.notify import on_end
from artsound_flows.pair import pair
from artsound_flows.report import report
from artsound_flows.serial import STAGES, stage_order
from artsound_flows.shard import shard

FLOWS = {stage.name: stage for stage in (ingest, embed, pair, caption, shard, report)}


@flow(
    name="build",
    flow_run_name="build {out}",
    on_completion=[on_end],
    on_failure=[on_end],
    on_crashed=[on_end],
    on_cancellation=[on_end],
)
def build(out: Path, recipe: Recipe) -> list[Report]:
    """Run every stage on the workspace `out`; what is done already is skipped."""
    with session(Workspace(out), recipe) as opened:
        opened.entered_flow()
        check_stages(STAGES.values(), Context(opened.workspace, recipe))
        return [run_flow(FLOWS[name], opened) for name in stage_order(recipe)]


def run_with_prefect(
    workspace: Workspace,
    recipe: Recipe,
    *,
    only: str | None = None,
    progress: Progress = QUIET,
    retry_failed: bool = False,
) -> list[Report]:
    """Run the build's flow, or that of the stage called `only`; the reports of the stages."""
    with session(workspace, recipe, progress=progress, retry_failed=retry_failed) as opened:
        if only is None:
            build(workspace.root, recipe)
        else:
            run_flow(FLOWS[only], opened)
        return opened.reports
