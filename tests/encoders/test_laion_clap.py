from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from random_weights import CLAP_MODEL, clip_of

from artsound.encoders import laion_clap
from artsound.encoders.base import _load, encoder_digest, open_encoder
from artsound.encoders.batching import ItemError
from artsound.encoders.laion_clap import (
    SAMPLE_RATE,
    WINDOW,
    LaionClap,
    import_clap_module,
    windows,
)
from artsound.encoders.weights import load_tensors
from artsound.errors import BadData, BadUsage
from artsound.media.audio import load_mono
from artsound.recipe import Recipe

WORDS = ["a calm piano", "a loud guitar", "", "word " * 200]


def test_loading_says_nothing(clap_recipe: Recipe, capfd: pytest.CaptureFixture[str]):
    _load.cache_clear()
    assert open_encoder("clap", clap_recipe).texts(["quiet"]).shape == (1, 512)
    assert capfd.readouterr() == ("", "")


def test_clips_and_texts_become_the_vectors_that_laion_clap_itself_gives(
    clap_recipe: Recipe, clap_home: Path
):
    import torch
    from transformers import RobertaTokenizer

    encoder = open_encoder("clap", clap_recipe)
    model, _ = import_clap_module().create_model(CLAP_MODEL, "roberta", device=torch.device("cpu"))
    saved = load_tensors(clap_home / "clap.pt")
    known = model.state_dict()
    model.load_state_dict({name: saved[f"module.{name}"] for name in known})
    model.eval()
    # Three windows of 10 s: the first at 0 s, the last ends where the clip does.
    clips = [clip_of(21.5, 220), clip_of(4, 440)]
    starts = [[0, 5.75, 11.5], [0]]
    tokens = RobertaTokenizer.from_pretrained("roberta-base")(
        WORDS, padding="max_length", truncation=True, max_length=77, return_tensors="pt"
    )
    with torch.inference_mode():
        texts = model.get_text_embedding(dict(tokens)).numpy()
        sounds = []
        for data, seconds in zip(clips, starts, strict=True):
            wave = (load_mono(data, sample_rate=SAMPLE_RATE) * 32767).astype(np.int16)
            wave = np.tile(wave, 2) if len(seconds) == 1 else wave
            cut = [wave[int(s * SAMPLE_RATE) :][:WINDOW].astype(np.float32) / 32767
                   for s in seconds]  # fmt: skip
            heard = model.get_audio_embedding(
                [{"waveform": torch.from_numpy(np.pad(c, (0, WINDOW - len(c))))} for c in cut]
            )
            sounds.append(heard.numpy().mean(axis=0))
    np.testing.assert_allclose(encoder.texts(WORDS), texts, atol=1e-5)
    expected = np.stack(sounds)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    rows = encoder.audio(clips)
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert (rows.dtype, rows.shape, encoder.dim) == (np.float32, (2, 512), 512)
    # Another batch cuts the windows of a clip apart.
    small = open_encoder("clap", clap_recipe.replaced(embed={"batch": 2}))
    np.testing.assert_allclose(small.audio(clips), rows, atol=1e-4)
    with pytest.raises(ItemError, match="not sound") as error:
        encoder.audio([b"<html>"])
    assert error.value.index == 0


def test_texts_differ_and_repeat_exactly(clap_recipe: Recipe):
    encoder = open_encoder("clap", clap_recipe)
    rows = encoder.texts(WORDS)
    assert (rows[0] @ rows[1:].T < 0.99999).all()
    np.testing.assert_array_equal(rows, encoder.texts(WORDS))
    assert encoder.texts([]).shape == (0, 512)


def test_half_precision_keeps_the_spectrogram_whole(clap_recipe: Recipe):
    import torch

    encoder: Any = open_encoder("clap", clap_recipe.replaced(embed={"precision": "bf16"}))
    whole = open_encoder("clap", clap_recipe)
    data = [clip_of(3, 330)]
    kinds = []
    branch = encoder._model.audio_branch
    hook = branch.logmel_extractor.register_forward_hook(lambda *args: kinds.append(args[2].dtype))
    rows = encoder.audio(data)
    hook.remove()
    assert kinds == [torch.float32]
    assert (rows * whole.audio(data)).sum() > 0.999
    assert encoder.digest != whole.digest


def test_an_empty_tokenizer_is_refused(
    clap_recipe: Recipe, no_hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)  # which has no folder roberta-base
    with pytest.raises(BadData, match=r"(5 tokens|incomplete).*hf download .*roberta-base.* into"):
        open_encoder("clap", clap_recipe.replaced(embed={"batch": 5}))


def test_a_missing_checkpoint_is_reported_in_a_sentence(clap_recipe: Recipe, no_hub: Path):
    for path, sentence in [
        ("", r"hf download lukewys/laion_clap music_audioset_epoch_15_esc_90.14.pt` .* into .*hub"),
        (
            "nowhere/clap.pt",
            "fetch music_audioset_epoch_15_esc_90.14.pt of .* into the folder .*no",
        ),
    ]:
        with pytest.raises(BadData, match=sentence) as reported:
            open_encoder("clap", clap_recipe.replaced(embed={"clap_checkpoint": path}))
        assert "\n" not in str(reported.value)


def test_the_hubs_cache_is_used_without_a_network(
    clap_recipe: Recipe, clap_home: Path, no_hub: Path
):
    sha = "a" * 64  # the cache's name for the content, which is taken at its word
    commit = "0123456789abcdef0123456789abcdef01234567"
    home = no_hub / "models--lukewys--laion_clap"
    for folder in ("blobs", "refs", f"snapshots/{commit}"):
        (home / folder).mkdir(parents=True)
    shutil.copyfile(clap_home / "clap.pt", home / "blobs" / sha)
    (home / "refs" / "main").write_text(commit)
    link = home / "snapshots" / commit / "music_audioset_epoch_15_esc_90.14.pt"
    link.symlink_to(Path("../../blobs") / sha)
    recipe = clap_recipe.replaced(embed={"clap_checkpoint": ""})
    assert encoder_digest("clap", recipe) != encoder_digest("clap", clap_recipe)
    rows = open_encoder("clap", recipe).texts(WORDS)
    np.testing.assert_array_equal(rows, open_encoder("clap", clap_recipe).texts(WORDS))


def test_weights_of_another_tower_are_refused(clap_recipe: Recipe):
    with pytest.raises(BadData, match=r"clap\.pt cannot be loaded"):
        open_encoder("clap", clap_recipe.replaced(embed={"clap_model": "HTSAT-base"}))
    with pytest.raises(BadUsage, match="no audio tower"):
        open_encoder("clap", clap_recipe.replaced(embed={"clap_model": "PANN"}))


def test_a_version_that_reads_the_command_line_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(laion_clap.metadata, "version", lambda _: "1.1.5")
    with pytest.raises(BadUsage, match=r"1\.1\.5 is too old"):
        import_clap_module()


def test_clap_takes_no_pictures(clap_recipe: Recipe):
    with pytest.raises(BadUsage, match="takes no pictures"):
        open_encoder("clap", clap_recipe).images([b""])


def test_a_short_clip_is_repeated_as_often_as_it_fits_whole_then_padded_with_silence():
    sound = np.linspace(0.1, 0.9, 3 * SAMPLE_RATE, dtype=np.float32)
    [cut] = windows(sound)
    once = (sound * 32767).astype(np.int16)
    for repeat in range(3):
        assert (cut[repeat * len(sound) :][: len(sound)] == once).all()
    assert not cut[3 * len(sound) :].any()


def test_a_long_clip_is_heard_for_five_minutes_only():
    encoder = LaionClap(  # decoding needs no weights
        None, None, digest="", precision="fp32", device="cpu", batch=1
    )
    sound = np.full(311 * SAMPLE_RATE, 0.1, dtype=np.float32)
    sound[300 * SAMPLE_RATE :] = 0.9
    out = io.BytesIO()
    soundfile.write(out, sound, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    heard = encoder.decode(out.getvalue()).numpy()
    assert heard.shape == (30, WINDOW)
    assert np.abs(heard / 32767 - 0.1).max() < 1e-3


@settings(max_examples=30, deadline=None)
@given(length=st.integers(0, 4 * WINDOW))
def test_windows_cover_a_clip_but_for_a_second(length: int):
    places = np.arange(1, length + 1) / 2_000_000
    cut = windows(places.astype(np.float32))
    assert cut.dtype == np.int16
    assert cut.shape[1] == WINDOW
    assert len(cut) <= max(1, np.ceil(length / WINDOW))
    quantised = (places.astype(np.float32) * np.float32(32767)).astype(np.int16)
    if length < WINDOW:
        assert (cut[0, :length] == quantised).all()
    else:
        assert (cut[0] == quantised[:WINDOW]).all()
        assert len(cut) * WINDOW + SAMPLE_RATE >= length
        if len(cut) > 1:
            assert (cut[-1] == quantised[-WINDOW:]).all()
