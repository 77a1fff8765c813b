"""Made-up encoders that no bridge has the right model of, with a graded truth.

Beside tests/pairing/planted.py, in which all that is in an item is shared, encoders are linear,
and both phrases of a concept mean exactly the same: a world in which a relative representation is
the right answer by construction. Here an item has SHARED factors that both arts can show and
PRIVATE ones of larger variance that only its own art has; encoders are non-linear; a phrase is
said wrongly on either side, carries private content, is arbitrary in part (its two sides have
nothing to do with each other), and most are near repetitions of others. A picture has no single
true partner: a match is as good as the cosine of both items' shared factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from artsound.pairing.rows import unit_rows

SHARED, PRIVATE = 6, 14
HIDDEN = 64


@dataclass(frozen=True)
class Tower:
    """One encoder: an image or audio encoder and its texts."""

    first: np.ndarray
    bias: np.ndarray
    second: np.ndarray
    cones: np.ndarray
    seed: int

    @staticmethod
    def make(seed: int, width: int) -> Tower:
        draw = np.random.default_rng(seed)
        factors = SHARED + PRIVATE
        return Tower(
            draw.standard_normal((factors, HIDDEN)) / np.sqrt(factors),
            0.3 * draw.standard_normal(HIDDEN),
            draw.standard_normal((HIDDEN, width)) / np.sqrt(HIDDEN),
            draw.standard_normal((2, width)) / np.sqrt(width),
            seed,
        )

    def rows(
        self, shared: np.ndarray, private: np.ndarray, *, texts: bool, tag: int, noise: float
    ) -> np.ndarray:
        """Unit rows float32 of items or texts with these factors; items lie apart from texts."""
        draw = np.random.default_rng([self.seed, tag, len(shared)])
        spectrum = 1.6 / np.sqrt(1 + np.arange(PRIVATE))
        factors = np.concatenate([shared, private * spectrum], axis=1)
        shown = np.tanh(1.2 * factors @ self.first + self.bias) @ self.second
        shown /= np.sqrt((shown**2).sum(axis=1).mean())
        detail = noise * draw.standard_normal(shown.shape) / np.sqrt(shown.shape[1])
        return unit_rows((shown + detail + 1.5 * self.cones[int(texts)]).astype(np.float32))


@dataclass(frozen=True)
class FairWorld:
    """Items of both arts, and what both encoders make of texts.

    Attributes:
        artworks: Shared factors of the artworks, [nA, SHARED].
        tracks: Shared factors of the tracks, [nT, SHARED].
        images: The artworks' rows; `audio`: the tracks'.
        paintings: The concepts' painting phrases by the image encoder; `music`: their music
            phrases by the audio encoder; `arbitrary`: which of them mean two things.
        heard: The artworks' captions by the audio encoder; `seen`: the tracks' by the image
            encoder.
        texts: The same texts by the image encoder and by the audio encoder.
    """

    artworks: np.ndarray
    tracks: np.ndarray
    images: np.ndarray
    audio: np.ndarray
    paintings: np.ndarray
    music: np.ndarray
    arbitrary: np.ndarray
    heard: np.ndarray
    seen: np.ndarray
    texts: tuple[np.ndarray, np.ndarray]

    @staticmethod
    def make(
        artworks: int,
        tracks: int,
        seed: int,
        *,
        concepts: int = 266,
        texts: int = 3000,
        covered: int = SHARED,
        misread: float = 0.5,
    ) -> FairWorld:
        """A world; the bank speaks only of the first `covered` shared factors.

        `misread` is how far either encoder takes a text's meaning wrongly.
        """
        draw = np.random.default_rng(seed)
        image, audio = Tower.make(2 * seed + 1001, 96), Tower.make(2 * seed + 1002, 80)

        def normal(count: int, width: int) -> np.ndarray:
            return draw.standard_normal((count, width))

        def said(tower: Tower, shared: np.ndarray, tag: int, wrong: float) -> np.ndarray:
            meant = shared + wrong * normal(*shared.shape)
            private = normal(len(shared), PRIVATE)
            return tower.rows(meant, private, texts=True, tag=tag, noise=0.5)

        pictures, clips = normal(artworks, SHARED), normal(tracks, SHARED)
        centres = normal(30, SHARED)[draw.integers(30, size=concepts)]
        meant = (centres + 0.3 * normal(concepts, SHARED)) * (np.arange(SHARED) < covered)
        arbitrary = draw.random(concepts) < 0.2
        other = np.where(arbitrary[:, None], normal(concepts, SHARED), meant)
        both = normal(texts, SHARED)
        return FairWorld(
            pictures,
            clips,
            image.rows(pictures, normal(artworks, PRIVATE), texts=False, tag=1, noise=0.8),
            audio.rows(clips, normal(tracks, PRIVATE), texts=False, tag=1, noise=0.8),
            said(image, meant, 2, 0.5),
            said(audio, other, 2, 0.5),
            arbitrary,
            said(audio, pictures, 3, 0.7),
            said(image, clips, 3, 0.7),
            (said(image, both, 4, misread), said(audio, both, 4, misread)),
        )

    def likeness(self) -> np.ndarray:
        """The truth: cosines of the shared factors of all tracks and artworks, [nT, nA]."""
        rows = [
            side / np.linalg.norm(side, axis=1, keepdims=True)
            for side in (self.tracks, self.artworks)
        ]
        truth: np.ndarray = rows[0] @ rows[1].T
        return truth
