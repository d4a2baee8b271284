"""Settings of several stages: shared and own ones, the order of stages, and records."""

import pytest

from gs3d.core.errors import UserError
from gs3d.core.schedules import Ramp
from gs3d.distill.settings.config import load_config, parse_config
from gs3d.guidance import Sds
from gs3d.runs.record import RunRecord
from gs3d.runs.request import Request

TWO_STAGES = {
    "batch": 8,
    "losses": {"cds": {"t": {"start": 0.7, "end": 0.1}, "delta": [0.1, 0.2]}},
    "stages": [
        {"representation": "nerf", "share": 3, "nerf": {"field": {"hidden": 7}}},
        {
            "representation": "dmtet",
            "share": 1,
            "batch": 4,
            "losses": {"cds": {"delta": [0.1, 0.1]}},
        },
    ],
}


def test_stages_override_the_shared_settings():
    first, second = parse_config(TWO_STAGES, "f").stages
    assert (first.representation, first.batch, first.guidance.delta) == ("nerf", 8, (0.1, 0.2))
    assert (second.representation, second.batch, second.guidance.delta) == ("dmtet", 4, (0.1, 0.1))
    assert first.guidance.t == second.guidance.t == Ramp(0.7, 0.1)
    # The surface takes its colors from the field.
    assert second.dmtet.field == first.nerf.field and second.dmtet.field.hidden == 7
    assert {type(stage.guidance) for stage in parse_config(TWO_STAGES, "f", "sds").stages} == {Sds}


def test_progress_determines_the_stage():
    config = parse_config(TWO_STAGES, "f")
    assert [config.ends(i) for i in range(2)] == [(0.0, 0.75), (0.75, 1.0)]
    assert [config.stage_at(p) for p in (0.0, 0.749, 0.75, 1.0)] == [0, 0, 1, 1]


def test_two_stages_are_read_from_the_record_of_a_run(tmp_path):
    config = load_config("builtin-two-stage", "sds")
    RunRecord(Request("a red car"), config, {}, "cpu", "cpu").write(tmp_path, {}, None)
    assert load_config(tmp_path / "run.yaml") == config
    with pytest.raises(UserError, match="a run with 'sds' has no settings for 'cds'"):
        load_config(tmp_path / "run.yaml", "cds")


@pytest.mark.parametrize(
    "tree, message",
    [
        ({"stages": []}, "stages: expected a list of settings as `key: value`, got []"),
        ({"stages": {"representation": "nerf"}}, "stages: expected a list of settings"),
        ({"stages": [{"representation": "nerf"}, 3]}, "stages: expected a list of settings"),
        (
            {"stages": [{"representation": "nerf"}, {"representatio": "dmtet"}]},
            "stages: 2: unknown setting 'representatio'; did you mean 'representation'",
        ),
        ({"stages": [{"attention": "sdpa"}]}, "stages: 1: unknown setting 'attention'"),
        (
            {"stages": [{"representation": "mesh"}]},
            "stages: 1: representation: expected one of splats, nerf, dmtet, got 'mesh'",
        ),
        (
            {"stages": [{"representation": "nerf"}, {"representation": "splats"}]},
            "splats: expected the first stage only, got 'after nerf'",
        ),
        (
            {
                "stages": [
                    {"representation": "nerf"},
                    {"representation": "dmtet", "dmtet": {"field": {"hidden": 7}}},
                ]
            },
            "2: dmtet: field: is that of the stage before",
        ),
        (
            {"stages": [{"representation": "nerf"}, {"representation": "nerf"}]},
            "nerf: expected the first stage only, got 'after nerf'",
        ),
        (
            {
                "stages": [
                    {"representation": "dmtet"},
                    {"representation": "dmtet", "dmtet": {"resolution": 32}},
                ]
            },
            "resolution: expected that of the stage before, 64, got 32",
        ),
    ],
)
def test_invalid_stages_are_refused(tree, message):
    with pytest.raises(UserError) as caught:
        parse_config(tree, "my.yaml")
    text = str(caught.value)
    assert message in text and "my.yaml" in text and "\n" not in text
