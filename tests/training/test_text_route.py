"""The route through captions refuses what is no AudioLDM 2 pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from artsound.errors import BadData
from artsound.training.text_route import TextRoute


def test_a_folder_without_a_pipeline_says_what_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"hf download cvssp/audioldm2-music --local-dir"):
        TextRoute(tmp_path)


def test_a_broken_pipeline_is_told(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(BadData, match="cannot be opened"):
        TextRoute(tmp_path)
