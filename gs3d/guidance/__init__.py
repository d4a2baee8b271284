"""Losses: each a frozen, callable dataclass that turns a picture's latent into a gradient on it.

Contract: `loss(prior, condition, z0, progress, seed, step) -> GuidanceOut`. Add one as a new file and a line below.
"""

from gs3d.guidance.cds import Cds
from gs3d.guidance.sds import Sds

GUIDANCE = {"cds": Cds, "sds": Sds}
"""Command-line name → class; its fields become flags."""

__all__ = ["GUIDANCE", "Cds", "Sds"]
