"""LP-MusicCaps on a small random checkpoint of the published layout, with the real BART."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from caption_records import track, track_descriptors
from tiny_models import small_bart

from artsound.captions.base import CaptionItem
from artsound.captions.captioners import open_captioner
from artsound.captions.lp_music_caps import (
    FILE,
    LpMusicCaps,
    encode_sound,
    mel_levels,
    middle_window,
)
from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.recipe import Captions

torch = pytest.importorskip("torch")
WIDTH = 64


def _tokenizer(folder: Path) -> int:
    """Write a tokenizer of letters as BART's lies on the hub; its number of tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokens = [*special, *"abcdefghijklmnopqrstuvwxyz\u0120"]
    words = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges=[]))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    words.add_special_tokens(special)
    words.save(str(folder / "tokenizer.json"))
    return len(tokens)


def _checkpoint(folder: Path) -> dict[str, Any]:
    """The tensors of a small model by the published names."""
    from transformers import BartConfig, BartForConditionalGeneration

    sizes = {**small_bart(_tokenizer(folder)), "d_model": WIDTH}
    heads = {f"{half}_attention_heads": 1 for half in ("encoder", "decoder")}
    torch.manual_seed(0)
    bart = BartForConditionalGeneration(BartConfig(**{**sizes, **heads}))
    tensors = {f"bart.{name}": tensor for name, tensor in bart.state_dict().items()}
    for tensor in tensors.values():
        if tensor.ndim > 1:
            tensor.normal_(0, 0.5)
    tensors |= {
        "audio_encoder.mel_encoder.spec_fn.window": torch.hann_window(1024),
        "audio_encoder.mel_encoder.mel_scale.fb": torch.rand(513, 128),
        "audio_encoder.conv1.weight": torch.randn(WIDTH, 128, 3) / 100,
        "audio_encoder.conv1.bias": torch.zeros(WIDTH),
        "audio_encoder.positional_embedding": torch.randn(32, WIDTH),
    }
    for number in range(5):
        tensors[f"audio_encoder.conv_stack.{number}.weight"] = torch.randn(WIDTH, WIDTH, 3) / 9
        tensors[f"audio_encoder.conv_stack.{number}.bias"] = torch.zeros(WIDTH)
    return tensors


def _write(folder: Path, tensors: dict[str, Any]) -> Path:
    torch.save({"epoch": 5, "state_dict": tensors}, folder / FILE)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lp-music-caps")
    return _write(folder, _checkpoint(folder))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[CaptionItem]:
    """Two clips longer than a window, and one that is shorter, in the middle of these."""
    folder = tmp_path_factory.mktemp("clips")
    items = []
    for number, seconds in enumerate((16.0, 4.0, 30.0)):
        times = np.arange(int(16000 * seconds)) / 16000
        middle = np.abs(times - seconds / 2) < 5
        wave = 0.3 * np.sin(2 * np.pi * (300 + 900 * number) * times) * middle
        data = io.BytesIO()
        soundfile.write(data, wave.astype(np.float32), 16000, format="WAV")
        path = folder / f"{number}.wav"
        path.write_bytes(data.getvalue())
        record = track(duration=seconds)
        items.append(CaptionItem("track", f"{number:06d}", record, track_descriptors(), path))
    return items


def _captioner(place: Path, **changes: Any) -> LpMusicCaps:
    settings = {"max_new_tokens": 12, "batch": 2, "device": "cpu"}
    return LpMusicCaps(str(place), **(settings | changes))


def test_each_clip_gets_one_text_whatever_the_batch(
    checkpoint: Path, clips: list[CaptionItem]
) -> None:
    captioner = _captioner(checkpoint)
    texts = captioner.captions(clips)
    assert len(texts) == 3
    assert len(set(texts)) > 1
    assert not any(mark in text for text in texts for mark in ("<s>", "</s>", "<pad>"))
    assert captioner.captions(clips) == texts
    assert _captioner(checkpoint, batch=1).captions(clips) == texts
    assert captioner.settings["num_beams"] == 5
    assert _captioner(checkpoint, max_new_tokens=500).settings["max_new_tokens"] == 127


def test_the_middle_ten_seconds_are_heard_and_nothing_else(clips: list[CaptionItem]) -> None:
    for item, seconds in zip(clips, (16, 4, 30), strict=True):
        window = middle_window(item)
        wave, _ = soundfile.read(item.media, dtype="float32")
        start = max(0, (seconds - 10) * 8000)
        heard = wave[start : start + 160_000]
        assert window.shape == (160_000,)
        assert np.allclose(window[: len(heard)], heard, atol=1e-6)
        assert not window[len(heard) :].any()


def test_levels_are_decibels_of_the_real_part_under_the_checkpoints_filters(
    checkpoint: Path,
) -> None:
    tensors = torch.load(checkpoint / FILE, weights_only=True)["state_dict"]
    name = "audio_encoder."
    ears = {n.removeprefix(name): t for n, t in tensors.items() if n.startswith(name)}
    sound = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (2, 160_000))).float()
    levels = mel_levels(sound, ears)
    assert levels.shape == (2, 128, 1001)
    start = 500 * 160 - 512  # frames are centred
    frame = sound[1, start : start + 1024].numpy() * np.hanning(1025)[:-1]
    powers = np.fft.rfft(frame).real ** 2 @ ears["mel_encoder.mel_scale.fb"].numpy()
    expected = 10 * np.log10(np.maximum(powers, 1e-10))
    assert np.allclose(levels[1, :, 500].numpy(), expected, atol=0.01)
    assert encode_sound(sound, ears).shape == (2, 32, WIDTH)


def _without_one(tensors: dict[str, Any]) -> None:
    del tensors["bart.model.decoder.layers.0.fc2.bias"]


def _with_another(tensors: dict[str, Any]) -> None:
    tensors["audio_encoder.proj.weight"] = torch.zeros(3)


def _of_another_size(tensors: dict[str, Any]) -> None:
    tensors["audio_encoder.conv1.weight"] = torch.zeros(WIDTH, 64, 3)


def _without_words(tensors: dict[str, Any]) -> None:
    del tensors["bart.model.shared.weight"]


def _not_finite(tensors: dict[str, Any]) -> None:
    tensors["bart.model.decoder.layernorm_embedding.weight"] *= float("nan")


def _flat(tensors: dict[str, Any]) -> None:
    tensors["bart.model.shared.weight"] = torch.zeros(3)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_without_one, r"it lacks bart\.model\.decoder\.layers\.0\.fc2\.bias: fetch transfer\.pth"),
        (_with_another, r"holds audio_encoder\.proj\.weight, which is no part of the model"),
        (_of_another_size, r"has audio_encoder\.conv1\.weight in another size than \[64, 128, 3\]"),
        (_without_words, r"lacks bart\.model\.shared\.weight"),
        (_flat, r"another shape than BART's"),
        (_not_finite, r"transfer\.pth gives scores of tokens that are not finite"),
    ],
)
def test_a_checkpoint_that_is_not_the_models_is_refused_in_one_sentence(
    checkpoint: Path,
    clips: list[CaptionItem],
    tmp_path: Path,
    spoil: Callable[[dict[str, Any]], None],
    sentence: str,
) -> None:
    tensors = torch.load(checkpoint / FILE, weights_only=True)["state_dict"]
    spoil(tensors)
    (tmp_path / "tokenizer.json").write_bytes((checkpoint / "tokenizer.json").read_bytes())
    with pytest.raises(BadData, match=sentence):
        _captioner(_write(tmp_path, tensors)).captions(clips[:1])


def test_names_as_several_gpus_write_them_are_understood(
    checkpoint: Path, clips: list[CaptionItem], tmp_path: Path
) -> None:
    tensors = torch.load(checkpoint / FILE, weights_only=True)["state_dict"]
    (tmp_path / "tokenizer.json").write_bytes((checkpoint / "tokenizer.json").read_bytes())
    _write(tmp_path, {f"module.{name}": tensor for name, tensor in tensors.items()})
    (tmp_path / FILE).rename(tmp_path / "own.pth")
    expected = _captioner(checkpoint).captions(clips[:1])
    assert _captioner(tmp_path).captions(clips[:1]) == expected


class _Hostile:
    def __reduce__(self) -> Any:
        return print, ("run",)


def test_a_pickle_that_would_run_code_is_refused(
    checkpoint: Path, clips: list[CaptionItem], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FILE).write_bytes(pickle.dumps({"state_dict": _Hostile()}))
    (tmp_path / "tokenizer.json").write_bytes((checkpoint / "tokenizer.json").read_bytes())
    with pytest.raises(BadData, match="cannot be read, or holds more than weights"):
        _captioner(tmp_path).captions(clips[:1])
    assert "run" not in capsys.readouterr().out


def test_a_tokenizer_of_another_model_or_a_broken_one_is_refused(
    checkpoint: Path, clips: list[CaptionItem], tmp_path: Path
) -> None:
    from tokenizers import Tokenizer

    (tmp_path / FILE).write_bytes((checkpoint / FILE).read_bytes())
    beside = tmp_path / "tokenizer.json"
    beside.write_text("{}")
    with pytest.raises(BadData, match=r"tokenizer\.json is not a tokenizer: fetch"):
        _captioner(tmp_path).captions(clips[:1])
    words = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    words.add_tokens(["more"])
    words.save(str(beside))
    with pytest.raises(BadData, match="has 33 tokens, but the checkpoint 32"):
        _captioner(tmp_path).captions(clips[:1])


def test_what_is_not_there_is_named_with_where_to_fetch_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(BadUsage, match=r"has no transfer\.pth: fetch that file of huggingface"):
        _captioner(tmp_path)
    (tmp_path / FILE).write_bytes(b"")
    with pytest.raises(BadData, match=r"hf download facebook/bart-base tokenizer\.json"):
        _captioner(tmp_path)
    for choice in ("lp-music-caps", "lp-music-caps:some/copy"):
        with pytest.raises(BadData, match=r"hf download (seungheondoh/lp-music-caps|some/copy) tr"):
            open_captioner("track", Captions(tracks=choice), tmp_path)
    with pytest.raises(BadUsage, match="neither a folder nor a name on the Hugging Face hub"):
        _captioner(tmp_path / "absent")


def test_the_recipe_chooses_it_for_music_and_for_nothing_else(
    checkpoint: Path, tmp_path: Path
) -> None:
    choice = f"lp-music-caps:{checkpoint}"
    captioner = open_captioner("track", Captions(tracks=choice), tmp_path)
    assert captioner.name == "lp-music-caps"
    assert captioner.version == _captioner(checkpoint).version
    with pytest.raises(BadUsage, match="describes music only") as caught:
        open_captioner("artwork", Captions(artworks=choice), tmp_path)
    assert isinstance(caught.value, ArtSoundError)
