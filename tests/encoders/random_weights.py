"""CLIP and CLAP with small random weights, saved as published checkpoints are."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

CLIP_MODEL, CLAP_MODEL = "artsound-test-clip", "HTSAT-tiny"


def register_clip(folder: Path) -> None:
    """Make OpenCLIP know an architecture of a million parameters by name; its file in `folder`."""
    import open_clip

    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16,
                       "patch_size": 8},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2,
                     "layers": 1},
    }  # fmt: skip
    (folder / f"{CLIP_MODEL}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"{CLIP_MODEL}.json")


def widened(model: Any) -> Any:
    """A model of random weights whose vectors differ as those of a trained one do.

    With the usual small weights all vectors are nearly the same, as those of a collapsed model.
    """
    import torch

    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim >= 2:
                weight.mul_(3)
    return model


def write_clip(folder: Path, model: str) -> Path:
    """A checkpoint of an architecture that OpenCLIP knows."""
    import open_clip
    import torch

    torch.manual_seed(0)
    torch.save(widened(open_clip.create_model(model)).state_dict(), folder / "clip.pt")
    return folder / "clip.pt"


def write_roberta(folder: Path) -> None:
    """A folder roberta-base: one random layer, and a tokenizer trained on made-up words."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel

    rng = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = ["".join(rng.choice(letters, size=6)) for _ in range(2000)]
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(
        [" ".join(words)],
        vocab_size=1500,
        min_frequency=1,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        show_progress=False,
    )
    home = folder / "roberta-base"
    home.mkdir()
    tokenizer.save_model(str(home))
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=1500,
        hidden_size=768,
        num_hidden_layers=1,
        num_attention_heads=12,
        intermediate_size=64,
        max_position_embeddings=100,
    )
    RobertaModel(config).save_pretrained(home)


def write_clap(folder: Path, tower: str) -> Path:
    """A checkpoint as LAION's are, of an audio tower, and roberta-base; made in the working folder.

    Like theirs it names tensors as DataParallel does, holds a buffer that newer transformers have
    no more, and a NumPy number beside the weights.
    """
    import torch

    from artsound.encoders.laion_clap import import_clap_module

    write_roberta(folder)
    model, _ = import_clap_module().create_model(tower, "roberta", device=torch.device("cpu"))
    saved = widened(model).state_dict()
    tensors = {f"module.{name}": tensor for name, tensor in saved.items()}
    tensors["module.text_branch.embeddings.position_ids"] = torch.arange(100)[None]
    path = folder / "clap.pt"
    torch.save({"epoch": 15, "best": np.float64(0.9), "state_dict": tensors}, path)
    return path


def pictures(count: int) -> list[bytes]:
    """Different PNGs of noise, 50 × 40."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(count):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (40, 50, 3)).astype(np.uint8)).save(out, "PNG")
        found.append(out.getvalue())
    return found


def clip_of(seconds: float, hertz: float) -> bytes:
    """A WAV of a tone and some noise at 48 kHz."""
    times = np.arange(int(seconds * 48_000)) / 48_000
    noise = np.random.default_rng(int(hertz)).normal(0, 0.05, len(times))
    out = io.BytesIO()
    sound = 0.4 * np.sin(2 * np.pi * hertz * times) + noise
    soundfile.write(out, sound, 48_000, format="WAV", subtype="PCM_16")
    return out.getvalue()
