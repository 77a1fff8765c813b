"""What the published model's language of audio says of each track's caption: aims for pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from artsound.errors import BadData
from artsound.storage import atomic_write, digest
from artsound.training.config import Config
from artsound.training.data import Pairs
from artsound.training.model import language_of_audio
from artsound.training.pretrained import load_module, load_tokenizer, verified_folder
from artsound.untrusted import read_array


def caption_targets(pairs: Pairs, config: Config, out: Path, device: Any) -> np.ndarray:
    """The states float16 [n, states, W] for the music captions of `pairs`, cached in `out`/cache.

    BadData when a pair has no caption, or the folder of modules lacks its text encoders.
    """
    captions = [str(pairs.read(n)["json"].get("music_caption", "")) for n in range(len(pairs))]
    empty = next((n for n, caption in enumerate(captions) if not caption.strip()), None)
    if empty is not None:
        raise BadData(
            f"Pair {pairs.read(empty)['key']} has no music caption to align with: run `artsound "
            "caption` and `artsound shard`, or train without alignment."
        )
    folder = verified_folder(config)
    published = config.pretrained
    if published is None:
        raise BadData("Alignment needs published modules: use the preset audioldm2.")
    name = digest([captions, published.digest, published.states])[:16]
    path = out / "cache" / f"captions-{name}.npy"
    try:
        return read_array(path)
    except (OSError, ValueError):
        pass
    known = sorted(set(captions))
    states = caption_states(folder, known, published.states, device)
    place = {caption: n for n, caption in enumerate(known)}
    targets = states[[place[caption] for caption in captions]]
    with atomic_write(path) as file:
        np.save(file, targets)
    return targets


def caption_states(folder: Path, captions: list[str], states: int, device: Any) -> np.ndarray:
    """The states float16 [n, states, W] that the published language model makes of captions.

    As AudioLDM 2 does: CLAP's text vector and T5's states, each projected and put between their
    learnt marks, and GPT-2's continuation of them. One caption at a time, so nothing is padded.
    """
    import torch

    clap, t5, joined, language_model = (
        load_module(folder, name).to(device)
        for name in ("text_encoder", "text_encoder_2", "projection_model", "language_model")
    )
    tokenizers = load_tokenizer(folder, "tokenizer"), load_tokenizer(folder, "tokenizer_2")
    rows = []
    with torch.inference_mode():
        for caption in captions:
            first, second = (
                tokenizer(caption, truncation=True, max_length=512, return_tensors="pt").to(device)
                for tokenizer in tokenizers
            )
            text = clap.get_text_features(
                input_ids=first.input_ids, attention_mask=first.attention_mask
            )
            text = getattr(text, "pooler_output", text)  # transformers 5 wraps it
            words = t5(second.input_ids).last_hidden_state
            asked = joined(
                hidden_states=text[:, None],
                hidden_states_1=words,
                attention_mask=first.attention_mask.new_ones((1, 1)),
                attention_mask_1=second.attention_mask,
            ).hidden_states
            rows.append(language_of_audio(language_model, asked, states)[0].half().cpu().numpy())
    return np.stack(rows)
