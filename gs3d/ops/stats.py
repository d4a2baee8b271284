"""What splats or a mesh are like in numbers that JSON takes, what is odd about them, and what a file did not keep of them."""

import numpy as np
import torch
from torch import Tensor

from gs3d.core.types import SH_C0, Mesh, Splats, TexturedMesh
from gs3d.ops.extent import box_of, center_of, reach_of

BINS = 10
CLEAR, HUGE, NEEDLE = 0.02, 1 / 3, 100.0
"""An opacity below which a splat is hardly seen; of the extent, a scale above which it hides the rest; longest axis over shortest."""
MANY_CLEAR, MANY_HUGE, MANY_NEEDLES = 0.5, 0.001, 0.1
"""Shares above which that is odd: a few of each are usual."""
FRAME = (0.1, 1.5)
"""How far from the origin 99.9 % may reach: cameras of gs3d look at a ball of radius 1 around it."""
TINY = 1e-12
"""Scales below this have no logarithm worth a bin."""


def splat_stats(splats: Splats, left_out: int = 0) -> dict:
    """Of at least one splat: lengths in the world's units, shares in [0, 1]; `left_out` is how many rows of a file could not be read.

    The extent, which `huge` is told by, is the longest side of the box of 99.9 % of the means.
    """
    longest, shortest = splats.scales.amax(dim=1), splats.scales.amin(dim=1)
    low, high = box_of(splats.means)
    extent = float((high - low).max())
    opacities, edges = np.histogram(splats.opacities.double().numpy(), BINS, (0.0, 1.0))
    scales, powers = np.histogram(longest.clamp_min(TINY).double().log10().numpy(), BINS)
    return {
        "kind": "splats",
        "count": len(splats),
        "sh_degree": degree_of(splats),
        **_place(splats.means),
        "opacities": {"edges": edges.tolist(), "counts": opacities.tolist()},
        "longest_axes": {"edges": (10.0**powers).tolist(), "counts": scales.tolist()},
        "nearly_clear": _share(splats.opacities < CLEAR),
        "huge": _share(longest > HUGE * extent) if extent else 0.0,
        "needles": _share(longest > NEEDLE * shortest),
        "left_out": left_out,
        "memory_bytes": sum(part.numel() * part.element_size() for part in vars(splats).values()),
    }


def degree_of(splats: Splats) -> int:
    """Of the harmonics."""
    return round(splats.sh.shape[1] ** 0.5) - 1


def _place(means: Tensor) -> dict:
    center = center_of(means)
    return {
        "min": means.amin(dim=0).tolist(),
        "max": means.amax(dim=0).tolist(),
        "center": center.tolist(),
        "radius": reach_of(means, center),
        "reach": reach_of(means),
    }


def _share(which: Tensor) -> float:
    return float(which.double().mean())


def mesh_stats(mesh: Mesh | TexturedMesh) -> dict:
    """Of a mesh with faces. It is watertight if each edge has two triangles; corners in one point are one, whatever charts part them."""
    points, corner = np.unique(mesh.vertices, axis=0, return_inverse=True)
    faces = corner.reshape(-1)[mesh.faces]
    edges = np.sort(
        np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64),
        axis=1,
    )
    users = np.unique(edges[:, 0] * len(points) + edges[:, 1], return_counts=True)[1]
    a, b, c = (mesh.vertices.astype(np.float64)[mesh.faces[:, i]] for i in range(3))
    return {
        "kind": "mesh",
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        **_place(torch.from_numpy(mesh.vertices)),
        "watertight": bool((users == 2).all()),
        "open_edges": int((users == 1).sum()),
        "crowded_edges": int((users > 2).sum()),
        "volume": float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6),
        "texture": list(mesh.texture.shape[:2]) if isinstance(mesh, TexturedMesh) else None,
        "memory_bytes": sum(part.nbytes for part in vars(mesh).values()),
    }


def oddities(stats: dict) -> list[str]:
    """What is odd about `splat_stats` or `mesh_stats`, and what mends it; nothing if they are sound."""
    odd = _odd_splats(stats) if stats["kind"] == "splats" else _odd_mesh(stats)
    mend = ": gs3d clean --center --radius 1" if stats["kind"] == "splats" else ""
    low, high = FRAME
    if not low <= stats["reach"] <= high:
        odd.append(
            f"reaches {stats['reach']:.3g} from the origin, where cameras look at a radius of 1{mend}"
        )
    return odd


def _odd_splats(stats: dict) -> list[str]:
    odd = []
    if stats["left_out"]:
        odd.append(
            f"{stats['left_out']} rows could not be read and were left out: gs3d convert writes the rest"
        )
    if stats["nearly_clear"] > MANY_CLEAR:
        odd.append(
            f"{stats['nearly_clear']:.0%} are nearly clear: gs3d clean --min-opacity {CLEAR:g}"
        )
    if stats["huge"] > MANY_HUGE:
        odd.append(f"{stats['huge']:.2%} are huge: gs3d clean --max-scale 0.5")
    if stats["needles"] > MANY_NEEDLES:
        odd.append(f"{stats['needles']:.0%} are needles or flakes")
    outermost = max(
        abs(end - middle)
        for side in ("min", "max")
        for end, middle in zip(stats[side], stats["center"], strict=True)
    )
    if outermost > 2 * stats["radius"]:
        odd.append(f"a few lie {outermost / stats['radius']:.1f} radii out: gs3d clean --floaters")
    return odd


def _odd_mesh(stats: dict) -> list[str]:
    odd = []
    if stats["open_edges"]:
        odd.append(f"not closed: {stats['open_edges']} edges with one triangle")
    if stats["crowded_edges"]:
        odd.append(f"{stats['crowded_edges']} edges with more than two triangles")
    if not stats["open_edges"] and stats["volume"] < 0:
        odd.append("inside out: its triangles face inwards")
    return odd


def losses(written: Splats, read: Splats) -> list[str]:
    """What a format did not keep, by the splats that were `written` and those `read` back, in whatever order. Rounding is no loss."""
    lost = []
    if len(read) != len(written):
        lost.append(f"{len(written) - len(read)} of {len(written)} splats")
    degree, kept = degree_of(written), degree_of(read)
    if kept < degree:
        lost.append(f"the harmonics above degree {kept}")
    bands = slice(1, min(written.sh.shape[1], read.sh.shape[1]))
    scale_ends = [float(end) for end in written.scales.aminmax()]
    for name, before, after, low, high in (
        (
            "positions",
            written.means,
            read.means,
            *2 * [0.01 * (reach_of(written.means, center_of(written.means)) or 1)],
        ),
        (
            "scales",
            written.scales,
            read.scales,
            0.1 * scale_ends[0],
            0.1 * scale_ends[1],
        ),  # rounded as logarithms: by a factor
        ("opacities", written.opacities, read.opacities, 0.01, 0.01),
        ("colors", 0.5 + SH_C0 * written.sh[:, 0], 0.5 + SH_C0 * read.sh[:, 0], 0.02, 0.02),
        ("harmonics", written.sh[:, bands], read.sh[:, bands], 0.15, 0.15),
    ):
        if before.numel() and after.numel():
            was, now = ([float(end) for end in values.aminmax()] for values in (before, after))
            if abs(now[0] - was[0]) > low or abs(now[1] - was[1]) > high:
                lost.append(
                    f"{name} from {was[0]:.3g} to {was[1]:.3g}, which became {now[0]:.3g} to {now[1]:.3g}"
                )
    return lost
