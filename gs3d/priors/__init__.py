"""Text-to-image diffusion models behind one interface, the denoiser D(z, σ, y).

diffusers and transformers are imported only when a prior other than the built-in one is loaded. To
add a prior, write one module with a class that has the members of `base.Prior` and a function that
takes a `torch.device` and returns an object of it. Then add a line to `FACTORIES` in
loading/factories.py, `"name": "module:function"`: commands and `load` know that name. A run calls
each member once at its start and says which result does not fit.
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
