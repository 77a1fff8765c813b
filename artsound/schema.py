"""Records and their Arrow tables, as defined by schemas/*.json.

The JSON Schemas are the contract; the dataclasses here repeat the fields of those records that
Python code makes or reads one by one, and a test compares both. The tables of a build hold no
null: unknown is the empty string, -1 or the empty list, as each schema defines. The index of a
release does: its columns are those of `artsound.columns`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from artsound.columns import BY_NAME, COLUMNS, NUMBER, PACKED, SAMPLE, Column
from artsound.errors import BadData

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True, slots=True)
class Artwork:
    """One usable artwork of the catalogue (schemas/artwork.json)."""

    artwork_id: str
    artwork_index: int
    title: str
    painter: str
    painter_id: str
    painter_died: int
    year: int
    style: str
    genre: str
    school: str
    period: str
    tags: list[str]
    media: list[str]
    emotions: list[str]
    source: str
    source_url: str
    image_path: str
    image_sha256: str
    image_bytes: int
    image_format: str
    width: int
    height: int
    image_phash: str
    license_id: str
    redistribute: bool
    derivatives: bool
    commercial: bool
    share_alike: bool
    attribution: bool
    rights_reason: str
    ai_training: str
    ai_training_source: str
    sharpness: float
    contrast: float
    border_share: float
    aspect: float
    cluster: str


@dataclass(frozen=True, slots=True)
class Track:
    """One usable music clip of the catalogue (schemas/track.json)."""

    track_id: str
    title: str
    artist: str
    artist_id: int
    album: str
    album_id: int
    genre: str
    genres: list[str]
    tags: list[str]
    year: int
    listens: int
    language: str
    subset: str
    split: str
    license: str
    license_id: str
    redistribute: bool
    derivatives: bool
    commercial: bool
    share_alike: bool
    attribution: bool
    rights_reason: str
    ai_training: str
    ai_training_source: str
    source: str
    source_url: str
    audio_path: str
    audio_sha256: str
    audio_bytes: int
    audio_format: str
    duration: float
    excerpt_start: int
    sample_rate: int
    channels: int
    loudness: float
    peak: float
    fingerprint: str
    snr: float
    clipping_share: float
    bandwidth: float
    silence_share: float
    stereo_width: float
    cluster: str


@dataclass(frozen=True, slots=True)
class ArtworkDescriptors:
    """Measured properties of one picture (schemas/artwork_descriptors.json)."""

    artwork_id: str
    lightness: float
    lightness_spread: float
    contrast: float
    brightness: float
    saturation: float
    chroma: float
    redness: float
    yellowness: float
    warmth: float
    colourfulness: float
    hue_entropy: float
    edge_density: float
    horizontal: float
    vertical: float
    diagonal: float
    fineness: float
    complexity: float
    symmetry: float
    upper_light: float
    centre_light: float
    palette: list[str]
    palette_hex: list[str]
    palette_share: list[float]


@dataclass(frozen=True, slots=True)
class TrackDescriptors:
    """Measured properties of one clip (schemas/track_descriptors.json)."""

    track_id: str
    tempo: float
    pace: float
    pulse_clarity: float
    onset_rate: float
    key: str
    mode: str
    key_clarity: float
    majorness: float
    clear_majorness: float
    loudness: float
    dynamic_range: float
    loudness_slope: float
    centroid: float
    rolloff: float
    bandwidth: float
    flatness: float
    zero_crossings: float
    percussiveness: float
    bass: float
    pitch_height: float
    roughness: float
    flux: float


@dataclass(frozen=True, slots=True)
class Caption:
    """One caption of one item (schemas/caption.json)."""

    side: str
    item_id: str
    caption: str
    captioner: str
    captioner_version: str
    prompt: str
    settings: str
    words: int
    fallback_reason: str
    check: str
    agreement: float


@dataclass(frozen=True, slots=True)
class Reject:
    """One item that a stage could not (`failed`) or would not (`filtered`) use."""

    stage: str
    side: str
    item_id: str
    kind: str
    reason: str
    message: str


RECORDS: Mapping[str, type] = {
    "artwork": Artwork,
    "track": Track,
    "artwork_descriptors": ArtworkDescriptors,
    "track_descriptors": TrackDescriptors,
    "caption": Caption,
    "reject": Reject,
}


def from_row(name: str, row: Mapping[str, Any]) -> Any:
    """The record (Artwork, Track, …) of one row of a table of `name` rows, as a dataclass."""
    record = RECORDS[name]
    return record(**{field.name: row[field.name] for field in fields(record)})


# --- Arrow tables -------------------------------------------------------------------------------

# A property's Arrow type is its `arrow` keyword (`int32`, `float32`, …), else its JSON type.

_PLAIN_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
}


def schema_folder() -> Path:
    """The folder of the JSON Schemas: inside an installed package, or at the project's top."""
    package = Path(__file__).resolve().parent
    installed = package / "schemas"
    return installed if installed.is_dir() else package.parent / "schemas"


@cache
def json_schema(name: str) -> dict[str, Any]:
    """The JSON Schema called `name`, as in schemas/`name`.json."""
    schema: dict[str, Any] = json.loads((schema_folder() / f"{name}.json").read_bytes())
    return schema


@cache
def inlined_schema(name: str) -> dict[str, Any]:
    """The same schema without references, which take most of the time of validating a record."""
    schema = json_schema(name)
    kinds = schema["$defs"]

    def inlined(part: Any) -> Any:
        if isinstance(part, list):
            return [inlined(one) for one in part]
        if not isinstance(part, dict):
            return part
        about = {key: inlined(value) for key, value in part.items() if key != "$ref"}
        if "$ref" not in part:
            return about
        kind: dict[str, Any] = inlined(kinds[part["$ref"].removeprefix("#/$defs/")])
        return {**about, "allOf": [kind]} if kind.keys() & about.keys() else {**kind, **about}

    whole: dict[str, Any] = inlined({k: v for k, v in schema.items() if k != "$defs"})
    return whole


@cache
def arrow_schema(name: str) -> pa.Schema:
    """The Arrow schema of a record: its properties in order.

    Only columns of a release that may be unknown are nullable.
    """
    if name in _RELEASE:
        about = {"artsound_schema": name, "artsound_format": str(NUMBER)}
        return pa.schema([_release_field(column) for column in _RELEASE[name]], metadata=about)
    schema = json_schema(name)
    return pa.schema(
        [
            pa.field(column, _arrow_type(prop), nullable=False)
            for column, prop in schema["properties"].items()
        ],
        metadata={"artsound_schema": name},
    )


_RELEASE: Mapping[str, tuple[Column, ...]] = {
    "index": COLUMNS, "sample": SAMPLE, "packed": PACKED,
}  # fmt: skip


def _release_field(column: Column) -> pa.Field:
    about = {"description": column.description, "example": json.dumps(column.example)}
    if column.unit:
        about["unit"] = column.unit
    return pa.field(column.name, _arrow_type(column.rules), nullable=column.unknown, metadata=about)


def to_table(name: str, rows: Iterable[DataclassInstance | Mapping[str, Any]]) -> pa.Table:
    """An Arrow table of `rows` under the schema called `name`, columns in the schema's order.

    Raises BadData when a row lacks a field, has one too many, or holds a value of another type.
    """
    schema = arrow_schema(name)
    columns: dict[str, list[Any]] = {column: [] for column in schema.names}
    for row in rows:
        values = _as_mapping(row)
        if values.keys() != columns.keys():
            odd = sorted(values.keys() ^ columns.keys())
            raise BadData(f"A {name} record has the wrong fields: {', '.join(odd)}.")
        for column, value in values.items():
            columns[column].append(value)
    try:
        arrays = [pa.array(columns[field.name], type=field.type) for field in schema]
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise BadData(f"A {name} record holds a value of the wrong type: {error}.") from error
    return pa.table(arrays, schema=schema)


def check_table(name: str, table: pa.Table) -> None:
    """Do nothing when `table` fulfils the schema called `name`; else raise BadData.

    Checked are the columns and their types, nulls, non-finite numbers, and the schema's `enum`,
    `minimum`, `exclusiveMinimum`, `maximum`, `minLength` and `pattern`.
    """
    check_columns(name, table)
    for field in arrow_schema(name):
        _check_column(name, field, table.column(field.name))


def check_columns(name: str, table: pa.Table) -> None:
    """Do nothing when `table` has the columns and types of the schema; else raise BadData."""
    schema = arrow_schema(name)
    if table.schema.names != schema.names:
        missing = [column for column in schema.names if column not in table.schema.names]
        extra = [column for column in table.schema.names if column not in schema.names]
        detail = f"missing {', '.join(missing)}" if missing else ""
        detail += (", " if detail and extra else "") + (
            f"unknown {', '.join(extra)}" if extra else ""
        )
        raise BadData(f"A table of {name} rows has the wrong columns ({detail or 'order'}).")
    for field in schema:
        if table.schema.field(field.name).type != field.type:
            found = table.schema.field(field.name).type
            raise BadData(
                f"Column {field.name} of a {name} table is {found}, but should be {field.type}."
            )


def _check_column(name: str, field: pa.Field, column: pa.ChunkedArray) -> None:
    rules = (
        BY_NAME[field.name].rules
        if name in _RELEASE
        else json_schema(name)["properties"][field.name]
    )
    values = column.drop_null() if field.nullable else column
    if values.null_count:
        raise BadData(f"Column {field.name} of a {name} table holds a null.")
    if pa.types.is_list(field.type):
        rules = rules["items"]
        values = pc.list_flatten(column)
        if values.null_count:
            raise BadData(f"Column {field.name} of a {name} table holds a null in a list.")
    for broken in _broken_rules(rules, values):
        raise BadData(f"Column {field.name} of a {name} table holds a value that is {broken}.")


def _broken_rules(rules: Mapping[str, Any], values: pa.ChunkedArray) -> Iterable[str]:
    if pa.types.is_floating(values.type) and not _all(pc.is_finite(values)):
        yield "not finite"
    if "enum" in rules and not _all(pc.is_in(values, value_set=pa.array(rules["enum"]))):
        yield f"none of {', '.join(map(repr, rules['enum']))}"
    # Bounds are compared in the column's own type: 1.0000001 in float32 may be the stored 1.
    for rule, holds, words in (
        ("minimum", pc.greater_equal, "below"),
        ("exclusiveMinimum", pc.greater, "not above"),
        ("maximum", pc.less_equal, "above"),
    ):
        if rule in rules and not _all(holds(values, pa.scalar(rules[rule], type=values.type))):
            yield f"{words} {rules[rule]}"
    if rules.get("minLength") and _any(pc.equal(values, "")):
        yield "empty"
    if "pattern" in rules and not _all(pc.match_substring_regex(values, rules["pattern"])):
        yield f"not of the form {rules['pattern']}"


def _all(mask: pa.ChunkedArray) -> bool:
    return bool(pc.all(mask, min_count=0).as_py())


def _any(mask: pa.ChunkedArray) -> bool:
    return bool(pc.any(mask, min_count=0).as_py())


def _arrow_type(prop: Mapping[str, Any]) -> pa.DataType:
    if prop.get("type") == "array":
        return pa.list_(pa.field("item", _arrow_type(prop["items"])))
    if "arrow" in prop:
        return pa.type_for_alias(prop["arrow"])
    return _PLAIN_TYPES[prop["type"]]


def _as_mapping(row: DataclassInstance | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return row
    return {field.name: getattr(row, field.name) for field in fields(row)}
