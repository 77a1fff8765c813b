"""The test-retest error of every descriptor: `python benchmarks/retest.py ../shared/data`.

A clip is measured on its first and on its last two thirds; a picture as it is, and cut to nine
tenths of each side, halved in size and compressed again (JPEG, quality 50). The error is the root
mean square difference of the two over √2, in the deviations by which the affect bridge standardises
the descriptor (the 5-95 % range over 3.29). `--write` records it in artsound/encoders/retest.toml.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from artsound.encoders.affect_audio import SAMPLE_RATE, describe_audio
from artsound.encoders.affect_image import describe_image
from artsound.encoders.descriptors import descriptor_names
from artsound.encoders.measuring import IMAGE_SIDE, SECONDS
from artsound.media.audio import load_mono
from artsound.media.images import load_small

TABLE = Path(__file__).parent.parent / "artsound" / "encoders" / "retest.toml"
HEAD = """\
# The test-retest error of every descriptor, in its own deviations over {pictures} pictures and
# {clips} clips: how far two measurements of one work differ. benchmarks/retest.py wrote it.
"""


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    near = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument(
        "data", type=Path, nargs="?", default=near, help="a folder of pictures and clips"
    )
    parser.add_argument("--write", action="store_true", help=f"replace {TABLE.name}")
    options = parser.parse_args()
    pictures = sorted(options.data.rglob("*.jpg"))
    clips = sorted(options.data.rglob("*.mp3"))
    if not pictures or not clips:
        print(f"not run: it needs pictures (.jpg) and clips (.mp3) in {options.data}")
        return
    errors = {
        "artwork": _errors("artwork", map(_pictures, pictures)),
        "track": _errors("track", map(_clips, clips)),
    }
    lines = [HEAD.format(pictures=len(pictures), clips=len(clips))]
    for side, table in errors.items():
        lines += [f"[{side}]", *(f"{name} = {error:.2f}" for name, error in table.items()), ""]
    text = "\n".join(lines)
    if options.write:
        TABLE.write_text(text, encoding="utf-8")
    print(text)


def _pictures(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    rgb = load_small(path.read_bytes(), max_side=IMAGE_SIDE)
    height, width = rgb.shape[:2]
    y, x = height // 20, width // 20
    cut = Image.fromarray(rgb[y : height - y, x : width - x])
    halved = cut.resize((max(1, cut.width // 2), max(1, cut.height // 2)), Image.Resampling.BOX)
    out = io.BytesIO()
    halved.save(out, "JPEG", quality=50)
    return describe_image(rgb), describe_image(load_small(out.getvalue(), max_side=IMAGE_SIDE))


def _clips(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    mono = load_mono(path.read_bytes(), sample_rate=SAMPLE_RATE, seconds=SECONDS)
    third = len(mono) // 3
    return describe_audio(mono[: 2 * third]), describe_audio(mono[third:])


def _errors(side: str, pairs: Iterator[tuple[Mapping[str, Any], ...]]) -> dict[str, float]:
    names = descriptor_names(side)
    values = np.array([[[one[name] for name in names] for one in pair] for pair in pairs])
    low, high = np.percentile(values.reshape(-1, len(names)), (5, 95), axis=0)
    apart = np.sqrt(((values[:, 0] - values[:, 1]) ** 2).mean(axis=0) / 2)
    return dict(zip(names, (apart * 3.29 / (high - low)).tolist(), strict=True))


if __name__ == "__main__":
    main()
