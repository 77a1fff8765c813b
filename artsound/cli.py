"""`artsound …`: parses, calls one function, prints; heavy imports wait until they are needed."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artsound import __version__
from artsound.errors import ArtSoundError, BadUsage

if TYPE_CHECKING:
    from artsound.recipe import Recipe

app = typer.Typer(
    name="artsound",
    help="Rebuild, curate and stream ArtSound: artwork-music pairs from ArtGraph and the FMA.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Out = Annotated[Path, typer.Option(help="The build's folder; made when it is missing.")]
ArtGraph = Annotated[str, typer.Option(help="ArtGraph: a folder, a zip, a URL, or `sample`.")]
Fma = Annotated[str, typer.Option(help="FMA: a folder, a zip, a URL, or `sample`.")]
RecipeFile = Annotated[str, typer.Option(help="A TOML file, or artsound, open or sample.")]
Limit = Annotated[int | None, typer.Option(help="Use at most so many tracks.", min=0)]
TrackIds = Annotated[str, typer.Option(help="A file with the tracks to use, an id a line.")]
ArtworkIds = Annotated[str, typer.Option(help="A file with the artworks to use, a name a line.")]
TrackWhere = Annotated[str, typer.Option(help="SQL over the tracks' metadata: genre = 'Jazz'.")]
ArtworkWhere = Annotated[str, typer.Option(help="SQL over the artworks': year < 1900.")]
Published = Annotated[
    str, typer.Option("--import-pairs", help="Published pairs (JSON, CSV, parquet) to use.")
]
Bridge = Annotated[str, typer.Option(help="affect, concepts, captions, learned or imagebind.")]
RightsChoice = Annotated[str, typer.Option(help="any, redistributable or commercial.")]
Runner = Annotated[str, typer.Option(help="processes, threads, dask, or serial (no Prefect).")]
Workers = Annotated[int | None, typer.Option(help="Parts at work at once; 0: one per CPU.", min=0)]
Scheduler = Annotated[str, typer.Option(help="A Dask scheduler, tcp://host:8786; means dask.")]
Retry = Annotated[bool, typer.Option("--retry-failed", help="Try failed items again.")]
Json = Annotated[bool, typer.Option("--json", help="End with one line of JSON.")]
ShardsFolder = Annotated[str, typer.Argument(help="A shards folder or URL.")]
Many = Annotated[list[str] | None, typer.Option()]


@app.command(epilog="Example: artsound build --artgraph sample --fma sample --out out")
def build(
    out: Out,
    artgraph: ArtGraph = "",
    fma: Fma = "",
    recipe: RecipeFile = "",
    limit: Limit = None,
    track_ids: TrackIds = "",
    artwork_ids: ArtworkIds = "",
    track_where: TrackWhere = "",
    artwork_where: ArtworkWhere = "",
    import_pairs: Published = "",
    bridge: Bridge = "",
    rights: RightsChoice = "",
    runner: Runner = "",
    workers: Workers = None,
    scheduler: Scheduler = "",
    retry_failed: Retry = False,
    as_json: Json = False,
) -> None:
    """Pull, match, caption and shard: everything, or the rest of it.

    Without sources, the build that --out holds is gone on with; where there is none, the
    official servers are meant. Killed at any moment, the same command goes on from there.
    """
    chosen = _recipe(
        out, recipe, not (artgraph or fma), artgraph, fma, limit, bridge, rights, runner, workers,
        scheduler, track_ids, artwork_ids, track_where, artwork_where, import_pairs,
    )  # fmt: skip
    if not recipe and not bridge and chosen.pair.bridge == "affect" and chosen.name == "artsound":
        _say("Matching through the affect bridge (measured descriptors); --bridge chooses others.")
    _run_stages(None, out, chosen, retry_failed, as_json)


def _stage_command(stage: str, doc: str) -> None:
    def command(
        out: Out,
        artgraph: ArtGraph = "",
        fma: Fma = "",
        recipe: RecipeFile = "",
        limit: Limit = None,
        track_ids: TrackIds = "",
        artwork_ids: ArtworkIds = "",
        track_where: TrackWhere = "",
        artwork_where: ArtworkWhere = "",
        import_pairs: Published = "",
        bridge: Bridge = "",
        rights: RightsChoice = "",
        runner: Runner = "",
        workers: Workers = None,
        scheduler: Scheduler = "",
        retry_failed: Retry = False,
        as_json: Json = False,
    ) -> None:
        chosen = _recipe(
            out, recipe, True, artgraph, fma, limit, bridge, rights, runner, workers, scheduler,
            track_ids, artwork_ids, track_where, artwork_where, import_pairs,
        )  # fmt: skip
        _run_stages(stage, out, chosen, retry_failed, as_json)

    command.__doc__ = doc
    app.command(stage, epilog=f"Example: artsound {stage} --out out")(command)


_stage_command("ingest", "Pull and check artworks and tracks into the catalogue.")
_stage_command("embed", "Measure and embed every artwork and track.")
_stage_command("pair", "Split, score and match artworks and tracks.")
_stage_command("caption", "Write a caption for both sides of every pair.")
_stage_command("shard", "Pack the pairs into WebDataset shards.")
_stage_command("report", "Draw the report of the build.")


@app.command(epilog="Example: artsound verify out/shards --deep")
def verify(
    shards: ShardsFolder,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every picture and clip.")] = False,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Check shards against their index: one line per problem, exit 1 when there is any."""
    from artsound.shards.verify import verify as verify_shards

    problems = verify_shards(shards, deep=deep, workers=workers or 0)
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems found." if problems else f"{shards}: no problems found.")
    _summary(as_json, {"shards": shards, "deep": deep, "problems": [str(p) for p in problems]})
    if problems:
        raise SystemExit(1)


@app.command(epilog="Example: artsound stats out/shards")
def stats(shards: ShardsFolder, as_json: Json = False) -> None:
    """Print what a shards folder holds: splits, styles, genres, rights, durations, scores."""
    from artsound.reports.stats import print_stats, shard_stats

    values = shard_stats(shards)
    print_stats(values)
    _summary(as_json, values)


@app.command(
    epilog='Example: artsound subset out/shards --genre Jazz --where "year < 1900" '
    "--top 2000 --out ids.npy"
)
def subset(
    shards: ShardsFolder,
    out: Annotated[Path, typer.Option(help="ids.npy, subset.parquet, or a folder for shards.")],
    style: Many = None,
    genre: Many = None,
    music_genre: Many = None,
    painter: Many = None,
    split: Many = None,
    rights: RightsChoice = "any",
    where: Annotated[str, typer.Option(help="An SQL condition over the index.")] = "",
    exclude: Annotated[Path | None, typer.Option(help="A list of ids to leave out.")] = None,
    per_painter: Annotated[int, typer.Option(help="At most N of one painter.", min=0)] = 0,
    per_genre: Annotated[int, typer.Option(help="At most N of one music genre.", min=0)] = 0,
    sample: Annotated[int, typer.Option(help="Draw N by chance.", min=0)] = 0,
    sample_by: Annotated[str, typer.Option(help="Column whose shares a draw keeps.")] = "",
    seed: Annotated[int, typer.Option(help="Seeds the draw.")] = 0,
    top: Annotated[int | None, typer.Option(help="Keep the best-scored N.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """Choose pairs by style, genre, painter, rights, SQL or score: ids, a view, or new shards."""
    from artsound.shards.subset import write_subset

    summary = write_subset(
        shards, out, style=style or (), genre=genre or (), music_genre=music_genre or (),
        painter=painter or (), split=split or (), rights=rights, where=where, exclude=exclude,
        per_painter=per_painter, per_genre=per_genre, sample=sample, sample_by=sample_by,
        seed=seed, top=top,
    )  # fmt: skip
    if (out / "ATTRIBUTION.csv").is_file():  # new shards of our own making: with their own card
        from artsound.reports.card import write_cards

        write_cards(out, out)
    print(f"{summary['samples']:,} pairs in {out}")
    _summary(as_json, summary)


@app.command(epilog="Example: artsound index elsewhere/shards")
def index(
    shards: Annotated[Path, typer.Argument(help="A folder of WebDataset shards.")],
    as_json: Json = False,
) -> None:
    """Write index.parquet and index.json for shards that lack them, whoever made them."""
    from artsound.shards.foreign import index_folder

    files = index_folder(shards)
    print(f"Wrote {' and '.join(str(file) for file in files)}")
    _summary(as_json, {"files": [str(file) for file in files]})


@app.command(epilog="Example: artsound push out/shards hf://datasets/me/artsound")
def push(
    shards: Annotated[Path, typer.Argument(help="A folder of shards.")],
    target: Annotated[str, typer.Argument(help="hf://…, s3://…, any fsspec address, a folder.")],
    restricted: Annotated[
        bool, typer.Option("--restricted", help="Also what may not be passed on: private targets.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Publish shards, or go on with it, and check the digests of all that arrived."""
    from artsound.shards.push import push as push_shards

    summary = push_shards(shards, target, restricted=restricted)
    sent = summary["files"] - summary["skipped"]
    print(f"{sent} of {summary['files']} files sent to {target}; the others were there.")
    for name in summary["stale"]:
        print(f"{target}/{name} is of an earlier release: no index names it.")
    _summary(as_json, summary)


@app.command(epilog="Example: artsound browse out/shards --port 8000")
def browse(
    shards: ShardsFolder,
    port: Annotated[int, typer.Option(help="Port on this machine; 0: any free one.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    save_to: Annotated[
        Path | None, typer.Option(help="Folder for views and judgements; beside the shards.")
    ] = None,
) -> None:
    """Look at, listen to, judge and save pairs in a web browser."""
    from artsound.reports.browse import serve

    serve(shards, host=host, port=port, save_to=save_to)


@app.command(
    epilog="Example: artsound judgements out/shards --drop-rejected --min-rating 2.5 "
    "--out unfit.parquet"
)
def judgements(
    shards: Annotated[Path, typer.Argument(help="A shards folder, or a judgements folder.")],
    drop_rejected: Annotated[
        bool, typer.Option("--drop-rejected", help="List pairs that most judges rejected.")
    ] = False,
    min_rating: Annotated[
        float, typer.Option(help="List pairs rated lower than this.", min=0, max=5)
    ] = 0.0,
    out: Annotated[
        Path | None,
        typer.Option(help="A .parquet list of those pairs, for shards.exclude of a recipe."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell how far judges agree, how pairs fare against controls, and list unfit pairs."""
    from artsound.reports import agreement

    if (drop_rejected or min_rating) and out is None:
        raise BadUsage("Give --out FILE.parquet for the list of pairs to leave out.")
    found = agreement.judgements_at(shards)
    summary = agreement.summarise(found)
    agreement.print_summary(summary)
    if out is not None:
        unfit = agreement.unfit(found, drop_rejected=drop_rejected, min_rating=min_rating)
        agreement.write_exclusions(out, unfit)
        print(f"{len(unfit):,} pairs listed in {out}")
        summary |= {"listed": len(unfit), "out": str(out)}
    _summary(as_json, summary)


Preset = Annotated[
    str, typer.Option(help="tiny: minutes on a CPU; base, audioldm2 (published weights): GPUs.")
]
Pretrained = Annotated[
    str | None, typer.Option(help="AudioLDM 2: a folder in diffusers' layout, or a hub name.")
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
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Make what training reads ready beside the shards: latents and picture embeddings."""
    from artsound.console import console_progress
    from artsound.training.config import find_preset, with_settings
    from artsound.training.latents import write_latents

    config = with_settings(find_preset(preset), settings or [])
    pairs = write_latents(
        data, out, preset=config, pretrained=pretrained, progress=console_progress()
    )
    print(f"{pairs:,} latents: {out}")
    _summary(as_json, {"pairs": pairs, "out": str(out)})


@app.command(epilog="Example: artsound train --data out/shards --preset tiny --out out/training")
def train(
    data: Annotated[str, typer.Option(help="A shards folder or URL.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints and logs.")],
    preset: Preset = "tiny",
    steps: Annotated[int | None, typer.Option(help="Optimiser steps in all.", min=1)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest.")] = False,
    seed: Annotated[int, typer.Option(help="Seeds weights, order and noise.")] = 0,
    pretrained: Pretrained = None,
    latents: Annotated[
        str | None,
        typer.Option(help="A folder made by `artsound latents`, or on-the-fly; else in memory."),
    ] = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Train artwork-to-music on the shards' train split."""
    from artsound.console import console_progress
    from artsound.training.config import find_preset, with_settings
    from artsound.training.loop import train as run_training

    report = run_training(
        data,
        with_settings(find_preset(preset), settings or []),
        out,
        steps=steps,
        resume=resume,
        seed=seed,
        pretrained=pretrained,
        latents=latents,
        progress=console_progress(),
    )
    print(f"Checkpoint: {report.checkpoint}")
    _summary(as_json, report)


@app.command(
    epilog="Example: artsound generate --checkpoint out/training --image cat.jpg --out cat.wav"
)
def generate(
    checkpoint: Annotated[Path, typer.Option(help="A checkpoint, or a training folder.")],
    image: Annotated[list[Path], typer.Option(help="A picture or a folder; may be repeated.")],
    out: Annotated[Path, typer.Option(help="A .wav file; a folder for several pictures.")],
    seconds: Annotated[float | None, typer.Option(help="Length of the music.", min=0.1)] = None,
    seed: Annotated[int, typer.Option(help="Seeds the noise.")] = 0,
    guidance: Annotated[float, typer.Option(help="Weight of the picture.")] = 2.0,
    steps: Annotated[int, typer.Option(help="Denoising steps.", min=1)] = 25,
    spectrogram: Annotated[bool, typer.Option(help="Also write a PNG beside each WAV.")] = False,
    as_json: Json = False,
) -> None:
    """Make music for a picture."""
    from artsound.training.generate import generate as run_generation

    pieces = run_generation(
        checkpoint,
        image,
        out,
        seconds=seconds,
        seed=seed,
        guidance=guidance,
        steps=steps,
        spectrogram=spectrogram,
    )
    for piece in pieces:
        print(piece.file)
    _summary(as_json, {"files": [asdict(piece) for piece in pieces]})


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
    seed: Annotated[int, typer.Option(help="Seeds noise and bootstrap.")] = 0,
    as_json: Json = False,
) -> None:
    """Measure a checkpoint on a split, against shuffled pictures and plain baselines."""
    from artsound.console import console_progress
    from artsound.training.evaluate import evaluate as run_evaluation

    summary = run_evaluation(
        checkpoint, data, out, split=split, seed=seed, progress=console_progress()
    )
    print(f"Results: {out}")
    _summary(as_json, summary)


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"artsound {__version__}")
        raise SystemExit(0)


def main() -> None:
    """Run the command line; exit 0 done, 1 the data is bad, 2 wrong usage."""
    try:
        app(standalone_mode=True)
    except ArtSoundError as error:
        _say(f"artsound: {error}")
        raise SystemExit(error.exit_code) from None
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        _say(f"artsound: this needs {error.name}: pip install 'artsound[{extra}]'.")
        raise SystemExit(2) from None


_EXTRAS = {
    "torch": "train",
    "diffusers": "train",
    "accelerate": "train",
    "safetensors": "train",
    "tensorboard": "train",
    "peft": "train",
    "transformers": "models",
    "open_clip": "models",
    "laion_clap": "models",
    "distributed": "dask",
    "prefect_dask": "dask",
}


def _recipe(
    out: Path,
    recipe: str,
    go_on: bool,
    artgraph: str,
    fma: str,
    limit: int | None,
    bridge: str,
    rights: str,
    runner: str,
    workers: int | None,
    scheduler: str,
    track_ids: str,
    artwork_ids: str,
    track_where: str,
    artwork_where: str,
    import_pairs: str,
) -> Recipe:
    """The recipe that was asked for: a file, the workspace's own, or the default; then options."""
    from artsound.recipe import Recipe, bundled_recipe, load_recipe

    kept = out / "recipe.toml"
    if recipe:
        base = load_recipe(Path(recipe)) if recipe.endswith(".toml") else bundled_recipe(recipe)
    elif go_on and kept.is_file():
        base = load_recipe(kept)
    elif artgraph == fma == "sample":
        base = bundled_recipe("sample")
    else:
        base = Recipe()
    if scheduler and runner not in ("", "dask"):
        raise BadUsage("--scheduler is an address of Dask: leave --runner out, or give dask.")
    runner = "dask" if scheduler else runner
    given: dict[str, dict[str, Any]] = {
        "sources": {
            "artgraph": artgraph, "fma": fma, "limit": limit, "ids": track_ids,
            "artwork_ids": artwork_ids, "track_where": track_where,
            "artwork_where": artwork_where,
        },
        "pair": {"bridge": bridge, "given": import_pairs},
        "rights": {"policy": rights},
        "run": {"runner": runner, "workers": workers, "dask_address": scheduler},
    }  # fmt: skip
    return base.replaced(
        **{
            section: {key: value for key, value in keys.items() if value not in ("", None)}
            for section, keys in given.items()
        }
    )


def _run_stages(
    only: str | None, out: Path, recipe: Recipe, retry_failed: bool, as_json: bool
) -> None:
    from artsound.console import console_progress, print_stages
    from artsound.storage import Workspace
    from pipelines.interrupt import ends_at_once

    if out.exists() and not out.is_dir():
        raise BadUsage(f"{out} is a file: give --out a folder.")
    workspace = Workspace(out)
    progress = console_progress()

    with ends_at_once("artsound: stopped; the same command goes on from here."):
        if recipe.run.runner == "serial":
            from pipelines.serial import run_serially as run
        else:
            _say("Starting Prefect …")
            from pipelines.build import run_with_prefect as run
        reports = run(workspace, recipe, only=only, progress=progress, retry_failed=retry_failed)
    print_stages(reports)
    for name, path in (("shards", workspace.shards), ("report", workspace.report / "index.html")):
        if path.exists():
            print(f"{name}: {path}")
    _summary(as_json, {"out": str(out), "stages": [asdict(report) for report in reports]})


def _summary(wanted: bool, value: Any) -> None:
    if wanted:
        plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        print(json.dumps(plain, default=str, sort_keys=True))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
