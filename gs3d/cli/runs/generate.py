"""`gs3d generate PROMPT`: a folder of files from a text."""

import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from gs3d.cli.parse import parse
from gs3d.cli.progress import Progress
from gs3d.guidance import Loss
from gs3d.runs.generate import Result, generate, size_of
from gs3d.runs.request import Mode, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from gs3d.cli.runs.live import Say, Watch


@dataclass(frozen=True)
class Args:
    """Make 3D Gaussian splats from a text: splats.ply, preview.png, turntable.mp4, progress.png, log.png, run.yaml and log.jsonl in one
    folder. With --mode mesh or two-stage, a mesh: mesh.glb, mesh.ply and mesh.obj in place of the splats."""

    prompt: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]
    """What to make, e.g. "a red mushroom with white spots". Quote it."""
    minutes: float | None = None
    """Wall clock until the files are on disk. 3 when neither this nor --steps is given."""
    steps: int | None = None
    """Iterations instead of minutes: the same splats every time on the same machine."""
    prior: str = "auto"
    """builtin, builtin-mv (which looks at four views together), sd21-base, sd21, sd15, a folder, or owner/name of a model hub. auto:
    Stable Diffusion where CUDA and its weights are at hand, else builtin."""
    guidance: Loss | None = None
    """Loss; the preset's when not given: sds for the built-in prior, cds for others."""
    seed: int = 0
    """Another seed makes another object."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder for the results; outputs/<prompt>-s<seed> when not given."""
    resume: bool = False
    """Continue the run in that folder from its newest checkpoint."""
    config: str | None = None
    """A preset (builtin, builtin-mesh, builtin-two-stage, mesh, preview, splats-15min, two-stage), a YAML file, or another run's run.yaml.
    Chosen by prior, minutes and mode when not given."""
    device: Literal["cuda", "cpu"] | None = None
    """Where to run; CUDA where there is one when not given."""
    mode: Mode = "splats"
    """mesh: splats, then a surface that begins as they are. two-stage: a radiance field, then a surface, as the paper does. --config, if
    given, decides instead."""
    start: Annotated[Path | None, tyro.conf.arg(metavar="RUN_OR_PLY")] = None
    """Splats that are there already, for --mode mesh to begin its surface from."""
    viewer: bool = False
    """Show the splats in the browser as they grow, with buttons to pause the run, which stops its clock, and to stop and export, and a
    prompt for the run after it, of the same settings."""
    wait: bool = True
    """With --viewer, whether the result stays there, and other prompts are waited for, until Ctrl-C."""


NAMES = {"loss": "guidance"}
"""What a field of a request is called as a flag, where it is not called the same."""
EXIT = {"finished": 0, "interrupted": 130, "terminated": 143, "diverged": 1, "out of memory": 1}


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d generate", argv)
    request = Request(
        **{
            field.name: getattr(args, NAMES.get(field.name, field.name))
            for field in fields(Request)
        }
    )
    if args.viewer:
        from gs3d.cli.assets.view import need_viser

        need_viser("gs3d generate --viewer")
        from gs3d.cli.runs.live import in_viewer

        result = in_viewer(request, make, args.wait)
    else:
        result = make(request)
    if result is None:
        return EXIT["interrupted"]
    return EXIT[result.outcome] if result.asset is not None else 1


def make(
    request: Request, watch_by: "Callable[[Say], Watch] | None" = None, first: bool = True
) -> Result:
    """A run and what there is to say about it. The minutes of the first of a process count from the process' start."""
    with Progress() as progress:
        more = {} if watch_by is None else {"watch": watch_by(progress.say)}
        result = generate(
            request, report=progress.update, say=progress.say, from_process_start=first, **more
        )
    for line in result.warnings:
        progress.say(f"warning: {line}")
    if result.outcome == "diverged":
        progress.say(
            "stopped: 20 iterations in a row gave NaN or Inf; the last good state was exported. Try a lower guidance scale."
        )
    if result.outcome == "out of memory":
        progress.say(
            "stopped: the GPU's memory is full; what there was is exported. Use a smaller batch or resolution in --config."
        )
    if result.outcome in ("interrupted", "terminated"):
        again = "add --resume to the same command"
        if not first:
            of_it = f"{shlex.quote(request.prompt)} --seed {request.seed} --out {shlex.quote(str(result.folder))}"
            again = f"give the same command with {of_it} --resume"
        progress.say(f"{result.outcome}: exported what there was; {again} to go on")
    what = (
        " ".join(f"{count} {pieces}" for pieces, count in size_of(result.asset).items())
        or "nothing that can be exported"
    )
    progress.say(f"{what} after {result.steps} steps in {result.seconds:.0f} s:")
    for path in result.files:
        progress.say(f"  {path}")
    return result
