"""Texts that models have written, found again by what they were made of.

A folder for each captioner, with its version, prompt and settings, holds files of raw texts by the
SHA-256 of the picture or clip. A file is written once, whole, and never changed; the folder may be
deleted. So a next release, whose parts hold other items, asks a model only for what is new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from artsound.captions.base import Captioner, CaptionItem
from artsound.errors import BadData
from artsound.storage import digest, read_json, write_json


class CachedCaptioner:
    """A captioner that writes no text twice: `captioner`, and what it wrote under `responses`."""

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
        """One raw text for each item; the captioner is asked for those that are not kept."""
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
    """A file's texts; none when it is broken or gone: it is but a cache."""
    try:
        texts = read_json(path)
    except BadData:
        return {}
    if not isinstance(texts, dict):
        return {}
    return {media: text for media, text in texts.items() if isinstance(text, str)}
