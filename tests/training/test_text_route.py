"""The route through captions, on the published pipeline's own classes with random weights."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_audioldm2 import save_tiny_pipeline
from toy_pairs import toy_pairs, toy_release
from transformers import GPT2LMHeadModel

from artsound.errors import BadData
from artsound.training.data import Release
from artsound.training.evaluate import TextRoute, _open, evaluate
from artsound.training.loop import TrainReport
from artsound.training.model import language_of_audio


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pipeline(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="module")
def route(folder: Path) -> TextRoute:
    return TextRoute(folder, device="cpu")


def test_captions_become_music_of_the_length_asked_for(route: TextRoute) -> None:
    first, other, again = route.waves(
        ["calm piano", "a storm", "calm piano"], seconds=1.0, seed=3, steps=2
    )
    assert (first.dtype, first.shape, route.sample_rate) == (np.float32, (16_000,), 16_000)
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    [seeded] = route.waves(["calm piano"], seconds=1.0, seed=4, steps=2)
    assert not np.allclose(first, seeded)


def test_the_states_of_captions_are_those_of_the_pipelines_own_loop(folder: Path) -> None:
    from diffusers import AudioLDM2Pipeline

    ours = _open(folder)
    # A model with a head still has the helpers that diffusers' loop calls.
    headed = GPT2LMHeadModel(ours.language_model.config).eval()
    headed.transformer.load_state_dict(ours.language_model.state_dict())
    tokens, mask = torch.randn(2, 6, 16), torch.ones(2, 6, dtype=torch.long)
    mask[1, 4:] = 0  # padding
    with torch.inference_mode():
        mine = ours.generate_language_model(tokens, attention_mask=mask, max_new_tokens=8)
        ours.language_model = headed
        theirs = AudioLDM2Pipeline.generate_language_model(
            ours, tokens, attention_mask=mask, max_new_tokens=8
        )
        unmasked = language_of_audio(headed.transformer, tokens, 8)
    assert torch.allclose(mine, theirs, atol=1e-5)
    assert not torch.allclose(mine[1], unmasked[1], atol=1e-3)


def test_evaluation_compares_with_the_captions(
    trained: tuple[Path, TrainReport], release: Release, folder: Path, tmp_path: Path
) -> None:
    held = [toy_pairs(4, seed, seconds=2.0) for seed in (2, 3)]
    for pairs in held:
        for number, sample in enumerate(pairs):
            sample["json"]["artwork_caption"] = ["calm", "a storm", "quiet", "piano"][number]
    told = toy_release(tmp_path / "toys", val=held[0], test=held[1], seconds=2.0)
    told = replace(told, digest=release.digest)
    summary = evaluate(trained[0], told, tmp_path, takes=1, steps=2, text_route=folder)
    systems = summary["systems"]
    assert set(systems) == {"model", "unconditional", "text route", "nearest track"}
    assert set(systems["text route"]) == {"descriptors", "bridge"}
    assert len(list((tmp_path / "wavs text route").glob("*.wav"))) == 8
    assert "text route" in (tmp_path / "table.md").read_text()


def test_a_folder_without_a_pipeline_says_what_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"hf download cvssp/audioldm2-music --local-dir"):
        TextRoute(tmp_path)


def test_a_cut_module_and_a_tokenizer_without_words_are_reported(
    folder: Path, tmp_path: Path
) -> None:
    cut = Path(shutil.copytree(folder, tmp_path / "cut"))
    weights = next((cut / "projection_model").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(BadData, match="projection_model cannot be loaded"):
        TextRoute(cut)
    mute = Path(shutil.copytree(folder, tmp_path / "mute"))
    (mute / "tokenizer_2" / "tokenizer.json").unlink()
    with pytest.raises(BadData, match="tokenizer_2"):
        TextRoute(mute)
