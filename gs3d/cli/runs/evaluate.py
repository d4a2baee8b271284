"""`gs3d evaluate PROMPTS`: generate and grade a list of prompts; tables, JSON and a report."""

import contextlib
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gs3d.cli.output import say
from gs3d.cli.parse import collect, parse
from gs3d.cli.tables import upright
from gs3d.core.errors import UserError
from gs3d.evaluation.report import markdown
from gs3d.experiments.evaluate import AsText, Evaluation, generate_and_grade, grade_existing


@dataclass(frozen=True)
class Args(Evaluation):
    """Generate objects from a list of prompts with each method, grade them against reference
    objects, and write evaluation.json, report.html and sheet.png. It can be stopped at any time:
    the same command makes the runs that are missing, and those of --steps or --evaluations
    that it had begun go on."""

    prompts: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPTS")] = None
    runs: Annotated[tuple[Path, ...], tyro.conf.arg(name="from")] = ()
    lora: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE[:WEIGHT]")] = ()
    start: Annotated[Path | None, tyro.conf.arg(metavar="RUN_OR_FILE")] = None
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None


NEW_RUNS_ONLY = (
    "methods",
    "seeds",
    "minutes",
    "steps",
    "evaluations",
    "league",
    "prior",
    "config",
    "at_once",
    "limit",
    "lora",
    "start",
    "vram",
    "raster",
    "device",
)
"""Options that apply to new runs only."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d evaluate", collect(argv, "--lora", "FILE, FOLDER or owner/name"))
    for flag, values in (("--methods", args.methods), ("--seeds", args.seeds)):
        if not values:
            raise UserError(f"{flag}: expected one or more, got nothing")
    if args.runs and args.prompts:
        raise UserError(
            "PROMPTS and --from: give one of them; --from grades the prompts of the runs"
        )
    if args.runs:
        useless = next((f for f in NEW_RUNS_ONLY if getattr(args, f) != getattr(Args, f)), None)
        if useless:
            raise UserError(
                f"--{useless.replace('_', '-')}: applies to new runs, and --from grades existing "
                "ones; leave one out"
            )
        grade_existing(args, say, _as_text())
        return 0
    if not args.prompts:
        raise UserError(
            "PROMPTS: expected, before any option, a file of prompts, or tuning, reporting, "
            "ablation, plain or two-objects; see gs3d evaluate --help"
        )
    with _terminated_as_interrupted():
        return 1 if generate_and_grade(args, say, _as_text()) else 0


def _as_text() -> AsText:
    """Upright tables for a terminal; Markdown for a file or another program."""
    if not sys.stdout.isatty():
        return markdown
    return lambda tables: upright(tables, shutil.get_terminal_size().columns)


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM with the effect of Ctrl-C, so that no run is left without a parent process."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
