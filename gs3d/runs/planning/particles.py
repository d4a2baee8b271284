"""A warning for particles that share nothing."""

from gs3d.distill.settings.stages import RunConfig
from gs3d.guidance import name_of
from gs3d.guidance.base import learns
from gs3d.runs.callbacks import Message
from gs3d.runs.request import Request


def nothing_shared(request: Request, config: RunConfig) -> list[Message]:
    """The warning, if no loss of `config` trains a model that several particles could share."""
    number = request.particles
    if number == 1 or request.resume or any(learns(stage.guidance) for stage in config.stages):
        return []
    losses = ", ".join(dict.fromkeys(name_of(stage.guidance) for stage in config.stages))
    text = (
        f"--particles {number}: no loss of this run ({losses}) trains a model that particles "
        f"could share, so they are {number} runs in one, with 1/{number} of the iterations each"
    )
    return [Message(text, is_warning=True)]
