"""What changed from one release to the next, told from their indexes alone."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from artsound.errors import BadData
from artsound.shards.read import open_shards

_CAPTIONS = ("artwork_caption", "music_caption")
_KINDS = {
    "moved": ("artwork_id", "split", "shard"),
    "recaptioned": _CAPTIONS,
    "rescored": ("score", "bridge"),
}


@dataclass(frozen=True)
class Difference:
    """The keys that differ between two releases, ascending; a key may be of several kinds.

    `moved`: another artwork, split or shard; `recaptioned`: another text on either side;
    `rescored`: another score or bridge. `shards_kept` have the same bytes under the same name in
    both, `shards_changed` are the newer release's others, `shards_gone` the older's that it lacks.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    moved: tuple[str, ...]
    recaptioned: tuple[str, ...]
    rescored: tuple[str, ...]
    shards_kept: tuple[str, ...]
    shards_changed: tuple[str, ...]
    shards_gone: tuple[str, ...]


def diff(old: str, new: str) -> Difference:
    """What the release `new` changes in `old`; folders or addresses of shards.

    Only the two indexes are read. Raises BadData when an index lacks a column to compare by.
    """
    before, after = open_shards(old), open_shards(new)
    columns = list(dict.fromkeys(name for names in _KINDS.values() for name in names))
    for place, data in ((old, before), (new, after)):
        if missing := [name for name in columns if name not in data.frame.columns]:
            raise BadData(
                f"The index of {place} has no {missing[0]}: it is no release of ArtSound."
            )
    both = before.frame.select("key", *columns).join(
        after.frame.select("key", *columns), on="key", suffix="_new"
    )
    changed = {
        kind: _keys(both.filter(pl.any_horizontal(pl.col(n) != pl.col(f"{n}_new") for n in names)))
        for kind, names in _KINDS.items()
    }
    were = {shard.name: shard.sha256 for shard in before.shards}
    are = {shard.name: shard.sha256 for shard in after.shards}
    return Difference(
        added=_keys(after.frame.join(before.frame, on="key", how="anti")),
        removed=_keys(before.frame.join(after.frame, on="key", how="anti")),
        **changed,
        shards_kept=tuple(sorted(name for name in are if were.get(name) == are[name])),
        shards_changed=tuple(sorted(name for name in are if were.get(name) != are[name])),
        shards_gone=tuple(sorted(were.keys() - are.keys())),
    )


def changelog(difference: Difference) -> str:
    """The difference in Markdown: a table of counts, then the keys of every kind that has any."""
    kinds = {
        "Added": difference.added,
        "Removed": difference.removed,
        "Moved": difference.moved,
        "Re-captioned": difference.recaptioned,
        "Re-scored": difference.rescored,
        "Shards with the same bytes": difference.shards_kept,
        "Shards new or changed": difference.shards_changed,
        "Shards gone": difference.shards_gone,
    }
    lines = ["# Changes", "", "| | count |", "|---|---:|"]
    lines += [f"| {kind} | {len(names):,} |" for kind, names in kinds.items()]
    for kind, names in kinds.items():
        if names:
            lines += ["", f"## {kind}", "", *(f"- {name}" for name in names)]
    return "\n".join(lines) + "\n"


def _keys(frame: pl.DataFrame) -> tuple[str, ...]:
    return tuple(sorted(frame["key"].to_list()))
