"""The 3D smoothing filter of Mip-Splatting (Yu et al. 2023, arXiv 2311.16493, Eq. 9).

A splat much smaller than a pixel of the training renders looks the same whatever its size, because
the rasterizer widens it by 0.3 px². Its size is then arbitrary, and a viewer at a higher resolution
shows gaps and grain. The filter adds the footprint of a training pixel to every splat, so that no
splat is smaller.
"""

from dataclasses import replace

from gs3d.core.types import Splats


def smoothed(splats: Splats, width: float) -> Splats:
    """Widen splats by an isotropic Gaussian: Σ becomes Σ + width²·I, differentiably.

    `width` is the standard deviation of the filter in world units; 0 changes nothing. Opacities
    stay as they are. Mip-Splatting lowers them by √(|Σ|/|Σ + width²·I|), which measured worse here
    (docs/results.md).
    """
    if not width:
        return splats
    return replace(splats, scales=(splats.scales.square() + width**2).sqrt())
