"""What each bridge recovers of a planted truth, and what each of its steps buys.

    python benchmarks/bridges.py            480 tracks, 600 artworks, three worlds each, < 90 s
    python benchmarks/bridges.py --fair     worlds of which no bridge has the right model
    python benchmarks/bridges.py --csls     the hub correction, on other worlds of that kind
    python benchmarks/bridges.py --items N  another number of artworks
    python benchmarks/bridges.py --choose   settings of the concepts bridge, on worlds of their own

No weights are needed: tests/pairing/planted.py makes up CLIP and CLAP, which share nothing but
the meanings of texts, with a modality gap and hubs. Every track has one true artwork; a quarter
more artworks have no track. R@1 and R@10: the true artwork's rank for its track; accuracy: the
share of tracks that the one-to-one assignment gives their own artwork, without and with the hub
correction (CSLS); total: what the correction costs of the mean score. Means over three worlds.
Settings are compared on other worlds, with another gap, noise and share of hubs, than those that
score the bridges. The figures hold for this truth, whose noise is a guess: they compare steps,
not real encoders. The worlds of --fair (fair_worlds.py) are harder, their truth is graded, and no
setting of any bridge was chosen on them: shown is the mean true likeness of matched pairs, without
and with the hub correction, beside that of the best matching that there is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "pairing"))

from fair_worlds import FairWorld
from planted import Planted, accuracy, caption_vectors, recall, text_pairs
from scipy.optimize import linear_sum_assignment

from artsound.pairing.caption_bridge import caption_rows
from artsound.pairing.cca import cca_rows
from artsound.pairing.concepts import concept_rows
from artsound.pairing.fusion import fused_rows
from artsound.pairing.learned import BATCH, EPOCHS, train_heads
from artsound.pairing.match import match
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


def cca(world: Planted) -> Sides:
    artworks, tracks = cca_rows(world.images, world.audio, *text_pairs(world, TEXTS))
    return tracks, artworks


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
    "cca": cca,
}

OTHER_SEEDS = range(100, 108)
FAIR = {
    "fair": {},
    "the bank speaks of half": {"covered": 3},
    "texts misread twice as far": {"misread": 1.0},
    "500 texts": {"texts": 500},
    "100 texts": {"texts": 100},
}


def fair_sides(world: FairWorld, *, trained: bool = True) -> dict[str, Sides]:
    """The rows of each bridge, of tracks and of artworks; without `trained` only closed forms."""
    weights = np.where(world.arbitrary, 0.25, 1.0)
    captions = caption_rows(world.images, world.heard, world.audio, world.seen)
    texts = [
        np.concatenate(pair)
        for pair in zip((world.paintings, world.music), world.texts, strict=True)
    ]
    joined = cca_rows(world.images, world.audio, *texts)
    concepts = (
        concept_rows(world.images, world.paintings, weights),
        concept_rows(world.audio, world.music, weights),
    )
    sides = {
        "concepts, all alike": (
            concept_rows(world.images, world.paintings), concept_rows(world.audio, world.music)
        ),
        "concepts, arbitrary ones weigh 0.25": concepts,
        "captions": captions,
        "cca on the bank": cca_rows(world.images, world.audio, world.paintings, world.music),
        "cca on the bank and texts": joined,
        "fusion:concepts+captions": fused_rows([concepts, captions], [1.0, 1.0]),
        "fusion:captions+cca": fused_rows([captions, joined], [1.0, 1.0]),
    }  # fmt: skip
    if trained:
        heads = train_heads(*texts, world.images, world.audio, seed=0, steps=STEPS)
        sides["learned"] = heads[0].rows(world.images), heads[1].rows(world.audio)
    return {name: (tracks, artworks) for name, (artworks, tracks) in sides.items()}


def fair(items: int) -> None:
    """Print the true likeness of what each bridge matches on worlds that fit no bridge's model."""
    for label, options in FAIR.items():
        found: dict[str, list[list[float]]] = {}
        for seed in range(WORLDS):
            world = FairWorld.make(items, items * 4 // 5, seed, **options)  # type: ignore[arg-type]
            truth = world.likeness()
            best = float(truth[linear_sum_assignment(truth, maximize=True)].mean())
            found.setdefault("the best matching", []).append([best, best])
            for name, sides in fair_sides(world).items():
                found.setdefault(name, []).append([likeness(truth, *sides, n) for n in (0, 10)])
        print(f"{label:38}{'truth':>11}{'with CSLS':>11}")
        for name, values in found.items():
            plain, corrected = np.mean(values, axis=0)
            print(f"  {name:36}{plain:11.3f}{corrected:11.3f}", flush=True)


def hubs(items: int) -> None:
    """Print what the hub correction does to the truth, on worlds of which nothing else is said."""
    gains: dict[str, list[float]] = {}
    for seed in OTHER_SEEDS:
        world = FairWorld.make(items, items * 4 // 5, seed)
        truth = world.likeness()
        for name, sides in fair_sides(world, trained=False).items():
            plain, corrected = (likeness(truth, *sides, n) for n in (0, 10))
            gains.setdefault(name, []).append(corrected - plain)
    print(f"{len(OTHER_SEEDS)} worlds, true likeness with CSLS less without")
    for name, found in gains.items():
        error = np.std(found, ddof=1) / np.sqrt(len(found))
        raised = sum(gain > 0 for gain in found)
        print(f"  {name:36}{np.mean(found):+9.4f} ± {error:.4f}  raised in {raised}", flush=True)


def likeness(truth: np.ndarray, tracks: np.ndarray, artworks: np.ndarray, neighbours: int) -> float:
    """The mean true likeness of the pairs that these rows give."""
    chosen = match(tracks, artworks, count=32, neighbours=neighbours).assignment.artworks
    return float(truth[np.arange(len(chosen)), chosen].mean())


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
    parser.add_argument("--csls", action="store_true", help="the hub correction, on other worlds")
    parser.add_argument("--fair", action="store_true", help="the worlds of fair_worlds.py")
    options = parser.parse_args()
    items = options.items
    if options.fair:
        fair(items)
        return
    if options.csls:
        hubs(items)
        return
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
