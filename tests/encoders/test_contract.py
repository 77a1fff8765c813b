"""What every encoder promises, on the built-in ones; and what a plug-in's faults lead to."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from random_weights import CLAP_MODEL, CLIP_MODEL, pictures, widened
from test_embed import catalogue

from artsound.encoders.base import (
    EncoderSettings,
    embedding_folder,
    encoder_digest,
    load_embeddings,
    media_encoders,
    open_encoder,
)
from artsound.encoders.embed import STAGE
from artsound.errors import BadData, BadUsage
from artsound.recipe import Recipe
from artsound.stage import run_stage
from artsound.storage import Workspace
from artsound.testing import check_encoder

PLUGINS = """
import numpy as np
from artsound.encoders.base import Encoder, EncoderPlugin

class Opened(Encoder):
    digest, dim = "d", 4
    def images(self, data):
        rows = np.random.default_rng(len(data)).random((len(data), 4))
        return self.spoil((rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float32))
    texts = audio = images
    def spoil(self, rows):
        return rows

class Good(EncoderPlugin):
    "Rows that keep the contract as far as a build looks."
    name, version, modalities = "good", "1", ("image", "audio", "text")
    opened = Opened
    def digest(self, settings):
        return "d"
    def open(self, settings, device):
        return self.opened()

def faulty(spoil):
    opened = type("Faulty", (Opened,), {"spoil": lambda self, rows: spoil(rows)})
    return type("Plugin", (Good,), {"opened": opened, "__doc__": "A fault."})

Dtype = faulty(lambda rows: rows.astype(np.float64))
Count = faulty(lambda rows: rows[:-1])
Shape = faulty(lambda rows: rows.ravel())
NotFinite = faulty(lambda rows: rows * np.float32("nan"))
Long = faulty(lambda rows: rows * np.float32(2))
Raises = faulty(lambda rows: rows.no_such_method())
Nothing = faulty(lambda rows: None)

class Lacking:
    "Lacks most of what an encoder has."
    name, version = "lacking", "1"
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of encoders of another package."""
    name = f"encoders_of_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(PLUGINS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def write_sentences(folder: Path) -> Path:
    """A small random sentence encoder in the layout of sentence-transformers."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [a + b + c for a in letters[:11] for b in letters[:10] for c in letters[:10]]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *words]
    vocabulary += [f"##{letter}" for letter in letters]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=64,
    )  # fmt: skip
    model = BertModel(config).eval()
    with torch.inference_mode():
        usual = model(torch.arange(5, 60)[None]).last_hidden_state.mean(dim=(0, 1))
    widened(model).encoder.layer[-1].output.LayerNorm.bias.data -= usual  # else all texts are alike
    model.save_pretrained(folder)
    kinds = ["models.Transformer", "models.Pooling", "models.Normalize"]
    modules = [
        {"type": f"sentence_transformers.{kind}", "path": "1_Pooling" if n == 1 else ""}
        for n, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    return folder


def test_measured_descriptors_keep_the_contract() -> None:
    check_encoder("affect")


def test_clip_keeps_the_contract(clip_recipe: Recipe) -> None:
    weights = clip_recipe.embed.clip_checkpoint
    check_encoder("clip", settings=EncoderSettings(model=CLIP_MODEL, checkpoint=weights, batch=3))


def test_clap_keeps_the_contract(clap_recipe: Recipe) -> None:
    weights = clap_recipe.embed.clap_checkpoint
    check_encoder("clap", settings=EncoderSettings(model=CLAP_MODEL, checkpoint=weights, batch=3))


def test_a_sentence_encoder_keeps_the_contract_and_averages_its_tokens(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = write_sentences(tmp_path / "model")
    name = f"sentence-transformers:{folder}"
    check_encoder(name)
    encoder = open_encoder(name, Recipe())
    tokens = AutoTokenizer.from_pretrained(folder)("abc bed", return_tensors="pt")
    with torch.inference_mode():
        hidden = AutoModel.from_pretrained(folder)(**tokens).last_hidden_state[0]
    mean = hidden.mean(dim=0)
    np.testing.assert_allclose(
        encoder.texts(["abc bed"])[0], (mean / mean.norm()).numpy(), atol=1e-5
    )
    before = encoder_digest(name, Recipe())
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    assert encoder_digest(name, Recipe()) != before
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(BadData, match="pools neither by mean nor by the first token"):
        encoder_digest(name, Recipe())


def test_a_sentence_encoder_that_is_nowhere_is_a_clear_error(no_hub: Path) -> None:
    with pytest.raises(BadData, match="hf download sentence-transformers/absent-model"):
        encoder_digest("sentence-transformers:absent-model", Recipe())


def test_an_encoder_of_another_package_embeds_a_catalogue(module: str, tmp_path: Path) -> None:
    name = f"{module}:Good"
    recipe = Recipe().replaced(pair={"bridge": f"joint:{name}"})
    workspace = Workspace(tmp_path / "out")
    catalogue(workspace)
    report = run_stage(STAGE, workspace, recipe)
    assert report.extra[f"artworks by {name}"] == 5
    assert load_embeddings(workspace, name, "tracks")[1].shape == (3, 4)
    folder = embedding_folder(workspace, name)
    assert folder.parent == workspace.embeddings
    assert ":" not in folder.name
    made_by = json.loads((folder / "artworks.json").read_text())["digest"]
    assert made_by == encoder_digest(name, recipe) == open_encoder(name, recipe).digest != "d"


@pytest.mark.parametrize(
    ("attribute", "fault"),
    [
        ("Dtype", "gave float64, not an array of float32"),
        ("Count", r"an array \[1, 4\] for 2 items"),
        ("Shape", r"an array \[8\] for 2 items"),
        ("NotFinite", "not finite or not of length 1"),
        ("Long", "not finite or not of length 1"),
        ("Raises", "failed: AttributeError"),
        ("Nothing", "gave NoneType"),
    ],
)
def test_rows_that_break_the_contract_are_refused(module: str, attribute: str, fault: str) -> None:
    encoder = open_encoder(f"{module}:{attribute}", Recipe())
    with pytest.raises(BadData, match=fault):
        encoder.images(pictures(2))
    with pytest.raises((AssertionError, AttributeError)):
        check_encoder(getattr(sys.modules[module], attribute)())


def test_an_encoder_that_lacks_something_or_takes_something_else_is_refused(module: str) -> None:
    with pytest.raises(BadUsage, match="lacks modalities"):
        open_encoder(f"{module}:Lacking", Recipe())
    recipe = Recipe().replaced(embed={"image_encoder": "clap"}, pair={"bridge": "concepts"})
    with pytest.raises(BadUsage, match="clap takes audio and text, not image"):
        media_encoders(recipe)
    with pytest.raises(BadUsage, match=r"embed\.audio_encoder is wrong.*did you mean 'clap'"):
        Recipe().replaced(embed={"audio_encoder": "clapp"})
    with pytest.raises(BadUsage, match="clip takes no argument"):
        encoder_digest("clip:x", Recipe())
