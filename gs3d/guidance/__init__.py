"""Guidance losses: each turns the latent of a render into a gradient on it.

A loss is a frozen dataclass that is called as `base.Guidance` describes. Commands take one from any
file, as `--guidance FILE.py:CLASS` (`loss_file`). To add one to gs3d, put it in a file of its own
in `losses`, and add a line to `GUIDANCE` below. Commands, settings and tests take it from there.
A subclass of `distillation.Distillation` has the usual settings and needs only its `gradient`.
Named as FILE.py:CLASS, it begins with the preset's values of those that it does not declare.
For a loss that trains a model of its own see `base.LearningGuidance`.

The fields of the dataclass are the settings of the loss. Config files and --set reach them as
`losses.NAME.FIELD`. Each needs a default and one of these types: int, float, bool, str, Literal, a
tuple of these, another dataclass of such fields (as `core.schedules.Ramp`), or `X | None`.

The tests that pick the loss up are tests/guidance/test_contract.py and
tests/distill/settings/test_config.py.
"""

from typing import TYPE_CHECKING, Any, Literal

from gs3d.guidance.base import Guidance, GuidanceOut, is_guidance
from gs3d.guidance.loss_file import PREFIX, LossFile
from gs3d.guidance.losses.anchored import Anchored
from gs3d.guidance.losses.cds import Cds
from gs3d.guidance.losses.csd import Csd
from gs3d.guidance.losses.gcs import Gcs
from gs3d.guidance.losses.ism import Ism
from gs3d.guidance.losses.nfsd import Nfsd
from gs3d.guidance.losses.sctd import Sctd
from gs3d.guidance.losses.sdi import Sdi
from gs3d.guidance.losses.sds import Asd, Sds
from gs3d.guidance.losses.sjc import Sjc
from gs3d.guidance.losses.vsd import Vsd

GUIDANCE: dict[str, type] = {
    "cds": Cds,
    "sds": Sds,
    "sdi": Sdi,
    "ism": Ism,
    "anchored": Anchored,
    "sjc": Sjc,
    "csd": Csd,
    "nfsd": Nfsd,
    "asd": Asd,
    "gcs": Gcs,
    "sctd": Sctd,
    "vsd": Vsd,
}
"""Name in commands and settings -> class; its fields are its settings."""

if TYPE_CHECKING:
    GuidanceName = str
else:
    # Derived from the table, so that a new guidance loss needs one new line there.
    GuidanceName = Literal[tuple(GUIDANCE)]


def losses_with(guidance: object) -> dict[str, type]:
    """`GUIDANCE`, and the class of a `LossFile` under its own name."""
    if not isinstance(guidance, LossFile):
        return GUIDANCE
    return {**GUIDANCE, guidance.name: guidance.kind}


def name_of(guidance: Guidance) -> str:
    """The name of a guidance loss in settings: that in GUIDANCE, the class of one from a file, or
    module and class of any other object."""
    kind = type(guidance)
    for name, known in GUIDANCE.items():
        if known is kind:
            return name
    if kind.__module__.startswith(PREFIX):
        return kind.__name__
    named: Any = guidance if hasattr(guidance, "__qualname__") else kind  # a function, or a class
    return f"{named.__module__}.{named.__qualname__}"


__all__ = [
    "GUIDANCE",
    "Anchored",
    "Asd",
    "Cds",
    "Csd",
    "Gcs",
    "Guidance",
    "GuidanceName",
    "GuidanceOut",
    "Ism",
    "Nfsd",
    "Sctd",
    "Sdi",
    "Sds",
    "Sjc",
    "Vsd",
    "is_guidance",
    "losses_with",
    "name_of",
]
