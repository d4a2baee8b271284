#!/usr/bin/env bash
# Trains the built-in prior further, on a CUDA card, from the weights that ship: draws its pictures, trains, and marks both with the recogniser.
# Usage: scripts/train_on_gpu.sh FOLDER [64|128], the side of its pictures in pixels; FOLDER is taken from the project's root. The same
# command goes on for as long again.
# By environment: PYTHON, DEVICE, TRAIN_S (seconds of training, compiling included), IMAGES (in the pool), PICTURES (to mark), SEED (of the pool).
# Drawing on the card needs numba-cuda. FOLDER/model is the prior (`--prior FOLDER/model`), FOLDER/marks.txt what it is worth.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:?usage: scripts/train_on_gpu.sh FOLDER [64|128]}
size=${2:-64}
python=${PYTHON:-python3} device=${DEVICE:-cuda} train_s=${TRAIN_S:-300} pictures=${PICTURES:-2000}
case $size in
  64) images=${IMAGES:-327680} seed=${SEED:-11} settings=(--batch 512 --lr 1.5e-3 --muon-lr 0.015) ;;
  # Averaged to 64² again, pictures of 128² have half the noise: ln 2 more of it is as hard.
  128) images=${IMAGES:-98304} seed=${SEED:-12} settings=(--batch 256 --lr 1e-3 --muon-lr 0.01 --sigma-mean 1.5) ;;
  *) echo "train_on_gpu: $size: expected 64 or 128"; exit 2 ;;
esac
[ "$device" = cuda ] && fast=(--half --compile) || fast=()

# As the prior's own pictures were drawn (gs3d/priors/builtin/MODEL_CARD.md).
"$python" scripts/render_world.py --out "$out/pool" --images "$images" --seed "$seed" --size-px "$size" --spread 0.35 --fovy-deg 36 40 \
  --fill 0.9 0.95 --split seen --normals 0.1 --workers "$(nproc)" --device "$device" | tail -1
"$python" scripts/train_builtin_prior.py --pool "$out/pool" --out "$out" --start gs3d/priors/builtin --size-px "$size" --device "$device" \
  "${settings[@]}" "${fast[@]}" --images 100000000 --warmup-images 65536 --decay-images 4000000 --cooldown-images 1 \
  --stop-after-s "$train_s" --cooldown-s $((2 * train_s / 3))
grep ema_loss "$out/log.jsonl" | tail -3
rm -f "$out/marks.txt"
for prior in builtin "$out/model"; do
  echo "== $prior ==" | tee -a "$out/marks.txt"
  "$python" scripts/score_prior.py --prior "$prior" --pictures "$pictures" --spread 0.35 | tr '\r' '\n' | grep -E '%|KID' | tee -a "$out/marks.txt"
done
"$python" scripts/sample_prior.py --prior "$out/model" --each 1 --across 3 --out "$out/samples.png" \
  --views "front 15 up" "45 degrees left 15 up" "90 degrees left 15 up" "back 15 up" "front overhead"
