"""Flow: a finished release to where others find it, once it has been checked."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from artsound.errors import BadData
from artsound.shards.push import push
from artsound.shards.verify import verify


@flow(name="publish", flow_run_name="publish {shards} to {target}")
def publish(shards: Path, target: str, deep: bool = True, restricted: bool = False) -> None:
    """Check shards against their index, then push what the target lacks.

    Args:
        shards: A folder of shards with their index.
        target: hf://datasets/me/artsound, s3://bucket/artsound, any fsspec address, or a folder.
        deep: Decode every picture and clip in the check.
        restricted: Also push what may not be passed on: for private targets.

    Raises BadData when the shards are not what their index says: nothing is pushed then.
    """
    problems = verify(str(shards), deep=deep)
    if problems:
        raise BadData(f"{shards} has {len(problems)} problems, the first: {problems[0]}.")
    summary = push(shards, target, restricted=restricted)
    sent = summary["files"] - summary["skipped"]
    create_markdown_artifact(
        f"{sent} of {summary['files']} files sent to `{target}`; the others were there.",
        key="published",
    )
