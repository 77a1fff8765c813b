"""What a captioner is: something that writes a text for each item it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from artsound.schema import Artwork, ArtworkDescriptors, Track, TrackDescriptors

# What a model that follows instructions is asked when the recipe gives no prompt of its own.
CHAT_PROMPTS: Mapping[str, str] = {
    "artwork": (
        "Describe this artwork in one or two plain sentences of 15 to 40 words: subject, colours, "
        "light, composition, mood. Name no artist and no title."
    ),
    "track": (
        "Describe this music in one or two plain sentences of 15 to 40 words: genre, instruments, "
        "tempo, mood, texture. Name no artist and no title."
    ),
}


@dataclass(frozen=True)
class CaptionItem:
    """One artwork or track to be captioned; `media` is its picture or sound file."""

    side: str
    item_id: str
    record: Artwork | Track
    measured: ArtworkDescriptors | TrackDescriptors
    media: Path

    @property
    def media_sha256(self) -> str:
        """The digest of the media file, as the catalogue has it."""
        record = self.record
        return record.image_sha256 if isinstance(record, Artwork) else record.audio_sha256


class Captioner(Protocol):
    """Writes one text for each item, the same for the same items.

    `name`, `version`, `prompt` and `settings` (decoding settings, JSON values) are kept with
    every caption, and say all that the texts depend on besides the items.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def prompt(self) -> str: ...

    @property
    def settings(self) -> Mapping[str, Any]: ...

    def captions(self, items: Sequence[CaptionItem]) -> list[str]:
        """One raw text for each item, "" where there is none."""
