"""Captioners of the transformers library, run on tiny random checkpoints."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from caption_records import artwork, artwork_descriptors, track, track_descriptors
from PIL import Image
from tiny_models import (
    make_blip,
    make_florence2,
    make_qwen2_5_vl,
    make_qwen2_audio,
    make_qwen2_vl,
)

from artsound.captions.base import CHAT_PROMPTS, CaptionItem, CaptionSettings
from artsound.captions.captioners import open_captioner
from artsound.captions.transformers import TransformersCaptioner, checkpoint_version
from artsound.errors import BadData, BadUsage
from artsound.recipe import Captions
from artsound.testing import check_captioner

pytest.importorskip("transformers")

Fault = Callable[[Path], None]


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_blip(tmp_path_factory.mktemp("blip"))


@pytest.fixture(scope="module")
def qwen2_audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_qwen2_audio(tmp_path_factory.mktemp("qwen2-audio"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[CaptionItem]:
    folder = tmp_path_factory.mktemp("pictures")
    items = []
    for number in range(5):
        path = folder / f"{number}.jpg"
        pixels = np.random.default_rng(number).integers(0, 255, (40 + 10 * number, 50, 3), np.uint8)
        Image.fromarray(pixels).save(path)
        items.append(CaptionItem("artwork", path.name, artwork(), artwork_descriptors(), path))
    return items


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[CaptionItem]:
    folder = tmp_path_factory.mktemp("clips")
    items = []
    for number, seconds in enumerate((1.0, 2.5, 1.5)):
        path = folder / f"{number}.mp3"
        wave = 0.3 * np.sin(np.arange(int(22050 * seconds)) * (0.05 + 0.02 * number))
        data = io.BytesIO()
        soundfile.write(data, wave.astype(np.float32), 22050, format="MP3")
        path.write_bytes(data.getvalue())
        items.append(CaptionItem("track", f"{number:06d}", track(), track_descriptors(), path))
    return items


def _captioner(side: str, place: Path, **changes: object) -> TransformersCaptioner:
    settings = {"prompt": "", "max_new_tokens": 12, "batch": 2, "device": "cpu"}
    return TransformersCaptioner(side, str(place), **(settings | changes))  # type: ignore[arg-type]


def test_an_image_to_text_model_writes_a_text_for_each_picture(
    blip: Path, pictures: list[CaptionItem]
) -> None:
    captioner = _captioner("artwork", blip)
    texts = captioner.captions(pictures)
    assert len(texts) == len(pictures)
    assert all(isinstance(text, str) and text for text in texts)
    assert captioner.captions(pictures) == texts
    assert captioner.prompt == ""
    assert captioner.settings["do_sample"] is False


def test_the_batch_size_changes_no_text(blip: Path, pictures: list[CaptionItem]) -> None:
    assert _captioner("artwork", blip, batch=1).captions(pictures) == _captioner(
        "artwork", blip, batch=5
    ).captions(pictures)


def test_a_plain_model_continues_from_the_prompt_and_keeps_it_in_the_text(
    blip: Path, pictures: list[CaptionItem]
) -> None:
    texts = _captioner("artwork", blip, prompt="a painting of").captions(pictures[:2])
    assert all("a painting of" in text for text in texts)


def test_an_audio_chat_model_is_asked_in_its_own_form_and_only_its_answer_is_kept(
    qwen2_audio: Path, clips: list[CaptionItem]
) -> None:
    captioner = _captioner("track", qwen2_audio)
    texts = captioner.captions(clips)
    assert len(texts) == 3
    assert captioner.prompt == CHAT_PROMPTS["track"]
    assert not any("Describe this music" in text or "assistant" in text for text in texts)


@pytest.mark.parametrize("make", [make_qwen2_vl, make_qwen2_5_vl])
def test_a_picture_chat_model_sees_each_picture_and_only_its_answer_is_kept(
    make: Callable[[Path], Path], tmp_path: Path, pictures: list[CaptionItem]
) -> None:
    folder = make(tmp_path)
    captioner = _captioner("artwork", folder)
    texts = captioner.captions(pictures)
    assert captioner.prompt == CHAT_PROMPTS["artwork"]
    assert len(set(texts)) > 2
    assert not any("Describe" in text or "assistant" in text or "<|" in text for text in texts)
    assert _captioner("artwork", folder, batch=5).captions(pictures) == texts


def test_florence_is_asked_for_its_task_and_answers_with_plain_text(
    tmp_path: Path, pictures: list[CaptionItem]
) -> None:
    folder = make_florence2(tmp_path)
    captioner = _captioner("artwork", folder)
    texts = captioner.captions(pictures)
    assert captioner.prompt == "<MORE_DETAILED_CAPTION>"
    assert len(set(texts)) > 2
    assert not any("<s>" in text or "</s>" in text or "<image>" in text for text in texts)
    assert _captioner("artwork", folder, batch=5).captions(pictures) == texts
    # Another task is another question to it.
    assert _captioner("artwork", folder, prompt="<CAPTION>").captions(pictures) != texts


@pytest.mark.parametrize("make", [make_blip, make_florence2, make_qwen2_5_vl, make_qwen2_audio])
def test_real_paintings_and_clips_are_taken_as_they_are(
    make: Callable[[Path], Path], shared_data: Path, tmp_path: Path
) -> None:
    def picture(path: Path) -> CaptionItem:
        return CaptionItem("artwork", path.name, artwork(), artwork_descriptors(), path)

    def clip(path: Path) -> CaptionItem:
        return CaptionItem("track", path.stem, track(), track_descriptors(), path)

    if make is make_qwen2_audio:
        items = [clip(path) for path in sorted(shared_data.glob("fma/fma_large/*/*.mp3"))[:2]]
    else:
        items = [picture(path) for path in sorted(shared_data.glob("artgraph/imagesf2/*"))[:4]]
    captioner = _captioner(items[0].side, make(tmp_path))
    assert len(captioner.captions(items)) == len(items) >= 2


def test_a_checkpoint_that_lacks_weights_is_refused_not_filled_up_at_random(
    tmp_path: Path, pictures: list[CaptionItem]
) -> None:
    from safetensors.torch import load_file, save_file

    weights = make_florence2(tmp_path) / "model.safetensors"
    tensors = load_file(weights)
    name = next(name for name in tensors if "vision_tower" in name)
    del tensors[name]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(BadData, match=r"lacks 1 of the weights of a florence2 model .*vision"):
        _captioner("artwork", tmp_path).captions(pictures)


def test_a_model_of_the_other_side_is_refused_in_one_sentence(
    blip: Path, qwen2_audio: Path, pictures: list[CaptionItem]
) -> None:
    with pytest.raises(BadData, match="qwen2_audio model, which cannot describe pictures"):
        _captioner("artwork", qwen2_audio).captions(pictures)
    with pytest.raises(BadData, match="blip model, which cannot describe sound"):
        _captioner("track", blip).captions(pictures)


def test_a_device_that_is_not_there_is_named(blip: Path, pictures: list[CaptionItem]) -> None:
    for device in ("cuda:77", "abacus"):
        with pytest.raises(BadUsage, match=f"captions.device = '{device}' is not on this machine"):
            _captioner("artwork", blip, device=device).captions(pictures)


def test_the_version_follows_settings_vocabulary_and_weights(tmp_path: Path, blip: Path) -> None:
    assert _captioner("artwork", blip).version == checkpoint_version(blip)
    folder = Path(shutil.copytree(blip, tmp_path / "copy"))
    versions = {checkpoint_version(folder)}
    assert versions == {checkpoint_version(blip)}
    for name in ("config.json", "generation_config.json", "tokenizer.json", "model.safetensors"):
        with (folder / name).open("ab") as file:
            file.write(b" ")
        versions.add(checkpoint_version(folder))
    tuned = bytearray((folder / "model.safetensors").read_bytes())
    tuned[-9] ^= 1  # of the same size, with another weight
    (folder / "model.safetensors").write_bytes(tuned)
    versions.add(checkpoint_version(folder))
    assert len(versions) == 6


def test_a_checkpoint_without_its_vocabulary_is_refused(
    tmp_path: Path, pictures: list[CaptionItem]
) -> None:
    folder = make_blip(tmp_path)
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(BadData):
        _captioner("artwork", folder).captions(pictures)


def _cut(name: str) -> Fault:
    def cut(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return cut


def _half(folder: Path) -> None:
    _change_tensors(folder, lambda tensors: {n: t.half() for n, t in tensors.items()})


def _not_finite(folder: Path) -> None:
    _change_tensors(folder, lambda tensors: {n: t * float("nan") for n, t in tensors.items()})


def _change_tensors(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    from safetensors.torch import load_file, save_file

    place = folder / "model.safetensors"
    save_file(change(load_file(place)), place, metadata={"format": "pt"})


def _other_tokenizer(folder: Path) -> None:
    from transformers import BertTokenizer

    BertTokenizer(vocab={f"w{n}": n for n in range(500)}).save_pretrained(folder)


def _other_picture(folder: Path) -> None:
    from transformers import BlipImageProcessor

    images = BlipImageProcessor(size={"height": 48, "width": 48})
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            value = json.loads((folder / name).read_text())
            (value.get("image_processor") or value)["size"] = images.to_dict()["size"]
            (folder / name).write_text(json.dumps(value))


def _other_architecture(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))


FAULTS: dict[str, tuple[Fault, str]] = {
    "cut weights": (_cut("model.safetensors"), "cannot be loaded as a captioner"),
    "a cut configuration": (_cut("config.json"), "cannot be loaded as a captioner"),
    "a cut tokenizer": (_cut("tokenizer.json"), "cannot be loaded as a captioner"),
    "weights that are no numbers": (_not_finite, "scores of tokens that are not finite"),
    "a larger tokenizer": (_other_tokenizer, r"tokenizer of 50\d tokens for a model of \d+: it is"),
    "pictures of another size": (_other_picture, "fails its self-test"),
    "another architecture": (_other_architecture, "cannot describe pictures|cannot be loaded"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_checkpoint_with_a_fault_is_one_error_that_names_it(
    blip: Path, tmp_path: Path, pictures: list[CaptionItem], fault: str
) -> None:
    folder = Path(shutil.copytree(blip, tmp_path / "copy"))
    spoil, message = FAULTS[fault]
    spoil(folder)
    with pytest.raises(BadData, match=message) as error:
        _captioner("artwork", folder).captions(pictures[:1])
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_each_missing_file_is_an_error_or_not_needed(
    blip: Path, tmp_path: Path, pictures: list[CaptionItem]
) -> None:
    expected = _captioner("artwork", blip).captions(pictures[:1])
    for number, missing in enumerate(sorted(path.name for path in blip.iterdir())):
        folder = Path(shutil.copytree(blip, tmp_path / str(number)))
        (folder / missing).unlink()
        try:
            answer = _captioner("artwork", folder).captions(pictures[:1])
        except (BadData, BadUsage) as error:
            answer = [str(folder) if str(folder) in str(error) else str(error)]
        assert (missing, answer) in [(missing, expected), (missing, [str(folder)])]


def test_weights_of_half_precision_are_taken(
    blip: Path, tmp_path: Path, pictures: list[CaptionItem]
) -> None:
    folder = Path(shutil.copytree(blip, tmp_path / "copy"))
    _half(folder)
    assert len(_captioner("artwork", folder).captions(pictures[:1])) == 1


def test_weights_that_are_not_safetensors_are_refused(
    tmp_path: Path, pictures: list[CaptionItem]
) -> None:
    folder = make_blip(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(BadData, match="cannot be loaded as a captioner"):
        _captioner("artwork", folder).captions(pictures)


def test_a_missing_checkpoint_says_what_to_fetch_and_what_to_write(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadUsage, match=r"hf download some/captioner --local-dir FOLDER.*tracks"):
        _captioner("track", Path("some/captioner"))


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match=r"holds no config\.json"):
        _captioner("artwork", tmp_path)


def test_models_of_both_sides_keep_the_contract_of_captioners(
    blip: Path, qwen2_audio: Path
) -> None:
    settings = CaptionSettings(max_new_tokens=6, batch=2, device="cpu")
    check_captioner(f"transformers:{blip}", sides=["artwork"], settings=settings)
    check_captioner(f"transformers:{qwen2_audio}", sides=["track"], settings=settings)


def test_an_unknown_captioner_is_named_with_the_known_ones(tmp_path: Path) -> None:
    for choice, message in (
        ("blip", "'blip' is no captioner: choose one of endpoint, grounded, lp-music-caps"),
        ("transfomers:blip", r"captions\.tracks = .* did you mean 'transformers'\?"),
        ("transformers:", "names no checkpoint: write transformers:NAME-OR-FOLDER"),
        ("endpoint:ftp://x", "write endpoint:URL#MODEL"),
        ("grounded:x", "takes no argument"),
    ):
        with pytest.raises(BadUsage, match=message):
            open_captioner("track", Captions(tracks=choice), tmp_path)
