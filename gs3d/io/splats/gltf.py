"""glTF with KHR_gaussian_splatting, as .glb: splats that glTF viewers draw, and others show as a cloud of points.

By our own code (glb.py): trimesh writes points only with a color, and neither this extension nor its attributes' names.

The splats are one primitive of mode POINTS with the attributes below, of the ratified extension: float32, rotations as xyzw, scales linear,
opacities in [0, 1], and every coefficient of the harmonics an attribute of its own, in the order and with the signs of 3DGS. The color
space is that of pictures, sRGB; glTF's own COLOR_0, which stands in where the extension is not known, is linear. The frame is glTF's,
+Y up and the front towards +Z (frames.WORLD_TO_GLTF), as meshes have it.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import SH_C0, Splats
from gs3d.io.atomic import read_error, write_atomic
from gs3d.io.gltf.container import (
    MAX_BYTES,
    bad,
    fractions,
    read_array,
    read_tree,
    shown,
    write_glb,
)
from gs3d.io.gltf.scene import in_scene, placed_primitives
from gs3d.io.splats.checks import from_rows, refusal, turned
from gs3d.ops.blocks import blocks
from gs3d.ops.transforms import WORLD_TO_GLTF

EXTENSION = "KHR_gaussian_splatting"
COLOR_SPACE = "srgb_rec709_display"
POINTS = 0
ROTATION, SCALE, OPACITY = (f"{EXTENSION}:{name}" for name in ("ROTATION", "SCALE", "OPACITY"))
WIDTHS = {"POSITION": 3, ROTATION: 4, SCALE: 3, OPACITY: 1}


def harmonics(degree: int) -> list[str]:
    """Attributes of the 2·degree + 1 coefficients of one band."""
    return [f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{n}" for n in range(2 * degree + 1)]


def _arrays(splats: Splats) -> dict[str, np.ndarray]:
    """Attribute → its rows, of splats in the file's frame."""
    fallback = np.empty(
        (len(splats), 4), "<u2"
    )  # of 16 bits, for the dark half of what one sees is the lowest fifth of linear values
    for rows in blocks(len(splats)):
        colors = (0.5 + SH_C0 * splats.sh[rows, 0].numpy()).clip(0, 1)
        linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
        fallback[rows, :3] = np.rint(linear * 65535)
        fallback[rows, 3] = np.rint(splats.opacities[rows].numpy() * 65535)
    arrays = {
        "POSITION": splats.means.numpy(),
        ROTATION: splats.quats[:, [1, 2, 3, 0]].numpy(),
        SCALE: splats.scales.numpy(),
        OPACITY: splats.opacities[:, None].numpy(),
    }
    names = [name for degree in range(4) for name in harmonics(degree)]
    for k in range(splats.sh.shape[1]):
        arrays[names[k]] = splats.sh[:, k].numpy()
    return arrays | {"COLOR_0": fallback}


def write_glb_splats(path: str | Path, splats: Splats) -> None:
    """Write `splats` (world frame) as .glb. What was written is read back and checked before it takes the name `path`."""
    path = Path(path)
    made = turned(path, splats, torch.tensor(WORLD_TO_GLTF))
    arrays = _arrays(made)
    if (
        size := sum(a.nbytes for a in arrays.values())
    ) > MAX_BYTES - 65536:  # the rest is for the JSON
        raise refusal(
            path, f"a .glb holds up to 4 GiB, got {size / 2**30:.1f}", "Choose another format."
        )
    primitive = {"mode": POINTS, "attributes": {name: i for i, name in enumerate(arrays)}}
    primitive["extensions"] = {EXTENSION: {"kernel": "ellipse", "colorSpace": COLOR_SPACE}}
    tree = {
        "asset": {"version": "2.0", "generator": "gs3d"},
        "extensionsUsed": [EXTENSION],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
    }
    tree |= {"nodes": [{"mesh": 0, "name": "splats"}], "meshes": [{"primitives": [primitive]}]}

    def verify(temp: Path) -> None:
        try:
            got, start, length = read_tree(temp)
            same = got.get("meshes") == tree["meshes"]
            for i, array in enumerate(arrays.values()):
                same &= np.array_equal(
                    read_array(temp, got, start, length, i),
                    fractions(array) if array.dtype.kind == "u" else array,
                )
        except UserError as error:
            raise refusal(
                path,
                "what was written cannot be read back",
                "Try again; if it stays so, check the disk.",
            ) from error
        if not same:
            what = f"the file read back differs from the {len(splats)} splats that were written"
            raise refusal(path, what, "Try again; if it stays so, check the disk.")

    write_atomic(path, lambda temp: write_glb(temp, tree, list(arrays.values())), verify)


def _splat_primitives(path: Path, tree: dict) -> Iterator[tuple[dict, dict, np.ndarray]]:
    """Of every primitive in the scene that is splats: its attributes, the extension, and where it stands [4, 4]."""
    for primitive, matrix in placed_primitives(path, tree):
        extensions = primitive.get("extensions")
        extension = extensions.get(EXTENSION) if isinstance(extensions, dict) else None
        if isinstance(extension, dict) and isinstance(primitive.get("attributes"), dict):
            yield primitive["attributes"], extension, matrix


def holds_splats(path: str | Path) -> bool:
    """Whether the .glb at `path` has splats in its scene; only its JSON is read. UserError if it is no .glb."""
    path = Path(path)
    try:
        return any(_splat_primitives(path, read_tree(path)[0]))
    except OSError as error:
        raise read_error(path, error) from error


def read_glb_splats(path: str | Path) -> Splats:
    """Splats in the world frame, float32 on the CPU: all those in the scene of a .glb, where its nodes place them.

    Rows that hold NaN, infinity or a quaternion of no length are left out with a warning. UserError for a mesh, for compressed splats, for
    harmonics that are not complete, and for nodes that stretch or mirror.
    """
    path = Path(path)
    try:
        tree, start, length = read_tree(path)
        found = list(_splat_primitives(path, tree))
        if not found:
            what = f"expected Gaussian splats ({EXTENSION}), got a mesh or an empty scene"
            raise UserError(
                f"cannot read {path}: {what}. Give a .glb that was written from splats."
            )
        parts = []
        for attributes, extension, matrix in found:
            # Each row has its own coefficients of degree 0, 12 bytes. A primitive that is placed a million times would fill the memory.
            if sum(map(len, parts)) * 12 > length:
                raise bad(
                    path,
                    f"its scene has more splats than its {length} bytes can hold; expected each to be placed once",
                )
            parts.append(
                in_scene(
                    path,
                    _of_primitive(
                        path, partial(read_array, path, tree, start, length), attributes, extension
                    ),
                    matrix,
                )
            )
    except OSError as error:
        raise read_error(path, error) from error
    most = max(part.sh.shape[1] for part in parts)
    whole = parts[0]
    if len(parts) > 1:
        pads = ((0, 0, 0, most - part.sh.shape[1]) for part in parts)
        whole = Splats.cat(
            [
                replace(part, sh=torch.nn.functional.pad(part.sh, pad))
                for part, pad in zip(parts, pads, strict=True)
            ]
        )
    return from_rows(path, whole, torch.tensor(WORLD_TO_GLTF).T)


def _of_primitive(
    path: Path, read: Callable[[object], np.ndarray], attributes: dict, extension: dict
) -> Splats:
    """The rows of one primitive, in its own frame; `read` gives those of an accessor."""
    more = extension.get("extensions")
    if packed := [name for name in more if "compression" in name] if isinstance(more, dict) else []:
        raise UserError(
            f"cannot read {path}: expected plain splats, got {shown(packed[0])}. Convert it to a .glb without compression first."
        )
    if (space := extension.get("colorSpace")) != COLOR_SPACE or extension.get(
        "kernel"
    ) != "ellipse":
        got = f"{shown(space)} and {shown(extension.get('kernel'))}"
        warnings.warn(
            f"{path}: expected colors in {COLOR_SPACE} and the kernel ellipse, got {got}; it may look wrong",
            stacklevel=3,
        )
    present = [
        degree for degree in range(4) if any(name in attributes for name in harmonics(degree))
    ]
    wanted = {
        name: 3 for degree in range(max(present, default=0) + 1) for name in harmonics(degree)
    }
    if missing := [name for name in (*WIDTHS, *wanted) if name not in attributes]:
        raise UserError(
            f"cannot read {path}: its splats lack {', '.join(missing[:4])}. Export it again, with complete harmonics."
        )

    def rows_of(name: str, count: int | None = None) -> np.ndarray:
        rows, width = read(attributes[name]), (WIDTHS | wanted)[name]
        if rows.shape != (shape := (len(rows) if count is None else count, width)):
            raise bad(
                path,
                f"{name}: expected an array {list(shape)}, as many rows as POSITION, got {list(rows.shape)}",
            )
        return rows

    means = rows_of("POSITION")
    n = len(means)
    # Out of their range both are against the extension; the sign of a scale does not change the ellipsoid.
    scales, opacities = np.abs(rows_of(SCALE, n)), rows_of(OPACITY, n)[:, 0].clip(0, 1)
    quats = rows_of(ROTATION, n)[:, [3, 0, 1, 2]]
    sh = np.empty((n, len(wanted), 3), np.float32)
    for k, name in enumerate(wanted):
        sh[:, k] = rows_of(name, n)
    return Splats(*map(torch.from_numpy, (means, quats, scales, opacities, sh)))
