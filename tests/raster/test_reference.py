"""The reference rasterizer against finite differences, closed forms and gsplat's torch code."""

import math

import pytest
import torch

from gs3d.core.types import Splats
from gs3d.raster import reference
from gs3d.raster.reference import rasterize_reference
from tests.raster.raster_scenes import (
    FIELDS,
    camera_along_z,
    cameras,
    draw,
    random_scene,
    relative_error,
    with_first_rows,
)


def test_gradients_match_finite_differences():
    scene = random_scene(4, 1, 1, 0.2)
    inputs = [
        t.double().requires_grad_()
        for t in (scene.means, scene.quats, scene.scales, scene.opacities, scene.sh)
    ]
    views = cameras(1, 5, 4)

    def images(*tensors):
        out = rasterize_reference(
            Splats(*tensors), views, torch.tensor([0.1, 0.5, 0.9]), normals=True
        )
        return out.rgb, out.alpha, out.depth, out.normal

    # Alpha is discontinuous at 1/255, so the step must be too small to cross a discontinuity.
    assert torch.autograd.gradcheck(images, inputs, eps=1e-7, atol=1e-4, rtol=1e-3)


def test_float32_and_float64_agree():
    scene, views = random_scene(80, 1), cameras(2)
    single, double = (
        draw(rasterize_reference, scene, views, dtype, True)
        for dtype in (torch.float32, torch.float64)
    )
    for a, b in zip(single[:2], double[:2], strict=True):
        assert all(relative_error(a[name], b[name]) < 1e-3 for name in b)


def test_chunks_do_not_change_the_image(monkeypatch):
    scene, views = random_scene(80), cameras(1)
    unchunked = rasterize_reference(scene, views).rgb
    monkeypatch.setattr(reference, "CHUNK", 1000)
    assert torch.allclose(rasterize_reference(scene, views).rgb, unchunked, atol=1e-6)


def test_spherical_harmonics_are_orthonormal():
    """∫ Yᵢ·Yⱼ over the sphere is 1 for i = j, else 0, on a lattice of 20,000 directions."""
    n = 20_000
    k = torch.arange(n, dtype=torch.float64) + 0.5
    z, angle = 1 - 2 * k / n, k * (math.pi * (1 + math.sqrt(5)))
    r = (1 - z * z).sqrt()
    basis = reference.sh_basis(torch.stack([r * angle.cos(), r * angle.sin(), z], dim=1), 16)
    assert torch.allclose(
        basis.T @ basis * (4 * math.pi / n), torch.eye(16, dtype=torch.float64), atol=1e-3
    )


def test_compositing_stops_before_transmittance_1e_4():
    """Splats of opacity 0.9001 leave T ≈ 0.1, 0.01, 0.001.

    The fourth would leave slightly less than 1e-4 and is not rendered.
    """
    scene = random_scene(5)
    means = torch.tensor([[0.0, 0, 2 + i] for i in range(5)])
    scene = with_first_rows(
        scene, means=means, scales=torch.full((5, 3), 1e3), opacities=torch.full((5,), 0.9001)
    )
    alpha = rasterize_reference(scene, camera_along_z()).alpha[0, 16, 16, 0].item()
    assert alpha == pytest.approx(1 - 0.0999**3, abs=1e-5)


def test_projection_and_harmonics_match_gsplat():
    """Means, covariances, depths and colors equal those of gsplat's PyTorch code.

    That code needs no CUDA device.
    """
    gsplat_torch = pytest.importorskip("gsplat.cuda._torch_impl")
    scene, views = random_scene(200, 3), cameras(1, seed=4)
    # These are outside the image, where the slope is clamped.
    scene = with_first_rows(scene, means=torch.tensor([[1.5, 0.3, 0.1], [0.2, -1.4, 1.2]]))
    scene = Splats(*(getattr(scene, name).double() for name in FIELDS))
    matrix, intrinsics = views.world_to_camera.double(), views.intrinsics.double()
    means2d, cov, depth, radii = reference._project(
        scene, matrix[0, :3, :3], matrix[0, :3, 3], intrinsics[0], views.width, views.height, 0.3
    )
    covars, _ = gsplat_torch._quat_scale_to_covar_preci(
        scene.quats, scene.scales, compute_preci=False
    )
    _, expected_means2d, expected_depth, conics, _ = gsplat_torch._fully_fused_projection(
        scene.means, covars, matrix, intrinsics, views.width, views.height
    )
    xx, xy, yy = cov.unbind(dim=1)
    det = xx * yy - xy * xy
    assert torch.allclose(torch.stack([yy, -xy, xx], dim=1) / det[:, None], conics[0], rtol=1e-8)
    assert torch.allclose(means2d, expected_means2d[0], rtol=1e-10)
    assert torch.allclose(depth, expected_depth[0], rtol=1e-10)
    sight = torch.nn.functional.normalize(scene.means - views.centers.double(), dim=1)
    colors = (reference.sh_basis(sight, 16)[:, :, None] * scene.sh).sum(dim=1)
    assert torch.allclose(colors, gsplat_torch._spherical_harmonics(3, sight, scene.sh), atol=1e-7)
