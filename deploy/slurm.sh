#!/bin/bash
# A build as a Slurm job that continues itself: sbatch deploy/slurm.sh OUT [options of artsound build]
#SBATCH --job-name=artsound-build
#SBATCH --nodes=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=32G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail
out="$1"
shift

# Slurm signals this script alone: pass it on, and queue the job again, which continues the build.
trap 'kill -TERM "${!-}"; wait; scontrol requeue "$SLURM_JOB_ID"; exit 0' TERM
artsound build --out "$out" --workers "${SLURM_CPUS_PER_TASK:-0}" "$@" &
wait "$!"
