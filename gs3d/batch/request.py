"""What a user asks of `gs3d batch`."""

import math
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Literal

from gs3d.batch.remote.folder import is_url
from gs3d.batch.rows import Row
from gs3d.core.errors import UserError
from gs3d.core.runtime.threads import cores
from gs3d.runs.request import DEFAULT_MINUTES, Keep, Mode, Raster, Request, Vram, check_budget

Order = Literal["given", "shortest"]


@dataclass(frozen=True)
class Batch:
    """Many runs from a list of prompts."""

    rows: Path
    """List of rows: .txt with a prompt per line, .csv, or .jsonl with an object per line. Columns
    are prompt and, if wanted, name, seed, minutes, mode, prior and config, which go before the
    options below."""
    _: KW_ONLY
    minutes: float | None = None
    """Wall-clock minutes of each row. Default 3, unless steps are given. They do not count the time
    that a worker takes to load the prior, once for all its rows."""
    steps: int | None = None
    """Number of iterations of each row, instead of minutes."""
    out: str | Path | None = None
    """Folder of the batch, with one folder a row, or a URL that fsspec knows, such as
    s3://BUCKET/FOLDER, for the folders of the rows alone. Default outputs/batch-LIST."""
    workers: int | None = None
    """Number of rows at once. Default one per GPU, or one per two cores of a machine without a GPU.
    Each gets an equal share of the cores."""
    ray: str | None = None
    """Make the rows on a Ray cluster: auto, or its address as HOST:PORT. Wants
    pip install "gs3d[batch]" there and here."""
    gpus: float | None = None
    """With --ray, GPUs that a row takes. Default 1 where the device is cuda, else 0."""
    cpus: float | None = None
    """With --ray, CPUs that a row takes. Default 1 with a GPU, else 2."""
    memory: float | None = None
    """With --ray, gigabytes of a node that a row takes. By default they are not counted."""
    order: Order = "given"
    """Which rows come first: given, as in the list, or shortest, those with the fewest minutes."""
    max_failures: int | None = None
    """Start no more rows after this many have failed. By default failed rows stop nothing."""
    retries: int = 2
    """How often a row whose worker was killed goes on in another one, from its newest
    checkpoint."""
    hang_minutes: float = 15.0
    """Minutes without a new iteration or other news of a row, after which its process is ended and
    another one goes on, as with --retries; inf for never. Loading a prior and compiling its
    kernels may take many."""
    dry_run: bool = False
    """Check all rows, and print what the batch would take, without starting it."""
    price: float | None = None
    """Price of an hour of a GPU, or without one of this machine or, with --ray, of a CPU, for the
    cost of --dry-run."""
    prior: str = "auto"
    """Diffusion model, as for gs3d generate."""
    lora: tuple[str, ...] = ()
    """LoRA of every row, as for gs3d generate."""
    guidance: str | None = None
    """Guidance loss, as for gs3d generate."""
    config: str | None = None
    """Preset or YAML file, as for gs3d generate."""
    set: tuple[str, ...] = ()
    """Change a setting of the config, e.g. gaussians.count=5000. For several, repeat the option."""
    seeds: int = 1
    """Number of seeds that each row begins with, as for gs3d generate."""
    keep: Keep = "best"
    """best or all, as for gs3d generate."""
    mode: Mode = "splats"
    """splats, mesh, two-stage or scene, as for gs3d generate."""
    vram: Vram = "auto"
    """Gigabytes of each GPU, as for gs3d generate."""
    raster: Raster = "auto"
    """Rasterizer, as for gs3d generate."""
    device: str | None = None
    """Device of every worker: auto, cpu, cuda, mps or xpu. With cuda, or auto where there is one,
    each worker has a GPU of its own while there are enough; cuda:N uses that one alone."""

    @property
    def folder(self) -> Path:
        """Where the batch is, on this machine."""
        out = None if self.url else self.out
        return Path(out or Path("outputs") / f"batch-{self.rows.stem}")

    @property
    def url(self) -> str | None:
        """Where the folders of the rows go, if that is a URL."""
        return str(self.out) if self.out is not None and is_url(str(self.out)) else None

    def request_of(self, row: Row, resume: bool = False) -> Request:
        """The run of a row."""
        minutes = row.minutes or self.minutes
        unlimited = minutes is None and self.steps is None
        return Request(
            row.prompt,
            DEFAULT_MINUTES if unlimited else minutes,
            steps=None if row.minutes else self.steps,
            prior=row.prior or self.prior,
            lora=self.lora,
            guidance=self.guidance,
            seed=row.seed,
            seeds=self.seeds,
            keep=self.keep,
            out=self.folder / row.name,
            resume=resume,
            config=row.config or self.config,
            set=self.set,
            # A worker sees the card that it shall use, and no other.
            device="cuda" if (self.device or "").startswith("cuda:") else self.device,
            raster=self.raster,
            vram=self.vram,
            mode=row.mode or self.mode,
        )


def checked(batch: Batch) -> Batch:
    """The batch with its paths expanded.

    Raises:
        UserError: An option is out of range.
    """
    check_budget(batch.minutes, batch.steps)
    for flag, value, least in (
        ("--workers", batch.workers, 1),
        ("--max-failures", batch.max_failures, 1),
        ("--retries", batch.retries, 0),
        ("--gpus", batch.gpus, 0),
        ("--cpus", batch.cpus, 0),
        ("--memory", batch.memory, 0),
    ):
        if value is not None and not least <= value < math.inf:
            raise UserError(f"{flag}: expected {least} or more, got {value}")
    if batch.workers is not None and batch.workers > len(cores()):
        raise UserError(
            f"--workers: expected 1 to {len(cores())}, a core each, got {batch.workers}"
        )
    if not batch.hang_minutes > 0:
        raise UserError(f"--hang-minutes: expected a number above 0, got {batch.hang_minutes:g}")
    if batch.price is not None and not batch.price > 0:
        raise UserError(f"--price: expected a number above 0, got {batch.price:g}")
    if batch.price is not None and not batch.dry_run:
        raise UserError("--price: has no effect without --dry-run")
    if batch.ray is not None and batch.workers is not None:
        raise UserError("--workers: has no effect with --ray, which counts by --gpus and --cpus")
    for flag, value in (
        ("--gpus", batch.gpus),
        ("--cpus", batch.cpus),
        ("--memory", batch.memory),
    ):
        if value is not None and batch.ray is None:
            raise UserError(f"{flag}: has no effect without --ray")
    if batch.gpus == 0 and batch.cpus == 0:
        raise UserError("--cpus: expected more than 0 where --gpus is 0, got 0")
    out = batch.out if batch.out is None or batch.url else Path(batch.out).expanduser()
    return replace(batch, rows=batch.rows.expanduser(), out=out)
