"""The CUDA rasterizer: against the reference on a CUDA device, and its error messages elsewhere."""

import inspect

import pytest
import torch

from gs3d.core.cameras import Cameras
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.raster import cuda, rasterize
from gs3d.raster.reference import rasterize_reference
from tests.raster.raster_scenes import (
    FIELDS,
    cameras,
    draw,
    edge_case_scenes,
    random_scene,
    relative_error,
)

NO_CUDA = "needs a CUDA device"
EDGE_CASES = (
    *("near plane", "off screen", "transparent", "all transparent"),
    *("opaque", "zero quaternions", "no splats"),
)
"""Scenes on which gsplat and the reference agree."""


def assert_matches_reference(
    scene: Splats, views: Cameras, normals: bool, tolerance: float
) -> None:
    leaves = Splats(*(getattr(scene, name).cuda().requires_grad_() for name in FIELDS))
    g = torch.Generator().manual_seed(7)
    background = torch.rand(len(views), 3, generator=g)
    out = rasterize(leaves, views, background.cuda(), normals)
    expected, gradients, reference = draw(rasterize_reference, scene, views, torch.float64, normals)
    loss = torch.zeros((), device="cuda")
    for name in ("rgb", "alpha", "depth", "normal"):
        if name in expected:
            image = getattr(out, name)
            assert relative_error(image.detach().cpu(), expected[name]) < tolerance, name
            loss = loss + (image * torch.randn(image.shape, generator=g).cuda()).sum()
    loss.backward()
    for name in FIELDS:
        gradient = getattr(leaves, name).grad
        assert torch.isfinite(gradient).all(), name
        assert relative_error(gradient.cpu(), gradients[name]) < tolerance, name
    assert relative_error(out.aux["means2d"].grad.cpu(), gradients["means2d"]) < tolerance
    assert out.aux["radii"].shape == reference.aux["radii"].shape


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_CUDA)
@pytest.mark.parametrize("normals", [False, True])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_random_scenes_match_the_reference(degree, normals):
    assert_matches_reference(
        random_scene(150, degree, degree), cameras(3, seed=degree), normals, 1e-3
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_CUDA)
@pytest.mark.parametrize("name", EDGE_CASES)
def test_edge_cases_match_the_reference(name):
    scene, views = edge_case_scenes()[name]
    assert_matches_reference(scene, views, True, 1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_CUDA)
def test_state_is_built_after_build():
    cuda.build()
    assert cuda.build_state() == "built"


def test_no_splats_give_the_background_color_and_empty_gradients():
    """`aux` has the entries for densification too. This needs no CUDA device."""
    empty = Splats(
        *(torch.zeros(0, *shape, requires_grad=True) for shape in ((3,), (4,), (3,), (), (1, 3)))
    )
    out = cuda._empty(empty, cameras(2, seed=0), torch.tensor([0.1, 0.2, 0.3]).expand(2, 3), True)
    (out.rgb.sum() + out.alpha.sum() + out.depth.sum() + out.normal.sum()).backward()
    assert torch.allclose(out.rgb, torch.tensor([0.1, 0.2, 0.3])) and not out.alpha.any()
    assert out.aux["means2d"].grad.shape == (2, 0, 2) and empty.sh.grad is not None


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch is built with CUDA")
def test_build_without_cuda_raises_user_error():
    assert cuda.build_state() in ("no CUDA in torch", "no gsplat")
    with pytest.raises(UserError, match="built without CUDA|not installed"):
        cuda.build()


def test_build_error_contains_the_compiler_output(monkeypatch):
    """A failed build raises `UserError` with the last lines of its output."""
    pytest.importorskip("gsplat")
    import builtins
    import sys

    real_import = builtins.__import__

    def failing_import(name, *args, **kwargs):
        if name == "gsplat.cuda._backend":
            raise RuntimeError(
                "Error building extension 'gsplat_cuda': "
                "nvcc fatal : Unsupported gpu architecture 'compute_120'"
            )
        return real_import(name, *args, **kwargs)

    cuda.build.cache_clear()
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.delitem(sys.modules, "gsplat.cuda._backend", raising=False)
    monkeypatch.setattr(builtins, "__import__", failing_import)
    with pytest.raises(UserError, match="compute_120"):
        cuda.build()
    cuda.build.cache_clear()


def test_no_splats_match_the_cpu_rasterizer():
    """The code for N = 0 is plain torch, so this test needs no CUDA device."""
    scene, views = random_scene(0, 1), cameras(2)
    leaves = Splats(*(getattr(scene, name).requires_grad_() for name in FIELDS))
    background = torch.rand(2, 3)
    out = cuda._empty(leaves, views, background, True)
    (out.rgb.sum() + out.alpha.sum() + out.depth.sum() + out.normal.sum()).backward()
    expected = rasterize(random_scene(0, 1), views, background, True)
    assert torch.equal(out.rgb, expected.rgb.expand_as(out.rgb))
    assert torch.equal(out.normal, expected.normal)
    assert out.aux["means2d"].shape == (2, 0, 2) and leaves.means.grad.shape == (0, 3)


def test_sanitized_hides_nan_and_infinity_from_gsplat():
    scene = random_scene(4)
    scene.means[0, 1] = float("nan")
    scene.scales[1, 2] = float("inf")
    scene.quats[2] = 0
    sanitized = cuda._sanitized(scene)
    assert all(torch.isfinite(getattr(sanitized, name)).all() for name in FIELDS)
    assert sanitized.opacities[:2].tolist() == [0, 0]
    assert torch.equal(sanitized.opacities[2:], scene.opacities[2:])
    assert sanitized.quats[2].tolist() == [1, 0, 0, 0]
    assert torch.equal(sanitized.quats[3], scene.quats[3])


@pytest.mark.parametrize("normals", [False, True])
def test_arguments_match_the_signature_of_gsplat(monkeypatch, normals):
    """Replace gsplat's kernels by a fake that checks names and shapes of the arguments.

    The channels that it returns must end up in the right fields of `Render`.
    """
    gsplat = pytest.importorskip("gsplat")
    signature = inspect.signature(gsplat.rasterization)
    scene, views = random_scene(7, 2), cameras(3)

    def fake_rasterization(*args, **kwargs):
        a = signature.bind(*args, **kwargs)
        a.apply_defaults()
        a = a.arguments
        assert a["means"].shape == (7, 3) and a["quats"].shape == (7, 4)
        assert a["scales"].shape == (7, 3) and a["opacities"].shape == (7,)
        assert a["viewmats"].shape == (3, 4, 4) and a["Ks"].shape == (3, 3, 3)
        assert a["colors"].shape == ((3, 7, 6) if normals else (7, 9, 3))
        assert a["sh_degree"] == (None if normals else 2)
        channels = 6 if normals else 3
        assert a["backgrounds"].shape == (3, channels) and a["backgrounds"][:, 3:].eq(0).all()
        assert not a["packed"] and not a["absgrad"]
        assert a["render_mode"] == "RGB+ED" and a["tile_size"] == 16
        image = torch.arange(channels + 1.0).expand(3, a["height"], a["width"], -1)
        info = {
            "means2d": a["means"][None, :, :2] * torch.ones(3, 1, 1),
            "radii": torch.ones(3, 7, 2, dtype=torch.int32),
        }
        return image, torch.ones(3, a["height"], a["width"], 1), info

    monkeypatch.setattr(gsplat, "rasterization", fake_rasterization)
    monkeypatch.setattr(cuda, "build", lambda: None)
    scene.means.requires_grad_()
    out = cuda.rasterize_cuda(scene, views, torch.ones(3), normals)
    assert out.rgb[0, 0, 0].tolist() == [0, 1, 2]
    assert out.depth[0, 0, 0].tolist() == [6 if normals else 3]
    assert out.normal[0, 0, 0].tolist() == [3, 4, 5] if normals else out.normal is None
    out.aux["means2d"].sum().backward()
    assert out.aux["means2d"].grad.shape == (3, 7, 2)
