"""Weights and tokenizers that are not what they should be: one error, before any item."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty_files import FAULTS
from random_weights import CLIP_MODEL, pictures

from artsound.encoders.base import _load, open_encoder
from artsound.errors import BadData
from artsound.recipe import Recipe


def refused(name: str, recipe: Recipe, sentence: str, file: str) -> None:
    """The encoder is refused by one line that names the file."""
    _load.cache_clear()
    with pytest.raises(BadData, match=sentence) as error:
        open_encoder(name, recipe)
    assert file in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fault", FAULTS)
def test_weights_that_clip_cannot_use_are_refused(
    clip_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write, sentence = FAULTS[fault]
    write(Path(clip_recipe.embed.clip_checkpoint), tmp_path / "w.pt")
    refused("clip", clip_recipe.replaced(embed={"clip_checkpoint": "w.pt"}), sentence, "w.pt")
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("fault", ["of another architecture", "of other shapes", "with code"])
def test_weights_that_clap_cannot_use_are_refused(
    clap_recipe: Recipe, clap_home: Path, tmp_path: Path, fault: str
) -> None:
    write, sentence = FAULTS[fault]
    write(clap_home / "clap.pt", tmp_path / "w.pt")
    given = clap_recipe.replaced(embed={"clap_checkpoint": str(tmp_path / "w.pt")})
    refused("clap", given, sentence, "w.pt")


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_weights_of_another_precision_are_read(
    clip_recipe: Recipe, tmp_path: Path, kind: str
) -> None:
    import torch

    tensors = torch.load(clip_recipe.embed.clip_checkpoint)
    torch.save({n: t.to(getattr(torch, kind)) for n, t in tensors.items()}, tmp_path / "w.pt")
    given = clip_recipe.replaced(embed={"clip_checkpoint": str(tmp_path / "w.pt")})
    rows = [open_encoder("clip", recipe).images(pictures(4)) for recipe in (clip_recipe, given)]
    assert (np.sum(rows[0] * rows[1], axis=1) > 0.99).all()


def _without(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).unlink()


def _written(name: str, text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(text)


def _with_more_tokens(folder: Path) -> None:
    words = json.loads((folder / "vocab.json").read_text())
    more = {f"more{n}": len(words) + n for n in range(3000)}
    (folder / "vocab.json").write_text(json.dumps({**words, **more}))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_without("config.json"), "is incomplete or broken"),
        (_without("model.safetensors"), "is incomplete or broken"),
        (_without("merges.txt"), "is incomplete or broken"),
        (_without("vocab.json"), "is incomplete or broken"),
        (_written("vocab.json", "<html>"), "is incomplete or broken"),
        (_written("config.json", "{"), "is incomplete or broken"),
        (_written("model.safetensors", "junk"), "is incomplete or broken"),
        (_with_more_tokens, "has 4,500 tokens and the text model 1,500, so it is another"),
    ],
)
def test_a_text_model_without_all_its_own_files_is_refused(
    clap_recipe: Recipe,
    clap_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path], Any],
    sentence: str,
) -> None:
    shutil.copytree(clap_home / "roberta-base", tmp_path / "roberta-base")
    spoil(tmp_path / "roberta-base")
    monkeypatch.chdir(tmp_path)
    refused("clap", clap_recipe, sentence, "hf download roberta-base")


def _with_fewer_tokens(folder: Path) -> None:
    import torch

    config, weights = folder / "open_clip_config.json", folder / "open_clip_pytorch_model.bin"
    content = json.loads(config.read_text())
    content["model_cfg"]["text_cfg"]["vocab_size"] = 1000
    config.write_text(json.dumps(content))
    tensors = torch.load(weights)
    tensors["token_embedding.weight"] = tensors["token_embedding.weight"][:1000].clone()
    torch.save(tensors, weights)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_without("open_clip_config.json"), "has no open_clip_config.json: fetch all files"),
        (_without("open_clip_pytorch_model.bin"), "has no open_clip_model.safetensors or"),
        (_written("open_clip_config.json", "{"), "open_clip_config.json is not a configuration"),
        (_with_fewer_tokens, "cannot embed texts .*: weights, tokenizer and settings are not of"),
    ],
)
def test_a_folder_of_clip_that_does_not_belong_together_is_refused(
    clip_recipe: Recipe, tmp_path: Path, spoil: Callable[[Path], Any], sentence: str
) -> None:
    import open_clip

    config = {"model_cfg": open_clip.get_model_config(CLIP_MODEL), "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    shutil.copy(clip_recipe.embed.clip_checkpoint, tmp_path / "open_clip_pytorch_model.bin")
    spoil(tmp_path)
    given = clip_recipe.replaced(embed={"clip_model": f"local-dir:{tmp_path}"})
    refused("clip", given, sentence, str(tmp_path))


@pytest.mark.parametrize("content", [b"<html>", b"", b"\x10" + bytes(7) + b"{", bytes(64)])
def test_a_safetensors_file_of_something_else_is_refused(
    clip_recipe: Recipe, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    given = clip_recipe.replaced(embed={"clip_checkpoint": str(path)})
    refused("clip", given, "fetch", "w.safetensors")
