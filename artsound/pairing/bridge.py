"""A bridge puts both sides into one space, as unit rows whose dot product scores a pair.

A bridge is one object (`Bridge`) in a file of its own, found by name in the registry. It reads its
inputs from a `BridgeContext`: the vectors of the encoders that the recipe names for each role,
embedded texts, captions and measured descriptors.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from artsound import plugins
from artsound.catalogue import SIDES, SideName
from artsound.encoders.base import (
    Needs,
    bridges_of,
    embedding_folder,
    encoder_digest,
    load_embeddings,
    open_encoder,
)
from artsound.encoders.batching import one_torch_thread
from artsound.errors import ArtSoundError, BadData
from artsound.pairing.imported_pairs import imported_pairs
from artsound.pairing.rows import check_vectors
from artsound.pairing.splits import PairSide, split_catalogue
from artsound.recipe import Recipe
from artsound.stage import Context
from artsound.storage import atomic_write, digest, read_json, read_parquet, sha256_file
from artsound.untrusted import read_array

Vectors = tuple[list[str], np.ndarray]
Rows = tuple[list[str], np.ndarray, list[str], np.ndarray]


class BridgeContext:
    """The parts of a build that a bridge may read.

    Attributes:
        workspace: The build's folders.
        recipe: The build's recipe; `recipe.embed` names the encoder of each role.
        name: The bridge's name in the recipe.
        argument: The text after a colon in the name; "" without one.
    """

    def __init__(self, context: Context, name: str, argument: str | None = None) -> None:
        self.workspace, self.recipe, self.name = context.workspace, context.recipe, name
        self.argument = plugins.find("bridge", name)[1] if argument is None else argument
        self._context = context
        self._some: frozenset[str] | None = None

    def for_items(self, ids: Collection[str]) -> BridgeContext:
        """The same build with the vectors and descriptors of some items only.

        Rows made from them are those of the whole build only where a row depends on its item alone.
        """
        other = copy.copy(self)
        other._some = frozenset(ids)
        return other

    def of(self, name: str) -> BridgeContext:
        """The same build for another bridge, which this one is made of."""
        other = copy.copy(self)
        other.name, other.argument = name, plugins.find("bridge", name)[1]
        return other

    def image_vectors(self) -> Vectors:
        """Ids of the artworks and their rows float32 [n, D] by the image encoder."""
        return self.vectors(self.recipe.embed.image_encoder, "artworks")

    def audio_vectors(self) -> Vectors:
        """Ids of the tracks and their rows float32 [n, D] by the audio encoder."""
        return self.vectors(self.recipe.embed.audio_encoder, "tracks")

    def vectors(self, encoder: str, side: SideName) -> Vectors:
        """Ids of a side and their unit rows float32 [n, D] by an encoder.

        Raises:
            BadData: They are missing, broken or not of length one.
        """
        ids, rows = self._load(encoder, side)
        rows = np.asarray(rows, dtype=np.float32)
        check_vectors(rows, ids, side)
        return ids, rows

    def descriptors(self, side: SideName) -> Vectors:
        """Ids of a side and their measured descriptors float32 [n, D] (encoders/descriptors.py)."""
        return self._load("affect", side)

    def _load(self, encoder: str, side: SideName) -> Vectors:
        ids, rows = load_embeddings(self.workspace, encoder, side)
        if self._some is None:
            return ids, rows
        chosen = [n for n, name in enumerate(ids) if name in self._some]
        return [ids[n] for n in chosen], rows[chosen]

    def train_ids(self, side: SideName) -> list[str]:
        """The ids of a side's items in the train split, which fits are made of.

        Empty in a workspace without a catalogue, such as one of vectors made elsewhere.
        """
        # The last file of the catalogue that ingest writes.
        if not (self.workspace.catalog / "rejects.parquet").is_file():
            return []
        if self.recipe.pair.given:
            pairs = imported_pairs(self._context).of("train")
            return sorted({getattr(pair, SIDES[side].key) for pair in pairs})
        both: PairSide = getattr(split_catalogue(self._context), side)
        return [both.ids[n] for n in both.of("train")]

    def catalogue_column(self, side: SideName, column: str) -> dict[str, Any]:
        """A column of a side's catalogue by item id; empty in a workspace without a catalogue."""
        path = self.workspace.catalog / f"{side}.parquet"
        if not path.is_file():
            return {}
        table = read_parquet(path, SIDES[side].name, [SIDES[side].key, column])
        if self._some is not None:
            frame = pl.DataFrame(pl.from_arrow(table))
            table = frame.filter(pl.col(SIDES[side].key).is_in(sorted(self._some))).to_arrow()
        return dict(zip(*(values.to_pylist() for values in table.columns), strict=True))

    def encoder_digest(self, encoder: str) -> str:
        """The digest of an encoder with the recipe's settings; raises if weights are missing."""
        return encoder_digest(encoder, self.recipe)

    def captions(self, side: SideName, ids: Sequence[str]) -> list[str]:
        """The captions of these items; BadData if one has none yet."""
        path = self.workspace.captions / f"{side}.parquet"
        remedy = f"run `artsound caption --bridge {self.name}` before `artsound pair`"
        if not path.is_file():
            raise BadData(f"The bridge {self.name} needs {path}, which is missing: {remedy}.")
        table = read_parquet(path, "caption", ["item_id", "caption"])
        captions = dict(zip(*(column.to_pylist() for column in table.columns), strict=True))
        if missing := [name for name in ids if name not in captions]:
            raise BadData(
                f"{path} has no caption for {missing[0]} ({len(missing)} in all): {remedy}."
            )
        return [captions[name] for name in ids]

    def captions_digest(self) -> list[str]:
        """The digests of both sides' captions, for the inputs of a bridge that uses them."""
        files = [self.workspace.captions / f"{side}.parquet" for side in SIDES]
        return [sha256_file(path) if path.is_file() else "" for path in files]

    def texts(self, encoder: str, texts: Sequence[str]) -> np.ndarray:
        """Embed texts, once for each workspace.

        Returns:
            Unit rows float32 [n, D].

        Raises:
            BadData: The encoder embedded the items with other weights or another precision than
                the recipe has now.
        """
        made_by = self._made_by(encoder)
        key = digest([encoder, made_by, list(texts)])
        path = self.workspace.parts / "pair" / f"texts-{key}.npy"
        return self._context.once(
            f"texts {key}", lambda: self._read_or_embed(encoder, made_by, texts, path)
        )

    def _read_or_embed(
        self, encoder: str, made_by: str, texts: Sequence[str], path: Path
    ) -> np.ndarray:
        if path.is_file():
            return _read(path, len(texts))
        opened = open_encoder(encoder, self.recipe)
        if opened.digest != made_by:
            raise BadData(
                f"{embedding_folder(self.workspace, encoder)} was made with other weights or "
                "another precision than [embed] of the recipe has now: run `artsound embed` again."
            )
        with one_torch_thread():
            rows = np.asarray(opened.texts(texts), dtype=np.float32)
        check_vectors(rows, list(range(len(texts))), f"texts of {encoder}")
        with atomic_write(path) as file:
            np.save(file, rows, allow_pickle=False)
        return rows

    def _made_by(self, encoder: str) -> str:
        """The digest of the encoder that embedded the items, else of the one in the recipe."""
        for side in SIDES:
            path = embedding_folder(self.workspace, encoder) / f"{side}.json"
            if path.is_file():
                names = read_json(path)
                return str(names.get("digest")) if isinstance(names, dict) else ""
        return self.encoder_digest(encoder)


class Bridge(Protocol):
    """What a bridge must have.

    The first line of its docstring is what `artsound plugins` shows. A bridge that is fitted to a
    build may also have `saved(build)`: the fit as a JSON object, which fits.json of pairs/ and of
    the release hold under its name; one of measurements with errors, `measured_again(build, seed)`:
    its rows if all were measured again. One whose columns have a meaning,
    `dimensions(build)`: a name for each column, where two columns of one name are the cosine and
    sine of an axis; `artsound why` shows their shares of a score. One made of other bridges,
    `parts(argument)`: their names.

    Attributes:
        name: The name in a recipe.
        version: Text; changed whenever the same inputs would give other rows.
    """

    name: str
    version: str

    def needs(self, recipe: Recipe, argument: str) -> Needs:
        """The inputs it needs; BadUsage for an argument that it cannot use."""
        ...

    def inputs(self, build: BridgeContext) -> Any:
        """What it depends on beside the recipe and all vectors: a JSON value, "" for nothing.

        Raises as `rows` does, as far as that is known before anything is computed.
        """
        ...

    def rows(self, build: BridgeContext) -> Rows:
        """Compute both sides.

        Returns:
            Artwork ids, their unit rows float32 [nA, D], track ids, their unit rows [nT, D].

        Raises:
            BadUsage: This build cannot use the settings.
            BadData: Vectors or captions are missing or broken.
        """
        ...


def bridge_rows(name: str, context: Context) -> Rows:
    """Compute both sides by a bridge; of another package, its result is checked.

    Returns:
        Artwork ids, their unit rows float32 [nA, D], track ids, their unit rows [nT, D].

    Raises:
        BadUsage: There is no such bridge, or this build cannot use it.
        BadData: Vectors are missing, or a bridge of another package fails or returns wrong values.
    """
    return rows_in(BridgeContext(context, name))


def rows_in(build: BridgeContext) -> Rows:
    """`bridge_rows` of the bridge that `build` is for."""
    name = build.name
    plugin, _ = plugins.get("bridge", name)
    if plugins.find("bridge", name)[0].built_in:
        rows: Rows = plugin.rows(build)
        return rows
    try:
        return _checked(name, plugin.rows(build))
    except ArtSoundError:
        raise
    except Exception as error:  # whatever another package raises
        raise BadData(f"The bridge {name} failed: {type(error).__name__}: {error}.") from error


def bridge_inputs(name: str, context: Context) -> Any:
    """What a bridge depends on beside recipe and embeddings: a JSON value, "" for nothing.

    For one that is not built in, this includes its package and version. Raises as `bridge_rows`
    does, as far as that is known before anything is computed.
    """
    return inputs_in(BridgeContext(context, name))


def inputs_in(build: BridgeContext) -> Any:
    """`bridge_inputs` of the bridge that `build` is for."""
    name = build.name
    plugin, _ = plugins.get("bridge", name)
    found = plugin.inputs(build)
    made_by = plugins.identity("bridge", name)
    if not made_by and plugin.version == "1":
        return found
    return {"inputs": found, "bridge": plugin.version, **made_by}


def saved_fits(context: Context) -> dict[str, Any]:
    """The fits of the recipe's bridge, or of its parts, by name, as JSON values."""
    return saved_in(BridgeContext(context, context.recipe.pair.bridge))


def saved_in(build: BridgeContext) -> dict[str, Any]:
    """`saved_fits` of the bridge that `build` is for."""
    plugin, _ = plugins.get("bridge", build.name)
    fits: dict[str, Any] = {}
    if parts := getattr(plugin, "parts", None):
        for name in parts(build.argument):
            fits |= saved_in(build.of(name))
    if (save := getattr(plugin, "saved", None)) and (fit := save(build)):
        fits[plugin.name] = fit
    return fits


def vector_inputs(context: Context) -> tuple[str, dict[str, Any]]:
    """The digest of all vectors, and what each bridge depends on beside them."""
    workspace = context.workspace
    vectors = digest(
        {
            workspace.relative(path): sha256_file(path)
            for path in sorted(workspace.embeddings.glob("*/*"))
            if path.suffix in (".json", ".npy")
        }
    )
    return vectors, {name: bridge_inputs(name, context) for name in bridges_of(context.recipe)}


def measured_again_in(build: BridgeContext, seed: int) -> Rows | None:
    """The rows of the build's bridge with errors of measurement; None if it knows of none."""
    again = getattr(plugins.get("bridge", build.name)[0], "measured_again", None)
    found: Rows | None = again(build, seed) if again is not None else None
    return found


def vectors_measured_again(
    context: Context, track_ids: list[str], artwork_ids: list[str]
) -> tuple[np.ndarray, np.ndarray] | None:
    """`unit_vectors` of the recipe's bridge with random errors of measurement, from the seed.

    None for a bridge that does not know how large its errors are.
    """
    name, seed = context.recipe.pair.bridge, context.recipe.seed
    again: Rows | None = context.once(
        f"bridge {name} again",
        lambda: measured_again_in(BridgeContext(context, name), seed),
        sorted(path for path in context.workspace.embeddings.glob("*/*") if path.suffix == ".npy"),
    )
    if again is None:
        return None
    all_artworks, a, all_tracks, t = again
    return (
        _take(t, all_tracks, track_ids, "track"),
        _take(a, all_artworks, artwork_ids, "artwork"),
    )


def unit_vectors(
    context: Context,
    name: str,
    track_ids: list[str],
    artwork_ids: list[str],
) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of some tracks and artworks by a bridge.

    Returns:
        Unit rows float32 of the tracks [n, D] and of the artworks [m, D], in the ids' order.

    Raises:
        BadUsage: As `bridge_rows`.
        BadData: As `bridge_rows`; or an item has no vector, or none of length one.
    """
    all_artworks, a, all_tracks, t = context.once(
        f"bridge {name}",
        lambda: bridge_rows(name, context),
        sorted(path for path in context.workspace.embeddings.glob("*/*") if path.suffix == ".npy"),
    )
    check_vectors(a, all_artworks, "artworks")
    check_vectors(t, all_tracks, "tracks")
    return (
        _take(t, all_tracks, track_ids, "track"),
        _take(a, all_artworks, artwork_ids, "artwork"),
    )


def _take(vectors: np.ndarray, ids: Sequence[str], some: Sequence[str], side: str) -> np.ndarray:
    places = pc.index_in(pa.array(some, pa.string()), pa.array(ids, pa.string()))
    if places.null_count:
        missing = some[pc.is_null(places).index(True).as_py()]
        raise BadData(
            f"The {side} {missing} has no vector ({places.null_count} in all): "
            "run `artsound embed`."
        )
    return np.ascontiguousarray(vectors[places.to_numpy()], dtype=np.float32)


def _checked(name: str, rows: Any) -> Rows:
    """The result of a bridge of another package, checked against the contract."""
    what = f"The bridge {name}"
    if not isinstance(rows, tuple) or len(rows) != 4:
        raise BadData(f"{what} must give artwork ids, rows, track ids, rows: correct the plug-in.")
    for ids, vectors, side in ((rows[0], rows[1], "artworks"), (rows[2], rows[3], "tracks")):
        if not isinstance(vectors, np.ndarray) or vectors.dtype != np.float32:
            kind = vectors.dtype if isinstance(vectors, np.ndarray) else type(vectors).__name__
            raise BadData(f"{what} gave {kind} for the {side}, not an array of float32.")
        if not all(isinstance(one, str) for one in ids):
            raise BadData(f"{what} gave ids of the {side} that are not texts: correct the plug-in.")
        try:
            check_vectors(vectors, list(ids), side)
        except BadData as error:
            raise BadData(f"{what}: {error} Correct the plug-in.") from error
    if rows[1].shape[1] != rows[3].shape[1]:
        raise BadData(
            f"{what} gave artworks of {rows[1].shape[1]} and tracks of {rows[3].shape[1]} "
            "dimensions: both sides need one space."
        )
    return rows


def _read(path: Path, count: int) -> np.ndarray:
    try:
        rows = read_array(path)
    except (OSError, ValueError) as error:
        raise BadData(f"{path} cannot be read ({error}): delete it and run again.") from error
    if rows.ndim != 2 or len(rows) != count:
        raise BadData(f"{path} is not what was written there: delete it and run again.")
    return rows
