#!/bin/sh
# The whole path on the bundled synthetic sample: build, verify, train, generate. Used by `make demo`.
set -eu
out="${1:-demo}"

artsound build --artgraph sample --fma sample --out "$out"
artsound verify "$out/shards" --deep
resume=""
[ -d "$out/training/checkpoints" ] && resume="--resume" # a second demo goes on from the first
artsound train --data "$out/shards" --preset tiny --out "$out/training" \
    --steps "${STEPS:-200}" $resume

# A picture of the test split: the model never trained on it, nor on anything by its painter.
python - "$out" <<'PYTHON'
import sys
from pathlib import Path

import artsound

out = Path(sys.argv[1])
sample = artsound.open(str(out / "shards")).split("test").read(0)
(out / "unseen.jpg").write_bytes(sample["jpg"])
print(f"Unseen artwork: {sample['json']['artwork_caption']}")
PYTHON
artsound generate --checkpoint "$out/training" --image "$out/unseen.jpg" --out "$out/unseen.wav"

echo
echo "Shards:  $out/shards"
echo "Report:  $out/report/index.html"
echo "Picture: $out/unseen.jpg"
echo "Music:   $out/unseen.wav"
