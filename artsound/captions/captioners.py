"""The captioners there are, of which a recipe chooses one for each side.

- `grounded`: from the record and what was measured, nothing else; always there;
- `transformers:NAME-OR-FOLDER`: a model of the transformers library, image-to-text for artworks
  and audio-to-text for tracks (models.py);
- `lp-music-caps` or `lp-music-caps:NAME-OR-FOLDER`: LP-MusicCaps, for tracks (lp_music_caps.py);
- `endpoint:URL#MODEL`: a server with the OpenAI chat interface, vLLM for one (endpoint.py).

What a model writes is checked before it is used (checks.py).
"""

from __future__ import annotations

from pathlib import Path

from artsound.captions.base import Captioner
from artsound.captions.caption_cache import CachedCaptioner
from artsound.errors import BadUsage
from artsound.recipe import Captions


def open_captioner(side: str, section: Captions, responses: Path) -> Captioner:
    """The captioner that the recipe's section chooses for `side` ("artwork" or "track").

    What models and servers write is kept in the folder `responses`. Nothing heavy is loaded before
    the first caption is asked for. Raises BadUsage for a kind that does not exist.
    """
    key = f"captions.{side}s"
    choice = section.artworks if side == "artwork" else section.tracks
    prompt = section.artwork_prompt if side == "artwork" else section.track_prompt
    kind, _, place = choice.partition(":")
    if choice == "grounded":
        from artsound.captions.grounded import Grounded

        return Grounded()
    if kind == "transformers" and place:
        from artsound.captions.transformers import TransformersCaptioner

        captioner: Captioner = TransformersCaptioner(
            side,
            place,
            prompt=prompt,
            max_new_tokens=section.max_new_tokens,
            batch=section.batch,
            device=section.device,
        )
        return CachedCaptioner(captioner, responses)
    if kind == "lp-music-caps":
        from artsound.captions.lp_music_caps import LpMusicCaps

        captioner = LpMusicCaps(
            side,
            place,
            max_new_tokens=section.max_new_tokens,
            batch=section.batch,
            device=section.device,
        )
        return CachedCaptioner(captioner, responses)
    if kind == "endpoint" and place.startswith(("http://", "https://")):
        from artsound.captions.endpoint import EndpointCaptioner

        url, _, model = place.partition("#")
        return EndpointCaptioner(
            side,
            url,
            model,
            prompt=prompt,
            max_new_tokens=section.max_new_tokens,
            requests_at_once=section.requests_at_once,
            responses=responses,
        )
    raise BadUsage(
        f"{key} = {choice!r} is no captioner: "
        "write grounded, transformers:NAME-OR-FOLDER, endpoint:URL#MODEL or, for music, "
        "lp-music-caps."
    )
