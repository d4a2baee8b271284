#!/usr/bin/env bash
# Everything that needs a CUDA card: builds gsplat's kernels, runs the GPU tests, measures speed, memory, scaling, how much runs repeat, and
# what a minute makes with the built-in prior. Each part goes on where another failed.
# Usage: scripts/gpu_check.sh [FOLDER FOR THE RESULTS]; PYTHON names the interpreter. Ends with check.json and check.md there, and prints the latter.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=${1:-outputs/gpu}
mkdir -p "$out"
"$python" -c "import gs3d.configs" 2>/dev/null || { echo "gpu_check: gs3d is not installed for $python; run: $python -m pip install -e '.[dev]'"; exit 2; }

"$python" -m gs3d doctor --build 2>&1 | tee "$out/doctor.txt"
"$python" -m pytest -m gpu -rs 2>&1 | tee "$out/tests.txt" | tail -15
"$python" benchmarks/gpu.py --out "$out" 2>&1 | tee "$out/benchmark.txt"
"$python" benchmarks/scaling.py --out "$out" 2>&1 | tail -20
"$python" benchmarks/repeat.py --out "$out" 2>&1 | tail -10
"$python" -c "from gs3d.world.render import has_card; raise SystemExit(not has_card())" && "$python" benchmarks/world.py --device cuda --images 4096
"$python" -m gs3d generate "a red mushroom with white spots" --prior builtin --mode mesh --minutes 0.7 --out "$out/mesh" 2>&1 | tail -10
"$python" -m gs3d generate "a red mushroom with white spots" --prior builtin --mode two-stage --minutes 0.7 --out "$out/two-stage" 2>&1 | tail -10
"$python" -m gs3d evaluate plain --limit 12 --methods sds --minutes 1 --at-once 6 --prior builtin --scorer builtin --out "$out/quality" 2>&1 | tee "$out/quality.txt" | tail -30

echo
echo "== GPU check =="
"$python" benchmarks/summary.py "$out"
