"""Grading of reference splats, whose right grades are known, and of deliberately bad assets."""

import dataclasses

import numpy as np
import pytest
import torch

from gs3d.core.cameras import ring
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.evaluation.classifier import Classification, Classifier, labels
from gs3d.evaluation.grade import grade, janus_of
from gs3d.evaluation.metrics.residue import clipped_of, floaters_of, residue_of
from gs3d.evaluation.reference import reference_for, reference_splats, two_faced
from gs3d.ops.transforms import rotate_splats
from gs3d.raster import rasterize
from gs3d.representations.asset import draw
from gs3d.world.captions import Meaning, Thing
from gs3d.world.mesh import mesh_of
from gs3d.world.prompt_parser import parse_prompt
from gs3d.world.sample import realize, sample


@pytest.fixture(scope="module")
def classifier():
    return Classifier.load()


def plain(kind, color):
    """The meaning of a plain prompt."""
    return Meaning(Thing(kind, color))


def reference(kind, color, seed=0):
    """Reference splats of a plain object."""
    return reference_splats(
        sample(np.random.default_rng(seed), kind, color, plain=True).parts, size_px=72
    )


@pytest.mark.parametrize(
    ("kind", "color"),
    [
        ("mushroom", "red"),
        ("chair", "blue"),
        ("duck", "yellow"),
        ("house", "green"),
        ("mug", "pink"),
    ],
)
def test_reference_splats_get_good_grades(classifier, kind, color):
    graded = grade(reference(kind, color), plain(kind, color), classifier)
    assert graded.kind_right >= 7 / 8 and graded.color_right >= 7 / 8, graded
    assert graded.kind_probability > 0.7 and graded.color_probability > 0.7
    assert graded.residue < 0.02 and graded.clipped < 0.01 and 0.05 < graded.coverage < 0.6
    assert len(graded.kinds) == len(graded.colors) == len(graded.views) == 8
    assert graded.janus is None if kind in ("mushroom", "mug") else graded.janus == 0


def test_wrong_kind_and_color_get_bad_grades(classifier):
    graded = grade(reference("duck", "yellow"), plain("chair", "blue"), classifier)
    assert graded.kind_right == graded.color_right == 0 and graded.kind_probability < 0.1


@pytest.mark.parametrize("kind", ["car", "duck", "snowman"])
def test_janus_detects_two_fronts(classifier, kind):
    splats = reference(kind, "red")
    assert grade(two_faced(splats), plain(kind, "red"), classifier).janus >= 0.6
    assert grade(splats, plain(kind, "red"), classifier).janus == 0


def test_two_faced_repeats_the_front_half():
    splats = reference("duck", "yellow")
    both = two_faced(splats)
    assert len(both) == 2 * (splats.means[:, 0] > 0).sum()
    turned = rotate_splats(both, torch.tensor([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]]))
    for part in ("means", "sh"):
        a, b = (getattr(s, part).flatten(1) for s in (both, turned))
        torch.testing.assert_close(a, torch.cat(b.chunk(2)[::-1]))


def test_semi_transparent_splats_around_the_object_count_as_residue(classifier):
    splats = reference("mushroom", "red")
    means = 0.1 * torch.randn(40, 3, generator=torch.Generator().manual_seed(1)) + torch.tensor(
        [0.0, 0.0, -0.5]
    )
    means[:, :2] = (
        torch.nn.functional.normalize(
            torch.randn(40, 2, generator=torch.Generator().manual_seed(0)), dim=1
        )
        * 0.85
    )
    other_fields = (
        torch.tensor([[1.0, 0, 0, 0]]).repeat(40, 1),
        torch.full((40, 3), 0.12),
        torch.full((40,), 0.12),
        torch.zeros(40, 1, 3),
    )
    with_residue = Splats.cat([splats, Splats(means, *other_fields)])
    assert grade(with_residue, plain("mushroom", "red"), classifier).residue > 0.1


def test_right_shape_is_nearer_to_the_reference_than_a_wrong_one(classifier):
    chair, duck = (reference_for(plain(kind, "red"), objects=6) for kind in ("chair", "duck"))
    splats = reference("chair", "red", seed=4)
    right, wrong = (grade(splats, plain("chair", "red"), classifier, r) for r in (chair, duck))
    assert right.chamfer < 0.08 and right.normal_deg < 25
    assert wrong.chamfer > 2 * right.chamfer and wrong.normal_deg > 2 * right.normal_deg
    assert abs(right.saturation_bias) < 0.05 and abs(right.brightness_bias) < 0.05


def test_chamfer_ignores_size_and_position(classifier):
    splats, right = reference("mug", "pink"), reference_for(plain("mug", "pink"), objects=4)
    moved = dataclasses.replace(
        splats,
        means=0.7 * splats.means + torch.tensor([0.0, 0.1, -0.1]),
        scales=0.7 * splats.scales,
    )
    a, b = (grade(s, plain("mug", "pink"), classifier, right) for s in (splats, moved))
    assert b.chamfer == pytest.approx(a.chamfer, abs=0.01)


def test_oversaturated_colors_give_saturation_bias(classifier):
    splats, meaning = reference("mug", "pink"), plain("mug", "pink")
    oversaturated = dataclasses.replace(splats, sh=3 * splats.sh)
    graded = grade(oversaturated, meaning, classifier, reference_for(meaning, objects=2))
    assert graded.saturation_bias > 0.1


def test_pattern_right(classifier):
    spotted = parse_prompt("a red mushroom with white spots")
    splats = reference_splats(realize(np.random.default_rng(0), spotted).parts, 72)
    assert grade(splats, spotted, classifier).pattern_right >= 7 / 8
    assert grade(splats, plain("mushroom", "red"), classifier).pattern_right <= 1 / 8


def test_floaters_are_the_mass_outside_the_object():
    splats = reference("duck", "yellow")
    cameras = ring(8, 128)
    alpha = rasterize(splats, cameras).alpha[..., 0]
    assert floaters_of(splats, alpha, cameras) < 0.01
    floaters = splats[:20]  # too few and too transparent to be solid
    floaters = dataclasses.replace(
        floaters,
        means=0.02 * floaters.means + torch.tensor([0.0, 0.0, 0.9]),
        opacities=0.02 * floaters.opacities,
    )
    both = Splats.cat([splats, floaters])
    # The splats are spheres.
    mass = [(s.opacities * s.scales[:, 0] ** 2).sum().item() for s in (splats, floaters)]
    alpha = rasterize(both, cameras).alpha[..., 0]
    assert floaters_of(both, alpha, cameras) == pytest.approx(mass[1] / sum(mass), rel=0.05)
    assert floaters_of(splats[:0], alpha, cameras) == 0


def test_empty_splats_can_be_graded(classifier):
    nothing, meaning = reference("mug", "red")[:0], plain("mug", "red")
    graded = grade(nothing, meaning, classifier)
    compared = grade(nothing, meaning, classifier, reference_for(meaning, objects=1))
    assert (
        compared.chamfer
        is compared.normal_deg
        is compared.saturation_bias
        is compared.residue
        is None
    )
    assert graded.empty == 1 and graded.coverage == graded.clipped == 0
    assert graded.kind_probability < 0.9


def test_residue_excludes_the_soft_edge():
    alpha = torch.zeros(1, 128, 128)
    alpha[0, 40:80, 40:80] = 1
    alpha[0, 39, 40:80] = 0.3  # soft edge of the square
    assert residue_of(alpha) == 0
    alpha[0, 100:110, 40:80] = 0.3
    assert residue_of(alpha) == pytest.approx(400 / (1600 + 40 + 400))
    assert residue_of(torch.full((1, 64, 64), 0.2)) == 1 and residue_of(torch.zeros(1, 64, 64)) == 0


def test_clipped_is_the_share_of_alpha_at_the_border():
    alpha = torch.zeros(2, 100, 100)
    alpha[:, 50, :] = 1
    assert clipped_of(alpha) == pytest.approx(0.04)
    assert clipped_of(torch.zeros(1, 64, 64)) == 0


class FixedClassifier:
    """Classifier with fixed probabilities for three images.

    The first is a side, but more front than back; the second a back; the third a side, but more
    back than front.
    """

    def classify(self, images):
        answers = labels()
        assert images.shape == (3, 64, 64, 3)
        views = torch.tensor([[0.3, 0.5, 0.2, 0.0], [0.1, 0.0, 0.9, 0.0], [0.2, 0.5, 0.3, 0.0]])
        assert answers["view"] == ("front", "side", "back", "overhead")
        kind, color, pattern = (
            torch.zeros(3, len(answers[attribute])) for attribute in ("kind", "color", "pattern")
        )
        return Classification(kind, color, views, pattern, answers)


def test_janus_compares_front_with_back_in_three_views():
    duck = reference("duck", "yellow")
    assert janus_of(duck, "duck", FixedClassifier()) == pytest.approx(1 / 3)
    assert janus_of(duck, "tree", FixedClassifier()) is None


def test_janus_uses_back_views(classifier, monkeypatch):
    used = []
    monkeypatch.setattr(
        "gs3d.evaluation.grade.draw",
        lambda asset, cameras, background: used.append(cameras) or draw(asset, cameras, background),
    )
    janus_of(reference("duck", "yellow"), "duck", classifier)
    azimuth_deg, elevation_deg = (
        angle.rad2deg() for angle in (used[0].azimuth_rad, used[0].elevation_rad)
    )
    torch.testing.assert_close(
        azimuth_deg % 360, torch.tensor([150.0, 180.0, 210.0]), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(elevation_deg, torch.full((3,), 15.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(used[0].intrinsics, ring(3, 128).intrinsics)
    turned = rotate_splats(
        reference("duck", "yellow"), torch.tensor([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]])
    )
    assert janus_of(turned, "duck", classifier) == 1


def test_unknown_kind_or_color_raises_user_error(classifier):
    splats = reference("mug", "red")
    with pytest.raises(
        UserError, match="kind 'dragon': unknown to the classifier; expected one of .*mushroom, "
    ):
        grade(splats, plain("dragon", "red"), classifier)
    with pytest.raises(UserError, match="color 'teal': .* expected one of red, "):
        grade(splats, plain("mug", "teal"), classifier)


def test_reference_mesh_gets_good_grades(classifier):
    car = sample(np.random.default_rng(5), kind="car", color="blue", plain=True)
    graded = grade(mesh_of(car.parts, 128), car.meaning, classifier, reference_for(car.meaning, 6))
    assert graded.kind_right == graded.color_right == 1
    assert graded.floaters is None and graded.residue < 0.01
    assert graded.chamfer < 0.05
