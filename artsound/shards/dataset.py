"""`artsound.open(place)`: the samples of a release, to be filtered, looked at and streamed.

First come pure functions that choose positions in a frame, by rank, chance, share or condition;
then opening; then `Dataset`.
"""

from __future__ import annotations

import json
import operator
import os
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from artsound.columns import NUMBER, RENAMED
from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.extras import install_command
from artsound.keys import track_key
from artsound.progress import counted
from artsound.rights import policy_condition
from artsound.shards.format import Shard
from artsound.shards.index import (
    INDEX,
    SPLITS,
    IndexTable,
    SampleLocations,
    check_pointers,
    extensions,
    index_columns,
    is_ours,
    locations_of,
    open_index,
    place_columns,
    read_shard_index,
    shards_of,
)
from artsound.shards.order import hashed
from artsound.shards.reader import SampleSource
from artsound.shards.store import Store, open_store
from artsound.sql_filter import nearest, nearest_column, rows_where, shown_columns
from artsound.untrusted import parse_json, read_array

if TYPE_CHECKING:
    import pandas

    from artsound.shards.decode import Decode
    from artsound.shards.stream import Sample, Stream
    from artsound.shards.web_pipeline import WebPipeline


Positions = npt.NDArray[np.int64]


def best(frame: pl.DataFrame, count: int) -> Positions:
    """Positions of the `count` samples with the highest score; of equal ones, the first keys."""
    ranked = _numbered(frame, "score").sort("score", "key", descending=[True, False])
    return _positions(ranked.head(_many(count)))


def drawn(frame: pl.DataFrame, count: int, *, seed: int, by: str = "") -> Positions:
    """Positions of `count` samples drawn by chance, the same for the same seed and samples.

    With `by`, every value of that column keeps its share, to within one sample.
    """
    lots = _numbered(frame, *([by] if by else [])).with_columns(
        _lot=pl.Series(hashed(_numbers(frame), seed), dtype=pl.UInt64)
    )
    if not by:
        return _positions(lots.sort("_lot", "key").head(_many(count)))
    # The middle of each sample's stretch on its value's line 0..1: taking the lowest `count` of
    # all takes the same share of every line.
    rank = (pl.col("_lot").rank("ordinal").over(by) - 0.5) / pl.len().over(by)
    return _positions(lots.with_columns(_rank=rank).sort("_rank", "_lot", "key").head(_many(count)))


def capped(frame: pl.DataFrame, column: str, most: int) -> Positions:
    """Positions of at most `most` samples for each value of a column: those of highest score.

    All samples stay of which the value is unknown.
    """
    ranked = _numbered(frame, "score", column).sort("score", "key", descending=[True, False])
    within = pl.int_range(pl.len()).over(column) < _many(most)
    return _positions(ranked.filter(within | pl.col(column).is_null()))


def without(frame: pl.DataFrame, keys: Collection[Any]) -> Positions:
    """Positions of the samples whose key is not in `keys`; track ids may be given as numbers.

    Raises BadUsage for what is neither.
    """
    names = [_key(key) for key in keys]
    return np.flatnonzero(~frame["key"].is_in(names).to_numpy())


def _key(key: Any) -> str:
    """The key that a key or a track id stands for; BadUsage for what is neither."""
    if not isinstance(key, (str, int, np.integer)):
        raise BadUsage(f"{key!r} is neither a key nor a track id.")
    return key if isinstance(key, str) else track_key(int(key))


def _many(count: int) -> int:
    """`count`, if it is a number of samples; else BadUsage: polars takes −3 for all but three."""
    if not isinstance(count, (int, np.integer)) or count < 0:
        raise BadUsage(f"{count!r} is not a number of samples.")
    return int(count)


def _numbered(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise BadUsage(
            f"The index has no column {missing[0]!r}: there are {', '.join(frame.columns)}."
        )
    return frame.select(pl.int_range(pl.len()).alias("_at"), *dict.fromkeys(("key", *columns)))


def _positions(chosen: pl.DataFrame) -> Positions:
    return np.sort(chosen["_at"].to_numpy()).astype(np.int64)


def _numbers(frame: pl.DataFrame) -> Positions:
    return np.array([zlib.crc32(key.encode()) for key in frame["key"]], dtype=np.int64)


def chances_of(
    frame: pl.DataFrame, balance: str, weights: str | npt.ArrayLike | None
) -> tuple[npt.NDArray[np.float64], Positions | None] | None:
    """The weight of each row, float64 [n], and its group, int64 [n], where the values of a column
    share the weight equally; else what a column or an array gives, and None. None for neither.
    Raises BadUsage for what is no weights."""
    if balance and weights is not None:
        raise BadUsage("balance and weights both say how often samples occur: give one of them.")
    if balance:
        column = _numbered(frame, balance)[balance]
        if isinstance(column.dtype, pl.List):
            raise BadUsage(f"The column {balance} holds several values a sample: balance another.")
        groups = column.rank("dense").fill_null(0).to_numpy().astype(np.int64)
        return 1.0 / np.bincount(groups)[groups], groups
    if weights is None:
        return None
    given = _numbered(frame, weights)[weights] if isinstance(weights, str) else np.asarray(weights)
    if isinstance(given, pl.Series):
        if not given.dtype.is_numeric():
            raise BadUsage(f"The column {weights!r} holds no numbers: it cannot give the weights.")
        given = given.cast(pl.Float64).fill_null(0.0).to_numpy()
    try:
        chances = given.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise BadUsage(f"Weights are numbers, one for each sample: {error}.") from error
    if chances.shape != (frame.height,):
        raise BadUsage(f"Give {frame.height} weights, one for each sample, not {chances.shape}.")
    if not np.isfinite(chances).all() or (chances < 0).any() or not chances.any():
        raise BadUsage("Weights are finite numbers, 0 or more, and not all 0.")
    return chances, None


# Choosing rows of an index: plain values, and one SQL condition that can only read its columns.


def mask_of(
    frame: pl.DataFrame, where: str = "", equals: Mapping[str, Any] | None = None
) -> npt.NDArray[np.bool_]:
    """Which rows fulfil all the conditions, one truth value per row.

    `equals` maps columns to a value or several, of which a row must have one: text is compared
    without regard to case; a column of lists must hold one of them. `where` is one SQL condition
    over the columns, as polars understands it; it does not hold where it asks of an unknown value,
    which `IS NULL` finds. Raises BadUsage, one sentence, for an unknown column, a value that no row
    has, and a condition that cannot be understood.
    """
    mask = np.ones(frame.height, dtype=bool)
    for column, wanted in (equals or {}).items():
        mask &= _equal(frame, column, _several(wanted))
    if where:
        mask &= rows_where(frame, where)
    return mask


def _several(wanted: Any) -> list[Any]:
    several = isinstance(wanted, Collection) and not isinstance(wanted, str)
    return list(wanted) if several else [wanted]


def _equal(frame: pl.DataFrame, column: str, values: list[Any]) -> npt.NDArray[np.bool_]:
    if column not in frame.columns:
        near = nearest_column(column, frame.columns)
        hint = f"did you mean {near}?" if near else f"there are {shown_columns(frame)}."
        if RENAMED.get(column) in frame.columns:
            hint = f"it is called {RENAMED[column]} since format {NUMBER}."
        raise BadUsage(f"The index has no column {column!r}: {hint}")
    series = frame[column]
    if isinstance(series.dtype, (pl.Categorical, pl.Enum)):  # as pandas writes repeated text
        series = series.cast(pl.String)
    if isinstance(series.dtype, pl.List):
        inner = pl.element().str.to_lowercase() if series.dtype.inner == pl.String else pl.element()
        series = series.list.eval(inner)
        hits = [series.list.contains(_folded(value)) for value in values]
    else:
        if series.dtype == pl.String:
            series = series.str.to_lowercase()
        elif any(isinstance(value, str) for value in values):
            raise BadUsage(f"The column {column} holds no text: compare it with a number.")
        hits = [series == _folded(value) for value in values]
    for value, hit in zip(values, hits, strict=True):
        if not hit.any():
            known = _known_values(frame[column], value)
            other = {"artwork_genre": "track_genre", "track_genre": "artwork_genre"}.get(column)
            if other in frame.columns and _folded(value) in frame[other].str.to_lowercase():
                known = f"it is a value of {other}."
            raise BadUsage(f"No sample has {column} {value!r}: {known}")
    mask = np.zeros(frame.height, dtype=bool)
    for hit in hits:
        mask |= hit.fill_null(False).to_numpy()
    return mask


def _folded(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _known_values(series: pl.Series, value: Any) -> str:
    flat = series.explode() if isinstance(series.dtype, pl.List) else series
    known = [str(item) for item in flat.drop_nulls().unique().sort() if item != ""]
    if not known:
        return "nothing is known there."
    near = nearest(str(value), known)
    if near:
        some = [part.strip() for part in str(value).split(",")]
        listed = len(some) > 1 and bool(set(some) & set(known))
        return f"did you mean {near!r}?{' Give one value at a time.' if listed else ''}"
    more = ", …" if len(known) > 12 else ""
    return f"there are {', '.join(known[:12])}{more}."


# Opening: a folder or an address of shards, a view, or a list of ids.

VIEW = b"artsound_view"  # the parquet metadata key under which a view states where its shards are


def open_shards(
    location: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str] = "",
    storage_options: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Dataset:
    """The dataset at a place: what `artsound.open` calls, with the same arguments."""
    place = os.fspath(location)
    connect = partial(open_store, storage_options=storage_options, headers=headers)
    if place.endswith(".parquet") and "://" not in place:
        return _open_view(Path(place), os.fspath(source), connect)
    if place.endswith(".npy") and "://" not in place:
        return _open_ids(Path(place), os.fspath(source), connect)
    store = connect(place)
    value = read_shard_index(store)
    return _dataset(store, value, open_index(store, value))


def open_pairs(
    location: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> Dataset:
    """As `open_shards`, for what needs artworks and tracks.

    Raises:
        BadData: As `open_shards`, and where the samples are not those of an ArtSound release.
    """
    data = open_shards(location, storage_options=storage_options)
    if missing := [name for name in index_columns() if name not in data.columns]:
        raise BadData(
            f"The index of {data.store.location} has no {missing[0]}: it is no release of ArtSound."
        )
    return data


def _open_view(path: Path, source: str, connect: Callable[[str], Store]) -> Dataset:
    if not path.is_file():
        raise BadUsage(f"There is no view {path}: `artsound subset … --out {path}` makes one.")
    about = _about_view(path)
    store, value = _source_of(path, "view", source or about["source"], connect, near=not source)
    if value["index_sha256"] != about["index_sha256"]:
        raise BadData(
            f"The shards at {store.location} changed since the view {path} was made: make it again."
        )
    table = IndexTable(path.read_bytes(), str(path))
    data = _dataset(store, value, table, str(path))
    return replace(data, asked=tuple(map(str, about["query"])))


def _open_ids(path: Path, source: str, connect: Callable[[str], Store]) -> Dataset:
    """The samples listed in a .npy file, whose .json, beside it, says where they are."""
    if not path.is_file():
        raise BadUsage(f"There is no list {path}: `artsound subset … --out {path}` makes one.")
    beside = path.with_suffix(".json")
    query: list[str] = []
    near = not source
    if near:
        try:
            about = parse_json(beside.read_bytes())
            source, query = str(about["source"]), [str(one) for one in about["query"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadUsage(
                f"{path} is opened with the shards that {beside.name} beside it names, but that "
                "file is missing or damaged: give the folder of the shards as source."
            ) from error
    try:
        listed = read_array(path).ravel().tolist()
    except (OSError, ValueError) as error:
        raise BadData(f"{path} holds no list of ids: {error}.") from error
    keys = [_key(one) for one in listed]
    store, value = _source_of(path, "list", source, connect, near=near)
    whole = _dataset(store, value, open_index(store, value))
    if missing := [key for key in keys if key not in whole]:
        raise BadData(
            f"{whole.store.location} has no sample {min(missing)}, which {path} lists: "
            "make the list again."
        )
    chosen = whole.pick([whole.position(key) for key in keys])
    return replace(chosen, asked=tuple(query) or (f"the {len(keys)} ids of {path}",))


def _source_of(
    path: Path, what: str, place: str, connect: Callable[[str], Store], *, near: bool
) -> tuple[Store, dict[str, Any]]:
    """The shards that a file refers to, and their index.json.

    With `near`, a relative place starts from the file's folder.
    """
    if near and "://" not in place:
        place = os.path.normpath(path.absolute().parent / place)
    try:
        store = connect(place)
        return store, read_shard_index(store)
    except ArtSoundError as error:
        raise BadData(
            f"The shards of the {what} {path} cannot be opened ({error}); "
            "if they moved, give their place as source."
        ) from error


def _about_view(path: Path) -> dict[str, Any]:
    try:
        about = json.loads((pq.read_schema(path).metadata or {})[VIEW])
        return {name: about[name] for name in ("source", "index_sha256", "query")}
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise BadData(f"{path} is not a view made by `artsound subset`.") from error


def _dataset(store: Store, value: dict[str, Any], table: IndexTable, place: str = "") -> Dataset:
    """The dataset of an index, of which every offset is checked; `place` names it in errors."""
    places = table.some(place_columns(table.columns))
    check_pointers(places, shards_of(value), place or f"{store.location}/{INDEX}")
    return Dataset(
        store=store,
        name=value["name"],
        index_sha256=value["index_sha256"],
        format=value["format"],
        shards=shards_of(value),
        table=table,
        locations=locations_of(places, shards_of(value), ours=is_ours(table.columns)),
        rows=np.arange(table.height),
    )


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Samples of a set of shards, all or some, in the order of the shards. Immutable.

    It is a map-style dataset of torch: samples are read in worker processes of any start method,
    since reading uses no data frame (polars does not survive a fork).

        data = artsound.open("out/shards").split("train").filter(track_genre="Jazz")
        len(data), data.columns, data.frame      # what is known of the samples
        data[0], data["000002"], data[10:20]     # one decoded sample, or a smaller dataset
        data.stream(batch_size=16)               # for training

    Attributes:
        store: Where the shards are.
        name: The release's name.
        index_sha256: Digest of the index, hexadecimal.
        format: Format of the release, as index.json has it; the index has today's names always.
        shards: All shards of the release.
        table: One row for every sample of the shards.
        locations: The positions of all of them in the shards.
        rows: Which of them this dataset holds, int64, ascending; a sample may occur repeatedly.
        asked: The conditions that led here, as text.
        joined: Datasets whose members are added to the samples: see `join`.
    """

    store: Store
    name: str
    index_sha256: str
    format: str
    shards: tuple[Shard, ...]
    table: IndexTable
    locations: SampleLocations
    rows: npt.NDArray[np.int64]
    asked: tuple[str, ...] = ()
    joined: tuple[Dataset, ...] = ()

    def __repr__(self) -> str:
        """`Dataset('artsound', 79 pairs, 6 shards, train 63, val 8, test 8)`."""
        frame = self._some("split", "shard")
        counts = dict(frame["split"].value_counts().iter_rows())
        splits = [*SPLITS, *sorted(set(counts) - set(SPLITS))]
        return "Dataset({})".format(
            ", ".join(
                [
                    repr(self.name),
                    counted(len(self), "pair" if is_ours(self.columns) else "sample"),
                    counted(frame["shard"].n_unique(), "shard"),
                    *(f"{split} {counts[split]:,}" for split in splits if split in counts),
                ]
            )
        )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def index(self) -> pl.DataFrame:
        """One row for every sample of the shards, of which these may be a part."""
        return self.table.frame

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The index rows of these samples: every field, with shard, offsets and sizes."""
        return self.index if self._whole else self.index[self.rows]

    def _some(self, *names: str) -> pl.DataFrame:
        """The index rows of these samples, only some columns: no others have to be read.

        All columns if one of those does not exist, for an error that names them.
        """
        if not set(names) <= set(self.columns):
            return self.frame
        some = self.table.some(names)
        return some if self._whole else some[self.rows]

    @cached_property
    def _whole(self) -> bool:
        """Whether these are all samples, each once."""
        return len(self) == self.table.height and bool((np.diff(self.rows) > 0).all())

    @property
    def columns(self) -> list[str]:
        """The names of the fields known of every sample, for `filter` and `frame`."""
        return list(self.table.columns)

    def to_pandas(self) -> pandas.DataFrame:
        """The index rows of these samples as a pandas DataFrame, one row a sample.

        Raises:
            BadUsage: pandas is not installed.
        """
        try:
            import pandas  # noqa: F401
        except ModuleNotFoundError as error:
            raise BadUsage(f"This needs pandas: {install_command(package='pandas')}") from error
        return self.frame.to_pandas()

    def split(self, name: str) -> Dataset:
        """The samples of one split, none when it is empty; BadUsage when there is no such split."""
        mask = self._some("split")["split"] == name
        if name not in SPLITS and not mask.any():
            raise BadUsage(f"There is no split {name!r}: choose one of {', '.join(SPLITS)}.")
        return self.pick(np.flatnonzero(mask.to_numpy()), f"split={name!r}")

    def filter(self, where: str = "", **equals: Any) -> Dataset:
        """The samples that fulfil all conditions.

            data.filter(artwork_style="Cubism", track_genre=["Jazz"], where="artwork_year < 1930")

        Keywords are columns with the value or values wanted; `where` is a SQL condition. Raises
        BadUsage, one sentence, for an unknown column or value or a bad condition.
        """
        named = [name for name in self.columns if name in where or name in equals]
        try:
            mask = mask_of(self._some("key", *named, *equals), where, equals)
        except BadUsage:
            mask = mask_of(self.frame, where, equals)  # whose message names all columns
        asked = [f"{name}={value!r}" for name, value in equals.items()] + [where] * bool(where)
        return self.pick(np.flatnonzero(mask), *asked)

    def rights(self, policy: str) -> Dataset:
        """The samples both sides of which a policy of `artsound.rights.POLICIES` allows."""
        return self if policy == "any" else self.filter(policy_condition(policy))

    def top(self, count: int) -> Dataset:
        """The `count` samples of highest score."""
        return self.pick(best(self._some("key", "score"), count), f"top {count} by score")

    def sample(self, count: int, *, seed: int = 0, by: str = "") -> Dataset:
        """`count` samples drawn by chance; with `by`, each value of that column keeps its share."""
        asked = f"sample {count} with seed {seed}" + (f", by {by}" if by else "")
        return self.pick(drawn(self._some("key", *[by] * bool(by)), count, seed=seed, by=by), asked)

    def cap(self, column: str, most: int) -> Dataset:
        """At most `most` samples for each value of a column, those of highest score."""
        return self.pick(
            capped(self._some("key", "score", column), column, most), f"at most {most} per {column}"
        )

    def without(self, keys: Collection[Any]) -> Dataset:
        """The samples whose keys, or track ids, are not in `keys`."""
        return self.pick(without(self._some("key"), keys), f"without {len(keys)} listed samples")

    def pick(self, positions: npt.ArrayLike, *asked: str) -> Dataset:
        """The samples at some positions, in the order of the shards.

        Args:
            positions: Positions from 0; a sample whose position is given n times occurs n times.
            *asked: The reason, as text.

        Raises:
            BadUsage: There is no such position.
        """
        given = np.asarray(positions)
        if given.size and given.dtype.kind not in "iu":
            raise BadUsage(f"Positions are whole numbers, not {given.dtype}.")
        chosen = np.sort(given.astype(np.int64), axis=None)
        if chosen.size and not 0 <= chosen[0] <= chosen[-1] < len(self):
            raise BadUsage(f"A position lies outside 0..{len(self) - 1}.")
        return replace(self, rows=self.rows[chosen], asked=(*self.asked, *asked))

    def read(self, position: int) -> dict[str, Any]:
        """The sample at `position`: {"key": str, "jpg": bytes, "mp3": bytes, "json": dict}.

        Members other than .json are the bytes in the shard. Raises IndexError, or BadData when
        the bytes are unavailable or belong to another sample.
        """
        number = _checked(position, len(self))
        sample: dict[str, Any] = {}
        for layer in self.layers:
            sample |= layer.read(number)
        return sample

    @overload
    def __getitem__(self, which: int | str) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, which: slice) -> Dataset: ...

    def __getitem__(self, which: int | str | slice) -> dict[str, Any] | Dataset:
        """One decoded sample, or with a slice the dataset of those samples.

        Args:
            which: A position, from the end where negative; a key; or a slice, whose step must be
                positive since a dataset keeps the order of the shards.

        Returns:
            The sample's fields, `image` (uint8 [height, width, 3], sRGB) and `audio` (float32
            [n], mono, −1..1, at `sample_rate` Hz); or a Dataset.

        Raises:
            IndexError: There is no such position.
            KeyError: There is no such key.
            BadUsage: The slice has a negative step.
            BadData: The sample is damaged.
        """
        if isinstance(which, slice):
            start, stop, step = which.indices(len(self))
            if step < 0:
                raise BadUsage("A dataset keeps the order of the shards: give a positive step.")
            return self.pick(range(start, stop, step), f"samples {start} to {stop} by {step}")
        from artsound.shards.decode import Decode, decode

        position = self.position(which) if isinstance(which, str) else which
        return decode(self.read(position), Decode())

    def __contains__(self, key: object) -> bool:
        """Whether one of these samples has that key."""
        return key in self._positions

    def position(self, key: str) -> int:
        """The position of the sample with a key.

        Raises:
            KeyError: There is none.
        """
        try:
            return self._positions[key]
        except KeyError:
            raise KeyError(f"{self.store.location} has no sample {key!r} among these") from None

    @cached_property
    def _positions(self) -> Mapping[str, int]:
        keys = self.pointers.keys.tolist()
        return {key: position for position, key in reversed(list(enumerate(keys)))}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[position] for position in range(len(self)))

    @cached_property
    def pointers(self) -> SampleLocations:
        """Where the bytes of these samples lie."""
        return self.locations if self._whole else self.locations.take(self.rows)

    @cached_property
    def layers(self) -> tuple[SampleSource, ...]:
        """Where all members of these samples lie, those of joined datasets included."""
        layers = [SampleSource(self.store, self.pointers)]
        for other in self.joined:
            rows = other.pointers.rows_of(self.pointers.keys, other.store.location)
            layers.append(SampleSource(other.store, other.pointers.take(rows)))
        return tuple(layers)

    def join(self, other: Dataset) -> Dataset:
        """These samples with the members that `other` has under the same keys, such as latents.

        Raises BadUsage when both have a member of one name, BadData (when samples are read) for a
        key that `other` lacks or has twice.
        """
        both = set(extensions(self.columns)) & set(extensions(other.columns))
        if both:
            raise BadUsage(f"Both datasets have a .{min(both)} for a sample: join others.")
        return replace(self, joined=(*self.joined, other))

    def stream(
        self,
        *,
        batch_size: int = 0,
        shuffle: bool = True,
        seed: int = 0,
        repeat: bool = False,
        epoch: int | None = None,
        epoch_size: int = 0,
        balance: str = "",
        weights: str | npt.ArrayLike | None = None,
        drop_last: bool = False,
        pad: bool = False,
        rank: int | None = None,
        ranks: int | None = None,
        decode: Decode | Mapping[str, Any] | None = None,
        transform: Callable[[Sample], Any] | None = None,
        collate: Callable[[list[Any]], Any] | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        lanes: int = 16,
        window: int = 256,
        ahead: int = 16,
        threads: int = 8,
        cache: str | os.PathLike[str] = "",
        cache_bytes: int = 0,
        dense: float = 0.5,
    ) -> Stream:
        """A torch IterableDataset of these samples, for training; see `Stream`.

        Args:
            batch_size: Samples in a batch; 0 gives the samples one by one.
            shuffle: Walk the samples in the order that seed and epoch fix, not that of the shards.
            seed: Fixes that order and every random draw.
            repeat: Continue with the next epoch for ever.
            epoch: The epoch of the first pass; by default 0.
            epoch_size: Samples in an epoch; by default all. A shorter epoch is continued by the
                next one, a longer one repeats samples, each equally often to within one.
            balance: A column: each of its values fills the same share of an epoch.
            weights: The chance of each sample relative to the others: a column of numbers, or one
                number for each sample. A sample of the share w of all weights occurs ⌊N·w⌋ or
                ⌈N·w⌉ times in an epoch of N samples. With weights or balance the shuffled order
                does not keep to a few shards at a time.
            drop_last: Leave out the samples at the end of an epoch that fill no batch.
            pad: For evaluation: fill up the last batches, so that every rank has as many full ones
                and every sample occurs. `mask` in a batch, bool [B], is true for each sample
                once, and false for what fills up.
            rank: This process's number among those that share the samples; by default that of
                torch.distributed, else of the environment variable RANK, else 0, asked for when
                iteration begins.
            ranks: How many processes share them; by default likewise, from WORLD_SIZE.
            decode: What a decoded sample looks like, a `Decode` or a dict of its fields; None
                leaves the members' bytes.
            transform: Applied to each sample in the process or thread that has read it. The sample
                has a field `draw`, 64 random bits fixed by seed, epoch and key: a random choice
                made from it alone is the same after a resume and with any number of workers. None
                drops the sample: the next in the order takes its place.
            collate: Makes a batch of a list of samples; by default
                `artsound.shards.stream.collate`.
            on_error: "raise" BadData for a damaged sample, or "skip" it: it is logged, and the next
                good one takes its place, so that no rank falls behind. A server that cannot be
                reached is an error in any case.
            lanes: Stretches of the shuffled shards that are read side by side.
            window: Samples of a lane that are shuffled together.
            ahead: Samples fetched in advance.
            threads: Fetch that many samples at once over a network.
            cache: A folder in which whole remote shards are cached; shared by all processes.
            cache_bytes: The most bytes it may take.
            dense: Cache a shard of which at least this share of its bytes is wanted.

        Returns:
            The stream; iterate over `stream.loader(workers=N)` or `stream.loader(threads=N)`.

        Raises:
            BadUsage: An option has an impossible value, there are no samples, or torch is not
                installed.
        """
        try:
            from artsound.shards.stream import open_stream
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise BadUsage(f"Streams need torch: {install_command(package='torch')}") from error
        return open_stream(
            [self],
            chances=self._chances(balance, weights),
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            repeat=repeat,
            epoch=epoch,
            epoch_size=epoch_size,
            drop_last=drop_last,
            pad=pad,
            rank=rank,
            ranks=ranks,
            decode=decode,
            transform=transform,
            collate=collate,
            on_error=on_error,
            lanes=lanes,
            window=window,
            ahead=ahead,
            threads=threads,
            cache=cache,
            cache_bytes=cache_bytes,
            dense=dense,
        )

    def _chances(
        self, balance: str, weights: str | npt.ArrayLike | None
    ) -> tuple[npt.NDArray[np.float64], Positions | None] | None:
        column = balance or weights
        named = [column] if isinstance(column, str) and column else []
        return chances_of(self._some("key", *named), balance, weights)

    def webdataset(
        self,
        *,
        decode: Decode | Mapping[str, Any] | None = None,
        shuffle: int = 0,
        seed: int = 0,
    ) -> WebPipeline:
        """A webdataset pipeline of these samples, for code that is written for webdataset.

            pipeline = data.split("train").webdataset(decode={"image_size": 256}, shuffle=1000)
            loader = webdataset.WebLoader(pipeline.batched(16), batch_size=None, num_workers=4)

        Only the shards and bytes of this dataset's samples are read. Nodes and workers share the
        shards, so that there should be at least as many of these; what holds of them, and how an
        epoch is resumed, is webdataset's affair: `stream` counts exactly.

        Args:
            decode: What a decoded sample looks like, a `Decode` or a dict of its fields; None
                leaves the members' bytes for webdataset's own `decode`.
            shuffle: Shuffle the shards, and samples in a buffer of so many; 0 keeps their order.
                Each pass has another order, as long as the worker processes live.
            seed: Fixes the order.

        Returns:
            A `webdataset.DataPipeline` with the methods of `webdataset.WebDataset`. A sample is a
            dict with `__key__`, `__url__` and its members, or its decoded fields.

        Raises:
            BadUsage: An option has an impossible value.
        """
        from artsound.shards.decode import decode_options
        from artsound.shards.web_pipeline import web_pipeline

        decoding = decode_options(decode)
        return web_pipeline(self.layers, decoding=decoding, shuffle=shuffle, seed=seed)


def _checked(position: int, length: int) -> int:
    place = operator.index(position)  # raises TypeError for what is no whole number
    if not -length <= place < length:
        raise IndexError(f"sample {place} of {length}")
    return place % length
