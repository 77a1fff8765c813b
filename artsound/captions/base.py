"""Captioners and their plug-ins: the interfaces, and a cache of texts.

A recipe names the captioner of each side: ``captions.artworks = "transformers:org/model"``. The
name means a plug-in (`artsound.plugins`), whose `open` gives the captioner.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from artsound.errors import BadData
from artsound.schema import Artwork, ArtworkDescriptors, Track, TrackDescriptors
from artsound.storage import digest, read_json, write_json

# Prompts of models that follow instructions, unless the recipe has its own.
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
        """The digest of the media file in the catalogue."""
        record = self.record
        return record.image_sha256 if isinstance(record, Artwork) else record.audio_sha256


@dataclass(frozen=True)
class CaptionSettings:
    """Settings of [captions] for the captioner of one side.

    Attributes:
        prompt: For a model; "" for the captioner's own.
        max_new_tokens: The longest text, in tokens.
        batch: Items per forward pass.
        device: auto, cpu, cuda or cuda:N.
        requests_at_once: Concurrent requests to a server.
        vocabulary: TOML file of the user's words for grounded captions; "" for none.
    """

    prompt: str = ""
    max_new_tokens: int = 96
    batch: int = 8
    device: str = "auto"
    requests_at_once: int = 8
    vocabulary: str = ""


class Captioner(Protocol):
    """Writes one text for each item, the same for the same items.

    `name`, `version`, `prompt` and `settings` (decoding settings, JSON values) are recorded with
    every caption. The texts depend on nothing but these and the items.
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
        """One raw text for each item, "" if there is none."""


class CaptionerPlugin(Protocol):
    """What the pipeline knows of a captioner before it is opened.

    Subclass this to use its defaults, or write a class with the same attributes. The first line
    of its docstring is what `artsound plugins` shows.

    Attributes:
        name: The name that recipes use.
        version: Of the plug-in; text.
        sides: The sides that it describes: "artwork", "track" or both.
        extra: The extra of ArtSound that it needs, such as "models"; "" for none.
        uses_gpu: Whether it runs on this machine's GPU if there is one.
        checked: Whether its texts are tidied, checked, and replaced by the grounded caption if
            they fail; False only if a text follows from the item's record alone.
    """

    name: str
    version: str
    sides: tuple[str, ...] = ("artwork", "track")
    extra: str = ""
    uses_gpu: bool = False
    checked: bool = True

    def downloads(self, argument: str) -> bool:  # noqa: ARG002 (the protocol)
        """Whether `open` downloads missing weights from the Hugging Face hub."""
        return False

    @abstractmethod
    def open(
        self, side: str, argument: str, settings: CaptionSettings, responses: Path
    ) -> Captioner:
        """Make the captioner for one side.

        Args:
            side: "artwork" or "track", one of `sides`.
            argument: The text after a colon in the name; "" without one.
            settings: The recipe's settings for this side.
            responses: A folder of the workspace to cache texts in; see `CachedCaptioner`.

        Returns:
            A captioner. No model is loaded before its first caption.

        Raises:
            BadUsage: The argument or a setting is wrong, or weights are missing.
            BadData: Weights cannot be read or downloaded.
        """
        ...


class CachedCaptioner:
    """Caches another captioner's texts on disk, so that a later release needs only new ones.

    The folder `responses` has a folder for each captioner, version, prompt and settings, with files
    of raw texts by the SHA-256 of the picture or clip. A file is written once and never changed;
    the folder may be deleted.
    """

    def __init__(self, captioner: Captioner, responses: Path) -> None:
        self._captioner = captioner
        self._responses = responses
        self._seen: set[Path] = set()
        self._texts: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The captioner's."""
        return self._captioner.name

    @property
    def version(self) -> str:
        """The captioner's."""
        return self._captioner.version

    @property
    def prompt(self) -> str:
        """The captioner's."""
        return self._captioner.prompt

    @property
    def settings(self) -> Mapping[str, Any]:
        """The captioner's."""
        return self._captioner.settings

    def captions(self, items: Sequence[CaptionItem]) -> list[str]:
        """One raw text for each item; the captioner writes those that are not cached."""
        writer = digest([self.name, self.version, self.prompt, dict(self.settings)])[:32]
        folder = self._responses / writer
        self._look_for_new_files(folder)
        new = {item.media_sha256: item for item in items if item.media_sha256 not in self._texts}
        if new:
            texts = dict(zip(new, self._captioner.captions(list(new.values())), strict=True))
            write_json(folder / f"{digest(sorted(texts))[:32]}.json", texts)
            self._texts |= texts
        return [self._texts[item.media_sha256] for item in items]

    def _look_for_new_files(self, folder: Path) -> None:
        for path in sorted(set(folder.glob("*.json")) - self._seen):
            self._seen.add(path)
            for media, text in _read(path).items():
                self._texts.setdefault(media, text)


def _read(path: Path) -> dict[str, str]:
    """The texts of a file; none if it is damaged or missing, since it is only a cache."""
    try:
        texts = read_json(path)
    except BadData:
        return {}
    if not isinstance(texts, dict):
        return {}
    return {media: text for media, text in texts.items() if isinstance(text, str)}
