"""Typed rows, field by field as schemas/*.json has them.

No field is ever null: unknown is the empty string, -1 or the empty list, as each schema says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


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
    cluster: str


@dataclass(frozen=True, slots=True)
class Track:
    """One usable music clip of the catalogue (schemas/track.json)."""

    track_id: int
    title: str
    artist: str
    artist_id: int
    album: str
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
    source: str
    source_url: str
    audio_path: str
    audio_sha256: str
    audio_bytes: int
    audio_format: str
    duration: float
    sample_rate: int
    channels: int
    loudness: float
    peak: float
    fingerprint: str
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

    track_id: int
    tempo: float
    pulse_clarity: float
    onset_rate: float
    key: str
    mode: str
    key_clarity: float
    majorness: float
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


@dataclass(frozen=True, slots=True)
class Pair:
    """One artwork and the music it was given (schemas/pair.json)."""

    track_id: int
    artwork_id: str
    split: str
    score: float
    bridge: str
    margin: float
    track_rank: int
    artwork_rank: int
    method: str


@dataclass(frozen=True, slots=True)
class Unmatched:
    """One item that no pair uses (schemas/unmatched.json)."""

    side: str
    item_id: str
    split: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reject:
    """One item that a stage could not (`failed`) or would not (`filtered`) use."""

    stage: str
    side: str
    item_id: str
    kind: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Sample:
    """The .json member of one sample in a shard (schemas/sample.json)."""

    key: str
    track_id: int
    artwork_id: str
    split: str
    artwork_caption: str
    artwork_captioner: str
    music_caption: str
    music_captioner: str
    artwork_title: str
    painter: str
    painter_id: str
    year: int
    style: str
    genre: str
    school: str
    period: str
    tags: list[str]
    media: list[str]
    emotions: list[str]
    title: str
    artist: str
    artist_id: int
    album: str
    music_genre: str
    music_genres: list[str]
    music_tags: list[str]
    duration: float
    tempo: float
    key_signature: str
    loudness: float
    lightness: float
    saturation: float
    warmth: float
    artwork_license_id: str
    artwork_redistribute: bool
    artwork_derivatives: bool
    artwork_commercial: bool
    artwork_rights_reason: str
    artwork_source: str
    artwork_source_url: str
    track_license: str
    track_license_id: str
    track_redistribute: bool
    track_derivatives: bool
    track_commercial: bool
    track_share_alike: bool
    track_source: str
    track_source_url: str
    score: float
    bridge: str
    margin: float
    image_sha256: str
    image_original_sha256: str
    audio_sha256: str
    artwork_cluster: str
    track_cluster: str
    synthetic: bool


RECORDS: Mapping[str, type] = {
    "artwork": Artwork,
    "track": Track,
    "artwork_descriptors": ArtworkDescriptors,
    "track_descriptors": TrackDescriptors,
    "caption": Caption,
    "pair": Pair,
    "unmatched": Unmatched,
    "reject": Reject,
    "sample": Sample,
}


def from_row(name: str, row: Mapping[str, Any]) -> Any:
    """The record (Artwork, Track, …) of one row of a table of `name` rows, as a dataclass."""
    record = RECORDS[name]
    return record(**{field.name: row[field.name] for field in fields(record)})
