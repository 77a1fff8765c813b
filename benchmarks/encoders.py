"""How fast pictures and clips are embedded, decoding included, against the bare forward pass.

    python benchmarks/encoders.py [--device auto|cpu|cuda] [--pictures N] [--clips N]

Weights are random, since speed does not depend on them. Prints items per second of the encoder
(JPEGs of 1024 × 768 and MP3s of 30 s in, unit vectors out) and of its model alone on the same
rows, decoded beforehand; and the ratio (limit: 0.85 on a GPU). With a GPU: the published
architectures, ViT-L-14 and HTSAT-base, in bf16, by the clock; without one, smaller ones in fp32,
by processor time, since there decoding and passes share the processors and so may others.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from artsound.encoders.base import choose_device, find_encoder, settings_of
from artsound.encoders.weights import quiet_libraries
from artsound.recipe import Recipe

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "encoders"))
from random_weights import write_clap, write_clip

ROUNDS = 2  # each way is measured so often, in turns; the best counts


def jpegs(count: int) -> list[bytes]:
    """Pictures of smooth noise, 1024 × 768: about as many bytes as a painting's photograph."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(min(count, 8)):
        small = Image.fromarray(rng.integers(0, 255, (96, 128, 3)).astype(np.uint8))
        out = io.BytesIO()
        small.resize((1024, 768), Image.Resampling.BICUBIC).save(out, "JPEG", quality=92)
        made.append(out.getvalue())
    return [made[i % len(made)] for i in range(count)]


def mp3s(count: int) -> list[bytes]:
    """Clips of 30 s, stereo at 44.1 kHz."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(min(count, 4)):
        out = io.BytesIO()
        noise = rng.normal(0, 0.1, (30 * 44_100, 2)).cumsum(axis=0)
        soundfile.write(out, 0.5 * np.sin(noise), 44_100, format="MP3")
        made.append(out.getvalue())
    return [made[i % len(made)] for i in range(count)]


def compare(name: str, encoder: Any, items: Sequence[bytes], batch: int) -> None:
    """Print items per second of the encoder, of its model alone, and the ratio."""
    import torch

    whole = encoder.images if name == "clip" else encoder.audio
    forward = encoder.forward
    rows = torch.cat([encoder.decode(data) for data in items]).to(encoder.device)

    @torch.inference_mode()
    def alone() -> None:
        for start in range(0, len(rows), batch):
            vectors = forward(rows[start : start + batch])
        vectors.cpu()  # so that a GPU is waited for

    alone()  # the first pass sets up what later ones find
    clock = time.process_time if encoder.device == "cpu" else time.perf_counter
    bare = full = float("inf")
    for _ in range(ROUNDS):
        bare = min(bare, seconds(alone, clock))
        full = min(full, seconds(lambda: whole(items), clock))
    print(
        f"{name} on {encoder.device}, batch {batch}: {len(items) / full:,.1f} items/s with "
        f"decoding, {len(items) / bare:,.1f} in the bare forward pass, ratio {bare / full:.2f}",
        flush=True,
    )


def seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """How long it takes by a clock."""
    began = clock()
    work()
    return clock() - began


def opened(name: str, recipe: Recipe, device: str) -> Any:
    """An encoder without the self-test, which random weights need not pass."""
    return find_encoder(name)[0].open(settings_of(name, recipe.embed), device)


def main() -> None:
    """Make weights and media, and print two lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=0, help="default: 16, on a GPU 8192")
    parser.add_argument("--clips", type=int, default=0, help="default: 2, on a GPU 1024")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    options = parser.parse_args()
    device = choose_device(options.device)
    gpu = device != "cpu"
    clip_model, clap_model = ("ViT-L-14", "HTSAT-base") if gpu else ("ViT-B-32", "HTSAT-tiny")
    batch = 256 if gpu else 8
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.chdir(home)  # where CLAP finds roberta-base
        with quiet_libraries():
            clip, clap = write_clip(home, clip_model), write_clap(home, clap_model)
        recipe = Recipe().replaced(
            embed={
                "clip_model": clip_model,
                "clip_checkpoint": str(clip),
                "clap_model": clap_model,
                "clap_checkpoint": str(clap),
                "precision": "bf16" if gpu else "fp32",
                "device": device,
                "batch": batch,
            }
        )
        pictures = jpegs(options.pictures or (8192 if gpu else 16))
        compare("clip", opened("clip", recipe, device), pictures, batch)
        clips = mp3s(options.clips or (1024 if gpu else 2))
        compare("clap", opened("clap", recipe, device), clips, batch)
        os.chdir("/")
        if not gpu:
            print("no GPU here: its figures are unmeasured")


if __name__ == "__main__":
    main()
