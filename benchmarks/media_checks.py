"""How much checking media costs beyond decoding them.

    python benchmarks/media_checks.py [--clips 48] [--images 96] [--processes 2] [--repeats 5]

Writes synthetic music clips (30 s stereo MP3, 256 kbit/s, as in the FMA) and pictures (JPEG, 1,000
to 1,600 pixels wide, as in WikiArt), then has the same number of processes go over the same files,
turn about: a bare soundfile loop against `check_audio`, a bare Pillow loop against `check_image`.
Prints items per second of processor time, best of several, and the ratios; the limits are 0.9 for
both. Then what it adds to measure their technical quality (`images.quality`, `audio.quality`).
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from artsound.media.audio import check_audio
from artsound.media.images import check_image

RATE = 44_100


def write_clip(path: Path, seed: int) -> None:
    """Thirty seconds of chords, a melody and noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(RATE // 2) / RATE
    beats = []
    for _ in range(60):
        pitches = 110 * 2 ** (rng.integers(0, 36, 5) / 12)
        tones = [np.sin(2 * np.pi * f * h * t) / h for f in pitches for h in range(1, 7)]
        beats.append(np.sum(tones, axis=0) * np.exp(-3 * t))
    mono = 0.08 * np.concatenate(beats)
    stereo = np.stack([mono, np.roll(mono, 400)], axis=1)
    stereo += 0.02 * rng.standard_normal(stereo.shape)
    soundfile.write(
        path, stereo.astype(np.float32), RATE, format="MP3",
        bitrate_mode="CONSTANT", compression_level=0.2,
    )  # fmt: skip


def write_picture(path: Path, seed: int) -> None:
    """A canvas of soft patches with grain."""
    rng = np.random.default_rng(seed)
    width, height = int(rng.integers(1000, 1601)), int(rng.integers(800, 1301))
    patches = Image.fromarray(rng.integers(0, 256, (12, 16, 3)).astype(np.uint8))
    canvas = np.asarray(patches.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    canvas = canvas + rng.integers(-20, 21, canvas.shape)
    Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8)).save(path, "JPEG", quality=90)


def decode_clip(path: Path) -> int:
    """The bare loop: all samples, as float32."""
    return len(soundfile.read(io.BytesIO(path.read_bytes()), dtype="float32")[0])


def decode_picture(path: Path) -> int:
    """The bare loop: all pixels."""
    image = Image.open(io.BytesIO(path.read_bytes()))
    image.load()
    return image.width


def checked_clip(path: Path) -> int:
    """All that check_audio does."""
    return check_audio(path.read_bytes(), min_seconds=10.0, silence_db=-60.0).sample_rate


def checked_picture(path: Path) -> int:
    """All that check_image does."""
    return check_image(path.read_bytes(), min_side=128, max_pixels=200_000_000).width


def measured_clip(path: Path) -> int:
    """The same with the clip's technical quality."""
    data = path.read_bytes()
    return check_audio(data, min_seconds=10.0, silence_db=-60.0, quality=True).sample_rate


def measured_picture(path: Path) -> int:
    """The same with the picture's technical quality."""
    data = path.read_bytes()
    return check_image(data, min_side=128, max_pixels=200_000_000, quality=True).width


def cpu_seconds(job: Callable[[Path], int], file: Path) -> float:
    """Processor time that one file takes: what other programs do meanwhile does not count."""
    started = time.process_time()
    job(file)
    return time.process_time() - started


def rate(pool: ProcessPoolExecutor, job: Callable[[Path], int], files: Sequence[Path]) -> float:
    """Files per second of processor time."""
    spent = pool.map(functools.partial(cpu_seconds, job), files, chunksize=4)
    return len(files) / sum(spent)


def compare(
    pool: ProcessPoolExecutor,
    bare: Callable[[Path], int],
    checked: Callable[[Path], int],
    measured: Callable[[Path], int],
    files: Sequence[Path],
    repeats: int,
) -> dict[str, float]:
    """Best rate of each, measured turn about."""
    rates: dict[str, list[float]] = {"bare": [], "checked": [], "measured": []}
    for _ in range(repeats):
        rates["bare"].append(rate(pool, bare, files))
        rates["checked"].append(rate(pool, checked, files))
        rates["measured"].append(rate(pool, measured, files))
    best = {name: round(max(values), 1) for name, values in rates.items()}
    ratio = round(best["checked"] / best["bare"], 3)
    return {**best, "ratio": ratio, "quality": round(best["checked"] / best["measured"] - 1, 3)}


def main() -> None:
    """Write the files, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(options.processes) as pool,
    ):
        clips = [Path(folder) / f"{i}.mp3" for i in range(options.clips)]
        pictures = [Path(folder) / f"{i}.jpg" for i in range(options.images)]
        list(pool.map(write_clip, clips, range(options.clips)))
        list(pool.map(write_picture, pictures, range(options.images)))
        found = {
            "audio": compare(
                pool, decode_clip, checked_clip, measured_clip, clips, options.repeats
            ),
            "images": compare(
                pool, decode_picture, checked_picture, measured_picture, pictures, options.repeats
            ),
        }
    for side, peer in (("audio", "soundfile"), ("images", "Pillow")):
        row = found[side]
        print(
            f"{side}: {row['checked']}/s checked, {row['bare']}/s bare {peer}, "
            f"ratio {row['ratio']} (limit 0.9); measuring quality adds {row['quality']:.1%}"
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
