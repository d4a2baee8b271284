#!/usr/bin/env bash
# Everything that needs a CUDA card: builds gsplat's kernels, runs the GPU tests, measures speed, memory, scaling, how much runs repeat, and
# what a minute makes with the built-in prior. Each part goes on where another failed.
# Usage: scripts/gpu_check.sh [NEW FOLDER FOR THE RESULTS]; PYTHON names the interpreter. Ends with check.json and check.md there, and prints
# the latter; exit status 1 if a part failed.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=${1:-outputs/gpu-$(date +%Y%m%d-%H%M%S)}
[ -e "$out" ] && { echo "gpu_check: $out is there already; name another folder"; exit 2; }
"$python" -c "import gs3d.configs" 2>/dev/null || { echo "gpu_check: gs3d is not installed for $python; run: $python -m pip install -e '.[dev]'"; exit 2; }
mkdir -p "$out"

# part NAME COMMAND...: its words go to NAME.txt and, the last of them, to the screen; how it ended to parts.txt.
part() {
  local name=$1
  shift
  echo "== $name =="
  "$@" >"$out/$name.txt" 2>&1
  echo "$name $?" >>"$out/parts.txt"
  tail -20 "$out/$name.txt"
}

mushroom=("$python" -m gs3d generate "a red mushroom with white spots" --prior builtin --device cuda --minutes 0.7)
part doctor "$python" -m gs3d doctor --build
part tests "$python" -m pytest -m gpu -rs
part speed "$python" benchmarks/gpu.py --out "$out"
part scaling "$python" benchmarks/scaling.py --out "$out"
part repeat "$python" benchmarks/repeat.py --device cuda --out "$out"
"$python" -c "from gs3d.world.render import has_card; raise SystemExit(not has_card())" && part world "$python" benchmarks/world.py --device cuda --images 4096
part mesh "${mushroom[@]}" --mode mesh --out "$out/mesh"
part two-stage "${mushroom[@]}" --mode two-stage --out "$out/two-stage"
part quality "$python" -m gs3d evaluate plain --limit 12 --methods sds --minutes 1 --at-once 6 --prior builtin --scorer builtin --out "$out/quality"

echo
echo "== GPU check =="
"$python" benchmarks/summary.py "$out"
