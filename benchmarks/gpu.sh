#!/usr/bin/env bash
# Every figure that needs a GPU, in at most 8 minutes on one H100 or H200, with random weights:
#
#     benchmarks/gpu.sh            # prints the card's name and a table, which docs/benchmarks.md quotes
#     benchmarks/gpu.sh --smoke    # the same programs with tiny sizes on a CPU: tests this script
#
# PYTHON names the interpreter (.venv/bin/python by default).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
if [ "${1:-}" = --smoke ]; then
    device=cpu
    encoders=(--pictures 2 --clips 1)
    candidates=(--tracks 400 --artworks 440)
    training=(--brief --steps 4)
else
    device=cuda
    encoders=(--pictures 4096 --clips 512)
    candidates=(--tracks 105884 --artworks 116475)
    training=(--device cuda --steps 40)
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# A step that fails or takes too long is a row of the table, not the end of the script.
step() {
    local name=$1 limit=$2
    shift 2
    echo "== $name" >&2
    if ! timeout "$limit" "$@" >"$log.out" 2>"$log.err"; then
        echo "failed	$name: $(tail -n 1 "$log.err")" >>"$log"
    fi
    sed "s/^/$name	/" "$log.out" >>"$log"
    rm -f "$log.out" "$log.err"
}

step encoders 150 "$python" benchmarks/encoders.py --device "$device" "${encoders[@]}"
step candidates 60 "$python" benchmarks/gpu_candidates.py --device "$device" "${candidates[@]}"
step training 240 "$python" benchmarks/training.py "${training[@]}"

card="no GPU (smoke test: unmeasured)"
if [ "$device" = cuda ]; then
    card=$("$python" -c 'import torch; print(torch.cuda.get_device_name())')
fi
echo "Card: $card"
echo
echo "| part | figure |"
echo "|---|---|"
grep -v '	{' "$log" | sed 's/	 */ | /; s/  */ /g; s/^/| /; s/$/ |/'
! grep -q '^failed' "$log"
