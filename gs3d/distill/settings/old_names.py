"""Renamed settings and checkpoint fields, for files that an earlier version of gs3d wrote."""

from typing import Any

from torch import Tensor

from gs3d.core.schedules import Ramp
from gs3d.distill.settings.stages import StageConfig
from gs3d.representations.dmtet.config import DmtetConfig
from gs3d.representations.gaussians.config import GaussianConfig
from gs3d.representations.nerf.config import NerfConfig

SETTINGS: dict[type, dict[str, str]] = {
    Ramp: {"shape": "curve"},
    StageConfig: {"shape": "representation"},
    GaussianConfig: {"regularisers": "regularizers"},
    NerfConfig: {
        "regularisers": "regularizers",
        "occupancy_cells": "occupancy_resolution",
        "sky": "background_network",
    },
    DmtetConfig: {"regularisers": "regularizers", "cells": "resolution", "reach": "max_offset"},
}
"""Dataclass -> old key -> new key."""
CHECKPOINT = {"tended": "accepted_progress", "densified": "accepted_progress"}
"""Old -> new name of a checkpoint field."""
OF_PARTICLES = ("accepted_progress", "gradient_size", "number", "iterations")
"""Fields of a checkpoint with a value for each particle."""
NOISE = {"true": "fixed", "false": "fresh"}
"""Value of a loss's `fixed_noise` -> value of `noise`, which replaced it."""
TENSORS = {".colour": ".color", ".sky.": ".background_network."}
"""Old -> new part of a tensor name in a checkpoint."""


def rename_settings(kind: type, tree: dict[str, Any]) -> dict[str, Any]:
    """Return `tree` with the current keys of the dataclass `kind`.

    If `tree` has both the old and the new key, both stay as they are.
    """
    if kind is StageConfig and isinstance(losses := tree.get("losses"), dict):
        tree = {**tree, "losses": {name: _with_noise(loss) for name, loss in losses.items()}}
    old = SETTINGS.get(kind, {})
    return {old.get(k, k) if old.get(k) not in tree else k: v for k, v in tree.items()}


def _with_noise(loss: Any) -> Any:
    """The settings of a loss with `noise` in place of `fixed_noise`."""
    if not isinstance(loss, dict) or type(fixed := loss.get("fixed_noise")) is not bool:
        return loss
    return {"noise": NOISE[str(fixed).lower()]} | {
        k: v for k, v in loss.items() if k != "fixed_noise"
    }


def rename_checkpoint(
    fields: dict[str, Any], tensors: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the fields and tensors of a checkpoint under their current names.

    Before runs could have several objects, the first two of `OF_PARTICLES` had one value, or none.
    Before objects could be given up, they had no others.
    """
    fields = {"gradient_size": None} | {CHECKPOINT.get(k, k): v for k, v in fields.items()}
    for name in OF_PARTICLES[:2]:
        if not isinstance(fields[name], list):
            fields[name] = [fields[name]]
    if "iterations" not in fields:
        count = len(fields[OF_PARTICLES[0]])
        fields["number"] = list(range(1, count + 1))
        fields["iterations"] = [len(range(i, fields["step"], count)) for i in range(count)]
    return fields, {_tensor_name(k): v for k, v in tensors.items()}


def _tensor_name(name: str) -> str:
    for old, new in TENSORS.items():
        name = name.replace(old, new)
    return name


def rename_path(path: str) -> str:
    """A dotted path of a setting with the keys that it has today."""
    everywhere = {old: new for names in SETTINGS.values() for old, new in names.items()}
    everywhere["shape"] = "curve" if "." in path.removeprefix("stages.") else "representation"
    everywhere["fixed_noise"] = "noise"
    return ".".join(everywhere.get(key, key) for key in path.split("."))


def rename_value(path: str, text: str) -> str:
    """The value, as text, that today's setting has for the old `path`."""
    is_old = path.rpartition(".")[2] == "fixed_noise"
    return NOISE.get(text.strip().lower(), text) if is_old else text
