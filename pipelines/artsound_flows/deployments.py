"""The flows that `prefect.yaml` deploys; Prefect's UI shows their parameters.

Prefect stores parameters as they are given. So a password or token among them is refused, and a
reference takes its place: `${NAME}`, an environment variable of the worker, or `${block:NAME}`, a
Secret block of Prefect.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.blocks.system import Secret

from artsound.errors import BadData, BadUsage, redacted
from artsound.progress import QUIET
from artsound.recipe import (
    BridgeName,
    Recipe,
    RightsPolicy,
    bundled_recipe,
    load_recipe,
    refuse_code,
)
from artsound.shards.push import push
from artsound.shards.verify import verify
from artsound.storage import Workspace
from artsound_flows.artifacts import ProgressInPrefect
from artsound_flows.engine import session
from artsound_flows.flows import build


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
    optouts: str = "",
    base: str = "",
    exclude_pairs: str = "",
    runner: Literal["threads", "processes", "dask"] = "processes",
    workers: int = 0,
    scheduler: str = "",
    notify: str = "",
    retry_failed: bool = False,
    from_scratch: bool = False,
) -> None:
    """Build or update the dataset in a folder; unchanged parts stay.

    Args:
        out: The build's folder, on a disk that every worker can access.
        recipe: A TOML file, or one of artsound, open and sample.
        artgraph: ArtGraph: a folder, a zip, a URL, or `sample`; empty: the recipe's.
        fma: FMA: a folder, a zip, a URL, or `sample`; empty: the recipe's.
        limit: Use at most this many tracks; 0: all.
        bridge: The bridge for matching; empty: the recipe's.
        rights: The rights policy; empty: the recipe's.
        without: A file of tracks and artworks to leave out: a takedown list.
        optouts: A file with items, addresses and creators that refuse AI training.
        base: A previous release, whose pairs, splits and unchanged shards stay.
        exclude_pairs: Excluded pairs: a Parquet list made by `artsound judgements`.
        runner: Where parts run.
        workers: Parts run in parallel; 0: one per processor.
        scheduler: A Dask scheduler, tcp://host:8786, for the dask runner; empty: a local cluster.
        notify: Notified at the end: an http(s) address, or python:module:function.
        retry_failed: Try failed items again.
        from_scratch: Repeat every part.
    """
    workspace = Workspace(out)
    recipe, notify = resolved("recipe", recipe), resolved("notify", notify)
    own = recipe.endswith(".toml")
    chosen = load_recipe(Path(recipe), allow_code=True) if own else bundled_recipe(recipe)
    chosen = _with_options(
        chosen,
        sources={
            "artgraph": artgraph, "fma": fma, "limit": limit, "without": without,
            "optouts": optouts, "base": base,
        },
        pair={"bridge": bridge, "exclude": exclude_pairs},
        rights={"policy": rights},
        run={"runner": runner, "workers": workers, "dask_address": scheduler, "notify": notify},
    )  # fmt: skip
    refuse_code(chosen, recipe, {"bridge": [bridge], "notify": [notify]})
    with session(workspace, chosen, retry_failed=retry_failed):
        if from_scratch:
            shutil.rmtree(workspace.parts, ignore_errors=True)
        build(workspace.root, chosen)


@flow(name="publish", flow_run_name="publish {shards} to {target}")
def publish(shards: Path, target: str, deep: bool = True, restricted: bool = False) -> None:
    """Check shards against their index, then push the files that the target lacks.

    Args:
        shards: A folder of shards with their index.
        target: hf://datasets/me/artsound, s3://bucket/artsound, any fsspec address, or a folder.
        deep: Decode every picture and clip in the check.
        restricted: Also push non-redistributable works: for private targets.

    Raises:
        BadData: The shards differ from their index; nothing is pushed.
    """
    shown, target = target, resolved("target", target)
    problems = verify(str(shards), deep=deep)
    if problems:
        raise BadData(f"{shards} has {len(problems)} problems, the first: {problems[0]}.")
    summary = push(shards, target, restricted=restricted)
    sent = summary["files"] - summary["skipped"]
    create_markdown_artifact(
        f"{sent} of {summary['files']} files sent to `{shown}`; the others were there.",
        key="published",
    )


@flow(name="train", flow_run_name="train {preset} on {data}")
def train(
    data: str,
    out: Path,
    preset: str = "tiny",
    steps: int | None = None,
    resume: bool = True,
    seed: int = 0,
) -> None:
    """Train artwork-to-music on a release's train split, or continue a run.

    A cancelled run saves a checkpoint first; the same parameters continue from it.

    Args:
        data: A shards folder or URL.
        out: Folder for checkpoints, samples and logs.
        preset: The model and its training, as `artsound plugins preset` lists them.
        steps: The step to stop at, counted from the start of the run; none: the preset's.
        resume: Continue from the newest checkpoint, if there is one.
        seed: Seeds weights, order and noise.
    """
    from artsound.training.loop import train as run_training  # imports torch

    report = run_training(
        resolved("data", data), preset, out, steps=steps, resume=resume, seed=seed,
        progress=ProgressInPrefect(QUIET),
    )  # fmt: skip
    rows = "".join(f"| {key} | {value} |\n" for key, value in asdict(report).items())
    create_markdown_artifact(f"| what | value |\n|---|---|\n{rows}", key="training")


_REFERENCE = re.compile(r"\$\{(block:)?([A-Za-z0-9_-]+)\}")
_USER_NAME = re.compile(r"(?<=://)(?:[\w.-]+|\$\{[^{}]*\}):(?=\$\{[^{}]*\}@)")  # with a reference
Value = TypeVar("Value")


def resolved(name: str, value: Value) -> Value:
    """The value of a parameter, with what its references stand for.

    Raises:
        BadUsage: It holds a password, token or signature itself, or a reference that there is not.
    """
    if not isinstance(value, str):
        return value
    bare = _REFERENCE.sub("...", _USER_NAME.sub("", value))
    if redacted(bare) != bare:
        raise BadUsage(
            f"The parameter {name} ({value}) holds a password, token or signature, which Prefect "
            "has stored with this run: revoke it, delete the run, and write ${NAME} in its place, "
            "an environment variable of the worker, or ${block:NAME}, a Secret block."
        )

    def stands_for(found: re.Match[str]) -> str:
        is_block, reference = found.groups()
        there = _secret(reference) if is_block else os.environ.get(reference)
        if there is None:
            what = "Secret block of Prefect" if is_block else "environment variable of the worker"
            raise BadUsage(f"The parameter {name} names {found[0]}, but no {what} has that name.")
        return there

    return cast(Value, _REFERENCE.sub(stands_for, value))


def _secret(name: str) -> str | None:
    try:
        return str(cast(Secret[Any], Secret.load(name)).get())
    except ValueError:
        return None


def _with_options(recipe: Recipe, **sections: dict[str, str | int]) -> Recipe:
    """The recipe with the given options: those that are not empty or 0."""
    return recipe.replaced(
        **{
            section: {key: resolved(key, value) for key, value in options.items() if value}
            for section, options in sections.items()
        }
    )
