"""Priors that a function makes, as opposed to those that are read from a model folder."""

import inspect
from importlib import import_module

import torch

from gs3d.core.source import code_of
from gs3d.priors.base import Prior

FACTORIES: dict[str, str] = {}
"""Name for `--prior` → "module:function". The function takes a `torch.device` and returns an object
with the members of `gs3d.Prior` on it."""


def create(name: str, device: str | torch.device) -> Prior:
    """The prior of `FACTORIES[name]` on `device`.

    Raises:
        ValueError: The function gives its prior another name.
    """
    module, function = FACTORIES[name].split(":")
    prior: Prior = getattr(import_module(module), function)(torch.device(device))
    # run.yaml holds the name, and a later command finds the prior by it.
    if (got := getattr(prior, "name", None)) != name:
        raise ValueError(f"{FACTORIES[name]}: expected a prior with the name {name!r}, got {got!r}")
    return prior


def code(name: str) -> str:
    """The code of the module that makes the prior `name`, in the form of `core.source.code_of`.

    Runs with different code are not comparable. Weights and other modules are no part of it.
    """
    return code_of(inspect.getsource(import_module(FACTORIES[name].split(":")[0])))
