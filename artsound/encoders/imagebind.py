"""Pictures and clips as unit vectors of one space, by ImageBind (Girdhar et al., CVPR 2023).

For users who install ImageBind themselves: it is in no package index, and its weights may not be
used commercially (CC BY-NC-SA 4.0). Written against its published interface and tested with a
stand-in of the same shape, not with the real model.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.encoders.base import Encoder, EncoderPlugin, EncoderSettings
from artsound.encoders.batching import autocast, decoding_threads, encode
from artsound.encoders.weights import broken, load_tensors, quiet_libraries, settings_digest
from artsound.errors import BadData, BadUsage
from artsound.media.audio import load_mono
from artsound.media.images import load_rgb
from artsound.plugins import refuse_argument

if TYPE_CHECKING:
    from torch import Tensor

MODEL = "imagebind_huge"
WEIGHTS = Path(".checkpoints") / f"{MODEL}.pth"  # where ImageBind itself loads them from
_DIM = 1024
_SAMPLE_RATE = 16_000
_MAX_SECONDS = 300.0  # of a clip, from its start
_LOAD_SIDE = 896  # four times the model's input


class ImageBindEncoder(EncoderPlugin):
    """Pictures, clips and texts by ImageBind, for those who install it themselves."""

    name = "imagebind"
    version = "1"
    modalities = ("image", "audio", "text")
    extra = "models"
    uses_gpu = True

    def installed(self) -> bool:
        """Whether ImageBind can be imported here."""
        return find_spec("imagebind") is not None

    def weights(self, settings: EncoderSettings) -> Path:
        """The checkpoint, in the working folder, where ImageBind itself stores it.

        Raises:
            BadUsage: ImageBind is not installed.
            BadData: Its weights are missing.
        """
        refuse_argument("encoder", self.name, settings.argument)
        if not self.installed():
            raise BadUsage(
                "The encoder imagebind needs ImageBind, which is in no package index: install "
                "github.com/facebookresearch/ImageBind, or choose another encoder or bridge."
            )
        if not WEIGHTS.is_file():
            raise BadData(
                f"There is no checkpoint {WEIGHTS}: fetch {WEIGHTS.name} from "
                f"dl.fbaipublicfiles.com/imagebind into the folder {WEIGHTS.parent.absolute()}."
            )
        return WEIGHTS

    def digest(self, settings: EncoderSettings) -> str:
        """Of the weights and the precision; raises as `weights` does."""
        weights = self.weights(settings)
        return settings_digest(self.name, self.version, MODEL, weights, settings.precision)

    def open(self, settings: EncoderSettings, device: str) -> ImageBind:
        """The model on a device; raises as `weights` does, and BadData for broken weights."""
        weights = self.weights(settings)
        with quiet_libraries():
            from imagebind import data
            from imagebind.models import imagebind_model

            model = imagebind_model.imagebind_huge(pretrained=False)
        try:
            model.load_state_dict(load_tensors(weights))
        except RuntimeError as error:
            raise broken(weights, error) from error
        return ImageBind(
            model.to(device).eval(),
            data,
            digest=self.digest(settings),
            precision=settings.precision,
            device=device,
            batch=settings.batch,
        )


class ImageBind(Encoder):
    """A loaded ImageBind: an Encoder of images, audio and texts."""

    dim = _DIM

    def __init__(
        self, model: Any, data: Any, *, digest: str, precision: str, device: str, batch: int
    ) -> None:
        self.digest = digest
        self._model, self._data = model, data
        self.device, self._precision, self._batch = device, precision, batch
        self._threads = decoding_threads(device)

    def images(self, data: Sequence[bytes]) -> np.ndarray:
        """Unit rows float32 [n, dim] of encoded pictures; ItemError if one cannot be decoded."""
        return self._encode(data, self._picture, "vision")

    def audio(self, data: Sequence[bytes]) -> np.ndarray:
        """Unit rows float32 [n, dim] of encoded clips; ItemError if one cannot be decoded.

        ImageBind takes the mean of three windows of 2 s, spread over the clip.
        """
        return self._encode(data, self._clip, "audio")

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit rows float32 [n, dim]."""
        return self._encode(texts, self._text, "text")

    def _picture(self, data: bytes) -> Tensor:
        from PIL import Image

        picture = Image.fromarray(load_rgb(data, max_side=_LOAD_SIDE))
        with tempfile.TemporaryDirectory() as folder:  # ImageBind reads files only
            path = Path(folder) / "picture.png"
            picture.save(path, compress_level=0)
            return self._data.load_and_transform_vision_data([str(path)], "cpu")

    def _clip(self, data: bytes) -> Tensor:
        import soundfile

        mono = load_mono(data, sample_rate=_SAMPLE_RATE, seconds=_MAX_SECONDS)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.wav"
            soundfile.write(path, mono, _SAMPLE_RATE)
            return self._data.load_and_transform_audio_data([str(path)], "cpu")

    def _text(self, text: str) -> Tensor:
        return self._data.load_and_transform_text([text], "cpu")

    def _encode(self, items: Sequence[Any], decode: Any, modality: str) -> np.ndarray:
        def forward(rows: Tensor) -> Tensor:
            with autocast(self._precision, self.device):
                return self._model({modality: rows.to(self.device)})[modality]

        return encode(
            items, decode, forward, dim=self.dim, batch=self._batch, threads=self._threads
        )
