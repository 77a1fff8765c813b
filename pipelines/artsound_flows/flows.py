"""Flows: one for each stage of the library, and one for a whole build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artsound.build import STAGES, check_build, stage_of, stage_order
from artsound.errors import BadData
from artsound.notify import announce
from artsound.progress import QUIET, Progress
from artsound.recipe import Recipe
from artsound.stage import Report
from artsound.storage import Workspace
from artsound_flows.engine import DiscreetFlow, run_flow, session, stage_flow

_WHAT = {
    "ingest": "Pull, check and catalogue artworks and tracks.",
    "embed": "Measure every artwork and track, and embed what the bridge needs.",
    "pair": "Split, score and match artworks and tracks.",
    "caption": "Write a caption for both sides of every pair.",
    "shard": "Pack the pairs into WebDataset tars with their index.",
    "report": "Draw the report of the build.",
}
FLOWS = {name: stage_flow(stage_of(name), _WHAT[name]) for name in STAGES}


_targets: dict[str, str] = {}  # by the folder of a build: where its end is announced


def notify_end(flow: Any, flow_run: Any, state: Any) -> None:
    """Prefect's hook at the end of a build, however it ended."""
    # Not from the run's parameters, in which passwords are replaced.
    out = str(flow_run.parameters.get("out", ""))
    message = state.message or ""
    announce(
        _targets.get(out, ""), state.type.value.lower(), message, out, str(flow_run.id), flow.name
    )


def _build(out: Path, recipe: Recipe) -> list[Report]:
    """Run every stage on the workspace `out`; what is done already is skipped."""
    _targets[str(out)] = recipe.run.notify
    with session(Workspace(out), recipe) as opened:
        opened.entered_flow()
        check_build(opened.workspace, recipe)
        return [run_flow(FLOWS[name], opened) for name in stage_order(recipe)]


build = DiscreetFlow(
    _build,
    name="build",
    flow_run_name="build {out}",
    on_completion=[notify_end],
    on_failure=[notify_end],
    on_crashed=[notify_end],
    on_cancellation=[notify_end],
)


def run_with_prefect(
    workspace: Workspace,
    recipe: Recipe,
    *,
    only: str | None = None,
    progress: Progress = QUIET,
    retry_failed: bool = False,
) -> list[Report]:
    """Run the build's flow, or that of the stage called `only`; the reports of the stages.

    Raises:
        BadData: Prefect's server or Dask's cluster was lost.
    """
    try:
        with session(workspace, recipe, progress=progress, retry_failed=retry_failed) as opened:
            if only is None:
                build(workspace.root, recipe)
            else:
                run_flow(FLOWS[only], opened)
            return opened.reports
    except Exception as error:
        if engine := lost_engine(error):
            raise BadData(
                f"{engine} was lost ({' '.join(str(error).split())[:200]}): see that it runs; "
                "the same command continues from here."
            ) from error
        raise


def lost_engine(error: Exception) -> str:
    """What an exception says has gone away, Prefect's server or Dask's cluster; or nothing."""
    module = type(error).__module__.partition(".")[0]
    if module in ("distributed", "dask"):
        return "The Dask cluster"
    unreachable = isinstance(error, RuntimeError) and str(error).startswith("Failed to reach API")
    return "Prefect's server" if unreachable or module in ("httpx", "httpcore") else ""
