"""What each bridge recovers of a planted truth, and what each of its steps buys.

    python benchmarks/bridges.py            480 tracks, 600 artworks, three worlds each, < 90 s
    python benchmarks/bridges.py --items N  another number of artworks
    python benchmarks/bridges.py --choose   settings of the concepts bridge, on worlds of their own

No weights are needed: tests/pairing/planted.py makes up CLIP and CLAP, which share nothing but
the meanings of texts, with a modality gap and hubs. Every track has one true artwork; a quarter
more artworks have no track. R@1 and R@10: the true artwork's rank for its track; accuracy: the
share of tracks that the one-to-one assignment gives their own artwork, without and with the hub
correction (CSLS); total: what the correction costs of the mean score. Means over three worlds.
Settings are compared on other worlds, with another gap, noise and share of hubs, than those that
score the bridges. The figures hold for this truth, whose noise is a guess: they compare steps,
not real encoders.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "pairing"))

from planted import Planted, accuracy, caption_vectors, recall, text_pairs

from artsound.pairing.caption_bridge import caption_rows
from artsound.pairing.concepts import concept_rows
from artsound.pairing.learned import BATCH, EPOCHS, train_heads
from artsound.pairing.rows import centred_rows, decorrelated, standardised, unit_rows

WORLDS = 3
CHOOSING = {"gap": 1.0, "noise": 1.2, "hubs": 0.1}  # of the worlds on which settings are compared
SHRINKAGES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
TEXTS, STEPS = 3000, 120  # of the learned bridge
Sides = tuple[np.ndarray, np.ndarray]  # tracks, artworks
Bridge = Callable[[Planted], Sides]


def concepts(step: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Bridge:
    """The concepts bridge made of `step`(items, concepts)."""

    def both(world: Planted) -> Sides:
        return (
            step(world.audio, world.clap.texts(world.concepts)),
            step(world.images, world.clip.texts(world.concepts)),
        )

    return both


def captions(world: Planted) -> Sides:
    heard, seen = caption_vectors(world)
    artworks, tracks = caption_rows(world.images, heard, world.audio, seen)
    return tracks, artworks


def captions_plain(world: Planted) -> Sides:
    heard, seen = caption_vectors(world)
    return (
        unit_rows(np.concatenate([seen, world.audio], axis=1)),
        unit_rows(np.concatenate([world.images, heard], axis=1)),
    )


def captions_in_clip(world: Planted) -> Sides:
    return centred_rows(caption_vectors(world)[1]), centred_rows(world.images)


def learned(world: Planted) -> Sides:
    clip, clap = train_heads(
        *text_pairs(world, TEXTS), world.images, world.audio, seed=0, steps=STEPS
    )
    return clap.rows(world.audio), clip.rows(world.images)


BRIDGES: dict[str, Bridge] = {
    "concepts: similarities as they are": concepts(lambda x, c: unit_rows(x @ c.T)),
    "  + items centred": concepts(lambda x, c: unit_rows(_centred(x @ c.T))),
    "  + standardised per concept": concepts(lambda x, c: unit_rows(standardised(x @ c.T))),
    "  + concepts centred": concepts(lambda x, c: unit_rows(standardised(x @ _centred(c).T))),
    "  + decorrelated (the bridge)": concepts(concept_rows),
    "captions: dot products as they are": captions_plain,
    "  one term only (CLIP), centred": captions_in_clip,
    "  both, centred, level (the bridge)": captions,
    "learned": learned,
}


def _centred(values: np.ndarray) -> np.ndarray:
    moved: np.ndarray = values - values.mean(axis=0)
    return moved


def choose(items: int) -> None:
    """Print what each shrinkage of the concepts bridge recovers on the worlds for choosing."""
    worlds = [Planted.make(items, items * 4 // 5, 100 + n, **CHOOSING) for n in range(WORLDS)]
    print("shrinkage       R@1      R@10")
    for shrinkage in SHRINKAGES:
        bridge = concepts(lambda x, c, s=shrinkage: _with_shrinkage(x, c, s))  # type: ignore[misc]
        sides = [bridge(world) for world in worlds]
        found = [np.mean([recall(*both, at) for both in sides]) for at in (1, 10)]
        print(f"{shrinkage:9}{found[0]:10.3f}{found[1]:10.3f}", flush=True)


def _with_shrinkage(items: np.ndarray, texts: np.ndarray, shrinkage: float) -> np.ndarray:
    return unit_rows(decorrelated(standardised(items @ _centred(texts).T), shrinkage))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=600, help="artworks")
    parser.add_argument("--choose", action="store_true", help="compare settings instead")
    options = parser.parse_args()
    items = options.items
    if options.choose:
        choose(items)
        return
    worlds = [Planted.make(items, items * 4 // 5, seed) for seed in range(WORLDS)]
    print(f"{items * 4 // 5} tracks, {items} artworks; chance: R@10 {10 / items:.3f}")
    epochs = STEPS * BATCH / TEXTS
    print(f"learned: {epochs:.0f} of the {EPOCHS} published epochs, in batches of {BATCH}")
    head = ("R@1", "R@10", "accuracy", "with CSLS", "total")
    print(f"{'':38}" + "".join(f"{name:>11}" for name in head))
    for name, bridge in BRIDGES.items():
        rows = []
        for world in worlds:
            tracks, artworks = bridge(world)
            plain, corrected = accuracy(tracks, artworks, 0), accuracy(tracks, artworks, 10)
            rows.append(
                [
                    recall(tracks, artworks, 1),
                    recall(tracks, artworks, 10),
                    plain[0],
                    corrected[0],
                    corrected[1] / plain[1] - 1,
                ]
            )
        mean = np.mean(rows, axis=0)
        print(
            f"{name:38}" + "".join(f"{value:11.3f}" for value in mean[:4]) + f"{mean[4]:+11.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
