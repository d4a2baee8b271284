"""Render a dataset of captioned images of the procedural world, in shards.

`python scripts/render_world.py --out runs/dataset --images 65536`
"""

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from gs3d.core.schedules import Steps
from gs3d.world.dataset import CAMERAS, SHARD, write_shards
from gs3d.world.places.dataset import CAMERAS as INSIDE
from gs3d.world.places.dataset import write_place_shard
from gs3d.world.render import Device
from gs3d.world.splits import Split
from gs3d.world.version import PLACES, SOURCES, source_digest


@dataclass(frozen=True)
class Args:
    out: Path
    """Output directory of the shards; existing shards are kept."""
    images: int = 65536
    """Total images, rounded up to full shards."""
    seed: int = 1
    """Seed of the dataset. The classifier and the prior are trained on different seeds."""
    spread: float = 1.0
    """Share of the range of an object's proportions to sample from, around its middle."""
    fovy_deg: tuple[float, float] = CAMERAS.fovy_deg
    """Range of the vertical field of view."""
    fill: tuple[float, float] = CAMERAS.fill
    """Range of the share of the image height that the unit sphere fills."""
    split: Split | None = None
    """Only attribute combinations of this split: "seen" or "unseen" in training; default: all."""
    size_px: int = 64
    """Side of an image."""
    normals: float = 0.0
    """Share of the images that are normal maps."""
    places: bool = False
    """Rooms and landscapes, seen from inside, in place of objects. Of the other settings, only
    --seed, --images, --size-px, --workers and --device count for them."""
    together: int = 1
    """4 renders four consecutive views of each object, for training a prior with --views 4."""
    workers: int = 1
    """Number of processes."""
    device: Device = "cpu"
    """cuda renders on the GPU and needs numba-cuda."""


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
    settings["world"] = source_digest(PLACES if args.places else SOURCES)
    if not args.places:
        # As in folders from before there were places.
        del settings["places"]
    record = args.out / "settings.json"
    if record.exists() and json.loads(record.read_text()) != settings:
        raise SystemExit(
            f"{args.out}: contains images with settings {record.read_text().strip()},"
            f" not {json.dumps(settings)}; choose another --out"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(settings) + "\n")
    start, before = time.monotonic(), len(list(args.out.glob("shard_*.npy")))
    options: dict[str, Any] = {
        "config": cameras,
        "spread": args.spread,
        "split": args.split,
        "normals": args.normals,
        "together": args.together,
    }
    if args.places:
        inside = dataclasses.replace(INSIDE, resolution_px=Steps((0.0,), (args.size_px,)))
        options = {"write": write_place_shard, "config": inside}
    for done in write_shards(
        args.out, args.seed, count, args.workers, device=args.device, **options
    ):
        rate = (done - before) * SHARD / (time.monotonic() - start)
        print(f"shard {done}/{count}  {rate:.0f} images/s", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
