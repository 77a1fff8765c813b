"""The columns of a release: what each means, and how a row of the index and a sample's .json agree.

`COLUMNS` is the one table from which everything that describes a release is made: the Arrow schema
and the metadata of index.parquet, schemas/sample.json and schemas/index.json, croissant.json, the
cards and docs/columns.md.

In the index, and in every frame and condition made of it, what is unknown is null, or an empty
list. A sample's .json has neither: readers of WebDataset infer the type of each field from the
first samples that they see, so a field has one JSON type in every sample, and what is unknown is
"", -1 or [""].

A name says its side and unit: `artwork_` and `track_` for the works, `painter` and `musician` for
the people, `image_` and `audio_` for the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from artsound.keys import track_key

if TYPE_CHECKING:
    import polars as pl

# The number of the format: raised when a column is renamed, removed or means something else. A new
# column that may be unknown does not raise it: readers fill it with null where it is absent.
NUMBER = 2

_KEY = "^[a-z0-9][a-z0-9_-]*$"

# Kinds of columns: what values of a kind fulfil, as JSON Schema. `arrow` is the type in the index,
# where it is not the plain one of the JSON type.
KINDS: Mapping[str, Mapping[str, Any]] = {
    "key": {"type": "string", "pattern": _KEY},
    "name": {"type": "string", "minLength": 1},
    "text": {"type": "string"},
    "texts": {"type": "array", "items": {"type": "string"}},
    "flag": {"type": "boolean"},
    "split": {"type": "string", "enum": ["train", "val", "test"]},
    "digest": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "count": {"type": "integer", "arrow": "int32", "minimum": 0},
    "number": {"type": "number", "arrow": "float32"},
    "positive": {"type": "number", "arrow": "float32", "minimum": 0},
    "share": {"type": "number", "arrow": "float32", "minimum": 0, "maximum": 1},
    "balance": {"type": "number", "arrow": "float32", "minimum": -1, "maximum": 1},
    "length": {"type": "number", "arrow": "float64", "exclusiveMinimum": 0},
    "training": {
        "type": "string",
        "enum": [
            "allowed",
            "allowed-with-attribution",
            "non-commercial-only",
            "unknown",
            "refused",
        ],
    },
    "training_source": {
        "type": "string",
        "enum": ["licence", "header", "creator-preference", "opt-out-list"],
    },
    "method": {"type": "string", "enum": ["sparse", "dense", "given", "kept"]},
    "shard": {"type": "string", "pattern": r"^[^/\\]+\.tar$"},
    "bytes": {"type": "integer", "arrow": "int64", "minimum": 0},
}
_STAND_INS: Mapping[str, Any] = {"string": "", "integer": -1, "number": -1.0, "array": [""]}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an index.

    Attributes:
        name: Its name.
        kind: What its values are, one of `KINDS`.
        description: What it means.
        example: A value.
        unit: The unit of a number.
        unknown: Whether it may be unknown: null in the index.
        old: Its name in format 1, where that was another.
        in_sample: Whether a sample's .json has it; else it is the place of a sample's bytes.
        late: Whether the first releases of this format lack it.
    """

    name: str
    kind: str
    description: str
    example: Any
    unit: str = ""
    unknown: bool = False
    old: str = ""
    in_sample: bool = True
    late: bool = False

    @property
    def rules(self) -> Mapping[str, Any]:
        """What its values fulfil in the index when they are known, as JSON Schema."""
        return KINDS[self.kind]

    @property
    def stand_in(self) -> Any:
        """What a sample's .json has where the value is unknown."""
        return _STAND_INS.get(self.rules["type"])


def _of(name: str, kind: str, description: str, example: Any, **more: Any) -> Column:
    return Column(name, kind, description, example, **more)


def _maybe(name: str, kind: str, description: str, example: Any, **more: Any) -> Column:
    return Column(name, kind, description, example, unknown=True, **more)


def _late(name: str, kind: str, description: str, example: Any, **more: Any) -> Column:
    return Column(name, kind, description, example, unknown=True, late=True, **more)


def _place(name: str, kind: str, description: str, example: Any, **more: Any) -> Column:
    return Column(name, kind, description, example, in_sample=False, **more)


# Examples name no item that a release may have: a list of withdrawn items is searched for in every
# file of a release, the cards and schemas included.
_SHA = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of no bytes
_WORK = "example-painter_example-title-1648.jpg"

COLUMNS: tuple[Column, ...] = (
    _of("key", "key", "WebDataset key of the sample: the track's key", "000000"),
    _of("track_id", "key", "key of the track: FMA's number in six digits, or <source>-<id>",
        "000000"),
    _of("artwork_id", "name",
        "key of the artwork: the name of its image in ArtGraph, or <source>-<id>", _WORK),
    _of("split", "split", "split of the pair", "train"),
    _of("artwork_caption", "text", "caption of the artwork, written by a machine",
        "A Baroque still life from 1648. Its colours run to chestnut, terracotta and dark brown, "
        "and it has little contrast of light and dark and predominantly dark tones."),
    _of("artwork_captioner", "text", "what wrote the artwork's caption", "grounded"),
    _late("artwork_captioner_version", "text",
           "version of what wrote the artwork's caption, or digest of its weights", "8"),
    _late("artwork_prompt_sha256", "digest",
           "SHA-256 of the prompt of the artwork's caption; null where there was none", _SHA),
    _late("artwork_caption_fallback", "text",
           "the check that the chosen captioner's text for the artwork failed, so that another "
           "wrote the caption; null where it passed them all", "repeated"),
    _late("artwork_caption_check", "text",
           "what the checks of texts say of the artwork's caption: passed, or the first check that "
           "it fails", "passed"),
    _late("artwork_caption_agreement", "share",
           "share of other artworks that the encoder finds less similar to the caption than its "
           "own; null where it was not measured", 0.98),
    _of("track_caption", "text", "caption of the music, written by a machine",
        "A strong, regular beat and hardly any change in volume mark this sombre rock track, set "
        "in B-flat minor at a middling tempo of about 114 BPM.", old="music_caption"),
    _of("track_captioner", "text", "what wrote the caption of the music", "grounded",
        old="music_captioner"),
    _late("track_captioner_version", "text",
           "version of what wrote the caption of the music, or digest of its weights", "8"),
    _late("track_prompt_sha256", "digest",
           "SHA-256 of the prompt of the caption of the music; null where there was none", _SHA),
    _late("track_caption_fallback", "text",
           "the check that the chosen captioner's text for the music failed, so that another "
           "wrote the caption; null where it passed them all", "repeated"),
    _late("track_caption_check", "text",
           "what the checks of texts say of the caption of the music: passed, or the first check "
           "that it fails", "passed"),
    _late("track_caption_agreement", "share",
           "share of other tracks that the encoder finds less similar to the caption than its own; "
           "null where it was not measured", 0.98),
    _maybe("artwork_title", "text", "title of the artwork; of ArtGraph's, read from a file name",
           "Jug in a fever"),
    _maybe("painter", "text", "painter's name for display", "Example Painter"),
    _of("painter_id", "name",
        "slug of the painter; of a work whose painter its source does not name, the work's key",
        "example-painter"),
    _maybe("artwork_year", "count", "year of the artwork; of ArtGraph's, read from a file name",
           1648, old="year"),
    _maybe("artwork_style", "text", "style of the artwork in its source", "baroque", old="style"),
    _maybe("artwork_genre", "text", "genre of the artwork in its source", "still life",
           old="genre"),
    _maybe("artwork_school", "text", "painter's training or school in the source", "synthetic",
           old="school"),
    _maybe("artwork_period", "text", "period of the painter's work in the source", "early period",
           old="period"),
    _of("artwork_tags", "texts", "what the artwork shows, in the source's order",
        ["jug", "fruits", "table"], old="tags"),
    _of("artwork_media", "texts", "what the artwork is made of",
        ["simulated oil", "digital canvas"], old="media"),
    _of("artwork_emotions", "texts", "emotions that the source gives for the artwork", ["anger"],
        old="emotions"),
    _maybe("track_title", "text", "title of the track", "Drowned Harbour (synthetic)",
           old="title"),
    _maybe("musician", "text", "name of the track's artist", "Example Musician",
           old="artist"),
    _maybe("musician_id", "count",
           "FMA's number of the track's artist; for another source a number made of the name, "
           "2^30 or more", 12, old="artist_id"),
    _maybe("album", "text", "title of the track's album", "ArtSound Synthetic Sample"),
    _late("album_id", "count", "number of the track's album in its source", 12),
    _late("track_year", "count", "year in which the track was released, or recorded", 2009),
    _late("track_language", "text", "code of the language of the track in its source", "en"),
    _maybe("track_genre", "text", "top-level genre of the track in its source", "Rock",
           old="music_genre"),
    _of("track_genres", "texts", "all genres of the track in its source", ["Rock"],
        old="music_genres"),
    _of("track_tags", "texts", "tags of the track in its source", ["synthetic", "calm", "dark"],
        old="music_tags"),
    _of("duration_s", "length", "duration of the clip, measured by decoding it", 14.82,
        unit="seconds", old="duration"),
    _late("excerpt_start_s", "count",
           "where in the whole track the clip begins; of the FMA's clips by the rule that cut "
           "them, from the length that it states for the track", 105, unit="seconds"),
    _late("audio_sample_rate_hz", "count", "sampling rate of the .mp3 member", 44100,
           unit="hertz"),
    _late("audio_channels", "count", "number of channels of the .mp3 member", 2),
    _of("tempo_bpm", "positive", "estimated tempo of the clip", 113.7, unit="beats per minute",
        old="tempo"),
    _of("musical_key", "text", "estimated key of the clip, as in A minor", "A# minor",
        old="key_signature"),
    _of("rms_dbfs", "number", "root mean square level of the whole clip; no loudness in LUFS",
        -20.08, unit="decibels relative to full scale", old="loudness"),
    _of("artwork_lightness", "share", "mean CIELAB L* of the picture, divided by 100", 0.3096,
        old="lightness"),
    _of("artwork_saturation", "share", "mean HSV saturation of the picture", 0.5563,
        old="saturation"),
    _of("artwork_warmth", "balance",
        "mean of the cosine of hue less 50 degrees, weighted by chroma: 1 is warm, -1 cool", 0.8858,
        old="warmth"),
    _maybe("artwork_license_id", "text",
           "licence of the artwork: an SPDX identifier where there is one", "CC0-1.0"),
    _of("artwork_redistribute", "flag", "whether the image may be passed on", True),
    _of("artwork_derivatives", "flag", "whether adapted versions of the image are allowed", True),
    _of("artwork_commercial", "flag", "whether commercial use of the image is allowed", True),
    _of("artwork_rights_reason", "text", "why the rights of the image are judged so",
        "painted by this project's code, dedicated to the public domain (CC0)"),
    _maybe("artwork_ai_training", "training",
           "whether models may be trained with the artwork; `unknown` where it is not stated",
           "allowed"),
    _maybe("artwork_ai_training_source", "training_source",
           "who says so: the licence (or the law), a web server's header, the creator's "
           "preference or an opt-out list", "licence"),
    _of("artwork_source", "name",
        "name of the artwork's source: artgraph, fma, folder, sample or another", "artgraph"),
    _maybe("artwork_source_url", "text", "address of the artwork's image or page",
           "https://example.org/artworks/1"),
    _maybe("track_license", "text", "licence of the track as its source writes it",
           "Attribution-Noncommercial-Share Alike 3.0 United States"),
    _maybe("track_license_id", "text",
           "licence of the track: an SPDX identifier where there is one", "CC-BY-NC-SA-3.0-US"),
    _of("track_redistribute", "flag", "whether the clip may be passed on", True),
    _of("track_derivatives", "flag", "whether adapted versions of the clip are allowed", True),
    _of("track_commercial", "flag", "whether commercial use of the clip is allowed", False),
    _of("track_share_alike", "flag", "whether adapted versions must carry the same licence",
        True),
    _maybe("track_ai_training", "training",
           "whether models may be trained with the track; `unknown` where it is not stated",
           "allowed-with-attribution"),
    _maybe("track_ai_training_source", "training_source",
           "who says so: the licence (or the law), a web server's header, the creator's "
           "preference or an opt-out list", "licence"),
    _of("track_source", "name",
        "name of the track's source: artgraph, fma, folder, sample or another", "fma"),
    _maybe("track_source_url", "text", "address of the track's page",
           "https://example.org/tracks/1"),
    _of("score", "number", "dot product of the two sides' unit vectors in the bridge's space; "
        "compare it within one bridge and one build only", 0.9198),
    _of("bridge", "name", "bridge that scored the pair", "affect"),
    _maybe("percentile", "share", "share of random pairs of the split that score less; of releases "
           "made before there was such a column, null", 0.9913),
    _of("margin", "number", "score less that of the track's best other artwork in the split; "
        "negative where the one-to-one matching gave the track not its best", -0.003772),
    _late("track_rank", "count",
           "rank of the artwork among those of the split for the track: 1 is best", 5),
    _late("artwork_rank", "count",
           "rank of the track among those of the split for the artwork: 1 is best", 3),
    _late("pairing_method", "method",
           "how the pair was found: sparse, among each item's best candidates; dense, among all "
           "that were left; given, imported; kept, as in the release before", "sparse"),
    _of("image_sha256", "digest", "SHA-256 of the .jpg member", _SHA),
    _of("image_original_sha256", "digest", "SHA-256 of the image as its source has it", _SHA),
    _late("image_width", "count", "width of the .jpg member", 1024, unit="pixels"),
    _late("image_height", "count", "height of the .jpg member", 768, unit="pixels"),
    _late("image_original_width", "count", "width of the image as its source has it, upright",
           1400, unit="pixels"),
    _late("image_original_height", "count", "height of the image as its source has it, upright",
           1050, unit="pixels"),
    _late("image_sharpness", "positive",
           "variance of the Laplacian of luma over nine tiles in full resolution, of the image as "
           "its source has it; little where it is blurred or was enlarged; null unless the recipe "
           "asks for it", 431.7, unit="squared 8-bit levels"),
    _late("image_contrast", "share",
           "standard deviation of luma over its range (RMS contrast); null unless the recipe asks "
           "for it", 0.1967),
    _late("image_border_share", "share",
           "share of the area that plain margins take; null unless the recipe asks for it", 0.12),
    _late("image_aspect", "positive",
           "width over height of the image as its source has it, upright; null unless the recipe "
           "asks for it", 1.3333),
    _of("audio_sha256", "digest", "SHA-256 of the .mp3 member", _SHA),
    _late("audio_snr_db", "positive",
           "power of the clip over that of its 5 % quietest stretches of 50 ms, of the clip as its "
           "source has it: the signal-to-noise ratio is this or more, since music that never "
           "pauses covers its noise; null unless the recipe asks for it", 31.5, unit="decibels"),
    _late("audio_clipping_share", "share",
           "share of samples at 99.9 % of full scale or above; null unless the recipe asks for it",
           0.0004),
    _late("audio_bandwidth_hz", "positive",
           "highest frequency at which the mean spectrum is within 90 dB of the whole power: about "
           "16,000 of a clip that was once an MP3 of 128 kbit/s; null unless the recipe asks for "
           "it", 16085.3, unit="hertz"),
    _late("audio_silence_share", "share",
           "share of stretches of 50 ms below -60 dBFS; null unless the recipe asks for it", 0.01),
    _late("audio_stereo_width", "share",
           "power of the difference of the channels over that of sum and difference: 0 mono, 0.5 "
           "unrelated channels, 1 opposite phases; null unless the recipe asks for it", 0.106),
    _of("artwork_cluster", "name",
        "smallest artwork_id of the artwork's near-duplicates; its own when alone", _WORK),
    _of("track_cluster", "key", "smallest key of the track's near-duplicates; its own when alone",
        "000000"),
    _of("synthetic", "flag", "whether a side was made by code and by no person: the sample",
        False),
    _place("shard", "shard", "file name of the shard", "artsound-train-000000.tar"),
    _place("jpg_offset", "bytes", "where the .jpg member's data begin in the shard", 512,
           unit="bytes"),
    _place("jpg_size", "bytes", "size of the .jpg member", 21346, unit="bytes"),
    _place("mp3_offset", "bytes", "where the .mp3 member's data begin in the shard", 22528,
           unit="bytes"),
    _place("mp3_size", "bytes", "size of the .mp3 member", 128880, unit="bytes"),
    _place("json_offset", "bytes", "where the .json member's data begin in the shard", 152064,
           unit="bytes"),
    _place("json_size", "bytes", "size of the .json member", 2226, unit="bytes"),
)  # fmt: skip
SAMPLE: tuple[Column, ...] = tuple(column for column in COLUMNS if column.in_sample)
# What is known of a sample only when it is packed: of its picture, and where its members are.
OF_PICTURE = ("image_sha256", "image_width", "image_height")
PACKED: tuple[Column, ...] = tuple(
    column for column in COLUMNS
    if column.name in ("key", *OF_PICTURE) or column.name.endswith(("_offset", "_size"))
)  # fmt: skip
# Measures of technical quality, and their headings: unknown unless the recipe asks for them.
QUALITY: Mapping[str, str] = MappingProxyType(
    {
        "image_sharpness": "Sharpness",
        "image_contrast": "RMS contrast",
        "image_border_share": "Share of plain margins",
        "image_aspect": "Width over height",
        "audio_snr_db": "Signal to noise (dB)",
        "audio_clipping_share": "Share of clipped samples",
        "audio_bandwidth_hz": "Bandwidth (Hz)",
        "audio_silence_share": "Share of silence",
        "audio_stereo_width": "Stereo width",
    }
)
BY_NAME: Mapping[str, Column] = MappingProxyType({column.name: column for column in COLUMNS})

# The names of format 1, and those that they have now.
RENAMED: Mapping[str, str] = MappingProxyType({c.old: c.name for c in COLUMNS if c.old})
_OLD_ONLY = frozenset({"key", "artwork_id", "artist_id", "key_signature"})  # no other table's


def is_format_1(names: Iterable[str]) -> bool:
    """Whether these are the names of a format 1 sample or index."""
    return set(names) >= _OLD_ONLY


# One row of an index and one sample.


def sample_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The .json of a sample, of its row in the index: every field of one type, none null."""
    fields = {}
    for name, value in row.items():
        column = BY_NAME.get(name)
        unknown = value is None or value == []
        fields[name] = column.stand_in if column and unknown else value
    return fields


def row_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The row of an index, of a sample's .json: what is unknown there becomes null or []."""
    return {
        name: _UNKNOWN[name][1] if _stands_in(name, value) else value
        for name, value in fields.items()
    }


def column_of(name: str, values: Iterable[Any]) -> list[Any]:
    """A column of an index, of one field of many samples; see `row_of`."""
    found = list(values)
    if name in _UNKNOWN and _UNKNOWN[name][0] in found:
        return [_UNKNOWN[name][1] if _stands_in(name, value) else value for value in found]
    return found


# Of a column that may be unknown, what a sample's .json has there, and what its row has.
_UNKNOWN: Mapping[str, tuple[Any, Any]] = {
    **{column.name: (column.stand_in, None) for column in SAMPLE if column.unknown},
    **{column.name: (column.stand_in, []) for column in SAMPLE if column.kind == "texts"},
}


def _stands_in(name: str, value: Any) -> bool:
    about = _UNKNOWN.get(name)
    return about is not None and type(value) is type(about[0]) and bool(value == about[0])


def fields_now(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a sample of any format under today's names, lists without the stand-in.

    Text and numbers stay as they are: "" and -1 are unknown.
    """
    if is_format_1(fields):
        old = {RENAMED.get(name, name): value for name, value in fields.items()}
        if isinstance(old.get("track_id"), int):
            old["track_id"] = track_key(old["track_id"])
        fields = {**old, **{c.name: c.stand_in for c in SAMPLE if c.unknown and c.name not in old}}
        for side in ("artwork", "track"):
            if fields.get(f"{side}_license_id") == "unknown":
                fields[f"{side}_license_id"] = ""
    elif "musical_key" not in fields:  # no sample of this project
        return dict(fields)
    fields = with_late(fields)
    return {
        name: [] if value == [""] and name in BY_NAME else value for name, value in fields.items()
    }


def with_late(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a sample with those columns, unknown, that came later than the sample."""
    return {**fields, **{c.name: c.stand_in for c in SAMPLE if c.late and c.name not in fields}}


def frame_now(frame: pl.DataFrame) -> pl.DataFrame:
    """An index of this project under today's names; one of shards made elsewhere as it is.

    Columns that came later, and may be unknown, are null.
    """
    import polars as pl

    if is_format_1(frame.columns):
        frame = renamed(frame)
    late = absent(frame.columns)
    if not late:
        return frame
    frame = frame.with_columns(pl.lit(None, kind).alias(name) for name, kind in late.items())
    return frame.select(*BY_NAME, *(name for name in frame.columns if name not in BY_NAME))


def absent(names: Iterable[str]) -> dict[str, Any]:
    """The columns, and their types in polars, that an index of this project lacks.

    Those came later, and may be unknown. None of an index of shards made elsewhere.
    """
    import polars as pl

    there = set(names)
    if not {column.name for column in COLUMNS if not column.unknown} <= there:
        return {}
    types = {"string": pl.String, "integer": pl.Int32, "number": pl.Float32}
    return {c.name: types[c.rules["type"]] for c in COLUMNS if c.name not in there}


def renamed(frame: pl.DataFrame) -> pl.DataFrame:
    """A table with columns of a format 1 index under today's names, null where it was unknown."""
    import polars as pl

    frame = frame.rename({old: new for old, new in RENAMED.items() if old in frame.columns})
    known = []
    for name, column in BY_NAME.items():
        if column.unknown and name in frame.columns:
            unknown = [column.stand_in, "unknown"] if "license_id" in name else [column.stand_in]
            known.append(pl.when(~pl.col(name).is_in(unknown)).then(pl.col(name)).alias(name))
    return frame.with_columns(known)


# The JSON Schemas, which `docs/column_tables.py` writes.


def json_schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schemas of a sample's .json and of a row of the index, by name."""
    return {
        "sample": _schema(
            "sample",
            "Sample",
            "The .json member of a sample in a shard: flat, each field of one type in all samples, "
            'no null. Unknown is "", -1 or [""]; the row of the index has null or [] there.',
            {column.name: _in_sample(column) for column in SAMPLE},
        ),
        "index": _schema(
            "index",
            "Row of the index",
            "One row of index.parquet: the fields of a sample, and where its members are. Unknown "
            "is null, or an empty list.",
            {column.name: _in_index(column) for column in COLUMNS},
        ),
    }


def schema_id(name: str) -> str:
    """The identifier of a JSON Schema, which has the format's number."""
    return f"urn:artsound:schema:{NUMBER}:{name}"


def _schema(
    name: str, title: str, description: str, properties: Mapping[str, Any]
) -> dict[str, Any]:
    kinds = {column.kind for column in COLUMNS if column.name in properties}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": schema_id(name),
        "title": title,
        "description": description,
        "type": "object",
        "additionalProperties": False,
        "required": list(properties),
        "properties": dict(properties),
        "$defs": {kind: dict(rules) for kind, rules in KINDS.items() if kind in kinds},
    }


def _in_index(column: Column) -> dict[str, Any]:
    kind: dict[str, Any] = {"$ref": f"#/$defs/{column.kind}"}
    if column.unknown:
        kind = {"anyOf": [kind, {"type": "null"}]}
    return {**_about(column), **kind, "examples": [column.example]}


def _in_sample(column: Column) -> dict[str, Any]:
    kind: dict[str, Any] = {"$ref": f"#/$defs/{column.kind}"}
    if column.unknown and column.kind != "text":
        kind = {"anyOf": [kind, {"const": column.stand_in}]}
    if column.kind == "texts":
        kind["minItems"] = 1
    return {**_about(column), **kind, "examples": [column.example]}


def _about(column: Column) -> dict[str, str]:
    unit = {"unit": column.unit} if column.unit else {}
    return {"description": column.description, **unit}
