"""Losses: each a frozen, callable dataclass that turns a picture's latent into a gradient on it.

Contract: `loss(prior, condition, z0, progress, seed, step) -> GuidanceOut`. Add one as a new file and a line below.
"""

from typing import Literal, Union

from gs3d.guidance.cds import Cds
from gs3d.guidance.sds import Sds

GUIDANCE = {"cds": Cds, "sds": Sds}
"""Name in commands and settings → class; its fields are settings."""

# From the table, so that a new loss is a line there and nothing else.
Guidance = Union[tuple(GUIDANCE.values())]  # noqa: UP007
Loss = Literal[tuple(GUIDANCE)]

__all__ = ["GUIDANCE", "Cds", "Guidance", "Loss", "Sds"]
