import torch

from gs3d.core.backgrounds import random_backgrounds


def test_half_of_the_backgrounds_are_gray():
    colors = random_backgrounds(torch.rand(400, 5, generator=torch.Generator().manual_seed(0)))
    assert colors.shape == (400, 3) and colors.min() >= 0 and colors.max() <= 1
    assert 0.4 < (colors.amax(1) == colors.amin(1)).float().mean() < 0.6
