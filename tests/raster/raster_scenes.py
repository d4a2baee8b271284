"""Seeded test scenes, including edge cases, and tools to compare two rasterizers on them."""

from collections.abc import Callable

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras, orbit
from gs3d.core.types import Render, Splats

FIELDS = ("means", "quats", "scales", "opacities", "sh")


def cameras(views: int = 2, width: int = 37, height: int = 29, seed: int = 0) -> Cameras:
    """Cameras around the origin that look at it.

    The default image size is not a multiple of the tile size. The principal point is off-center.
    """
    g = torch.Generator().manual_seed(seed)
    azimuth, elevation = 6.3 * torch.rand(views, generator=g), torch.rand(views, generator=g) - 0.3
    out = orbit(
        azimuth,
        elevation,
        3 + torch.rand(views, generator=g),
        0.7 + 0.2 * torch.rand(views, generator=g),
        width,
        height,
    )
    out.intrinsics[:, 0, 2] += 1.7
    out.intrinsics[:, 1, 2] -= 2.3
    return out


def camera_along_z(width: int = 32, height: int = 32, focal_px: float = 40.0) -> Cameras:
    """One camera at the world origin that looks along +Z, so that depth equals z."""
    intrinsics = torch.tensor([[[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1]]])
    return Cameras(torch.eye(4)[None], intrinsics, width, height)


def random_scene(count: int = 150, degree: int = 0, seed: int = 0, size: float = 0.08) -> Splats:
    g = torch.Generator().manual_seed(seed)
    return Splats(
        means=0.4 * torch.randn(count, 3, generator=g),
        quats=torch.randn(count, 4, generator=g),
        scales=size * (0.7 * torch.randn(count, 3, generator=g)).exp(),
        opacities=torch.sigmoid(1.5 * torch.randn(count, generator=g)),
        sh=0.4 * torch.randn(count, (degree + 1) ** 2, 3, generator=g),
    )


def with_first_rows(scene: Splats, **fields: Tensor) -> Splats:
    """Copy of the scene with the first rows of some fields replaced."""
    new = {name: getattr(scene, name).clone() for name in FIELDS}
    for name, value in fields.items():
        new[name][: len(value)] = value
    return Splats(**new)


def edge_case_scenes() -> dict[str, tuple[Splats, Cameras]]:
    """Scenes that violate common assumptions of rasterizers, by name, with their cameras.

    Each has one camera at the origin that looks along +Z.
    """
    base = random_scene(40, 1, 3)
    base = with_first_rows(base, means=base.means + torch.tensor([0.0, 0.0, 3.0]))
    near_means = torch.tensor(
        [
            *([0.1, 0.0, -1.0], [0.0, 0.1, 0.0], [0.001, 0.0, 0.0099]),
            *([0.001, 0.002, 0.0101], [0.05, 0.05, 0.05], [0, 0, 1e6]),
        ]
    )
    off_screen_means = torch.tensor(
        [[1.6, 0.0, 2.0], [0.0, -1.4, 2.0], [9.0, 9.0, 1.0], [-2.0, 1.0, 1.2], [1.0, 0.0, 0.5]]
    )
    quats = torch.tensor([[0.0, 0, 0, 0], [1e-20, 0, 0, 0], [1e-3, 2e-3, 0, 0], [0, 0, 5e3, 1e3]])
    camera = camera_along_z()
    return {
        "near plane": (
            with_first_rows(base, means=near_means, scales=torch.full((6, 3), 1e-3)),
            camera,
        ),
        "near and large": (
            with_first_rows(base, means=near_means, scales=torch.full((6, 3), 0.3)),
            camera,
        ),
        "off screen": (
            with_first_rows(base, means=off_screen_means, scales=torch.full((5, 3), 0.4)),
            camera,
        ),
        "huge": (
            with_first_rows(
                base, scales=torch.tensor([[1e2, 1e2, 1e2], [3e3, 1.0, 1.0], [10.0, 0.1, 10.0]])
            ),
            camera,
        ),
        "beyond float32": (
            with_first_rows(base, scales=torch.tensor([[1e30, 1e30, 1e30], [1e15, 1e-3, 1e-3]])),
            camera,
        ),
        "needles": (
            with_first_rows(
                base, scales=torch.tensor([[1.0, 1e-4, 1e-4], [2.0, 1e-6, 1e-6], [1e-4, 0.7, 1e-3]])
            ),
            camera,
        ),
        "zero scale": (
            with_first_rows(
                base, scales=torch.tensor([[0.0, 0.0, 0.0], [1e-12, 1e-12, 1e-12], [0.1, 0.0, 0.1]])
            ),
            camera,
        ),
        "transparent": (
            with_first_rows(base, opacities=torch.tensor([0.0, 1e-9, 1 / 256, 1 / 254.9, 0.004])),
            camera,
        ),
        "all transparent": (with_first_rows(base, opacities=torch.zeros(40)), camera),
        "opaque": (with_first_rows(base, opacities=torch.ones(40)), camera),
        "zero quaternions": (with_first_rows(base, quats=quats), camera),
        "coincident": (
            with_first_rows(base, means=torch.tensor([[0.1, 0.1, 2.5]]).repeat(20, 1)),
            camera,
        ),
        "isotropic": (with_first_rows(base, scales=torch.full((40, 3), 0.1)), camera),
        "negative color": (with_first_rows(base, sh=torch.full((40, 4, 3), -2.0)), camera),
        "one splat": (base[:1], camera),
        "one pixel": (base, camera_along_z(1, 1, 1.0)),
        "narrow image": (base, camera_along_z(3, 70, 60.0)),
        "no splats": (random_scene(0, 1), camera),
    }


def draw(
    rasterizer: Callable[..., Render],
    scene: Splats,
    views: Cameras,
    dtype: torch.dtype,
    normals: bool,
    loss_terms: str = "rgb alpha depth normal",
) -> tuple[dict[str, Tensor], dict[str, Tensor], Render]:
    """Render a scene and backpropagate a loss.

    The loss is a fixed random weighting of the outputs named in `loss_terms`. Returns the outputs
    by name, the gradients by name, and the `Render`.
    """
    leaves = Splats(
        *(getattr(scene, name).detach().to(dtype, copy=True).requires_grad_() for name in FIELDS)
    )
    g = torch.Generator().manual_seed(7)
    background = torch.rand(len(views), 3, generator=g).to(dtype)
    out = rasterizer(leaves, views, background, normals)
    images = {
        name: getattr(out, name)
        for name in ("rgb", "alpha", "depth", "normal")
        if getattr(out, name) is not None
    }
    loss = torch.zeros((), dtype=dtype)
    for name in ("rgb", "alpha", "depth", "normal"):
        if name in images:
            weights = torch.randn(images[name].shape, generator=g).to(dtype)
            if name in loss_terms.split():
                loss = loss + (images[name] * weights).sum()
    loss.backward()
    gradients = {name: getattr(leaves, name).grad for name in FIELDS} | {
        "means2d": out.aux["means2d"].grad
    }
    return {name: p.detach() for name, p in images.items()}, gradients, out


def relative_error(got: Tensor, expected: Tensor) -> float:
    """‖got − expected‖ / ‖expected‖ in float64; the absolute error if `expected` is zero."""
    expected = expected.double()
    scale = expected.norm().item()
    return (got.double() - expected).norm().item() / (scale if scale > 0 else 1)
