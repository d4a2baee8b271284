"""`gs3d doctor`: checks this machine and shows how to fix problems."""

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gs3d.cli.output import shown
from gs3d.cli.parse import parse
from gs3d.cli.version import version_line
from gs3d.core.errors import UserError
from gs3d.core.runtime.cache import cache_dir


@dataclass(frozen=True)
class Args:
    """Check Python, torch, CUDA, gsplat, priors, memory and disk. The exit status is 0 if gs3d can
    run here."""

    build: bool = False
    """Compile all kernels now, so that the first run does not have to: the rasterizers (numba for
    the CPU, gsplat if CUDA is available), and what the built-in prior and meshes need."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    state: str
    advice: str = ""
    """How to fix a problem; empty if there is none."""
    fatal: bool = False


def findings() -> list[Finding]:
    """Check everything that a run depends on."""
    return [
        Finding("gs3d", version_line().removeprefix("gs3d ").partition(", ")[0]),
        Finding("system", f"{platform.system()} {platform.release()}, {platform.machine()}"),
        *(_python(), *_torch(), _rasterizer_cpu(), *_gsplat(), *_packages()),
        *(*_priors(), _memory(), _disk()),
    ]


def _python() -> Finding:
    version = platform.python_version()
    old = sys.version_info < (3, 10)
    return Finding("Python", version, "gs3d needs Python 3.10 or newer" if old else "", old)


def _torch() -> list[Finding]:
    import torch

    from gs3d.runs.request import DEVICES

    found = [Finding("torch", f"{torch.__version__}, {torch.get_num_threads()} threads")]
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        state = f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}"
        found.append(Finding("CUDA", state))
    elif torch.version.cuda:
        state = f"torch was built for CUDA {torch.version.cuda} but finds no GPU"
        found.append(Finding("CUDA", state, "check the driver with nvidia-smi"))
    else:
        found.append(Finding("CUDA", "none: runs use the CPU and the built-in prior"))
    for name in ("mps", "xpu"):
        if DEVICES[name]():
            advice = f"--device {name} runs the prior there and renders splats on the CPU"
            found.append(Finding(f"{name.upper()}", "there", advice))
    return found


def _rasterizer_cpu() -> Finding:
    cache = Path(os.environ.get("NUMBA_CACHE_DIR") or cache_dir("numba"))
    if any(cache.rglob("*_tiles*.nbc")):
        return Finding("CPU rasterizer", "compiled")
    advice = "the first run compiles it; to do it now: gs3d doctor --build"
    return Finding("CPU rasterizer", "not compiled yet", advice)


def _gsplat() -> list[Finding]:
    import torch

    from gs3d.raster.cuda import build_state

    state = build_state()
    if not torch.cuda.is_available():
        return [Finding("gsplat", f"{state} (its CUDA kernels are not needed here)")]
    advice = {
        "built": "",
        "not built": "the first run compiles it (minutes); to do it now: gs3d doctor --build",
        "no CUDA toolkit": "gsplat compiles on first use and needs nvcc: install the CUDA "
        f"{torch.version.cuda} toolkit or set CUDA_HOME; without it the CPU renders splats",
    }
    return [Finding("gsplat", state, advice.get(state, "pip install gsplat"))]


PACKAGES = {
    "sentencepiece": "the tokenizers of PixArt and DeepFloyd IF need it",
    "protobuf": "the tokenizers of PixArt and DeepFloyd IF need it",
    "peft": "optional; --lora needs it: pip install gs3d[lora]",
}
"""Package that only some priors need → why."""


def _packages() -> list[Finding]:
    found = []
    for name, why in PACKAGES.items():
        try:
            found.append(Finding(name, version(name)))
        except PackageNotFoundError:
            advice = "" if why.startswith("optional") else f"pip install {name}"
            found.append(Finding(name, f"not installed ({why})", advice))
    return found


def _priors() -> list[Finding]:
    from gs3d.priors.loading.resolve import NAMES, SHIPPED, resolve

    found = []
    for name in NAMES:
        what = f"prior {name}"
        try:
            found.append(Finding(what, str(resolve(name, offline=True).folder)))
        except UserError as error:
            if name in SHIPPED:
                found.append(
                    Finding(what, "missing", error.for_command_line, fatal=name == "builtin")
                )
            else:
                state = f"not on this machine; `--prior {name}` downloads it once"
                if name == "sd21-base":
                    state += ", and so does a prompt beyond `gs3d vocab` on a GPU"
                found.append(Finding(what, state))
    return found


def _memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError, AttributeError):
        return Finding("memory", "unknown")
    advice = "a run on the CPU needs about 2 GB" if total < 2 else ""
    return Finding("memory", f"{total:.0f} GB", advice)


def _disk() -> Finding:
    here, cache = (shutil.disk_usage(p).free / 1e9 for p in (Path.cwd(), cache_dir()))
    low = min(here, cache) < 0.2
    return Finding(
        "disk",
        f"{here:.1f} GB free here, {cache:.1f} GB in {cache_dir()}",
        "free some space: a run writes up to 100 MB" if low else "",
    )


def build() -> list[Finding]:
    """Compile all kernels that this machine can use."""
    import time

    import torch

    from gs3d.priors.plain import _gelu
    from gs3d.raster import cpu, cuda
    from gs3d.representations.warm_up import warm_up

    found = []
    for name, compile_all in (
        ("CPU rasterizer", cpu.warm_up),
        ("built-in prior", _gelu.warm_up),
        ("fields and meshes", warm_up),
    ):
        start = time.monotonic()
        compile_all()
        found.append(Finding(name, f"compiled in {time.monotonic() - start:.0f} s"))
    if torch.cuda.is_available():
        start = time.monotonic()
        try:
            cuda.build()
            found.append(Finding("gsplat", f"compiled in {time.monotonic() - start:.0f} s"))
        except UserError as error:
            found.append(_failed_build(error))
        found += _nvdiffrast()
    return found


def _nvdiffrast() -> list[Finding]:
    """Check nvdiffrast, which is optional. If it is installed, it rasterizes surfaces."""
    import time

    from gs3d.representations.meshing.visibility import NOT_WORKING, has_nvdiffrast, open_nvdiffrast

    if not has_nvdiffrast():
        return []
    start = time.monotonic()
    try:
        open_nvdiffrast("cuda")
    except NOT_WORKING as error:
        return [
            Finding(
                "nvdiffrast",
                f"does not work: {' '.join(str(error).split())[:200]}",
                "surfaces are rendered without it; to use it, reinstall it",
            )
        ]
    return [Finding("nvdiffrast", f"ready in {time.monotonic() - start:.0f} s")]


def _failed_build(error: UserError) -> Finding:
    """The last line of the compiler's output, which usually names the error, and the path of a log
    with all of it."""
    advice, *output = error.for_command_line.strip().splitlines()
    if not output:
        return Finding("gsplat", "cannot be compiled", advice, fatal=True)
    advice = advice.removesuffix("The build said:").strip()
    try:
        log = cache_dir() / "gsplat-build.log"
        text = f"{error.for_command_line}\n\nComplete build output:\n{error.__cause__ or error}\n"
        log.write_text(text, errors="replace")
        advice += f" The complete build output is in {log}"
    except (OSError, UserError) as reason:
        advice += f" The build output could not be saved ({reason})"
    return Finding("gsplat", f"cannot be compiled: {output[-1].strip()}", advice, fatal=True)


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d doctor", argv)
    report = build() if args.build else []
    report += findings()
    with shown():
        for f in report:
            print(f"{'FAIL' if f.fatal else 'note' if f.advice else 'ok':<5}{f.name:<16} {f.state}")
            if f.advice:
                print(f"{'':<21} -> {f.advice}")
    return 1 if any(f.fatal for f in report) else 0
