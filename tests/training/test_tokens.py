"""The autoregressive family: tokens of music, predicted by MusicGen's decoder, up to a WAV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from toy_pairs import picture

from artsound.errors import BadData, BadUsage
from artsound.testing import check_family
from artsound.training.checkpoint import load_checkpoint, read_tensors
from artsound.training.config import Config, find_preset, with_settings
from artsound.training.data import Batch, Release, decode_clip
from artsound.training.evaluate import evaluate
from artsound.training.family import open_family
from artsound.training.generate import generate
from artsound.training.loop import train
from artsound.training.tokens import MusicgenFamily

SMALL = with_settings(
    find_preset("tiny-musicgen"),
    [
        "mel.seconds=1.024", "codec.channels=8", "codec.vocoder_iterations=4", "tokens.entries=16",
        "condition.width=32", "condition.hidden=32", "optimisation.batch=4", "tokens.layers=1",
    ],
)  # fmt: skip


@pytest.fixture(scope="module")
def run(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps, in two sittings."""
    out = tmp_path_factory.mktemp("tokens") / "run"
    train(release, SMALL, out, steps=3, save_every=3)
    train(release, SMALL, out, steps=6, save_every=3, resume=True)
    return out


def test_a_resumed_run_takes_the_same_steps(run: Path, release: Release, tmp_path: Path) -> None:
    train(release, SMALL, tmp_path / "whole", steps=6, save_every=6)
    whole, halves = (load_checkpoint(folder).path for folder in (tmp_path / "whole", run))
    first, second = (read_tensors(one / "training.safetensors") for one in (whole, halves))
    assert set(first) == set(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert json.loads((run / "checkpoints" / "best.json").read_text())["step"] in (3, 6)


def test_the_same_picture_and_seed_give_the_same_music(run: Path, tmp_path: Path) -> None:
    (tmp_path / "art.jpg").write_bytes(picture(0.5, 0.5, 1))
    pieces = [
        generate(run, [tmp_path / "art.jpg"], tmp_path / f"{n}.wav", seed=seed, seconds=0.8)[0]
        for n, seed in enumerate((1, 1, 2))
    ]
    assert pieces[0].sha256 == pieces[1].sha256 != pieces[2].sha256
    wave, rate = soundfile.read(tmp_path / "0.wav")
    assert len(wave) == pytest.approx(0.8 * rate)


def test_tokens_are_whole_numbers_that_decode_near_the_music(run: Path, release: Release) -> None:
    codec = open_family(SMALL).open_codec(load_checkpoint(run).arrays, "cpu")
    clip = decode_clip(release.pairs("train").read(0)["mp3"], SMALL.mel).astype(np.float32)
    tokens = codec.encode(clip)
    assert tokens.shape[0] == 4
    assert set(np.unique(tokens)) <= set(range(16))
    assert np.array_equal(codec.encode(codec.decode(tokens)).shape, tokens.shape)
    again = codec.decode(tokens)
    still = np.abs(clip[: len(again)] - clip.mean(axis=0)).mean()
    assert np.abs(clip[: len(again)] - again).mean() < still


def test_the_loss_of_a_step_is_that_of_sampling_it(run: Path) -> None:
    """What sampling predicts one step at a time equals what training predicts at once."""
    checkpoint = load_checkpoint(run)
    family = open_family(SMALL)
    model = family.build(checkpoint.state.condition_dim).eval()
    tokens = torch.randint(0, 16, (2, 4, 6))
    delayed = family.delayed(tokens)  # type: ignore[attr-defined]
    assert delayed.shape == (2, 4, 9)
    for book in range(4):
        assert torch.equal(delayed[:, book, book : book + 6], tokens[:, book])
    assert (delayed == 16).sum() == 2 * 4 * 3
    condition, keep = torch.randn(2, checkpoint.state.condition_dim), torch.tensor([True, False])
    with torch.inference_mode():
        losses = family.loss(model, _batch(tokens, condition, keep))
        assert losses.shape == (2,)
        assert losses.mean() == pytest.approx(np.log(16), rel=0.2)  # of an untrained network
        whole = model(delayed, condition, keep)
        assert torch.allclose(
            whole[..., :3, :], model(delayed[..., :3], condition, keep), atol=1e-5
        )


def _batch(tokens: torch.Tensor, condition: torch.Tensor, keep: torch.Tensor) -> Batch:
    nothing = torch.zeros(len(tokens))
    return Batch(("a", "b"), tokens[..., None].float(), condition, keep, nothing, nothing)


def test_guidance_of_nought_hears_no_picture(run: Path) -> None:
    family, checkpoint = open_family(SMALL), load_checkpoint(run)
    model = family.build(checkpoint.state.condition_dim)
    pictures = np.random.default_rng(0).normal(size=(2, checkpoint.state.condition_dim))
    options: dict[str, Any] = {"shape": (4, 4, 1), "seeds": [3, 3], "steps": 1}
    blind = family.sample(model, pictures.astype(np.float32), guidance=0.0, **options)
    assert np.array_equal(blind[0], blind[1])
    seen = family.sample(model, pictures.astype(np.float32), guidance=50.0, **options)
    assert not np.array_equal(seen[0], seen[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["extra.contrast=1"], "no extra losses"),
        (["condition.width=30"], "no multiple of tokens.heads"),
        (["codec.kind=vae"], "codec `patch`"),
        (["family=musicgan"], "did you mean 'musicgen'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: list[str], message: str) -> None:
    config = SMALL.model_copy(update={"family": "musicgan"}) if "=m" in settings[0] else None
    with pytest.raises(BadUsage, match=message):
        open_family(config or with_settings(SMALL, settings))


def test_too_little_music_for_the_codebooks_is_refused(release: Release, tmp_path: Path) -> None:
    many = with_settings(SMALL, ["tokens.entries=2048"])
    with pytest.raises(BadData, match=r"entries of a codebook: add pairs .* tokens\.entries"):
        train(release, many, tmp_path / "many", steps=1)


def test_configurations_of_the_diffusion_family_are_stored_as_before() -> None:
    stored = find_preset("tiny").model_dump(mode="json")
    assert not {"family", "tokens"} & set(stored)
    assert Config.model_validate(SMALL.model_dump(mode="json")) == SMALL


class Forgetful(MusicgenFamily):
    """Samples the same latents for every seed."""

    name = "forgetful"

    def open(self, config: Config) -> Any:
        family = super().open(config)
        sample = family.sample
        family.sample = lambda *args, **options: sample(  # type: ignore[method-assign]
            *args, **{**options, "seeds": [0] * len(options["seeds"])}
        )
        return family


def test_built_in_families_keep_the_contract_and_a_faulty_one_does_not(small: Config) -> None:
    check_family("musicgen", SMALL)
    check_family("diffusion", small)
    with pytest.raises(AssertionError, match="'forgetful': two seeds give one latent"):
        check_family(Forgetful(), SMALL)


def test_music_of_tokens_is_evaluated(run: Path, release: Release, tmp_path: Path) -> None:
    summary = evaluate(run, release, tmp_path, takes=1, steps=1)
    assert summary["pairs"] == 8
    assert set(summary["systems"]) == {"model", "unconditional", "nearest track"}
    blind = summary["systems"]["unconditional"]["descriptors"]["condition_effect"]
    assert blind["mean"] == pytest.approx(0, abs=1e-3)
