"""Text-to-image diffusion models as one function D(z, σ, y). Nothing here imports diffusers or transformers until a prior is loaded.

A new kind of prior is one file that gives what `base.Prior` lists, and one line in `resolve.load`.
"""

from gs3d.priors.base import Condition, Prior, epsilon, guided
from gs3d.priors.loading.resolve import default_prior, describe, load
from gs3d.priors.prompts import ViewPrompts, check_prompt

__all__ = [
    "Condition",
    "Prior",
    "ViewPrompts",
    "check_prompt",
    "default_prior",
    "describe",
    "epsilon",
    "guided",
    "load",
]
