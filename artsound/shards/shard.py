"""Stage `shard`: packs pairs into shards, with an index and a list of attributions.

Within a split the samples are put in a seeded random order and divided into shards of equal size
(± 1), so that every shard is a random sample of its split; a shard has its samples in the order of
their keys. When a build continues a previous release, that release's shards stay as far as
possible, and only new pairs are in new shards. One part writes one shard, in parts/shard; `finish`
links the shards into place, and writes the index and the release's history.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from artsound.columns import BY_NAME, OF_PICTURE, SAMPLE
from artsound.errors import BadData
from artsound.keys import six_digits
from artsound.media import MediaError
from artsound.media.images import jpeg_size, release_jpeg
from artsound.pairing.excluded import read_exclusions
from artsound.pairing.previous_release import release_folder
from artsound.recipe import Recipe
from artsound.schema import Reject, arrow_schema
from artsound.shards.beside import write_beside
from artsound.shards.dataset import Dataset, open_shards
from artsound.shards.format import (
    BLOCK,
    Packed,
    Shard,
    Span,
    sample_json,
    write_shard,
)
from artsound.shards.index import (
    FORMAT,
    SHARDS,
    SPLITS,
    SUMS,
    pointers,
    read_shard_index,
    to_index_table,
    write_index,
)
from artsound.shards.order import shuffled_order
from artsound.shards.release import (
    copy_fits,
    copy_index,
    find_listed,
    parted,
    withheld_rows,
    write_attribution,
    write_history,
    write_readme,
    write_withheld,
)
from artsound.shards.withdraw import digests_of, named, traces
from artsound.sources.base import all_places, read_snapshots
from artsound.sources.selection import excluded, listed_digests, opted_out
from artsound.stage import Context, Outcome, Part, Report, Stage, part_path
from artsound.storage import (
    Workspace,
    atomic_write,
    make_folder,
    read_parquet,
    sha256_bytes,
    sha256_file,
    sync_folder,
    temporary_prefix,
    write_parquet,
)

# A row per sample: the pairs joined with the records of both sides. Sample field -> its column.
_ARTWORK = {
    "artwork_id": "artwork_id",
    "artwork_title": "title",
    "painter": "painter",
    "painter_id": "painter_id",
    "artwork_year": "year",
    "artwork_style": "style",
    "artwork_genre": "genre",
    "artwork_school": "school",
    "artwork_period": "period",
    "artwork_tags": "tags",
    "artwork_media": "media",
    "artwork_emotions": "emotions",
    "artwork_license_id": "license_id",
    "artwork_redistribute": "redistribute",
    "artwork_derivatives": "derivatives",
    "artwork_commercial": "commercial",
    "artwork_rights_reason": "rights_reason",
    "artwork_ai_training": "ai_training",
    "artwork_ai_training_source": "ai_training_source",
    "artwork_source": "source",
    "artwork_source_url": "source_url",
    "image_original_sha256": "image_sha256",
    "image_original_width": "width",
    "image_original_height": "height",
    "image_sharpness": "sharpness",
    "image_contrast": "contrast",
    "image_border_share": "border_share",
    "image_aspect": "aspect",
    "artwork_cluster": "cluster",
    "image_path": "image_path",
}
_TRACK = {
    "track_id": "track_id",
    "track_title": "title",
    "musician": "artist",
    "musician_id": "artist_id",
    "album": "album",
    "album_id": "album_id",
    "track_year": "year",
    "track_language": "language",
    "track_genre": "genre",
    "track_genres": "genres",
    "track_tags": "tags",
    "duration_s": "duration",
    "excerpt_start_s": "excerpt_start",
    "audio_sample_rate_hz": "sample_rate",
    "audio_channels": "channels",
    "rms_dbfs": "loudness",
    "track_license": "license",
    "track_license_id": "license_id",
    "track_redistribute": "redistribute",
    "track_derivatives": "derivatives",
    "track_commercial": "commercial",
    "track_share_alike": "share_alike",
    "track_ai_training": "ai_training",
    "track_ai_training_source": "ai_training_source",
    "track_source": "source",
    "track_source_url": "source_url",
    "audio_sha256": "audio_sha256",
    "audio_snr_db": "snr",
    "audio_clipping_share": "clipping_share",
    "audio_bandwidth_hz": "bandwidth",
    "audio_silence_share": "silence_share",
    "audio_stereo_width": "stereo_width",
    "track_cluster": "cluster",
    "audio_path": "audio_path",
}
_PAIR = {
    name: name
    for name in (
        *("track_id", "artwork_id", "split", "score", "bridge", "percentile", "margin"),
        *("track_rank", "artwork_rank"),
    )
} | {"pairing_method": "method"}
_PICTURE = {
    "artwork_id": "artwork_id",
    "artwork_lightness": "lightness",
    "artwork_saturation": "saturation",
    "artwork_warmth": "warmth",
}
_SOUND = {"track_id": "track_id", "tempo_bpm": "tempo", "key": "key", "mode": "mode"}
EXTRA = ("image_path", "audio_path")


def joined(context: Context) -> pl.DataFrame:
    """Join the pairs with catalogue, measurements and captions, once per stage.

    Returns:
        A row per pair: every field of a sample but those of its .jpg, and the fields in EXTRA.

    Raises:
        BadData: An input is missing, or lacks an item that a pair names.
    """
    files = _inputs(context.workspace)
    made = {place.source.name for place in all_places(context.recipe) if place.get("synthetic")}
    base = open_previous_shards(context)

    def make() -> pl.DataFrame:
        rows = _joined(context.workspace.root, made)
        return _as_found_before(rows, base) if base else rows

    return context.once("samples", make, files)


def _as_found_before(rows: pl.DataFrame, base: PreviousShards) -> pl.DataFrame:
    """The rows, pairs of the previous release with how they were found there."""
    before = base.data.frame.select("key", before="pairing_method")
    joined = rows.join(before, on="key", how="left", maintain_order="left")
    kept = pl.col("pairing_method") == "kept"
    found = pl.when(kept).then(pl.coalesce("before", "pairing_method")).otherwise("pairing_method")
    return joined.with_columns(found.alias("pairing_method")).drop("before")


def _inputs(workspace: Workspace) -> list[Path]:
    affect = workspace.embeddings / "affect"
    return [
        workspace.pairs / "pairs.parquet",
        workspace.catalog / "artworks.parquet",
        workspace.catalog / "tracks.parquet",
        workspace.captions / "artworks.parquet",
        workspace.captions / "tracks.parquet",
        affect / "artworks.parquet",
        affect / "tracks.parquet",
    ]


def _joined(root: Path, made: Collection[str]) -> pl.DataFrame:
    """The rows of `joined`; `made` are the names of sources whose items are made by code."""
    paths = _inputs(Workspace(root))
    pairs = _read(paths[0], "pair", _PAIR)
    artworks = _read(paths[1], "artwork", _ARTWORK)
    tracks = _read(paths[2], "track", _TRACK)
    picture = _read(paths[5], "artwork_descriptors", _PICTURE)
    sound = _read(paths[6], "track_descriptors", _SOUND)
    rows = (
        pairs.join(artworks, on="artwork_id", how="left", validate="m:1")
        .join(tracks, on="track_id", how="left", validate="1:1")
        .join(picture, on="artwork_id", how="left", validate="m:1")
        .join(sound, on="track_id", how="left", validate="1:1")
        .with_columns(
            key="track_id",
            musical_key=pl.col("key") + " " + pl.col("mode"),
            synthetic=pl.col("artwork_source").is_in(made) | pl.col("track_source").is_in(made),
        )
        .join(_captions(paths[3], "artwork", "artwork_id"), on="artwork_id", how="left")
        .join(_captions(paths[4], "track", "key"), on="key", how="left")
    )
    fields = [column.name for column in SAMPLE if column.name not in OF_PICTURE]
    rows = rows.select(*fields, *EXTRA).sort("key")
    for name in rows.columns:
        if rows[name].null_count() and not (name in BY_NAME and BY_NAME[name].unknown):
            pair = rows.filter(pl.col(name).is_null())["key"][0]
            raise BadData(
                f"The pair of track {pair} has no {name} in {root}: "
                "run the stages before `shard` again."
            )
    return rows


def _read(path: Path, record: str, columns: Mapping[str, str]) -> pl.DataFrame:
    table = read_parquet(path, record, sorted(set(columns.values())))
    frame = pl.DataFrame(pl.from_arrow(table))
    return frame.select(_known(name, column) for name, column in columns.items())


def _known(name: str, column: str) -> pl.Expr:
    """A column of the catalogue as a release has it: null where it stands for unknown."""
    about = BY_NAME.get(name)
    if not (about and about.unknown):
        return pl.col(column).alias(name)
    unknown = pl.lit(about.stand_in)
    if column == "license_id":
        unknown = pl.lit("unknown")
    return pl.when(pl.col(column) != unknown).then(pl.col(column)).alias(name)


def _captions(path: Path, prefix: str, key: str) -> pl.DataFrame:
    columns = {
        key: "item_id",
        f"{prefix}_caption": "caption",
        f"{prefix}_captioner": "captioner",
        f"{prefix}_captioner_version": "captioner_version",
        f"{prefix}_caption_fallback": "fallback_reason",
        f"{prefix}_caption_check": "check",
        f"{prefix}_caption_agreement": "agreement",
        "prompt": "prompt",
    }
    rows = _read(path, "caption", columns).unique(key, keep="any")
    digests = {one: sha256_bytes(one.encode()) if one else None for one in rows["prompt"].unique()}
    return rows.select(
        pl.exclude("prompt"),
        pl.col("prompt").replace_strict(digests, return_dtype=pl.String)
        .alias(f"{prefix}_prompt_sha256"),
    )  # fmt: skip


@functools.cache
def float32_fields() -> frozenset[str]:
    """Return the fields of a sample that are float32 in the index."""
    return frozenset(f.name for f in arrow_schema("sample") if str(f.type) == "float")


# The previous release: which of its shards keep their bytes, and which pairs are in new ones.
#
# A pair that stays in its split stays in its shard. A shard in which nothing changed keeps name and
# bytes; one that lost a sample, or has one with another caption, record or artwork, is rewritten,
# with the previous release's pictures and clips where the originals are the same. New pairs are in
# new shards, whose numbers follow the last one of their split.

_MEMBERS = ("jpg", "mp3", "json")  # in the order in which they are packed
_NAME = re.compile(r"artsound-(?P<part>(?:train|val|test)-(?P<number>\d{6}))\.tar")


@dataclass(frozen=True)
class PreviousShards:
    """A previous release on this machine; `digest` is that of its index.json."""

    folder: Path
    digest: str
    data: Dataset

    @property
    def release(self) -> Mapping[str, Any]:
        """What its publisher says of it."""
        return read_shard_index(self.data.store).get("release", {})

    def shards_of(self, split: str) -> list[tuple[str, Shard]]:
        """The shards of a split with the names of their parts, by number."""
        return sorted((_part_name(shard), shard) for shard in self.data.shards
                      if shard.split == split)  # fmt: skip

    def next_number(self, split: str) -> int:
        """The number of the first new shard of a split."""
        return 1 + max((int(name[-6:]) for name, _ in self.shards_of(split)), default=-1)

    def pictures(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """What is known of the released pictures of some samples."""
        places = [self.positions[key] for key in keys]
        return self.data.frame.select(OF_PICTURE)[places].to_dicts()

    def keys_with(self, digests: Collection[str]) -> set[str]:
        """The keys of samples whose released picture has one of the digests."""
        return set(self.data.frame.filter(pl.col("image_sha256").is_in(list(digests)))["key"])

    @functools.cached_property
    def positions(self) -> Mapping[str, int]:
        """The position of each key in the index."""
        return {key: number for number, key in enumerate(self.data.frame["key"])}

    @functools.cached_property
    def keys_of(self) -> Mapping[str, list[str]]:
        """The keys of each shard's samples, by its name."""
        return dict(self.data.frame.group_by("shard").agg(pl.col("key")).iter_rows())

    def same(self, rows: pl.DataFrame) -> set[str]:
        """The keys of new samples (`rows`) of which every field is as in this release.

        None of a release of an earlier format, whose shards have all to be written again.
        """
        if self.data.format != FORMAT:
            return set()
        fields = [name for name in arrow_schema("sample").names if name not in OF_PICTURE]
        ours = self.data.frame.select(fields)
        theirs = rows.select(fields).cast(dict(ours.schema))  # type: ignore[arg-type]
        both = ours.join(theirs, on="key", suffix="_new")
        equal = (pl.col(name).eq_missing(pl.col(f"{name}_new")) for name in fields if name != "key")
        return set(both.filter(pl.all_horizontal(*equal))["key"])

    def packed(
        self, part: str, same: Collection[str]
    ) -> dict[str, tuple[int, int, dict[str, Span]]]:
        """Where those samples lie whole that are as they were in the shard of a part.

        Args:
            part: The part's name.
            same: The keys of samples that are as they were.

        Returns:
            By key the first byte, the end, and the positions of the members from the first byte
            on; of samples that are packed as `write_shard` packs them.

        Raises:
            BadData: The shard is damaged.
        """
        shard = self.shard_of(part)
        if shard is None:
            return {}
        places = self.data.pointers
        here = np.flatnonzero(places.shard == self.data.shards.index(shard))
        members = [places.members.index(one) for one in _MEMBERS]
        here = here[np.argsort(places.offsets[here, members[0]])]
        offset, size = places.offsets[here][:, members], places.sizes[here][:, members]
        ends = offset + -(-size // BLOCK) * BLOCK
        starts = np.concatenate([[0], ends[:-1, -1]])
        before = np.column_stack([starts, ends[:, :-1]])
        plain = (offset == before + BLOCK).all(axis=1)  # each after a header of one block
        found = {
            key: (start, stop, dict(zip(_MEMBERS, zip(at, long, strict=True), strict=True)))
            for key, start, stop, at, long, whole in zip(
                places.keys[here].tolist(), starts.tolist(), ends[:, -1].tolist(),
                (offset - starts[:, None]).tolist(), size.tolist(), plain.tolist(), strict=True,
            )
            if whole and key in same
        }  # fmt: skip
        if found:
            self.check(shard)
        return found

    def shard_of(self, part: str) -> Shard | None:
        """The shard that a part of this name would write again."""
        name = f"artsound-{part}.tar"
        return next((shard for shard in self.data.shards if shard.name == name), None)

    def check(self, shard: Shard) -> None:
        """Raise BadData if the shard is not as it was released."""
        source = self.folder / shard.name
        if not source.is_file() or sha256_file(source) != shard.sha256:
            raise BadData(f"{source} differs from its {SHARDS}: verify {self.folder} first.")

    def media(self, row: Mapping[str, Any]) -> tuple[bytes, bytes, str] | None:
        """Picture, clip and the picture's digest of a sample with the same originals, if any."""
        position = self.positions.get(row["key"])
        if position is None:
            return None
        fields = self.data.frame.row(position, named=True)
        if any(fields[name] != row[name] for name in ("image_original_sha256", "audio_sha256")):
            return None
        pointers = self.data.pointers
        pieces = self.data.store.read_ranges(fields["shard"], pointers.ranges(position))
        members = dict(zip(pointers.present(position), pieces, strict=True))
        image, audio = members["jpg"], members["mp3"]
        stated = fields["image_sha256"], fields["audio_sha256"]
        if (sha256_bytes(image), sha256_bytes(audio)) != stated:
            raise BadData(
                f"The picture or the clip of {row['key']} in {self.folder / fields['shard']} is "
                f"damaged: verify {self.folder} first."
            )
        return image, audio, fields["image_sha256"]


def open_previous_shards(context: Context) -> PreviousShards | None:
    """Open the previous release that the recipe names (`sources.base`); None when there is none.

    Raises:
        BadUsage: It is not a release, or it is the folder that the build would write to.
        BadData: It is damaged, or its shards are not named as a build names them.
    """
    if not context.recipe.sources.base:
        return None
    folder = release_folder(context.workspace, context.recipe.sources.base)
    return context.once("previous shards", lambda: _open(folder), [folder / "index.json"])


def _open(folder: Path) -> PreviousShards:
    base = PreviousShards(folder, sha256_file(folder / "index.json"), open_shards(folder))
    for shard in base.data.shards:
        _part_name(shard)
    return base


def unchanged(context: Context, base: PreviousShards) -> set[str]:
    """The keys of this build's samples of which every field is as in the previous release."""
    files = [*_inputs(context.workspace), base.folder / "index.json"]
    return context.once("unchanged samples", lambda: base.same(joined(context)), files)


def stays(
    base: PreviousShards, rows: pl.DataFrame, split: str, same: set[str]
) -> list[tuple[str, Shard, list[str], bool]]:
    """Find the shards of a previous release that stay.

    Args:
        base: The previous release.
        rows: The new samples of one split.
        split: The split.
        same: Keys of samples that may stay as they are.

    Returns:
        For each shard that stays: name of its part, its entry, the keys that stay, and whether
        nothing in it changed.
    """
    there = set(rows["key"])
    found = []
    for name, shard in base.shards_of(split):
        staying = sorted(there.intersection(base.keys_of[shard.name]))
        whole = len(staying) == shard.samples and same.issuperset(staying)
        if staying:
            found.append((name, shard, staying, whole))
    return found


def _part_name(shard: Shard) -> str:
    match = _NAME.fullmatch(shard.name)
    if match is None or not match["part"].startswith(f"{shard.split}-"):
        raise BadData(
            f"The shard {shard.name} is not named as a build names it: it cannot be continued."
        )
    return match["part"]


# The stage.

_WITHHELD_PART = "withheld"
_PACKED = arrow_schema("packed").names


def plan_shards(
    track_ids: Sequence[str], *, pairs_per_shard: int, min_shards: int, seed: int
) -> list[list[str]]:
    """Divide the tracks of one split into shards; the order of `track_ids` has no effect.

    Args:
        track_ids: The tracks.
        pairs_per_shard: Samples per shard, about.
        min_shards: Shards at least, if there are as many tracks.
        seed: Seeds the shuffling.

    Returns:
        The tracks of each shard, ascending.
    """
    tracks = np.array(sorted(track_ids), dtype=object)
    count = max(1, round(len(tracks) / pairs_per_shard), min(min_shards, len(tracks)))
    order = tracks[shuffled_order(len(tracks), seed)]
    return [sorted(cut.tolist()) for cut in np.array_split(order, count) if cut.size]


def check(context: Context) -> None:
    """Raise BadUsage or BadData for an unusable previous release or list of excluded pairs."""
    read_exclusions(context.recipe.shards.exclude)
    open_previous_shards(context)


def plan(context: Context) -> list[Part]:
    """One part per shard, named {split}-{nnnnnn}."""
    workspace, recipe = context.workspace, context.recipe
    rows, withheld = parted(joined(context), recipe.shards.withhold)
    if rows.is_empty():
        reason = "may be redistributed" if withheld.height else "is there"
        raise BadData(f"No pair of {workspace.pairs} {reason}: there is nothing to pack in shards.")
    text = io.BytesIO()
    rows.write_ndjson(text)
    lines = dict(zip(rows["track_id"], text.getvalue().splitlines(), strict=True))
    unfit = _unfit(rows, recipe)
    base = open_previous_shards(context)
    unwanted = sorted(listed_digests(recipe))
    listed = {"digests": unwanted} if unwanted else {}
    same = unchanged(context, base) - unfit - base.keys_with(unwanted) if base else set()
    continued = {"base": base.digest} if base else {}
    parts = []
    for split in SPLITS:
        mine = rows.filter(pl.col("split") == split)
        staying = stays(base, mine, split, same) if base else []
        planned: list[tuple[str, list[str]]] = []
        for name, shard, keys, whole in staying:
            if whole:
                parts.append(Part(name, shard.samples, {"shard": shard.name, **continued}))
            else:
                planned.append((name, keys))
        there = {key for _, _, keys, _ in staying for key in keys}
        shards = plan_shards(
            [track for track in mine["track_id"].to_list() if track not in there],
            pairs_per_shard=recipe.shards.pairs_per_shard,
            min_shards=1 if there else recipe.shards.min_shards,
            seed=recipe.seed,
        )
        first = base.next_number(split) if base else 0
        numbered = enumerate(shards, first)
        planned += [(f"{split}-{six_digits(n)}", members) for n, members in numbered]
        for name, members in planned:
            inputs = {
                "tracks": members,
                "rows": sha256_bytes(b"\n".join(lines[track] for track in members)),
                "unfit": sorted(unfit.intersection(members)),
                **continued,
                **listed,
            }
            parts.append(Part(name, len(members), inputs))
    parts.sort(key=_place)
    if withheld.height:
        keys = withheld["key"].to_list()
        parts.append(Part(_WITHHELD_PART, len(keys), {"keys": keys}))
    return parts


def work(context: Context, part: Part) -> Outcome:
    """Write one shard, and where its samples are in it, under parts/shard."""
    workspace, recipe = context.workspace, context.recipe
    if part.name == _WITHHELD_PART:
        return Outcome(rejects=tuple(_withheld(key) for key in part.inputs["keys"]))
    base = open_previous_shards(context)
    if base and "shard" in part.inputs:
        return _as_it_was(workspace, base, part)
    rows, keys = joined(context), part.inputs["tracks"]  # ascending; a pair has its track's key
    unwanted = part.inputs.get("digests", ())
    before = base.packed(part.name, unchanged(context, base)) if base else {}
    for key in base.keys_with(unwanted) if base and unwanted else ():
        before.pop(key, None)
    rejects: list[Reject] = []
    pictures: dict[str, dict[str, Any]] = {}
    copied: list[str] = []

    def members(files: contextlib.ExitStack) -> Any:
        name = f"artsound-{part.name}.tar"
        source = files.enter_context((base.folder / name).open("rb")) if base and before else None
        for key, number in zip(keys, rows["key"].search_sorted(pl.Series(keys)), strict=True):
            if key in part.inputs["unfit"]:
                message = "Judges found the pair unfit: shards.exclude of the recipe lists it."
                rejects.append(Reject("shard", "pair", key, "filtered", "judged-unfit", message))
                continue
            if source and key in before:
                start, stop, placed = before[key]
                copied.append(key)
                yield key, Packed(os.pread(source.fileno(), stop - start, start), placed)
                continue
            row = rows.row(number, named=True)
            try:
                image, audio, image_sha256 = (base.media(row) if base else None) or _media(
                    workspace, recipe, row
                )
            except MediaError as error:
                rejects.append(Reject("shard", "pair", key, "failed", error.reason, error.message))
                continue
            if image_sha256 in unwanted:
                message = f"a list of the recipe has the SHA-256 of its picture, {image_sha256}"
                rejects.append(Reject("shard", "pair", key, "filtered", "withdrawn", message))
                continue
            sample = _sample(row, image, image_sha256)
            pictures[key] = {name: sample[name] for name in OF_PICTURE}
            yield key, {"jpg": image, "mp3": audio, "json": sample_json(sample)}

    split = part.name.rpartition("-")[0]
    tar_path = part_path(workspace, "shard", part.name, ".tar")
    row_path = part_path(workspace, "shard", part.name)
    try:
        with contextlib.ExitStack() as files:
            shard, placed = write_shard(tar_path, split, members(files))
    except BadData:
        if len(rejects) < part.items:
            raise
        return Outcome(rejects=tuple(rejects))
    if base and copied:
        pictures.update(zip(copied, base.pictures(copied), strict=True))
    found = [{"key": one.key, **pictures[one.key], **pointers(one)} for one in placed]
    sha256 = write_parquet(row_path, "packed", found, durable=False)
    return Outcome(
        items_out=len(placed),
        files=(tar_path, row_path),
        rejects=tuple(rejects),
        extra=asdict(shard),
        digests={tar_path: shard.sha256, row_path: sha256},
    )


def finish(context: Context, results: Sequence[Report]) -> Outcome:
    """Put the shards in place under their final names, with index, README and attribution."""
    workspace, recipe = context.workspace, context.recipe
    packed = [result for result in results if result.items_out]
    if not packed:
        raise BadData("No pair could be packed: catalog/rejects.parquet has the reason for each.")
    base = open_previous_shards(context)
    folder = make_folder(workspace.shards)
    # While shards are put in place no index may describe those of an earlier build: opening the
    # folder then, or after a crash, is an error.
    (folder / SHARDS).unlink(missing_ok=True)
    (folder / SUMS).unlink(missing_ok=True)
    shards: list[Shard] = []
    places: list[pl.DataFrame] = []
    numbers = dict.fromkeys(SPLITS, 0)
    for result in packed:
        part = Shard(**result.extra)
        # A shard of the previous release keeps its name, even if others before it are gone.
        own = result.done.name if base else f"{part.split}-{six_digits(numbers[part.split])}"
        name = f"artsound-{own}.tar"
        numbers[part.split] += 1
        _link(part_path(workspace, "shard", result.done.name, ".tar"), folder / name)
        shards.append(replace(part, name=name))
        found = read_parquet(part_path(workspace, "shard", result.done.name), "packed", _PACKED)
        places.append(pl.DataFrame(pl.from_arrow(found)).with_columns(shard=pl.lit(name)))
    sync_folder(folder)
    rows = pl.concat(places).join(joined(context), on="key", how="left", maintain_order="left")
    table = to_index_table(rows.rechunk().to_arrow())
    files = [
        write_attribution(folder, table),
        write_readme(folder, recipe.name, shards, table.num_rows),
        *copy_fits(workspace.pairs, folder),
        *write_withheld(workspace, parted(joined(context), recipe.shards.withhold)[1]),
        *write_beside(
            workspace, table,
            retrieval=recipe.shards.retrieval, embeddings=recipe.shards.embeddings,
        ),
    ]  # fmt: skip
    release = {name: value for name, value in recipe.release.model_dump().items() if value}
    said_more = base is not None and release != base.release
    lineage, more = write_history(
        folder, base.data if base else None, shards, table, at_least="patch" if said_more else ""
    )
    files += more
    about: dict[str, Any] = {**lineage.fields(), **({"release": release} if release else {})}
    made_from = {"sources": read_snapshots(workspace), "rejects": _rejects(workspace)}
    about |= {name: value for name, value in made_from.items() if value}
    if base and not lineage.bump:
        files += copy_index(folder, base.folder)
    else:
        files += write_index(
            folder, recipe.name, recipe.digest(), shards, _chunked(table, shards), about
        )
    _remove_stale(workspace, {shard.name for shard in shards}, {r.done.name for r in results})
    if base:
        _check_withdrawn(folder, base, excluded(recipe).lines, opted_out(recipe).lines)
    return Outcome(
        files=(*files, *(folder / shard.name for shard in shards)),
        extra={
            "samples": table.num_rows,
            "shards": {split: count for split, count in numbers.items() if count},
            "shard_bytes": sum(shard.bytes for shard in shards),
            "version": lineage.version,
            "bump": lineage.bump,
        },
        digests={folder / shard.name: shard.sha256 for shard in shards},
    )


STAGE = Stage(
    name="shard",
    version=11,
    sections=("seed", "shards", "release"),
    plan=plan,
    work=work,
    finish=finish,
    check=check,
)


def _place(part: Part) -> tuple[int, str]:
    """Sort key of parts in the order of an index: by split, then by number; others last."""
    split = part.name.rpartition("-")[0]
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS), part.name)


def _as_it_was(workspace: Workspace, base: PreviousShards, part: Part) -> Outcome:
    """Link an unchanged shard of the previous release into this build's parts, checked."""
    shard = next(one for one in base.data.shards if one.name == part.inputs["shard"])
    source = base.folder / shard.name
    base.check(shard)
    tar_path = make_folder(workspace.parts / "shard") / f"{part.name}.tar"
    row_path = part_path(workspace, "shard", part.name)
    _link(source, tar_path)
    rows = base.data.frame.select("shard", *_PACKED).filter(shard=shard.name).select(_PACKED)
    table = rows.to_arrow().cast(arrow_schema("packed"))
    sha256 = write_parquet(row_path, "packed", table, durable=False)
    return Outcome(
        items_out=shard.samples,
        files=(tar_path, row_path),
        extra=asdict(shard),
        digests={tar_path: shard.sha256, row_path: sha256},
    )


def _chunked(table: pa.Table, shards: Sequence[Shard]) -> pa.Table:
    """The rows of an index in a chunk for each shard, by which pyarrow divides them into pages."""
    ends = itertools.accumulate(shard.samples for shard in shards)
    return pa.concat_tables(
        table.slice(end - shard.samples, shard.samples)
        for shard, end in zip(shards, ends, strict=True)
    )


def _check_withdrawn(
    folder: Path, base: PreviousShards, lines: Sequence[str], optouts: Sequence[str]
) -> None:
    """Remove the index and raise BadData if a file references an item that a list names."""
    if not lines and not optouts:
        return
    frames = base.data.frame, withheld_rows(base.folder)
    listed = find_listed(lines, *frames, optouts=optouts)
    ids = listed.ids
    texts, keys, spellings = named([*lines, *ids])
    digests = listed.digests.union(*(digests_of(frame, ids) for frame in frames))
    if left := traces(folder, texts | digests, keys, spellings):
        (folder / SHARDS).unlink()
        raise BadData(
            f"Items that a list of the recipe names are still referenced in {', '.join(left[:5])}: "
            "list every item that has the same bytes."
        )


def _unfit(rows: pl.DataFrame, recipe: Recipe) -> set[str]:
    """The tracks of pairs that `shards.exclude` lists; a track with another artwork stays."""
    listed = pl.DataFrame(read_exclusions(recipe.shards.exclude).select(["track_id", "artwork_id"]))
    return set(rows.join(listed, on=["track_id", "artwork_id"], how="semi")["track_id"])


def _rejects(workspace: Workspace) -> dict[str, dict[str, int]]:
    """By side and reason, the number of items of the sources that ingest left out."""
    path = workspace.catalog / "rejects.parquet"
    if not path.is_file():
        return {}
    rows = pl.DataFrame(pl.from_arrow(read_parquet(path, "reject", ["stage", "side", "reason"])))
    counted = rows.filter(stage="ingest").group_by("side", "reason").len().sort("side", "reason")
    found: dict[str, dict[str, int]] = {}
    for side, reason, count in counted.iter_rows():
        found.setdefault(side, {})[reason] = count
    return found


def _withheld(key: str) -> Reject:
    message = "the picture or the clip may not be passed on: its ids and digests are kept"
    return Reject("shard", "pair", key, "filtered", "rights-withheld", message)


def _media(
    workspace: Workspace, recipe: Recipe, row: Mapping[str, Any]
) -> tuple[bytes, bytes, str]:
    """The .jpg and .mp3 of one sample, and the digest of the .jpg.

    Raises MediaError when they differ from the catalogue.
    """
    image = _original(workspace, row["image_path"], row["image_original_sha256"], "image")
    audio = _original(workspace, row["audio_path"], row["audio_sha256"], "audio")
    jpeg = release_jpeg(image, max_side=recipe.shards.max_side, quality=recipe.shards.jpeg_quality)
    return jpeg, audio, sha256_bytes(jpeg)


def _original(workspace: Workspace, relative: str, sha256: str, side: str) -> bytes:
    try:
        data = workspace.path(relative).read_bytes()
    except OSError as error:
        raise MediaError(f"{side}-missing", f"{relative}: {error.strerror}") from error
    if sha256_bytes(data) != sha256:
        raise MediaError(f"{side}-damaged", f"{relative} is not what was pulled")
    return data


def _sample(row: Mapping[str, Any], image: bytes, image_sha256: str) -> dict[str, Any]:
    """The sample's fields in the schema's order."""
    short = float32_fields()
    width, height = jpeg_size(image)
    fields = {
        **row, "image_sha256": image_sha256, "image_width": width, "image_height": height
    }  # fmt: skip
    # The shortest text of the same 32-bit number: 0.3, not 0.30000001192092896.
    return {
        column.name: float(str(np.float32(fields[column.name])))
        if column.name in short and fields[column.name] is not None
        else fields[column.name]
        for column in SAMPLE
    }


def _link(source: Path, target: Path) -> None:
    """Hard-link `source` as `target`, replacing it; copy it where links are not supported."""
    if target.exists() and target.samefile(source):
        return
    temporary = target.with_name(f"{temporary_prefix()}{target.name}")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        with source.open("rb") as original, atomic_write(target) as file:
            shutil.copyfileobj(original, file, 1 << 20)
    else:
        temporary.replace(target)


def _remove_stale(workspace: Workspace, shards: set[str], parts: set[str]) -> None:
    """Remove what an earlier, different build left: shards, and parts that held them."""
    for path in sorted(workspace.shards.glob("artsound-*.tar")):
        if path.name not in shards:
            path.unlink()
    for path in sorted((workspace.parts / "shard").glob("*")):
        if path.suffix in (".tar", ".parquet") and path.name.split(".")[0] not in parts:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
