"""Made-up CLIP and CLAP: two spaces that share no direction, only the meanings of texts.

Every item and text has a meaning, a point in a small space. A space shows it through its own
random map, beside private detail, a cone (the constant offset of its modality, far from that of
its texts: the modality gap of Liang et al., NeurIPS 2022), and for some items a pull towards the
texts that makes them near to everything: hubs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from artsound.pairing.match import match

MEANING = 12


@dataclass(frozen=True)
class Space:
    """One encoder: `texts(meaning)` and `items(meaning)` are unit rows [n, width]."""

    map: np.ndarray
    text_cone: np.ndarray
    item_cone: np.ndarray
    gap: float
    noise: float
    hubs: float
    seed: int

    @staticmethod
    def make(
        seed: int, width: int = 96, *, gap: float = 1.5, noise: float = 0.8, hubs: float = 0.05
    ) -> Space:
        rng = np.random.default_rng(seed)
        cones = rng.standard_normal((2, width)) / np.sqrt(width)
        # Real encoders see some meanings far better than others.
        strength = rng.uniform(0.4, 1.6, (MEANING, 1))
        linear = strength * rng.standard_normal((MEANING, width)) / np.sqrt(MEANING * width)
        return Space(linear, cones[0], cones[1], gap, noise, hubs, seed)

    def texts(self, meaning: np.ndarray, noise: float = 0.5) -> np.ndarray:
        rng = np.random.default_rng([self.seed, 1, len(meaning)])
        spread = rng.uniform(0.5, 1.5, (len(meaning), 1))  # some texts are far stronger than others
        return self._rows(meaning * spread, self.gap * self.text_cone, noise, rng)

    def items(self, meaning: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng([self.seed, 2, len(meaning)])
        pull = np.where(rng.random((len(meaning), 1)) < self.hubs, 1.0, 0.0)
        cone = self.gap * (self.item_cone + pull * (self.text_cone - 0.5 * self.item_cone))
        return self._rows(meaning, cone, self.noise, rng)

    def _rows(
        self, meaning: np.ndarray, cone: np.ndarray, noise: float, rng: np.random.Generator
    ) -> np.ndarray:
        width = self.map.shape[1]
        private = noise * rng.standard_normal((len(meaning), width)) / np.sqrt(width)
        rows = meaning @ self.map + private + cone
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class Planted:
    """Artworks and tracks, and both encoders; track n has the meaning of artwork n."""

    meaning: np.ndarray
    clip: Space
    clap: Space
    images: np.ndarray
    audio: np.ndarray
    concepts: np.ndarray  # meanings

    @staticmethod
    def make(
        artworks: int, tracks: int, seed: int = 0, *, concepts: int = 200, **space: float
    ) -> Planted:
        rng = np.random.default_rng(seed)
        meaning = rng.standard_normal((artworks, MEANING))
        clip = Space.make(3 * seed + 1, 96, **space)
        clap = Space.make(3 * seed + 2, 80, **space)
        return Planted(
            meaning,
            clip,
            clap,
            clip.items(meaning),
            clap.items(meaning[:tracks]),
            rng.standard_normal((concepts, MEANING)),
        )


def caption_vectors(world: Planted, noise: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """Artworks' captions by CLAP and tracks' captions by CLIP; captions are not quite exact."""
    rng = np.random.default_rng([world.clip.seed, 3])
    said = world.meaning + noise * rng.standard_normal(world.meaning.shape)
    of_tracks = world.meaning[: len(world.audio)]
    sung = of_tracks + noise * rng.standard_normal(of_tracks.shape)
    return world.clap.texts(said), world.clip.texts(sung)


def text_pairs(world: Planted, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The same texts, which no item has, by CLIP and by CLAP."""
    meaning = np.random.default_rng([world.clip.seed, 4]).standard_normal((count, MEANING))
    return world.clip.texts(meaning), world.clap.texts(meaning)


def recall(tracks: np.ndarray, artworks: np.ndarray, at: int) -> float:
    """How often a track's own artwork, that of the same row, is among its `at` best."""
    scores = tracks @ artworks.T
    true = np.diag(scores)[:, None]
    return float(((scores > true).sum(axis=1) < at).mean())


def accuracy(tracks: np.ndarray, artworks: np.ndarray, neighbours: int) -> tuple[float, float]:
    """Of the best one-to-one assignment, hub-corrected over so many `neighbours` (0: not): how
    often a track gets its own artwork, and the mean score."""
    found = match(
        tracks,
        artworks,
        count=32,
        neighbours=neighbours,
        floor=-1.0,
        uses=1,
        painters=np.arange(len(artworks)),
        painter_uses=0,
        optimality=0.999,
        device="cpu",
    )
    chosen = found.assignment.artworks
    own = np.arange(len(tracks))
    score = np.einsum("nd,nd->n", tracks, artworks[chosen]).mean()
    return float((chosen == own).mean()), float(score)
