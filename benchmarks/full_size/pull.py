"""Ingest a part of a rehearsal's sources by range requests from a server on loopback.

    python benchmarks/full_size/pull.py OUT --limit 5000 [--latency 0.02]

OUT holds artgraph/ and fma/. They are served as their publishers offer them, BZIP2 zips included,
each answer after `latency` seconds; `artsound ingest` pulls them into OUT/pulled.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from fault_campaign import ARTSOUND, publish, serving


def main() -> None:
    """Serve and ingest; the exit status is that of the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--limit", type=int, required=True, help="tracks")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds")
    options = parser.parse_args()
    served = options.out / "served"
    if not served.is_dir():
        publish(options.out, served)
    with serving(served, options.latency) as (url, _):
        command = [ARTSOUND, "ingest", "--out", str(options.out / "pulled"), "--runner", "serial"]
        command += ["--artgraph", f"{url}/artgraph.zip {url}/imagesf2.zip", "--fma", url]
        command += ["--limit", str(options.limit), "--allow-private-hosts"]
        raise SystemExit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
