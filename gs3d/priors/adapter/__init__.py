"""A LoRA with the camera as an input, which learns while a prior stays as it is."""

from gs3d.priors.adapter.model import LoraModel, LoraSettings

__all__ = ["LoraModel", "LoraSettings"]
