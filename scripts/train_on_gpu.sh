#!/usr/bin/env bash
# Train the built-in prior further on a CUDA device, starting from the weights that ship with gs3d:
# render a dataset, train, and score the old and the new prior with the classifier.
#
# Usage: scripts/train_on_gpu.sh DIRECTORY [64|128]
#
# DIRECTORY is the output directory, relative to the project root. The second argument is the side
# of the images in pixels. The same command continues a training for as long again.
#
# Environment variables:
#   PYTHON    interpreter (python3)
#   DEVICE    device (cuda); rendering on a CUDA device needs numba-cuda
#   TRAIN_S   seconds of training, including compilation (300)
#   IMAGES    images of the dataset
#   SEED      seed of the dataset
#   PICTURES  images to score (2000)
#
# Results: DIRECTORY/model is the prior (`--prior DIRECTORY/model`), DIRECTORY/marks.txt its scores,
# DIRECTORY/samples.png a contact sheet of samples.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:?usage: scripts/train_on_gpu.sh DIRECTORY [64|128]}
size=${2:-64}
python=${PYTHON:-python3} device=${DEVICE:-cuda}
train_s=${TRAIN_S:-300} scored=${PICTURES:-2000}
case $size in
  64)
    images=${IMAGES:-327680} seed=${SEED:-11}
    settings=(--batch 512 --lr 1.5e-3 --muon-lr 0.015) ;;
  # Images of 128² averaged to 64² have half the noise, so ln 2 more noise is equally difficult.
  128)
    images=${IMAGES:-98304} seed=${SEED:-12}
    settings=(--batch 256 --lr 1e-3 --muon-lr 0.01 --sigma-mean 1.5) ;;
  *) echo "train_on_gpu: $size: expected 64 or 128"; exit 2 ;;
esac
[ "$device" = cuda ] && fast=(--half True --compile) || fast=()

# The same settings as for the shipped prior (gs3d/priors/builtin/MODEL_CARD.md).
"$python" scripts/render_world.py --out "$out/pool" --images "$images" --seed "$seed" \
  --size-px "$size" --spread 0.35 --fovy-deg 36 40 --fill 0.9 0.95 --split seen --normals 0.1 \
  --workers "$(nproc)" --device "$device" | tail -1
"$python" scripts/train_builtin_prior.py --dataset "$out/pool" --out "$out" \
  --start gs3d/priors/builtin --size-px "$size" --device "$device" "${settings[@]}" "${fast[@]}" \
  --images 100000000 --warmup-images 65536 --decay-images 4000000 --cooldown-images 1 \
  --stop-after-s "$train_s" --cooldown-s $((2 * train_s / 3))
grep ema_loss "$out/log.jsonl" | tail -3
rm -f "$out/marks.txt"
for prior in builtin "$out/model"; do
  echo "== $prior ==" | tee -a "$out/marks.txt"
  "$python" scripts/score_prior.py --prior "$prior" --images "$scored" --spread 0.35 \
    | tr '\r' '\n' | grep -E '%|KID' | tee -a "$out/marks.txt"
done
"$python" scripts/sample_prior.py --prior "$out/model" --each 1 --across 3 \
  --out "$out/samples.png" --views "front 15 up" "45 degrees left 15 up" "90 degrees left 15 up" \
  "back 15 up" "front overhead"
