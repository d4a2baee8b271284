"""Check the wheel and the sdist in a folder: what is in them, and that the wheel works by itself.

python -m build --outdir build/dist && python scripts/check_wheel.py build/dist

The wheel is installed into an empty environment, build/try, with the versions of constraints.txt,
and makes splats, renders, converts and meshes them there, away from the checkout.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_BYTES = 20 * 10**6
NEEDED = (
    "gs3d/py.typed",
    "gs3d/configs/builtin.yaml",
    "gs3d/configs/papers/dreamfusion.yaml",
    "gs3d/configs/prompts/tuning.txt",
    "gs3d/priors/builtin/model_index.json",
    "gs3d/evaluation/weights/classifier.safetensors",
    "gs3d/evaluation/report.html",
    "gs3d/batch/shown/gallery.html",
)
"""Files that are not Python, one of each kind."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--no-install", action="store_true", help="look at the contents alone")
    args = parser.parse_args()
    (wheel,), (sdist,) = args.folder.glob("gs3d-*.whl"), args.folder.glob("gs3d-*.tar.gz")
    faults = [*faults_of_wheel(wheel), *faults_of_sdist(sdist)]
    for fault in faults:
        print(f"fault: {fault}")
    if not faults and not args.no_install:
        try_it(wheel)
    return 1 if faults else 0


def faults_of_wheel(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        packed = archive.read(next(n for n in names if n.endswith("/METADATA"))).decode()
    own = {n for n in names if n.startswith("gs3d/")}
    others = {n for n in names - own if ".dist-info/" not in n}
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "gs3d").rglob("*.py")}
    modules = {name for name in modules if not name.startswith("gs3d/configs/")}
    faults = [f"{path.name}: lacks {name}" for name in sorted(({*NEEDED} | modules) - own)]
    faults += [f"{path.name}: holds {name}" for name in sorted(others)]
    if f"\nVersion: {path.name.split('-')[1]}\n" not in packed:
        faults.append(f"{path.name}: another version in its metadata")
    return faults + _too_large(path)


def faults_of_sdist(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"LICENSE", "README.md", "pyproject.toml", "gs3d/__init__.py", "configs/builtin.yaml"}
    wrong = {n for n in names if n.split("/")[0] in ("tests", "benchmarks", "docs", "outputs")}
    faults = [f"{path.name}: lacks {name}" for name in sorted(needed - names)]
    faults += [f"{path.name}: holds {name}" for name in sorted(wrong)]
    return faults + _too_large(path)


def _too_large(path: Path) -> list[str]:
    size = path.stat().st_size
    print(f"{path.name}: {size / 1e6:.1f} MB")
    return [f"{path.name}: more than {MOST_BYTES / 1e6:.0f} MB"] if size > MOST_BYTES else []


def try_it(wheel: Path) -> None:
    """Install the wheel into an empty environment and use it. Raises if a command fails."""
    place = ROOT / "build" / "try"
    shutil.rmtree(place, ignore_errors=True)
    venv.create(place / "env", with_pip=True)
    python = place / "env" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # Nothing of the checkout may help.
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    alone["PYTHONNOUSERSITE"] = "1"
    limits = ["-c", str(ROOT / "constraints.txt")]
    # torch alone first, so that pip takes a CPU build where one is offered.
    for what in ("torch", str(wheel.resolve())):
        subprocess.run([*pip, *limits, what], check=True)
    for command in (
        "--version",
        "doctor",
        "vocab",
        "generate;a red ball;--steps;3;--prior;builtin;--device;cpu;--out;run",
        "render;run;-o;run.png",
        "convert;run/splats.ply;run.spz",
        "info;run.spz",
        "mesh;run;-o;run.glb;--resolution;32",
    ):
        print(f"gs3d {command.replace(';', ' ')}")
        program = [str(python.with_name("gs3d")), *command.split(";")]
        done = subprocess.run(program, cwd=place, env=alone, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{done.stdout}\n{done.stderr}\nexit status {done.returncode}")


if __name__ == "__main__":
    sys.exit(main())
