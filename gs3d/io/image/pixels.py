"""Pictures in [0, 1] to bytes, for every picture and video format."""

from pathlib import Path

import numpy as np
from torch import Tensor

from gs3d.core.errors import UserError


def to_bytes(path: Path, picture: Tensor | np.ndarray, what: str) -> np.ndarray:
    """[H, W, 3] in [0, 1] → uint8 [H, W, 3], rounded; values outside are clamped. UserError for `path` if there is NaN."""
    array = (
        picture.detach().cpu().float().numpy()
        if isinstance(picture, Tensor)
        else np.asarray(picture, dtype=np.float32)
    )
    if array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ValueError(f"{what}: expected shape [H, W, 3], got {list(array.shape)}")
    if (broken := int(np.isnan(array).any(axis=2).sum())) > 0:
        total = array.shape[0] * array.shape[1]
        raise UserError(
            f"cannot write {path}: {what} holds NaN in {broken} of {total} pixels. Check the splats it was rendered from."
        )
    return (array.clip(0, 1) * 255 + 0.5).astype(np.uint8)
