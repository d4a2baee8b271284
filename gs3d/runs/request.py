"""What a user asks for: the arguments of `gs3d.generate` and the options of `gs3d generate`.

Both are derived from `Request`, so an argument is written here once.
"""

import math
import numbers
import os
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from gs3d.core.errors import UserError, take_smaller
from gs3d.distill.contracts import check_guidance, check_members
from gs3d.guidance import Guidance
from gs3d.guidance.loss_file import is_loss_file
from gs3d.priors.base import Prior
from gs3d.priors.prompts import check_prompt

DEFAULT_MINUTES = 3.0
Mode = Literal["splats", "mesh", "two-stage", "scene"]
Raster = Literal["auto", "gsplat", "cpu"]
Vram = Literal["auto", 8, 12, 16, 24]
Keep = Literal["best", "all"]
OBJECTS = ("particles", "seeds")
"""Arguments with a number of objects that a run begins with."""


@dataclass(frozen=True)
class Request:
    """One run."""

    prompt: str
    """Text prompt, e.g. "a red mushroom with white spots". Quote it on the command line."""
    minutes: float | None = None
    """Wall-clock minutes until all files are written. Default 3, unless steps are given."""
    _: KW_ONLY
    steps: int | None = None
    """Number of iterations, instead of minutes. The result is reproducible on the same machine."""
    prior: str | Prior = "auto"
    """Diffusion model: builtin, sd21-base, sd21, sd15, mvdream, or a folder or owner/name of the
    hub with a model like Stable Diffusion 1.5, 2.1, XL, 3 or 3.5, PixArt-α or -Σ, DeepFloyd IF
    or FLUX.1, or a .safetensors file of Stable Diffusion 1, 2 or XL. auto is sd21-base with CUDA,
    if the cache has it or builtin does not know a word of the prompt; else builtin."""
    lora: tuple[str, ...] = ()
    """LoRA to add to the prior: a .safetensors file, a folder or owner/name of the hub, or one of
    them with :WEIGHT such as :0.8, default 1. For several, repeat the option; in Python, give a
    tuple."""
    guidance: str | Guidance | None = None
    """Guidance loss: cds (consistency distillation sampling), sds (score distillation sampling), or
    another of docs/losses.md, as sdi or ism, or FILE.py:CLASS, a loss of your own, which is run
    (docs/evaluate.md). The config decides by default: sds in presets for the built-in prior, sdi in
    builtin-mesh, cds in the others."""
    seed: int = 0
    """Random seed."""
    out: Path | None = None
    """Output directory. Default outputs/PROMPT-sSEED."""
    particles: int = 1
    """Number of objects that are made at once, and take turns in the iterations: with vsd, they
    share its LoRA, as in ProlificDreamer. Results of all but the first are in particle-2 and so on
    in the output directory; previews during the run show the first."""
    seeds: int = 1
    """Number of seeds to begin with. keep says which of them go on."""
    keep: Keep = "best"
    """best: of several seeds, the better half goes on after each round, and one is left at half of
    the run at the latest. The score is how well the prior finds the prompt in the views
    (docs/seeds.md); candidates-1.png and so on show it, and run.yaml says it. all: every seed is
    finished, as with particles."""
    resume: bool = False
    """Continue the run in the output directory from its newest checkpoint."""
    config: str | Path | None = None
    """Preset (builtin, builtin-mesh, builtin-two-stage, builtin-scene, mesh, preview, scene,
    splats-15min, two-stage, or that of a paper, such as dreamfusion or builtin-dreamfusion), YAML
    file, or run.yaml of another run. By default a preset for the prior, minutes and mode."""
    set: tuple[str, ...] = ()
    """Change a setting of the config, e.g. gaussians.count=5000. For several settings, repeat the
    option; in Python, give a tuple."""
    device: str | torch.device | None = None
    """Device of the prior: auto, cpu, cuda, cuda:N, mps or xpu. auto is CUDA if it is available,
    else cpu."""
    raster: Raster = "auto"
    """Rasterizer of splats: gsplat, which needs CUDA, or cpu, with any device of the prior. auto is
    gsplat if it can run. With cpu, fields and surfaces are optimized there too."""
    vram: Vram = "auto"
    """Gigabytes of the GPU; auto asks it. A small one computes few views at once, which takes
    longer and gives the same result. Where that is not enough, the encoder's activations are
    computed twice, or a tiny autoencoder is used (on 8 GB, or without bfloat16), which costs
    detail. No effect on a CPU."""
    mode: Mode = "splats"
    """splats; mesh (splats, then a surface that starts from them); two-stage (a radiance field,
    then a surface, as in Consistent3D); or scene (splats of a place, seen from inside). --config,
    if given, decides instead."""
    start: Path | None = None
    """What to start from instead of a gray ball: a run's folder, a splat file, a mesh (.glb, .obj
    or .ply), builtin, twenty seconds of the built-in prior if it knows the kind of object, or
    shap-e, a mesh that Shap-E makes from the prompt (1.3 GB, for a GPU). Its splats are refined, or
    in mode mesh become the surface."""


TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "out": ((str, os.PathLike), "a folder"),
    "config": ((str, Path), "a preset or a YAML file (for single settings there is --set)"),
    "set": ((str, tuple, list), "KEY.PATH=VALUE, such as gaussians.count=5000"),
    "lora": ((str, os.PathLike, tuple, list), "a file, a folder or owner/name, or NAME:WEIGHT"),
    "device": ((str, torch.device), "auto, cpu, cuda, cuda:N, mps or xpu"),
    "start": ((str, os.PathLike), "a run's folder, a splat file, a mesh, builtin, or shap-e"),
}
"""Argument -> its types besides None, and what a message expects."""


def checked(request: Request) -> Request:
    """The request with its prompt cleaned, its paths as `Path` and its minutes filled in.

    Raises:
        UserError: An argument is out of range or of another type.
    """
    check_budget(request.minutes, request.steps)
    _check_types(request)
    if request.mode not in (modes := get_args(Mode)):
        raise UserError(f"--mode {request.mode}: expected {' or '.join(modes)}")
    if request.raster not in (kinds := get_args(Raster)):
        raise UserError(f"--raster {request.raster}: expected {' or '.join(kinds)}")
    if not isinstance(request.vram, (str, int, float)) or request.vram not in get_args(Vram):
        sizes = " or ".join(map(str, get_args(Vram)))
        smaller = take_smaller(request.vram, get_args(Vram))
        raise UserError(
            f"--vram {request.vram!r}: expected {sizes}, the gigabytes of the GPU{smaller}"
        )
    if request.guidance is not None and not is_loss_file(request.guidance):
        check_guidance(request.guidance)
    if not isinstance(request.prior, (str, Path)):
        check_members(request.prior)
    if not isinstance(request.seed, numbers.Integral):
        raise UserError(f"--seed: expected a whole number, got {request.seed!r}")
    request = _with_objects(request)
    unlimited = request.minutes is None and request.steps is None
    return replace(
        request,
        prompt=check_prompt(request.prompt),
        minutes=DEFAULT_MINUTES if unlimited else request.minutes,
        out=None if request.out is None else Path(request.out).expanduser(),
        start=None if request.start is None else Path(request.start).expanduser(),
        set=(request.set,) if isinstance(request.set, str) else tuple(request.set or ()),
        lora=tuple(os.fspath(one) for one in _several(request.lora)),
    )


def _with_objects(request: Request) -> Request:
    """The request with its number of objects checked. Seeds that are all kept are particles."""
    for name in OBJECTS:
        number: Any = getattr(request, name)
        if not isinstance(number, numbers.Integral) or int(number) < 1:
            raise UserError(f"--{name}: expected a whole number, 1 or more, got {number!r}")
        if request.steps is not None and request.steps < int(number):
            raise UserError(
                f"--{name} {number}: more than --steps {request.steps}, so some would have no "
                "iteration"
            )
    if request.keep not in (kinds := get_args(Keep)):
        raise UserError(f"--keep {request.keep}: expected {' or '.join(kinds)}")
    if request.seeds == 1:
        return request
    if request.particles > 1:
        raise UserError("give --particles or --seeds, not both")
    if request.keep == "all":
        return replace(request, particles=request.seeds, seeds=1)
    if request.start is not None:
        raise UserError(
            "give --seeds or --start, not both: all seeds would begin as the same splats"
        )
    return request


def objects_of(request: Request) -> tuple[str, int]:
    """The option with the number of objects that a run begins with, and that number."""
    name = max(OBJECTS, key=lambda name: getattr(request, name))
    return f"--{name}", getattr(request, name)


def _several(value: Any) -> tuple[Any, ...]:
    """One or several values of an option as a tuple."""
    return tuple(value) if isinstance(value, (tuple, list)) else () if value is None else (value,)


def _check_types(request: Request) -> None:
    """`UserError` if an argument of `TYPES` has another type."""
    for name, (types, expected) in TYPES.items():
        value = getattr(request, name)
        if value is not None and not isinstance(value, types):
            raise UserError(f"--{name}: expected {expected}, got {type(value).__name__}")
        if value == "" and name in ("out", "start"):  # As a path it would be the working directory.
            raise UserError(f"--{name}: expected {expected}, got an empty text; leave it out")
    for one in _several(request.lora):
        if not isinstance(one, (str, os.PathLike)):
            raise UserError(f"--lora: expected {TYPES['lora'][1]}, got {one!r}")
    for change in request.set or ():
        if not isinstance(change, str):
            raise UserError(f"--set: expected {TYPES['set'][1]}, got {change!r}")


def check_budget(minutes: float | None, steps: int | None) -> None:
    """`UserError` unless at most one of the two is given and it is positive and finite."""
    if minutes is not None and steps is not None:
        raise UserError("give --minutes or --steps, not both")
    if minutes is not None and not (
        isinstance(minutes, numbers.Real) and math.isfinite(minutes) and minutes > 0
    ):
        raise UserError(f"--minutes: expected a number above 0, got {minutes!r}")
    if steps is not None and not (isinstance(steps, numbers.Integral) and steps >= 1):
        raise UserError(f"--steps: expected a whole number, 1 or more, got {steps!r}")


DEVICES: dict[str, Callable[[], bool]] = {
    "cpu": lambda: True,
    "cuda": lambda: torch.cuda.is_available(),
    "mps": lambda: torch.backends.mps.is_available(),
    "xpu": lambda: torch.xpu.is_available(),
}
"""Type of device -> whether torch finds one."""


def device_of(request: Request) -> str:
    """The device of the run: that of a prior object, if one is given."""
    prior: Any = request.prior
    if isinstance(prior, (str, Path)):
        return pick_device(request.device)
    if request.device not in (None, "auto") and not same_device(request.device, prior.device):
        raise UserError(
            f"--device {request.device}: the prior {prior.name} is on {prior.device}; "
            "leave the device out, or load the prior there"
        )
    return pick_device(str(prior.device))


def pick_device(device: str | torch.device | None) -> str:
    """The device of a run by name. `UserError` for one that this machine does not have."""
    if device is None or device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError):
        wanted = None
    if wanted is None or wanted.type not in DEVICES:
        raise UserError(f"--device {device}: expected auto, cpu, cuda, cuda:N, mps or xpu")
    if not DEVICES[wanted.type]():
        raise UserError(
            f"--device {device}: torch finds no {wanted.type.upper()} here; leave the option out, "
            "or see `gs3d doctor`"
        )
    counts = {"cuda": torch.cuda.device_count, "xpu": torch.xpu.device_count}
    count = counts.get(wanted.type, lambda: 1)()
    if wanted.index and wanted.index >= count:
        raise UserError(f"--device {device}: expected {wanted.type}:0 to {wanted.type}:{count - 1}")
    return str(device)


def same_device(one: str | torch.device, other: str | torch.device) -> bool:
    """Whether two devices are the same; one without an index is any of its type."""
    named, other = torch.device(pick_device(one)), torch.device(other)
    any_index = None in (named.index, other.index)
    return named.type == other.type and (any_index or named.index == other.index)
