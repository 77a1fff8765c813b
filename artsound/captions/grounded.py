"""The captioner that is always there: sentences from the record and the measurements alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from artsound.captions.base import Item
from artsound.captions.grounded_artwork import describe_artwork
from artsound.captions.grounded_track import describe_track
from artsound.records import Artwork, ArtworkDescriptors, Track, TrackDescriptors


class Grounded:
    """Writes 12–45 words for any item; needs no model and reads no media."""

    name = "grounded"
    # Raised whenever equal records and measurements would give other sentences; a test sees to it.
    version = "4"
    prompt = ""
    settings: Mapping[str, Any] = {}

    def captions(self, items: Sequence[Item]) -> list[str]:
        """One caption for each item."""
        return [describe(item) for item in items]


def describe(item: Item) -> str:
    """The grounded caption of an item of either side."""
    record, measured = item.record, item.measured
    if isinstance(record, Artwork) and isinstance(measured, ArtworkDescriptors):
        return describe_artwork(record, measured)
    if isinstance(record, Track) and isinstance(measured, TrackDescriptors):
        return describe_track(record, measured)
    raise TypeError(f"{item.item_id} pairs {type(record).__name__} with {type(measured).__name__}")
