"""The `learned` and `cca` bridges, made of texts that both encoders have read.

`learned`: two small heads, trained on texts alone, map two encoders to one space.

The method of C-MCR (Wang et al., NeurIPS 2023). No pair of artwork and music is used: the training
pairs are the two embeddings of one text, and the images and clips nearest to them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artsound.encoders.base import Needs
from artsound.encoders.batching import one_torch_thread
from artsound.errors import BadData, BadUsage
from artsound.extras import install_command
from artsound.pairing.bridge import SIDES, BridgeContext, Rows
from artsound.pairing.concepts import concept_vectors, load_bank
from artsound.pairing.rows import centred_rows, checked_rows, unit_rows
from artsound.plugins import refuse_argument
from artsound.recipe import Recipe
from artsound.storage import Workspace, atomic_write, digest, read_parquet, sha256_bytes
from artsound.untrusted import read_arrays

if TYPE_CHECKING:
    from torch import Tensor, nn

HIDDEN, WIDTH = 512, 256
EPOCHS, MOST_STEPS, BATCH = 36, 400, 256
RATE, DECAY = 1e-3, 1e-2
NOISE = 0.063  # deviation of the noise added to unit rows in all, σ² = 0.004
NEAREST = 0.05  # temperature of the look-up of the nearest images or clips
CONTRAST = 0.1  # temperature of the contrastive losses
INSIDE = 0.1  # weight of the distance within a side, from a text to its nearest items
VERSION = 1  # raised whenever the same vectors would give other heads
MEMORY = 20_000  # images, and clips, among which the nearest are looked up
WORDS = 20_000  # texts of the catalogue used for training

# The sides' names in a file of heads.
_ARRAYS = ("clip", "clap")


class Learned:
    """Two small heads, trained on embedded texts and on no pair."""

    name = "learned"
    version = "1"

    def needs(self, recipe: Recipe, argument: str) -> Needs:
        """Vectors of both sides, both encoders for texts, and torch to train with."""
        refuse_argument("bridge", self.name, argument)
        return Needs.of_both(recipe, extra="models")

    def inputs(self, build: BridgeContext) -> Any:
        """The digests of the bank of concepts and of the catalogue's words."""
        bank = digest(asdict(load_bank(build.recipe.pair.concept_bank)))
        return [bank, digest(catalogue_words(build.workspace))]

    def rows(self, build: BridgeContext) -> Rows:
        """The whole catalogue, mapped by heads trained on the concepts and the catalogue's words.

        The heads are stored in the workspace under the digest of all their inputs.
        """
        embed, seed = build.recipe.embed, build.recipe.seed
        (artworks, a), (tracks, t) = build.image_vectors(), build.audio_vectors()
        words = catalogue_words(build.workspace)
        seen, heard = concept_vectors(build)
        if words:
            seen = np.concatenate([seen, build.texts(embed.image_encoder, words)])
            heard = np.concatenate([heard, build.texts(embed.audio_encoder, words)])
        made_from = [
            sha256_bytes(np.ascontiguousarray(rows).tobytes()) for rows in (seen, heard, a, t)
        ]
        key = digest([VERSION, seed, made_from])
        path = build.workspace.parts / "pair" / f"heads-{key}"
        if path.is_file():
            heads = load_heads(path)
        else:
            heads = train_heads(seen, heard, a, t, seed=seed)
            save_heads(path, heads)
        return artworks, heads[0].rows(a), tracks, heads[1].rows(t)


def catalogue_words(workspace: Workspace) -> list[str]:
    """Texts of the catalogue (titles, tags, genres, …): each once, sorted.

    At most WORDS of them, chosen by hash.
    """
    texts: set[str] = set()
    for side, record, columns in (
        ("artworks", "artwork", ["title", "style", "genre", "tags", "emotions"]),
        ("tracks", "track", ["title", "genre", "genres", "tags"]),
    ):
        table = read_parquet(workspace.catalog / f"{side}.parquet", record, columns)
        for column in table.columns:
            flat = pc.list_flatten(column) if pa.types.is_list(column.type) else column
            texts.update(" ".join(text.split()) for text in pc.unique(flat).to_pylist())
    usable = [text for text in texts if 3 <= len(text) <= 200]
    return sorted(sorted(usable, key=lambda text: sha256_bytes(text.encode()))[:WORDS])


@dataclass(frozen=True)
class Head:
    """A trained head: two linear layers with a ReLU between, batch norms folded into them.

    Attributes:
        first: float32 [D, H].
        first_bias: float32 [H].
        second: float32 [H, W].
        second_bias: float32 [W].
    """

    first: np.ndarray
    first_bias: np.ndarray
    second: np.ndarray
    second_bias: np.ndarray

    def rows(self, items: np.ndarray) -> np.ndarray:
        """Map a whole side's items [n, D], centred first, to unit rows float32 [n, W].

        Raises:
            ValueError: Rows are empty, zero or not finite, or not as wide as the head.
        """
        items = centred_rows(checked_rows(items, "items", len(self.first)))
        hidden = np.maximum(items @ self.first + self.first_bias, 0.0)
        return unit_rows(centred_rows(hidden @ self.second + self.second_bias))


def train_heads(
    image_texts: np.ndarray,
    audio_texts: np.ndarray,
    images: np.ndarray,
    audio: np.ndarray,
    *,
    seed: int,
    steps: int = 0,
) -> tuple[Head, Head]:
    """Train a head for each encoder, so that both map to one space.

    Deterministic; one CPU thread.

    Args:
        image_texts: [n, D1], texts by the image encoder, n ≥ 2.
        audio_texts: [n, D2], the same or matching texts by the audio encoder.
        images: [m, D1], in any order.
        audio: [l, D2], in any order.
        seed: Of the initial weights, the batches and the noise.
        steps: Of training; 0: EPOCHS over the texts, at most MOST_STEPS.

    Returns:
        The heads of the image and of the audio encoder.

    Raises:
        ValueError: Rows are empty, zero or not finite, or their numbers or widths do not agree.
        BadUsage: torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise BadUsage(
            f"The bridge learned trains with torch: {install_command('models')}, or use "
            "--bridge concepts."
        ) from error
    if len(image_texts) != len(audio_texts) or len(image_texts) < 2:
        raise ValueError(f"{len(image_texts)} and {len(audio_texts)} texts make no pairs")
    generator = np.random.default_rng(seed)
    sides = []
    for name, texts, items in (("images", image_texts, images), ("audio", audio_texts, audio)):
        memory = centred_rows(checked_rows(items, f"the rows of {name}"))
        said = centred_rows(checked_rows(texts, f"the texts for {name}", memory.shape[1]))
        kept = np.sort(generator.permutation(len(memory))[:MEMORY])
        sides.append((torch.from_numpy(said), torch.from_numpy(memory[kept])))
    with one_torch_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        heads = [_new_head(texts.shape[1]) for texts, _ in sides]
        _train(heads, sides, steps or min(MOST_STEPS, EPOCHS * -(-len(image_texts) // BATCH)))
        return _folded(heads[0]), _folded(heads[1])


def save_heads(path: Path, heads: tuple[Head, Head]) -> None:
    """Write both heads as arrays that `load_heads` reads."""
    arrays = {
        f"{side}_{field.name}": getattr(head, field.name)
        for side, head in zip(_ARRAYS, heads, strict=True)
        for field in fields(Head)
    }
    with atomic_write(path) as file:
        np.savez(file, **arrays)


def load_heads(path: Path) -> tuple[Head, Head]:
    """The heads that `save_heads` wrote; BadData when they cannot be read."""
    try:
        arrays = read_arrays(path)
        image, audio = (
            Head(*(arrays[f"{side}_{field.name}"] for field in fields(Head))) for side in _ARRAYS
        )
    except (OSError, ValueError, KeyError) as error:
        raise BadData(f"{path} cannot be read ({error}): delete it and run again.") from error
    return image, audio


def _new_head(width: int) -> nn.Sequential:
    from torch import nn

    return nn.Sequential(
        nn.Linear(width, HIDDEN),
        nn.BatchNorm1d(HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, WIDTH),
        nn.BatchNorm1d(WIDTH),
    )


def _train(heads: list[nn.Sequential], sides: list[tuple[Tensor, Tensor]], steps: int) -> None:
    import torch
    from torch.nn.functional import cross_entropy, normalize

    count = len(sides[0][0])
    parameters = [parameter for head in heads for parameter in head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)

    def noisy(rows: Tensor) -> Tensor:
        noise = torch.randn_like(rows) * (NOISE / rows.shape[1] ** 0.5)
        return normalize(rows + noise, dim=1)

    def contrast(here: Tensor, there: Tensor) -> Tensor:
        scores = here @ there.T / CONTRAST
        own = torch.arange(len(scores))
        return (cross_entropy(scores, own) + cross_entropy(scores.T, own)) / 2

    for _ in range(steps):
        chosen = torch.randperm(count)[:BATCH]
        said, found = [], []
        for head, (texts, memory) in zip(heads, sides, strict=True):
            text = texts[chosen]
            nearest = torch.softmax(text @ memory.T / NEAREST, dim=1) @ memory
            out = head(torch.cat([noisy(text), noisy(normalize(nearest, dim=1))]))
            out = normalize(out, dim=1)
            said.append(out[: len(chosen)])
            found.append(out[len(chosen) :])
        inside = sum((said[n] - found[n]).square().sum(dim=1).mean() / 2 for n in range(2))
        loss = contrast(*said) + contrast(*found) + INSIDE * inside
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def _folded(head: nn.Sequential) -> Head:
    import torch

    arrays = []
    with torch.no_grad():
        for linear, norm in ((head[0], head[1]), (head[3], head[4])):
            gain = norm.weight / (norm.running_var + norm.eps).sqrt()
            bias = (linear.bias - norm.running_mean) * gain + norm.bias
            arrays += [(linear.weight * gain[:, None]).T.contiguous().numpy(), bias.numpy()]
    return Head(*arrays)


# The `cca` bridge: both spaces joined in closed form by what both make of the same texts.
#
# Canonical correlation analysis (Hotelling, Biometrika 28, 1936), with a ridge on both covariances
# (Vinod, J. Econometrics 4, 1976): the directions in which the vectors of the same texts by the
# image encoder and by the audio encoder agree best, each weighted by the root of its correlation.
# Pictures and clips, which the encoders hold near their texts, are projected on them.

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
