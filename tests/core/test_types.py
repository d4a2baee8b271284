"""Splats that are picked from and joined."""

import pytest
import torch

from gs3d.core.types import Splats


def some(count, degree=0):
    gen = torch.Generator().manual_seed(count)
    return Splats(
        *(
            torch.randn(count, *shape, generator=gen)
            for shape in ((3,), (4,), (3,), (), ((degree + 1) ** 2, 3))
        )
    )


def test_a_mask_indices_and_a_slice_pick_whole_splats():
    splats = some(6)
    mask = torch.tensor([True, False, False, True, False, True])
    for which, kept in (
        (mask, [0, 3, 5]),
        (torch.tensor([5, 0]), [5, 0]),
        (slice(2, 4), [2, 3]),
        (slice(0, 0), []),
    ):
        picked = splats[which]
        assert len(picked) == len(kept)
        for name, part in vars(picked).items():
            torch.testing.assert_close(part, getattr(splats, name)[kept], rtol=0, atol=0)


def test_one_splat_is_no_splats():
    with pytest.raises(
        TypeError, match=r"expected a mask, indices or a slice, got 2; one splat is splats\[2:3\]"
    ):
        some(6)[2]
    with pytest.raises(TypeError, match="not iterable"):
        list(some(6))


def test_parts_are_joined_in_their_order():
    splats = some(6, degree=1)
    again = Splats.cat([splats[:2], splats[2:5], splats[5:]])
    for name, part in vars(again).items():
        torch.testing.assert_close(part, getattr(splats, name), rtol=0, atol=0)


def test_what_cannot_be_joined_is_named():
    with pytest.raises(ValueError, match=r"equally many coefficients, got \[1, 4\]"):
        Splats.cat([some(2), some(2, degree=1)])
    with pytest.raises(ValueError, match="got no splats"):
        Splats.cat([])
