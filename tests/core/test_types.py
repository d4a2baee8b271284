"""Indexing and concatenation of `Splats`."""

import pytest
import torch

from gs3d.core.types import Splats


def random_splats(count, degree=0):
    gen = torch.Generator().manual_seed(count)
    return Splats(
        *(
            torch.randn(count, *shape, generator=gen)
            for shape in ((3,), (4,), (3,), (), ((degree + 1) ** 2, 3))
        )
    )


def test_indexing_by_mask_indices_and_slice():
    splats = random_splats(6)
    mask = torch.tensor([True, False, False, True, False, True])
    for which, indices in (
        (mask, [0, 3, 5]),
        (torch.tensor([5, 0]), [5, 0]),
        (slice(2, 4), [2, 3]),
        (slice(0, 0), []),
    ):
        picked = splats[which]
        assert len(picked) == len(indices)
        for name, part in vars(picked).items():
            torch.testing.assert_close(part, getattr(splats, name)[indices], rtol=0, atol=0)


def test_indexing_by_one_number_and_iteration_raise():
    message = r"expected a mask, indices or a slice, got 2; for one splat use splats\[2:3\]"
    with pytest.raises(TypeError, match=message):
        random_splats(6)[2]
    with pytest.raises(TypeError, match="not iterable"):
        list(random_splats(6))


def test_cat_keeps_the_order():
    splats = random_splats(6, degree=1)
    joined = Splats.cat([splats[:2], splats[2:5], splats[5:]])
    for name, part in vars(joined).items():
        torch.testing.assert_close(part, getattr(splats, name), rtol=0, atol=0)


def test_cat_rejects_no_parts_and_different_degrees():
    with pytest.raises(ValueError, match=r"same number of SH coefficients, got \[1, 4\]"):
        Splats.cat([random_splats(2), random_splats(2, degree=1)])
    with pytest.raises(ValueError, match="got no parts"):
        Splats.cat([])
