"""What the splats of a scene start as, and how fast those far away move."""

import dataclasses

import pytest
import torch

from gs3d.core.schedules import Ramp
from gs3d.core.views.inside import faces
from gs3d.representations.gaussians.config import GaussianConfig, RateConfig
from gs3d.representations.gaussians.gaussians import Gaussians

CONFIG = GaussianConfig(start="surroundings", count=6000, radius=1.6, opacity=0.3, smoothing_px=0.0)


def test_start_of_a_scene_is_all_around_the_eye_without_holes():
    scene = Gaussians.blob(CONFIG, 0)
    assert len(scene) == 6000 and scene.is_scene
    alpha = scene.render(faces(64), torch.ones(6, 3)).alpha
    assert (alpha < 0.9).float().mean() < 0.01
    distance = scene.params["means"].norm(dim=1)
    assert distance.min() > 0.4 and 7.9 < distance.max() < 8.1


def test_splats_of_the_start_are_flat_and_lie_on_the_floor_and_face_the_eye():
    splats = Gaussians.blob(CONFIG, 0).splats()
    thin, wide = splats.scales.sort(dim=1).values[:, 0], splats.scales.amax(dim=1)
    assert (thin < 0.25 * wide).all()
    w, x, y, z = splats.quats.unbind(dim=1)
    axis = torch.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], dim=1)
    floor = (splats.means[:, 2] + 0.5).abs() < 1e-4
    assert floor.sum() >= 1500 and (axis[floor, 2] > 0.999).all()
    outward = torch.nn.functional.normalize(splats.means[~floor], dim=1)
    assert ((axis[~floor] * outward).sum(dim=1) > 0.999).all()


@pytest.mark.parametrize("start", ["surroundings", "ball"])
def test_splats_of_a_scene_move_in_proportion_to_their_distance(start):
    rates = RateConfig(means=Ramp(0.01, 0.01))
    scene = Gaussians.blob(dataclasses.replace(CONFIG, start=start, rates=rates), 0)
    before = scene.params["means"].detach().clone()
    for parameter in scene.params.values():
        parameter.grad = torch.ones_like(parameter)
    scene.optimize(0.0, 0.01)
    moved = (scene.params["means"] - before).norm(dim=1) / (3**0.5 * 0.01)
    expected = before.norm(dim=1) if start == "surroundings" else torch.ones(6000)
    assert torch.allclose(moved, expected, rtol=1e-3)


def test_scene_has_no_penalty_for_what_is_far_away():
    scene = Gaussians.blob(CONFIG, 0)
    regularizers = dataclasses.replace(CONFIG.regularizers, big=0.0, needle=0.0)
    scene.config = dataclasses.replace(CONFIG, regularizers=regularizers)
    out = scene.render(faces(16), torch.ones(6, 3))
    assert scene.regularizer(out, 0.5).detach() == 0.0


def test_scene_continues_from_its_state():
    scene = Gaussians.blob(CONFIG, 0)
    again = Gaussians.from_state(scene.state_tensors(), CONFIG)
    assert again.is_scene and torch.equal(again.params["means"], scene.params["means"])
