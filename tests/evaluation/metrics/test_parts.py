"""Recall of minor colors and small parts, on colors and points made by hand."""

import pytest
import torch

from gs3d.evaluation.metrics.geometry import Surface
from gs3d.evaluation.metrics.parts import (
    color_shares,
    minor_color_recall,
    oklab,
    small_part_recall,
)
from gs3d.world.colors import NAMED

NAMES = list(NAMED)


def shares(**parts: float) -> torch.Tensor:
    table = torch.zeros(len(NAMES))
    for name, share in parts.items():
        table[NAMES.index(name)] = share
    return table


def test_oklab_of_known_colors():
    # Ottosson 2020: white is (1, 0, 0), and red (0.628, 0.225, 0.126).
    lab = oklab(torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))
    torch.testing.assert_close(
        lab, torch.tensor([[1.0, 0, 0], [0.628, 0.225, 0.126]]), atol=2e-3, rtol=0
    )


def test_each_pixel_counts_for_the_nearest_color():
    rgb = torch.tensor([NAMED["red"], NAMED["red"], NAMED["blue"], NAMED["green"]])[None, None]
    alpha = torch.tensor([[[1.0, 1.0, 1.0, 0.5]]])
    torch.testing.assert_close(color_shares(rgb, alpha), shares(red=2 / 3, blue=1 / 3))
    assert color_shares(0.8 * rgb, alpha).argmax() == NAMES.index("red")
    assert color_shares(rgb, torch.zeros(1, 1, 4)).sum() == 0


def test_recall_counts_minor_colors_that_all_references_have():
    references = [shares(red=0.8, yellow=0.1, black=0.1), shares(red=0.8, yellow=0.2)]
    # Black is on half of the references only, and red is no minor color.
    assert minor_color_recall(shares(red=1.0), references) == 0
    assert minor_color_recall(shares(yellow=0.075), references) == pytest.approx(0.5)
    assert minor_color_recall(shares(yellow=1.0), references) == 1
    assert minor_color_recall(shares(red=1.0), [shares(red=1.0)]) is None


def surface(points: torch.Tensor, parts: torch.Tensor | None = None) -> Surface:
    return Surface(points, torch.zeros_like(points), parts)


def test_recall_of_a_part_is_the_share_of_its_points_that_are_near():
    body = torch.rand(190, 3, generator=torch.Generator().manual_seed(0))
    handle = torch.tensor([[2.0, 0, 0]]).repeat(10, 1)
    handle[5:, 1] = 0.5
    reference = surface(torch.cat([body, handle]), torch.tensor([0] * 190 + [1] * 10))
    whole = surface(torch.cat([body, handle]) + 0.01)
    assert small_part_recall(whole, [reference]) == 1
    assert small_part_recall(surface(body), [reference]) == 0
    assert small_part_recall(surface(torch.cat([body, handle[:5]])), [reference]) == 0.5


def test_no_small_parts_or_no_surface():
    points = torch.rand(100, 3)
    assert small_part_recall(surface(points), [surface(points)]) is None
    one = surface(points, torch.zeros(100, dtype=torch.int64))
    assert small_part_recall(surface(points), [one]) is None
    assert small_part_recall(surface(torch.zeros(0, 3)), [one]) == 0
