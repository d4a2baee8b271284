"""`gs3d generate PROMPT`: splats or a mesh from a text prompt."""

import shlex
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from gs3d.cli.parse import collect, parse
from gs3d.cli.progress import Progress
from gs3d.core.errors import UserError
from gs3d.distill.budget import process_age_s
from gs3d.guidance import GUIDANCE
from gs3d.guidance.loss_file import fault_in, is_loss_file
from gs3d.runs.execute import Result, execute, size_of
from gs3d.runs.loop import MAX_SKIPPED
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from gs3d.cli.runs.live import Say, Watch


GUIDANCE_METAVAR = f"{{{','.join((*GUIDANCE, 'FILE.py:CLASS'))}}}"


@dataclass(frozen=True)
class Args(Request):
    """Generate 3D Gaussian splats from a text prompt. Writes splats.ply, preview.png,
    turntable.mp4, progress.png, log.png, run.yaml and log.jsonl to one folder. With --mode mesh or
    two-stage, mesh.glb, mesh.ply and mesh.obj take the place of splats.ply."""

    # Fields of `Request` again where the command line needs another type or flag. tyro takes their
    # help texts from `Request`.
    prompt: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]
    prior: str = "auto"
    lora: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE[:WEIGHT]")] = ()
    guidance: Annotated[str | None, tyro.conf.arg(metavar=GUIDANCE_METAVAR)] = None
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    config: str | None = None
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY.PATH=VALUE")] = ()
    device: str | None = None
    start: Annotated[Path | None, tyro.conf.arg(metavar="RUN_OR_FILE")] = None
    viewer: bool = False
    """Show the splats in the browser during the run. Buttons pause the run and its clock, or stop
    the run and export; a form starts further runs with the same settings."""
    wait: bool = True
    """With --viewer: keep showing the result, and accept further prompts, until Ctrl-C."""


EXIT = {"finished": 0, "interrupted": 130, "terminated": 143, "diverged": 1, "out of memory": 1}


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d generate", _collected(argv))
    request = Request(**{field.name: getattr(args, field.name) for field in fields(Request)})
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


def _collected(argv: list[str]) -> list[str]:
    return collect(collect(argv, "--set"), "--lora", "FILE, FOLDER or owner/name")


def make(
    request: Request, watch_by: "Callable[[Say], Watch] | None" = None, first: bool = True
) -> Result:
    """Run a request and print how it ended. The minutes of the first run of a process count from
    the start of the process."""
    with Progress() as progress:
        result = show(request, progress, watch_by(progress.say) if watch_by else None, first)
    report(result, request, progress, first)
    return result


def show(
    request: Request, progress: Progress, control: "Watch | None" = None, first: bool = True
) -> Result:
    """Run a request with its messages and iterations shown by `progress`.

    An exception in a loss of a file becomes a `UserError` that names the line.
    """
    started = time.monotonic() - (process_age_s() if first else 0.0)
    try:
        return execute(prepare(request, started), progress.callbacks(control))
    except UserError:
        raise
    except Exception as error:
        if (line := fault_in(error)) is None:
            raise
        raise UserError(f"--guidance {request.guidance}: {line}") from error


def report(result: Result, request: Request, progress: Progress, first: bool) -> None:
    """Print how a run ended, and its files."""
    if result.outcome == "diverged":
        many, advice = f"{MAX_SKIPPED} iterations in a row", "Try a lower guidance scale."
        if result.steps <= MAX_SKIPPED:
            many = f"all {result.steps} iterations"
        if is_loss_file(request.guidance):
            advice = f"Look at the grad that {request.guidance} returns."
        state = "what the run began with" if result.steps <= MAX_SKIPPED else "the last good state"
        progress.say(f"stopped: {many} gave NaN or Inf; {state} was exported. {advice}")
    if result.outcome == "out of memory":
        progress.say(
            "stopped: the GPU's memory is full; what there was is exported. "
            "Use a smaller batch, micro_batch or resolution in --config."
        )
    if result.outcome in ("interrupted", "terminated"):
        again = "add --resume to the same command"
        if not first:
            prompt, out = shlex.quote(request.prompt), shlex.quote(str(result.folder))
            options = f"{prompt} --seed {request.seed} --out {out} --resume"
            again = f"give the same command with {options}"
        progress.say(f"{result.outcome}: exported what there was; {again} to go on")
    sizes = [f"{count} {name}" for name, count in size_of(result.asset).items()]
    what = " ".join(sizes) or "nothing that can be exported"
    progress.say(f"{what} after {result.steps} steps in {result.seconds:.0f} s:")
    for path in result.files:
        progress.say(f"  {path}")
    if result.asset is not None:
        progress.say(f"look at it: gs3d open {shlex.quote(str(result.folder))}")
