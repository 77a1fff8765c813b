"""How good the generated music is, and whether it listens to the picture, on held-out pairs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artsound.errors import BadData, BadUsage
from artsound.stage import QUIET, Progress
from artsound.storage import write_bytes, write_json
from artsound.training.checkpoint import check_release
from artsound.training.conditioning import Standardiser, describe_picture, fit_standardiser
from artsound.training.data import Release, open_release
from artsound.training.effects import condition_effect, condition_effects, paired_mean, retrieval
from artsound.training.generate import GUIDANCE, STEPS, Generator, wav_bytes
from artsound.training.metrics import (
    class_divergence,
    distances,
    frechet_by_size,
    frechet_distance,
    kernel_distance,
)
from artsound.training.plots import effect_png, frechet_png

# Both are held out: no weight was fitted to val, and evaluation takes the newest checkpoint rather
# than the one that is best on val.
SPLITS = {
    "train": ("train",),
    "val": ("val",),
    "test": ("test",),
    "held-out": ("val", "test"),
}
LEAST_PAIRS = 4
# The scalar fields of a track's descriptors; frequencies and tempo on a logarithmic scale, as the
# ear has them.
SOUND_FIELDS = (
    "tempo", "pulse_clarity", "onset_rate", "key_clarity", "majorness", "loudness",
    "dynamic_range", "loudness_slope", "centroid", "rolloff", "bandwidth", "flatness",
    "zero_crossings", "percussiveness", "bass", "pitch_height", "roughness", "flux",
)  # fmt: skip
_LOGARITHMIC = frozenset({"tempo", "centroid", "rolloff", "bandwidth", "flatness"})
DESCRIBE_RATE = 22_050


@dataclass(frozen=True)
class Side:
    """Some pairs of a release: keys, picture descriptors [n, D], track descriptors [n, M]."""

    keys: tuple[str, ...]
    pictures: np.ndarray
    sounds: np.ndarray


def evaluate(
    checkpoint: Path,
    data: str | Path | Release,
    out: Path,
    *,
    split: str = "held-out",
    takes: int = 2,
    seed: int = 0,
    guidance: float = GUIDANCE,
    steps: int = STEPS,
    limit: int = 512,
    progress: Progress = QUIET,
) -> dict[str, Any]:
    """Measures of the music generated for the pictures of `split`; also written to `out`.

    `split` is train, val, test, or held-out (val and test together).

    Every picture gets `takes` pieces from the same seeds as every other, so that pictures alone
    make the difference. Compared are: the model, the model without picture (unconditional), and
    the train track whose picture is nearest. At most `limit` pairs of each side are measured.
    `out` gets metrics.json, table.md, plots and wavs/. Raises BadUsage when the checkpoint is of
    another release, BadData when the split holds fewer than four pairs.
    """
    if split not in SPLITS:
        raise BadUsage(f"There is no split {split!r}: choose one of {', '.join(SPLITS)}.")
    splits = SPLITS[split]
    release = data if isinstance(data, Release) else open_release(data)
    generator = Generator(checkpoint)
    check_release(generator.checkpoint.path, generator.checkpoint.state, release.digest)
    held = sum(len(release.pairs(split)) for split in splits)
    if held < LEAST_PAIRS:
        raise BadData(
            f"The split {split} holds {held} pairs, fewer than the {LEAST_PAIRS} that "
            "an evaluation needs: build a larger release."
        )
    seconds = generator.config.mel.seconds
    known = measure(release, ("train",), seconds, limit, progress)
    asked = measure(release, splits, seconds, limit, progress)
    scale = fit_standardiser(known.sounds)
    real = scale(asked.sounds)

    makers = {
        "model": (asked.pictures, guidance),
        "unconditional": (asked.pictures, 0.0),
    }
    made: dict[str, list[np.ndarray]] = {}
    rate = generator.config.mel.sample_rate
    for name, (pictures, strength) in makers.items():
        made[name] = []
        for take in range(takes):
            progress.start(f"generate {name} {take + 1}/{takes}", len(pictures))
            seeds = [seed + take] * len(pictures)
            waves = generator.waves(pictures, seeds=seeds, guidance=strength, steps=steps)
            if name == "model" and take == 0:
                for key, wave in zip(asked.keys, waves, strict=True):
                    write_bytes(out / "wavs" / f"{key}.wav", wav_bytes(wave, rate))
            made[name].append(scale(np.array([describe_wave(wave, rate) for wave in waves])))
            progress.advance(len(pictures))
            progress.finish()
    near = nearest(known.pictures, asked.pictures, generator.standardise)
    made["nearest track"] = [scale(known.sounds[near])]

    apart = {
        name: np.mean([distances(real, one) for one in sets], axis=0) for name, sets in made.items()
    }
    systems = {name: _measures(real, sets, apart[name], seed) for name, sets in made.items()}
    summary: dict[str, Any] = {
        "checkpoint": str(generator.checkpoint.path),
        "release": release.digest,
        "step": generator.checkpoint.state.step,
        "split": split,
        "pairs": len(asked.keys),
        "takes": takes,
        "seconds": seconds,
        "guidance": guidance,
        "sampling_steps": steps,
        "embedding": "descriptors",
        "condition_effect": systems["model"]["condition_effect"],
        "systems": systems,
    }
    write_json(out / "metrics.json", summary)
    write_bytes(out / "table.md", table(summary).encode())
    effects = {name: condition_effects(distance) for name, distance in apart.items()}
    write_bytes(out / "effect.png", effect_png(summary, effects))
    write_bytes(out / "frechet.png", frechet_png(summary))
    return summary


def measure(
    release: Release, splits: tuple[str, ...], seconds: float, limit: int, progress: Progress
) -> Side:
    """Descriptors of both sides of the pairs of `splits`, the music's from its middle `seconds`."""
    keys, pictures, sounds = [], [], []
    for split in splits:
        pairs = release.pairs(split)
        count = min(len(pairs), limit)
        progress.start(f"measure {split}", count)
        # Evenly over the split: neighbours in a shard may be of one artist.
        for position in np.linspace(0, len(pairs) - 1, count).round().astype(int):
            sample = pairs.read(int(position))
            keys.append(sample["key"])
            pictures.append(describe_picture(sample["jpg"]))
            sounds.append(_describe_clip(sample["mp3"], seconds))
            progress.advance(1)
        progress.finish()
    return Side(tuple(keys), np.array(pictures), np.array(sounds))


def describe_wave(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Descriptors float32 [18] of a waveform float32 [n], in the order of SOUND_FIELDS."""
    import soxr

    from artsound.encoders.affect import describe_audio

    if sample_rate != DESCRIBE_RATE:
        wave = soxr.resample(wave, sample_rate, DESCRIBE_RATE).astype(np.float32)
    values = describe_audio(wave, DESCRIBE_RATE)
    return np.array(
        [
            np.log(max(values[name], 1e-6)) if name in _LOGARITHMIC else values[name]
            for name in SOUND_FIELDS
        ],
        dtype=np.float32,
    )


def nearest(known: np.ndarray, asked: np.ndarray, standardise: Standardiser) -> np.ndarray:
    """For each asked picture the index of the known one nearest to it."""
    return distances(standardise(asked), standardise(known)).argmin(axis=1)


def table(summary: dict[str, Any]) -> str:
    """The summary as a Markdown table, a row for each system."""
    rows = [
        f"# Evaluation of step {summary['step']} on {summary['pairs']} pairs ({summary['split']})",
        "",
        "| system | Fréchet ↓ | kernel ↓ | classes KL ↓ | distance to own track ↓ "
        "| condition effect ↑ (95%) | R@1 (chance) | R@5 (chance) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, m in summary["systems"].items():
        effect, own, found = m["condition_effect"], m["own_distance"], m["retrieval"]
        rows.append(
            f"| {name} | {m['frechet']:.2f} | {m['kernel']:.3f} | {m['class_divergence']:.3f} "
            f"| {own['mean']:.3f} ({own['low']:.3f}…{own['high']:.3f}) "
            f"| {effect['mean']:+.3f} ({effect['low']:+.3f}…{effect['high']:+.3f}) "
            f"| {found['recall_1']['mean']:.2f} ({found['chance_1']:.2f}) "
            f"| {found['recall_5']['mean']:.2f} ({found['chance_5']:.2f}) |"
        )
    return "\n".join(rows) + "\n"


def _measures(
    real: np.ndarray, takes: list[np.ndarray], distance: np.ndarray, seed: int
) -> dict[str, Any]:
    """All measures of one system; `distance` [tracks, pictures] is the mean over its takes."""
    together = np.concatenate(takes)
    return {
        "frechet": frechet_distance(real, together),
        "frechet_by_size": {
            str(n): v for n, v in frechet_by_size(real, together, seed=seed).items()
        },
        "kernel": kernel_distance(real, together),
        "class_divergence": class_divergence(real, together),
        "own_distance": asdict(paired_mean(np.diagonal(distance), seed=seed)),
        "condition_effect": asdict(condition_effect(distance, seed=seed)),
        "retrieval": asdict(retrieval(distance)),
    }


def _describe_clip(data: bytes, seconds: float) -> np.ndarray:
    from artsound.media.audio import load_mono

    wave = load_mono(data, sample_rate=DESCRIBE_RATE)
    length = round(seconds * DESCRIBE_RATE)
    first = max(0, (len(wave) - length) // 2)
    return describe_wave(wave[first : first + length], DESCRIBE_RATE)
