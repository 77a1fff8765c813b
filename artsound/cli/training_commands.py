"""Commands of the model: latents, train, generate, evaluate, space."""

import gc
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from artsound.cli.app import Json, RightsChoice, ShardsFolder, app, print_summary, say
from artsound.extras import importing

MAX_SEED = 2**31 - 1
Preset = Annotated[
    str, typer.Option(help="The model and its training: `artsound plugins preset` lists them.")
]
Pretrained = Annotated[
    str | None, typer.Option(help="AudioLDM 2: a folder in diffusers' layout, or a hub name.")
]
Visual = Annotated[
    str | None,
    typer.Option(help="Picture encoder: affect (measured, the default), clip or imagebind."),
]
MovedModules = Annotated[
    str | None, typer.Option("--pretrained", help="New path of AudioLDM 2, if it has moved.")
]
MovedClip = Annotated[
    str | None,
    typer.Option("--clip-checkpoint", help="New path of CLIP's weights, if they have moved."),
]
Candidates = Annotated[
    int, typer.Option(help="Draw N pieces for a picture, and take the nearest to it.", min=1)
]
Guidance = Annotated[
    float | None, typer.Option(help="Weight of the picture; else that of the checkpoint.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting, e.g. pretrained.lora_rank=8; may be repeated."),
]


@app.command(
    epilog="Example: artsound latents --data out/shards --preset audioldm2 --out out/latents"
)
def latents(
    data: Annotated[str, typer.Option(help="A shards folder or URL.")],
    out: Annotated[Path, typer.Option(help="Folder for the shards of latents.")],
    preset: Preset = "tiny",
    pretrained: Pretrained = None,
    visual: Visual = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Write latents and embeddings for training as sidecar shards."""
    from artsound.progress import console_progress, counted
    from artsound.training.config import find_preset, with_settings
    from artsound.training.data import write_latents

    config = with_settings(find_preset(preset), _all(settings, visual))
    pairs = write_latents(
        data, out, preset=config, pretrained=pretrained, progress=console_progress()
    )
    print(f"{counted(pairs, 'latent')}: {out}")
    print_summary(as_json, {"pairs": pairs, "out": str(out)})


@app.command(epilog="Example: artsound train --data out/shards --preset tiny --out out/training")
def train(
    data: Annotated[str, typer.Option(help="A shards folder or URL.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints and logs.")],
    preset: Preset = "tiny",
    steps: Annotated[int | None, typer.Option(help="Optimiser steps in total.", min=1)] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the newest checkpoint.")
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Seeds weights, order and noise.", min=0, max=MAX_SEED)
    ] = 0,
    pretrained: Pretrained = None,
    visual: Visual = None,
    latents: Annotated[
        str | None,
        typer.Option(help="What `artsound latents` made (a folder or URL), or on-the-fly."),
    ] = None,
    save_every: Annotated[
        int,
        typer.Option(help="Steps between checkpoints, with validation and preview.", min=1),
    ] = 500,
    keep: Annotated[
        int, typer.Option(help="Newest checkpoints to keep beside the best.", min=1)
    ] = 2,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Train a model from artwork to music."""
    from artsound.progress import console_progress

    with importing():
        from artsound.training.config import find_preset, with_settings
        from artsound.training.loop import train as run_training
    config = with_settings(find_preset(preset), _all(settings, visual))
    report = run_training(
        data,
        config,
        out,
        steps=steps,
        resume=resume,
        seed=seed,
        save_every=save_every,
        keep=keep,
        pretrained=pretrained,
        latents=latents,
        progress=console_progress(),
    )
    if os.environ.get("RANK", "0") == "0":  # print on rank 0 only
        print(f"Checkpoint: {report.checkpoint}")
        print_summary(as_json, report)
    if report.interrupted:
        say(
            f"Stopped at step {report.steps:,} of {steps or config.optimisation.steps:,}: the same "
            "command with --resume continues from there."
        )
        raise SystemExit(
            130
        )  # as after Ctrl-C in a shell, so that no scheduler takes it as success


@app.command(
    epilog="Example: artsound generate --checkpoint out/training --image cat.jpg --out cat.wav"
)
def generate(
    checkpoint: Annotated[Path, typer.Option(help="A checkpoint, or a training folder.")],
    image: Annotated[list[Path], typer.Option(help="A picture or a folder; may be repeated.")],
    out: Annotated[Path, typer.Option(help="A .wav file; a folder for several pictures.")],
    seconds: Annotated[float | None, typer.Option(help="Length of the music, 0.5 to 60.")] = None,
    seed: Annotated[int, typer.Option(help="Seeds the noise.", min=0, max=MAX_SEED)] = 0,
    guidance: Guidance = None,
    steps: Annotated[int, typer.Option(help="Denoising steps.", min=1)] = 25,
    scheduler: Annotated[str, typer.Option(help="ddim, dpm or unipc.")] = "ddim",
    batch: Annotated[int, typer.Option(help="Pictures per batch.", min=1)] = 16,
    negative: Annotated[Path | None, typer.Option(help="A picture to guide away from.")] = None,
    candidates: Candidates = 1,
    spectrogram: Annotated[
        bool, typer.Option(help="Also write a spectrogram (PNG) for each WAV.")
    ] = False,
    pretrained: MovedModules = None,
    clip_checkpoint: MovedClip = None,
    as_json: Json = False,
) -> None:
    """Generate music for pictures."""
    from artsound.progress import console_progress

    with importing():
        from artsound.training.generate import generate as run_generation
    pieces = run_generation(
        checkpoint,
        image,
        out,
        seconds=seconds,
        seed=seed,
        guidance=guidance,
        steps=steps,
        scheduler=scheduler,
        batch=batch,
        negative=negative,
        candidates=candidates,
        spectrogram=spectrogram,
        pretrained=pretrained,
        clip_checkpoint=clip_checkpoint,
        progress=console_progress(),
    )
    for piece in pieces:
        print(piece.file)
    print_summary(as_json, {"files": [asdict(piece) for piece in pieces]})
    # What libraries made is left to the system, instead of being searched for cycles at exit: a
    # tenth of the command's time. Triton, which a large model may import, reports that as leaks.
    if "triton" not in sys.modules:
        gc.freeze()


@app.command(
    epilog="Example: artsound evaluate --checkpoint out/training --data out/shards "
    "--out out/evaluation"
)
def evaluate(
    checkpoint: Annotated[Path, typer.Option(help="A checkpoint, or a training folder.")],
    data: Annotated[str, typer.Option(help="A shards folder or URL.")],
    out: Annotated[Path, typer.Option(help="Folder for results, table and plots.")],
    split: Annotated[
        str, typer.Option(help="train, val, test, or held-out (val and test).")
    ] = "held-out",
    seed: Annotated[int, typer.Option(help="Seeds noise and bootstrap.", min=0, max=MAX_SEED)] = 0,
    takes: Annotated[int, typer.Option(help="Pieces for each picture.", min=1)] = 2,
    guidance: Guidance = None,
    steps: Annotated[int, typer.Option(help="Denoising steps.", min=1)] = 25,
    candidates: Candidates = 1,
    limit: Annotated[int, typer.Option(help="Evaluate at most N pairs.", min=4)] = 512,
    clap: Annotated[
        Path | None, typer.Option(help="A LAION-CLAP checkpoint: also measure in its embeddings.")
    ] = None,
    clap_tower: Annotated[str, typer.Option(help="Its audio tower.")] = "HTSAT-base",
    text_route: Annotated[
        str | None,
        typer.Option(help="AudioLDM 2 (folder or hub name): compare with captions."),
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="own, or paper: the measures of published papers too.")
    ] = "own",
    vggish: Annotated[
        Path | None, typer.Option(help="VGGish's weights, for --protocol paper.")
    ] = None,
    panns: Annotated[
        Path | None, typer.Option(help="PANNs CNN14's weights, for --protocol paper.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Another metric (`artsound plugins metric`); may be repeated."),
    ] = None,
    pretrained: MovedModules = None,
    clip_checkpoint: MovedClip = None,
    as_json: Json = False,
) -> None:
    """Measure a checkpoint against shuffled pictures and baselines."""
    from artsound.progress import console_progress
    from artsound.training.evaluate import evaluate as run_evaluation

    summary = run_evaluation(
        checkpoint,
        data,
        out,
        split=split,
        takes=takes,
        seed=seed,
        guidance=guidance,
        steps=steps,
        candidates=candidates,
        limit=limit,
        clap=clap,
        clap_tower=clap_tower,
        text_route=text_route,
        protocol=protocol,
        vggish=vggish,
        panns=panns,
        metrics=metric or (),
        pretrained=pretrained,
        clip_checkpoint=clip_checkpoint,
        progress=console_progress(),
    )
    print((out / "table.md").read_text())
    print(f"Results: {out}")
    print_summary(as_json, summary)


def _all(settings: list[str] | None, visual: str | None) -> list[str]:
    """The settings of --set and --visual."""
    return [*(settings or []), *([f"condition.encoder={visual}"] if visual else [])]


@app.command(epilog="Example: artsound space out/shards --checkpoint out/training --out out/space")
def space(
    shards: ShardsFolder,
    checkpoint: Annotated[Path, typer.Option(help="A checkpoint, or a training folder.")],
    out: Annotated[Path, typer.Option(help="A new folder for the Space.")],
    tracks: Annotated[int, typer.Option(help="The most pairs that it holds.", min=1)] = 200,
    rights: RightsChoice = "redistributable",
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "Music for pictures",
    pretrained: Annotated[str | None, typer.Option(help="Hub name of AudioLDM 2.")] = None,
    clip_checkpoint: Annotated[str | None, typer.Option(help="Tag of CLIP's weights.")] = None,
    as_json: Json = False,
) -> None:
    """Write a Hugging Face Space: a picture in, generated music and the nearest track out.

    The folder holds all that the page needs; `python app.py` in it serves the page on this
    machine.
    """
    from artsound.progress import console_progress, counted, human_bytes
    from artsound.training.space import write_space

    written = write_space(
        shards, checkpoint, out, tracks=tracks, rights=rights, title=title, pretrained=pretrained,
        clip_checkpoint=clip_checkpoint, progress=console_progress(),
    )  # fmt: skip
    if (out / "pairs" / "ATTRIBUTION.csv").is_file():  # pairs of ArtSound get a card
        from artsound.reports.card import write_cards

        write_cards(out / "pairs", out / "pairs")
    print(f"{written.folder}: {counted(written.pairs, 'pair')}, {human_bytes(written.bytes)}")
    print_summary(as_json, written)
