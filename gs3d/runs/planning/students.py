"""A warning for a prior that is a few-step student."""

from gs3d.distill.settings.stages import RunConfig
from gs3d.guidance import GUIDANCE, name_of
from gs3d.priors.about.students import STEPS, why_student
from gs3d.priors.base import Prior
from gs3d.priors.loading.components import Source
from gs3d.runs.callbacks import Message

LARGEST_SCALE = 2.0
"""Guidance scale up to which nothing is said."""


def student_warning(prior: Source | Prior, config: RunConfig) -> list[Message]:
    """The warning, if `prior` is a student and a guidance scale of `config` is for other models."""
    if not isinstance(prior, Source) or (why := why_student(prior.folder, prior.name)) is None:
        return []
    scales = {
        name_of(stage.guidance): getattr(getattr(stage.guidance, "cfg", None), "ends", (0.0, 0.0))
        for stage in config.stages
    }
    too_high = {name: ends for name, ends in scales.items() if max(ends) > LARGEST_SCALE}
    if not too_high:
        return []
    paths = [f"losses.{name}.cfg" for name in too_high if name in GUIDANCE]
    changes = " ".join(f"--set {path}.{end}=1" for path in paths for end in ("start", "end"))
    found = ", ".join(f"{start:g} to {end:g}" for start, end in too_high.values())
    text = (
        f"prior {prior.name}: a few-step student ({why}), trained for {STEPS} steps without "
        f"guidance; its guidance scale should be about 1, not {found}"
    )
    return [Message(f"{text} (`{changes}`)" if changes else text, is_warning=True)]
