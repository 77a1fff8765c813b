"""A release without some of its pairs, and the check that no trace of them is left in it.

Shards that hold none of the withdrawn pairs keep their bytes. Every file of the new release is
searched for ids, digests and bytes of what was withdrawn: tables cell by cell, tars member by
member (names, fields and the SHA-256 of the bytes), everything else by its text.
"""

from __future__ import annotations

import csv
import functools
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from artsound.errors import BadData, BadUsage
from artsound.shards.beside import carry, carry_judgements
from artsound.shards.dataset import Dataset, open_pairs
from artsound.shards.format import READ_AHEAD, Shard, key_of, sample_json, scan_tar, write_shard
from artsound.shards.index import FORMAT, SHARDS, read_frame, read_shard_index, write_index
from artsound.shards.release import (
    WITHHELD,
    Difference,
    Found,
    check_sound,
    copy_fits,
    difference,
    find_listed,
    lineage_after,
    plain_cell,
    said_of_next,
    withheld_rows,
    write_attribution,
    write_changes,
    write_readme,
)
from artsound.shards.store import shards_folder
from artsound.shards.subset import members, moved
from artsound.sources.item_names import (
    artwork_key,
    line_keys,
    names_nothing,
    shown_lines,
    text_of,
)
from artsound.storage import atomic_write, new_folder, sha256_bytes, sha256_file
from artsound.untrusted import parse_json

_KEY_COLUMNS = ("key", "track_id", "track_cluster", "item_id")
_ARTWORK_FIELDS = ("artwork_id", "artwork_cluster", "item_id")
# Such a field in JSON, and its value where that is text.
_ARTWORK_FIELD = re.compile(rb'"(?:%b)"(?:\s*:\s*("[^"]*"))?' % "|".join(_ARTWORK_FIELDS).encode())
_TOGETHER = 8 << 20  # bytes of .json members that are searched at once
_DIGEST = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[^\s\"'`<>|,;()\[\]{}]+")
_LISTED_KEY = re.compile(r"(?m)^\s*(?:- )?(\d{6})\s*$")


def named(ids: Collection[str]) -> tuple[set[str], set[str], set[str]]:
    """Sort the lines of a list into texts, keys and spellings, the arguments of `traces`.

    Args:
        ids: Lines of a list of items, in any spelling.

    Returns:
        texts: Lines that name no track, as they are written, and digests.
        keys: Keys of tracks.
        spellings: Names of artworks in normal form (`artwork_key`).
    """
    texts: set[str] = set()
    keys: set[str] = set()
    spellings: set[str] = set()
    for line in ids:
        found = line_keys(line)
        keys |= {key.removeprefix("track:") for key in found if key.startswith("track:")}
        if found and not any(key.startswith("track:") for key in found):
            texts.add(text_of(line))
            texts |= {key.removeprefix("sha256:") for key in found if key.startswith("sha256:")}
            spellings |= {
                key.removeprefix("artwork:") for key in found if key.startswith("artwork:")
            }
    return texts, keys, spellings


def traces(
    folder: Path,
    texts: Collection[str],
    keys: Collection[str] = (),
    spellings: Collection[str] = (),
) -> list[str]:
    """Return the files of a release that still reference any of the given ids or digests.

    Args:
        folder: The release.
        texts: Ids of artworks and SHA-256 digests of media.
        keys: Keys of samples.
        spellings: Names of artworks in normal form (`artwork_key`).

    Returns:
        Paths relative to `folder`, sorted; empty when there is no reference.

    Raises:
        BadData: A file cannot be read, so that nothing is proven.
    """
    some, samples = _Texts(texts, spellings), frozenset(keys)
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            found_here = _mentions(path, some, samples)
        except (OSError, ValueError, OverflowError, tarfile.TarError, pl.exceptions.PolarsError,
                csv.Error) as error:  # fmt: skip
            raise BadData(f"{path} cannot be searched: {error}.") from error
        if found_here:
            found.append(path.relative_to(folder).as_posix())
    return found


class _Texts(frozenset[str]):
    """Texts to find as they are, and names of artworks to find in any spelling."""

    spellings: frozenset[str]

    def __new__(cls, texts: Collection[str], spellings: Collection[str]) -> _Texts:
        made = super().__new__(cls, texts)
        made.spellings = frozenset(spellings)
        return made

    def spelled(self, value: object) -> bool:
        """Whether a value is the name of one of the artworks."""
        return bool(self.spellings) and isinstance(value, str) and _key_of(value) in self.spellings


_key_of = functools.lru_cache(1 << 17)(artwork_key)  # each name is in several files


def _mentions(path: Path, texts: _Texts, keys: frozenset[str]) -> bool:
    name = path.name
    if name.endswith(".parquet"):
        return _table_mentions(read_frame(path.read_bytes(), str(path)), texts, keys)
    if name.endswith(".tar"):
        return _tar_mentions(path, texts, keys)
    content = path.read_bytes()
    if sha256_bytes(content) in texts:
        return True
    text = content.decode("utf-8", errors="replace")
    if name.endswith(".json"):
        value = parse_json(content)
        found = any(word in texts or word in keys for word in _words(value))
        return found or any(map(texts.spelled, _named_artworks(value)))
    if name.endswith(".csv"):
        return _csv_mentions(text, texts, keys)
    found = any(one in text for one in texts)
    found = found or any(map(texts.spelled, _WORD.findall(text) if texts.spellings else ()))
    return found or not keys.isdisjoint(_LISTED_KEY.findall(text))


def _csv_mentions(text: str, texts: _Texts, keys: frozenset[str]) -> bool:
    cells: set[str] = set()
    second: set[str] = set()
    names: set[str] = set()
    for row in csv.reader(text.splitlines()):
        cells.update(row)
        second.update(row[1:2])
        names.update(row[:3] if texts.spellings else ())
    return not (
        texts.isdisjoint(map(plain_cell, cells))
        and keys.isdisjoint(map(plain_cell, second))
        and not any(texts.spelled(plain_cell(cell)) for cell in names)
    )


def _table_mentions(table: pl.DataFrame, texts: _Texts, keys: frozenset[str]) -> bool:
    for name, kind in table.schema.items():
        column = table[name]
        if isinstance(kind, pl.List) and kind.inner == pl.String:
            column = column.explode()
        elif kind != pl.String:
            continue
        searched = texts | keys if name in _KEY_COLUMNS else texts
        if column.is_in(list(searched)).any():
            return True
        if name in _ARTWORK_FIELDS and any(map(texts.spelled, column.unique())):
            return True
    return False


def _tar_mentions(path: Path, texts: _Texts, keys: frozenset[str]) -> bool:
    """Whether the name, the bytes or the fields of a member reference what is searched for."""
    digests = frozenset(filter(_DIGEST.fullmatch, texts))
    samples: list[bytes] = []
    waiting = 0
    with path.open("rb", buffering=READ_AHEAD) as file:
        for member in list(scan_tar(file, path.stat().st_size)):
            if key_of(member.name)[0] in keys:
                return True
            has_fields = member.name.endswith(".json")
            if not has_fields and not digests:
                continue
            file.seek(member.offset)
            data = file.read(member.size)
            if digests and sha256_bytes(data) in digests:
                return True
            if has_fields:
                samples.append(data)
                waiting += len(data)
            if waiting > _TOGETHER:
                if _samples_mention(samples, texts, keys):
                    return True
                samples, waiting = [], 0
    return _samples_mention(samples, texts, keys)


def _samples_mention(samples: Sequence[bytes], texts: _Texts, keys: frozenset[str]) -> bool:
    """Whether a .json member references what is searched for.

    Without escapes and in UTF-8, each string is between two quotation marks as it is. So members
    are searched together as bytes, and parsed only where that finds anything.
    """
    plain = [data for data in samples if b"\\" not in data and b"\0" not in data]
    together = b'"'.join(plain)  # which ends no string early: it is between two values
    wanted = frozenset(one.encode() for one in {*texts, *keys})
    if wanted.isdisjoint(together.split(b'"')) and not (
        texts.spellings
        and any(
            not name or texts.spelled(name[1:-1].decode(errors="replace"))
            for name in set(_ARTWORK_FIELD.findall(together))
        )
    ):
        samples = [data for data in samples if b"\\" in data or b"\0" in data]
    for data in samples:
        fields = parse_json(data)
        if not texts.isdisjoint(_words(fields)):
            return True
        if texts.spellings and any(map(texts.spelled, _named_artworks(fields))):
            return True
        if isinstance(fields, dict) and any(fields.get(name) in keys for name in _KEY_COLUMNS):
            return True
    return False


def _named_artworks(value: Any) -> Iterator[Any]:
    """The values of all fields of a JSON value that contain an artwork's id."""
    waiting = [value] if isinstance(value, (dict, list)) else []
    for one in waiting:  # which grows: recursion would take three times as long
        if isinstance(one, dict):
            yield from (one[name] for name in _ARTWORK_FIELDS if name in one)
        inside = one.values() if isinstance(one, dict) else one
        waiting += [inner for inner in inside if isinstance(inner, (dict, list))]


def _words(value: Any) -> Iterator[str]:
    """Every string in a JSON value, names of fields included."""
    waiting = [value]
    for one in waiting:
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            yield from one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


_SIDES = (
    ("artwork_id", "artwork_cluster", ("image_sha256", "image_original_sha256")),
    ("key", "track_cluster", ("audio_sha256",)),
)


def withdraw(
    folder: Path,
    out: Path,
    ids: Collection[str],
    *,
    optouts: Collection[str] = (),
    allow_unmatched: bool = False,
    date: str = "",
    describe: Callable[[Path], object] = lambda _: None,
    note: Callable[[str], object] = lambda _: None,
) -> Difference:
    """Write a release without the pairs of some tracks and artworks.

    Works with the same bytes as a listed one are withdrawn too. Shards that hold none of the pairs
    are linked or copied under their names; the others are rewritten, or dropped when nothing is
    left of them. Clusters named after a withdrawn item are renamed. Index, attribution, README,
    withheld.parquet, version and changelog follow; the changelog has only counts.

    Args:
        folder: The release to take pairs from.
        out: A new folder; it is complete or absent afterwards.
        ids: Lines of a list, each of which names a track or an artwork in any spelling: a key such
            as 000123, an artwork id, a file, an address, a digest.
        optouts: Lines of an opt-out list, which may also name creators, and need not name anything.
        allow_unmatched: Continue when a line names nothing in the release.
        date: The date of the new release, YYYY-MM-DD.
        describe: Called with the folder before it is published, to write cards into it.
        note: Called with a sentence about lines that name nothing.

    Returns:
        What the new release changes.

    Raises:
        BadUsage: No pair is listed, or `out` is in use.
        BadData: A line names nothing in the release, a trace of a withdrawn pair is left, or no
            pair is left.
    """
    folder = shards_folder(folder)
    data = open_pairs(folder)
    apart = withheld_rows(folder)
    listed = find_listed(ids, data.frame, apart, optouts=optouts)
    gone, gone_apart = _gone(data.frame, apart, listed)
    if listed.optouts_unmatched:
        note(names_nothing("the opt-out list", str(folder), listed.optouts_unmatched))
    if not gone.any() and not gone_apart.any():
        count = len(ids) + len(optouts)
        raise BadUsage(f"{folder} has none of the {count} listed ids: nothing to withdraw.")
    if listed.unmatched and not allow_unmatched:
        raise BadData(
            f"{folder} has nothing that these lines name: {shown_lines(listed.unmatched)}. "
            "Correct them, or give --allow-unmatched."
        )
    if listed.unmatched:
        note(names_nothing("the list", str(folder), listed.unmatched))
    if gone.all():
        raise BadData(f"Nothing would be left of {folder}: remove the whole release instead.")

    def check(place: Path, rows: pl.DataFrame) -> None:
        texts = _only_in(
            [data.frame.filter(gone), apart.filter(gone_apart)],
            [rows, apart.filter(~gone_apart)],
        )
        keys = [*data.frame["key"].filter(gone), *apart["key"].filter(gone_apart)]
        if left := traces(place, texts, keys):
            raise BadData(f"A withdrawn pair is still referenced in {', '.join(left)}.")

    return write_next(data, folder, out, gone, apart.filter(~gone_apart), date, describe, check)


def write_next(
    data: Dataset,
    folder: Path,
    out: Path,
    gone: pl.Series,
    apart: pl.DataFrame,
    date: str,
    describe: Callable[[Path], object],
    check: Callable[[Path, pl.DataFrame], object] = lambda *_: None,
) -> Difference:
    """Write the next release of a release on this machine, in today's format.

    Args:
        data: The release.
        folder: Its folder.
        out: A new folder; it is complete or absent afterwards.
        gone: Which of its pairs are left out.
        apart: The rows of withheld.parquet of the new release.
        date: The date of the new release, YYYY-MM-DD; "" if it is not given.
        describe: Called with the folder before it is published, to write cards into it.
        check: Called with the folder and its rows before it is published; it may raise.

    Returns:
        What the new release changes.

    Raises:
        BadUsage: `out` is in use, or the date is none.
    """
    about = read_shard_index(data.store)
    said = said_of_next(about.get("release", {}), date)
    check_sound(folder)
    with new_folder(out) as place:
        shards, rows = _write_shards(data, folder, place, gone)
        if not apart.is_empty():
            with atomic_write(place / WITHHELD) as file:
                apart.write_parquet(file)
        carry(folder, place, rows)
        carry_judgements(folder, place, rows)
        table = rows.to_arrow()
        write_attribution(place, table)
        write_readme(place, data.name, shards, rows.height)
        copy_fits(folder, place)
        formats = (data.format, FORMAT)
        found = difference(data.frame, data.shards, rows, shards, formats=formats)
        lineage = lineage_after(folder, found, at_least="major")
        write_changes(place, folder, found, lineage)
        more: dict[str, Any] = {**lineage.fields(), **({"release": said} if said else {})}
        more |= {name: about[name] for name in ("parent", "sources", "rejects") if name in about}
        write_index(place, data.name, about["recipe_digest"], shards, table, more)
        describe(place)
        check(place, rows)
    return found


def digests_of(rows: pl.DataFrame, ids: Collection[str]) -> set[str]:
    """Return the digests of the media of the listed artworks and tracks that `rows` contain."""
    found: set[str] = set()
    for name, _, digests in _SIDES:
        listed = rows.filter(pl.col(name).is_in(list(ids)))
        for digest in digests:
            found |= set(listed[digest]) if digest in rows.columns else set()
    return found - {""}


def _gone(frame: pl.DataFrame, apart: pl.DataFrame, listed: Found) -> tuple[pl.Series, pl.Series]:
    """Which of the released and of the withheld pairs have a listed item, or the same bytes."""
    ids = listed.ids
    digests = list(digests_of(frame, ids) | digests_of(apart, ids) | listed.digests)

    def of(rows: pl.DataFrame) -> pl.Series:
        hit = [pl.col(name).is_in(list(ids)) for name, _, _ in _SIDES]
        hit += [
            pl.col(digest).is_in(digests)
            for _, _, columns in _SIDES
            for digest in columns
            if digest in rows.columns
        ]
        return rows.select(gone=pl.any_horizontal(hit))["gone"]

    return of(frame), of(apart)


def _write_shards(
    data: Dataset, folder: Path, place: Path, gone: pl.Series
) -> tuple[list[Shard], pl.DataFrame]:
    """Link or rewrite every shard. Returns the shards, and the rows that stay."""
    shards: list[Shard] = []
    frames: list[pl.DataFrame] = []
    renamed = _renamed(data.frame, gone)
    frame = data.frame.with_row_index("position").with_columns(gone=gone)
    parts = frame.partition_by("shard", maintain_order=True, as_dict=True)
    for shard in data.shards:
        rows = parts.get((shard.name,), frame.clear())
        stay = rows.filter(~pl.col("gone")).drop("gone")
        if not stay.height:
            continue
        same = data.format == FORMAT and stay.height == rows.height
        if same and not any(key in renamed for key in stay["key"]):
            _link(folder / shard.name, place / shard.name)
            if sha256_file(place / shard.name) != shard.sha256:
                raise BadData(
                    f"{folder / shard.name} is damaged: its SHA-256 is not the one in {SHARDS}. "
                    "Fetch it or build the release again; `artsound verify` names all that is "
                    "damaged."
                )
            shards.append(shard)
            frames.append(stay.drop("position"))
            continue
        samples = _relabelled(members(data, stay["position"].to_list()), renamed)
        written, placed = write_shard(place / shard.name, shard.split, samples)
        shards.append(written)
        frames.append(moved(_with_clusters(stay.drop("position"), renamed), written.name, placed))
    return shards, pl.concat(frames)


def _renamed(frame: pl.DataFrame, gone: pl.Series) -> dict[str, dict[str, str]]:
    """By key, the new clusters of samples whose cluster is named after a withdrawn item.

    A cluster is named after its first item, so now after the first that stays.
    """
    found: dict[str, dict[str, str]] = {}
    for name, cluster, _ in _SIDES:
        if cluster not in frame.columns:
            continue
        staying = frame.filter(~gone)
        withdrawn = set(frame.filter(gone)[name]) - set(staying[name])
        orphans = staying.filter(pl.col(cluster).is_in(list(withdrawn)))
        first = orphans.with_columns(first=pl.col(name).min().over(cluster))
        for key, new in first.select("key", "first").iter_rows():
            found.setdefault(key, {})[cluster] = new
    return found


def _relabelled(
    samples: Iterator[tuple[str, Mapping[str, bytes]]], renamed: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    """The samples, with their new clusters in the .json."""
    for key, parts in samples:
        if key in renamed:
            fields = {**parse_json(parts["json"]), **renamed[key]}
            yield key, {**parts, "json": sample_json(fields)}
        else:
            yield key, parts


def _with_clusters(rows: pl.DataFrame, renamed: Mapping[str, Mapping[str, str]]) -> pl.DataFrame:
    columns = [cluster for _, cluster, _ in _SIDES if cluster in rows.columns]
    return rows.with_columns(
        pl.Series(
            cluster,
            [
                renamed.get(key, {}).get(cluster, old)
                for key, old in rows.select("key", cluster).iter_rows()
            ],
            dtype=pl.String,
        )
        for cluster in columns
    )


def _only_in(gone: Sequence[pl.DataFrame], staying: Sequence[pl.DataFrame]) -> list[str]:
    """Digests and artwork ids that only the withdrawn pairs have."""
    columns = ["artwork_id", *(digest for _, _, digests in _SIDES for digest in digests)]

    def values(frames: Sequence[pl.DataFrame]) -> set[str]:
        cells = [set(rows[name]) for rows in frames for name in columns if name in rows.columns]
        return set().union(*cells)

    return sorted(values(gone) - values(staying) - {""})


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
