"""Statistics and problems of splats and meshes, as JSON values, and the losses of file formats."""

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from gs3d.core.types import SH_C0, Mesh, Splats, TexturedMesh
from gs3d.ops.extent import box_of, center_of, reach_of, without_strays

BINS = 10
"""Of the histograms."""
CLEAR, HUGE, NEEDLE = 0.02, 1 / 3, 100.0
"""Opacity below which a splat is hardly visible; scale, as a share of the extent, above which it
hides the rest; ratio of the longest to the shortest axis above which it is a needle."""
MANY_CLEAR, MANY_HUGE, MANY_NEEDLES = 0.5, 0.001, 0.1
"""Shares above which these splats are a problem: a few of each are usual."""
USUAL_REACH = (0.1, 1.5)
"""Usual radius about the origin of 99.9 % of the means: gs3d's cameras show a radius of 1."""
VISIBLE, TINY = 0.1, 2e-5
"""Rounding of a position that shows, in median scales of the splats; that in radii of the object
which never does: a picture of 4,096 pixels shows a hundred times as much."""
MIN_SCALE = 1e-12
"""Scales are clamped to this before taking the logarithm."""


def splat_stats(splats: Splats, left_out: int = 0) -> dict:
    """Statistics of at least one splat: lengths in world units, shares in [0, 1].

    `left_out` is the number of rows of a file that could not be read. The extent, which `huge` is
    relative to, is the longest side of the box of 99.9 % of the means.
    """
    longest, shortest = splats.scales.amax(dim=1), splats.scales.amin(dim=1)
    low, high = box_of(splats.means)
    extent = float((high - low).max())
    opacities, edges = np.histogram(splats.opacities.double().numpy(), BINS, (0.0, 1.0))
    scales, powers = np.histogram(longest.clamp_min(MIN_SCALE).double().log10().numpy(), BINS)
    return {
        "kind": "splats",
        "count": len(splats),
        "sh_degree": degree_of(splats),
        **_position(splats.means),
        "opacities": {"edges": edges.tolist(), "counts": opacities.tolist()},
        "longest_axes": {"edges": (10.0**powers).tolist(), "counts": scales.tolist()},
        "nearly_clear": _share(splats.opacities < CLEAR),
        "huge": _share(longest > HUGE * extent) if extent else 0.0,
        "needles": _share(longest > NEEDLE * shortest),
        "left_out": left_out,
        "memory_bytes": sum(part.numel() * part.element_size() for part in vars(splats).values()),
    }


def degree_of(splats: Splats) -> int:
    """Degree of the spherical harmonics."""
    return round(splats.sh.shape[1] ** 0.5) - 1


def _position(means: Tensor) -> dict:
    center = center_of(means)
    return {
        "min": means.amin(dim=0).tolist(),
        "max": means.amax(dim=0).tolist(),
        "center": center.tolist(),
        "radius": reach_of(means, center),
        "reach": reach_of(means),
    }


def _share(mask: Tensor) -> float:
    return float(mask.double().mean())


def mesh_stats(mesh: Mesh | TexturedMesh) -> dict:
    """Statistics of a mesh with faces, lengths in world units.

    A mesh is watertight if each edge has two triangles. Vertices at the same position count as one,
    so the seams of texture charts do not matter.
    """
    points, point = np.unique(mesh.vertices, axis=0, return_inverse=True)
    faces = point.reshape(-1)[mesh.faces]
    edges = np.sort(
        np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64),
        axis=1,
    )
    triangles = np.unique(edges[:, 0] * len(points) + edges[:, 1], return_counts=True)[1]
    a, b, c = (mesh.vertices.astype(np.float64)[mesh.faces[:, i]] for i in range(3))
    return {
        "kind": "mesh",
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        **_position(torch.from_numpy(mesh.vertices)),
        "watertight": bool((triangles == 2).all()),
        "open_edges": int((triangles == 1).sum()),
        "crowded_edges": int((triangles > 2).sum()),
        "volume": float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6),
        "texture": list(mesh.texture.shape[:2]) if isinstance(mesh, TexturedMesh) else None,
        "memory_bytes": sum(part.nbytes for part in vars(mesh).values()),
    }


def oddities(stats: dict) -> list[str]:
    """Problems in `splat_stats` or `mesh_stats`, each with its remedy; empty if there are none."""
    if stats["kind"] == "mesh":
        # Of any size: `gs3d mesh --height` gives it meters.
        return _mesh_problems(stats)
    problems = _splat_problems(stats)
    low, high = USUAL_REACH
    if not low <= stats["reach"] <= high:
        problems.append(
            f"extends {stats['reach']:.3g} from the origin, while cameras show a radius of 1"
            ": gs3d clean --center --radius 1"
        )
    return problems


def _splat_problems(stats: dict) -> list[str]:
    problems = []
    if stats["left_out"]:
        problems.append(
            f"{stats['left_out']} rows could not be read and were left out: gs3d convert writes "
            "the rest"
        )
    if stats["nearly_clear"] > MANY_CLEAR:
        problems.append(
            f"{stats['nearly_clear']:.0%} are nearly clear: gs3d clean --min-opacity {CLEAR:g}"
        )
    if stats["huge"] > MANY_HUGE:
        problems.append(
            f"{stats['huge']:.2%} are longer than a third of the extent: gs3d clean --max-scale 0.5"
        )
    if stats["needles"] > MANY_NEEDLES:
        problems.append(
            f"{stats['needles']:.0%} have a longest axis over {NEEDLE:.0f} times the shortest"
        )
    outermost = max(
        abs(end - middle)
        for side in ("min", "max")
        for end, middle in zip(stats[side], stats["center"], strict=True)
    )
    if outermost > 2 * stats["radius"]:
        problems.append(
            f"a few lie up to {outermost / stats['radius']:.1f} radii from the center: "
            "gs3d clean --floaters"
        )
    return problems


def _mesh_problems(stats: dict) -> list[str]:
    problems = []
    if stats["open_edges"]:
        problems.append(f"not watertight: {stats['open_edges']} edges with one triangle")
    if stats["crowded_edges"]:
        problems.append(f"{stats['crowded_edges']} edges with more than two triangles")
    if not stats["open_edges"] and stats["volume"] < 0:
        problems.append("inside out: its triangles face inwards")
    return problems


def losses(written: Splats, read: Splats, known: Collection[str] = ()) -> list[str]:
    """What a format did not keep, from the splats `written` and those `read` back, in any order.

    Rounding counts as a loss only of positions, and where it can be seen. `known` are values that
    a warning has named already (`gs3d.io.ClippedValues.what`); they are left out.
    """
    lost = []
    if len(read) != len(written):
        lost.append(f"{len(written) - len(read)} of {len(written)} splats")
    degree, kept = degree_of(written), degree_of(read)
    if kept < degree:
        lost.append(f"the harmonics above degree {kept}")
    near = without_strays(written.means)
    radius = reach_of(near, center_of(near))
    median = max(float(part.scales.median()) for part in (written, read))
    error = _rounding(written, read, max(VISIBLE * median, TINY * radius))
    if error and "positions" not in known:
        lost.append(
            f"positions exactly: they are up to {error:.2g} off, and half of the scales below "
            f"{median:.2g}"
        )
    bands = slice(1, min(written.sh.shape[1], read.sh.shape[1]))
    position_tolerance = 0.01 * (radius or 1)
    # Scales are rounded as logarithms, so their error is relative.
    scale_tolerances = [0.1 * float(end) for end in written.scales.aminmax()]
    # Each row: a name, values before and after, and tolerances of the lowest and highest value.
    for name, before, after, low, high in (
        ("positions", written.means, read.means, position_tolerance, position_tolerance),
        ("scales", written.scales, read.scales, *scale_tolerances),
        ("opacities", written.opacities, read.opacities, 0.01, 0.01),
        ("colors", 0.5 + SH_C0 * written.sh[:, 0], 0.5 + SH_C0 * read.sh[:, 0], 0.02, 0.02),
        ("harmonics", written.sh[:, bands], read.sh[:, bands], 0.15, 0.15),
    ):
        if before.numel() and after.numel() and name not in known:
            was, now = ([float(end) for end in values.aminmax()] for values in (before, after))
            if abs(now[0] - was[0]) > low or abs(now[1] - was[1]) > high:
                lost.append(
                    f"{name} from {was[0]:.3g} to {was[1]:.3g}, "
                    f"which became {now[0]:.3g} to {now[1]:.3g}"
                )
    return lost


def _rounding(written: Splats, read: Splats, visible: float) -> float:
    """How far positions were moved, at least, if a hundredth of them moved `visible` far; else 0.

    The order of the splats may differ. Coordinates that are sorted along an axis are no further
    apart than in any other order.
    """
    if len(written) != len(read):
        return 0.0
    moved = (written.means.double().sort(0).values - read.means.double().sort(0).values).abs()
    often = np.quantile(moved.amax(dim=1).numpy(), 0.99)
    return float(moved.max()) if often > visible else 0.0
