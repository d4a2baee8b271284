"""Settings of a loss from a file: it begins with those that the preset gives its own loss."""

import pytest

from gs3d.core.errors import UserError
from gs3d.core.schedules import Ramp
from gs3d.distill.settings.build import own_loss
from gs3d.distill.settings.config import config_tree, load_config, parse_config
from gs3d.experiments.methods import Method

TEXT = """from dataclasses import dataclass

import gs3d
from gs3d.guidance.distillation import Distillation


@dataclass(frozen=True)
class Mine(Distillation):
    {field}

    def gradient(self, inputs):
        return gs3d.GuidanceOut(inputs.z0, None, {{}})
"""
SHARED = ("t", "random_t", "cfg", "weight", "clamp", "noise", "pairs")


def loss_file(folder, field="strength: float = 1.0"):
    (folder / "mine.py").write_text(TEXT.format(field=field))
    return own_loss(f"{folder}/mine.py:Mine")


def guidance_of(config):
    return config.stages[0].guidance


@pytest.mark.parametrize("preset", ["builtin", "splats-15min", "builtin-mesh"])
def test_it_has_the_settings_of_the_loss_of_the_preset(preset, tmp_path):
    mine = guidance_of(load_config(preset, loss_file(tmp_path)))
    usual = guidance_of(load_config(preset))
    assert type(mine).__name__ == "Mine"
    assert [getattr(mine, n) for n in SHARED] == [getattr(usual, n) for n in SHARED]


def test_what_its_class_or_the_user_sets_stays(tmp_path):
    file = loss_file(tmp_path, "cfg: gs3d.core.schedules.Ramp = gs3d.core.schedules.Ramp(3, 2)")
    mine = guidance_of(load_config("builtin", file))
    assert mine.cfg == Ramp(3, 2) and mine.pairs
    changed = load_config("builtin", file, ["losses.Mine.pairs=false", "losses.Mine.t.start=0.7"])
    assert not guidance_of(changed).pairs
    assert guidance_of(changed).t == Ramp(0.7, guidance_of(load_config("builtin")).t.end)
    # The settings in a record are complete, and are read as they are.
    again = parse_config(config_tree(changed), "run.yaml", file)
    assert guidance_of(again) == guidance_of(changed)


def test_methods_of_an_evaluation_have_them_too(tmp_path):
    loss_file(tmp_path)
    method = Method.parse(f"{tmp_path}/mine.py:Mine,strength=2,pairs=false")
    (mine,) = method.guidances("builtin")
    assert (mine.strength, mine.pairs) == (2.0, False)
    assert mine.t == guidance_of(load_config("builtin")).t


def test_shared_settings_that_do_not_fit_are_named(tmp_path):
    file = loss_file(tmp_path, 'noise: str = "fixed"')
    with pytest.raises(UserError, match=r"losses\.Mine: begins with the shared settings of sds, "):
        load_config("builtin", file)
