"""What every splat format asks of the splats it writes, and does with the rows it reads."""

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.ops.transforms import rotate_splats

LOG_SCALE_RANGE = (-20.0, 5.0)
NO_LENGTH = 1e-12
COEFFICIENTS = (1, 4, 9, 16)
"""K for harmonics of degree 0 to 3."""


def turned(path: Path, splats: Splats, rotation: Tensor) -> Splats:
    """`splats` in the frame of the file `path`, float32 and contiguous on the CPU, with quaternions of unit length.

    UserError for none, for values that were not activated, and for what a viewer cannot show.
    """
    if len(splats) == 0:
        raise UserError(
            f"cannot write {path}: expected at least one splat, got 0. Were all of them pruned?"
        )
    _check_shapes(splats)
    made = rotate_splats(splats, rotation)
    # In the precision of files, so that what does not fit into float32 is refused as infinite.
    made = Splats(*(part.float().contiguous() for part in vars(made).values()))
    opacities, scales = made.opacities.numpy(), made.scales.numpy()
    # NaN passes these two tests and is counted below. What fails here is most often a value that was not activated.
    if (outside := int(((opacities < 0) | (opacities > 1)).sum())) > 0:
        got = f"{outside} of {len(splats)} outside it, {np.nanmin(opacities):.4g} to {np.nanmax(opacities):.4g}"
        raise UserError(
            f"cannot write {path}: expected opacities in [0, 1], got {got}. Are they logits? Apply a sigmoid first."
        )
    if (negative := int((scales < 0).any(axis=1).sum())) > 0:
        got = f"{negative} of {len(splats)} splats with a negative one"
        raise UserError(
            f"cannot write {path}: expected linear scales above 0, got {got}. Are they logarithms? Apply exp first."
        )
    _check_sound(path, made)
    made.quats.div_(made.quats.norm(dim=1, keepdim=True))  # of our own, as they were turned
    return made


def _check_shapes(splats: Splats) -> None:
    n = len(splats)
    if splats.sh.ndim != 3 or splats.sh.shape[1] not in COEFFICIENTS:
        raise ValueError(
            f"splats.sh: expected [{n}, K, 3] with K one of 1, 4, 9, 16, got {list(splats.sh.shape)}"
        )
    wanted = {
        "means": (n, 3),
        "quats": (n, 4),
        "scales": (n, 3),
        "opacities": (n,),
        "sh": (n, splats.sh.shape[1], 3),
    }
    for name, shape in wanted.items():
        if tuple(getattr(splats, name).shape) != shape:
            raise ValueError(
                f"splats.{name}: expected shape {list(shape)}, got {list(getattr(splats, name).shape)}"
            )


def refusal(path: Path, what: str, next_step: str) -> UserError:
    """Why `path` was not written."""
    return UserError(f"cannot write {path}: {what}. {next_step} Nothing was changed.")


def _finite(splats: Splats) -> Tensor:
    """Mask [N] of the rows that hold neither NaN nor infinity."""
    good = torch.ones(len(splats), dtype=torch.bool)
    for part in vars(splats).values():
        rows = part.view(len(splats), -1)
        good &= torch.isfinite(rows.amin(dim=1)) & torch.isfinite(
            rows.amax(dim=1)
        )  # NaN is the least and the largest of its row
    return good


def _has_length(quats: Tensor) -> Tensor:
    """Mask [N] of those that can be made unit quaternions."""
    length = quats.norm(dim=1)
    return (length > NO_LENGTH) & torch.isfinite(length)


def _check_sound(path: Path, splats: Splats) -> None:
    """UserError unless a viewer can show `splats`."""
    if (bad := int((~_finite(splats)).sum())) > 0:
        raise refusal(
            path,
            f"{bad} of {len(splats)} splats hold NaN or infinity",
            "Remove them, or lower the learning rate.",
        )
    (low, high), scales = LOG_SCALE_RANGE, splats.scales.numpy()
    if (outside := int(((scales < np.exp(low)) | (scales > np.exp(high))).any(axis=1).sum())) > 0:
        with np.errstate(divide="ignore"):
            got = f"{np.log(scales.min()):.4g} to {np.log(scales.max()):.4g}"
        what = f"expected log-scales in [{low:g}, {high:g}], got {got}, {outside} of {len(splats)} splats outside"
        raise refusal(
            path, what, "Clamp or remove them; if all are off, exp was applied twice or not at all."
        )
    if (flat := int((~_has_length(splats.quats)).sum())) > 0:
        what = f"{flat} of {len(splats)} quaternions have no length"
        raise refusal(path, what, "Remove these splats or give them the rotation 1, 0, 0, 0.")


def from_rows(path: Path, splats: Splats, rotation: Tensor) -> Splats:
    """What a reader of `path` gives back: rows in the file's frame → the world's by `rotation`, with quaternions of unit length.

    `splats` are float32 and contiguous, and are changed. Rows that hold NaN or infinity, or a quaternion of no length, are left out with a
    warning that counts them: foreign files often have a few, and the rest is good. UserError if there is nothing else.
    """
    world = rotate_splats(splats, rotation, out=splats)
    # Once turned: what is not finite stays so, and sums of coefficients at the end of float32's range become so.
    good = _finite(world) & _has_length(world.quats)
    if not good.any():
        raise UserError(
            f"cannot read {path}: all {len(good)} rows hold NaN, infinity or a quaternion of no length. Export it again."
        )
    world.quats.div_(world.quats.norm(dim=1, keepdim=True))
    if good.all():
        return world
    what = f"{int((~good).sum())} of {len(good)} rows hold NaN, infinity or a quaternion of no length and were left out"
    warnings.warn(f"{path}: {what}", stacklevel=3)
    return world[good]
