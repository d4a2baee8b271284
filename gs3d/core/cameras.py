# pyright: reportUnknownMemberType=false
# torch has no complete types.
"""Cameras around an object in the unit sphere: representation, placement and sampling.

World axes: right-handed, +Z up, the object's front faces +X. Camera axes: OpenCV (x right, y down,
z forward), as world-to-camera matrices. Azimuth increases from +X towards +Y, elevation upwards.
Angles are in radians unless a name ends in `_deg`.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from gs3d.core.checks import ordered, within
from gs3d.core.errors import UserError
from gs3d.core.runtime.transfer import moved
from gs3d.core.schedules import Steps

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32, Int


@dataclass(frozen=True, repr=False)
class Cameras:
    """A batch of B pinhole cameras of one image size."""

    world_to_camera: Float32[Tensor, "B 4 4"]
    intrinsics: Float32[Tensor, "B 3 3"]
    """In pixels; the center of pixel (0, 0) is at (0.5, 0.5)."""
    width: int
    height: int
    inside: bool = False
    """Whether they are inside a scene. Their azimuth and elevation are then those in which they
    look, and not those at which they stand."""

    def __len__(self) -> int:
        return self.world_to_camera.shape[0]

    def __repr__(self) -> str:
        size = f"{self.width}×{self.height} pixels"
        return f"Cameras({len(self)} cameras, {size}, {self.world_to_camera.device})"

    def __getitem__(
        self, index: Bool[Tensor, " B"] | Int[Tensor, " M"] | list[int] | slice
    ) -> Cameras:
        return replace(
            self,
            world_to_camera=self.world_to_camera[index],
            intrinsics=self.intrinsics[index],
        )

    def to(self, device: torch.device | str) -> Cameras:
        return replace(
            self,
            world_to_camera=moved(self.world_to_camera, device),
            intrinsics=moved(self.intrinsics, device),
        )

    @property
    def centers(self) -> Float[Tensor, "B 3"]:
        """Camera positions in the world."""
        rotation, translation = self.world_to_camera[:, :3, :3], self.world_to_camera[:, :3, 3]
        return -(rotation.transpose(1, 2) @ translation[:, :, None])[:, :, 0]

    @property
    def _directions(self) -> Float[Tensor, "B 3"]:
        return self.world_to_camera[:, 2, :3] if self.inside else self.centers

    @property
    def azimuth_rad(self) -> Float[Tensor, " B"]:
        """Azimuth of each camera, or in which it looks (`inside`), in (−π, π]."""
        c = self._directions
        return torch.atan2(c[:, 1], c[:, 0])

    @property
    def elevation_rad(self) -> Float[Tensor, " B"]:
        """Elevation of each camera, or in which it looks (`inside`), in [−π/2, π/2]."""
        c = self._directions
        distance = cast(Tensor, c.norm(dim=1))
        return torch.asin((c[:, 2] / distance).clamp(-1, 1))


def rays(cameras: Cameras) -> tuple[Float[Tensor, "B H W 3"], Float[Tensor, "B H W"]]:
    """Compute the ray through each pixel center.

    Returns unit directions in the world, and the z-depth per unit of ray length.
    """
    k, device = cameras.intrinsics, cameras.intrinsics.device
    rows, columns = torch.meshgrid(
        torch.arange(cameras.height, device=device) + 0.5,
        torch.arange(cameras.width, device=device) + 0.5,
        indexing="ij",
    )
    x = (columns - k[:, 0, 2, None, None]) / k[:, 0, 0, None, None]
    y = (rows - k[:, 1, 2, None, None]) / k[:, 1, 1, None, None]
    local = torch.nn.functional.normalize(torch.stack([x, y, torch.ones_like(x)], dim=-1), dim=-1)
    return torch.einsum("bhwi,bij->bhwj", local, cameras.world_to_camera[:, :3, :3]), local[..., 2]


def unprojected(depth: Float[Tensor, "B H W"], cameras: Cameras) -> Float[Tensor, "B H W 3"]:
    """Unproject z-depths to points in the world."""
    directions, z_per_distance = rays(cameras)
    return cameras.centers[:, None, None] + (depth / z_per_distance)[..., None] * directions


def orbit(
    azimuth_rad: Float[Tensor, " B"],
    elevation_rad: Float[Tensor, " B"],
    distance: Float[Tensor, " B"],
    fovy_rad: Float[Tensor, " B"],
    width: int,
    height: int,
) -> Cameras:
    """Create upright cameras on spheres around the origin that look at the origin.

    The tensors have a value for each camera; angles are in radians, `distance` is in world units.
    `width` and `height` are in pixels.
    """
    ca, sa, ce, se = azimuth_rad.cos(), azimuth_rad.sin(), elevation_rad.cos(), elevation_rad.sin()
    outward = torch.stack([ce * ca, ce * sa, se], dim=1)
    # Computed from the azimuth alone, so it is well defined at the poles too.
    right = torch.stack([-sa, ca, torch.zeros_like(sa)], dim=1)
    down = cast(Tensor, torch.linalg.cross(-outward, right))
    world_to_camera = torch.eye(4).repeat(len(ca), 1, 1)
    world_to_camera[:, :3, :3] = torch.stack([right, down, -outward], dim=1)
    world_to_camera[:, 2, 3] = distance
    return Cameras(world_to_camera, pinhole(fovy_rad, width, height), width, height)


def pinhole(fovy_rad: Float[Tensor, " B"], width: int, height: int) -> Float[Tensor, "B 3 3"]:
    """Intrinsics in pixels for vertical fields of view, with the principal point in the middle."""
    intrinsics = torch.eye(3).repeat(len(fovy_rad), 1, 1)
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = 0.5 * height / (0.5 * fovy_rad).tan()
    intrinsics[:, 0, 2] = 0.5 * width
    intrinsics[:, 1, 2] = 0.5 * height
    return intrinsics


def distance_for(
    fovy_rad: Float[Tensor, " B"], fill: Float[Tensor, " B"] | float
) -> Float[Tensor, " B"]:
    """Distance at which the unit sphere spans the fraction `fill` of the image height."""
    return 1 / (fill * torch.sin(0.5 * fovy_rad))


def ring(
    count: int, size: int, elevation_deg: float = 15.0, fovy_deg: float = 38.0, fill: float = 0.95
) -> Cameras:
    """Create `count` evenly spaced cameras at one elevation, starting at the front.

    Used for contact sheets, turntables and metrics. Images are `size` × `size` pixels. Raises
    `UserError` unless `count` and `size` are whole numbers of 1 or more.
    """
    for name, value in (("count", count), ("size", size)):
        if not isinstance(value, numbers.Integral) or value < 1:
            raise UserError(f"ring: {name}: expected a whole number, 1 or more, got {value!r}")
    azimuth = torch.arange(count) * (2 * math.pi / count)
    fovy = torch.full((count,), math.radians(fovy_deg))
    return orbit(
        azimuth,
        torch.full((count,), math.radians(elevation_deg)),
        distance_for(fovy, fill),
        fovy,
        size,
        size,
    )


@dataclass(frozen=True)
class CameraConfig:
    """Distribution of the training cameras."""

    fovy_deg: tuple[float, float] = (30.0, 45.0)
    """Range of the vertical field of view, sampled uniformly (Consistent3D, App. A)."""
    fill: tuple[float, float] = (0.85, 1.0)
    """Range of the fraction of the image height that the unit sphere spans, sampled uniformly.

    The fraction and the field of view determine the camera distance."""
    elevation_deg: tuple[float, float] = (-10.0, 45.0)
    """Range of the elevation of all but the overhead cameras, sampled uniformly."""
    overhead_fraction: float = 0.06
    """Fraction of overhead cameras (elevation 60° to 85°)."""
    resolution_px: Steps = Steps((0.0,), (64,))
    """Side length of the square renders, over the run."""
    draws: int | None = None
    """How many times a stage samples new cameras; None samples at every iteration.

    Each sample serves an equal share of the stage's iterations. A prior with only coarse view
    words in its prompts pulls neighboring views towards different objects, and the average over
    very many samples is a round shape. A long run that reuses its cameras keeps more of the shape
    than one that moves them at every iteration."""
    inside: bool = False
    """Cameras inside a scene, near the origin, that look out (`core.views.inside`). `elevation_deg`
    is then that in which they look; `fill`, `overhead_fraction` and `aim_jitter` mean nothing."""
    eye_radius: float = 0.15
    """Radius of the ball around the origin in which cameras inside a scene are."""
    aim_jitter: float = 0.0
    """Largest random shift of a camera along each axis of its image, in radii of the unit sphere.

    The camera keeps its direction, so that the object leaves the center of the image. A prior that
    always sees it there can prefer one side of the image."""

    def __post_init__(self) -> None:
        ordered("fovy_deg", self.fovy_deg, "(1, 170)")
        ordered("fill", self.fill, "(0, 2]")
        ordered("elevation_deg", self.elevation_deg, "[-90, 90]")
        within("overhead_fraction", self.overhead_fraction, "[0, 1]")
        within("resolution_px", self.resolution_px.values, "[8, 4096]")
        if self.draws is not None:
            within("draws", self.draws, "[1, inf)")
        within("aim_jitter", self.aim_jitter, "[0, 1]")
        within("eye_radius", self.eye_radius, "[0, inf)")

    def pixel_size(self, progress: float) -> float:
        """Width of the smallest pixel of any render at `progress`, measured at the origin, in world
        units.

        A camera at distance 1/(fill·sin(fovy/2)) with a focal length of H/(2·tan(fovy/2)) pixels
        has pixels of 2/(H·fill·cos(fovy/2)).
        """
        half_rad = 0.5 * math.radians(self.fovy_deg[0])
        return 2 / (self.resolution_px(progress) * self.fill[1] * math.cos(half_rad))

    def draw(self, step: int, progress: float) -> int:
        """Index of the camera sample that this iteration uses."""
        # 1e-9 compensates for rounding: in floating point, 0.29 · 100 is below 29.
        return step if self.draws is None else int(progress * self.draws + 1e-9)


GROUP = 4
"""Views per group of a multi-view prior: one in each quarter of the circle."""


def sample_cameras(
    config: CameraConfig, batch: int, progress: float, gen: torch.Generator, together: int = 1
) -> Cameras:
    """Sample `batch` random cameras with azimuths stratified over the four view sectors.

    The sectors are front, left, back and right, as for the view words (`core.views.words`). View i
    belongs to sector i mod 4, and the views of one sector are stratified inside it. A batch of
    four or more thus covers every sector, so no view word applies to the whole batch
    (Consistent3D, App. A). If four does not divide `batch`, the first sector is random.

    `together` is 1 for independent cameras, or 4 (`GROUP`) for a prior that denoises four views
    jointly (MVDream, Shi et al., 2023). In the latter case views 4k to 4k + 3 share elevation,
    distance, field of view and shift. The first of them is within 45° of the front, and each
    following one is 90° further to the object's left.

    Raises `ValueError` for another `together`, or if it does not divide `batch`.
    """
    if together not in (1, GROUP) or batch % together:
        raise ValueError(
            f"sample_cameras: expected together=1, or together={GROUP} and a batch of whole groups "
            f"of {GROUP}, got batch={batch}, together={together}"
        )
    u = torch.rand(5, batch, generator=gen)
    u = u[:, ::together].repeat_interleave(together, dim=1)
    first = int(torch.randint(4, (1,), generator=gen)) if batch % 4 else 0
    sector = (torch.arange(batch) + first) % 4
    # If four does not divide the batch, some sectors have fewer views than others.
    per_sector = torch.bincount(sector, minlength=4)[sector]
    fraction = (torch.arange(batch) // 4 + u[0]) / per_sector
    azimuth = (sector - 0.5 + fraction) * (math.pi / 2)
    overhead = u[1] < config.overhead_fraction
    low, high = config.elevation_deg
    elevation = torch.where(overhead, 60 + 25 * u[2], low + (high - low) * u[2]) * (math.pi / 180)
    fovy = (config.fovy_deg[0] + (config.fovy_deg[1] - config.fovy_deg[0]) * u[3]) * (math.pi / 180)
    fill = config.fill[0] + (config.fill[1] - config.fill[0]) * u[4]
    size = config.resolution_px(progress)
    cameras = orbit(azimuth, elevation, distance_for(fovy, fill), fovy, size, size)
    if config.aim_jitter:
        shift = torch.rand(batch // together, 2, generator=gen).repeat_interleave(together, dim=0)
        cameras.world_to_camera[:, :2, 3] += config.aim_jitter * (2 * shift - 1)
    return cameras
