"""The CPU rasterizer: against the reference on random scenes and edge cases, and its guarantees."""

import math
import subprocess
import sys
import threading
import weakref
from functools import partial

import pytest
import torch

from gs3d.core.types import Splats
from gs3d.raster import _lists, cpu, rasterize
from gs3d.raster.reference import rasterize_reference
from tests.raster.raster_scenes import (
    camera_along_z,
    cameras,
    draw,
    edge_case_scenes,
    random_scene,
    relative_error,
    with_first_rows,
)

TOLERANCE = 3e-5


def assert_matches_reference(
    scene, views, normals, loss_terms="rgb alpha depth normal", blur_px2=0.3
):
    (images, gradients, out), (expected_images, expected_gradients, expected) = (
        draw(partial(rasterizer, blur_px2=blur_px2), scene, views, dtype, normals, loss_terms)
        for rasterizer, dtype in (
            (cpu.rasterize_cpu, torch.float32),
            (rasterize_reference, torch.float64),
        )
    )
    for name, image in expected_images.items():
        assert torch.isfinite(images[name]).all(), name
        assert relative_error(images[name], image) < TOLERANCE, name
    for name, gradient in expected_gradients.items():
        assert torch.isfinite(gradients[name]).all(), name
        assert relative_error(gradients[name], gradient) < TOLERANCE, name
    difference = (out.aux["radii"] - expected.aux["radii"]).abs()
    assert (difference > 1e-6 * expected.aux["radii"] + 1).sum() == 0


@pytest.mark.parametrize("normals", [False, True])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_random_scenes_match_the_reference(degree, normals):
    assert_matches_reference(random_scene(100, degree, degree), cameras(2, seed=degree), normals)


@pytest.mark.parametrize("blur_px2", [0.0, 1.5])
def test_scenes_with_another_blur_match_the_reference(blur_px2):
    scene, views = random_scene(100, 0), cameras(2, seed=0)
    assert_matches_reference(scene, views, True, blur_px2=blur_px2)


def test_a_splat_without_extent_needs_the_blur():
    scene = with_first_rows(random_scene(1, 0), scales=torch.zeros(1, 3), means=torch.zeros(1, 3))
    with_blur, without = (
        cpu.rasterize_cpu(scene, cameras(1), None, blur_px2=blur).alpha for blur in (0.3, 0.0)
    )
    assert with_blur.max() > 0 and without.max() == 0


@pytest.mark.parametrize("blur_px2", [-0.1, float("nan"), float("inf")])
def test_invalid_blur(blur_px2):
    with pytest.raises(ValueError, match="blur_px2: expected a finite number, 0 or more"):
        cpu.rasterize_cpu(random_scene(3, 0), cameras(1), blur_px2=blur_px2)


@pytest.mark.parametrize("loss_terms", ["rgb", "alpha", "depth", "normal", "rgb alpha"])
def test_gradient_of_each_output_matches_the_reference(loss_terms):
    assert_matches_reference(random_scene(60, 1), cameras(1), True, loss_terms)


@pytest.mark.parametrize("name", list(edge_case_scenes()))
def test_edge_cases_match_the_reference(name):
    scene, views = edge_case_scenes()[name]
    assert_matches_reference(scene, views, True)


def test_many_splats_in_many_tiles_match_the_reference():
    """Splats cross bands and tiles, and some tiles become opaque before the end of their list.

    The lists are longer than the 16 splats between two checks for opaque tiles.
    """
    scene = random_scene(700, 0, 5, 0.07)
    assert_matches_reference(
        with_first_rows(scene, opacities=torch.full((350,), 0.97)), cameras(1, 90, 50), False
    )


def test_splats_with_nan_or_infinity_are_not_rendered():
    """Invalid splats do not change the image of the others, and all gradients are finite."""
    scene, views = random_scene(60, 1), cameras(2)
    nan, inf = float("nan"), float("inf")
    invalid = with_first_rows(
        scene,
        means=torch.tensor([[nan, 0, 0], [0, inf, 0]]),
        scales=torch.cat([scene.scales[:2], torch.tensor([[nan, 1, 1], [inf, 1, 1]])]),
        opacities=torch.cat([scene.opacities[:4], torch.tensor([nan])]),
    )
    images, gradients, _ = draw(cpu.rasterize_cpu, invalid, views, torch.float32, True)
    without = invalid[5:]
    expected, _, _ = draw(cpu.rasterize_cpu, without, views, torch.float32, True)
    for name, image in expected.items():
        assert torch.equal(images[name], image), name
    for name, gradient in gradients.items():
        assert torch.isfinite(gradient).all(), name


def test_one_isotropic_splat_matches_the_closed_form():
    """At (d, d) from the center, α = o·exp(−d²/Σ') with Σ' = (f·σ/z)² + 0.3; depth is z."""
    focal, sigma, z, opacity = 40.0, 0.2, 4.0, 0.8
    mean, quat = torch.tensor([[0.0, 0, z]]), torch.tensor([[1.0, 0, 0, 0]])
    splats = Splats(
        mean, quat, torch.full((1, 3), sigma), torch.tensor([opacity]), torch.zeros(1, 1, 3)
    )
    out = rasterize(splats, camera_along_z(32, 32, focal), normals=True)
    variance = (focal * sigma / z) ** 2 + 0.3
    for pixel in (16, 18):
        d = pixel + 0.5 - 16
        alpha = opacity * math.exp(-d * d / variance)
        assert out.alpha[0, pixel, pixel, 0].item() == pytest.approx(alpha, rel=1e-5)
        assert out.rgb[0, pixel, pixel].tolist() == pytest.approx([0.5 * alpha] * 3, rel=1e-5)
        assert out.depth[0, pixel, pixel, 0].item() == pytest.approx(z, rel=1e-5)
        # The shortest axis of an isotropic splat is its first axis, x, perpendicular to the view.
        assert out.normal[0, pixel, pixel].norm().item() == pytest.approx(alpha, rel=1e-5)
    assert out.alpha[0, 0, 0, 0] == 0 and out.depth[0, 0, 0, 0] == 0


def test_two_splats_are_composited_in_depth_order():
    """The nearer splat is in front, regardless of its index.

    C = o₁c₁ + (1 − o₁)o₂c₂ + (1 − o₁)(1 − o₂)·background.
    """
    c = (1.0 - 0.5) / 0.28209479177387814
    red, blue = [c, -c, -c], [-c, -c, c]
    sh = torch.tensor([[red], [blue]])
    means, opacities = torch.tensor([[0.0, 0, 5], [0, 0, 3]]), torch.tensor([0.5, 0.25])
    splats = Splats(
        means, torch.tensor([[1.0, 0, 0, 0]] * 2), torch.full((2, 3), 100.0), opacities, sh
    )
    out = rasterize(splats, camera_along_z(), torch.tensor([0.0, 1.0, 0.0]))
    near, far = 0.25, 0.75 * 0.5
    assert out.rgb[0, 16, 16].tolist() == pytest.approx([far, 1 - near - far, near], rel=1e-4)
    assert out.depth[0, 16, 16, 0].item() == pytest.approx(
        (3 * near + 5 * far) / (near + far), rel=1e-4
    )


def test_background_shapes_and_gradient():
    scene, views = random_scene(50), cameras(2)
    one = torch.tensor([0.2, 0.5, 0.9], requires_grad=True)
    out = rasterize(scene, views, one)
    assert torch.equal(out.rgb, rasterize(scene, views, one.expand(2, 3)).rgb)
    assert torch.allclose(rasterize(scene, views).rgb, rasterize(scene, views, torch.zeros(3)).rgb)
    out.rgb.sum().backward()
    assert torch.allclose(one.grad, (1 - out.alpha).sum().expand(3), rtol=1e-5)


@pytest.fixture
def forwards(monkeypatch):
    """Arguments of the forward kernel, of each call."""
    found, run = [], cpu.run

    def spy(kernel, tasks, *args):
        run(kernel, tasks, *args)
        if kernel is _lists.kernels().forward:
            found.append(args)

    monkeypatch.setattr(cpu, "run", spy)
    return found


@pytest.mark.parametrize("size,room", [(0.08, False), (0.01, True)])
def test_results_are_bitwise_equal_for_any_number_of_threads(forwards, size, room):
    """Whether or not there is room to keep the lists of a band for the backward pass."""
    scene, views = random_scene(800, 1, size=size), cameras(3, 200, 100)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 1, 2, 3, 5):
            torch.set_num_threads(threads)
            images, gradients, _ = draw(cpu.rasterize_cpu, scene, views, torch.float32, True)
            results.append(list(images.values()) + list(gradients.values()))
    finally:
        torch.set_num_threads(before)
    starts = forwards[0][-2]
    assert (starts[..., -1] >= 0).all() if room else (starts[..., -1] < 0).any()
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("most", [10, 100, 200, 400])
@pytest.mark.parametrize("size", [0.08, 0.01])
def test_gradient_sums_in_batches_are_bitwise_equal(monkeypatch, forwards, most, size):
    scene, views = random_scene(300, size=size), cameras(2, 40, 90)
    _, at_once, _ = draw(cpu.rasterize_cpu, scene, views, torch.float32, True)
    assert len(forwards) == 1
    monkeypatch.setattr(_lists, "MAX_SPLATS", most)
    _, in_batches, _ = draw(cpu.rasterize_cpu, scene, views, torch.float32, True)
    assert len(forwards) > 2
    assert all(torch.equal(at_once[name], in_batches[name]) for name in at_once)


def test_what_is_kept_for_the_backward_pass_is_freed_with_it(forwards):
    scene = random_scene(50)
    scene.means.requires_grad_()
    out = rasterize(scene, cameras(1))
    kept = weakref.ref(forwards.pop()[2])
    assert kept() is not None
    out.rgb.sum().backward()
    assert kept() is None


def test_a_splat_behind_the_last_that_is_drawn_has_no_gradient():
    """The second would leave T at 0.09·0.001, below 1e-4, so it is not drawn, nor is the third,
    which alone would leave it at 0.0895."""
    one = random_scene(1)
    scene = Splats(
        torch.tensor([[0.0, 0, 3], [0, 0, 4], [0, 0, 5]]),
        one.quats.expand(3, 4).clone(),
        torch.full((3, 3), 1e3),
        torch.tensor([0.91, 1.0, 0.006]),
        one.sh.expand(3, 1, 3).clone(),
    )
    views = camera_along_z(4, 4, 40.0)
    images, gradients, _ = draw(cpu.rasterize_cpu, scene, views, torch.float32, False)
    assert images["alpha"].flatten().tolist() == pytest.approx([0.91] * 16, rel=1e-5)
    assert gradients["opacities"][0] != 0
    assert gradients["opacities"][1:].tolist() == [0, 0]


def test_concurrent_renders_from_python_threads():
    """A viewer renders from its own thread during training."""
    scene, views = random_scene(500), cameras(2, 64, 64)
    expected = rasterize(scene, views).rgb
    wrong_renders = []

    def render_repeatedly():
        wrong_renders.extend(
            i for i in range(20) if not torch.equal(rasterize(scene, views).rgb, expected)
        )

    threads = [threading.Thread(target=render_repeatedly) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong_renders


def test_means2d_is_in_pixels_and_requires_grad_only_if_needed():
    scene, views = random_scene(30), camera_along_z(64, 48)
    out = rasterize(scene, views)
    assert not out.aux["means2d"].requires_grad
    scene = with_first_rows(scene, means=scene.means + torch.tensor([0.0, 0, 3]))
    out = rasterize(scene, views)
    expected = 40 * scene.means[:, :2] / scene.means[:, 2:] + torch.tensor([32.0, 24.0])
    seen = (out.aux["radii"][0] > 0).all(dim=1)
    assert seen.any() and torch.allclose(out.aux["means2d"][0, seen], expected[seen], rtol=1e-5)
    assert out.aux["radii"].dtype == torch.int32 and out.aux["means2d"].shape == (1, 30, 2)


def test_gsplat_default_strategy_works_with_the_cpu_rasterizer():
    gsplat = pytest.importorskip("gsplat")
    scene, views = random_scene(60), cameras(2)
    params = torch.nn.ParameterDict(
        {
            "means": scene.means,
            "quats": scene.quats,
            "scales": scene.scales.log(),
            "opacities": torch.logit(scene.opacities),
            "sh": scene.sh,
        }
    )
    optimizers = {
        name: torch.optim.Adam([{"params": p, "name": name}], lr=1e-2) for name, p in params.items()
    }
    strategy = gsplat.DefaultStrategy(
        refine_start_iter=1, refine_every=3, grow_grad2d=1e-7, grow_scale3d=0.08
    )
    strategy.check_sanity(params, optimizers)
    state = strategy.initialize_state()
    target = torch.rand(2, 29, 37, 3, generator=torch.Generator().manual_seed(2))
    counts = []
    for step in range(8):
        splats = Splats(
            params["means"],
            params["quats"],
            params["scales"].exp(),
            torch.sigmoid(params["opacities"]),
            params["sh"],
        )
        out = rasterize(splats, views, torch.ones(3))
        strategy.step_pre_backward(params, optimizers, state, step, out.aux)
        (out.rgb - target).square().mean().backward()
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad()
        strategy.step_post_backward(params, optimizers, state, step, out.aux, packed=False)
        counts.append(len(params["means"]))
    assert counts[0] == 60 and counts[-1] > 60


def test_invalid_arguments_raise_value_error():
    scene, views = random_scene(5), cameras(2)
    invalid = {
        r"splats\.quats: expected shape \[5, 4\], got \[5, 3\]": Splats(
            scene.means, scene.means, scene.scales, scene.opacities, scene.sh
        ),
        r"splats\.opacities: expected shape \[5\], got \[5, 1\]": Splats(
            scene.means, scene.quats, scene.scales, scene.opacities[:, None], scene.sh
        ),
        r"splats\.scales: expected torch.float32, got torch.float64": Splats(
            scene.means, scene.quats, scene.scales.double(), scene.opacities, scene.sh
        ),
        r"splats\.sh: expected 1, 4, 9 or 16 coefficients .* got 2": Splats(
            scene.means, scene.quats, scene.scales, scene.opacities, scene.sh.repeat(1, 2, 1)
        ),
    }
    for message, splats in invalid.items():
        with pytest.raises(ValueError, match=message):
            rasterize(splats, views)
    with pytest.raises(ValueError, match=r"background: expected shape \[2, 3\], got \[3, 3\]"):
        rasterize(scene, views, torch.ones(3, 3))
    with pytest.raises(ValueError, match="cameras: expected at least one"):
        rasterize(scene, views[:0])


def test_import_of_the_package_is_light():
    code = (
        "import sys, gs3d.raster, gs3d.raster.cpu, gs3d.raster.cuda; "
        "sys.exit('numba' in sys.modules or 'gsplat' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
