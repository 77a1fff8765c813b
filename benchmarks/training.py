"""How fast the tiny preset trains, and what keeps it from being faster.

    python benchmarks/training.py [--data SHARDS] [--steps 40]

Without --data it builds the bundled sample's shards first. On this machine's CPU, one thread, it
prints: steps per second from cached latents and with every clip decoded on the fly (limit: 3
times as fast cached), the share of a step spent waiting for data (limit: 2%), and the seconds
from `--resume` to the first step done (limit: 10 s).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from artsound.training.batches import Prepared, make_batch, prepare
from artsound.training.codec import fit_codec
from artsound.training.conditioning import fit_standardiser
from artsound.training.config import Config, find_preset
from artsound.training.data import Examples, Release, decode_clip, load_examples, open_release
from artsound.training.draw import draw
from artsound.training.loop import train
from artsound.training.model import build_model, diffusion_loss, noise_schedule


def steps_per_second(release: Release, config: Config, steps: int, *, cached: bool) -> float:
    """Forward, backward and update, with latents from memory or from each pair's MP3."""
    import torch

    torch.set_num_threads(1)
    examples = load_examples(release, "train", config)
    codec = fit_codec(config.mel, config.codec, list(examples.clips))
    standardise = fit_standardiser(examples.pictures)
    prepared = prepare(examples, codec, standardise)
    pairs = release.pairs("train")
    dim = examples.pictures.shape[1]
    model = build_model(config, condition_dim=dim, channels=config.codec.channels)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, foreach=True)
    schedule = noise_schedule(config)

    def step(number: int) -> None:
        choice = draw(config, step=number, pairs=len(examples), condition_dim=dim,
                      latent=codec.latent_shape)  # fmt: skip
        source: Prepared = prepared
        if not cached:
            clips = list(examples.clips)
            for pair in set(choice.pairs.tolist()):
                clips[pair] = decode_clip(pairs.read(pair)["mp3"], config.mel)
            picked = sorted(set(choice.pairs.tolist()))
            fresh = prepare(
                Examples(
                    tuple(examples.keys[p] for p in picked),
                    examples.pictures[picked],
                    tuple(clips[p] for p in picked),
                ),
                codec,
                standardise,
            )
            latents = list(prepared.latents)
            for place, pair in enumerate(picked):
                latents[pair] = fresh.latents[place]
            source = Prepared(prepared.keys, prepared.conditions, tuple(latents))
        batch = make_batch(
            source, choice, config, codec.latent_shape[1], torch.device("cpu"), slice(None)
        )
        loss = diffusion_loss(
            model, schedule, config, latents=batch.latents, embedding=batch.embedding,
            keep=batch.keep, noise=batch.noise, timestep=batch.timestep,
        ).mean()  # fmt: skip
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    step(0)
    began = time.perf_counter()
    for number in range(1, steps + 1):
        step(number)
    return steps / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--steps", type=int, default=40)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shards = given.data
        if shards is None:
            build = ["build", "--artgraph", "sample", "--fma", "sample", "--out", f"{folder}/out"]
            subprocess.run(
                [Path(sys.executable).with_name("artsound"), *build],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            shards = Path(folder) / "out" / "shards"
        config, release = find_preset("tiny"), open_release(shards)
        fly = steps_per_second(release, config, max(4, given.steps // 4), cached=False)
        cached = steps_per_second(release, config, given.steps, cached=True)
        out = Path(folder) / "run"
        report = train(release, config, out, steps=given.steps)
        began = time.perf_counter()
        resumed = train(release, config, out, steps=given.steps + 1, resume=True)
        figures = {
            "steps_per_second_cached": round(cached, 2),
            "steps_per_second_on_the_fly": round(fly, 2),
            "cached_over_on_the_fly": round(cached / fly, 2),
            "data_wait_share": report.data_wait_share,
            "resume_to_first_step_seconds": round(time.perf_counter() - began, 2),
            "parameters": resumed.parameters,
        }
    for name, value in figures.items():
        print(f"{name:32} {value}")
    print(json.dumps(figures))
    ok = (
        figures["cached_over_on_the_fly"] >= 3
        and figures["data_wait_share"] <= 0.02
        and figures["resume_to_first_step_seconds"] <= 10
    )
    sys.exit(not ok)


if __name__ == "__main__":
    main()
