#!/usr/bin/env bash
# Everything that needs a CUDA card: builds gsplat's kernels, runs the GPU tests, measures speed and memory.
# Usage: scripts/gpu_check.sh [FOLDER FOR THE RESULTS]; PYTHON names the interpreter. Ends with a short table.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=${1:-outputs/gpu}
mkdir -p "$out"
"$python" -c "import gs3d.configs" 2>/dev/null || { echo "gpu_check: gs3d is not installed for $python; run: $python -m pip install -e '.[dev]'"; exit 2; }

"$python" -m gs3d doctor --build 2>&1 | tee "$out/doctor.txt"
"$python" -m pytest -m gpu -rs 2>&1 | tee "$out/tests.txt" | tail -15
"$python" benchmarks/gpu.py --out "$out" 2>&1 | tee "$out/benchmark.txt"
"$python" -c "from gs3d.world.render import has_card; raise SystemExit(not has_card())" && "$python" benchmarks/world.py --device cuda --images 4096
"$python" -m gs3d generate "a red mushroom with white spots" --prior builtin --minutes 1 --out "$out/mushroom" 2>&1 | tail -8
"$python" -m gs3d generate "a red mushroom with white spots" --prior builtin --mode two-stage --minutes 1 --out "$out/mesh" 2>&1 | tail -10

echo
echo "== GPU check =="
tail -1 "$out/tests.txt"
cat "$out/gpu.md"
