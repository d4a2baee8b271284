"""Augmentation that makes world renders look like imperfect splats.

The images become blurred, noisy, mottled and off-center, and some show residue: thin,
semi-transparent patches. A classifier that saw only clean renders would misjudge a good object
because of its blur.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gs3d.core.backgrounds import RANDOM_NUMBERS, random_backgrounds

LIGHT_GRAY = 0.92  # the background of previews and of grading


def backgrounds(rng: np.random.Generator, count: int) -> Tensor:
    """Return solid colors [count, 3]: a third the light gray of grading, the others random."""
    u = torch.from_numpy(rng.random((count, RANDOM_NUMBERS + 1), dtype=np.float32))
    return random_backgrounds(u).where(u[:, -1:] >= 1 / 3, torch.tensor(LIGHT_GRAY))


def _shift_and_scale(rgba: Tensor, gen: torch.Generator) -> Tensor:
    """Shift by up to 4 of 64 pixels along each axis and scale by 0.85 to 1.1."""
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
    """Blur with a Gaussian of 0.2 to 1.5 pixels; most images get little blur."""
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


def _add_residue(images: Tensor, gen: torch.Generator) -> Tensor:
    """Blend smooth patches of a random color, of density ≤ 0.35, over a third of the images."""
    count, size = len(images), images.shape[-1]
    field = torch.rand(count, 1, 4, 4, generator=gen, device=gen.device)
    field = functional.interpolate(field, size=(size, size), mode="bicubic", align_corners=False)
    u = torch.rand(2, count, generator=gen, device=gen.device)
    strength = 0.7 * u[0] * (u[1] < 1 / 3)
    density = (field - 0.5).clamp_min(0) * strength[:, None, None, None]
    color = torch.rand(count, 3, 1, 1, generator=gen, device=gen.device)
    return images + density * (color - images)


def grain(rgba: Tensor, gen: torch.Generator) -> Tensor:
    """Mottle half of the premultiplied images [B, 4, h, w] with lighter and darker blobs.

    The blobs are 3 to 6 of 64 pixels wide and change the brightness by up to a third. Splats that
    face in different directions make a surface look like this. A classifier that has not seen it
    takes it for a pattern.
    """
    count, size = len(rgba), rgba.shape[-1]
    blobs = (
        torch.randn(count, 1, resolution, resolution, generator=gen, device=gen.device)
        for resolution in (size // 6, size // 3)
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
    """Augment premultiplied images [B, 64, 64, 4] over `background` [B, 3].

    Returns images [B, 3, 64, 64] in [0, 1]. All tensors are on the device of `gen`.
    """
    rgba = _blur(_shift_and_scale(grain(rgba.permute(0, 3, 1, 2), gen), gen), gen)
    images = rgba[:, :3] + (1 - rgba[:, 3:]) * background[:, :, None, None]
    images = _add_residue(images, gen)
    u = torch.rand(3, len(images), 1, 1, 1, generator=gen, device=gen.device)
    gray = images.mean(1, keepdim=True)
    images = (gray + (0.85 + 0.4 * u[0]) * (images - gray)) * (0.85 + 0.25 * u[1])
    noise = 0.06 * u[2] ** 2 * torch.randn(images.shape, generator=gen, device=gen.device)
    return (images + noise).clamp(0, 1)
