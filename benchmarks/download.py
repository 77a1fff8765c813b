"""How fast downloads are: one big file against curl, many members of a zip against img2dataset.

    python benchmarks/download.py [--gigabytes 1] [--images 2000] [--img2dataset PYTHON]

Everything runs against one nginx on loopback (Debian: nginx-light), each pair of figures in one
run, best of several. The big file is random bytes, hashed by us alone, and synced to disk by
both. The images are JPEGs of about 60 kB, in one zip for us and as single files for
img2dataset, which is given its best number of threads and does not resize. img2dataset
lives in an environment of its own; without one (`--img2dataset` names its Python) a plain loop
over requests.get stands in, and the line says so.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import requests
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "sources"))

from nginx_server import nginx

from artsound.sources.http import Client, RemoteFile, download
from artsound.sources.remote_zip import open_remote_zip
from artsound.storage import write_bytes

IMG2DATASET = """
import sys
from img2dataset import download
download(url_list=sys.argv[1], output_folder=sys.argv[2], processes_count=1, thread_count={threads},
         resize_mode="no", output_format="files", disable_all_reencoding=True,
         number_sample_per_shard=100000, compute_hash=None, extract_exif=False)
"""


def best(repeats: int, run: Callable[[Path], None], scratch: Path) -> float:
    """The shortest time of several runs, each into an empty folder."""
    times = []
    for _ in range(repeats):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        began = time.perf_counter()
        run(scratch)
        times.append(time.perf_counter() - began)
    shutil.rmtree(scratch)
    return min(times)


def write_big(path: Path, size: int) -> str:
    """`size` random bytes; their digest."""
    block = random.Random(0).randbytes(1 << 24)
    sha1 = hashlib.sha1()
    with path.open("wb") as file:
        for start in range(0, size, len(block)):
            part = start.to_bytes(8, "little") + block[: min(len(block), size - start) - 8]
            file.write(part)
            sha1.update(part)
    return f"sha1:{sha1.hexdigest()}"


def write_images(root: Path, count: int) -> list[str]:
    """`count` JPEGs as single files and in images.zip; their names."""
    rng = np.random.default_rng(0)
    (root / "imagesf2").mkdir()
    names = [f"imagesf2/painter_picture-{number}.jpg" for number in range(count)]
    with zipfile.ZipFile(root / "images.zip", "w") as archive:
        for name in names:
            rough = rng.integers(0, 255, (40, 32, 3), dtype=np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(rough).resize((512, 640)).save(buffer, "JPEG", quality=97)
            (root / name).write_bytes(buffer.getvalue())
            archive.writestr(name, buffer.getvalue())
    return names


def compare_big(url: str, digest: str, scratch: Path, repeats: int) -> None:
    size = int(requests.head(url, timeout=10).headers["Content-Length"])

    def ours(folder: Path) -> None:
        download(
            RemoteFile(url, digest, size), folder / "big", client=Client(allow_private_hosts=True)
        )

    def curl(folder: Path) -> None:
        subprocess.run(["curl", "-sS", "-o", folder / "big", url], check=True)
        subprocess.run(["sync", folder / "big"], check=True)

    a, b = best(repeats, ours, scratch), best(repeats, curl, scratch)
    print(
        f"one file of {size / 1e9:.1f} GB: artsound {size / a / 1e6:.0f} MB/s with its sha1, "
        f"curl {size / b / 1e6:.0f} MB/s without: ratio {b / a:.2f} (wanted: 0.8)"
    )


def compare_many(url: str, names: list[str], scratch: Path, repeats: int, peer: str) -> None:
    def ours(folder: Path) -> None:
        client = Client(allow_private_hosts=True)
        archive = open_remote_zip(f"{url}/images.zip", cache=folder / "zips", client=client)
        for name, data in archive.read(names, limit=1 << 26):
            if not isinstance(data, bytes):
                raise data
            write_bytes(folder / name, data, durable=False)

    def thinly(folder: Path) -> None:
        client = Client(allow_private_hosts=True)
        archive = open_remote_zip(f"{url}/images.zip", cache=folder / "zips", client=client)
        for name, data in archive.read(names[::10], limit=1 << 26):
            if not isinstance(data, bytes):
                raise data
            write_bytes(folder / name, data, durable=False)

    a, thin = best(repeats, ours, scratch), best(repeats, thinly, scratch)
    thin_rate = len(names[::10]) / thin
    if peer:
        listed = scratch.with_name("urls.txt")
        listed.write_text("\n".join(f"{url}/{name}" for name in names))
        rates = {}
        for threads in (8, 32, 128):
            code = IMG2DATASET.format(threads=threads)

            def img2dataset(folder: Path, code: str = code) -> None:
                command = [peer, "-c", code, str(listed), str(folder / "out")]
                subprocess.run(command, check=True, capture_output=True)
                if len(list(folder.rglob("*.jpg"))) != len(names):
                    raise RuntimeError("img2dataset lost images")

            def start_only(folder: Path) -> None:
                subprocess.run([peer, "-c", "import img2dataset"], check=True, capture_output=True)

            start = best(repeats, start_only, scratch)
            rates[threads] = len(names) / (best(repeats, img2dataset, scratch) - start)
        threads, rate = max(rates.items(), key=lambda item: item[1])
        name = f"img2dataset ({threads} threads, its start not counted)"
    else:

        def plainly(folder: Path) -> None:
            session = requests.Session()
            for one in names:
                (folder / Path(one).name).write_bytes(session.get(f"{url}/{one}").content)

        rate = len(names) / best(repeats, plainly, scratch)
        name = "a loop of requests.get (no img2dataset here)"
    print(
        f"{len(names):,} images: artsound {len(names) / a:.0f}/s (every tenth alone: "
        f"{thin_rate:.0f}/s), {name} {rate:.0f}/s: ratio {len(names) / a / rate:.2f} (wanted: 1)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--img2dataset", default="", help="a Python that has img2dataset")
    arguments = parser.parse_args()
    if shutil.which("nginx") is None:
        print("skipped: nginx is not installed (Debian package nginx-light)")
        return
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root, scratch = base / "root", base / "scratch"
        root.mkdir()
        digest = write_big(root / "big.bin", int(arguments.gigabytes * 1e9))
        names = write_images(root, arguments.images)
        server = stack.enter_context(nginx(root, base / "nginx"))
        compare_big(f"{server.url}/big.bin", digest, scratch, arguments.repeats)
        compare_many(server.url, names, scratch, arguments.repeats, arguments.img2dataset)


if __name__ == "__main__":
    main()
