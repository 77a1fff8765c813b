"""Generation of music for pictures, from a checkpoint."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from artsound.encoders.base import choose_device
from artsound.encoders.batching import one_torch_thread
from artsound.encoders.descriptors import measure_wave
from artsound.errors import BadData, BadUsage
from artsound.extras import importing
from artsound.media import MediaError
from artsound.progress import QUIET, Progress
from artsound.storage import sha256_bytes, write_bytes
from artsound.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_weights,
)
from artsound.training.codec import training_log_mel
from artsound.training.config import Config, Mel
from artsound.training.family import open_family
from artsound.training.model import SCHEDULERS
from artsound.training.pictures import (
    Conditioner,
    PictureEncoder,
    check_encoder,
    checkpoint_key,
    open_picture_encoder,
)
from artsound.training.plots import labelled_spectrogram_png

BATCH = 16
STEPS = 25
SEEDS = 2**31  # as in the settings of a training run
_APART = 1_000_003  # between the seeds of candidates, so that nearby seeds share none
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
OTHER_SOUNDS = (".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".aiff", ".aif", ".wave")


@dataclass(frozen=True)
class Generated:
    """One piece of music: its file, length (s), loudness (dBFS RMS) and largest sample."""

    image: str
    file: str
    seconds: float
    sample_rate: int
    loudness: float
    peak: float
    sha256: str


class Generator:
    """A loaded checkpoint: pictures to embeddings, by `encode`, and embeddings to waveforms.

    Published modules and CLIP's weights, if the run uses them, are read from their previous
    paths, or from `pretrained` and `clip_checkpoint`; BadData if they are not the same.
    """

    def __init__(
        self, checkpoint: Path, *, pretrained: str | None = None, clip_checkpoint: str | None = None
    ) -> None:
        with importing():
            import torch  # noqa: F401
        with one_torch_thread():  # several wait for each other longer than they work
            self._open(checkpoint, pretrained, clip_checkpoint)

    def _open(self, checkpoint: Path, pretrained: str | None, clip_checkpoint: str | None) -> None:
        self.checkpoint: Checkpoint = load_checkpoint(checkpoint)
        self.config = _moved(self.checkpoint.config, pretrained, clip_checkpoint)
        device = choose_device("auto")
        check_encoder(self.config.condition)
        self.encode: PictureEncoder = open_picture_encoder(self.config.condition, device)
        arrays = self.checkpoint.arrays
        self.family = open_family(self.config)
        self.codec = self.family.open_codec(arrays, device)
        self.conditioner = Conditioner.from_tensors(self.config.condition, arrays)
        self.standardise = self.conditioner.standardise
        self.model = self.family.build(self.checkpoint.state.condition_dim)
        load_weights(self.model, self.checkpoint.weights, self.checkpoint.path)
        self.model.to(device)

    def _threads(self) -> AbstractContextManager[None]:
        """One thread for a small network on a CPU, as in its training.

        With more, they wait for each other busily: thirty times the processor time on two cores.
        """
        on_cpu = next(self.model.parameters()).device.type == "cpu"
        alone = on_cpu and self.config.optimisation.cpu_threads == 1
        return one_torch_thread() if alone else nullcontext()

    def check_steps(self, steps: int) -> None:
        """Raise BadUsage if the noise schedule has fewer steps."""
        if not 1 <= steps <= (most := self.config.diffusion.steps):
            raise BadUsage(f"--steps {steps} is out of range: choose between 1 and {most}.")

    def waves(
        self,
        pictures: np.ndarray,
        *,
        seconds: float | None = None,
        seeds: Sequence[int],
        guidance: float | None = None,
        steps: int = STEPS,
        scheduler: str = "ddim",
        batch: int = BATCH,
        negative: np.ndarray | None = None,
        candidates: int = 1,
    ) -> list[np.ndarray]:
        """Waveforms float32 [seconds * sample_rate] for pictures' embeddings [n, D], one seed each.

        Guidance moves away from `negative` [D], another picture's embedding; without it, from the
        prediction without a picture. Of several `candidates` from a seed, the one whose measured
        descriptors are nearest to those predicted from the picture is taken, as DALL-E (Ramesh et
        al. 2021) was ranked by CLIP; the first candidate is what one alone would be.
        """
        self.check_candidates(candidates)

        def drawn(turn: int) -> list[np.ndarray]:
            return self._drawn(
                pictures,
                seconds=seconds,
                seeds=[seed + turn * _APART for seed in seeds],
                guidance=self.guidance(guidance),
                steps=steps,
                scheduler=scheduler,
                batch=batch,
                negative=negative,
            )

        waves, prior = drawn(0), self.conditioner.prior
        if prior is None or candidates == 1:
            return waves
        predicted = self.conditioner.of_pictures(pictures)

        def apart(some: Sequence[np.ndarray]) -> np.ndarray:
            rate = self.config.mel.sample_rate
            return prior.distances(predicted, np.array([measure_wave(w, rate) for w in some]))

        best = apart(waves)
        for turn in range(1, candidates):
            others = drawn(turn)
            distance = apart(others)
            waves = [
                other if nearer else wave
                for wave, other, nearer in zip(waves, others, distance < best, strict=True)
            ]
            best = np.minimum(best, distance)
        return waves

    def guidance(self, asked: float | None = None) -> float:
        """The weight of the picture: what is asked for, else that of the settings."""
        check_guidance(asked)
        return self.config.condition.guidance if asked is None else asked

    def check_candidates(self, candidates: int) -> None:
        """Raise BadUsage for no candidate, or several of a checkpoint that cannot rank them."""
        if candidates < 1:
            raise BadUsage(f"--candidates {candidates} is out of range: choose 1 or more.")
        if candidates > 1 and self.conditioner.prior is None:
            raise BadUsage(
                f"{self.checkpoint.path} cannot rank candidates, since it predicts no descriptors "
                "of music: leave out --candidates, or train with --set condition.prior=20."
            )

    def _drawn(
        self,
        pictures: np.ndarray,
        *,
        seconds: float | None,
        seeds: Sequence[int],
        guidance: float,
        steps: int,
        scheduler: str,
        batch: int,
        negative: np.ndarray | None,
    ) -> list[np.ndarray]:
        mel = self.config.mel
        length = round((seconds or mel.seconds) * mel.sample_rate)
        shape = self.codec.shape(length / mel.sample_rate)
        away = None if negative is None else self.conditioner.of_pictures(negative)
        waves = []
        with self._threads():
            for first in range(0, len(pictures), batch):
                rows = slice(first, first + batch)
                latents = self.family.sample(
                    self.model,
                    self.conditioner.of_pictures(pictures[rows]),
                    shape=shape,
                    seeds=list(seeds[rows]),
                    steps=steps,
                    guidance=guidance,
                    scheduler=scheduler,
                    negative=away,
                )
                if not np.isfinite(latents).all():
                    raise BadData(
                        f"{self.checkpoint.path} gives latents that are not finite at a guidance "
                        f"of {guidance:g}: lower --guidance, or choose an earlier checkpoint."
                    )
                for latent, seed in zip(latents, seeds[rows], strict=True):
                    wave = self.codec.sound(self.codec.decode(latent), seed=seed)
                    waves.append(wave[:length])
        return waves


def generate(
    checkpoint: Path,
    images: Sequence[Path],
    out: Path,
    *,
    seconds: float | None = None,
    seed: int = 0,
    guidance: float | None = None,
    steps: int = STEPS,
    scheduler: str = "ddim",
    batch: int = BATCH,
    negative: Path | None = None,
    candidates: int = 1,
    spectrogram: bool = False,
    pretrained: str | None = None,
    clip_checkpoint: str | None = None,
    progress: Progress = QUIET,
) -> list[Generated]:
    """Generate music for pictures.

    Deterministic on one device: the same picture, seed and settings give the same bytes (batches
    of another size may differ in the last bit).

    Args:
        checkpoint: A checkpoint, or a training folder.
        images: Files, or folders whose pictures are used in the order of their names.
        out: A .wav file for a single picture, else a folder for <picture's name>.wav.
        seconds: The length of the music, 0.5 to 60; None: that of a training window.
        seed: Of the noise.
        guidance: The weight of the picture: 0 ignores it, 1 is the plain prediction; None: that of
            the checkpoint's settings.
        steps: Denoising steps.
        scheduler: ddim, dpm or unipc.
        batch: Pictures per batch.
        negative: A picture to guide away from.
        candidates: Pieces to draw for each picture, of which the one nearest to what the picture
            predicts is written; for checkpoints with a prior.
        spectrogram: Whether to write a PNG beside each WAV.
        pretrained: The new path of the published modules, if they have moved.
        clip_checkpoint: The new path of CLIP's weights, if they have moved.
        progress: Counts the pictures.

    Returns:
        One record for each picture.

    Raises:
        BadUsage: A picture is missing, or an option is wrong.
        BadData: A picture cannot be decoded, or the checkpoint is damaged.
    """
    if seconds is not None and not 0.5 <= seconds <= 60:
        raise BadUsage(f"--seconds {seconds} is out of range: choose between 0.5 and 60.")
    images = [file for image in images for file in _files(image)]
    single = out.suffix.lower() == ".wav"
    _check_out(out, single=single)
    if single and len(images) != 1:
        raise BadUsage(f"{out} is one file for {len(images)} pictures: give a folder as --out.")
    if not single and out.suffix.lower() in OTHER_SOUNDS:
        raise BadUsage(f"{out} is not a WAV: give a name that ends in .wav, or a folder, as --out.")
    pieces = [out if single else out / f"{image.stem}.wav" for image in images]
    _check_names(images, pieces, spectrogram=spectrogram)
    check_guidance(guidance)
    check_seed(seed)
    if scheduler not in SCHEDULERS:
        raise BadUsage(
            f"There is no scheduler {scheduler!r}: choose one of {', '.join(SCHEDULERS)}."
        )
    if negative is not None and not negative.is_file():
        raise BadUsage(f"{negative} is not a file: give a picture to guide away from.")
    generator = Generator(checkpoint, pretrained=pretrained, clip_checkpoint=clip_checkpoint)
    generator.check_steps(steps)
    generator.check_candidates(candidates)
    pictures = np.array([_encode(image, generator.encode) for image in images])
    away = None if negative is None else _encode(negative, generator.encode)
    progress.start("generate", len(images))
    done = []
    try:
        for first in range(0, len(images), batch):
            rows = slice(first, first + batch)
            waves = generator.waves(
                pictures[rows],
                seconds=seconds,
                seeds=[seed] * len(images[rows]),
                guidance=guidance,
                steps=steps,
                scheduler=scheduler,
                batch=batch,
                negative=away,
                candidates=candidates,
            )
            for image, path, wave in zip(images[rows], pieces[rows], waves, strict=True):
                done.append(
                    _write(path, wave, generator.config.mel, image, with_spectrogram=spectrogram)
                )
                progress.advance(1)
    finally:
        progress.finish()
    return done


def _moved(config: Config, pretrained: str | None, clip_checkpoint: str | None) -> Config:
    """`config` with other paths of modules and weights; BadUsage if it does not use them."""
    changes: dict[str, object] = {}
    if pretrained is not None:
        if config.pretrained is None:
            raise BadUsage("The checkpoint uses no published modules: leave out --pretrained.")
        changes["pretrained"] = config.pretrained.model_copy(update={"source": pretrained})
    if clip_checkpoint is not None:
        key = checkpoint_key(config.condition)
        if not key:
            raise BadUsage(
                "The checkpoint does not encode pictures with CLIP: leave out --clip-checkpoint."
            )
        changes["condition"] = config.condition.model_copy(update={key: clip_checkpoint})
    return config.model_copy(update=changes)


def _encode(image: Path, encode: PictureEncoder) -> np.ndarray:
    try:
        return encode(image.read_bytes())
    except (MediaError, OSError) as error:
        raise BadData(f"{image} cannot be used ({error}): give another picture.") from error


def _files(image: Path) -> list[Path]:
    if image.is_dir():
        files = sorted(p for p in image.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
        if not files:
            raise BadUsage(f"{image} has no pictures ({', '.join(PICTURE_SUFFIXES)}).")
        return files
    if not image.is_file():
        raise BadUsage(f"{image} is not a file: give a picture or a folder of pictures.")
    return [image]


def check_seed(seed: int) -> None:
    """Raise BadUsage for a seed that a training run, too, does not allow."""
    if not 0 <= seed < SEEDS:
        raise BadUsage(f"--seed {seed} is out of range: choose 0 to {SEEDS - 1}.")


def check_guidance(guidance: float | None) -> None:
    """Raise BadUsage for a guidance below 0 or that is no finite number."""
    if guidance is not None and not 0 <= guidance < math.inf:
        raise BadUsage(f"--guidance {guidance} is out of range: choose 0 or more.")


def _check_out(out: Path, *, single: bool) -> None:
    """Raise BadUsage if music cannot be written there, before a model is loaded for it."""
    if single and out.is_dir():
        raise BadUsage(f"{out} is a folder: give another name that ends in .wav as --out.")
    folder = out.parent if single else out
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise BadUsage(f"{folder} is a file, not a folder: give another --out.")


def _check_names(images: Sequence[Path], pieces: Sequence[Path], *, spectrogram: bool) -> None:
    """Raise BadUsage if two pieces would be one file, or a spectrogram would replace a picture."""
    named: dict[str, Path] = {}
    for image, piece in zip(images, pieces, strict=True):
        if (other := named.get(piece.name.casefold())) is not None:
            raise BadUsage(
                f"{other} and {image} have the same name, {image.stem}: generate them into two "
                "folders."
            )
        named[piece.name.casefold()] = image
    given = {image.resolve(): image for image in images}
    for piece in pieces if spectrogram else ():
        replaced = given.get(piece.with_suffix(".png").resolve())
        if replaced is not None:
            raise BadUsage(
                f"The spectrogram of {piece} would replace the picture {replaced}: give another "
                "folder as --out, or leave out --spectrogram."
            )


def wav_bytes(wave: np.ndarray, sample_rate: int) -> bytes:
    """A 16-bit PCM WAV file of a waveform in −1..1."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, wave, sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _write(
    path: Path, wave: np.ndarray, mel: Mel, image: Path, *, with_spectrogram: bool
) -> Generated:
    data = wav_bytes(wave, mel.sample_rate)
    write_bytes(path, data)
    if with_spectrogram:
        write_bytes(
            path.with_suffix(".png"), labelled_spectrogram_png(training_log_mel(wave, mel), mel)
        )
    level = 10 * np.log10(max(float(np.mean(np.square(wave, dtype=np.float64))), 1e-12))
    return Generated(
        image=str(image),
        file=str(path),
        seconds=round(len(wave) / mel.sample_rate, 3),
        sample_rate=mel.sample_rate,
        loudness=round(level, 2),
        peak=round(float(np.abs(wave).max()), 4),
        sha256=sha256_bytes(data),
    )
