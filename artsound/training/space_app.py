"""The page of a Space that `artsound space` has written: a picture in, music and a track out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from artsound.media import MediaError
from artsound.shards.dataset import open_shards
from artsound.storage import read_json
from artsound.training.generate import Generator
from artsound.training.metrics import distances


def page(folder: Path) -> Any:
    """The page of a Space, as Gradio's Blocks: `page(folder).launch()` serves it.

    Args:
        folder: What `artsound space` has written.

    Raises:
        BadData: The checkpoint or the pairs are damaged.
    """
    import gradio

    about = read_json(folder / "space.json")
    generator = Generator(
        folder / "checkpoint",
        pretrained=about["pretrained"],
        clip_checkpoint=about["clip_checkpoint"],
    )
    data = open_shards(folder / "pairs")
    known = generator.standardise(np.load(folder / "pictures.npy"))
    heard = Path(tempfile.mkdtemp(prefix="artsound-space-"))  # Gradio serves files of such folders

    def answer(picture: str | None, seed: float, guidance: float) -> tuple[Any, ...]:
        """The music of a picture, and the nearest picture with its track and what they are."""
        if picture is None:
            raise gradio.Error("Choose a picture first.")
        try:
            row = generator.encode(Path(picture).read_bytes())
        except MediaError as error:
            raise gradio.Error(f"This picture cannot be used: {error}.") from error
        [wave] = generator.waves(row[None], seeds=[int(seed)], guidance=guidance)
        sound = (np.clip(wave, -1, 1) * 32767).astype(np.int16)
        nearest = int(distances(generator.standardise(row)[None], known).argmin())
        sample = data.read(nearest)
        place = heard / sample["key"]
        place.with_suffix(".jpg").write_bytes(sample["jpg"])
        place.with_suffix(".mp3").write_bytes(sample["mp3"])
        return (
            (generator.config.mel.sample_rate, sound),
            str(place.with_suffix(".jpg")),
            str(place.with_suffix(".mp3")),
            credit(sample["key"], sample["json"]),
        )

    with gradio.Blocks(title=about["title"], analytics_enabled=False) as blocks:
        gradio.Markdown(f"# {about['title']}")
        with gradio.Row():
            with gradio.Column():
                picture = gradio.Image(type="filepath", label="Picture")
                seed = gradio.Number(0, precision=0, minimum=0, label="Seed")
                usual = generator.guidance()
                weight = gradio.Slider(0, 8, usual, step=0.5, label="Weight of the picture")
                button = gradio.Button("Make music", variant="primary")
            with gradio.Column():
                music = gradio.Audio(label="Generated music", interactive=False)
                near = gradio.Image(label="Most similar picture", interactive=False)
                track = gradio.Audio(label="Its track", interactive=False)
                words = gradio.Markdown()
        button.click(answer, [picture, seed, weight], [music, near, track, words])
    return blocks


def credit(key: str, record: dict[str, Any]) -> str:
    """What a pair is, and under which licences: one line of Markdown."""

    def one(title: str, author: str, license_id: str) -> str:
        parts = [record.get(title) or "untitled", record.get(author) or "unknown"]
        return f"*{parts[0]}* by {parts[1]} ({record.get(license_id) or 'unknown licence'})"

    artwork = one("artwork_title", "painter", "artwork_license_id")
    return f"{key}: {artwork}; {one('track_title', 'musician', 'track_license_id')}"
