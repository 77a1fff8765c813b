"""Finding pairs by likeness: to the picture or clip of a pair, to words, or to an uploaded picture.

Likeness is the cosine of two vectors of one encoder: the one that the recipe names for the side
where its vectors are in the build or in the release, else the measured descriptors, standardised.
Of a release on a server the smallest table of vectors is used, and only the column of the side that
is asked for is fetched.
Words need an encoder that takes texts, with the weights that embedded the build. An uploaded
picture is measured, and music fits it as the affect bridge says, which needs no weights.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from artsound import plugins
from artsound.catalogue import SIDES, SideName
from artsound.encoders.base import (
    embedding_folder,
    encoder_digest,
    find_encoder,
    load_embeddings,
    open_encoder,
)
from artsound.encoders.batching import one_torch_thread
from artsound.encoders.descriptors import descriptor_names
from artsound.encoders.measuring import measure_picture
from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.media import MediaError
from artsound.pairing.previous_release import FITS
from artsound.recipe import Recipe, load_recipe
from artsound.reports.art_map import SIDES_OF_MAP, Places, places_of, polygon_of, read_map
from artsound.reports.art_map import within as within_polygon
from artsound.reports.notes import Notes, SavedViews
from artsound.reports.views import Mask, Query
from artsound.shards.beside import EmbeddingTable, embedding_tables
from artsound.shards.dataset import Dataset
from artsound.storage import Workspace, digest, read_json, sha256_bytes, sha256_file
from artsound.untrusted import parse_json

if TYPE_CHECKING:
    from artsound.pairing.affect import AffectBridge

AFFECT = "affect"
LARGEST_PICTURE = 32_000_000  # bytes of an upload
_UPLOADS = 64  # in memory
_ANSWERS = 16
_CUT = 3.0  # deviations at which a descriptor is clipped

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SideVectors:
    """The vectors of a side of some pairs.

    Attributes:
        encoder: Its name.
        rows: float32 [n, D], of length one; NaN where an item has none.
        build: The build that they come from; None: the release's own table.
        made_by: The digest of the encoder that made them; "" where it is not known.
    """

    encoder: str
    rows: Rows
    build: Workspace | None = None
    made_by: str = ""


def vectors_digest(workspace: Workspace, recipe: Recipe) -> str:
    """The digest of the files that `side_vectors` reads; "" where there are none."""
    files = [_encoder_of(workspace, recipe, side)[1] for side in SIDES]
    return digest([sha256_file(path) if path.is_file() else "" for path in files])


def _encoder_of(workspace: Workspace, recipe: Recipe, side: SideName) -> tuple[str, Path]:
    """The encoder of a side whose vectors are compared, and their file."""
    embed = recipe.embed
    for encoder in (embed.image_encoder if side == "artworks" else embed.audio_encoder, AFFECT):
        path = embedding_folder(workspace, encoder) / f"{side}.npy"
        if path.is_file():
            break
    return encoder, path


def side_vectors(
    workspace: Workspace, recipe: Recipe, side: SideName, items: list[str]
) -> SideVectors:
    """The vectors of some items of a build.

    Args:
        workspace: The build.
        recipe: Its recipe.
        side: artworks or tracks.
        items: Their ids.

    Raises:
        BadData: The build has no vectors of the side.
    """
    encoder, path = _encoder_of(workspace, recipe, side)
    ids, matrix = load_embeddings(workspace, encoder, side)
    names = read_json(path.with_suffix(".json"))
    rows = _aligned(ids, matrix, items)
    return SideVectors(encoder, _comparable(encoder, rows), workspace, str(names.get("digest", "")))


def _aligned(ids: list[str], matrix: np.ndarray, items: list[str]) -> Rows:
    """The rows of items float32 [n, D]; NaN for those without any."""
    if ids == items:
        return np.array(matrix, dtype=np.float32)
    numbers = {item: n for n, item in enumerate(ids)}
    places = np.array([numbers.get(item, -1) for item in items], dtype=np.int64)
    if not len(ids):
        return np.full((len(items), matrix.shape[1]), np.nan, dtype=np.float32)
    rows = np.asarray(matrix[np.maximum(places, 0)], dtype=np.float32)
    rows[places < 0] = np.nan
    return rows


def _comparable(encoder: str, rows: Rows) -> Rows:
    """Rows of length one; measured descriptors are standardised first."""
    if encoder == AFFECT and np.isfinite(rows).all(axis=1).any():
        known = rows[np.isfinite(rows).all(axis=1)]
        low, centre, high = np.percentile(known, (5, 50, 95), axis=0)
        scale = (high - low) / 3.29  # the 5–95 % range of a normal distribution, in deviations
        spread = np.where(scale > 1e-6 * np.maximum(np.abs(centre), 1.0), scale, np.inf)
        rows = np.clip((rows - centre) / spread, -_CUT, _CUT).astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Rows = rows / np.maximum(lengths, 1e-12)
    return unit


class Likeness:
    """How near the pairs of a release are to something; reads vectors on first use.

    Args:
        data: The release.
    """

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self._sides: dict[SideName, SideVectors | BadUsage] = {}
        self._places: Places | None = None
        self._tables: dict[str, EmbeddingTable] | None = None
        self._fetched_fit: AffectBridge | None = None
        self._uploads: OrderedDict[str, np.ndarray] = OrderedDict()
        self._answers: OrderedDict[tuple[str, str, str], Rows] = OrderedDict()
        self._words: dict[SideName, bool] = {}
        self._lock = threading.RLock()

    def prepare(self) -> None:
        """Read what queries need from this machine, so that none of them waits."""
        if not self.data.store.is_local:
            return  # it is fetched when it is asked for
        for side in SIDES:
            try:
                self.side(side)
            except ArtSoundError:
                continue  # a query that needs it says so
            self.takes_words(side)
        with contextlib.suppress(ArtSoundError):
            self.places()

    def to_fetch(self) -> int:
        """Bytes of the table that the next likeness fetches from a server, at most; 0 for none.

        Raises:
            BadUsage: The release has no vectors.
        """
        if self.data.store.is_local or len(self._sides) == len(SIDES):
            return 0
        tables = self.tables()
        if not tables:
            raise self._no_vectors("artworks")
        return next(iter(tables.values())).size

    def tables(self) -> dict[str, EmbeddingTable]:
        """The tables of vectors of the release, by encoder, the preferred one first."""
        store = self.data.store
        if self._tables is None or store.is_local:
            names = [AFFECT, *(plugin.name for plugin in plugins.available("encoder"))]
            found = embedding_tables(store, dict.fromkeys(names))
            order = sorted(found.values(), key=lambda one: (
                0 if store.is_local else one.size, one.encoder == AFFECT, one.encoder
            ))  # fmt: skip
            self._tables = {table.encoder: table for table in order}
        return self._tables

    def side(self, side: SideName) -> SideVectors:
        """The vectors of a side; BadUsage if there are none."""
        with self._lock:
            if side not in self._sides:
                try:
                    self._sides[side] = self._read(side, self._items(side))
                except BadUsage as error:
                    self._sides[side] = error
            found = self._sides[side]
        if isinstance(found, BadUsage):
            raise found
        return found

    def takes_words(self, side: SideName) -> bool:
        """Whether words can be compared with a side, as far as is known without a model."""
        if side not in self._words:
            try:
                self._words[side] = self._text_recipe(self.side(side)) is not None
            except ArtSoundError:
                self._words[side] = False
        return self._words[side]

    def known_words(self) -> list[str]:
        """The sides that are known to be searchable by words, as the page names them."""
        return [name for name, side in _BY.items() if self._words.get(side)]

    def scores(self, query: Query) -> Rows | None:
        """How near each pair is to what a query names, -inf for unknown; None if it names none.

        Raises:
            BadUsage: There are no vectors, no such pair or upload, or an encoder lacks its weights.
        """
        words = query.text.strip() if query.by else ""
        if not query.like and not words:
            return None
        name = (query.like, query.by, words)
        with self._lock:
            if name not in self._answers:
                made = self._liked(query.like) if query.like else self._described(query.by, words)
                self._answers[name] = np.where(np.isfinite(made), made, -np.inf).astype(np.float32)
                while len(self._answers) > _ANSWERS:
                    self._answers.popitem(last=False)
            self._answers.move_to_end(name)
            return self._answers[name]

    def upload(self, picture: bytes) -> str:
        """Measure a picture, for `like=file:TOKEN`.

        Args:
            picture: An encoded picture.

        Returns:
            The token, by which the last 64 uploads are known.

        Raises:
            BadUsage: It cannot be decoded, or the release has no affect fit.
        """
        fit = self._fit()
        try:
            values = measure_picture(picture)
        except MediaError as error:
            raise BadUsage(f"This file is no picture that can be read: {error}.") from error
        names = descriptor_names("artwork")
        row = fit.artworks(np.array([[values[name] for name in names]], dtype=np.float32))[0]
        token = sha256_bytes(picture)[:16]
        with self._lock:
            self._uploads[token] = row
            self._uploads.move_to_end(token)
            while len(self._uploads) > _UPLOADS:
                self._uploads.popitem(last=False)
        return token

    def places(self) -> Places:
        """Both maps, uint16 [n, 4]: x and y of the pictures, then of the music.

        From the release, else computed from the vectors.

        Raises:
            BadUsage: There is neither.
        """
        if self._places is None:  # without the lock, which other queries wait for
            keys = self.data.frame["key"].to_list()
            found = read_map(self.data.store, keys)
            if found is None:
                try:
                    sides = [places_of(self.side(side).rows) for side in SIDES]
                except BadUsage as error:
                    raise BadUsage(
                        "This release has no map (map.parquet), which the report stage of "
                        f"`artsound build` writes; and it cannot be computed here. {error}"
                    ) from error
                found = np.concatenate(sides, axis=1)
            self._places = found
        return self._places

    def _items(self, side: SideName) -> list[str]:
        column = "artwork_id" if side == "artworks" else "key"
        items: list[str] = self.data.frame[column].to_list()
        return items

    def _build(self) -> tuple[Workspace, Recipe] | None:
        """The build that contains the shards, if it is there."""
        if not self.data.store.is_local:
            return None
        workspace = Workspace(Path(self.data.store.location).absolute().parent)
        try:
            return workspace, load_recipe(workspace.recipe)
        except ArtSoundError:
            return None

    def _read(self, side: SideName, items: list[str], only: str = "") -> SideVectors:
        build = self._build()
        if build is not None:
            workspace, recipe = build
            try:
                if only:
                    ids, matrix = load_embeddings(workspace, only, side)
                    return SideVectors(only, _aligned(ids, matrix, items), workspace)
                found = side_vectors(workspace, recipe, side, items)
                if np.isfinite(found.rows).any():
                    return found
            except BadData:
                pass  # the release may have them
        for encoder, table in self.tables().items():
            if only not in ("", encoder):
                continue
            if (found_rows := table.read(SIDES[side].name)) is not None:
                rows = _aligned(*found_rows, self.data.frame["key"].to_list())
                return SideVectors(encoder, rows if only else _comparable(encoder, rows))
        raise self._no_vectors(side)

    def _no_vectors(self, side: SideName) -> BadUsage:
        return BadUsage(
            f"There are no vectors of the {side}: browse the shards in the folder of their build, "
            "or set shards.embeddings in the recipe."
        )

    def _liked(self, like: str) -> Rows:
        kind, _, name = like.partition(":")
        if kind == "file":
            return self._fitting(name)
        if kind not in _LIKE:
            raise BadUsage(f"{like[:40]!r} is no likeness: give picture:KEY or music:KEY.")
        if name not in self.data:
            raise BadUsage(f"There is no pair {name[:40]!r} to look for the like of.")
        vectors = self.side(_LIKE[kind]).rows
        own = vectors[self.data.position(name)]
        if not np.isfinite(own).all():
            raise BadUsage(f"The {kind} of pair {name[:40]} has no vector: embed it first.")
        found: Rows = vectors @ own
        return found

    def _fitting(self, token: str) -> Rows:
        """How well each track fits an uploaded picture."""
        if token not in self._uploads:
            raise BadUsage("This picture is no longer in memory: drop the file again.")
        fit = self._fit()
        rows = self._read("tracks", self._items("tracks"), AFFECT).rows
        known = np.isfinite(rows).all(axis=1)
        scores = np.full(len(rows), np.nan, dtype=np.float32)
        if known.any():
            scores[known] = fit.tracks(rows[known]) @ self._uploads[token]
        return scores

    def _fit(self) -> AffectBridge:
        """The affect fit of the release or its build; BadUsage if there is none."""
        from artsound.pairing.affect import fit_of, read_fit  # SciPy, which no page needs

        store = self.data.store
        if store.is_local:
            place = Path(store.location)
            for path in (place / FITS, place.absolute().parent / "pairs" / FITS):
                if path.is_file():
                    return read_fit(path)
        elif self._fetched_fit is not None:
            return self._fetched_fit
        elif store.size(FITS) is not None:
            self._fetched_fit = fit_of(_json_object(store.read(FITS)), f"{store.location}/{FITS}")
            return self._fetched_fit
        raise BadUsage(
            "Music for a picture needs the fit of the affect bridge, fits.json beside the index: "
            "this release has none."
        )

    def _described(self, by: str, words: str) -> Rows:
        """How well each picture or clip fits words."""
        if by not in _BY:
            raise BadUsage(f"There is no search by {by[:40]!r}: choose {' or '.join(_BY)}.")
        vectors = self.side(_BY[by])
        recipe = self._text_recipe(vectors)
        if recipe is None:
            raise BadUsage(
                f"The {by} cannot be searched by words: {vectors.encoder} takes no texts here, or "
                "its weights are not those of the build. Search titles and captions instead."
            )
        opened = open_encoder(vectors.encoder, recipe)
        with one_torch_thread():
            row = np.asarray(opened.texts([words]), dtype=np.float32)[0]
        found: Rows = vectors.rows @ row
        return found

    def _text_recipe(self, vectors: SideVectors) -> Recipe | None:
        """The recipe to open the encoder with that made some vectors; None if it takes no texts."""
        build = self._build()
        if build is None or vectors.build is None:
            return None
        try:
            plugin, _ = find_encoder(vectors.encoder)
            same = encoder_digest(vectors.encoder, build[1]) == vectors.made_by
        except ArtSoundError:
            return None
        return build[1] if "text" in plugin.modalities and same else None


def _json_object(data: bytes) -> Mapping[str, Any]:
    """A JSON object; of anything else, an empty one."""
    try:
        value = parse_json(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


_LIKE: Mapping[str, SideName] = {"picture": "artworks", "music": "tracks"}
_BY: Mapping[str, SideName] = {"pictures": "artworks", "music": "tracks"}


@dataclass(eq=False)
class Finder:
    """What queries ask for beyond the index (`artsound.reports.views.Aids`)."""

    likeness: Likeness
    notes: Notes
    views: SavedViews
    _areas: OrderedDict[str, Mask] = field(default_factory=OrderedDict)

    def find(self, query: Query) -> Mapping[str, Mask]:
        """Masks of saved views, flags and notes, and areas of the map."""
        found: dict[str, Mask] = {}
        asked: tuple[tuple[str, Callable[[str], Mask]], ...] = (
            ("saved", self._in_view),
            ("marked", self._marked),
            ("inside", self._in_area),
        )
        for name, mask in asked:
            if value := getattr(query, name):
                found[name] = mask(value)
        return found

    def closeness(self, query: Query) -> Rows | None:
        """See `Likeness.scores`."""
        return self.likeness.scores(query)

    def state(self, query: Query) -> str:
        """Changes with the notes, and with the file of a saved view."""
        parts: list[Any] = [self.notes.version if query.marked else 0]
        return repr([*parts, self.views.state(query.saved) if query.saved else ""])

    def _in_view(self, name: str) -> Mask:
        keys = self.views.keys(name)
        return self.likeness.data.frame["key"].is_in(keys).to_numpy()

    def _marked(self, kind: str) -> Mask:
        keys = self.notes.marked(kind)
        return self.likeness.data.frame["key"].is_in(keys).to_numpy()

    def _in_area(self, text: str) -> Mask:
        side, corners = polygon_of(text)
        first = 2 * SIDES_OF_MAP.index(side)
        points = self.likeness.places()[:, first : first + 2] / np.float64((1 << 16) - 1)
        return within_polygon(points, corners)
