#!/usr/bin/env bash
# Answer the open questions about Stable Diffusion on a machine that has its weights and a GPU:
# which loss, which guidance scale, which interval of CDS. Eight prompts, one run of each method,
# graded with CLIP. It can be stopped at any time; the same command continues.
#
# Usage: scripts/weights_day.sh [OUTPUT DIRECTORY] [MINUTES OF A RUN]
#
# PRIOR and SCORER name the models, PYTHON the interpreter. With 15 minutes a run it takes
# 8 × 8 × 15 minutes, 16 hours; with 3 minutes, a first impression, some 3 hours.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=${1:-outputs/weights-day}
minutes=${2:-15}
mkdir -p "$out"
cat >"$out/prompts.txt" <<'END'
a DSLR photo of a corgi puppy
a DSLR photo of a hamburger
a zoomed out photo of a small castle on a rock
a ripe pineapple
a wooden chair with a red velvet seat
a portrait bust of an old man, marble
a blue jay standing on a basket of macarons
a red vintage car
END
exec "$python" -m gs3d evaluate "$out/prompts.txt" --minutes "$minutes" \
  --prior "${PRIOR:-sd21-base}" --scorer "${SCORER:-openai/clip-vit-large-patch14}" \
  --out "$out" --methods \
  cds cds,noise=fixed cds,cfg.start=20,cfg.end=12 cds,cfg.start=101,cfg.end=51 \
  cds,delta=[0.05,0.1] cds,blend_views=true,perp_neg=1 \
  sds sdi,cfg.start=7.5,cfg.end=7.5
