"""Indexing and concatenation of `Splats`, and how all types are printed."""

import numpy as np
import pytest
import torch

from gs3d.core.types import Mesh, Render, Splats, TexturedMesh


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


def test_splats_and_renders_are_printed_in_one_line():
    assert repr(random_splats(6)) == "Splats(6 splats, SH degree 0, cpu)"
    assert repr(random_splats(3, degree=3).to("meta")) == "Splats(3 splats, SH degree 3, meta)"
    assert repr(random_splats(6)[:0]) == "Splats(0 splats, SH degree 0, cpu)"
    rgb, gray = torch.zeros(2, 8, 16, 3), torch.zeros(2, 8, 16, 1)
    assert repr(Render(rgb, gray, gray, None, {})) == "Render(2 views, 16×8 pixels, cpu)"
    with_normals = "Render(2 views, 16×8 pixels, with normals, cpu)"
    assert repr(Render(rgb, gray, gray, rgb, {})) == with_normals


def test_meshes_are_printed_in_one_line():
    points, faces = np.zeros((4, 3), np.float32), np.zeros((2, 3), np.int32)
    assert repr(Mesh(points, faces, points, points)) == "Mesh(4 vertices, 2 triangles)"
    textured = TexturedMesh(points, faces, points, points[:, :2], np.zeros((32, 32, 3), np.float32))
    expected = "TexturedMesh(4 vertices, 2 triangles, texture of 32×32 pixels)"
    assert repr(textured) == expected
