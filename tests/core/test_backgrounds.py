import torch

from gs3d.core.backgrounds import random_backgrounds


def test_backgrounds_are_solid_colours_half_of_them_grey():
    colours = random_backgrounds(torch.rand(400, 5, generator=torch.Generator().manual_seed(0)))
    assert colours.shape == (400, 3) and colours.min() >= 0 and colours.max() <= 1
    assert 0.4 < (colours.amax(1) == colours.amin(1)).float().mean() < 0.6
