"""`--set`: paths, values and error messages; and how two sets of settings differ."""

import pytest

from gs3d.core.errors import UserError
from gs3d.distill.settings.changes import check_path, differences
from gs3d.distill.settings.config import config_tree, load_config


def change(setting: str, preset: str = "builtin"):
    """The settings of a preset with one change, as a run makes it."""
    check_path(setting)
    return load_config(preset, changes=[setting])


def refused(setting: str, preset: str = "builtin") -> str:
    with pytest.raises(UserError) as caught:
        change(setting, preset)
    assert "\n" not in str(caught.value)
    return caught.value.for_command_line


@pytest.mark.parametrize("path", ["stages.3.gaussians.count", "stages.gaussians.count"])
def test_stage_in_a_run_of_one_stage_names_the_path_without_it(path):
    message = refused(f"{path}=9")
    assert message == f"--set {path}=9: this run has one stage; name its setting 'gaussians.count'"
    assert change("gaussians.count=9") == change("stages.1.gaussians.count=9")


def test_null_removes_a_group_of_settings_that_may_be_none():
    assert change("losses.sds.clamp=null").stages[0].guidance.clamp is None
    assert "has the settings" in refused("losses.sds.cfg=null")


def test_misspelled_path_within_a_stage_names_the_nearest():
    assert "did you mean 'gaussians.count'?" in refused("stages.3.gausians.count=9")
    assert "did you mean 'gaussians.count'?" in refused("stages.gausians.count=9")


def test_stage_that_a_run_of_two_stages_lacks():
    assert "expected stages.1 to stages.2 before the setting" in refused(
        "stages.3.batch=2", "builtin-mesh"
    )


@pytest.mark.parametrize("path", ["stages", "stages.1"])
def test_path_of_a_whole_stage_is_refused(path):
    assert f"with the path of one setting, got '{path}'" in refused(f"{path}=3")


def test_value_for_a_group_of_settings_names_its_settings():
    message = refused("gaussians.rates.means=0.1")
    assert "'gaussians.rates.means' has the settings start, end, curve; set one of them" in message
    assert message.endswith("such as gaussians.rates.means.start")
    changed = change("gaussians.rates.means={start: 0.1, end: 0.2}").stages[0]
    assert (changed.gaussians.rates.means.start, changed.gaussians.rates.means.end) == (0.1, 0.2)


def test_differences_name_path_and_both_values():
    old = config_tree(load_config("builtin"))
    changes = ["batch=8", "gaussians.count=7", "densify.rounds=3", "progress_every_s=1"]
    assert differences(old, old) == ""
    assert differences(old, config_tree(change("batch=8"))) == "batch: 4 -> 8"
    new = config_tree(load_config("builtin", changes=changes))
    first = f"progress_every_s: {old['progress_every_s']} -> 1.0, batch: 4 -> 8, "
    assert differences(old, new).startswith(f"{first}gaussians.count: ")
    assert differences(old, new).endswith(" -> 7 and 1 more")


@pytest.mark.parametrize(
    "preset,loss,expected",
    [
        ("builtin", "cds", "guidance: sds -> cds"),
        ("builtin-mesh", None, "number of stages: 1 -> 2"),
    ],
)
def test_differences_name_the_cause_alone(preset, loss, expected):
    old, new = load_config("builtin"), load_config(preset, loss)
    assert differences(config_tree(old), config_tree(new)) == expected


def test_differences_of_stages_name_the_stage():
    old = config_tree(load_config("builtin-mesh"))
    new = config_tree(change("stages.2.batch=8", "builtin-mesh"))
    assert differences(old, new) == "stages.2.batch: 4 -> 8"


@pytest.mark.parametrize(
    "path, advice",
    [
        ("guidance.scale", "settings of a loss are under losses, such as losses.cds.cfg"),
        ("stages.1.guidance.scale", "settings of a loss are under losses, such as losses.cds.cfg"),
        ("sds.weight", "settings of a loss are under losses, such as losses.sds.weight"),
        ("losses.sds.scale", "the settings of losses.sds are t, random_t, narrow_t, cfg, "),
        ("losses.sds.delta", "the settings of losses.sds are t, random_t, narrow_t, cfg, "),
        ("losses.sds.cfgg", "did you mean 'losses.sds.cfg'?"),
        ("losses.cdss.cfg", "did you mean 'losses.cds.cfg'?"),
    ],
)
def test_unknown_setting_of_a_loss_is_explained_within_losses(path, advice):
    assert f"unknown setting {path.removeprefix('stages.1.')!r}; {advice}" in refused(f"{path}=1")


def test_setting_of_many_losses_is_looked_for_in_that_of_the_run():
    """Before the loss is known, none is named that may not be in use."""
    with pytest.raises(UserError, match=r"mean 'losses\.LOSS\.noise', LOSS being the loss of the"):
        check_path("nois=fixed")
    with pytest.raises(UserError, match=r"did you mean 'losses\.vsd\.lora_rank'\?"):
        check_path("lora_rank=4")


def test_setting_of_an_unused_loss_is_refused_even_if_misspelled():
    for path in ("losses.cds.cfg", "losses.cds.scale"):
        with pytest.raises(UserError, match="the loss in use is sds; this would change nothing"):
            load_config("builtin", changes=[f"{path}=1"])
