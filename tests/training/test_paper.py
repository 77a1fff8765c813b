"""The measures of papers: networks, formulas and table, on thin networks of random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from published_networks import write_cnn14, write_vggish
from torchlibrosa.stft import LogmelFilterBank, Spectrogram

from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.testing import check_metric
from artsound.training.audio_networks import Cnn14, Vggish, vggish_examples
from artsound.training.data import Release
from artsound.training.evaluate import evaluate
from artsound.training.generate import wav_bytes
from artsound.training.loop import TrainReport
from artsound.training.metrics import frechet_distance, kernel_distance
from artsound.training.paper import PairClip, measure_paper, open_metrics, tag_divergence

RATE = 16_000
CHANCE = np.random.default_rng(0)
REAL, MADE = CHANCE.normal(0, 1, (60, 8)), CHANCE.normal(0.3, 1.2, (50, 8))


def tone(hertz: float, seconds: float = 2.0) -> np.ndarray:
    noise = np.random.default_rng(int(hertz)).normal(0, 0.02, int(seconds * RATE))
    wave = 0.4 * np.sin(2 * np.pi * hertz * np.arange(len(noise)) / RATE) + noise
    return wave.astype(np.float32)


def test_the_input_of_vggish_is_that_of_torchvggish() -> None:
    # Numbers of torchvggish 0.2, waveform_to_examples, for this sine.
    [example] = vggish_examples(np.sin(np.arange(RATE) * 0.2) * 0.5)
    known = {(0, 0): -3.8060721, (10, 17): -3.2027030, (50, 31): -4.5221562, (95, 63): -4.6039305}
    assert [example[place] for place in known] == pytest.approx(list(known.values()), abs=1e-5)
    assert example.mean() == pytest.approx(-3.5132244, abs=1e-5)


@pytest.mark.parametrize("rate", [16_000, 32_000])
def test_the_input_of_cnn14_is_that_of_torchlibrosa(tmp_path: Path, rate: int) -> None:
    network = Cnn14(str(write_cnn14(tmp_path / "cnn14.pth", rate)), "cpu")
    assert network.rate == rate
    window, hop = (512, 160) if rate == 16_000 else (1024, 320)
    power = Spectrogram(n_fft=window, hop_length=hop)
    bank = LogmelFilterBank(sr=rate, n_fft=window, n_mels=64, fmin=50, fmax=rate // 2, top_db=None)
    wave = torch.from_numpy(tone(330))[None]
    with torch.inference_mode():
        expected = bank(power(wave))[:, 0]
        assert torch.allclose(network.log_mel(wave[:, None]), expected, atol=1e-4)


def test_networks_give_the_published_rows_and_tell_sounds_apart(tmp_path: Path) -> None:
    vggish = Vggish(str(write_vggish(tmp_path / "vggish.pth")), "cpu")
    cnn14 = Cnn14(str(write_cnn14(tmp_path / "cnn14.pth")), "cpu")
    assert vggish(tone(200, 3.0)).shape == (3, 128)  # examples of 0.96 s
    assert vggish(tone(200, 0.3)).shape == (1, 128)
    embedding, logits = cnn14(tone(200))
    assert (embedding.shape, logits.shape) == ((128,), (527,))
    assert np.abs(embedding - cnn14(tone(900))[0]).max() > 1e-3
    assert np.array_equal(embedding, cnn14(tone(200))[0])


def _without(name: str) -> Any:
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


FAULTS = {
    "a tensor is missing": (_without("embeddings.4.bias"), r"no embeddings\.4\.bias"),
    "a layer is of another width": (
        lambda tensors: {**tensors, "embeddings.2.weight": torch.zeros(16, 5)},
        "another network",
    ),
    "not finite": (
        lambda tensors: {**tensors, "embeddings.4.bias": torch.full((128,), torch.nan)},
        "not finite",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_weights_that_cannot_be_right_are_refused_when_they_are_loaded(
    tmp_path: Path, fault: str
) -> None:
    change, message = FAULTS[fault]
    file = write_vggish(tmp_path / "vggish.pth")
    torch.save(change(torch.load(file)), file)
    with pytest.raises(BadData, match=message):
        Vggish(str(file), "cpu")


def test_half_precision_is_taken_and_damaged_or_exchanged_files_are_not(tmp_path: Path) -> None:
    file, other = write_vggish(tmp_path / "vggish.pth"), write_cnn14(tmp_path / "cnn14.pth")
    whole = Vggish(str(file), "cpu")(tone(300))
    torch.save({name: tensor.half() for name, tensor in torch.load(file).items()}, file)
    assert np.abs(Vggish(str(file), "cpu")(tone(300)) - whole).max() < 0.05
    for network, wrong in ((Vggish, other), (Cnn14, file)):
        with pytest.raises(BadData, match=r"another network .* fetch"):
            network(str(wrong), "cpu")
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(BadData, match="is cut short: fetch it again"):
        Vggish(str(file), "cpu")
    with pytest.raises(BadData, match=r"no checkpoint .*none\.pth"):
        Cnn14(str(tmp_path / "none.pth"), "cpu")


def test_frechet_distances_are_those_of_frechet_audio_distance_and_kadtk() -> None:
    for rows in (slice(None), slice(0, 5)):  # five rows of eight numbers: singular covariances
        real, made = REAL[rows], MADE[rows]
        first, second = np.cov(real, rowvar=False), np.cov(made, rowvar=False)
        # frechet_audio_distance's formula; its package has no other way to a singular product.
        root = scipy.linalg.sqrtm(first.dot(second).astype(complex)).real
        apart = real.mean(axis=0) - made.mean(axis=0)
        expected = apart @ apart + np.trace(first) + np.trace(second) - 2 * np.trace(root)
        assert frechet_distance(real, made) == pytest.approx(expected, rel=1e-4)


def test_kernel_distances_are_those_of_kadtk() -> None:
    x, y = torch.from_numpy(REAL), torch.from_numpy(MADE)
    # calc_kernel_audio_distance(x, y): a Gaussian kernel as wide as the median distance within y.
    scale = torch.median(torch.pdist(y))

    def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.exp(-torch.cdist(a, b).square() / (2 * scale**2))

    m, n = len(x), len(y)
    within = (kernel(x, x).sum() - m) / (m * (m - 1)) + (kernel(y, y).sum() - n) / (n * (n - 1))
    expected = 100 * (within - 2 * kernel(x, y).mean())
    assert kernel_distance(MADE, REAL) == pytest.approx(float(expected), rel=1e-6)


def test_the_divergence_of_tags_is_that_of_audioldm_eval() -> None:
    real, made = torch.from_numpy(REAL[:50] * 3), torch.from_numpy(MADE * 3)
    expected = torch.nn.functional.kl_div(
        (made.softmax(dim=1) + 1e-6).log(), real.softmax(dim=1), reduction="sum"
    ) / len(real)
    assert tag_divergence(real.numpy(), made.numpy()) == pytest.approx(float(expected), rel=1e-6)
    assert tag_divergence(REAL, REAL) == pytest.approx(0, abs=1e-4)


def clips(shift: float) -> list[PairClip]:
    return [PairClip(str(n), wav_bytes(tone(100 * (n + 1) + shift), RATE)) for n in range(5)]


def test_systems_are_compared_and_what_lacks_weights_says_what_to_give(tmp_path: Path) -> None:
    file = str(write_cnn14(tmp_path / "cnn14.pth"))
    opened = open_metrics({"panns": file})
    paper = measure_paper(opened, clips(0), {"near": lambda: iter(clips(5))})
    near = {score["name"]: score for score in paper["systems"]["near"]}
    assert list(near) == ["FAD (PANNs)", "FAD∞ (PANNs)", "KAD (PANNs)", "KL (PANNs)"]
    assert near["FAD (PANNs)"]["value"] > 1e-6
    assert "5 and 5 clips of 128 numbers; fewer than" in near["FAD (PANNs)"]["note"]
    own = {score["name"]: score["value"] for score in paper["systems"]["own track"]}
    assert own["FAD (PANNs)"] == pytest.approx(0, abs=1e-6)
    assert own["KL (PANNs)"] == pytest.approx(0, abs=1e-2)
    missing = {score["name"]: score["note"] for score in paper["missing"]}
    assert missing["FAD (VGGish)"] == "not measured: give --vggish FILE"
    assert missing["CLAP score"] == "not measured: give --clap FILE"
    assert "needs ImageBind" in missing["ImageBind score"]


@pytest.mark.parametrize("name", ["vggish", "panns"])
def test_built_in_metrics_keep_the_contract(tmp_path: Path, name: str) -> None:
    write = {"vggish": write_vggish, "panns": write_cnn14}[name]
    check_metric(f"{name}:{write(tmp_path / 'weights.pth')}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vgish:x", "did you mean 'vggish'"),
        ("vggish", "needs its weights: write vggish:FILE"),
        ("encoder", "write encoder:NAME"),
        ("encoder:clip", "takes no sound"),
        ("clap:none.pt", r"none\.pt"),
    ],
)
def test_a_metric_that_cannot_be_opened_is_refused(name: str, message: str) -> None:
    with pytest.raises(ArtSoundError, match=message):
        open_metrics({}, [name])


def test_the_protocol_of_papers_stands_beside_our_own_measures(
    trained: tuple[Path, TrainReport], release: Release, tmp_path: Path
) -> None:
    files = {"vggish": write_vggish(tmp_path / "v.pth"), "panns": write_cnn14(tmp_path / "p.pth")}
    out = tmp_path / "out"
    summary = evaluate(trained[0], release, out, takes=1, steps=2, protocol="paper", **files)
    assert summary["condition_effect"]
    paper = json.loads((out / "metrics.json").read_text())["paper"]
    assert set(paper["systems"]) == {"own track", "model", "unconditional", "nearest track"}
    # The same number, of the files that were written and the release.
    vggish = Vggish(str(files["vggish"]), "cpu")
    samples = [release.pairs(split).read(n) for split in ("val", "test") for n in range(4)]
    wavs = [(out / "wavs" / f"{sample['key']}.wav").read_bytes() for sample in samples]
    made = np.concatenate([vggish(PairClip("", wav).mono(RATE)) for wav in wavs])
    scores = {score["name"]: score for score in paper["systems"]["model"]}
    assert len(made) == 8
    assert scores["FAD (VGGish)"]["note"].startswith("8 and 8 frames of 128 numbers")
    table = (out / "table.md").read_text()
    assert "## As published" in table
    assert "| FAD (VGGish) ↓ |" in table
    assert "not measured: give --clap FILE" in table
    with pytest.raises(BadUsage, match="add it, or leave them out"):
        evaluate(trained[0], release, out, vggish=files["vggish"])
    with pytest.raises(BadUsage, match="choose one of own, paper"):
        evaluate(trained[0], release, out, protocol="papers")
