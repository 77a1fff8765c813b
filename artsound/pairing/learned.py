"""The `learned` bridge: two small heads, trained on texts alone, map two encoders to one space.

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
from artsound.pairing.bridge import BridgeContext, Rows
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
        BadData: There are fewer than 2 texts.
    """
    try:
        import torch
    except ImportError as error:
        raise BadUsage(
            f"The bridge learned trains with torch: {install_command('models')}, or use "
            "--bridge concepts."
        ) from error
    if len(image_texts) != len(audio_texts):
        raise ValueError(f"{len(image_texts)} and {len(audio_texts)} texts make no pairs")
    if len(image_texts) < 2:
        raise BadData(
            f"The bridge learned needs 2 texts that both encoders embed, and has "
            f"{len(image_texts)}: add concepts to pair.concept_bank."
        )
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
