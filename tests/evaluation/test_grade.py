"""The grader on splats whose right marks are known."""

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


def meant(kind, color):
    return Meaning(Thing(kind, color))


def reference(kind, color, seed=0):
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
def test_a_true_object_gets_good_marks(classifier, kind, color):
    marks = grade(reference(kind, color), meant(kind, color), classifier)
    assert marks.kind_right >= 7 / 8 and marks.color_right >= 7 / 8, marks
    assert marks.kind_probability > 0.7 and marks.color_probability > 0.7
    assert marks.residue < 0.02 and marks.clipped < 0.01 and 0.05 < marks.coverage < 0.6
    assert len(marks.kinds) == len(marks.colors) == len(marks.views) == 8
    assert marks.janus is None if kind in ("mushroom", "mug") else marks.janus == 0


def test_another_kind_or_color_gets_bad_marks(classifier):
    marks = grade(reference("duck", "yellow"), meant("chair", "blue"), classifier)
    assert marks.kind_right == marks.color_right == 0 and marks.kind_probability < 0.1


@pytest.mark.parametrize("kind", ["car", "duck", "snowman"])
def test_an_object_with_two_fronts_is_caught(classifier, kind):
    splats = reference(kind, "red")
    assert grade(two_faced(splats), meant(kind, "red"), classifier).janus >= 0.6
    assert grade(splats, meant(kind, "red"), classifier).janus == 0


def test_a_two_faced_object_is_its_front_half_twice():
    splats = reference("duck", "yellow")
    both = two_faced(splats)
    assert len(both) == 2 * (splats.means[:, 0] > 0).sum()
    turned = rotate_splats(both, torch.tensor([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]]))
    for part in ("means", "sh"):
        a, b = (getattr(s, part).flatten(1) for s in (both, turned))
        torch.testing.assert_close(a, torch.cat(b.chunk(2)[::-1]))


def test_smoke_about_the_object_shows_as_haze(classifier):
    splats = reference("mushroom", "red")
    smoke = 0.1 * torch.randn(40, 3, generator=torch.Generator().manual_seed(1)) + torch.tensor(
        [0.0, 0.0, -0.5]
    )
    smoke[:, :2] = (
        torch.nn.functional.normalize(
            torch.randn(40, 2, generator=torch.Generator().manual_seed(0)), dim=1
        )
        * 0.85
    )
    more = (
        torch.tensor([[1.0, 0, 0, 0]]).repeat(40, 1),
        torch.full((40, 3), 0.12),
        torch.full((40,), 0.12),
        torch.zeros(40, 1, 3),
    )
    hazy = Splats.cat([splats, Splats(smoke, *more)])
    assert grade(hazy, meant("mushroom", "red"), classifier).residue > 0.1


def test_the_right_shape_is_nearer_than_another(classifier):
    chair, duck = (reference_for(meant(kind, "red"), objects=6) for kind in ("chair", "duck"))
    splats = reference("chair", "red", seed=4)
    right, wrong = (grade(splats, meant("chair", "red"), classifier, t) for t in (chair, duck))
    assert right.chamfer < 0.08 and right.normal_deg < 25
    assert wrong.chamfer > 2 * right.chamfer and wrong.normal_deg > 2 * right.normal_deg
    assert abs(right.saturation_bias) < 0.05 and abs(right.brightness_bias) < 0.05


def test_size_and_place_do_not_change_the_shape(classifier):
    splats, right = reference("mug", "pink"), reference_for(meant("mug", "pink"), objects=4)
    moved = dataclasses.replace(
        splats,
        means=0.7 * splats.means + torch.tensor([0.0, 0.1, -0.1]),
        scales=0.7 * splats.scales,
    )
    a, b = (grade(s, meant("mug", "pink"), classifier, right) for s in (splats, moved))
    assert b.chamfer == pytest.approx(a.chamfer, abs=0.01)


def test_colors_that_are_too_strong_show_as_drift(classifier):
    splats = reference("mug", "pink")
    garish = dataclasses.replace(splats, sh=3 * splats.sh)
    assert (
        grade(
            garish, meant("mug", "pink"), classifier, reference_for(meant("mug", "pink"), objects=2)
        ).saturation_bias
        > 0.1
    )


def test_two_things_have_a_shape_and_no_kind(classifier):
    both = parse_prompt("a red ball on a green table")
    marks = grade(
        reference_splats(realize(np.random.default_rng(0), both).parts, 72),
        both,
        classifier,
        reference_for(both, objects=8),
    )
    assert (
        marks.kind_right
        is marks.color_right
        is marks.pattern_right
        is marks.janus
        is marks.agreement
        is None
    )
    assert marks.chamfer < 0.1


def test_a_pattern_is_marked(classifier):
    spotted = parse_prompt("a red mushroom with white spots")
    splats = reference_splats(realize(np.random.default_rng(0), spotted).parts, 72)
    assert grade(splats, spotted, classifier).pattern_right >= 7 / 8
    assert grade(splats, meant("mushroom", "red"), classifier).pattern_right <= 1 / 8


def test_floaters_are_what_lies_beside_the_object():
    splats = reference("duck", "yellow")
    cameras = ring(8, 128)
    alpha = rasterize(splats, cameras).alpha[..., 0]
    assert floaters_of(splats, alpha, cameras) < 0.01
    away = splats[:20]  # too few and too thin to be solid
    away = dataclasses.replace(
        away,
        means=0.02 * away.means + torch.tensor([0.0, 0.0, 0.9]),
        opacities=0.02 * away.opacities,
    )
    more = Splats.cat([splats, away])
    mass = [
        (s.opacities * s.scales[:, 0] ** 2).sum().item() for s in (splats, away)
    ]  # round splats
    alpha = rasterize(more, cameras).alpha[..., 0]
    assert floaters_of(more, alpha, cameras) == pytest.approx(mass[1] / sum(mass), rel=0.05)
    assert floaters_of(splats[:0], alpha, cameras) == 0


def test_no_splats_at_all_can_be_graded(classifier):
    nothing = reference("mug", "red")[:0]
    marks = grade(nothing, meant("mug", "red"), classifier)
    compared = grade(
        nothing, meant("mug", "red"), classifier, reference_for(meant("mug", "red"), objects=1)
    )
    assert (
        compared.chamfer
        is compared.normal_deg
        is compared.saturation_bias
        is compared.residue
        is None
    )
    assert (
        marks.empty == 1 and marks.coverage == marks.clipped == 0 and marks.kind_probability < 0.9
    )


def test_haze_counts_thin_pixels_off_the_rim_only():
    alpha = torch.zeros(1, 128, 128)
    alpha[0, 40:80, 40:80] = 1
    alpha[0, 39, 40:80] = 0.3  # the soft rim of the square
    assert residue_of(alpha) == 0
    alpha[0, 100:110, 40:80] = 0.3
    assert residue_of(alpha) == pytest.approx(400 / (1600 + 40 + 400))
    assert residue_of(torch.full((1, 64, 64), 0.2)) == 1 and residue_of(torch.zeros(1, 64, 64)) == 0


def test_clipped_is_the_share_of_alpha_at_the_edge():
    alpha = torch.zeros(2, 100, 100)
    alpha[:, 50, :] = 1
    assert clipped_of(alpha) == pytest.approx(0.04)
    assert clipped_of(torch.zeros(1, 64, 64)) == 0


class Sides:
    """A judge that says of three pictures: more front than back, though a side; the back; and a side, then the back."""

    def classify(self, images):
        answers = labels()
        assert images.shape == (3, 64, 64, 3)
        views = torch.tensor([[0.3, 0.5, 0.2, 0.0], [0.1, 0.0, 0.9, 0.0], [0.2, 0.5, 0.3, 0.0]])
        assert answers["view"] == ("front", "side", "back", "overhead")
        kind, color, pattern = (
            torch.zeros(3, len(answers[question])) for question in ("kind", "color", "pattern")
        )
        return Classification(kind, color, views, pattern, answers)


def test_janus_weighs_front_against_back_in_three_pictures_from_behind():
    duck = reference("duck", "yellow")
    assert janus_of(duck, "duck", Sides()) == pytest.approx(1 / 3)
    assert janus_of(duck, "tree", Sides()) is None


def test_janus_looks_from_behind(classifier, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "gs3d.evaluation.grade.draw",
        lambda made, cameras, behind: asked.append(cameras) or draw(made, cameras, behind),
    )
    janus_of(reference("duck", "yellow"), "duck", classifier)
    torch.testing.assert_close(
        asked[0].azimuth_rad.rad2deg() % 360, torch.tensor([150.0, 180.0, 210.0]), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        asked[0].elevation_rad.rad2deg(), torch.full((3,), 15.0), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(asked[0].intrinsics, ring(3, 128).intrinsics)
    turned = rotate_splats(
        reference("duck", "yellow"), torch.tensor([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]])
    )
    assert janus_of(turned, "duck", classifier) == 1


def test_words_that_are_not_of_the_world_are_named(classifier):
    splats = reference("mug", "red")
    with pytest.raises(
        UserError, match="kind 'dragon': not one that can be graded; expected one of .*mushroom, "
    ):
        grade(splats, meant("dragon", "red"), classifier)
    with pytest.raises(UserError, match="color 'teal': .* expected one of red, "):
        grade(splats, meant("mug", "teal"), classifier)


def test_a_true_mesh_is_graded_as_what_it_is():
    made = sample(np.random.default_rng(5), kind="car", color="blue", plain=True)
    marks = grade(
        mesh_of(made.parts, 128), made.meaning, Classifier.load(), reference_for(made.meaning, 6)
    )
    assert (
        marks.kind_right == marks.color_right == 1
        and marks.floaters is None
        and marks.residue < 0.01
    )
    assert marks.chamfer < 0.05
