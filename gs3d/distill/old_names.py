"""Renamed settings and checkpoint fields, for files that an earlier version of gs3d wrote."""

from typing import Any

from torch import Tensor

from gs3d.core.schedules import Ramp
from gs3d.distill.stages import StageConfig
from gs3d.guidance.distillation import Distillation
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
TENSORS = {".colour": ".color", ".sky.": ".background_network."}
"""Old -> new part of a tensor name in a checkpoint."""


def rename_settings(kind: type, tree: dict[str, Any]) -> dict[str, Any]:
    """Return `tree` with the current keys of the dataclass `kind`.

    If `tree` has both the old and the new key, both stay as they are.
    """
    if issubclass(kind, Distillation) and type(fixed := tree.get("fixed_noise")) is bool:
        noise = {"noise": "fixed" if fixed else "fresh"}
        tree = {k: v for k, v in tree.items() if k != "fixed_noise"} | noise
    old = SETTINGS.get(kind, {})
    return {old.get(k, k) if old.get(k) not in tree else k: v for k, v in tree.items()}


def rename_checkpoint(
    fields: dict[str, Any], tensors: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the fields and tensors of a checkpoint under their current names."""
    return {CHECKPOINT.get(k, k): v for k, v in fields.items()}, {
        _tensor_name(k): v for k, v in tensors.items()
    }


def _tensor_name(name: str) -> str:
    for old, new in TENSORS.items():
        name = name.replace(old, new)
    return name


def rename_path(path: str) -> str:
    """A dotted path of a setting with the keys that it has today."""
    everywhere = {old: new for names in SETTINGS.values() for old, new in names.items()}
    everywhere["shape"] = "curve" if "." in path.removeprefix("stages.") else "representation"
    return ".".join(everywhere.get(key, key) for key in path.split("."))
