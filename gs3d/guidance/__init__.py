"""Guidance losses: each turns the latent of a render into a gradient on it.

To add one, write a frozen dataclass that is called as `base.Guidance` describes, in a file of its
own in `losses`, and add a line to `GUIDANCE` below. Commands, settings and tests take it from
there. A subclass of `distillation.Distillation` has the usual settings and needs only its
`gradient`.

The fields of the dataclass are the settings of the loss. Config files and --set reach them as
`losses.NAME.FIELD`. Each needs a default and one of these types: int, float, bool, str, Literal, a
tuple of these, another dataclass of such fields (as `core.schedules.Ramp`), or `X | None`.

The tests that pick the loss up are tests/guidance/test_contract.py and
tests/distill/test_config.py.
"""

from typing import TYPE_CHECKING, Any, Literal

from gs3d.guidance.base import Guidance, GuidanceOut, is_guidance
from gs3d.guidance.losses.anchored import Anchored
from gs3d.guidance.losses.cds import Cds
from gs3d.guidance.losses.ism import Ism
from gs3d.guidance.losses.sdi import Sdi
from gs3d.guidance.losses.sds import Sds

GUIDANCE: dict[str, type] = {
    "cds": Cds,
    "sds": Sds,
    "sdi": Sdi,
    "ism": Ism,
    "anchored": Anchored,
}
"""Name in commands and settings -> class; its fields are its settings."""

if TYPE_CHECKING:
    GuidanceName = str
else:
    # Derived from the table, so that a new guidance loss needs one new line there.
    GuidanceName = Literal[tuple(GUIDANCE)]


def name_of(guidance: Guidance) -> str:
    """The name of a guidance loss in settings; module and class of one that is not in GUIDANCE."""
    kind = type(guidance)
    for name, known in GUIDANCE.items():
        if known is kind:
            return name
    named: Any = guidance if hasattr(guidance, "__qualname__") else kind  # a function, or a class
    return f"{named.__module__}.{named.__qualname__}"


__all__ = [
    "GUIDANCE",
    "Anchored",
    "Cds",
    "Guidance",
    "GuidanceName",
    "GuidanceOut",
    "Ism",
    "Sdi",
    "Sds",
    "is_guidance",
    "name_of",
]
