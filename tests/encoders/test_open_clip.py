from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
from PIL import Image
from random_weights import CLIP_MODEL, pictures

from artsound.encoders import base
from artsound.encoders.base import encoder_digest, open_encoder
from artsound.encoders.batching import ItemError
from artsound.encoders.weights import check_vocabulary
from artsound.errors import BadData, BadUsage
from artsound.recipe import Recipe
from artsound.storage import sha256_file


def test_pictures_become_the_vectors_that_open_clip_itself_gives(clip_recipe: Recipe):
    import open_clip
    import torch

    encoder = open_encoder("clip", clip_recipe)
    rows = encoder.images(pictures(5))
    model, preprocess = open_clip.create_model_from_pretrained(
        CLIP_MODEL, pretrained=clip_recipe.embed.clip_checkpoint
    )
    batch = torch.stack([preprocess(Image.open(io.BytesIO(data))) for data in pictures(5)])
    with torch.inference_mode():
        expected = model.eval().encode_image(batch, normalize=True).numpy()
    assert (rows.dtype, rows.shape, encoder.dim) == (np.float32, (5, 16), 16)
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_a_large_picture_becomes_nearly_the_vector_of_the_whole_of_it(clip_recipe: Recipe):
    """It is decoded smaller than it is, but never so small that the model would see it blurred."""
    import torch

    rng = np.random.default_rng(2)
    coarse = Image.fromarray(rng.integers(0, 255, (30, 40, 3)).astype(np.uint8))
    large = coarse.resize((1600, 1200), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    large.save(out, "PNG")
    model, preprocess = open_clip.create_model_from_pretrained(
        CLIP_MODEL, pretrained=clip_recipe.embed.clip_checkpoint
    )
    encoder: Any = open_encoder("clip", clip_recipe)
    with torch.inference_mode():
        expected = model.eval().encode_image(preprocess(large)[None], normalize=True).numpy()
        seen = encoder.decode(out.getvalue())[0].numpy().astype(float)
        wanted = preprocess.transforms[0](large)
    assert np.abs(seen.transpose(1, 2, 0) - np.asarray(wanted.crop(_middle(wanted)))).mean() < 4
    assert float((encoder.images([out.getvalue()]) @ expected.T).item()) > 0.99


def _middle(image: Image.Image) -> tuple[int, int, int, int]:
    left, top = (image.width - 32) // 2, (image.height - 32) // 2
    return left, top, left + 32, top + 32


def test_texts_become_different_unit_vectors_and_none_become_none(clip_recipe: Recipe):
    encoder = open_encoder("clip", clip_recipe)
    rows = encoder.texts(["a calm sea", "a storm", "", "word " * 100])
    assert rows.shape == (4, 16)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert (rows[0] @ rows[1:].T < 0.999).all()
    assert encoder.texts([]).shape == (0, 16)
    assert encoder.images([]).shape == (0, 16)


@pytest.mark.parametrize("batch", [1, 2, 3, 64])
def test_vectors_do_not_depend_on_the_batch(clip_recipe: Recipe, batch: int):
    whole = open_encoder("clip", clip_recipe).images(pictures(7))
    encoder = open_encoder("clip", clip_recipe.replaced(embed={"batch": batch}))
    rows = encoder.images(pictures(7))
    assert np.abs(rows - whole).max() < 1e-4
    assert np.array_equal(rows, encoder.images(pictures(7)))


def test_batches_are_halved_until_they_fit_into_memory(
    clip_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
):
    import torch

    encoder: Any = open_encoder("clip", clip_recipe)
    expected = encoder.images(pictures(9))
    run, sizes = encoder._model.encode_image, []

    def run_in_little_memory(rows: torch.Tensor) -> torch.Tensor:
        sizes.append(len(rows))
        if len(rows) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return run(rows)

    monkeypatch.setattr(encoder._model, "encode_image", run_in_little_memory)
    np.testing.assert_allclose(encoder.images(pictures(9)), expected, atol=1e-4)
    assert sizes == [9, 4, 2, 2, 2, 2, 1]

    def run_in_no_memory(rows: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(encoder._model, "encode_image", run_in_no_memory)
    with pytest.raises(BadData, match="one item at a time"):
        encoder.images(pictures(2))


def test_weights_are_loaded_once(clip_recipe: Recipe):
    encoder = open_encoder("clip", clip_recipe)
    assert open_encoder("clip", clip_recipe.replaced(pair={"bridge": "concepts"})) is encoder


def test_a_digest_is_known_without_loading_and_names_weights_and_precision(
    clip_recipe: Recipe, tmp_path: Path
):
    known = encoder_digest("clip", clip_recipe)
    assert known == open_encoder("clip", clip_recipe).digest
    elsewhere = tmp_path / "same.pt"
    elsewhere.write_bytes(Path(clip_recipe.embed.clip_checkpoint).read_bytes())
    for change, same in [
        ({"clip_checkpoint": str(elsewhere)}, True),
        ({"batch": 1}, True),
        ({"clap_model": "HTSAT-tiny"}, True),
        ({"precision": "bf16"}, False),
    ]:
        assert (encoder_digest("clip", clip_recipe.replaced(embed=change)) == known) is same
    elsewhere.write_bytes(b"other weights")
    changed = clip_recipe.replaced(embed={"clip_checkpoint": str(elsewhere)})
    assert encoder_digest("clip", changed) != known


def test_half_precision_stays_close(clip_recipe: Recipe):
    whole = open_encoder("clip", clip_recipe).images(pictures(4))
    half = open_encoder("clip", clip_recipe.replaced(embed={"precision": "bf16"}))
    rows = half.images(pictures(4))
    assert rows.dtype == np.float32
    assert ((rows * whole).sum(axis=1) > 0.995).all()


def test_a_file_that_is_no_picture_is_pointed_out(clip_recipe: Recipe):
    with pytest.raises(ItemError, match="picture") as error:
        open_encoder("clip", clip_recipe).images([*pictures(3), b"<html>", *pictures(1)])
    assert error.value.index == 3


def test_clip_takes_no_sound(clip_recipe: Recipe):
    with pytest.raises(BadUsage, match="takes no sound"):
        open_encoder("clip", clip_recipe).audio([b""])


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"clip_checkpoint": "nowhere/clip.pt"}, BadData, "fetch weights of .* into the folder "),
        ({"clip_model": "ViT-B32"}, BadUsage, r"did you mean ViT-B-32\?"),
        ({"clip_model": "ViT-B-32", "clip_checkpoint": "nonsense"}, BadUsage, "one of openai, "),
        (
            {"clip_model": "ViT-B-32", "clip_checkpoint": "laion2b_s34b_b79k"},
            BadData,
            r"hf download laion/CLIP-ViT-B-32-laion2B-s34B-b79K open_clip_model.safetensors` .* "
            r"into .*hub",
        ),
        ({"device": "cuda:99"}, BadUsage, "use auto or cpu"),
        ({"device": "tpu"}, BadUsage, "give auto, cpu"),
    ],
)
def test_what_is_missing_is_reported_in_a_sentence(
    clip_recipe: Recipe, no_hub: Path, change: dict[str, str], error: type, sentence: str
):
    with pytest.raises(error, match=sentence) as reported:
        open_encoder("clip", clip_recipe.replaced(embed=change))
    assert "\n" not in str(reported.value)


def test_the_hubs_cache_is_used_without_a_network(
    clip_recipe: Recipe, no_hub: Path, monkeypatch: pytest.MonkeyPatch
):
    tag = {"hf_hub": "someone/tiny-clip/"}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, CLIP_MODEL, {"tiny": tag})
    recipe = clip_recipe.replaced(embed={"clip_checkpoint": "tiny"})
    with pytest.raises(BadData, match="hf download someone/tiny-clip"):
        open_encoder("clip", recipe)
    commit = "0123456789abcdef0123456789abcdef01234567"
    home = no_hub / "models--someone--tiny-clip"
    for folder in ("refs", f"snapshots/{commit}"):
        (home / folder).mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    kept = home / "snapshots" / commit / "open_clip_pytorch_model.bin"
    shutil.copyfile(clip_recipe.embed.clip_checkpoint, kept)
    rows = open_encoder("clip", recipe).texts(["a quiet sea"])
    expected = open_encoder("clip", clip_recipe).texts(["a quiet sea"])
    np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize("quick", [False, True])
def test_the_activation_is_the_one_that_the_weights_were_trained_with(
    clip_recipe: Recipe, no_hub: Path, monkeypatch: pytest.MonkeyPatch, quick: bool
):
    import torch

    tag = {"hf_hub": "someone/quick-clip/", "quick_gelu": quick}
    name = "quick" if quick else "plain"  # one name for one model: open encoders are shared
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, CLIP_MODEL, {name: tag})
    home = no_hub / "models--someone--quick-clip"
    commit = "0123456789abcdef0123456789abcdef01234567"
    for folder in ("refs", f"snapshots/{commit}"):
        (home / folder).mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    weights = clip_recipe.embed.clip_checkpoint
    shutil.copyfile(weights, home / "snapshots" / commit / "open_clip_pytorch_model.bin")
    recipe = clip_recipe.replaced(embed={"clip_checkpoint": name})
    rows = open_encoder("clip", recipe).images(pictures(3))
    images = [Image.open(io.BytesIO(data)) for data in pictures(3)]
    expected = {}
    for kind in (False, True):
        model, preprocess = open_clip.create_model_from_pretrained(
            CLIP_MODEL, pretrained=weights, force_quick_gelu=kind
        )
        batch = torch.stack([preprocess(image) for image in images])
        with torch.inference_mode():
            expected[kind] = model.eval().encode_image(batch, normalize=True).numpy()
    assert np.abs(expected[True] - expected[False]).max() > 1e-3
    np.testing.assert_allclose(rows, expected[quick], atol=1e-5)


def test_a_checkpoint_that_would_run_code_is_refused_unrun(clip_recipe: Recipe, tmp_path: Path):
    import torch

    class Hostile:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "was here"),)

    torch.save({"state_dict": Hostile()}, tmp_path / "hostile.pt")
    recipe = clip_recipe.replaced(embed={"clip_checkpoint": str(tmp_path / "hostile.pt")})
    with pytest.raises(BadData, match="may run code"):
        open_encoder("clip", recipe)
    assert not (tmp_path / "was here").exists()


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_broken_weights_and_those_of_another_model_are_refused(
    clip_recipe: Recipe, tmp_path: Path, name: str
):
    import torch
    from safetensors.torch import save_file

    path = tmp_path / name
    recipe = clip_recipe.replaced(embed={"clip_checkpoint": str(path)})
    path.write_bytes(b"junk")
    with pytest.raises(BadData, match=name):
        open_encoder("clip", recipe)
    tensors = {"visual.proj": torch.zeros(3, 3)}
    save_file(tensors, path) if name.endswith("safetensors") else torch.save(tensors, path)
    with pytest.raises(BadData, match=f"{name} cannot be loaded"):
        open_encoder("clip", recipe)


def test_an_empty_tokenizer_is_refused():
    with pytest.raises(BadData, match="only 5 tokens"):
        check_vocabulary(5, "roberta-base", "fetch it")
    check_vocabulary(50_265, "roberta-base", "fetch it")


def test_loading_says_nothing(clip_recipe: Recipe, capfd: pytest.CaptureFixture[str]):
    base._load.cache_clear()
    open_encoder("clip", clip_recipe).texts(["quiet"])
    assert capfd.readouterr() == ("", "")


MEAN = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "resize_mode": "squash"}


def _tags(monkeypatch: pytest.MonkeyPatch, **tags: dict[str, Any]) -> None:
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, CLIP_MODEL, tags)


def test_a_file_gets_the_preprocessing_of_its_tag_or_a_choice_to_make(
    clip_recipe: Recipe, no_hub: Path, monkeypatch: pytest.MonkeyPatch
):
    file = clip_recipe.embed.clip_checkpoint
    sha = sha256_file(Path(file))
    plain, squashed = {"hf_hub": "a/plain/"}, {"hf_hub": "a/squash/", **MEAN}
    _tags(monkeypatch, plain=plain, squashed=squashed, quick={**plain, "quick_gelu": True})
    with pytest.raises(BadUsage, match=rf"TAG@{file}.*plain, squashed, quick"):
        encoder_digest("clip", clip_recipe)
    with pytest.raises(BadUsage, match="no weights 'other'"):
        encoder_digest("clip", clip_recipe.replaced(embed={"clip_checkpoint": f"other@{file}"}))
    digests, rows = {}, {}
    for tag in ("plain", "squashed", "quick"):
        recipe = clip_recipe.replaced(embed={"clip_checkpoint": f"{tag}@{file}"})
        digests[tag] = encoder_digest("clip", recipe)
        rows[tag] = open_encoder("clip", recipe).images(pictures(2))
    assert len(set(digests.values())) == 3
    assert np.abs(rows["plain"] - rows["squashed"]).max() > 1e-3
    # A file whose SHA-256 an address states, and one that lies in the cache of a tag.
    _tags(monkeypatch, plain=plain, squashed={**squashed, "url": f"https://x.org/{sha}/clip.pt"})
    assert encoder_digest("clip", clip_recipe) == digests["squashed"]
    _tags(monkeypatch, plain=plain, squashed=squashed)
    cached = no_hub / "models--a--squash" / "snapshots" / "1" / "open_clip_pytorch_model.bin"
    cached.parent.mkdir(parents=True)
    shutil.copyfile(file, cached)
    moved = clip_recipe.replaced(embed={"clip_checkpoint": str(cached)})
    assert encoder_digest("clip", moved) == digests["squashed"]


def test_a_folder_of_the_hub_has_its_own_configuration(clip_recipe: Recipe, tmp_path: Path):
    folder = tmp_path / "repository"
    folder.mkdir()
    recipe = clip_recipe.replaced(embed={"clip_model": f"local-dir:{folder}"})
    with pytest.raises(BadData, match=r"has no open_clip_config\.json: fetch all files"):
        encoder_digest("clip", recipe)
    config: dict[str, Any] = {"model_cfg": open_clip.get_model_config(CLIP_MODEL)}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(BadData, match=r"has no open_clip_model\.safetensors or"):
        encoder_digest("clip", recipe)
    shutil.copyfile(clip_recipe.embed.clip_checkpoint, folder / "open_clip_pytorch_model.bin")
    rows = open_encoder("clip", recipe).images(pictures(2))
    np.testing.assert_array_equal(rows, open_encoder("clip", clip_recipe).images(pictures(2)))
    before = encoder_digest("clip", recipe)
    config["preprocess_cfg"] = MEAN
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    assert encoder_digest("clip", recipe) != before
    (folder / "open_clip_config.json").write_text("[1]")
    with pytest.raises(BadData, match="not a configuration of OpenCLIP"):
        encoder_digest("clip", recipe)


@pytest.mark.parametrize(
    ("model", "error", "sentence"),
    [
        ("hf-hub:someone/model", BadData, "hf download someone/model open_clip_config.json"),
        ("hf-hub:someone", BadUsage, "give hf-hub:OWNER/NAME"),
    ],
)
def test_a_repository_of_the_hub_can_be_the_architecture(
    clip_recipe: Recipe, no_hub: Path, model: str, error: type, sentence: str
):
    with pytest.raises(error, match=sentence):
        encoder_digest("clip", clip_recipe.replaced(embed={"clip_model": model}))
