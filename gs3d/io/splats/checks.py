"""Checks shared by all splat formats: splats before writing, rows after reading."""

import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import ClippedValues, DroppedRows
from gs3d.io.splats.conventions import MANY, rounded_positions
from gs3d.ops.transforms import rotate_splats

LEAST_SCALE, MOST_SCALE = math.exp(-20), math.exp(20)
"""Range of scales in files."""
DOUBLE_SIGMOID = (0.5, 0.7311)
"""Opacities after a sigmoid was applied twice."""
MIN_QUATERNION_NORM = 1e-12
SH_COUNTS = (1, 4, 9, 16)
"""K for spherical harmonics of degree 0 to 3."""


def to_file_coordinates(
    path: Path, splats: Splats, rotation: Tensor, least_scale: float = LEAST_SCALE
) -> Splats:
    """`splats` rotated by `rotation` [3, 3]: float32, contiguous, on the CPU, unit quaternions.

    Smaller scales become `least_scale`, with a warning: no viewer can tell the two apart.
    UserError if there are no splats, if opacities or scales were not activated, or if a viewer
    could not show the splats. `path` is the file to write, for messages.
    """
    if len(splats) == 0:
        raise UserError(
            f"cannot write {path}: expected at least one splat, got 0. Were all of them pruned?"
        )
    _check_shapes(splats)
    rotated = rotate_splats(splats, rotation)
    # Convert to the precision of files first: values beyond float32 become infinite and are
    # rejected below.
    rotated = Splats(*(part.float().contiguous() for part in vars(rotated).values()))
    opacities, scales = rotated.opacities.numpy(), rotated.scales.numpy()
    # NaN passes the next two tests and is counted below. The usual cause of a failure here is
    # a value that was not activated.
    if (outside := int(((opacities < 0) | (opacities > 1)).sum())) > 0:
        raise UserError(
            f"cannot write {path}: expected opacities in [0, 1], "
            f"got {outside} of {len(splats)} outside, "
            f"range {np.nanmin(opacities):.4g} to {np.nanmax(opacities):.4g}. "
            "Are they logits? Apply a sigmoid first."
        )
    if (negative := int((scales < 0).any(axis=1).sum())) > 0:
        raise UserError(
            f"cannot write {path}: expected linear scales above 0, "
            f"got {negative} of {len(splats)} splats with a negative scale. "
            "Are they logarithms? Apply exp first."
        )
    _check_drawable(path, rotated)
    if lost := rounded_positions(path, splats.means.detach().cpu().numpy()):
        warnings.warn(lost, stacklevel=3)
    _warn_of_sigmoids(path, opacities)
    # In place: rotate_splats returned new quaternions.
    rotated.quats.div_(rotated.quats.norm(dim=1, keepdim=True))
    if small := int((rotated.scales < least_scale).any(dim=1).sum()):
        text = f"an axis below {least_scale:.2g}, which is written as that"
        warnings.warn(ClippedValues(path, "scales", small, len(splats), text), stacklevel=3)
        rotated = replace(rotated, scales=rotated.scales.clamp_min(least_scale))
    return rotated


def _warn_of_sigmoids(path: Path, opacities: np.ndarray) -> None:
    low, high = DOUBLE_SIGMOID
    if len(opacities) >= MANY and low <= opacities.min() < 0.525 and 0.71 < opacities.max() <= high:
        warnings.warn(
            f"{path}: the opacities fill {opacities.min():.3g} to {opacities.max():.3g}; "
            "was a sigmoid applied twice?",
            stacklevel=4,
        )


def _check_shapes(splats: Splats) -> None:
    n = len(splats)
    if splats.sh.ndim != 3 or splats.sh.shape[1] not in SH_COUNTS:
        raise ValueError(
            f"splats.sh: expected [{n}, K, 3] with K one of 1, 4, 9, 16, "
            f"got {list(splats.sh.shape)}"
        )
    expected = {
        "means": (n, 3),
        "quats": (n, 4),
        "scales": (n, 3),
        "opacities": (n,),
        "sh": (n, splats.sh.shape[1], 3),
    }
    for name, shape in expected.items():
        got = getattr(splats, name).shape
        if tuple(got) != shape:
            raise ValueError(f"splats.{name}: expected shape {list(shape)}, got {list(got)}")


def refusal(path: Path, what: str, next_step: str) -> UserError:
    """The UserError for a file that was not written: reason `what`, then `next_step`."""
    return UserError(f"cannot write {path}: {what}. {next_step} Nothing was changed.")


def unreadable_result(path: Path) -> UserError:
    """The UserError for a new file that cannot be read back."""
    return refusal(
        path, "the new file cannot be read back", "Try again. If it fails again, check the disk."
    )


def changed_result(path: Path, count: int) -> UserError:
    """The UserError for a new file that reads back differently from its `count` splats."""
    return refusal(
        path,
        f"the file read back differs from the {count} splats that were written",
        "Try again. If it fails again, check the disk.",
    )


def warn_of_degree_4(path: Path) -> None:
    """Warn that the coefficients of degree 4 in the file `path` are not read."""
    warnings.warn(
        f"{path}: SH coefficients of degree 4 are dropped; gs3d supports degree 0 to 3",
        stacklevel=3,
    )


def warn_of_antialiasing(path: Path) -> None:
    """Warn that the file `path` is marked as antialiased."""
    warnings.warn(
        f"{path}: is marked as antialiased, so viewers draw its small splats more transparent "
        "to make up for their widening to a pixel; gs3d does not keep the mark",
        stacklevel=3,
    )


def _finite(splats: Splats) -> Tensor:
    """Mask [N] of the rows without NaN and infinity."""
    finite = torch.ones(len(splats), dtype=torch.bool)
    for part in vars(splats).values():
        rows = part.view(len(splats), -1)
        # amin and amax of a row with NaN are both NaN.
        finite &= torch.isfinite(rows.amin(dim=1)) & torch.isfinite(rows.amax(dim=1))
    return finite


def _normalizable(quats: Tensor) -> Tensor:
    """Mask [N] of the quaternions [N, 4] that can be normalized."""
    norm = quats.norm(dim=1)
    return (norm > MIN_QUATERNION_NORM) & torch.isfinite(norm)


def _check_drawable(path: Path, splats: Splats) -> None:
    """UserError unless a viewer can draw `splats`."""
    if (bad := int((~_finite(splats)).sum())) > 0:
        raise refusal(
            path,
            f"{bad} of {len(splats)} splats hold NaN or infinity",
            "Remove them, or lower the learning rate.",
        )
    if (outside := int((splats.scales > MOST_SCALE).any(dim=1).sum())) > 0:
        raise refusal(
            path,
            f"expected scales up to {MOST_SCALE:.2g}, got {float(splats.scales.max()):.4g}, "
            f"{outside} of {len(splats)} splats larger",
            "`gs3d clean --max-scale 0.5` removes single ones, `gs3d clean --center --radius 1` "
            "shrinks all.",
        )
    if (zero := int((~_normalizable(splats.quats)).sum())) > 0:
        raise refusal(
            path,
            f"{zero} of {len(splats)} quaternions have zero length",
            "Remove these splats or give them the rotation 1, 0, 0, 0.",
        )


def to_world_coordinates(path: Path, splats: Splats, rotation: Tensor) -> Splats:
    """The result of a reader: rows of the file `path`, rotated by `rotation` [3, 3], normalized.

    `splats` must be float32 and contiguous; they are modified in place. Rows with NaN, infinity
    or a zero-length quaternion are left out with a `DroppedRows` warning, because files of other
    programs often have a few among good rows. UserError if no row is valid.
    """
    world = rotate_splats(splats, rotation, out=splats)
    # Checked after the rotation: NaN and infinity stay, and sums of coefficients near the limit of
    # float32 may become infinite.
    valid = _finite(world) & _normalizable(world.quats)
    if not valid.any():
        raise UserError(
            f"cannot read {path}: all {len(valid)} rows hold NaN, infinity or "
            "a zero-length quaternion. Export it again."
        )
    world.quats.div_(world.quats.norm(dim=1, keepdim=True))
    if valid.all():
        return world
    warnings.warn(DroppedRows(path, int((~valid).sum()), len(valid)), stacklevel=3)
    return world[valid]
