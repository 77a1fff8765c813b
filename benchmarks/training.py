"""How fast training is, and what keeps it from being faster.

    python benchmarks/training.py [--data SHARDS] [--steps 40] [--brief] [--device cuda]

Without --data it builds the bundled sample's shards first. On a CPU, one thread, it prints for
the preset `tiny`: steps per second from latents on disk and with every clip decoded on the fly
(limit: 3 times as fast from latents), the share of a step spent waiting for data (limit: 2%) with
latents from disk and from an HTTP server of this machine that takes 20 ms to answer, and the
seconds from the start of a new process to the first step of a resumed run (limit: 10 s), wall
clock and processor time. --brief leaves out the runs that the wait for data is measured on.

With --device cuda it prints for the preset `base`, in bfloat16: steps per second of a run, as a
share of the same model's on one fixed batch in memory (limit: 0.9), pairs per second, the peak of
GPU memory, and the seconds that generating 10.24 s of music with 50 steps takes.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from artsound.training.codec import SoundCodec
from artsound.training.config import Config, find_preset, with_settings
from artsound.training.data import (
    PairSource,
    Release,
    draw_step,
    make_batch,
    media_source,
    open_latents,
    open_release,
    write_latents,
)
from artsound.training.loop import train
from artsound.training.model import build_model, diffusion_loss, noise_schedule, sample_latents


class FirstStep:
    """A progress that notes the time, and the processor time used, after the step `number`."""

    def __init__(self, number: int) -> None:
        self.left, self.training = number, False
        self.at = self.used = 0.0

    def start(self, stage: str, items: int) -> None:  # noqa: ARG002 (the protocol)
        """Only steps count."""
        self.training = stage == "train"

    def advance(self, items: int, *, before: bool = False) -> None:  # noqa: ARG002
        """Steps done."""
        self.left -= items if self.training else 0
        if self.left == 0 and not self.at:
            self.at, self.used = time.perf_counter(), time.process_time()

    def finish(self) -> None:
        """Nothing to do."""


def resume_one_step(shards: str, folder: Path, number: int) -> tuple[float, float]:
    """When step `number` of a run was done, on the machine's clock, and this process's time."""
    first = FirstStep(number)
    train(shards, find_preset("tiny"), folder, steps=number, resume=True, progress=first)
    return first.at, first.used


def seconds_to_resume(shards: Path, folder: Path, number: int) -> tuple[float, float]:
    """Wall-clock and processor seconds from a process's start to the step `number` it resumes to.

    Python's start and every import count, as for `artsound train --resume`.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        began = time.perf_counter()
        at, used = pool.submit(resume_one_step, str(shards), folder, number).result()
    return at - began, used


LATENCY = 0.02  # seconds that the server takes to answer


class SlowRanges(SimpleHTTPRequestHandler):
    """Serves files, whole or one range of each, LATENCY late, on connections that stay open."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """A file, or the bytes of it that are asked for."""
        time.sleep(LATENCY)
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        body = path.read_bytes()
        asked = self.headers.get("Range", "")
        self.send_response(206 if asked else 200)
        if asked:
            first, last = map(int, asked.removeprefix("bytes=").split("-"))
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
            body = body[first : last + 1]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of `folder`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SlowRanges, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def sources(
    release: Release, config: Config, latents: Path
) -> tuple[SoundCodec, PairSource, PairSource]:
    """The codec, and the train split from latents and decoded whenever it is read."""
    pairs = release.pairs("train")
    write_latents(release, latents, preset=config)
    stored = open_latents(latents, release, config)
    conditioner = stored.conditioner(pairs)
    fly = media_source(pairs, config, stored.codec, conditioner, "cpu")
    return stored.codec, stored.source(pairs, conditioner), fly


def endless(source: PairSource, config: Config, codec: SoundCodec) -> Iterator[dict[str, Any]]:
    """Whole batches of a source, for ever."""
    size = config.optimisation.batch
    window = codec.latent_shape[1]
    return iter(source.batches(config, window, batch=size, epoch_size=size, repeat=True))


def steps_per_second(config: Config, codec: SoundCodec, source: PairSource, steps: int) -> float:
    """Draw, read, forward, backward and update on one thread, one after the other.

    In processor time: what else runs on the machine does not count.
    """
    import torch

    torch.set_num_threads(1)
    dim = len(source.read(0)[0])
    model = build_model(config, condition_dim=dim, channels=config.codec.channels)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    schedule = noise_schedule(config)
    batches = itertools.islice(endless(source, config, codec), steps + 1)
    began = 0.0
    for number, pairs in enumerate(batches):
        choice = draw_step(config, step=number, condition_dim=dim, latent=codec.latent_shape)
        batch = make_batch(pairs, choice, config, "cpu")
        loss = diffusion_loss(
            model, schedule, config, latents=batch.latents, embedding=batch.embedding,
            keep=batch.keep, noise=batch.noise, timestep=batch.timestep,
        ).mean()  # fmt: skip
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        began = began or time.process_time()  # the first step is a warm-up
    return steps / (time.process_time() - began)


def on_cpu(
    shards: Path, release: Release, steps: int, folder: Path, *, brief: bool
) -> tuple[dict[str, Any], bool]:
    """The figures of `tiny`, and whether they keep their limits."""
    config = find_preset("tiny")
    latents = folder / "latents"
    codec, stored, fly = sources(release, config, latents)
    slow = steps_per_second(config, codec, fly, max(4, steps // 8))
    fast = steps_per_second(config, codec, stored, steps)
    begun = 2 if brief else steps
    report = train(release, config, folder / "run", steps=begun)
    wall, used = seconds_to_resume(shards, folder / "run", begun + 1)
    figures = {
        "steps_per_second_from_latents": round(fast, 2),
        "steps_per_second_on_the_fly": round(slow, 2),
        "latents_over_on_the_fly": round(fast / slow, 2),
        "resume_to_first_step_seconds": round(wall, 2),
        "resume_to_first_step_cpu_seconds": round(used, 2),
        "parameters": report.parameters,
    }
    kept = figures["latents_over_on_the_fly"] >= 3 and wall <= 10
    if not brief:
        with served(latents) as address:
            far = train(release, config, folder / "far", steps=steps, latents=address)
        figures["data_wait_share"] = report.data_wait_share
        figures["data_wait_share_over_http_with_20_ms"] = far.data_wait_share
        kept = kept and max(report.data_wait_share, far.data_wait_share) <= 0.02
    return figures, kept


def on_cuda(release: Release, steps: int, folder: Path) -> tuple[dict[str, Any], bool]:
    """The figures of `base` on a GPU, and whether the run keeps up with a fixed batch."""
    import torch

    config = with_settings(find_preset("base"), ["optimisation.warmup=0"])
    warm = 10
    train(release, config, folder / "run", steps=warm)
    torch.cuda.reset_peak_memory_stats()
    report = train(release, config, folder / "run", steps=warm + steps, resume=True)
    memory = torch.cuda.max_memory_allocated()
    codec, source, _ = sources(release, config, folder / "latents")
    bare = fixed_batch(config, codec, source, steps, warm)
    model = build_model(config, condition_dim=20, channels=config.codec.channels).cuda()
    ask = np.zeros((1, 20), np.float32)
    began = 0.0
    for turn in range(2):  # the first is a warm-up
        torch.cuda.synchronize()
        began = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16):
            latents = sample_latents(
                model, config, ask, shape=codec.latent_shape, seeds=[turn], steps=50, guidance=2.0
            )
        codec.sound(codec.decode(latents[0]))
    figures = {
        "device": torch.cuda.get_device_name(),
        "steps_per_second": report.steps_per_second,
        "steps_per_second_on_a_fixed_batch": round(bare, 3),
        "share_of_a_fixed_batch": round(report.training_steps_per_second / bare, 3),
        "data_wait_share": report.data_wait_share,
        "pairs_per_second": round(report.training_steps_per_second * config.optimisation.batch, 1),
        "peak_memory_bytes": memory,
        "generate_10_seconds_in_50_steps_seconds": round(time.perf_counter() - began, 2),
        "parameters": report.parameters,
    }
    return figures, figures["share_of_a_fixed_batch"] >= 0.9


def fixed_batch(
    config: Config, codec: SoundCodec, source: PairSource, steps: int, warm: int
) -> float:
    """Steps per second of the plain loop on one batch that never leaves the GPU."""
    import torch

    dim = len(source.read(0)[0])
    model = build_model(config, condition_dim=dim, channels=config.codec.channels).cuda()
    if config.optimisation.channels_last:
        model.unet.to(memory_format=torch.channels_last)
    if config.optimisation.compile:
        model.unet.compile()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    schedule = noise_schedule(config)
    choice = draw_step(config, step=0, condition_dim=dim, latent=codec.latent_shape)
    batch = make_batch(next(endless(source, config, codec)), choice, config, "cuda")
    began = 0.0
    for number in range(warm + steps):
        if number == warm:
            torch.cuda.synchronize()
            began = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16):
            loss = diffusion_loss(
                model, schedule, config, latents=batch.latents, embedding=batch.embedding,
                keep=batch.keep, noise=batch.noise, timestep=batch.timestep,
            ).mean()  # fmt: skip
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimisation.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    torch.cuda.synchronize()
    return steps / (time.perf_counter() - began)


def main() -> None:
    """Measure and print; exit 1 when a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--brief", action="store_true", help="without the waits for data")
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
        release, out = open_release(shards), Path(folder) / "run"
        if given.device == "cuda":
            figures, kept = on_cuda(release, given.steps, out)
        else:
            figures, kept = on_cpu(shards, release, given.steps, out, brief=given.brief)
    for name, value in figures.items():
        print(f"{name:40} {value}")
    print(json.dumps(figures))
    sys.exit(not kept)


if __name__ == "__main__":
    main()
