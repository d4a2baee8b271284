"""Pictures of places: the objects by the tracer, in front of their surroundings."""

from collections.abc import Sequence

import numpy as np
import torch

from gs3d.core.cameras import Cameras, rays
from gs3d.world.places.backdrop import draw
from gs3d.world.places.layout import Place, Placed
from gs3d.world.render import Device, Pictures, render


def render_places(
    places: Sequence[Place], cameras: Cameras, supersample: int = 2, device: Device = "cpu"
) -> Pictures:
    """Render place i with camera i, from inside, using `supersample`² rays per pixel.

    All pixels have an alpha of 1. The depth of the sky is 0.

    Raises:
        ValueError: The number of cameras differs from the number of places.
        UserError: As for `render`.
    """
    if len(places) != len(cameras):
        raise ValueError(
            f"render_places: expected one camera per place, got {len(places)} places and "
            f"{len(cameras)} cameras"
        )
    views = [
        _surroundings(place, cameras[i : i + 1], supersample) for i, place in enumerate(places)
    ]
    rgb, depth, normal = (np.stack(column) for column in zip(*views, strict=True))
    # Far objects first. Spheres that do not overlap are seen in the order of their powers.
    origins = cameras.centers.numpy()
    seen = [
        (i, thing)
        for i, place in enumerate(places)
        for thing in sorted(place.objects, key=lambda o, c=origins[i]: _power(o, c), reverse=True)
        if _is_seen(thing, cameras, i)
    ]
    if seen:
        owners = [i for i, _ in seen]
        layers = render([thing.parts for _, thing in seen], cameras[owners], supersample, device)
        for k, i in enumerate(owners):
            alpha = layers.alpha[k][..., None]
            rgb[i] = layers.rgb[k] * places[i].backdrop.light + (1 - alpha) * rgb[i]
            normal[i] = layers.normal[k] + (1 - alpha) * normal[i]
            depth[i] = np.where(alpha[..., 0] > 0.5, layers.depth[k], depth[i])
    return Pictures(rgb, np.ones_like(depth), depth, normal)


def _power(thing: Placed, origin: np.ndarray) -> float:
    return float(((thing.center - origin) ** 2).sum() - thing.radius**2)


def _is_seen(thing: Placed, cameras: Cameras, i: int) -> bool:
    """Whether the bounding sphere reaches into the cone around the image."""
    pose, intrinsics = cameras.world_to_camera[i].numpy(), cameras.intrinsics[i]
    center = pose[:3, :3] @ thing.center + pose[:3, 3]
    distance = float(np.linalg.norm(center))
    if distance <= thing.radius:
        return True
    diagonal = 0.5 * np.hypot(cameras.width, cameras.height) / float(intrinsics[0, 0])
    reach = np.arctan(diagonal) + np.arcsin(thing.radius / distance)
    return bool(np.arccos(np.clip(center[2] / distance, -1, 1)) < reach)


def _surroundings(
    place: Place, camera: Cameras, supersample: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """rgb [H, W, 3], depth [H, W] and normal [H, W, 3] without the objects."""
    scale = torch.tensor([supersample, supersample, 1.0])
    fine = Cameras(
        camera.world_to_camera,
        camera.intrinsics * scale[:, None],
        camera.width * supersample,
        camera.height * supersample,
    )
    directions, z = (t[0].numpy() for t in rays(fine))
    shadows = np.array([[*o.center[:2], o.radius] for o in place.objects], np.float32)
    origin = camera.centers[0].numpy()
    rgb, distance, normal = draw(place.backdrop, shadows, origin, directions)

    def pooled(values: np.ndarray) -> np.ndarray:
        n = supersample
        return sum(values[i::n, j::n] for i in range(n) for j in range(n)) / np.float32(n * n)

    hit = np.isfinite(distance)
    count = pooled(hit.astype(np.float32))
    depth = pooled(np.where(hit, distance * z, 0)) / np.maximum(count, 1e-6)
    return pooled(rgb), depth, pooled(normal)
