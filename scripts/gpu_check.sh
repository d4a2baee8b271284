#!/usr/bin/env bash
# Run everything that needs a CUDA device: build gsplat's kernels, run the GPU tests, and measure
# speed, memory, scaling, reproducibility, and the quality of one-minute runs with the built-in
# prior. A part that fails does not stop the others.
#
# Usage: scripts/gpu_check.sh [NEW OUTPUT DIRECTORY]
#
# PYTHON names the interpreter. The script writes check.json and check.md to the output directory
# and prints check.md. The exit status is 1 if a part failed.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=${1:-outputs/gpu-$(date +%Y%m%d-%H%M%S)}
if [ -e "$out" ]; then
  echo "gpu_check: $out already exists; choose another output directory"
  exit 2
fi
if ! "$python" -c "import gs3d.configs" 2>/dev/null; then
  echo "gpu_check: gs3d is not installed for $python; run: $python -m pip install -e '.[dev]'"
  exit 2
fi
mkdir -p "$out"

# part NAME COMMAND...: write the output to NAME.txt, print its last lines, and add the exit status
# to parts.txt.
part() {
  local name=$1
  shift
  echo "== $name =="
  "$@" >"$out/$name.txt" 2>&1
  echo "$name $?" >>"$out/parts.txt"
  tail -20 "$out/$name.txt"
}

generate=("$python" -m gs3d generate "a red mushroom with white spots"
  --prior builtin --device cuda --minutes 0.7)
part doctor "$python" -m gs3d doctor --build
part tests "$python" -m pytest -m gpu -rs
part speed "$python" benchmarks/gpu.py --out "$out"
part scaling "$python" benchmarks/scaling.py --out "$out"
# The presets of Stable Diffusion at their full length, on the built-in network in its form.
part stand-in "$python" -m gs3d evaluate plain --limit 6 --methods cds --minutes 2 --at-once 6 \
  --prior builtin-512 --config splats-15min --scorer builtin --out "$out/stand-in"
part repeat "$python" benchmarks/repeat.py --device cuda --out "$out"
"$python" -c "from gs3d.world.render import has_card; raise SystemExit(not has_card())" \
  && part world "$python" benchmarks/world.py --device cuda --images 4096
part mesh "${generate[@]}" --mode mesh --out "$out/mesh"
part two-stage "${generate[@]}" --mode two-stage --out "$out/two-stage"
part quality "$python" -m gs3d evaluate plain --limit 12 --methods sds --minutes 1 --at-once 6 \
  --prior builtin --scorer builtin --out "$out/quality"

echo
echo "== GPU check =="
"$python" benchmarks/summary.py "$out"
