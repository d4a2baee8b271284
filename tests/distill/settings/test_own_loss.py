"""Settings of a loss from a file: it begins with those that the preset gives its own loss."""

import dataclasses

import pytest
import yaml

from gs3d.core.errors import UserError
from gs3d.core.schedules import Ramp
from gs3d.distill.settings.build import own_loss
from gs3d.distill.settings.config import config_tree, load_config, parse_config
from gs3d.experiments.methods import Method

TEXT = """from dataclasses import dataclass

import gs3d
from gs3d.guidance import Cds, Sds
from gs3d.guidance.distillation import Distillation


@dataclass(frozen=True)
class Mine({base}):
    {field}

    def gradient(self, inputs):
        return gs3d.GuidanceOut(inputs.z0, None, {{}})
"""
SHARED = ("t", "random_t", "cfg", "weight", "clamp", "noise", "pairs")


def loss_file(folder, field="strength: float = 1.0", base="Distillation"):
    (folder / "mine.py").write_text(TEXT.format(field=field, base=base))
    return own_loss(f"{folder}/mine.py:Mine")


def guidance_of(config):
    return config.stages[0].guidance


@pytest.mark.parametrize("preset", ["builtin", "splats-15min", "builtin-mesh"])
def test_it_has_the_settings_of_the_loss_of_the_preset(preset, tmp_path):
    mine = guidance_of(load_config(preset, loss_file(tmp_path)))
    usual = guidance_of(load_config(preset))
    assert type(mine).__name__ == "Mine"
    assert [getattr(mine, n) for n in SHARED] == [getattr(usual, n) for n in SHARED]


@pytest.mark.parametrize(
    "field,kept",
    [
        ("cfg: gs3d.core.schedules.Ramp = gs3d.core.schedules.Ramp(3, 2)", {"cfg": Ramp(3, 2)}),
        # As Distillation has them, but declared.
        ("cfg: gs3d.core.schedules.Ramp = gs3d.core.schedules.Ramp(7.5, 7.5)", {}),
        ('weight: str = "one"', {"weight": "one"}),
        # builtin has pairs, which cannot be with fixed noise.
        ('noise: str = "fixed"', {"noise": "fixed", "pairs": False}),
        ("pairs: bool = False", {"pairs": False, "noise": "fresh"}),
        ("random_t: bool = True", {"random_t": True, "t": Ramp(0.98, 0.02), "narrow_t": None}),
    ],
)
def test_what_its_class_declares_stays(field, kept, tmp_path):
    mine = guidance_of(load_config("builtin", loss_file(tmp_path, field)))
    kept = kept or {"cfg": Ramp(7.5, 7.5)}
    usual = guidance_of(load_config("builtin"))
    expected = {name: getattr(usual, name) for name in SHARED} | kept
    assert {name: getattr(mine, name) for name in expected} == expected


@pytest.mark.parametrize("base,name", [("Cds", "cds"), ("Sds", "sds")])
@pytest.mark.parametrize("preset", ["builtin", "builtin-mesh", "splats-15min"])
def test_a_subclass_of_a_loss_has_the_settings_of_that_loss(base, name, preset, tmp_path):
    mine = guidance_of(load_config(preset, loss_file(tmp_path, base=base)))
    usual = guidance_of(load_config(preset, name))
    fields = [field.name for field in dataclasses.fields(usual)]
    assert [getattr(mine, n) for n in fields] == [getattr(usual, n) for n in fields]


def test_what_the_user_sets_stays(tmp_path):
    file = loss_file(tmp_path)
    changed = load_config("builtin", file, ["losses.Mine.pairs=false", "losses.Mine.t.start=0.7"])
    assert not guidance_of(changed).pairs
    assert guidance_of(changed).t == Ramp(0.7, guidance_of(load_config("builtin")).t.end)
    # The settings in a record are complete, and are read as they are.
    again = parse_config(config_tree(changed), "run.yaml", file)
    assert guidance_of(again) == guidance_of(changed)


def test_a_record_of_another_loss_of_a_file_gives_none(tmp_path):
    tree = config_tree(load_config("builtin", loss_file(tmp_path)))
    tree["guidance"], tree["losses"] = "Other", {"Other": tree["losses"]["Mine"]}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"config": tree, "prompt": "a"}))
    file = loss_file(tmp_path)
    assert guidance_of(load_config(tmp_path / "run.yaml", file)) == file.kind()


def test_methods_of_an_evaluation_have_them_too(tmp_path):
    loss_file(tmp_path)
    method = Method.parse(f"{tmp_path}/mine.py:Mine,strength=2,pairs=false")
    (mine,) = method.guidances("builtin")
    assert (mine.strength, mine.pairs) == (2.0, False)
    assert mine.t == guidance_of(load_config("builtin")).t


def test_a_value_of_the_preset_that_its_class_refuses_is_named(tmp_path):
    refuses = (
        "def __post_init__(self):\n        if self.cfg.end != 7.5: raise ValueError('cfg: no')"
    )
    file = loss_file(tmp_path, refuses)
    with pytest.raises(UserError, match=r"losses\.Mine: cfg: no; the value is the preset's, and"):
        load_config("builtin", file)
