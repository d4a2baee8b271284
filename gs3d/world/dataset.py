"""A pool of rendered samples on disk, in shards, for training priors and classifiers.

Shard k is a function of the pool's settings and k alone (on a card but for what `render` says). Pictures keep their alpha, so that every
epoch can put them on other backgrounds.
"""

import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from gs3d.core.cameras import GROUP, CameraConfig, sample_cameras
from gs3d.core.rng import derive_seed, generator
from gs3d.core.runtime.threads import cores
from gs3d.core.schedules import Steps
from gs3d.core.views import exact_views, view_words
from gs3d.world.render import Device, render
from gs3d.world.sample import sample
from gs3d.world.splits import Split

SHARD = 2048
VIEWS = GROUP  # pictures of one object: making it costs as much as drawing it once


CAMERAS = CameraConfig(
    elevation_deg=(-10.0, 50.0), overhead_fraction=0.08, resolution_px=Steps((0.0,), (64,))
)
"""Wide enough for the cameras of any run on the built-in prior."""


def write_shard(
    folder: Path,
    seed: int,
    index: int,
    config: CameraConfig = CAMERAS,
    spread: float = 1.0,
    split: Split | None = None,
    normals: float = 0.0,
    together: int = 1,
    device: Device = "cpu",
) -> Path:
    """Render shard `index` into `folder` unless it is there: shard_00000.npy [SHARD, H, W, 4] uint8 and shard_00000.json.

    `spread` and `split` are those of `world.sample`, `together` that of `sample_cameras`: then each group of cameras looks at one
    object. A share `normals` of the pictures (of the groups) are normal maps. `device` is that of `render`.
    """
    path = _path(folder, index)
    if _is_there(path):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(derive_seed(seed, "world shard", index))
    objects = [sample(rng, spread=spread, split=split) for _ in range(SHARD // VIEWS)]
    cameras = sample_cameras(
        config, SHARD, 0.0, generator(seed, "world shard cameras", index), together
    )
    owner = np.repeat(np.arange(len(objects)), VIEWS)
    if together == 1:
        owner = np.random.default_rng(derive_seed(seed, "world shard owners", index)).permutation(
            owner
        )
    pictures = render([objects[i].parts for i in owner], cameras, device=device)
    mapped = (
        np.random.default_rng(derive_seed(seed, "world shard normals", index)).random(SHARD)
        < normals
    )
    mapped = np.repeat(mapped[::together], together)
    rgb = np.where(mapped[:, None, None, None], pictures.facing(cameras), pictures.rgb)
    rgba = np.concatenate([rgb, pictures.alpha[..., None]], axis=-1)
    labels = [
        {
            **asdict(objects[i].thing),
            "relation": objects[i].relation,
            "other": objects[i].other and asdict(objects[i].other),
            "caption": objects[i].caption,
            "view": rough,
            "exact_view": exact,
            "normals": bool(is_map),
        }
        for i, rough, exact, is_map in zip(
            owner, view_words(cameras), exact_views(cameras), mapped, strict=True
        )
    ]
    _write(path.with_suffix(".json"), lambda f: f.write(json.dumps(labels).encode()))
    _write(path, lambda f: np.save(f, (rgba * 255 + 0.5).astype(np.uint8)))
    return path


def write_shards(
    folder: Path, seed: int, count: int, workers: int = 1, **settings
) -> Iterator[int]:
    """The first `count` shards of a seed by `write_shard(**settings)`; yields how many there are so far, once for each that it renders.

    `workers` processes share them: objects are made by Python, one at a time, and a card draws faster than one process makes them.
    """
    missing = [index for index in range(count) if not _is_there(_path(folder, index))]
    jobs = [partial(write_shard, folder, seed, index, **settings) for index in missing]
    if workers == 1 or not jobs:
        for done, job in enumerate(jobs, 1 + count - len(jobs)):
            job()
            yield done
        return
    threads = max(1, len(cores()) // workers)
    with ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _few_threads, (threads,)
    ) as dataset:
        try:
            for done, future in enumerate(
                as_completed([dataset.submit(job) for job in jobs]), 1 + count - len(jobs)
            ):
                future.result()
                yield done
        except BaseException:
            dataset.shutdown(
                cancel_futures=True
            )  # else it would make all the others before it says what went wrong
            raise


def _path(folder: Path, index: int) -> Path:
    return folder / f"shard_{index:05d}.npy"


def _is_there(path: Path) -> bool:
    return path.exists() and path.with_suffix(".json").exists()


def _few_threads(count: int) -> None:
    os.environ["NUMBA_NUM_THREADS"] = str(count)
    torch.set_num_threads(count)


def _write(path: Path, write) -> None:
    temporary = path.with_suffix(path.suffix + ".tmp")
    with open(temporary, "wb") as f:
        write(f)
    os.replace(temporary, path)


@dataclass(frozen=True)
class Dataset:
    """The shards of a folder, read through memory maps."""

    images: list[np.ndarray]
    labels: list[dict]

    @staticmethod
    def open(folder: Path) -> "Dataset":
        paths = sorted(folder.glob("shard_*.npy"))
        if not paths:
            raise FileNotFoundError(
                f"no shards in {folder}: render some first (scripts/render_world.py)"
            )
        labels = [row for p in paths for row in json.loads(p.with_suffix(".json").read_text())]
        return Dataset([np.load(p, mmap_mode="r") for p in paths], labels)

    def __len__(self) -> int:
        return len(self.labels)

    def rgba(self, indices: np.ndarray) -> np.ndarray:
        """[n, H, W, 4] float32 in [0, 1], colors premultiplied."""
        return (
            np.stack([self.images[i // SHARD][i % SHARD] for i in indices]).astype(np.float32) / 255
        )


@dataclass(frozen=True)
class Stored:
    """The pictures of a pool where a training needs them: read from disk for a CPU, all in memory of a GPU."""

    dataset: Dataset
    images: torch.Tensor | None
    """[N, H, W, 4] uint8 on the GPU."""

    @staticmethod
    def of(dataset: Dataset, device: str) -> "Stored":
        whole = None
        if device != "cpu":
            whole = torch.cat(
                [torch.from_numpy(np.array(shard)).to(device) for shard in dataset.images]
            )
        return Stored(dataset, whole)

    def rgba(self, indices: torch.Tensor) -> torch.Tensor:
        """Of `indices` [n] on the device: [n, H, W, 4] float32 in [0, 1], colors premultiplied."""
        if self.images is None:
            return torch.from_numpy(self.dataset.rgba(indices.numpy()))
        return self.images[indices].float() / 255
