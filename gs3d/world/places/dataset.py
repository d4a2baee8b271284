"""Shards of pictures of places, in the form of `world.dataset`."""

from pathlib import Path

import numpy as np

from gs3d.core.cameras import CameraConfig
from gs3d.core.rng import derive_seed, generator
from gs3d.core.schedules import Steps
from gs3d.core.views.inside import sample_inside
from gs3d.core.views.words import exact_views, view_words
from gs3d.world.dataset import SHARD, exists, path_of, save
from gs3d.world.places.layout import sample_place
from gs3d.world.places.render import render_places
from gs3d.world.render import Device

VIEWS = 8
"""Pictures of a place, spread over all directions. Drawing a place takes longer than a picture."""
CAMERAS = CameraConfig(
    inside=True,
    fovy_deg=(50.0, 75.0),
    elevation_deg=(-20.0, 30.0),
    eye_radius=0.25,
    resolution_px=Steps((0.0,), (64,)),
)
"""Ranges that contain the cameras of any run with the built-in prior of scenes."""


def write_place_shard(
    folder: Path, seed: int, index: int, config: CameraConfig = CAMERAS, device: Device = "cpu"
) -> Path:
    """Render shard `index` into `folder` unless it exists; return the path of its .npy file.

    The files are those of `world.dataset.write_shard`, with an alpha of 1 everywhere.
    """
    path = path_of(folder, index)
    if exists(path):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(derive_seed(seed, "place shard", index))
    gen = generator(seed, "place shard cameras", index)
    images, labels = [], []
    for _ in range(SHARD // VIEWS):
        place, cameras = sample_place(rng), sample_inside(config, VIEWS, 0.0, gen)
        images.append(render_places([place] * VIEWS, cameras, device=device).rgb)
        labels += [
            {"caption": place.caption, "view": view, "exact_view": exact, "normals": False}
            for view, exact in zip(view_words(cameras), exact_views(cameras), strict=True)
        ]
    rgb = np.concatenate(images)
    save(path, np.concatenate([rgb, np.ones_like(rgb[..., :1])], axis=-1), labels)
    return path
