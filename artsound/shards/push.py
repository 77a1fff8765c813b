"""Publishes a folder of shards: to a Hugging Face dataset, an object store, or another folder."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from artsound.errors import BadData, BadUsage
from artsound.pairing.previous_release import FITS
from artsound.progress import counted
from artsound.rights import policy_condition
from artsound.shards.beside import JUDGED, PREFERRED, is_beside
from artsound.shards.dataset import Dataset, open_shards
from artsound.shards.index import INDEX, SHARDS, SUMS, read_shard_index
from artsound.shards.release import (
    CHANGELOG,
    CHANGES,
    WITHHELD,
    check_sound,
    find_listed,
    read_sums,
    version_of,
    withheld_rows,
    write_listed,
)
from artsound.shards.store import (
    LASTING,
    LocalStore,
    has_buckets,
    open_system,
    plain_faults,
    protocols,
    shards_folder,
)
from artsound.shards.viewer import write_viewer
from artsound.sources.item_names import read_lines
from artsound.storage import sha256_file
from artsound.untrusted import parse_json

_CHUNK = 4 << 20
CROISSANT = "croissant.json"
# What a publisher must say of a release before it is pushed to the public.
_MUST_SAY = ("authors", "contact", "takedown", "license", "date")
_OUR_SHARD = re.compile(r"artsound-(?:train|val|test)-\d{6}\.tar")
# What a release may have beside its shards and is not in each: stale where this one has it not.
_OURS = frozenset({WITHHELD, CHANGES, CHANGELOG, FITS, JUDGED, PREFERRED, SUMS, "query.json"})
# The Hub limits commits per hour, and advises against commits of more files.
_COMMIT_FILES = 100


def push(
    folder: Path,
    target: str,
    *,
    restricted: bool = False,
    optouts: Path | None = None,
    keep_stale: bool = False,
    purge_history: bool = False,
    viewer: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Copy a release to a target, check what arrived, and delete what earlier releases left there.

    Files that are there already with the right digest are not sent again, so the same call resumes
    an interrupted push. index.json is removed first and written last, so that an incomplete
    release cannot be opened; files of earlier releases are deleted with it, on the Hugging Face Hub
    in the same commit. There, a repository that does not exist is created, private, and the release
    is tagged with its version, as v1.0.0.

    Args:
        folder: A release on this machine, or the folder of the build that has it.
        target: An fsspec address (hf://datasets/me/artsound, s3://bucket/artsound) or a folder.
        restricted: Also push samples that may not be redistributed; for private targets. A
            repository on the Hub must be private or gated.
        optouts: An opt-out list: a release with anything that it names is not pushed.
        keep_stale: Leave the files of earlier releases.
        purge_history: On the Hub, also forget all earlier commits and with them what they held.
        viewer: Also push the release as Parquet with thumbnails, to the target's name and
            `-viewer`: see `artsound.shards.viewer`.
        **options: For the target's fsspec file system.

    Returns:
        `target`; `files`: their number; `skipped`: those that were there; `bytes_sent`; `deleted`:
        files of earlier releases that were; `stale`: shards at the target that no index names;
        `unmatched`: lines of the opt-out list that name nothing; `tag`: that of the release, if it
        has one; `history`: whether the Hub's history still holds deleted files; `viewer`: where the
        thumbnails are, or "".

    Raises:
        BadUsage: A sample may not be redistributed, an opt-out list names one, the target is not
            private, or it cannot be opened.
        BadData: The folder differs from its index, or what arrived differs from what was sent.
    """
    folder = shards_folder(folder)
    data = open_shards(folder)
    if not restricted:
        _check_rights(data, folder)
        _check_published(folder, target)
    unmatched = _check_optouts(data, folder, optouts) if optouts else ()
    files = _files(folder, data)
    check_sound(folder)
    system, root = open_system(target, **options)
    tag = ""
    try:
        with plain_faults(system, target), tempfile.TemporaryDirectory() as scratch:
            if _is_hub(system):
                _prepare_hub(system, root, target, restricted=restricted)
            if _is_hub(system) and CROISSANT in files:
                version = version_of(str(folder))
                files[CROISSANT] = _hosted(system, root, files[CROISSANT], version, Path(scratch))
                if SUMS in files:
                    sums = read_sums(folder) | {CROISSANT: sha256_file(files[CROISSANT])}
                    files[SUMS] = write_listed(Path(scratch) / SUMS, sums)
            expected = _digests(files, data)
            there = _names(system, root)
            gone = [] if keep_stale else _of_earlier(system, root, there, expected)
            missing, sent = _send(system, root, files, target, expected, gone)
            stale = [name for name in _names(system, root)
                     if name.endswith(".tar") and name not in expected]  # fmt: skip
            if _is_hub(system):
                tag = _tag(system, root, version_of(str(folder)), purge=purge_history)
        _check_loads(target, data, options)
        beside = f"{target.rstrip('/')}-viewer" if viewer else ""
        if viewer:
            _push_viewer(folder, beside, restricted=restricted, purge=purge_history, **options)
    except OSError as error:
        again = "" if isinstance(error, LASTING) else "; push again to continue"
        raise BadData(f"{target} cannot be written: {error}{again}.") from error
    return {
        "target": target,
        "files": len(expected),
        "skipped": len(expected) - len(missing),
        "bytes_sent": sent,
        "deleted": gone,
        "stale": stale,
        "unmatched": list(unmatched),
        "tag": tag,
        "history": _is_hub(system) and bool(gone) and not purge_history,
        "viewer": beside,
    }


def _push_viewer(
    folder: Path, target: str, *, restricted: bool, purge: bool, **options: Any
) -> None:
    """Write the companion with thumbnails to a target, and delete what is not of this release."""
    system, root = open_system(target, **options)
    with plain_faults(system, target), tempfile.TemporaryDirectory() as scratch:
        if _is_hub(system):
            _prepare_hub(system, root, target, restricted=restricted)
        files = {path.name: path for path in write_viewer(folder, Path(scratch))}
        expected = {name: sha256_file(path) for name, path in files.items()}
        there = _names(system, root)
        gone = [name for name in there if name.endswith(".parquet") and name not in expected]
        _send(system, root, files, target, expected, gone)
        if _is_hub(system):
            _tag(system, root, version_of(str(folder)), purge=purge)


def _send(
    system: Any,
    root: str,
    files: dict[str, Path],
    target: str,
    expected: dict[str, str],
    gone: list[str],
) -> tuple[list[str], int]:
    """Send and check what the target lacks, and delete what is `gone` with the last file.

    The last of `files`, without which the others are not found, is removed first and sent last.
    Returns the names sent, and their bytes.
    """
    last = next(reversed(files))
    if not has_buckets(system):
        system.makedirs(root, exist_ok=True)
    sizes = {name: path.stat().st_size for name, path in files.items()}
    missing = [
        name
        for name, digest in expected.items()
        if _digest_at(system, f"{root}/{name}", sizes[name]) != digest
    ]
    if (missing or gone) and system.exists(f"{root}/{last}"):
        if not _is_hub(system) or missing:
            system.rm_file(f"{root}/{last}")
        missing = [*(name for name in missing if name != last), last]
    for some in _in_turns(system, missing):
        _put(system, files, root, some, gone if last in some else [])
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


def _put(system: Any, files: dict[str, Path], root: str, names: list[str], gone: list[str]) -> None:
    """Delete and copy files at the target; on the Hub in one commit."""
    if not _is_hub(system):
        for name in gone:
            system.rm_file(f"{root}/{name}")
        for name in names:
            system.put_file(str(files[name]), f"{root}/{name}")
        return
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    place = system.resolve_path(root)
    inside = f"{place.path_in_repo}/" if place.path_in_repo else ""
    _hub(system).create_commit(
        place.repo_id,
        [
            *(CommitOperationAdd(f"{inside}{name}", str(files[name])) for name in names),
            *(CommitOperationDelete(f"{inside}{name}") for name in gone),
        ],
        commit_message=f"Add {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else ""),
        repo_type=place.repo_type,
        revision=place.revision,
    )
    system.invalidate_cache()


def _is_hub(system: Any) -> bool:
    return "hf" in protocols(system)


def _hub(system: Any) -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=system.endpoint, token=system.token)


def _prepare_hub(system: Any, root: str, target: str, *, restricted: bool) -> None:
    """Create a repository that does not exist; BadUsage for a restricted push to a public one."""
    from huggingface_hub.errors import RepositoryNotFoundError

    _, owner, name, *_ = f"{root}/".split("/")
    repository = f"{owner}/{name.partition('@')[0]}"
    api = _hub(system)
    try:
        about = api.repo_info(repository, repo_type="dataset")
    except RepositoryNotFoundError:
        api.create_repo(repository, repo_type="dataset", private=True)
        system.invalidate_cache()
        return
    if restricted and not (about.private or about.gated):
        raise BadUsage(
            f"{target} is public: make the repository private or gated before a --restricted push."
        )


def _tag(system: Any, root: str, version: str, *, purge: bool) -> str:
    """Tag the newest commit of the repository with the release's version, for a whole repository.

    With `purge`, its history is made one commit before.
    """
    place = system.resolve_path(root)
    api = _hub(system)
    if purge:
        api.super_squash_history(place.repo_id, repo_type=place.repo_type)
    if place.path_in_repo:
        return ""
    tag = f"v{version}"
    known = api.list_repo_refs(place.repo_id, repo_type=place.repo_type).tags
    if any(one.name == tag for one in known):
        api.delete_tag(place.repo_id, tag=tag, repo_type=place.repo_type)
    api.create_tag(place.repo_id, tag=tag, repo_type=place.repo_type)
    return tag


def _of_earlier(system: Any, root: str, there: list[str], expected: dict[str, str]) -> list[str]:
    """The files at a target that belong to an earlier release and not to this one.

    Those are the shards that its index.json names, shards named as ours, and the other files that
    a release may have.
    """
    named: set[str] = set()
    if SHARDS in there:
        try:
            named = {str(one["name"]) for one in parse_json(system.cat_file(f"{root}/{SHARDS}"))
                     ["shards"]}  # fmt: skip
        except (ValueError, KeyError, TypeError):
            named = set()
    return [
        name
        for name in there
        if name not in expected
        and (name in named or name in _OURS or is_beside(name) or _OUR_SHARD.fullmatch(name))
    ]


def _check_loads(target: str, data: Dataset, options: dict[str, Any]) -> None:
    """Read a sample of each split at the target; BadData when it is not the one that was sent."""
    there = open_shards(target, storage_options=options or None)
    positions = data.frame.with_row_index("_at").group_by("split").first()["_at"].to_list()
    if there.index_sha256 != data.index_sha256 or any(
        there.read(position) != data.read(position) for position in positions
    ):
        raise BadData(f"{target} does not load as it was sent: push again.")


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
        more = f" and {counted(len(named) - 3, 'other')}" if len(named) > 3 else ""
        raise BadUsage(
            f"{optouts} names {', '.join(named[:3])}{more} of {folder}: make a release without "
            "them first, with `artsound withdraw --optouts`."
        )
    return found.optouts_unmatched


def _check_published(folder: Path, target: str) -> None:
    """Raise BadUsage for a push to the public whose publisher does not say who is responsible."""
    if "://" not in target or target.startswith(("file://", "memory://")):
        return
    said = read_shard_index(LocalStore(folder)).get("release", {})
    if lacking := [name for name in _MUST_SAY if not said.get(name)]:
        raise BadUsage(
            f"{folder} does not say who publishes it: give {', '.join(lacking)} in the table "
            "[release] of the recipe and build again (the date of a subset or of a release without "
            "withdrawn items is given with --date), or push with --restricted to a private target."
        )


def _files(folder: Path, data: Dataset) -> dict[str, Path]:
    """The files of the release by name: shards, what describes them, index.json last."""
    about = sorted(
        path.name
        for path in folder.iterdir()
        if path.is_file() and path.suffix != ".tar" and path.name[0] != "." and path.name != SHARDS
    )
    if INDEX not in about:
        raise BadData(f"{folder} has no {INDEX}: run `artsound index` first.")
    return {name: folder / name for name in (*(s.name for s in data.shards), *about, SHARDS)}


def _digests(files: dict[str, Path], data: Dataset) -> dict[str, str]:
    """The digest of every file of the release.

    Raises BadData when a shard differs from its entry.
    """
    known = {shard.name: shard.sha256 for shard in data.shards}
    digests = {}
    for name, path in files.items():
        digest = sha256_file(path) if path.is_file() else ""
        if digest != known.get(name, digest):
            raise BadData(f"{path} is not the shard that {SHARDS} names: verify first.")
        digests[name] = digest
    return digests


def _hosted(system: Any, root: str, croissant: Path, version: str, scratch: Path) -> Path:
    """croissant.json with the addresses of the files at the tag that the release will have.

    Readers of Croissant cache by address, so that no release is taken for another.
    """
    place = system.resolve_path(root)
    page = f"{system.endpoint}/datasets/{place.repo_id}"
    revision = place.revision if place.path_in_repo else f"v{version}"
    inside = f"{place.path_in_repo}/" if place.path_in_repo else ""
    value = parse_json(croissant.read_bytes())
    for one in value["distribution"]:
        if "contentUrl" in one:
            one["contentUrl"] = f"{page}/resolve/{revision}/{inside}{one['name']}"
    value.setdefault("url", page)
    written = scratch / CROISSANT
    written.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return written


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


def _names(system: Any, root: str) -> list[str]:
    """The names of the files at a target, sorted; none when there is no such place."""
    try:
        system.invalidate_cache()
        found = system.ls(root, detail=False)
    except FileNotFoundError:
        return []
    return sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)
