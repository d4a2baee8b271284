"""What every splat format asks of the splats it writes, and does with the rows it reads."""

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.export.frames import rotate_splats

LOG_SCALE_RANGE = (-20.0, 5.0)
COEFFICIENTS = (1, 4, 9, 16)
"""K for harmonics of degree 0 to 3."""


def turned(path: Path, splats: Splats, rotation: Tensor) -> Splats:
    """`splats` in the frame of the file `path`, float64 on the CPU, quaternions of unit length where they have one.

    UserError for none, and for values that were not activated; NaN passes, as does what `check_sound` refuses.
    """
    if len(splats) == 0:
        raise UserError(f"cannot write {path}: expected at least one splat, got 0. Were all of them pruned?")
    _check_shapes(splats)
    made = rotate_splats(splats, rotation)
    opacities, scales = made.opacities.numpy(), made.scales.numpy()
    # NaN passes these two tests and is counted when the file is checked. What fails here is most often a value that was not activated.
    if (outside := int(((opacities < 0) | (opacities > 1)).sum())) > 0:
        got = f"{outside} of {len(splats)} outside it, {np.nanmin(opacities):.4g} to {np.nanmax(opacities):.4g}"
        raise UserError(f"cannot write {path}: expected opacities in [0, 1], got {got}. Are they logits? Apply a sigmoid first.")
    if (negative := int((scales < 0).any(axis=1).sum())) > 0:
        got = f"{negative} of {len(splats)} splats with a negative one"
        raise UserError(f"cannot write {path}: expected linear scales above 0, got {got}. Are they logarithms? Apply exp first.")
    length = made.quats.norm(dim=1, keepdim=True)
    return Splats(made.means, made.quats / torch.where(length > 1e-12, length, 1), made.scales, made.opacities, made.sh)


def _check_shapes(splats: Splats) -> None:
    n = len(splats)
    if splats.sh.ndim != 3 or splats.sh.shape[1] not in COEFFICIENTS:
        raise ValueError(f"splats.sh: expected [{n}, K, 3] with K one of 1, 4, 9, 16, got {list(splats.sh.shape)}")
    wanted = {"means": (n, 3), "quats": (n, 4), "scales": (n, 3), "opacities": (n,), "sh": (n, splats.sh.shape[1], 3)}
    for name, shape in wanted.items():
        if tuple(getattr(splats, name).shape) != shape:
            raise ValueError(f"splats.{name}: expected shape {list(shape)}, got {list(getattr(splats, name).shape)}")


def refusal(path: Path, what: str, next_step: str) -> UserError:
    """Why `path` was not written."""
    return UserError(f"cannot write {path}: {what}. {next_step} Nothing was changed.")


def check_sound(path: Path, values: np.ndarray, log_scales: np.ndarray, quats: np.ndarray) -> None:
    """UserError unless a viewer can show rows of these `values` [N, …], log-scales [N, 3] and quaternions [N, 4]."""
    # An infinite logarithm is a scale of 0 and is told below, with the range.
    bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1) | np.isnan(log_scales).any(axis=1) | ~np.isfinite(quats).all(axis=1)
    if bad.any():
        raise refusal(path, f"{int(bad.sum())} of {len(bad)} splats hold NaN or infinity", "Remove them, or lower the learning rate.")
    low, high = LOG_SCALE_RANGE
    if (outside := int(((log_scales < low) | (log_scales > high)).any(axis=1).sum())) > 0:
        got = f"{log_scales.min():.4g} to {log_scales.max():.4g}"
        what = f"expected log-scales in [{low:g}, {high:g}], got {got}, {outside} of {len(bad)} splats outside"
        raise refusal(path, what, "Clamp or remove them; if all are off, exp was applied twice or not at all.")
    if (flat := int((np.abs(quats).max(axis=1) < 1e-6).sum())) > 0:
        raise refusal(path, f"{flat} of {len(bad)} quaternions have no length", "Remove these splats or give them the rotation 1, 0, 0, 0.")


def check_splats(path: Path, splats: Splats) -> Splats:
    """`splats` as they are, of `turned`; `check_sound` for those who keep scales linear."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log_scales = np.log(splats.scales.numpy())
    values = torch.cat([splats.means, splats.opacities[:, None], splats.sh.flatten(1)], 1).numpy()
    check_sound(path, values, log_scales, splats.quats.numpy())
    return splats


def from_rows(path: Path, splats: Splats, rotation: Tensor) -> Splats:
    """What a reader of `path` gives back: rows in the file's frame → the world's by `rotation`, float32, quaternions of unit length.

    Rows that hold NaN or infinity, or a quaternion of no length, are left out with a warning that counts them: foreign files often have a
    few, and the rest is good. UserError if there is nothing else.
    """
    world = rotate_splats(splats, rotation)
    world = Splats(*(part.float() for part in vars(world).values()))
    length = world.quats.norm(dim=1)
    good = torch.isfinite(length) & (length > 1e-12)
    # Once turned: what is not finite stays so, and sums of coefficients at the end of float32's range become so.
    for part in (world.means, world.scales, world.opacities[:, None], world.sh.flatten(1)):
        good &= torch.isfinite(part).all(dim=1)
    if not good.any():
        raise UserError(f"cannot read {path}: all {len(good)} rows hold NaN, infinity or a quaternion of no length. Export it again.")
    if not good.all():
        what = f"{int((~good).sum())} of {len(good)} rows hold NaN, infinity or a quaternion of no length and were left out"
        warnings.warn(f"{path}: {what}", stacklevel=3)
    return Splats(world.means[good], world.quats[good] / length[good, None], world.scales[good], world.opacities[good], world.sh[good])
