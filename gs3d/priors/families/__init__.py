"""Families of models that gs3d reads: one file each. To add one, write its `Family` and list it."""

from gs3d.priors.families.base import Config, Family
from gs3d.priors.families.builtin import BUILTIN
from gs3d.priors.families.deepfloyd import IF
from gs3d.priors.families.flux import FLUX
from gs3d.priors.families.mvdream import MVDREAM
from gs3d.priors.families.pixart import PIXART
from gs3d.priors.families.sd3 import SD3
from gs3d.priors.families.sdxl import XL
from gs3d.priors.families.stable_diffusion import STABLE_DIFFUSION

FAMILIES: tuple[Family, ...] = (MVDREAM, FLUX, PIXART, IF, SD3, XL, BUILTIN, STABLE_DIFFUSION)
"""The first one that recognizes a model is that of the model."""


def family_of(index: Config) -> Family:
    """The family of the model with this model_index.json."""
    return next(family for family in FAMILIES if family.recognizes(index))


def known() -> str:
    """Names of the families that are read from folders of others, for messages."""
    *names, last = dict.fromkeys(f.name for f in reversed(FAMILIES) if f is not BUILTIN)
    return f"{', '.join(names)} or {last}"
