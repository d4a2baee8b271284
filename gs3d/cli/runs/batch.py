"""`gs3d batch LIST`: many runs from a list, and what has become of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gs3d.batch.estimate import dry_run
from gs3d.batch.request import Batch
from gs3d.batch.run import run_batch
from gs3d.batch.shown.gallery import PAGE
from gs3d.batch.shown.index import Entry, counts
from gs3d.batch.status import pace_of, rebuild, status_of
from gs3d.cli.output import say
from gs3d.cli.parse import collect, parse
from gs3d.cli.runs.batch_lines import MOST_RUNNING, left, lines, per_hour
from gs3d.cli.runs.generate import GUIDANCE_METAVAR

MOST_FAILED = 20
"""Failed rows that are listed."""


@dataclass(frozen=True)
class Args(Batch):
    """Make splats or meshes from a list of prompts, several at once, each in a folder of its own.
    The same command continues after a stop, and makes only what is missing.

    `gs3d batch status DIR` says how far a batch is, `gs3d batch index DIR` makes its index again.
    """

    rows: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="LIST")]
    out: Annotated[str | None, tyro.conf.arg(aliases=["-o"])] = None
    lora: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE[:WEIGHT]")] = ()
    guidance: Annotated[str | None, tyro.conf.arg(metavar=GUIDANCE_METAVAR)] = None
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY.PATH=VALUE")] = ()


@dataclass(frozen=True)
class Folder:
    """Say how far a batch is (status), or make its index again (index)."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Folder of a batch."""


def run(argv: list[str]) -> int:
    if argv and argv[0] in ("status", "index"):
        folder = parse(Folder, f"gs3d batch {argv[0]}", argv[1:]).folder
        found = rebuild(folder) if argv[0] == "index" else status_of(folder)
        _report(found, folder)
        return 0
    many = collect(collect(argv, "--set"), "--lora", "FILE, FOLDER or owner/name")
    batch = parse(Args, "gs3d batch", many)
    if batch.dry_run:
        for line in dry_run(batch, lambda text: say(f"warning: {text}")):
            say(line)
        return 0
    shown = lines()
    try:
        status = run_batch(batch, shown.say, shown.update)
    finally:
        shown.close()
    if shown.tally is not None:
        _report(list(shown.tally.entries.values()), batch.folder)
    elif (batch.folder / PAGE).exists():  # there was nothing to make
        say(f"gallery: {batch.folder / PAGE}")
    if status == 130:
        say("stopped; the same command continues")
    return status


def _report(found: list[Entry], folder: Path) -> None:
    """Print how many rows are in which state, how far and fast those that run are, those that
    failed with their commands, and where the gallery is."""
    parts = [f"{number} {state}" for state, number in counts(found).items()]
    pace = pace_of(found)
    parts += [per_hour(pace[0])] if pace else []
    say((", ".join(parts) or "no rows") + left(pace[1] if pace else None))
    running = [entry for entry in found if entry.state == "running"]
    for entry in running[:MOST_RUNNING]:
        say(f"running: {entry.name}: step {entry.steps}, {100 * entry.progress:.0f} %")
    if len(running) > MOST_RUNNING:
        say(f"and {len(running) - MOST_RUNNING} more")
    failed = [entry for entry in found if entry.state == "failed"]
    for entry in failed[:MOST_FAILED]:
        say(f"failed: {entry.name}: {entry.reason}")
        say(f"  {entry.command}")
    if len(failed) > MOST_FAILED:
        say(f"and {len(failed) - MOST_FAILED} more")
    if (folder / PAGE).exists():
        say(f"gallery: {folder / PAGE}")
