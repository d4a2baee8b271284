"""Render a pool of world samples: `python scripts/render_world.py --out runs/pool --images 65536`."""

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from gs3d.core.schedules import Steps
from gs3d.world.dataset import CAMERAS, SHARD, write_shards
from gs3d.world.render import Device
from gs3d.world.splits import Split
from gs3d.world.version import source_digest


@dataclass(frozen=True)
class Args:
    out: Path
    """Folder of the shards; those already there are kept."""
    images: int = 65536
    """Pictures in all, rounded up to whole shards."""
    seed: int = 1
    """Seed of the pool. The classifier is trained on another one than the prior."""
    spread: float = 1.0
    """Share of the range that the proportions of a kind are drawn from, about its middle."""
    fovy_deg: tuple[float, float] = CAMERAS.fovy_deg
    """Vertical field of view."""
    fill: tuple[float, float] = CAMERAS.fill
    """Share of the image height that the unit sphere takes."""
    split: Split | None = None
    """Only combinations of this split (`gs3d.world.splits`); all of them by default."""
    size_px: int = 64
    """Side of a picture."""
    normals: float = 0.0
    """Share of the pictures that are normal maps."""
    together: int = 1
    """4: each object from four sides at once, for a prior that looks at four views together."""
    workers: int = 1
    """Processes that share the work."""
    device: Device = "cpu"
    """cuda draws on a card; needs numba-cuda."""


def main(args: Args) -> None:
    count = -(-args.images // SHARD)
    cameras = dataclasses.replace(
        CAMERAS,
        fovy_deg=args.fovy_deg,
        fill=args.fill,
        resolution_px=Steps((0.0,), (args.size_px,)),
    )
    settings = {
        k: list(v) if isinstance(v, tuple) else v
        for k, v in dataclasses.asdict(args).items()
        if k not in ("out", "images", "workers", "device")
    }
    settings["world"] = source_digest()
    record = args.out / "settings.json"
    if record.exists() and json.loads(record.read_text()) != settings:
        raise SystemExit(
            f"{args.out}: holds pictures of {record.read_text().strip()}, not {json.dumps(settings)}; choose another --out"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(settings) + "\n")
    start, before = time.monotonic(), len(list(args.out.glob("shard_*.npy")))
    made = {
        "config": cameras,
        "spread": args.spread,
        "split": args.split,
        "normals": args.normals,
        "together": args.together,
    }
    for done in write_shards(args.out, args.seed, count, args.workers, device=args.device, **made):
        print(
            f"shard {done}/{count}  {(done - before) * SHARD / (time.monotonic() - start):.0f} images/s",
            flush=True,
        )


if __name__ == "__main__":
    main(tyro.cli(Args))
