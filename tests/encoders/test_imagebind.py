"""The plug for ImageBind, with a stand-in on the path that has its modules, calls and shapes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from faulty_files import FAULTS
from random_weights import clip_of, pictures
from test_embed import catalogue

from artsound.encoders import embed
from artsound.encoders.base import _load, encoder_digest, load_embeddings, open_encoder
from artsound.encoders.batching import ItemError
from artsound.errors import BadData, BadUsage
from artsound.pairing.bridge import bridge_rows
from artsound.recipe import Recipe
from artsound.stage import Context, run_stage
from artsound.storage import Workspace

DATA = """
import torch
from PIL import Image
import soundfile
from torchvision.transforms.functional import to_tensor

def load_and_transform_vision_data(image_paths, device):
    return torch.stack([to_tensor(Image.open(p).resize((224, 224))) for p in image_paths])

def load_and_transform_audio_data(audio_paths, device):
    waves = [torch.from_numpy(soundfile.read(p, dtype="float32")[0]) for p in audio_paths]
    size = 128 * 204
    return torch.stack([
        torch.stack([w.repeat(9)[n * 800 : n * 800 + size].reshape(1, 128, 204) for n in range(3)])
        for w in waves
    ])

def load_and_transform_text(text, device):
    return torch.tensor([[len(t), *t.encode()[:3]] + [0] * (76 - len(t[:3])) for t in text])
"""
MODEL = """
import torch

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.heads = torch.nn.ModuleDict({
            "vision": torch.nn.Linear(3 * 224 * 224 // 64, 1024),
            "audio": torch.nn.Linear(128 * 204 // 64, 1024),
            "text": torch.nn.Linear(77, 1024),
        })

    def forward(self, inputs):
        found = {}
        for name, rows in inputs.items():
            clips = rows.shape[1] if rows.ndim >= 5 else 1
            flat = rows.float().reshape(len(rows) * clips, -1)
            small = flat.unfold(1, 64, 64).mean(-1) if name != "text" else flat
            found[name] = self.heads[name](small).reshape(len(rows), clips, -1).mean(1)
        return found

def imagebind_huge(pretrained=False):
    assert not pretrained
    return Model()
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recipe]:
    """A package `imagebind` on the path and its checkpoint in the working folder."""
    import torch

    package = tmp_path / "site" / "imagebind"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "models" / "__init__.py").touch()
    (package / "data.py").write_text(DATA)
    (package / "models" / "imagebind_model.py").write_text(MODEL)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    from imagebind.models import imagebind_model

    torch.manual_seed(0)
    (tmp_path / ".checkpoints").mkdir()
    weights = imagebind_model.imagebind_huge().state_dict()
    torch.save(weights, tmp_path / ".checkpoints" / "imagebind_huge.pth")
    yield Recipe().replaced(embed={"device": "cpu"}, pair={"bridge": "imagebind"})
    _load.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "imagebind"]:
        del sys.modules[name]


def test_every_modality_becomes_unit_rows_of_one_space(stand_in: Recipe):
    encoder = open_encoder("imagebind", stand_in)
    for rows in (
        encoder.images(pictures(3)),
        encoder.audio([clip_of(4, 220), clip_of(12, 440), clip_of(1, 330)]),
        encoder.texts(["calm", "a storm", "joy"]),
    ):
        assert (rows.dtype, rows.shape) == (np.float32, (3, 1024))
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
        assert not np.allclose(rows[0], rows[1])
    assert encoder.digest == encoder_digest("imagebind", stand_in)
    with pytest.raises(ItemError, match="picture") as error:
        encoder.images([*pictures(1), b"<html>"])
    assert error.value.index == 1


def test_a_build_embeds_both_sides_and_the_bridge_reads_them(stand_in: Recipe, tmp_path: Path):
    workspace = Workspace(tmp_path / "out")
    catalogue(workspace)
    report = run_stage(embed.STAGE, workspace, stand_in)
    assert report.items_in == 16  # measured, and embedded
    assert report.extra["artworks by imagebind"] == 5
    assert load_embeddings(workspace, "imagebind", "tracks")[1].shape == (3, 1024)
    assert not (workspace.embeddings / "clip").exists()
    _, artworks, _, tracks = bridge_rows("imagebind", Context(workspace, stand_in))
    assert artworks.shape[1] == tracks.shape[1] == 1024


def test_missing_weights_are_reported_in_a_sentence(stand_in: Recipe, tmp_path: Path):
    (tmp_path / ".checkpoints" / "imagebind_huge.pth").unlink()
    reported = (
        r"fetch imagebind_huge.pth from dl\.fbaipublicfiles\.com/imagebind into the folder .*"
    )
    with pytest.raises(BadData, match=reported) as error:
        open_encoder("imagebind", stand_in)
    assert "\n" not in str(error.value)


def test_weights_of_another_model_are_refused(stand_in: Recipe, tmp_path: Path):
    import torch

    torch.save({"x": torch.zeros(1)}, tmp_path / ".checkpoints" / "imagebind_huge.pth")
    with pytest.raises(BadData, match=r"imagebind_huge\.pth cannot be loaded"):
        open_encoder("imagebind", stand_in)


def test_without_imagebind_a_build_says_what_to_install(tmp_path: Path):
    workspace = Workspace(tmp_path / "out")
    catalogue(workspace)
    recipe = Recipe().replaced(embed={"device": "cpu"}, pair={"bridge": "imagebind"})
    with pytest.raises(BadUsage, match=r"install github\.com/facebookresearch/ImageBind"):
        run_stage(embed.STAGE, workspace, recipe)
    (workspace.embeddings / "imagebind").mkdir(parents=True)  # vectors made elsewhere
    assert run_stage(embed.STAGE, workspace, recipe).items_in == 8


@pytest.mark.parametrize("fault", FAULTS)
def test_weights_that_it_cannot_use_are_refused_by_one_line_before_any_item(
    stand_in: Recipe, tmp_path: Path, fault: str
):
    write, sentence = FAULTS[fault]
    path = tmp_path / ".checkpoints" / "imagebind_huge.pth"
    write(path.rename(tmp_path / "good.pth"), path)
    _load.cache_clear()
    with pytest.raises(BadData, match=sentence) as error:
        open_encoder("imagebind", stand_in)
    assert path.name in str(error.value)
    assert not (tmp_path / "was-run").exists()
