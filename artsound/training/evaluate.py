"""Evaluation on held-out pairs: the quality of the music, and whether it follows the picture.

The model is compared with controls and, if published weights are given, with AudioLDM 2 on the
artwork's caption. Both held-out splits are used: no weight was fitted to val, and the newest
checkpoint is evaluated, not the best one on val.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.encoders.base import choose_device
from artsound.encoders.descriptors import as_embedded, measure_wave
from artsound.encoders.weights import quiet_libraries
from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.pairing.affect import AffectBridge, fit_affect, fit_of
from artsound.pairing.previous_release import FITS
from artsound.progress import QUIET, Progress
from artsound.storage import EFFECTS, write_bytes, write_json
from artsound.training.checkpoint import check_release
from artsound.training.codec import levelled, training_log_mel
from artsound.training.config import Mel
from artsound.training.data import Release, open_release
from artsound.training.generate import BATCH, STEPS, Generator, check_seed, wav_bytes
from artsound.training.metrics import (
    DESCRIPTORS,
    AudioEmbedder,
    bootstrap,
    clap_embedder,
    class_divergence,
    distances,
    divergences,
    frechet_by_size,
    frechet_distance,
    frechet_without_bias,
    genre_probabilities,
    kernel_distance,
    log_mel_embedder,
    paired_mean,
    picture_effect,
    picture_effects,
    reflected_bootstrap,
    retrieval,
)
from artsound.training.model import language_of_audio
from artsound.training.paper import Opened, PairClip, measure_paper, open_metrics, paper_table
from artsound.training.pictures import (
    PictureEncoder,
    Standardiser,
    describe_picture,
    fit_standardiser,
)
from artsound.training.plots import effect_png, frechet_png, spectrogram_png
from artsound.training.pretrained import check_words, find_pretrained, load_module
from artsound.untrusted import parse_json

if TYPE_CHECKING:
    import torch


_COLUMNS = (
    "system", "Fréchet ↓", "without bias ↓", "kernel ↓", "classes KL ↓", "genres KL ↓",
    "distance to own track ↓", "condition effect ↑", "R@1 ↑", "R@5 ↑", "R@10 ↑", "median rank ↓",
)  # fmt: skip


def evaluation_table(summary: dict[str, Any]) -> str:
    """A table for every embedding and one for the bridge, a row for each system.

    Intervals are 95% bootstrap intervals over pairs.
    """
    parts = [
        f"# Evaluation of step {summary['step']} on {summary['pairs']} pairs ({summary['split']})"
    ]
    for embedding in summary["embeddings"]:
        rows = [
            [name, *_cells(measures[embedding])] for name, measures in summary["systems"].items()
        ]
        some = next(iter(summary["systems"].values()))[embedding]["retrieval"]
        chance = (
            f"By chance: R@1 {some['chance_1']:.2f}, R@5 {some['chance_5']:.2f}, R@10 "
            f"{some['chance_10']:.2f}, median rank {some['chance_rank']:.1f}."
        )
        parts.append(f"## Through {embedding}\n\n{_table(_COLUMNS, rows)}\n\n{chance}")
    bridged = {"own track": summary["own_track_in_bridge"]} | {
        name: measures["bridge"] for name, measures in summary["systems"].items()
    }
    rows = [
        [name, _interval(b["similarity"]), _interval(b["effect"])] for name, b in bridged.items()
    ]
    columns = ("system", "similarity to the picture ↑", "condition effect ↑")
    parts.append(f"## On the affect bridge\n\n{_table(columns, rows)}")
    if paper := summary.get("paper"):
        parts.append(
            f"## As published\n\n{_table(*paper_table(paper))}\n\n{paper['pairs']:,} pairs, one "
            f"clip each of {paper['seconds']:g} s at {paper['sample_rate']:,} Hz."
        )
    return "\n\n".join(parts) + "\n"


def _cells(measures: dict[str, Any]) -> list[str]:
    found, genres = measures["retrieval"], measures["genre_divergence"]
    return [
        _interval(measures["frechet"]),
        f"{measures['frechet_without_bias']:.3g}",
        _interval(measures["kernel"]),
        _interval(measures["class_divergence"]),
        "–" if genres is None else _interval(genres),
        _interval(measures["own_distance"]),
        _interval(measures["condition_effect"]),
        *(f"{found[f'recall_{k}']['mean']:.2f}" for k in (1, 5, 10)),
        f"{found['median_rank']:.1f}",
    ]


def _interval(value: dict[str, float]) -> str:
    # Rounding errors of sums count as zero.
    value = {name: 0.0 if abs(number) < 1e-9 else number for name, number in value.items()}
    return f"{value['mean']:.3g} ({value['low']:.3g}…{value['high']:.3g})"


def _table(columns: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [list(columns), ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# As published for the music checkpoint; the negative prompt is AudioLDM 2's recommendation.
TEXT_GUIDANCE = 3.5
NEGATIVE = "Low quality."
_MODULES = ("vae", "unet", "vocoder", "language_model", "text_encoder", "text_encoder_2",
            "projection_model")  # fmt: skip
_LEAST_WORDS = 100  # any complete tokenizer has more


class TextRoute:
    """A loaded AudioLDM 2 pipeline: captions to waveforms."""

    def __init__(self, source: str | Path, *, device: str = "auto") -> None:
        """Open the pipeline in a folder (diffusers' layout, safetensors only) or of a hub name.

        Raises:
            BadData: It is missing or damaged, or a tokenizer has no vocabulary.
        """
        self._folder = folder = find_pretrained(str(source))
        self._pipe = _open(folder).to(choose_device(device))
        self._pipe.set_progress_bar_config(disable=True)
        self.sample_rate = int(self._pipe.vocoder.config.sampling_rate)

    def waves(
        self, captions: Sequence[str], *, seconds: float, seed: int, steps: int
    ) -> list[np.ndarray]:
        """Waveforms float32 [seconds * sample_rate], each from its caption and the same seed."""
        import torch

        waves = []
        for caption in captions:
            with torch.inference_mode():
                [wave] = self._pipe(
                    caption,
                    negative_prompt=NEGATIVE,
                    audio_length_in_s=seconds,
                    num_inference_steps=steps,
                    guidance_scale=TEXT_GUIDANCE,
                    generator=torch.Generator().manual_seed(seed),
                ).audios
            if not np.isfinite(wave).all():
                raise BadData(
                    f"{self._folder} gives sound that is not finite: fetch its modules again."
                )
            waves.append(np.asarray(wave, dtype=np.float32))
        return waves


def _open(folder: Path) -> Any:
    from diffusers import AudioLDM2Pipeline, DDIMScheduler
    from transformers import RobertaTokenizer, T5Tokenizer

    class Pipeline(AudioLDM2Pipeline):
        """Replaces a method that fails since transformers 4.50, whose GPT2Model cannot generate.

        See github.com/huggingface/diffusers/issues/12630.
        """

        def generate_language_model(
            self,
            inputs_embeds: torch.Tensor,
            max_new_tokens: int | None = None,
            attention_mask: torch.Tensor | None = None,
        ) -> torch.Tensor:
            default = getattr(self.language_model.config, "max_new_tokens", 8)
            states = int(max_new_tokens or default)
            return language_of_audio(self.language_model, inputs_embeds, states, attention_mask)

    modules = {name: load_module(folder, name) for name in _MODULES}
    # The pipeline checks for these classes.
    for name, kind in (("tokenizer", RobertaTokenizer), ("tokenizer_2", T5Tokenizer)):
        try:
            with quiet_libraries():
                tokenizer = kind.from_pretrained(folder / name, local_files_only=True)
        except Exception as error:  # tokenizers raises nothing more precise
            raise BadData(
                f"{folder / name} is missing or cannot be read: fetch the tokenizer into it."
            ) from error
        # Without its vocabulary transformers gives an empty tokenizer instead of an error.
        if len(tokenizer) - len(tokenizer.all_special_tokens) < _LEAST_WORDS:
            raise BadData(f"{folder / name} has no vocabulary: fetch it again.")
        model = modules["text_encoder_2" if kind is T5Tokenizer else "text_encoder"]
        check_words(folder, name, tokenizer, getattr(model, "text_model", model))
        modules[name] = tokenizer
    try:
        scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
    except (OSError, ValueError, TypeError) as error:
        raise BadData(f"{folder / 'scheduler'} cannot be read: fetch it again.") from error
    # The feature extractor only ranks several results for one caption.
    return Pipeline(**modules, scheduler=scheduler, feature_extractor=None)


SPLITS = {
    "train": ("train",),
    "val": ("val",),
    "test": ("test",),
    "held-out": ("val", "test"),
}
PROTOCOLS = ("own", "paper")
LEAST_PAIRS = 4
# Waveforms of some pictures, from the number of the take and their rows.
Make = Callable[[int, slice], list[np.ndarray]]
SET_ROUNDS = 200  # resamples of a whole set; pairs get more, since they are cheap


@dataclass(frozen=True)
class Take:
    """Measurements of clips: descriptors [n, 20], and each embedder's rows [n, D]."""

    described: np.ndarray
    embedded: dict[str, np.ndarray]


@dataclass(frozen=True)
class MusicSet:
    """Pairs of a release: keys, captions, genres, the pictures' styles ("" for unknown),
    descriptors [n, 20] and embeddings [n, D] by the model's encoder, and the tracks.
    `samples` are their splits and places."""

    samples: tuple[tuple[str, int], ...]
    keys: tuple[str, ...]
    captions: tuple[str, ...]
    genres: tuple[str, ...]
    styles: tuple[str, ...]
    pictures: np.ndarray
    seen: np.ndarray
    sounds: Take


def evaluate(  # noqa: PLR0915 (one measure after the other)
    checkpoint: Path,
    data: str | Path | Release,
    out: Path,
    *,
    split: str = "held-out",
    takes: int = 2,
    seed: int = 0,
    guidance: float | None = None,
    steps: int = STEPS,
    candidates: int = 1,
    limit: int = 512,
    clap: Path | None = None,
    clap_tower: str = "HTSAT-base",
    text_route: str | Path | None = None,
    protocol: str = "own",
    vggish: Path | None = None,
    panns: Path | None = None,
    metrics: Sequence[str] = (),
    pretrained: str | None = None,
    clip_checkpoint: str | None = None,
    progress: Progress = QUIET,
) -> dict[str, Any]:
    """Measure the music generated for the pictures of a split.

    Compared are the model, the model without picture (unconditional), the train track whose
    picture is nearest, and AudioLDM 2 on the artwork's caption. All are measured by descriptors
    and, if given, CLAP; real tracks are resampled to the model's rate first. Where the model was
    trained at one level (`mel.peak`), all sounds are scaled to it, the text route's too.

    Args:
        checkpoint: A checkpoint, or a training folder.
        data: The release that it was trained on.
        out: The folder for metrics.json, table.md, plots and wavs/.
        split: train, val, test, or held-out (val and test).
        takes: Pieces for each picture, all pictures with the same seeds.
        seed: Of noise and bootstrap.
        guidance: As for `generate`.
        steps: Denoising steps.
        candidates: Above 1, the model is measured once more with so many candidates for each
            piece (see `generate`), and everything by log-mels too, since candidates are ranked by
            the descriptors.
        limit: The largest number of pairs of each split to measure.
        clap: A LAION-CLAP checkpoint; None: without CLAP.
        clap_tower: Its audio tower.
        text_route: Folder or hub name of AudioLDM 2; None: without it.
        protocol: "own", or "paper" for the measures of published papers too (`paper.py`).
        vggish: Weights of VGGish, for "paper"; None: what needs them is not measured.
        panns: Weights of PANNs CNN14, for "paper"; None: what needs them is not measured.
        metrics: Names of more metrics, plug-ins, for "paper".
        pretrained: As for `generate`.
        clip_checkpoint: As for `generate`.
        progress: Counts measured and generated clips.

    Returns:
        The content of metrics.json.

    Raises:
        BadUsage: The checkpoint was trained on another release, or an option is wrong.
        BadData: The split has fewer than four pairs, or a given checkpoint cannot be used.
    """
    if split not in SPLITS:
        raise BadUsage(f"There is no split {split!r}: choose one of {', '.join(SPLITS)}.")
    _check_protocol(protocol, bool(vggish or panns or metrics))
    check_seed(seed)
    splits = SPLITS[split]
    release = data if isinstance(data, Release) else open_release(data)
    generator = Generator(checkpoint, pretrained=pretrained, clip_checkpoint=clip_checkpoint)
    check_release(generator.checkpoint.path, generator.checkpoint.state, release.digest)
    generator.check_steps(steps)
    generator.check_candidates(candidates)
    strength = generator.guidance(guidance)
    held = sum(len(release.pairs(name)) for name in splits)
    if held < LEAST_PAIRS:
        raise BadData(
            f"The split {split} holds {held} pairs, fewer than the {LEAST_PAIRS} that "
            "an evaluation needs: build a larger release."
        )
    embedders = [DESCRIPTORS]
    if candidates > 1:
        embedders.append(log_mel_embedder(generator.config.mel))
    if clap is not None:
        embedders.append(clap_embedder(clap, clap_tower))
    opened = None
    if protocol == "paper":  # before hours of generation
        tower = None if clap is None else f"{clap_tower}@{clap}"
        opened = _open_published({"vggish": vggish, "panns": panns, "clap": tower}, metrics)
    route = None if text_route is None else TextRoute(text_route)
    mel = generator.config.mel
    encode = generator.encode
    known = measure(release, ("train",), encode, embedders, mel, limit, progress)
    asked = measure(release, splits, encode, embedders, mel, limit, progress)

    def pieces(guidance: float, several: int = 1) -> Make:
        return lambda take, rows: generator.waves(
            asked.seen[rows],
            seeds=[seed + take] * len(asked.keys[rows]),
            guidance=guidance,
            steps=steps,
            candidates=several,
        )

    rate = mel.sample_rate
    makers = {"model": (pieces(strength), rate)}
    if candidates > 1:
        makers[f"best of {candidates}"] = (pieces(strength, candidates), rate)
    makers["unconditional"] = (pieces(0.0), rate)
    if route is not None:
        makers["text route"] = (
            lambda take, rows: route.waves(
                asked.captions[rows], seconds=mel.seconds, seed=seed + take, steps=steps
            ),
            route.sample_rate,
        )
    systems = {
        name: [
            _take(name, turn, takes, *maker, asked.keys, embedders, mel, out, progress)
            for turn in range(takes)
        ]
        for name, maker in makers.items()
    }
    near = nearest(known.seen, asked.seen, generator.standardise)
    systems["nearest track"] = [
        Take(known.sounds.described[near], {n: r[near] for n, r in known.sounds.embedded.items()})
    ]

    bridge, fitted_to = _bridge(release, known)
    results: dict[str, dict[str, Any]] = {name: {} for name in systems}
    effects: dict[str, np.ndarray] = {}
    for embedder in embedders:
        for name, sets in systems.items():
            compared = _compared(embedder, known, asked, sets)
            results[name][embedder.name] = _measures(*compared, seed=seed)
            if embedder.name == embedders[0].name:
                _, rows, _ = compared
                effects[name] = picture_effects(_apart(compared[0], rows))
    for name, sets in systems.items():
        results[name]["bridge"] = _similarity(bridge, asked, sets, seed)
    first = results["model"][embedders[0].name]
    summary: dict[str, Any] = {
        "checkpoint": str(generator.checkpoint.path),
        "release": release.digest,
        "step": generator.checkpoint.state.step,
        "split": split,
        "pairs": len(asked.keys),
        "takes": takes,
        "seconds": mel.seconds,
        "peak": mel.peak,
        "guidance": strength,
        "sampling_steps": steps,
        "candidates": candidates,
        "embeddings": [embedder.name for embedder in embedders],
        "condition_effect": first["condition_effect"],
        "bridge_fitted_to": fitted_to,
        "own_track_in_bridge": _similarity(bridge, asked, [asked.sounds], seed),
        "systems": results,
    }
    if opened is not None:
        _write_results(out, summary, asked.keys, effects)  # stays where a paper's measure fails
        tracks = [known.samples[place] for place in near]
        summary["paper"] = _as_published(
            opened, release, asked.samples, tracks, list(makers), mel, out, progress
        )
    _write_results(out, summary, asked.keys, effects)
    return summary


def _write_results(
    out: Path, summary: dict[str, Any], keys: Sequence[str], effects: dict[str, np.ndarray]
) -> None:
    """Write measures, plots, and the effect of each picture on each system's music."""
    write_json(out / "metrics.json", summary)
    by_key = {
        name: dict(zip(keys, map(float, each), strict=True)) for name, each in effects.items()
    }
    write_json(out / EFFECTS, by_key)
    write_bytes(out / "table.md", evaluation_table(summary).encode())
    write_bytes(out / "effect.png", effect_png(summary, effects))
    write_bytes(out / "frechet.png", frechet_png(summary))


def measure(
    release: Release,
    splits: tuple[str, ...],
    encode: PictureEncoder,
    embedders: Sequence[AudioEmbedder],
    mel: Mel,
    limit: int,
    progress: Progress,
) -> MusicSet:
    """Measure the pairs of `splits`; of the music its middle, at the rate and level of `mel`."""
    rate = mel.sample_rate
    places, keys, pictures, seen = [], [], [], []
    captions: list[str] = []
    genres: list[str] = []
    styles: list[str] = []
    sounds: list[Take] = []
    for split in splits:
        pairs = release.pairs(split)
        count = min(len(pairs), limit)
        progress.start(f"measure {split}", count)
        # Evenly over the split, since neighbours in a shard may be of one artist.
        for position in np.linspace(0, len(pairs) - 1, count).round().astype(int):
            sample = pairs.read(int(position))
            places.append((split, int(position)))
            keys.append(sample["key"])
            for texts, name in (
                (captions, "artwork_caption"), (genres, "track_genre"), (styles, "artwork_style"),
            ):  # fmt: skip
                texts.append(str(sample["json"].get(name) or ""))  # null: unknown
            pictures.append(describe_picture(sample["jpg"]))
            seen.append(encode(sample["jpg"]))
            wave = levelled(window_of(sample["mp3"], mel.seconds, rate), mel)
            sounds.append(embed_sound([wave], rate, embedders))
            progress.advance(1)
        progress.finish()
    return MusicSet(
        tuple(places),
        tuple(keys),
        tuple(captions),
        tuple(genres),
        tuple(styles),
        np.array(pictures),
        np.array(seen),
        _together(sounds),
    )


def _bridge(release: Release, known: MusicSet) -> tuple[AffectBridge, str]:
    """The affect bridge of the release, else one fitted to the train split; and which it is."""
    if found := release_fit(release):
        return found, "release"
    return fit_affect(known.pictures, known.sounds.described, styles=known.styles), "train split"


def release_fit(release: Release) -> AffectBridge | None:
    """The affect bridge that fits.json of the release holds; None without one of this version."""
    store = release.data.store
    try:
        fits = parse_json(store.read(FITS))
        return fit_of(fits, f"{store.location}/{FITS}")
    except (ArtSoundError, ValueError):
        return None


def embed_sound(waves: Sequence[np.ndarray], rate: int, embedders: Sequence[AudioEmbedder]) -> Take:
    """Measurements of waveforms at `rate` Hz by every embedder."""
    described = np.array([measure_wave(wave, rate) for wave in waves])
    rows = {
        embedder.name: (
            as_embedded(described) if embedder.embed is None else embedder.embed(waves, rate)
        )
        for embedder in embedders
    }
    return Take(described, rows)


def _take(
    name: str,
    turn: int,
    takes: int,
    make: Make,
    rate: int,
    keys: Sequence[str],
    embedders: Sequence[AudioEmbedder],
    mel: Mel,
    out: Path,
    progress: Progress,
) -> Take:
    """One take of a system, embedded; the first one's sounds are written to `out`."""
    progress.start(f"generate {name} {turn + 1}/{takes}", len(keys))
    parts: list[Take] = []
    for first in range(0, len(keys), BATCH):
        rows = slice(first, first + BATCH)
        waves = make(turn, rows)
        if turn == 0:
            _keep(_wavs(out, name), keys[rows], waves, rate, mel if name == "model" else None)
        parts.append(embed_sound([levelled(wave, mel) for wave in waves], rate, embedders))
        progress.advance(len(waves))
    progress.finish()
    return _together(parts)


def _check_protocol(protocol: str, of_papers: bool) -> None:
    """Raise BadUsage if there is no such protocol, or options of papers' measures are not used."""
    if protocol not in PROTOCOLS:
        raise BadUsage(f"There is no protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}.")
    if of_papers and protocol != "paper":
        raise BadUsage(
            "--vggish, --panns and --metric are of --protocol paper: add it, or leave them out."
        )


def _open_published(weights: Mapping[str, object], metrics: Sequence[str]) -> Opened:
    given = {name: str(file) for name, file in weights.items() if file is not None}
    return open_metrics(given, metrics, device=choose_device("auto"))


def _as_published(
    opened: Opened,
    release: Release,
    samples: Sequence[tuple[str, int]],
    nearest_tracks: Sequence[tuple[str, int]],
    made: Sequence[str],
    mel: Mel,
    out: Path,
    progress: Progress,
) -> dict[str, Any]:
    """The published measures of the first take of every system, from the files in `out`."""
    systems: dict[str, Callable[[], Iterator[PairClip]]] = {
        name: partial(_made_clips, release, samples, _wavs(out, name)) for name in made
    }
    systems["nearest track"] = partial(_real_clips, release, samples, mel, nearest_tracks)
    real = _real_clips(release, samples, mel)
    return {
        "pairs": len(samples),
        "seconds": mel.seconds,
        "sample_rate": mel.sample_rate,
        **measure_paper(opened, real, systems, progress, pairs=len(samples)),
    }


def _wavs(out: Path, system: str) -> Path:
    """The folder of the first take of a system."""
    return out / ("wavs" if system == "model" else f"wavs {system}")


def _real_clips(
    release: Release,
    samples: Sequence[tuple[str, int]],
    mel: Mel,
    sounds: Sequence[tuple[str, int]] | None = None,
) -> Iterator[PairClip]:
    """The pairs' own tracks at the model's rate and length, or the tracks of `sounds`."""
    for place, other in zip(samples, sounds or samples, strict=True):
        mp3 = release.pairs(other[0]).read(other[1])["mp3"]
        wave = window_of(mp3, mel.seconds, mel.sample_rate)
        yield _clip(release.pairs(place[0]).read(place[1]), wav_bytes(wave, mel.sample_rate))


def _made_clips(
    release: Release, samples: Sequence[tuple[str, int]], folder: Path
) -> Iterator[PairClip]:
    """The files of a system's first take."""
    for split, position in samples:
        sample = release.pairs(split).read(position)
        yield _clip(sample, (folder / f"{sample['key']}.wav").read_bytes())


def _clip(sample: dict[str, Any], sound: bytes) -> PairClip:
    captions = (str(sample["json"].get(f"{side}_caption", "")) for side in ("artwork", "track"))
    return PairClip(str(sample["key"]), sound, sample["jpg"], *captions)


def _together(parts: Sequence[Take]) -> Take:
    return Take(
        np.concatenate([part.described for part in parts]),
        {
            name: np.concatenate([part.embedded[name] for part in parts])
            for name in parts[0].embedded
        },
    )


def _keep(
    folder: Path, keys: Sequence[str], waves: Sequence[np.ndarray], rate: int, mel: Mel | None
) -> None:
    """Write a WAV for each key, and with a front end its spectrogram too."""
    for key, wave in zip(keys, waves, strict=True):
        write_bytes(folder / f"{key}.wav", wav_bytes(wave, rate))
        if mel is not None:
            write_bytes(folder / f"{key}.png", spectrogram_png(training_log_mel(wave, mel), mel))


def nearest(known: np.ndarray, asked: np.ndarray, standardise: Standardiser) -> np.ndarray:
    """The index of the nearest known picture for each asked one."""
    return distances(standardise(asked), standardise(known)).argmin(axis=1)


def _compared(
    embedder: AudioEmbedder, known: MusicSet, asked: MusicSet, sets: Sequence[Take]
) -> tuple[np.ndarray, list[np.ndarray], tuple[np.ndarray, list[np.ndarray]] | None]:
    """Real rows, a system's rows for each take, and probabilities of genres of both.

    The latter are None if the training tracks have fewer than two known genres.
    """
    train, real = known.sounds.embedded[embedder.name], asked.sounds.embedded[embedder.name]
    rows = [take.embedded[embedder.name] for take in sets]
    scale = fit_standardiser(train)
    standard = [scale(each) for each in (train, real, *rows)]
    labelled = [n for n, genre in enumerate(known.genres) if genre]
    genres = None
    if len({known.genres[n] for n in labelled}) > 1:
        p, *q = genre_probabilities(
            standard[0][labelled], [known.genres[n] for n in labelled], *standard[1:]
        )
        genres = (p, q)
    if embedder.standardise:
        return standard[1], standard[2:], genres
    return real, rows, genres


def _apart(real: np.ndarray, rows: Sequence[np.ndarray]) -> np.ndarray:
    return np.mean([distances(real, each) for each in rows], axis=0)


def _measures(
    real: np.ndarray,
    rows: list[np.ndarray],
    genres: tuple[np.ndarray, list[np.ndarray]] | None,
    *,
    seed: int,
) -> dict[str, Any]:
    """A system's measures by one embedder; takes count as one set, or as means by pair."""
    count, takes = len(real), len(rows)
    together = np.concatenate(rows)
    distance = _apart(real, rows)
    by_size = frechet_by_size(real, together, seed=seed)

    def frechet(weights: np.ndarray) -> float:
        picks = np.repeat(np.arange(count), weights.astype(int))
        return frechet_distance(real[picks], np.concatenate([each[picks] for each in rows]))

    def kernel(weights: np.ndarray) -> float:
        return kernel_distance(real, together, weights=(weights, np.tile(weights, takes)))

    def classes(weights: np.ndarray) -> float:
        picks = np.repeat(np.arange(count), weights.astype(int))
        return class_divergence(real, np.concatenate([each[picks] for each in rows]))

    if genres is not None:
        p, q = genres
        divergence = np.mean([divergences(p, each) for each in q], axis=0)
    return {
        "frechet": asdict(reflected_bootstrap(frechet, count, seed=seed, rounds=SET_ROUNDS)),
        "frechet_by_size": {str(n): v for n, v in by_size.items()},
        "frechet_without_bias": frechet_without_bias(by_size),
        "kernel": asdict(bootstrap(kernel, count, seed=seed, rounds=SET_ROUNDS)),
        "class_divergence": asdict(bootstrap(classes, count, seed=seed, rounds=SET_ROUNDS)),
        "genre_divergence": None if genres is None else asdict(paired_mean(divergence, seed=seed)),
        "own_distance": asdict(paired_mean(np.diagonal(distance), seed=seed)),
        "condition_effect": asdict(picture_effect(distance, seed=seed)),
        "retrieval": asdict(retrieval(distance, seed=seed)),
    }


def _similarity(
    bridge: AffectBridge, asked: MusicSet, sets: Sequence[Take], seed: int
) -> dict[str, Any]:
    """Scores of pictures with the music made from them by the affect bridge (−1 to 1).

    The bridge is that of the release, else fitted to the train split. `effect` is the difference
    between a picture's score with its own music and with that of others.
    """
    artworks = bridge.artworks(asked.pictures, asked.styles)
    score = np.mean([artworks @ bridge.tracks(take.described).T for take in sets], axis=0)
    return {
        "similarity": asdict(paired_mean(np.diagonal(score), seed=seed)),
        "effect": asdict(picture_effect(-score, seed=seed)),
    }


def window_of(data: bytes, seconds: float, rate: int) -> np.ndarray:
    """The middle `seconds` of an encoded clip, float32 at `rate` Hz; all of a shorter clip."""
    from artsound.media.audio import load_mono

    wave = load_mono(data, sample_rate=rate)
    length = round(seconds * rate)
    first = max(0, (len(wave) - length) // 2)
    return wave[first : first + length]
