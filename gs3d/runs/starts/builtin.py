"""--start builtin: a short run of the built-in prior, whose object another prior then refines."""

from pathlib import Path

from gs3d.core.errors import UserError
from gs3d.distill.checkpoint import newest_checkpoint
from gs3d.runs.request import Request
from gs3d.world.captions import vocabulary_texts, words
from gs3d.world.prompt_parser import parse_prompt, plain_prompt

NAME = "builtin"
"""Value of --start. A folder of this name needs its whole path."""
FOLDER = "start"
"""Folder of the short run, inside that of the run."""
SECONDS, LARGEST_SHARE = 20.0, 0.25
"""Length of the short run, and its largest share of the run."""
STEPS = 150
"""Its iterations if the run is given in steps: some 20 seconds on two CPU cores."""


def is_builtin(start: Path | None) -> bool:
    return start is not None and str(start) == NAME


def start_prompt(request: Request, folder: Path) -> str | None:
    """The prompt of the short run: that of the run, or kind and color from it, "a red car".

    None without --start builtin, or if there is a checkpoint to go on from. Raises `UserError` for
    a prompt without a kind of object that the built-in prior knows.
    """
    if not is_builtin(request.start):
        return None
    if request.resume and newest_checkpoint(folder / "checkpoint") is not None:
        return None
    prompt = prompt_for(request.prompt)
    if prompt is None:
        raise UserError(
            f"--start {NAME}: {request.prompt!r} names no kind of object that the built-in prior "
            "knows; `gs3d vocab` lists them; leave --start out, or start from a file"
        )
    return prompt


def prompt_for(prompt: str) -> str | None:
    """`prompt` itself if the built-in prior understands the whole of it."""
    if parse_prompt(prompt) is not None:
        return prompt
    known = {word for text in vocabulary_texts() for word in words(text)}
    return plain_prompt(prompt, known)


def check_other(start: Path | None, prior: str) -> None:
    """`UserError` for --start builtin of a run with the built-in prior."""
    if is_builtin(start) and prior == NAME:
        raise UserError(
            f"--start {NAME}: the prior of the run is {NAME} already; leave --start out, "
            "or choose another --prior"
        )


def start_request(request: Request, prompt: str, folder: Path, device: str) -> Request:
    """The short run for `prompt` of a run in `folder`. It resumes one that was stopped."""
    minutes = request.minutes and min(SECONDS / 60, LARGEST_SHARE * request.minutes)
    return Request(
        prompt,
        minutes,
        steps=None if request.steps is None else STEPS,
        prior=NAME,
        seed=request.seed,
        out=folder / FOLDER,
        resume=True,
        device=device,
        raster=request.raster,
    )
