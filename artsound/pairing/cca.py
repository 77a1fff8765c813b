"""The `cca` bridge: both spaces joined in closed form by what both make of the same texts.

Canonical correlation analysis (Hotelling, Biometrika 28, 1936), with a ridge on both covariances
(Vinod, J. Econometrics 4, 1976): the directions in which the vectors of the same texts by the
image encoder and by the audio encoder agree best, each weighted by the root of its correlation.
Pictures and clips, which the encoders hold near their texts, are projected on them.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from artsound.catalogue import SIDES
from artsound.encoders.base import Needs
from artsound.errors import BadData
from artsound.pairing.bridge import BridgeContext, Rows
from artsound.pairing.concepts import concept_vectors, load_bank
from artsound.pairing.rows import centred_rows, checked_rows, unit_rows
from artsound.plugins import refuse_argument
from artsound.recipe import Recipe
from artsound.storage import digest, sha256_bytes

RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # of the mean variance of a dimension
LEAST_TEXTS = 20
MOST_CAPTIONS = 20_000
FOLDS = 5  # a fifth of the texts is held out, each in turn


class Cca:
    """Directions on which both encoders agree about the same texts; closed form, no training."""

    name = "cca"
    version = "1"

    def needs(self, recipe: Recipe, argument: str) -> Needs:
        """Vectors and captions of both sides, and both encoders for texts."""
        refuse_argument("bridge", self.name, argument)
        return Needs.of_both(recipe, captions=True)

    def inputs(self, build: BridgeContext) -> Any:
        """The digests of the bank of concepts and of both sides' captions."""
        bank = digest(asdict(load_bank(build.recipe.pair.concept_bank)))
        return [bank, *build.captions_digest()]

    def rows(self, build: BridgeContext) -> Rows:
        """The rows of `cca_rows`, fitted on the bank's phrases and on the catalogue's captions."""
        embed = build.recipe.embed
        (artworks, a), (tracks, t) = build.image_vectors(), build.audio_vectors()
        seen, heard = concept_vectors(build)
        texts = _captions(build, artworks, tracks)
        seen = np.concatenate([seen, build.texts(embed.image_encoder, texts)])
        heard = np.concatenate([heard, build.texts(embed.audio_encoder, texts)])
        a, t = cca_rows(a, t, seen, heard)
        return artworks, a, tracks, t


def _captions(build: BridgeContext, artworks: list[str], tracks: list[str]) -> list[str]:
    """Both sides' captions, each once, sorted; at most MOST_CAPTIONS of them, chosen by hash."""
    texts = {
        caption
        for side, ids in zip(SIDES, (artworks, tracks), strict=True)
        for caption in build.captions(side, ids)
    }
    return sorted(sorted(texts, key=lambda text: sha256_bytes(text.encode()))[:MOST_CAPTIONS])


def cca_rows(
    images: np.ndarray,
    audio: np.ndarray,
    image_texts: np.ndarray,
    audio_texts: np.ndarray,
    ridge: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Artworks and tracks as unit rows of the space in which both encoders' texts agree.

    Args:
        images: Rows [nA, D1] by the image encoder.
        audio: Rows [nT, D2] by the audio encoder.
        image_texts: Rows [k, D1] of texts by the image encoder.
        audio_texts: Rows [k, D2] of the same or matching texts, in order, by the audio encoder.
        ridge: Added to both covariances, as a multiple of the mean variance; 0: that of RIDGES
            which finds the most held-out texts.

    Returns:
        float32 [nA, W] and [nT, W], W = min(D1, D2). Each side is centred: its modality lies apart
        from its texts.

    Raises:
        BadData: There are fewer than LEAST_TEXTS texts.
        ValueError: Rows are empty, zero, not finite, or do not fit together.
    """
    images, audio = checked_rows(images, "images"), checked_rows(audio, "audio")
    seen = checked_rows(image_texts, "texts", images.shape[1])
    heard = checked_rows(audio_texts, "texts", audio.shape[1])
    if len(seen) != len(heard):
        raise ValueError(f"{len(seen)} and {len(heard)} texts make no pairs")
    if len(seen) < LEAST_TEXTS:
        raise BadData(
            f"The bridge cca needs {LEAST_TEXTS} texts that both encoders embed, and has "
            f"{len(seen)}: add concepts to pair.concept_bank."
        )
    ridge = ridge or best_ridge(seen, heard)
    by_image, by_audio = fit_cca(centred_rows(seen), centred_rows(heard), ridge)
    return unit_rows(centred_rows(images) @ by_image), unit_rows(centred_rows(audio) @ by_audio)


def best_ridge(image_texts: np.ndarray, audio_texts: np.ndarray) -> float:
    """The ridge of RIDGES with which held-out texts find themselves at the highest mean 1 / rank.

    Text n is held out in fold n mod FOLDS. Of equally good ridges the largest is taken.
    """
    fold = np.arange(len(image_texts)) % FOLDS
    found = []
    for ridge in RIDGES:
        ranks = []
        for held in range(FOLDS):
            train, test = fold != held, fold == held
            seen, heard = centred_rows(image_texts[train]), centred_rows(audio_texts[train])
            by_image, by_audio = fit_cca(seen, heard, ridge)
            x = unit_rows(centred_rows(image_texts[test]) @ by_image)
            y = unit_rows(centred_rows(audio_texts[test]) @ by_audio)
            scores = x @ y.T
            own = np.diag(scores)[:, None]
            ranks.append(((scores > own).sum(axis=1) + (scores >= own).sum(axis=1) + 1) / 2)
        found.append(float((1.0 / np.concatenate(ranks)).mean()))
    best = max(found)
    return max(ridge for ridge, value in zip(RIDGES, found, strict=True) if value >= best - 1e-9)


def fit_cca(x: np.ndarray, y: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Projections float32 [D1, W] and [D2, W] of centred rows [k, D1] and [k, D2] of pairs."""
    left, right = _inverse_root(x, ridge), _inverse_root(y, ridge)
    cross = x.T.astype(np.float64) @ y / len(x)
    u, correlation, v = np.linalg.svd(left @ cross @ right, full_matrices=False)
    weight = np.sqrt(correlation)
    return (left @ u * weight).astype(np.float32), (right @ v.T * weight).astype(np.float32)


def _inverse_root(rows: np.ndarray, ridge: float) -> np.ndarray:
    """The covariance with its ridge to the power of -1/2: float64 [D, D]."""
    covariance = rows.T.astype(np.float64) @ rows / len(rows)
    power, direction = np.linalg.eigh(covariance)
    floor = max(ridge * power.mean(), 1e-12)
    root: np.ndarray = direction / np.sqrt(np.maximum(power, 0.0) + floor) @ direction.T
    return root
