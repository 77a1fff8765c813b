"""Publishes a folder of shards: to a Hugging Face dataset, an object store, or another folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from artsound.errors import BadData, BadUsage
from artsound.rights import policy_condition
from artsound.shards.dataset import Dataset, open_shards
from artsound.shards.index import INDEX, SHARDS
from artsound.shards.release import find_listed, withheld_rows
from artsound.shards.store import (
    LASTING,
    has_buckets,
    open_system,
    plain_faults,
    protocols,
    shards_folder,
)
from artsound.sources.item_names import read_lines
from artsound.storage import sha256_file

_CHUNK = 4 << 20
# The Hub limits commits per hour, and advises against commits of more files.
_COMMIT_FILES = 100


def push(
    folder: Path,
    target: str,
    *,
    restricted: bool = False,
    optouts: Path | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Copy shards, index, README, card and attribution to a target, and check what arrived.

    Files that are there already with the right digest are not sent again, so the same call resumes
    an interrupted push. index.json is removed first and written last, so that an incomplete
    release cannot be opened.

    Args:
        folder: A release on this machine, or the folder of the build that has it.
        target: An fsspec address (hf://datasets/me/artsound, s3://bucket/artsound) or a folder.
        restricted: Also push samples that may not be redistributed; for private targets.
        optouts: An opt-out list: a release with anything that it names is not pushed.
        **options: For the target's fsspec file system.

    Returns:
        `target`; `files`: their number; `skipped`: those that were there; `bytes_sent`; `stale`:
        shards at the target that no index names; `unmatched`: lines of the opt-out list that name
        nothing.

    Raises:
        BadUsage: A sample may not be redistributed, or an opt-out list names one, or the target
            cannot be opened.
        BadData: The folder differs from its index, or what arrived differs from what was sent.
    """
    folder = shards_folder(folder)
    data = open_shards(folder)
    if not restricted:
        _check_rights(data, folder)
    unmatched = _check_optouts(data, folder, optouts) if optouts else ()
    expected = _digests(folder, data)
    system, root = open_system(target, **options)
    try:
        with plain_faults(system, target):
            missing, sent = _send(system, root, folder, target, expected)
            stale = sorted(set(_tars(system, root)) - set(expected))
    except OSError as error:
        again = "" if isinstance(error, LASTING) else "; push again to continue"
        raise BadData(f"{target} cannot be written: {error}{again}.") from error
    return {
        "target": target,
        "files": len(expected),
        "skipped": len(expected) - len(missing),
        "bytes_sent": sent,
        "stale": stale,
        "unmatched": list(unmatched),
    }


def _send(
    system: Any, root: str, folder: Path, target: str, expected: dict[str, str]
) -> tuple[list[str], int]:
    """Send and check what the target lacks. Returns the names sent, and their bytes."""
    if not has_buckets(system):
        system.makedirs(root, exist_ok=True)
    sizes = {name: (folder / name).stat().st_size for name in expected}
    missing = [
        name
        for name, digest in expected.items()
        if _digest_at(system, f"{root}/{name}", sizes[name]) != digest
    ]
    if missing and system.exists(f"{root}/{SHARDS}"):
        system.rm_file(f"{root}/{SHARDS}")
        missing = [*(name for name in missing if name != SHARDS), SHARDS]
    for some in _in_turns(system, missing):
        _put(system, folder, root, some)
        for name in some:
            if _digest_at(system, f"{root}/{name}", sizes[name]) != expected[name]:
                raise BadData(f"{target}/{name} did not arrive as it was sent: push again.")
    return missing, sum(sizes[name] for name in missing)


def _in_turns(system: Any, names: list[str]) -> Iterator[list[str]]:
    """The names in the groups that are sent together; the last name, index.json, alone."""
    step = _COMMIT_FILES if _is_hub(system) else 1
    for at in range(0, len(names) - 1, step):
        yield names[at : min(at + step, len(names) - 1)]
    if names:
        yield names[-1:]


def _put(system: Any, folder: Path, root: str, names: list[str]) -> None:
    """Copy files of `folder` to the target; to the Hub in one commit."""
    if not _is_hub(system):
        for name in names:
            system.put_file(str(folder / name), f"{root}/{name}")
        return
    from huggingface_hub import CommitOperationAdd, HfApi

    place = system.resolve_path(root)
    inside = f"{place.path_in_repo}/" if place.path_in_repo else ""
    HfApi(endpoint=system.endpoint, token=system.token).create_commit(
        place.repo_id,
        [CommitOperationAdd(f"{inside}{name}", str(folder / name)) for name in names],
        commit_message=f"Add {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else ""),
        repo_type=place.repo_type,
        revision=place.revision,
    )
    system.invalidate_cache()


def _is_hub(system: Any) -> bool:
    return "hf" in protocols(system)


def _check_rights(data: Dataset, folder: Path) -> None:
    if not {"artwork_redistribute", "track_redistribute"} <= set(data.frame.columns):
        raise BadUsage(
            f"{folder} does not say which samples may be redistributed: push it with --restricted "
            "to a private target."
        )
    free = len(data.filter(policy_condition("redistributable")))
    if free < len(data):
        raise BadUsage(
            f"{len(data) - free:,} of the {len(data):,} samples in {folder} may not be "
            "redistributed: make a subset with --rights redistributable, or push with --restricted "
            "to a private target."
        )


def _check_optouts(data: Dataset, folder: Path, optouts: Path) -> tuple[str, ...]:
    """Raise BadUsage for a release with a sample that an opt-out list names.

    Returns the lines of the list that name nothing.
    """
    apart = withheld_rows(folder)
    found = find_listed((), data.frame, apart, optouts=read_lines(optouts))
    if named := sorted(found.ids | found.digests):
        more = f" and {len(named) - 3:,} others" if len(named) > 3 else ""
        raise BadUsage(
            f"{optouts} names {', '.join(named[:3])}{more} of {folder}: make a release without "
            "them first, with `artsound withdraw --optouts`."
        )
    return found.optouts_unmatched


def _digests(folder: Path, data: Dataset) -> dict[str, str]:
    """The digest of every file of the release, index.json last.

    Raises BadData when a shard differs from its entry.
    """
    known = {shard.name: shard.sha256 for shard in data.shards}
    about = sorted(
        path.name
        for path in folder.iterdir()
        if path.is_file() and path.suffix != ".tar" and path.name[0] != "." and path.name != SHARDS
    )
    digests = {}
    for name in (*known, *about, SHARDS):
        digest = sha256_file(folder / name) if (folder / name).is_file() else ""
        if digest != known.get(name, digest):
            raise BadData(f"{folder / name} is not the shard that {SHARDS} names: verify first.")
        digests[name] = digest
    if INDEX not in digests:
        raise BadData(f"{folder} has no {INDEX}: run `artsound index` first.")
    return digests


def _digest_at(system: Any, path: str, size: int) -> str:
    """The SHA-256 of a file at the target; empty when it is missing or of another size."""
    try:
        about = system.info(path)
    except FileNotFoundError:
        return ""
    if about.get("size") != size:
        return ""
    stored = (about.get("lfs") or {}).get("sha256")  # known on Hugging Face
    if stored:
        return str(stored)
    digest = hashlib.sha256()
    with system.open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _tars(system: Any, root: str) -> Iterator[str]:
    for path in system.ls(root, detail=False):
        name = str(path).rstrip("/").rpartition("/")[2]
        if name.endswith(".tar"):
            yield name
