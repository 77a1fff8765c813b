"""The route through text: an artwork's caption read by the published AudioLDM 2 pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.encoders.loading import choose_device
from artsound.encoders.weights import quiet_libraries
from artsound.errors import BadData
from artsound.training.model import language_of_audio
from artsound.training.pretrained import find_pretrained, load_module

if TYPE_CHECKING:
    import torch

# As published for the music checkpoint; what to stay away from is AudioLDM 2's own advice.
GUIDANCE = 3.5
NEGATIVE = "Low quality."
_MODULES = (
    "vae",
    "text_encoder",
    "text_encoder_2",
    "projection_model",
    "language_model",
    "unet",
    "vocoder",
)
_LEAST_WORDS = 100  # any real tokenizer knows more


class TextRoute:
    """A loaded AudioLDM 2 pipeline: captions to waveforms."""

    def __init__(self, source: str | Path, *, device: str = "auto") -> None:
        """Open the pipeline in a folder (diffusers' layout, safetensors only) or of a hub name.

        BadData when it is not there, damaged, or its tokenizers know no words.
        """
        folder = find_pretrained(str(source))
        self._pipe = _open(folder).to(choose_device(device))
        self._pipe.set_progress_bar_config(disable=True)
        self.sample_rate = int(self._pipe.vocoder.config.sampling_rate)

    def waves(
        self, captions: Sequence[str], *, seconds: float, seed: int, steps: int
    ) -> list[np.ndarray]:
        """Waveforms float32 [seconds * sample_rate], each from its caption and the same seed."""
        import torch

        waves = []
        for caption in captions:
            with torch.inference_mode():
                [wave] = self._pipe(
                    caption,
                    negative_prompt=NEGATIVE,
                    audio_length_in_s=seconds,
                    num_inference_steps=steps,
                    guidance_scale=GUIDANCE,
                    generator=torch.Generator().manual_seed(seed),
                ).audios
            waves.append(np.asarray(wave, dtype=np.float32))
        return waves


def _open(folder: Path) -> Any:
    from diffusers import AudioLDM2Pipeline, DDIMScheduler
    from transformers import RobertaTokenizer, T5Tokenizer

    class Pipeline(AudioLDM2Pipeline):
        """diffusers' own but for one method, which calls helpers of transformers' generation that
        a GPT2Model, as the published folders name theirs, has had no more since transformers 4.50
        (github.com/huggingface/diffusers/issues/12630)."""

        def generate_language_model(
            self,
            inputs_embeds: torch.Tensor,
            max_new_tokens: int | None = None,
            attention_mask: torch.Tensor | None = None,
        ) -> torch.Tensor:
            told = getattr(self.language_model.config, "max_new_tokens", 8)
            states = int(max_new_tokens or told)
            return language_of_audio(self.language_model, inputs_embeds, states, attention_mask)

    modules = {name: load_module(folder, name) for name in _MODULES}
    # The pipeline goes by these classes, so nothing else will do.
    for name, kind in (("tokenizer", RobertaTokenizer), ("tokenizer_2", T5Tokenizer)):
        try:
            with quiet_libraries():
                tokenizer = kind.from_pretrained(folder / name, local_files_only=True)
        except (OSError, ValueError, TypeError) as error:
            raise BadData(
                f"{folder / name} is missing or cannot be read: fetch the tokenizer into it."
            ) from error
        # With its vocabulary missing transformers gives an empty tokenizer instead of an error.
        if len(tokenizer) - len(tokenizer.all_special_tokens) < _LEAST_WORDS:
            raise BadData(f"{folder / name} knows no words: fetch it anew.")
        modules[name] = tokenizer
    try:
        scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
    except (OSError, ValueError, TypeError) as error:
        raise BadData(f"{folder / 'scheduler'} cannot be read: fetch it anew.") from error
    # The feature extractor only ranks several tries at one caption.
    return Pipeline(**modules, scheduler=scheduler, feature_extractor=None)
