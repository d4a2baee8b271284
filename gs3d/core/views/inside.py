# pyright: reportUnknownMemberType=false
# torch has no complete types.
"""Cameras inside a scene, which look out of it, and panoramas from where they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from gs3d.core.cameras import CameraConfig, Cameras, pinhole

if TYPE_CHECKING:
    from jaxtyping import Float

EYE_HEIGHT = 0.5
"""Height of the origin, near which the cameras are, above the floor, in world units."""
FACE_DEG = 100.0
"""Field of view of the six cameras of a panorama. More than 90°, so that each pixel between two of
them lies inside one."""


def looking(
    azimuth_rad: Float[Tensor, " B"],
    elevation_rad: Float[Tensor, " B"],
    position: Float[Tensor, "B 3"],
    fovy_rad: Float[Tensor, " B"],
    width: int,
    height: int,
) -> Cameras:
    """Create upright cameras at `position` that look in the direction of the angles.

    `width` and `height` are in pixels.
    """
    ca, sa = azimuth_rad.cos(), azimuth_rad.sin()
    ce, se = elevation_rad.cos(), elevation_rad.sin()
    forward = torch.stack([ce * ca, ce * sa, se], dim=1)
    # Computed from the azimuth alone, so it is well defined straight up and down too.
    right = torch.stack([sa, -ca, torch.zeros_like(sa)], dim=1)
    down = cast(Tensor, torch.linalg.cross(forward, right))
    rotation = torch.stack([right, down, forward], dim=1)
    world_to_camera = torch.eye(4).repeat(len(ca), 1, 1)
    world_to_camera[:, :3, :3] = rotation
    world_to_camera[:, :3, 3] = -(rotation @ position[:, :, None])[:, :, 0]
    intrinsics = pinhole(fovy_rad, width, height)
    return Cameras(world_to_camera, intrinsics, width, height, inside=True)


def sample_inside(
    config: CameraConfig, batch: int, progress: float, gen: torch.Generator
) -> Cameras:
    """Sample `batch` random cameras in the ball of `eye_radius`, which look all around.

    Their azimuths are stratified over the whole circle, from a random start.
    """
    u = torch.rand(4, batch, generator=gen)
    start = float(torch.rand((), generator=gen))
    azimuth = 2 * math.pi * ((torch.arange(batch) + u[0]) / batch + start)
    low, high = config.elevation_deg
    elevation = (low + (high - low) * u[1]) * (math.pi / 180)
    fovy = (config.fovy_deg[0] + (config.fovy_deg[1] - config.fovy_deg[0]) * u[2]) * (math.pi / 180)
    direction = torch.nn.functional.normalize(torch.randn(batch, 3, generator=gen), dim=1)
    position = config.eye_radius * u[3, :, None] ** (1 / 3) * direction
    size = config.resolution_px(progress)
    return looking(azimuth, elevation, position, fovy, size, size)


def around(count: int, size: int, elevation_deg: float = -5.0, fovy_deg: float = 60.0) -> Cameras:
    """Create `count` cameras at the origin that look around to the left, from the front on.

    Used for contact sheets and turntables of scenes. Images are `size` × `size` pixels.
    """
    azimuth = torch.arange(count) * (2 * math.pi / count)
    elevation = torch.full((count,), math.radians(elevation_deg))
    fovy = torch.full((count,), math.radians(fovy_deg))
    return looking(azimuth, elevation, torch.zeros(count, 3), fovy, size, size)


def faces(height: int) -> Cameras:
    """The six cameras at the origin whose images `panorama` joins to one of `height` pixels: four
    level ones, up and down."""
    quarter = math.pi / 2
    azimuth = torch.tensor([0, quarter, 2 * quarter, 3 * quarter, 0, 0])
    elevation = torch.tensor([0, 0, 0, 0, quarter, -quarter])
    fovy = torch.full((6,), math.radians(FACE_DEG))
    # As fine at the center of a face as the panorama is at the horizon.
    size = math.ceil(2 * math.tan(math.radians(FACE_DEG / 2)) * height / math.pi)
    return looking(azimuth, elevation, torch.zeros(6, 3), fovy, size, size)


def panorama(images: Float[Tensor, "6 S S C"], height: int) -> Float[Tensor, "H 2H C"]:
    """Join the images of the six cameras of `faces(height)` to an equirectangular panorama.

    The front is in the middle, left of it is left, and the top row is straight up.
    """
    cameras = faces(height)
    rows = (torch.arange(height) + 0.5) / height
    columns = (torch.arange(2 * height) + 0.5) / (2 * height)
    elevation = (0.5 - rows)[:, None] * math.pi
    azimuth = (0.5 - columns)[None, :] * (2 * math.pi)
    rays = torch.stack(
        [
            elevation.cos() * azimuth.cos(),
            elevation.cos() * azimuth.sin(),
            elevation.sin().expand(-1, 2 * height),
        ],
        dim=-1,
    ).to(images)
    turns = cameras.world_to_camera[:, :3, :3].to(images)
    # The face that looks nearest to the direction of a pixel.
    best = torch.einsum("fi,hwi->fhw", turns[:, 2], rays).argmax(dim=0)
    wide = math.tan(math.radians(FACE_DEG / 2))
    found = images.new_empty(height, 2 * height, images.shape[3])
    for face, turn in enumerate(turns):
        seen = rays[best == face] @ turn.T
        # grid_sample takes [−1, 1].
        grid = (seen[:, :2] / (wide * seen[:, 2:]))[None, None]
        plane = images[face].permute(2, 0, 1)[None]
        sampled = torch.nn.functional.grid_sample(plane, grid, align_corners=False)
        found[best == face] = sampled[0, :, 0].T
    return found
