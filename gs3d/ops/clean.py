"""Splats without what should not be in them, and where and how large they should be: pure functions, Splats → Splats.

What is removed is removed for good: the splats that stay are neither moved, enlarged nor fitted again, and keep their order.
"""

from dataclasses import fields, replace

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from gs3d.core.types import Splats
from gs3d.ops.extent import center_of, reach_of
from gs3d.ops.transforms import rotate_splats

NEIGHBORS = 10
"""The distance to this one tells how alone a splat is."""
DEVIATIONS, FACTOR = 3.0, 3.0
SMALL_SHARE = 0.005
"""A cluster with less than this share of all splats is no part of the object."""
CELLS = 1 << 20
"""Of the grid of clusters, on either side of the middle: three such numbers fit into 63 bits."""


def lower_degree(splats: Splats, degree: int) -> Splats:
    """Without the harmonics above `degree`; as they are if they have none."""
    return replace(splats, sh=splats.sh[:, : (degree + 1) ** 2])


def crop(
    splats: Splats, low: tuple[float, float, float], high: tuple[float, float, float]
) -> Splats:
    """Those whose mean lies in the box of the world from `low` to `high`, the faces included."""
    ends = (
        torch.tensor(end, dtype=torch.float64, device=splats.means.device) for end in (low, high)
    )
    above, below = next(ends), next(ends)
    return splats[((splats.means >= above) & (splats.means <= below)).all(dim=1)]


def drop_clear(splats: Splats, least: float) -> Splats:
    """Those with an opacity of `least` or more."""
    return splats[splats.opacities >= least]


def drop_large(splats: Splats, most: float) -> Splats:
    """Those whose longest standard deviation is at most `most` of the object's radius (99.9 % of the means about their center).

    Splats in one point have no radius, and all stay.
    """
    radius = reach_of(splats.means, center_of(splats.means)) if len(splats) else 0.0
    return splats[splats.scales.amax(dim=1) <= most * radius] if radius else splats


def drop_floaters(splats: Splats) -> Splats:
    """Those that are not far from all others, alone or in a small group.

    Alone: d is a splat's distance to its 10th nearest neighbor, m the median of ln d and s = 1.4826 · the median of |ln d − m|, which for
    normal data is their standard deviation and which a minority of strays does not move. The limit is exp(m + max(3 s, ln 3)): beyond
    three deviations, and at least three times as far as is usual, for on an even grid s is 0. Logarithms, because the density of splats
    varies by factors. A splat goes if d is above the limit, and above three times the median d of its ten neighbors: where all are as far
    apart as it is, it is part of a thinner surface.

    In a group: space is cut into cells as wide as the limit, and cells that touch are one cluster. Clusters with less than 0.5 % of the
    splats, or with no more than 10 of them, go. So a group is apart if the gap around it is some 2 to 4 limits.

    Twenty splats or fewer have no statistics, and all stay.
    """
    if len(splats) <= 2 * NEIGHBORS:
        return splats
    means = splats.means.detach().cpu().double().numpy()
    # A tree that is not balanced is built in a third of the time, and does not mind many splats in one point.
    tree = cKDTree(means, balanced_tree=False)
    order = tree.indices  # neighbors one after the other: asked in it, the tree is read from the cache, five times as fast
    distances, neighbors = tree.query(
        means[order], NEIGHBORS + 1, workers=-1
    )  # the first is the splat itself
    alone = np.empty(len(means))
    alone[order] = distances[:, -1]
    limit = _limit_of(alone)
    rows = np.flatnonzero(distances[:, -1] > limit)
    stays = np.ones(len(means), dtype=bool)
    stays[order[rows]] = distances[rows, -1] <= FACTOR * np.median(
        alone[neighbors[rows, 1:]], axis=1
    )
    left = np.flatnonzero(stays)
    return splats[
        torch.from_numpy(left[_in_large_cluster(means[left], limit)]).to(splats.means.device)
    ]


def _limit_of(distances: np.ndarray) -> float:
    """The distance that is too far; infinity where most splats lie on each other."""
    logs = np.log(distances[distances > 0])
    if 2 * len(logs) < len(distances):
        return np.inf
    middle = np.median(logs)
    deviation = 1.4826 * np.median(np.abs(logs - middle))
    return float(np.exp(middle + max(DEVIATIONS * deviation, np.log(FACTOR))))


def _in_large_cluster(means: np.ndarray, width: float) -> np.ndarray:
    """Mask [N] of `means` [N, 3] in clusters of touching cells, `width` wide, that are no small ones."""
    if not np.isfinite(width):
        return np.ones(len(means), dtype=bool)
    cells = (
        np.clip(np.floor((means - np.median(means, axis=0)) / width), 1 - CELLS, CELLS - 1).astype(
            np.int64
        )
        + CELLS
    )
    keys = (cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2]
    _, first, cell, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    touching = cKDTree(cells[first]).query_pairs(1.5, p=np.inf, output_type="ndarray")
    graph = coo_array(
        (np.ones(len(touching), dtype=bool), (touching[:, 0], touching[:, 1])),
        shape=(len(first), len(first)),
    )
    cluster = connected_components(graph, directed=False)[1]
    sizes = np.bincount(cluster, weights=counts)
    return ((sizes > NEIGHBORS) & (sizes >= SMALL_SHARE * len(means)))[cluster][cell.reshape(-1)]


def most_important(splats: Splats, count: int) -> Splats:
    """The `count` that cover most: by opacity × area, the product of the two longer axes. What they covered alone leaves holes."""
    s = splats.scales
    area = torch.stack([s[:, 0] * s[:, 1], s[:, 1] * s[:, 2], s[:, 0] * s[:, 2]]).amax(dim=0)
    order = torch.argsort(splats.opacities * area, descending=True, stable=True)
    return splats[order[: min(count, len(splats))].sort().values]


def centered(splats: Splats) -> Splats:
    """Moved so that the middle of the box of 99.9 % of the means is the origin."""
    center = torch.from_numpy(center_of(splats.means)).to(splats.means.device)
    return replace(splats, means=(splats.means - center).to(splats.means.dtype))


def fitted(splats: Splats, radius: float) -> Splats:
    """Enlarged or made smaller about the origin until 99.9 % of the means lie within `radius` of it; as they are if they lie in it.

    About the origin, so that it goes together with `rotated` in any order; center them first to have the object's own radius.
    """
    reach = reach_of(splats.means)
    factor = radius / reach if reach else 1.0
    return replace(splats, means=splats.means * factor, scales=splats.scales * factor)


def rotated(splats: Splats, x_deg: float, y_deg: float, z_deg: float) -> Splats:
    """Turned about the origin: about the world's X axis, then about its Y, then about its Z, anticlockwise seen from the axis' tip.

    Harmonics turn too, so that a highlight stays where it is on the object. Float32 on the CPU.
    """
    (cx, cy, cz), (sx, sy, sz) = (
        f(torch.deg2rad(torch.tensor([x_deg, y_deg, z_deg], dtype=torch.float64)))
        for f in (torch.cos, torch.sin)
    )
    about_x = torch.tensor([[1, 0, 0], [0, cx, -sx], [0, sx, cx]], dtype=torch.float64)
    about_y = torch.tensor([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]], dtype=torch.float64)
    about_z = torch.tensor([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]], dtype=torch.float64)
    turned = rotate_splats(splats, about_z @ about_y @ about_x)
    return Splats(*(getattr(turned, f.name).float() for f in fields(turned)))
