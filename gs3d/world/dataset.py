"""A dataset of rendered samples on disk, in shards, for training priors and classifiers.

Shard k depends only on the settings and on k (for renders on a CUDA device, up to the differences
that `render` documents). Images keep their alpha channel, so that each epoch can composite them
over other backgrounds.
"""

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
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
from gs3d.core.views.words import exact_views, view_words
from gs3d.world.render import Device, render
from gs3d.world.sample import sample
from gs3d.world.splits import Split

SHARD = 2048
"""Images per shard."""
VIEWS = GROUP
"""Images per object. Generating an object costs as much as rendering it once."""

CAMERAS = CameraConfig(
    elevation_deg=(-10.0, 50.0), overhead_fraction=0.08, resolution_px=Steps((0.0,), (64,))
)
"""Ranges that contain the cameras of any run with the built-in prior."""


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
    """Render shard `index` into `folder` unless it exists; return the path of its .npy file.

    A shard is two files: shard_00000.npy, [SHARD, H, W, 4] uint8 with colors premultiplied by
    alpha, and shard_00000.json with one row of labels per image.

    Args:
        spread, split: As for `world.sample.sample`.
        normals: Fraction of the images (with `together`: of the groups) that are normal maps.
        together: As for `core.cameras.sample_cameras`. With `GROUP`, all cameras of a group see
            the same object.
        device: As for `render`.
    """
    path = path_of(folder, index)
    if exists(path):
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
    renders = render([objects[i].parts for i in owner], cameras, device=device)
    is_normal_map = (
        np.random.default_rng(derive_seed(seed, "world shard normals", index)).random(SHARD)
        < normals
    )
    is_normal_map = np.repeat(is_normal_map[::together], together)
    rgb = np.where(is_normal_map[:, None, None, None], renders.facing(cameras), renders.rgb)
    rgba = np.concatenate([rgb, renders.alpha[..., None]], axis=-1)
    labels = [
        {
            **asdict(objects[i].thing),
            "relation": objects[i].relation,
            "other": (other := objects[i].other) and asdict(other),
            "caption": objects[i].caption,
            "view": view,
            "exact_view": exact_view,
            "normals": bool(is_map),
        }
        for i, view, exact_view, is_map in zip(
            owner, view_words(cameras), exact_views(cameras), is_normal_map, strict=True
        )
    ]
    save(path, rgba, labels)
    return path


def write_shards(
    folder: Path,
    seed: int,
    count: int,
    workers: int = 1,
    write: Callable[..., Path] = write_shard,
    **settings,
) -> Iterator[int]:
    """Write the first `count` shards of a seed with `write(folder, seed, index, **settings)`.

    Yields the number of shards that exist so far, once for each shard that it renders.

    The shards are divided among `workers` processes: Python generates objects one at a time, and a
    GPU renders faster than one process can generate them.
    """
    missing = [index for index in range(count) if not exists(path_of(folder, index))]
    jobs = [partial(write, folder, seed, index, **settings) for index in missing]
    if workers == 1 or not jobs:
        for done, job in enumerate(jobs, 1 + count - len(jobs)):
            job()
            yield done
        return
    threads = max(1, len(cores()) // workers)
    with ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), torch.set_num_threads, (threads,)
    ) as executor:
        try:
            for done, future in enumerate(
                as_completed([executor.submit(job) for job in jobs]), 1 + count - len(jobs)
            ):
                future.result()
                yield done
        except BaseException:
            # Without this, all other shards would be rendered before the error is reported.
            executor.shutdown(cancel_futures=True)
            raise


def path_of(folder: Path, index: int) -> Path:
    """The .npy file of a shard."""
    return folder / f"shard_{index:05d}.npy"


def exists(path: Path) -> bool:
    """Whether both files of a shard are there."""
    return path.exists() and path.with_suffix(".json").exists()


def save(path: Path, rgba: np.ndarray, labels: list[dict]) -> None:
    """Write both files of a shard: images [n, H, W, 4] in [0, 1], and a label for each."""
    _write(path.with_suffix(".json"), lambda f: f.write(json.dumps(labels).encode()))
    _write(path, lambda f: np.save(f, (rgba * 255 + 0.5).astype(np.uint8)))


def _write(path: Path, write) -> None:
    temporary = path.with_suffix(path.suffix + ".tmp")
    with open(temporary, "wb") as f:
        write(f)
    os.replace(temporary, path)


@dataclass(frozen=True)
class Dataset:
    """The shards of a folder, read through memory maps."""

    images: list[np.ndarray]
    """[SHARD, H, W, 4] uint8, one array per shard."""
    labels: list[dict]
    """One row per image."""

    @staticmethod
    def open(folder: Path) -> "Dataset":
        """Open all shards of `folder`; raises FileNotFoundError if it has none."""
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
        """The images at `indices` [n]: [n, H, W, 4] float32 in [0, 1], premultiplied by alpha."""
        return (
            np.stack([self.images[i // SHARD][i % SHARD] for i in indices]).astype(np.float32) / 255
        )


@dataclass(frozen=True)
class Stored:
    """The images of a dataset, stored where training needs them.

    Training on a CPU reads them from disk. Training on a GPU keeps them all in GPU memory.
    """

    dataset: Dataset
    images: torch.Tensor | None
    """[N, H, W, 4] uint8 on the GPU; None on a CPU."""

    @staticmethod
    def of(dataset: Dataset, device: str) -> "Stored":
        """Load all images of `dataset` onto `device`, unless that is "cpu"."""
        images = None
        if device != "cpu":
            images = torch.cat(
                [torch.from_numpy(np.array(shard)).to(device) for shard in dataset.images]
            )
        return Stored(dataset, images)

    def rgba(self, indices: torch.Tensor) -> torch.Tensor:
        """The images at `indices` [n], a tensor on the device; returned as by `Dataset.rgba`."""
        if self.images is None:
            return torch.from_numpy(self.dataset.rgba(indices.numpy()))
        return self.images[indices].float() / 255
