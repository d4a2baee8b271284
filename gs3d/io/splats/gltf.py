"""Splats as .glb with the glTF extension KHR_gaussian_splatting.

glTF viewers without the extension show a point cloud. The container is read and written by
gs3d.io.gltf, because trimesh writes points only with a color, and supports neither this extension
nor its attribute names.

The splats are one primitive of mode POINTS with the attributes of the ratified extension: float32,
rotations as xyzw, linear scales, opacities in [0, 1]. Every SH coefficient is its own attribute,
in the order and with the signs of 3DGS. The color space is sRGB, as for images. glTF's own
COLOR_0, the fallback for viewers without the extension, is linear. The coordinate system is that
of glTF, as for meshes: +Y up and the front towards +Z (gs3d.ops.transforms.WORLD_TO_GLTF).
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from gs3d.core.errors import UserError, shown
from gs3d.core.types import SH_C0, Splats
from gs3d.io.atomic import read_error, write_atomic
from gs3d.io.gltf.arrays import dequantize, read_array
from gs3d.io.gltf.container import MAX_BYTES, Glb, open_glb, write_glb
from gs3d.io.gltf.extensions import (
    check_extensions,
    compression_of,
    extension,
    unread_extension,
)
from gs3d.io.gltf.scene import placed_primitives, shown_primitives
from gs3d.io.gltf.sizes import check_size
from gs3d.io.splats.checks import (
    changed_result,
    refusal,
    to_file_coordinates,
    to_world_coordinates,
    unreadable_result,
    warn_of_degree_4,
)
from gs3d.io.splats.conventions import (
    plain_opacities,
    rounded_positions,
    scales_of_lengths,
)
from gs3d.io.text import encodable
from gs3d.ops.blocks import blocks
from gs3d.ops.srgb import to_linear
from gs3d.ops.transforms import WORLD_TO_GLTF, rotate_splats

EXTENSION = "KHR_gaussian_splatting"
COLOR_SPACE = "srgb_rec709_display"
POINTS = 0
ROTATION, SCALE, OPACITY = (f"{EXTENSION}:{name}" for name in ("ROTATION", "SCALE", "OPACITY"))
WIDTHS = {"POSITION": 3, ROTATION: 4, SCALE: 3, OPACITY: 1}
"""Numbers per splat of each required attribute."""
SCALE_TOLERANCE = 1e-3
"""Relative difference up to which the three scales of a node count as uniform."""
MAX_JSON_BYTES = 65536
"""Space reserved for the JSON of a written file."""


def sh_attributes(degree: int) -> list[str]:
    """Attribute names of the 2·degree + 1 coefficients of one SH band."""
    return [f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{n}" for n in range(2 * degree + 1)]


def _attribute_arrays(splats: Splats) -> dict[str, np.ndarray]:
    """Attribute name → array [N, width], for splats in file coordinates."""
    # The fallback color has 16 bits: the darker half of perceived brightness is the lowest fifth
    # of linear values, where 8 bits are too coarse.
    fallback = np.empty((len(splats), 4), "<u2")
    for rows in blocks(len(splats)):
        colors = (0.5 + SH_C0 * splats.sh[rows, 0].numpy()).clip(0, 1)
        fallback[rows, :3] = np.rint(to_linear(colors) * 65535)
        fallback[rows, 3] = np.rint(splats.opacities[rows].numpy() * 65535)
    arrays = {
        "POSITION": splats.means.numpy(),
        ROTATION: splats.quats[:, [1, 2, 3, 0]].numpy(),
        SCALE: splats.scales.numpy(),
        OPACITY: splats.opacities[:, None].numpy(),
    }
    names = [name for degree in range(4) for name in sh_attributes(degree)]
    for k in range(splats.sh.shape[1]):
        arrays[names[k]] = splats.sh[:, k].numpy()
    return arrays | {"COLOR_0": fallback}


def write_glb_splats(
    path: str | Path, splats: Splats, parts: Sequence[tuple[str, int]] = ()
) -> None:
    """Write `splats` (world coordinates) as .glb.

    `parts` are names, each with a number of splats, in their order: nodes of the scene. The file is
    read back and compared before it takes the name `path`. Raises UserError like `save_splats`, and
    for more than 4 GiB.
    """
    path = Path(path)
    arrays = _attribute_arrays(to_file_coordinates(path, splats, torch.tensor(WORLD_TO_GLTF)))
    parts = parts or [("splats", len(splats))]
    ends = np.cumsum([count for _, count in parts])
    assert ends[-1] == len(splats)
    split = zip(*(np.split(array, ends[:-1]) for array in arrays.values()), strict=True)
    pieces = [piece for part in split for piece in part]
    size = sum(array.nbytes for array in pieces)
    if size > MAX_BYTES - MAX_JSON_BYTES:
        raise refusal(
            path, f"a .glb holds up to 4 GiB, got {size / 2**30:.1f}", "Choose another format."
        )
    width = len(arrays)
    extensions = {EXTENSION: {"kernel": "ellipse", "colorSpace": COLOR_SPACE}}
    attributes = [{n: i + k for k, n in enumerate(arrays)} for i in range(0, len(pieces), width)]
    primitives = [{"mode": POINTS, "attributes": a, "extensions": extensions} for a in attributes]
    tree = {
        "asset": {"version": "2.0", "generator": "gs3d"},
        "extensionsUsed": [EXTENSION],
        "scene": 0,
        "scenes": [{"nodes": list(range(len(parts)))}],
        "nodes": [{"mesh": i, "name": encodable(name)} for i, (name, _) in enumerate(parts)],
        "meshes": [{"primitives": [primitive]} for primitive in primitives],
    }

    def verify(temp: Path) -> None:
        try:
            glb = open_glb(temp)
            same = glb.tree.get("meshes") == tree["meshes"]
            for i, array in enumerate(pieces):
                same &= np.array_equal(
                    read_array(glb, i),
                    dequantize(array) if array.dtype.kind == "u" else array,
                )
        except UserError as error:
            raise unreadable_result(path) from error
        if not same:
            raise changed_result(path, len(splats))

    positions = range(0, len(pieces), width)
    write_atomic(path, lambda temp: write_glb(temp, tree, pieces, positions), verify)


def _settings_of(primitive: dict) -> dict | None:
    """The extension of a primitive of splats; None for any other."""
    has_attributes = isinstance(primitive.get("attributes"), dict)
    return extension(primitive, EXTENSION) if has_attributes else None


def holds_splats(path: str | Path) -> bool:
    """Whether the scene of the .glb at `path` has splats. Reads only the JSON.

    UserError if the file is not a .glb.
    """
    path = Path(path)
    try:
        return _holds_splats(open_glb(path))
    except OSError as error:
        raise read_error(path, error) from error


def _holds_splats(glb: Glb) -> bool:
    primitives = (p for _, found in shown_primitives(glb) for p in found)
    return any(_settings_of(p) is not None for p in primitives)


def read_glb_splats(path: str | Path, exact: bool = False) -> Splats:
    """Read all splats in the scene of a .glb, placed by its nodes, in world coordinates.

    The result is float32 on the CPU. Rows with NaN, infinity or a zero-length quaternion are left
    out with a `DroppedRows` warning. Where nodes place splats so far away that float32 would round
    their positions, a warning says so; with `exact` the positions stay float64 then. UserError for
    a mesh, for compressed splats, for incomplete SH bands, and for nodes that stretch or mirror.
    """
    path = Path(path)
    try:
        glb = open_glb(path)
        if not _holds_splats(glb):
            raise UserError(
                f"cannot read {path}: expected Gaussian splats ({EXTENSION}), "
                "got a mesh or an empty scene. Give a file of splats, or the folder of a run."
            )
        check_extensions(glb)
        check_size(glb)
        read, parts, others = partial(read_array, glb), [], 0
        # A primitive is read once, however many places it has.
        known: dict[int, Splats] = {}
        for placed in placed_primitives(glb):
            if (settings := _settings_of(placed.primitive)) is None:
                others += 1
                continue
            key = id(placed.primitive)
            if key not in known:
                attributes = placed.primitive["attributes"]
                known[key] = _read_primitive(glb, read, attributes, settings)
            parts.append(apply_transform(path, known[key], placed.matrix))
        if others:
            warnings.warn(
                f"{path}: {others} parts beside its splats are meshes, points or lines, which are "
                "left out",
                stacklevel=2,
            )
    except OSError as error:
        raise read_error(path, error) from error
    sh_count = max(part.sh.shape[1] for part in parts)
    joined = parts[0]
    if len(parts) > 1:
        pads = ((0, 0, 0, sh_count - part.sh.shape[1]) for part in parts)
        joined = Splats.cat(
            [
                replace(part, sh=torch.nn.functional.pad(part.sh, pad))
                for part, pad in zip(parts, pads, strict=True)
            ]
        )
    if (lost := rounded_positions(path, joined.means.numpy())) and not exact:
        warnings.warn(lost, stacklevel=2)
    if not (lost and exact):
        joined = replace(joined, means=joined.means.float())
    return to_world_coordinates(path, joined, torch.tensor(WORLD_TO_GLTF).T)


def apply_transform(path: Path, splats: Splats, matrix: np.ndarray) -> Splats:
    """`splats` rotated, scaled and translated by `matrix` [4, 4], positions float64.

    UserError if the matrix stretches or mirrors. `path` is the file being read, for messages.
    """
    if np.array_equal(matrix, np.eye(4)):
        return splats
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    scale = lengths.mean()
    rotation = matrix[:3, :3] / scale if scale > 0 else np.zeros((3, 3))
    deviation = np.abs(rotation.T @ rotation - np.eye(3)).max()
    if deviation > 2 * SCALE_TOLERANCE or np.linalg.det(rotation) < 0:
        raise UserError(
            f"cannot read {path}: a node stretches, mirrors or flattens its splats, "
            "expected a rotation and a uniform scale. "
            "Apply the node's transform in the program that wrote the file."
        )
    # u @ v is the nearest exact rotation.
    u, _, v = np.linalg.svd(rotation)
    turned = rotate_splats(splats, torch.from_numpy(u @ v))
    linear, offset = torch.from_numpy(scale * (u @ v)), torch.from_numpy(matrix[:3, 3])
    means = splats.means.double() @ linear.T + offset
    return replace(turned, means=means, scales=turned.scales * float(scale))


def _read_primitive(
    glb: Glb, read: Callable[[object], np.ndarray], attributes: dict, settings: dict
) -> Splats:
    """The splats of one primitive, in its own coordinates. `read` maps an accessor to its rows.

    `settings` is the extension of splats.
    """
    path = glb.path
    if (compressed := compression_of(settings)) is not None:
        raise unread_extension(path, compressed)
    space, kernel = settings.get("colorSpace"), settings.get("kernel")
    if space != COLOR_SPACE or kernel != "ellipse":
        warnings.warn(
            f"{path}: expected colors in {COLOR_SPACE} and the kernel ellipse, "
            f"got {shown(space)} and {shown(kernel)}; it may look wrong",
            stacklevel=3,
        )
    degrees = [
        degree for degree in range(4) if any(name in attributes for name in sh_attributes(degree))
    ]
    if any(f"{EXTENSION}:SH_DEGREE_4_COEF_{n}" in attributes for n in range(9)):
        warn_of_degree_4(path)
    sh_widths = {
        name: 3 for degree in range(max(degrees, default=0) + 1) for name in sh_attributes(degree)
    }
    if missing := [name for name in (*WIDTHS, *sh_widths) if name not in attributes]:
        raise UserError(
            f"cannot read {path}: its splats lack {', '.join(missing[:4])}. "
            "Export it again, with complete SH bands."
        )

    def read_rows(name: str, count: int | None = None) -> np.ndarray:
        rows, width = read(attributes[name]), (WIDTHS | sh_widths)[name]
        if rows.shape != (shape := (len(rows) if count is None else count, width)):
            raise glb.fault(
                f"{name}: expected an array {list(shape)}, as many rows as POSITION, "
                f"got {list(rows.shape)}",
            )
        return rows

    means = read_rows("POSITION")
    n = len(means)
    # The extension forbids negative scales and opacities outside [0, 1]; its drafts had logarithms.
    scales = scales_of_lengths(path, read_rows(SCALE, n))
    opacities = plain_opacities(path, read_rows(OPACITY, n)[:, 0])
    quats = read_rows(ROTATION, n)[:, [3, 0, 1, 2]]
    sh = np.empty((n, len(sh_widths), 3), np.float32)
    for k, name in enumerate(sh_widths):
        sh[:, k] = read_rows(name, n)
    return Splats(*map(torch.from_numpy, (means, quats, scales, opacities, sh)))
