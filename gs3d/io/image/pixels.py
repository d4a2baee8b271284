"""Conversion of images from floats to bytes, for all image and video formats."""

from pathlib import Path

import numpy as np
from torch import Tensor

from gs3d.core.errors import UserError


def to_bytes(path: Path, image: Tensor | np.ndarray, what: str) -> np.ndarray:
    """Convert `image` [H, W, 3] in [0, 1] to uint8, rounded; values outside are clamped.

    `path` is the file to be written and `what` describes the image: both only for error messages.

    Raises:
        UserError: The image holds NaN.
        ValueError: The shape is not [H, W, 3].
    """
    array = (
        image.detach().cpu().float().numpy()
        if isinstance(image, Tensor)
        else np.asarray(image, dtype=np.float32)
    )
    if array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ValueError(f"{what}: expected shape [H, W, 3], got {list(array.shape)}")
    if (bad := int(np.isnan(array).any(axis=2).sum())) > 0:
        total = array.shape[0] * array.shape[1]
        raise UserError(
            f"cannot write {path}: {what} holds NaN in {bad} of {total} pixels. "
            "Check the splats it was rendered from."
        )
    return (array.clip(0, 1) * 255 + 0.5).astype(np.uint8)
