"""Names of settings and checkpoint fields in files that gs3d wrote before they were renamed."""

from typing import Any

from torch import Tensor

from gs3d.core.schedules import Ramp
from gs3d.distill.stages import StageConfig
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
"""Dataclass -> old key -> key."""
CHECKPOINT = {"tended": "accepted_progress", "densified": "accepted_progress"}
TENSORS = {".colours.": ".colors.", ".sky.": ".background_network."}
"""Parts of tensor names in a checkpoint."""


def rename_settings(kind: type, tree: dict[str, Any]) -> dict[str, Any]:
    """`tree` with the keys that the dataclass `kind` has today. An old key never hides a new one."""
    old = SETTINGS.get(kind, {})
    return {old.get(k, k) if old.get(k) not in tree else k: v for k, v in tree.items()}


def rename_checkpoint(
    fields: dict[str, Any], tensors: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Fields and tensors of a checkpoint under the names that they have today."""
    return {CHECKPOINT.get(k, k): v for k, v in fields.items()}, {
        _tensor_name(k): v for k, v in tensors.items()
    }


def _tensor_name(name: str) -> str:
    for old, new in TENSORS.items():
        name = name.replace(old, new)
    return name
