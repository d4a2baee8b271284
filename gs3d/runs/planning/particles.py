"""What a run with several objects is warned of, or refused for."""

from gs3d.core.errors import UserError
from gs3d.distill.settings.stages import RunConfig
from gs3d.guidance import name_of
from gs3d.guidance.base import learns
from gs3d.priors.base import Prior
from gs3d.priors.loading.components import Source
from gs3d.runs.callbacks import Message
from gs3d.runs.choice.rounds import last_of, share_of_best
from gs3d.runs.choice.score import VIEWS
from gs3d.runs.request import Request


def about_seeds(request: Request, config: RunConfig, prior: Source | Prior) -> list[Message]:
    """What a run that begins with several seeds costs the best one, in a line.

    Raises:
        UserError: The run cannot begin with several seeds.
    """
    if request.seeds == 1:
        return []
    if config.begin:
        raise UserError(
            f"--seeds {request.seeds}: the config begins at {config.begin:g} of the schedules, "
            "where some seeds would have been given up already; leave `begin` out"
        )
    views = prior.family.views if isinstance(prior, Source) else prior.views
    if VIEWS % views:
        raise UserError(
            f"--seeds {request.seeds}: objects are judged by {VIEWS} views, and the prior "
            f"{prior.name} denoises {views} together; expected a divisor of {VIEWS}"
        )
    share = share_of_best(request.seeds, last_of(config))
    text = f"--seeds {request.seeds}: the best one has about {100 * share:.0f} % of the iterations"
    return [Message(text)]


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
