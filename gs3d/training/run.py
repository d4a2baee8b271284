"""A whole run: from a prompt to a folder of files."""

import dataclasses
import math
import os
import platform
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from gs3d.core.cameras import ring
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.priors.prompts import ViewPrompts, check_prompt
from gs3d.priors.resolve import default_prior, describe, load
from gs3d.training.budget import Budget, process_age_s
from gs3d.training.checkpoint import newest_checkpoint
from gs3d.training.config import RunConfig, config_tree, load_config
from gs3d.training.export import write_results
from gs3d.training.loop import Outcome, StopSignals, TrainState, train
from gs3d.training.step import StepLog


@dataclass(frozen=True)
class Request:
    """What the user asks for."""

    prompt: str
    minutes: float | None = None
    """Wall clock from process start to files on disk."""
    steps: int | None = None
    """Iterations instead of minutes: reproducible."""
    prior: str = "auto"
    loss: str | None = None
    """cds or sds; None takes the preset's."""
    seed: int = 0
    out: Path | None = None
    """Folder of the results; None makes outputs/<slug>-s<seed>."""
    resume: bool = False
    config: str | Path | None = None
    """A preset's name or a YAML file; None picks the preset that fits prior and minutes."""
    device: str | None = None
    """cuda, cpu, or None for what there is."""


@dataclass(frozen=True)
class Result:
    """What a run made."""

    folder: Path
    outcome: Outcome
    splats: Splats
    steps: int
    seconds: float
    files: list[Path]
    warnings: list[str] = field(default_factory=list)


DEFAULT_MINUTES = 3.0


def slug(prompt: str) -> str:
    """A folder name from a prompt: at most 60 characters of [a-z0-9-]."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60].strip("-") or "prompt"


def check_budget(minutes: float | None, steps: int | None) -> None:
    if minutes is not None and steps is not None:
        raise UserError("give --minutes or --steps, not both")
    if minutes is not None and not (math.isfinite(minutes) and minutes > 0):
        raise UserError(f"--minutes: expected a number above 0, got {minutes}")
    if steps is not None and steps < 1:
        raise UserError(f"--steps: expected 1 or more, got {steps}")


def pick_folder(request: Request) -> Path:
    """The folder of a run: an existing run is continued with `resume`, and never overwritten without it."""
    base = request.out or Path("outputs") / f"{slug(request.prompt)}-s{request.seed}"
    if base.exists() and not base.is_dir():
        raise UserError(f"--out {base}: is a file; expected a folder, choose another")
    if request.resume or not (base / "run.yaml").exists():
        return base
    if request.out:
        raise UserError(f"--out {base}: already holds a run; add --resume to continue it, or choose another folder")
    number = 2
    while (base.with_name(f"{base.name}-{number}") / "run.yaml").exists():
        number += 1
    return base.with_name(f"{base.name}-{number}")


def _make_writable(folder: Path) -> None:
    probe = folder / ".gs3d-write-test"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"0" * 4096)
        probe.unlink()
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be written ({error.strerror}); choose another folder or free some space") from None


def pick_config(request: Request, prior_name: str) -> RunConfig:
    """The preset for this prior and time, unless the request names one."""
    name = request.config
    if name is None:
        minutes = request.minutes or DEFAULT_MINUTES
        name = "builtin" if prior_name == "builtin" else "splats-15min" if minutes >= 5 or request.steps else "preview"
    return load_config(name, request.loss)


def generate(
    request: Request,
    report: Callable[[StepLog, Budget], None] = lambda entry, budget: None,
    say: Callable[[str], None] = lambda line: None,
    from_process_start: bool = False,
) -> Result:
    """Optimise splats for a prompt and write splats.ply, preview.png, turntable.mp4, run.yaml and log.jsonl.

    `report` is called after every iteration, `say` with lines for a person. Raises `UserError` for anything the user can mend.
    """
    started = time.monotonic() - (process_age_s() if from_process_start else 0.0)
    check_budget(request.minutes, request.steps)
    prompt = check_prompt(request.prompt)
    request = dataclasses.replace(request, prompt=prompt)
    if request.minutes is None and request.steps is None:
        request = dataclasses.replace(request, minutes=DEFAULT_MINUTES)
    folder = pick_folder(request)
    if request.config is not None:
        load_config(request.config, request.loss)  # a misspelt key should not wait for weights to load
    _make_writable(folder)
    device = request.device or ("cuda" if torch.cuda.is_available() else "cpu")
    prior_name = request.prior
    if prior_name == "auto":
        prior_name, why = default_prior(device)
        say(why)
    config = pick_config(request, prior_name)
    timings: dict[str, float] = {"start": time.monotonic() - started}
    with StopSignals() as stop:
        prior = load(prior_name, device=device, attention=config.attention)
        prompts = ViewPrompts.of(prior, prompt, config.negative)
        for line in prompts.warnings:
            say(f"warning: {line}")
        prior.free_text_encoder()
        timings["prior"] = time.monotonic() - started - sum(timings.values())
        record = RunRecord(request, prompt, config, describe(prior), device, str(folder))
        checkpoint = newest_checkpoint(folder / "checkpoint") if request.resume else None
        if request.resume:
            record.check_same(folder)
        state = TrainState.restore(config, checkpoint, device) if checkpoint else TrainState.start(config, request.seed, device)
        if checkpoint:
            say(f"resumed at step {state.step} after {checkpoint.elapsed_s:.0f} s")
            _trim_log(folder / "log.jsonl", state.step)
        else:
            (folder / "log.jsonl").unlink(missing_ok=True)
        seconds = request.minutes * 60 if request.minutes is not None else None
        spent = checkpoint.elapsed_s if checkpoint else 0.0
        budget = Budget(request.steps, seconds, spent, started)
        budget.reserve_s = _export_reserve(state, config)
        record.write(folder, timings, None)
        timings["setup"] = time.monotonic() - started - sum(timings.values())
        outcome = train(state, prior, prompts, config, budget, request.seed, folder, report, say, stop)
        timings["optimise"] = time.monotonic() - started - sum(timings.values())
        splats = detached(state.gaussians.splats())
        files, warnings = write_results(folder, splats)
    timings["export"] = time.monotonic() - started - sum(timings.values())
    record.write(folder, timings, {"outcome": outcome, "steps": state.step, "splats": len(splats)})
    return Result(folder, outcome, splats, state.step, budget.elapsed_s(), [*files, folder / "run.yaml", folder / "log.jsonl"], warnings)


def detached(splats: Splats) -> Splats:
    return Splats(*(getattr(splats, f.name).detach() for f in dataclasses.fields(Splats)))


def _export_reserve(state: TrainState, config: RunConfig) -> float:
    """Seconds to keep for the files at the end: measured on one picture of the start blob, scaled to the most splats there may be."""
    from gs3d.training.export import TURNTABLE_FRAMES, TURNTABLE_PX

    splats = detached(state.gaussians.splats())
    from gs3d.raster import rasterize

    camera = ring(1, TURNTABLE_PX).to(splats.means.device)
    rasterize(splats, camera)
    before = time.monotonic()
    rasterize(splats, camera)
    per_frame = time.monotonic() - before
    growth = max(config.densify.max_count / max(len(splats), 1), 1.0)
    return 3.0 + TURNTABLE_FRAMES * per_frame * min(growth, 4.0)


def _trim_log(path: Path, step: int) -> None:
    """Drop the rows of iterations that will be run again."""
    import json

    if path.exists():
        kept = []
        for line in path.read_text().splitlines():
            try:
                if json.loads(line)["step"] < step:
                    kept.append(line)
            except (ValueError, KeyError):
                continue  # a half-written row
        path.write_text("".join(row + "\n" for row in kept))


@dataclass(frozen=True)
class RunRecord:
    """run.yaml: what was asked, with what, on what, and how long each stage took."""

    request: Request
    prompt: str
    config: RunConfig
    prior: dict
    device: str
    folder: str

    def tree(self, timings: dict[str, float], result: dict | None) -> dict:
        from importlib.metadata import PackageNotFoundError, version

        def found(name: str) -> str | None:
            try:
                return version(name)
            except PackageNotFoundError:
                return None

        names = ("gs3d", "torch", "numpy", "numba", "gsplat", "diffusers", "transformers")
        hardware = {"cpu": _cpu_name(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "device": self.device}
        if self.device.startswith("cuda"):
            hardware["gpu"] = torch.cuda.get_device_name()
        return {
            "prompt": self.prompt,
            "seed": self.request.seed,
            "minutes": self.request.minutes,
            "steps": self.request.steps,
            "prior": self.prior,
            "config": config_tree(self.config),
            "versions": {"python": platform.python_version(), **{n: found(n) for n in names}},
            "hardware": hardware,
            "timings_s": {k: round(v, 2) for k, v in timings.items()},
            "result": result,
        }

    def write(self, folder: Path, timings: dict[str, float], result: dict | None) -> None:
        import yaml

        path, temporary = folder / "run.yaml", folder / "run.yaml.tmp"
        try:
            temporary.write_text(yaml.safe_dump(self.tree(timings, result), sort_keys=False, allow_unicode=True))
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise UserError(f"{path}: cannot be written ({error.strerror}); free some space, then use --resume") from None

    def check_same(self, folder: Path) -> None:
        """Refuse to continue a run that was started with another prompt, seed, prior or settings."""
        import yaml

        try:
            old = yaml.safe_load((folder / "run.yaml").read_text())
        except (OSError, yaml.YAMLError):
            return  # killed before the record was whole: nothing to compare with
        if not isinstance(old, dict):
            return
        new = self.tree({}, None)
        for key in ("prompt", "seed", "config"):
            if old.get(key) != new[key]:
                what = f"{key} {old.get(key)!r}, not {new[key]!r}" if key != "config" else "other settings"
                raise UserError(f"--resume {folder}: that run has {what}; repeat its command, or choose another --out")
        used = (old.get("prior") or {}).get("name")
        if used != new["prior"].get("name"):
            raise UserError(f"--resume {folder}: that run used the prior {used}; pass it with --prior")


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as f:
            return next((line.partition(":")[2].strip() for line in f if line.startswith("model name")), platform.machine())
    except OSError:
        return platform.processor() or platform.machine()
