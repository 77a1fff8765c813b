"""Preset `audioldm2`, on a whole AudioLDM 2 of random weights in diffusers' layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from diffusers import AudioLDM2Pipeline
from safetensors.torch import load_file, save_file
from tiny_audioldm2 import save_tiny_audioldm2
from toy_pairs import picture, toy_pairs, toy_release
from transformers import AutoTokenizer, GPT2LMHeadModel

from artsound.errors import BadData, BadUsage
from artsound.training.checkpoint import load_checkpoint, read_tensors
from artsound.training.codec import VaeCodec, levelled, open_codec
from artsound.training.config import Config, Pretrained, find_preset, with_settings
from artsound.training.data import Release
from artsound.training.evaluate import evaluate
from artsound.training.generate import generate
from artsound.training.loop import caption_targets, train
from artsound.training.model import build_model, language_of_audio, learned
from artsound.training.pretrained import (
    constant_stream,
    find_pretrained,
    load_module,
    with_pretrained,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_audioldm2(tmp_path_factory.mktemp("audioldm2"))


@pytest.fixture(scope="module")
def config(folder: Path) -> Config:
    """The preset, with windows of a second, on the tiny modules."""
    preset = find_preset("audioldm2")
    short = preset.model_copy(
        update={
            "mel": preset.mel.model_copy(update={"seconds": 1.024}),
            "condition": preset.condition.model_copy(update={"hidden": 16, "tokens": 4}),
            "optimisation": preset.optimisation.model_copy(
                update={"batch": 2, "warmup": 0, "learning_rate": 1e-2, "mixed_precision": "no"}
            ),
        }
    )
    return with_pretrained(short, str(folder))


@pytest.fixture(scope="module")
def run(release: Release, config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps, resumed for a third."""
    out = tmp_path_factory.mktemp("run")
    train(release, config, out, steps=2)
    report = train(release, config, out, steps=3, resume=True)
    assert (report.resumed_from, report.steps) == (2, 3)
    return out


def lora(config: Config, rank: int) -> Config:
    published = config.pretrained
    assert published is not None
    return config.model_copy(
        update={"pretrained": published.model_copy(update={"lora_rank": rank})}
    )


def test_shapes_front_end_and_schedule_come_from_the_folder(config: Config) -> None:
    assert (config.mel.sample_rate, config.mel.hop, config.mel.bins) == (16_000, 160, 16)
    assert (config.codec.channels, config.codec.bands, config.codec.cell_frames) == (4, 8, 2)
    assert (config.condition.width, config.condition.constant_width) == (16, 32)
    assert config.diffusion.prediction == "epsilon"
    assert not config.diffusion.zero_terminal_snr


def test_only_the_projector_is_trained_and_kept(run: Path, config: Config) -> None:
    kept = load_checkpoint(run)
    assert {name.split(".")[0] for name in kept.weights} == {
        "projector",
        "constant",
        "constant_mask",
    }
    fresh = build_model(config, condition_dim=20, channels=4)
    raw = read_tensors(kept.path / "training.safetensors")
    assert raw.keys() == kept.weights.keys()
    assert not torch.equal(raw["projector.net.0.weight"], fresh.projector.net[0].weight)
    assert not any(p.requires_grad for p in fresh.unet.parameters())


def test_the_second_stream_says_the_constant_text_under_its_mask(run: Path, folder: Path) -> None:
    weights = load_checkpoint(run).weights
    states, mask = constant_stream(folder, "Music.", 16)
    assert torch.equal(weights["constant"], states)
    assert torch.equal(weights["constant_mask"], mask)
    assert mask.tolist() == [[1, 1] + [0] * 14]


def test_padding_of_the_second_stream_does_not_count_and_its_words_do(config: Config) -> None:
    model = build_model(config, condition_dim=20, channels=4).eval()
    model.constant_mask[:, 2:] = 0
    given = {
        "noisy": torch.randn(2, 4, 8, 8),
        "timestep": torch.tensor([5, 900]),
        "embedding": torch.randn(2, 20),
        "keep": torch.ones(2, dtype=torch.bool),
    }
    with torch.no_grad():
        plain = model(**given)
        model.constant[:, 2:] += 1
        assert torch.allclose(plain, model(**given), atol=1e-5)
        model.constant[:, :2] += 1
        assert not torch.allclose(plain, model(**given), atol=1e-5)


def test_the_language_of_audio_is_the_one_the_published_pipeline_makes() -> None:
    config = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": 8}
    model = GPT2LMHeadModel._from_config(GPT2LMHeadModel.config_class(**config)).eval()
    tokens = torch.randn(2, 4, 16)
    with torch.no_grad():
        theirs = AudioLDM2Pipeline.generate_language_model(
            SimpleNamespace(language_model=model, device="cpu"),
            tokens,
            max_new_tokens=8,
            attention_mask=torch.ones(2, 4, dtype=torch.long),
        )
        ours = language_of_audio(model.transformer, tokens, 8)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_music_comes_out_of_a_checkpoint(run: Path, tmp_path: Path) -> None:
    image = tmp_path / "painting.jpg"
    image.write_bytes(picture(0.5, 0.8, 99))
    first, again = (
        generate(run, [image], tmp_path / f"{n}.wav", steps=2, seconds=1.0)[0] for n in range(2)
    )
    assert (first.seconds, first.sample_rate) == (1.0, 16_000)
    assert first.sha256 == again.sha256


def test_levels_go_through_the_autoencoder_as_its_authors_scale_them(config: Config) -> None:
    codec = open_codec(config, {})
    levels = np.random.default_rng(0).normal(-5, 2, (102, 16)).astype(np.float32)
    latent = codec.encode(levels)
    assert latent.shape == (4, 51, 8)
    with torch.no_grad():
        mode = codec.vae.encode(torch.from_numpy(levels)[None, None]).latent_dist.mode()  # type: ignore[attr-defined]
    assert np.allclose(latent, 0.41 * mode[0].numpy(), atol=1e-5)
    decoded = codec.decode(latent)
    assert decoded.shape == (102, 16)
    assert codec.sound(decoded).shape == (102 * 160,)


def test_lora_changes_nothing_at_first_and_is_all_that_is_trained_of_the_unet(
    config: Config, release: Release, tmp_path: Path
) -> None:
    plain = build_model(config, condition_dim=20, channels=4).eval()
    with_lora = build_model(lora(config, 2), condition_dim=20, channels=4).eval()
    given = (torch.randn(1, 4, 8, 8), torch.tensor([5]), torch.randn(1, 20), torch.tensor([True]))
    with torch.no_grad():
        assert torch.allclose(plain(*given), with_lora(*given), atol=1e-5)
    names = [name for name in learned(with_lora) if name.startswith("unet.")]
    assert names
    assert all(".attn2.to_" in name and ".lora_" in name for name in names)
    train(release, lora(config, 2), tmp_path / "run", steps=1)
    weights = read_tensors(load_checkpoint(tmp_path / "run").path / "training.safetensors")
    moved = [name for name in names if "lora_B" in name and weights[name].any()]
    assert len(moved) == len(names) // 2


def test_modules_other_than_those_a_run_began_with_are_refused(
    run: Path, config: Config, folder: Path, release: Release, tmp_path: Path
) -> None:
    other = save_tiny_audioldm2(tmp_path / "other", seed=1)
    with pytest.raises(BadUsage, match="other settings"):
        train(release, config, run, steps=4, resume=True, pretrained=str(other))
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    path = load_checkpoint(copied).path / "config.json"
    path.write_text(path.read_text().replace(str(folder), str(other)))
    with pytest.raises(BadData, match="holds other modules"):
        generate(copied, [_image(tmp_path)], tmp_path / "x.wav")


def test_a_run_continues_with_the_same_modules_in_another_place(
    run: Path, config: Config, folder: Path, release: Release, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(folder, tmp_path / "moved"))
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    report = train(release, config, copied, steps=3, resume=True, pretrained=str(moved))
    assert report.resumed_from == 3


def test_a_checkpoint_finds_its_modules_from_any_folder_and_where_they_have_moved(
    run: Path,
    config: Config,
    folder: Path,
    release: Release,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder.parent)
    named = with_pretrained(config, folder.name)  # a relative place
    assert named.pretrained is not None
    assert named.pretrained.source == str(folder.resolve())
    quick: dict[str, Any] = {"steps": 1, "seconds": 1.0}
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    path = load_checkpoint(copied).path / "config.json"
    path.write_text(path.read_text().replace(str(folder), str(tmp_path / "gone")))
    with pytest.raises(BadUsage, match=r"gone is neither .* --pretrained, or fetch it"):
        generate(copied, [_image(tmp_path)], tmp_path / "x.wav", **quick)
    pieces = [
        generate(place, [_image(tmp_path)], tmp_path / "x.wav", pretrained=reported, **quick)[0]
        for place, reported in ((run, None), (copied, str(folder)))
    ]
    assert pieces[0].sha256 == pieces[1].sha256
    summary = evaluate(copied, release, tmp_path, pretrained=str(folder), takes=1, steps=1)
    assert summary["pairs"] == 8


def test_a_missing_module_and_a_missing_checkpoint_say_what_to_fetch(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Path(shutil.copytree(folder, tmp_path / "part"))
    shutil.rmtree(part / "vocoder")
    with pytest.raises(BadData, match=r"lacks vocoder.*hf download cvssp/audioldm2-music --local"):
        find_pretrained(str(part))
    with pytest.raises(BadUsage, match="neither a folder nor a name"):
        find_pretrained("no such folder")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(BadData, match=r"hf download cvssp/audioldm2-music.*--pretrained a folder"):
        find_pretrained("cvssp/audioldm2-music")


def test_a_cut_or_foreign_module_is_reported(folder: Path, config: Config, tmp_path: Path) -> None:
    cut = Path(shutil.copytree(folder, tmp_path / "cut"))
    weights = next((cut / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(BadData, match=r"unet cannot be loaded"):
        build_model(with_pretrained(config, str(cut)), condition_dim=20, channels=4)
    settings = folder / "language_model" / "config.json"
    wide = cut / "language_model" / "config.json"
    wide.write_text(json.dumps(json.loads(settings.read_text()) | {"n_embd": 24}))
    with pytest.raises(BadData, match="are inconsistent"):
        with_pretrained(config, str(cut))
    wide.write_text(json.dumps(json.loads(settings.read_text()) | {"n_layer": 3}))
    with pytest.raises(BadData, match="language_model lacks weights"):
        build_model(_at(config, cut, settings), condition_dim=20, channels=4)


def _spoil(place: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Change the last weight of a module that has numbers."""
    weights = next(place.glob("*.safetensors"))
    tensors = load_file(weights)
    name = [name for name, tensor in tensors.items() if tensor.is_floating_point()][-1]
    save_file({**tensors, name: change(tensors[name])}, weights, metadata={"format": "pt"})


def _not_finite(place: Path) -> None:
    _spoil(place, lambda tensor: tensor * torch.nan)


def _half(place: Path) -> None:
    _spoil(place, lambda tensor: tensor.half())


def _cut(place: Path) -> None:
    weights = next(place.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])


def _cut_config(place: Path) -> None:
    (place / "config.json").write_text((place / "config.json").read_text()[:40])


def _misshapen(place: Path) -> None:
    _spoil(place, lambda tensor: torch.zeros(*tensor.shape, 2))


def _another(place: Path) -> None:
    shutil.rmtree(place)
    other = "vocoder" if place.name == "vae" else "vae"
    shutil.copytree(place.parent / other, place)


def _more_words(place: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(place)
    tokenizer.add_tokens([f"word{n}" for n in range(300)])
    tokenizer.save_pretrained(place)


def _no_words(place: Path) -> None:
    (place / "tokenizer.json").write_text("{}")


FAULTS = [
    *((module, spoil) for module in ("unet", "vae", "vocoder", "language_model", "text_encoder_2")
      for spoil in (_not_finite, _cut, _cut_config, _misshapen, _another, shutil.rmtree)),
    *(("tokenizer_2", spoil) for spoil in (_more_words, _no_words, shutil.rmtree)),
]  # fmt: skip


@pytest.mark.parametrize(("module", "spoil"), FAULTS)
def test_a_fault_of_a_module_is_one_error_before_any_work(
    release: Release,
    folder: Path,
    tmp_path: Path,
    module: str,
    spoil: Callable[[Path], None],
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    spoil(copy / module)
    with pytest.raises(BadData, match=rf"{module}|inconsistent|AudioLDM 2 in diffusers") as error:
        train(release, find_preset("audioldm2"), tmp_path / "run", steps=1, pretrained=str(copy))
    assert str(copy) in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run" / "cache").exists()


@pytest.mark.parametrize("module", ["unet", "vae", "vocoder", "language_model"])
def test_weights_of_another_precision_are_taken(folder: Path, tmp_path: Path, module: str) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    _half(copy / module)
    assert {p.dtype for p in load_module(copy, module).parameters()} == {torch.float32}


def test_what_a_module_or_a_network_makes_of_numbers_is_checked(
    config: Config, run: Path, tmp_path: Path
) -> None:
    codec = open_codec(config, {})
    assert isinstance(codec, VaeCodec)
    torch.nn.init.constant_(codec.vae.quant_conv.bias, torch.inf)
    torch.nn.init.constant_(codec.vocoder.conv_post.bias, torch.nan)
    for make in (codec.encode, codec.sound):
        with pytest.raises(BadData, match="gives numbers that are not finite: fetch v"):
            make(np.zeros((16, 16), np.float32))
    with pytest.raises(BadData, match=r"latents that are not finite at a guidance of 1e\+38"):
        generate(run, [_image(tmp_path)], tmp_path / "x.wav", guidance=1e38, steps=2, seconds=1.0)


def test_a_text_of_unknown_words_and_a_preset_without_modules_are_refused(folder: Path) -> None:
    with pytest.raises(BadData, match="has no token"):
        constant_stream(folder, "zzz", 4)
    with pytest.raises(BadUsage, match="uses no published modules"):
        with_pretrained(find_preset("tiny"), str(folder))


def _at(config: Config, folder: Path, _settings: Path) -> Config:
    """`config` on a folder whose UNet is put right again."""
    assert isinstance(config.pretrained, Pretrained)
    good = find_pretrained(config.pretrained.source)
    shutil.copytree(good / "unet", folder / "unet", dirs_exist_ok=True)
    moved = Path(shutil.copytree(folder, folder.parent / "moved"))
    return with_pretrained(config, str(moved))


def _image(folder: Path) -> Path:
    path = folder / "painting.jpg"
    path.write_bytes(picture(0.5, 0.8, 99))
    return path


def test_states_are_aligned_with_those_of_the_captions(
    config: Config, release: Release, tmp_path: Path
) -> None:
    aligned = with_settings(config, ["extra.alignment=1.0", "optimisation.batch=4"])
    with pytest.raises(BadData, match="has no music caption to align with"):
        train(release, aligned, tmp_path / "none", steps=1)
    pairs = toy_pairs(12, 1, seconds=2.0)
    for number, sample in enumerate(pairs):
        sample["json"]["track_caption"] = "calm piano" if number % 2 else "Music."
    told = toy_release(tmp_path / "toys", train=pairs, seconds=2.0)
    targets = caption_targets(told.pairs("train"), aligned, tmp_path, "cpu")
    assert list(targets) == [pair["key"] for pair in pairs]
    states = list(targets.values())
    assert states[0].shape == (8, 16)
    assert np.array_equal(states[0], states[2])
    assert not np.array_equal(states[0], states[1])
    again = caption_targets(told.pairs("train"), aligned, tmp_path, "cpu")
    assert all(np.array_equal(again[key], targets[key]) for key in targets)
    train(told, aligned, tmp_path / "run", steps=2)
    weights = [
        load_checkpoint(run_).weights["projector.net.0.weight"]
        for run_ in (tmp_path / "run", _without_alignment(told, config, tmp_path))
    ]
    assert not torch.equal(*weights)


def test_alignment_without_published_modules_is_refused(release: Release, tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="Alignment needs published modules"):
        train(release, with_settings(find_preset("tiny"), ["extra.alignment=1"]), tmp_path)


def _without_alignment(release: Release, config: Config, folder: Path) -> Path:
    train(release, with_settings(config, ["optimisation.batch=4"]), folder / "plain", steps=2)
    return folder / "plain"


PUBLISHED: dict[str, dict[str, Any]] = {  # as config.json of cvssp/audioldm2-music states them
    "unet": {
        "in_channels": 8,
        "block_out_channels": [128, 256, 384, 640],
        "layers_per_block": 2,
        "attention_head_dim": 8,
        "cross_attention_dim": [[None, 768, 1024]] * 4,
    },
    "vae": {"latent_channels": 8, "block_out_channels": [128, 256, 512]},
    "vocoder": {"model_in_dim": 64, "sampling_rate": 16_000, "upsample_rates": [5, 4, 2, 2, 2]},
    "language_model": {"n_embd": 768},
    "scheduler": {
        "num_train_timesteps": 1000,
        "beta_start": 0.0015,
        "beta_end": 0.0195,
        "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon",
    },
}


def test_the_presets_have_the_shapes_of_the_published_configs(tmp_path: Path) -> None:
    for module, values in PUBLISHED.items():
        (tmp_path / module).mkdir()
        name = "scheduler_config.json" if module == "scheduler" else "config.json"
        (tmp_path / module / name).write_text(json.dumps(values))
        (tmp_path / module / "weights.safetensors").touch()
    preset, base = find_preset("audioldm2"), find_preset("base")
    found = with_pretrained(preset, str(tmp_path))
    for section in ("mel", "codec", "condition", "diffusion"):
        assert getattr(found, section) == getattr(preset, section)
    unet = PUBLISHED["unet"]
    assert list(base.network.blocks) == unet["block_out_channels"]
    assert (base.network.layers, base.network.heads) == (2, unet["attention_head_dim"])
    assert (base.condition.width, base.condition.constant_width) == (768, 1024)
    latent = (base.codec.channels, 1024 // base.codec.cell_frames, base.codec.bands)
    assert latent == (8, 256, 16)
    assert (preset.mel.peak, base.mel.peak, find_preset("tiny").mel.peak) == (0.5, 0.0, 0.0)


def test_clips_are_levelled_only_where_the_modules_were_trained_so() -> None:
    mel = find_preset("audioldm2").mel
    wave = np.sin(np.arange(16_000) / 9).astype(np.float32) * 0.2 + 0.1
    made = levelled(wave, mel)
    assert float(np.abs(made).max()) == pytest.approx(0.5)
    assert float(made.mean()) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(levelled(wave * 3, mel), made, atol=1e-6)
    assert levelled(np.zeros(8, np.float32), mel).tolist() == [0] * 8
    assert levelled(wave, find_preset("tiny").mel) is wave


def test_fp16_variants_and_missing_constant_buffers_are_loaded(
    folder: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for path in (copy / "vae").glob("*.safetensors"):
        half = {name: tensor.half() for name, tensor in load_file(path).items()}
        save_file(half, path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))
        path.unlink()
    vae = load_module(copy, "vae")
    assert {p.dtype for p in vae.parameters()} == {torch.float32}
    [weights] = (copy / "text_encoder").glob("*.safetensors")
    tensors = load_file(weights)
    gone = [name for name in tensors if name.endswith(("token_type_ids", "position_ids"))]
    save_file({name: t for name, t in tensors.items() if name not in gone}, weights)
    text = dict(load_module(copy, "text_encoder").named_buffers())
    for name in gone:
        assert torch.equal(text[name], tensors[name])
    lost = next(name for name in tensors if name.endswith("weight"))
    save_file({name: t for name, t in tensors.items() if name != lost}, weights)
    with pytest.raises(BadData, match="lacks weights"):
        load_module(copy, "text_encoder")
