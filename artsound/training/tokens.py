"""The autoregressive family: MusicGen's decoder (Copet et al., NeurIPS 2023) on tokens of music.

A picture's tokens take the place of the text's states in cross-attention. Music is a table of
tokens [codebooks, cells]: residual vector quantisation (Zeghidour et al., TASLP 2021) of the
latents of the fixed linear codec, fitted to the training mels, so that nothing has to be
downloaded. The codebooks of a cell are predicted one after the other, each one step later than the
one before (MusicGen's delay pattern).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.errors import BadData, BadUsage
from artsound.training.codec import PatchCodec, SoundCodec, cells, fit_codec
from artsound.training.config import Config, Tokens
from artsound.training.family import Family, FamilyPlugin
from artsound.training.pictures import projector

if TYPE_CHECKING:
    import torch

    from artsound.training.data import Batch


@dataclass(frozen=True)
class TokenCodec:
    """A SoundCodec whose latents are tokens [codebooks, cells, 1], whole numbers as float32.

    Attributes:
        patch: The linear codec whose latents are quantised.
        entries: float32 [codebooks, entries, channels * bands].
    """

    patch: PatchCodec
    entries: np.ndarray

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(codebooks, cells, 1) of a training window."""
        return self.shape(self.patch.mel.seconds)

    def shape(self, seconds: float) -> tuple[int, int, int]:
        """(codebooks, cells, 1) of a table that covers `seconds`."""
        return len(self.entries), cells(seconds, self.patch.codec, self.patch.mel), 1

    def encode(self, levels: np.ndarray) -> np.ndarray:
        """Tokens of levels [frames, bins], in whole cells."""
        rest = _rows(self.patch.encode(levels))
        tokens = []
        for book in self.entries:
            chosen = _nearest(rest, book)
            rest = rest - book[chosen]
            tokens.append(chosen)
        return np.array(tokens, np.float32)[:, :, None]

    def decode(self, latent: np.ndarray) -> np.ndarray:
        """Levels float32 [frames, bins] in dB of tokens."""
        tokens = np.clip(latent[:, :, 0].round().astype(int), 0, self.entries.shape[1] - 1)
        rows = sum(book[chosen] for book, chosen in zip(self.entries, tokens, strict=True))
        codec = self.patch.codec
        shaped = np.asarray(rows).reshape(-1, codec.channels, codec.bands)
        return self.patch.decode(shaped.transpose(1, 0, 2))

    def sound(self, levels: np.ndarray, *, seed: int = 0) -> np.ndarray:
        """Waveform float32 in −1..1 of levels."""
        return self.patch.sound(levels, seed=seed)

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays for a checkpoint."""
        return {**self.patch.tensors(), "codec.entries": self.entries}


def _rows(latent: np.ndarray) -> np.ndarray:
    """[cells, channels * bands] of a latent [channels, cells, bands]."""
    return latent.transpose(1, 0, 2).reshape(latent.shape[1], -1)


def _nearest(rows: np.ndarray, book: np.ndarray) -> np.ndarray:
    distances = np.square(book).sum(axis=1) - 2 * rows @ book.T
    return np.asarray(distances.argmin(axis=1))


def fit_tokens(patch: PatchCodec, tokens: Tokens, clips: Sequence[np.ndarray]) -> TokenCodec:
    """Fit codebooks to `clips`, log-mels [frames, bins]; the same for the same clips.

    Raises:
        BadData: There is less music than entries of a codebook.
    """
    from scipy.cluster.vq import kmeans2

    rest = np.concatenate([_rows(patch.encode(clip)) for clip in clips]).astype(np.float64)
    if len(rest) < tokens.entries:
        raise BadData(
            f"There are {len(rest)} cells of music for {tokens.entries} entries of a codebook: add "
            "pairs to the train split, or lower --set tokens.entries."
        )
    books = []
    for number in range(tokens.codebooks):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an entry that is the nearest of none
            book, _ = kmeans2(rest, tokens.entries, iter=20, minit="points", seed=number)
        rest = rest - book[_nearest(rest, book)]
        books.append(book)
    return TokenCodec(patch, np.array(books, np.float32))


class MusicgenFamily(FamilyPlugin):
    """MusicGen's decoder: tokens of music are predicted one after the other."""

    name, version = "musicgen", "1"

    def open(self, config: Config) -> Family:
        """The family with the settings of a run; BadUsage for settings of other families."""
        if config.tokens is None or config.codec.kind != "patch":
            raise BadUsage("The family musicgen needs `tokens` and the codec `patch`.")
        if config.pretrained or config.extra.contrast or config.extra.alignment:
            raise BadUsage(
                "The family musicgen has no published modules and no extra losses: leave out "
                "pretrained and extra."
            )
        if config.condition.width % config.tokens.heads:
            raise BadUsage(
                f"condition.width = {config.condition.width} is no multiple of tokens.heads = "
                f"{config.tokens.heads}."
            )
        return _Musicgen(config, config.tokens)


class _Musicgen:
    def __init__(self, config: Config, tokens: Tokens) -> None:
        self.config, self.tokens = config, tokens
        self._blank = tokens.entries  # the token before the first, and of the delay

    def fit_codec(self, clips: Sequence[np.ndarray], device: Any) -> SoundCodec:  # noqa: ARG002
        patch = fit_codec(self.config.mel, self.config.codec, clips)
        return fit_tokens(patch, self.tokens, clips)

    def open_codec(self, arrays: dict[str, np.ndarray], device: Any) -> SoundCodec:  # noqa: ARG002
        codec, tokens = self.config.codec, self.tokens
        patch = PatchCodec.from_tensors(self.config.mel, codec, arrays)
        entries = arrays.get("codec.entries")
        shape = (tokens.codebooks, tokens.entries, codec.channels * codec.bands)
        if entries is None or entries.shape != shape:
            raise BadData("The checkpoint's codec.entries is missing or misshapen: train again.")
        return TokenCodec(patch, entries)

    def build(self, condition_dim: int) -> Any:
        import torch
        from torch import nn
        from transformers import MusicgenDecoderConfig, MusicgenForCausalLM

        condition, tokens, blank = self.config.condition, self.tokens, self._blank

        class ArtToTokens(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.projector = projector(condition_dim, condition)
                self.decoder = MusicgenForCausalLM(
                    MusicgenDecoderConfig(
                        vocab_size=tokens.entries,
                        hidden_size=condition.width,
                        ffn_dim=4 * condition.width,
                        num_hidden_layers=tokens.layers,
                        num_attention_heads=tokens.heads,
                        num_codebooks=tokens.codebooks,
                        dropout=0.0,  # its chances would not be those of a run that never stopped
                        pad_token_id=blank,
                        bos_token_id=blank,
                    )
                )

            def forward(
                self,
                given: torch.Tensor,
                embedding: torch.Tensor,
                keep: torch.Tensor,
                cache: Any = None,
            ) -> Any:
                """Logits [B, codebooks, steps, entries] after tokens [B, codebooks, steps]."""
                output = self.decoder(
                    input_ids=given.flatten(0, 1),
                    encoder_hidden_states=self.projector(embedding, keep),
                    past_key_values=cache,
                    use_cache=cache is not None,
                )
                return output.logits.unflatten(0, given.shape[:2])

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            return ArtToTokens()

    def loss(self, model: Any, batch: Batch) -> torch.Tensor:
        """Mean cross-entropy in nats of a pair's tokens, [B]."""
        import torch
        from torch.nn.functional import cross_entropy

        aims = self.delayed(batch.latents[..., 0].round().long())
        first = torch.full_like(aims[..., :1], self._blank)
        logits = model(torch.cat([first, aims[..., :-1]], dim=2), batch.embedding, batch.keep)
        known = aims != self._blank
        each = cross_entropy(
            logits.float().flatten(0, 2), aims.flatten(), ignore_index=self._blank, reduction="none"
        )
        return each.view(aims.shape).sum(dim=(1, 2)) / known.sum(dim=(1, 2))

    def delayed(self, tokens: torch.Tensor) -> torch.Tensor:
        """[B, K, T + K − 1] of tokens [B, K, T]: codebook k is k steps later, blank around."""
        count, books, length = tokens.shape
        result = tokens.new_full((count, books, length + books - 1), self._blank)
        for book in range(books):
            result[:, book, book : book + length] = tokens[:, book]
        return result

    def sample(
        self,
        model: Any,
        embedding: np.ndarray,
        *,
        shape: tuple[int, int, int],
        seeds: list[int],
        steps: int,  # noqa: ARG002 (one for each cell)
        guidance: float,
        scheduler: str = "ddim",  # noqa: ARG002 (there is one)
        negative: np.ndarray | None = None,
    ) -> np.ndarray:
        """Tokens float32 [B, *shape], each from the `top` likeliest of its step."""
        import torch
        from transformers import DynamicCache, EncoderDecoderCache

        books, length, _ = shape
        device = next(model.parameters()).device
        chance = [torch.Generator().manual_seed(seed) for seed in seeds]
        condition = torch.from_numpy(embedding).to(device)
        away = condition if negative is None else torch.from_numpy(negative).to(device)
        pictures = torch.cat([condition, away.expand_as(condition)])
        keep = torch.ones(len(pictures), dtype=torch.bool, device=device)
        keep[len(seeds) :] = negative is not None
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        last = torch.full((len(seeds), books, 1), self._blank, device=device)
        found = []
        model.eval()
        with torch.inference_mode():
            for step in range(length + books - 1):
                logits = model(torch.cat([last, last]), pictures, keep, cache)[:, :, -1].float()
                with_picture, without = logits.chunk(2)
                scores = (without + guidance * (with_picture - without)).cpu()
                last = torch.full((len(seeds), books, 1), self._blank)
                for book in range(books):
                    if 0 <= step - book < length:
                        last[:, book, 0] = self._drawn(scores[:, book], chance)
                found.append(last[..., 0])
                last = last.to(device)
        table = torch.stack(found, dim=2)
        rows = [table[:, book, book : book + length] for book in range(books)]
        return torch.stack(rows, dim=1)[..., None].float().numpy()

    def _drawn(self, scores: torch.Tensor, chance: Sequence[torch.Generator]) -> torch.Tensor:
        """A token [B] of scores [B, entries], each row by its own generator."""
        import torch

        best, places = scores.topk(min(self.tokens.top, scores.shape[1]), dim=1)
        shares = torch.softmax(best / self.tokens.temperature, dim=1)
        drawn = [
            torch.multinomial(row, 1, generator=one)
            for row, one in zip(shares, chance, strict=True)
        ]
        return places.gather(1, torch.stack(drawn))[:, 0]
