"""VGGish and PANNs CNN14 as published, of which papers' audio distances are made.

The networks are functions of a published file's tensors, whose names and shapes say all: no package
of the authors is needed. Their inputs are those of the authors' own code:

- VGGish (Hershey et al., ICASSP 2017; vggish-10086976.pth of github.com/harritaylor/torchvggish):
  16 kHz, examples of 0.96 s side by side, 96 frames of 64 log-mel bands, 125 to 7,500 Hz;
- CNN14 (Kong et al., TASLP 2020; Zenodo record 3987831): a whole clip at the rate of its file (32,
  16 or 8 kHz), whose Fourier and mel matrices are stored in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.encoders.weights import broken, load_tensors, local_file
from artsound.errors import BadData

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]

VGGISH_FILE = "vggish-10086976.pth of github.com/harritaylor/torchvggish"
PANNS_FILE = "Cnn14_16k_mAP=0.438.pth (or another Cnn14) of Zenodo record 3987831"

_VGGISH_RATE, _WINDOW, _HOP, _FFT = 16_000, 400, 160, 512
_FRAMES, _BANDS = 96, 64
_CONVOLUTIONS = (0, 3, 6, 8, 11, 13)  # places of the layers in VGGish's `features`
_POOLED = (0, 3, 8, 13)
_BLOCKS = 6  # of CNN14
# The window of each published CNN14: its rate and hop.
_PANNS_RATES = {1024: (32_000, 320), 512: (16_000, 160), 256: (8_000, 80)}


class Vggish:
    """VGGish's embeddings: one of 128 numbers for each example of 0.96 s.

    Those of the last layer before its activation, without PCA and quantisation, as in the package
    frechet_audio_distance and in AudioLDM's evaluation.
    """

    rate = _VGGISH_RATE

    def __init__(self, file: str, device: str) -> None:
        """Load the weights; BadData if the file is missing, damaged or another network's."""
        names = [f"features.{n}" for n in _CONVOLUTIONS] + [f"embeddings.{n}" for n in (0, 2, 4)]
        needed = [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]
        self._file, self._device = file, device
        self._weights = _load(file, needed, "--vggish", VGGISH_FILE, device)
        self(np.zeros(self.rate, np.float32))  # tensors that do not fit are reported now

    def __call__(self, mono: np.ndarray) -> np.ndarray:
        """Embeddings float32 [examples, 128] of a clip float32 at 16 kHz."""
        import torch
        from torch.nn.functional import conv2d, linear, max_pool2d, relu

        weights = self._weights
        rows = torch.from_numpy(vggish_examples(mono))[:, None].to(self._device)
        with torch.inference_mode(), _fitting(self._file, VGGISH_FILE):
            for place in _CONVOLUTIONS:
                name = f"features.{place}"
                rows = relu(conv2d(rows, *_affine(weights, name), padding=1))
                if place in _POOLED:
                    rows = max_pool2d(rows, 2)
            rows = rows.permute(0, 2, 3, 1).flatten(1)
            for place in (0, 2):
                rows = relu(linear(rows, *_affine(weights, f"embeddings.{place}")))
            rows = linear(rows, *_affine(weights, "embeddings.4"))
        return _finite(rows, self._file)


def vggish_examples(mono: np.ndarray) -> np.ndarray:
    """VGGish's input, float32 [examples, 96, 64], of a clip float32 at 16 kHz.

    log(mel + 0.01) of magnitudes; windows of 25 ms every 10 ms, frames and examples complete. A
    clip shorter than one example is padded with silence to one.
    """
    least = _WINDOW + (_FRAMES - 1) * _HOP
    mono = np.pad(mono.astype(np.float64), (0, max(0, least - len(mono))))
    frames = np.lib.stride_tricks.sliding_window_view(mono, _WINDOW)[::_HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi / _WINDOW * np.arange(_WINDOW))
    levels = np.log(np.abs(np.fft.rfft(frames * window, _FFT)) @ _htk_bands() + 0.01)
    count = len(levels) // _FRAMES
    return levels[: count * _FRAMES].reshape(count, _FRAMES, _BANDS).astype(np.float32)


def _htk_bands() -> np.ndarray:
    """VGGish's triangles [257, 64], straight on HTK's mel scale, without the constant bin."""

    def mel(hertz: Any) -> Any:
        return 1127.0 * np.log1p(hertz / 700.0)

    bins = mel(np.linspace(0, _VGGISH_RATE / 2, _FFT // 2 + 1))[:, None]
    edges = np.linspace(mel(125.0), mel(7_500.0), _BANDS + 2)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    bands = np.maximum(
        0.0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle))
    )
    bands[0] = 0.0
    return np.asarray(bands)


class Cnn14:
    """PANNs CNN14: an embedding of 2,048 numbers and logits of 527 AudioSet classes for a clip."""

    def __init__(self, file: str, device: str) -> None:
        """Load the weights; BadData if the file is missing, damaged or another network's."""
        blocks = [f"conv_block{n}" for n in range(1, _BLOCKS + 1)]
        needed = [
            "spectrogram_extractor.stft.conv_real.weight",
            "spectrogram_extractor.stft.conv_imag.weight",
            "logmel_extractor.melW",
            *(f"{block}.conv{n}.weight" for block in blocks for n in (1, 2)),
            *(
                f"{norm}.{kind}"
                for norm in ("bn0", *(f"{block}.bn{n}" for block in blocks for n in (1, 2)))
                for kind in ("weight", "bias", "running_mean", "running_var")
            ),
            *(f"{layer}.{kind}" for layer in ("fc1", "fc_audioset") for kind in ("weight", "bias")),
        ]
        self._file, self._device = file, device
        self._weights = _load(file, needed, "--panns", PANNS_FILE, device)
        self._window = int(self._weights[needed[0]].shape[-1])
        if self._window not in _PANNS_RATES:
            raise BadData(f"{file} has windows of {self._window} samples: fetch {PANNS_FILE}.")
        self.rate, self._hop = _PANNS_RATES[self._window]
        self(np.zeros(self.rate, np.float32))  # tensors that do not fit are reported now

    def __call__(self, mono: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Embedding float32 [2048] and logits [527] of a clip float32 at `rate` Hz.

        A clip shorter than the network's 32 frames is padded with silence.
        """
        import torch
        from torch.nn.functional import avg_pool2d, batch_norm, conv2d, linear, relu

        weights = self._weights

        def normal(rows: torch.Tensor, name: str) -> torch.Tensor:
            kinds = ("running_mean", "running_var", "weight", "bias")
            return batch_norm(rows, *(weights[f"{name}.{kind}"] for kind in kinds))

        mono = np.pad(mono, (0, max(0, 31 * self._hop - len(mono)))).astype(np.float32)
        wave = torch.from_numpy(mono)[None, None].to(self._device)
        with torch.inference_mode(), _fitting(self._file, PANNS_FILE):
            levels = self.log_mel(wave)[:, :, None].transpose(1, 3)  # [1, bands, 1, frames]
            rows = normal(levels, "bn0").permute(0, 2, 3, 1)
            for number in range(1, _BLOCKS + 1):
                for part in (1, 2):
                    name = f"conv_block{number}"
                    rows = conv2d(rows, weights[f"{name}.conv{part}.weight"], padding=1)
                    rows = relu(normal(rows, f"{name}.bn{part}"))
                if number < _BLOCKS:
                    rows = avg_pool2d(rows, 2)
            rows = rows.mean(dim=3)
            rows = rows.amax(dim=2) + rows.mean(dim=2)
            embedding = relu(linear(rows, *_affine(weights, "fc1")))
            logits = linear(embedding, *_affine(weights, "fc_audioset"))
        return _finite(embedding[0], self._file), _finite(logits[0], self._file)

    def log_mel(self, wave: torch.Tensor) -> torch.Tensor:
        """Its input, decibels [B, frames, bands], of waveforms [B, 1, samples]."""
        import torch
        from torch.nn.functional import conv1d, pad

        wave = pad(wave, (self._window // 2, self._window // 2), mode="reflect")
        real, imaginary = (
            conv1d(
                wave,
                self._weights[f"spectrogram_extractor.stft.conv_{part}.weight"],
                stride=self._hop,
            )
            for part in ("real", "imag")
        )
        power = (real.square() + imaginary.square()).transpose(1, 2)
        mel = power @ self._weights["logmel_extractor.melW"]
        return 10 * torch.log10(mel.clamp(min=1e-10))


def _affine(weights: Tensors, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def _load(
    file: str, needed: list[str], option: str, published: str, device: str
) -> dict[str, torch.Tensor]:
    """The needed tensors of a file, float32 on a device."""
    path = local_file(file, option, published)
    tensors = load_tensors(path)
    if missing := [name for name in needed if name not in tensors]:
        raise BadData(f"{path} holds another network (it has no {missing[0]}): fetch {published}.")
    return {name: tensors[name].float().to(device) for name in needed}


@contextmanager
def _fitting(file: str, published: str) -> Iterator[None]:
    """Report tensors that do not fit each other as those of another network."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise broken(Path(file), error) from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise BadData(f"{file} holds another network ({reason}): fetch {published}.") from error


def _finite(rows: torch.Tensor, file: str) -> np.ndarray:
    result = np.asarray(rows.float().cpu().numpy())
    if not np.isfinite(result).all():
        raise BadData(f"{file} gives numbers that are not finite: fetch it again.")
    return result
