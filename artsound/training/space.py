"""A Hugging Face Space of a checkpoint: a picture in, generated music and the nearest track out.

The folder needs nothing of this machine: it holds the checkpoint, some pairs of the release as
shards, their pictures' embeddings and this library. `space_app` is the page that it shows.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from packaging.requirements import Requirement

import artsound
from artsound.encoders.base import find_encoder
from artsound.errors import BadUsage
from artsound.progress import QUIET, Progress
from artsound.schema import schema_folder
from artsound.shards.dataset import open_shards
from artsound.shards.subset import write_shards
from artsound.storage import make_folder, new_folder, write_json
from artsound.training.checkpoint import find_checkpoint
from artsound.training.config import Config
from artsound.training.generate import Generator
from artsound.training.pictures import checkpoint_key

GRADIO = "6.31.0"  # the version that the page was tried with
TRACKS = 200
_FILES = ("config.json", "state.json", "weights.safetensors")  # of a checkpoint, to generate with

_APP = '''\
"""Start the page: `python app.py`."""

from pathlib import Path

from artsound.training.space_app import page

page(Path(__file__).resolve().parent).launch()
'''

_README = """\
---
title: {title}
emoji: 🎨
colorFrom: red
colorTo: yellow
sdk: gradio
sdk_version: {gradio}
python_version: "3.11"
app_file: app.py
pinned: false
---

# {title}

A picture in; out come music that a model generates for it, and the track of the most similar of
{pairs} pictures that the model was trained with. Made by `artsound space`.

- Model: preset `{preset}`, {step} steps, picture encoder `{encoder}`.
- Pairs: {rights} ones of a release of ArtSound. `pairs/ATTRIBUTION.csv`, where the release has it,
  lists title, author, licence and source of each work.
{published}
To run it on your own machine:

```sh
python -m venv venv
venv/bin/pip install --requirement requirements.txt
venv/bin/python app.py
```
"""


@dataclass(frozen=True)
class Space:
    """What was written: the folder, how many pairs it shows, and its size in bytes."""

    folder: str
    pairs: int
    bytes: int


def write_space(
    shards: str | Path,
    checkpoint: Path,
    out: Path,
    *,
    tracks: int = TRACKS,
    rights: str = "redistributable",
    title: str = "Music for pictures",
    pretrained: str | None = None,
    clip_checkpoint: str | None = None,
    progress: Progress = QUIET,
) -> Space:
    """Write the folder of a Space.

    Args:
        shards: The release, as `artsound.open` takes it.
        checkpoint: A checkpoint, or a training folder.
        out: A new folder; it is complete or absent afterwards.
        tracks: The most pairs of the train split that it holds, drawn at random.
        rights: The policy of `artsound.rights.POLICIES` that these pairs fulfil.
        title: The heading of the page.
        pretrained: The hub name of the published modules, where the run read them from a folder.
        clip_checkpoint: The tag of CLIP's weights, where the run read them from a file.
        progress: Counts the pictures.

    Returns:
        What was written.

    Raises:
        BadUsage: `out` is in use, no pair fulfils the policy, or the checkpoint needs files that
            only this machine has.
        BadData: The checkpoint or the release is damaged.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadUsage(f"{out} is in use: give --out a new folder.")
    folder = find_checkpoint(checkpoint)
    generator = Generator(folder, pretrained=pretrained, clip_checkpoint=clip_checkpoint)
    check_portable(generator.config)
    data = open_shards(shards).split("train").rights(rights)
    chosen = data.sample(min(tracks, len(data)))
    with new_folder(out) as place:
        write_shards(chosen, place / "pairs")
        np.save(place / "pictures.npy", _embedded(place / "pairs", generator, progress))
        make_folder(place / "checkpoint")
        for name in _FILES:
            shutil.copyfile(folder / name, place / "checkpoint" / name)
        moved = {"pretrained": pretrained, "clip_checkpoint": clip_checkpoint}
        write_json(place / "space.json", {"title": title, **moved})
        _copy_library(place / "artsound")
        (place / "app.py").write_text(_APP, encoding="utf-8")
        (place / "requirements.txt").write_text(_requirements(generator.config), encoding="utf-8")
        about = _readme(generator, title=title, pairs=len(chosen), rights=rights)
        (place / "README.md").write_text(about, encoding="utf-8")
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return Space(str(out), len(chosen), size)


def check_portable(config: Config) -> None:
    """Raise BadUsage if a Space would look for modules or weights in files of this machine."""
    if config.pretrained is not None and Path(config.pretrained.source).expanduser().exists():
        raise BadUsage(
            f"The run read its published modules from {config.pretrained.source}, a folder that a "
            "Space has not: give their hub name, as in --pretrained cvssp/audioldm2-music."
        )
    key = checkpoint_key(config.condition)
    place = str(getattr(config.condition, key)) if key else ""
    if place and Path(place).expanduser().exists():
        raise BadUsage(
            f"The run read the weights of its picture encoder from {place}, a file that a Space "
            "has not: give the tag of the same weights as --clip-checkpoint."
        )


def _embedded(pairs: Path, generator: Generator, progress: Progress) -> np.ndarray:
    """The embeddings float32 [n, D] of the pictures of a release, in its order."""
    data = open_shards(pairs)
    rows = []
    progress.start("space", len(data))
    try:
        for position in range(len(data)):
            rows.append(generator.encode(data.read(position)["jpg"]))
            progress.advance(1)
    finally:
        progress.finish()
    return np.array(rows, dtype=np.float32)


def _copy_library(target: Path) -> None:
    """This library, as it is imported here, with the schemas that a checkout has beside it."""
    source = Path(artsound.__file__).resolve().parent
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(schema_folder(), target / "schemas", dirs_exist_ok=True)


def _requirements(config: Config) -> str:
    """What the library and the checkpoint need, one requirement a line."""
    extras = ["", "train", find_encoder(config.condition.encoder)[0].extra]
    lines = [f"gradio=={GRADIO}"]
    for line in metadata.requires("artsound") or []:
        one = Requirement(line)
        if one.marker is None or any(one.marker.evaluate({"extra": name}) for name in extras):
            one.marker = None
            lines.append(str(one))
    return "\n".join(sorted(set(lines))) + "\n"


def _readme(generator: Generator, **values: Any) -> str:
    config = generator.config
    published = ""
    if config.pretrained is not None:
        published = (
            f"- Published modules: `{config.pretrained.source}`, whose licence (CC BY-NC-SA 4.0 "
            "for AudioLDM 2) also holds here.\n"
        )
    return _README.format(
        gradio=GRADIO, preset=config.preset, step=generator.checkpoint.state.step,
        encoder=config.condition.encoder, published=published, **values,
    )  # fmt: skip
