"""What a release says of its own history: a version, CHANGELOG.md and changes.json.

All three follow from the difference to the base, so nobody types them. The changelog counts;
changes.json also lists the keys of this release that are new or not as they were. Of what is gone
neither says more than how much, so a withdrawn item is not named by the release it was taken from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from artsound.errors import ArtSoundError, BadData
from artsound.shards.diff import (
    BUMPS,
    FIRST,
    Difference,
    counts,
    difference,
    next_version,
    table,
)
from artsound.shards.index import INDEX, SHARDS, read_shard_index
from artsound.shards.read import open_shards
from artsound.shards.store import LocalStore
from artsound.shards.withheld import withheld_bump
from artsound.shards.write import Shard
from artsound.storage import read_json, sha256_file, write_bytes, write_json

CHANGELOG = "CHANGELOG.md"
CHANGES = "changes.json"
_LISTED = ("added", "moved", "recaptioned", "rescored", "repacked", "changed")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True)
class Lineage:
    """A release's version, the digest of its base's index.json ("": the first), and the bump."""

    version: str = FIRST
    base: str = ""
    bump: str = ""

    def fields(self) -> dict[str, str]:
        """What index.json says of it."""
        return {"version": self.version, **({"base": self.base} if self.base else {})}


def lineage_after(folder: Path, found: Difference, *, at_least: str = "") -> Lineage:
    """That of a release that continues the one in `folder`, from which it differs as `found`.

    `at_least` is a bump for what the two indexes do not show.
    """
    about = read_shard_index(LocalStore(folder))
    bump = max(found.bump, at_least, key=BUMPS.index)
    version = next_version(about.get("version", FIRST), bump)
    return Lineage(version, sha256_file(folder / SHARDS), bump)


def write_changes(folder: Path, base: Path, found: Difference, lineage: Lineage) -> list[Path]:
    """Write changes.json and CHANGELOG.md of a release; those of its base come before. Paths."""
    entry = {**lineage.fields(), "bump": lineage.bump, "counts": counts(found)}
    releases = [entry, *_history(base)]
    keys = {kind: list(getattr(found, kind)) for kind in _LISTED}
    write_json(folder / CHANGES, {"releases": releases, "keys": keys})
    lines = ["# Changes"]
    for one in releases:
        lines += ["", f"## {one['version']}", "", f"A {one['bump']} change.", ""]
        lines += table(one["counts"])
    write_bytes(folder / CHANGELOG, ("\n".join(lines) + "\n").encode())
    return [folder / CHANGES, folder / CHANGELOG]


def write_history(
    folder: Path, base: Path | None, shards: Sequence[Shard], index: pa.Table
) -> tuple[Lineage, list[Path]]:
    """The lineage of a release about to be indexed, and its files of changes, written.

    `index` are its rows. A first release has no such files, and one that equals its
    base has the base's.
    """
    for name in (CHANGES, CHANGELOG):
        (folder / name).unlink(missing_ok=True)
    if base is None:
        return Lineage(), []
    data = open_shards(base)
    rows = pl.DataFrame(pl.from_arrow(index))
    found = difference(data.frame, data.shards, rows, shards)
    lineage = lineage_after(base, found, at_least=withheld_bump(base, folder, set(rows["key"])))
    if lineage.bump:
        return lineage, write_changes(folder, base, found, lineage)
    return lineage, _copied(folder, base, (CHANGES, CHANGELOG))


def copy_index(folder: Path, base: Path) -> list[Path]:
    """Give a release that equals its base the base's index: it is that release. Paths."""
    return _copied(folder, base, (INDEX, SHARDS))


def _copied(folder: Path, base: Path, names: Sequence[str]) -> list[Path]:
    there = [name for name in names if (base / name).is_file()]
    for name in there:
        write_bytes(folder / name, (base / name).read_bytes())
    return [folder / name for name in there]


def check_changes(folder: Path, about: dict[str, Any], keys: set[str]) -> Iterator[tuple[str, str]]:
    """(file, sentence) for every fault of changes.json; nothing where there is no such file."""
    if not (folder / CHANGES).is_file():
        if about.get("base"):
            yield CHANGES, "index.json names a base, but it is missing"
        return
    try:
        value = read_json(folder / CHANGES)
        releases = [_entry(one) for one in value["releases"]]
        listed = {str(key) for names in value["keys"].values() for key in names}
    except (ArtSoundError, KeyError, TypeError, ValueError, AttributeError) as error:
        yield CHANGES, f"it is no list of changes: {error}"
        return
    if not releases or any(
        releases[0].get(name, "") != about.get(name, "") for name in ("version", "base")
    ):
        yield CHANGES, "its newest release is not the one in index.json"
    if strange := sorted(listed - keys):
        yield CHANGES, f"it lists {strange[0]}, which the index has not"


def _history(base: Path) -> list[dict[str, Any]]:
    """The entries of the base's changes.json, checked; none where there is no such file."""
    if not (base / CHANGES).is_file():
        return []
    try:
        return [_entry(one) for one in read_json(base / CHANGES)["releases"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadData(f"{base / CHANGES} is no list of changes: verify {base} first.") from error


def _entry(value: Any) -> dict[str, Any]:
    """One entry, with only what an entry has; ValueError when it is none."""
    version, base, bump = (str(value.get(name, "")) for name in ("version", "base", "bump"))
    if not _VERSION.fullmatch(version) or bump not in BUMPS[1:]:
        raise ValueError("an entry has no version")
    numbers = {str(kind): int(number) for kind, number in value["counts"].items()}
    return {**Lineage(version, base).fields(), "bump": bump, "counts": numbers}
