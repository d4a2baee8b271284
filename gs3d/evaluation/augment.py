"""World renders made to look a little like splats that are not quite right: soft, noisy, grainy, off center, in thin smoke.

A judge that has only seen clean pictures fails a good object for its blur, so the classifier is trained on these.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gs3d.core.backgrounds import RANDOM_NUMBERS, random_backgrounds

LIGHT_GRAY = 0.92  # the background of previews and of grading


def backgrounds(rng: np.random.Generator, count: int) -> Tensor:
    """[count, 3] solid colors; a third are the light gray that grading uses, the others random."""
    u = torch.from_numpy(rng.random((count, RANDOM_NUMBERS + 1), dtype=np.float32))
    return random_backgrounds(u).where(u[:, -1:] >= 1 / 3, torch.tensor(LIGHT_GRAY))


def _shift_and_scale(rgba: Tensor, gen: torch.Generator) -> Tensor:
    """Up to 4 pixels of 64 to any side, 0.85 to 1.1 of the size."""
    count = len(rgba)
    u = torch.rand(3, count, generator=gen, device=gen.device)
    affine = torch.zeros(count, 2, 3, device=gen.device)
    affine[:, 0, 0] = affine[:, 1, 1] = 1 / (0.85 + 0.25 * u[0])
    affine[:, :, 2] = (u[1:].T - 0.5) / 4
    return functional.grid_sample(
        rgba,
        functional.affine_grid(affine, list(rgba.shape), align_corners=False),
        align_corners=False,
    )


def _blur(images: Tensor, gen: torch.Generator) -> Tensor:
    """A Gaussian of 0 to 1.5 pixels, mostly little."""
    count, channels = images.shape[:2]
    sigma = 0.2 + 1.3 * torch.rand(count, generator=gen, device=gen.device) ** 2
    x = torch.arange(-4, 5, device=gen.device)
    kernel = torch.exp(-0.5 * (x / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    flat = images.reshape(1, count * channels, *images.shape[2:])
    flat = functional.conv2d(
        flat, kernel[:, None, None, :], padding=(0, 4), groups=count * channels
    )
    return functional.conv2d(
        flat, kernel[:, None, :, None], padding=(4, 0), groups=count * channels
    ).reshape(images.shape)


def _smoke(images: Tensor, gen: torch.Generator) -> Tensor:
    """Thin, smooth patches of a random color over a third of the pictures, at most 0.35 dense."""
    count, size = len(images), images.shape[-1]
    field = torch.rand(count, 1, 4, 4, generator=gen, device=gen.device)
    field = functional.interpolate(field, size=(size, size), mode="bicubic", align_corners=False)
    u = torch.rand(2, count, generator=gen, device=gen.device)
    strength = 0.7 * u[0] * (u[1] < 1 / 3)
    density = (field - 0.5).clamp_min(0) * strength[:, None, None, None]
    color = torch.rand(count, 3, 1, 1, generator=gen, device=gen.device)
    return images + density * (color - images)


def grain(rgba: Tensor, gen: torch.Generator) -> Tensor:
    """Premultiplied [B, 4, h, w] with blobs of 3 to 6 pixels of 64, up to a third lighter or darker than the object, on half of them.

    A surface of splats that face here and there looks so. A judge that has not seen it takes the grain for a pattern.
    """
    count, size = len(rgba), rgba.shape[-1]
    blobs = (
        torch.randn(count, 1, cells, cells, generator=gen, device=gen.device)
        for cells in (size // 6, size // 3)
    )
    coarse, fine = (
        functional.interpolate(b, size=(size, size), mode="bicubic", align_corners=False)
        for b in blobs
    )
    u = torch.rand(3, count, 1, 1, 1, generator=gen, device=gen.device)
    strength = 0.16 * u[0] * (u[1] < 0.5)
    shade = (1 + strength * (u[2] * coarse + (1 - u[2]) * fine)).clamp(2 / 3, 4 / 3)
    return torch.cat([(rgba[:, :3] * shade).minimum(rgba[:, 3:]), rgba[:, 3:]], 1)


def augment(rgba: Tensor, background: Tensor, gen: torch.Generator) -> Tensor:
    """Premultiplied [B, 64, 64, 4] over `background` [B, 3] → pictures [B, 3, 64, 64] in [0, 1]; all on the device of `gen`."""
    rgba = _blur(_shift_and_scale(grain(rgba.permute(0, 3, 1, 2), gen), gen), gen)
    images = rgba[:, :3] + (1 - rgba[:, 3:]) * background[:, :, None, None]
    images = _smoke(images, gen)
    u = torch.rand(3, len(images), 1, 1, 1, generator=gen, device=gen.device)
    gray = images.mean(1, keepdim=True)
    images = (gray + (0.85 + 0.4 * u[0]) * (images - gray)) * (0.85 + 0.25 * u[1])
    noise = 0.06 * u[2] ** 2 * torch.randn(images.shape, generator=gen, device=gen.device)
    return (images + noise).clamp(0, 1)
