"""`artsound latents`, `train`, `generate` and `evaluate` as a user meets them, on a small model."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
from PIL import Image
from test_loop import StopAfter
from toy_pairs import picture

from artsound.cli import main
from artsound.storage import Workspace

SETTINGS = (
    "mel.seconds=1.024",
    "codec.channels=8",
    "codec.vocoder_iterations=8",
    "condition.width=32",
    "condition.hidden=32",
    "network.blocks=[32,32]",
    "optimisation.batch=8",
    "optimisation.warmup=0",
)
SMALL = [word for setting in SETTINGS for word in ("--set", setting)]


def entered(*arguments: object) -> int:
    """Exit code of a command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["artsound", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
    return int(left.value.code or 0)


def artsound(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    code = entered(*arguments)
    reported = capsys.readouterr()
    return code, reported.out, reported.err


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code and the one sentence of a command that fails."""
    code, _, reported = artsound(capsys, *arguments)
    [sentence] = [line for line in reported.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in reported
    assert sentence.endswith(".")
    return code, sentence


def summary(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    code, out, reported = artsound(capsys, *arguments, "--json")
    assert code == 0, reported
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def run(built: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps on the sample's shards."""
    out = tmp_path_factory.mktemp("cli") / "training"
    assert entered("train", "--data", built.shards, "--out", out, "--steps", 2, *SMALL) == 0
    return out


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "cat.jpg"
    path.write_bytes(picture(0.5, 0.8, 99))
    return path


def test_every_option_of_generate_reaches_the_music(
    run: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.jpg"
    other.write_bytes(picture(-0.5, -0.8, 98))
    asked = ["generate", "--checkpoint", run, "--image", image, "--out", tmp_path / "cat.wav"]
    quick = ["--seconds", 1, "--steps", 3]

    def digest(*more: object) -> str:
        [piece] = summary(capsys, *asked, *quick, *more)["files"]
        return piece["sha256"]

    plain = digest("--spectrogram")
    wave, rate = soundfile.read(tmp_path / "cat.wav")
    assert (len(wave), rate) == (16_000, 16_000)
    assert Image.open(tmp_path / "cat.png").size[1] >= 64
    assert plain == digest()
    changed = (
        digest("--seed", 1),
        digest("--steps", 4),
        digest("--guidance", 3),
        digest("--scheduler", "dpm"),
        digest("--scheduler", "unipc"),
        digest("--negative", other),
    )
    assert len({plain, *changed}) == 7


def test_a_folder_of_pictures_becomes_a_folder_of_music_in_batches(
    run: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a", "b", "c"):
        shutil.copy(image, folder / f"{name}.jpg")
    made = summary(
        capsys, "generate", "--checkpoint", run, "--image", folder, "--out", tmp_path / "wavs",
        "--seconds", 1, "--steps", 2, "--batch", 2,
    )  # fmt: skip
    names = [Path(piece["file"]).name for piece in made["files"]]
    assert names == ["a.wav", "b.wav", "c.wav"]


def test_bad_requests_to_generate_leave_with_two_and_a_sentence(
    run: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["generate", "--checkpoint", run, "--image", image, "--out", tmp_path / "x.wav"]
    for more, reported in (
        (["--scheduler", "heun"], "choose one of ddim, dpm, unipc"),
        (["--seconds", 100], "choose between 0.5 and 60"),
        (["--guidance", -1], "choose 0 or more"),
        (["--negative", tmp_path / "none.jpg"], "none.jpg is not a file"),
        (["--image", image], "one file for 2 pictures"),
        (["--pretrained", tmp_path], "leave out --pretrained"),
    ):
        code, sentence = refused(capsys, *asked, *more)
        assert (code, reported in sentence) == (2, True), sentence
    code, sentence = refused(capsys, *asked[:1], "--checkpoint", tmp_path, *asked[3:])
    assert (code, "has no checkpoint" in sentence) == (2, True)
    assert artsound(capsys, *asked, "--steps", 0)[0] == 2
    assert not (tmp_path / "x.wav").exists()


def test_a_broken_picture_and_a_cut_checkpoint_leave_with_one(
    run: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(image.read_bytes()[:300])
    end = ["--out", tmp_path / "x.wav"]
    code, sentence = refused(capsys, "generate", "--checkpoint", run, "--image", broken, *end)
    assert (code, "broken.jpg cannot be used" in sentence) == (1, True)
    cut = Path(shutil.copytree(run, tmp_path / "cut"))
    [weights] = cut.glob("checkpoints/*/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    code, sentence = refused(capsys, "generate", "--checkpoint", cut, "--image", image, *end)
    assert (code, "weights.safetensors is missing or damaged" in sentence) == (1, True)


def test_evaluate_measures_the_model_beside_its_baselines(
    run: Path, built: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reported = summary(
        capsys, "evaluate", "--checkpoint", run, "--data", built.shards, "--out", tmp_path,
        "--takes", 1, "--steps", 2, "--guidance", 3, "--limit", 4,
    )  # fmt: skip
    assert set(reported["systems"]) == {"model", "unconditional", "nearest track"}
    assert (reported["takes"], reported["sampling_steps"], reported["guidance"]) == (1, 2, 3)
    assert set(reported["condition_effect"]) == {"mean", "low", "high"}
    assert json.loads((tmp_path / "metrics.json").read_text()) == reported
    assert {p.name for p in tmp_path.iterdir()} >= {"table.md", "effect.png", "frechet.png"}


def test_a_run_that_is_stopped_says_so_and_leaves_with_130(
    run: Path, built: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = Path(shutil.copytree(run, tmp_path / "again"))
    ask = ["train", "--data", built.shards, "--out", again, "--resume", *SMALL]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("artsound.progress.console_progress", lambda: StopAfter(3))  # 2 were done
        code, out, reported = artsound(capsys, *ask, "--steps", 9, "--save-every", 1, "--json")
    assert (code, json.loads(out.splitlines()[-1])["interrupted"]) == (130, True)
    assert (
        "Stopped at step 3 of 9: the same command with --resume continues from there." in reported
    )
    summary(capsys, *ask, "--steps", 6, "--save-every", 1, "--keep", 1)
    best = json.loads((again / "checkpoints" / "best.json").read_text())["step"]
    kept = {path.name for path in (again / "checkpoints").glob("step-*")}
    assert kept == {"step-00000006", f"step-{best:08d}"}


def test_of_several_processes_one_speaks(
    run: Path, built: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = ["train", "--data", built.shards, "--out", run, "--resume", "--steps", 2, *SMALL]
    monkeypatch.setenv("RANK", "1")
    assert artsound(capsys, *ask, "--json")[:2] == (0, "")


def test_shards_of_another_release_and_thin_splits_are_reported(
    run: Path, built: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary(capsys, "subset", built.shards, "--top", 5, "--out", tmp_path / "few")
    ask = ["evaluate", "--checkpoint", run, "--out", tmp_path / "out"]
    code, sentence = refused(capsys, *ask, "--data", tmp_path / "few")
    assert (code, "was trained on another release" in sentence) == (2, True)
    code, sentence = refused(capsys, *ask, "--data", built.shards, "--split", "tset")
    assert (code, "choose one of train, val, test, held-out" in sentence) == (2, True)
    few = ["train", "--data", tmp_path / "few", *SMALL]
    code, sentence = refused(capsys, *few, "--out", run, "--resume")
    assert (code, "was trained on another release" in sentence) == (2, True)
    code, sentence = refused(capsys, *few, "--out", tmp_path / "new")
    assert (code, "fewer than the 8 that training needs" in sentence) == (1, True)


def test_missing_latents_and_latents_of_others_are_reported(
    run: Path, built: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ["train", "--data", built.shards, "--out", tmp_path / "run", *SMALL]
    code, sentence = refused(capsys, *ask, "--latents", tmp_path / "none")
    assert (code, "make them with `artsound latents --data SHARDS" in sentence) == (2, True)
    summary(capsys, "subset", built.shards, "--top", 4, "--out", tmp_path / "few")
    latents = ["latents", "--data", tmp_path / "few", "--out", tmp_path / "latents", *SMALL]
    summary(capsys, *latents)
    code, sentence = refused(capsys, *ask, "--latents", tmp_path / "latents")
    assert (code, "holds latents of another release" in sentence) == (2, True)
    own = tmp_path / "own"
    summary(capsys, "latents", "--data", built.shards, "--out", own, *SMALL)
    for shard in own.glob("*train*.tar"):
        shard.unlink()
    code, sentence = refused(capsys, *ask, "--latents", own)
    assert (code, ".tar" in sentence) == (1, True)


def test_an_unknown_eye_preset_or_setting_leaves_with_two(
    built: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ["train", "--data", built.shards, "--out", tmp_path / "run"]
    for more, reported in (
        (
            ["--visual", "dino"],
            "condition.encoder cannot be 'dino': There is no encoder 'dino': choose",
        ),
        (["--visual", "imagebind"], "The encoder imagebind needs ImageBind"),
        (["--preset", "huge"], "choose one of audioldm2, base, tiny"),
        (["--set", "mel.length=3"], "There is no setting 'mel.length=3'"),
    ):
        code, sentence = refused(capsys, *ask, *more)
        assert (code, reported in sentence) == (2, True), sentence
    missing = ["--visual", "clip", "--set", f"condition.clip_checkpoint={tmp_path / 'gone.pt'}"]
    code, sentence = refused(capsys, *ask, *missing)
    assert (code, "gone.pt (condition.clip_checkpoint): fetch" in sentence) == (1, True)
    assert not (tmp_path / "run").exists()
