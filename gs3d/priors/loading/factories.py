"""Priors that a function makes, as opposed to those that are read from a model folder."""

import inspect
from importlib import import_module

import torch

from gs3d.core.errors import UserError
from gs3d.core.source import code_of
from gs3d.priors.base import Prior

FACTORIES: dict[str, str] = {
    "builtin-512": "gs3d.priors.builtin_512:load",
    "builtin-512-front": "gs3d.priors.builtin_512:load_with_front",
}
"""Name for `--prior` → "module:function". The function takes a `torch.device` and returns an object
with the members of `gs3d.Prior` on it."""


def create(name: str, device: str | torch.device) -> Prior:
    """The prior of `FACTORIES[name]` on `device`.

    Raises:
        UserError: There is no such function, or it does not take a device, or its prior has
            another name or is on another device.
    """
    place, device = FACTORIES[name], torch.device(device)
    try:
        module, function = place.split(":")
        make = getattr(import_module(module), function)
        inspect.signature(make).bind(device)
    except (ValueError, ImportError, AttributeError, TypeError) as error:
        raise UserError(
            f"prior {name}: expected FACTORIES to name a function as module:function, which takes "
            f"a torch.device, got {place!r} ({error})"
        ) from error
    prior: Prior = make(device)
    # run.yaml holds the name, and a later command finds the prior by it.
    if (got := getattr(prior, "name", None)) != name:
        raise UserError(
            f"prior {name}: {place} made a prior with the name {got!r}; give it {name!r}"
        )
    if torch.device(getattr(prior, "device", device)).type != device.type:
        raise UserError(f"prior {name}: {place} made it on {prior.device}, not on {device}")
    return prior


def code(name: str) -> str:
    """The code of the module that makes the prior `name`, in the form of `core.source.code_of`.

    Runs with different code are not comparable. Weights and other modules are no part of it.
    """
    return code_of(inspect.getsource(import_module(FACTORIES[name].split(":")[0])))
