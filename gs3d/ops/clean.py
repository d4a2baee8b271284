"""Editing of splats: removing unwanted ones, smoothing, centering, scaling and rotating.

All functions are pure, Splats → Splats. Removal leaves holes: the remaining splats are not moved,
enlarged or optimized again, and keep their order.
"""

from dataclasses import fields, replace

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# scipy has no types for this compiled class.
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

from gs3d.core.types import Splats
from gs3d.ops.extent import center_of, reach_of
from gs3d.ops.transforms import rotate_splats
from gs3d.representations.gaussians.smoothing import smoothed

NEIGHBORS = 10
"""A splat is isolated if its distance to this nearest neighbor is large."""
DEVIATIONS, FACTOR = 3.0, 3.0
"""Limits of that distance: robust standard deviations, and multiples of the usual distance."""
SMALL_SHARE = 0.005
"""A cluster with a smaller share of all splats does not count as a part of the object."""
MAX_VOXEL = 1 << 20
"""Largest voxel index on either side of the center: three such numbers fit into 63 bits."""


def lower_degree(splats: Splats, degree: int) -> Splats:
    """Drop the harmonics above `degree`. Splats without them are unchanged."""
    return replace(splats, sh=splats.sh[:, : (degree + 1) ** 2])


def crop(
    splats: Splats, low: tuple[float, float, float], high: tuple[float, float, float]
) -> Splats:
    """Keep splats with a mean in the box from `low` to `high`, in world units, bounds included."""
    ends = (
        torch.tensor(end, dtype=torch.float64, device=splats.means.device) for end in (low, high)
    )
    above, below = next(ends), next(ends)
    return splats[((splats.means >= above) & (splats.means <= below)).all(dim=1)]


def drop_clear(splats: Splats, least: float) -> Splats:
    """Keep splats with an opacity of at least `least`."""
    return splats[splats.opacities >= least]


def drop_large(splats: Splats, most: float) -> Splats:
    """Keep splats with a longest standard deviation of at most `most` times the object's radius.

    The radius contains 99.9 % of the means, about their center. If it is 0, because all means
    coincide, all splats are kept.
    """
    radius = reach_of(splats.means, center_of(splats.means)) if len(splats) else 0.0
    return splats[splats.scales.amax(dim=1) <= most * radius] if radius else splats


def drop_floaters(splats: Splats) -> Splats:
    """Remove isolated splats and small isolated groups of splats.

    Single splats: d is a splat's distance to its 10th nearest neighbor, m the median of ln d, and
    s = 1.4826 · the median of |ln d − m|. For normal data s is the standard deviation, and a
    minority of outliers does not change it. The limit of d is exp(m + max(3 s, ln 3)): three
    deviations, but at least three times the usual distance, because s is 0 on a regular grid.
    Logarithms are used because the density of splats varies by factors. A splat is removed if d is
    above the limit and also above three times the median d of its ten neighbors. If its neighbors
    are as far apart, it belongs to a sparser surface.

    Groups: space is divided into voxels as wide as the limit, and touching voxels form a cluster.
    Clusters with less than 0.5 % of the splats, or with at most 10, are removed. So a group is
    isolated if the gap around it is some 2 to 4 limits wide.

    With 20 splats or fewer the statistics are meaningless, and all are kept.
    """
    if len(splats) <= 2 * NEIGHBORS:
        return splats
    means = splats.means.detach().cpu().double().numpy()
    # An unbalanced tree is built in a third of the time, and handles many coincident splats.
    tree = cKDTree(means, balanced_tree=False)
    # The tree's own order puts neighbors next to each other. Queries in this order find the tree in
    # the cache, and are five times as fast.
    order = tree.indices
    # The first neighbor is the splat itself.
    distances, neighbors = tree.query(means[order], NEIGHBORS + 1, workers=-1)
    isolation = np.empty(len(means))
    isolation[order] = distances[:, -1]
    limit = _distance_limit(isolation)
    rows = np.flatnonzero(distances[:, -1] > limit)
    keep = np.ones(len(means), dtype=bool)
    keep[order[rows]] = distances[rows, -1] <= FACTOR * np.median(
        isolation[neighbors[rows, 1:]], axis=1
    )
    left = np.flatnonzero(keep)
    return splats[
        torch.from_numpy(left[_in_large_cluster(means[left], limit)]).to(splats.means.device)
    ]


def _distance_limit(distances: np.ndarray) -> float:
    """Distance above which a splat is isolated; infinity if most splats coincide."""
    logs = np.log(distances[distances > 0])
    if 2 * len(logs) < len(distances):
        return np.inf
    middle = np.median(logs)
    deviation = 1.4826 * np.median(np.abs(logs - middle))
    return float(np.exp(middle + max(DEVIATIONS * deviation, np.log(FACTOR))))


def _in_large_cluster(means: np.ndarray, width: float) -> np.ndarray:
    """Mask [N] of the `means` [N, 3] in large clusters of touching voxels, `width` wide."""
    if not np.isfinite(width):
        return np.ones(len(means), dtype=bool)
    voxels = (
        np.clip(
            np.floor((means - np.median(means, axis=0)) / width), 1 - MAX_VOXEL, MAX_VOXEL - 1
        ).astype(np.int64)
        + MAX_VOXEL
    )
    keys = (voxels[:, 0] << 42) | (voxels[:, 1] << 21) | voxels[:, 2]
    _, first, voxel, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    touching = cKDTree(voxels[first]).query_pairs(1.5, p=np.inf, output_type="ndarray")
    graph = coo_array(
        (np.ones(len(touching), dtype=bool), (touching[:, 0], touching[:, 1])),
        shape=(len(first), len(first)),
    )
    cluster = connected_components(graph, directed=False)[1]
    sizes = np.bincount(cluster, weights=counts)
    return ((sizes > NEIGHBORS) & (sizes >= SMALL_SHARE * len(means)))[cluster][voxel.reshape(-1)]


def most_important(splats: Splats, count: int) -> Splats:
    """Keep the `count` splats with the largest opacity × area.

    The area is the product of the two longer axes. Where a removed splat covered the object alone,
    a hole remains.
    """
    s = splats.scales
    area = torch.stack([s[:, 0] * s[:, 1], s[:, 1] * s[:, 2], s[:, 0] * s[:, 2]]).amax(dim=0)
    order = torch.argsort(splats.opacities * area, descending=True, stable=True)
    return splats[order[: min(count, len(splats))].sort().values]


def smoothed_for(splats: Splats, pixels: float, size: int) -> Splats:
    """Widen splats by `pixels` (standard deviation) of a view of `size` pixels.

    The object, 99.9 % of the means about their center, fills the view. If its radius is 0, the
    splats are unchanged.
    """
    radius = reach_of(splats.means, center_of(splats.means)) if len(splats) else 0.0
    return smoothed(splats, pixels * 2 * radius / size)


def centered(splats: Splats) -> Splats:
    """Move the center of the box of 99.9 % of the means to the origin."""
    center = torch.from_numpy(center_of(splats.means)).to(splats.means.device)
    return replace(splats, means=(splats.means - center).to(splats.means.dtype))


def fitted(splats: Splats, radius: float) -> Splats:
    """Scale about the origin so that 99.9 % of the means lie within `radius` of it.

    Splats at the origin are unchanged. Scaling about the origin commutes with `rotated`. Call
    `centered` first to set the object's own radius.
    """
    reach = reach_of(splats.means)
    factor = radius / reach if reach else 1.0
    return replace(splats, means=splats.means * factor, scales=splats.scales * factor)


def rotated(splats: Splats, x_deg: float, y_deg: float, z_deg: float) -> Splats:
    """Rotate about the world's X axis, then its Y axis, then its Z axis, through the origin.

    Angles are in degrees, counterclockwise seen from the tip of the axis. Harmonics rotate too, so
    a highlight stays where it is on the object. Returns float32 on the CPU.
    """
    (cx, cy, cz), (sx, sy, sz) = (
        f(torch.deg2rad(torch.tensor([x_deg, y_deg, z_deg], dtype=torch.float64)))
        for f in (torch.cos, torch.sin)
    )
    about_x = torch.tensor([[1, 0, 0], [0, cx, -sx], [0, sx, cx]], dtype=torch.float64)
    about_y = torch.tensor([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]], dtype=torch.float64)
    about_z = torch.tensor([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]], dtype=torch.float64)
    result = rotate_splats(splats, about_z @ about_y @ about_x)
    return Splats(*(getattr(result, f.name).float() for f in fields(result)))
