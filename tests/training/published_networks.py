"""Thin VGGish and CNN14 of random weights, in files laid out as the published ones."""

from __future__ import annotations

from pathlib import Path

import torch
from torchlibrosa.stft import LogmelFilterBank, Spectrogram

CLASSES = 527


def _random(chance: torch.Generator, *shape: int) -> torch.Tensor:
    scale = (2 / max(1, torch.tensor(shape[1:]).prod().item())) ** 0.5 if len(shape) > 1 else 0.1
    return torch.randn(shape, generator=chance) * scale


def write_vggish(path: Path, width: int = 4, hidden: int = 16, embedding: int = 128) -> Path:
    """VGGish with `width` times the channels 1, 2, 4, 4, 8, 8 in place of 64 times."""
    chance = torch.Generator().manual_seed(0)
    tensors, before = {}, 1
    for place, times in zip((0, 3, 6, 8, 11, 13), (1, 2, 4, 4, 8, 8), strict=True):
        tensors[f"features.{place}.weight"] = _random(chance, times * width, before, 3, 3)
        tensors[f"features.{place}.bias"] = _random(chance, times * width)
        before = times * width
    before *= 4 * 6
    for place, after in ((0, hidden), (2, hidden), (4, embedding)):
        tensors[f"embeddings.{place}.weight"] = _random(chance, after, before)
        tensors[f"embeddings.{place}.bias"] = _random(chance, after)
        before = after
    torch.save(tensors, path)
    return path


def write_cnn14(path: Path, rate: int = 16_000, width: int = 4) -> Path:
    """CNN14 at a rate with `width` times the channels 1, 2, … 32 in place of 64 times."""
    chance = torch.Generator().manual_seed(1)
    window, hop = {32_000: (1024, 320), 16_000: (512, 160)}[rate]
    tensors = {
        f"spectrogram_extractor.{name}": tensor
        for name, tensor in Spectrogram(n_fft=window, hop_length=hop).state_dict().items()
    }
    bank = LogmelFilterBank(sr=rate, n_fft=window, n_mels=64, fmin=50, fmax=rate // 2)
    tensors["logmel_extractor.melW"] = bank.melW.detach()

    def norm(name: str, size: int) -> None:
        tensors[f"{name}.weight"] = 1 + _random(chance, size)
        tensors[f"{name}.bias"] = _random(chance, size)
        tensors[f"{name}.running_mean"] = _random(chance, size) - (30 if name == "bn0" else 0)
        tensors[f"{name}.running_var"] = torch.ones(size) * (400 if name == "bn0" else 1)
        tensors[f"{name}.num_batches_tracked"] = torch.tensor(1)

    norm("bn0", 64)
    before = 1
    for number in range(1, 7):
        after = width * 2 ** (number - 1)
        for part in (1, 2):
            name = f"conv_block{number}"
            tensors[f"{name}.conv{part}.weight"] = _random(chance, after, before, 3, 3)
            norm(f"{name}.bn{part}", after)
            before = after
    for name, after in (("fc1", before), ("fc_audioset", CLASSES)):
        tensors[f"{name}.weight"] = _random(chance, after, before)
        tensors[f"{name}.bias"] = _random(chance, after)
    torch.save({"iteration": 1, "model": tensors}, path)
    return path
