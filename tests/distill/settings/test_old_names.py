"""Settings and checkpoints that gs3d wrote before their names changed are still read."""

import torch
import yaml
from safetensors.torch import save_file

from gs3d.distill.checkpoint import newest_checkpoint
from gs3d.distill.settings.changes import set_value
from gs3d.distill.settings.config import config_tree, load_config, parse_config
from gs3d.experiments.methods import Method

OLD = {
    "background": "grey",
    "cameras": {"fill": [0.8, 0.9]},
    "stages": [
        {
            "shape": "nerf",
            "nerf": {
                "occupancy_cells": 8,
                "sky": 0.5,
                "regularisers": {"opaque": {"start": 0.0, "end": 0.1, "shape": "sqrt"}},
            },
        },
        {"shape": "dmtet", "dmtet": {"cells": 12, "reach": 0.2, "regularisers": {}}},
    ],
}


def test_old_settings():
    nerf, dmtet = parse_config(OLD).stages
    assert (nerf.representation, dmtet.representation) == ("nerf", "dmtet")
    assert nerf.background == "gray" and nerf.cameras.fill == (0.8, 0.9)
    assert (nerf.nerf.occupancy_resolution, nerf.nerf.background_network) == (8, 0.5)
    assert nerf.nerf.regularizers.opaque.curve == "sqrt"
    assert (dmtet.dmtet.resolution, dmtet.dmtet.max_offset) == (12, 0.2)


def test_old_settings_of_splats():
    old = {
        "gaussians": {
            "regularisers": {"outside": 2.0},
            "rates": {"means": {"start": 0.01, "end": 0.001, "shape": "exp"}},
        }
    }
    (stage,) = parse_config(old).stages
    assert stage.gaussians.regularizers.outside == 2.0
    assert stage.gaussians.rates.means.curve == "exp"


def test_old_fixed_noise():
    for fixed, noise in ((True, "fixed"), (False, "fresh")):
        for loss in ("cds", "sds"):
            old = {"guidance": loss, "losses": {loss: {"fixed_noise": fixed}}}
            assert parse_config(old).stages[0].guidance.noise == noise


def test_old_fixed_noise_in_a_file_over_a_base(tmp_path):
    (tmp_path / "mine.yaml").write_text("base: builtin\nlosses: {cds: {fixed_noise: true}}\n")
    assert load_config(tmp_path / "mine.yaml", "cds").stages[0].guidance.noise == "fixed"
    (tmp_path / "other.yaml").write_text("base: mine.yaml\nlosses: {cds: {noise: surface}}\n")
    assert load_config(tmp_path / "other.yaml", "cds").stages[0].guidance.noise == "surface"


def test_old_fixed_noise_as_a_change():
    config = load_config("builtin", "cds", ["losses.cds.fixed_noise=true"])
    assert config.stages[0].guidance.noise == "fixed"
    settings = Method.parse("sds,fixed_noise=true,pairs=false").settings("builtin")
    assert settings["losses"]["sds"]["noise"] == "fixed"


def test_runs_from_before_the_filter_had_none(tmp_path):
    tree = config_tree(load_config("builtin"))
    tree["gaussians"].pop("smoothing_px")
    (path := tmp_path / "run.yaml").write_text(yaml.safe_dump({"prompt": "a", "config": tree}))
    assert load_config(path).stages[0].gaussians.smoothing_px == 0
    assert load_config("builtin").stages[0].gaussians.smoothing_px == 0.55


def test_regularizer_weights_of_old_runs_are_absolute(tmp_path):
    tree = config_tree(load_config("preview"))
    assert tree.pop("regularizer_weights") == "relative"
    (path := tmp_path / "run.yaml").write_text(yaml.safe_dump({"prompt": "a", "config": tree}))
    assert load_config(path).stages[0].regularizer_weights == "absolute"


def test_old_paths():
    tree = config_tree(load_config("builtin-two-stage"))
    set_value(tree, "dmtet.cells=24")
    set_value(tree, "nerf.occupancy_cells=16")
    assert tree["stages"][1]["dmtet"]["resolution"] == 24
    assert tree["stages"][0]["nerf"]["occupancy_resolution"] == 16


def test_old_checkpoint(tmp_path):
    tensors = {
        "params.colours.table": torch.ones(2),
        "adam.colours.colour_in.bias.exp_avg": torch.ones(3),
        "params.sky.last.bias": torch.ones(4),
    }
    fields = '{"step": 3, "elapsed_s": 1.0, "progress": 0.5, "tended": 0.25, "stage": 1}'
    save_file(tensors, tmp_path / "step_0000003.safetensors", {"gs3d": fields})
    found = newest_checkpoint(tmp_path)
    assert found is not None and found.stage == 1
    (saved,) = found.particles
    assert (saved.accepted_progress, saved.gradient_size) == (0.25, None)
    assert saved.tensors.keys() == {
        "params.colors.table",
        "adam.colors.color_in.bias.exp_avg",
        "params.background_network.last.bias",
    }


def test_field_of_a_surface_follows_a_changed_field():
    config = load_config("builtin-two-stage", changes=["nerf.field.hidden=16"])
    assert config.stages[0].nerf.field.hidden == config.stages[1].dmtet.field.hidden == 16
