"""Which object of a scene each splat belongs to, after all were optimized together."""

from collections.abc import Sequence

import numpy as np
import torch

from gs3d.core.types import Splats


def by_object(splats: Splats, placed: Sequence[Splats]) -> tuple[Splats, list[int]]:
    """Sort splats by their objects, and count those of each.

    A splat belongs to the object whose splat before the optimization, in `placed`, is the nearest.
    An object may have none.
    """
    from scipy.spatial import KDTree

    owners = np.repeat(np.arange(len(placed)), [len(part) for part in placed])
    tree = KDTree(torch.cat([part.means for part in placed]).numpy())
    owner = owners[tree.query(splats.means.numpy())[1]]
    order = torch.from_numpy(np.argsort(owner, kind="stable"))
    return splats[order], np.bincount(owner, minlength=len(placed)).tolist()
