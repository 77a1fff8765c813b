"""What changed from one release to the next, told from their indexes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from artsound.errors import BadData
from artsound.shards.index import read_shard_index
from artsound.shards.read import open_shards
from artsound.shards.store import open_store
from artsound.shards.write import Shard

FIRST = "1.0.0"
BUMPS = ("", "patch", "minor", "major")  # the least first
_KINDS = {
    "moved": ("artwork_id", "split"),
    "recaptioned": ("artwork_caption", "music_caption"),
    "rescored": ("score", "bridge", "margin"),
    "repacked": ("shard",),
}
_PLACES = ("_offset", "_size")  # where a sample's members lie: not what they are


@dataclass(frozen=True)
class Difference:
    """The keys that differ between two releases, ascending; a key may be of several kinds.

    `moved`: another artwork or split; `recaptioned`: another text on either side; `rescored`:
    another score, margin or bridge; `repacked`: in another shard; `changed`: any other field.
    `shards_kept` have the same bytes under the same name in both, `shards_changed` are the newer
    release's others, `shards_gone` the older's that it lacks. `columns` are those that only one of
    the two indexes has.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    recaptioned: tuple[str, ...] = ()
    rescored: tuple[str, ...] = ()
    repacked: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    shards_kept: tuple[str, ...] = ()
    shards_changed: tuple[str, ...] = ()
    shards_gone: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def bump(self) -> str:
        """The part of the version that this raises: major, minor, patch, or "" for nothing.

        major: a pair is gone, has another artwork or another split, or the index other columns,
        so what was built on the older release may break. minor: pairs are new. patch: captions,
        metadata, scores or places changed.
        """
        if self.removed or self.moved or self.columns:
            return "major"
        if self.added:
            return "minor"
        other = self.recaptioned or self.rescored or self.repacked or self.changed
        return "patch" if other or self.shards_changed or self.shards_gone else ""


def next_version(version: str, bump: str) -> str:
    """The version after `version` when this part of it is raised; "" leaves it."""
    major, minor, patch = (int(part) for part in version.split("."))
    return {
        "major": f"{major + 1}.0.0",
        "minor": f"{major}.{minor + 1}.0",
        "patch": f"{major}.{minor}.{patch + 1}",
        "": version,
    }[bump]


def diff(old: str, new: str) -> Difference:
    """What the release `new` changes in `old`; folders or addresses of shards.

    Only the two indexes are read. Raises BadData when an index lacks a column to compare by.
    """
    before, after = open_shards(old), open_shards(new)
    return difference(before.frame, before.shards, after.frame, after.shards, (old, new))


def version_of(location: str) -> str:
    """The version of the release at a folder or address; FIRST when its index.json names none."""
    return str(read_shard_index(open_store(location)).get("version", FIRST))


def difference(
    before: pl.DataFrame,
    were: Sequence[Shard],
    after: pl.DataFrame,
    are: Sequence[Shard],
    places: tuple[str, str] = ("the older release", "the newer release"),
) -> Difference:
    """As `diff`, of rows of two indexes and their shards."""
    needed = list(dict.fromkeys(name for names in _KINDS.values() for name in names))
    for place, frame in zip(places, (before, after), strict=True):
        if missing := [name for name in needed if name not in frame.columns]:
            raise BadData(
                f"The index of {place} has no {missing[0]}: it is no release of ArtSound."
            )
    known = [name for name in before.columns if name in after.columns and name != "key"]
    others = tuple(n for n in known if n not in needed and not n.endswith(_PLACES))
    both = before.select("key", *known).join(after.select("key", *known), on="key", suffix="_new")
    found = {
        kind: _keys(
            both.filter(
                pl.any_horizontal(
                    pl.lit(False), *(pl.col(n).ne_missing(pl.col(f"{n}_new")) for n in names)
                )
            )
        )
        for kind, names in {**_KINDS, "changed": others}.items()
    }
    old = {shard.name: shard.sha256 for shard in were}
    new = {shard.name: shard.sha256 for shard in are}
    return Difference(
        added=_keys(after.join(before, on="key", how="anti")),
        removed=_keys(before.join(after, on="key", how="anti")),
        **found,
        shards_kept=tuple(sorted(name for name in new if old.get(name) == new[name])),
        shards_changed=tuple(sorted(name for name in new if old.get(name) != new[name])),
        shards_gone=tuple(sorted(old.keys() - new.keys())),
        columns=tuple(sorted(set(before.columns) ^ set(after.columns))),
    )


def counts(found: Difference) -> dict[str, int]:
    """How many keys, shards and columns are of each kind, under the changelog's words."""
    return {
        "Added": len(found.added),
        "Removed": len(found.removed),
        "Moved": len(found.moved),
        "Re-captioned": len(found.recaptioned),
        "Re-scored": len(found.rescored),
        "Packed into another shard": len(found.repacked),
        "Changed in other fields": len(found.changed),
        "Shards with the same bytes": len(found.shards_kept),
        "Shards new or changed": len(found.shards_changed),
        "Shards gone": len(found.shards_gone),
        "Columns new or gone": len(found.columns),
    }


def changelog(found: Difference) -> str:
    """The difference in Markdown: a table of counts, then the keys of every kind that has any."""
    kinds = dict(zip(counts(found), vars(found).values(), strict=True))
    lines = ["# Changes", "", *table(counts(found))]
    for kind, names in kinds.items():
        if names:
            lines += ["", f"## {kind}", "", *(f"- {name}" for name in names)]
    return "\n".join(lines) + "\n"


def table(numbers: dict[str, int]) -> list[str]:
    """Counts as the lines of a table in Markdown."""
    lines = ["| | count |", "|---|---:|"]
    return lines + [f"| {kind} | {number:,} |" for kind, number in numbers.items()]


def _keys(frame: pl.DataFrame) -> tuple[str, ...]:
    return tuple(sorted(frame["key"].to_list()))
