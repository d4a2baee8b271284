import pytest

from gs3d.core.errors import UserError
from gs3d.core.schedules import Ramp
from gs3d.guidance import GUIDANCE, Cds, Sds
from gs3d.training.config import RunConfig, config_tree, load_config, parse_config, preset_names


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("loss", list(GUIDANCE))
def test_every_preset_reads_with_every_loss_and_round_trips(preset, loss):
    config = load_config(preset, loss)
    assert isinstance(config.guidance, GUIDANCE[loss])
    assert parse_config(config_tree(config), "again") == config


def test_presets_are_those_of_the_readme():
    assert preset_names() == ["builtin", "preview", "splats-15min"]


def test_values_reach_the_dataclasses():
    config = parse_config({"guidance": "sds", "losses": {"sds": {"cfg": {"start": 5, "end": 3}}}, "batch": 8}, "f")
    assert config.guidance == Sds(cfg=Ramp(5.0, 3.0)) and config.batch == 8
    assert parse_config({}, "f") == RunConfig(guidance=Cds())


@pytest.mark.parametrize(
    "tree,message",
    [
        ({"bach": 4}, "unknown setting 'bach'; did you mean 'batch'"),
        ({"cameras": {"fovi_deg": [30, 40]}}, "cameras: unknown setting 'fovi_deg'; did you mean 'fovy_deg'"),
        ({"losses": {"cdz": {}}}, "unknown setting 'cdz'; did you mean 'cds'"),
        ({"losses": {"cds": {"t": {"strat": 1}}}}, "losses.cds: t: unknown setting 'strat'; did you mean 'start'"),
        ({"guidance": "vsd"}, "unknown loss 'vsd'"),
        ({"batch": "four"}, "batch: expected int, got 'four'"),
        ({"batch": True}, "batch: expected int, got True"),
        ({"checkpoint_every_s": float("nan")}, "expected float"),
        ({"cameras": {"fovy_deg": [30]}}, "fovy_deg: expected a list of 2"),
        ({"background": "blue"}, "background: expected one of random, white, grey, black"),
        ({"cameras": {"resolution_px": {"at": [0.5], "values": [64]}}}, "must rise from 0"),
        ({"cameras": 3}, "cameras: expected settings"),
        ([1, 2], "expected settings as `key: value`, got list"),
    ],
)
def test_bad_settings_name_the_place_and_what_was_expected(tree, message):
    with pytest.raises(UserError) as caught:
        parse_config(tree, "my.yaml")
    assert message in str(caught.value) and "my.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file_lists_the_presets(tmp_path):
    with pytest.raises(UserError, match="presets are builtin, preview, splats-15min"):
        load_config(tmp_path / "none.yaml")


def test_not_yaml(tmp_path):
    (tmp_path / "bad.yaml").write_text("a: [1, 2")
    with pytest.raises(UserError, match="not YAML"):
        load_config(tmp_path / "bad.yaml")
