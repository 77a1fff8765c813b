"""The route through text: an artwork's caption read by the published AudioLDM 2 pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from artsound.encoders.loading import choose_device, quiet_libraries
from artsound.errors import BadData
from artsound.stage import QUIET, Progress

# As published for the music checkpoint; what to stay away from is AudioLDM 2's own advice.
GUIDANCE = 3.5
NEGATIVE = "Low quality."


class TextRoute:
    """A loaded AudioLDM 2 pipeline: captions to waveforms."""

    def __init__(self, folder: Path, *, device: str = "auto") -> None:
        """Open the pipeline in `folder` (diffusers' layout, safetensors only).

        BadData when it is not there, damaged, or its tokenizer knows no words.
        """
        from diffusers import AudioLDM2Pipeline

        if not (folder / "model_index.json").is_file():
            raise BadData(
                f"{folder} holds no AudioLDM 2 pipeline: fetch one with `hf download "
                f"cvssp/audioldm2-music --local-dir {folder}`."
            )
        try:
            with quiet_libraries():
                pipe = AudioLDM2Pipeline.from_pretrained(
                    folder, use_safetensors=True, local_files_only=True
                )
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise BadData(
                f"{folder} cannot be opened ({str(error).splitlines()[0]}): fetch it anew."
            ) from error
        # With its vocabulary missing transformers gives an empty tokenizer instead of an error.
        for name in ("tokenizer", "tokenizer_2"):
            if len(getattr(pipe, name)) < 100:
                raise BadData(f"{folder}/{name} knows no words: fetch it anew.")
        self._pipe = pipe.to(choose_device(device))
        self._pipe.set_progress_bar_config(disable=True)
        self.sample_rate = int(pipe.vocoder.config.sampling_rate)

    def waves(
        self,
        captions: Sequence[str],
        *,
        seconds: float,
        seed: int,
        steps: int,
        progress: Progress = QUIET,
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
            progress.advance(1)
        return waves
