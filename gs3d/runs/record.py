"""run.yaml: what was asked, with what, on what, and how long each stage took."""

import os
import platform
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from gs3d.core.errors import UserError
from gs3d.distill.config import config_tree, parse_config
from gs3d.distill.stages import HOW, RunConfig
from gs3d.runs.request import Request


@dataclass(frozen=True)
class RunRecord:
    """What is known before the first iteration."""

    request: Request
    config: RunConfig
    prior: dict
    """See `priors.describe`."""
    device: str

    def tree(self, timings: dict[str, float], result: dict | None) -> dict:
        from importlib.metadata import PackageNotFoundError, version

        def found(name: str) -> str | None:
            try:
                return version(name)
            except PackageNotFoundError:
                return None

        names = ("gs3d", "torch", "numpy", "numba", "gsplat", "diffusers", "transformers")
        hardware = {
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": self.device,
        }
        if self.device.startswith("cuda"):
            hardware["gpu"] = torch.cuda.get_device_name()
        return {
            "prompt": self.request.prompt,
            "seed": self.request.seed,
            "minutes": self.request.minutes,
            "steps": self.request.steps,
            **({"start": str(self.request.start)} if self.request.start else {}),
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
            temporary.write_text(
                yaml.safe_dump(self.tree(timings, result), sort_keys=False, allow_unicode=True)
            )
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise UserError(
                f"{path}: cannot be written ({error.strerror}); free some space, then use --resume"
            ) from None

    def check_same(self, folder: Path) -> None:
        """Refuse to continue a run that was started with another prompt, seed, prior or settings."""
        import yaml

        try:
            old = yaml.safe_load((folder / "run.yaml").read_text())
        except (OSError, yaml.YAMLError):
            return  # killed before the record was whole: nothing to compare with
        if not isinstance(old, dict):
            return
        differs = next(
            (key for key in ("prompt", "seed") if old.get(key) != getattr(self.request, key)), None
        )
        if differs or not self._same_settings(old.get("config")):
            what = (
                f"{differs} {old.get(differs)!r}, not {getattr(self.request, differs)!r}"
                if differs
                else "other settings"
            )
            raise UserError(
                f"--resume {folder}: that run has {what}; repeat its command, or choose another --out"
            )
        used = old.get("prior") or {}
        if used.get("name") != self.prior["name"]:
            raise UserError(
                f"--resume {folder}: that run used the prior {used.get('name')}; pass it with --prior"
            )
        if used.get("weights_sha256") != self.prior["weights_sha256"]:
            raise UserError(
                f"--resume {folder}: that run used other weights of the prior {used.get('name')}; choose another --out"
            )
        if used.get("vae_sha256") != self.prior.get("vae_sha256"):
            raise UserError(
                f"--resume {folder}: that run used other weights of its autoencoder; choose another --out"
            )

    def _same_settings(self, tree: object) -> bool:
        """Whether a run.yaml's settings mean these: one of an earlier version lacks what has come since, and meant its default. What only
        says how the networks are run may change, as when a run goes on with another card."""
        try:
            old = parse_config(tree, "run.yaml")
        except UserError:
            return False
        return config_tree(
            replace(old, **{name: getattr(self.config, name) for name in HOW})
        ) == config_tree(self.config)


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as f:
            return next(
                (line.partition(":")[2].strip() for line in f if line.startswith("model name")),
                platform.machine(),
            )
    except OSError:
        return platform.processor() or platform.machine()
