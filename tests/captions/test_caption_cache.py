"""Texts of models that are kept, so that none is written twice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caption_records import artwork, artwork_descriptors
from PIL import Image
from tiny_models import make_blip

from artsound.captions.base import CachedCaptioner, CaptionItem
from artsound.captions.captioners import open_captioner
from artsound.recipe import Captions
from artsound.schema import Artwork


class Counting:
    """A captioner that says which picture it was shown, and remembers how many it saw."""

    name, version, prompt = "counting", "1", "What is this?"
    settings: Mapping[str, Any] = {"beams": 1}

    def __init__(self) -> None:
        self.seen: list[str] = []

    def captions(self, items: Sequence[CaptionItem]) -> list[str]:
        self.seen += [item.item_id for item in items]
        return [f"a picture of {item.media_sha256}" for item in items]


def _items(count: int) -> list[CaptionItem]:
    items = []
    for number in range(count):
        record = artwork(artwork_id=f"painter_{number}.jpg", image_sha256=f"{number:064x}")
        name = record.artwork_id
        items.append(
            CaptionItem("artwork", name, record, artwork_descriptors(artwork_id=name), Path(name))
        )
    return items


def test_only_what_is_new_is_asked_for_whatever_the_items_are_grouped_with(tmp_path: Path) -> None:
    items = _items(6)
    first = Counting()
    texts = CachedCaptioner(first, tmp_path).captions(items[:4])
    later = Counting()
    grouped_anew = CachedCaptioner(later, tmp_path)
    assert grouped_anew.captions(items[1:3]) == texts[1:3]
    assert grouped_anew.captions(items[3:]) == [texts[3], *Counting().captions(items[4:])]
    assert later.seen == [item.item_id for item in items[4:]]


def test_another_process_finds_what_was_written_meanwhile(tmp_path: Path) -> None:
    items = _items(2)
    waiting, writer = Counting(), CachedCaptioner(Counting(), tmp_path)
    kept = CachedCaptioner(waiting, tmp_path)
    kept.captions(items[:1])
    writer.captions(items[1:])
    kept.captions(items)
    assert waiting.seen == [items[0].item_id]


def test_another_version_prompt_or_setting_writes_again(tmp_path: Path) -> None:
    items = _items(1)
    for name, value in {"version": "2", "prompt": "", "settings": {"beams": 5}}.items():
        CachedCaptioner(Counting(), tmp_path).captions(items)
        changed = Counting()
        setattr(changed, name, value)
        CachedCaptioner(changed, tmp_path).captions(items)
        assert changed.seen == [items[0].item_id]


def test_another_picture_under_the_same_name_is_described_again(tmp_path: Path) -> None:
    [item] = _items(1)
    assert isinstance(item.record, Artwork)
    other = replace(item, record=replace(item.record, image_sha256="f" * 64))
    captioner = Counting()
    kept = CachedCaptioner(captioner, tmp_path)
    assert kept.captions([item]) != kept.captions([other])
    assert len(captioner.seen) == 2


def test_broken_files_are_passed_over(tmp_path: Path) -> None:
    items = _items(3)
    texts = CachedCaptioner(Counting(), tmp_path).captions(items)
    [file] = tmp_path.rglob("*.json")
    for content in ("{", "[1]", json.dumps({items[0].media_sha256: 3})):
        file.write_text(content)
        assert CachedCaptioner(Counting(), tmp_path).captions(items) == texts


def test_a_recipes_model_is_cached(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    section = Captions(
        artworks=f"transformers:{make_blip(tmp_path / 'blip')}", max_new_tokens=6, device="cpu"
    )
    path = tmp_path / "picture.jpg"
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    shown = [replace(item, media=path) for item in _items(2)]
    texts = open_captioner("artwork", section, tmp_path / "responses").captions(shown)
    assert all(texts)
    path.unlink()
    again = open_captioner("artwork", section, tmp_path / "responses")
    assert again.captions(shown[1:]) == texts[1:]
