"""The captioner that a recipe names for a side.

`artsound plugins captioner` lists all captioners. Texts of models are checked in checks.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from artsound import plugins
from artsound.captions.base import Captioner, CaptionerPlugin, CaptionItem, CaptionSettings
from artsound.errors import BadData, BadUsage
from artsound.recipe import Captions

_SPOKEN = {"artwork": "artworks", "track": "music"}


def captioner_plugin(side: str, section: Captions) -> tuple[CaptionerPlugin, str]:
    """The plug-in that the recipe's section names for `side` ("artwork" or "track").

    Returns:
        Its object, and the argument of its name ("" without one).

    Raises:
        BadUsage: There is no captioner of that name, or it cannot be imported.
    """
    plugin, argument = _find(side, section)
    return plugin.load(), argument


def open_captioner(side: str, section: Captions, responses: Path) -> Captioner:
    """Open the captioner that a recipe names for a side.

    Args:
        side: "artwork" or "track".
        section: The recipe's [captions].
        responses: The folder to cache texts in.

    Returns:
        The captioner; no model is loaded before its first caption.

    Raises:
        BadUsage: There is no captioner of that name, it does not describe this side, or its
            argument is wrong.
        BadData: Its weights cannot be read or downloaded.
    """
    plugin, argument = _find(side, section)
    stated: CaptionerPlugin = plugin.load()
    if side not in stated.sides:
        described = " and ".join(_SPOKEN.get(one, one) for one in stated.sides)
        raise BadUsage(
            f"{plugin.name} describes {described} only: choose another captioner as "
            f"captions.{side}s."
        )
    settings = CaptionSettings(
        prompt=section.artwork_prompt if side == "artwork" else section.track_prompt,
        max_new_tokens=section.max_new_tokens,
        batch=section.batch,
        device=section.device,
        requests_at_once=section.requests_at_once,
        vocabulary=section.vocabulary,
    )
    captioner = stated.open(side, argument, settings, responses)
    return captioner if plugin.built_in else PluginCaptioner(captioner, plugin, stated.version)


def _find(side: str, section: Captions) -> tuple[plugins.Plugin, str]:
    choice = section.artworks if side == "artwork" else section.tracks
    return plugins.find("captioner", choice, key=f"captions.{side}s")


class PluginCaptioner:
    """The captioner of another package, whose texts are checked.

    `version`, which is recorded with every caption and part of the parts' digests, has the
    versions of captioner, plug-in and package, and the place of the object.
    """

    def __init__(self, captioner: Captioner, plugin: plugins.Plugin, version: str) -> None:
        self._captioner = captioner
        self._what = f"The captioner {plugin.name!r} ({plugin.origin})"
        own = captioner.name
        self.name = own if own.partition(":")[0] == plugin.name else plugin.name
        made_by = (f"{key} {value}" for key, value in plugin.identity().items() if value)
        self.version = "; ".join((captioner.version, f"plug-in {version}", *made_by))

    @property
    def prompt(self) -> str:
        """The captioner's."""
        return self._captioner.prompt

    @property
    def settings(self) -> Mapping[str, Any]:
        """The captioner's."""
        return self._captioner.settings

    def captions(self, items: Sequence[CaptionItem]) -> list[str]:
        """One raw text for each item; BadData if the plug-in gives anything else."""
        texts = list(self._captioner.captions(items))
        if len(texts) != len(items):
            raise BadData(
                f"{self._what} gave {len(texts)} texts for {len(items)} items: correct the "
                "plug-in, or choose another captioner."
            )
        for item, text in zip(items, texts, strict=True):
            if not isinstance(text, str):
                raise BadData(
                    f"{self._what} gave {type(text).__name__}, not a text, for {item.item_id}: "
                    "correct the plug-in, or choose another captioner."
                )
        return texts
