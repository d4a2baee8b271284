#!/usr/bin/env bash
# Run everything that needs a CUDA device, in the order of its value, within a budget of time: build
# gsplat's kernels, run the GPU tests, measure iterations of Stable Diffusion's size, grade its
# presets, measure compiled networks, then the other modes, scaling and reproducibility. A part that
# fails does not stop the others. A part that the budget ends keeps what it has, and the parts after
# it are left out.
#
# Usage: scripts/gpu_check.sh [NEW OUTPUT DIRECTORY]
#
# PYTHON names the interpreter. BUDGET_S is the budget in seconds, 720 by default; parts come in the
# order of their value. DRY=1 runs every part on the CPU at the smallest size, which tests this script
# and measures nothing. The script writes check.json and check.md to the output directory and prints
# check.md. The exit status is 1 if a part failed.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=${1:-outputs/gpu-$(date +%Y%m%d-%H%M%S)}
budget=${BUDGET_S:-720}
dry=${DRY:-}
if [ -e "$out" ]; then
  echo "gpu_check: $out already exists; choose another output directory"
  exit 2
fi
if ! [[ $budget =~ ^[0-9]+$ ]]; then
  echo "gpu_check: BUDGET_S $budget: expected a whole number of seconds"
  exit 2
fi
if ! "$python" -c "import gs3d.configs" 2>/dev/null; then
  echo "gpu_check: gs3d is not installed for $python; run: $python -m pip install -e '.[dev]'"
  exit 2
fi
mkdir -p "$out"

# part NAME COMMAND...: write the output to NAME.txt, print its last lines, and add the exit status
# and the seconds to parts.txt. 124 is the status of a part for which no time was left.
part() {
  local name=$1 began=$SECONDS left=$((budget - SECONDS)) status
  shift
  echo "== $name =="
  if [ "$left" -gt 0 ]; then
    timeout --signal=INT --kill-after=20 "$left" "$@" >"$out/$name.txt" 2>&1
    status=$?
    # The status of a part that had to be killed.
    [ "$status" -eq 137 ] && [ "$SECONDS" -ge "$budget" ] && status=124
  else
    echo "left out: the budget of $budget s is spent" >"$out/$name.txt"
    status=124
  fi
  echo "$name $status $((SECONDS - began))" >>"$out/parts.txt"
  tail -20 "$out/$name.txt"
}

device=cuda
build=(--build)
small=()
graded=(--methods cds --limit 6 --minutes 2 --at-once 6)
twelve=(--limit 12 --minutes 1 --at-once 6)
length=(--minutes 0.7)
repeats=()
images=4096
if [ -n "$dry" ]; then
  # Compiling for a CPU takes minutes.
  export TORCH_COMPILE_DISABLE=1
  device=cpu
  build=()
  small=(--tiny --device cpu --runs 1)
  graded=(--methods 'cds,cameras.resolution_px.values=[16,16,16],gaussians.count=200'
    --limit 1 --steps 2)
  twelve=(--limit 1 --steps 2)
  length=(--steps 2)
  repeats=(--steps 2)
  images=8
fi
generate=("$python" -m gs3d generate "a red mushroom with white spots"
  --prior builtin --device "$device" "${length[@]}")

part doctor "$python" -m gs3d doctor "${build[@]}"
# Splats against the float64 oracle first: if they do not agree, all else is worthless.
part tests "$python" -m pytest -m gpu -rs tests/raster tests
part speed "$python" benchmarks/gpu.py --out "$out" "${small[@]}"
# The presets of Stable Diffusion at their full length, on the built-in network in its form.
part stand-in "$python" -m gs3d evaluate plain "${graded[@]}" --device "$device" \
  --prior builtin-512 --config splats-15min --scorer builtin --out "$out/stand-in"
part compiled "$python" benchmarks/gpu.py --compile --out "$out" "${small[@]}"
part two-stage "${generate[@]}" --mode two-stage --out "$out/two-stage"
part mesh "${generate[@]}" --mode mesh --out "$out/mesh"
part quality "$python" -m gs3d evaluate plain --methods sds "${twelve[@]}" --device "$device" \
  --prior builtin --scorer builtin --out "$out/quality"
part scaling "$python" benchmarks/scaling.py --out "$out" "${small[@]}"
part repeat "$python" benchmarks/repeat.py --device "$device" "${repeats[@]}" --out "$out"
if [ -n "$dry" ] || "$python" -c \
  "from gs3d.world.render import has_card; raise SystemExit(not has_card())"; then
  part world "$python" benchmarks/world.py --device "$device" --images "$images"
fi

echo
echo "== GPU check =="
"$python" benchmarks/summary.py "$out"
