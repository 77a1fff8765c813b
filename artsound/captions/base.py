"""What a captioner is, and what a captioner's plug-in states of it.

A recipe names the captioner of each side: ``captions.artworks = "transformers:org/model"``. The
name means a plug-in (`artsound.plugins`), whose `open` gives the captioner itself.
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


@dataclass(frozen=True)
class CaptionSettings:
    """What the recipe's [captions] says to the captioner of one side.

    Attributes:
        prompt: What to ask a model; "" for the captioner's own prompt.
        max_new_tokens: Longest text, in tokens.
        batch: Items in a forward pass.
        device: auto, cpu, cuda or cuda:N.
        requests_at_once: Requests that a server is sent at once.
        vocabulary: TOML file of the user's own words for grounded captions; "" for none.
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


class CaptionerPlugin(Protocol):
    """What the pipeline must know of a captioner before it opens one.

    Subclass this to have the defaults, or write a class with the same attributes. The first line
    of its docstring is what `artsound plugins` shows.

    Attributes:
        name: The name that recipes use.
        version: Of the plug-in; text.
        sides: The sides that it describes: "artwork", "track" or both.
        extra: The extra of ArtSound that it needs, such as "models"; "" for none.
        uses_gpu: Whether it works on this machine's GPU when there is one.
        checked: Whether its texts are tidied, checked, and replaced by the grounded caption where
            they fail; False only where a text follows from the item's record alone.
    """

    name: str
    version: str
    sides: tuple[str, ...] = ("artwork", "track")
    extra: str = ""
    uses_gpu: bool = False
    checked: bool = True

    def downloads(self, argument: str) -> bool:  # noqa: ARG002 (the protocol)
        """Whether `open` fetches weights from the Hugging Face hub when they are not here."""
        return False

    @abstractmethod
    def open(
        self, side: str, argument: str, settings: CaptionSettings, responses: Path
    ) -> Captioner:
        """The captioner for one side.

        Args:
            side: "artwork" or "track", one of `sides`.
            argument: What follows the name in the recipe, "" for nothing.
            settings: The recipe's settings for this side.
            responses: A folder of the workspace for texts to be used again; `CachedCaptioner`
                manages it for a captioner that is slow.

        Returns:
            A captioner. Nothing heavy is loaded before its first caption is asked for.

        Raises:
            BadUsage: The argument or a setting is wrong, or weights are missing.
            BadData: Weights cannot be read or fetched.
        """
        ...


class CachedCaptioner:
    """Caches the texts of another captioner on disk, in the folder `responses`.

    A folder for each captioner, with its version, prompt and settings, holds files of raw texts by
    the SHA-256 of the picture or clip. A file is written once, whole, and never changed; the folder
    may be deleted. So a next release, whose parts hold other items, asks a model only for new ones.
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
    """The texts of a file; none when it is damaged or missing, since it is only a cache."""
    try:
        texts = read_json(path)
    except BadData:
        return {}
    if not isinstance(texts, dict):
        return {}
    return {media: text for media, text in texts.items() if isinstance(text, str)}
