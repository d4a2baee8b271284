"""run.yaml: what was requested, with what, on what, and how long each phase took."""

import contextlib
import os
import platform
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from gs3d.core.errors import UserError
from gs3d.distill.settings.changes import complete_record, differences
from gs3d.distill.settings.config import config_tree, parse_config
from gs3d.distill.settings.stages import HOW, RunConfig
from gs3d.guidance.loss_file import LossFile, file_of
from gs3d.runs.folders import run_yaml
from gs3d.runs.planning.recorded import LOSS, other_loss
from gs3d.runs.request import OBJECTS, Request

PACKAGES = ("gs3d", "torch", "numpy", "numba", "gsplat", "diffusers", "transformers")
RESUMABLE = "from Python alone, with the same objects"


@dataclass(frozen=True)
class RunRecord:
    """What is known before the first iteration."""

    request: Request
    config: RunConfig
    prior: dict
    """See `priors.describe`."""
    device: str
    raster_device: str
    particle: int = 1
    """Which of the particles of the run the result is."""

    @property
    def python_objects(self) -> list[str]:
        """Arguments that are objects, which a file cannot hold."""
        given = {"prior": self.request.prior, "guidance": self.request.guidance}
        return [
            name for name, value in given.items() if not isinstance(value, (str, Path, type(None)))
        ]

    @property
    def loss(self) -> LossFile | None:
        """The file that the loss is from, if it is one."""
        return file_of(self.config.stages[0].guidance)

    def tree(self, timings: dict[str, float], result: dict | None) -> dict:
        objects = self.python_objects
        return {
            "prompt": self.request.prompt,
            "seed": self.request.seed,
            "minutes": self.request.minutes,
            "steps": self.request.steps,
            **{name: many for name in OBJECTS if (many := getattr(self.request, name)) > 1},
            **({"particle": self.particle} if self.particle > 1 else {}),
            **({"start": str(self.request.start)} if self.request.start else {}),
            **({} if self.request.vram == "auto" else {"vram": self.request.vram}),
            **({"python_objects": objects, "resumable": RESUMABLE} if objects else {}),
            **({LOSS: self.loss.facts} if self.loss else {}),
            "prior": self.prior,
            "config": config_tree(self.config),
            "versions": {"python": platform.python_version(), **_versions()},
            "hardware": _hardware(self.device, self.raster_device),
            "timings_s": {k: round(v, 2) for k, v in timings.items()},
            "result": result,
        }

    def write(self, folder: Path, timings: dict[str, float], result: dict | None) -> None:
        import yaml

        path, temporary = folder / "run.yaml", folder / "run.yaml.tmp"
        tree = self.tree(timings, result)
        try:
            text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
            temporary.write_text(text, "utf-8")
            os.replace(temporary, path)
        except OSError as error:
            with contextlib.suppress(OSError):  # the disk may be read-only
                temporary.unlink(missing_ok=True)
            raise UserError(
                f"{path}: cannot be written ({error.strerror}); free some space, then use --resume"
            ) from None

    def check_same(self, folder: Path) -> None:
        """`UserError` if the run in `folder` has another prompt, seed, prior or other settings."""
        if (old := run_yaml(folder)) is None:
            return  # killed before the record was complete: nothing to compare with
        if what := self.difference(old):
            raise UserError(f"--resume {folder}: {what}")

    def difference(self, old: dict) -> str | None:
        """Why this run cannot continue the recorded one; None if it can."""
        other = "choose another --out"
        objects, mine = old.get("python_objects") or [], self.python_objects
        if objects != mine and objects:
            what = " and ".join(objects)
            return f"that run was made in Python with its own {what}; resume it there, or {other}"
        if objects != mine:
            return f"that run used no Python objects; leave out {' and '.join(mine)}, or {other}"
        for key in ("prompt", "seed"):
            mine = getattr(self.request, key)
            if old.get(key) != mine:
                what = f"{key} {old.get(key)!r}, not {mine!r}"
                return f"that run has {what}; repeat its command, or {other}"
        for name in OBJECTS:
            if (number := old.get(name, 1)) != (many := getattr(self.request, name)):
                return f"that run has --{name} {number}, not {many}; repeat its command, or {other}"
        start = None if self.request.start is None else str(self.request.start)
        if old.get("start") != start:
            return f"that run has start {old.get('start')}, not {start}; repeat its command"
        if what := other_loss(old, self.loss):
            return what
        if what := self._other_settings(old.get("config")):
            return f"that run has other settings ({what}); repeat its command, or {other}"
        used = old.get("prior") or {}
        if not _is_same_prior(used, self.prior):
            return f"that run used the prior {used.get('name')}; pass it with --prior"
        if used.get("weights_sha256") != self.prior["weights_sha256"]:
            return f"that run used other weights of the prior {used.get('name')}; {other}"
        if _loras(used) != _loras(self.prior):
            return f"that run used {_loras(used) or 'no LoRA'}; repeat its command, or {other}"
        if used.get("vae_sha256") != self.prior.get("vae_sha256"):
            return f"that run used other weights of its autoencoder; {other}"
        if used.get("vae_backward_sha256") != self.prior.get("vae_backward_sha256"):
            return f"that run used other weights of its vae_backward; {other}"
        return None

    def _other_settings(self, tree: object) -> str:
        """The recorded settings that differ from these; "" if none does.

        A setting that is newer than the record had its default, or what `complete_record` adds.
        Settings of how networks are run (`HOW`) may differ.
        """
        mine, tree = config_tree(self.config), complete_record(tree)
        if tree == mine:
            return ""  # as of most rows of a batch; what follows takes milliseconds
        if "guidance" in self.python_objects and isinstance(tree, dict):
            how = {key: mine[key] for key in HOW}
            return differences({**tree, **how}, mine)
        try:
            old = parse_config(tree, "run.yaml", self.loss)
        except UserError as error:
            return error.for_command_line
        how = {name: getattr(self.config, name) for name in HOW}
        return differences(config_tree(replace(old, **how)), mine)


def _is_same_prior(one: dict, other: dict) -> bool:
    """Whether two recorded priors have one name, or lie in one place: a path may be written in
    several ways. What ships in gs3d, and objects, have no place of their own."""
    if one.get("name") == other.get("name"):
        return True
    place = one.get("source")
    return place == other.get("source") and place not in (None, "gs3d", "object")


def _loras(prior: dict) -> str:
    """The LoRAs of a recorded prior by content and weight; "" without any."""
    used = [lora for lora in prior.get("lora") or () if isinstance(lora, dict)]
    return ", ".join(
        f"the LoRA {str(lora.get('sha256'))[:16]} with {lora.get('weight')}" for lora in used
    )


def _versions() -> dict[str, str | None]:
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _hardware(device: str, raster_device: str) -> dict:
    hardware = {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device,
        "raster_device": raster_device,
    }
    return hardware | ({"gpu": torch.cuda.get_device_name(device)} if device[:4] == "cuda" else {})


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as f:
            models = (line.partition(":")[2].strip() for line in f if line.startswith("model name"))
            return next(models, platform.machine())
    except OSError:
        return platform.processor() or platform.machine()
