"""What a batch would take, for `gs3d batch --dry-run`."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path

from gs3d.batch.plan import Planned, planned
from gs3d.batch.request import Batch, checked
from gs3d.batch.rows import read_rows
from gs3d.batch.run import makers_of, results_of

SPLAT_BYTES = 3 * 68 + 4 * 56
"""On disk for each splat: in two checkpoints its values with the moments of Adam, and in
splats.ply."""
FIELD_BYTES = 150_000_000
"""The same for a run with a radiance field or a surface, mostly its hash grids in two
checkpoints."""
REST_BYTES = 2_000_000
"""Pictures, turntable and log of a row."""


def dry_run(batch: Batch, warn: Callable[[str], None]) -> list[str]:
    """Check all rows, and say in lines what the batch would take.

    Raises:
        UserError: As `run.run_batch`.
    """
    batch = checked(batch)
    listed, results = read_rows(batch.rows), results_of(batch)
    with makers_of(batch, warn) as (makers, batch):
        rows = planned(batch, listed, warn, results)
        count, unit, each, at_once = makers.count, *makers.unit, makers.in_words
    todo = [row for row in rows if row.progress != "done"]
    where = f"in {batch.folder}" if batch.url is None else f"to {batch.url}"
    lines = [f"{len(rows)} rows, {len(todo)} to make, {at_once}, {where}"]
    timed = [row for row in todo if math.isfinite(row.minutes)]
    if timed:
        work = sum(row.minutes for row in timed)
        longest = max(row.minutes for row in timed)
        wall = max(work / count, longest)
        hours = (wall if unit == "machine" else work * each) / 60
        lines.append(f"time: {_hours(wall)}, {hours:.1f} {unit} hours")
        if batch.price is not None:
            lines.append(f"cost: {hours * batch.price:.2f}, at {batch.price:g} an hour")
    if len(timed) < len(todo):
        lines.append(f"time of {len(todo) - len(timed)} rows by --steps: not known before they run")
    needed = sum(map(disk_bytes, todo))
    if batch.url is not None:
        return [*lines, f"at that URL: up to {needed / 1e9:.1f} GB"]
    free = shutil.disk_usage(_existing(batch.folder)).free
    lines.append(f"disk: up to {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
    if needed > free:
        warn(f"{batch.folder}: the disk may be full before the batch ends")
    return lines


def disk_bytes(row: Planned) -> int:
    """Bytes that the folder of a row may take."""
    stages = row.config.stages
    splats = max((s.densify.max_count for s in stages if s.representation == "splats"), default=0)
    fields = any(stage.representation != "splats" for stage in stages)
    # Until they are given up, or to the end, the checkpoints hold all objects.
    number = row.request.seeds
    return number * (splats * SPLAT_BYTES + fields * FIELD_BYTES + REST_BYTES)


def _hours(minutes: float) -> str:
    return f"about {minutes / 60:.1f} h" if minutes >= 90 else f"about {minutes:.0f} min"


def _existing(folder: Path) -> Path:
    """The nearest folder above that is there."""
    return next((f for f in (folder, *folder.absolute().parents) if f.is_dir()), Path.cwd())
