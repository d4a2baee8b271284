"""Settings from presets, files and dictionaries: values, defaults and error messages."""

import errno
from pathlib import Path

import pytest

from gs3d.core.errors import UserError
from gs3d.core.schedules import Ramp
from gs3d.distill.settings.config import load_config, parse_config
from gs3d.distill.settings.presets import preset_names
from gs3d.distill.settings.stages import RunConfig, StageConfig
from gs3d.guidance import Cds, Sds
from gs3d.runs.record import RunRecord
from gs3d.runs.request import Request


def test_values_are_converted_to_dataclasses():
    config = parse_config(
        {"guidance": "sds", "losses": {"sds": {"cfg": {"start": 5, "end": 3}}}, "batch": 8}, "f"
    )
    (stage,) = config.stages
    assert stage.guidance == Sds(cfg=Ramp(5.0, 3.0)) and stage.batch == 8
    assert parse_config({}, "f") == RunConfig((StageConfig(guidance=Cds()),))


@pytest.mark.parametrize(
    "tree, message",
    [
        ({"bach": 4}, "unknown setting 'bach'; did you mean 'batch'"),
        (
            {"cameras": {"fovi_deg": [30, 40]}},
            "cameras: unknown setting 'fovi_deg'; did you mean 'fovy_deg'",
        ),
        ({"losses": {"cdss": {}}}, "unknown setting 'cdss'; did you mean 'cds'"),
        (
            {"losses": {"cds": {"t": {"strat": 1}}}},
            "losses.cds: t: unknown setting 'strat'; did you mean 'start'",
        ),
        ({"guidance": "vds"}, "unknown loss 'vds'"),
        ({"batch": "four"}, "batch: expected a whole number, got 'four'"),
        ({"batch": True}, "batch: expected a whole number, got True"),
        ({"checkpoint_every_s": float("nan")}, "expected a number, got nan"),
        (
            {"checkpoint_every_s": "1e1"},
            "expected a number, got '1e1', which YAML takes for text; write 1.0e+1",
        ),
        ({"checkpoint_every_s": "-2.5E-03"}, "which YAML takes for text; write -2.5e-3"),
        ({"checkpoint_every_s": "ten"}, "expected a number, got 'ten'"),
        ({"cameras": {"fovy_deg": [30]}}, "fovy_deg: expected a list of 2"),
        ({"background": "blue"}, "background: expected one of random, white, gray, black"),
        ({"cameras": {"resolution_px": {"at": [0.5], "values": [64]}}}, "must rise from 0"),
        ({"cameras": 3}, "cameras: expected settings"),
        ({"compile": "yes"}, "compile: expected true or false, got 'yes'"),
        (
            {"gaussians": {"rates": {"means": 0.1}}},
            "means: expected settings as `key: value` (start, end, curve), got 0.1",
        ),
        ([1, 2], "expected settings as `key: value`, got list"),
        ({"losses": [1]}, "losses: expected settings as `key: value`, got [1]"),
        ({"losses": {"cds": []}}, "losses.cds: expected settings"),
        # An unused loss is checked too.
        (
            {"losses": {"sds": {"cfgg": 1}}},
            "losses.sds: unknown setting 'cfgg'; did you mean 'cfg'",
        ),
        ({"guidance": ["x"]}, "unknown loss ['x']"),
        ({"guidance": None}, "unknown loss None"),
        ({"checkpoint_every_s": 10**400}, "checkpoint_every_s: expected a number"),
        ({"losses": {"cds": {"t": {"start": 1}}}}, "losses.cds: t: expected end too"),
    ],
)
def test_invalid_setting_is_refused_with_its_place(tree, message):
    with pytest.raises(UserError) as caught:
        parse_config(tree, "my.yaml")
    text = str(caught.value)
    assert message in text and "my.yaml" in text and "\n" not in text


@pytest.mark.parametrize("tree", [{"losses": None}, {"losses": {"cds": None}}, {"losses": {}}])
def test_empty_section_has_the_defaults(tree):
    assert parse_config(tree, "f") == RunConfig()


def ramp(start, end, curve="linear"):
    return {"start": start, "end": end, "curve": curve}


@pytest.mark.parametrize(
    "path, value",
    [
        ("batch", 0),
        ("checkpoint_every_s", -1),
        ("losses.cds.t", ramp(0.5, 0.0)),
        ("losses.cds.t", ramp(1.0, 0.1)),  # t1 must be above t2
        ("losses.cds.delta", [-0.1, 0.1]),
        ("losses.cds.delta", [0.2, 0.1]),
        ("losses.cds.delta", [0.0, 0.0]),
        ("losses.cds.cfg", ramp(-1, 5)),
        ("losses.cds.clamp", ramp(-1, 5)),
        ("losses.sds.t", ramp(0.5, 1.01)),
        ("losses.sds.t", ramp(0.0, 0.9)),
        ("losses.sds.cfg", ramp(5, -1)),
        ("cameras.fovy_deg", [1, 40]),
        ("cameras.fovy_deg", [30, 170]),
        ("cameras.fovy_deg", [45, 30]),
        ("cameras.fill", [0, 1]),
        ("cameras.fill", [1, 2.1]),
        ("cameras.elevation_deg", [-91, 0]),
        ("cameras.elevation_deg", [10, 0]),
        ("cameras.overhead_fraction", 1.1),
        ("cameras.resolution_px", {"at": [0.0], "values": [7]}),
        ("cameras.resolution_px", {"at": [0.0, 0.5], "values": [64, 4097]}),
        ("cameras.resolution_px", {"at": [0.0, 1.5], "values": [64, 64]}),
        ("cameras.draws", 0),
        ("gaussians.count", 0),
        ("gaussians.radius", 0),
        ("gaussians.opacity", 0),
        ("gaussians.opacity", 1),
        ("gaussians.sh_degree", 4),
        ("gaussians.sh_degree", -1),
        ("gaussians.rates.means", ramp(0, 0, "exp")),
        ("gaussians.rates.means", ramp(-1, 0)),
        ("gaussians.rates.iterations", 0),
        ("gaussians.regularizers.sparsity", ramp(0, -1)),
        ("gaussians.regularizers.outside", -1),
        ("densify.start", -0.1),
        ("densify.start", 0.75),  # densify.stop
        ("densify.rounds", 0),
        ("densify.grow_share", 1.1),
        ("densify.max_count", 0),
        ("densify.prune_opacity", 0.5),  # resets set opacities to twice this value
        ("densify.split_above", 0),
        ("densify.prune_above", 0),
        ("densify.resets", [0.3, -0.3]),
        ("share", 0),
        ("normals", 1.1),
        ("nerf.samples", 1),
        ("nerf.field.hidden", 0),
        ("nerf.light.ambient", 2),
        ("dmtet.resolution", 1),
        ("dmtet.max_offset", 0.5),
    ],
)
def test_value_out_of_range_is_refused_with_its_place(path, value):
    tree = value
    for key in reversed(path.split(".")):
        tree = {key: tree}
    with pytest.raises(UserError) as caught:
        parse_config(tree, "my.yaml")
    text = str(caught.value)
    assert "my.yaml" in text and "expected" in text and "got" in text and "\n" not in text
    assert all(part in text for part in path.split(".")), text


@pytest.mark.parametrize(
    "tree",
    [
        {"densify": {"start": 2.0, "stop": 3.0}},  # never
        {"losses": {"sds": {"t": ramp(1.0, 0.02)}}},
        {"gaussians": {"sh_degree": 3, "rates": {"means": ramp(0, 0)}}},
        {
            "cameras": {
                "fovy_deg": [40, 40],
                "fill": [2, 2],
                "elevation_deg": [-90, 90],
                "overhead_fraction": 1,
            }
        },
        {"cameras": {"resolution_px": {"at": [0, 1], "values": [8, 4096]}}},
    ],
)
def test_ends_of_the_ranges_are_valid(tree):
    parse_config(tree, "f")


def test_settings_are_read_from_the_record_of_a_run(tmp_path):
    config = load_config("builtin", "sds")
    RunRecord(Request("a red car"), config, {}, "cpu", "cpu").write(tmp_path, {}, None)
    assert load_config(tmp_path / "run.yaml") == load_config(tmp_path / "run.yaml", "sds") == config
    with pytest.raises(UserError, match="a run with 'sds' has no settings for 'cds'"):
        load_config(tmp_path / "run.yaml", "cds")


def test_missing_file_lists_the_presets(tmp_path):
    with pytest.raises(UserError, match=f"presets are {', '.join(preset_names())}"):
        load_config(tmp_path / "none.yaml")


def test_invalid_yaml_is_refused(tmp_path):
    (tmp_path / "bad.yaml").write_text("a: [1, 2")
    with pytest.raises(UserError, match="not YAML"):
        load_config(tmp_path / "bad.yaml")


@pytest.mark.parametrize(
    "text",
    ["batch: 2024-13-01", "batch: !!bool x", "batch: !!python/object:os.system x", "[" * 1000],
)
def test_values_that_yaml_cannot_convert_are_refused(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UserError, match="not YAML"):
        load_config(tmp_path / "bad.yaml")


@pytest.mark.parametrize("text", ["", "# nothing", "losses:"])
def test_empty_file_has_the_defaults(tmp_path, text):
    (tmp_path / "empty.yaml").write_text(text)
    assert load_config(tmp_path / "empty.yaml") == RunConfig()


def test_other_encoding_than_utf8_is_refused(tmp_path):
    (tmp_path / "latin.yaml").write_bytes("negative: häßlich".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8"):
        load_config(tmp_path / "latin.yaml")


def test_utf8_is_read_in_every_locale(tmp_path):
    (tmp_path / "utf8.yaml").write_text("negative: häßlich", encoding="utf-8")
    assert load_config(tmp_path / "utf8.yaml").negative == "häßlich"


def test_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        load_config(tmp_path)


def test_too_long_name_is_refused():
    with pytest.raises(UserError, match="cannot be read"):
        load_config("x" * 5000)


def test_unreadable_file_is_refused(tmp_path, monkeypatch):
    # Raised here, because root may read every file.
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "secret.yaml").write_text("batch: 4")
    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(UserError, match=r"secret.yaml': cannot be read \(Permission denied\)"):
        load_config(tmp_path / "secret.yaml")


@pytest.mark.parametrize("stages", ["", "stages: [{batch: 2}]\n"])
@pytest.mark.parametrize("fault", ["bach: 4", "cameras: {fill: [0, 1]}"])
def test_fault_in_a_base_names_the_file_at_fault(tmp_path, stages, fault):
    (tmp_path / "x.yaml").write_text(f"base: y.yaml\n{stages}")
    (tmp_path / "y.yaml").write_text("base: z.yaml\nbatch: 2\n")
    (tmp_path / "z.yaml").write_text(fault)
    x, y, z = (tmp_path / f"{name}.yaml" for name in "xyz")
    with pytest.raises(UserError, match=rf"^config {z} \(base of {y}\): [cu]"):
        load_config(x)
    y.write_text(f"base: builtin\n{fault}")
    with pytest.raises(UserError, match=rf"^config {y} \(base of {x}\): "):
        load_config(x)
    with pytest.raises(UserError, match=rf"^config {y}: "):
        load_config(y)


@pytest.mark.parametrize("text", ["base:", "base: ''", "base: 3"])
def test_base_is_a_preset_or_a_path_relative_to_the_file(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match="name of a preset, or the path of a file relative to this"):
        load_config(tmp_path / "x.yaml")
