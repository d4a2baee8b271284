"""What a user would gain from another command or option, in one line before a run."""

import shlex

from gs3d.distill.settings.stages import RunConfig
from gs3d.runs.callbacks import Message
from gs3d.runs.request import DEFAULT_MINUTES, Request
from gs3d.runs.starts.builtin import NAME, prompt_for
from gs3d.world.prompt_parser import parse_prompt


def about_start(request: Request, config: RunConfig) -> list[Message]:
    """A line about --start builtin, for a run with another prior that could take it.

    A prior with rough view words alone gives objects several fronts, which a start with one front
    prevents (docs/lab/sd-presets.md, "One face").
    """
    prompt = prompt_for(request.prompt)
    if prompt is None or not _makes_new_splats(request, config):
        return []
    text = f"the built-in prior knows {prompt!r}: with --start {NAME} the run begins with its shape"
    return [Message(text)]


def about_compose(request: Request, config: RunConfig) -> list[Message]:
    """A line about gs3d compose, for a run of the built-in prior that makes splats of two objects
    with nothing that gs3d compose has no option for.

    They are better made apart (docs/results.md, "Several objects").
    """
    meaning = parse_prompt(request.prompt)
    if meaning is None or meaning.other is None or not _makes_new_splats(request, config):
        return []
    if len(config.stages) > 1 or request.set or request.guidance is not None:
        return []
    if request.seeds > 1 or request.particles > 1:
        return []
    command = f"gs3d compose {shlex.quote(request.prompt)}"
    if request.steps is None:
        command += f" --minutes {request.minutes or DEFAULT_MINUTES:g}"
    text = f"{command} makes the two objects apart, which was better in as many iterations"
    return [Message(text)]


def _makes_new_splats(request: Request, config: RunConfig) -> bool:
    is_free = request.start is None and not request.resume
    stage = config.stages[0]
    return is_free and stage.representation == "splats" and not stage.cameras.inside
