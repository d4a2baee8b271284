"""The grader on splats whose right marks are known."""

import dataclasses

import numpy as np
import pytest
import torch

from gs3d.core.cameras import ring
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.evaluation.clean import clipped_of, floaters_of, haze_of
from gs3d.evaluation.grade import grade, janus_of
from gs3d.evaluation.recogniser import Judgement, Recogniser, labels
from gs3d.evaluation.truth import true_splats, truth_of, two_faced
from gs3d.export.frames import rotate_splats
from gs3d.raster import rasterize
from gs3d.representations.draw import draw
from gs3d.world.captions import Meaning, Thing
from gs3d.world.mesh import mesh_of
from gs3d.world.sample import realise, sample
from gs3d.world.understand import understand


@pytest.fixture(scope="module")
def judge():
    return Recogniser.load()


def meant(kind, colour):
    return Meaning(Thing(kind, colour))


def truth(kind, colour, seed=0):
    return true_splats(sample(np.random.default_rng(seed), kind, colour, plain=True).parts, size_px=72)


@pytest.mark.parametrize(
    ("kind", "colour"), [("mushroom", "red"), ("chair", "blue"), ("duck", "yellow"), ("house", "green"), ("mug", "pink")]
)
def test_a_true_object_gets_good_marks(judge, kind, colour):
    marks = grade(truth(kind, colour), meant(kind, colour), judge)
    assert marks.kind_right >= 7 / 8 and marks.colour_right >= 7 / 8, marks
    assert marks.kind_probability > 0.7 and marks.colour_probability > 0.7
    assert marks.haze < 0.02 and marks.clipped < 0.01 and 0.05 < marks.coverage < 0.6
    assert len(marks.kinds) == len(marks.colours) == len(marks.views) == 8
    assert marks.janus is None if kind in ("mushroom", "mug") else marks.janus == 0


def test_another_kind_or_colour_gets_bad_marks(judge):
    marks = grade(truth("duck", "yellow"), meant("chair", "blue"), judge)
    assert marks.kind_right == marks.colour_right == 0 and marks.kind_probability < 0.1


@pytest.mark.parametrize("kind", ["car", "duck", "snowman"])
def test_an_object_with_two_fronts_is_caught(judge, kind):
    splats = truth(kind, "red")
    assert grade(two_faced(splats), meant(kind, "red"), judge).janus >= 0.6
    assert grade(splats, meant(kind, "red"), judge).janus == 0


def test_a_two_faced_object_is_its_front_half_twice():
    splats = truth("duck", "yellow")
    both = two_faced(splats)
    assert len(both) == 2 * (splats.means[:, 0] > 0).sum()
    turned = rotate_splats(both, torch.tensor([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]]))
    for part in ("means", "sh"):
        a, b = (getattr(s, part).flatten(1) for s in (both, turned))
        torch.testing.assert_close(a, torch.cat(b.chunk(2)[::-1]))


def test_smoke_about_the_object_shows_as_haze(judge):
    splats = truth("mushroom", "red")
    smoke = 0.1 * torch.randn(40, 3, generator=torch.Generator().manual_seed(1)) + torch.tensor([0.0, 0.0, -0.5])
    smoke[:, :2] = torch.nn.functional.normalize(torch.randn(40, 2, generator=torch.Generator().manual_seed(0)), dim=1) * 0.85
    more = (torch.tensor([[1.0, 0, 0, 0]]).repeat(40, 1), torch.full((40, 3), 0.12), torch.full((40,), 0.12), torch.zeros(40, 1, 3))
    hazy = Splats.cat([splats, Splats(smoke, *more)])
    assert grade(hazy, meant("mushroom", "red"), judge).haze > 0.1


def test_the_right_shape_is_nearer_than_another(judge):
    chair, duck = (truth_of(meant(kind, "red"), objects=6) for kind in ("chair", "duck"))
    splats = truth("chair", "red", seed=4)
    right, wrong = (grade(splats, meant("chair", "red"), judge, t) for t in (chair, duck))
    assert right.chamfer < 0.08 and right.normal_deg < 25
    assert wrong.chamfer > 2 * right.chamfer and wrong.normal_deg > 2 * right.normal_deg
    assert abs(right.saturation_drift) < 0.05 and abs(right.brightness_drift) < 0.05


def test_size_and_place_do_not_change_the_shape(judge):
    splats, right = truth("mug", "pink"), truth_of(meant("mug", "pink"), objects=4)
    moved = dataclasses.replace(splats, means=0.7 * splats.means + torch.tensor([0.0, 0.1, -0.1]), scales=0.7 * splats.scales)
    a, b = (grade(s, meant("mug", "pink"), judge, right) for s in (splats, moved))
    assert b.chamfer == pytest.approx(a.chamfer, abs=0.01)


def test_colours_that_are_too_strong_show_as_drift(judge):
    splats = truth("mug", "pink")
    garish = dataclasses.replace(splats, sh=3 * splats.sh)
    assert grade(garish, meant("mug", "pink"), judge, truth_of(meant("mug", "pink"), objects=2)).saturation_drift > 0.1


def test_two_things_have_a_shape_and_no_kind(judge):
    both = understand("a red ball on a green table")
    marks = grade(true_splats(realise(np.random.default_rng(0), both).parts, 72), both, judge, truth_of(both, objects=8))
    assert marks.kind_right is marks.colour_right is marks.pattern_right is marks.janus is marks.agreement is None
    assert marks.chamfer < 0.1


def test_a_pattern_is_marked(judge):
    spotted = understand("a red mushroom with white spots")
    splats = true_splats(realise(np.random.default_rng(0), spotted).parts, 72)
    assert grade(splats, spotted, judge).pattern_right >= 7 / 8
    assert grade(splats, meant("mushroom", "red"), judge).pattern_right <= 1 / 8


def test_floaters_are_what_lies_beside_the_object():
    splats = truth("duck", "yellow")
    cameras = ring(8, 128)
    alpha = rasterize(splats, cameras).alpha[..., 0]
    assert floaters_of(splats, alpha, cameras) < 0.01
    away = splats[:20]  # too few and too thin to be solid
    away = dataclasses.replace(away, means=0.02 * away.means + torch.tensor([0.0, 0.0, 0.9]), opacities=0.02 * away.opacities)
    more = Splats.cat([splats, away])
    mass = [(s.opacities * s.scales[:, 0] ** 2).sum().item() for s in (splats, away)]  # round splats
    alpha = rasterize(more, cameras).alpha[..., 0]
    assert floaters_of(more, alpha, cameras) == pytest.approx(mass[1] / sum(mass), rel=0.05)
    assert floaters_of(splats[:0], alpha, cameras) == 0


def test_no_splats_at_all_can_be_graded(judge):
    nothing = truth("mug", "red")[:0]
    marks = grade(nothing, meant("mug", "red"), judge)
    compared = grade(nothing, meant("mug", "red"), judge, truth_of(meant("mug", "red"), objects=1))
    assert compared.chamfer is compared.normal_deg is compared.saturation_drift is compared.haze is None
    assert marks.empty == 1 and marks.coverage == marks.clipped == 0 and marks.kind_probability < 0.9


def test_haze_counts_thin_pixels_off_the_rim_only():
    alpha = torch.zeros(1, 128, 128)
    alpha[0, 40:80, 40:80] = 1
    alpha[0, 39, 40:80] = 0.3  # the soft rim of the square
    assert haze_of(alpha) == 0
    alpha[0, 100:110, 40:80] = 0.3
    assert haze_of(alpha) == pytest.approx(400 / (1600 + 40 + 400))
    assert haze_of(torch.full((1, 64, 64), 0.2)) == 1 and haze_of(torch.zeros(1, 64, 64)) == 0


def test_clipped_is_the_share_of_alpha_at_the_edge():
    alpha = torch.zeros(2, 100, 100)
    alpha[:, 50, :] = 1
    assert clipped_of(alpha) == pytest.approx(0.04)
    assert clipped_of(torch.zeros(1, 64, 64)) == 0


class Sides:
    """A judge that says of three pictures: more front than back, though a side; the back; and a side, then the back."""

    def judge(self, images):
        answers = labels()
        assert images.shape == (3, 64, 64, 3)
        views = torch.tensor([[0.3, 0.5, 0.2, 0.0], [0.1, 0.0, 0.9, 0.0], [0.2, 0.5, 0.3, 0.0]])
        assert answers["view"] == ("front", "side", "back", "overhead")
        kind, colour, pattern = (torch.zeros(3, len(answers[question])) for question in ("kind", "colour", "pattern"))
        return Judgement(kind, colour, views, pattern, answers)


def test_janus_weighs_front_against_back_in_three_pictures_from_behind():
    duck = truth("duck", "yellow")
    assert janus_of(duck, "duck", Sides()) == pytest.approx(1 / 3)
    assert janus_of(duck, "tree", Sides()) is None


def test_janus_looks_from_behind(judge, monkeypatch):
    asked = []
    monkeypatch.setattr("gs3d.evaluation.grade.draw", lambda made, cameras, behind: asked.append(cameras) or draw(made, cameras, behind))
    janus_of(truth("duck", "yellow"), "duck", judge)
    torch.testing.assert_close(asked[0].azimuth_rad.rad2deg() % 360, torch.tensor([150.0, 180.0, 210.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(asked[0].elevation_rad.rad2deg(), torch.full((3,), 15.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(asked[0].intrinsics, ring(3, 128).intrinsics)
    turned = rotate_splats(truth("duck", "yellow"), torch.tensor([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]]))
    assert janus_of(turned, "duck", judge) == 1


def test_words_that_are_not_of_the_world_are_named(judge):
    splats = truth("mug", "red")
    with pytest.raises(UserError, match="kind 'dragon': not one that can be graded; expected one of .*mushroom, "):
        grade(splats, meant("dragon", "red"), judge)
    with pytest.raises(UserError, match="colour 'teal': .* expected one of red, "):
        grade(splats, meant("mug", "teal"), judge)


def test_a_true_mesh_is_graded_as_what_it_is():
    made = sample(np.random.default_rng(5), kind="car", colour="blue", plain=True)
    marks = grade(mesh_of(made.parts, 128), made.meaning, Recogniser.load(), truth_of(made.meaning, 6))
    assert marks.kind_right == marks.colour_right == 1 and marks.floaters is None and marks.haze < 0.01
    assert marks.chamfer < 0.05
